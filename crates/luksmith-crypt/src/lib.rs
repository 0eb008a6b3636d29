//! What dm-crypt does: cipher specs, IVs, sector encryption, authenticated sectors.
//!
//! A [`CipherSpec`] is parsed from the text in a header; with a key it becomes a [`SectorCipher`],
//! which works on runs of sectors, or an [`AeadCipher`], which makes and verifies tags too. Over a
//! device these become a [`CryptDevice`] or an [`AuthenticatedDevice`].
//!
//! ```
//! use luksmith_block::{SectorNumber, SectorSize};
//! use luksmith_crypt::{CipherSpec, SectorCipher};
//!
//! let spec = CipherSpec::parse("aes-cbc-essiv:sha256")?;
//! let cipher = SectorCipher::new(&spec, &[1; 32], SectorSize::S512)?;
//! let mut sector = *b"sixteen bytes of";
//! assert!(cipher.encrypt_in_place(SectorNumber::ZERO, &mut sector).is_err());
//! let mut sector = [0; 512];
//! cipher.encrypt_in_place(SectorNumber::ZERO, &mut sector)?;
//! # Ok::<(), luksmith_crypt::Error>(())
//! ```
//!
//! # Features
//! `std` (default): the system's random generator. Without it the crate is `no_std` + `alloc`.
//! AES in every mode is always there; one feature adds each other cipher: `adiantum`, `aria`,
//! `camellia`, `chacha20`, `gcm`, `kuznyechik`, `serpent`, `sm4`, `twofish`. `all-ciphers`
//! (default) adds them all, `all-hashes` (default) every hash that `essiv` and `hmac` may name.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(feature = "adiantum")]
mod adiantum;
mod aead;
mod block;
mod device;
mod error;
mod iv;
mod modes;
mod random;
mod sector;
mod spec;
#[cfg(feature = "twofish")]
mod twofish;

pub use aead::AeadCipher;
pub use device::{AuthenticatedDevice, CryptDevice};
pub use error::Error;
#[cfg(feature = "std")]
pub use random::SystemRandom;
pub use random::{RandomError, RandomSource};
pub use sector::SectorCipher;
pub use spec::{
    Algorithm, AuthSpec, BlockCipher, ChaChaRounds, CipherSpec, Integrity, IvKind, MAX_SPEC_BYTES,
};
