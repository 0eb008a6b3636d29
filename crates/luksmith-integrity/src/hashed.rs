//! A device with an internal hash: its blocks are checked here, so it is a plain block device.

use std::{ops::Range, sync::Arc, time::Duration};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Capabilities, Control, Error as DeviceError, Operation,
    SECTOR_BYTES, SectorCount, SectorNumber, SectorSize, TaggedDevice as _,
};

use crate::{
    DeviceSizes, Devices, DigestName, DiscardMarker, Error, FlagPolicy, IntegrityDevice, Layout,
    Mode, NewBlocks, OpenOptions, Superblock, TagMaker, convert::wide, device::discard_steps,
    scratch::Scratch,
};

/// Bytes of data that are read and checked, or tagged and written, at once.
const CHUNK_BYTES: usize = 256 << 10;

/// A dm-integrity device with an internal hash, as `integritysetup` makes them.
///
/// ```
/// use std::sync::Arc;
/// use luksmith_block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorSize};
/// use luksmith_integrity::{
///     Devices, DigestName, FormatRequest, HashedDevice, OpenOptions, format,
/// };
///
/// let disk = Arc::new(MemDevice::new(ByteLen::new(1 << 20), SectorSize::S512)?);
/// let crc32c = DigestName::parse("crc32c")?;
/// let request = FormatRequest::new(crc32c.digest_bytes(), SectorSize::S4096)?;
/// format(&Devices::interleaved(&disk), &request, None, None)?;
///
/// let device = HashedDevice::open(Devices::interleaved(&disk), OpenOptions::new(), crc32c, None)?;
/// device.write_at(ByteOffset::new(8192), &[7; 4096])?;
/// device.close()?;
///
/// let device = HashedDevice::open(Devices::interleaved(&disk), OpenOptions::new(), crc32c, None)?;
/// let mut block = [0; 4096];
/// device.read_at(ByteOffset::new(8192), &mut block)?;
/// assert_eq!(block, [7; 4096]);
/// // What was never written has no valid tag.
/// assert!(device.read_at(ByteOffset::ZERO, &mut block).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct HashedDevice<D: BlockDevice> {
    device: IntegrityDevice<D>,
    maker: Arc<TagMaker>,
}

impl<D: BlockDevice> HashedDevice<D> {
    /// Opens a formatted device with the digest, and for an HMAC the key, that make its tags.
    ///
    /// Nothing on disk names the digest: with a wrong one every block mismatches. Entries of the
    /// journal are always checked before they are applied.
    ///
    /// # Errors
    /// Those of [`TagMaker::new`] and [`IntegrityDevice::open`]; [`Error::ShortTags`].
    pub fn open(
        devices: Devices<D>,
        options: OpenOptions,
        digest: DigestName,
        key: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let superblock = devices.read_superblock(options.start)?;
        if options.discards == DiscardMarker::Keyed && !digest.is_keyed() {
            return Err(Error::DigestKeyMissing { name: digest });
        }
        options.admit_keyed_tags(&superblock, digest)?;
        let maker = TagMaker::new(
            digest,
            key,
            superblock.active_salt(),
            usize::from(superblock.tag_bytes()),
            superblock.block_size(),
        )?;
        let maker = Arc::new(maker.discard_marker(options.discards));
        let check = Arc::clone(&maker);
        let options = options.flags(FlagPolicy::Standalone).check_journal(check);
        Ok(Self {
            device: IntegrityDevice::open_as(devices, superblock, options)?,
            maker,
        })
    }

    /// Gives the geometry.
    pub fn layout(&self) -> &Layout {
        self.device.layout()
    }

    /// Gives the superblock as it was read.
    pub fn superblock(&self) -> &Superblock {
        self.device.superblock()
    }

    /// Gives the device without the checks.
    pub fn unchecked(&self) -> &IntegrityDevice<D> {
        &self.device
    }

    /// Makes durable what has been waiting for `age` or longer.
    ///
    /// # Errors
    /// As [`BlockDevice::flush`].
    pub fn commit_if_older_than(&self, age: Duration) -> Result<(), DeviceError> {
        self.device.commit_if_older_than(age)
    }

    /// Commits, writes everything in place, empties the journal if this session used it, and
    /// flushes.
    ///
    /// # Errors
    /// As [`IntegrityDevice::close`].
    pub fn close(self) -> Result<(), DeviceError> {
        self.device.close()
    }

    /// Takes all the room that the devices below have, and closes; see [`IntegrityDevice::grow`].
    ///
    /// With `wipe` the new blocks are filled with zeros; without, they get the tags of zeros, so
    /// that those read without error that are holes in the file.
    ///
    /// # Errors
    /// As [`IntegrityDevice::grow`].
    pub fn grow(self, wipe: bool, control: &Control) -> Result<SectorCount, Error> {
        const FITS: &str = "one tag for each block";
        let Self { device, maker } = self;
        let (block, tag) = (device.block_bytes(), device.tag_bytes());
        let mut zeros = Vec::new();
        let mut tags = |first, tags: &mut [u8]| {
            zeros.resize(tags.len() / tag * block, 0);
            maker.tags(first, &zeros, tags).expect(FITS);
            Ok(())
        };
        let mut blocks = |first, data: &mut [u8], tags: &mut [u8]| {
            data.fill(0);
            maker.tags(first, data, tags).expect(FITS);
            Ok(())
        };
        let new = if wipe {
            NewBlocks::Blocks(&mut blocks)
        } else {
            NewBlocks::Tags(&mut tags)
        };
        device.grow(new, control)
    }

    /// Makes the device fit devices of `sizes`, and closes; see [`IntegrityDevice::shrink`].
    ///
    /// # Errors
    /// As [`IntegrityDevice::shrink`].
    pub fn shrink(self, sizes: DeviceSizes) -> Result<SectorCount, Error> {
        self.device.shrink(sizes)
    }

    pub(crate) fn maker(&self) -> &TagMaker {
        &self.maker
    }

    /// Tells whether a range is read without a check: with a hash that has no key, where the kernel
    /// would not check either, because a recalculation or a cleared mark is still due there.
    fn is_unchecked(&self, sectors: &Range<u64>) -> bool {
        if self.device.options.mode == Mode::Recovery {
            return true;
        }
        let marked = self.device.marked.as_ref();
        !self.maker.name().is_keyed()
            && (sectors.end > self.device.recalculation_from()
                || marked.is_some_and(|marked| marked.touches(sectors)))
    }

    /// Reads consecutive blocks and checks them, where they are to be checked; discarded ones are
    /// zeros.
    fn read_checked(
        &self,
        first: SectorNumber,
        chunk: &mut [u8],
        tags: &mut [u8],
    ) -> Result<(), DeviceError> {
        self.device.read_tagged(first, chunk, tags)?;
        let end = first.get() + wide(chunk.len()) / SECTOR_BYTES;
        if self.is_unchecked(&(first.get()..end)) {
            return Ok(());
        }
        self.maker.admit(first, chunk, tags)
    }

    fn first_sector(&self, at: ByteOffset) -> SectorNumber {
        SectorNumber::new(at.get() / SECTOR_BYTES)
    }

    fn tags_of(&self, data: usize) -> usize {
        data / self.device.block_bytes() * self.device.tag_bytes()
    }
}

impl<D: BlockDevice> BlockDevice for HashedDevice<D> {
    fn size(&self) -> ByteLen {
        let shape = self.device.shape();
        let sectors = SectorCount::new(shape.blocks * shape.block_size.sectors().get());
        ByteLen::new(sectors.get() * SECTOR_BYTES)
    }

    fn sector_size(&self) -> SectorSize {
        self.device.layout().block_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), DeviceError> {
        self.check_range(at, ByteLen::of(buf))?;
        let mut tags = Scratch::new(self.tags_of(buf.len().min(CHUNK_BYTES)));
        let mut at = at.get();
        let mut wrong = None;
        for chunk in buf.chunks_mut(CHUNK_BYTES) {
            let tags = tags.first(self.tags_of(chunk.len()));
            let first = self.first_sector(ByteOffset::new(at));
            at += wide(chunk.len());
            match (self.read_checked(first, chunk, tags), wrong) {
                (Ok(()), _) => {}
                // The rest is looked at too: the error counts every wrong sector of the request.
                (Err(DeviceError::TagMismatch { first, count }), None) => {
                    wrong = Some((first, count));
                }
                (Err(DeviceError::TagMismatch { count, .. }), Some((first, before))) => {
                    wrong = Some((first, before.saturating_add(count)));
                }
                (Err(error), _) => {
                    buf.fill(0);
                    return Err(error);
                }
            }
        }
        match wrong {
            None => Ok(()),
            Some((first, count)) => {
                // Nothing of a request that fails is handed out, not even what matches.
                buf.fill(0);
                Err(DeviceError::TagMismatch { first, count })
            }
        }
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), DeviceError> {
        self.check_range(at, ByteLen::of(data))?;
        let mut tags = Scratch::new(self.tags_of(data.len().min(CHUNK_BYTES)));
        let mut at = at.get();
        for chunk in data.chunks(CHUNK_BYTES) {
            let tags = tags.first(self.tags_of(chunk.len()));
            let first = self.first_sector(ByteOffset::new(at));
            self.maker.tags(first, chunk, tags)?;
            self.device.write_pairs(first, chunk, tags)?;
            at += wide(chunk.len());
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), DeviceError> {
        self.device.flush()
    }

    /// In journal mode the whole journal is initialised first if anything was written since the
    /// last discard: many discards in a row cost that once, discards between writes each time.
    fn discard(&self, at: ByteOffset, len: ByteLen) -> Result<(), DeviceError> {
        self.check_range(at, len)?;
        if self.device.options.is_read_only() {
            return Err(DeviceError::ReadOnly);
        }
        if !self.capabilities().discard {
            return Err(DeviceError::Unsupported {
                operation: Operation::Discard,
            });
        }
        let block = self.sector_size();
        let first = self.first_sector(at).get();
        for (index, blocks) in discard_steps(len.get() / block.byte_len().get()) {
            let first = SectorNumber::new(first + index * block.sectors().get());
            self.device.discard_blocks(first, blocks, &self.maker)?;
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.device.capabilities();
        let allowed = self.device.options.discards != DiscardMarker::None;
        capabilities.discard &= allowed;
        capabilities.zeroes_after_discard &= allowed;
        capabilities
    }
}
