//! One large request as several smaller ones at once.

use std::{
    fmt,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

#[cfg(not(shuttle))]
use std::sync::{Mutex, MutexGuard};

#[cfg(shuttle)]
use shuttle::sync::{Mutex, MutexGuard};

use crate::{BlockDevice, ByteLen, ByteOffset, Error, Executor, Inline, Operation, SectorNumber};

/// What parts of a request are multiples of: 16 sectors of 4096 bytes, which vector code takes at
/// once.
const BATCH_BYTES: usize = 64 << 10;

/// Bytes of one part at most: it stays in the second-level cache of the thread that has it.
const PART_BYTES: usize = 256 << 10;

/// Splits large requests to a device over the threads of an [`Executor`].
///
/// A request below the threshold, and every request if there is one thread only, goes to the device
/// as it is, on the caller's thread, without allocating. A larger one becomes parts of 64 to 256
/// KiB, which the caller's thread and others take in ascending order. The device sees the same
/// bytes at the same places whatever the number of threads, and the caller the same result:
///
/// * Of several errors the one that a single thread would have met first is given, and
///   [`Error::TagMismatch`] counts the wrong sectors of the whole request.
/// * After an error in a read all of the buffer is zero: nothing of a request that fails is handed
///   out. After an error in a write each sector is old or new, as for any device.
/// * A panic in a part ends the request and goes on in the caller once every other part that was
///   begun has ended, and writes are refused from then on with [`Error::FailStop`].
///
/// The splitter holds no memory and no thread; what the device needs for a request it needs for
/// each part that is under way.
pub struct Splitter {
    executor: Arc<dyn Executor>,
    least_bytes: usize,
    /// A write panicked; what is on the device is unknown.
    stopped: AtomicBool,
}

impl Splitter {
    /// Splits requests of `least_bytes` or more.
    ///
    /// Waking a thread takes some microseconds: below that a split costs more than it gains.
    pub fn new(executor: Arc<dyn Executor>, least_bytes: usize) -> Self {
        Self {
            executor,
            least_bytes: least_bytes.max(2 * BATCH_BYTES),
            stopped: AtomicBool::new(false),
        }
    }

    /// Splits nothing.
    #[must_use]
    pub fn inline() -> Self {
        Self::new(Arc::new(Inline), usize::MAX)
    }

    /// Gives the executor.
    #[must_use]
    pub fn executor(&self) -> &Arc<dyn Executor> {
        &self.executor
    }

    /// Reads as [`BlockDevice::read_at`].
    ///
    /// # Errors
    /// Those of the device.
    pub fn read_at<D: BlockDevice + ?Sized>(
        &self,
        device: &D,
        at: ByteOffset,
        buf: &mut [u8],
    ) -> Result<(), Error> {
        let result = match self.split(buf.len()) {
            None => device.read_at(at, buf),
            Some(split) => device.check_range(at, ByteLen::of(buf)).and_then(|()| {
                let read = |at, part: &mut [u8]| device.read_at(at, part);
                let outcome = self.run(split, at, buf.chunks_mut(split.part_bytes), read);
                outcome.result(Operation::Read)
            }),
        };
        result.inspect_err(|_| buf.fill(0))
    }

    /// Writes as [`BlockDevice::write_at`].
    ///
    /// # Errors
    /// Those of the device, and [`Error::FailStop`] after a panic.
    pub fn write_at<D: BlockDevice + ?Sized>(
        &self,
        device: &D,
        at: ByteOffset,
        data: &[u8],
    ) -> Result<(), Error> {
        let operation = Operation::Write;
        self.change(operation, || {
            let Some(split) = self.split(data.len()) else {
                return device.write_at(at, data);
            };
            device.check_range(at, ByteLen::of(data))?;
            let write = |at, part: &[u8]| device.write_at(at, part);
            let outcome = self.run(split, at, data.chunks(split.part_bytes), write);
            if outcome.panicked {
                self.stopped.store(true, Ordering::Release);
            }
            outcome.result(operation)
        })
    }

    /// Makes a change of the device that is not split, such as a discard.
    ///
    /// # Errors
    /// Those of `work`; [`Error::FailStop`], without calling it, if an earlier change panicked.
    pub fn change(
        &self,
        operation: Operation,
        work: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(Error::FailStop { operation });
        }
        let guard = StopOnPanic(&self.stopped);
        let result = work();
        std::mem::forget(guard);
        result
    }

    /// Tells how a request of `len` bytes is split, if it is.
    fn split(&self, len: usize) -> Option<Split> {
        if len < self.least_bytes {
            return None;
        }
        let threads = self.executor.threads();
        if threads < 2 {
            return None;
        }
        // Everybody gets something, and a part never ends inside a batch.
        let share = len.div_ceil(threads).next_multiple_of(BATCH_BYTES);
        let part_bytes = share.min(PART_BYTES);
        let parts = len.div_ceil(part_bytes);
        Some(Split {
            part_bytes,
            helpers: threads.min(parts).saturating_sub(1),
        })
    }

    /// Has every part done, by as many threads as there are.
    fn run<P: Send>(
        &self,
        split: Split,
        at: ByteOffset,
        parts: impl Iterator<Item = P> + Send,
        work: impl Fn(ByteOffset, P) -> Result<(), Error> + Sync,
    ) -> Outcome {
        let queue = Queue(Mutex::new(State {
            parts: parts.enumerate(),
            outcome: Outcome::default(),
        }));
        let job = || {
            while let Some((index, part)) = queue.take() {
                let offset = (index * split.part_bytes) as u64;
                let end = EndOnPanic {
                    queue: &queue,
                    index,
                };
                // Cannot overflow: `check_range` saw that the whole request fits.
                let result = work(ByteOffset::new(at.get() + offset), part);
                end.with(result);
            }
        };
        if split.helpers > 0 {
            self.executor.run(split.helpers, &job);
        }
        // An executor may have called nobody.
        job();
        queue.lock().outcome
    }
}

impl fmt::Debug for Splitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Splitter")
            .field("threads", &self.executor.threads())
            .field("least_bytes", &self.least_bytes)
            .finish_non_exhaustive()
    }
}

/// Refuses further changes when it is dropped: by a panic, else it is forgotten. Whether the thread
/// is panicking does not tell, for a change may be made while another panic unwinds.
struct StopOnPanic<'a>(&'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// How a request is split.
#[derive(Clone, Copy)]
struct Split {
    part_bytes: usize,
    /// Threads beside the caller's.
    helpers: usize,
}

/// Parts that nobody has taken yet, and what became of the others.
struct Queue<I>(Mutex<State<I>>);

struct State<I> {
    parts: I,
    outcome: Outcome,
}

impl<I> Queue<I> {
    /// Gives the next part, unless an earlier one ended the request.
    fn take<P>(&self) -> Option<(usize, P)>
    where
        I: Iterator<Item = (usize, P)>,
    {
        let mut state = self.lock();
        if state.outcome.is_over() {
            return None;
        }
        state.parts.next()
    }

    fn lock(&self) -> MutexGuard<'_, State<I>> {
        // Nothing that can panic runs while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the parts of a request came to.
#[derive(Clone, Copy, Default)]
struct Outcome {
    /// The error of the lowest part that failed otherwise than by its tags.
    error: Option<(usize, Error)>,
    /// First wrong sector, and wrong sectors of all parts.
    wrong: Option<(SectorNumber, u64)>,
    panicked: bool,
}

impl Outcome {
    /// Tells whether parts that are not begun need not be done. Tags are looked at to the end.
    ///
    /// Parts are begun in ascending order, so those below a failed one are done in any case.
    fn is_over(&self) -> bool {
        self.panicked || self.error.is_some()
    }

    fn note(&mut self, index: usize, result: Result<(), Error>) {
        match result {
            Ok(()) => {}
            Err(Error::TagMismatch { first, count }) => {
                let (lowest, before) = self.wrong.unwrap_or((first, 0));
                self.wrong = Some((lowest.min(first), before.saturating_add(count)));
            }
            Err(error) => {
                if self.error.is_none_or(|(lowest, _)| index < lowest) {
                    self.error = Some((index, error));
                }
            }
        }
    }

    fn result(self, operation: Operation) -> Result<(), Error> {
        if self.panicked {
            // Reached only if the executor kept a panic to itself.
            return Err(Error::FailStop { operation });
        }
        match (self.error, self.wrong) {
            (Some((_, error)), _) => Err(error),
            (None, Some((first, count))) => Err(Error::TagMismatch { first, count }),
            (None, None) => Ok(()),
        }
    }
}

/// Ends the request if a part is left by a panic.
struct EndOnPanic<'a, I> {
    queue: &'a Queue<I>,
    index: usize,
}

impl<I> EndOnPanic<'_, I> {
    fn with(self, result: Result<(), Error>) {
        self.queue.lock().outcome.note(self.index, result);
        std::mem::forget(self);
    }
}

impl<I> Drop for EndOnPanic<'_, I> {
    fn drop(&mut self) {
        self.queue.lock().outcome.panicked = true;
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
