//! Memory that is wiped when it goes, and kept off the disk where the system allows it.

use std::{
    fmt, io,
    ops::{Deref, DerefMut},
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
/// them, wiped on drop.
pub struct Arena {
    mapping: Mapping,
    words: usize,
    protection: MemoryProtection,
}

/// Size and alignment of a huge page on the systems that have them.
const HUGE_PAGE: usize = 2 * 1024 * 1024;

impl Arena {
    /// Takes `len` bytes of zeros, rounded up to eight.
    ///
    /// # Errors
    /// [`io::ErrorKind::OutOfMemory`] and what else the system says.
    pub fn new(len: usize) -> io::Result<Self> {
        let words = len.div_ceil(8);
        let bytes = words.checked_mul(8).ok_or(io::ErrorKind::OutOfMemory)?;
        let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { 1 };
        let mut mapping = Mapping::new(bytes, align)?;
        let mut protection = MemoryProtection {
            huge_pages: align == HUGE_PAGE && mapping.use_huge_pages(),
            locked: mapping.lock_on_fault(),
            excluded_from_dumps: mapping.exclude_from_dumps(),
        };
        if protection.huge_pages {
            protection.huge_pages = {
                let clock = mapping::thread_cpu_time;
                settle_page_size(&mut mapping, HUGE_PAGE_COST, clock)
            };
        }
        Ok(Self {
            mapping,
            words,
            protection,
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

/// The CPU time from which on a huge page comes from memory that a virtual machine's host has not
/// given yet. Measured in one: 0.1 to 0.2 ms from memory that it has given, else 2 to 10 ms.
/// Small pages come from what was in use a moment ago: 512 of them took 1.2 ms, and four passes of
/// Argon2 over them 0.8 ms more.
const HUGE_PAGE_COST: Duration = Duration::from_millis(1);

/// Touches huge page after huge page, until one takes longer than `worth`: from there on, small
/// pages take their place. Tells whether huge pages remain.
fn settle_page_size(
    mapping: &mut Mapping,
    worth: Duration,
    mut clock: impl FnMut() -> Duration,
) -> bool {
    for start in (0..mapping.bytes().len()).step_by(HUGE_PAGE) {
        let before = clock();
        if let Some(byte) = mapping.bytes_mut().get_mut(start) {
            // It is zero already; the store makes the page come.
            *std::hint::black_box(byte) = 0;
        }
        if clock().saturating_sub(before) > worth {
            mapping.use_small_pages(start);
            return start > 0;
        }
    }
    true
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
    fn huge_pages_that_cost_too_much_are_given_up_and_the_area_stays_zeros() {
        let worth = Duration::from_millis(1);
        // The page that costs too much; the first one decides whether any remain.
        for slow in [0, 1, 9] {
            for len in [HUGE_PAGE, 3 * HUGE_PAGE, 9 * HUGE_PAGE] {
                let mut mapping = Mapping::new(len, HUGE_PAGE).unwrap();
                mapping.use_huge_pages();
                let mut looks = 0;
                // Looked at before and after each touch.
                let clock = || {
                    looks += 1;
                    let after_slow = looks >= 2 * slow + 2;
                    Duration::from_millis(if after_slow { 3 } else { 1 })
                };
                let kept = settle_page_size(&mut mapping, worth, clock);
                assert_eq!(kept, slow > 0, "{len}, page {slow}");
                let pages = len / HUGE_PAGE;
                assert_eq!(looks, 2 * pages.min(slow + 1), "{len}, page {slow}");
                assert!(mapping.words().iter().all(|&word| word == 0), "{len}");
            }
        }
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
