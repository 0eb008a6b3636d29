//! Growing and shrinking, with the power cut at every request.

#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

use std::sync::Arc;

use luksmith_block::{
    BlockDevice, ByteOffset, Control, Error as DeviceError, MemDevice, SectorCount, SectorSize,
};
use luksmith_integrity::{
    DeviceSizes, Devices, DigestName, Error, FormatRequest, HashedDevice, Interleave, Mode,
    OpenOptions, format,
};
use luksmith_testkit::{CrashDevice, CrashOptions, Image, paint};

const SMALL: usize = 90 * 1024;
const LARGE: usize = 141 * 1024;

fn sizes(bytes: usize) -> DeviceSizes {
    DeviceSizes {
        data: SectorCount::new(u64::try_from(bytes / 512).expect("small")),
        meta: None,
    }
}

fn open<D: BlockDevice>(device: D, mode: Mode) -> HashedDevice<D> {
    let options = OpenOptions::new().mode(mode);
    HashedDevice::open(
        Devices::interleaved(device),
        options,
        DigestName::Crc32c,
        None,
    )
    .expect("a device that was formatted")
}

fn len<D: BlockDevice>(device: &HashedDevice<D>) -> usize {
    device.size().to_usize().expect("small")
}

/// A device of `SMALL` bytes, full of paint, with committed blocks in its journal.
fn dirty() -> Vec<u8> {
    let disk = Arc::new(MemDevice::from_bytes(&vec![0; SMALL], SectorSize::S512));
    let request = FormatRequest::new(255, SectorSize::S512)
        .expect("a tag size that exists")
        .journal_sectors(SectorCount::new(48))
        .interleave(Interleave::Sectors(32));
    format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
    let device = open(&disk, Mode::Direct);
    device
        .write_at(ByteOffset::ZERO, &vec![1; len(&device)])
        .expect("no faults here");
    device.close().expect("no faults here");
    let device = open(&disk, Mode::Journal);
    let data = paint(0, len(&device));
    // From the end, so that the last blocks wait in the journal.
    for at in [0, 512 * 5, data.len() - 1024] {
        let part = if at == 0 {
            &data[..]
        } else {
            &data[at..at + 1024]
        };
        device
            .write_at(ByteOffset::new(u64::try_from(at).expect("small")), part)
            .expect("no faults here");
    }
    drop(device);
    let waiting = open(&disk, Mode::Journal).unchecked().blocks_in_journal();
    assert!(waiting.is_ok_and(|waiting| waiting > 0));
    disk.to_vec()
}

fn contents<D: BlockDevice>(device: &HashedDevice<D>) -> Vec<u8> {
    let mut bytes = vec![0; len(device)];
    device
        .read_at(ByteOffset::ZERO, &mut bytes)
        .expect("every tag matches");
    bytes
}

#[test]
fn growing_keeps_the_data_and_a_crash_leaves_the_old_or_the_new_size() {
    let mut bytes = dirty();
    bytes.resize(LARGE, 0);
    for mode in [Mode::Journal, Mode::Direct] {
        for wipe in [true, false] {
            if wipe {
                // What lay behind the old end is overwritten.
                bytes[SMALL..].fill(0xee);
            } else {
                bytes[SMALL..].fill(0);
            }
            let disk = Arc::new(CrashDevice::from_bytes(&bytes, SectorSize::S512));
            let device = open(&disk, mode);
            let old = contents(&device);
            assert_eq!(old, paint(0, old.len()));
            let room = device.unchecked().room();
            let control = Control::new();
            assert_eq!(device.grow(wipe, &control), Ok(room));
            assert_eq!(control.progress().done, control.progress().total);
            let grown = contents(&open(&disk, mode));
            assert_eq!(
                grown.len(),
                usize::try_from(room.get() * 512).expect("small")
            );
            assert_eq!(grown[..old.len()], old);
            assert!(grown.len() > old.len() + 8192);
            assert!(grown[old.len()..].iter().all(|byte| *byte == 0));

            let options = CrashOptions::default();
            let (mut before, mut after) = (0, 0);
            disk.recording().for_each_crash(&options, |_, image| {
                for mode in [Mode::Journal, Mode::Direct] {
                    let device = open(image.to_mem(SectorSize::S512), mode);
                    let found = contents(&device);
                    if found.len() == old.len() {
                        assert_eq!(found, old);
                        before += 1;
                    } else {
                        assert_eq!(found, grown);
                        after += 1;
                    }
                    let again = image.to_mem(SectorSize::S512);
                    assert_eq!(open(&again, mode).grow(wipe, &Control::new()), Ok(room));
                    assert_eq!(contents(&open(&again, mode)), grown);
                }
            });
            assert!(
                before > 10 && after > 0,
                "{before} crashes before, {after} after"
            );
        }
    }
}

#[test]
fn growing_without_room_changes_nothing() {
    let bytes = dirty();
    let disk = Arc::new(MemDevice::from_bytes(&bytes, SectorSize::S512));
    let device = open(&disk, Mode::Journal);
    let size = device.superblock().provided_data_sectors();
    assert_eq!(device.grow(true, &Control::new()), Ok(size));
    assert_eq!(
        contents(&open(&disk, Mode::Direct)),
        paint(0, len(&open(&disk, Mode::Direct)))
    );
}

#[test]
fn cancelled_growth_leaves_the_old_size() {
    let mut bytes = dirty();
    bytes.resize(LARGE, 0);
    let disk = Arc::new(MemDevice::from_bytes(&bytes, SectorSize::S512));
    let device = open(&disk, Mode::Journal);
    let old = contents(&device);
    let control = Control::new();
    control.cancel();
    let cancelled = Error::Device {
        source: DeviceError::Cancelled,
    };
    assert_eq!(device.grow(true, &control), Err(cancelled));
    assert_eq!(contents(&open(&disk, Mode::Journal)), old);
}

#[test]
fn shrinking_applies_the_journal_first_and_keeps_what_is_left() {
    let bytes = dirty();
    let small = SMALL - 20 * 1024;
    let disk = Arc::new(CrashDevice::from_bytes(&bytes, SectorSize::S512));
    let device = open(&disk, Mode::Journal);
    let old = contents(&device);
    let left = device.shrink(sizes(small)).expect("room enough");
    let left = usize::try_from(left.get() * 512).expect("small");
    assert!(left < old.len() && left > 8192);
    let mut cut = disk.current().to_vec();
    cut.truncate(small);
    let cut = MemDevice::from_bytes(&cut, SectorSize::S512);
    assert_eq!(contents(&open(&cut, Mode::Journal)), old[..left]);
    // Before the file is cut, a crash leaves the old or the new size.
    disk.recording()
        .for_each_crash(&CrashOptions::default(), |_, image: Image| {
            let found = contents(&open(image.to_mem(SectorSize::S512), Mode::Journal));
            assert!(found == old || found == old[..left]);
        });
}

#[test]
fn shrinking_to_more_than_there_is_or_to_nothing_is_refused() {
    let mut bytes = dirty();
    bytes.resize(LARGE, 0);
    let disk = Arc::new(MemDevice::from_bytes(&bytes, SectorSize::S512));
    let device = open(&disk, Mode::Journal);
    let found = device.superblock().provided_data_sectors();
    let room = device.unchecked().room();
    assert_eq!(
        device.shrink(sizes(LARGE)),
        Err(Error::Growing { found, room })
    );
    let error = open(&disk, Mode::Journal).shrink(sizes(20 * 1024));
    assert!(matches!(error, Err(Error::TooSmall { .. })), "{error:?}");
    assert_eq!(disk.to_vec(), bytes);
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Entries for blocks behind the end are dropped; those of a smaller device came back when it grew.
#[test]
fn a_grown_device_has_none_of_the_entries_that_waited_for_blocks_it_did_not_have() {
    let mut bytes = dirty();
    // Its last blocks wait in the journal; without them it is as if it had been shrunk.
    let provided = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
    let smaller = provided - 8;
    put(&mut bytes, 16, smaller);
    let disk = Arc::new(MemDevice::from_bytes(&bytes, SectorSize::S512));
    let device = open(Arc::clone(&disk), Mode::Journal);
    assert_eq!(len(&device), usize::try_from(smaller * 512).expect("small"));
    let grown = device.grow(true, &Control::new()).expect("no faults here");
    assert_eq!(grown, SectorCount::new(provided));
    let device = open(Arc::clone(&disk), Mode::Journal);
    assert_eq!(device.unchecked().blocks_in_journal(), Ok(0));
    let found = contents(&device);
    let old = usize::try_from(smaller * 512).expect("small");
    assert!(found[..old] == paint(0, old)[..]);
    assert!(found[old..].iter().all(|byte| *byte == 0));
}

/// What waited for blocks that stay is in place, where a kernel in recovery mode reads it.
#[test]
fn a_shrunk_device_has_an_empty_journal_and_everything_in_place() {
    let mut bytes = dirty();
    let disk = Arc::new(MemDevice::from_bytes(&bytes, SectorSize::S512));
    let whole = len(&open(&disk, Mode::Journal));
    let shrunk = open(Arc::clone(&disk), Mode::Journal).shrink(sizes(SMALL - 4096));
    let shrunk = shrunk.expect("no faults here");
    assert!(shrunk.get() * 512 < u64::try_from(whole).expect("small"));
    bytes = disk.to_vec();
    bytes.truncate(SMALL - 4096);
    let disk = Arc::new(MemDevice::from_bytes(&bytes, SectorSize::S512));
    assert_eq!(
        open(&disk, Mode::Journal).unchecked().blocks_in_journal(),
        Ok(0)
    );
    let found = contents(&open(&disk, Mode::Recovery));
    assert!(found == paint(0, found.len()));
}

/// It would begin again with the blocks that are new, and leave them unchecked until then.
#[test]
fn a_recalculation_that_had_finished_is_finished_in_a_grown_device() {
    let mut bytes = dirty();
    let provided = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
    bytes[24] |= 2;
    put(&mut bytes, 32, provided);
    bytes.resize(LARGE, 0);
    let disk = Arc::new(MemDevice::from_bytes(&bytes, SectorSize::S512));
    let grown = open(Arc::clone(&disk), Mode::Journal).grow(true, &Control::new());
    let grown = grown.expect("no faults here").get();
    assert!(grown > provided);
    let device = open(&disk, Mode::Journal);
    assert_eq!(device.superblock().recalc_sector().get(), grown);
}
