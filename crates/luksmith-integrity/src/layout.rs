//! Where everything lies: pure, checked arithmetic between sizes, superblock fields and positions.
//!
//! Nothing here reads or writes a device.

mod plan;

pub use plan::{FormatRequest, Interleave};

use luksmith_block::{ByteOffset, SECTOR_BYTES, SectorCount, SectorNumber, SectorSize};

use crate::{
    Error, Flags, Superblock,
    convert::{round_down, round_up},
    superblock::SUPERBLOCK_SECTORS,
};

/// Bytes of the pieces in which tags are read, written and padded.
pub(crate) const TAG_PAGE_BYTES: u64 = 4096;

/// Bytes to which the old padding rounds a run of tags: 2^8 sectors, an old mistake kept alive.
const OLD_PADDING_BYTES: u64 = 131_072;

/// Most sectors of a device that are used: every byte position on it fits 64 bits with room to
/// spare.
const MAX_DEVICE_SECTORS: u64 = 1 << 54;

/// Metadata sectors at the start of each journal section.
pub(crate) const METADATA_SECTORS: u64 = 8;

/// Sizes of the devices in play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceSizes {
    /// Sectors of the data device.
    pub data: SectorCount,
    /// Sectors of the separate metadata device; `None` if tags lie between the data.
    pub meta: Option<SectorCount>,
}

/// The dimensions of one journal section, fixed by block size, tag size and the journal MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionShape {
    /// Bytes of one entry: sector field, displaced bytes, tag, padding.
    pub entry_bytes: u64,
    /// Entries that start in one metadata sector.
    pub entries_per_sector: u64,
    /// Entries of the section.
    pub entries: u64,
    /// Sectors of the section.
    pub sectors: u64,
}

impl SectionShape {
    /// Computes the dimensions.
    ///
    /// # Format
    /// docs/formats/integrity.md, "Derived numbers".
    #[must_use]
    pub const fn of(tag_bytes: u8, block: SectorSize, journal_mac: bool) -> Self {
        let room = if journal_mac { 496 } else { 504 };
        let spb = block.sectors().get();
        // At most 8 + 64 + 255 bytes, so at least one entry fits the 496.
        let entry_bytes = (8 + 8 * spb + tag_bytes as u64).next_multiple_of(8);
        let entries_per_sector = room / entry_bytes;
        let entries = METADATA_SECTORS * entries_per_sector;
        Self {
            entry_bytes,
            entries_per_sector,
            entries,
            sectors: METADATA_SECTORS + entries * spb,
        }
    }

    /// Gives the bytes of the section on disk; at most 392 sectors.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.sectors * SECTOR_BYTES
    }
}

/// What, besides the device sizes, fixes where everything lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Params {
    pub(crate) start: u64,
    pub(crate) tag_bytes: u8,
    pub(crate) block: SectorSize,
    pub(crate) journal_sections: u32,
    /// Data sectors of one area as a power of two; `None` in the split layout.
    pub(crate) log2_interleave: Option<u8>,
    pub(crate) journal_mac: bool,
    pub(crate) fixed_padding: bool,
    pub(crate) buffer_sectors: u32,
}

/// Where one block's data and tag live, and for how many blocks both stay consecutive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// First byte of the data, on the data device.
    pub data: ByteOffset,
    /// First byte of the tag, on the metadata device.
    pub tag: ByteOffset,
    /// Blocks, this one included, whose data and tags follow one another without a gap.
    pub run_blocks: u64,
}

/// The geometry of one dm-integrity device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    params: Params,
    section: SectionShape,
    /// Sectors of superblock and journal.
    init: u64,
    /// Sectors of tags before each area; 0 in the split layout.
    run: u64,
    /// Sectors that the device can map.
    provided: u64,
    /// Sectors of the buffer whose misplaced start moves tags, as a power of two; see `tag_run`.
    log2_buffer: u32,
}

impl Layout {
    /// Puts the fields of a superblock against the sizes of the devices.
    ///
    /// `start` is the superblock's sector on the metadata device; `buffer_sectors` the option of
    /// that name, 128 unless told otherwise.
    ///
    /// # Errors
    /// [`Error::Interleave`] if the interleave field does not suit the devices given;
    /// [`Error::NoSectors`]; [`Error::TooSmall`] if the journal or the stored number of sectors
    /// does not fit;
    /// [`Error::Misaligned`] for a `start` between blocks; [`Error::JournalSize`] for a journal
    /// past 2^32 sectors.
    pub fn of(
        superblock: &Superblock,
        sizes: DeviceSizes,
        start: SectorNumber,
        buffer_sectors: u32,
    ) -> Result<Self, Error> {
        if superblock.provided_data_sectors().get() == 0 {
            return Err(Error::NoSectors);
        }
        let flags = superblock.flags();
        let log2_interleave = superblock.log2_interleave();
        if log2_interleave.is_some() == sizes.meta.is_some() {
            return Err(Error::Interleave {
                found: log2_interleave.unwrap_or(0),
                split: sizes.meta.is_some(),
            });
        }
        let layout = Self::compute(
            Params {
                start: start.get(),
                tag_bytes: superblock.tag_bytes(),
                block: superblock.block_size(),
                journal_sections: superblock.journal_sections(),
                log2_interleave,
                journal_mac: flags.contains(Flags::HAVE_JOURNAL_MAC),
                fixed_padding: flags.contains(Flags::FIXED_PADDING),
                buffer_sectors,
            },
            sizes,
        )?;
        if superblock.provided_data_sectors().get() > layout.provided {
            return Err(Error::TooSmall {
                needed: superblock.provided_data_sectors(),
                found: layout.provided_data_sectors(),
            });
        }
        Ok(layout)
    }

    /// Computes every derived number, the provided sectors included.
    pub(crate) fn compute(params: Params, sizes: DeviceSizes) -> Result<Self, Error> {
        let addressable = |sectors: SectorCount| sectors.get().min(MAX_DEVICE_SECTORS);
        let sizes = DeviceSizes {
            data: SectorCount::new(addressable(sizes.data)),
            meta: sizes.meta.map(|meta| SectorCount::new(addressable(meta))),
        };
        if !params.start.is_multiple_of(params.block.sectors().get()) {
            return Err(Error::Misaligned {
                start: SectorNumber::new(params.start),
                block: params.block,
            });
        }
        let section = SectionShape::of(params.tag_bytes, params.block, params.journal_mac);
        let init = journal_end(params.journal_sections, section)?;
        let run = params
            .log2_interleave
            .map_or(0, |log2| tag_run_sectors(&params, log2));
        let mut layout = Self {
            params,
            section,
            init,
            run,
            provided: 0,
            log2_buffer: log2_buffer(params.buffer_sectors, run),
        };
        layout.provided = match params.log2_interleave {
            Some(log2) => layout.interleaved_capacity(log2, sizes.data.get())?,
            None => layout.split_capacity(sizes)?,
        };
        Ok(layout)
    }

    /// Gives the most sectors that can be mapped on `device` sectors, a multiple of 8.
    fn interleaved_capacity(&self, log2: u8, device: u64) -> Result<u64, Error> {
        let too_small = Error::TooSmall {
            needed: SectorCount::new(self.params.start.saturating_add(self.init)),
            found: SectorCount::new(device),
        };
        if self.init + 8 >= device {
            return Err(too_small);
        }
        let Some(room) = self
            .params
            .start
            .checked_add(self.init)
            .and_then(|used| device.checked_sub(used))
        else {
            return Err(too_small);
        };
        let area = 1_u64 << log2;
        // `run` is below 2^31 and `area` at most 2^31.
        let stride = area + self.run;
        let whole = room / stride;
        let rest = room % stride;
        let provided = whole * area + round_down(rest.saturating_sub(self.run), 8);
        if provided == 0 {
            return Err(too_small);
        }
        Ok(provided)
    }

    /// Gives the sectors of the data device, if its tags fit the metadata device.
    fn split_capacity(&self, sizes: DeviceSizes) -> Result<u64, Error> {
        let meta = sizes.meta.map_or(0, SectorCount::get);
        let block = self.params.block.sectors();
        let provided = round_down(sizes.data.get(), block.get());
        if provided == 0 {
            return Err(Error::TooSmall {
                needed: block,
                found: sizes.data,
            });
        }
        // Sizes are below 2^54 sectors, so this does not overflow.
        let needed = split_needs(&self.params, self.init, provided, 3).unwrap_or(u64::MAX);
        // The kernel does not count the start sector; tags past the end are of no use, so we do.
        let end = self
            .params
            .start
            .saturating_add(self.tag_bytes_end(provided));
        if needed > meta || self.init + 8 >= meta || end > meta {
            return Err(Error::TooSmall {
                needed: SectorCount::new(needed.max(end)),
                found: SectorCount::new(meta),
            });
        }
        Ok(provided)
    }

    /// Gives the sectors up to the last one that holds a tag in the split layout.
    fn tag_bytes_end(&self, provided: u64) -> u64 {
        let blocks = provided / self.params.block.sectors().get();
        let tags = blocks.saturating_mul(u64::from(self.params.tag_bytes));
        self.init.saturating_add(tags.div_ceil(SECTOR_BYTES))
    }

    /// Gives the same geometry on devices of other sizes.
    ///
    /// # Errors
    /// [`Error::TooSmall`].
    pub fn resized(&self, sizes: DeviceSizes) -> Result<Self, Error> {
        Self::compute(self.params, sizes)
    }

    /// Finds where the data and the tag of `sector` live.
    ///
    /// `sector` counts 512-byte sectors of the mapped device and is the first of its block.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if `sector` is at or past the provided sectors or inside a block.
    ///
    /// # Format
    /// docs/formats/integrity.md, "Mapping".
    pub fn locate(&self, sector: SectorNumber) -> Result<Position, Error> {
        let spb = self.params.block.sectors().get();
        let logical = sector.get();
        if logical >= self.provided || !logical.is_multiple_of(spb) {
            return Err(Error::OutOfRange {
                sector,
                provided: SectorCount::new(self.provided),
            });
        }
        let tag_bytes = u64::from(self.params.tag_bytes);
        let base = self.params.start + self.init;
        // No sum below overflows: every position was held against a device of 64-bit bytes.
        let (data, tags_at, block_in_area, end) = match self.params.log2_interleave {
            Some(log2) => {
                let area = logical >> log2;
                let offset = logical & ((1 << log2) - 1);
                let data = base + (area + 1) * self.run + (area << log2) + offset;
                let end = (1 << log2) - offset;
                (data, base + self.tag_run(area, log2), offset / spb, end)
            }
            None => (logical, base, logical / spb, self.provided),
        };
        Ok(Position {
            data: ByteOffset::new(data * SECTOR_BYTES),
            tag: ByteOffset::new(tags_at * SECTOR_BYTES + block_in_area * tag_bytes),
            run_blocks: end.min(self.provided - logical) / spb,
        })
    }

    /// Gives the first sector of an area's tags, counted from the end of the journal.
    ///
    /// The kernel rounds it down to a whole buffer. That changes nothing unless the old padding
    /// meets an area smaller than a buffer; see [`destroys_itself`](Self::destroys_itself).
    fn tag_run(&self, area: u64, log2: u8) -> u64 {
        let exact = area * (self.run + (1 << log2));
        round_down(exact, 1 << self.log2_buffer)
    }

    /// Tells whether tags of this geometry lie inside the data of other blocks.
    ///
    /// The old padding with an interleave below `buffer_sectors` makes such devices. They can be
    /// read as far as they are still whole, and are refused for writing.
    #[must_use]
    pub fn destroys_itself(&self) -> bool {
        match self.params.log2_interleave {
            Some(log2) => u32::from(log2) < self.log2_buffer,
            None => false,
        }
    }

    /// Gives the sector of the superblock on the metadata device.
    #[must_use]
    pub const fn start(&self) -> SectorNumber {
        SectorNumber::new(self.params.start)
    }

    /// Gives the sectors that can be mapped on devices of these sizes.
    #[must_use]
    pub const fn provided_data_sectors(&self) -> SectorCount {
        SectorCount::new(self.provided)
    }

    /// Gives the sectors of superblock and journal together.
    #[must_use]
    pub const fn init_sectors(&self) -> SectorCount {
        SectorCount::new(self.init)
    }

    /// Gives the sectors of tags before each area, 0 in the split layout.
    #[must_use]
    pub const fn run_sectors(&self) -> SectorCount {
        SectorCount::new(self.run)
    }

    /// Gives the dimensions of a journal section.
    #[must_use]
    pub const fn section(&self) -> SectionShape {
        self.section
    }

    /// Gives the number of journal sections.
    #[must_use]
    pub const fn journal_sections(&self) -> u32 {
        self.params.journal_sections
    }

    /// Gives the size of one block.
    #[must_use]
    pub const fn block_size(&self) -> SectorSize {
        self.params.block
    }

    /// Gives the bytes of one tag.
    #[must_use]
    pub const fn tag_bytes(&self) -> u8 {
        self.params.tag_bytes
    }

    /// Tells whether the tags live on a device of their own.
    #[must_use]
    pub const fn is_split(&self) -> bool {
        self.params.log2_interleave.is_none()
    }

    /// Gives the first byte of the superblock on the metadata device.
    pub(crate) const fn superblock_at(&self) -> ByteOffset {
        ByteOffset::new(self.params.start * SECTOR_BYTES)
    }

    /// Gives the first byte of a journal section on the metadata device.
    pub(crate) fn section_at(&self, section: u32) -> ByteOffset {
        let first = self.params.start + SUPERBLOCK_SECTORS;
        ByteOffset::new((first + u64::from(section) * self.section.sectors) * SECTOR_BYTES)
    }

    /// Gives the first byte behind the journal, from which pages of tags count.
    pub(crate) const fn tag_origin(&self) -> ByteOffset {
        ByteOffset::new((self.params.start + self.init) * SECTOR_BYTES)
    }

    /// Gives the bytes of the whole journal.
    pub(crate) fn journal_bytes(&self) -> u64 {
        u64::from(self.params.journal_sections) * self.section.bytes()
    }

    /// Gives the superblock's byte 29 for `sectors_per_bit` and this geometry.
    ///
    /// # Format
    /// docs/formats/integrity.md, "Formatting".
    pub(crate) fn log2_blocks_per_bit(&self, sectors_per_bit: u64) -> u8 {
        let spb = u64::from(self.params.block.sectors().get().trailing_zeros());
        let mut bit = u64::from(sectors_per_bit.max(1).ilog2()).max(spb);
        let bits = (self.section.sectors * u64::from(self.params.journal_sections))
            .saturating_mul(4096)
            .min(u64::from(u32::MAX));
        while bits < self.provided.div_ceil(1 << bit.min(63)) && bit < 63 {
            bit += 1;
        }
        u8::try_from(bit - spb).unwrap_or(u8::MAX)
    }
}

/// Gives the sectors of superblock and journal, within what the kernel accepts.
fn journal_end(sections: u32, section: SectionShape) -> Result<u64, Error> {
    let journal = u64::from(sections) * section.sectors;
    if journal > u64::from(u32::MAX) {
        return Err(Error::JournalSize {
            sectors: SectorCount::new(journal),
        });
    }
    Ok(SUPERBLOCK_SECTORS + journal)
}

/// Gives the sectors of tags before each area of `2^log2` data sectors.
fn tag_run_sectors(params: &Params, log2: u8) -> u64 {
    let padding = if params.fixed_padding {
        TAG_PAGE_BYTES
    } else {
        OLD_PADDING_BYTES
    };
    let blocks = (1_u64 << log2) / params.block.sectors().get();
    // At most 255 * 2^31 bytes.
    (u64::from(params.tag_bytes) * blocks).next_multiple_of(padding) / SECTOR_BYTES
}

/// Gives the buffer size by which the kernel addresses tags, as a power of two of sectors.
fn log2_buffer(buffer_sectors: u32, run: u64) -> u32 {
    let asked = buffer_sectors.max(1).ilog2().min(22);
    if run == 0 {
        asked
    } else {
        asked.min(run.trailing_zeros())
    }
}

/// Gives the metadata sectors that the split layout needs with buffers of `2^log2` sectors.
fn split_needs(params: &Params, init: u64, provided: u64, log2: u32) -> Option<u64> {
    let blocks = provided / params.block.sectors().get();
    let tags = blocks.checked_mul(u64::from(params.tag_bytes))?;
    let padded = round_up(tags, SECTOR_BYTES << log2)?;
    init.checked_add(padded / SECTOR_BYTES)
}

#[cfg(test)]
mod tests;
