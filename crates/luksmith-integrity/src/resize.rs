//! Growing and shrinking a device that is not mapped, so that a crash leaves the old or the new
//! size.

use luksmith_block::{
    BlockDevice, Control, Error as DeviceError, SectorCount, SectorNumber, TaggedDevice as _,
};

use crate::{
    DeviceSizes, Error, IntegrityDevice, Superblock,
    convert::{narrow, wide},
};

/// Bytes of data that are initialised at once.
const STEP_BYTES: usize = 1 << 20;

/// Makes the tags of consecutive blocks from a sector on.
pub type MakeTags<'a> = &'a mut dyn FnMut(SectorNumber, &mut [u8]) -> Result<(), DeviceError>;

/// Makes data and tags of consecutive blocks from a sector on.
pub type MakeBlocks<'a> =
    &'a mut dyn FnMut(SectorNumber, &mut [u8], &mut [u8]) -> Result<(), DeviceError>;

/// What the blocks are to hold that a larger device has more.
pub enum NewBlocks<'a> {
    /// Data stays as it is; the closure makes the tags of consecutive blocks from a sector on.
    Tags(MakeTags<'a>),
    /// Data and tags are written; the closure makes both for consecutive blocks from a sector on.
    Blocks(MakeBlocks<'a>),
    /// Nothing is written: the new blocks do not match their tags until they are written.
    Leave,
}

impl core::fmt::Debug for NewBlocks<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Tags(_) => "Tags",
            Self::Blocks(_) => "Blocks",
            Self::Leave => "Leave",
        })
    }
}

impl<D: BlockDevice> IntegrityDevice<D> {
    /// Gives the sectors for which the devices below have room now.
    pub fn room(&self) -> SectorCount {
        self.layout.provided_data_sectors()
    }

    /// Takes all the room that the devices below have, and closes.
    ///
    /// 1. The journal is applied and emptied.
    /// 2. The new blocks are initialised, beyond what the old size reaches.
    /// 3. That is made durable.
    /// 4. The new size is written to the superblock and made durable.
    ///
    /// A crash before 4 leaves the old size, one after it the new one. `control` counts sectors.
    /// Gives the size; it is the old one if there is no room for another block.
    ///
    /// # Errors
    /// [`DeviceError::Cancelled`], with the old size; [`DeviceError::ReadOnly`]; what the devices
    /// give.
    pub fn grow(self, new: NewBlocks<'_>, control: &Control) -> Result<SectorCount, Error> {
        let old = self.superblock.provided_data_sectors().get();
        let room = self.room().get();
        self.stop.guarded(|| {
            self.empty_journal_now()?;
            if room > old {
                self.initialise_new(old, room, new, control)?;
                self.flush_in_place()?;
                self.change_superblock(|superblock| superblock.resize(room))?;
            }
            Ok::<_, DeviceError>(())
        })?;
        self.close()?;
        Ok(SectorCount::new(room.max(old)))
    }

    /// Makes the device fit devices of `sizes`, and closes; cut them to these sizes afterwards.
    ///
    /// 1. The journal is applied and emptied, so that nothing of it is lost with the end.
    /// 2. The new size is written to the superblock and made durable.
    ///
    /// What lies behind the new end is given up. Gives the new size.
    ///
    /// # Errors
    /// [`Error::TooSmall`] if nothing is left; [`Error::Growing`] if `sizes` have more room than is
    /// in use; what the devices give.
    pub fn shrink(self, sizes: DeviceSizes) -> Result<SectorCount, Error> {
        let old = self.superblock.provided_data_sectors();
        let smaller = self.layout.resized(sizes)?.provided_data_sectors();
        if smaller > old {
            return Err(Error::Growing {
                found: old,
                room: smaller,
            });
        }
        self.stop.guarded(|| {
            self.empty_journal_now()?;
            self.change_superblock(|superblock| superblock.resize(smaller.get()))
        })?;
        self.close()?;
        Ok(smaller)
    }

    fn initialise_new(
        &self,
        old: u64,
        room: u64,
        mut new: NewBlocks<'_>,
        control: &Control,
    ) -> Result<(), DeviceError> {
        let spb = self.layout.block_size().sectors().get();
        let (mut data, mut tuples) = (Vec::new(), Vec::new());
        // A part of a block at the old end was not within reach, the block will be.
        let mut at = old - old % spb;
        let end = room - room % spb;
        control.begin(end.saturating_sub(at));
        while at < end {
            let blocks = narrow((end - at) / spb).min(STEP_BYTES / self.block_bytes());
            let first = SectorNumber::new(at);
            tuples.resize(blocks * self.tag_bytes(), 0);
            match &mut new {
                NewBlocks::Tags(fill) => {
                    fill(first, &mut tuples)?;
                    self.write_tags_in_place(at, &tuples)?;
                }
                NewBlocks::Blocks(fill) => {
                    data.resize(blocks * self.block_bytes(), 0);
                    fill(first, &mut data, &mut tuples)?;
                    self.write_in_place(at, &[&data], &tuples)?;
                }
                NewBlocks::Leave => {}
            }
            at += wide(blocks) * spb;
            control.advance(wide(blocks) * spb)?;
        }
        Ok(())
    }

    /// Makes everything durable and in place, with nothing left in the journal.
    fn empty_journal_now(&self) -> Result<(), DeviceError> {
        self.flush()?;
        self.put_journal_aside()
    }
}

impl Superblock {
    /// Changes the size; a recalculation that had finished stays finished.
    fn resize(&mut self, provided: u64) {
        if self.recalc_sector >= self.provided || self.recalc_sector > provided {
            self.recalc_sector = provided;
        }
        self.provided = provided;
    }
}
