//! The border between layers: a device of whole sectors.

use alloc::{boxed::Box, sync::Arc};

use crate::{ByteLen, ByteOffset, Error, Operation, SectorSize};

/// What a device can do beyond reading and writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Writes fail with [`Error::ReadOnly`].
    pub read_only: bool,
    /// [`BlockDevice::discard`] gives storage back.
    pub discard: bool,
    /// A discarded range reads as zeros until it is written again.
    pub zeroes_after_discard: bool,
    /// Request size in bytes that suits the device best, 0 if it has no preference.
    pub optimal_io_bytes: u32,
}

/// A device of whole sectors that many threads may use at once.
///
/// Every crash argument of luksmith rests on this contract:
///
/// * all or an error, never short; a range past the end is an error, never zeroes;
/// * offsets and lengths are multiples of [`sector_size`](Self::sector_size);
/// * between two flushes, writes may reach the medium in any order and may tear at 512 bytes;
/// * after [`flush`](Self::flush) returned `Ok`, what was acknowledged before it survives power
///   loss;
/// * overlapping requests from several threads are not ordered by the device.
pub trait BlockDevice: Send + Sync {
    /// Gives the size, constant for the life of the device.
    ///
    /// A file's tail below 512 bytes is not seen.
    fn size(&self) -> ByteLen;

    /// Gives the unit in which requests must be aligned.
    fn sector_size(&self) -> SectorSize;

    /// Fills `buf` from the device, starting at `at`.
    ///
    /// # Errors
    /// [`Error::PastEnd`], [`Error::Misaligned`], [`Error::Io`], and [`Error::TagMismatch`] from
    /// authenticated layers. After an error the contents of `buf` are not data.
    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error>;

    /// Writes `data` to the device, starting at `at`. Acknowledged, not durable: see `flush`.
    ///
    /// # Errors
    /// [`Error::PastEnd`], [`Error::Misaligned`], [`Error::ReadOnly`], [`Error::FailStop`],
    /// [`Error::Io`]. After an error each sector of the range is old or new.
    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error>;

    /// Fills several buffers, one after the other, from one range that starts at `at`.
    ///
    /// Each buffer is whole sectors.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at). After an error the contents of all buffers are not data.
    fn read_vectored_at(&self, at: ByteOffset, bufs: &mut [&mut [u8]]) -> Result<(), Error> {
        self.check_range(at, total_len(bufs))?;
        let mut position = at;
        for buf in bufs {
            self.read_at(position, buf)?;
            // Cannot overflow: `check_range` saw that the whole range fits.
            position = ByteOffset::new(position.get() + ByteLen::of(buf).get());
        }
        Ok(())
    }

    /// Writes several parts, one after the other, to one range that starts at `at`.
    ///
    /// Each part is whole sectors.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at), the whole range taken as one request.
    fn write_vectored_at(&self, at: ByteOffset, parts: &[&[u8]]) -> Result<(), Error> {
        self.check_range(at, total_len(parts))?;
        let mut position = at;
        for part in parts {
            self.write_at(position, part)?;
            // Cannot overflow: `check_range` saw that the whole range fits.
            position = ByteOffset::new(position.get() + ByteLen::of(part).get());
        }
        Ok(())
    }

    /// Makes every acknowledged write durable.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::System`], after which writes fail with [`Error::FailStop`] until
    /// the device is reopened.
    fn flush(&self) -> Result<(), Error>;

    /// Writes `data` and makes it durable.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at) and [`flush`](Self::flush).
    fn write_through(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        self.write_at(at, data)?;
        self.flush()
    }

    /// Makes the range read as zeros; a device that can do so without writing them does.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    fn write_zeroes(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        write_zeroes_by_writing(self, at, len)
    }

    /// Tells the device that the range is no longer needed. What it reads as afterwards is told by
    /// [`Capabilities::zeroes_after_discard`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless [`Capabilities::discard`] is set, else as
    /// [`write_at`](Self::write_at).
    fn discard(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        let _ = (at, len);
        Err(Error::Unsupported {
            operation: Operation::Discard,
        })
    }

    /// Tells what this device can do.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Checks that a request is whole sectors inside the device.
    ///
    /// # Errors
    /// [`Error::Misaligned`], [`Error::PastEnd`].
    fn check_range(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        let sector_size = self.sector_size();
        if !sector_size.divides(at.get()) || !sector_size.divides(len.get()) {
            return Err(Error::Misaligned {
                at,
                len,
                sector_size,
            });
        }
        match at.checked_add(len) {
            Some(end) if end.get() <= self.size().get() => Ok(()),
            _ => Err(Error::PastEnd {
                at,
                len,
                size: self.size(),
            }),
        }
    }
}

/// Gives the length of all parts together.
///
/// Saturates, which no device is large enough to accept.
pub(crate) fn total_len<B: AsRef<[u8]>>(parts: &[B]) -> ByteLen {
    let lens = parts.iter().map(|part| ByteLen::of(part.as_ref()).get());
    ByteLen::new(lens.fold(0, u64::saturating_add))
}

/// Bytes of zeros that [`BlockDevice::write_zeroes`] writes at once.
const ZERO_CHUNK: usize = 65536;

/// Writes zeros, for devices that have no better way.
pub(crate) fn write_zeroes_by_writing<D: BlockDevice + ?Sized>(
    device: &D,
    at: ByteOffset,
    len: ByteLen,
) -> Result<(), Error> {
    static ZEROS: [u8; ZERO_CHUNK] = [0; ZERO_CHUNK];
    device.check_range(at, len)?;
    let mut done = 0;
    while done < len.get() {
        let left = ByteLen::new(len.get() - done)
            .to_usize()
            .unwrap_or(ZERO_CHUNK);
        let chunk = ZEROS.get(..left.min(ZERO_CHUNK)).unwrap_or(&ZEROS);
        // Cannot overflow: `check_range` saw that `at + len` fits.
        device.write_at(ByteOffset::new(at.get() + done), chunk)?;
        done += ByteLen::of(chunk).get();
    }
    Ok(())
}

macro_rules! forward {
    ($($pointer:ty),+) => {$(
        impl<D: BlockDevice + ?Sized> BlockDevice for $pointer {
            fn size(&self) -> ByteLen {
                (**self).size()
            }
            fn sector_size(&self) -> SectorSize {
                (**self).sector_size()
            }
            fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
                (**self).read_at(at, buf)
            }
            fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
                (**self).write_at(at, data)
            }
            fn read_vectored_at(
                &self,
                at: ByteOffset,
                bufs: &mut [&mut [u8]],
            ) -> Result<(), Error> {
                (**self).read_vectored_at(at, bufs)
            }
            fn write_vectored_at(&self, at: ByteOffset, parts: &[&[u8]]) -> Result<(), Error> {
                (**self).write_vectored_at(at, parts)
            }
            fn flush(&self) -> Result<(), Error> {
                (**self).flush()
            }
            fn write_through(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
                (**self).write_through(at, data)
            }
            fn write_zeroes(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
                (**self).write_zeroes(at, len)
            }
            fn discard(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
                (**self).discard(at, len)
            }
            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }
        }
    )+};
}

forward!(&D, Box<D>, Arc<D>);
