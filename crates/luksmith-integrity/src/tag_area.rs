//! The tags on disk, through a cache of 4096-byte pages of fixed size.
//!
//! Tags are packed, so neighbours share sectors: all changes go through the cache, which writes
//! whole pages. A page is loaded, and an evicted one written, under the lock of its shard only.
//!
//! Only changes and flushes write: a read that finds no room makes none by writing, since a write
//! that fails has to stop further writes, and reads go on whatever failed.

use std::{
    collections::{HashMap, VecDeque},
    sync::PoisonError,
};

use luksmith_block::{BlockDevice, ByteLen, ByteOffset, Error};

use crate::{
    Layout,
    convert::{narrow, wide},
    layout::TAG_PAGE_BYTES,
    stop::Stop,
    sync::{Mutex, MutexGuard, lock},
};

/// Independent parts of the cache.
const SHARDS: usize = 16;

/// Consecutive pages that share a shard, so that a run of tags takes one lock.
const PAGES_TOGETHER: u64 = 16;

/// Pages that one write of a flush covers at most.
const FLUSH_PAGES: usize = 64;

/// Bytes of a page, as a slice length.
const PAGE: usize = 4096;

const _: () = assert!(PAGE as u64 == TAG_PAGE_BYTES);

/// The area of the metadata device where tags live, and a cache over it.
#[derive(Debug)]
pub(crate) struct TagArea {
    /// First byte behind the journal; pages count from here.
    origin: u64,
    /// Bytes of the metadata device.
    end: u64,
    shards: Box<[Mutex<Shard>]>,
    pages_per_shard: usize,
    /// Held during a flush, so that a second one returns only when the tags of the first are out.
    flushing: Mutex<()>,
}

/// Why tags could not be put into the cache. The error itself does not tell: a device may have to
/// read in order to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// Their page could not be read; nothing was changed by that.
    Unread(Error),
    /// A page that was to make room could not be written; nobody knows what the disk has of it.
    Unwritten(Error),
}

#[derive(Debug, Default)]
struct Shard {
    pages: HashMap<u64, Page>,
    /// Page numbers in the order of their loading; the oldest one not in use is evicted first.
    order: VecDeque<u64>,
}

#[derive(Debug)]
struct Page {
    bytes: Box<[u8]>,
    /// Differs from the disk.
    dirty: bool,
    /// A flush has a copy under way; must not be written or dropped meanwhile.
    writing: bool,
    /// Used since it was last looked at for eviction.
    used: bool,
}

impl TagArea {
    /// Makes an empty cache of at most about `capacity` bytes.
    pub(crate) fn new(layout: &Layout, device: ByteLen, capacity: ByteLen) -> Self {
        let pages = narrow(capacity.get() / TAG_PAGE_BYTES);
        Self {
            origin: layout.tag_origin().get(),
            end: device.get(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            pages_per_shard: (pages / SHARDS).max(4),
            flushing: Mutex::default(),
        }
    }

    /// Reads the bytes of tags at `at`, a position on the metadata device. Writes nothing.
    ///
    /// # Errors
    /// What the device gives.
    pub(crate) fn read<D: BlockDevice>(
        &self,
        device: &D,
        at: ByteOffset,
        out: &mut [u8],
    ) -> Result<(), Error> {
        let mut left = out;
        for piece in self.pieces(at, left.len()) {
            let (now, later) = left.split_at_mut(piece.len);
            left = later;
            let mut shard = self.shard(piece.page);
            if let Some(page) = shard.pages.get_mut(&piece.page) {
                page.used = true;
                now.copy_from_slice(page.slice(&piece)?);
                continue;
            }
            let bytes = self.load(device, piece.page)?;
            now.copy_from_slice(piece.of(&bytes)?);
            if self.make_clean_room(&mut shard) {
                shard.insert(piece.page, bytes);
            }
        }
        Ok(())
    }

    /// Changes the bytes of tags at `at`, in the cache; they reach the disk by
    /// [`flush`](Self::flush) or when their page is evicted.
    ///
    /// # Errors
    /// What the device gives, and what it was asked for.
    pub(crate) fn write<D: BlockDevice>(
        &self,
        device: &D,
        at: ByteOffset,
        bytes: &[u8],
    ) -> Result<(), NotTaken> {
        let mut left = bytes;
        for piece in self.pieces(at, left.len()) {
            let (now, later) = left.split_at(piece.len);
            left = later;
            let mut shard = self.shard(piece.page);
            let whole = piece.len == self.page_bytes(piece.page);
            if whole && !shard.pages.contains_key(&piece.page) {
                // The whole page is replaced: nothing of the disk is needed.
                self.make_room(&mut shard, device)
                    .map_err(NotTaken::Unwritten)?;
                shard.insert(piece.page, now.into()).dirty = true;
                continue;
            }
            let page = self.page(&mut shard, device, piece.page)?;
            let slot = page.slice_mut(&piece).map_err(NotTaken::Unread)?;
            // What is in the cache is on the disk already, or on its way: a page that a flush has
            // copied counts as changed again should that write fail.
            if slot != now {
                slot.copy_from_slice(now);
                page.dirty = true;
            }
        }
        Ok(())
    }

    /// Writes every changed page. Does not flush the device.
    ///
    /// # Errors
    /// What the device gives, and [`Error::FailStop`] once something else failed meanwhile; the
    /// pages not written stay changed.
    pub(crate) fn flush<D: BlockDevice>(&self, device: &D, stop: &Stop) -> Result<(), Error> {
        let _alone = lock(&self.flushing)?;
        let mut dirty = Vec::new();
        for shard in &self.shards {
            let shard = unpoisoned(shard);
            let changed = shard.pages.iter().filter(|(_, page)| page.dirty);
            dirty.extend(changed.map(|(number, _)| *number));
        }
        dirty.sort_unstable();
        let mut rest = dirty.as_slice();
        while let Some(&first) = rest.first() {
            let run = rest
                .iter()
                .zip(first..)
                .take(FLUSH_PAGES)
                .take_while(|&(&page, expected)| page == expected)
                .count();
            let (now, later) = rest.split_at(run);
            rest = later;
            stop.check()?;
            self.flush_run(device, first, now)?;
        }
        Ok(())
    }

    /// Writes consecutive pages from copies, so that tags go on changing meanwhile.
    fn flush_run<D: BlockDevice>(
        &self,
        device: &D,
        first: u64,
        pages: &[u64],
    ) -> Result<(), Error> {
        let mut copy = Vec::with_capacity(pages.len() * PAGE);
        let mut start = first;
        for &number in pages {
            let mut shard = self.shard(number);
            match shard.pages.get_mut(&number) {
                Some(page) if page.dirty => {
                    page.dirty = false;
                    page.writing = true;
                    copy.extend_from_slice(&page.bytes);
                }
                // Written meanwhile, by being evicted.
                _ => {
                    drop(shard);
                    self.write_copied(device, start, &copy)?;
                    copy.clear();
                    start = number + 1;
                }
            }
        }
        self.write_copied(device, start, &copy)
    }

    /// Writes copies of consecutive pages, which are then as on disk unless they changed meanwhile.
    fn write_copied<D: BlockDevice>(
        &self,
        device: &D,
        first: u64,
        copy: &[u8],
    ) -> Result<(), Error> {
        if copy.is_empty() {
            return Ok(());
        }
        let result = device.write_at(self.page_at(first), copy);
        for (number, _) in (first..).zip(copy.chunks(PAGE)) {
            let mut shard = self.shard(number);
            if let Some(page) = shard.pages.get_mut(&number) {
                page.writing = false;
                page.dirty |= result.is_err();
            }
        }
        result
    }

    fn shard(&self, page: u64) -> MutexGuard<'_, Shard> {
        let index = narrow(page / PAGES_TOGETHER % wide(SHARDS));
        unpoisoned(
            self.shards
                .get(index)
                .expect("a remainder of the number of shards"),
        )
    }

    /// Gives a page, from the disk if the cache does not have it.
    fn page<'a, D: BlockDevice>(
        &self,
        shard: &'a mut Shard,
        device: &D,
        number: u64,
    ) -> Result<&'a mut Page, NotTaken> {
        if !shard.pages.contains_key(&number) {
            self.make_room(shard, device).map_err(NotTaken::Unwritten)?;
            let bytes = self.load(device, number).map_err(NotTaken::Unread)?;
            shard.insert(number, bytes);
        }
        let page = shard
            .pages
            .get_mut(&number)
            .expect("it is there or was just inserted");
        page.used = true;
        Ok(page)
    }

    /// Reads a page from the disk.
    fn load<D: BlockDevice>(&self, device: &D, number: u64) -> Result<Box<[u8]>, Error> {
        let mut bytes = vec![0; self.page_bytes(number)].into_boxed_slice();
        device.read_at(self.page_at(number), &mut bytes)?;
        Ok(bytes)
    }

    /// Evicts a page if the shard is full, the oldest that was not used since it was last asked.
    fn make_room<D: BlockDevice>(&self, shard: &mut Shard, device: &D) -> Result<(), Error> {
        // Two rounds: the first may only clear marks.
        for _ in 0..2 * shard.order.len() {
            if shard.pages.len() < self.pages_per_shard {
                return Ok(());
            }
            let Some((number, page)) = shard.candidate() else {
                return Ok(());
            };
            if page.dirty {
                device.write_at(self.page_at(number), &page.bytes)?;
                page.dirty = false;
            }
            shard.evict(number);
        }
        Ok(())
    }

    /// As `make_room`, but passes changed pages by; tells whether there is room.
    fn make_clean_room(&self, shard: &mut Shard) -> bool {
        for _ in 0..2 * shard.order.len() {
            if shard.pages.len() < self.pages_per_shard {
                return true;
            }
            let Some((number, page)) = shard.candidate() else {
                return false;
            };
            if page.dirty {
                shard.order.rotate_left(1);
            } else {
                shard.evict(number);
            }
        }
        shard.pages.len() < self.pages_per_shard
    }

    fn page_at(&self, page: u64) -> ByteOffset {
        ByteOffset::new(self.origin + page * TAG_PAGE_BYTES)
    }

    /// Gives the bytes of a page, less than 4096 at the end of a metadata device only.
    fn page_bytes(&self, page: u64) -> usize {
        let left = self.end.saturating_sub(self.page_at(page).get());
        narrow(left.min(TAG_PAGE_BYTES))
    }

    fn pieces(&self, at: ByteOffset, len: usize) -> impl Iterator<Item = PagePiece> + use<> {
        let mut position = at.get().saturating_sub(self.origin);
        let mut left = len;
        core::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let offset = narrow(position % TAG_PAGE_BYTES);
            let piece = PagePiece {
                page: position / TAG_PAGE_BYTES,
                offset,
                len: left.min(PAGE - offset),
            };
            left -= piece.len;
            position += wide(piece.len);
            Some(piece)
        })
    }
}

/// The part of a request that lies in one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PagePiece {
    page: u64,
    offset: usize,
    len: usize,
}

/// Takes the lock of a shard, also after a panic below: a page changes in the cache after what is
/// below was done, never half way, so whoever reads goes on.
fn unpoisoned(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    /// Gives the page at the front of the order once one is there that may be evicted: not used
    /// since it was last looked at, and no copy of it under way.
    fn candidate(&mut self) -> Option<(u64, &mut Page)> {
        for _ in 0..2 * self.order.len() {
            let number = *self.order.front()?;
            match self.pages.get_mut(&number) {
                Some(page) if page.writing || page.used => page.used = false,
                _ => break,
            }
            self.order.rotate_left(1);
        }
        let number = *self.order.front()?;
        let page = self.pages.get_mut(&number)?;
        (!page.writing).then_some((number, page))
    }

    /// Drops the page at the front of the order.
    fn evict(&mut self, number: u64) {
        self.order.pop_front();
        self.pages.remove(&number);
    }

    fn insert(&mut self, number: u64, bytes: Box<[u8]>) -> &mut Page {
        let order = &mut self.order;
        let page = self.pages.entry(number).or_insert_with(|| {
            order.push_back(number);
            Page {
                bytes,
                dirty: false,
                writing: false,
                used: false,
            }
        });
        page.used = true;
        page
    }
}

impl Page {
    fn slice(&self, piece: &PagePiece) -> Result<&[u8], Error> {
        piece.of(&self.bytes)
    }

    fn slice_mut(&mut self, piece: &PagePiece) -> Result<&mut [u8], Error> {
        let len = self.bytes.len();
        self.bytes
            .get_mut(piece.offset..piece.offset + piece.len)
            .ok_or_else(|| piece.past_end(len))
    }
}

impl PagePiece {
    /// Gives this part of a page.
    fn of<'a>(&self, page: &'a [u8]) -> Result<&'a [u8], Error> {
        page.get(self.offset..self.offset + self.len)
            .ok_or_else(|| self.past_end(page.len()))
    }

    /// The last page of a metadata device ends before this piece; the layout excludes it.
    fn past_end(&self, page_bytes: usize) -> Error {
        Error::Length {
            what: "page of tags",
            found: page_bytes,
            expected: self.offset + self.len,
        }
    }
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests;
