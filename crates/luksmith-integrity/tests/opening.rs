//! What opening reads: of a journal that nobody uses, the metadata sectors alone.

#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Error as DeviceError, Operation, SectorCount, SectorSize,
    SparseMemDevice,
};
use luksmith_integrity::{
    Devices, DigestName, Error, FormatRequest, HashedDevice, JournalCipher, Mode, OpenOptions,
    format,
};
use luksmith_testkit::{CountingDevice, HookDevice};

type Disk = Arc<CountingDevice<SparseMemDevice>>;

/// Bytes of one section: 8 metadata sectors, 48 blocks of 4096 bytes.
const SECTION: u64 = 392 * 512;

fn cipher(name: &str) -> Option<Arc<JournalCipher>> {
    let key = [0x5a; 32];
    (name != "plain").then(|| Arc::new(JournalCipher::new(name, &key).expect("a cipher")))
}

fn options(cipher: Option<&Arc<JournalCipher>>) -> OpenOptions {
    match cipher {
        Some(cipher) => OpenOptions::new().journal_cipher(Arc::clone(cipher)),
        None => OpenOptions::new(),
    }
}

/// A fresh device with sections of 392 sectors.
fn formatted(bytes: u64, cipher: Option<&Arc<JournalCipher>>) -> Disk {
    let device = SparseMemDevice::new(ByteLen::new(bytes), SectorSize::S512);
    let disk = Arc::new(CountingDevice::new(device));
    let request = FormatRequest::new(4, SectorSize::S4096).expect("a tag size that exists");
    let devices = Devices::interleaved(Arc::clone(&disk));
    format(&devices, &request, None, cipher.cloned()).expect("room enough");
    disk
}

fn open(disk: &Disk, options: OpenOptions) -> Result<HashedDevice<Disk>, Error> {
    let devices = Devices::interleaved(Arc::clone(disk));
    HashedDevice::open(devices, options, DigestName::Crc32c, None)
}

fn write(device: &HashedDevice<Disk>, block: u64, value: u8) -> Result<(), DeviceError> {
    device.write_at(ByteOffset::new(block * 4096), &[value; 4096])
}

fn read(device: &HashedDevice<Disk>, block: u64) -> Result<u8, DeviceError> {
    let mut bytes = [0; 4096];
    device.read_at(ByteOffset::new(block * 4096), &mut bytes)?;
    assert!(bytes.iter().all(|byte| *byte == bytes[0]));
    Ok(bytes[0])
}

fn change(disk: &Disk, at: u64, bytes: &[u8; 8]) {
    let sector = ByteOffset::new(at / 512 * 512);
    let mut whole = [0; 512];
    disk.read_at(sector, &mut whole).expect("a memory device");
    let at = usize::try_from(at % 512).expect("below 512");
    whole[at..at + 8].copy_from_slice(bytes);
    disk.write_at(sector, &whole).expect("a memory device");
}

/// The journal of 64 MiB was read whole.
#[test]
fn opening_a_closed_device_reads_a_page_of_each_section_whatever_its_size() {
    let cases = [
        ("plain", 64 << 20, 2),
        ("plain", 1 << 40, 334),
        ("ctr(aes)", 64 << 20, 2),
        ("cbc(aes)", 64 << 20, 2),
        ("chacha20", 64 << 20, 2),
    ];
    for (name, bytes, sections) in cases {
        let cipher = cipher(name);
        let disk = formatted(bytes, cipher.as_ref());
        let fresh = options(cipher.as_ref());
        let device = open(&disk, fresh.clone()).expect("formatted");
        assert_eq!(device.layout().journal_sections(), sections);
        assert_eq!(device.layout().section().bytes(), SECTION);
        // So that numbers differ within the journal.
        for block in 0..60 {
            write(&device, block, 7).expect("no faults here");
        }
        device.close().expect("no faults here");
        disk.take();
        let device = open(&disk, fresh).expect("closed");
        let counts = disk.take();
        // The superblock, and a page of each section.
        let expected = 4096 + u64::from(sections) * 4096;
        assert_eq!(counts.read_bytes, expected, "{name}, {bytes}");
        assert_eq!(device.unchecked().blocks_in_journal(), Ok(0));
        assert_eq!(read(&device, 59), Ok(7));
        // The first write reads the rest, to know where the journal goes on.
        disk.take();
        write(&device, 0, 8).expect("no faults here");
        let counts = disk.take();
        assert!(counts.read_bytes >= u64::from(sections) * SECTION);
        assert_eq!(counts.writes, 0, "{name}");
        device.close().expect("no faults here");
    }
}

#[test]
fn one_used_entry_has_the_whole_journal_read() {
    let disk = formatted(64 << 20, None);
    let device = open(&disk, OpenOptions::new()).expect("formatted");
    for block in 0..50 {
        write(&device, block, 7).expect("no faults here");
    }
    device.flush().expect("no faults here");
    std::mem::forget(device);
    disk.take();
    let device = open(&disk, OpenOptions::new()).expect("not closed");
    assert!(disk.take().read_bytes > 2 * SECTION);
    assert_eq!(device.unchecked().blocks_in_journal(), Ok(50));
    assert_eq!(read(&device, 49), Ok(7));
    // An entry behind unused ones counts too, as it does for the kernel.
    let disk = formatted(64 << 20, None);
    let entry_47 = 4096 + SECTION + 7 * 512 + 5 * 80;
    change(&disk, entry_47, &9_u64.to_le_bytes());
    disk.take();
    let refused = Error::JournalSector {
        section: 1,
        entry: 47,
        sector: luksmith_block::SectorNumber::new(9),
    };
    assert_eq!(open(&disk, OpenOptions::new()).err(), Some(refused));
    // A metadata sector without an id of its place, in a section without entries.
    let disk = formatted(64 << 20, None);
    change(&disk, 4096 + SECTION + 6 * 512 + 504, &[0xaa; 8]);
    let refused = Error::CommitId {
        section: 1,
        sector: 6,
    };
    assert_eq!(open(&disk, OpenOptions::new()).err(), Some(refused));
}

/// A commit that was cut off before any of its metadata sectors arrived.
#[test]
fn sectors_of_a_torn_commit_in_an_unused_journal_are_erased_before_it_goes_on() {
    let disk = formatted(64 << 20, None);
    // Sector 100 of section 0 carries the number 1 already.
    let id = 0x2222_2222_2222_2222_u64 ^ 100;
    change(&disk, 4096 + 100 * 512 + 504, &id.to_le_bytes());
    let device = open(&disk, OpenOptions::new()).expect("torn, not damaged");
    assert_eq!(device.unchecked().blocks_in_journal(), Ok(0));
    disk.take();
    write(&device, 3, 5).expect("no faults here");
    assert_eq!(disk.take().written_bytes, 2 * SECTION);
    device.flush().expect("no faults here");
    std::mem::forget(device);
    let device = open(&disk, OpenOptions::new()).expect("not closed");
    assert_eq!(device.unchecked().blocks_in_journal(), Ok(1));
    assert_eq!(read(&device, 3), Ok(5));
}

#[test]
fn damage_in_an_unused_journal_stops_writes_and_not_reads() {
    let sector = ByteOffset::new(4096 + SECTION + 100 * 512);
    let cases: [(&[(u64, u64)], _, _); 2] = [
        // No commit id of this place.
        (&[(1, 0xaaaa)], "journal section", 1),
        // Numbers 1, 2 and 3 in a journal of number 0.
        (
            &[
                (0, 0x2222_2222_2222_2222),
                (0, 0x3333_3333_3333_3333),
                (1, 0x4444_4444_4444_4444),
            ],
            "journal at sector",
            8,
        ),
    ];
    for (ids, what, number) in cases {
        let disk = formatted(64 << 20, None);
        let device = open(&disk, OpenOptions::new().mode(Mode::Direct)).expect("formatted");
        write(&device, 1, 4).expect("no faults here");
        device.close().expect("no faults here");
        for (index, (section, id)) in (200_u64..).zip(ids) {
            let at = 4096 + section * SECTION + index * 512 + 504;
            let id = if *id == 0xaaaa {
                *id
            } else {
                id ^ (section << 32 | index)
            };
            change(&disk, at, &id.to_le_bytes());
        }
        let mut before = [0; 512];
        disk.read_at(sector, &mut before).expect("a memory device");
        for mode in [Mode::Journal, Mode::Direct, Mode::Bitmap] {
            let device = open(&disk, OpenOptions::new().mode(mode)).expect("nothing is applied");
            disk.take();
            assert_eq!(read(&device, 1), Ok(4));
            assert_eq!(
                write(&device, 1, 5),
                Err(DeviceError::Damaged { what, number })
            );
            let stopped = DeviceError::FailStop {
                operation: Operation::Write,
            };
            assert_eq!(write(&device, 1, 5), Err(stopped));
            assert_eq!(read(&device, 1), Ok(4));
            drop(device);
            let counts = disk.take();
            assert_eq!((counts.writes, counts.flushes), (0, 0), "{mode:?}");
        }
    }
}

/// Entries that appear while the device is open were shown to nobody, and are not applied.
#[test]
fn an_unused_journal_that_somebody_fills_is_not_applied() {
    let disk = formatted(64 << 20, None);
    let device = open(&disk, OpenOptions::new()).expect("formatted");
    let other = open(&disk, OpenOptions::new()).expect("formatted");
    for block in 0..96 {
        write(&other, block, 7).expect("no faults here");
    }
    other.flush().expect("no faults here");
    std::mem::forget(other);
    let changed = DeviceError::ChangedOutside {
        what: "journal section",
        number: 0,
    };
    disk.take();
    assert_eq!(write(&device, 0, 1), Err(changed));
    assert_eq!(disk.take().writes, 0);
}

#[test]
fn a_journal_of_small_sections_is_read_at_once() {
    let device = SparseMemDevice::new(ByteLen::new(1 << 30), SectorSize::S512);
    let disk = Arc::new(CountingDevice::new(device));
    // Three entries of 144 bytes fit a metadata sector, so a section has 24.
    let request = FormatRequest::new(128, SectorSize::S512)
        .expect("a tag size that exists")
        .journal_sectors(SectorCount::new(32 * 100));
    let devices = Devices::interleaved(Arc::clone(&disk));
    format(&devices, &request, None, None).expect("room enough");
    disk.take();
    let device = open(&disk, OpenOptions::new()).expect("formatted");
    let counts = disk.take();
    assert_eq!(device.layout().section().sectors, 32);
    let journal = u64::from(device.layout().journal_sections()) * 32 * 512;
    assert_eq!(counts.read_bytes, 4096 + journal);
    assert!(counts.reads < 5, "{counts:?}");
}

/// More than 2^17 blocks in the journal were refused, also to who only wanted to read: a journal of
/// 200 MiB that we had made ourselves could be opened by the kernel alone.
#[test]
fn a_large_journal_of_small_blocks_opens_however_full_it_is() {
    let disk = SparseMemDevice::new(ByteLen::new(256 << 20), SectorSize::S512);
    let disk = Arc::new(CountingDevice::new(disk));
    let request = FormatRequest::new(4, SectorSize::S512)
        .expect("a tag size that exists")
        .journal_sectors(SectorCount::new((80 << 20) / 512));
    let devices = Devices::interleaved(Arc::clone(&disk));
    let (_, layout) = format(&devices, &request, None, None).expect("room enough");
    let entries = layout.section().entries * u64::from(layout.journal_sections());
    assert!(entries > 1 << 17, "{entries}");
    let large = OpenOptions::new()
        .watermark(100)
        .journal_buffer(ByteLen::new(128 << 20));
    let device = open(&disk, large).expect("formatted");
    let blocks = usize::try_from(entries).expect("small");
    for first in (0..blocks).step_by(2048) {
        let count = (blocks - first).min(2048);
        let at = ByteOffset::new(u64::try_from(first * 512).expect("small"));
        device
            .write_at(at, &vec![7; count * 512])
            .expect("no faults here");
    }
    device.flush().expect("no faults here");
    std::mem::forget(device);
    for options in [OpenOptions::new().read_only(true), OpenOptions::new()] {
        let device = open(&disk, options).expect("not closed");
        assert_eq!(device.unchecked().blocks_in_journal(), Ok(blocks));
        assert_eq!(read(&device, entries / 8 - 1), Ok(7));
    }
}

/// One lock was held while a section was read: a panic of the device there was the end of every
/// read of what waits in the journal, and one slow read held up all others.
#[test]
fn a_read_of_the_journal_that_hangs_or_panics_concerns_nobody_else() {
    let disk = formatted(64 << 20, None);
    let large = OpenOptions::new().watermark(100);
    let device = open(&disk, large).expect("formatted");
    // Sections have 48 entries.
    for block in 0..60 {
        write(&device, block, 7).expect("no faults here");
    }
    device.flush().expect("no faults here");
    std::mem::forget(device);

    let (begun, begins) = mpsc::channel();
    let (goes_on, go_on) = mpsc::channel::<()>();
    let go_on = Mutex::new(go_on);
    let is_armed = Arc::new(AtomicBool::new(false));
    let armed = Arc::clone(&is_armed);
    let hooked = HookDevice::new(disk, move |_, at: ByteOffset, len: ByteLen| {
        let is_first_section = at.get() == 4096 && len.get() == SECTION;
        if is_first_section && armed.swap(false, Ordering::SeqCst) {
            begun.send(()).expect("someone listens");
            go_on.lock().expect("one at a time").recv().expect("a word");
            panic!("as asked");
        }
        Ok(())
    });
    let devices = Devices::interleaved(hooked);
    let options = OpenOptions::new().read_only(true);
    let device = HashedDevice::open(devices, options, DigestName::Crc32c, None);
    let device = device.expect("not closed");
    assert_eq!(device.unchecked().blocks_in_journal(), Ok(60));
    let read = |block: u64| {
        let mut bytes = [0; 4096];
        let at = ByteOffset::new(block * 4096);
        device.read_at(at, &mut bytes).map(|()| bytes[0])
    };
    is_armed.store(true, Ordering::SeqCst);
    thread::scope(|scope| {
        let hanging = scope.spawn(|| catch_unwind(AssertUnwindSafe(|| read(0))));
        begins.recv().expect("it reads the first section");
        let (told, tell) = mpsc::channel();
        scope.spawn(move || told.send(read(50)));
        let other = tell.recv_timeout(Duration::from_secs(20));
        goes_on.send(()).expect("it waits");
        assert_eq!(other, Ok(Ok(7)));
        assert!(hanging.join().expect("caught").is_err());
    });
    assert_eq!(read(0), Ok(7));
}
