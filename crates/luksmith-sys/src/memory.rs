//! Memory that is wiped when it goes, and kept off the disk where the system allows it.

use std::{
    fmt, io,
    num::NonZeroUsize,
    ops::{Deref, DerefMut, Range},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

#[cfg(unix)]
mod mapping;
#[cfg(not(unix))]
#[path = "memory/heap.rs"]
mod mapping;

use mapping::Mapping;

/// What the system granted for a piece of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryProtection {
    /// The memory is never written to swap. Limited by `ulimit -l`.
    pub locked: bool,
    /// Core dumps leave the memory out.
    pub excluded_from_dumps: bool,
    /// The system was told to use huge pages, and accepted.
    pub huge_pages: bool,
}

/// Bytes of a secret: on pages of their own, locked and left out of core dumps where the system
/// allows it, wiped on drop.
pub struct LockedBytes {
    mapping: Mapping,
    len: usize,
    protection: MemoryProtection,
}

impl LockedBytes {
    /// Takes `len` bytes of zeros.
    ///
    /// # Errors
    /// If the system has no memory. That it cannot be locked is no error: see
    /// [`protection`](Self::protection).
    pub fn new(len: usize) -> io::Result<Self> {
        let mapping = Mapping::new(len, 1)?;
        let protection = MemoryProtection {
            locked: mapping.lock(),
            excluded_from_dumps: mapping.exclude_from_dumps(),
            huge_pages: false,
        };
        Ok(Self {
            mapping,
            len,
            protection,
        })
    }

    /// Tells what the system granted.
    #[must_use]
    pub fn protection(&self) -> MemoryProtection {
        self.protection
    }
}

impl Deref for LockedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.mapping.bytes().get(..self.len).unwrap_or_default()
    }
}

impl DerefMut for LockedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.mapping
            .bytes_mut()
            .get_mut(..self.len)
            .unwrap_or_default()
    }
}

impl fmt::Debug for LockedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockedBytes({} bytes)", self.len)
    }
}

/// A large work area, such as the memory of Argon2: zeros at first, huge pages where the system has
/// them at hand, wiped on drop.
pub struct Arena {
    mapping: Mapping,
    words: usize,
    protection: MemoryProtection,
}

/// Size and alignment of a huge page on the systems that have them, and the step in which pages are
/// asked for.
const HUGE_PAGE: usize = 2 * 1024 * 1024;

/// An area of fewer bytes is filled, and wiped, sooner than a second thread has started.
const WORTH_A_THREAD: usize = 16 * 1024 * 1024;

impl Arena {
    /// Takes `len` bytes of zeros, rounded up to eight.
    ///
    /// # Errors
    /// [`io::ErrorKind::OutOfMemory`] and what else the system says.
    pub fn new(len: usize) -> io::Result<Self> {
        let words = len.div_ceil(8);
        let bytes = words.checked_mul(8).ok_or(io::ErrorKind::OutOfMemory)?;
        let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { 1 };
        let mapping = Mapping::new(bytes, align)?;
        let protection = MemoryProtection {
            huge_pages: align == HUGE_PAGE && mapping.use_huge_pages(),
            locked: mapping.lock_on_fault(),
            excluded_from_dumps: mapping.exclude_from_dumps(),
        };
        Ok(Self {
            mapping,
            words,
            protection,
        })
    }

    /// Calls `fill` with the area as 64-bit words, aligned to a page, and makes the system give the
    /// pages in larger pieces than they are used in.
    ///
    /// With two `threads` or more, another thread does so while `fill` runs, in the order in which
    /// the pages are filled: from `fronts` equally spaced places on at the same time. The two wipe
    /// the area together, too. A thread that the system refuses costs time only.
    pub fn fill_with<R>(
        &mut self,
        fronts: NonZeroUsize,
        threads: NonZeroUsize,
        fill: impl FnOnce(&mut [u64]) -> R,
    ) -> R {
        let len = self.mapping.bytes().len();
        let pages = self.mapping.pages();
        let keeps_huge = self.protection.huge_pages;
        let done = AtomicBool::new(false);
        let touch = || {
            let mut ahead = Ahead {
                pages: &pages,
                clock: mapping::thread_cpu_time,
                keeps_huge,
            };
            for step in steps(len, fronts) {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                ahead.touch(step);
            }
        };
        if threads.get() < 2 || len < WORTH_A_THREAD {
            touch();
            return fill(self.words_mut());
        }
        self.mapping.wipe_by_two();
        thread::scope(|scope| {
            // Without it, pages come as they are first used.
            let _ = thread::Builder::new().spawn_scoped(scope, touch);
            // Also if `fill` panics: the scope waits for the thread.
            let _end = SetOnDrop(&done);
            fill(self.words_mut())
        })
    }

    /// Gives the area as 64-bit words, aligned to a page.
    pub fn words_mut(&mut self) -> &mut [u64] {
        self.mapping
            .words_mut()
            .get_mut(..self.words)
            .unwrap_or_default()
    }

    /// Gives the area as 64-bit words, aligned to a page.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        self.mapping.words().get(..self.words).unwrap_or_default()
    }

    /// Tells what the system granted.
    #[must_use]
    pub fn protection(&self) -> MemoryProtection {
        self.protection
    }

    /// Overwrites the area with zeros, for use by another caller.
    pub fn wipe(&mut self) {
        self.mapping.wipe();
    }
}

/// Sets a flag when it goes.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The steps in which an area of `len` bytes that is filled from `fronts` places is asked for.
fn steps(len: usize, fronts: NonZeroUsize) -> impl Iterator<Item = Range<usize>> {
    let all = len.div_ceil(HUGE_PAGE);
    let of_front = all.div_ceil(fronts.get());
    let front_starts = move |i| {
        (0..all)
            .step_by(of_front.max(1))
            .map(move |start| start + i)
    };
    (0..of_front)
        .flat_map(front_starts)
        .filter_map(move |step| {
            let start = step.checked_mul(HUGE_PAGE).filter(|start| *start < len)?;
            Some(start..len.min(start + HUGE_PAGE))
        })
}

/// The CPU time from which on a huge page comes from memory that a virtual machine's host has not
/// given yet. Measured in one: 0.1 to 0.2 ms from memory that it has given, else 2 to 10 ms.
/// Small pages come from what was in use a moment ago: to ask for 512 of them and to give them back
/// took 1.0 ms, and four passes of Argon2 over them 0.3 to 1.0 ms more.
const HUGE_PAGE_COST: Duration = Duration::from_micros(1500);

/// Asks for pages before they are used, huge ones until one costs too much.
struct Ahead<P, C> {
    pages: P,
    clock: C,
    keeps_huge: bool,
}

/// What is asked of the system.
trait Give {
    /// Makes the pages of a range come.
    fn populate(&self, range: Range<usize>);
    /// Takes back the request for huge pages; those that are there already stay.
    fn use_small_pages(&self);
}

impl<P: Give, C: FnMut() -> Duration> Ahead<P, C> {
    fn touch(&mut self, range: Range<usize>) {
        let before = (self.clock)();
        self.pages.populate(range);
        if self.keeps_huge && (self.clock)().saturating_sub(before) > HUGE_PAGE_COST {
            self.pages.use_small_pages();
            self.keeps_huge = false;
        }
    }
}

impl Give for &mapping::Pages {
    fn populate(&self, range: Range<usize>) {
        mapping::Pages::populate(self, range);
    }

    fn use_small_pages(&self) {
        mapping::Pages::use_small_pages(self);
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arena({} words)", self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_bytes_start_as_zeros_and_keep_what_is_written() {
        for len in [0, 1, 64, 4096, 4097] {
            let mut bytes = LockedBytes::new(len).unwrap();
            assert_eq!(*bytes, vec![0; len]);
            bytes.fill(0xa5);
            assert_eq!(*bytes, vec![0xa5; len]);
        }
    }

    #[test]
    fn debug_output_shows_the_length_and_no_byte() {
        let mut bytes = LockedBytes::new(3).unwrap();
        bytes.copy_from_slice(b"abc");
        assert_eq!(format!("{bytes:?}"), "LockedBytes(3 bytes)");
        assert_eq!(format!("{:?}", Arena::new(17).unwrap()), "Arena(3 words)");
    }

    #[test]
    fn an_arena_is_zeros_again_after_a_wipe() {
        let mut arena = Arena::new(3 * HUGE_PAGE + 8).unwrap();
        assert_eq!(arena.words().len(), (3 * HUGE_PAGE + 8) / 8);
        assert!(arena.words().iter().all(|&word| word == 0));
        arena.words_mut().fill(u64::MAX);
        arena.wipe();
        assert!(arena.words().iter().all(|&word| word == 0));
    }

    #[test]
    fn an_area_filled_with_a_second_thread_is_what_was_filled_in() {
        let fronts = NonZeroUsize::new(4).unwrap();
        for threads in [NonZeroUsize::MIN, fronts] {
            for len in [8, HUGE_PAGE, WORTH_A_THREAD + 8, 3 * WORTH_A_THREAD] {
                let mut arena = Arena::new(len).unwrap();
                let count = arena.fill_with(fronts, threads, |words| {
                    assert!(words.iter().all(|&word| word == 0), "{len}");
                    words.iter_mut().zip(1..).for_each(|(word, i)| *word = i);
                    words.len()
                });
                assert_eq!(count, len / 8);
                assert!(arena.words().iter().zip(1..).all(|(&word, i)| word == i));
                arena.wipe();
                assert!(arena.words().iter().all(|&word| word == 0), "{len}");
            }
        }
    }

    #[test]
    fn a_fill_that_panics_ends_the_second_thread() {
        let mut arena = Arena::new(2 * WORTH_A_THREAD).unwrap();
        let two = NonZeroUsize::new(2).unwrap();
        let fill = std::panic::AssertUnwindSafe(|| {
            arena.fill_with(NonZeroUsize::MIN, two, |_| panic!("as asked"))
        });
        // Hangs if the thread goes on for ever.
        assert!(std::panic::catch_unwind(fill).is_err());
    }

    #[test]
    fn pages_are_asked_for_once_each_from_all_fronts_at_a_time() {
        for fronts in 1..=5 {
            let fronts = NonZeroUsize::new(fronts).unwrap();
            for len in [
                1,
                HUGE_PAGE,
                3 * HUGE_PAGE + 4096,
                8 * HUGE_PAGE,
                9 * HUGE_PAGE,
            ] {
                let mut seen: Vec<_> = steps(len, fronts).collect();
                seen.sort_by_key(|step| step.start);
                let mut end = 0;
                for step in &seen {
                    assert_eq!(step.start, end, "{len}, {fronts} fronts");
                    end = step.end;
                }
                assert_eq!(end, len, "{len}, {fronts} fronts");
            }
        }
        let first: Vec<_> = steps(8 * HUGE_PAGE, NonZeroUsize::new(4).unwrap())
            .map(|step| step.start / HUGE_PAGE)
            .collect();
        assert_eq!(first, [0, 2, 4, 6, 1, 3, 5, 7]);
    }

    /// Notes what is asked for.
    #[derive(Default)]
    struct Noted(std::cell::RefCell<Vec<Option<usize>>>);

    impl Give for &Noted {
        fn populate(&self, range: Range<usize>) {
            self.0.borrow_mut().push(Some(range.start));
        }

        fn use_small_pages(&self) {
            self.0.borrow_mut().push(None);
        }
    }

    #[test]
    fn huge_pages_are_given_up_once_when_one_costs_too_much() {
        let (fair, slow) = (HUGE_PAGE_COST, HUGE_PAGE_COST + Duration::from_nanos(1));
        let noted = Noted::default();
        let mut costs = [fair, fair, slow, fair, slow].into_iter();
        let (mut now, mut is_start) = (Duration::ZERO, true);
        let clock = || {
            if !is_start {
                now += costs.next().unwrap_or_default();
            }
            is_start = !is_start;
            now
        };
        let mut ahead = Ahead {
            pages: &noted,
            clock,
            keeps_huge: true,
        };
        for start in 0..3 {
            assert!(ahead.keeps_huge);
            ahead.touch(start..start + 1);
        }
        assert!(!ahead.keeps_huge);
        ahead.touch(3..4);
        ahead.touch(4..5);
        let asked = [Some(0), Some(1), Some(2), None, Some(3), Some(4)];
        assert_eq!(*noted.0.borrow(), asked);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_leaves_secrets_out_of_core_dumps() {
        let bytes = LockedBytes::new(64).unwrap();
        assert!(bytes.protection().excluded_from_dumps);
        // The kernel's own view: the mapping carries the flag "dd", and "lo" if it is locked.
        let start = format!("{:x}-", bytes.as_ptr() as usize);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = maps.lines().skip_while(|line| !line.starts_with(&start));
        let flags = lines.find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(flags.split_whitespace().any(|flag| flag == "dd"), "{flags}");
        let locked = flags.split_whitespace().any(|flag| flag == "lo");
        assert_eq!(locked, bytes.protection().locked, "{flags}");
    }

    #[test]
    fn memory_that_no_machine_has_is_an_error() {
        assert!(LockedBytes::new(usize::MAX).is_err());
        assert!(Arena::new(usize::MAX - 8).is_err());
    }
}
