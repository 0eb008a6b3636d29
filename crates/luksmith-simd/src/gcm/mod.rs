//! AES-GCM over runs of sectors: every sector is a message with a nonce and a tag of its own.

mod key;
mod portable;

#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
pub(crate) use key::BATCH;
pub use key::{GcmKey, GcmRun};
pub(crate) use key::{NONCE_BYTES, TAG_BYTES};
