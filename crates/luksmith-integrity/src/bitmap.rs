//! The bitmap of bitmap mode: regions whose data and tags may disagree after a crash.
//!
//! It lies at the start of the journal's area, in pieces of 4096 bytes. A bit is set, and durable,
//! before anything of its region is written; all are cleared once everything is durable.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use luksmith_block::{BlockDevice, ByteLen, ByteOffset, Error as DeviceError};

use crate::{
    Error, Layout,
    convert::{narrow, wide},
    superblock::SUPERBLOCK_SECTORS,
    sync::{Mutex, lock},
};

/// Bytes of the pieces in which the bitmap is written.
const PIECE: usize = 4096;

/// Bits of one piece.
const PIECE_BITS: u64 = 32768;

/// Largest bitmap that is held in memory: 32 million regions.
const LIMIT: ByteLen = ByteLen::new(4 << 20);

/// Which bit stands for which blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    /// Where the bitmap starts on the metadata device.
    at: u64,
    sectors_per_block: u64,
    log2_blocks_per_bit: u32,
    bits: u64,
}

impl Shape {
    fn new(layout: &Layout, log2_blocks_per_bit: u8) -> Result<Self, Error> {
        let spb = layout.block_size().sectors().get();
        let blocks = layout.provided_data_sectors().get() / spb;
        let log2 = u32::from(log2_blocks_per_bit);
        let bits = blocks.div_ceil(1_u64.checked_shl(log2).unwrap_or(1 << 63));
        let room = layout.journal_bytes();
        let bytes = bits.div_ceil(PIECE_BITS) * wide(PIECE);
        if bytes > LIMIT.get().min(room) {
            return Err(Error::BitmapSize {
                found: ByteLen::new(bytes),
                limit: ByteLen::new(LIMIT.get().min(room)),
            });
        }
        Ok(Self {
            at: layout.superblock_at().get() + SUPERBLOCK_SECTORS * 512,
            sectors_per_block: spb,
            log2_blocks_per_bit: log2,
            bits,
        })
    }

    fn bytes(&self) -> usize {
        narrow(self.bits.div_ceil(PIECE_BITS)) * PIECE
    }

    /// Gives the bits of a range of sectors.
    fn bits_of(&self, sectors: &Range<u64>) -> Range<u64> {
        let bit = |sector: u64| {
            let block = sector / self.sectors_per_block;
            block.checked_shr(self.log2_blocks_per_bit).unwrap_or(0)
        };
        match sectors.end.checked_sub(1) {
            Some(last) if sectors.start <= last => bit(sectors.start)..bit(last) + 1,
            _ => 0..0,
        }
    }

    /// Gives the sectors of a bit.
    fn sectors_of(&self, bit: u64) -> Range<u64> {
        // Of a bit that stands for more blocks than there are numbers, the first one is 0 too.
        let blocks = 1_u64
            .checked_shl(self.log2_blocks_per_bit)
            .unwrap_or(u64::MAX);
        let sectors = |bit: u64| {
            bit.saturating_mul(blocks)
                .saturating_mul(self.sectors_per_block)
        };
        sectors(bit)..sectors(bit + 1)
    }
}

fn is_set(bytes: &[u8], bit: u64) -> bool {
    let byte = bytes.get(narrow(bit / 8)).copied().unwrap_or(0);
    byte & (1 << (bit % 8)) != 0
}

/// A bitmap as it was found on a device that was not closed.
#[derive(Clone, Debug)]
pub(crate) struct Marked {
    shape: Shape,
    bytes: Vec<u8>,
}

impl Marked {
    /// Reads the bitmap of a device whose superblock says that there is one.
    ///
    /// # Errors
    /// [`Error::BitmapSize`], [`Error::Device`].
    pub(crate) fn read<D: BlockDevice>(
        meta: &D,
        layout: &Layout,
        log2_blocks_per_bit: u8,
    ) -> Result<Self, Error> {
        let shape = Shape::new(layout, log2_blocks_per_bit)?;
        let mut bytes = vec![0; shape.bytes()];
        meta.read_at(ByteOffset::new(shape.at), &mut bytes)?;
        Ok(Self { shape, bytes })
    }

    /// Tells whether any sector of a range lies in a marked region.
    pub(crate) fn touches(&self, sectors: &Range<u64>) -> bool {
        self.shape
            .bits_of(sectors)
            .any(|bit| is_set(&self.bytes, bit))
    }

    /// Gives the marked regions as ranges of sectors, ascending, adjacent ones together; `end` is
    /// the end of the device.
    ///
    /// They are found one by one: a hostile bitmap may have 16 million of them.
    pub(crate) fn regions(&self, end: u64) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut bit = 0;
        core::iter::from_fn(move || {
            let first = self.next_bit(bit, true)?;
            bit = self.next_bit(first, false).unwrap_or(self.shape.bits);
            let start = self.shape.sectors_of(first).start;
            let stop = self.shape.sectors_of(bit - 1).end;
            Some(start.min(end)..stop.min(end))
        })
    }

    /// Gives the first bit from `bit` on that is set, or that is not.
    fn next_bit(&self, bit: u64, set: bool) -> Option<u64> {
        let skipped = if set { 0 } else { 0xff };
        let mut bit = bit;
        while bit < self.shape.bits {
            // Whole bytes without such a bit are most of a bitmap.
            if bit.is_multiple_of(8) && self.bytes.get(narrow(bit / 8)) == Some(&skipped) {
                bit += 8;
            } else if is_set(&self.bytes, bit) == set {
                return Some(bit);
            } else {
                bit += 1;
            }
        }
        None
    }
}

/// The bitmap of a device that is in use in bitmap mode.
#[derive(Debug)]
pub(crate) struct Bitmap {
    shape: Shape,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bytes: Vec<u8>,
    /// When the oldest mark was made.
    since: Option<Instant>,
}

impl Bitmap {
    /// Makes an empty bitmap; [`clear`](Self::clear) puts it on the device.
    ///
    /// # Errors
    /// [`Error::BitmapSize`].
    pub(crate) fn new(layout: &Layout, log2_blocks_per_bit: u8) -> Result<Self, Error> {
        let shape = Shape::new(layout, log2_blocks_per_bit)?;
        Ok(Self {
            shape,
            state: Mutex::new(State {
                bytes: vec![0; shape.bytes()],
                since: None,
            }),
        })
    }

    /// Sets the bits of a range of sectors and makes them durable by `flush`, if they are not set
    /// already.
    ///
    /// Whoever else writes to the same region waits here until its bit is durable.
    ///
    /// # Errors
    /// What the device gives; the bits then count as not set.
    pub(crate) fn mark<D: BlockDevice>(
        &self,
        meta: &D,
        sectors: &Range<u64>,
        flush: impl FnOnce() -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let mut state = lock(&self.state)?;
        let bits = self.shape.bits_of(sectors);
        if bits.clone().all(|bit| is_set(&state.bytes, bit)) {
            return Ok(());
        }
        let pieces = bits.start / PIECE_BITS..bits.end.div_ceil(PIECE_BITS);
        let changed = narrow(pieces.start) * PIECE..narrow(pieces.end) * PIECE;
        let mut copy = state.bytes.get(changed.clone()).unwrap_or(&[]).to_vec();
        let first = pieces.start * PIECE_BITS;
        for bit in bits {
            if let Some(byte) = copy.get_mut(narrow((bit - first) / 8)) {
                *byte |= 1 << (bit % 8);
            }
        }
        let known = state.bytes.chunks(PIECE).skip(narrow(pieces.start));
        for (piece, (new, old)) in pieces.zip(copy.chunks(PIECE).zip(known)) {
            if new != old {
                let at = self.shape.at + wide(narrow(piece) * PIECE);
                meta.write_at(ByteOffset::new(at), new)?;
            }
        }
        flush()?;
        if let Some(bytes) = state.bytes.get_mut(changed) {
            bytes.copy_from_slice(&copy);
        }
        state.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Takes the bytes behind the last bit from the journal that is where the bitmap will be. They
    /// mean nothing, but the kernel keeps them too.
    ///
    /// # Errors
    /// What the device gives.
    pub(crate) fn take_rest<D: BlockDevice>(&self, meta: &D) -> Result<(), DeviceError> {
        let mut state = lock(&self.state)?;
        meta.read_at(ByteOffset::new(self.shape.at), &mut state.bytes)
    }

    /// Clears every bit and makes that durable by `flush`. Nothing may be in flight.
    ///
    /// # Errors
    /// What the device gives.
    pub(crate) fn clear<D: BlockDevice>(
        &self,
        meta: &D,
        flush: impl FnOnce() -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let mut state = lock(&self.state)?;
        let whole = narrow(self.shape.bits / 8);
        for (index, byte) in state.bytes.iter_mut().enumerate().take(whole + 1) {
            let used = if index < whole {
                8
            } else {
                self.shape.bits % 8
            };
            *byte &= u8::MAX
                .checked_shl(u32::try_from(used).unwrap_or(8))
                .unwrap_or(0);
        }
        state.since = None;
        meta.write_at(ByteOffset::new(self.shape.at), &state.bytes)?;
        flush()
    }

    /// Tells whether a mark was made `age` ago or earlier.
    ///
    /// # Errors
    /// [`DeviceError::FailStop`] if a panic left the bitmap behind.
    pub(crate) fn is_older_than(&self, age: Duration) -> Result<bool, DeviceError> {
        let since = lock(&self.state)?.since;
        Ok(since.is_some_and(|since| since.elapsed() >= age))
    }
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use luksmith_block::{MemDevice, SectorCount, SectorSize};

    use super::*;
    use crate::{DeviceSizes, FormatRequest};

    fn layout() -> Layout {
        let sizes = DeviceSizes {
            data: SectorCount::new(1 << 16),
            meta: None,
        };
        let request = FormatRequest::new(4, SectorSize::S4096).unwrap();
        request.plan(sizes).unwrap().1
    }

    #[test]
    fn a_mark_is_durable_bits_least_significant_first() {
        let layout = layout();
        let disk = MemDevice::new(ByteLen::new(1 << 25), SectorSize::S512).unwrap();
        // Two blocks of eight sectors to a bit.
        let bitmap = Bitmap::new(&layout, 1).unwrap();
        bitmap.mark(&disk, &(0..8), || disk.flush()).unwrap();
        bitmap.mark(&disk, &(40..72), || disk.flush()).unwrap();
        let mut piece = vec![0; 4096];
        disk.read_at(ByteOffset::new(4096), &mut piece).unwrap();
        assert_eq!(piece[..2], [0b0001_1101, 0]);
        let marked = Marked::read(&disk, &layout, 1).unwrap();
        assert!(marked.regions(70).eq([0..16, 32..70]));
        assert!(marked.touches(&(15..16)) && marked.touches(&(0..99)));
        assert!(!marked.touches(&(16..32)) && !marked.touches(&(80..1000)));
        assert_eq!(bitmap.is_older_than(Duration::ZERO), Ok(true));
        bitmap.clear(&disk, || disk.flush()).unwrap();
        assert_eq!(bitmap.is_older_than(Duration::ZERO), Ok(false));
        assert!(
            Marked::read(&disk, &layout, 1)
                .unwrap()
                .regions(70)
                .next()
                .is_none()
        );
    }

    /// A bitmap of alternating bits took 256 MiB as a list of regions.
    #[test]
    fn regions_of_the_largest_bitmap_are_found_one_by_one() {
        let bits = LIMIT.get() * 8;
        let shape = Shape {
            at: 0,
            sectors_per_block: 8,
            log2_blocks_per_bit: 0,
            bits,
        };
        let marked = |byte: u8| Marked {
            shape,
            bytes: vec![byte; LIMIT.to_usize().unwrap()],
        };
        let alternating = marked(0b0101_0101);
        let mut regions = alternating.regions(u64::MAX);
        assert_eq!(regions.next(), Some(0..8));
        assert_eq!(regions.next(), Some(16..24));
        assert_eq!(wide(regions.count()), bits / 2 - 2);
        assert!(
            marked(0xff)
                .regions(u64::MAX)
                .eq(core::iter::once(0..bits * 8))
        );
        assert!(marked(0xff).regions(100).eq(core::iter::once(0..100)));
        assert!(marked(0).regions(u64::MAX).next().is_none());
    }

    /// The kernel clears bits, not pages: zeros behind the last bit made our devices differ.
    #[test]
    fn bytes_behind_the_last_bit_are_the_journals() {
        let layout = layout();
        let disk = MemDevice::new(ByteLen::new(1 << 25), SectorSize::S512).unwrap();
        let at = ByteOffset::new(4096);
        disk.write_at(at, &[0xa5; 4096]).unwrap();
        let bitmap = Bitmap::new(&layout, 5).unwrap();
        bitmap.take_rest(&disk).unwrap();
        bitmap.clear(&disk, || disk.flush()).unwrap();
        let bits = narrow(bitmap.shape.bits);
        assert_eq!(bits % 8, 7);
        let mut expected = vec![0xa5; 4096];
        expected[..bits / 8].fill(0);
        expected[bits / 8] = 0b1000_0000;
        let mut piece = vec![0; 4096];
        disk.read_at(at, &mut piece).unwrap();
        assert_eq!(piece, expected);
        bitmap.mark(&disk, &(0..8), || disk.flush()).unwrap();
        expected[0] = 1;
        disk.read_at(at, &mut piece).unwrap();
        assert_eq!(piece, expected);
    }

    /// Of a bit for 2^64 blocks the first sector was taken for the last that there is, so what it
    /// marks was nothing.
    #[test]
    fn one_bit_for_everything_marks_everything() {
        let layout = layout();
        let disk = MemDevice::new(ByteLen::new(1 << 25), SectorSize::S512).unwrap();
        disk.write_at(ByteOffset::new(4096), &[1; 512]).unwrap();
        for log2 in [13, 59, 60, 61, 62, 63, 64, 255] {
            let marked = Marked::read(&disk, &layout, log2).unwrap();
            assert!(
                marked.regions(60000).eq(core::iter::once(0..60000)),
                "{log2}"
            );
            assert!(marked.touches(&(59992..60000)), "{log2}");
        }
    }

    #[test]
    fn a_bitmap_larger_than_the_journal_is_refused() {
        let layout = layout();
        let found = Bitmap::new(&layout, 0).unwrap();
        assert_eq!(found.shape.bytes(), 4096);
        // Any power of two that a hostile superblock may hold.
        for log2 in [1, 62, 63, 64, 255] {
            let marked = Bitmap::new(&layout, log2).unwrap();
            assert!(marked.shape.bits >= 1);
            assert!(!marked.shape.bits_of(&(0..u64::MAX)).is_empty());
        }
        let huge = DeviceSizes {
            data: SectorCount::new(1 << 40),
            meta: None,
        };
        let (superblock, _) = FormatRequest::new(4, SectorSize::S512)
            .unwrap()
            .plan(huge)
            .unwrap();
        let layout =
            Layout::of(&superblock, huge, luksmith_block::SectorNumber::ZERO, 128).unwrap();
        assert!(matches!(
            Bitmap::new(&layout, 0).err(),
            Some(Error::BitmapSize { .. })
        ));
    }
}
