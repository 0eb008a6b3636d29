//! Lent jobs under random schedules.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p luksmith-sys --test schedules`
#![cfg(shuttle)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use luksmith_sys::Helpers;
use shuttle::{check_random, thread};

/// Counts calls that are under way, and pieces that were done.
#[derive(Default)]
struct Work {
    inside: AtomicUsize,
    taken: AtomicUsize,
    done: AtomicUsize,
}

impl Work {
    fn pieces(&self) {
        self.inside.fetch_add(1, Ordering::SeqCst);
        while self.taken.fetch_add(1, Ordering::SeqCst) < 5 {
            thread::yield_now();
            self.done.fetch_add(1, Ordering::SeqCst);
        }
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn in_every_schedule_the_work_is_done_and_nobody_has_the_job_afterwards() {
    // A caller that is never woken would be a deadlock, which the checker reports.
    check_random(
        || {
            let helpers = std::sync::Arc::new(Helpers::start(2).expect("threads"));
            let callers: Vec<_> = (0..2)
                .map(|_| {
                    let helpers = std::sync::Arc::clone(&helpers);
                    thread::spawn(move || {
                        for _ in 0..2 {
                            let work = Work::default();
                            helpers.run(2, &|| work.pieces());
                            assert_eq!(work.inside.load(Ordering::SeqCst), 0);
                            assert_eq!(work.done.load(Ordering::SeqCst), 5);
                        }
                    })
                })
                .collect();
            for caller in callers {
                caller.join().expect("no caller fails");
            }
        },
        2000,
    );
}

#[test]
fn in_every_schedule_a_panic_reaches_the_caller() {
    check_random(
        || {
            let helpers = Helpers::start(2).expect("threads");
            let calls = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                helpers.run(2, &|| {
                    thread::yield_now();
                    if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                        std::panic::resume_unwind(Box::new("the first call"));
                    }
                });
            }));
            let panic = result.expect_err("the panic is not lost");
            assert_eq!(panic.downcast_ref(), Some(&"the first call"));
        },
        1000,
    );
}
