//! Requests past the page cache: what the medium cannot take as it is goes through aligned buffers.

use std::{fs::File, io};

use luksmith_sys::file::{self as sys, BlockSizes};

use crate::{RangeGuard, RangeLock};

/// Alignment in memory that every medium accepts, and the size of a bounce buffer's block.
const ALIGN: usize = 4096;

/// Blocks of one bounce buffer: large requests go through it in turns.
const BOUNCE_BLOCKS: usize = 256;

/// The rules of direct requests on one file.
#[derive(Debug)]
pub(super) struct Direct {
    /// Positions and lengths on the medium are multiples of this.
    unit: u64,
    /// Writes that have to read first, and all that could meet them.
    lock: RangeLock,
}

impl Direct {
    pub(super) fn new(sizes: Option<BlockSizes>) -> Self {
        // A file's system does not tell; 4096 holds on every medium there is.
        let unit = sizes.map_or(ALIGN as u64, |sizes| u64::from(sizes.logical));
        Self {
            unit: unit.clamp(512, ALIGN as u64),
            lock: RangeLock::new(),
        }
    }

    /// Gives the bytes of which every request on the medium, and so its size, is a multiple.
    pub(super) fn unit(&self) -> u64 {
        self.unit
    }

    /// Keeps writes away from a range.
    pub(super) fn exclude(&self, at: u64, len: u64) -> RangeGuard<'_> {
        let (start, end) = self.touched(at, len);
        self.lock.exclusive(start..end)
    }

    /// Gives the blocks that a request touches.
    fn touched(&self, at: u64, len: u64) -> (u64, u64) {
        let end = at.saturating_add(len);
        let last = end.checked_next_multiple_of(self.unit).unwrap_or(end);
        (at - at % self.unit, last)
    }

    fn fits(&self, at: u64, buf: &[u8]) -> bool {
        at.is_multiple_of(self.unit)
            && (buf.len() as u64).is_multiple_of(self.unit)
            && buf.as_ptr().align_offset(ALIGN) == 0
    }

    pub(super) fn read_at(&self, file: &File, buf: &mut [u8], at: u64) -> io::Result<()> {
        let (start, end) = self.touched(at, buf.len() as u64);
        let _held = self.lock.shared(start..end);
        if self.fits(at, buf) {
            return sys::read_exact_at(file, buf, at);
        }
        let mut bounce = Bounce::new(end - start);
        let mut position = at;
        let mut rest = buf;
        while !rest.is_empty() {
            let (from, window) = self.window(&mut bounce, position, rest.len());
            let skip = small(position - from);
            let now = (window.len() - skip).min(rest.len());
            sys::read_exact_at(file, window, from)?;
            let (part, tail) = rest.split_at_mut(now);
            part.copy_from_slice(window.get(skip..skip + now).unwrap_or_default());
            rest = tail;
            position += now as u64;
        }
        Ok(())
    }

    pub(super) fn write_at(&self, file: &File, data: &[u8], at: u64) -> io::Result<()> {
        let (start, end) = self.touched(at, data.len() as u64);
        let _held = self.lock.exclusive(start..end);
        if self.fits(at, data) {
            return sys::write_all_at(file, data, at);
        }
        let mut bounce = Bounce::new(end - start);
        let mut position = at;
        let mut rest = data;
        while !rest.is_empty() {
            let (from, window) = self.window(&mut bounce, position, rest.len());
            let skip = small(position - from);
            let now = (window.len() - skip).min(rest.len());
            if skip != 0 || now != window.len() {
                sys::read_exact_at(file, window, from)?;
            }
            let (part, tail) = rest.split_at(now);
            if let Some(place) = window.get_mut(skip..skip + now) {
                place.copy_from_slice(part);
            }
            sys::write_all_at(file, window, from)?;
            rest = tail;
            position += now as u64;
        }
        Ok(())
    }

    pub(super) fn read_vectored_at(
        &self,
        file: &File,
        bufs: &mut [&mut [u8]],
        at: u64,
    ) -> io::Result<()> {
        let mut position = at;
        for buf in bufs {
            self.read_at(file, buf, position)?;
            position += buf.len() as u64;
        }
        Ok(())
    }

    pub(super) fn write_vectored_at(
        &self,
        file: &File,
        parts: &[&[u8]],
        at: u64,
    ) -> io::Result<()> {
        let mut position = at;
        for part in parts {
            self.write_at(file, part, position)?;
            position += part.len() as u64;
        }
        Ok(())
    }

    /// Gives the buffer for the blocks around the next `len` bytes at `at`, and their position.
    fn window<'a>(&self, bounce: &'a mut Bounce, at: u64, len: usize) -> (u64, &'a mut [u8]) {
        let (start, end) = self.touched(at, len as u64);
        let bytes = bounce.bytes_mut();
        let len = small(end - start).min(bytes.len());
        (start, bytes.get_mut(..len).unwrap_or_default())
    }
}

/// Aligned memory of at most `BOUNCE_BLOCKS` blocks.
struct Bounce {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Bounce {
    fn new(len: u64) -> Self {
        let blocks = small(len.div_ceil(ALIGN as u64)).clamp(1, BOUNCE_BLOCKS);
        let bytes = vec![0; (blocks + 1) * ALIGN];
        Self {
            start: bytes.as_ptr().align_offset(ALIGN).min(ALIGN),
            len: blocks * ALIGN,
            bytes,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let aligned = self.start..self.start + self.len;
        self.bytes.get_mut(aligned).unwrap_or_default()
    }
}

/// A length that is at most that of a slice at hand, or is cut to it right after.
fn small(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
