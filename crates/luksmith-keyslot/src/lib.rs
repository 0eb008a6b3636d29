//! From a passphrase to a LUKS volume key, and back: key derivation, the anti-forensic splitter,
//! digests, keyslots.
//!
//! [`unlock`](unlock::unlock) takes a header and what the caller has (a passphrase, the volume key,
//! a callback) and gives the [`VolumeKey`]. A `VolumeKey` exists only if a digest has accepted it,
//! or if it was generated for a new volume.
//!
//! Secrets wipe themselves, cannot be copied, printed or compared, and lie in locked memory where
//! the system has it. What a header may cost is bounded before anything is allocated or derived.
//!
//! # Features
//! * `std` (default): secrets in locked memory that core dumps leave out, reading key files, the
//!   system's random numbers.
//! * `parallel` (default): Argon2 lanes on threads of their own.
//! * `all-hashes` and `all-ciphers` (default): whatever a keyslot may name.
//!
//! Without `std` the crate is `no_std` + `alloc`.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;
#[cfg(all(test, not(feature = "std")))]
extern crate std;

mod af;
mod area;
pub mod change;
pub mod cost;
pub mod digest;
mod error;
mod kdf;
mod material;
mod secret;
mod storage;
pub mod unlock;

#[cfg(feature = "std")]
pub use getrandom::SysRng as SystemRandom;
pub use rand_core::TryCryptoRng;

pub use af::STRIPES;
pub use error::Error;
pub use kdf::{Argon2Cost, Argon2Variant, Effort, Kdf, SALT_BYTES, Threads};
pub use material::Material;
pub use secret::{AreaKey, CandidateKey, MAX_PASSPHRASE_BYTES, Passphrase, VolumeKey};
