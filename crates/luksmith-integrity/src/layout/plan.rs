//! Formatting arithmetic: from device sizes and wishes to a superblock.

use luksmith_block::{SectorCount, SectorNumber, SectorSize};

use super::{DeviceSizes, Layout, Params, SectionShape, journal_end, split_needs};
use crate::{Error, Flags, Superblock, superblock::SUPERBLOCK_SECTORS};

/// Longest journal that is chosen unasked, in sectors: 64 MiB.
const DEFAULT_JOURNAL_LIMIT: u64 = 131_072;

/// Interleave that is chosen unasked, as a power of two of sectors.
const DEFAULT_LOG2_INTERLEAVE: u32 = 15;

/// How tags are interleaved with the data, where both share a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interleave {
    /// 32768 data sectors between runs of tags.
    #[default]
    Default,
    /// This many sectors, rounded down to a power of two between 8 and 2^31.
    Sectors(u32),
}

/// What a new device is to be like.
///
/// ```
/// use luksmith_block::{SectorCount, SectorNumber, SectorSize};
/// use luksmith_integrity::{DeviceSizes, FormatRequest};
///
/// // A LUKS2 volume with HMAC-SHA256 tags on 24 MiB, its data starting at 16 MiB.
/// let request = FormatRequest::new(32, SectorSize::S4096)?.start(SectorNumber::new(32768));
/// let sizes = DeviceSizes { data: SectorCount::new(49152), meta: None };
/// let (superblock, layout) = request.plan(sizes)?;
/// assert_eq!(superblock.provided_data_sectors(), SectorCount::new(15856));
/// assert_eq!(layout.section().sectors, 264);
/// # Ok::<(), luksmith_integrity::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FormatRequest {
    tag_bytes: u8,
    block: SectorSize,
    start: u64,
    journal_sectors: Option<u64>,
    interleave: Interleave,
    buffer_sectors: u32,
    sectors_per_bit: u64,
    journal_mac: bool,
    legacy_padding: bool,
    /// The salt for FIXED_HMAC; `None` without it.
    salt: Option<[u8; 16]>,
}

impl FormatRequest {
    /// Starts from the defaults of the tools: fixed padding, no salt, no journal MAC, the journal
    /// 1/128 of the device and at most 64 MiB.
    ///
    /// # Errors
    /// [`Error::TagBytes`] unless `tag_bytes` is 1 to 255.
    pub fn new(tag_bytes: usize, block: SectorSize) -> Result<Self, Error> {
        let tag_bytes = match u8::try_from(tag_bytes) {
            Ok(bytes) if bytes > 0 => bytes,
            _ => return Err(Error::TagBytes { found: tag_bytes }),
        };
        Ok(Self {
            tag_bytes,
            block,
            start: 0,
            journal_sectors: None,
            interleave: Interleave::Default,
            buffer_sectors: 128,
            sectors_per_bit: 32768,
            journal_mac: false,
            legacy_padding: false,
            salt: None,
        })
    }

    /// Leaves `start` sectors alone at the front of the metadata device.
    #[must_use]
    pub fn start(mut self, start: SectorNumber) -> Self {
        self.start = start.get();
        self
    }

    /// Asks for a journal of this many sectors, rounded down to whole sections, at least one.
    #[must_use]
    pub fn journal_sectors(mut self, sectors: SectorCount) -> Self {
        self.journal_sectors = Some(sectors.get());
        self
    }

    /// Chooses how tags are interleaved with the data.
    #[must_use]
    pub fn interleave(mut self, interleave: Interleave) -> Self {
        self.interleave = interleave;
        self
    }

    /// Sets the kernel's `buffer_sectors`, which counts for the padding of a separate metadata
    /// device.
    #[must_use]
    pub fn buffer_sectors(mut self, sectors: u32) -> Self {
        self.buffer_sectors = sectors;
        self
    }

    /// Sets the sectors that one bit of the bitmap stands for.
    #[must_use]
    pub fn sectors_per_bit(mut self, sectors: u64) -> Self {
        self.sectors_per_bit = sectors;
        self
    }

    /// Leaves room for a MAC in each journal section.
    #[must_use]
    pub fn journal_mac(mut self, present: bool) -> Self {
        self.journal_mac = present;
        self
    }

    /// Pads runs of tags as devices before Linux 5.5 did.
    #[must_use]
    pub fn legacy_padding(mut self, legacy: bool) -> Self {
        self.legacy_padding = legacy;
        self
    }

    /// Lets this salt enter tags and MACs (FIXED_HMAC).
    #[must_use]
    pub fn salt(mut self, salt: Option<[u8; 16]>) -> Self {
        self.salt = salt;
        self
    }

    pub(crate) fn has_journal_mac(&self) -> bool {
        self.journal_mac
    }

    /// Computes superblock and layout for devices of these sizes.
    ///
    /// # Errors
    /// [`Error::TooSmall`] if journal and one tagged block do not fit;
    /// [`Error::DestroysItself`] for the old padding with an interleave below the buffer size;
    /// [`Error::BufferSectors`] below 8 with a separate metadata device; [`Error::Misaligned`],
    /// [`Error::JournalSize`].
    ///
    /// # Format
    /// docs/formats/integrity.md, "Formatting".
    pub fn plan(&self, sizes: DeviceSizes) -> Result<(Superblock, Layout), Error> {
        let split = sizes.meta.is_some();
        let mut params = Params {
            start: self.start,
            tag_bytes: self.tag_bytes,
            block: self.block,
            journal_sections: 1,
            log2_interleave: (!split).then(|| self.log2_interleave()),
            journal_mac: self.journal_mac,
            fixed_padding: !self.legacy_padding && !split,
            buffer_sectors: self.buffer_sectors,
        };
        let section = SectionShape::of(self.tag_bytes, self.block, self.journal_mac);
        let wanted = self.wanted_sections(section, sizes.data.get())?;
        params.journal_sections = match sizes.meta {
            None => wanted,
            Some(meta) => self.split_sections(&params, section, wanted, sizes, meta)?,
        };
        let layout = Layout::compute(params, sizes)?;
        if layout.destroys_itself() {
            return Err(Error::DestroysItself);
        }
        Ok((self.superblock(&params, &layout), layout))
    }

    fn log2_interleave(&self) -> u8 {
        let log2 = match self.interleave {
            Interleave::Default | Interleave::Sectors(0) => DEFAULT_LOG2_INTERLEAVE,
            Interleave::Sectors(sectors) => sectors.ilog2().clamp(3, 31),
        };
        u8::try_from(log2).unwrap_or(31)
    }

    fn wanted_sections(&self, section: SectionShape, device: u64) -> Result<u32, Error> {
        let sectors = match self.journal_sectors {
            Some(asked) => asked.max(1),
            None => DEFAULT_JOURNAL_LIMIT.min(device / 128),
        };
        let sections = (sectors / section.sectors).max(1);
        u32::try_from(sections).map_err(|_| Error::JournalSize {
            sectors: SectorCount::new(sectors),
        })
    }

    /// Gives the most sections, up to `wanted`, that leave room for the tags.
    fn split_sections(
        &self,
        params: &Params,
        section: SectionShape,
        wanted: u32,
        sizes: DeviceSizes,
        meta: SectorCount,
    ) -> Result<u32, Error> {
        let spb = self.block.sectors().get();
        let provided = sizes.data.get() - sizes.data.get() % spb;
        let found = self.buffer_sectors;
        if found < 8 {
            // The kernel tries no smaller ones either.
            return Err(Error::BufferSectors { found });
        }
        let mut needed = u64::MAX;
        for log2 in (3..=found.ilog2().min(22)).rev() {
            let Some(fixed) = split_needs(params, SUPERBLOCK_SECTORS, provided, log2) else {
                continue;
            };
            let room = meta.get().saturating_sub(fixed) / section.sectors;
            let sections = u32::try_from(room).unwrap_or(u32::MAX).min(wanted);
            needed = fixed.saturating_add(section.sectors);
            if sections >= 1 && journal_end(sections, section)? + 8 < meta.get() {
                return Ok(sections);
            }
        }
        Err(Error::TooSmall {
            needed: SectorCount::new(needed),
            found: meta,
        })
    }

    fn superblock(&self, params: &Params, layout: &Layout) -> Superblock {
        let mut flags = Flags::NONE;
        if self.journal_mac {
            flags = flags.with(Flags::HAVE_JOURNAL_MAC);
        }
        if params.fixed_padding {
            flags = flags.with(Flags::FIXED_PADDING);
        }
        if self.salt.is_some() {
            flags = flags.with(Flags::FIXED_HMAC);
        }
        let mut superblock = Superblock::blank();
        superblock.log2_interleave = params.log2_interleave.unwrap_or(0);
        superblock.tag_bytes = params.tag_bytes;
        superblock.journal_sections = params.journal_sections;
        superblock.provided = layout.provided;
        superblock.flags = flags;
        superblock.log2_spb = match self.block {
            SectorSize::S512 => 0,
            SectorSize::S1024 => 1,
            SectorSize::S2048 => 2,
            SectorSize::S4096 => 3,
        };
        superblock.log2_blocks_per_bit = layout.log2_blocks_per_bit(self.sectors_per_bit);
        superblock.salt = self.salt.unwrap_or([0; 16]);
        superblock
    }
}
