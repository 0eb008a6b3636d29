//! Fail-stop: after a failure that leaves the medium unknown, no write is accepted until reopening.

use luksmith_block::{Error, Operation};

use crate::sync::atomic::{AtomicU8, Ordering};

/// Remembers the first operation that failed in a way that forbids further writes.
#[derive(Debug, Default)]
pub(crate) struct Stop(AtomicU8);

const RUNNING: u8 = 0;
const WRITE_FAILED: u8 = 1;
const FLUSH_FAILED: u8 = 2;

impl Stop {
    /// Refuses once an operation has failed.
    ///
    /// # Errors
    /// [`Error::FailStop`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        let operation = match self.0.load(Ordering::Acquire) {
            RUNNING => return Ok(()),
            FLUSH_FAILED => Operation::Flush,
            _ => Operation::Write,
        };
        Err(Error::FailStop { operation })
    }

    /// Passes a result on; an error stops all further writes.
    pub(crate) fn on_failure<T>(
        &self,
        operation: Operation,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        if result.is_err() {
            self.trip(operation);
        }
        result
    }

    /// Runs work that changes the device. Should it panic, it may have stopped anywhere, so all
    /// further writes are refused.
    pub(crate) fn guarded<T>(&self, work: impl FnOnce() -> T) -> T {
        let guard = StopOnPanic(self);
        let result = work();
        core::mem::forget(guard);
        result
    }

    /// Stops all further writes; the first reason stays.
    pub(crate) fn trip(&self, operation: Operation) {
        let code = if operation == Operation::Flush {
            FLUSH_FAILED
        } else {
            WRITE_FAILED
        };
        // Whether this was the first reason or not, writes are stopped.
        let _ = self
            .0
            .compare_exchange(RUNNING, code, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// Dropped only where the work beside it panicked.
struct StopOnPanic<'a>(&'a Stop);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        self.0.trip(Operation::Write);
    }
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_panic_stops_writes_and_an_error_does_not() {
        let stop = Stop::default();
        assert_eq!(
            stop.guarded(|| Err::<(), _>(Error::ReadOnly)),
            Err(Error::ReadOnly)
        );
        assert_eq!(stop.check(), Ok(()));
        let work = AssertUnwindSafe(|| stop.guarded(|| panic!("below")));
        assert!(catch_unwind(work).is_err());
        assert_eq!(
            stop.check(),
            Err(Error::FailStop {
                operation: Operation::Write
            })
        );
    }

    #[test]
    fn the_first_failure_stays_the_reason() {
        let stop = Stop::default();
        assert_eq!(stop.check(), Ok(()));
        let flush = Err::<(), _>(Error::ReadOnly);
        assert_eq!(
            stop.on_failure(Operation::Flush, flush),
            Err(Error::ReadOnly)
        );
        stop.trip(Operation::Write);
        assert_eq!(
            stop.check(),
            Err(Error::FailStop {
                operation: Operation::Flush
            })
        );
    }
}
