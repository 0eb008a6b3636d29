//! A device that asks before each operation.

use std::fmt;

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Capabilities, Error, Operation, SectorSize,
};

/// A device that passes everything on to another one once `hook` has let it: an error is the answer
/// to the request, a panic goes on in whoever asked.
///
/// The hook sees operation, first byte and length; a flush has neither, and zeroing counts as
/// writing.
pub struct HookDevice<D, H> {
    device: D,
    hook: H,
}

impl<D: BlockDevice, H> HookDevice<D, H>
where
    H: Fn(Operation, ByteOffset, ByteLen) -> Result<(), Error> + Send + Sync,
{
    /// Puts a hook over a device.
    pub fn new(device: D, hook: H) -> Self {
        Self { device, hook }
    }
}

impl<D: BlockDevice, H> BlockDevice for HookDevice<D, H>
where
    H: Fn(Operation, ByteOffset, ByteLen) -> Result<(), Error> + Send + Sync,
{
    fn size(&self) -> ByteLen {
        self.device.size()
    }

    fn sector_size(&self) -> SectorSize {
        self.device.sector_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
        (self.hook)(Operation::Read, at, ByteLen::of(buf))?;
        self.device.read_at(at, buf)
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        (self.hook)(Operation::Write, at, ByteLen::of(data))?;
        self.device.write_at(at, data)
    }

    fn flush(&self) -> Result<(), Error> {
        (self.hook)(Operation::Flush, ByteOffset::ZERO, ByteLen::ZERO)?;
        self.device.flush()
    }

    fn write_zeroes(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        (self.hook)(Operation::Write, at, len)?;
        self.device.write_zeroes(at, len)
    }

    fn discard(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        (self.hook)(Operation::Discard, at, len)?;
        self.device.discard(at, len)
    }

    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }
}

impl<D: fmt::Debug, H> fmt::Debug for HookDevice<D, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookDevice")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}
