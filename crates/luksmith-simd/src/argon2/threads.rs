//! Who fills the lanes.

use super::fill::Lane;
use alloc::vec::Vec;

/// Part of the work on one quarter of a pass; jobs of one call may run at the same time.
pub struct Argon2Job<'a> {
    pub(super) lanes: Vec<Lane<'a>>,
}

impl core::fmt::Debug for Argon2Job<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Argon2Job({} lanes)", self.lanes.len())
    }
}

impl Argon2Job<'_> {
    /// Does the work. To be called once.
    pub fn run(&mut self) {
        super::fill::lanes(&mut self.lanes);
    }
}

/// A way to run jobs, which the caller of [`Argon2`](super::Argon2) chooses.
pub trait Argon2Threads: Sync {
    /// How many jobs it can run at the same time, at least 1.
    fn count(&self) -> usize;

    /// Runs every job to its end; at most [`count`](Self::count) of them are given.
    fn run(&self, jobs: &mut [Argon2Job<'_>]);

    /// Hears, from the thread that fills it and just before, that a block of the arena is written
    /// to for the first time: the block with this number (of 1 KiB each, from 0), and those after
    /// it up to the next number divisible by 64. Who needs not prepare memory need not listen.
    fn reach(&self, _block: usize) {}
}

/// The caller's thread alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneThread;

impl Argon2Threads for OneThread {
    fn count(&self) -> usize {
        1
    }

    fn run(&self, jobs: &mut [Argon2Job<'_>]) {
        jobs.iter_mut().for_each(Argon2Job::run);
    }
}

/// The caller's thread and up to a number of others, which live for a quarter of a pass.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug)]
pub struct ScopedThreads(core::num::NonZeroUsize);

#[cfg(feature = "std")]
impl ScopedThreads {
    /// At most `count` threads, the caller's included.
    #[must_use]
    pub const fn new(count: core::num::NonZeroUsize) -> Self {
        Self(count)
    }
}

#[cfg(feature = "std")]
impl Argon2Threads for ScopedThreads {
    fn count(&self) -> usize {
        self.0.get()
    }

    /// A thread that the system refuses costs time, not the result: its job runs here.
    fn run(&self, jobs: &mut [Argon2Job<'_>]) {
        let Some((own, others)) = jobs.split_first_mut() else {
            return;
        };
        std::thread::scope(|scope| {
            let mut refused = Vec::new();
            for job in others {
                let job = std::sync::Arc::new(std::sync::Mutex::new(Some(job)));
                let theirs = std::sync::Arc::clone(&job);
                let start = move || {
                    if let Some(job) = theirs.lock().ok().and_then(|mut job| job.take()) {
                        job.run();
                    }
                };
                if std::thread::Builder::new()
                    .spawn_scoped(scope, start)
                    .is_err()
                {
                    refused.push(job);
                }
            }
            own.run();
            for job in refused {
                if let Some(job) = job.lock().ok().and_then(|mut job| job.take()) {
                    job.run();
                }
            }
        });
    }
}
