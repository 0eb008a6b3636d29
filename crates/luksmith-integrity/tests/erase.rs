//! Power loss while an applied journal is erased: what is left of it must not be taken for a
//! journal, or older entries would be put over newer ones.

use std::sync::Arc;

use luksmith_block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorCount, SectorSize};
use luksmith_integrity::{
    Devices, DigestName, FormatRequest, HashedDevice, Interleave, Mode, OpenOptions, format,
};
use luksmith_testkit::{CrashDevice, CrashOptions, Image};

fn open<D: BlockDevice>(device: D, mode: Mode) -> HashedDevice<D> {
    let options = OpenOptions::new().mode(mode).watermark(100);
    let devices = Devices::interleaved(device);
    HashedDevice::open(devices, options, DigestName::Crc32c, None).expect("formatted")
}

/// Five sections; the first three are committed one by one, each with another version of block 0.
fn dirty() -> Vec<u8> {
    let disk = MemDevice::new(ByteLen::new(128 << 10), SectorSize::S512).expect("small");
    let disk = Arc::new(disk);
    let request = FormatRequest::new(255, SectorSize::S512)
        .expect("a tag size that exists")
        .journal_sectors(SectorCount::new(5 * 16))
        .interleave(Interleave::Sectors(8));
    format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
    let device = open(Arc::clone(&disk), Mode::Journal);
    for version in 1..=3 {
        device
            .write_at(ByteOffset::ZERO, &[version; 512])
            .expect("no faults here");
        device.flush().expect("no faults here");
    }
    drop(device);
    disk.to_vec()
}

/// Without an order of the erasure, one section in the middle may be gone while older ones are
/// whole: their entries would come back.
#[test]
fn a_journal_erased_in_part_brings_no_older_version_back() {
    let image = Image::from_bytes(&dirty());
    let disk = Arc::new(CrashDevice::new(image, SectorSize::S512));
    let device = open(Arc::clone(&disk), Mode::Direct);
    device.unchecked().apply_journal().expect("no faults here");
    let options = CrashOptions {
        exhaustive_up_to: 16,
        random: 300,
        ..CrashOptions::default()
    };
    let count = disk.recording().for_each_crash(&options, |_, image| {
        for mode in [Mode::Journal, Mode::Direct] {
            let device = open(image.to_mem(SectorSize::S512), mode);
            let mut block = [0; 512];
            device
                .read_at(ByteOffset::ZERO, &mut block)
                .expect("it matches its tag");
            assert_eq!(block, [3; 512]);
            device.unchecked().apply_journal().expect("no faults here");
            device
                .read_at(ByteOffset::ZERO, &mut block)
                .expect("it matches its tag");
            assert_eq!(block, [3; 512]);
        }
    });
    assert!(count > 900, "{count}");
}
