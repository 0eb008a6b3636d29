//! What a journal found on a device means: which sections are to be applied, and where to go on.
//!
//! [`Found::look`] sees whether any entry is used. Where one is, [`scan`] reads the commit ids,
//! [`Scan::plan`] decides, [`Overlay`] remembers where the newest entry of each block lies. Nothing
//! here writes.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::Arc,
};

use luksmith_block::{BlockDevice, CheckTuple, Error as DeviceError, SectorNumber};

use super::section::{METADATA, SectionCodec, Sequence};
use crate::{
    Error, Layout,
    convert::narrow,
    sync::{Mutex, lock},
};

/// Bytes of journal that are read at once while scanning.
const SCAN_BYTES: usize = 1 << 20;

/// Bytes of a sector.
const SECTOR: usize = 512;

/// Sections from so many bytes on are looked at by their metadata sectors first. For smaller ones
/// that is too many requests: of a journal of 64 MiB in a file, on a solid-state disk, sections of
/// 132 KiB took 0.7 ms instead of 3 ms cached and 31 ms instead of 38 ms not cached; those of 44
/// KiB 1.8 ms and 90 ms; those of 16 KiB 4.9 ms and 390 ms.
const LOOKED_AT_BYTES: usize = 32 << 10;

/// What opening found out about a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No entry is used, so nothing is to be applied. Of the commit ids only those of metadata
    /// sectors were seen: where the journal goes on takes a [`scan`].
    Unused,
    /// What is to be done with it.
    Planned(Plan),
}

impl Found {
    /// Reads as much of a journal as it takes to know what is to be applied.
    ///
    /// Whether a used entry counts is decided by the commit ids of all sectors of all sections: one
    /// anywhere may show that a lap was begun. Unless an entry is used, nothing depends on that,
    /// and entries are in the metadata sectors alone.
    ///
    /// # Errors
    /// [`Error::CommitId`] for a sector that carries no commit id of its place,
    /// [`Error::CommitIds`] if all four sequence numbers are in use: both only as far as it was
    /// read; [`Error::Device`].
    pub(crate) fn look<D: BlockDevice>(
        device: &D,
        layout: &Layout,
        codec: &SectionCodec,
    ) -> Result<Self, Error> {
        if codec.section_bytes() >= LOOKED_AT_BYTES && is_unused(device, layout, codec)? {
            return Ok(Self::Unused);
        }
        scan(device, layout, codec)?.plan().map(Self::Planned)
    }
}

/// Reads the metadata sectors of sections, up to the first that has a used entry; tells whether
/// there is none.
fn is_unused<D: BlockDevice>(
    device: &D,
    layout: &Layout,
    codec: &SectionCodec,
) -> Result<bool, Error> {
    let mut metadata = vec![0; METADATA * SECTOR];
    for section in 0..layout.journal_sections() {
        device.read_at(layout.section_at(section), &mut metadata)?;
        codec.decrypt(section, &mut metadata);
        numbers_of(section, &metadata, codec)?;
        if !codec.is_unused(&metadata) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Gives for each sequence number whether a sector of a decrypted section, or of its first sectors,
/// carries it.
fn numbers_of(section: u32, image: &[u8], codec: &SectionCodec) -> Result<[bool; 4], Error> {
    let mut seen = [false; 4];
    for (index, sector) in image.chunks_exact(SECTOR).enumerate() {
        let sequence = codec
            .sequence_of(section, index, sector)
            .ok_or(Error::CommitId {
                section,
                sector: index,
            })?;
        if let Some(seen) = seen.get_mut(sequence.index()) {
            *seen = true;
        }
    }
    Ok(seen)
}

/// The commit ids of a whole journal, reduced to what the decision needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// For each section the number that all its sectors carry, if they agree.
    whole: Vec<Option<Sequence>>,
    /// For each number the greatest section in which a sector carries it.
    highest: [Option<u32>; 4],
    /// No entry of any section is used.
    empty: bool,
}

/// Reads every sector of the journal.
///
/// # Errors
/// [`Error::CommitId`] for a sector that carries no commit id of its place; [`Error::Device`].
pub(crate) fn scan<D: BlockDevice>(
    device: &D,
    layout: &Layout,
    codec: &SectionCodec,
) -> Result<Scan, Error> {
    let mut found = Scan {
        whole: Vec::new(),
        highest: [None; 4],
        empty: true,
    };
    let section_bytes = codec.section_bytes();
    let at_once = (SCAN_BYTES / section_bytes).max(1);
    let sections = layout.journal_sections();
    let mut buffer = vec![0; at_once.min(narrow(u64::from(sections))) * section_bytes];
    let mut next = 0;
    while next < sections {
        let left = narrow(u64::from(sections - next));
        let len = at_once.min(left) * section_bytes;
        let chunk = buffer.get_mut(..len).unwrap_or(&mut []);
        device.read_at(layout.section_at(next), chunk)?;
        for image in chunk.chunks_exact_mut(section_bytes) {
            codec.decrypt(next, image);
            found.take_in(next, image, codec)?;
            next += 1;
        }
    }
    Ok(found)
}

impl Scan {
    /// Takes in the decrypted image of the next section.
    fn take_in(&mut self, section: u32, image: &[u8], codec: &SectionCodec) -> Result<(), Error> {
        let seen = numbers_of(section, image, codec)?;
        let mut numbers = Sequence::ALL
            .into_iter()
            .filter(|sequence| seen.get(sequence.index()) == Some(&true));
        let only = numbers.next();
        self.whole.push(only.filter(|_| numbers.next().is_none()));
        for (highest, _) in self.highest.iter_mut().zip(seen).filter(|(_, seen)| *seen) {
            *highest = Some(section);
        }
        self.empty &= codec.is_unused(image);
        Ok(())
    }

    /// Decides what is to be applied and where the journal goes on.
    ///
    /// # Errors
    /// [`Error::CommitIds`] if all four sequence numbers are in use.
    ///
    /// # Format
    /// docs/formats/integrity.md, "Replay".
    pub(crate) fn plan(&self) -> Result<Plan, Error> {
        let [used0, used1, used2, used3] = self.highest.map(|highest| highest.is_some());
        let last = match (used0, used1, used2, used3) {
            // The greatest number in use is the last one ...
            (_, _, true, false) => Sequence::ALL[2],
            (_, true, false, false) => Sequence::ALL[1],
            (true, false, false, false) => Sequence::ALL[0],
            // ... unless the numbers wrapped: then the one before the first gap is.
            (false, _, _, _) => Sequence::ALL[3],
            (true, false, _, true) => Sequence::ALL[0],
            (true, true, false, true) => Sequence::ALL[1],
            (true, true, true, true) => return Err(Error::CommitIds),
        };
        let used = |sequence: Sequence| {
            self.highest
                .get(sequence.index())
                .is_some_and(Option::is_some)
        };
        let mut want = last.previous();
        // Sections were erased with a number two behind, and the power went half way through.
        let half_erased = !used(want) && used(want.previous());
        let sections = u32::try_from(self.whole.len()).unwrap_or(u32::MAX);
        let newest = self.highest.get(last.index()).copied().flatten();
        let mut start = newest.map_or(0, |newest| newest + 1);
        if start >= sections {
            start = 0;
            want = want.next();
        }
        let first = want;
        let (mut at, mut count) = (start, 0);
        while count < sections && self.whole.get(narrow(u64::from(at))) == Some(&Some(want)) {
            count += 1;
            at += 1;
            if at == sections {
                at = 0;
                want = want.next();
            }
        }
        Ok(Plan {
            start,
            count,
            sections,
            empty: self.empty || half_erased,
            last,
            first,
            want,
        })
    }
}

/// What is to be done with a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The oldest section that is whole and in order.
    start: u32,
    /// How many sections from `start` on are whole and in order.
    count: u32,
    /// Sections of the journal.
    sections: u32,
    /// Nothing is to be applied.
    empty: bool,
    /// The newest number in use.
    last: Sequence,
    /// The number of section `start`.
    first: Sequence,
    /// The number that follows those of the listed sections.
    want: Sequence,
}

/// Where the next commit goes: a section and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resume {
    pub(crate) section: u32,
    pub(crate) sequence: Sequence,
}

impl Plan {
    /// Gives the sections to be applied, with their numbers, oldest first.
    pub(crate) fn replayed(&self) -> impl Iterator<Item = (u32, Sequence)> + use<> {
        let Self {
            start,
            sections,
            first,
            ..
        } = *self;
        let count = if self.empty { 0 } else { self.count };
        (0..count).map(move |step| {
            let section = wrap(start, step, sections);
            let lap = if section < start { first.next() } else { first };
            (section, lap)
        })
    }

    /// Gives where the next commit goes if the journal may stay as it is; `None` if it has to be
    /// erased once it is applied.
    pub(crate) fn continues(&self, journal_mode: bool) -> Option<Resume> {
        (self.count == self.sections && (journal_mode || self.empty)).then_some(Resume {
            section: self.start,
            sequence: self.want,
        })
    }

    /// Gives the sections in the order in which they are erased, and the number they get.
    ///
    /// Each is written and made durable before the next, so that a journal erased half way is
    /// recognised.
    pub(crate) fn erasure(&self) -> (Sequence, impl Iterator<Item = u32> + use<>) {
        let Self {
            start, sections, ..
        } = *self;
        let number = self.last.previous().previous();
        (
            number,
            (0..sections).map(move |step| wrap(start, step, sections)),
        )
    }

    /// Gives where the next commit goes after the erasure.
    pub(crate) fn after_erasure(&self) -> Resume {
        Resume {
            section: 0,
            sequence: self.last.previous(),
        }
    }
}

fn wrap(start: u32, step: u32, sections: u32) -> u32 {
    let at = (u64::from(start) + u64::from(step)) % u64::from(sections.max(1));
    u32::try_from(at).unwrap_or(0)
}

/// Reads and decrypts one section, and holds it against what the plan saw.
///
/// # Errors
/// [`Error::JournalChanged`] if it is no longer whole; [`Error::SectionMac`]; [`Error::Device`].
pub(crate) fn load<D: BlockDevice>(
    device: &D,
    layout: &Layout,
    codec: &SectionCodec,
    (section, sequence): (u32, Sequence),
    image: &mut [u8],
) -> Result<(), Error> {
    device.read_at(layout.section_at(section), image)?;
    codec.decrypt(section, image);
    if codec.whole_sequence(section, image) != Some(sequence) {
        return Err(Error::JournalChanged { section });
    }
    if !codec.mac_matches(section, image) {
        return Err(Error::SectionMac { section });
    }
    Ok(())
}

/// Calls `each` with entry and target sector of every entry of a loaded section that counts.
///
/// Entries past the provided sectors are dropped, as the kernel does.
///
/// # Errors
/// [`Error::JournalSector`] for a target inside a block, and what `each` gives.
pub(crate) fn for_each_entry(
    layout: &Layout,
    codec: &SectionCodec,
    section: u32,
    image: &[u8],
    mut each: impl FnMut(usize, SectorNumber) -> Result<(), Error>,
) -> Result<(), Error> {
    let spb = layout.block_size().sectors().get();
    for entry in 0..codec.entries() {
        let Some(target) = codec.target(entry, image) else {
            continue;
        };
        let sector = SectorNumber::new(target);
        if !target.is_multiple_of(spb) {
            return Err(Error::JournalSector {
                section,
                entry,
                sector,
            });
        }
        if target < layout.provided_data_sectors().get() {
            each(entry, sector)?;
        }
    }
    Ok(())
}

/// Checks one entry's tag against its data.
///
/// # Errors
/// [`Error::JournalTag`] if they do not belong together.
pub(crate) fn check_entry(
    check: Option<&dyn CheckTuple>,
    section: u32,
    entry: usize,
    sector: SectorNumber,
    data: &[u8],
    tuple: &[u8],
) -> Result<(), Error> {
    let Some(check) = check else {
        return Ok(());
    };
    match check.check(sector, data, tuple) {
        Ok(()) => Ok(()),
        Err(DeviceError::TagMismatch { .. }) => Err(Error::JournalTag {
            section,
            entry,
            sector,
        }),
        Err(source) => Err(Error::Device { source }),
    }
}

/// The newest journal entry of each block, for reading without writing.
///
/// Only positions are kept: an entry's bytes are read, and its section held against the commit ids
/// again, whenever the block is read.
#[derive(Debug, Default)]
pub(crate) struct Overlay(BTreeMap<u64, OverlayEntry>);

/// Sections that the overlay read and verified last, the newest first.
#[derive(Debug, Default)]
pub(crate) struct LoadedSections(Mutex<VecDeque<(u32, Arc<Vec<u8>>)>>);

/// Sections that are kept: 200 KiB each at most.
const KEPT_SECTIONS: usize = 8;

impl LoadedSections {
    /// Gives a section, if it is kept.
    ///
    /// # Errors
    /// [`DeviceError::FailStop`].
    pub(crate) fn get(&self, section: u32) -> Result<Option<Arc<Vec<u8>>>, DeviceError> {
        let mut kept = lock(&self.0)?;
        let Some(place) = kept.iter().position(|(kept, _)| *kept == section) else {
            return Ok(None);
        };
        // The one that is not asked for goes first.
        let found = kept.remove(place);
        let image = found.as_ref().map(|(_, image)| Arc::clone(image));
        if let Some(found) = found {
            kept.push_front(found);
        }
        Ok(image)
    }

    /// Keeps a section.
    ///
    /// # Errors
    /// [`DeviceError::FailStop`].
    pub(crate) fn put(&self, section: u32, image: &Arc<Vec<u8>>) -> Result<(), DeviceError> {
        let mut kept = lock(&self.0)?;
        kept.retain(|(kept, _)| *kept != section);
        kept.truncate(KEPT_SECTIONS - 1);
        kept.push_front((section, Arc::clone(image)));
        Ok(())
    }

    /// Forgets them.
    ///
    /// # Errors
    /// [`DeviceError::FailStop`].
    pub(crate) fn clear(&self) -> Result<(), DeviceError> {
        lock(&self.0)?.clear();
        Ok(())
    }
}

/// One block that the overlay holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OverlayEntry {
    pub(crate) section: u32,
    pub(crate) sequence: Sequence,
    pub(crate) entry: u16,
}

const _: () = assert!(size_of::<OverlayEntry>() == 8);

impl Overlay {
    /// Goes through the sections that a replay would apply, checking each entry with `check`.
    ///
    /// # Errors
    /// Those of [`load`], [`for_each_entry`] and [`check_entry`]; [`Error::OverlayLimit`] if more
    /// than `limit` blocks wait in the journal.
    pub(crate) fn build<D: BlockDevice>(
        device: &D,
        layout: &Layout,
        codec: &SectionCodec,
        plan: &Plan,
        check: Option<&dyn CheckTuple>,
        limit: usize,
    ) -> Result<Self, Error> {
        let mut newest = BTreeMap::new();
        let mut image = vec![0; codec.section_bytes()];
        let mut data = vec![0; layout.block_size().bytes()];
        let mut tuple = vec![0; usize::from(layout.tag_bytes())];
        for (section, sequence) in plan.replayed() {
            load(device, layout, codec, (section, sequence), &mut image)?;
            for_each_entry(layout, codec, section, &image, |entry, sector| {
                if check.is_some() {
                    codec.copy_entry(entry, &image, &mut data, &mut tuple);
                    check_entry(check, section, entry, sector, &data, &tuple)?;
                }
                newest.insert(
                    sector.get(),
                    OverlayEntry {
                        section,
                        sequence,
                        entry: u16::try_from(entry).expect("a section has 168 entries at most"),
                    },
                );
                if newest.len() > limit {
                    return Err(Error::OverlayLimit { limit });
                }
                Ok(())
            })?;
        }
        Ok(Self(newest))
    }

    /// Gives the blocks of a range of sectors that the journal holds, ascending.
    pub(crate) fn blocks(&self, sectors: Range<u64>) -> impl Iterator<Item = (u64, OverlayEntry)> {
        self.0
            .range(sectors)
            .map(|(&sector, &entry)| (sector, entry))
    }

    /// Tells how many blocks wait in the journal.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests;
