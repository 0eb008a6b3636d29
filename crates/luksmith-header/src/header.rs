//! A header of either version, and how a device is told to have one.

use alloc::{string::String, vec, vec::Vec};

use luksmith_block::{BlockDevice, ByteLen, ByteOffset, SECTOR_BYTES};

use crate::{
    Error, Limits, device, luks1, luks2,
    objects::{Digest, Keyslot, Segment},
};

/// What the first bytes of a device say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// A LUKS1 header.
    Luks1,
    /// A LUKS2 primary header.
    Luks2,
    /// A LUKS1 header that the old offline re-encryption has made unusable.
    Luks1OldReencryption,
    /// A LUKS header of a version that is not known.
    UnknownVersion(u16),
    /// No LUKS header at byte 0. A LUKS2 secondary may be there all the same.
    None,
}

/// Tells what `start`, the first bytes of a device, says. Eight bytes are enough.
///
/// ```
/// use luksmith_header::{Format, detect};
///
/// assert_eq!(detect(b"LUKS\xba\xbe\x00\x02"), Format::Luks2);
/// assert_eq!(detect(b"hello"), Format::None);
/// ```
#[must_use]
pub fn detect(start: &[u8]) -> Format {
    let Some([magic @ .., high, low]) = start.first_chunk::<8>() else {
        return Format::None;
    };
    let version = u16::from_be_bytes([*high, *low]);
    if *magic == luks1::OLD_REENCRYPTION_MAGIC && version == 1 {
        return Format::Luks1OldReencryption;
    }
    if *magic != luks1::MAGIC {
        return Format::None;
    }
    match version {
        // cryptsetup takes version 0 for a damaged primary and looks for the secondary.
        0 => Format::None,
        1 => Format::Luks1,
        2 => Format::Luks2,
        other => Format::UnknownVersion(other),
    }
}

/// A header of either version that obeys every rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Header {
    /// LUKS1.
    Luks1(luks1::Header),
    /// LUKS2.
    Luks2(luks2::Header),
}

impl Header {
    /// Reads the header of a device. Nothing is written, and nothing is read again later.
    ///
    /// # Errors
    /// [`Error::NotLuks`], [`Error::Luks1OldReencryption`], [`Error::UnsupportedVersion`], and what
    /// [`luks1::read`] and [`luks2::read`] give.
    pub fn read<D: BlockDevice + ?Sized>(device: &D, limits: &Limits) -> Result<Self, Error> {
        let mut start = [0; 512];
        if device.size().get() < SECTOR_BYTES {
            return Err(Error::too_short(
                "a LUKS header",
                0,
                SECTOR_BYTES,
                device.size(),
            ));
        }
        if let Err(error) = device::read(device, "a LUKS header", ByteOffset::ZERO, &mut start) {
            // A LUKS2 secondary may be readable.
            let error = device::bad_medium(error)?;
            return match luks2::read(device, limits) {
                Ok(header) => Ok(Self::Luks2(header)),
                // Could be read after all; not so much trust in this device.
                Err(Error::CopyVersion { .. } | Error::NotLuks) => Err(error),
                Err(other) => Err(other),
            };
        }
        match detect(&start) {
            Format::Luks1 => Ok(Self::Luks1(luks1::read(device)?)),
            Format::Luks1OldReencryption => Err(Error::Luks1OldReencryption),
            Format::UnknownVersion(version) => Err(Error::UnsupportedVersion { version }),
            Format::Luks2 | Format::None => Ok(Self::Luks2(luks2::read(device, limits)?)),
        }
    }

    /// Gives why the other copy on the device is not as good as this one; LUKS1 has none. See
    /// [`luks2::Header::other_copy_fault`].
    #[must_use]
    pub fn other_copy_fault(&self) -> Option<&Error> {
        match self {
            Self::Luks1(_) => None,
            Self::Luks2(header) => header.other_copy_fault(),
        }
    }

    /// Gives 1 or 2.
    #[must_use]
    pub const fn version(&self) -> u16 {
        match self {
            Self::Luks1(_) => 1,
            Self::Luks2(_) => 2,
        }
    }

    /// Gives the UUID as it stands.
    #[must_use]
    pub fn uuid(&self) -> String {
        match self {
            Self::Luks1(header) => header.uuid(),
            Self::Luks2(header) => header.binary().uuid(),
        }
    }

    /// Gives the label; LUKS1 has none.
    #[must_use]
    pub fn label(&self) -> Option<String> {
        match self {
            Self::Luks1(_) => None,
            Self::Luks2(header) => Some(header.binary().label()),
        }
    }

    /// Gives the keyslots in the order in which they are tried; of LUKS1 only the enabled ones.
    #[must_use]
    pub fn keyslots(&self) -> Vec<Keyslot> {
        match self {
            Self::Luks1(header) => header.keyslot_objects(),
            Self::Luks2(header) => header.metadata().keyslots().to_vec(),
        }
    }

    /// Gives the digests.
    #[must_use]
    pub fn digests(&self) -> Vec<Digest> {
        match self {
            Self::Luks1(header) => vec![header.digest_object()],
            Self::Luks2(header) => header.metadata().digests().to_vec(),
        }
    }

    /// Gives the segments, backups of a re-encryption included.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        match self {
            Self::Luks1(header) => vec![header.segment_object()],
            Self::Luks2(header) => header.metadata().segments().to_vec(),
        }
    }

    /// Gives what a reader must understand; LUKS1 has no such list.
    #[must_use]
    pub fn requirements(&self) -> &[luks2::Requirement] {
        match self {
            Self::Luks1(_) => &[],
            Self::Luks2(header) => header.metadata().requirements(),
        }
    }

    /// Gives the flags of the volume as they stand; LUKS1 has none.
    #[must_use]
    pub fn flags(&self) -> &[String] {
        match self {
            Self::Luks1(_) => &[],
            Self::Luks2(header) => header.metadata().flags(),
        }
    }

    /// Gives the length of everything before the data: headers and keyslot areas.
    #[must_use]
    pub fn total_len(&self) -> ByteLen {
        match self {
            Self::Luks1(header) => header.total_len(),
            Self::Luks2(header) => header.metadata().total_len(),
        }
    }
}
