//! Test data that shows when blocks are swapped, shifted or lost.

/// Length of the period: prime and odd, so that no two sectors of a device look alike for long.
const PERIOD: u64 = 251;

/// Gives `len` bytes of the pattern as it stands at byte `offset` of a device. No byte is 0.
#[must_use]
pub fn paint(offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    paint_into(offset, &mut bytes);
    bytes
}

/// Fills `buf` with the pattern as it stands at byte `offset` of a device.
pub fn paint_into(offset: u64, buf: &mut [u8]) {
    for (place, byte) in (offset..).zip(buf) {
        *byte = u8::try_from(place % PERIOD + 1).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_depends_on_the_place_alone() {
        let all = paint(0, 10_000);
        assert_eq!(paint(4096, 512), all[4096..4608]);
        assert_ne!(all[..512], all[512..1024]);
        assert!(!all.contains(&0));
    }
}
