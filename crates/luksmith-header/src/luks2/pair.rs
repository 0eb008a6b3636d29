//! Both copies of a LUKS2 header, and the choice between them. Nothing here writes.

use alloc::{boxed::Box, vec, vec::Vec};

use luksmith_block::{BlockDevice, ByteLen, ByteOffset};

use super::{BINARY_HEADER_BYTES, BinaryHeader, HeaderSize, Metadata, Side};
use crate::{Error, Limits, device};

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
    /// What.
    pub copy: Result<Copy, Error>,
}

/// Both copies as they are on the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    primary: Result<Copy, Error>,
    /// Only the one place that the primary names, if there is a primary; else all nine.
    candidates: Vec<Candidate>,
    device_len: ByteLen,
}

/// A LUKS2 header: one copy, chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    binary: BinaryHeader,
    metadata: Metadata,
    json_text_len: usize,
}

impl Header {
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

    /// Gives the length of the JSON text as it was read: the next write covers at least as much.
    #[must_use]
    pub const fn json_text_len(&self) -> usize {
        self.json_text_len
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
    /// Reads both copies. A copy that cannot be used is part of the answer, with its reason; only a
    /// device that fails to read is an error here.
    ///
    /// The secondary is looked for where a checksum-correct primary says; without one, at all nine
    /// places.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn read<D: BlockDevice + ?Sized>(device: &D, limits: &Limits) -> Result<Self, Error> {
        let mut places = Vec::new();
        let primary = read_copy(device, Side::Primary, ByteOffset::ZERO, limits)?;
        match &primary {
            Ok(copy) => places.push(ByteOffset::new(copy.binary.hdr_size())),
            Err(_) => places.extend(HeaderSize::all().map(|size| ByteOffset::new(size.bytes()))),
        }
        let mut candidates = Vec::new();
        for at in places {
            let copy = read_copy(device, Side::Secondary, at, limits)?;
            candidates.push(Candidate { at, copy });
        }
        Ok(Self {
            primary,
            candidates,
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

    /// Gives the secondary copy: the one that the primary points to, or, without a primary, of those
    /// whose checksum and metadata are right the one with the highest sequence number.
    ///
    /// # Errors
    /// Why there is none.
    pub fn secondary(&self) -> Result<&Copy, &Error> {
        // `max_by_key` prefers the last of equals; the first is wanted, as cryptsetup takes it.
        let best = self
            .usable_candidates()
            .rev()
            .max_by_key(|copy| copy.binary.seqid());
        if let Some(copy) = best {
            return Ok(copy);
        }
        match self.interesting_candidate() {
            Some(Candidate { copy: Ok(copy), .. }) => Ok(copy),
            Some(Candidate {
                copy: Err(error), ..
            }) => Err(error),
            // `read` looks at one place at least; without any, the primary's error is what there is.
            None => match &self.primary {
                Ok(copy) => Ok(copy),
                Err(error) => Err(error),
            },
        }
    }

    fn usable_candidates(&self) -> impl DoubleEndedIterator<Item = &Copy> {
        self.candidates
            .iter()
            .filter_map(|candidate| candidate.copy.as_ref().ok())
            .filter(|copy| copy.metadata.is_ok())
    }

    /// Of several unusable candidates, the one whose error says most: a copy with a right checksum,
    /// else one with the magic, else the first.
    fn interesting_candidate(&self) -> Option<&Candidate> {
        let rank = |candidate: &Candidate| match &candidate.copy {
            Ok(_) => 0,
            Err(Error::Magic { .. } | Error::TooShort { .. }) => 2,
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
    /// [`Error::NotLuks`] if there is no trace of a header, [`Error::NoUsableCopy`] if neither can be
    /// used, [`Error::TooShort`] if the device ends before the keyslot area does.
    pub fn choose(&self) -> Result<Header, Error> {
        let primary = usable(&self.primary);
        let secondary = self.secondary();
        let good_secondary = secondary.ok().filter(|copy| copy.metadata.is_ok());
        let copy = match (primary, good_secondary) {
            (Some(first), Some(second)) if second.binary.seqid() > first.binary.seqid() => second,
            (Some(first), _) => first,
            (None, Some(second)) => {
                self.refuse_what_cryptsetup_refuses()?;
                second
            }
            (None, None) => return Err(self.no_usable_copy(secondary)),
        };
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
        Ok(Header {
            binary: copy.binary.clone(),
            metadata,
            json_text_len: copy.text.len(),
        })
    }

    /// Without a primary, cryptsetup looks only at the first place with a right checksum, and gives
    /// up if the metadata there are bad. So does opening; a repair may choose another candidate.
    fn refuse_what_cryptsetup_refuses(&self) -> Result<(), Error> {
        let first = self
            .candidates
            .iter()
            .find_map(|candidate| candidate.copy.as_ref().ok());
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
        if !is_trace(&primary) && !is_trace(&secondary) {
            return match primary {
                Error::TooShort { .. } => primary,
                _ => Error::NotLuks,
            };
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

/// Reads one copy. The outer error is the device's.
fn read_copy<D: BlockDevice + ?Sized>(
    device: &D,
    side: Side,
    at: ByteOffset,
    limits: &Limits,
) -> Result<Result<Copy, Error>, Error> {
    let mut raw = [0; BINARY_HEADER_BYTES];
    if let Err(error) = device::read(device, "a LUKS2 binary header", at, &mut raw) {
        return not_device(error);
    }
    let binary = match BinaryHeader::parse(&raw, side, at) {
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
    if let Err(error) = device::read(device, "a LUKS2 JSON area", json_at, &mut area) {
        return not_device(error);
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

fn not_device(error: Error) -> Result<Result<Copy, Error>, Error> {
    match error {
        Error::Device { .. } => Err(error),
        other => Ok(Err(other)),
    }
}
