//! One flush of a file at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Error;

/// Lets one thread flush at a time; whoever waited takes the result of a flush that began later.
///
/// The system reports pages that it could not write to one caller only. Of two flushes at once, one
/// fails and the other may return success for the same lost pages, before anyone knows.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    /// The number of flushes begun.
    begun: Mutex<u64>,
    /// The number of the last one that succeeded; held while one runs.
    done: Mutex<u64>,
}

impl Flushes {
    /// Calls `sync` while nobody else does, or gives the success of a call that began after this
    /// one came.
    ///
    /// # Errors
    /// What `sync` gives. It is called again for each who waits, so it refuses once it failed.
    pub(super) fn join(&self, sync: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let before = *lock(&self.begun);
        let mut done = lock(&self.done);
        if *done > before {
            return Ok(());
        }
        let number = {
            let mut begun = lock(&self.begun);
            *begun += 1;
            *begun
        };
        sync()?;
        *done = number;
        Ok(())
    }
}

// A number is whole at every moment, also after a panic.
fn lock(mutex: &Mutex<u64>) -> MutexGuard<'_, u64> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::{
        cell::Cell,
        sync::{
            Barrier,
            atomic::{AtomicBool, Ordering},
        },
        thread,
        time::Duration,
    };

    use super::*;
    use crate::Operation;

    const STOPPED: Error = Error::FailStop {
        operation: Operation::Flush,
    };

    #[test]
    fn a_flush_beside_one_that_fails_does_not_succeed() {
        let flushes = Flushes::default();
        let (inside, failed) = (Barrier::new(2), AtomicBool::new(false));
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                flushes.join(|| {
                    inside.wait();
                    thread::sleep(Duration::from_millis(50));
                    failed.store(true, Ordering::SeqCst);
                    Err(STOPPED)
                })
            });
            inside.wait();
            let second = flushes.join(|| {
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
        let (flushes, calls) = (Flushes::default(), Cell::new(0));
        for _ in 0..3 {
            let sync = || {
                calls.set(calls.get() + 1);
                Ok(())
            };
            assert_eq!(flushes.join(sync), Ok(()));
        }
        assert_eq!(calls.get(), 3);
    }
}
