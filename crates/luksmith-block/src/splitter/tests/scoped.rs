//! An executor over the threads of the module that includes this file: the system's in the unit
//! tests, the model checker's in tests/schedules.rs.

use super::{Executor, thread};

/// Threads that live as long as a request.
pub(super) struct Scoped(pub(super) usize);

impl Executor for Scoped {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&self, helpers: usize, job: &(dyn Fn() + Sync)) {
        thread::scope(|scope| {
            for _ in 0..helpers {
                scope.spawn(job);
            }
            job();
        });
    }
}
