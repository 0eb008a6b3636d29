//! Devices in memory: a plain one, and a sparse one that can be larger than the machine.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::{
    BlockDevice, ByteLen, ByteOffset, Capabilities, Error, IoFailure, Operation, SectorSize,
};

/// Bytes behind one lock of a [`MemDevice`], a multiple of every sector size.
const CHUNK_BYTES: usize = 256 * 1024;

/// Bytes of one page of a [`SparseMemDevice`], a multiple of every sector size.
const PAGE_BYTES: usize = 16 * 1024;

/// Locks of a [`SparseMemDevice`]; neighbouring pages lie behind different ones.
const SHARDS: usize = 64;

/// A device whose sectors are bytes in memory.
///
/// Threads that use different parts do not wait for each other: each 256 KiB have their own lock.
///
/// ```
/// use luksmith_block::{BlockDevice, ByteOffset, MemDevice, SectorSize};
///
/// let device = MemDevice::from_bytes(&[7; 1024], SectorSize::S512);
/// let mut sector = [0; 512];
/// device.read_at(ByteOffset::new(512), &mut sector)?;
/// assert_eq!(sector, [7; 512]);
/// # Ok::<(), luksmith_block::Error>(())
/// ```
#[derive(Debug)]
pub struct MemDevice {
    chunks: Vec<RwLock<Box<[u8]>>>,
    size: ByteLen,
    sector_size: SectorSize,
}

impl MemDevice {
    /// Makes a device of `size` bytes of zeros; a tail shorter than a sector is cut off.
    ///
    /// # Errors
    /// [`Error::Overflow`] if this platform cannot address `size` bytes.
    pub fn new(size: ByteLen, sector_size: SectorSize) -> Result<Self, Error> {
        let too_large = Error::Overflow {
            what: "size of a memory device",
            value: size.get(),
        };
        let bytes = size.to_usize().ok_or(too_large)?;
        let whole = bytes - bytes % sector_size.bytes();
        let chunks = (0..whole)
            .step_by(CHUNK_BYTES)
            .map(|start| RwLock::new(vec![0; CHUNK_BYTES.min(whole - start)].into_boxed_slice()))
            .collect();
        Ok(Self {
            chunks,
            size: ByteLen::new(whole as u64),
            sector_size,
        })
    }

    /// Makes a device that holds a copy of `bytes`; a tail shorter than a sector is cut off.
    #[must_use]
    pub fn from_bytes(bytes: &[u8], sector_size: SectorSize) -> Self {
        let whole = bytes.len() - bytes.len() % sector_size.bytes();
        let bytes = bytes.get(..whole).unwrap_or_default();
        Self {
            chunks: bytes
                .chunks(CHUNK_BYTES)
                .map(|chunk| RwLock::new(chunk.into()))
                .collect(),
            size: ByteLen::of(bytes),
            sector_size,
        }
    }

    /// Copies the device's bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for chunk in &self.chunks {
            bytes.extend_from_slice(&read_lock(chunk));
        }
        bytes
    }
}

impl BlockDevice for MemDevice {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn sector_size(&self) -> SectorSize {
        self.sector_size
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
        self.check_range(at, ByteLen::of(buf))?;
        let mut rest = buf;
        for piece in pieces(at, rest.len(), CHUNK_BYTES) {
            let (part, tail) = rest.split_at_mut(piece.len);
            rest = tail;
            let chunk = self.chunks.get(piece.index_usize()).map(read_lock);
            let held = chunk.as_ref().and_then(|chunk| chunk.get(piece.range()));
            part.copy_from_slice(held.ok_or(lost(Operation::Read, at))?);
        }
        Ok(())
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        self.check_range(at, ByteLen::of(data))?;
        let mut rest = data;
        for piece in pieces(at, rest.len(), CHUNK_BYTES) {
            let (part, tail) = rest.split_at(piece.len);
            rest = tail;
            let mut chunk = self.chunks.get(piece.index_usize()).map(write_lock);
            let held = chunk.as_mut().and_then(|c| c.get_mut(piece.range()));
            held.ok_or(lost(Operation::Write, at))?
                .copy_from_slice(part);
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }
}

type Pages = HashMap<u64, Box<[u8; PAGE_BYTES]>>;

/// A device in memory that only holds the pages that were written; the rest reads as zeros.
///
/// Its size may be anything up to 2^63 bytes. Zeroes and discards give whole pages back.
#[derive(Debug)]
pub struct SparseMemDevice {
    shards: Vec<RwLock<Pages>>,
    size: ByteLen,
    sector_size: SectorSize,
}

impl SparseMemDevice {
    /// Makes a device of `size` bytes of zeros; a tail shorter than a sector is cut off.
    #[must_use]
    pub fn new(size: ByteLen, sector_size: SectorSize) -> Self {
        let whole = size.get() - size.get() % sector_size.byte_len().get();
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            size: ByteLen::new(whole),
            sector_size,
        }
    }

    /// Gives the bytes that are held in memory.
    #[must_use]
    pub fn allocated(&self) -> ByteLen {
        let pages: usize = self.shards.iter().map(|shard| read_lock(shard).len()).sum();
        ByteLen::new((pages as u64).saturating_mul(PAGE_BYTES as u64))
    }

    fn shard(&self, page: u64) -> &RwLock<Pages> {
        #[expect(clippy::cast_possible_truncation, reason = "a remainder by 64")]
        let index = (page % SHARDS as u64) as usize;
        #[expect(
            clippy::indexing_slicing,
            reason = "made with SHARDS locks, index below it"
        )]
        &self.shards[index]
    }
}

impl BlockDevice for SparseMemDevice {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn sector_size(&self) -> SectorSize {
        self.sector_size
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
        self.check_range(at, ByteLen::of(buf))?;
        let mut rest = buf;
        for piece in pieces(at, rest.len(), PAGE_BYTES) {
            let (part, tail) = rest.split_at_mut(piece.len);
            rest = tail;
            match read_lock(self.shard(piece.index)).get(&piece.index) {
                Some(page) => {
                    part.copy_from_slice(page.get(piece.range()).ok_or(lost(Operation::Read, at))?)
                }
                None => part.fill(0),
            }
        }
        Ok(())
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        self.check_range(at, ByteLen::of(data))?;
        let mut rest = data;
        for piece in pieces(at, rest.len(), PAGE_BYTES) {
            let (part, tail) = rest.split_at(piece.len);
            rest = tail;
            let mut pages = write_lock(self.shard(piece.index));
            let page = pages
                .entry(piece.index)
                .or_insert_with(|| Box::new([0; PAGE_BYTES]));
            page.get_mut(piece.range())
                .ok_or(lost(Operation::Write, at))?
                .copy_from_slice(part);
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    fn write_zeroes(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        self.check_range(at, len)?;
        let end = at.get() + len.get();
        let page_bytes = PAGE_BYTES as u64;
        let (first, last) = (at.get() / page_bytes, end.div_ceil(page_bytes));
        // Walks what is held, not the range: zeroing a terabyte of holes costs nothing.
        for shard in &self.shards {
            write_lock(shard).retain(|&page, bytes| {
                if page < first || page >= last {
                    return true;
                }
                let start = page * page_bytes;
                let from = at.get().saturating_sub(start).min(page_bytes);
                let to = (end - start).min(page_bytes);
                if (from, to) == (0, page_bytes) {
                    return false;
                }
                #[expect(clippy::cast_possible_truncation, reason = "at most PAGE_BYTES")]
                if let Some(part) = bytes.get_mut(from as usize..to as usize) {
                    part.fill(0);
                }
                true
            });
        }
        Ok(())
    }

    fn discard(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        self.write_zeroes(at, len)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            discard: true,
            zeroes_after_discard: true,
            ..Capabilities::default()
        }
    }
}

/// The part of a request that lies in one chunk.
struct Piece {
    index: u64,
    start: usize,
    len: usize,
}

impl Piece {
    fn range(&self) -> core::ops::Range<usize> {
        self.start..self.start + self.len
    }

    fn index_usize(&self) -> usize {
        usize::try_from(self.index).unwrap_or(usize::MAX)
    }
}

/// Cuts `len` bytes at `at` where chunks of `chunk` bytes meet.
fn pieces(at: ByteOffset, len: usize, chunk: usize) -> impl Iterator<Item = Piece> {
    let mut position = at.get();
    let mut left = len;
    core::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a remainder by a usize")]
        let start = (position % chunk as u64) as usize;
        let piece = Piece {
            index: position / chunk as u64,
            start,
            len: left.min(chunk - start),
        };
        left -= piece.len;
        position += piece.len as u64;
        Some(piece)
    })
}

/// A range that `check_range` allowed is not held: cannot happen, and is an error if it does.
fn lost(operation: Operation, at: ByteOffset) -> Error {
    Error::Io {
        operation,
        at,
        failure: IoFailure::Other,
    }
}

// Copying bytes cannot panic half way, so a poisoned lock guards whole data.
fn read_lock<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write_lock<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_across_chunks_reads_what_was_written() {
        let size = ByteLen::new(3 * CHUNK_BYTES as u64);
        let device = MemDevice::new(size, SectorSize::S512).unwrap();
        let data: Vec<u8> = (0..251).cycle().take(CHUNK_BYTES + 1024).collect();
        let at = ByteOffset::new(CHUNK_BYTES as u64 - 512);
        device.write_at(at, &data).unwrap();
        let mut back = vec![0; data.len()];
        device.read_at(at, &mut back).unwrap();
        assert_eq!(back, data);
        let bytes = device.to_vec();
        assert_eq!(bytes.len(), 3 * CHUNK_BYTES);
        assert_eq!(bytes[CHUNK_BYTES - 513], 0);
        assert_eq!(bytes[CHUNK_BYTES - 512..][..data.len()], data);
    }

    #[test]
    fn a_request_past_the_end_is_an_error_and_changes_nothing() {
        let device = MemDevice::from_bytes(&[1; 1500], SectorSize::S512);
        assert_eq!(device.size(), ByteLen::new(1024));
        assert_eq!(
            device.write_at(ByteOffset::new(512), &[2; 1024]),
            Err(Error::PastEnd {
                at: ByteOffset::new(512),
                len: ByteLen::new(1024),
                size: ByteLen::new(1024),
            })
        );
        assert_eq!(device.to_vec(), [1; 1024]);
    }

    #[test]
    fn a_terabyte_of_zeros_takes_no_memory() {
        let tib = 1 << 40;
        let device = SparseMemDevice::new(ByteLen::new(tib), SectorSize::S4096);
        device
            .write_at(ByteOffset::new(tib - 8192), &[9; 8192])
            .unwrap();
        assert_eq!(device.allocated(), ByteLen::new(PAGE_BYTES as u64));
        device
            .write_zeroes(ByteOffset::ZERO, ByteLen::new(tib - 4096))
            .unwrap();
        let mut end = [1; 8192];
        device
            .read_at(ByteOffset::new(tib - 8192), &mut end)
            .unwrap();
        assert_eq!(end[..4096], [0; 4096]);
        assert_eq!(end[4096..], [9; 4096]);
        device.discard(ByteOffset::ZERO, ByteLen::new(tib)).unwrap();
        assert_eq!(device.allocated(), ByteLen::ZERO);
    }
}
