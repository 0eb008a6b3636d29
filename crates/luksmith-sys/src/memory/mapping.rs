//! Private anonymous mappings.

#![expect(
    unsafe_code,
    reason = "mapping memory and telling the system about it takes raw pointers"
)]

use std::{ffi::c_void, io, ptr::NonNull, slice, time::Duration};

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

    /// Takes back the request for huge pages from `start` on; pages that are there already stay.
    pub(super) fn use_small_pages(&self, start: usize) {
        #[cfg(target_os = "linux")]
        self.advise_from(start, mm::Advice::LinuxNoHugepage);
        #[cfg(not(target_os = "linux"))]
        let _ = start;
    }

    #[cfg(target_os = "linux")]
    fn advise(&self, advice: mm::Advice) -> bool {
        self.advise_from(0, advice)
    }

    #[cfg(target_os = "linux")]
    fn advise_from(&self, start: usize, advice: mm::Advice) -> bool {
        let start = start.min(self.len);
        let len = self.len - start;
        // SAFETY: `start` is at most `self.len` and `len` what is left (above), so the pointer and
        // the range are inside our own mapping (invariant); the advice that the callers above give
        // changes neither its contents nor its access rights.
        unsafe { mm::madvise(self.data.add(start).as_ptr().cast(), len, advice) }.is_ok()
    }

    /// Overwrites everything with zeros.
    pub(super) fn wipe(&mut self) {
        let bytes = self.bytes_mut();
        bytes.fill(0);
        // The compiler must assume that someone reads the zeros here, so it cannot leave the
        // stores out, not even just before the memory is given back.
        std::hint::black_box(bytes);
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
        self.wipe();
        // SAFETY: `base` and `mapped` are what `mmap` gave (invariant), and with `self` the last
        // reference into it goes. An error would leave wiped memory mapped, which harms nobody.
        let _ = unsafe { mm::munmap(self.base.as_ptr(), self.mapped) };
    }
}
