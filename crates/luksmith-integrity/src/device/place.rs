//! Reading and writing in place: data and tags where the layout says they are.

use luksmith_block::{BlockDevice, ByteLen, Error as DeviceError, Operation, SectorNumber};

use super::{IntegrityDevice, Reach};
use crate::{
    Layout, Position,
    convert::{narrow, wide},
    journal::commit::{Placed, Sealed, Store},
    sync::Arc,
    tag_area::NotTaken,
};

/// Bytes of journal that are assembled and written at once.
const COMMIT_BYTES: usize = 1 << 20;

/// Bytes of adjacent blocks that are written back under one lock.
const WRITE_BACK_BYTES: usize = 1 << 20;

impl<D: BlockDevice> IntegrityDevice<D> {
    /// Reads blocks and tags from their places.
    pub(crate) fn read_in_place(
        &self,
        first: u64,
        data: &mut [u8],
        tuples: &mut [u8],
    ) -> Result<(), DeviceError> {
        let (mut data, mut tuples) = (data, tuples);
        let runs = self.runs(first, data.len());
        for (position, blocks) in runs {
            let position = position?;
            let (now, later) = data.split_at_mut(blocks * self.block_bytes());
            let (tags, later_tags) = tuples.split_at_mut(blocks * self.tag_bytes());
            self.devices.data().read_at(position.data, now)?;
            self.tags.read(self.devices.meta(), position.tag, tags)?;
            (data, tuples) = (later, later_tags);
        }
        Ok(())
    }

    /// Reads blocks without their tags from their places.
    pub(crate) fn read_data_in_place(
        &self,
        first: u64,
        data: &mut [u8],
    ) -> Result<(), DeviceError> {
        let mut data = data;
        for (position, blocks) in self.runs(first, data.len()) {
            let (now, later) = data.split_at_mut(blocks * self.block_bytes());
            self.devices.data().read_at(position?.data, now)?;
            data = later;
        }
        Ok(())
    }

    /// Writes blocks, given in consecutive parts, and their tags to their places.
    ///
    /// The caller holds the sectors alone.
    pub(crate) fn write_in_place(
        &self,
        first: u64,
        parts: &[&[u8]],
        tuples: &[u8],
    ) -> Result<(), DeviceError> {
        if let [data] = parts {
            return self.write_whole(first, data, tuples);
        }
        let mut parts = Parts::new(parts);
        let mut tuples = tuples;
        for (position, blocks) in self.runs(first, parts.left()) {
            let position = position?;
            self.stop.check()?;
            let (tags, later) = tuples.split_at(blocks * self.tag_bytes());
            let now = parts.take(blocks * self.block_bytes());
            match now.as_slice() {
                [one] => self.devices.data().write_at(position.data, one)?,
                several => self
                    .devices
                    .data()
                    .write_vectored_at(position.data, several)?,
            }
            self.write_tag_run(&position, tags)?;
            tuples = later;
        }
        Ok(())
    }

    /// As `write_in_place`, of blocks in one part: nothing is allocated.
    fn write_whole(&self, first: u64, data: &[u8], tuples: &[u8]) -> Result<(), DeviceError> {
        let (mut data, mut tuples) = (data, tuples);
        for (position, blocks) in self.runs(first, data.len()) {
            let position = position?;
            self.stop.check()?;
            let (now, later) = data.split_at(blocks * self.block_bytes());
            let (tags, later_tags) = tuples.split_at(blocks * self.tag_bytes());
            self.devices.data().write_at(position.data, now)?;
            self.write_tag_run(&position, tags)?;
            (data, tuples) = (later, later_tags);
        }
        Ok(())
    }

    /// Makes holes of blocks and writes the tags of zeros. The caller holds the sectors alone.
    pub(crate) fn punch_in_place(&self, first: u64, tuples: &[u8]) -> Result<(), DeviceError> {
        let blocks = tuples.len() / self.tag_bytes();
        let mut tuples = tuples;
        for (position, blocks) in self.runs(first, blocks * self.block_bytes()) {
            let position = position?;
            self.stop.check()?;
            self.discard_data(&position, blocks)?;
            let (tags, later) = tuples.split_at(blocks * self.tag_bytes());
            self.write_tag_run(&position, tags)?;
            tuples = later;
        }
        Ok(())
    }

    /// Discards the data of a run of blocks, which are zeros afterwards.
    ///
    /// A device that refuses promised more than it keeps: it gets zeros then. Nobody could free the
    /// journal's sections of a hole that can never be made, and what tells of the discard, a mark
    /// or the tags of zeros, is not always looked at.
    pub(super) fn discard_data(
        &self,
        position: &Position,
        blocks: usize,
    ) -> Result<(), DeviceError> {
        let len = ByteLen::new(wide(blocks * self.block_bytes()));
        let data = self.devices.data();
        match data.discard(position.data, len) {
            Err(error @ DeviceError::FailStop { .. }) => Err(error),
            Err(_) => data.write_zeroes(position.data, len),
            Ok(()) => Ok(()),
        }
    }

    /// Writes tags alone to their places. The caller holds the sectors alone.
    pub(crate) fn write_tags_in_place(&self, first: u64, tuples: &[u8]) -> Result<(), DeviceError> {
        let blocks = tuples.len() / self.tag_bytes();
        let mut tuples = tuples;
        for (position, blocks) in self.runs(first, blocks * self.block_bytes()) {
            let (tags, later) = tuples.split_at(blocks * self.tag_bytes());
            self.write_tag_run(&position?, tags)?;
            tuples = later;
        }
        Ok(())
    }

    /// Puts tags into the cache. Should that have to write and fail, no further write is accepted.
    fn write_tag_run(&self, position: &Position, tags: &[u8]) -> Result<(), DeviceError> {
        self.stop.check()?;
        match self.tags.write(self.devices.meta(), position.tag, tags) {
            Ok(()) => Ok(()),
            // This request alone fails.
            Err(NotTaken::Unread(error)) => Err(error),
            Err(NotTaken::Unwritten(error)) => {
                self.stop.trip(Operation::Write);
                Err(error)
            }
        }
    }

    /// Splits a request at the ends of areas.
    pub(super) fn runs(
        &self,
        first: u64,
        bytes: usize,
    ) -> impl Iterator<Item = (Result<Position, DeviceError>, usize)> + use<D> {
        runs(self.layout, first, bytes / self.block_bytes())
    }

    pub(crate) fn block_bytes(&self) -> usize {
        self.layout.block_size().bytes()
    }

    pub(crate) fn tag_bytes(&self) -> usize {
        usize::from(self.layout.tag_bytes())
    }
}

fn runs(
    layout: Layout,
    first: u64,
    blocks: usize,
) -> impl Iterator<Item = (Result<Position, DeviceError>, usize)> {
    let spb = layout.block_size().sectors().get();
    let (mut at, mut left) = (first, blocks);
    core::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let Ok(position) = layout.locate(SectorNumber::new(at)) else {
            let error = DeviceError::Overflow {
                what: "sector of a checked request",
                value: at,
            };
            return Some((Err(error), core::mem::take(&mut left)));
        };
        let now = left.min(narrow(position.run_blocks));
        left -= now;
        at += wide(now) * spb;
        Some((Ok(position), now))
    })
}

/// Consecutive slices from which pieces are taken that need not end where a slice does.
struct Parts<'a> {
    parts: Vec<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn new(parts: &[&'a [u8]]) -> Self {
        Self {
            parts: parts.iter().rev().copied().collect(),
        }
    }

    fn left(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    fn take(&mut self, len: usize) -> Vec<&'a [u8]> {
        let mut taken = Vec::new();
        let mut missing = len;
        while missing > 0 {
            let Some(part) = self.parts.pop() else {
                break;
            };
            let (now, later) = part.split_at(missing.min(part.len()));
            missing -= now.len();
            taken.push(now);
            if !later.is_empty() {
                self.parts.push(later);
            }
        }
        taken
    }
}

impl<D: BlockDevice> Store for IntegrityDevice<D> {
    fn commit(&self, batch: &[Sealed]) -> Result<(), DeviceError> {
        let bytes = self.codec.section_bytes();
        let at_once = (COMMIT_BYTES / bytes).max(1);
        let longest = batch.len().min(at_once) * bytes;
        let mut buffer = self.pool.take(longest);
        for sections in batch.chunk_by(|a, b| a.section + 1 == b.section) {
            for sections in sections.chunks(at_once) {
                let image = buffer.as_mut_slice();
                let image = image.get_mut(..sections.len() * bytes).unwrap_or(&mut []);
                for (sealed, image) in sections.iter().zip(image.chunks_exact_mut(bytes)) {
                    let entries = sealed.entries.iter().map(Placed::as_entry);
                    self.codec
                        .assemble(sealed.section, sealed.sequence, entries, image);
                }
                if let Some(first) = sections.first() {
                    self.write_journal(first.section, image)?;
                }
            }
        }
        self.flush_meta()
    }

    fn write_back(&self, blocks: &[Placed]) -> Result<(), DeviceError> {
        self.write_blocks_back(blocks)?;
        self.flush_in_place()
    }
}

impl<D: BlockDevice> IntegrityDevice<D> {
    /// Writes blocks in place, ascending, adjacent ones together.
    fn write_blocks_back(&self, blocks: &[Placed]) -> Result<(), DeviceError> {
        let spb = self.layout.block_size().sectors().get();
        let at_once = WRITE_BACK_BYTES / self.block_bytes();
        let adjacent =
            blocks.chunk_by(|a, b| a.sector + spb == b.sector && a.run.hole == b.run.hole);
        for blocks in adjacent.flat_map(|blocks| blocks.chunks(at_once)) {
            let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else {
                continue;
            };
            let mut tuples = Vec::with_capacity(blocks.len() * self.tag_bytes());
            for block in blocks {
                tuples.extend_from_slice(block.run.tuple(block.block));
            }
            let _alone = self.ranges.exclusive(first.sector..last.sector + spb);
            if first.run.hole {
                self.punch_in_place(first.sector, &tuples)?;
                continue;
            }
            // What one write brought lies together in memory too.
            let same_write =
                |a: &Placed, b: &Placed| Arc::ptr_eq(&a.run, &b.run) && a.block + 1 == b.block;
            let parts: Vec<&[u8]> = blocks
                .chunk_by(same_write)
                .filter_map(|part| Some((part.first()?, part.len())))
                .map(|(first, blocks)| first.run.data_of(first.block, blocks))
                .collect();
            self.write_in_place(first.sector, &parts, &tuples)?;
        }
        Ok(())
    }

    /// Writes sealed sections. A failure stops all further writes.
    pub(crate) fn write_journal(&self, section: u32, image: &[u8]) -> Result<(), DeviceError> {
        self.stop.check()?;
        let at = self.layout.section_at(section);
        let written = self.devices.meta().write_at(at, image);
        self.stop.on_failure(Operation::Write, written)
    }

    /// Makes durable what was written to the metadata device. A failure stops all further writes.
    pub(super) fn flush_meta(&self) -> Result<(), DeviceError> {
        self.flush_devices(Reach::Meta)
    }

    /// Makes durable what was written so far. A failure stops all further writes.
    pub(super) fn flush_devices(&self, reach: Reach) -> Result<(), DeviceError> {
        let reach = match self.devices.is_split() {
            true => reach,
            false => Reach::All,
        };
        self.flushes.join(reach as usize, || {
            // After a failed flush a second one may succeed although what the first one was for is
            // gone.
            self.stop.check()?;
            let flushed = match reach {
                Reach::Meta => self.devices.meta().flush(),
                Reach::All => self.devices.flush(),
            };
            self.stop.on_failure(Operation::Flush, flushed)
        })
    }
}
