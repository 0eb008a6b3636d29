//! What stands on a device before something new is written there.

use core::fmt;

use luksmith_block::{BlockDevice, ByteLen, ByteOffset};
use luksmith_header::{
    Format, Limits, Signature, SignatureKind, detect, foreign_signature, luks2::Pair,
};

use crate::Error;

/// Bytes at the start of a device in which marks of other formats are looked for.
const PROBED_BYTES: u64 = 72 * 1024;

/// What stands on a device, by its marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Found {
    /// A LUKS header of this version.
    Luks(u16),
    /// A LUKS1 header that an offline re-encryption of old has made unusable.
    Luks1OldReencryption,
    /// What is left of a LUKS2 volume whose primary header is gone: the secondary one, which opens
    /// it, or from which a repair makes the other. `mark` is what stands at the start instead.
    SecondaryHeader {
        /// A file system, say, that was made over the volume.
        mark: Option<Signature>,
    },
    /// Another format.
    Foreign(Signature),
}

impl Found {
    /// Gives what it is. All that is left of a LUKS volume is a volume.
    #[must_use]
    pub const fn kind(self) -> SignatureKind {
        match self {
            Self::Luks(_) | Self::Luks1OldReencryption | Self::SecondaryHeader { .. } => {
                SignatureKind::Volume
            }
            Self::Foreign(signature) => signature.kind(),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECONDARY: &str = "the secondary header of a LUKS2 volume";
        match self {
            Self::Luks(version @ 1..=2) => write!(f, "a LUKS{version} header"),
            Self::Luks(_) => f.write_str("a LUKS header of an unknown version"),
            Self::Luks1OldReencryption => f.write_str("a LUKS1 header"),
            Self::SecondaryHeader { mark: None } => f.write_str(SECONDARY),
            Self::SecondaryHeader { mark: Some(mark) } => {
                write!(f, "{SECONDARY}, behind {}", mark.name())
            }
            Self::Foreign(signature) => f.write_str(signature.name()),
        }
    }
}

/// Names what stands on a device, by its marks: a LUKS header, also where only the secondary one of
/// LUKS2 is left, a file system, a partition table. `None` says that nothing known is there, not
/// that the device is empty. The device is only read.
///
/// ```
/// use luksmith::block::{ByteLen, MemDevice, SectorSize};
/// use luksmith::{Found, header::SignatureKind};
///
/// let device = MemDevice::from_bytes(&[&b"hsqs"[..], &[0; 1020]].concat(), SectorSize::S512);
/// let found = luksmith::what_is_there(&device)?.expect("a mark");
/// assert_eq!(found.to_string(), "a SquashFS image");
/// assert_eq!(found.kind(), SignatureKind::FileSystem);
/// # Ok::<(), luksmith::Error>(())
/// ```
///
/// # Errors
/// [`Error::Device`].
pub fn what_is_there(device: &dyn BlockDevice) -> Result<Option<Found>, Error> {
    let unit = device.sector_size().byte_len().get();
    let len = device.size().get().min(PROBED_BYTES) / unit * unit;
    let mut start = vec![0; ByteLen::new(len).to_usize().unwrap_or_default()];
    device.read_at(ByteOffset::ZERO, &mut start)?;
    match detect(&start) {
        Format::Luks1 => return Ok(Some(Found::Luks(1))),
        Format::Luks2 => return Ok(Some(Found::Luks(2))),
        Format::UnknownVersion(version) => return Ok(Some(Found::Luks(version))),
        Format::Luks1OldReencryption => return Ok(Some(Found::Luks1OldReencryption)),
        _ => {}
    }
    let mark = foreign_signature(&start);
    // A volume whose primary header was overwritten still opens by its secondary, or is repaired
    // from it, whatever stands in the primary's place: an old mark, or one made by mistake.
    let pair = Pair::read(device, &Limits::default())?;
    let mut places = pair.candidates().iter();
    if places.any(|candidate| candidate.claimed_seqid.is_some()) {
        return Ok(Some(Found::SecondaryHeader { mark }));
    }
    Ok(mark.map(Found::Foreign))
}
