//! Making tags for data as it is: after formatting without a wipe, after a crash in bitmap mode, or
//! going on with what the kernel began.
//!
//! Whoever could change the data has it blessed by this; for keyed hashes it has to be asked for.

use std::{
    ops::Range,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use luksmith_block::{
    BlockDevice, Control, Error as DeviceError, Operation, SectorCount, SectorNumber,
};

use crate::{
    Devices, DigestName, Error, Flags, HashedDevice, Mode, OpenOptions,
    bitmap::Marked,
    convert::{narrow, wide},
};

/// Bytes of data that are tagged at once.
const STEP_BYTES: usize = 1 << 20;

/// Bytes of data that one thread reads and makes tags for before it takes more: they stay in its
/// cache in between, and two threads share a step without one waiting long for the other.
const PART_BYTES: usize = 256 << 10;

/// Steps after which the position is made durable.
const STEPS_PER_SAVE: u32 = 64;

/// What is to be recalculated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recalculation {
    /// What the device itself says is due: regions marked in its bitmap, and the rest of a
    /// recalculation that was begun.
    Due,
    /// The whole device.
    Whole,
}

/// Makes the tags of a device with an internal hash match its data.
///
/// The journal is applied first. The position is kept in the superblock, so that cancelled or
/// interrupted work goes on where it was. `control` counts sectors. Gives the sectors recalculated.
///
/// `bless_keyed` allows it for a keyed hash: whatever is on the device then becomes authentic.
///
/// # Errors
/// [`Error::RecalculationKeyed`]; those of [`HashedDevice::open`]; [`DeviceError::Cancelled`]; what
/// the devices give.
pub fn recalculate<D: BlockDevice>(
    devices: Devices<D>,
    options: OpenOptions,
    digest: DigestName,
    key: Option<&[u8]>,
    what: Recalculation,
    bless_keyed: bool,
    control: &Control,
) -> Result<SectorCount, Error> {
    if digest.is_keyed() && !bless_keyed {
        return Err(Error::RecalculationKeyed { name: digest });
    }
    let options = options.mode(Mode::Direct).recalculating();
    let device = HashedDevice::open(devices, options, digest, key)?;
    let mut work = Work {
        device: &device,
        control,
        done: 0,
    };
    let superblock = device.superblock();
    let size = superblock.provided_data_sectors().get();
    let whole = what == Recalculation::Whole;
    let marked = work.marked(whole)?;
    let regions = || marked.iter().flat_map(|marked| marked.regions(size));
    let begun = superblock.flags().contains(Flags::RECALCULATING);
    let from = match (whole, begun) {
        (true, _) => 0,
        (false, true) => superblock.recalc_sector().get().min(size),
        (false, false) => size,
    };
    let due: u64 = regions().map(|region| region.end - region.start).sum();
    control.begin(due + (size - from));
    let engine = device.unchecked();
    engine.stop.guarded(|| work.run(regions(), from, size))?;
    let done = work.done;
    device.close()?;
    Ok(SectorCount::new(done))
}

struct Work<'a, D: BlockDevice> {
    device: &'a HashedDevice<D>,
    control: &'a Control,
    done: u64,
}

impl<D: BlockDevice> Work<'_, D> {
    /// Gives the bitmap of an unclosed device, unless everything is recalculated anyway.
    fn marked(&self, whole: bool) -> Result<Option<Marked>, Error> {
        let engine = self.device.unchecked();
        let superblock = self.device.superblock();
        if whole || !superblock.flags().contains(Flags::DIRTY_BITMAP) {
            return Ok(None);
        }
        let log2 = superblock.log2_blocks_per_bitmap_bit();
        Marked::read(engine.devices.meta(), &engine.layout, log2).map(Some)
    }

    /// 1. Marked regions are tagged and made durable. The bitmap still marks them.
    /// 2. The superblock says that a recalculation from `from` on is due, if it is. Only now the
    ///    bitmap may go: what it marks is tagged already, or will be on the way from `from` on.
    /// 3. The journal, where the bitmap was, is initialised; then the superblock says that there is
    ///    no bitmap.
    /// 4. The rest is tagged upwards, the position saved now and then after its tags are durable.
    fn run(
        &mut self,
        marked: impl Iterator<Item = Range<u64>>,
        from: u64,
        size: u64,
    ) -> Result<(), Error> {
        let engine = self.device.unchecked();
        engine.apply_journal()?;
        for region in marked {
            self.tag(region, |_, _| Ok(()))?;
        }
        engine.flush_in_place()?;
        if from < size {
            engine.change_superblock(|superblock| {
                superblock.flags = superblock.flags.with(Flags::RECALCULATING);
                superblock.recalc_sector = from;
            })?;
        }
        let flags = self.device.superblock().flags();
        if flags.contains(Flags::DIRTY_BITMAP) {
            engine.leave_bitmap_mode()?;
        }
        if from >= size {
            return Ok(());
        }
        let mut steps = 0;
        self.tag(from..size, |position, last| {
            steps += 1;
            if last || steps % STEPS_PER_SAVE == 0 {
                engine.flush_in_place()?;
                engine.change_superblock(|superblock| superblock.recalc_sector = position)?;
            }
            Ok(())
        })
    }

    /// Writes the tags of a range of sectors and calls `each` behind every step, also when
    /// cancelled.
    fn tag(
        &mut self,
        sectors: Range<u64>,
        mut each: impl FnMut(u64, bool) -> Result<(), DeviceError>,
    ) -> Result<(), Error> {
        let engine = self.device.unchecked();
        let spb = engine.layout.block_size().sectors().get();
        let (mut data, mut tags) = (Vec::new(), Vec::new());
        let mut at = sectors.start;
        // The stored position may lie inside a block.
        at -= at % spb;
        while at < sectors.end {
            let blocks =
                narrow((sectors.end - at).div_ceil(spb)).min(STEP_BYTES / engine.block_bytes());
            data.resize(blocks * engine.block_bytes(), 0);
            tags.resize(blocks * engine.tag_bytes(), 0);
            let _alone = engine.ranges.exclusive(at..at + wide(blocks) * spb);
            self.make_tags(at, &mut data, &mut tags)?;
            engine.write_tags_in_place(at, &tags)?;
            let sectors_done = wide(blocks) * spb;
            at += sectors_done;
            self.done += sectors_done;
            let cancelled = self.control.advance(sectors_done);
            each(at.min(sectors.end), at >= sectors.end || cancelled.is_err())?;
            cancelled?;
        }
        Ok(())
    }

    /// Reads consecutive blocks and makes their tags, by as many threads as are lent. Nothing is
    /// written, so the order of writes is that of one thread.
    fn make_tags(&self, at: u64, data: &mut [u8], tags: &mut [u8]) -> Result<(), DeviceError> {
        let engine = self.device.unchecked();
        let spb = engine.layout.block_size().sectors().get();
        let blocks = PART_BYTES / engine.block_bytes();
        let parts = data.len().div_ceil(PART_BYTES);
        let pieces = data.chunks_mut(blocks * engine.block_bytes());
        let pieces = pieces.zip(tags.chunks_mut(blocks * engine.tag_bytes()));
        let pieces = Mutex::new((0_u64..).zip(pieces));
        // The first of the step: parts are taken in ascending order.
        let failed = Mutex::new(None::<(u64, DeviceError)>);
        let made = AtomicUsize::new(0);
        let job = || {
            loop {
                let piece = held(&pieces).next();
                let Some((index, (data, tags))) = piece.filter(|_| held(&failed).is_none()) else {
                    return;
                };
                let first = at + index * wide(blocks) * spb;
                let tagged = engine.read_data_in_place(first, data).and_then(|()| {
                    self.device
                        .maker()
                        .tags(SectorNumber::new(first), data, tags)
                });
                match tagged {
                    Ok(()) => {
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => {
                        let mut failed = held(&failed);
                        if failed.is_none_or(|(earlier, _)| index < earlier) {
                            *failed = Some((index, error));
                        }
                    }
                }
            }
        };
        let executor = &engine.options.executor;
        executor.run(executor.threads().min(parts).saturating_sub(1), &job);
        // An executor may have called nobody.
        job();
        if let Some((_, error)) = held(&failed).take() {
            return Err(error);
        }
        if made.into_inner() < parts {
            // A part was left by a panic, and the executor kept it to itself. The tags here are not
            // those of the data.
            let operation = Operation::Read;
            engine.stop.trip(operation);
            return Err(DeviceError::FailStop { operation });
        }
        Ok(())
    }
}

/// Takes a lock also after a panic in another thread, which ends everything anyway.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
