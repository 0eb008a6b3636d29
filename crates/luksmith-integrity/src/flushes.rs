//! One flush of the devices at a time.
//!
//! A device may tell of a write that it lost only once, to whoever asks next; Linux does so for
//! each open file. Were two flushes under way, the one of a write-back could be told, and the one
//! of a commit succeed although its sections are gone.

use luksmith_block::Error;

use crate::sync::{Mutex, lock};

/// What a flush makes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// What was written to the metadata device.
    Meta,
    /// What was written to any device.
    All,
}

/// The flushes of the devices below, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    /// The number of flushes begun.
    begun: Mutex<u64>,
    /// Held while one runs.
    done: Mutex<Done>,
}

/// Numbers of the last flushes that succeeded.
#[derive(Debug, Default)]
struct Done {
    meta: u64,
    all: u64,
}

impl Flushes {
    /// Calls `flush` while nobody else does, or gives the success of one that began after this call
    /// came, so that many who wait cost one flush.
    ///
    /// # Errors
    /// What `flush` gives: it is called again for each who waits, so it has to refuse once it
    /// failed. [`Error::FailStop`] once it panicked.
    pub(crate) fn join(
        &self,
        reach: Reach,
        flush: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let before = *lock(&self.begun)?;
        let mut done = lock(&self.done)?;
        let last = match reach {
            Reach::Meta => done.meta,
            Reach::All => done.all,
        };
        if last > before {
            return Ok(());
        }
        let number = {
            let mut begun = lock(&self.begun)?;
            *begun += 1;
            *begun
        };
        flush()?;
        done.meta = number;
        if reach == Reach::All {
            done.all = number;
        }
        Ok(())
    }
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use super::*;

    #[test]
    fn only_a_flush_that_reaches_as_far_and_began_later_stands_for_another() {
        let flushes = |begun, meta, all| Flushes {
            begun: Mutex::new(begun),
            done: Mutex::new(Done { meta, all }),
        };
        let is_joined = |flushes: &Flushes, reach| {
            let mut called = false;
            let result = flushes.join(reach, || {
                called = true;
                Ok(())
            });
            assert_eq!(result, Ok(()));
            !called
        };
        // As if flush 3 of the metadata had ended while this call waited, which came during 2.
        assert!(is_joined(&flushes(2, 3, 1), Reach::Meta));
        assert!(!is_joined(&flushes(2, 3, 2), Reach::All));
        assert!(is_joined(&flushes(2, 3, 3), Reach::All));
        // What was under way when the call came does not count.
        assert!(!is_joined(&flushes(3, 3, 3), Reach::Meta));
    }

    #[test]
    fn a_flush_that_failed_stands_for_nobody() {
        let flushes = Flushes::default();
        let error = Error::ReadOnly;
        assert_eq!(flushes.join(Reach::All, || Err(error)), Err(error));
        let done = flushes.done.lock().unwrap();
        assert_eq!((done.meta, done.all), (0, 0));
    }
}
