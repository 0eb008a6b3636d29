//! Hot loops of luksmith: AES-XTS, AES-GCM, AEGIS-128, many-lane SHA-2 and HMAC, CRC-32C over runs
//! of sectors.
//!
//! Kernels take *runs* of sectors, because one call per sector costs up to half of the throughput.
//! The instruction set is chosen once, when a key is made, and kept in the key; every set can also
//! be chosen by hand, so that one process can compare them all.
//!
//! ```
//! use luksmith_simd::{Run, XtsKey};
//!
//! let key = XtsKey::new(&[7; 64])?; // AES-256-XTS
//! let run = Run { first: 0, step: 8, sector_bytes: 4096 };
//! let mut data = vec![0; 16 * 4096];
//! key.encrypt_in_place(run, &mut data)?;
//! key.decrypt_in_place(run, &mut data)?;
//! assert_eq!(data, vec![0; 16 * 4096]);
//! # Ok::<(), luksmith_simd::Error>(())
//! ```
//!
//! # Features
//! * `gcm` (default): AES-GCM over runs of sectors.
//! * `std` (default): run-time detection on targets other than x86-64. Without it the crate needs
//!   `alloc` alone.
//!
//! # Secrets
//! Keys wipe themselves when dropped, and kernels what they kept in memory of them; what the
//! compiler leaves in registers and spills to the stack is not wiped.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod aegis;
mod arch;
mod argon2;
mod backend;
mod buffers;
#[cfg(all(test, feature = "std", not(miri)))]
mod coverage;
mod crc32c;
mod error;
mod fused;
#[cfg(feature = "gcm")]
mod gcm;
mod pbkdf2;
mod sha2;
mod xts;

pub use aegis::Aegis128;
#[cfg(feature = "std")]
pub use argon2::ScopedThreads;
pub use argon2::{Argon2, Argon2Job, Argon2Threads, Argon2Variant, OneThread};
pub use backend::Backend;
pub use crc32c::{crc32c, crc32c_append, crc32c_tags, crc32c_tags_by};
pub use error::Error;
pub use fused::{open, open_in_place, seal, seal_in_place};
#[cfg(feature = "gcm")]
pub use gcm::{GcmKey, GcmRun};
pub use pbkdf2::{
    Pbkdf2Progress, pbkdf2_sha256, pbkdf2_sha256_by, pbkdf2_sha256_with, pbkdf2_sha512,
    pbkdf2_sha512_by, pbkdf2_sha512_with,
};
pub use sha2::{HashBackend, MAX_PREFIX_BYTES, TagHash, TagKey};
pub use xts::{Run, XtsKey};
