//! One flush at a time.

#[cfg(not(shuttle))]
use std::sync::{Mutex, MutexGuard};

#[cfg(shuttle)]
use shuttle::sync::{Mutex, MutexGuard};

use crate::{Error, Operation};

/// Lets one thread flush at a time; whoever waited takes the success of a flush that began later.
///
/// A device may tell of a write that it lost only once, to whoever asks next; Linux does so for
/// each open file. Of two flushes at once, one fails and the other may return success for the same
/// lost pages, before anyone knows.
///
/// Where some flushes make more durable than others, they are numbered by their reach, from 0 to
/// `REACHES - 1`: each covers those of a smaller one.
///
/// ```
/// use luksmith_block::{BlockDevice, Flushes, MemDevice, SectorSize};
///
/// let device = MemDevice::from_bytes(&[0; 512], SectorSize::S512);
/// let flushes = Flushes::<1>::default();
/// flushes.join(0, || device.flush())?;
/// # Ok::<(), luksmith_block::Error>(())
/// ```
#[derive(Debug)]
pub struct Flushes<const REACHES: usize> {
    /// The number of flushes begun.
    begun: Mutex<u64>,
    /// The numbers of the last flushes that succeeded, by their reach; held while one runs.
    done: Mutex<[u64; REACHES]>,
}

impl<const REACHES: usize> Default for Flushes<REACHES> {
    fn default() -> Self {
        Self {
            begun: Mutex::new(0),
            done: Mutex::new([0; REACHES]),
        }
    }
}

impl<const REACHES: usize> Flushes<REACHES> {
    /// Calls `flush`, of this reach, while nobody else flushes, or gives the success of one that
    /// reached as far and began after this call came, so that many who wait cost one flush.
    ///
    /// # Errors
    /// What `flush` gives: it is called again for each who waits, so it has to refuse once it
    /// failed. [`Error::FailStop`] once it panicked.
    ///
    /// # Panics
    /// If there is no such reach.
    pub fn join(
        &self,
        reach: usize,
        flush: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let before = *lock(&self.begun)?;
        let mut done = lock(&self.done)?;
        let covered = done.get_mut(..=reach).expect("a reach that there is");
        if covered.last().is_some_and(|last| *last > before) {
            return Ok(());
        }
        let number = {
            let mut begun = lock(&self.begun)?;
            *begun += 1;
            *begun
        };
        flush()?;
        covered.fill(number);
        Ok(())
    }
}

/// Takes a lock; one that a panic left behind means that nobody knows what the flush did.
fn lock<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>, Error> {
    mutex.lock().map_err(|_| Error::FailStop {
        operation: Operation::Flush,
    })
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::{
        cell::Cell,
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{
            Barrier,
            atomic::{AtomicBool, Ordering},
        },
        thread,
        time::Duration,
    };

    use super::*;

    const STOPPED: Error = Error::FailStop {
        operation: Operation::Flush,
    };

    #[test]
    fn a_flush_beside_one_that_fails_does_not_succeed() {
        let flushes = Flushes::<1>::default();
        let (inside, failed) = (Barrier::new(2), AtomicBool::new(false));
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                flushes.join(0, || {
                    inside.wait();
                    thread::sleep(Duration::from_millis(50));
                    failed.store(true, Ordering::SeqCst);
                    Err(STOPPED)
                })
            });
            inside.wait();
            let second = flushes.join(0, || {
                if failed.load(Ordering::SeqCst) {
                    return Err(STOPPED);
                }
                // The error went to the other caller.
                Ok(())
            });
            assert_eq!(second, Err(STOPPED));
            assert_eq!(first.join().unwrap(), Err(STOPPED));
        });
    }

    #[test]
    fn each_flush_that_finds_nobody_flushes() {
        let (flushes, calls) = (Flushes::<1>::default(), Cell::new(0));
        for _ in 0..3 {
            let flush = || {
                calls.set(calls.get() + 1);
                Ok(())
            };
            assert_eq!(flushes.join(0, flush), Ok(()));
        }
        assert_eq!(calls.get(), 3);
    }

    #[test]
    fn only_a_flush_that_reaches_as_far_and_began_later_stands_for_another() {
        let flushes = |begun, done| Flushes {
            begun: Mutex::new(begun),
            done: Mutex::new(done),
        };
        let is_joined = |flushes: &Flushes<2>, reach| {
            let mut called = false;
            let result = flushes.join(reach, || {
                called = true;
                Ok(())
            });
            assert_eq!(result, Ok(()));
            !called
        };
        // As if flush 3, of the smaller reach, had ended while this call waited, which came in 2.
        assert!(is_joined(&flushes(2, [3, 1]), 0));
        assert!(!is_joined(&flushes(2, [3, 2]), 1));
        assert!(is_joined(&flushes(2, [3, 3]), 1));
        // What was under way when the call came does not count.
        assert!(!is_joined(&flushes(3, [3, 3]), 0));
    }

    #[test]
    fn a_flush_stands_for_those_that_reach_less_far_alone() {
        for (reach, done) in [(0, [1, 0]), (1, [1, 1])] {
            let flushes = Flushes::<2>::default();
            assert_eq!(flushes.join(reach, || Ok(())), Ok(()));
            assert_eq!(*flushes.done.lock().unwrap(), done);
        }
    }

    #[test]
    fn a_flush_that_failed_or_panicked_stands_for_nobody() {
        let flushes = Flushes::<2>::default();
        let error = Error::ReadOnly;
        assert_eq!(flushes.join(1, || Err(error)), Err(error));
        assert_eq!(*flushes.done.lock().unwrap(), [0, 0]);
        let panics = || flushes.join(1, || panic!("as asked"));
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!(flushes.join(1, || Ok(())), Err(STOPPED));
    }
}
