//! Superblocks, journals and bitmaps that nobody sane wrote: an exact error in little time and
//! memory, and nothing written.

#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

use std::sync::Arc;

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, MemDevice, SectorCount, SectorNumber, SectorSize,
    SparseMemDevice,
};
use luksmith_integrity::{
    Devices, DigestName, Error, FormatRequest, HashedDevice, Interleave, Mode, OpenOptions, format,
};
use luksmith_testkit::CountingDevice;

const DIGEST: DigestName = DigestName::Crc32c;

/// Sectors of a journal section: 8 of entries, 8 blocks of one sector.
const SECTION: usize = 16 * 512;

/// First byte of a journal section.
const fn section_at(section: usize) -> usize {
    4096 + section * SECTION
}

/// A device with three journal sections. Blocks 0 to 7 wait in section 0, 8 and 9 in section 1,
/// where the rest is unused; section 2 is as formatted.
fn dirty() -> Vec<u8> {
    let disk = MemDevice::new(ByteLen::new(128 << 10), SectorSize::S512).expect("small");
    let disk = Arc::new(disk);
    let request = FormatRequest::new(255, SectorSize::S512)
        .expect("a tag size that exists")
        .journal_sectors(SectorCount::new(48))
        .interleave(Interleave::Sectors(8));
    format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
    let options = OpenOptions::new().watermark(100);
    let devices = Devices::interleaved(Arc::clone(&disk));
    let device = HashedDevice::open(devices, options, DIGEST, None).expect("formatted");
    device
        .write_at(ByteOffset::ZERO, &[7; 10 * 512])
        .expect("no faults here");
    device.flush().expect("no faults here");
    std::mem::forget(device);
    disk.to_vec()
}

type Disk = Arc<CountingDevice<MemDevice>>;

/// Opens a copy of `bytes`; gives the error. Whatever it is, nothing is written, and no more is
/// read than the device has, twice.
///
/// What opens is also activated, as a first write does, in the same bounds of reading: that ends,
/// with an error or without.
fn error_of(bytes: &[u8], options: &OpenOptions) -> Option<Error> {
    let disk: Disk = Arc::new(CountingDevice::new(MemDevice::from_bytes(
        bytes,
        SectorSize::S512,
    )));
    let devices = Devices::interleaved(Arc::clone(&disk));
    let opened = HashedDevice::open(devices, options.clone(), DIGEST, None);
    let counts = disk.take();
    assert_eq!((counts.writes, counts.flushes, counts.discards), (0, 0, 0));
    let most = 2 * u64::try_from(bytes.len()).expect("small");
    let error = opened.as_ref().err().cloned();
    assert!(counts.read_bytes <= most, "{error:?}: {counts:?}");
    if let Ok(device) = opened {
        let activated = device.unchecked().apply_journal();
        let counts = disk.take();
        assert!(counts.read_bytes <= most, "{activated:?}: {counts:?}");
    }
    error
}

fn patched(bytes: &[u8], at: usize, patch: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    assert_ne!(
        &bytes[at..at + patch.len()],
        patch,
        "the patch changes nothing"
    );
    bytes[at..at + patch.len()].copy_from_slice(patch);
    bytes
}

fn field(name: &'static str, found: u64) -> impl Fn(&Error) -> bool {
    move |error| match error {
        Error::Field {
            field, found: is, ..
        } => *field == name && *is == found,
        _ => false,
    }
}

#[test]
fn fields_of_the_superblock_outside_their_range_are_named() {
    let bytes = dirty();
    let options = OpenOptions::new();
    assert_eq!(error_of(&bytes, &options), None);
    let error = |at, patch: &[u8]| error_of(&patched(&bytes, at, patch), &options);
    assert_eq!(error(0, b"integrtX"), Some(Error::Magic));
    assert_eq!(error(8, &[0]), Some(Error::Version { found: 0 }));
    assert_eq!(error(8, &[8]), Some(Error::Version { found: 8 }));
    assert_eq!(error(24, &[0x28]), Some(Error::InlineMode));
    for (at, patch, name, found) in [
        (9, &[2][..], "log2_interleave_sectors", 2),
        (9, &[32], "log2_interleave_sectors", 32),
        (10, &[0, 0], "integrity_tag_size", 0),
        (10, &[0, 1], "integrity_tag_size", 256),
        (10, &[0xff, 0xff], "integrity_tag_size", 65535),
        (12, &[0, 0, 0, 0], "journal_sections", 0),
        (28, &[4], "log2_sectors_per_block", 4),
    ] {
        let error = error(at, patch).expect("refused");
        assert!(field(name, found)(&error), "{error:?}");
    }
    // Zeros are no damage, but a device that was never formatted.
    let zeros = [&[0; 4096][..], &bytes[4096..]].concat();
    assert_eq!(error_of(&zeros, &options), Some(Error::NotFormatted));
}

#[test]
fn impossible_geometry_is_refused_by_its_numbers() {
    let bytes = dirty();
    let device = SectorCount::new(256);
    let options = OpenOptions::new();
    let error = |at, patch: &[u8]| error_of(&patched(&bytes, at, patch), &options);
    let provided = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
    // A separate metadata device was not given.
    assert_eq!(
        error(9, &[0]),
        Some(Error::Interleave {
            found: 0,
            split: false
        })
    );
    // More sectors than there is room for, by one block, by all.
    for stored in [provided + 1, provided + 8, 1 << 40, u64::MAX] {
        assert_eq!(
            error(16, &stored.to_le_bytes()),
            Some(Error::TooSmall {
                needed: SectorCount::new(stored),
                found: SectorCount::new(provided),
            })
        );
    }
    assert_eq!(error(16, &[0; 8]), Some(Error::NoSectors));
    // A journal past the end of the device, and past what can be addressed.
    assert_eq!(
        error(12, &16_u32.to_le_bytes()),
        Some(Error::TooSmall {
            needed: SectorCount::new(8 + 16 * 16),
            found: device,
        })
    );
    let sections = u32::MAX;
    assert_eq!(
        error(12, &sections.to_le_bytes()),
        Some(Error::JournalSize {
            sectors: SectorCount::new(u64::from(sections) * 16),
        })
    );
    // Tags past the end: areas so large that the tags before the first one do not fit.
    assert!(matches!(error(9, &[31]), Some(Error::TooSmall { found, .. }) if found == device));
    // A start inside a block and one past the end of the device.
    let at = |start| OpenOptions::new().start(SectorNumber::new(start));
    let misplaced = error_of(&bytes, &at(1 << 40));
    assert!(
        matches!(misplaced, Some(Error::Device { .. })),
        "{misplaced:?}"
    );
    let overflowing = error_of(&bytes, &at(u64::MAX));
    assert!(
        matches!(overflowing, Some(Error::Device { .. })),
        "{overflowing:?}"
    );
}

#[test]
fn a_journal_larger_than_the_caller_wants_to_read_is_not_read() {
    let bytes = dirty();
    let options = OpenOptions::new().journal_limit(ByteLen::new(2 * 8192));
    assert_eq!(
        error_of(&bytes, &options),
        Some(Error::JournalLimit {
            found: ByteLen::new(3 * 8192),
            limit: ByteLen::new(2 * 8192),
        })
    );
    let options = OpenOptions::new().overlay_blocks(9);
    assert_eq!(
        error_of(&bytes, &options),
        Some(Error::OverlayLimit { limit: 9 })
    );
    let options = OpenOptions::new().overlay_blocks(10);
    assert_eq!(error_of(&bytes, &options), None);
}

#[test]
fn damage_to_the_journal_is_named_by_section_and_sector() {
    let bytes = dirty();
    let options = OpenOptions::new();
    for (section, sector) in [(0, 0), (0, 15), (1, 8), (2, 7)] {
        let at = section_at(section) + sector * 512 + 504;
        for patch in [[0xaa; 8], [0; 8], [0xff; 8]] {
            assert_eq!(
                error_of(&patched(&bytes, at, &patch), &options),
                Some(Error::CommitId {
                    section: u32::try_from(section).expect("small"),
                    sector,
                })
            );
        }
        // A commit id of another place.
        let neighbour = bytes[at - 512..][..8].to_vec();
        if sector > 0 {
            assert!(matches!(
                error_of(&patched(&bytes, at, &neighbour), &options),
                Some(Error::CommitId { .. })
            ));
        }
    }
}

/// The commit id of a place.
fn commit_id(section: usize, sector: usize, sequence: u64) -> [u8; 8] {
    let place = u64::try_from(section << 32 | sector).expect("small");
    (((sequence + 1) * 0x1111_1111_1111_1111) ^ place).to_le_bytes()
}

fn with_id(bytes: &[u8], section: usize, sector: usize, sequence: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = section_at(section) + sector * 512 + 504;
    bytes[at..at + 8].copy_from_slice(&commit_id(section, sector, sequence));
    bytes
}

#[test]
fn all_sequence_numbers_at_once_are_no_journal() {
    let bytes = dirty();
    assert_eq!(bytes[section_at(0) + 504..][..8], commit_id(0, 0, 1));
    let mixed = with_id(&with_id(&bytes, 0, 3, 2), 1, 5, 3);
    assert_eq!(
        error_of(&mixed, &OpenOptions::new()),
        Some(Error::CommitIds)
    );
}

fn waiting(bytes: &[u8]) -> usize {
    let disk = Arc::new(MemDevice::from_bytes(bytes, SectorSize::S512));
    let devices = Devices::interleaved(disk);
    let options = OpenOptions::new().read_only(true);
    let device = HashedDevice::open(devices, options, DIGEST, None).expect("torn, not damaged");
    device.unchecked().blocks_in_journal().expect("no panic")
}

#[test]
fn sections_cut_off_are_dropped_and_those_before_them_are_kept() {
    let bytes = dirty();
    assert_eq!(waiting(&bytes), 10);
    // The last sectors of the newest section never arrived: they are of the lap before.
    let torn = with_id(&with_id(&bytes, 1, 15, 0), 1, 14, 0);
    assert_eq!(waiting(&torn), 8);
    // Nothing of it is kept that arrived behind the first incomplete one.
    let torn = with_id(&bytes, 0, 0, 0);
    assert_eq!(waiting(&torn), 0);
}

/// Byte of an entry of a section.
fn entry_at(section: usize, entry: usize) -> usize {
    section_at(section) + entry * 512
}

#[test]
fn wild_sector_numbers_are_dropped_or_refused_and_overlapping_entries_go_by_their_order() {
    let bytes = dirty();
    let options = OpenOptions::new();
    let provided = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
    // Past the end: dropped, as the kernel drops it. The high half of an unused entry is all ones.
    for sector in [
        provided,
        1 << 40,
        0xffff_fffe_0000_0000,
        u64::MAX >> 32 << 31,
    ] {
        let wild = patched(&bytes, entry_at(0, 3), &sector.to_le_bytes());
        assert_eq!(error_of(&wild, &options), None, "{sector:#x}");
        assert_eq!(waiting(&wild), 9, "{sector:#x}");
    }
    let unused = patched(
        &bytes,
        entry_at(0, 3),
        &0xffff_ffff_1234_5678_u64.to_le_bytes(),
    );
    assert_eq!(waiting(&unused), 9);
    // Another sector than the tag was made for.
    let moved = patched(&bytes, entry_at(0, 3), &30_u64.to_le_bytes());
    assert_eq!(
        error_of(&moved, &options),
        Some(Error::JournalTag {
            section: 0,
            entry: 3,
            sector: SectorNumber::new(30),
        })
    );
    // Two entries for one block, both right: the later one counts, and there is one block less.
    let mut twice = bytes.clone();
    let (entry, data) = (entry_at(0, 0), section_at(0) + 8 * 512);
    let copy = twice[entry..entry + 272].to_vec();
    twice[entry_at(1, 0)..][..272].copy_from_slice(&copy);
    let copy = twice[data..data + 504].to_vec();
    twice[section_at(1) + 8 * 512..][..504].copy_from_slice(&copy);
    assert_eq!(error_of(&twice, &options), None);
    assert_eq!(waiting(&twice), 9);
}

#[test]
fn a_recalculation_past_the_end_is_finished() {
    let disk = MemDevice::from_bytes(&dirty(), SectorSize::S512);
    let disk = Arc::new(disk);
    let devices = Devices::interleaved(Arc::clone(&disk));
    let device = HashedDevice::open(devices, OpenOptions::new(), DIGEST, None).expect("formatted");
    device.close().expect("no faults here");
    let bytes = disk.to_vec();
    for position in [u64::MAX, 1 << 60, 1 << 20] {
        let flagged = patched(&bytes, 24, &[bytes[24] | 0x02]);
        let wild = patched(&flagged, 32, &position.to_le_bytes());
        let disk = Arc::new(MemDevice::from_bytes(&wild, SectorSize::S512));
        let devices = Devices::interleaved(Arc::clone(&disk));
        let device = HashedDevice::open(devices, OpenOptions::new(), DIGEST, None)
            .expect("the kernel clips it too");
        // Everything is checked: nothing has a tag but blocks 0 to 9.
        let mut block = [0; 512];
        device
            .read_at(ByteOffset::new(9 * 512), &mut block)
            .expect("it has a tag");
        assert!(
            device
                .read_at(ByteOffset::new(10 * 512), &mut block)
                .is_err()
        );
    }
}

#[test]
fn a_bitmap_that_does_not_fit_its_place_is_refused_before_it_is_read() {
    let disk = SparseMemDevice::new(ByteLen::new(256 << 20), SectorSize::S512);
    let disk = Arc::new(CountingDevice::new(disk));
    let request = FormatRequest::new(255, SectorSize::S512)
        .expect("a tag size that exists")
        .journal_sectors(SectorCount::new(48));
    let devices = Devices::interleaved(Arc::clone(&disk));
    let (superblock, _) = format(&devices, &request, None, None).expect("room enough");
    let blocks = superblock.provided_data_sectors().get();
    // The superblock says: a bitmap, with one bit for each block, where the journal has 24 KiB.
    let mut bytes = vec![0; 4096];
    disk.read_at(ByteOffset::ZERO, &mut bytes)
        .expect("a memory device");
    bytes[24] |= 0x04;
    bytes[29] = 0;
    disk.write_at(ByteOffset::ZERO, &bytes)
        .expect("a memory device");
    for options in [
        OpenOptions::new(),
        OpenOptions::new().mode(Mode::Bitmap),
        OpenOptions::new().read_only(true),
    ] {
        disk.take();
        let devices = Devices::interleaved(Arc::clone(&disk));
        assert_eq!(
            HashedDevice::open(devices, options, DIGEST, None).err(),
            Some(Error::BitmapSize {
                found: ByteLen::new(blocks.div_ceil(32768) * 4096),
                limit: ByteLen::new(3 * 8192),
            })
        );
        let counts = disk.take();
        assert_eq!((counts.writes, counts.read_bytes), (0, 4096));
    }
}
