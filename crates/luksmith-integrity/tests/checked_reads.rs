//! A read that meets blocks whose tags do not match hands nothing out and tells about all of them.

#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

use std::sync::Arc;

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Error, MemDevice, SectorNumber, SectorSize, TaggedDevice,
};
use luksmith_integrity::{
    Devices, DigestName, FormatRequest, HashedDevice, Mode, OpenOptions, format,
};

/// The read used to stop at the first bad part of 256 KiB, with what it had read in the buffer.
#[test]
fn every_bad_block_of_a_request_is_counted_and_nothing_is_handed_out() {
    let disk = Arc::new(MemDevice::new(ByteLen::new(2 << 20), SectorSize::S512).expect("small"));
    let request = FormatRequest::new(4, SectorSize::S4096).expect("a tag size that exists");
    format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
    let options = OpenOptions::new().mode(Mode::Direct);
    let devices = Devices::interleaved(Arc::clone(&disk));
    let device = HashedDevice::open(devices, options, DigestName::Crc32c, None).expect("formatted");
    let mut data = vec![7; 1 << 20];
    device
        .write_at(ByteOffset::ZERO, &data)
        .expect("no faults here");
    // Blocks 3, 4 and 200, in the first and the last of four parts.
    let engine = device.unchecked();
    for (block, blocks) in [(3, 2), (200, 1)] {
        let sector = SectorNumber::new(block * 8);
        engine
            .write_tuples(sector, &vec![0x55; 4 * blocks])
            .expect("no faults here");
    }
    let mismatch = Error::TagMismatch {
        first: SectorNumber::new(24),
        count: 24,
    };
    assert_eq!(device.read_at(ByteOffset::ZERO, &mut data), Err(mismatch));
    assert!(data.iter().all(|byte| *byte == 0));
    let mut block = [0; 4096];
    device
        .read_at(ByteOffset::new(5 * 4096), &mut block)
        .expect("this one matches");
    assert_eq!(block, [7; 4096]);
}
