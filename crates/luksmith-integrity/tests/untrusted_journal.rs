//! Journals that somebody else wrote: entries that do not verify are never applied.

#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

use std::sync::Arc;

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Error as DeviceError, MemDevice, SectorCount, SectorNumber,
    SectorSize, TaggedDevice,
};
use luksmith_integrity::{
    Devices, DigestName, Error, FlagPolicy, FormatRequest, HashedDevice, IntegrityDevice,
    JournalMac, Mode, OpenOptions, format,
};

const KEY: &[u8] = b"a key that the attacker does not have";

type Disk = Arc<MemDevice>;

fn hmac() -> DigestName {
    DigestName::parse("hmac-sha256").expect("a digest that is known")
}

fn open(disk: &Disk, options: OpenOptions) -> Result<HashedDevice<Disk>, Error> {
    let devices = Devices::interleaved(Arc::clone(disk));
    HashedDevice::open(devices, options, hmac(), Some(KEY))
}

/// A device with blocks 0, 8 and 16 (of eight sectors) written and committed, not in place.
fn dirty() -> Disk {
    let disk = MemDevice::new(ByteLen::new(1 << 20), SectorSize::S512).expect("small");
    let disk = Arc::new(disk);
    let request = FormatRequest::new(32, SectorSize::S4096)
        .expect("a tag size that exists")
        .journal_sectors(SectorCount::new(600));
    format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
    let device = open(&disk, OpenOptions::new()).expect("formatted");
    for block in 0..3_u8 {
        let at = ByteOffset::new(u64::from(block) * 4096);
        device
            .write_at(at, &vec![block + 1; 4096])
            .expect("no faults here");
    }
    device.flush().expect("no faults here");
    drop(device);
    disk
}

/// Byte of entry `entry` of section 0, and of its data.
fn places(entry: usize) -> (u64, u64) {
    let entry_at = 4096 + (entry % 8) * 512 + entry / 8 * 104;
    let data_at = 4096 + (8 + entry * 8) * 512;
    let position = |at: usize| u64::try_from(at).expect("small");
    (position(entry_at), position(data_at))
}

fn flip(disk: &Disk, at: u64) {
    let sector = ByteOffset::new(at / 512 * 512);
    let mut bytes = [0; 512];
    disk.read_at(sector, &mut bytes).expect("a memory device");
    bytes[usize::try_from(at % 512).expect("below 512")] ^= 1;
    disk.write_at(sector, &bytes).expect("a memory device");
}

fn read(device: &HashedDevice<Disk>, block: u64) -> Result<u8, DeviceError> {
    let mut data = [0; 4096];
    device.read_at(ByteOffset::new(block * 4096), &mut data)?;
    Ok(data[0])
}

#[test]
fn an_entry_that_was_tampered_with_is_named_and_nothing_is_written() {
    // The data, the tag, the displaced bytes, and the sector that the entry names.
    let (entry, data) = places(1);
    for at in [data + 100, entry + 8 + 64 + 5, entry + 8 + 3, entry] {
        let disk = dirty();
        flip(&disk, at);
        let before = disk.to_vec();
        let error = open(&disk, OpenOptions::new()).err();
        if at == entry {
            // Sector 9 is inside a block.
            let sector = SectorNumber::new(9);
            let expected = Error::JournalSector {
                section: 0,
                entry: 1,
                sector,
            };
            assert_eq!(error, Some(expected));
        } else {
            let sector = SectorNumber::new(8);
            let expected = Error::JournalTag {
                section: 0,
                entry: 1,
                sector,
            };
            assert_eq!(error, Some(expected), "byte {at}");
            let device = open(&disk, OpenOptions::new().read_only(true)).expect("to look at");
            assert_eq!(read(&device, 0), Ok(1));
            assert_eq!(read(&device, 2), Ok(3));
            let mismatch = DeviceError::TagMismatch {
                first: sector,
                count: 8,
            };
            assert_eq!(read(&device, 1), Err(mismatch));
        }
        assert!(disk.to_vec() == before, "something was written");
    }
}

#[test]
fn an_entry_redirected_to_another_block_is_not_applied() {
    let disk = dirty();
    let (entry, _) = places(1);
    // Sector 8 becomes sector 72: another block, for which neither data nor tag were made.
    flip(&disk, entry);
    flip(&disk, entry);
    let sector = ByteOffset::new(entry);
    let mut bytes = [0; 512];
    disk.read_at(sector, &mut bytes).expect("a memory device");
    bytes[..8].copy_from_slice(&72_u64.to_le_bytes());
    disk.write_at(sector, &bytes).expect("a memory device");
    let expected = Error::JournalTag {
        section: 0,
        entry: 1,
        sector: SectorNumber::new(72),
    };
    assert_eq!(open(&disk, OpenOptions::new()).err(), Some(expected));
}

#[test]
fn a_journal_changed_between_opening_and_the_first_write_is_not_applied() {
    let disk = dirty();
    let device = open(&disk, OpenOptions::new()).expect("the journal verifies");
    let (_, data) = places(2);
    flip(&disk, data + 9);
    let before = disk.to_vec();
    let mismatch = DeviceError::TagMismatch {
        first: SectorNumber::new(16),
        count: 8,
    };
    assert_eq!(device.write_at(ByteOffset::ZERO, &[9; 4096]), Err(mismatch));
    assert!(disk.to_vec() == before, "something was written");
    let stopped = device.write_at(ByteOffset::ZERO, &[9; 4096]);
    assert!(matches!(stopped, Err(DeviceError::FailStop { .. })));
    // What verifies can still be read.
    assert_eq!(read(&device, 0), Ok(1));
    assert_eq!(read(&device, 2), Err(mismatch));
}

/// It used to be told as a mismatch of sector 0.
#[test]
fn a_section_replaced_while_the_device_is_open_is_named() {
    let disk = dirty();
    let device = open(&disk, OpenOptions::new()).expect("the journal verifies");
    let reader = open(&disk, OpenOptions::new().read_only(true)).expect("the journal verifies");
    // The commit id of the section's last data sector.
    let (_, data) = places(31);
    flip(&disk, data + 8 * 512 - 1);
    let before = disk.to_vec();
    let changed = DeviceError::ChangedOutside {
        what: "journal section",
        number: 0,
    };
    assert_eq!(device.write_at(ByteOffset::ZERO, &[9; 4096]), Err(changed));
    assert_eq!(read(&reader, 1), Err(changed));
    assert!(disk.to_vec() == before, "something was written");
}

#[test]
fn without_a_check_entries_are_applied_as_the_kernel_applies_them() {
    let disk = dirty();
    let (_, data) = places(1);
    flip(&disk, data);
    // In direct mode the journal is erased once it is applied; else it would be refused again.
    let options = OpenOptions::new()
        .flags(FlagPolicy::Standalone)
        .mode(Mode::Direct);
    let trusting = IntegrityDevice::open(Devices::interleaved(Arc::clone(&disk)), options)
        .expect("nothing is checked");
    trusting.apply_journal().expect("nothing is checked");
    trusting.close().expect("no faults here");
    // It is noticed when the block is read.
    let device = open(&disk, OpenOptions::new()).expect("the journal was applied");
    assert!(matches!(
        read(&device, 1),
        Err(DeviceError::TagMismatch { .. })
    ));
    assert_eq!(read(&device, 2), Ok(3));
}

#[test]
fn a_luks2_segment_with_foreign_flags_is_refused_even_for_reading() {
    let disk = dirty();
    // RECALCULATING, DIRTY_BITMAP, FIXED_HMAC, DISCARD_KEYED, and a bit that nobody knows.
    for flag in [0x02, 0x04, 0x10, 0x40, 0x80] {
        let disk = Arc::new(MemDevice::from_bytes(&disk.to_vec(), SectorSize::S512));
        let mut bytes = [0; 512];
        disk.read_at(ByteOffset::ZERO, &mut bytes)
            .expect("a memory device");
        bytes[24] |= flag;
        disk.write_at(ByteOffset::ZERO, &bytes)
            .expect("a memory device");
        for read_only in [true, false] {
            let options = OpenOptions::new().read_only(read_only);
            let error =
                IntegrityDevice::open(Devices::interleaved(Arc::clone(&disk)), options).err();
            let Some(Error::FlagsRefused { found }) = error else {
                panic!("{flag:#x}: {error:?}");
            };
            assert_eq!(found.bits(), u32::from(flag | 8));
        }
    }
}

#[test]
fn a_device_opened_for_reading_takes_no_tuples_either() {
    let disk = dirty();
    let options = OpenOptions::new().read_only(true);
    let device =
        IntegrityDevice::open(Devices::interleaved(Arc::clone(&disk)), options).expect("formatted");
    let refused = Err(DeviceError::ReadOnly);
    assert_eq!(device.write_tuples(SectorNumber::ZERO, &[0; 32]), refused);
    assert_eq!(
        device.write_tagged(SectorNumber::ZERO, 1, &mut |_, _| {}),
        refused
    );
    assert_eq!(device.apply_journal(), refused);
}

/// Without keys for tags, as under a layer that encrypts, the MAC is all that tells.
#[test]
fn a_section_whose_entries_do_not_fit_its_mac_is_not_applied() {
    let disk = MemDevice::new(ByteLen::new(1 << 20), SectorSize::S512).expect("small");
    let disk = Arc::new(disk);
    let mac = JournalMac::new(hmac(), Some(KEY)).expect("an algorithm");
    let mac = Arc::new(mac);
    let request = FormatRequest::new(32, SectorSize::S4096)
        .expect("a tag size that exists")
        .journal_mac(true)
        .journal_sectors(SectorCount::new(600));
    let devices = || Devices::interleaved(Arc::clone(&disk));
    format(&devices(), &request, Some(Arc::clone(&mac)), None).expect("room enough");
    let options = || {
        OpenOptions::new()
            .flags(FlagPolicy::Standalone)
            .journal_mac(Arc::clone(&mac))
            .legacy_hmac(true)
    };
    let device = IntegrityDevice::open(devices(), options()).expect("formatted");
    device
        .write_tagged(SectorNumber::new(8), 1, &mut |data, tuples| {
            data.fill(7);
            tuples.fill(1);
        })
        .expect("no faults here");
    device.flush().expect("no faults here");
    std::mem::forget(device);
    let device = IntegrityDevice::open(devices(), options()).expect("not closed");
    assert_eq!(device.blocks_in_journal(), Ok(1));
    // The entry is for block 3 now.
    let at = ByteOffset::new(4096);
    let mut sector = [0; 512];
    disk.read_at(at, &mut sector).expect("a memory device");
    assert_eq!(sector[..8], 8_u64.to_le_bytes());
    sector[0] = 24;
    disk.write_at(at, &sector).expect("a memory device");
    let before = disk.to_vec();
    for read_only in [true, false] {
        let error = IntegrityDevice::open(devices(), options().read_only(read_only)).err();
        assert_eq!(error, Some(Error::SectionMac { section: 0 }));
    }
    // Nor where it was changed while the device was open.
    let changed = DeviceError::ChangedOutside {
        what: "journal section",
        number: 0,
    };
    assert_eq!(device.apply_journal(), Err(changed));
    assert!(disk.to_vec() == before, "something was written");
}
