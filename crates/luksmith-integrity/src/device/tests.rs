use luksmith_block::{ByteLen, MemDevice, SectorSize};

use super::*;
use crate::{FlagPolicy, FormatRequest, format};

/// Work that was under way when another thread's write or flush failed: a commit of what another
/// one has just written in place.
#[test]
fn once_something_failed_no_journal_is_written_and_nothing_is_flushed() {
    let disk = MemDevice::new(ByteLen::new(1 << 20), SectorSize::S512).unwrap();
    let request = FormatRequest::new(4, SectorSize::S4096).unwrap();
    format(&Devices::interleaved(&disk), &request, None, None).unwrap();
    let options = OpenOptions::new().flags(FlagPolicy::Standalone);
    let device = IntegrityDevice::open(Devices::interleaved(&disk), options).unwrap();
    let image = vec![0xee; device.codec.section_bytes()];
    device.write_journal(0, &image).unwrap();
    device.flush_meta().unwrap();
    let before = disk.to_vec();
    device.stop.trip(Operation::Flush);
    let stopped = Err(DeviceError::FailStop {
        operation: Operation::Flush,
    });
    assert_eq!(device.write_journal(0, &vec![0; image.len()]), stopped);
    assert_eq!(device.flush_meta(), stopped);
    assert_eq!(device.flush_in_place(), stopped);
    assert_eq!(device.change_superblock(|_| {}), stopped);
    assert!(disk.to_vec() == before);
}
