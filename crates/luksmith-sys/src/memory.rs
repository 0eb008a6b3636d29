//! Memory that is wiped when it goes, and kept off the disk where the system allows it.

use std::{
    fmt, io,
    num::NonZeroUsize,
    ops::{Deref, DerefMut},
    thread,
};

#[cfg(unix)]
mod mapping;
#[cfg(not(unix))]
#[path = "memory/heap.rs"]
mod mapping;
mod supply;

use mapping::Mapping;
use supply::Steps;
pub use supply::Supply;

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

    /// Calls `fill` with the area as 64-bit words, aligned to a page, and with what makes the
    /// system give the pages in larger pieces than they are used in.
    ///
    /// `fill` runs `workers` of `threads` threads, which fill the area from `fronts` equally spaced
    /// places on at the same time. If one is left and the area is large, it runs ahead of them; and
    /// two threads, if there may be so many, wipe a large area. A thread that the system refuses
    /// costs time only.
    pub fn fill_with<R>(
        &mut self,
        fronts: NonZeroUsize,
        workers: NonZeroUsize,
        threads: NonZeroUsize,
        fill: impl FnOnce(&mut [u64], &Supply<'_>) -> R,
    ) -> R {
        let len = self.mapping.bytes().len();
        if another_pays(len, NonZeroUsize::MIN, threads) {
            self.mapping.wipe_by_two();
        }
        let pages = self.mapping.pages();
        let is_huge = self.protection.huge_pages;
        let supply = Supply(Steps::new(&pages, len, fronts, is_huge));
        if !another_pays(len, workers, threads) {
            return fill(self.words_mut(), &supply);
        }
        thread::scope(|scope| {
            let _ = thread::Builder::new().spawn_scoped(scope, || supply.0.run_ahead());
            // Also if `fill` panics: the scope waits for the thread.
            let _end = EndOnDrop(&supply);
            fill(self.words_mut(), &supply)
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

/// Tells whether a thread more than `workers` is allowed, and pays for an area of `len` bytes. One
/// that shares a processor with those who fill gains nothing (docs/decisions/0005).
fn another_pays(len: usize, workers: NonZeroUsize, threads: NonZeroUsize) -> bool {
    len >= WORTH_A_THREAD && threads > workers
}

/// Ends the thread that runs ahead when it goes.
struct EndOnDrop<'a>(&'a Supply<'a>);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.0.end();
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
        let one = NonZeroUsize::MIN;
        for (workers, threads) in [(one, one), (one, fronts), (fronts, fronts)] {
            for len in [8, HUGE_PAGE, WORTH_A_THREAD + 8, 3 * WORTH_A_THREAD] {
                let mut arena = Arena::new(len).unwrap();
                let count = arena.fill_with(fronts, workers, threads, |words, supply| {
                    assert!(words.iter().all(|&word| word == 0), "{len}");
                    for (i, (word, n)) in words.iter_mut().zip(1..).enumerate() {
                        if i % 512 == 0 {
                            supply.reach(i * 8);
                        }
                        *word = n;
                    }
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
    fn a_thread_runs_ahead_only_in_a_large_area_and_where_one_is_left() {
        let pays = |len, workers, threads| {
            let count = |count| NonZeroUsize::new(count).unwrap();
            another_pays(len, count(workers), count(threads))
        };
        assert!(pays(WORTH_A_THREAD, 1, 2));
        assert!(!pays(WORTH_A_THREAD - 1, 1, 2));
        assert!(!pays(WORTH_A_THREAD, 1, 1));
        assert!(!pays(WORTH_A_THREAD, 2, 2));
        assert!(pays(WORTH_A_THREAD, 4, 5));
    }

    #[test]
    fn a_fill_that_panics_ends_the_second_thread() {
        let mut arena = Arena::new(2 * WORTH_A_THREAD).unwrap();
        let two = NonZeroUsize::new(2).unwrap();
        let fill = std::panic::AssertUnwindSafe(|| {
            arena.fill_with(NonZeroUsize::MIN, NonZeroUsize::MIN, two, |_, _| {
                panic!("as asked")
            })
        });
        // Hangs if the thread goes on for ever.
        assert!(std::panic::catch_unwind(fill).is_err());
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
