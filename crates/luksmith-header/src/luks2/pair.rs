//! Both copies of a LUKS2 header, and the choice between them. Nothing here writes.

use alloc::{boxed::Box, vec, vec::Vec};

use luksmith_block::{BlockDevice, ByteLen, ByteOffset};

use super::{
    BINARY_HEADER_BYTES, BinaryHeader, HeaderSize, Metadata, Side,
    write::{OnDevice, primary_mark, secondary_mark},
};
use crate::{
    Error, Limits, device,
    signature::{BOOT_SECTOR, foreign_signature},
};

/// A copy whose checksum is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    binary: BinaryHeader,
    metadata: Result<Metadata, Error>,
    text: Vec<u8>,
}

impl Copy {
    /// Gives the binary header.
    #[must_use]
    pub const fn binary(&self) -> &BinaryHeader {
        &self.binary
    }

    /// Gives the metadata.
    ///
    /// # Errors
    /// What is wrong with the JSON area, although its checksum is right.
    pub fn metadata(&self) -> Result<&Metadata, &Error> {
        self.metadata.as_ref()
    }

    /// Gives the JSON area without the zeros at its end.
    #[must_use]
    pub fn json_text(&self) -> &[u8] {
        &self.text
    }
}

/// What was found where a secondary copy can lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where.
    pub at: ByteOffset,
    /// What. Of several good ones only the newest is here, the others are [`Error::OlderCopy`].
    pub copy: Result<Copy, Error>,
    /// Sequence number that it claims to have, if the magic of a secondary copy stands there,
    /// however
    /// damaged the rest is.
    pub claimed_seqid: Option<u64>,
}

/// Both copies as they are on the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    primary: Result<Copy, Error>,
    /// Only the one place that the primary names, if there is a primary; else all nine.
    candidates: Vec<Candidate>,
    /// Sequence number in the primary's place, if a LUKS2 magic stands there, however damaged.
    primary_seqid: Option<u64>,
    /// The format whose mark stands in the primary's place.
    foreign: Option<&'static str>,
    device_len: ByteLen,
}

/// A LUKS2 header: one copy, chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    binary: BinaryHeader,
    metadata: Metadata,
    on_device: Option<OnDevice>,
}

impl Header {
    pub(super) const fn from_parts(
        binary: BinaryHeader,
        metadata: Metadata,
        on_device: Option<OnDevice>,
    ) -> Self {
        Self {
            binary,
            metadata,
            on_device,
        }
    }

    pub(super) fn binary_mut(&mut self) -> &mut BinaryHeader {
        &mut self.binary
    }

    pub(super) fn on_device(&self) -> Option<&OnDevice> {
        self.on_device.as_ref()
    }

    /// Gives the binary header.
    #[must_use]
    pub const fn binary(&self) -> &BinaryHeader {
        &self.binary
    }

    /// Gives the metadata.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Gives the metadata for changing: see [`Metadata::edit`].
    pub const fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    /// Gives why the other copy on the device is not as good as this one: it is damaged, older, or
    /// could not be read. Nothing for a header that was not read from a device.
    ///
    /// Programs tell their users: one more fault, and the volume is lost.
    #[must_use]
    pub fn other_copy_fault(&self) -> Option<&Error> {
        self.on_device.as_ref()?.other_fault.as_ref()
    }
}

/// Reads and chooses the LUKS2 header of a device.
///
/// # Errors
/// As [`Pair::read`] and [`Pair::choose`].
pub fn read<D: BlockDevice + ?Sized>(device: &D, limits: &Limits) -> Result<Header, Error> {
    Pair::read(device, limits)?.choose()
}

impl Pair {
    /// Reads both copies. A copy that cannot be used is part of the answer, with its reason; a part
    /// of the medium that fails to read counts as a damaged copy.
    ///
    /// The secondary is looked for where a checksum-correct primary says; without one, at all nine
    /// places.
    ///
    /// # Errors
    /// [`Error::Device`] if the device refuses for another reason than a bad medium, such as
    /// [`Cancelled`](luksmith_block::Error::Cancelled).
    pub fn read<D: BlockDevice + ?Sized>(device: &D, limits: &Limits) -> Result<Self, Error> {
        let mut places = Vec::new();
        let start = read_start(device, ByteOffset::ZERO)?;
        let primary = read_copy(device, &start, Side::Primary, ByteOffset::ZERO, limits)?;
        match &primary {
            Ok(copy) => places.push(ByteOffset::new(copy.binary.hdr_size())),
            Err(_) => places.extend(HeaderSize::all().map(|size| ByteOffset::new(size.bytes()))),
        }
        let mut candidates: Vec<Candidate> = Vec::new();
        for at in places {
            let here = read_start(device, at)?;
            let copy = read_copy(device, &here, Side::Secondary, at, limits)?;
            candidates.push(Candidate {
                at,
                copy,
                claimed_seqid: here.secondary_seqid(at),
            });
            keep_the_newest(&mut candidates);
        }
        Ok(Self {
            primary,
            candidates,
            primary_seqid: start.primary_seqid(),
            foreign: start.foreign(),
            device_len: device.size(),
        })
    }

    /// Gives the primary copy.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn primary(&self) -> Result<&Copy, &Error> {
        self.primary.as_ref()
    }

    /// Gives what was found at the places where a secondary copy was looked for.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Gives the secondary copy: the one that the primary points to, or, without a primary, of
    /// those
    /// whose checksum and metadata are right the one with the highest sequence number.
    ///
    /// # Errors
    /// Why there is none.
    pub fn secondary(&self) -> Result<&Copy, &Error> {
        let best = self.usable_candidate();
        if let Some(copy) = best {
            return Ok(copy);
        }
        match self.interesting_candidate() {
            Some(Candidate { copy: Ok(copy), .. }) => Ok(copy),
            Some(Candidate {
                copy: Err(error), ..
            }) => Err(error),
            // `read` looks at one place at least; without any, the primary's error is what there
            // is.
            None => match &self.primary {
                Ok(copy) => Ok(copy),
                Err(error) => Err(error),
            },
        }
    }

    /// Gives the sequence number of a damaged secondary that claims to be newer than `chosen`.
    pub(super) fn newer_damaged_secondary(&self, chosen: &BinaryHeader) -> Option<u64> {
        let damaged = self.candidates.iter().filter(|candidate| {
            !candidate
                .copy
                .as_ref()
                .is_ok_and(|copy| copy.metadata.is_ok())
        });
        damaged
            .filter_map(|candidate| candidate.claimed_seqid)
            .filter(|claimed| *claimed > chosen.seqid())
            .max()
    }

    /// Gives the sequence number of a damaged primary that claims to be newer than `chosen`.
    pub(super) fn newer_damaged_primary(&self, chosen: &BinaryHeader) -> Option<u64> {
        let is_damaged = usable(&self.primary).is_none();
        self.primary_seqid
            .filter(|claimed| is_damaged && *claimed > chosen.seqid())
    }

    pub(super) const fn device_len(&self) -> ByteLen {
        self.device_len
    }

    pub(super) const fn foreign(&self) -> Option<&'static str> {
        self.foreign
    }

    /// Gives the good candidate: reading keeps one at most.
    fn usable_candidate(&self) -> Option<&Copy> {
        self.candidates
            .iter()
            .find_map(|candidate| usable(&candidate.copy))
    }

    /// Of several unusable candidates, the one whose error says most: a copy with a right checksum,
    /// else one with the magic, else the first.
    fn interesting_candidate(&self) -> Option<&Candidate> {
        let rank = |candidate: &Candidate| match &candidate.copy {
            Ok(_) => 0,
            Err(Error::Magic { .. } | Error::TooShort { .. }) => 3,
            // The keyslot areas and the data have bad places too.
            Err(Error::Device { .. }) => 2,
            Err(_) => 1,
        };
        self.candidates
            .iter()
            .min_by_key(|candidate| rank(candidate))
    }

    /// Chooses the copy to use: of two good ones the one with the higher sequence number, the
    /// primary if they are equal.
    ///
    /// # Errors
    /// [`Error::NotLuks`] if there is no trace of a header, [`Error::NoUsableCopy`] if neither can
    /// be used, [`Error::Device`] if the only trace of a header is that its place cannot be read,
    /// [`Error::Overwritten`] if one of them is damaged or older and something else stands in the
    /// primary's place, [`Error::TooShort`] if the device ends before the keyslot area does.
    pub fn choose(&self) -> Result<Header, Error> {
        let copy = self.pick()?;
        if self.primary.is_err() {
            self.refuse_hidden_candidates()?;
        }
        // Whoever wrote another format over the primary may have meant to: cryptsetup refuses to
        // use
        // what it would have to repair, and so do we, until a repair is asked for by name.
        if let Some(found) = self.foreign
            && !self.both_are_current()
        {
            return Err(Error::Overwritten { found });
        }
        let metadata = copy.metadata.clone()?;
        let total = metadata.total_len();
        if self.device_len.get() < total.get() {
            return Err(Error::too_short(
                "the LUKS2 header with its keyslot area",
                0,
                total.get(),
                self.device_len,
            ));
        }
        let is_current = |second: &Copy| second.binary.seqid() == copy.binary.seqid();
        Ok(Header {
            binary: copy.binary.clone(),
            metadata,
            on_device: Some(OnDevice {
                binary: copy.binary.clone(),
                text: copy.text.clone(),
                primary_seqid: self.primary_seqid,
                secondary_is_current: self.good_secondary().is_some_and(is_current),
                newer_secondary: self.newer_damaged_secondary(&copy.binary),
                other_fault: self.other_fault(&copy.binary),
            }),
        })
    }

    /// Picks the copy to use, without asking whether it may be used unrepaired.
    pub(super) fn pick(&self) -> Result<&Copy, Error> {
        // Where LUKS1 stands, a LUKS2 secondary is what was left of an earlier volume.
        if let Err(error @ Error::CopyVersion { found: 1, .. }) = &self.primary {
            return Err(error.clone());
        }
        match (usable(&self.primary), self.good_secondary()) {
            (Some(first), Some(second)) if second.binary.seqid() > first.binary.seqid() => {
                Ok(second)
            }
            (Some(first), _) => Ok(first),
            (None, Some(second)) => Ok(second),
            (None, None) => Err(self.no_usable_copy(self.secondary())),
        }
    }

    pub(super) fn good_secondary(&self) -> Option<&Copy> {
        self.secondary().ok().filter(|copy| copy.metadata.is_ok())
    }

    /// Tells whether both copies are good and have the same sequence number.
    #[must_use]
    pub fn both_are_current(&self) -> bool {
        match (usable(&self.primary), self.good_secondary()) {
            (Some(first), Some(second)) => first.binary.seqid() == second.binary.seqid(),
            _ => false,
        }
    }

    /// Gives why the copy that was not chosen is not as good as the chosen one.
    pub(super) fn other_fault(&self, chosen: &BinaryHeader) -> Option<Error> {
        let (side, other) = match chosen.side() {
            Side::Primary => (Side::Secondary, self.secondary()),
            Side::Secondary => (Side::Primary, self.primary.as_ref()),
        };
        let other = match other {
            Ok(copy) => copy,
            Err(error) => return Some(error.clone()),
        };
        if let Err(error) = &other.metadata {
            return Some(error.clone());
        }
        let (found, newer) = (other.binary.seqid(), chosen.seqid());
        (found != newer).then_some(Error::OlderCopy { side, found, newer })
    }

    /// Without a primary, cryptsetup looks only at the first place with a right checksum, and gives
    /// up if the metadata there are bad. So does opening; a repair may choose another candidate.
    fn refuse_hidden_candidates(&self) -> Result<(), Error> {
        // A good copy that is not the newest counts as good here.
        let first = self
            .candidates
            .iter()
            .find_map(|candidate| match &candidate.copy {
                Ok(copy) => Some(Some(copy)),
                Err(Error::OlderCopy { .. }) => Some(None),
                Err(_) => None,
            })
            .flatten();
        if let Err(primary) = &self.primary
            && let Some(Copy {
                metadata: Err(secondary),
                ..
            }) = first
        {
            return Err(Error::NoUsableCopy {
                primary: Box::new(primary.clone()),
                secondary: Box::new(secondary.clone()),
            });
        }
        Ok(())
    }

    fn no_usable_copy(&self, secondary: Result<&Copy, &Error>) -> Error {
        let why = |copy: Result<&Copy, &Error>| match copy {
            Err(error) => error.clone(),
            Ok(copy) => match &copy.metadata {
                Err(error) => error.clone(),
                Ok(_) => Error::NotLuks,
            },
        };
        let is_trace = |error: &Error| {
            !matches!(
                error,
                Error::Magic { .. } | Error::TooShort { .. } | Error::NotLuks
            )
        };
        let primary = why(self.primary.as_ref());
        let secondary = why(secondary);
        // What cannot be read is no trace of a header, but nobody can say that there is none.
        let is_unread = |error: &Error| matches!(error, Error::Device { .. });
        if !is_trace(&primary) && !is_trace(&secondary) {
            return match primary {
                Error::TooShort { .. } => primary,
                _ => Error::NotLuks,
            };
        }
        if is_unread(&primary) && (is_unread(&secondary) || !is_trace(&secondary)) {
            return primary;
        }
        if is_unread(&secondary) && !is_trace(&primary) {
            return secondary;
        }
        Error::NoUsableCopy {
            primary: Box::new(primary),
            secondary: Box::new(secondary),
        }
    }
}

fn usable(copy: &Result<Copy, Error>) -> Option<&Copy> {
    copy.as_ref().ok().filter(|copy| copy.metadata.is_ok())
}

/// Of several good candidates only the newest stays in memory; of equals the first one.
fn keep_the_newest(candidates: &mut [Candidate]) {
    let newest = candidates
        .iter()
        .filter_map(|candidate| usable(&candidate.copy))
        .map(|copy| copy.binary.seqid())
        .max();
    let Some(newer) = newest else { return };
    let mut is_found = false;
    for candidate in candidates {
        let Some(copy) = usable(&candidate.copy) else {
            continue;
        };
        let found = copy.binary.seqid();
        if found == newer && !is_found {
            is_found = true;
        } else {
            candidate.copy = Err(Error::OlderCopy {
                side: Side::Secondary,
                found,
                newer,
            });
        }
    }
}

/// The bytes where a binary header can stand.
struct Start {
    raw: Box<[u8; BINARY_HEADER_BYTES]>,
    /// How many of them the device has; the rest is zeros.
    len: usize,
    /// Why they could not be read; then all are zeros.
    unread: Option<Error>,
}

fn read_start<D: BlockDevice + ?Sized>(device: &D, at: ByteOffset) -> Result<Start, Error> {
    let mut raw = Box::new([0; BINARY_HEADER_BYTES]);
    let left = device.size().get().saturating_sub(at.get());
    let whole = left.saturating_sub(left % device.sector_size().byte_len().get());
    let len = usize::try_from(whole).map_or(BINARY_HEADER_BYTES, |len| len.min(raw.len()));
    let mut unread = None;
    if let Some(buf) = raw.get_mut(..len)
        && len > 0
        && let Err(error) = device::read(device, "a LUKS2 binary header", at, buf)
    {
        unread = Some(device::bad_medium(error)?);
        raw.fill(0);
    }
    Ok(Start { raw, len, unread })
}

impl Start {
    /// Gives the sequence number of what may be a damaged primary header.
    fn primary_seqid(&self) -> Option<u64> {
        (self.len == BINARY_HEADER_BYTES)
            .then(|| primary_mark(&self.raw))
            .flatten()
            .map(|(seqid, _)| seqid)
    }

    /// Gives the sequence number of what may be a damaged secondary header.
    fn secondary_seqid(&self, at: ByteOffset) -> Option<u64> {
        (self.len == BINARY_HEADER_BYTES)
            .then(|| secondary_mark(&self.raw, at))
            .flatten()
    }

    /// Names the format that took the primary header's place.
    fn foreign(&self) -> Option<&'static str> {
        let found = foreign_signature(self.raw.as_slice())?.name();
        // The checksum field of a good header can end like a boot sector.
        let is_luks = self.raw.starts_with(&Side::Primary.magic());
        (!is_luks || found != BOOT_SECTOR).then_some(found)
    }
}

/// Reads one copy. The outer error is the device's, if it is not about this place.
fn read_copy<D: BlockDevice + ?Sized>(
    device: &D,
    start: &Start,
    side: Side,
    at: ByteOffset,
    limits: &Limits,
) -> Result<Result<Copy, Error>, Error> {
    if let Some(error) = &start.unread {
        return Ok(Err(error.clone()));
    }
    if start.len < BINARY_HEADER_BYTES && (start.len == 0 || start.raw.starts_with(&side.magic())) {
        let what = "a LUKS2 binary header";
        return Ok(Err(Error::too_short(what, at.get(), 4096, device.size())));
    }
    let binary = match BinaryHeader::parse(&start.raw, side, at) {
        Ok(binary) => binary,
        Err(error) => return Ok(Err(error)),
    };
    let found = binary.hdr_size();
    if found > limits.header_bytes {
        let limit = limits.header_bytes;
        return Ok(Err(Error::HeaderBytes { side, found, limit }));
    }
    // `parse` saw between 16 KiB and 4 MiB.
    let json_bytes = found.saturating_sub(4096);
    let json_at = ByteOffset::new(at.get().saturating_add(4096));
    let mut area = vec![0; usize::try_from(json_bytes).unwrap_or_default()];
    match device::read(device, "a LUKS2 JSON area", json_at, &mut area) {
        Err(error @ Error::TooShort { .. }) => return Ok(Err(error)),
        Err(error) => return Ok(Err(device::bad_medium(error)?)),
        Ok(()) => {}
    }
    if let Err(error) = binary.verify_checksum(&area) {
        return Ok(Err(error));
    }
    let metadata = Metadata::parse(&area, found, limits);
    let used = area
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last.saturating_add(1));
    area.truncate(used);
    area.shrink_to_fit();
    Ok(Ok(Copy {
        binary,
        metadata,
        text: area,
    }))
}
