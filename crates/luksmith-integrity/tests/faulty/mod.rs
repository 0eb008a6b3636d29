//! The device that the tests of failing media share.

use std::sync::Arc;

use luksmith_block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorCount, SectorSize};
use luksmith_integrity::{
    Devices, DigestName, FormatRequest, HashedDevice, Interleave, Mode, OpenOptions, format,
};

/// Blocks that a device is given data for.
pub(crate) const BLOCKS: usize = 40;

/// A formatted device whose blocks all hold 1. The journal has three sections of eight entries.
pub(crate) fn disk() -> Arc<MemDevice> {
    let disk = MemDevice::new(ByteLen::new(128 << 10), SectorSize::S512).expect("small");
    let disk = Arc::new(disk);
    let request = FormatRequest::new(255, SectorSize::S512)
        .expect("a tag size that exists")
        .journal_sectors(SectorCount::new(48))
        .interleave(Interleave::Sectors(8));
    format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
    let device = open(Arc::clone(&disk), Mode::Direct);
    device
        .write_at(ByteOffset::ZERO, &[1; BLOCKS * 512])
        .expect("no faults here");
    device.close().expect("no faults here");
    disk
}

/// Opens it; no tag is kept in memory, so that each is read.
pub(crate) fn open<D: BlockDevice>(device: D, mode: Mode) -> HashedDevice<D> {
    let options = OpenOptions::new()
        .mode(mode)
        .sectors_per_bit(8)
        .tag_cache(ByteLen::new(0));
    let devices = Devices::interleaved(device);
    HashedDevice::open(devices, options, DigestName::Crc32c, None).expect("formatted")
}
