//! Buffers that are used again, so that a request need not allocate.

use alloc::vec;
use alloc::vec::Vec;

/// Buffers kept at most: a few threads' worth.
#[cfg(feature = "std")]
const KEPT: usize = 8;

/// Alignment of what is lent: a page, so that it can go to a device that wants whole pages.
const ALIGNMENT: usize = 4096;

/// Buffers for ciphertext and tuples. What they hold is on the medium anyway: they are not wiped.
#[derive(Default)]
pub(super) struct Buffers {
    /// Without threads there is no lock, and each request allocates.
    #[cfg(feature = "std")]
    free: std::sync::Mutex<Vec<Buffer>>,
}

/// Memory in which a page begins, with room behind that.
#[derive(Default)]
struct Buffer(Vec<u8>);

impl Buffer {
    /// Room for `len` bytes.
    fn new(len: usize) -> Self {
        Self(vec![0; len.saturating_add(ALIGNMENT - 1)])
    }

    /// The first `len` bytes from the page on; none if there are fewer.
    fn get(&mut self, len: usize) -> Option<&mut [u8]> {
        // Nothing begins past the end: then `get_mut` finds nothing.
        let start = self.0.as_ptr().align_offset(ALIGNMENT);
        self.0.get_mut(start..start.checked_add(len)?)
    }
}

impl Buffers {
    /// Lends a buffer of `len` bytes with arbitrary contents, aligned to a page.
    pub(super) fn with<R>(&self, len: usize, use_it: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut buffer = self.take();
        if buffer.get(len).is_none() {
            // Not grown: the old contents need not move.
            buffer = Buffer::new(len);
        }
        let bytes = buffer
            .get(len)
            .expect("a page begins within the bytes that `new` adds");
        let result = use_it(bytes);
        self.give_back(buffer);
        result
    }

    #[cfg(feature = "std")]
    fn take(&self) -> Buffer {
        self.lock().pop().unwrap_or_default()
    }

    #[cfg(feature = "std")]
    fn give_back(&self, buffer: Buffer) {
        let mut free = self.lock();
        if free.len() < KEPT {
            free.push(buffer);
        }
    }

    #[cfg(feature = "std")]
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Buffer>> {
        // The list is whole at every moment, so a panic elsewhere does not matter here.
        self.free
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[cfg(not(feature = "std"))]
    fn take(&self) -> Buffer {
        Buffer::default()
    }

    #[cfg(not(feature = "std"))]
    fn give_back(&self, _: Buffer) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_have_the_length_asked_for_and_begin_at_a_page() {
        let buffers = Buffers::default();
        for len in [0, 1, 512, 4096, 65536, 3, 65537, 65536] {
            buffers.with(len, |bytes| {
                assert_eq!(bytes.len(), len);
                assert_eq!(bytes.as_ptr().align_offset(ALIGNMENT), 0, "{len}");
                bytes.fill(0xa5);
                // A second one, lent meanwhile, is another.
                buffers.with(len, |other| other.fill(0));
                assert!(bytes.iter().all(|&byte| byte == 0xa5), "{len}");
            });
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn a_buffer_that_served_a_short_request_serves_a_long_one_again() {
        let buffers = Buffers::default();
        let start = |len| buffers.with(len, |bytes| bytes.as_ptr().addr());
        let first = start(65536);
        assert_eq!([start(512), start(65536), start(0)], [first; 3]);
    }
}
