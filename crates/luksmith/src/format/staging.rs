//! A header made in memory, with its keyslot areas, and how it gets to its device.

use std::sync::Arc;

use luksmith_block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorSize};
use luksmith_header::Header;
use luksmith_keyslot::{TryCryptoRng, VolumeKey};

use crate::Error;

/// Bytes that are written at once.
const CHUNK: usize = 1 << 20;

/// A new header: everything in front of the data.
pub(crate) struct Staged {
    pub(crate) header: Header,
    pub(crate) key: VolumeKey,
    pub(crate) keyslot: Option<u32>,
    /// Headers and keyslot areas, from byte 0.
    pub(crate) image: Arc<MemDevice>,
    /// Length of everything that identifies the volume: both copies, or the one of LUKS1.
    pub(crate) headers_len: u64,
    /// Lengths of the copies, in the order in which they are written.
    pub(crate) copies: Vec<u64>,
    /// From byte 0, what is zeroed first.
    pub(crate) wiped_len: u64,
}

/// Makes the memory for headers and areas of `len` bytes.
pub(super) fn memory(len: u64) -> Result<MemDevice, Error> {
    Ok(MemDevice::new(ByteLen::new(len), SectorSize::S512)?)
}

/// Fills a range with random bytes, so that used areas do not show.
pub(super) fn fill_randomly<R: TryCryptoRng + ?Sized>(
    device: &MemDevice,
    start: u64,
    end: u64,
    random: &mut R,
) -> Result<(), Error> {
    let mut at = start;
    let mut buffer = vec![0; CHUNK];
    while at < end {
        let count = ByteLen::new(end - at)
            .to_usize()
            .map_or(CHUNK, |n| n.min(CHUNK));
        let (part, _) = buffer.split_at_mut(count);
        random
            .try_fill_bytes(part)
            .map_err(|_| luksmith_keyslot::Error::Random)?;
        device.write_at(ByteOffset::new(at), part)?;
        at += count as u64;
    }
    Ok(())
}

impl Staged {
    /// Zeroes the place of all headers and writes the keyslot areas, durably.
    pub(super) fn write_areas(&self, device: &dyn BlockDevice) -> Result<(), Error> {
        let unit = device.sector_size().byte_len().get();
        let wiped = self.wiped_len.min(device.size().get()) / unit * unit;
        device.write_zeroes(ByteOffset::ZERO, ByteLen::new(wiped))?;
        device.flush()?;
        self.copy(device, self.headers_len, self.image.size().get())?;
        device.flush()?;
        Ok(())
    }

    /// Writes the header copies, each durably. From the first one on, the device holds a volume.
    pub(super) fn write_headers(&self, device: &dyn BlockDevice) -> Result<(), Error> {
        let mut at = 0;
        for len in &self.copies {
            self.copy(device, at, at + len)?;
            device.flush()?;
            at += len;
        }
        Ok(())
    }

    /// Copies a range of the image to its place. Both ends are multiples of 4096.
    fn copy(&self, device: &dyn BlockDevice, start: u64, end: u64) -> Result<(), Error> {
        let mut buffer = vec![0; CHUNK];
        let mut at = start;
        while at < end {
            let count = ByteLen::new(end - at)
                .to_usize()
                .map_or(CHUNK, |n| n.min(CHUNK));
            let (part, _) = buffer.split_at_mut(count);
            self.image.read_at(ByteOffset::new(at), part)?;
            device.write_at(ByteOffset::new(at), part)?;
            at += count as u64;
        }
        Ok(())
    }
}
