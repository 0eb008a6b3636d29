//! Threads to which a caller lends a job for the length of one call.
//!
//! The standard library lends borrowed data to threads that it starts for the purpose, and starting
//! one takes longer than most requests. Here threads wait for jobs, and the borrow ends with the
//! call: when [`Helpers::run`] returns, nobody has the job any more.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;

#[cfg(not(shuttle))]
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

#[cfg(shuttle)]
use shuttle::{
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

/// Threads of one pool at most.
const MOST_THREADS: usize = 1024;

/// What a caller lends: called by several threads at once, any number of times.
type Job<'a> = &'a (dyn Fn() + Sync);

/// Threads that wait, without using the CPU, to help with a job.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use luksmith_sys::Helpers;
///
/// let helpers = Helpers::start(3)?;
/// let parts = AtomicUsize::new(0);
/// helpers.run(3, &|| while parts.fetch_add(1, Ordering::Relaxed) < 1000 {});
/// assert!(parts.into_inner() >= 1000);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics, dropping, forking
/// A panic in a helper's call goes on in the caller; the thread lives on. Dropping this ends the
/// threads once they are idle, which they are when no call of [`run`](Self::run) is under way. A
/// child after `fork` has none of the threads, and may have a copy of the lock that is held for
/// ever: there `run` calls the job on the caller's thread alone, and takes no lock. A child is
/// known by its process number, so one that has its parent's (both number 1, each in a PID
/// namespace of its own) must not call `run`: it could wait for ever.
pub struct Helpers {
    shared: Arc<Shared>,
    threads: usize,
    /// The process that has the threads.
    process: u32,
}

struct Shared {
    state: Mutex<State>,
    /// There is a call to begin, or no more will come.
    work: Condvar,
    /// A job has no call under way any more.
    idle: Condvar,
}

#[derive(Default)]
struct State {
    /// Jobs of callers that have not returned.
    lent: VecDeque<Lent>,
    next_id: u64,
    closing: bool,
}

struct Lent {
    id: u64,
    /// Valid while this entry is in the list; see `Helpers::run`.
    job: Job<'static>,
    /// Calls that helpers may still begin.
    wanted: usize,
    /// Calls of helpers that are under way.
    active: usize,
    panic: Option<Panic>,
}

impl Helpers {
    /// Starts `count` threads, 1024 at most.
    ///
    /// # Errors
    /// If the system refuses the first thread. With fewer than `count` the callers do more.
    pub fn start(count: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            work: Condvar::new(),
            idle: Condvar::new(),
        });
        let mut helpers = Self {
            shared,
            threads: 0,
            process: std::process::id(),
        };
        for index in 0..count.min(MOST_THREADS) {
            let shared = Arc::clone(&helpers.shared);
            let started = thread::Builder::new()
                .name(format!("luksmith-{index}"))
                .spawn(move || shared.help());
            match started {
                Ok(_) => helpers.threads += 1,
                Err(error) if index == 0 => return Err(error),
                // What the system refuses now it would refuse again.
                Err(_) => break,
            }
        }
        Ok(helpers)
    }

    /// Calls `job` on this thread and, at the same time, on up to `count` helpers.
    ///
    /// When the call on this thread returns, helpers that have not begun no longer will: only those
    /// that have are waited for. So a helper that the system does not let run costs nothing.
    ///
    /// # Panics
    /// If a call of `job` panics, once no other call is under way.
    pub fn run(&self, count: usize, job: Job<'_>) {
        if self.is_foreign() {
            return job();
        }
        let id = self.shared.lend(count.min(self.threads), job);
        // Takes the job back when it goes, however this function is left.
        let back = TakeBack {
            shared: &self.shared,
            id,
        };
        job();
        if let Some(panic) = back.now() {
            resume_unwind(panic);
        }
    }

    /// Tells whether this is another process than the one that has the threads.
    fn is_foreign(&self) -> bool {
        std::process::id() != self.process
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        if !self.is_foreign() {
            self.shared.lock().closing = true;
            self.shared.work.notify_all();
        }
    }
}

impl fmt::Debug for Helpers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Helpers").finish_non_exhaustive()
    }
}

impl Shared {
    /// Puts a job on the list. The caller has to take it back before the job's borrow ends.
    fn lend(&self, count: usize, job: Job<'_>) -> u64 {
        #[expect(
            unsafe_code,
            reason = "the borrow of a job ends with the call that lends it, which no lifetime says"
        )]
        // SAFETY: only the lifetime changes. `run` is the only caller and makes a `TakeBack` right
        // after, which is dropped before `run` returns or unwinds. Its drop removes the entry from
        // the list, so that no helper can begin a call, after waiting until `active` is 0, so that
        // no helper is inside one; helpers touch the job only while they count in `active`.
        let job = unsafe { core::mem::transmute::<Job<'_>, Job<'static>>(job) };
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.lent.push_back(Lent {
            id,
            job,
            wanted: count,
            active: 0,
            panic: None,
        });
        drop(state);
        for _ in 0..count {
            self.work.notify_one();
        }
        id
    }

    /// What a helper does all its life.
    fn help(&self) {
        let mut state = self.lock();
        loop {
            if let Some((id, job)) = state.begin() {
                drop(state);
                // What the job works on is the caller's, to whom the panic is handed.
                let result = catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
                let (last, second) = state.end(id, result.err());
                if last {
                    self.idle.notify_all();
                }
                if second.is_some() {
                    drop(state);
                    let_go(second);
                    state = self.lock();
                }
            } else if state.closing {
                return;
            } else {
                let woken = self.work.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No job runs while it is held, and the list is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes up a call that somebody wants.
    fn begin(&mut self) -> Option<(u64, Job<'static>)> {
        let lent = self.lent.iter_mut().find(|lent| lent.wanted > 0)?;
        lent.wanted -= 1;
        lent.active += 1;
        Some((lent.id, lent.job))
    }

    /// Notes the end of a call; tells whether the job has no other one under way, and gives back
    /// the panic if there was one before it.
    fn end(&mut self, id: u64, panic: Option<Panic>) -> (bool, Option<Panic>) {
        // The entry is there: it stays while a call is under way.
        let Some(lent) = self.lent.iter_mut().find(|lent| lent.id == id) else {
            return (true, panic);
        };
        lent.active -= 1;
        let second = match &lent.panic {
            None => {
                lent.panic = panic;
                None
            }
            Some(_) => panic,
        };
        (lent.active == 0, second)
    }
}

/// What a panic carries. Its drop is a stranger's code: it never runs under the lock.
type Panic = Box<dyn Any + Send>;

/// Drops what a panic carries that nobody will see, also if that panics.
fn let_go(panic: Option<Panic>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // Dropping this one could panic again.
        std::mem::forget(another);
    }
}

/// Takes a job back from the helpers.
struct TakeBack<'a> {
    shared: &'a Shared,
    id: u64,
}

impl TakeBack<'_> {
    /// Takes it back and gives the panic of a helper, if there was one.
    fn now(self) -> Option<Panic> {
        let panic = self.take();
        std::mem::forget(self);
        panic
    }

    fn take(&self) -> Option<Panic> {
        let mut state = self.shared.lock();
        let id = self.id;
        loop {
            let index = state.lent.iter().position(|lent| lent.id == id)?;
            let lent = state.lent.get_mut(index)?;
            lent.wanted = 0;
            if lent.active == 0 {
                return state.lent.remove(index).and_then(|lent| lent.panic);
            }
            let woken = self.shared.idle.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for TakeBack<'_> {
    fn drop(&mut self) {
        // The caller's own panic goes on; a helper's is dropped with it.
        let_go(self.take());
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    fn counted(calls: &AtomicUsize) {
        calls.fetch_add(1, Ordering::SeqCst);
    }

    #[test]
    fn every_helper_that_was_asked_for_works_at_the_same_time() {
        let helpers = Helpers::start(3).unwrap();
        // Nobody gets past it alone.
        let together = Barrier::new(4);
        for _ in 0..100 {
            helpers.run(3, &|| {
                together.wait();
            });
        }
    }

    #[test]
    fn no_call_is_under_way_after_the_return() {
        let helpers = Helpers::start(3).unwrap();
        for _ in 0..2000 {
            let inside = AtomicUsize::new(0);
            let calls = AtomicUsize::new(0);
            helpers.run(3, &|| {
                counted(&inside);
                counted(&calls);
                inside.fetch_sub(1, Ordering::SeqCst);
            });
            assert_eq!(inside.into_inner(), 0);
            assert!((1..=4).contains(&calls.into_inner()));
        }
    }

    #[test]
    fn helpers_that_are_busy_elsewhere_are_not_waited_for() {
        let helpers = Helpers::start(1).unwrap();
        let (begun, finish) = (Barrier::new(3), Barrier::new(2));
        let calls = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let caller = thread::current().id();
                helpers.run(1, &|| {
                    begun.wait();
                    // The only helper stays; the caller waits for it in `run`.
                    if thread::current().id() != caller {
                        finish.wait();
                    }
                });
            });
            begun.wait();
            helpers.run(1, &|| counted(&calls));
            finish.wait();
        });
        assert_eq!(calls.into_inner(), 1, "by the caller alone");
    }

    #[test]
    fn a_job_inside_a_job_does_not_wait_for_its_own_thread() {
        let helpers = Helpers::start(1).unwrap();
        let inner = AtomicUsize::new(0);
        helpers.run(1, &|| helpers.run(1, &|| counted(&inner)));
        assert!(inner.into_inner() >= 1);
    }

    #[test]
    fn a_panic_of_a_helper_or_of_the_caller_goes_on_in_the_caller() {
        let helpers = Helpers::start(2).unwrap();
        for panicking in 0..3 {
            let together = Barrier::new(3);
            let calls = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                helpers.run(2, &|| {
                    together.wait();
                    let call = calls.fetch_add(1, Ordering::SeqCst);
                    assert!(call != panicking, "call {call}");
                });
            }));
            let panic = result.unwrap_err();
            let text = panic.downcast_ref::<String>().unwrap();
            assert!(text.contains(&format!("call {panicking}")), "{text}");
            assert_eq!(calls.into_inner(), 3, "the others were waited for");
            assert!(helpers.shared.lock().lent.is_empty());
        }
    }

    #[test]
    fn a_second_panic_whose_value_panics_when_dropped_hangs_nobody() {
        struct Bomb;

        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }

        let (sender, returned) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let helpers = Helpers::start(2).unwrap();
            let caller = thread::current().id();
            for _ in 0..20 {
                let together = Barrier::new(3);
                let result = catch_unwind(AssertUnwindSafe(|| {
                    helpers.run(2, &|| {
                        together.wait();
                        if thread::current().id() != caller {
                            std::panic::panic_any(Bomb);
                        }
                    });
                }));
                let panic = result.unwrap_err();
                let is_first = panic.is::<Bomb>();
                std::mem::forget(panic);
                sender.send(is_first).unwrap();
            }
        });
        for _ in 0..20 {
            assert_eq!(returned.recv_timeout(Duration::from_secs(60)), Ok(true));
        }
    }

    #[test]
    fn no_more_calls_are_asked_for_than_there_are_threads() {
        let helpers = Helpers::start(2).unwrap();
        let calls = AtomicUsize::new(0);
        helpers.run(usize::MAX, &|| counted(&calls));
        assert!((1..=3).contains(&calls.into_inner()));
        // A system may refuse some.
        let many = Helpers::start(usize::MAX).unwrap();
        assert!((1..=MOST_THREADS).contains(&many.threads));
    }

    #[test]
    fn dropping_ends_the_threads() {
        let helpers = Helpers::start(4).unwrap();
        let shared = Arc::downgrade(&helpers.shared);
        drop(helpers);
        let end = Instant::now() + Duration::from_secs(20);
        while shared.strong_count() > 0 {
            assert!(Instant::now() < end, "a thread stays");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
