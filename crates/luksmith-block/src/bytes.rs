//! Byte-granular access to a device of whole sectors.

use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    sync::Arc,
};

use crate::{BlockDevice, ByteLen, ByteOffset, Error, IoFailure, Operation, RangeLock, SectorSize};

/// Reads and writes any bytes of a device of whole sectors.
///
/// A write that covers part of a sector reads the sector first and writes it back whole, under a
/// lock on the range, so that threads that write different parts of one sector lose nothing. All of
/// them have to go through the same `ByteDevice`, or share its lock.
///
/// ```
/// use luksmith_block::{ByteDevice, ByteOffset, MemDevice, SectorSize};
///
/// let device = ByteDevice::new(MemDevice::from_bytes(&[0; 4096], SectorSize::S4096));
/// device.write_at(ByteOffset::new(10), b"any")?;
/// let mut back = [0; 5];
/// device.read_at(ByteOffset::new(9), &mut back)?;
/// assert_eq!(&back, b"\0any\0");
/// # Ok::<(), luksmith_block::Error>(())
/// ```
#[derive(Debug)]
pub struct ByteDevice<D> {
    device: D,
    lock: Arc<RangeLock>,
}

/// Room for the largest sector.
const MAX_SECTOR: usize = SectorSize::S4096.bytes();

/// A request cut at sector borders: part of a sector, whole sectors, part of a sector.
struct Cut {
    /// All sectors that the request touches, in bytes.
    touched: Range<u64>,
    /// Where the request starts inside the first sector.
    skip: usize,
    head: usize,
    whole: usize,
    /// Position of the whole sectors, and of the last part.
    whole_at: ByteOffset,
    tail_at: ByteOffset,
}

impl<D: BlockDevice> ByteDevice<D> {
    /// Wraps a device.
    pub fn new(device: D) -> Self {
        Self::with_lock(device, Arc::default())
    }

    /// Wraps a device whose other writers lock ranges of bytes in `lock`.
    pub fn with_lock(device: D, lock: Arc<RangeLock>) -> Self {
        Self { device, lock }
    }

    /// Gives the device below.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Gives the device below back.
    pub fn into_inner(self) -> D {
        self.device
    }

    /// Gives the size of the device below.
    pub fn size(&self) -> ByteLen {
        self.device.size()
    }

    /// Gives a reader and writer that keeps a position, 0 at first.
    pub fn stream(&self) -> ByteStream<'_, D> {
        ByteStream {
            bytes: self,
            position: 0,
        }
    }

    /// Fills `buf` from byte `at`.
    ///
    /// # Errors
    /// [`Error::PastEnd`], and what [`BlockDevice::read_at`] gives.
    pub fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
        let cut = self.cut(at, buf.len())?;
        let _held = self.lock.shared(cut.touched.clone());
        let mut room = [0; MAX_SECTOR];
        let (sector, _) = room.split_at_mut(self.device.sector_size().bytes());
        let (head, rest) = buf.split_at_mut(cut.head);
        let (whole, tail) = rest.split_at_mut(cut.whole);
        if !head.is_empty() {
            let first = ByteOffset::new(cut.touched.start);
            self.device.read_at(first, sector)?;
            head.copy_from_slice(part(sector, cut.skip, cut.head)?);
        }
        if !whole.is_empty() {
            self.device.read_at(cut.whole_at, whole)?;
        }
        if !tail.is_empty() {
            self.device.read_at(cut.tail_at, sector)?;
            tail.copy_from_slice(part(sector, 0, tail.len())?);
        }
        Ok(())
    }

    /// Writes `data` at byte `at`. Acknowledged, not durable: see [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`Error::PastEnd`], and what [`BlockDevice::read_at`] and [`BlockDevice::write_at`] give.
    /// After an error each sector of the range is old or new.
    pub fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        let cut = self.cut(at, data.len())?;
        // Whole sectors are locked too: someone else's read-modify-write of one of them would
        // otherwise put old bytes back over ours.
        let _held = self.lock.exclusive(cut.touched.clone());
        let (head, rest) = data.split_at(cut.head);
        let (whole, tail) = rest.split_at(cut.whole);
        if !head.is_empty() {
            self.modify(ByteOffset::new(cut.touched.start), cut.skip, head)?;
        }
        if !whole.is_empty() {
            self.device.write_at(cut.whole_at, whole)?;
        }
        if !tail.is_empty() {
            self.modify(cut.tail_at, 0, tail)?;
        }
        Ok(())
    }

    /// Makes every acknowledged write durable.
    ///
    /// # Errors
    /// As [`BlockDevice::flush`].
    pub fn flush(&self) -> Result<(), Error> {
        self.device.flush()
    }

    /// Puts `data` into the sector at `at`, `skip` bytes after its start.
    fn modify(&self, at: ByteOffset, skip: usize, data: &[u8]) -> Result<(), Error> {
        let mut room = [0; MAX_SECTOR];
        let (sector, _) = room.split_at_mut(self.device.sector_size().bytes());
        self.device.read_at(at, sector)?;
        let place = sector.get_mut(skip..).and_then(|s| s.get_mut(..data.len()));
        place.ok_or(LOST)?.copy_from_slice(data);
        self.device.write_at(at, sector)
    }

    fn cut(&self, at: ByteOffset, len: usize) -> Result<Cut, Error> {
        let size = self.device.size();
        let past_end = Error::PastEnd {
            at,
            len: ByteLen::new(len as u64),
            size,
        };
        let end = at.checked_add(ByteLen::new(len as u64)).ok_or(past_end)?;
        if end.get() > size.get() {
            return Err(past_end);
        }
        let unit = self.device.sector_size().byte_len().get();
        let skip = at.get() % unit;
        let bytes = len as u64;
        let head = if skip == 0 { 0 } else { bytes.min(unit - skip) };
        let tail = (bytes - head) % unit;
        // `end <= size`, and the size is whole sectors, so rounding up cannot overflow.
        let first = at.get() - skip;
        let last = end.get().next_multiple_of(unit);
        let small = |value: u64| usize::try_from(value).map_err(|_| past_end);
        Ok(Cut {
            touched: if len == 0 { first..first } else { first..last },
            skip: small(skip)?,
            head: small(head)?,
            whole: small(bytes - head - tail)?,
            whole_at: ByteOffset::new(at.get() + head),
            tail_at: ByteOffset::new(end.get() - tail),
        })
    }
}

/// A part of a sector lies outside of it: cannot happen, and is an error if it does.
const LOST: Error = Error::Io {
    operation: Operation::Read,
    at: ByteOffset::ZERO,
    failure: IoFailure::Other,
};

fn part(sector: &[u8], skip: usize, len: usize) -> Result<&[u8], Error> {
    sector
        .get(skip..)
        .and_then(|rest| rest.get(..len))
        .ok_or(LOST)
}

/// A position in a [`ByteDevice`], for `std::io`.
///
/// Reads end at the end of the device; a write there takes no byte, which `write_all` reports.
#[derive(Debug)]
pub struct ByteStream<'a, D> {
    bytes: &'a ByteDevice<D>,
    position: u64,
}

impl<D: BlockDevice> ByteStream<'_, D> {
    /// Gives how many of `len` bytes lie before the end of the device.
    fn available(&self, len: usize) -> usize {
        let left = self.bytes.size().get().saturating_sub(self.position);
        usize::try_from(left).unwrap_or(usize::MAX).min(len)
    }
}

impl<D: BlockDevice> Read for ByteStream<'_, D> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.available(buf.len());
        if len == 0 {
            return Ok(0);
        }
        let (buf, _) = buf.split_at_mut(len);
        self.bytes.read_at(ByteOffset::new(self.position), buf)?;
        self.position += len as u64;
        Ok(len)
    }
}

impl<D: BlockDevice> Write for ByteStream<'_, D> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let len = self.available(data.len());
        if len == 0 {
            return Ok(0);
        }
        let (data, _) = data.split_at(len);
        self.bytes.write_at(ByteOffset::new(self.position), data)?;
        self.position += len as u64;
        Ok(len)
    }

    /// Makes everything written so far durable.
    fn flush(&mut self) -> io::Result<()> {
        Ok(self.bytes.flush()?)
    }
}

impl<D: BlockDevice> Seek for ByteStream<'_, D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.bytes.size().get().checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::MemDevice;

    fn painted(sector_size: SectorSize) -> (ByteDevice<MemDevice>, Vec<u8>) {
        let bytes: Vec<u8> = (0..251).cycle().take(7 * 4096).collect();
        let device = MemDevice::from_bytes(&bytes, sector_size);
        (ByteDevice::new(device), bytes)
    }

    #[test]
    fn any_range_reads_and_writes_exactly_its_bytes() {
        for sector_size in SectorSize::ALL {
            let unit = sector_size.bytes();
            let edges = [0, 1, unit - 1, unit, unit + 1, 2 * unit, 3 * unit - 1];
            for start in edges {
                for len in edges {
                    let (device, mut expected) = painted(sector_size);
                    let at = ByteOffset::new(start as u64);
                    let mut back = vec![0; len];
                    device.read_at(at, &mut back).unwrap();
                    assert_eq!(back, expected[start..start + len]);
                    device.write_at(at, &vec![0xee; len]).unwrap();
                    expected[start..start + len].fill(0xee);
                    assert_eq!(device.device().to_vec(), expected, "{start} {len}");
                }
            }
        }
    }

    #[test]
    fn a_range_past_the_end_is_refused_without_a_change() {
        let (device, before) = painted(SectorSize::S4096);
        let size = ByteLen::of(&before);
        for (at, len) in [(size.get() - 1, 2), (size.get() + 1, 0), (u64::MAX, 1)] {
            let expected = Err(Error::PastEnd {
                at: ByteOffset::new(at),
                len: ByteLen::new(len as u64),
                size,
            });
            assert_eq!(
                device.write_at(ByteOffset::new(at), &vec![0; len]),
                expected
            );
            assert_eq!(
                device.read_at(ByteOffset::new(at), &mut vec![0; len]),
                expected
            );
        }
        assert_eq!(device.device().to_vec(), before);
    }

    #[test]
    fn threads_that_write_parts_of_one_sector_lose_nothing() {
        let device = ByteDevice::new(MemDevice::from_bytes(&[0; 8192], SectorSize::S4096));
        std::thread::scope(|scope| {
            for lane in 0..8u8 {
                let device = &device;
                scope.spawn(move || {
                    for at in (u64::from(lane)..8192).step_by(8) {
                        device.write_at(ByteOffset::new(at), &[lane + 1]).unwrap();
                    }
                });
            }
        });
        let expected: Vec<u8> = (1..=8).cycle().take(8192).collect();
        assert_eq!(device.device().to_vec(), expected);
    }

    #[test]
    fn a_stream_reads_seeks_and_stops_at_the_end() {
        let (device, bytes) = painted(SectorSize::S512);
        let mut stream = device.stream();
        stream.seek(SeekFrom::End(-10)).unwrap();
        let mut tail = Vec::new();
        stream.read_to_end(&mut tail).unwrap();
        assert_eq!(tail, bytes[bytes.len() - 10..]);
        stream.seek(SeekFrom::Current(-3)).unwrap();
        let error = stream.write_all(&[1; 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
        assert!(stream.seek(SeekFrom::End(-1_000_000)).is_err());
        stream.seek(SeekFrom::Start(u64::MAX)).unwrap();
        assert_eq!(stream.read(&mut [0; 4]).unwrap(), 0);
    }
}
