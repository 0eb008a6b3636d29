//! AES-GCM over runs of sectors: every sector is a message with a nonce and a tag of its own.

mod key;
mod portable;

pub(crate) use key::{BATCH, NONCE_BYTES, TAG_BYTES};
pub use key::{GcmKey, GcmRun};
