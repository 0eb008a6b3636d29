//! Tags written alone, in journal mode: past the journal, and still durable once flushed.

use std::sync::Arc;

use luksmith_block::{SectorCount, SectorNumber, SectorSize, TaggedDevice};
use luksmith_integrity::{
    Devices, FlagPolicy, FormatRequest, IntegrityDevice, Interleave, OpenOptions, format,
};
use luksmith_testkit::CrashDevice;

/// A formatted device; its journal has three sections.
fn disk() -> Arc<CrashDevice> {
    let disk = Arc::new(CrashDevice::from_bytes(
        &vec![0; 512 << 10],
        SectorSize::S512,
    ));
    let request = FormatRequest::new(32, SectorSize::S512)
        .expect("a tag size that exists")
        .journal_sectors(SectorCount::new(3 * 88))
        .interleave(Interleave::Sectors(8));
    format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
    disk
}

/// A replay of what the journal held before would otherwise put the old tag back, and a flush that
/// looks at the journal alone would leave the new one in memory.
#[test]
fn flushed_tags_survive_power_loss_and_no_older_entry_replaces_them() {
    let disk = disk();
    let options = || {
        OpenOptions::new()
            .flags(FlagPolicy::Standalone)
            .watermark(100)
    };
    let device = IntegrityDevice::open(Devices::interleaved(Arc::clone(&disk)), options())
        .expect("formatted");
    let sector = SectorNumber::new(3);
    device
        .write_tagged(sector, 1, &mut |data, tuples| {
            data.fill(7);
            tuples.fill(1);
        })
        .expect("no faults here");
    device.flush().expect("no faults here");
    device
        .write_tuples(sector, &[2; 32])
        .expect("no faults here");
    device.flush().expect("no faults here");
    // Now the power goes.
    let left = disk.durable().to_mem(SectorSize::S512);
    let device = IntegrityDevice::open(Devices::interleaved(left), options()).expect("formatted");
    let (mut data, mut tuple) = ([0; 512], [0; 32]);
    device
        .read_tagged(sector, &mut data, &mut tuple)
        .expect("no faults here");
    assert_eq!((data, tuple), ([7; 512], [2; 32]));
}

/// Closing empties the journal and knew of no tags beside it.
#[test]
fn tags_written_past_the_journal_are_there_after_closing() {
    let disk = disk();
    let open = |disk| {
        let options = OpenOptions::new().flags(FlagPolicy::Standalone);
        IntegrityDevice::open(Devices::interleaved(disk), options).expect("formatted")
    };
    let device = open(Arc::clone(&disk));
    let sector = SectorNumber::new(3);
    device
        .write_tuples(sector, &[2; 32])
        .expect("no faults here");
    device.close().expect("no faults here");
    let left = Arc::new(CrashDevice::from_bytes(
        &disk.durable().to_vec(),
        SectorSize::S512,
    ));
    let (mut data, mut tuple) = ([0; 512], [0; 32]);
    open(left)
        .read_tagged(sector, &mut data, &mut tuple)
        .expect("no faults here");
    assert_eq!(tuple, [2; 32]);
}
