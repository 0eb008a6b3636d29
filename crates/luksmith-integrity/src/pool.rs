//! Buffers of blocks that are used again, so that a write neither maps nor zeroes memory.

use std::mem;

use crate::sync::{Arc, Mutex};

/// Bytes of unused buffers that are kept at most: about what a journal holds between two
/// write-backs, so that not every lap maps and zeroes its memory anew.
const KEPT_BYTES: usize = 16 << 20;

/// Buffers that nobody uses at the moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool(Arc<Mutex<Free>>);

#[derive(Debug, Default)]
struct Free {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// A buffer from a [`Pool`], to which it goes back.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    home: Pool,
}

impl Pool {
    /// Gives a buffer of `len` bytes with anything in it: ciphertext or tags of an earlier write.
    pub(crate) fn take(&self, len: usize) -> Buffer {
        let mut bytes = Vec::new();
        if let Ok(mut free) = self.0.lock() {
            // The newest is the likeliest to be in the processor's cache.
            let fitting = free
                .buffers
                .iter()
                .rposition(|buffer| buffer.capacity() >= len);
            if let Some(index) = fitting {
                bytes = free.buffers.swap_remove(index);
                free.bytes -= bytes.capacity();
            }
        }
        bytes.resize(len, 0);
        Buffer {
            bytes,
            home: self.clone(),
        }
    }
}

impl Buffer {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = mem::take(&mut self.bytes);
        if let Ok(mut free) = self.home.0.lock()
            && free.bytes + bytes.capacity() <= KEPT_BYTES
        {
            free.bytes += bytes.capacity();
            free.buffers.push(bytes);
        }
    }
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_and_only_so_many_are_kept() {
        let pool = Pool::default();
        let first = pool.take(4096);
        let place = first.as_slice().as_ptr();
        drop(first);
        let again = pool.take(100);
        assert_eq!(
            (again.as_slice().as_ptr(), again.as_slice().len()),
            (place, 100)
        );
        let many: Vec<Buffer> = (0..20).map(|_| pool.take(1 << 20)).collect();
        drop(many);
        assert_eq!(pool.0.lock().unwrap().bytes, KEPT_BYTES);
    }
}
