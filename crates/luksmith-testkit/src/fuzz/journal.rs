//! dm-integrity: journals in any state of wear.

use std::sync::{Arc, OnceLock};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, CheckTuple, Error as DeviceError, MemDevice, SectorCount,
    SectorNumber, SectorSize, TaggedDevice,
};
use luksmith_integrity::{
    Devices, FormatRequest, IntegrityDevice, Interleave, Mode, OpenOptions, format,
};

/// Tags so large that each metadata sector holds one entry, and a section eight.
const TAG: usize = 255;
const ENTRIES: usize = 8;
const SECTION_SECTORS: usize = 16;
const BLOCKS: usize = 40;

/// Bytes of the device: superblock, five sections at most, six areas.
const DEVICE: usize = (8 + 5 * SECTION_SECTORS + 6 * 16) * 512;

type Disk = Arc<MemDevice>;

/// A journal whose sections, commit ids and entries the input describes.
///
/// What the overlay of a read-only device shows is what is in place once the journal is applied, in
/// journal and direct mode; applying it twice changes nothing; reading writes nothing.
///
/// The first byte gives the number of sections, the second whether entries are checked. For each
/// section follow one byte for a number that all its sectors carry (bit 7 set), or none and 16
/// bytes for one each, where 4 and above stand for a foreign id; then a count of entries, and two
/// bytes for each: the block it names, and what is odd about it.
///
/// # Panics
/// If one of these promises is broken.
pub fn journal_replay(data: &[u8]) -> bool {
    let mut input = data.iter().copied();
    let mut next = move || input.next().unwrap_or(0);
    let sections = usize::from(next() % 5) + 1;
    let checked = next() & 1 == 1;
    let mut image = formatted(sections);
    for section in 0..sections {
        let start = (8 + section * SECTION_SECTORS) * 512;
        let bytes = &mut image[start..start + SECTION_SECTORS * 512];
        fill_section(section, bytes, &mut next);
    }
    let options = |mode| {
        let options = OpenOptions::new().mode(mode);
        if checked {
            options.check_journal(Arc::new(FirstBytesAgree))
        } else {
            options
        }
    };

    let disk: Disk = Arc::new(MemDevice::from_bytes(&image, SectorSize::S512));
    let read_only = options(Mode::Journal).read_only(true);
    let Ok(overlaid) = open(&disk, read_only) else {
        // A journal that cannot be read is refused for writing too, and nothing was written.
        assert!(open(&disk, options(Mode::Journal)).is_err());
        assert!(disk.to_vec() == image, "a refused device was written");
        return false;
    };
    let shown = contents(&overlaid);
    assert!(disk.to_vec() == image, "reading wrote");
    for mode in [Mode::Journal, Mode::Direct] {
        let disk = Arc::new(MemDevice::from_bytes(&image, SectorSize::S512));
        let Ok(device) = open(&disk, options(mode)) else {
            // Only an entry that does not verify lets the writable device fail where the other
            // opens.
            assert!(checked, "refused without a check");
            assert!(disk.to_vec() == image, "a refused device was written");
            continue;
        };
        device.apply_journal().expect("nothing else writes here");
        assert!(contents(&device) == shown, "{mode:?}: the overlay lied");
        drop(device);
        let applied = disk.to_vec();
        assert!(applied[..4096] == image[..4096], "the superblock changed");
        let again = open(&disk, options(mode)).expect("own output");
        if mode == Mode::Direct {
            assert_eq!(
                again.blocks_in_journal(),
                Ok(0),
                "the journal was not erased"
            );
        }
        again.apply_journal().expect("nothing else writes here");
        assert!(
            contents(&again) == shown,
            "{mode:?}: the second replay differs"
        );
        drop(again);
        assert!(
            disk.to_vec() == applied,
            "{mode:?}: the second replay wrote"
        );
        let recovered = open(&disk, options(Mode::Recovery)).expect("own output");
        assert!(
            contents(&recovered) == shown,
            "{mode:?}: not all is in place"
        );
    }
    true
}

fn open(
    disk: &Disk,
    options: OpenOptions,
) -> Result<IntegrityDevice<Disk>, luksmith_integrity::Error> {
    IntegrityDevice::open(Devices::interleaved(Arc::clone(disk)), options)
}

fn contents(device: &IntegrityDevice<Disk>) -> (Vec<u8>, Vec<u8>) {
    let mut data = vec![0; BLOCKS * 512];
    let mut tuples = vec![0; BLOCKS * TAG];
    device
        .read_tagged(SectorNumber::new(0), &mut data, &mut tuples)
        .expect("every block can be read");
    (data, tuples)
}

/// Gives a formatted device with so many sections, made once.
fn formatted(sections: usize) -> Vec<u8> {
    static MADE: [OnceLock<Vec<u8>>; 5] = [const { OnceLock::new() }; 5];
    MADE[sections - 1]
        .get_or_init(|| {
            let len = ByteLen::new(DEVICE as u64);
            let disk = Arc::new(MemDevice::new(len, SectorSize::S512).expect("a small device"));
            let journal = SectorCount::new((sections * SECTION_SECTORS) as u64);
            let request = FormatRequest::new(TAG, SectorSize::S512)
                .expect("a tag size that exists")
                .journal_sectors(journal)
                .interleave(Interleave::Sectors(8));
            let devices = Devices::interleaved(Arc::clone(&disk));
            let (superblock, _) = format(&devices, &request, None, None).expect("room enough");
            assert!(superblock.provided_data_sectors().get() >= BLOCKS as u64);
            let mut bytes = vec![0; DEVICE];
            disk.read_at(ByteOffset::ZERO, &mut bytes).expect("a read");
            bytes
        })
        .clone()
}

fn fill_section(section: usize, bytes: &mut [u8], next: &mut impl FnMut() -> u8) {
    bytes.fill(0);
    let common = next();
    let numbers: Vec<u8> = (0..SECTION_SECTORS)
        .map(|_| {
            if common & 0x80 != 0 {
                common & 3
            } else {
                next() & 7
            }
        })
        .collect();
    let used = usize::from(next()) % (ENTRIES + 1);
    for entry in 0..ENTRIES {
        let (block, odd) = if entry < used {
            (next(), next())
        } else {
            (0, 0xff)
        };
        let field = match odd {
            0xff => 0xffff_ffff_0000_0000 | u64::from(block),
            0xfe => 0xffff_fffe_0000_0000,
            0xfd => u64::MAX >> 1,
            _ => u64::from(block),
        };
        let (metadata, data) = bytes.split_at_mut(8 * 512);
        let metadata = &mut metadata[entry * 512..][..512];
        metadata[..8].copy_from_slice(&field.to_le_bytes());
        metadata[8..16].fill(odd);
        metadata[16..16 + TAG].fill(block ^ odd);
        data[entry * 512..][..504].fill(block ^ odd);
        if odd & 1 == 1 {
            // The tag that does not belong to its data, where entries are checked.
            metadata[16] ^= 1;
        }
    }
    for (index, (sector, number)) in bytes.chunks_exact_mut(512).zip(numbers).enumerate() {
        let constant = 0x1111_1111_1111_1111 * (u64::from(number % 4) + 1);
        let id = constant ^ ((section as u64) << 32) ^ index as u64 ^ u64::from(number / 4);
        // A foreign id differs in the upper half, where no section of this journal does.
        let id = if number > 3 { id ^ (1 << 60) } else { id };
        sector[504..].copy_from_slice(&id.to_le_bytes());
    }
}

/// Accepts a block whose first byte is its tag's first byte.
struct FirstBytesAgree;

impl CheckTuple for FirstBytesAgree {
    fn check(&self, first: SectorNumber, data: &[u8], tuples: &[u8]) -> Result<(), DeviceError> {
        if data.first() == tuples.first() {
            Ok(())
        } else {
            Err(DeviceError::TagMismatch { first, count: 1 })
        }
    }
}
