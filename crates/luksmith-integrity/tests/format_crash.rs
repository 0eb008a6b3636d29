//! Power loss while a device is formatted over an older one.

use std::sync::Arc;

use luksmith_block::{MemDevice, SectorCount, SectorSize};
use luksmith_integrity::{
    Devices, DigestName, Error, FormatRequest, HashedDevice, Interleave, OpenOptions, format,
};
use luksmith_testkit::{CrashDevice, CrashOptions};

fn request(sections: u64) -> FormatRequest {
    FormatRequest::new(255, SectorSize::S512)
        .expect("a tag size that exists")
        .journal_sectors(SectorCount::new(sections * 16))
        .interleave(Interleave::Sectors(8))
}

/// The journal of the new device lies over that of the old one, so neither superblock may be there
/// while it is written.
#[test]
fn a_format_cut_off_leaves_the_old_device_the_new_one_or_none() {
    let old = Arc::new(MemDevice::from_bytes(&[0xa5; 128 << 10], SectorSize::S512));
    format(&Devices::interleaved(&old), &request(2), None, None).expect("room enough");
    let disk = Arc::new(CrashDevice::from_bytes(&old.to_vec(), SectorSize::S512));
    format(&Devices::interleaved(&disk), &request(5), None, None).expect("room enough");
    let options = CrashOptions {
        exhaustive_up_to: 300,
        random: 60,
        ..CrashOptions::default()
    };
    let mut seen = [0; 3];
    disk.recording().for_each_crash(&options, |_, image| {
        let disk = image.to_mem(SectorSize::S512);
        let devices = Devices::interleaved(disk);
        let opened = HashedDevice::open(devices, OpenOptions::new(), DigestName::Crc32c, None);
        let which = match opened {
            Ok(device) => match device.superblock().journal_sections() {
                2 => 0,
                5 => 1,
                other => panic!("{other} sections"),
            },
            Err(Error::NotFormatted | Error::Magic) => 2,
            Err(error) => panic!("a superblock without its journal: {error}"),
        };
        if let Some(seen) = seen.get_mut(which) {
            *seen += 1;
        }
    });
    assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
}
