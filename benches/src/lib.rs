//! What the benchmarks of the layers share.

/// Bytes of a period that fits no sector, so that swapped blocks show.
#[must_use]
pub fn painted(bytes: usize) -> Vec<u8> {
    (0..=250).cycle().take(bytes).collect()
}
