//! An allocator that counts, for tests that prove that something allocates nothing.

#![expect(unsafe_code, reason = "an allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts the allocations of each thread.
///
/// ```
/// use luksmith_sys::allocations::{self, CountingAllocator};
///
/// #[global_allocator]
/// static ALLOCATOR: CountingAllocator = CountingAllocator;
///
/// let before = allocations::of_this_thread();
/// let _boxed = std::hint::black_box(Box::new(1));
/// assert_eq!(allocations::of_this_thread(), before + 1);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

/// How often this thread has asked a [`CountingAllocator`] for memory, or for more of it.
#[must_use]
pub fn of_this_thread() -> u64 {
    COUNT.get()
}

fn count() {
    // A thread that is ending is not counted any more.
    let _ = COUNT.try_with(|count| count.set(count.get().wrapping_add(1)));
}

// SAFETY: every call goes to `System` as it came, and what it gives goes back as it is. Counting
// touches a number of this thread that needs neither memory nor a destructor.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of this function, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as in `alloc`; `memory` came from `System`, because all memory here does.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as in `realloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}
