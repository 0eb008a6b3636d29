//! Progress and cancellation of long work.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::Error;

/// How far long work has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What is done, in the unit of the work (bytes, unless its documentation says otherwise).
    pub done: u64,
    /// What there is to do, 0 until it is known.
    pub total: u64,
}

/// One handle on long work: the worker reports progress, any other thread watches it or cancels.
///
/// Share it by reference or in an `Arc`. It needs no clock and no thread; who shows the progress
/// decides how often to look.
///
/// ```
/// use luksmith_block::{Control, Error};
///
/// let control = Control::new();
/// control.begin(100);
/// control.advance(40)?;
/// assert_eq!(control.progress().done, 40);
/// control.cancel();
/// assert_eq!(control.advance(1), Err(Error::Cancelled));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Control {
    done: AtomicU64,
    total: AtomicU64,
    cancelled: AtomicBool,
}

impl Control {
    /// Makes a handle on work that has not begun.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
        }
    }

    /// Tells the worker to stop at its next step. What it has done stays whole.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Tells whether the work was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Gives what is done and what there is to do.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            done: self.done.load(Ordering::Relaxed),
            total: self.total.load(Ordering::Relaxed),
        }
    }

    /// Called by the worker: `total` units are to be done, none is yet.
    pub fn begin(&self, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    /// Called by the worker, from any of its threads: `units` more are done.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the caller wants the work to stop.
    pub fn advance(&self, units: u64) -> Result<(), Error> {
        self.done.fetch_add(units, Ordering::Relaxed);
        self.check()
    }

    /// Called by the worker between steps that make no progress of their own.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the caller wants the work to stop.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_cancelled() {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    }
}
