//! What opening looks at besides the superblock: the devices' sectors, the bitmap, the journal.

use luksmith_block::{BlockDevice, ByteLen, CheckTuple, SectorSize};

use super::{Devices, Mode, OpenOptions};
use crate::{
    Error, Flags, Layout, Superblock,
    bitmap::Marked,
    journal::{
        replay::{Found, Overlay},
        section::SectionCodec,
    },
};

/// Checks that the devices' own sectors are no larger than a block.
pub(super) fn check_sectors<D: BlockDevice>(
    devices: &Devices<D>,
    block: SectorSize,
) -> Result<(), Error> {
    let device = devices.data.sector_size();
    if device > block {
        return Err(Error::DeviceSectors { device, block });
    }
    Ok(())
}

/// Holds the size of the journal's area against the limit: whatever is in it now, a journal will be
/// written there, section by section.
pub(super) fn check_journal_size(layout: &Layout, options: &OpenOptions) -> Result<(), Error> {
    let found = layout.journal_bytes();
    if found > options.journal_limit.get() && options.mode != Mode::Recovery {
        return Err(Error::JournalLimit {
            found: ByteLen::new(found),
            limit: options.journal_limit,
        });
    }
    Ok(())
}

/// Reads the bitmap of a device that was not closed in bitmap mode.
pub(super) fn read_bitmap<D: BlockDevice>(
    devices: &Devices<D>,
    superblock: &Superblock,
    layout: &Layout,
    options: &OpenOptions,
) -> Result<Option<Marked>, Error> {
    if options.mode == Mode::Recovery || !superblock.flags().contains(Flags::DIRTY_BITMAP) {
        return Ok(None);
    }
    let log2 = superblock.log2_blocks_per_bitmap_bit();
    let marked = Marked::read(devices.meta(), layout, log2)?;
    let all = 0..superblock.provided_data_sectors().get();
    if marked.touches(&all) && !options.is_read_only() && !options.recalculating {
        return Err(Error::BitmapDirty);
    }
    Ok(Some(marked))
}

/// Reads the journal of a device that has one, as far as reading blocks takes.
pub(super) fn read_journal<D: BlockDevice>(
    devices: &Devices<D>,
    superblock: &Superblock,
    layout: &Layout,
    codec: &SectionCodec,
    options: &OpenOptions,
) -> Result<(Option<Found>, Option<Overlay>), Error> {
    if options.mode == Mode::Recovery || superblock.flags().contains(Flags::DIRTY_BITMAP) {
        return Ok((None, None));
    }
    let found = Found::look(devices.meta(), layout, codec)?;
    let overlay = match &found {
        Found::Unused => Overlay::default(),
        Found::Planned(plan) => {
            let check: Option<&dyn CheckTuple> = match &options.check {
                Some(check) if !options.is_read_only() => Some(&**check),
                _ => None,
            };
            let limit = options.overlay_blocks.unwrap_or(usize::MAX);
            Overlay::build(devices.meta(), layout, codec, plan, check, limit)?
        }
    };
    Ok((Some(found), Some(overlay)))
}
