//! The locks of this crate: the standard ones, or those whose schedules a model checker drives.

#[cfg(not(shuttle))]
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, atomic};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard, atomic};

use luksmith_block::{Error, Operation};

/// Takes a lock; one that a panic left behind means that its contents cannot be trusted.
///
/// # Errors
/// [`Error::FailStop`].
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>, Error> {
    mutex.lock().map_err(|_| PANICKED)
}

/// Waits for a change of what the lock guards.
///
/// # Errors
/// [`Error::FailStop`].
pub(crate) fn wait<'a, T>(
    changed: &Condvar,
    guard: MutexGuard<'a, T>,
) -> Result<MutexGuard<'a, T>, Error> {
    changed.wait(guard).map_err(|_| PANICKED)
}

const PANICKED: Error = Error::FailStop {
    operation: Operation::Write,
};
