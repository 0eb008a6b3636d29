//! The hashes that LUKS headers and tags may name: digest, HMAC and PBKDF2 by name.
//!
//! A header names its hashes in text. [`HashName::parse`] turns the text into a value,
//! case-insensitively and with the aliases that cryptsetup's crypto library accepts; everything
//! else here takes that value.
//!
//! ```
//! use luksmith_hash::{Hash, HashName};
//!
//! let sha256 = HashName::parse("SHA2-256")?;
//! assert_eq!(sha256.as_str(), "sha256");
//! let mut digest = [0; 32];
//! Hash::digest(sha256, &[b"a", b"bc"], &mut digest)?;
//! assert_eq!(digest[..4], [0xba, 0x78, 0x16, 0xbf]);
//! # Ok::<(), luksmith_hash::Error>(())
//! ```
//!
//! States are wiped when they are dropped. Speed over runs of sectors is the matter of
//! `luksmith-simd`; the code here is one stream at a time.
//!
//! # Features
//! `sha1` and the SHA-2 family are always there. One feature adds each other family: `blake2`,
//! `md5`, `ripemd`, `sha3`, `sm3`, `streebog`, `whirlpool`; `all-hashes` (default) adds them all. A
//! hash that is known but not built in is told apart from an unknown one: [`Error::NotBuiltIn`].
#![no_std]

#[cfg(test)]
extern crate std;

mod error;
mod hash;
mod hmac;
mod name;
mod pbkdf2;

pub use error::{Error, NameText};
pub use hash::Hash;
pub use hmac::{Hmac, HmacKey};
pub use name::{HashName, MAX_DIGEST_BYTES};
pub use pbkdf2::pbkdf2;
