//! Writing a header: both copies, so that at any instant one of them is whole.
//!
//! The order of one update, which no write may leave:
//!
//! 1. the metadata obey every rule and fit their area, the device is long enough;
//! 2. the header on the device is still the one that was read;
//! 3. if the secondary copy is damaged or older, it is made equal to the header that was read, and
//!    flushed: otherwise a crash in step 4 could leave no copy at all;
//! 4. the primary copy is written and flushed;
//! 5. the secondary copy is written and flushed.
//!
//! Key material that the new header refers to is the caller's to write and flush before.

use alloc::{boxed::Box, vec::Vec};

use luksmith_block::{BlockDevice, ByteOffset};
use luksmith_hash::{Hash, MAX_DIGEST_BYTES};
use rand_core::TryCryptoRng;

use super::{
    BINARY_HEADER_BYTES, BinaryHeader, Header, HeaderSize, MAX_LABEL_BYTES, Metadata, Side,
};
use crate::{
    Error, Format, detect, device,
    layout::{luks2_binary as layout, text_of},
};

/// What the device held when the header was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OnDevice {
    /// The chosen copy.
    pub(super) binary: BinaryHeader,
    /// Its JSON area, without the zeros at its end.
    pub(super) text: Vec<u8>,
    /// Sequence number in the primary's place, if a LUKS2 magic stands there.
    pub(super) primary_seqid: Option<u64>,
    /// Whether the secondary copy is whole and not older than the chosen one.
    pub(super) secondary_is_current: bool,
    /// Sequence number that a damaged secondary copy claims, if it is above the chosen one's.
    pub(super) newer_secondary: Option<u64>,
    /// Why the copy that was not chosen is not as good as the chosen one.
    pub(super) other_fault: Option<Error>,
}

impl OnDevice {
    /// Refuses to overwrite a copy that may be the newer one.
    fn check_updatable(&self) -> Result<(), Error> {
        let used = self.binary.seqid();
        if let Some(claimed) = self.newer_secondary {
            return Err(Error::NewerDamagedCopy {
                side: Side::Secondary,
                claimed,
                used,
            });
        }
        match (&self.other_fault, self.binary.side()) {
            (Some(Error::Device { .. }), Side::Primary) => Err(Error::UnreadableCopy {
                side: Side::Secondary,
                used,
            }),
            (Some(Error::Device { .. }), Side::Secondary) => Err(Error::UnreadableCopy {
                side: Side::Primary,
                used,
            }),
            _ => Ok(()),
        }
    }
}

impl Header {
    /// Makes a header that stands on no device yet: the first [`write()`] gives it the sequence
    /// number
    /// 2, as cryptsetup's first write does.
    ///
    /// `uuid` is in its 36-character form.
    ///
    /// # Errors
    /// [`Error::UuidText`].
    pub fn new(metadata: Metadata, uuid: &str) -> Result<Self, Error> {
        let mut raw = [0; BINARY_HEADER_BYTES];
        layout::magic.set(&mut raw, Side::Primary.magic());
        layout::version.set(&mut raw, 2_u16.to_be_bytes());
        layout::hdr_size.set(&mut raw, metadata.hdr_len().get().to_be_bytes());
        layout::seqid.set(&mut raw, 1_u64.to_be_bytes());
        layout::checksum_alg.set_text(&mut raw, b"sha256");
        let binary = BinaryHeader::parse(&raw, Side::Primary, ByteOffset::ZERO)?;
        let mut header = Self::from_parts(binary, metadata, None);
        header.set_uuid(uuid)?;
        Ok(header)
    }

    /// Sets the label.
    ///
    /// # Errors
    /// [`Error::LabelLength`] for more than 47 bytes or a zero byte among them.
    pub fn set_label(&mut self, label: &str) -> Result<(), Error> {
        check_label("label", label)?;
        let raw = self.binary_mut().raw_mut();
        layout::label.set_text(raw, label.as_bytes());
        Ok(())
    }

    /// Sets the subsystem.
    ///
    /// # Errors
    /// [`Error::LabelLength`] for more than 47 bytes or a zero byte among them.
    pub fn set_subsystem(&mut self, subsystem: &str) -> Result<(), Error> {
        check_label("subsystem", subsystem)?;
        let raw = self.binary_mut().raw_mut();
        layout::subsystem.set_text(raw, subsystem.as_bytes());
        Ok(())
    }

    /// Sets the UUID, in lower case.
    ///
    /// # Errors
    /// [`Error::UuidText`].
    pub fn set_uuid(&mut self, text: &str) -> Result<(), Error> {
        let text = crate::uuid_text(text)?;
        let raw = self.binary_mut().raw_mut();
        layout::uuid.set_text(raw, text.as_bytes());
        Ok(())
    }

    /// Tells whether an update may overwrite the other copy. [`write()`] asks too; who changes
    /// keyslot areas asks before, or an area would be changed for a header that is then refused.
    ///
    /// # Errors
    /// [`Error::NewerDamagedCopy`], [`Error::UnreadableCopy`].
    pub fn check_updatable(&self) -> Result<(), Error> {
        self.on_device().map_or(Ok(()), OnDevice::check_updatable)
    }

    /// Gives one copy as it would be written: binary header, text, zeros up to its length.
    ///
    /// # Errors
    /// [`Error::MetadataFull`], [`Error::ChecksumHash`].
    pub fn render(&self, side: Side, salt: [u8; 64]) -> Result<Vec<u8>, Error> {
        let text = self.metadata().tree().to_compact();
        render(self.binary(), side, salt, text.as_bytes())
    }
}

fn check_label(field: &'static str, text: &str) -> Result<(), Error> {
    if text.len() > MAX_LABEL_BYTES || text.contains('\0') {
        return Err(Error::LabelLength {
            field,
            found: text.len(),
        });
    }
    Ok(())
}

/// Writes a header that was read and changed, or a new one, to its device.
///
/// The caller holds the locks that its system asks for. On success the header is as it stands on
/// the
/// device, with its sequence number raised.
///
/// # Errors
/// Before the first write: [`Error::Field`], [`Error::MetadataFull`], [`Error::TooShort`],
/// [`Error::ConcurrentUpdate`], [`Error::NewerDamagedCopy`], [`Error::UnreadableCopy`],
/// [`Error::Random`]. [`Error::Device`] may come after some writes: then read the header again, it
/// is the old or the new one.
pub fn write<D, R>(device: &D, header: &mut Header, random: &mut R) -> Result<(), Error>
where
    D: BlockDevice + ?Sized,
    R: TryCryptoRng + ?Sized,
{
    let mut metadata = header.metadata().clone();
    metadata.drop_idle_digests()?;
    let text = metadata.tree().to_compact().into_bytes();
    let mut binary = header.binary().clone();
    let seqid = binary.seqid().wrapping_add(1);
    layout::seqid.set(binary.raw_mut(), seqid.to_be_bytes());
    let primary = render(&binary, Side::Primary, salt(random)?, &text)?;
    let secondary = render(&binary, Side::Secondary, salt(random)?, &text)?;
    let total = metadata.total_len();
    if device.size().get() < total.get() {
        return Err(Error::too_short(
            "the LUKS2 header with its keyslot area",
            0,
            total.get(),
            device.size(),
        ));
    }
    if let Some(known) = header.on_device() {
        known.check_updatable()?;
        refuse_concurrent_update(device, known)?;
        if !known.secondary_is_current {
            let old = render(&known.binary, Side::Secondary, salt(random)?, &known.text)?;
            put(device, Side::Secondary, &old)?;
        }
    }
    put(device, Side::Primary, &primary)?;
    put(device, Side::Secondary, &secondary)?;
    let binary = parse_rendered(&primary)?;
    *header = Header::from_parts(
        binary.clone(),
        metadata,
        Some(OnDevice {
            binary,
            text,
            primary_seqid: Some(seqid),
            secondary_is_current: true,
            newer_secondary: None,
            other_fault: None,
        }),
    );
    Ok(())
}

fn parse_rendered(copy: &[u8]) -> Result<BinaryHeader, Error> {
    let raw = copy
        .first_chunk::<BINARY_HEADER_BYTES>()
        .expect("a rendered copy starts with its binary header");
    BinaryHeader::parse(raw, Side::Primary, ByteOffset::ZERO)
}

/// Draws a salt.
pub(super) fn salt<R: TryCryptoRng + ?Sized>(random: &mut R) -> Result<[u8; 64], Error> {
    let mut salt = [0; 64];
    random
        .try_fill_bytes(&mut salt)
        .map_err(|_| Error::Random)?;
    Ok(salt)
}

/// Writes one copy and makes it durable.
pub(super) fn put<D: BlockDevice + ?Sized>(
    device: &D,
    side: Side,
    copy: &[u8],
) -> Result<(), Error> {
    let at = match side {
        Side::Primary => ByteOffset::ZERO,
        Side::Secondary => ByteOffset::new(u64::try_from(copy.len()).unwrap_or(u64::MAX)),
    };
    device.write_at(at, copy)?;
    device.flush()?;
    Ok(())
}

/// Refuses if another program has written a header since.
fn refuse_concurrent_update<D: BlockDevice + ?Sized>(
    device: &D,
    known: &OnDevice,
) -> Result<(), Error> {
    let mut raw = Box::new([0; BINARY_HEADER_BYTES]);
    let what = "a LUKS2 binary header";
    device::read(device, what, ByteOffset::ZERO, raw.as_mut_slice())?;
    let found = primary_mark(&raw);
    let uuid = layout::uuid.get(known.binary.raw());
    match (found, known.primary_seqid) {
        (Some((found, now)), Some(expected)) if text_of(&now) == text_of(&uuid) => {
            if found == expected {
                return Ok(());
            }
            Err(Error::ConcurrentUpdate { expected, found })
        }
        // A primary was damaged when it was read, and now there is one: someone repaired it.
        (Some((found, now)), None) if text_of(&now) == text_of(&uuid) => {
            let expected = known.binary.seqid();
            Err(Error::ConcurrentUpdate { expected, found })
        }
        _ => Ok(()),
    }
}

/// Gives sequence number and UUID field of what stands in the primary's place, if it has a LUKS2
/// magic.
pub(super) fn primary_mark(raw: &[u8; BINARY_HEADER_BYTES]) -> Option<(u64, [u8; 40])> {
    (detect(raw) == Format::Luks2).then(|| {
        let seqid = u64::from_be_bytes(layout::seqid.get(raw));
        (seqid, layout::uuid.get(raw))
    })
}

/// Gives the sequence number of what stands where a secondary copy can lie, if it has the magic of
/// one and says that it belongs there.
pub(super) fn secondary_mark(raw: &[u8; BINARY_HEADER_BYTES], at: ByteOffset) -> Option<u64> {
    let is_here = layout::magic.get(raw) == Side::Secondary.magic()
        && u64::from_be_bytes(layout::hdr_offset.get(raw)) == at.get();
    is_here.then(|| u64::from_be_bytes(layout::seqid.get(raw)))
}

/// Puts a whole copy together: label, UUID, subsystem, sequence number and hash come from `binary`.
pub(super) fn render(
    binary: &BinaryHeader,
    side: Side,
    salt: [u8; 64],
    text: &[u8],
) -> Result<Vec<u8>, Error> {
    let hash = binary.checksum_hash()?;
    let size = binary.hdr_size();
    let known = HeaderSize::from_bytes(size).ok_or(Error::CopySize {
        side,
        at: binary.hdr_offset(),
        found: size,
    })?;
    // One byte of the area stays zero: it ends the text.
    let room = known.json_bytes().saturating_sub(1);
    if u64::try_from(text.len()).map_or(true, |len| len > room) {
        return Err(Error::MetadataFull {
            needed: text.len(),
            available: room,
        });
    }
    let old = binary.raw();
    let mut raw = [0; BINARY_HEADER_BYTES];
    layout::magic.set(&mut raw, side.magic());
    layout::version.set(&mut raw, 2_u16.to_be_bytes());
    layout::hdr_size.set(&mut raw, size.to_be_bytes());
    layout::seqid.set(&mut raw, layout::seqid.get(old));
    layout::label.set_text(&mut raw, text_of(&layout::label.get(old)));
    layout::checksum_alg.set_text(&mut raw, text_of(&layout::checksum_alg.get(old)));
    layout::salt.set(&mut raw, salt);
    layout::uuid.set_text(&mut raw, text_of(&layout::uuid.get(old)));
    layout::subsystem.set_text(&mut raw, text_of(&layout::subsystem.get(old)));
    let at = match side {
        Side::Primary => 0,
        Side::Secondary => size,
    };
    layout::hdr_offset.set(&mut raw, at.to_be_bytes());
    let mut copy = Vec::from(raw);
    copy.extend_from_slice(text);
    // 4 MiB at most.
    copy.resize(usize::try_from(size).unwrap_or(copy.len()), 0);
    let mut checksum = [0; MAX_DIGEST_BYTES];
    let digest = checksum
        .get_mut(..hash.digest_bytes())
        .expect("no digest is longer than the longest");
    Hash::digest(hash, &[&copy], digest).expect("the slice has the digest's length");
    let binary: &mut [u8; BINARY_HEADER_BYTES] = copy
        .first_chunk_mut()
        .expect("the copy starts with its binary header");
    layout::csum.set(binary, checksum);
    Ok(copy)
}
