//! Private anonymous mappings.

#![expect(
    unsafe_code,
    reason = "mapping memory and telling the system about it takes raw pointers"
)]

use std::{
    ffi::c_void,
    io,
    ops::Range,
    ptr::NonNull,
    slice,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::mm::{self, MapFlags, ProtFlags};

/// Bytes of memory that belong to one owner.
///
/// Invariants, set by `new` and never changed: `base` is the start of a private, anonymous,
/// readable and writable mapping of `mapped` bytes that nothing else refers to; `data` points into
/// it, aligned to at least a page; `len`, a multiple of the page size, is not 0, and
/// `data + len` lies inside the mapping or at its end.
pub(super) struct Mapping {
    base: NonNull<c_void>,
    mapped: usize,
    data: NonNull<u8>,
    len: usize,
    /// Whether a second thread helps to wipe it.
    is_wiped_by_two: bool,
}

/// Bytes that a thread wipes at a time when two do it.
const WIPED_AT_ONCE: usize = 16 * 1024 * 1024;

/// Where the pages of a mapping are, to ask the system for them. Reads and writes nothing.
#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "only Linux is asked for pages")
)]
pub(super) struct Pages {
    start: usize,
    len: usize,
}

// SAFETY: the mapping is plain memory that only this value refers to (invariant); it has no
// affinity to a thread.
unsafe impl Send for Mapping {}
// SAFETY: shared references only read the memory: every method that writes takes `&mut self` or
// is `drop`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps at least `len` bytes of zeros, aligned to `align` (a power of two) or to a page.
    pub(super) fn new(len: usize, align: usize) -> io::Result<Self> {
        let no_memory = io::Error::from(io::ErrorKind::OutOfMemory);
        let page = rustix::param::page_size();
        let padding = align.saturating_sub(page);
        let rounded = len.max(1).checked_next_multiple_of(page);
        let sizes = rounded.and_then(|len| Some((len, len.checked_add(padding)?)));
        let Some((len, mapped)) = sizes else {
            return Err(no_memory);
        };
        // SAFETY: a null address lets the kernel choose a free place, so no memory of ours is
        // replaced.
        let base = unsafe {
            mm::mmap_anonymous(
                std::ptr::null_mut(),
                mapped,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let base = NonNull::new(base).ok_or(no_memory)?;
        let start = base.cast::<u8>();
        // At most `padding`: the mapping starts at a page, and both are powers of two.
        let offset = start.as_ptr().align_offset(align.max(page)).min(padding);
        // SAFETY: `offset <= padding` and `mapped = len + padding` (above), so the result and
        // `len` bytes after it are inside the mapping.
        let data = unsafe { start.add(offset) };
        Ok(Self {
            base,
            mapped,
            data,
            len,
            is_wiped_by_two: false,
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `data` and `len` describe initialised memory (anonymous mappings are zeros) that
        // lives as long as `self`, and `&self` keeps writers away (invariant, and `Sync` above).
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `&mut self` makes this the only reference.
        unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }

    pub(super) fn words(&self) -> &[u64] {
        // SAFETY: as in `bytes`; `data` is aligned to a page, which is a multiple of 8, and every
        // bit pattern is a `u64`.
        unsafe { slice::from_raw_parts(self.data.cast::<u64>().as_ptr(), self.len / 8) }
    }

    pub(super) fn words_mut(&mut self) -> &mut [u64] {
        // SAFETY: as in `words`; `&mut self` makes this the only reference.
        unsafe { slice::from_raw_parts_mut(self.data.cast::<u64>().as_ptr(), self.len / 8) }
    }

    /// Keeps the memory out of swap; tells whether the system agreed.
    pub(super) fn lock(&self) -> bool {
        // SAFETY: the range is our own mapping (invariant); locking changes no contents.
        unsafe { mm::mlock(self.data.as_ptr().cast(), self.len) }.is_ok()
    }

    /// As `lock`, but pages are locked as they are first touched instead of all at once.
    pub(super) fn lock_on_fault(&self) -> bool {
        #[cfg(target_os = "linux")]
        {
            let flags = mm::MlockFlags::ONFAULT;
            // SAFETY: as in `lock`.
            unsafe { mm::mlock_with(self.data.as_ptr().cast(), self.len, flags) }.is_ok()
        }
        #[cfg(not(target_os = "linux"))]
        self.lock()
    }

    /// Keeps the memory out of core dumps; tells whether the system agreed.
    pub(super) fn exclude_from_dumps(&self) -> bool {
        #[cfg(target_os = "linux")]
        {
            self.advise(mm::Advice::LinuxDontDump)
        }
        #[cfg(not(target_os = "linux"))]
        false
    }

    /// Asks for huge pages; tells whether the system agreed.
    pub(super) fn use_huge_pages(&self) -> bool {
        #[cfg(target_os = "linux")]
        {
            self.advise(mm::Advice::LinuxHugepage)
        }
        #[cfg(not(target_os = "linux"))]
        false
    }

    /// Tells where the pages are.
    pub(super) fn pages(&self) -> Pages {
        Pages {
            start: self.data.addr().get(),
            len: self.len,
        }
    }

    /// Lets a second thread help to wipe the memory when it is given back.
    pub(super) fn wipe_by_two(&mut self) {
        self.is_wiped_by_two = true;
    }

    #[cfg(target_os = "linux")]
    fn advise(&self, advice: mm::Advice) -> bool {
        // SAFETY: the range is our own mapping (invariant); the advice that the callers above give
        // changes neither its contents nor its access rights.
        unsafe { mm::madvise(self.data.as_ptr().cast(), self.len, advice) }.is_ok()
    }

    /// Wipes the memory, by this thread and another one, each piece of whole pages followed by
    /// `then`.
    fn wipe_in_pieces(&mut self, then: impl Fn(&mut [u8]) + Sync) {
        let pieces = Mutex::new(self.bytes_mut().chunks_mut(WIPED_AT_ONCE));
        let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            while let Some(piece) = next() {
                wipe(piece);
                then(piece);
            }
        };
        thread::scope(|scope| {
            // A thread that the system refuses leaves more to this one.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
            work();
        });
    }

    /// Overwrites everything with zeros.
    pub(super) fn wipe(&mut self) {
        wipe(self.bytes_mut());
    }
}

fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    // The compiler must assume that someone reads the zeros here, so it cannot leave the stores
    // out, not even just before the memory is given back.
    std::hint::black_box(bytes);
}

/// Gives whole pages back to the system; they are zeros when they are touched again. Where the
/// system cannot, they go with the mapping.
///
/// # Safety
/// `pages` consists of whole pages of a private anonymous mapping: the system rounds up.
unsafe fn release(pages: &mut [u8]) {
    #[cfg(target_os = "linux")]
    // SAFETY: the pages are whole (the caller) and ours alone. What they hold afterwards, zeros, is
    // what any `u8` may be.
    let _ = unsafe {
        let advice = mm::Advice::LinuxDontneedLocked;
        mm::madvise(pages.as_mut_ptr().cast(), pages.len(), advice)
    };
    #[cfg(not(target_os = "linux"))]
    let _ = pages;
}

impl Pages {
    /// Makes the pages of a range come, as a write to each would, if the system can: Linux from
    /// 5.14 on. Before, they come as they are used, and slow huge pages go unnoticed.
    pub(super) fn populate(&self, range: Range<usize>) {
        #[cfg(target_os = "linux")]
        self.advise(range, mm::Advice::LinuxPopulateWrite);
        #[cfg(not(target_os = "linux"))]
        let _ = range;
    }

    /// Takes back the request for huge pages; those that are there already stay.
    pub(super) fn use_small_pages(&self) {
        #[cfg(target_os = "linux")]
        self.advise(0..self.len, mm::Advice::LinuxNoHugepage);
    }

    /// Where the system refuses, pages come as they are first used.
    #[cfg(target_os = "linux")]
    fn advise(&self, range: Range<usize>, advice: mm::Advice) {
        let end = range.end.min(self.len);
        let start = range.start.min(end);
        let address = std::ptr::without_provenance_mut(self.start + start);
        // SAFETY: either advice of the callers above leaves contents and access rights of whatever
        // is mapped at these addresses as they are.
        let _ = unsafe { mm::madvise(address, end - start, advice) };
    }
}

/// CPU time that this thread has used, the system's share included; the time of day on systems that
/// cannot tell.
pub(super) fn thread_cpu_time() -> Duration {
    #[cfg(target_os = "linux")]
    let id = rustix::time::ClockId::ThreadCPUTime;
    #[cfg(not(target_os = "linux"))]
    let id = rustix::time::ClockId::Monotonic;
    rustix::time::clock_gettime(id)
        .try_into()
        .unwrap_or_default()
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.is_wiped_by_two {
            // SAFETY: pieces start at `data`, which is aligned to a page, and both `len`
            // (invariant) and `WIPED_AT_ONCE` are multiples of the page size.
            self.wipe_in_pieces(|pages| unsafe { release(pages) });
        } else {
            self.wipe();
        }
        // SAFETY: `base` and `mapped` are what `mmap` gave (invariant), and with `self` the last
        // reference into it goes. An error would leave wiped memory mapped, which harms nobody.
        let _ = unsafe { mm::munmap(self.base.as_ptr(), self.mapped) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_threads_wipe_every_piece_once_and_before_it_is_given_back() {
        for len in [1, WIPED_AT_ONCE - 1, WIPED_AT_ONCE, 3 * WIPED_AT_ONCE + 1] {
            let mut mapping = Mapping::new(len, 1).unwrap();
            mapping.bytes_mut().fill(0xa5);
            let given = Mutex::new(0);
            mapping.wipe_in_pieces(|piece| {
                assert!(piece.iter().all(|&byte| byte == 0));
                piece.fill(1);
                *given.lock().unwrap() += piece.len();
            });
            assert!(mapping.bytes().iter().all(|&byte| byte == 1), "{len}");
            assert_eq!(*given.lock().unwrap(), mapping.bytes().len());
        }
    }
}
