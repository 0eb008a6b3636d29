//! Units as types: a sector number always counts 512 bytes, whatever the encryption sector size.

use core::fmt;

use crate::Error;

/// Bytes of one sector, the unit in which sector numbers count.
pub const SECTOR_BYTES: u64 = 512;

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The value zero.
            pub const ZERO: Self = Self(0);

            /// Wraps a plain number that is already in this unit.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// Gives the plain number, in this unit.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

unit!(
    /// The position of a 512-byte sector.
    SectorNumber
);
unit!(
    /// A number of 512-byte sectors.
    SectorCount
);
unit!(
    /// A position in bytes from the start of a device.
    ByteOffset
);
unit!(
    /// A length in bytes.
    ByteLen
);

impl SectorNumber {
    /// Gives the byte position of this sector.
    ///
    /// # Errors
    /// [`Error::Overflow`] if it does not fit 64 bits.
    pub fn byte_offset(self) -> Result<ByteOffset, Error> {
        match self.0.checked_mul(SECTOR_BYTES) {
            Some(bytes) => Ok(ByteOffset(bytes)),
            None => Err(Error::Overflow {
                what: "sector number",
                value: self.0,
            }),
        }
    }

    /// Adds a count of sectors.
    #[must_use]
    pub const fn checked_add(self, count: SectorCount) -> Option<Self> {
        match self.0.checked_add(count.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

impl SectorCount {
    /// Gives this count in bytes.
    ///
    /// # Errors
    /// [`Error::Overflow`] if it does not fit 64 bits.
    pub fn byte_len(self) -> Result<ByteLen, Error> {
        match self.0.checked_mul(SECTOR_BYTES) {
            Some(bytes) => Ok(ByteLen(bytes)),
            None => Err(Error::Overflow {
                what: "sector count",
                value: self.0,
            }),
        }
    }
}

impl ByteOffset {
    /// Gives the sector that starts here, or `None` between sectors.
    #[must_use]
    pub const fn sector(self) -> Option<SectorNumber> {
        if self.0.is_multiple_of(SECTOR_BYTES) {
            Some(SectorNumber(self.0 / SECTOR_BYTES))
        } else {
            None
        }
    }

    /// Adds a length.
    #[must_use]
    pub const fn checked_add(self, len: ByteLen) -> Option<Self> {
        match self.0.checked_add(len.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Gives the length from `start` up to here, or `None` if `start` lies behind.
    #[must_use]
    pub const fn checked_len_from(self, start: Self) -> Option<ByteLen> {
        match self.0.checked_sub(start.0) {
            Some(len) => Some(ByteLen(len)),
            None => None,
        }
    }
}

impl ByteLen {
    /// Gives the number of whole sectors in this length.
    #[must_use]
    pub const fn whole_sectors(self) -> SectorCount {
        SectorCount(self.0 / SECTOR_BYTES)
    }

    /// Gives the length of a slice.
    #[must_use]
    pub const fn of(slice: &[u8]) -> Self {
        // A slice is never longer than `isize::MAX` bytes, which fits 64 bits on every target.
        Self(slice.len() as u64)
    }

    /// Gives this length as a slice length, or `None` where the platform cannot address it.
    #[must_use]
    pub fn to_usize(self) -> Option<usize> {
        usize::try_from(self.0).ok()
    }
}

/// What is encrypted and tagged at once: 512, 1024, 2048 or 4096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SectorSize {
    /// 512 bytes.
    S512,
    /// 1024 bytes.
    S1024,
    /// 2048 bytes.
    S2048,
    /// 4096 bytes.
    S4096,
}

impl SectorSize {
    /// Every size, ascending.
    pub const ALL: [Self; 4] = [Self::S512, Self::S1024, Self::S2048, Self::S4096];

    /// Gives the size for a number of bytes, or `None` if there is no such size.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Option<Self> {
        match bytes {
            512 => Some(Self::S512),
            1024 => Some(Self::S1024),
            2048 => Some(Self::S2048),
            4096 => Some(Self::S4096),
            _ => None,
        }
    }

    /// Gives the size in bytes, as a slice length.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::S512 => 512,
            Self::S1024 => 1024,
            Self::S2048 => 2048,
            Self::S4096 => 4096,
        }
    }

    /// Gives the size in bytes.
    #[must_use]
    pub const fn byte_len(self) -> ByteLen {
        ByteLen(self.bytes() as u64)
    }

    /// Gives the size in 512-byte sectors: 1, 2, 4 or 8.
    #[must_use]
    pub const fn sectors(self) -> SectorCount {
        SectorCount(self.bytes() as u64 / SECTOR_BYTES)
    }

    /// Tells whether `value` is a whole number of these.
    #[must_use]
    pub const fn divides(self, value: u64) -> bool {
        value.is_multiple_of(self.bytes() as u64)
    }
}

impl fmt::Display for SectorSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_number_past_the_last_byte_is_an_overflow() {
        let last = SectorNumber::new(u64::MAX / 512);
        assert_eq!(last.byte_offset(), Ok(ByteOffset::new(u64::MAX - 511)));
        let past = SectorNumber::new(u64::MAX / 512 + 1);
        assert_eq!(
            past.byte_offset(),
            Err(Error::Overflow {
                what: "sector number",
                value: u64::MAX / 512 + 1
            })
        );
    }

    #[test]
    fn only_whole_sectors_have_a_number() {
        assert_eq!(ByteOffset::new(1024).sector(), Some(SectorNumber::new(2)));
        assert_eq!(ByteOffset::new(1023).sector(), None);
        assert_eq!(ByteLen::new(1535).whole_sectors(), SectorCount::new(2));
    }

    #[test]
    fn sector_sizes_are_the_four_powers_of_two() {
        assert_eq!(
            SectorSize::ALL.map(SectorSize::bytes),
            [512, 1024, 2048, 4096]
        );
        assert_eq!(
            (0..=8192)
                .filter(|&n| SectorSize::from_bytes(n).is_some())
                .count(),
            4
        );
    }
}
