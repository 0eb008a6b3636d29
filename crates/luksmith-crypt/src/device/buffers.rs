//! Buffers that are used again, so that a request need not allocate.

use alloc::vec;
use alloc::vec::Vec;

/// Buffers kept at most: a few threads' worth.
#[cfg(feature = "std")]
const KEPT: usize = 8;

/// Buffers for ciphertext and tuples. What they hold is on the medium anyway: they are not wiped.
#[derive(Default)]
pub(super) struct Buffers {
    /// Without threads there is no lock, and each request allocates.
    #[cfg(feature = "std")]
    free: std::sync::Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Lends a buffer of `len` bytes with arbitrary contents.
    pub(super) fn with<R>(&self, len: usize, use_it: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut buffer = self.take(len);
        let result = use_it(&mut buffer);
        self.give_back(buffer);
        result
    }

    #[cfg(feature = "std")]
    fn take(&self, len: usize) -> Vec<u8> {
        let mut buffer = self.lock().pop().unwrap_or_default();
        if buffer.len() < len {
            // Not `resize`: the old contents need not move.
            buffer = vec![0; len];
        }
        buffer.truncate(len);
        buffer
    }

    #[cfg(feature = "std")]
    fn give_back(&self, buffer: Vec<u8>) {
        let mut free = self.lock();
        if free.len() < KEPT {
            free.push(buffer);
        }
    }

    #[cfg(feature = "std")]
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // The list is whole at every moment, so a panic elsewhere does not matter here.
        self.free
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[cfg(not(feature = "std"))]
    fn take(&self, len: usize) -> Vec<u8> {
        vec![0; len]
    }

    #[cfg(not(feature = "std"))]
    fn give_back(&self, _: Vec<u8>) {}
}
