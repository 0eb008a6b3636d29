//! Who works on large requests.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use luksmith_block::{Error as BlockError, Executor, Inline, Operation, Splitter};
use luksmith_keyslot::Threads;
#[cfg(feature = "parallel")]
pub use pool::WorkerPool;

use crate::Error;

/// Bytes from which a request is worth waking another thread for.
///
/// Measured with `luksmith-compare volume/split`: docs/decisions/0005-when-a-second-thread-pays.md.
const LEAST: usize = 1 << 20;

/// Who works on large requests of a volume: the caller's thread alone, a pool of threads, or what
/// the program has itself.
///
/// The bytes on the device and the results are the same with each of them. A clone shares the
/// threads, so that one pool serves all volumes of a program.
///
/// ```
/// use luksmith::{OpenOptions, Workers};
///
/// let workers = Workers::threads(4);
/// let options = OpenOptions::new().workers(workers.clone());
/// # let _ = options;
/// ```
///
/// # Memory
/// For each thread that is at work a volume has 256 KiB of ciphertext and the tags of as many
/// sectors in its hands, 296 KiB at most with tags of 80 bytes beside sectors of 512; it keeps up
/// to eight of each, 2.3 MiB, for later requests. The size of a request does not matter. What
/// the integrity engine keeps (journal, tags, 4 MiB of spare buffers) comes on top and is bounded
/// by its options.
#[derive(Clone)]
pub struct Workers(Arc<dyn Executor>);

impl Workers {
    /// The caller's thread alone.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::new(Inline))
    }

    /// Up to `count` threads, the caller's included: a [`WorkerPool`]. With 0 or 1 the caller works
    /// alone and no thread is ever started.
    #[cfg(feature = "parallel")]
    #[must_use]
    pub fn threads(count: usize) -> Self {
        Self(Arc::new(WorkerPool::new(count)))
    }

    /// As many threads as this machine runs at once; the caller's alone without the feature
    /// `parallel`.
    #[must_use]
    pub fn all() -> Self {
        #[cfg(feature = "parallel")]
        if let Ok(count) = std::thread::available_parallelism() {
            return Self::threads(count.get());
        }
        Self::none()
    }

    /// The threads of the program.
    #[must_use]
    pub fn executor(executor: impl Executor + 'static) -> Self {
        Self(Arc::new(executor))
    }

    /// Gives how many threads work on one request at most, at least 1.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.threads().max(1)
    }

    pub(crate) fn splitter(&self) -> Splitter {
        Splitter::new(Arc::clone(&self.0), LEAST)
    }

    /// As many threads as a key derivation may use.
    pub(crate) fn as_many_as(threads: Threads) -> Self {
        #[cfg(feature = "parallel")]
        return Self::threads(threads.get());
        #[cfg(not(feature = "parallel"))]
        {
            let _ = threads;
            Self::none()
        }
    }

    /// Has all threads work on a range, `share` units at a time, in ascending order. `tools` makes
    /// what one thread needs for its shares.
    ///
    /// After an error nobody takes another share, and those that were taken are finished. Of
    /// several errors the one at the lowest position is given, so that everything before it is
    /// done. `operation` is what an executor that keeps a panic to itself is blamed for.
    pub(crate) fn share_out<T>(
        &self,
        range: Range<u64>,
        share: u64,
        operation: Operation,
        tools: impl Fn() -> T + Sync,
        work: impl Fn(&mut T, Range<u64>) -> Result<(), Error> + Sync,
    ) -> Result<(), Stopped> {
        let next = AtomicU64::new(range.start);
        let stopped: Mutex<Option<Stopped>> = Mutex::new(None);
        let (over, panicked) = (AtomicBool::new(false), AtomicBool::new(false));
        let job = || {
            let mut tools = tools();
            let guard = NoteIfDropped([&over, &panicked]);
            while !over.load(Ordering::Acquire) {
                let at = next.fetch_add(share, Ordering::Relaxed);
                if at >= range.end {
                    break;
                }
                let end = at.saturating_add(share).min(range.end);
                let Err(cause) = work(&mut tools, at..end) else {
                    continue;
                };
                over.store(true, Ordering::Release);
                // Each holder only replaces the value.
                let mut stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
                if stopped.as_ref().is_none_or(|lowest| at < lowest.at) {
                    *stopped = Some(Stopped { at, cause });
                }
            }
            std::mem::forget(guard);
        };
        self.run(&job);
        if panicked.into_inner() {
            // Reached only if an executor kept a panic to itself; nobody knows where it was.
            return Err(Stopped {
                at: range.start,
                cause: BlockError::FailStop { operation }.into(),
            });
        }
        match stopped.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(stopped) => Err(stopped),
            None => Ok(()),
        }
    }

    /// Calls `job` on all threads at once, until each call has returned.
    fn run(&self, job: &(dyn Fn() + Sync)) {
        let helpers = self.count() - 1;
        if helpers > 0 {
            self.0.run(helpers, job);
        }
        // An executor may have called nobody; then the work is still there.
        job();
    }
}

/// Work on a range that stopped at `at`, and why; everything before is done.
pub(crate) struct Stopped {
    pub(crate) at: u64,
    pub(crate) cause: Error,
}

/// Sets flags when it is dropped: by a panic, else it is forgotten.
struct NoteIfDropped<'a>([&'a AtomicBool; 2]);

impl Drop for NoteIfDropped<'_> {
    fn drop(&mut self) {
        for flag in self.0 {
            flag.store(true, Ordering::Release);
        }
    }
}

impl Default for Workers {
    /// The caller's thread alone: a library starts no threads that nobody asked for.
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Workers({})", self.count())
    }
}

#[cfg(feature = "parallel")]
mod pool {
    use std::fmt;
    use std::sync::OnceLock;

    use luksmith_block::Executor;
    use luksmith_sys::Helpers;

    /// A pool of threads for [`Workers`](super::Workers).
    ///
    /// Its threads are started by the first request that is split, and wait for work without using
    /// the CPU. Requests of several callers share them. Each caller works itself, and waits for no
    /// thread that has not begun: what is busy elsewhere, or is not let run, costs it nothing. If
    /// the system refuses threads, callers work alone.
    ///
    /// # Panics, dropping, forking
    /// A panic on a thread of the pool goes on in the caller of the request; the thread lives on.
    /// Dropping the pool ends its threads: none has work left, because each request waits for what
    /// it began. A child after `fork` has none of the threads; the pool notices, and callers work
    /// alone there. Two forks it cannot make safe, and the child must not use the pool: one while
    /// another thread is starting the pool's threads (in its first request that is split), and one
    /// into a new PID namespace by a process that itself is number 1 of its own.
    pub struct WorkerPool {
        threads: usize,
        /// `None` if the system refused.
        helpers: OnceLock<Option<Helpers>>,
    }

    impl WorkerPool {
        /// Makes a pool in which up to `threads` threads work on one request, the caller's
        /// included. None is started yet.
        #[must_use]
        pub const fn new(threads: usize) -> Self {
            Self {
                threads,
                helpers: OnceLock::new(),
            }
        }
    }

    impl Executor for WorkerPool {
        fn threads(&self) -> usize {
            self.threads
        }

        fn run(&self, helpers: usize, job: &(dyn Fn() + Sync)) {
            let most = self.threads.saturating_sub(1);
            if most == 0 || helpers == 0 {
                return job();
            }
            match self.helpers.get_or_init(|| Helpers::start(most).ok()) {
                Some(threads) => threads.run(helpers.min(most), job),
                None => job(),
            }
        }
    }

    impl fmt::Debug for WorkerPool {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("WorkerPool")
                .field("threads", &self.threads)
                .finish_non_exhaustive()
        }
    }

    #[cfg(test)]
    mod tests {
        use std::sync::atomic::{AtomicUsize, Ordering};

        use super::*;

        #[test]
        fn no_thread_is_started_for_a_caller_alone() {
            for threads in [0, 1] {
                let pool = WorkerPool::new(threads);
                let calls = AtomicUsize::new(0);
                pool.run(threads, &|| {
                    calls.fetch_add(1, Ordering::SeqCst);
                });
                assert_eq!(calls.into_inner(), 1);
                assert!(pool.helpers.get().is_none());
            }
        }
    }
}
