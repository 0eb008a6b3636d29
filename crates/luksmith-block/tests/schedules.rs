//! The range lock under random schedules.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p luksmith-block --test schedules`
#![cfg(shuttle)]

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Error, Executor, MemDevice, RangeLock, SectorNumber,
    SectorSize, Splitter,
};
use shuttle::{check_random, thread};

#[path = "../src/splitter/tests/scoped.rs"]
mod scoped;

use scoped::Scoped;

const PLACES: u64 = 4;

/// Counts who is inside: readers up, one writer far down.
#[derive(Default)]
struct Occupancy([AtomicI64; PLACES as usize]);

impl Occupancy {
    fn visit(&self, range: std::ops::Range<u64>, writer: bool) {
        let step = if writer { -1000 } else { 1 };
        for place in range.clone() {
            let before = self.0[place as usize].fetch_add(step, Ordering::SeqCst);
            assert!(if writer { before == 0 } else { before >= 0 }, "{before}");
        }
        thread::yield_now();
        for place in range {
            self.0[place as usize].fetch_sub(step, Ordering::SeqCst);
        }
    }
}

#[test]
fn no_schedule_lets_a_writer_meet_anyone_or_leaves_someone_waiting() {
    // A request that is never granted would be a deadlock, which the checker reports.
    check_random(
        || {
            let lock = Arc::new(RangeLock::new());
            let inside = Arc::new(Occupancy::default());
            let ranges = [(0..2, true), (1..4, false), (0..4, true), (2..3, false)];
            let workers: Vec<_> = (0..4usize)
                .map(|worker| {
                    let (lock, inside) = (Arc::clone(&lock), Arc::clone(&inside));
                    let ranges = ranges.clone();
                    thread::spawn(move || {
                        for round in 0..3 {
                            let (range, writer) = ranges[(worker + round) % 4].clone();
                            let _held = if writer {
                                lock.exclusive(range.clone())
                            } else {
                                lock.shared(range.clone())
                            };
                            inside.visit(range, writer);
                        }
                    })
                })
                .collect();
            for worker in workers {
                worker.join().expect("no worker fails");
            }
            assert!(lock.try_exclusive(0..PLACES).is_some());
        },
        2000,
    );
}

/// A device of wrong tags where a sector starts with 1, which looks up from its work meanwhile.
struct Pausing(MemDevice);

impl BlockDevice for Pausing {
    fn size(&self) -> ByteLen {
        self.0.size()
    }

    fn sector_size(&self) -> SectorSize {
        self.0.sector_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
        thread::yield_now();
        self.0.read_at(at, buf)?;
        let first = at.get() / 512;
        let mut wrong = (first..).zip(buf.chunks(512)).filter(|(_, s)| s[0] == 1);
        match wrong.next() {
            None => Ok(()),
            Some((first, _)) => Err(Error::TagMismatch {
                first: SectorNumber::new(first),
                count: 1 + wrong.count() as u64,
            }),
        }
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        thread::yield_now();
        self.0.write_at(at, data)
    }

    fn flush(&self) -> Result<(), Error> {
        self.0.flush()
    }
}

#[test]
fn every_schedule_of_a_split_request_ends_with_the_same_result() {
    const LEN: usize = 640 << 10;
    check_random(
        || {
            let medium = MemDevice::new(ByteLen::new(LEN as u64), SectorSize::S512);
            let device = Pausing(medium.expect("small"));
            let splitter = Splitter::new(Arc::new(Scoped(3)), 0);
            let mut data = vec![7; LEN];
            data[512 * 3] = 1;
            data[512 * 900] = 1;
            splitter
                .write_at(&device, ByteOffset::ZERO, &data)
                .expect("no faults here");
            assert!(device.0.to_vec() == data);
            let read = splitter.read_at(&device, ByteOffset::ZERO, &mut data);
            let expected = Err(Error::TagMismatch {
                first: SectorNumber::new(3),
                count: 2,
            });
            assert_eq!(read, expected);
            assert!(data.iter().all(|byte| *byte == 0));
        },
        300,
    );
}
