//! An executor that breaks its promise.

use std::panic::{AssertUnwindSafe, catch_unwind};

use luksmith_block::Executor;

/// Says that it has two threads, runs a job once, and keeps a panic to itself.
pub struct QuietExecutor;

impl Executor for QuietExecutor {
    fn threads(&self) -> usize {
        2
    }

    fn run(&self, _: usize, job: &(dyn Fn() + Sync)) {
        // What it caught is what this executor swallows.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}
