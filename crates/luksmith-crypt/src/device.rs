//! Encrypted devices: the layers that turn plaintext requests into ciphertext ones.

mod authenticated;
mod buffers;
mod plain;

pub use authenticated::AuthenticatedDevice;
pub use plain::CryptDevice;

/// Bytes that are encrypted into a buffer and handed down at once.
///
/// Large enough for the vector code and for a write call, small enough to stay in a second-level
/// cache. A request's memory is this much, whatever its size.
const RUN_BYTES: usize = 256 * 1024;

#[cfg(test)]
#[cfg(feature = "std")]
mod tests;
