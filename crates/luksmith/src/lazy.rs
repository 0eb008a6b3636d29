//! Volumes of which nothing is initialised: this process remembers what was written.
//!
//! A sector that was never written reads as zeros because the bitmap says so, whatever the device
//! holds there: whoever can write the device can neither make a written sector look new, nor a new
//! one look written. The bitmap is in memory alone, so such a volume ends with its process.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Capabilities, Error as BlockError, RangeLock, SectorNumber,
    SectorSize,
};

use crate::stack::Authenticated;

/// Blocks of one part of the bitmap: 4 KiB of bits.
const PART_BLOCKS: u64 = 32768;

const WORD: u64 = u64::BITS as u64;

/// One bit for each block. Parts in which nothing was ever written take no memory.
struct Written {
    parts: Box<[OnceLock<Box<[AtomicU64]>>]>,
}

impl Written {
    fn new(blocks: u64) -> Option<Self> {
        let parts = usize::try_from(blocks.div_ceil(PART_BLOCKS)).ok()?;
        Some(Self {
            parts: (0..parts).map(|_| OnceLock::new()).collect(),
        })
    }

    fn part(&self, block: u64) -> Option<&OnceLock<Box<[AtomicU64]>>> {
        self.parts.get(usize::try_from(block / PART_BLOCKS).ok()?)
    }

    fn word(part: &[AtomicU64], block: u64) -> Option<&AtomicU64> {
        part.get(usize::try_from(block % PART_BLOCKS / WORD).ok()?)
    }

    fn contains(&self, block: u64) -> bool {
        let part = self.part(block).and_then(OnceLock::get);
        let word = part.and_then(|part| Self::word(part, block));
        word.is_some_and(|word| word.load(Ordering::Acquire) & bit(block) != 0)
    }

    fn insert(&self, blocks: Range<u64>) {
        for block in blocks {
            let Some(part) = self.part(block) else {
                continue;
            };
            let words = PART_BLOCKS / WORD;
            let part = part.get_or_init(|| (0..words).map(|_| AtomicU64::new(0)).collect());
            if let Some(word) = Self::word(part, block) {
                word.fetch_or(bit(block), Ordering::AcqRel);
            }
        }
    }

    fn remove(&self, blocks: Range<u64>) {
        let mut block = blocks.start;
        while block < blocks.end {
            let Some(part) = self.part(block).and_then(OnceLock::get) else {
                // Nothing was ever written here.
                block = (block / PART_BLOCKS + 1) * PART_BLOCKS;
                continue;
            };
            if let Some(word) = Self::word(part, block) {
                word.fetch_and(!bit(block), Ordering::AcqRel);
            }
            block += 1;
        }
    }

    /// Splits a range into runs of blocks that were written and of blocks that were not.
    fn runs(&self, blocks: Range<u64>) -> impl Iterator<Item = (Range<u64>, bool)> + '_ {
        let mut at = blocks.start;
        std::iter::from_fn(move || {
            if at >= blocks.end {
                return None;
            }
            let start = at;
            let written = self.contains(start);
            while at < blocks.end && self.contains(at) == written {
                at += 1;
            }
            Some((start..at, written))
        })
    }
}

fn bit(block: u64) -> u64 {
    1 << (block % WORD)
}

/// What lies below a lazy device.
pub(crate) trait Below: BlockDevice {
    /// Fails if no write is accepted any more: [`BlockError::FailStop`].
    fn check_running(&self) -> Result<(), BlockError>;
}

impl Below for Authenticated {
    fn check_running(&self) -> Result<(), BlockError> {
        // Nothing is that old; what has stopped says so.
        self.device().commit_if_older_than(Duration::MAX)
    }
}

/// A device whose blocks read as zeros until they are written.
pub(crate) struct LazyDevice<D> {
    device: D,
    written: Written,
    /// Shared by reads and writes, held alone by whoever forgets blocks.
    ranges: RangeLock,
}

impl<D: Below> LazyDevice<D> {
    /// Puts an empty bitmap over `device`.
    ///
    /// # Errors
    /// [`BlockError::Overflow`] if the bitmap of such a device cannot be addressed.
    pub(crate) fn new(device: D) -> Result<Self, BlockError> {
        let blocks = device.size().get() / device.sector_size().byte_len().get();
        let written = Written::new(blocks).ok_or(BlockError::Overflow {
            what: "blocks of a lazy volume",
            value: blocks,
        })?;
        Ok(Self {
            device,
            written,
            ranges: RangeLock::new(),
        })
    }

    pub(crate) fn inner(&self) -> &D {
        &self.device
    }

    pub(crate) fn into_inner(self) -> D {
        self.device
    }

    /// Gives the parts of a range, in bytes, that were written.
    pub(crate) fn written(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let unit = self.unit();
        self.written
            .runs(range.start / unit..range.end.div_ceil(unit))
            .filter(|(_, written)| *written)
            .map(move |(blocks, _)| blocks.start * unit..blocks.end * unit)
    }

    fn unit(&self) -> u64 {
        self.device.sector_size().byte_len().get()
    }

    /// Gives the blocks of a request that was checked.
    fn blocks(&self, at: ByteOffset, len: ByteLen) -> Range<u64> {
        let first = at.get() / self.unit();
        first..first + len.get() / self.unit()
    }

    /// Reads the blocks of a run that were written, into their part of the buffer.
    fn read_runs(&self, first: u64, blocks: Range<u64>, buf: &mut [u8]) -> Result<(), BlockError> {
        let unit = self.unit();
        let mut wrong: Option<(SectorNumber, u64)> = None;
        for (run, written) in self.written.runs(blocks) {
            let place = |block: u64| {
                let byte = ByteLen::new((block - first) * unit);
                byte.to_usize().unwrap_or(usize::MAX)
            };
            let part = buf
                .get_mut(place(run.start)..place(run.end))
                .unwrap_or_default();
            if !written {
                part.fill(0);
                continue;
            }
            match self.device.read_at(ByteOffset::new(run.start * unit), part) {
                Err(BlockError::TagMismatch { first, count }) => {
                    let (first, before) = wrong.unwrap_or((first, 0));
                    wrong = Some((first, before.saturating_add(count)));
                }
                result => result?,
            }
        }
        match wrong {
            None => Ok(()),
            Some((first, count)) => Err(BlockError::TagMismatch { first, count }),
        }
    }
}

impl<D: Below> BlockDevice for LazyDevice<D> {
    fn size(&self) -> ByteLen {
        self.device.size()
    }

    fn sector_size(&self) -> SectorSize {
        self.device.sector_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), BlockError> {
        self.check_range(at, ByteLen::of(buf))?;
        let blocks = self.blocks(at, ByteLen::of(buf));
        let _shared = self.ranges.shared(blocks.clone());
        let result = self.read_runs(blocks.start, blocks, buf);
        // No plaintext of a request that fails is handed out.
        result.inspect_err(|_| buf.fill(0))
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), BlockError> {
        self.check_range(at, ByteLen::of(data))?;
        let blocks = self.blocks(at, ByteLen::of(data));
        let _shared = self.ranges.shared(blocks.clone());
        self.device.write_at(at, data)?;
        // Behind the write: a new block of one that failed still reads as zeros. One that was
        // written before reads as the device below has it after a failed write.
        self.written.insert(blocks);
        Ok(())
    }

    fn flush(&self) -> Result<(), BlockError> {
        self.device.flush()
    }

    /// Writes nothing: the blocks are forgotten. A device that takes no writes any more takes this
    /// one neither.
    fn write_zeroes(&self, at: ByteOffset, len: ByteLen) -> Result<(), BlockError> {
        self.check_range(at, len)?;
        let blocks = self.blocks(at, len);
        let _alone = self.ranges.exclusive(blocks.clone());
        self.device.check_running()?;
        self.written.remove(blocks);
        Ok(())
    }

    /// Forgets the blocks and, where the device below can, gives their storage back.
    fn discard(&self, at: ByteOffset, len: ByteLen) -> Result<(), BlockError> {
        self.check_range(at, len)?;
        let blocks = self.blocks(at, len);
        let _alone = self.ranges.exclusive(blocks.clone());
        self.device.check_running()?;
        self.written.remove(blocks);
        if self.device.capabilities().discard {
            self.device.discard(at, len)?;
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.device.capabilities();
        capabilities.zeroes_after_discard = capabilities.discard;
        capabilities
    }
}

#[cfg(test)]
mod tests {
    use luksmith_block::MemDevice;

    use super::*;

    impl Below for MemDevice {
        fn check_running(&self) -> Result<(), BlockError> {
            Ok(())
        }
    }

    fn at(block: u64) -> ByteOffset {
        ByteOffset::new(block * 512)
    }

    #[test]
    fn blocks_read_as_zeros_until_they_are_written_and_once_they_are_forgotten() {
        let below = MemDevice::from_bytes(&[0xee; 4096], SectorSize::S512);
        let device = LazyDevice::new(below).unwrap();
        let mut all = [1; 4096];
        device.read_at(at(0), &mut all).unwrap();
        assert_eq!(all, [0; 4096]);
        device.write_at(at(2), &[7; 1024]).unwrap();
        device.write_at(at(7), &[9; 512]).unwrap();
        device.read_at(at(0), &mut all).unwrap();
        let firsts: Vec<u8> = all.chunks(512).map(|block| block[0]).collect();
        assert_eq!(firsts, [0, 0, 7, 7, 0, 0, 0, 9]);
        assert!(device.written(0..4096).eq([1024..2048, 3584..4096]));
        device.write_zeroes(at(3), ByteLen::new(512)).unwrap();
        device.discard(at(7), ByteLen::new(512)).unwrap();
        device.read_at(at(0), &mut all).unwrap();
        let firsts: Vec<u8> = all.chunks(512).map(|block| block[0]).collect();
        assert_eq!(firsts, [0, 0, 7, 0, 0, 0, 0, 0]);
        // The block below still holds what was written.
        let mut below = [0; 512];
        device.inner().read_at(at(3), &mut below).unwrap();
        assert_eq!(below, [7; 512]);
    }

    #[test]
    fn runs_end_where_parts_of_the_bitmap_do_not_matter() {
        let written = Written::new(3 * PART_BLOCKS).unwrap();
        let across = PART_BLOCKS - 2..PART_BLOCKS + 3;
        written.insert(across.clone());
        let whole = 0..3 * PART_BLOCKS;
        let expected = [
            (0..across.start, false),
            (across.clone(), true),
            (across.end..whole.end, false),
        ];
        assert!(written.runs(whole.clone()).eq(expected));
        written.remove(whole.clone());
        assert!(
            written
                .runs(whole.clone())
                .eq(std::iter::once((whole, false)))
        );
        assert!(written.parts[2].get().is_none());
    }
}
