//! Conversions between slice lengths and on-disk numbers that never wrap.

/// Gives a slice length as an on-disk number.
///
/// No target of Rust has a `usize` wider than 64 bits, so the fallback is unreachable.
pub(crate) fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Gives an on-disk number as a slice length, saturated where the platform cannot address it.
///
/// A saturated length is never a valid index, so the following `get` or allocation check fails.
pub(crate) fn narrow(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Reads up to eight little-endian bytes as a number.
pub(crate) fn from_le(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .rev()
        .fold(0, |value, &byte| (value << 8) | u64::from(byte))
}

/// Rounds up to a multiple of `unit`, or `None` past 64 bits. `unit` is not zero.
pub(crate) fn round_up(value: u64, unit: u64) -> Option<u64> {
    value.checked_next_multiple_of(unit)
}

/// Rounds down to a multiple of `unit`, which is not zero.
pub(crate) fn round_down(value: u64, unit: u64) -> u64 {
    value - value % unit
}
