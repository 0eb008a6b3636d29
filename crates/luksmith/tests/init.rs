//! What initialising costs, and how it is stopped and goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use luksmith::block::{
    BlockDevice, ByteLen, ByteOffset, Control, Error as BlockError, Operation, SectorSize,
    SparseMemDevice,
};
use luksmith::{
    CandidateKey, Error, ErrorKind, FormatOptions, HeaderPlace, Init, Journal, NewKeys,
    OpenOptions, Part, Unlock, Volume, Workers, format, open,
};
use luksmith_testkit::{
    Among, CountingDevice, CrashDevice, Fault, FaultDevice, FaultPlan, HookDevice,
};

const MIB: u64 = 1 << 20;

type Disk = Arc<CountingDevice<SparseMemDevice>>;

fn disk(size: u64) -> Disk {
    let device = SparseMemDevice::new(ByteLen::new(size), SectorSize::S512);
    Arc::new(CountingDevice::new(device))
}

fn ephemeral(init: Init) -> FormatOptions {
    FormatOptions::ephemeral().init(init)
}

fn made(device: impl BlockDevice + 'static, init: Init) -> Volume {
    format(device, NewKeys::none(), &ephemeral(init)).expect("a volume")
}

/// Header and key of a volume of which nothing is initialised, for opening it again.
fn uninitialised(
    device: impl BlockDevice + 'static,
    options: &FormatOptions,
) -> (Vec<u8>, Vec<u8>) {
    let volume = format(device, NewKeys::none(), options).expect("a volume");
    let header = volume.header_image().expect("an image");
    let key = volume.volume_key().expect("the key").expose().to_vec();
    volume.close().expect("a clean close");
    (header, key)
}

/// A volume of which nothing is initialised, on a device that fails `count` operations of one kind
/// from the given one on.
fn failing(operation: Operation, from: u64, count: u64) -> Volume {
    let disk = disk(64 * MIB);
    let (header, key) = uninitialised(Arc::clone(&disk), &ephemeral(Init::None));
    let faulty = Arc::new(FaultDevice::new(disk));
    let volume = reopened(Arc::clone(&faulty), &header, &key, 2);
    faulty.set_plan(Some(FaultPlan {
        among: Among::Only(operation),
        from,
        count,
        fault: Fault::Fails,
    }));
    volume
}

/// Gives the byte from which work goes on that the device stopped.
fn stopped_at(result: Result<(), Error>) -> ByteOffset {
    let error = result.expect_err("the device fails");
    assert_eq!(error.kind(), ErrorKind::Device, "{error}");
    match error {
        Error::InitStopped { next, .. } => next,
        other => panic!("{other}"),
    }
}

#[test]
fn tags_alone_write_a_128th_and_the_journal() {
    for size in [64 * MIB, 200 * MIB + 512 * 77] {
        for profile in [FormatOptions::secure_mount(), FormatOptions::ephemeral()] {
            let disk = disk(size);
            let options = profile.header(HeaderPlace::Memory).init(Init::Tags);
            let volume = format(Arc::clone(&disk), NewKeys::none(), &options).expect("a volume");
            let usable = volume.size().get();
            volume.close().expect("a clean close");
            let devices = luksmith::integrity::Devices::interleaved(Arc::clone(&disk));
            let start = luksmith::block::SectorNumber::ZERO;
            let superblock = devices.read_superblock(start).expect("formatted");
            let journal = u64::from(superblock.journal_sections()) * 264 * 512;
            let written = disk.take().written_bytes;
            let most = usable / 128 + journal + MIB;
            println!("{size} bytes: {written} written, {most} allowed");
            assert!(written <= most, "{written} bytes, {most} are allowed");
            assert!(written >= usable / 128 + journal);
        }
    }
}

#[test]
fn a_lazy_volume_costs_the_same_at_any_size_and_reads_as_zeros() {
    let mut costs = Vec::new();
    for size in [64 * MIB, 64 << 30, 1 << 40] {
        let disk = disk(size);
        let volume = made(Arc::clone(&disk), Init::Lazy);
        let counts = disk.take();
        costs.push((
            counts.writes,
            counts.written_bytes,
            counts.reads,
            counts.read_bytes,
        ));
        let end = ByteOffset::new(volume.size().get() - 4096);
        let mut block = [1; 8192];
        volume.read_at(ByteOffset::ZERO, &mut block).expect("zeros");
        assert_eq!(block, [0; 8192]);
        assert_eq!(disk.take().reads, 0, "the device is not asked");
        volume.write_at(end, &[7; 4096]).expect("room enough");
        volume
            .write_at(ByteOffset::new(4096), &[8; 4096])
            .expect("room enough");
        volume
            .read_at(ByteOffset::ZERO, &mut block)
            .expect("half of it was written");
        assert_eq!(
            (block[0], block[4095], block[4096], block[8191]),
            (0, 0, 8, 8)
        );
        let report = volume.verify(Part::ALL, &Control::new());
        let report = report.expect("nothing fails");
        assert!(report.is_clean());
        assert_eq!(report.bytes, 8192);
        volume.close().expect("a clean close");
    }
    assert_eq!(costs[0], costs[1]);
    assert_eq!(costs[0], costs[2]);
}

#[test]
fn what_a_host_puts_under_a_lazy_volume_does_not_show() {
    let disk = disk(64 * MIB);
    let volume = made(Arc::clone(&disk), Init::Lazy);
    volume
        .write_at(ByteOffset::ZERO, &[7; 4096])
        .expect("room enough");
    volume.flush().expect("a memory device");
    // Block and tag of a written sector zeroed: it must not look new.
    disk.write_zeroes(ByteOffset::ZERO, disk.size())
        .expect("a memory device");
    let mut block = [1; 4096];
    assert!(matches!(
        volume.read_at(ByteOffset::ZERO, &mut block),
        Err(BlockError::TagMismatch { .. })
    ));
    assert_eq!(block, [0; 4096]);
    volume
        .read_at(ByteOffset::new(4096), &mut block)
        .expect("never written");
    let report = volume
        .verify(Part::ALL, &Control::new())
        .expect("nothing fails");
    assert_eq!((report.tampered.sectors(), report.bytes), (8, 4096));
    // Zeros forget it, without writing.
    disk.take();
    volume
        .write_zeroes(ByteOffset::ZERO, ByteLen::new(4096))
        .expect("nothing to fail");
    volume
        .read_at(ByteOffset::ZERO, &mut block)
        .expect("forgotten");
    assert_eq!((block, disk.take().writes), ([0; 4096], 0));
}

#[test]
fn lazy_initialisation_is_for_volumes_that_end_with_their_process() {
    let options = FormatOptions::secure_mount().init(Init::Lazy);
    let disk = disk(64 * MIB);
    let error = format(Arc::clone(&disk), NewKeys::none(), &options).expect_err("a header on disk");
    assert!(matches!(error, Error::FormatOption { .. }), "{error}");
    assert_eq!(disk.take().writes, 0);
    let mut volume = made(Arc::clone(&disk), Init::Lazy);
    let again = volume.initialise(Init::Wipe, ByteOffset::ZERO, &Control::new());
    assert!(matches!(again, Err(Error::FormatOption { .. })));
    let error = volume
        .grow(Init::Wipe, &Control::new())
        .expect_err("it ends with its process");
    assert!(matches!(error, Error::LazyVolume { .. }), "{error}");
    let volume = made(crate::disk(64 * MIB), Init::Lazy);
    let error = volume.shrink(ByteLen::new(32 * MIB), |_| panic!("nothing is to be cut"));
    assert!(matches!(error, Err(Error::LazyVolume { .. })), "{error:?}");
}

fn reopened(
    device: impl BlockDevice + 'static,
    header: &[u8],
    key: &[u8],
    threads: usize,
) -> Volume {
    let header = luksmith::block::MemDevice::from_bytes(header, SectorSize::S512);
    let key = CandidateKey::new(key).expect("a key");
    let options = OpenOptions::new()
        .detached_header(header)
        .workers(Workers::threads(threads))
        .journal(Journal::Bypass);
    open(device, Unlock::VolumeKey(&key), &options).expect("the volume opens")
}

#[test]
fn work_that_was_cancelled_goes_on_where_it_was() {
    // Of tags so many that the cache of the device below cannot keep them all.
    for (init, bytes, sector_size, writes) in [
        (Init::Wipe, 64 * MIB, SectorSize::S4096, 300),
        (Init::Tags, 128 * MIB, SectorSize::S512, 1),
    ] {
        for count in [1, 3] {
            let empty = SparseMemDevice::new(ByteLen::new(bytes), SectorSize::S512);
            let options = ephemeral(Init::None).sector_size(sector_size);
            let disk = Arc::new(empty);
            let (header, key) = uninitialised(Arc::clone(&disk), &options);
            let mut made = vec![0; bytes.try_into().expect("small")];
            disk.read_at(ByteOffset::ZERO, &mut made)
                .expect("a memory device");
            let crash = CrashDevice::from_bytes(&made, SectorSize::S512).without_recording();
            let crash = Arc::new(crash);
            let control = Arc::new(Control::new());
            let (left, cancelled) = (AtomicU64::new(writes), Arc::clone(&control));
            let device = HookDevice::new(Arc::clone(&crash), move |operation, _, _| {
                if operation == Operation::Write && left.fetch_sub(1, Ordering::SeqCst) == 1 {
                    cancelled.cancel();
                }
                Ok(())
            });
            let mut volume = reopened(device, &header, &key, count);
            let size = volume.size().get();
            let error = volume
                .initialise(init, ByteOffset::ZERO, &control)
                .expect_err("it was cancelled");
            assert_eq!(error.kind(), ErrorKind::Caller);
            let Error::InitStopped { next, .. } = error else {
                panic!("{error}");
            };
            assert!(next.get() > 0 && next.get() < size, "{next} of {size}");
            // The power goes here. What lies before is initialised.
            let left = crash.durable().to_mem(SectorSize::S512);
            let disk = Arc::new(CountingDevice::new(left));
            let mut volume = reopened(Arc::clone(&disk), &header, &key, count);
            let mut done = vec![1; next.get().try_into().expect("small")];
            volume
                .read_at(ByteOffset::ZERO, &mut done)
                .expect("it is initialised");
            disk.take();
            let control = Control::new();
            volume.initialise(init, next, &control).expect("the rest");
            assert_eq!(control.progress().done, size);
            let again = disk.take().written_bytes;
            let rest = size - next.get();
            let most = match init {
                Init::Tags => rest / 16,
                _ => rest + rest / 64,
            };
            assert!(again < most + MIB, "{again} bytes for {rest}");
            let report = volume
                .verify(Part::ALL, &Control::new())
                .expect("nothing fails");
            assert!(report.is_clean() && report.bytes == size);
        }
    }
}

#[test]
fn a_last_flush_that_failed_tells_that_nothing_is_known_to_be_durable() {
    let mut volume = failing(Operation::Flush, 0, u64::MAX);
    let from = ByteOffset::new(4 * MIB);
    let done = volume.initialise(Init::Tags, from, &Control::new());
    assert_eq!(stopped_at(done), from);
}

#[test]
fn work_that_failed_tells_from_where_it_goes_on() {
    let mut volume = failing(Operation::Write, 300, 1);
    let done = volume.initialise(Init::Wipe, ByteOffset::ZERO, &Control::new());
    let next = stopped_at(done);
    // 300 requests of 64 KiB are more than four chunks of 4 MiB.
    assert!(
        next.get() >= 8 * MIB && next.get().is_multiple_of(4 * MIB),
        "{next}"
    );
    // A failed write of data fails that request alone: the same volume goes on.
    volume
        .initialise(Init::Wipe, next, &Control::new())
        .expect("the rest");
    let report = volume
        .verify(Part::ALL, &Control::new())
        .expect("nothing fails");
    assert!(report.is_clean());
}

/// It used to answer that zeros were written, on a device that takes no writes any more.
#[test]
fn a_lazy_volume_that_has_stopped_takes_no_zeros_and_no_discards() {
    let faulty = Arc::new(FaultDevice::new(disk(64 * MIB)));
    let volume = made(Arc::clone(&faulty), Init::Lazy);
    volume
        .write_at(ByteOffset::ZERO, &[7; 4096])
        .expect("room enough");
    let len = ByteLen::new(4096);
    volume
        .write_zeroes(ByteOffset::new(8192), len)
        .expect("it runs");
    faulty.set_plan(Some(FaultPlan {
        among: Among::Only(Operation::Flush),
        from: 0,
        count: 1,
        fault: Fault::Fails,
    }));
    volume.flush().expect_err("the device fails once");
    let stopped = Err(BlockError::FailStop {
        operation: Operation::Flush,
    });
    assert_eq!(volume.write_at(ByteOffset::ZERO, &[7; 4096]), stopped);
    assert_eq!(volume.write_zeroes(ByteOffset::ZERO, len), stopped);
    // Nothing was forgotten, and what was written is still read.
    let mut block = [0; 4096];
    volume
        .read_at(ByteOffset::ZERO, &mut block)
        .expect("reads go on");
    assert_eq!(block, [7; 4096]);
}
