//! Locks on ranges of a device.

use std::{collections::VecDeque, fmt, ops::Range};

#[cfg(not(shuttle))]
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[cfg(shuttle)]
use shuttle::sync::{Condvar, Mutex, MutexGuard};
#[cfg(shuttle)]
use std::sync::PoisonError;

/// Locks on ranges: many threads work on a device at once, and only those that touch the same place
/// wait for each other.
///
/// A range is shared by readers or held by one writer. Requests are granted in the order in which
/// they came, as far as they overlap: nobody is overtaken by a later request that stands in its
/// way, so nobody starves. Nothing is held across ranges but a short list, never during input or
/// output.
///
/// The unit of the ranges (bytes, sectors) is the owner's choice. A thread that holds a range and
/// waits for another one can be part of a deadlock: take one range that covers both, or take them
/// in ascending order everywhere.
///
/// ```
/// use luksmith_block::RangeLock;
///
/// let lock = RangeLock::new();
/// let writer = lock.exclusive(0..8);
/// assert!(lock.try_shared(7..9).is_none());
/// assert!(lock.try_shared(8..9).is_some());
/// drop(writer);
/// assert!(lock.try_shared(7..9).is_some());
/// ```
#[derive(Default)]
pub struct RangeLock {
    queue: Mutex<Queue>,
    released: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Held and waited-for ranges, oldest first.
    entries: VecDeque<Entry>,
    next_ticket: u64,
    waiting: usize,
}

struct Entry {
    ticket: u64,
    range: Range<u64>,
    exclusive: bool,
}

impl Entry {
    fn conflicts_with(&self, range: &Range<u64>, exclusive: bool) -> bool {
        (exclusive || self.exclusive)
            && self.range.start.max(range.start) < self.range.end.min(range.end)
    }
}

impl RangeLock {
    /// Makes a lock of which nothing is held.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until no writer holds or earlier waits for any part of `range`.
    pub fn shared(&self, range: Range<u64>) -> RangeGuard<'_> {
        self.wait_for(range, false)
    }

    /// Waits until nobody holds or earlier waits for any part of `range`.
    pub fn exclusive(&self, range: Range<u64>) -> RangeGuard<'_> {
        self.wait_for(range, true)
    }

    /// As [`shared`](Self::shared), but gives `None` instead of waiting.
    pub fn try_shared(&self, range: Range<u64>) -> Option<RangeGuard<'_>> {
        self.take_now(range, false)
    }

    /// As [`exclusive`](Self::exclusive), but gives `None` instead of waiting.
    pub fn try_exclusive(&self, range: Range<u64>) -> Option<RangeGuard<'_>> {
        self.take_now(range, true)
    }

    fn wait_for(&self, range: Range<u64>, exclusive: bool) -> RangeGuard<'_> {
        let mut queue = self.queue();
        let ticket = queue.push(range, exclusive);
        if queue.is_blocked(ticket) {
            queue.waiting += 1;
            while queue.is_blocked(ticket) {
                let woken = self.released.wait(queue);
                queue = woken.unwrap_or_else(PoisonError::into_inner);
            }
            queue.waiting -= 1;
        }
        RangeGuard { lock: self, ticket }
    }

    fn take_now(&self, range: Range<u64>, exclusive: bool) -> Option<RangeGuard<'_>> {
        let mut queue = self.queue();
        let blocked = |entry: &Entry| entry.conflicts_with(&range, exclusive);
        if queue.entries.iter().any(blocked) {
            return None;
        }
        let ticket = queue.push(range, exclusive);
        Some(RangeGuard { lock: self, ticket })
    }

    fn release(&self, ticket: u64) {
        let mut queue = self.queue();
        queue.remove(ticket);
        let wake = queue.waiting > 0;
        drop(queue);
        if wake {
            self.released.notify_all();
        }
    }

    // Nothing between locking and unlocking can panic half way through a change of the list, so a
    // poisoned lock guards a whole one.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, range: Range<u64>, exclusive: bool) -> u64 {
        let ticket = self.next_ticket;
        // 2^64 requests take longer than any machine lasts.
        self.next_ticket = ticket.wrapping_add(1);
        self.entries.push_back(Entry {
            ticket,
            range,
            exclusive,
        });
        ticket
    }

    fn remove(&mut self, ticket: u64) {
        if let Some(index) = self.entries.iter().position(|e| e.ticket == ticket) {
            self.entries.remove(index);
        }
    }

    /// Tells whether an earlier entry, held or waiting, stands in the way.
    fn is_blocked(&self, ticket: u64) -> bool {
        let Some(index) = self.entries.iter().position(|e| e.ticket == ticket) else {
            return false;
        };
        let mut earlier = self.entries.iter().take(index);
        self.entries
            .get(index)
            .is_some_and(|own| earlier.any(|e| e.conflicts_with(&own.range, own.exclusive)))
    }
}

impl fmt::Debug for RangeLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangeLock").finish_non_exhaustive()
    }
}

/// A range that is held; dropping it gives the range free.
#[must_use = "the range is free again as soon as this is dropped"]
#[derive(Debug)]
pub struct RangeGuard<'a> {
    lock: &'a RangeLock,
    ticket: u64,
}

impl Drop for RangeGuard<'_> {
    fn drop(&mut self) {
        self.lock.release(self.ticket);
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, AtomicUsize, Ordering},
        },
        thread,
        time::Duration,
    };

    use super::*;

    #[test]
    fn ranges_that_touch_without_overlapping_are_held_together() {
        let lock = RangeLock::new();
        let _low = lock.exclusive(0..8);
        let _high = lock.exclusive(8..16);
        let _empty = lock.exclusive(4..4);
        assert!(lock.try_exclusive(7..8).is_none());
        assert!(lock.try_exclusive(u64::MAX - 1..u64::MAX).is_some());
    }

    #[test]
    fn readers_share_a_range_and_keep_writers_out() {
        let lock = RangeLock::new();
        let first = lock.shared(0..10);
        let second = lock.shared(5..15);
        assert!(lock.try_exclusive(12..13).is_none());
        drop(second);
        assert!(lock.try_exclusive(12..13).is_some());
        assert!(lock.try_exclusive(9..10).is_none());
        drop(first);
        assert!(lock.try_exclusive(0..20).is_some());
    }

    #[test]
    fn a_waiting_writer_is_not_overtaken_by_later_readers() {
        let lock = Arc::new(RangeLock::new());
        let reader = lock.shared(0..10);
        let writer = thread::spawn({
            let lock = Arc::clone(&lock);
            move || drop(lock.exclusive(0..10))
        });
        while lock.queue().waiting == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(lock.try_shared(0..1).is_none());
        assert!(lock.try_shared(10..11).is_some());
        drop(reader);
        writer.join().unwrap();
        assert!(lock.try_shared(0..1).is_some());
    }

    #[test]
    fn writers_of_one_place_never_meet() {
        const PLACES: u64 = 5;
        let lock = RangeLock::new();
        let inside: Vec<AtomicUsize> = (0..PLACES).map(|_| AtomicUsize::new(0)).collect();
        let sum = AtomicU64::new(0);
        thread::scope(|scope| {
            for worker in 0..4u64 {
                let (lock, inside, sum) = (&lock, &inside, &sum);
                scope.spawn(move || {
                    for round in 0..2000 {
                        let start = (worker * 7 + round * 3) % PLACES;
                        let end = (start + 1 + round % 3).min(PLACES);
                        let _held = lock.exclusive(start..end);
                        for place in start..end {
                            let place = &inside[usize::try_from(place).unwrap()];
                            assert_eq!(place.fetch_add(1, Ordering::SeqCst), 0);
                        }
                        for place in start..end {
                            let place = &inside[usize::try_from(place).unwrap()];
                            assert_eq!(place.fetch_sub(1, Ordering::SeqCst), 1);
                        }
                        sum.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 8000);
        assert!(lock.queue().entries.is_empty());
    }

    #[test]
    fn a_panic_while_holding_a_range_gives_it_free() {
        let lock = RangeLock::new();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = lock.exclusive(0..1);
            panic!("while holding");
        }));
        assert!(result.is_err());
        assert!(lock.try_exclusive(0..1).is_some());
    }
}
