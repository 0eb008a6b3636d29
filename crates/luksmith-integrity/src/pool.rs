//! Buffers of blocks that are used again, so that a write neither maps nor zeroes memory.

use std::{collections::VecDeque, mem};

use crate::sync::{Arc, Mutex};

/// Unused buffers that are kept at most, so that looking for one stays short.
const KEPT_BUFFERS: usize = 256;

/// Buffers that nobody uses at the moment.
#[derive(Clone, Debug)]
pub(crate) struct Pool(Arc<Mutex<Free>>);

#[derive(Debug)]
struct Free {
    /// The one that was used last is at the end.
    buffers: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Bytes of the buffers in use.
    out: usize,
    /// Unused buffers are kept as far as they and those in use take no more bytes than this. What
    /// a journal holds is kept from one lap to the next, and a full one has little beside it.
    limit: usize,
}

/// A buffer from a [`Pool`], to which it goes back.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    home: Pool,
}

impl Pool {
    /// Makes an empty pool that keeps buffers while all of them together have `limit` bytes at
    /// most.
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Free {
            buffers: VecDeque::new(),
            bytes: 0,
            out: 0,
            limit,
        })))
    }

    /// Gives a buffer of `len` bytes with anything in it: ciphertext or tags of an earlier write.
    ///
    /// A journal holds its buffers for long, so a much larger one is not given for a few bytes.
    pub(crate) fn take(&self, len: usize) -> Buffer {
        let mut bytes = Vec::new();
        if let Ok(mut free) = self.0.lock() {
            let fits =
                |buffer: &Vec<u8>| (len..=len.saturating_mul(2)).contains(&buffer.capacity());
            // The newest is the likeliest to be in the processor's cache.
            let fitting = free.buffers.iter().rposition(fits);
            if let Some(found) = fitting.and_then(|index| free.buffers.remove(index)) {
                free.bytes -= found.capacity();
                bytes = found;
            }
        }
        bytes.resize(len, 0);
        if let Ok(mut free) = self.0.lock() {
            free.out += bytes.capacity();
            free.shrink();
        }
        Buffer {
            bytes,
            home: self.clone(),
        }
    }
}

impl Free {
    /// Takes a buffer back.
    fn keep(&mut self, bytes: Vec<u8>) {
        self.out -= bytes.capacity();
        self.bytes += bytes.capacity();
        self.buffers.push_back(bytes);
        self.shrink();
    }

    /// Drops the oldest buffers beyond the limits.
    fn shrink(&mut self) {
        while self.bytes + self.out > self.limit || self.buffers.len() > KEPT_BUFFERS {
            let Some(oldest) = self.buffers.pop_front() else {
                return;
            };
            self.bytes -= oldest.capacity();
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
        if let Ok(mut free) = self.home.0.lock() {
            free.keep(bytes);
        }
    }
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_and_only_so_many_are_kept() {
        let pool = Pool::new(4 << 20);
        let kept = || pool.0.lock().unwrap().bytes;
        let first = pool.take(4096);
        let place = first.as_slice().as_ptr();
        drop(first);
        let again = pool.take(3000);
        assert_eq!(
            (again.as_slice().as_ptr(), again.as_slice().len()),
            (place, 3000)
        );
        drop(again);
        let many: Vec<Buffer> = (0..20).map(|_| pool.take(1 << 20)).collect();
        assert_eq!(kept(), 0, "those in use count too");
        drop(many);
        assert_eq!(kept(), 4 << 20);
        let one = pool.take(4096);
        assert_eq!(kept(), 3 << 20);
        drop(one);
        let many: Vec<Buffer> = (0..1000).map(|_| pool.take(8)).collect();
        drop(many);
        assert_eq!(pool.0.lock().unwrap().buffers.len(), KEPT_BUFFERS);
        assert_eq!(pool.0.lock().unwrap().out, 0);
    }

    /// The buffer of a commit went to the next small write, and stayed with it in the journal: a
    /// mebibyte for each.
    #[test]
    fn a_few_bytes_do_not_take_a_large_buffer() {
        let pool = Pool::new(4 << 20);
        drop(pool.take(1 << 20));
        let small = pool.take(4096);
        assert!(small.bytes.capacity() <= 8192);
        assert_eq!(pool.take(1 << 20).as_slice().len(), 1 << 20);
    }
}
