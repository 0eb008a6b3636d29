//! Who works on one request: the caller alone, or others with it.

use alloc::{boxed::Box, sync::Arc};

/// Threads that a program lends to the work on one request.
///
/// A job takes pieces of the work until none is left, so it may be called any number of times, on
/// any threads: the result is the same. Whoever has threads of another kind (a runtime's, a
/// scheduler's) implements this in a few lines:
///
/// ```
/// use luksmith_block::Executor;
///
/// /// Threads that live as long as one request.
/// struct Scoped(usize);
///
/// impl Executor for Scoped {
///     fn threads(&self) -> usize {
///         self.0
///     }
///
///     fn run(&self, helpers: usize, job: &(dyn Fn() + Sync)) {
///         std::thread::scope(|scope| {
///             for _ in 0..helpers {
///                 scope.spawn(job);
///             }
///             job();
///         });
///     }
/// }
/// ```
///
/// # Panics
/// If a call of a job panics, [`run`](Self::run) panics too, once all other calls have returned.
pub trait Executor: Send + Sync {
    /// Gives how many threads may work on one request, the caller's included. With 0 or 1 every
    /// request is worked on by its caller alone.
    fn threads(&self) -> usize;

    /// Calls `job` on this thread and, at the same time, on up to `helpers` others, and returns
    /// when every call has returned.
    ///
    /// Calls that have not begun when the one on this thread returns should be left out: their work
    /// is done, and waiting for them only costs time.
    fn run(&self, helpers: usize, job: &(dyn Fn() + Sync));
}

/// The caller's thread alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Executor for Inline {
    fn threads(&self) -> usize {
        1
    }

    fn run(&self, _: usize, job: &(dyn Fn() + Sync)) {
        job();
    }
}

macro_rules! forward {
    ($($pointer:ty),+) => {$(
        impl<E: Executor + ?Sized> Executor for $pointer {
            fn threads(&self) -> usize {
                (**self).threads()
            }
            fn run(&self, helpers: usize, job: &(dyn Fn() + Sync)) {
                (**self).run(helpers, job);
            }
        }
    )+};
}

forward!(&E, Box<E>, Arc<E>);
