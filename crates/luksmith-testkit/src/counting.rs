//! A device that counts what reaches it, for write amplification and request sizes.

use std::sync::atomic::{AtomicU64, Ordering};

use luksmith_block::{BlockDevice, ByteLen, ByteOffset, Capabilities, Error, SectorSize};

/// What reached a [`CountingDevice`], successful or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Read requests.
    pub reads: u64,
    /// Bytes asked for by reads.
    pub read_bytes: u64,
    /// Write requests.
    pub writes: u64,
    /// Bytes given by writes.
    pub written_bytes: u64,
    /// Zeroing requests.
    pub zeroings: u64,
    /// Bytes of zeroing requests.
    pub zeroed_bytes: u64,
    /// Discards.
    pub discards: u64,
    /// Bytes of discards.
    pub discarded_bytes: u64,
    /// Flushes.
    pub flushes: u64,
}

/// A device that passes everything on to another one and counts it.
#[derive(Debug, Default)]
pub struct CountingDevice<D> {
    device: D,
    reads: Counter,
    writes: Counter,
    zeroings: Counter,
    discards: Counter,
    flushes: Counter,
}

#[derive(Debug, Default)]
struct Counter {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    fn count(&self, bytes: ByteLen) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes.get(), Ordering::Relaxed);
    }

    fn take(&self) -> (u64, u64) {
        let requests = self.requests.swap(0, Ordering::Relaxed);
        (requests, self.bytes.swap(0, Ordering::Relaxed))
    }
}

impl<D: BlockDevice> CountingDevice<D> {
    /// Wraps a device.
    pub fn new(device: D) -> Self {
        Self {
            device,
            reads: Counter::default(),
            writes: Counter::default(),
            zeroings: Counter::default(),
            discards: Counter::default(),
            flushes: Counter::default(),
        }
    }

    /// Gives the counts since the last call, and starts again from 0.
    pub fn take(&self) -> Counts {
        let (reads, read_bytes) = self.reads.take();
        let (writes, written_bytes) = self.writes.take();
        let (zeroings, zeroed_bytes) = self.zeroings.take();
        let (discards, discarded_bytes) = self.discards.take();
        let (flushes, _) = self.flushes.take();
        Counts {
            reads,
            read_bytes,
            writes,
            written_bytes,
            zeroings,
            zeroed_bytes,
            discards,
            discarded_bytes,
            flushes,
        }
    }

    /// Gives the device below.
    pub fn device(&self) -> &D {
        &self.device
    }
}

impl<D: BlockDevice> BlockDevice for CountingDevice<D> {
    fn size(&self) -> ByteLen {
        self.device.size()
    }

    fn sector_size(&self) -> SectorSize {
        self.device.sector_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
        self.reads.count(ByteLen::of(buf));
        self.device.read_at(at, buf)
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        self.writes.count(ByteLen::of(data));
        self.device.write_at(at, data)
    }

    fn read_vectored_at(&self, at: ByteOffset, bufs: &mut [&mut [u8]]) -> Result<(), Error> {
        let bytes = bufs.iter().map(|buf| buf.len() as u64).sum();
        self.reads.count(ByteLen::new(bytes));
        self.device.read_vectored_at(at, bufs)
    }

    fn write_vectored_at(&self, at: ByteOffset, parts: &[&[u8]]) -> Result<(), Error> {
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        self.writes.count(ByteLen::new(bytes));
        self.device.write_vectored_at(at, parts)
    }

    fn flush(&self) -> Result<(), Error> {
        self.flushes.count(ByteLen::ZERO);
        self.device.flush()
    }

    fn write_zeroes(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        self.zeroings.count(len);
        self.device.write_zeroes(at, len)
    }

    fn discard(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        self.discards.count(len);
        self.device.discard(at, len)
    }

    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }
}

#[cfg(test)]
mod tests {
    use luksmith_block::MemDevice;

    use super::*;

    #[test]
    fn every_request_is_counted_once_with_its_bytes() {
        let device = CountingDevice::new(MemDevice::from_bytes(&[0; 4096], SectorSize::S512));
        let at = ByteOffset::ZERO;
        device
            .write_vectored_at(at, &[&[1; 512], &[2; 1024]])
            .unwrap();
        device.write_at(at, &[3; 512]).unwrap();
        device.read_at(at, &mut [0; 2048]).unwrap();
        device.write_zeroes(at, ByteLen::new(4096)).unwrap();
        assert!(device.discard(at, ByteLen::new(512)).is_err());
        device.flush().unwrap();
        let expected = Counts {
            reads: 1,
            read_bytes: 2048,
            writes: 2,
            written_bytes: 2048,
            zeroings: 1,
            zeroed_bytes: 4096,
            discards: 1,
            discarded_bytes: 512,
            flushes: 1,
        };
        assert_eq!(device.take(), expected);
        assert_eq!(device.take(), Counts::default());
    }
}
