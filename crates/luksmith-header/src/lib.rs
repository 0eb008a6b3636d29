//! LUKS1 and LUKS2 headers: bytes to typed values and back.
//!
//! Reading takes a device, checks every rule of the format, and gives values; it never writes and
//! never sees a key. What a hostile header can cost is bounded by [`Limits`].
//!
//! ```no_run
//! use luksmith_block::BlockDevice;
//! use luksmith_header::{Header, Limits};
//!
//! fn show(device: &dyn BlockDevice) -> Result<(), luksmith_header::Error> {
//!     let header = Header::read(device, &Limits::default())?;
//!     println!("LUKS{} {}", header.version(), header.uuid());
//!     for slot in header.keyslots() {
//!         println!("keyslot {}: {} bytes", slot.key, slot.key_bytes);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Features
//! `std` (default) only makes errors implement what the standard library wants; without it the
//! crate
//! is `no_std` + `alloc`. `all-hashes` (default) knows every hash that a header may name.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod backup;
pub mod convert;
mod device;
mod error;
mod header;
pub mod json;
pub mod layout;
mod limits;
pub mod luks1;
pub mod luks2;
mod objects;
pub mod policy;
mod signature;
mod tokens;
mod uuid;

pub use backup::{RestorePlan, Sink, backup, backup_len, repaired_backup};
pub use error::{Error, Fault, JsonPath, Quoted};
pub use header::{Format, Header, detect};
pub use limits::{Budget, KdfUser, Limits};
pub use objects::{
    AntiForensic, Area, Argon2Variant, Blob, CryptParameters, Digest, Integrity, Kdf, Keyslot,
    KeyslotKind, OpalParameters, Priority, Segment, SegmentKind, Token, UsableDigest,
};
pub use rand_core::TryCryptoRng;
pub use signature::{Signature, SignatureKind, foreign_signature};
pub use tokens::{ClevisToken, Fido2Token, KeyringToken, TokenView, Tpm2Token};
pub use uuid::{random_uuid, uuid_text};
