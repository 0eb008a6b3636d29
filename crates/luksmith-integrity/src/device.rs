//! An open device: reading, writing, and the states between opening and closing.
//!
//! Locks, in the order in which they are taken:
//!
//! 1. `activation`: one thread applies the journal before the first write.
//! 2. `ranges`: readers share the sectors that they read; whoever writes in place holds its sectors
//!    alone, for data and tags together. A write in journal mode takes no range: it becomes visible
//!    at once, in the ring's index.
//! 3. The bitmap, while a bit is made durable.
//! 4. The ring's state; then a flush of the tag cache, in which its shards are taken one at a time,
//!    each while a page of it is read, or written to make room; the written superblock, while it is
//!    written and made durable.
//! 5. The one flush of the devices.
//!
//! The overlay, the sections that it read last and the counts of changes are held for a look only.

mod activate;
mod inspect;
mod options;
mod place;
mod region;

pub use options::{FlagPolicy, Mode, OpenOptions};
pub(crate) use region::discard_steps;

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use luksmith_block::{
    BlockDevice, Capabilities, Error as DeviceError, Flushes, Operation, RangeLock, SECTOR_BYTES,
    SectorNumber, TaggedDevice, TaggedShape,
};

use crate::{
    DeviceSizes, Error, Layout, Superblock,
    bitmap::{Bitmap, Marked},
    convert::{narrow, wide},
    journal::{
        commit::{Ring, Run},
        replay::{self, Found, LoadedSections, Overlay, OverlayEntry},
        section::SectionCodec,
    },
    pool::Pool,
    stop::Stop,
    superblock::SUPERBLOCK_BYTES,
    sync::{Mutex, lock},
    tag_area::TagArea,
};

/// Bytes of data that one call of `fill` makes, and one run of the journal holds, at most.
const RUN_BYTES: usize = 256 << 10;

/// What a flush of the devices makes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// What was written to the metadata device.
    Meta = 0,
    /// What was written to any device.
    All = 1,
}

/// The one or two devices below.
#[derive(Clone, Copy, Debug)]
pub struct Devices<D> {
    data: D,
    meta: Option<D>,
}

impl<D: BlockDevice> Devices<D> {
    /// Takes one device with tags between the data.
    pub fn interleaved(device: D) -> Self {
        Self {
            data: device,
            meta: None,
        }
    }

    /// Takes a device of data only, and one with superblock, journal and tags.
    pub fn split(data: D, meta: D) -> Self {
        Self {
            data,
            meta: Some(meta),
        }
    }

    /// Gives the device with the data.
    pub fn data(&self) -> &D {
        &self.data
    }

    /// Gives the device with superblock, journal and tags.
    pub fn meta(&self) -> &D {
        self.meta.as_ref().unwrap_or(&self.data)
    }

    /// Tells whether data and metadata are on devices of their own.
    pub(crate) const fn is_split(&self) -> bool {
        self.meta.is_some()
    }

    /// Gives the sizes of the devices.
    #[must_use]
    pub fn sizes(&self) -> DeviceSizes {
        DeviceSizes {
            data: self.data.size().whole_sectors(),
            meta: self.meta.as_ref().map(|meta| meta.size().whole_sectors()),
        }
    }

    /// Reads the superblock at `start`, without looking at its MAC.
    ///
    /// # Errors
    /// [`Error::Device`], and those of [`Superblock::parse`].
    pub fn read_superblock(&self, start: SectorNumber) -> Result<Superblock, Error> {
        let mut bytes = vec![0; SUPERBLOCK_BYTES];
        self.meta().read_at(start.byte_offset()?, &mut bytes)?;
        Superblock::parse(&bytes)
    }

    /// Flushes the metadata device, and the data device if it is another one.
    pub(crate) fn flush(&self) -> Result<(), DeviceError> {
        if let Some(meta) = &self.meta {
            meta.flush()?;
        }
        self.data.flush()
    }
}

/// A dm-integrity device whose tags someone above makes and verifies.
///
/// Opening writes nothing: what waits in the journal is shown as if it were in place. Before the
/// first write the journal is applied, made durable and, where the kernel would do so, erased.
///
/// Dropping the device tries to commit; only [`close`](Self::close) reports whether that worked,
/// and leaves the journal empty.
#[derive(Debug)]
pub struct IntegrityDevice<D: BlockDevice> {
    pub(crate) devices: Devices<D>,
    pub(crate) layout: Layout,
    pub(crate) superblock: Superblock,
    /// The superblock as it was last written.
    written: Mutex<Superblock>,
    pub(crate) options: OpenOptions,
    /// Blocks that can be reached: what the superblock says, whatever there is room for.
    blocks: u64,
    codec: SectionCodec,
    tags: TagArea,
    /// Flushes of the devices, one at a time.
    flushes: Flushes<2>,
    /// Buffers of data and tags on their way.
    pool: Pool,
    pub(crate) ranges: RangeLock,
    pub(crate) stop: Stop,
    /// The bitmap of a device that was not closed in bitmap mode.
    pub(crate) marked: Option<Marked>,
    /// What opening found in the journal; `None` where there is none to be looked at.
    journal: Option<Found>,
    /// What waits in the journal, until it is applied.
    overlay: Mutex<Option<Arc<Overlay>>>,
    /// Sections that the overlay read last.
    overlay_sections: LoadedSections,
    activation: Mutex<()>,
    active: OnceLock<Active>,
    /// Changes made in place, past the journal.
    changes: Mutex<Changes>,
    closed: bool,
}

/// Changes in place since opening, and how many of them are durable.
#[derive(Debug, Default)]
struct Changes {
    made: u64,
    /// The first so many are durable.
    durable: u64,
    /// When the oldest change was made that is not.
    since: Option<Instant>,
}

/// What exists once the device may be written.
#[derive(Debug)]
struct Active {
    /// The journal, in journal mode.
    ring: Option<Ring>,
    /// The bitmap, in bitmap mode.
    bitmap: Option<Bitmap>,
}

impl<D: BlockDevice> IntegrityDevice<D> {
    /// Opens a formatted device.
    ///
    /// Nothing is written. A journal of which no entry is used is read whole, and its commit ids
    /// are held against their places, only before the first write: damage that shows then fails
    /// that write with [`DeviceError::Damaged`] and stops all others, and reads go on. With a
    /// journal to be checked ([`OpenOptions::check_journal`]) and unless opened read-only, every
    /// entry that waits in the journal is verified here.
    ///
    /// # Errors
    /// Those of [`Superblock::parse`], [`Superblock::verify_mac`] and [`Layout::of`];
    /// [`Error::SuperblockMacMissing`], [`Error::TagSize`], [`Error::BlockSize`],
    /// [`Error::FlagsRefused`], [`Error::DeviceSectors`]; [`Error::DestroysItself`] unless
    /// read-only; for the journal [`Error::JournalLimit`] unless in recovery mode,
    /// [`Error::CommitId`], [`Error::CommitIds`], [`Error::SectionMac`], [`Error::JournalSector`],
    /// [`Error::JournalTag`], [`Error::OverlayLimit`]; [`Error::Device`].
    pub fn open(devices: Devices<D>, options: OpenOptions) -> Result<Self, Error> {
        let superblock = devices.read_superblock(options.start)?;
        Self::open_as(devices, superblock, options)
    }

    /// Opens a device whose superblock was read already, so that it is not read twice.
    pub(crate) fn open_as(
        devices: Devices<D>,
        superblock: Superblock,
        options: OpenOptions,
    ) -> Result<Self, Error> {
        options.verify_mac(&superblock)?;
        options.admit(&superblock)?;
        let sizes = devices.sizes();
        let layout = Layout::of(&superblock, sizes, options.start, options.buffer_sectors)?;
        inspect::check_sectors(&devices, layout.block_size())?;
        inspect::check_journal_size(&layout, &options)?;
        if layout.destroys_itself() && !options.is_read_only() {
            return Err(Error::DestroysItself);
        }
        if options.mode == Mode::Bitmap {
            Bitmap::new(&layout, layout.log2_blocks_per_bit(options.sectors_per_bit))?;
        }
        let codec = SectionCodec::new(
            &layout,
            superblock.active_salt(),
            options.journal_mac.clone(),
            options.journal_cipher.clone(),
        );
        let marked = inspect::read_bitmap(&devices, &superblock, &layout, &options)?;
        let (journal, overlay) =
            inspect::read_journal(&devices, &superblock, &layout, &codec, &options)?;
        let meta_size = devices.meta().size();
        let spb = layout.block_size().sectors().get();
        Ok(Self {
            blocks: superblock.provided_data_sectors().get() / spb,
            tags: TagArea::new(&layout, meta_size, options.tag_cache),
            flushes: Flushes::default(),
            devices,
            layout,
            written: Mutex::new(superblock.clone()),
            superblock,
            pool: Pool::new(pool_bytes(&options)),
            options,
            codec,
            ranges: RangeLock::new(),
            stop: Stop::default(),
            marked,
            journal,
            overlay: Mutex::new(overlay.map(Arc::new)),
            overlay_sections: LoadedSections::default(),
            activation: Mutex::default(),
            active: OnceLock::new(),
            changes: Mutex::default(),
            closed: false,
        })
    }

    /// Gives the geometry.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Gives the superblock as it was read.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Gives the number of blocks that wait in a journal that was not applied yet.
    ///
    /// # Errors
    /// [`DeviceError::FailStop`] if a panic left the device behind.
    pub fn blocks_in_journal(&self) -> Result<usize, DeviceError> {
        Ok(lock(&self.overlay)?
            .as_ref()
            .map_or(0, |overlay| overlay.len()))
    }

    /// Makes durable what has been waiting for `age` or longer.
    ///
    /// The engine has no thread: someone who has one calls this now and then.
    ///
    /// # Errors
    /// As [`TaggedDevice::flush`].
    pub fn commit_if_older_than(&self, age: Duration) -> Result<(), DeviceError> {
        self.stop.check()?;
        let Some(active) = self.active.get() else {
            return Ok(());
        };
        self.stop.guarded(|| {
            if let Some(ring) = &active.ring {
                ring.commit_if_older_than(self, age)?;
            }
            let since = lock(&self.changes)?.since;
            if since.is_some_and(|since| since.elapsed() >= age) {
                self.flush_in_place()?;
            }
            match &active.bitmap {
                Some(bitmap) if bitmap.is_older_than(age)? => self.clear_bitmap(bitmap),
                _ => Ok(()),
            }
        })
    }

    /// Applies the journal now, as the first write would, and erases it where the kernel would: a
    /// complete one stays in journal mode.
    ///
    /// # Errors
    /// [`DeviceError::ReadOnly`], [`DeviceError::FailStop`]; [`DeviceError::TagMismatch`] for an
    /// entry that does not verify; what the devices give.
    pub fn apply_journal(&self) -> Result<(), DeviceError> {
        self.active().map(drop)
    }

    /// Commits, writes everything in place, empties the journal if this session used it, and
    /// flushes.
    ///
    /// # Errors
    /// As [`TaggedDevice::flush`]; the journal then still has what is not in place.
    pub fn close(mut self) -> Result<(), DeviceError> {
        self.closed = true;
        let Some(active) = self.active.get() else {
            return Ok(());
        };
        self.stop.check()?;
        self.stop.guarded(|| match &active.ring {
            Some(ring) => {
                ring.drain(&self)?;
                self.empty_journal(ring)?;
                self.flush_bypassed()
            }
            None => {
                self.flush_in_place()?;
                match active.bitmap {
                    Some(_) => self.leave_bitmap_mode(),
                    None => Ok(()),
                }
            }
        })
    }

    /// Checks that a request is whole blocks of the device and gives its sectors.
    pub(crate) fn check_request(
        &self,
        first: SectorNumber,
        blocks: usize,
    ) -> Result<core::ops::Range<u64>, DeviceError> {
        let spb = self.layout.block_size().sectors().get();
        let at = first.byte_offset()?;
        let sectors = wide(blocks).saturating_mul(spb);
        let len = luksmith_block::SectorCount::new(sectors).byte_len()?;
        if !first.get().is_multiple_of(spb) {
            return Err(DeviceError::Misaligned {
                at,
                len,
                sector_size: self.layout.block_size(),
            });
        }
        let end = first.get().checked_add(sectors);
        match end {
            Some(end) if end <= self.blocks * spb => Ok(first.get()..end),
            _ => Err(DeviceError::PastEnd {
                at,
                len,
                size: luksmith_block::SectorCount::new(self.blocks * spb).byte_len()?,
            }),
        }
    }

    /// Gives the number of whole blocks in `data`, with one tag each in `tuples`.
    pub(crate) fn check_lengths(&self, data: usize, tuples: usize) -> Result<usize, DeviceError> {
        let block = self.layout.block_size().bytes();
        let blocks = data / block;
        let expected = blocks.saturating_mul(usize::from(self.layout.tag_bytes()));
        if !data.is_multiple_of(block) {
            return Err(DeviceError::Length {
                what: "data",
                found: data,
                expected: blocks * block,
            });
        }
        if tuples != expected {
            return Err(DeviceError::Length {
                what: "tuples",
                found: tuples,
                expected,
            });
        }
        Ok(blocks)
    }

    /// Copies one block and its tag out of the journal that was not applied yet.
    fn read_overlaid(
        &self,
        sector: u64,
        found: OverlayEntry,
        data: &mut [u8],
        tuple: &mut [u8],
    ) -> Result<(), DeviceError> {
        let image = match self.overlay_sections.get(found.section)? {
            Some(image) => image,
            // Nobody waits meanwhile, and should the device panic, only who asked it suffers.
            None => {
                let mut image = vec![0; self.codec.section_bytes()];
                let place = (found.section, found.sequence);
                replay::load(
                    self.devices.meta(),
                    &self.layout,
                    &self.codec,
                    place,
                    &mut image,
                )
                .map_err(|error| self.as_device_error(found.section, error))?;
                let image = Arc::new(image);
                self.overlay_sections.put(found.section, &image)?;
                image
            }
        };
        let entry = usize::from(found.entry);
        if self.codec.target(entry, &image) != Some(sector) {
            let section = found.section;
            return Err(self.as_device_error(section, Error::JournalChanged { section }));
        }
        self.codec.copy_entry(entry, &image, data, tuple);
        Ok(())
    }

    /// Gives the error of the device border for an error met in a section of the journal that was
    /// all right when the device was opened.
    fn as_device_error(&self, section: u32, error: Error) -> DeviceError {
        match error {
            Error::Device { source } => source,
            Error::JournalTag { sector, .. } => DeviceError::TagMismatch {
                first: sector,
                count: self.layout.block_size().sectors().get(),
            },
            Error::CommitId { section, .. } => DeviceError::Damaged {
                what: "journal section",
                number: u64::from(section),
            },
            Error::CommitIds => DeviceError::Damaged {
                what: "journal at sector",
                number: self.layout.section_at(0).get() / SECTOR_BYTES,
            },
            _ => DeviceError::ChangedOutside {
                what: "journal section",
                number: u64::from(section),
            },
        }
    }

    /// Reads blocks, taking those in `hits` from elsewhere by `copy`.
    fn read_around<T>(
        &self,
        first: u64,
        data: &mut [u8],
        tuples: &mut [u8],
        hits: impl Iterator<Item = (u64, T)>,
        mut copy: impl FnMut(u64, T, &mut [u8], &mut [u8]) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let block = self.layout.block_size().bytes();
        let tag = usize::from(self.layout.tag_bytes());
        let spb = self.layout.block_size().sectors().get();
        let (mut data, mut tuples, mut at) = (data, tuples, first);
        for (sector, hit) in hits {
            let between = narrow((sector - at) / spb);
            let (gap, rest) = data.split_at_mut(between * block);
            let (gap_tags, rest_tags) = tuples.split_at_mut(between * tag);
            self.read_in_place(at, gap, gap_tags)?;
            let (one, later) = rest.split_at_mut(block);
            let (one_tag, later_tags) = rest_tags.split_at_mut(tag);
            copy(sector, hit, one, one_tag)?;
            (data, tuples, at) = (later, later_tags, sector + spb);
        }
        self.read_in_place(at, data, tuples)
    }

    /// Makes a change in place, holding its sectors alone; in bitmap mode its region is marked
    /// before.
    fn change_in_place(
        &self,
        active: &Active,
        range: core::ops::Range<u64>,
        change: impl FnOnce() -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let _alone = self.ranges.exclusive(range.clone());
        self.stop.guarded(|| {
            self.stop.check()?;
            if let Some(bitmap) = &active.bitmap {
                let marked = bitmap.mark(self.devices.meta(), &range, || self.flush_meta());
                self.stop.on_failure(Operation::Write, marked)?;
            }
            let result = change();
            // Counted behind it, also if it stopped half way: a flush that began before may have
            // missed a part.
            let mut changes = lock(&self.changes)?;
            changes.made += 1;
            changes.since.get_or_insert_with(Instant::now);
            result
        })
    }

    /// Writes out tags and flushes: everything written in place so far becomes durable.
    pub(crate) fn flush_in_place(&self) -> Result<(), DeviceError> {
        let (target, began) = (lock(&self.changes)?.made, Instant::now());
        self.stop.check()?;
        let tags = self.tags.flush(self.devices.meta(), &self.stop);
        self.stop.on_failure(Operation::Write, tags)?;
        self.flush_devices(Reach::All)?;
        let mut changes = lock(&self.changes)?;
        if target > changes.durable {
            changes.durable = target;
            changes.since = (changes.made > target).then_some(began);
        }
        Ok(())
    }

    /// Makes durable, in journal mode, what went past the journal.
    fn flush_bypassed(&self) -> Result<(), DeviceError> {
        let pending = {
            let changes = lock(&self.changes)?;
            changes.made > changes.durable
        };
        if pending {
            self.flush_in_place()?;
        }
        Ok(())
    }

    /// Gives buffers for so many blocks and their tags.
    fn buffers_for(&self, blocks: usize) -> Run {
        Run {
            data: self.pool.take(blocks * self.block_bytes()),
            tuples: self.pool.take(blocks * self.tag_bytes()),
            blocks,
            hole: false,
        }
    }

    /// Gives a run of discarded blocks, without their tags.
    fn hole_of(&self, blocks: usize) -> Run {
        let mut data = self.pool.take(self.block_bytes());
        data.as_mut_slice().fill(0);
        Run {
            data,
            tuples: self.pool.take(blocks * self.tag_bytes()),
            blocks,
            hole: true,
        }
    }

    /// Writes blocks whose data and tags are at hand.
    pub(crate) fn write_pairs(
        &self,
        first: SectorNumber,
        data: &[u8],
        tuples: &[u8],
    ) -> Result<(), DeviceError> {
        let blocks = self.check_lengths(data.len(), tuples.len())?;
        let range = self.check_request(first, blocks)?;
        let active = self.active()?;
        if blocks == 0 {
            return Ok(());
        }
        match &active.ring {
            Some(ring) => {
                let mut run = self.buffers_for(blocks);
                run.data.as_mut_slice().copy_from_slice(data);
                run.tuples.as_mut_slice().copy_from_slice(tuples);
                self.stop.guarded(|| ring.append(self, first.get(), run))
            }
            None => self.write_alone(active, range, data, tuples),
        }
    }

    /// Writes blocks in place, holding their sectors alone.
    fn write_alone(
        &self,
        active: &Active,
        range: core::ops::Range<u64>,
        data: &[u8],
        tuples: &[u8],
    ) -> Result<(), DeviceError> {
        let first = range.start;
        self.change_in_place(active, range, || {
            self.write_in_place(first, &[data], tuples)
        })
    }
}

/// Bytes of buffers beside those that the journal holds: what several requests have in hand.
const POOL_BYTES: usize = 4 << 20;

/// Gives the bytes of buffers, in use or not, up to which unused ones are kept.
fn pool_bytes(options: &OpenOptions) -> usize {
    let journal = match options.mode {
        Mode::Journal => options.journal_buffer.to_usize().unwrap_or(usize::MAX),
        _ => 0,
    };
    POOL_BYTES.saturating_add(journal)
}

impl<D: BlockDevice> TaggedDevice for IntegrityDevice<D> {
    fn shape(&self) -> TaggedShape {
        TaggedShape::new(
            self.blocks,
            self.layout.block_size(),
            usize::from(self.layout.tag_bytes()),
        )
    }

    fn read_tagged(
        &self,
        first: SectorNumber,
        data: &mut [u8],
        tuples: &mut [u8],
    ) -> Result<(), DeviceError> {
        let blocks = self.check_lengths(data.len(), tuples.len())?;
        let range = self.check_request(first, blocks)?;
        let _shared = self.ranges.shared(range.clone());
        if let Some(active) = self.active.get() {
            let Some(ring) = &active.ring else {
                return self.read_in_place(first.get(), data, tuples);
            };
            let hits = ring.newest(range)?;
            let hits = hits.into_iter().map(|placed| (placed.sector, placed));
            return self.read_around(first.get(), data, tuples, hits, |_, placed, data, tuple| {
                data.copy_from_slice(placed.run.data(placed.block));
                tuple.copy_from_slice(placed.run.tuple(placed.block));
                Ok(())
            });
        }
        let overlay = lock(&self.overlay)?.clone();
        let hits = overlay
            .iter()
            .flat_map(|overlay| overlay.blocks(range.clone()));
        self.read_around(
            first.get(),
            data,
            tuples,
            hits,
            |sector, found, data, tuple| self.read_overlaid(sector, found, data, tuple),
        )
    }

    fn write_tagged(
        &self,
        first: SectorNumber,
        blocks: usize,
        fill: &mut dyn FnMut(&mut [u8], &mut [u8]),
    ) -> Result<(), DeviceError> {
        let range = self.check_request(first, blocks)?;
        let active = self.active()?;
        let spb = self.layout.block_size().sectors().get();
        let at_once = RUN_BYTES / self.block_bytes();
        let mut at = range.start;
        while at < range.end {
            let blocks = at_once.min(narrow((range.end - at) / spb));
            let end = at + wide(blocks) * spb;
            let mut run = self.buffers_for(blocks);
            fill(run.data.as_mut_slice(), run.tuples.as_mut_slice());
            match &active.ring {
                Some(ring) => self.stop.guarded(|| ring.append(self, at, run))?,
                None => {
                    let (data, tuples) = (run.data.as_slice(), run.tuples.as_slice());
                    self.write_alone(active, at..end, data, tuples)?;
                }
            }
            at = end;
        }
        Ok(())
    }

    fn write_tuples(&self, first: SectorNumber, tuples: &[u8]) -> Result<(), DeviceError> {
        let tag = usize::from(self.layout.tag_bytes());
        if !tuples.len().is_multiple_of(tag) {
            return Err(DeviceError::Length {
                what: "tuples",
                found: tuples.len(),
                expected: tuples.len() / tag * tag,
            });
        }
        let range = self.check_request(first, tuples.len() / tag)?;
        let active = self.active()?;
        let start = range.start;
        // Both in one step: what another thread writes in between would be replayed over them.
        self.past_journal(|| {
            self.change_in_place(active, range, || self.write_tags_in_place(start, tuples))
        })
    }

    fn discard_tagged(
        &self,
        first: SectorNumber,
        blocks: usize,
        fill: &mut dyn FnMut(SectorNumber, &mut [u8]),
    ) -> Result<(), DeviceError> {
        let range = self.check_request(first, blocks)?;
        let active = self.active()?;
        let capabilities = self.capabilities();
        if !(capabilities.discard && capabilities.zeroes_after_discard) {
            return Err(DeviceError::Unsupported {
                operation: Operation::Discard,
            });
        }
        let spb = self.layout.block_size().sectors().get();
        let at_once = RUN_BYTES / self.block_bytes();
        let mut at = range.start;
        while at < range.end {
            let blocks = at_once.min(narrow((range.end - at) / spb));
            let end = at + wide(blocks) * spb;
            let mut run = self.hole_of(blocks);
            fill(SectorNumber::new(at), run.tuples.as_mut_slice());
            match &active.ring {
                Some(ring) => self.stop.guarded(|| ring.append(self, at, run))?,
                None => {
                    let tuples = run.tuples.as_slice();
                    self.change_in_place(active, at..end, || self.punch_in_place(at, tuples))?;
                }
            }
            at = end;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), DeviceError> {
        self.stop.check()?;
        let Some(active) = self.active.get() else {
            // Nothing was written since opening.
            return Ok(());
        };
        self.stop.guarded(|| match &active.ring {
            Some(ring) => {
                ring.commit(self)?;
                self.flush_bypassed()
            }
            None => self.flush_in_place(),
        })
    }

    fn capabilities(&self) -> Capabilities {
        let below = self.devices.data.capabilities();
        let mut capabilities = Capabilities::default();
        capabilities.read_only = self.options.is_read_only();
        capabilities.discard = below.discard && !capabilities.read_only;
        capabilities.zeroes_after_discard = capabilities.discard && below.zeroes_after_discard;
        capabilities.optimal_io_bytes = below.optimal_io_bytes;
        capabilities
    }
}

impl<D: BlockDevice> Drop for IntegrityDevice<D> {
    fn drop(&mut self) {
        if !self.closed {
            // Nobody is left to be told; `close` is for those who want to know.
            let _ = self.flush();
        }
    }
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests;
