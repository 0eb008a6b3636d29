//! The range lock under random schedules.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p luksmith-block --test schedules`
#![cfg(shuttle)]

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use luksmith_block::RangeLock;
use shuttle::{check_random, thread};

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
