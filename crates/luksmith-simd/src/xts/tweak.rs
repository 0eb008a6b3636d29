//! Which IV each sector of a request gets.

use crate::Error;

/// A run of neighbouring sectors whose IVs are counted.
///
/// Sector `i` of the run has the IV `le64(first + i * step)` followed by eight zero bytes; the sum
/// wraps at 2^64. That is the IV `plain64`: `first` counts 512-byte units, and `step` is 8 for
/// 4096-byte sectors, or 1 where the volume counts its IVs in large sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The number that makes the IV of the first sector.
    pub first: u64,
    /// What is added to it from one sector to the next.
    pub step: u64,
    /// Bytes per sector: a multiple of 16, at most [`Run::MAX_SECTOR_BYTES`].
    pub sector_bytes: usize,
}

impl Run {
    /// The longest data unit that IEEE 1619 allows: 2^20 blocks.
    pub const MAX_SECTOR_BYTES: usize = 16 << 20;
}

/// The IVs of the sectors of one request, by position.
pub(crate) trait Ivs: Copy {
    /// The IV of sector `at`, first byte lowest.
    ///
    /// Positions at or past the number of sectors give some value: kernels that prepare tweaks by
    /// fours ask for it and never use it.
    fn iv(&self, at: usize) -> u128;
}

/// IVs that count.
#[derive(Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) first: u64,
    pub(crate) step: u64,
}

impl Ivs for Counted {
    #[inline]
    fn iv(&self, at: usize) -> u128 {
        u128::from(self.first.wrapping_add(self.step.wrapping_mul(at as u64)))
    }
}

/// IVs that the caller made.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a>(pub(crate) &'a [[u8; 16]]);

impl Ivs for Given<'_> {
    #[inline]
    fn iv(&self, at: usize) -> u128 {
        self.0.get(at).map_or(0, |iv| u128::from_le_bytes(*iv))
    }
}

/// Counts the sectors of `bytes` bytes.
///
/// # Errors
/// [`Error::SectorBytes`] and [`Error::PartialSector`].
pub(crate) fn count_sectors(bytes: usize, sector_bytes: usize) -> Result<usize, Error> {
    let max = Run::MAX_SECTOR_BYTES;
    if sector_bytes == 0 || sector_bytes > max || !sector_bytes.is_multiple_of(16) {
        return Err(Error::SectorBytes {
            bytes: sector_bytes,
            max,
        });
    }
    if !bytes.is_multiple_of(sector_bytes) {
        return Err(Error::PartialSector {
            bytes,
            sector_bytes,
        });
    }
    Ok(bytes / sector_bytes)
}

/// Multiplies a tweak by x in GF(2^128), in the bit order of IEEE 1619, in constant time.
#[inline]
pub(crate) const fn times_x(tweak: u128) -> u128 {
    (tweak << 1) ^ ((tweak >> 127) * 0x87)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_ivs_wrap_at_the_end_of_the_number_line() {
        let ivs = Counted {
            first: u64::MAX - 7,
            step: 8,
        };
        assert_eq!(ivs.iv(0), u128::from(u64::MAX - 7));
        assert_eq!(ivs.iv(1), 0);
        assert_eq!(ivs.iv(2), 8);
    }

    #[test]
    fn a_sector_is_a_positive_multiple_of_sixteen_bytes() {
        let max = Run::MAX_SECTOR_BYTES;
        for bytes in [0, 1, 15, 17, 520, max + 16] {
            assert_eq!(
                count_sectors(0, bytes),
                Err(Error::SectorBytes { bytes, max })
            );
        }
        assert_eq!(count_sectors(max, max), Ok(1));
        assert_eq!(count_sectors(4096, 512), Ok(8));
        assert_eq!(count_sectors(0, 512), Ok(0));
        let partial = Error::PartialSector {
            bytes: 4095,
            sector_bytes: 512,
        };
        assert_eq!(count_sectors(4095, 512), Err(partial));
    }

    #[test]
    fn the_bit_that_falls_out_comes_back_as_0x87() {
        assert_eq!(times_x(1), 2);
        assert_eq!(times_x(1 << 127), 0x87);
        assert_eq!(times_x((1 << 127) | 1), 0x85);
    }
}
