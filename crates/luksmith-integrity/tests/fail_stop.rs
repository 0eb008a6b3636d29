//! After a failure that leaves the medium unknown, nothing more is written until the device is
//! opened again, whichever way one asks; verified reads go on.

#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

mod faulty;
mod places;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Error, MemDevice, Operation, SectorNumber, SectorSize,
    TaggedDevice,
};
use luksmith_integrity::{Devices, DigestName, HashedDevice, Mode, OpenOptions};
use luksmith_testkit::{Among, CountingDevice, Fault, FaultDevice, FaultPlan, HookDevice};

use faulty::{BLOCKS, disk, open};
use places::at;

fn read<D: BlockDevice>(device: &HashedDevice<D>, block: usize) -> Result<u8, Error> {
    let mut data = [0; 512];
    device.read_at(at(block), &mut data).map(|()| data[0])
}

type Faulty = Arc<FaultDevice<Arc<CountingDevice<Arc<MemDevice>>>>>;

fn faulty() -> (Faulty, Arc<CountingDevice<Arc<MemDevice>>>) {
    let counted = Arc::new(CountingDevice::new(disk()));
    (Arc::new(FaultDevice::new(Arc::clone(&counted))), counted)
}

const NTH_FLUSH: fn(u64) -> FaultPlan = |from| FaultPlan {
    among: Among::Only(Operation::Flush),
    from,
    count: 1,
    fault: Fault::Fails,
};

#[test]
fn after_a_failed_flush_nothing_is_written_whoever_asks() {
    for mode in [Mode::Journal, Mode::Direct, Mode::Bitmap] {
        // In journal mode the second flush is that of a write-back, and the journal itself is fine:
        // it has entries that no commit has taken up when everything stops.
        let flushes = if mode == Mode::Journal { 2 } else { 1 };
        for nth in 0..flushes {
            let (faulty, counted) = faulty();
            let device = open(Arc::clone(&faulty), mode);
            device.write_at(at(0), &[2; 512]).expect("no faults here");
            faulty.set_plan(Some(NTH_FLUSH(nth)));
            let mut failed = Ok(());
            for step in 0..BLOCKS - 6 {
                failed = device.write_at(at(step), &[3; 6 * 512]);
                if mode != Mode::Journal {
                    failed = failed.and_then(|()| device.flush());
                }
                if failed.is_err() {
                    break;
                }
            }
            assert!(
                matches!(
                    failed,
                    Err(Error::System {
                        operation: Operation::Flush,
                        ..
                    })
                ),
                "{mode:?} {nth}: {failed:?}"
            );
            let stop = Err(Error::FailStop {
                operation: Operation::Flush,
            });
            counted.take();
            let engine = device.unchecked();
            assert_eq!(device.write_at(at(1), &[4; 512]), stop, "{mode:?} {nth}");
            assert_eq!(device.flush(), stop);
            assert_eq!(device.commit_if_older_than(Duration::ZERO), stop);
            assert_eq!(engine.write_tuples(SectorNumber::ZERO, &[0; 255]), stop);
            assert_eq!(engine.apply_journal(), stop);
            assert_eq!(read(&device, 39), Ok(1));
            assert!([Ok(2), Ok(3)].contains(&read(&device, 0)));
            assert_eq!(device.close(), stop);
            let counts = counted.take();
            assert_eq!((counts.writes, counts.flushes), (0, 0), "{mode:?} {nth}");
        }
    }
}

#[test]
fn a_panic_below_at_any_write_stops_writes_and_reads_go_on() {
    for mode in [Mode::Journal, Mode::Direct, Mode::Bitmap] {
        let mut panics = 0;
        for nth in 0.. {
            let disk = disk();
            let left = Arc::new(AtomicI64::new(nth));
            let step = {
                let left = Arc::clone(&left);
                move |operation, _, _| {
                    let counts = operation != Operation::Read;
                    let is_now = counts && left.fetch_sub(1, Ordering::SeqCst) == 0;
                    assert!(!is_now, "as asked");
                    Ok(())
                }
            };
            let device = open(HookDevice::new(Arc::clone(&disk), step), mode);
            let work = AssertUnwindSafe(|| {
                for step in 0..4_u8 {
                    let first = usize::from(step) * 9;
                    device.write_at(at(first), &[2 + step; 5 * 512])?;
                    device.flush()?;
                }
                device.commit_if_older_than(Duration::ZERO)
            });
            let result = catch_unwind(work);
            left.store(-1, Ordering::SeqCst);
            if let Ok(done) = result {
                done.expect("no faults here");
                break;
            }
            panics += 1;
            let stop = Err(Error::FailStop {
                operation: Operation::Write,
            });
            let before = disk.to_vec();
            assert_eq!(device.write_at(at(0), &[9; 512]), stop, "{mode:?} {nth}");
            assert_eq!(device.flush(), stop, "{mode:?} {nth}");
            assert_eq!(device.commit_if_older_than(Duration::ZERO), stop);
            let tuples = device
                .unchecked()
                .write_tuples(SectorNumber::ZERO, &[0; 255]);
            assert_eq!(tuples, stop, "{mode:?} {nth}");
            for block in 0..BLOCKS {
                match read(&device, block) {
                    Ok(value) => assert!((1..6).contains(&value)),
                    // Data and tag are no pair where a write in place was cut off.
                    Err(Error::TagMismatch { .. }) => assert_ne!(mode, Mode::Journal),
                    Err(error) => panic!("{mode:?} {nth}: block {block}: {error}"),
                }
            }
            drop(device);
            assert!(
                disk.to_vec() == before,
                "{mode:?} {nth}: written after a panic"
            );
        }
        assert!(panics > 8, "{mode:?}: {panics}");
    }
}

/// Calls a hook once, after its first flush.
struct AfterFlush<D> {
    device: D,
    hook: std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>,
    flushes: AtomicU64,
}

impl<D: BlockDevice> BlockDevice for AfterFlush<D> {
    fn size(&self) -> ByteLen {
        self.device.size()
    }

    fn sector_size(&self) -> SectorSize {
        self.device.sector_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
        self.device.read_at(at, buf)
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        self.device.write_at(at, data)
    }

    fn flush(&self) -> Result<(), Error> {
        self.device.flush()?;
        self.flushes.fetch_add(1, Ordering::SeqCst);
        let hook = self.hook.lock().expect("no panic holds it").take();
        if let Some(hook) = hook {
            hook();
        }
        Ok(())
    }
}

/// The bitmap was cleared although a write had slipped in behind the flush that a server's timer
/// asks for: its block would have mismatched, unmarked, after a crash.
#[test]
fn marks_are_cleared_only_once_what_they_stand_for_is_durable() {
    use luksmith_testkit::{CrashDevice, CrashOptions, Image};

    let crash = Arc::new(CrashDevice::new(
        Image::from_bytes(&disk().to_vec()),
        SectorSize::S512,
    ));
    let hooked = Arc::new(AfterFlush {
        device: Arc::clone(&crash),
        hook: std::sync::Mutex::new(None),
        flushes: AtomicU64::new(0),
    });
    let device = Arc::new(open(Arc::clone(&hooked), Mode::Bitmap));
    device.write_at(at(0), &[2; 512]).expect("no faults here");
    let late = Arc::clone(&device);
    *hooked.hook.lock().expect("nobody panics") = Some(Box::new(move || {
        // In the region that is marked already. Were this flush the one that clears the marks, the
        // write would wait for it for ever.
        let (done, wait) = mpsc::channel();
        thread::spawn(move || {
            let written = late.write_at(at(3), &[3; 512]);
            // Nobody listens any more where it came too late.
            let _ = done.send(written);
        });
        let written = wait.recv_timeout(Duration::from_secs(20));
        assert_eq!(
            written,
            Ok(Ok(())),
            "the first flush comes before the marks go"
        );
    }));
    let before = crash.recording().events().len();
    device
        .commit_if_older_than(Duration::ZERO)
        .expect("no faults here");
    let mut images = 0;
    let options = CrashOptions::default();
    crash.recording().for_each_crash(&options, |point, image| {
        if point.after < before {
            return;
        }
        images += 1;
        let disk = Arc::new(image.to_mem(SectorSize::S512));
        let read_only = OpenOptions::new().mode(Mode::Bitmap).read_only(true);
        let devices = Devices::interleaved(disk);
        let device = HashedDevice::open(devices, read_only, DigestName::Crc32c, None)
            .expect("reopening works");
        // What is marked is read unchecked; what is not has to match.
        for block in 0..BLOCKS {
            let value = read(&device, block).expect("marked, or durable with its tag");
            assert!([1, 2, 3].contains(&value), "block {block} holds {value}");
        }
    });
    assert!(images > 4, "{images}");
}

/// A server's timer took a flush for that of a write that came while it was under way: what the
/// write changed waited until something else was written.
#[test]
fn a_write_during_a_flush_is_made_durable_by_the_next_timer() {
    let hooked = Arc::new(AfterFlush {
        device: disk(),
        hook: std::sync::Mutex::new(None),
        flushes: AtomicU64::new(0),
    });
    let device = Arc::new(open(Arc::clone(&hooked), Mode::Direct));
    device.write_at(at(0), &[2; 512]).expect("no faults here");
    let late = Arc::clone(&device);
    *hooked.hook.lock().expect("nobody panics") = Some(Box::new(move || {
        late.write_at(at(3), &[3; 512]).expect("no faults here");
    }));
    device.flush().expect("no faults here");
    let flushes = || hooked.flushes.swap(0, Ordering::SeqCst);
    assert_eq!(flushes(), 1);
    let timer = || {
        device
            .commit_if_older_than(Duration::ZERO)
            .expect("no faults here");
    };
    timer();
    assert_eq!(flushes(), 1);
    // Nothing is left.
    timer();
    assert_eq!(flushes(), 0);
}

/// A device may tell of a write that it lost once, to one of two flushes: the other one passed for
/// good although what it was for was gone too.
#[test]
fn a_flush_beside_one_that_fails_does_not_succeed() {
    for mode in [Mode::Journal, Mode::Direct] {
        let (begun, begins) = mpsc::channel();
        let (second, seconds) = mpsc::channel::<()>();
        let seconds = std::sync::Mutex::new(seconds);
        let flushes = Arc::new(AtomicI64::new(i64::MIN));
        let count = Arc::clone(&flushes);
        let loses = move |operation, _, _| {
            if operation != Operation::Flush {
                return Ok(());
            }
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => {
                    begun.send(()).expect("someone listens");
                    // Time for another flush to come in between.
                    let wait = Duration::from_millis(300);
                    let _ = seconds.lock().expect("one at a time").recv_timeout(wait);
                    Err(LOST)
                }
                1 => {
                    second.send(()).expect("the first one waits");
                    Ok(())
                }
                _ => Ok(()),
            }
        };
        let device = open(HookDevice::new(disk(), loses), mode);
        device.write_at(at(0), &[2; 512]).expect("no faults here");
        device.flush().expect("no faults here");
        // A journal of three sections: this one waits for the write-back of what came before.
        device
            .write_at(at(1), &[3; 15 * 512])
            .expect("no faults here");
        flushes.store(0, Ordering::SeqCst);
        thread::scope(|scope| {
            let first = scope.spawn(|| device.flush());
            begins.recv().expect("it flushes");
            let other = device.flush();
            assert_eq!(first.join().expect("no panic"), Err(LOST), "{mode:?}");
            assert!(matches!(other, Err(Error::FailStop { .. })), "{mode:?}");
        });
        assert_eq!(flushes.load(Ordering::SeqCst), 1, "{mode:?}");
    }
}

/// What a device says of a write that is gone.
const LOST: Error = Error::Damaged {
    what: "cache",
    number: 0,
};

/// Only some errors of reading were known as such; the others stopped the device.
#[test]
fn tags_that_cannot_be_read_fail_their_request_alone() {
    for mode in [Mode::Direct, Mode::Bitmap] {
        let disk = disk();
        let left = Arc::new(AtomicI64::new(-1));
        let reads = Arc::clone(&left);
        let fails = move |operation, _, _| {
            let is_now = operation == Operation::Read && reads.fetch_sub(1, Ordering::SeqCst) == 0;
            if is_now { Err(LOST) } else { Ok(()) }
        };
        let device = open(HookDevice::new(disk, fails), mode);
        device.write_at(at(39), &[2; 512]).expect("no faults here");
        left.store(0, Ordering::SeqCst);
        assert_eq!(device.write_at(at(0), &[2; 512]), Err(LOST), "{mode:?}");
        device.write_at(at(0), &[2; 512]).expect("no faults left");
        device.flush().expect("no faults left");
        assert_eq!((read(&device, 0), read(&device, 39)), (Ok(2), Ok(2)));
    }
}
