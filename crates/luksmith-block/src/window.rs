//! Part of a device as a device, and a device that cannot be written.

use crate::{BlockDevice, ByteLen, ByteOffset, Capabilities, Error, SectorSize, device::total_len};

/// A part of a device, seen as a device of its own.
///
/// `D` may be a borrowed device, a `Box` or an `Arc`.
#[derive(Clone, Debug)]
pub struct Window<D> {
    device: D,
    start: ByteOffset,
    len: ByteLen,
}

impl<D: BlockDevice> Window<D> {
    /// Takes `len` bytes of `device` from `start`, both multiples of the device's sector size.
    ///
    /// # Errors
    /// [`Error::Misaligned`], [`Error::PastEnd`].
    pub fn new(device: D, start: ByteOffset, len: ByteLen) -> Result<Self, Error> {
        device.check_range(start, len)?;
        Ok(Self { device, start, len })
    }

    /// Takes all whole sectors of `device` from `start` on.
    ///
    /// # Errors
    /// [`Error::Misaligned`], [`Error::PastEnd`].
    pub fn from_start(device: D, start: ByteOffset) -> Result<Self, Error> {
        let size = device.size();
        let past_end = Error::PastEnd {
            at: start,
            len: ByteLen::ZERO,
            size,
        };
        let rest = size.get().checked_sub(start.get()).ok_or(past_end)?;
        let whole = rest - rest % device.sector_size().byte_len().get();
        Self::new(device, start, ByteLen::new(whole))
    }

    /// Gives the position of this window in the device below.
    #[must_use]
    pub fn start(&self) -> ByteOffset {
        self.start
    }

    /// Gives the device below.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Gives the device below back.
    pub fn into_inner(self) -> D {
        self.device
    }

    /// Checks a request against the window and gives its position in the device below.
    fn map(&self, at: ByteOffset, len: ByteLen) -> Result<ByteOffset, Error> {
        self.check_range(at, len)?;
        // Cannot overflow: the request lies in the window and the window in the device.
        Ok(ByteOffset::new(self.start.get() + at.get()))
    }

    /// Translates the place that an error of the device below names into the window.
    fn localize(&self, error: Error) -> Error {
        let local = |at: ByteOffset| ByteOffset::new(at.get().saturating_sub(self.start.get()));
        match error {
            Error::PastEnd { at, len, .. } => Error::PastEnd {
                at: local(at),
                len,
                size: self.len,
            },
            Error::Misaligned {
                at,
                len,
                sector_size,
            } => Error::Misaligned {
                at: local(at),
                len,
                sector_size,
            },
            // The place on the medium is what helps to find a broken disk, so it stays as it is.
            other => other,
        }
    }
}

impl<D: BlockDevice> BlockDevice for Window<D> {
    fn size(&self) -> ByteLen {
        self.len
    }

    fn sector_size(&self) -> SectorSize {
        self.device.sector_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
        let below = self.map(at, ByteLen::of(buf))?;
        let result = self.device.read_at(below, buf);
        result.map_err(|error| self.localize(error))
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        let below = self.map(at, ByteLen::of(data))?;
        let result = self.device.write_at(below, data);
        result.map_err(|error| self.localize(error))
    }

    fn read_vectored_at(&self, at: ByteOffset, bufs: &mut [&mut [u8]]) -> Result<(), Error> {
        let below = self.map(at, total_len(bufs))?;
        let result = self.device.read_vectored_at(below, bufs);
        result.map_err(|error| self.localize(error))
    }

    fn write_vectored_at(&self, at: ByteOffset, parts: &[&[u8]]) -> Result<(), Error> {
        let below = self.map(at, total_len(parts))?;
        let result = self.device.write_vectored_at(below, parts);
        result.map_err(|error| self.localize(error))
    }

    fn flush(&self) -> Result<(), Error> {
        self.device.flush()
    }

    fn write_through(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        let below = self.map(at, ByteLen::of(data))?;
        let result = self.device.write_through(below, data);
        result.map_err(|error| self.localize(error))
    }

    fn write_zeroes(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        let below = self.map(at, len)?;
        let result = self.device.write_zeroes(below, len);
        result.map_err(|error| self.localize(error))
    }

    fn discard(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        let below = self.map(at, len)?;
        let result = self.device.discard(below, len);
        result.map_err(|error| self.localize(error))
    }

    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }
}

/// A device whose writes fail with [`Error::ReadOnly`] before they reach the device below.
#[derive(Clone, Debug)]
pub struct ReadOnly<D>(D);

impl<D: BlockDevice> ReadOnly<D> {
    /// Shields `device` from writes.
    pub fn new(device: D) -> Self {
        Self(device)
    }

    /// Gives the device below back.
    pub fn into_inner(self) -> D {
        self.0
    }
}

impl<D: BlockDevice> BlockDevice for ReadOnly<D> {
    fn size(&self) -> ByteLen {
        self.0.size()
    }

    fn sector_size(&self) -> SectorSize {
        self.0.sector_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
        self.0.read_at(at, buf)
    }

    fn read_vectored_at(&self, at: ByteOffset, bufs: &mut [&mut [u8]]) -> Result<(), Error> {
        self.0.read_vectored_at(at, bufs)
    }

    fn write_at(&self, _at: ByteOffset, _data: &[u8]) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    fn write_vectored_at(&self, _at: ByteOffset, _parts: &[&[u8]]) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    /// Succeeds without asking the device below: nothing was written through here.
    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    fn write_zeroes(&self, _at: ByteOffset, _len: ByteLen) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    fn discard(&self, _at: ByteOffset, _len: ByteLen) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            read_only: true,
            discard: false,
            ..self.0.capabilities()
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::MemDevice;

    fn paint() -> MemDevice {
        let bytes: Vec<u8> = (0..251).cycle().take(8192).collect();
        MemDevice::from_bytes(&bytes, SectorSize::S512)
    }

    #[test]
    fn a_window_reads_and_writes_only_its_part() {
        let device = paint();
        let before = device.to_vec();
        let window = Window::new(&device, ByteOffset::new(1024), ByteLen::new(2048)).unwrap();
        let mut buf = [0; 512];
        window.read_at(ByteOffset::new(512), &mut buf).unwrap();
        assert_eq!(buf, before[1536..2048]);
        window
            .write_zeroes(ByteOffset::ZERO, ByteLen::new(2048))
            .unwrap();
        let after = device.to_vec();
        assert_eq!(after[..1024], before[..1024]);
        assert_eq!(after[1024..3072], [0; 2048]);
        assert_eq!(after[3072..], before[3072..]);
    }

    #[test]
    fn a_request_past_the_window_is_refused_although_the_device_goes_on() {
        let device = paint();
        let window = Window::new(&device, ByteOffset::new(1024), ByteLen::new(2048)).unwrap();
        assert_eq!(
            window.write_at(ByteOffset::new(1536), &[0; 1024]),
            Err(Error::PastEnd {
                at: ByteOffset::new(1536),
                len: ByteLen::new(1024),
                size: ByteLen::new(2048)
            })
        );
        assert_eq!(device.to_vec(), paint().to_vec());
    }

    #[test]
    fn a_window_must_lie_inside_its_device() {
        let device = paint();
        for (start, len) in [(8192, 512), (u64::MAX - 511, 512), (0, 8704)] {
            assert_eq!(
                Window::new(&device, ByteOffset::new(start), ByteLen::new(len)).unwrap_err(),
                Error::PastEnd {
                    at: ByteOffset::new(start),
                    len: ByteLen::new(len),
                    size: ByteLen::new(8192)
                }
            );
        }
        assert!(matches!(
            Window::from_start(&device, ByteOffset::new(100)),
            Err(Error::Misaligned { .. })
        ));
        let rest = Window::from_start(&device, ByteOffset::new(512)).unwrap();
        assert_eq!(rest.size(), ByteLen::new(7680));
    }

    #[test]
    fn a_read_only_device_refuses_every_kind_of_write() {
        let device = paint();
        let shielded = ReadOnly::new(&device);
        let (at, len) = (ByteOffset::ZERO, ByteLen::new(512));
        assert_eq!(shielded.write_at(at, &[0; 512]), Err(Error::ReadOnly));
        assert_eq!(shielded.write_through(at, &[0; 512]), Err(Error::ReadOnly));
        assert_eq!(shielded.write_zeroes(at, len), Err(Error::ReadOnly));
        assert_eq!(shielded.discard(at, len), Err(Error::ReadOnly));
        assert!(shielded.capabilities().read_only);
        assert_eq!(device.to_vec(), paint().to_vec());
    }
}
