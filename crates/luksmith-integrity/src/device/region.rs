//! Bitmap mode, discards, and changes of the superblock.

use std::ops::Range;

use luksmith_block::{BlockDevice, Error as DeviceError, Operation, SectorNumber};

use super::IntegrityDevice;
use crate::{
    DiscardMarker, Flags, Superblock, TagMaker,
    bitmap::Bitmap,
    convert::{narrow, wide},
    sync::lock,
};

impl<D: BlockDevice> IntegrityDevice<D> {
    /// Marks the device as in use in bitmap mode, if it is; the journal is empty.
    ///
    /// 1. The superblock says that there is a bitmap. Until step 2 it is the empty journal, read as
    ///    a bitmap: it marks regions that need no mark.
    /// 2. The bitmap, in which only what a recalculation has not reached is marked.
    pub(super) fn enter_bitmap_mode(&self) -> Result<Option<Bitmap>, DeviceError> {
        if !self.options.is_bitmap_mode() {
            return Ok(None);
        }
        let log2 = self
            .layout
            .log2_blocks_per_bit(self.options.sectors_per_bit);
        // Opening made sure that the journal has room for the bitmap.
        let bitmap = Bitmap::new(&self.layout, log2).map_err(|_| DeviceError::Overflow {
            what: "bitmap",
            value: u64::from(log2),
        })?;
        let meta = self.devices.meta();
        bitmap.take_rest(meta)?;
        self.change_superblock(|superblock| {
            superblock.flags = superblock.flags.with(Flags::DIRTY_BITMAP);
            superblock.log2_blocks_per_bit = log2;
        })?;
        let result = bitmap.clear(meta, || self.flush_meta());
        self.stop.on_failure(Operation::Write, result)?;
        let unfinished = self.recalculation_from()..self.superblock.provided;
        let result = bitmap.mark(meta, &unfinished, || self.flush_meta());
        self.stop.on_failure(Operation::Write, result)?;
        Ok(Some(bitmap))
    }

    /// Puts an empty journal back where the bitmap is, then says so in the superblock.
    pub(crate) fn leave_bitmap_mode(&self) -> Result<(), DeviceError> {
        self.initialise_journal()?;
        self.change_superblock(|superblock| {
            superblock.flags = superblock.flags.without(Flags::DIRTY_BITMAP);
        })
    }

    /// Clears all marks once everything is durable. Writers wait meanwhile.
    pub(super) fn clear_bitmap(&self, bitmap: &Bitmap) -> Result<(), DeviceError> {
        let _alone = self.ranges.exclusive(0..u64::MAX);
        self.stop.check()?;
        if self.recalculation_from() < self.superblock.provided {
            // What was never recalculated stays marked.
            return Ok(());
        }
        self.flush_in_place()?;
        let cleared = bitmap.clear(self.devices.meta(), || self.flush_meta());
        self.stop.on_failure(Operation::Write, cleared)
    }

    /// Gives the first sector that a recalculation has still to reach; the end if there is none.
    pub(crate) fn recalculation_from(&self) -> u64 {
        let size = self.superblock.provided;
        if self.superblock.flags.contains(Flags::RECALCULATING) {
            self.superblock.recalc_sector.min(size)
        } else {
            size
        }
    }

    /// Changes the superblock on disk and makes that durable. A failure stops all further writes.
    pub(crate) fn change_superblock(
        &self,
        change: impl FnOnce(&mut Superblock),
    ) -> Result<(), DeviceError> {
        let mut written = lock(&self.written)?;
        let mut superblock = written.clone();
        change(&mut superblock);
        let mac = self.options.journal_mac.as_deref();
        let bytes = superblock.to_bytes(self.options.is_bitmap_mode(), mac);
        self.stop.check()?;
        let result = self
            .devices
            .meta()
            .write_at(self.layout.superblock_at(), &bytes);
        self.stop.on_failure(Operation::Write, result)?;
        self.flush_meta()?;
        *written = superblock;
        Ok(())
    }

    /// Marks blocks as discarded, makes that durable, and passes the discard on.
    ///
    /// The marks do not go through the journal: the kernel's replay would not accept them. So the
    /// journal is emptied first, on disk too, or its replay would put older blocks back.
    pub(crate) fn discard_blocks(
        &self,
        first: SectorNumber,
        blocks: usize,
        maker: &TagMaker,
    ) -> Result<(), DeviceError> {
        let range = self.check_request(first, blocks)?;
        let active = self.active()?;
        let first = range.start;
        self.past_journal(|| {
            self.change_in_place(active, range.clone(), || {
                self.mark_discarded(range, maker)?;
                self.flush_in_place()?;
                for (position, blocks) in self.runs(first, blocks * self.block_bytes()) {
                    self.discard_data(&position?, blocks)?;
                }
                Ok(())
            })
        })
    }

    /// Writes the marks of discarded blocks, some at a time.
    fn mark_discarded(&self, sectors: Range<u64>, maker: &TagMaker) -> Result<(), DeviceError> {
        let spb = self.layout.block_size().sectors().get();
        let mut tags = vec![0; MARKED_AT_ONCE * self.tag_bytes()];
        let mut at = sectors.start;
        while at < sectors.end {
            let blocks = narrow((sectors.end - at) / spb).min(MARKED_AT_ONCE);
            let (tags, _) = tags.split_at_mut(blocks * self.tag_bytes());
            for (index, tag) in tags.chunks_exact_mut(self.tag_bytes()).enumerate() {
                maker.discard_tag(SectorNumber::new(at + wide(index) * spb), tag);
            }
            self.write_tags_in_place(at, tags)?;
            at += wide(blocks) * spb;
        }
        Ok(())
    }

    /// Sets the flag that makes the marks of keyed discards count, for good, where such discards
    /// are allowed: as the kernel does, before there is one.
    pub(super) fn note_keyed_discards(&self) -> Result<(), DeviceError> {
        let noted = lock(&self.written)?.flags.contains(Flags::DISCARD_KEYED);
        if noted || self.options.discards != DiscardMarker::Keyed {
            return Ok(());
        }
        self.change_superblock(|superblock| {
            superblock.flags = superblock.flags.with(Flags::DISCARD_KEYED);
        })
    }
}

/// Blocks that are marked at once: 128 KiB of tags at most.
const MARKED_AT_ONCE: usize = 512;

/// Blocks that are discarded with one flush, between their marks and the discard: 16 MiB of them at
/// least. Whoever reads or writes them waits meanwhile, and in journal mode whoever writes.
pub(crate) const DISCARD_BLOCKS: u64 = 32768;

/// Splits a discard into steps, each durable before the next.
pub(crate) fn discard_steps(blocks: u64) -> impl Iterator<Item = (u64, usize)> {
    (0..blocks.div_ceil(DISCARD_BLOCKS)).map(move |step| {
        let first = step * DISCARD_BLOCKS;
        (first, narrow((blocks - first).min(DISCARD_BLOCKS)))
    })
}
