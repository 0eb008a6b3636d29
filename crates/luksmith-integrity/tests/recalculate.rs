//! Recalculation after a crash in bitmap mode, with the power cut again while it runs.

#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

mod places;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Control, Error as DeviceError, Executor, Inline, MemDevice,
    Operation, SectorCount, SectorNumber, SectorSize, TaggedDevice,
};
use luksmith_integrity::{
    Devices, DigestName, Error, FlagPolicy, FormatRequest, HashedDevice, IntegrityDevice,
    Interleave, Mode, OpenOptions, Recalculation, format, recalculate,
};
use luksmith_testkit::{
    Among, CrashDevice, CrashOptions, Fault, FaultDevice, FaultPlan, HookDevice, Image,
    QuietExecutor, paint,
};

use places::at;

const DIGEST: DigestName = DigestName::Crc32c;

fn options() -> OpenOptions {
    OpenOptions::new()
        .mode(Mode::Bitmap)
        .sectors_per_bit(8)
        .tag_cache(ByteLen::new(0))
}

fn recalculated<D: BlockDevice>(disk: &Arc<D>, what: Recalculation) -> Result<SectorCount, Error> {
    let devices = Devices::interleaved(Arc::clone(disk));
    recalculate(
        devices,
        options(),
        DIGEST,
        None,
        what,
        false,
        &Control::new(),
    )
}

/// A device in use in bitmap mode when the power went: the blocks of one marked region, behind the
/// first four bytes of the bitmap, have data without their tags.
fn unclosed() -> (Vec<u8>, usize) {
    let disk = Arc::new(MemDevice::new(ByteLen::new(1 << 19), SectorSize::S512).expect("small"));
    let request = FormatRequest::new(255, SectorSize::S512)
        .expect("a tag size that exists")
        .journal_sectors(SectorCount::new(16))
        .interleave(Interleave::Sectors(8));
    format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
    let devices = Devices::interleaved(Arc::clone(&disk));
    let device =
        HashedDevice::open(devices, options().mode(Mode::Direct), DIGEST, None).expect("formatted");
    let blocks = device.size().to_usize().expect("small") / 512;
    device
        .write_at(ByteOffset::ZERO, &vec![1; blocks * 512])
        .expect("no faults here");
    device.close().expect("no faults here");
    let devices = Devices::interleaved(Arc::clone(&disk));
    let device = HashedDevice::open(devices, options(), DIGEST, None).expect("formatted");
    assert!(blocks > 40, "{blocks}");
    // Bits 1 and 2, which an initialised journal in the place of the bitmap does not have.
    for block in 8..24 {
        device
            .write_at(at(block), &[2; 512])
            .expect("no faults here");
    }
    device.flush().expect("no faults here");
    let engine = device.unchecked();
    engine
        .write_tuples(SectorNumber::new(8), &[0x77; 16 * 255])
        .expect("no faults here");
    engine.flush().expect("no faults here");
    let bytes = disk.to_vec();
    assert_eq!(bytes[4096..4100], [0b110, 0, 0, 0]);
    drop(device);
    (bytes, blocks)
}

/// The journal's image took the place of the bitmap before the superblock said that everything is
/// to be recalculated, so a crash in between lost the marks.
#[test]
fn a_crash_during_a_recalculation_of_everything_loses_no_mark() {
    let (bytes, blocks) = unclosed();
    for what in [Recalculation::Whole, Recalculation::Due] {
        let image = Image::from_bytes(&bytes);
        let disk = Arc::new(CrashDevice::new(image, SectorSize::S512));
        recalculated(&disk, what).expect("no faults here");
        let crash_options = CrashOptions {
            random: 6,
            ..CrashOptions::default()
        };
        let count = disk.recording().for_each_crash(&crash_options, |_, image| {
            let disk = Arc::new(image.to_mem(SectorSize::S512));
            // Whatever is due: nothing, what is marked, or the rest of what was begun.
            recalculated(&disk, Recalculation::Due).expect("no faults here");
            // With the eyes of somebody who checks everything.
            let devices = Devices::interleaved(Arc::clone(&disk));
            let plain = options()
                .mode(Mode::Direct)
                .flags(FlagPolicy::Standalone)
                .read_only(true);
            let engine = IntegrityDevice::open(devices, plain).expect("formatted");
            let (mut data, mut tags) = (vec![0; blocks * 512], vec![0; blocks * 255]);
            engine
                .read_tagged(SectorNumber::ZERO, &mut data, &mut tags)
                .expect("no faults here");
            for block in 0..blocks {
                let expected = u8::from((8..24).contains(&block)) + 1;
                assert_eq!(data[block * 512], expected, "block {block}");
                let tag = &tags[block * 255..][..255];
                assert_ne!(
                    tag[..255],
                    [0x77; 255],
                    "block {block} has no tag, {what:?}"
                );
            }
        });
        assert!(count > 20, "{count}");
    }
}

/// With the superblock first, a crash left a bitmap where a journal was expected, and the device
/// could not be opened any more.
#[test]
fn a_bitmap_that_marks_nothing_gives_way_to_a_journal_through_any_crash() {
    let (bytes, blocks) = unclosed();
    let disk = Arc::new(MemDevice::from_bytes(&bytes, SectorSize::S512));
    recalculated(&disk, Recalculation::Due).expect("no faults here");
    let devices = Devices::interleaved(Arc::clone(&disk));
    let device = HashedDevice::open(devices, options(), DIGEST, None).expect("formatted");
    device.write_at(at(30), &[5; 512]).expect("no faults here");
    device
        .commit_if_older_than(std::time::Duration::ZERO)
        .expect("no faults here");
    drop(device);
    let image = Image::from_bytes(&disk.to_vec());
    let disk = Arc::new(CrashDevice::new(image, SectorSize::S512));
    let devices = Devices::interleaved(Arc::clone(&disk));
    let device = HashedDevice::open(devices, options().mode(Mode::Journal), DIGEST, None)
        .expect("nothing is marked");
    device.unchecked().apply_journal().expect("no faults here");
    let crash_options = CrashOptions {
        random: 40,
        ..CrashOptions::default()
    };
    let count = disk.recording().for_each_crash(&crash_options, |_, image| {
        let disk = Arc::new(image.to_mem(SectorSize::S512));
        // What is left of a journal may look like marks.
        recalculated(&disk, Recalculation::Due).expect("it can be opened");
        let devices = Devices::interleaved(disk);
        let device = HashedDevice::open(devices, options().mode(Mode::Journal), DIGEST, None)
            .expect("it can be opened");
        let mut data = vec![0; blocks * 512];
        device
            .read_at(ByteOffset::ZERO, &mut data)
            .expect("every tag matches");
        assert_eq!((data[0], data[30 * 512]), (1, 5));
    });
    assert!(count > 40, "{count}");
}

/// The end of a short recalculation was not saved, or one that began inside a block failed: what it
/// went over stayed unchecked.
#[test]
fn a_recalculation_begins_at_a_block_and_says_where_it_ended() {
    let disk = Arc::new(MemDevice::new(ByteLen::new(1 << 20), SectorSize::S512).expect("small"));
    let request = FormatRequest::new(4, SectorSize::S4096).expect("a tag size that exists");
    format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
    let mut superblock = [0; 512];
    disk.read_at(ByteOffset::ZERO, &mut superblock)
        .expect("a memory device");
    // RECALCULATING, from the middle of block 1 on.
    superblock[24] |= 2;
    superblock[32..40].copy_from_slice(&12_u64.to_le_bytes());
    disk.write_at(ByteOffset::ZERO, &superblock)
        .expect("a memory device");
    let done = recalculated(&disk, Recalculation::Due).expect("no faults here");
    let devices = Devices::interleaved(Arc::clone(&disk));
    let device = HashedDevice::open(devices, OpenOptions::new(), DIGEST, None).expect("formatted");
    let provided = device.superblock().provided_data_sectors();
    assert_eq!(done.get(), provided.get() - 8);
    assert_eq!(device.superblock().recalc_sector().get(), provided.get());
    let mut data = vec![0; device.size().to_usize().expect("small") - 4096];
    device
        .read_at(ByteOffset::new(4096), &mut data)
        .expect("every tag matches");
    assert!(device.read_at(ByteOffset::ZERO, &mut [0; 4096]).is_err());
}

/// Threads that live as long as one step, and how many of them found something to do.
#[derive(Default)]
struct Scoped(AtomicUsize);

impl Executor for Scoped {
    fn threads(&self) -> usize {
        3
    }

    fn run(&self, helpers: usize, job: &(dyn Fn() + Sync)) {
        self.0.fetch_max(helpers, Ordering::SeqCst);
        std::thread::scope(|scope| {
            for _ in 0..helpers {
                scope.spawn(job);
            }
            job();
        });
    }
}

#[test]
fn several_threads_make_the_tags_that_one_makes_and_fail_where_it_fails() {
    let fresh = || {
        let bytes = paint(3, 5 << 20);
        let disk = Arc::new(MemDevice::from_bytes(&bytes, SectorSize::S512));
        let request = FormatRequest::new(4, SectorSize::S512).expect("a tag size that exists");
        format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
        disk
    };
    let recalculated = |disk: Arc<FaultDevice<Arc<MemDevice>>>, executor| {
        let devices = Devices::interleaved(disk);
        let options = OpenOptions::new().executor(executor);
        let what = Recalculation::Whole;
        recalculate(devices, options, DIGEST, None, what, false, &Control::new())
    };
    let (alone, together) = (fresh(), fresh());
    let scoped = Arc::new(Scoped::default());
    let done = recalculated(
        Arc::new(FaultDevice::new(Arc::clone(&alone))),
        Arc::new(Inline),
    );
    let faulty = Arc::new(FaultDevice::new(Arc::clone(&together)));
    assert_eq!(recalculated(faulty, Arc::clone(&scoped) as _), done);
    assert!(done.is_ok_and(|done| done.get() > 9000));
    assert_eq!(scoped.0.load(Ordering::SeqCst), 2);
    assert!(alone.to_vec() == together.to_vec());
    // Every read fails from the second step on.
    let failing = || {
        let faulty = Arc::new(FaultDevice::new(fresh()));
        let plan = FaultPlan {
            among: Among::Only(Operation::Read),
            from: 12,
            count: u64::MAX,
            fault: Fault::Fails,
        };
        faulty.set_plan(Some(plan));
        faulty
    };
    for executor in [Arc::new(Inline) as Arc<dyn Executor>, scoped] {
        let faulty = failing();
        let error = recalculated(Arc::clone(&faulty), executor);
        assert!(matches!(error, Err(Error::Device { .. })), "{error:?}");
        // What was not reached says so.
        faulty.set_plan(None);
        let devices = Devices::interleaved(faulty);
        let device = HashedDevice::open(devices, OpenOptions::new(), DIGEST, None);
        let device = device.expect("formatted");
        let from = device.superblock().recalc_sector();
        let provided = device.superblock().provided_data_sectors();
        assert!(from.get() < provided.get(), "{from}");
    }
}

/// The tags of the step before were written in place of those that a panic had left unmade.
#[test]
fn a_panic_that_an_executor_keeps_to_itself_ends_the_recalculation() {
    let bytes = paint(3, 5 << 20);
    let disk = Arc::new(MemDevice::from_bytes(&bytes, SectorSize::S512));
    let request = FormatRequest::new(4, SectorSize::S512).expect("a tag size that exists");
    format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
    // The second part of the second step of 1 MiB.
    let left = AtomicUsize::new(5);
    let hooked = HookDevice::new(Arc::clone(&disk), move |operation, _, len: ByteLen| {
        if operation == Operation::Read && len.get() == 256 << 10 {
            assert_ne!(left.fetch_sub(1, Ordering::SeqCst), 0, "as asked");
        }
        Ok(())
    });
    let recalculated = recalculate(
        Devices::interleaved(hooked),
        OpenOptions::new().executor(Arc::new(QuietExecutor)),
        DIGEST,
        None,
        Recalculation::Whole,
        false,
        &Control::new(),
    );
    let operation = Operation::Read;
    let source = DeviceError::FailStop { operation };
    assert_eq!(recalculated, Err(Error::Device { source }));
    // Of the second step not one tag was written.
    let devices = Devices::interleaved(Arc::clone(&disk));
    let reader = OpenOptions::new().read_only(true);
    let device = HashedDevice::open(devices, reader, DIGEST, None).expect("formatted");
    let tags = |first| {
        let (mut data, mut tags) = (vec![0; 1 << 20], vec![0; 4 << 11]);
        device
            .unchecked()
            .read_tagged(SectorNumber::new(first), &mut data, &mut tags)
            .expect("a memory device");
        tags
    };
    let position = device.layout().locate(SectorNumber::new(2048));
    let at = position.expect("a block").tag.get();
    let at = usize::try_from(at).expect("small");
    assert!(tags(2048) == bytes[at..at + (4 << 11)]);
}
