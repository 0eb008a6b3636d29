#![expect(
    clippy::indexing_slicing,
    reason = "a slip here fails the test that makes it"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::thread;

use super::*;
use crate::{IoFailure, MemDevice, SECTOR_BYTES, SectorSize};

mod scoped;

use scoped::Scoped;

const SIZE: usize = 3 << 20;

/// Says that it has threads and never uses them.
struct Lazy;

impl Executor for Lazy {
    fn threads(&self) -> usize {
        8
    }

    fn run(&self, _: usize, _: &(dyn Fn() + Sync)) {}
}

/// Keeps panics to itself.
struct Quiet;

impl Executor for Quiet {
    fn threads(&self) -> usize {
        2
    }

    fn run(&self, _: usize, job: &(dyn Fn() + Sync)) {
        // What it caught is what this executor swallows.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

fn splitters() -> Vec<Splitter> {
    let of = |threads| Splitter::new(Arc::new(Scoped(threads)), 0);
    let mut all: Vec<_> = [0, 1, 2, 4, 9].into_iter().map(of).collect();
    all.extend([
        Splitter::inline(),
        Splitter::new(Arc::new(Lazy), 0),
        Splitter::new(Arc::new(Quiet), 0),
    ]);
    all
}

/// What a device does with a sector.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Good,
    WrongTag,
    Unreadable,
    Panics,
}

/// A device whose sectors are not all well.
struct Bad {
    device: MemDevice,
    places: Vec<Place>,
    calls: AtomicUsize,
}

impl Bad {
    fn new(bad: &[(usize, Place)]) -> Self {
        let bytes: Vec<u8> = (0..251).cycle().take(SIZE).collect();
        let mut places = vec![Place::Good; SIZE / 512];
        for &(sector, place) in bad {
            places[sector] = place;
        }
        Self {
            device: MemDevice::from_bytes(&bytes, SectorSize::S512),
            places,
            calls: AtomicUsize::new(0),
        }
    }

    fn meet(&self, at: ByteOffset, len: usize) -> Result<(), Error> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let first = usize::try_from(at.get() / SECTOR_BYTES).expect("small");
        let mut wrong = None;
        for sector in first..first + len / 512 {
            match self.places[sector] {
                Place::Good => {}
                Place::Panics => panic!("in sector {sector}"),
                Place::Unreadable => {
                    return Err(Error::Io {
                        operation: Operation::Read,
                        at: ByteOffset::new(sector as u64 * 512),
                        failure: IoFailure::Other,
                    });
                }
                Place::WrongTag => {
                    let (start, count) = wrong.unwrap_or((sector as u64, 0));
                    wrong = Some((start, count + 1));
                }
            }
        }
        match wrong {
            None => Ok(()),
            Some((first, count)) => Err(Error::TagMismatch {
                first: SectorNumber::new(first),
                count,
            }),
        }
    }
}

impl BlockDevice for Bad {
    fn size(&self) -> ByteLen {
        self.device.size()
    }

    fn sector_size(&self) -> SectorSize {
        self.device.sector_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
        self.check_range(at, ByteLen::of(buf))?;
        self.device.read_at(at, buf)?;
        self.meet(at, buf.len())
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        self.check_range(at, ByteLen::of(data))?;
        self.meet(at, data.len())?;
        self.device.write_at(at, data)
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Requests around the sizes where parts begin.
fn requests() -> impl Iterator<Item = (ByteOffset, usize)> {
    let lens = [
        512,
        BATCH_BYTES,
        2 * BATCH_BYTES - 512,
        2 * BATCH_BYTES,
        2 * BATCH_BYTES + 512,
        PART_BYTES,
        PART_BYTES + 4096,
        5 * PART_BYTES + 512,
        2 << 20,
    ];
    lens.into_iter()
        .flat_map(|len| [(ByteOffset::new(512), len), (ByteOffset::new(65536), len)])
}

#[test]
fn any_number_of_threads_moves_the_same_bytes() {
    for splitter in splitters() {
        for (at, len) in requests() {
            let device = Bad::new(&[]);
            let start = usize::try_from(at.get()).unwrap();
            let data: Vec<u8> = (0..241).cycle().take(len).collect();
            let mut expected = device.device.to_vec();
            let mut read = vec![0; len];
            splitter.read_at(&device, at, &mut read).unwrap();
            assert!(read == expected[start..start + len], "{splitter:?}, {len}");
            expected[start..start + len].copy_from_slice(&data);
            splitter.write_at(&device, at, &data).unwrap();
            assert!(device.device.to_vec() == expected, "{splitter:?}, {len}");
        }
    }
}

#[test]
fn a_small_request_stays_whole_and_a_large_one_becomes_parts_of_whole_batches() {
    let splitter = Splitter::new(Arc::new(Scoped(2)), PART_BYTES);
    let calls = |len: usize| {
        let device = Bad::new(&[]);
        splitter
            .read_at(&device, ByteOffset::ZERO, &mut vec![0; len])
            .unwrap();
        device.calls.into_inner()
    };
    assert_eq!(calls(PART_BYTES - 512), 1);
    assert_eq!(calls(PART_BYTES), 2);
    assert_eq!(calls(3 * PART_BYTES), 3);
    assert_eq!(calls(2 * PART_BYTES + 512), 3);
}

#[test]
fn errors_are_those_that_one_thread_would_give() {
    use Place::{Unreadable, WrongTag};
    let part = PART_BYTES / 512;
    let cases: [&[(usize, Place)]; 6] = [
        &[(3, WrongTag), (part + 1, WrongTag), (4 * part, WrongTag)],
        &[(4 * part, WrongTag), (2 * part, Unreadable)],
        &[(2 * part, WrongTag), (4 * part, Unreadable)],
        &[(part, Unreadable), (4 * part, Unreadable)],
        &[(5 * part - 1, Unreadable)],
        &[(0, WrongTag), (5 * part - 1, WrongTag)],
    ];
    let mut expected = Vec::new();
    for splitter in [2, 4, 9].map(|threads| Splitter::new(Arc::new(Scoped(threads)), 0)) {
        for (index, bad) in cases.into_iter().enumerate() {
            let device = Bad::new(bad);
            let mut read = vec![1; 5 * PART_BYTES];
            let result = splitter.read_at(&device, ByteOffset::ZERO, &mut read);
            assert!(read.iter().all(|byte| *byte == 0), "nothing is handed out");
            if expected.len() == index {
                expected.push(result);
            }
            assert_eq!(result, expected[index], "{bad:?}");
        }
    }
    let mismatch = |first, count| {
        Err(Error::TagMismatch {
            first: SectorNumber::new(first),
            count,
        })
    };
    let unreadable = |sector: usize| {
        Err(Error::Io {
            operation: Operation::Read,
            at: ByteOffset::new(sector as u64 * 512),
            failure: IoFailure::Other,
        })
    };
    let wanted = [
        mismatch(3, 3),
        unreadable(2 * part),
        unreadable(4 * part),
        unreadable(part),
        unreadable(5 * part - 1),
        mismatch(0, 2),
    ];
    assert_eq!(expected, wanted);
}

#[test]
fn a_request_past_the_end_names_the_whole_request() {
    let splitter = Splitter::new(Arc::new(Scoped(2)), 0);
    let device = Bad::new(&[]);
    let error = splitter.write_at(&device, ByteOffset::new(512), &vec![0; SIZE]);
    let expected = Err(Error::PastEnd {
        at: ByteOffset::new(512),
        len: ByteLen::new(SIZE as u64),
        size: ByteLen::new(SIZE as u64),
    });
    assert_eq!(error, expected);
    assert_eq!(device.calls.into_inner(), 0);
}

#[test]
fn a_panic_in_a_part_goes_on_in_the_caller_and_ends_all_writing() {
    for threads in [1, 2, 4] {
        let splitter = Splitter::new(Arc::new(Scoped(threads)), 0);
        let device = Bad::new(&[(1500, Place::Panics)]);
        let mut data = vec![0; 2 << 20];
        let read = catch_unwind(AssertUnwindSafe(|| {
            splitter.read_at(&device, ByteOffset::ZERO, &mut data)
        }));
        assert!(read.is_err(), "the panic is not lost");
        let small = splitter.write_at(&device, ByteOffset::ZERO, &[0; 512]);
        assert_eq!(small, Ok(()), "a read changes nothing");
        let write = catch_unwind(AssertUnwindSafe(|| {
            splitter.write_at(&device, ByteOffset::ZERO, &data)
        }));
        assert!(write.is_err(), "the panic is not lost");
        let stopped = Err(Error::FailStop {
            operation: Operation::Write,
        });
        let after = splitter.write_at(&device, ByteOffset::ZERO, &[0; 512]);
        assert_eq!(after, stopped);
        let mut start = [0; 512];
        assert_eq!(
            splitter.read_at(&device, ByteOffset::ZERO, &mut start),
            Ok(())
        );
    }
}

#[test]
fn a_panic_that_an_executor_swallows_is_an_error_all_the_same() {
    let splitter = Splitter::new(Arc::new(Quiet), 0);
    let device = Bad::new(&[(1500, Place::Panics)]);
    let stopped = |operation| Err(Error::FailStop { operation });
    let mut data = vec![0; 2 << 20];
    let read = splitter.read_at(&device, ByteOffset::ZERO, &mut data);
    assert_eq!(read, stopped(Operation::Read));
    for _ in 0..2 {
        let write = splitter.write_at(&device, ByteOffset::ZERO, &data);
        assert_eq!(write, stopped(Operation::Write));
    }
}

#[test]
fn a_write_that_works_while_another_panic_unwinds_stops_nothing() {
    struct Last<'a>(&'a Splitter, &'a Bad, usize);

    impl Drop for Last<'_> {
        fn drop(&mut self) {
            assert!(thread::panicking());
            let written = self.0.write_at(self.1, ByteOffset::ZERO, &vec![7; self.2]);
            assert_eq!(written, Ok(()));
        }
    }

    for len in [512, 2 << 20] {
        let splitter = Splitter::new(Arc::new(Scoped(2)), 0);
        let device = Bad::new(&[]);
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _last = Last(&splitter, &device, len);
            panic!("for a reason of its own");
        }));
        assert!(unwound.is_err());
        let after = splitter.write_at(&device, ByteOffset::ZERO, &[8; 512]);
        assert_eq!(after, Ok(()), "after {len} bytes");
    }
}

#[test]
fn a_panic_in_a_change_ends_all_changes() {
    let splitter = Splitter::inline();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        splitter.change(Operation::Discard, || panic!("in a discard"))
    }));
    assert!(caught.is_err());
    let operation = Operation::Discard;
    let mut called = false;
    let after = splitter.change(operation, || {
        called = true;
        Ok(())
    });
    assert_eq!((after, called), (Err(Error::FailStop { operation }), false));
    let operation = Operation::Write;
    let after = splitter.write_at(&Bad::new(&[]), ByteOffset::ZERO, &[8; 512]);
    assert_eq!(after, Err(Error::FailStop { operation }));
}

#[test]
fn nothing_of_a_read_that_fails_is_handed_out_whatever_its_size() {
    for splitter in splitters() {
        for len in [512, 2 << 20] {
            // The device has put its bytes there when it meets the sector.
            let device = Bad::new(&[(0, Place::Unreadable)]);
            let mut read = vec![1; len];
            let result = splitter.read_at(&device, ByteOffset::ZERO, &mut read);
            assert!(result.is_err());
            assert!(read.iter().all(|byte| *byte == 0), "{splitter:?}, {len}");
            // Past the end: nobody is asked.
            read.fill(1);
            let end = ByteOffset::new(SIZE as u64);
            assert!(splitter.read_at(&device, end, &mut read).is_err());
            assert!(read.iter().all(|byte| *byte == 0), "{splitter:?}, {len}");
        }
    }
}
