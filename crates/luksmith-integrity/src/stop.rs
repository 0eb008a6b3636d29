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

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use super::*;

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
