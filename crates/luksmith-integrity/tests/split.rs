//! Tags on a device of their own: the power cut at every request of either device, growing and
//! shrinking.

#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

mod places;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Capabilities, Control, Error, MemDevice, SectorCount,
    SectorSize,
};
use luksmith_integrity::{
    DeviceSizes, Devices, DigestName, Error as IntegrityError, FormatRequest, HashedDevice, Mode,
    OpenOptions, Recalculation, format, recalculate,
};
use luksmith_testkit::{CrashDevice, CrashOptions, CrashPoint, Event, Image, Prng, Recording};

use places::at;

const DIGEST: DigestName = DigestName::Crc32c;
const META: usize = 60 << 10;

/// One of two devices whose requests have one order: every request of either is a moment of both.
struct Side {
    own: Arc<CrashDevice>,
    other: Arc<CrashDevice>,
    clock: Arc<AtomicU64>,
}

impl Side {
    fn tick(&self) {
        let now = self.clock.fetch_add(1, Ordering::SeqCst) + 1;
        self.own.mark(now);
        self.other.mark(now);
    }
}

impl BlockDevice for Side {
    fn size(&self) -> ByteLen {
        self.own.size()
    }

    fn sector_size(&self) -> SectorSize {
        self.own.sector_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
        self.own.read_at(at, buf)
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        self.own.write_at(at, data)?;
        self.tick();
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        self.own.flush()?;
        self.tick();
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}

/// Both devices and what they recorded.
struct Pair {
    data: Arc<CrashDevice>,
    meta: Arc<CrashDevice>,
    clock: Arc<AtomicU64>,
}

impl Pair {
    fn new(data: &[u8], meta: &[u8]) -> Self {
        let device = |bytes| Arc::new(CrashDevice::from_bytes(bytes, SectorSize::S512));
        Self {
            data: device(data),
            meta: device(meta),
            clock: Arc::default(),
        }
    }

    fn devices(&self) -> Devices<Side> {
        let side = |own: &Arc<CrashDevice>, other: &Arc<CrashDevice>| Side {
            own: Arc::clone(own),
            other: Arc::clone(other),
            clock: Arc::clone(&self.clock),
        };
        Devices::split(side(&self.data, &self.meta), side(&self.meta, &self.data))
    }

    /// Begins a moment of its own, so that what needs no request of a device has its time too.
    fn tick(&self) {
        let now = self.clock.fetch_add(1, Ordering::SeqCst) + 1;
        self.data.mark(now);
        self.meta.mark(now);
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// Calls `check` with every moment and images of both devices that the power may leave then.
    fn for_each_crash(&self, seed: u64, mut check: impl FnMut(u64, &Image, &Image)) -> u64 {
        let options = CrashOptions {
            exhaustive_up_to: 2,
            random: 1,
            seed,
            ..CrashOptions::default()
        };
        let data = Moments::of(&self.data.recording());
        let meta = Moments::of(&self.meta.recording());
        let mut count = 0;
        for now in 0..=self.now() {
            for data in data.at(now).images(&options) {
                for meta in meta.at(now).images(&options) {
                    check(now, &data, &meta);
                    count += 1;
                }
            }
        }
        count
    }
}

/// Which crash point of one device belongs to which moment.
struct Moments {
    points: Vec<CrashPoint>,
    /// For each moment, the index of the point.
    index: Vec<usize>,
}

impl Moments {
    fn of(recording: &Recording) -> Self {
        let mut index = vec![0];
        let mut done = 0;
        for event in recording.events() {
            match event {
                Event::Mark(now) => {
                    assert_eq!(usize::try_from(*now).expect("small"), index.len());
                    index.push(done);
                }
                _ => done += 1,
            }
        }
        Self {
            points: recording.points().collect(),
            index,
        }
    }

    fn at(&self, now: u64) -> &CrashPoint {
        &self.points[self.index[usize::try_from(now).expect("small")]]
    }
}

fn options(mode: Mode) -> OpenOptions {
    OpenOptions::new()
        .mode(mode)
        .sectors_per_bit(8)
        .tag_cache(ByteLen::new(0))
}

fn open<D: BlockDevice>(devices: Devices<D>, mode: Mode) -> HashedDevice<D> {
    HashedDevice::open(devices, options(mode), DIGEST, None).expect("formatted")
}

fn mem(image: &Image) -> Arc<MemDevice> {
    Arc::new(image.to_mem(SectorSize::S512))
}

/// Data and metadata of a device of `blocks` blocks, all of them 1.
fn formatted(blocks: usize) -> (Vec<u8>, Vec<u8>) {
    let device = |bytes: usize| Arc::new(MemDevice::from_bytes(&vec![0; bytes], SectorSize::S512));
    let (data, meta) = (device(blocks * 512), device(META));
    let devices = Devices::split(Arc::clone(&data), Arc::clone(&meta));
    let request = FormatRequest::new(255, SectorSize::S512)
        .expect("a tag size that exists")
        .journal_sectors(SectorCount::new(48));
    format(&devices, &request, None, None).expect("room enough");
    let device = open(devices, Mode::Direct);
    assert_eq!(device.size().to_usize(), Some(blocks * 512));
    device
        .write_at(ByteOffset::ZERO, &vec![1; blocks * 512])
        .expect("no faults here");
    device.close().expect("no faults here");
    (data.to_vec(), meta.to_vec())
}

/// What was written when, and from which moment on it is durable.
struct Known {
    /// For each block: moment at which the write began, value.
    history: Vec<Vec<(u64, u8)>>,
    /// For each flush: moment at which it had returned, writes that had returned when it began.
    flushes: Vec<(u64, u64)>,
}

#[test]
fn after_power_loss_of_both_devices_flushed_data_is_there_and_blocks_are_old_or_new() {
    const BLOCKS: usize = 24;

    let mut crashes = 0;
    for seed in 1..=3 {
        for mode in [Mode::Journal, Mode::Direct, Mode::Bitmap] {
            let (data, meta) = formatted(BLOCKS);
            let pair = Pair::new(&data, &meta);
            let device = open(pair.devices(), mode);
            let mut prng = Prng::new(seed);
            let mut known = Known {
                history: vec![vec![(0, 1)]; BLOCKS],
                flushes: vec![(0, 0)],
            };
            for value in 2..14 {
                let first = prng.index(BLOCKS);
                let count = (prng.index(7) + 1).min(BLOCKS - first);
                pair.tick();
                for history in &mut known.history[first..first + count] {
                    history.push((pair.now(), value));
                }
                device
                    .write_at(at(first), &vec![value; count * 512])
                    .expect("no faults here");
                if prng.chance(1, 3) {
                    // Later than the beginning of any write that has returned.
                    pair.tick();
                    let before = pair.now();
                    device.flush().expect("no faults here");
                    known.flushes.push((pair.now(), before));
                }
            }
            device.close().expect("no faults here");
            crashes += pair.for_each_crash(seed, |now, data, meta| {
                check(&known, mode, now, data, meta);
            });
        }
    }
    println!("{crashes} crashes");
    assert!(crashes > 1000, "{crashes}");
}

fn check(known: &Known, mode: Mode, now: u64, data: &Image, meta: &Image) {
    let durable = known.flushes.iter().rev().find(|(end, _)| *end <= now);
    let durable = durable.expect("the start is durable").1;
    let (data, meta) = (mem(data), mem(meta));
    let split = || Devices::split(Arc::clone(&data), Arc::clone(&meta));
    let device = match HashedDevice::open(split(), options(Mode::Journal), DIGEST, None) {
        Err(IntegrityError::BitmapDirty) => {
            let due = Recalculation::Due;
            let control = Control::new();
            recalculate(split(), options(mode), DIGEST, None, due, false, &control)
                .expect("no faults here");
            open(split(), Mode::Journal)
        }
        opened => opened.expect("formatted"),
    };
    device.unchecked().apply_journal().expect("no faults here");
    for (block, history) in known.history.iter().enumerate() {
        let newest_durable = history.iter().rposition(|(began, _)| *began < durable);
        let from = newest_durable.unwrap_or(0);
        let allowed: Vec<u8> = history[from..]
            .iter()
            .filter(|(began, _)| *began <= now)
            .map(|(_, value)| *value)
            .collect();
        let mut bytes = [0; 512];
        match device.read_at(at(block), &mut bytes) {
            Ok(()) => {
                let torn = mode == Mode::Bitmap && allowed.len() > 1;
                let whole = bytes.iter().all(|byte| *byte == bytes[0]);
                assert!(
                    torn || (whole && allowed.contains(&bytes[0])),
                    "{mode:?}, moment {now}: block {block} holds {}, allowed are {allowed:?}",
                    bytes[0]
                );
            }
            Err(Error::TagMismatch { .. }) => assert!(
                mode == Mode::Direct && allowed.len() > 1,
                "{mode:?}, moment {now}: block {block} mismatches"
            ),
            Err(error) => panic!("block {block}: {error}"),
        }
    }
}

fn contents<D: BlockDevice>(device: &HashedDevice<D>) -> Vec<u8> {
    let mut bytes = vec![0; device.size().to_usize().expect("small")];
    device
        .read_at(ByteOffset::ZERO, &mut bytes)
        .expect("every tag matches");
    bytes
}

#[test]
fn a_device_grown_with_its_data_device_has_the_old_or_the_new_size_after_a_crash() {
    const OLD: usize = 40 * 512;
    const NEW: usize = 75 * 512;

    for mode in [Mode::Journal, Mode::Direct] {
        for wipe in [true, false] {
            let (mut data, meta) = formatted(OLD / 512);
            data.resize(NEW, if wipe { 0xee } else { 0 });
            let pair = Pair::new(&data, &meta);
            let device = open(pair.devices(), mode);
            // Something waits in the journal.
            device.write_at(at(3), &[9; 1024]).expect("no faults here");
            device.flush().expect("no faults here");
            drop(device);
            let begun = pair.now();
            let grown = open(pair.devices(), mode).grow(wipe, &Control::new());
            assert_eq!(grown, Ok(SectorCount::new(75)));
            let mut expected = vec![1; OLD];
            expected[3 * 512..5 * 512].fill(9);
            let (mut before, mut after) = (0, 0);
            pair.for_each_crash(5, |now, data, meta| {
                if now < begun {
                    return;
                }
                let devices = Devices::split(mem(data), mem(meta));
                let found = contents(&open(devices, mode));
                assert_eq!(found[..OLD], expected, "moment {now}");
                if found.len() == OLD {
                    before += 1;
                } else {
                    after += 1;
                    assert_eq!(found[OLD..], vec![0; NEW - OLD], "moment {now}");
                }
            });
            assert!(before > 4 && after > 0, "{before} before, {after} after");
        }
    }
}

#[test]
fn a_device_shrinks_with_its_data_device_and_not_below_its_metadata() {
    let (data, meta) = formatted(75);
    let device = |bytes: &[u8]| Arc::new(MemDevice::from_bytes(bytes, SectorSize::S512));
    let sizes = |sectors| DeviceSizes {
        data: SectorCount::new(sectors),
        meta: Some(SectorCount::new(u64::try_from(META / 512).expect("small"))),
    };
    let (large, meta) = (device(&data), device(&meta));
    let split = || Devices::split(Arc::clone(&large), Arc::clone(&meta));
    assert_eq!(
        open(split(), Mode::Journal).shrink(sizes(76)),
        Err(IntegrityError::Growing {
            found: SectorCount::new(75),
            room: SectorCount::new(76),
        })
    );
    let nothing = open(split(), Mode::Journal).shrink(sizes(0));
    assert!(matches!(nothing, Err(IntegrityError::TooSmall { .. })));
    let waiting = open(split(), Mode::Journal);
    waiting.write_at(at(38), &[5; 512]).expect("no faults here");
    waiting.flush().expect("no faults here");
    drop(waiting);
    let shrunk = open(split(), Mode::Journal).shrink(sizes(40));
    assert_eq!(shrunk, Ok(SectorCount::new(40)));
    // Only now the device is cut.
    let cut = device(&large.to_vec()[..40 * 512]);
    let found = contents(&open(Devices::split(cut, meta), Mode::Journal));
    assert_eq!(found.len(), 40 * 512);
    assert_eq!((found[0], found[38 * 512], found[39 * 512]), (1, 5, 1));
}

#[test]
fn a_data_device_cut_behind_our_back_is_refused_and_nothing_is_written() {
    let (data, meta) = formatted(75);
    let cut = Arc::new(MemDevice::from_bytes(&data[..74 * 512], SectorSize::S512));
    let meta = Arc::new(MemDevice::from_bytes(&meta, SectorSize::S512));
    let devices = Devices::split(Arc::clone(&cut), Arc::clone(&meta));
    let before = (cut.to_vec(), meta.to_vec());
    assert_eq!(
        HashedDevice::open(devices, options(Mode::Journal), DIGEST, None).err(),
        Some(IntegrityError::TooSmall {
            needed: SectorCount::new(75),
            found: SectorCount::new(74),
        })
    );
    assert!((cut.to_vec(), meta.to_vec()) == before);
}
