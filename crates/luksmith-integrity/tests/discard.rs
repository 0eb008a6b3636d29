//! Discards of devices with an internal hash: a block is what it was, or discarded, at any crash.

#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

mod places;

use std::sync::Arc;

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Error, MemDevice, Operation, SectorCount, SectorNumber,
    SectorSize, SparseMemDevice, TaggedDevice,
};
use luksmith_integrity::{
    Devices, DigestName, DiscardMarker, Error as IntegrityError, FlagPolicy, Flags, FormatRequest,
    HashedDevice, IntegrityDevice, Interleave, Mode, OpenOptions, Superblock, format, random_salt,
};
use luksmith_testkit::{CountingDevice, CrashDevice, CrashOptions, HookDevice};

use places::at;

const BLOCKS: usize = 40;
const KEY: &[u8] = b"the key of the tags";

#[derive(Clone, Copy)]
struct Kind {
    digest: &'static str,
    marker: DiscardMarker,
}

const KINDS: [Kind; 2] = [
    Kind {
        digest: "crc32c",
        marker: DiscardMarker::Filler,
    },
    Kind {
        digest: "hmac-sha256",
        marker: DiscardMarker::Keyed,
    },
];

impl Kind {
    fn open<D: BlockDevice>(
        self,
        device: D,
        options: OpenOptions,
    ) -> Result<HashedDevice<D>, IntegrityError> {
        let digest = DigestName::parse(self.digest).expect("a digest that is known");
        let key = digest.is_keyed().then_some(KEY);
        HashedDevice::open(Devices::interleaved(device), options, digest, key)
    }

    fn options(self, mode: Mode) -> OpenOptions {
        OpenOptions::new()
            .mode(mode)
            .sectors_per_bit(8)
            .tag_cache(ByteLen::new(0))
            .discards(self.marker)
    }

    /// A device whose blocks all hold 1.
    fn disk(self) -> Vec<u8> {
        let disk = Arc::new(MemDevice::from_bytes(&[0; 128 << 10], SectorSize::S512));
        // A tag that straddles two sectors may be torn: the mark is written in place.
        let request = FormatRequest::new(32, SectorSize::S512)
            .expect("a tag size that exists")
            .journal_sectors(SectorCount::new(88))
            .interleave(Interleave::Sectors(8))
            .salt(Some(random_salt().expect("a generator")));
        format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
        let options = OpenOptions::new().mode(Mode::Direct);
        let device = self.open(Arc::clone(&disk), options).expect("formatted");
        device
            .write_at(ByteOffset::ZERO, &[1; BLOCKS * 512])
            .expect("no faults here");
        device.close().expect("no faults here");
        disk.to_vec()
    }
}

fn long(blocks: usize) -> ByteLen {
    ByteLen::new(u64::try_from(blocks * 512).expect("small"))
}

/// The first byte of each block.
fn firsts<D: BlockDevice>(device: &HashedDevice<D>) -> Vec<u8> {
    let mut data = [0; BLOCKS * 512];
    device
        .read_at(ByteOffset::ZERO, &mut data)
        .expect("every block is old or discarded");
    data.chunks(512).map(|block| block[0]).collect()
}

#[test]
fn a_discarded_block_is_old_or_discarded_after_a_crash() {
    for kind in KINDS {
        for mode in [Mode::Journal, Mode::Bitmap] {
            let disk = Arc::new(CrashDevice::from_bytes(&kind.disk(), SectorSize::S512));
            let device = kind
                .open(Arc::clone(&disk), kind.options(mode))
                .expect("formatted");
            // One block waits in the journal when it is discarded.
            device.write_at(at(9), &[2; 512]).expect("no faults here");
            device.discard(at(5), long(20)).expect("it can");
            assert_eq!(firsts(&device)[4..26], {
                let mut expected = [0; 22];
                (expected[0], expected[21]) = (1, 1);
                expected
            });
            device.flush().expect("no faults here");
            device.close().expect("no faults here");
            let options = CrashOptions {
                random: 12,
                ..CrashOptions::default()
            };
            let count = disk.recording().for_each_crash(&options, |_, image| {
                let reader = kind.options(Mode::Journal).read_only(true);
                let Ok(device) = kind.open(image.to_mem(SectorSize::S512), reader) else {
                    panic!("{mode:?}: it can be opened");
                };
                if mode == Mode::Bitmap && kind.marker == DiscardMarker::Keyed {
                    // A keyed device cut off in bitmap mode checks marked blocks too: block 9 was
                    // being written.
                    let mut block = [0; 512];
                    for index in (0..BLOCKS).filter(|index| *index != 9) {
                        device
                            .read_at(at(index), &mut block)
                            .expect("old or discarded");
                    }
                    return;
                }
                for (index, value) in firsts(&device).into_iter().enumerate() {
                    let allowed: &[u8] = match index {
                        9 => &[0, 1, 2],
                        5..25 => &[0, 1],
                        _ => &[1],
                    };
                    assert!(
                        allowed.contains(&value),
                        "{mode:?}: block {index} is {value}"
                    );
                }
            });
            assert!(count > 20, "{count}");
            let again = kind
                .open(disk.current().to_mem(SectorSize::S512), kind.options(mode))
                .expect("closed");
            assert_eq!(
                firsts(&again).iter().filter(|value| **value == 0).count(),
                20
            );
        }
    }
}

/// Linux 7.2 does so when it opens the device; we write nothing before the first write.
#[test]
fn the_first_write_says_that_keyed_discards_are_allowed() {
    let [_, keyed] = KINDS;
    for mode in [Mode::Journal, Mode::Direct, Mode::Bitmap] {
        let before = keyed.disk();
        let disk = Arc::new(MemDevice::from_bytes(&before, SectorSize::S512));
        let open = || keyed.open(Arc::clone(&disk), keyed.options(mode));
        let device = open().expect("formatted");
        assert_eq!(firsts(&device), [1; BLOCKS]);
        device.close().expect("no faults here");
        assert!(disk.to_vec() == before);
        let device = open().expect("formatted");
        device.write_at(at(9), &[2; 512]).expect("no faults here");
        device.close().expect("no faults here");
        let superblock = Superblock::parse(&disk.to_vec()[..4096]).expect("a superblock");
        assert_eq!(superblock.version(), 7);
        assert!(superblock.flags().contains(Flags::DISCARD_KEYED));
    }
}

#[test]
fn a_device_once_used_with_keyed_discards_opens_with_nothing_else() {
    let [filler, keyed] = KINDS;
    let disk = Arc::new(SparseMemDevice::new(
        ByteLen::new(128 << 10),
        SectorSize::S512,
    ));
    disk.write_at(ByteOffset::ZERO, &keyed.disk())
        .expect("a memory device");
    let device = keyed
        .open(Arc::clone(&disk), keyed.options(Mode::Journal))
        .expect("formatted");
    device.discard(at(0), long(1)).expect("it can");
    device.close().expect("no faults here");
    let plain = OpenOptions::new();
    assert_eq!(
        keyed.open(Arc::clone(&disk), plain).err(),
        Some(IntegrityError::DiscardKeyed)
    );
    // A keyed mark needs a keyed hash, and whoever has no key cannot make one: the tag of a block
    // that the host filled with f6 is wrong.
    let unkeyed = filler.open(Arc::clone(&disk), keyed.options(Mode::Journal));
    assert!(matches!(
        unkeyed.err(),
        Some(IntegrityError::DigestKeyMissing { .. })
    ));
    let device = keyed
        .open(Arc::clone(&disk), keyed.options(Mode::Journal))
        .expect("with the option");
    let position = device
        .layout()
        .locate(SectorNumber::new(8))
        .expect("a block");
    let sector = ByteOffset::new(position.tag.get() / 512 * 512);
    let mut bytes = [0; 512];
    disk.read_at(sector, &mut bytes).expect("a memory device");
    let skip = usize::try_from(position.tag.get() % 512).expect("below 512");
    bytes[skip..skip + 32].fill(0xf6);
    disk.write_at(sector, &bytes).expect("a memory device");
    let mut block = [0; 512];
    assert!(matches!(
        device.read_at(at(8), &mut block),
        Err(Error::TagMismatch { .. })
    ));
}

/// A kept mark authenticated whatever was put under it.
#[test]
fn what_lies_under_a_mark_is_never_given_out() {
    for kind in KINDS {
        let disk = SparseMemDevice::new(ByteLen::new(128 << 10), SectorSize::S512);
        let disk = Arc::new(disk);
        disk.write_at(ByteOffset::ZERO, &kind.disk())
            .expect("a memory device");
        let open = || kind.open(Arc::clone(&disk), kind.options(Mode::Journal));
        let device = open().expect("formatted");
        device.discard(at(5), long(2)).expect("it can");
        let sector = SectorNumber::new(6);
        let position = device.layout().locate(sector).expect("a block");
        device.close().expect("no faults here");
        disk.write_at(position.data, &[0xee; 512])
            .expect("a memory device");
        let device = open().expect("closed");
        let (mut below, mut tag) = ([0; 512], [0; 32]);
        device
            .unchecked()
            .read_tagged(sector, &mut below, &mut tag)
            .expect("no check here");
        assert_eq!(below, [0xee; 512]);
        let mut read = vec![0xff; 4 * 512];
        device.read_at(at(4), &mut read).expect("marked");
        let expected = [[1; 512], [0; 512], [0; 512], [1; 512]].concat();
        assert!(read == expected, "{}", kind.digest);
    }
}

/// Linux would not apply such an entry either.
#[test]
fn a_mark_in_the_journal_is_no_tag_of_its_entry() {
    for kind in KINDS {
        let disk = SparseMemDevice::new(ByteLen::new(128 << 10), SectorSize::S512);
        let disk = Arc::new(disk);
        disk.write_at(ByteOffset::ZERO, &kind.disk())
            .expect("a memory device");
        let open = || kind.open(Arc::clone(&disk), kind.options(Mode::Journal));
        let device = open().expect("formatted");
        device.discard(at(5), long(1)).expect("it can");
        let (mut below, mut mark) = ([0; 512], [0; 32]);
        let sector = SectorNumber::new(5);
        device
            .unchecked()
            .read_tagged(sector, &mut below, &mut mark)
            .expect("no check here");
        device.write_at(at(5), &[2; 512]).expect("no faults here");
        device.flush().expect("no faults here");
        std::mem::forget(device);
        let device = open().expect("its entry verifies");
        assert_eq!(device.unchecked().blocks_in_journal(), Ok(1));
        std::mem::forget(device);
        // The tag of the first entry lies behind its sector and the end of its only sector of data.
        let mut entry = [0; 512];
        disk.read_at(ByteOffset::new(4096), &mut entry)
            .expect("a memory device");
        assert_eq!(entry[..8], 5_u64.to_le_bytes());
        entry[16..48].copy_from_slice(&mark);
        disk.write_at(ByteOffset::new(4096), &entry)
            .expect("a memory device");
        let (section, entry) = (0, 0);
        let error = IntegrityError::JournalTag {
            section,
            entry,
            sector,
        };
        assert_eq!(open().err(), Some(error), "{}", kind.digest);
    }
}

/// The sections with a discard whose hole could not be made were never free again: writes failed
/// until the device was opened anew, and then too.
#[test]
fn a_discard_that_the_device_fails_becomes_zeros() {
    let [crc32c, _] = KINDS;
    for mode in [Mode::Journal, Mode::Direct] {
        let memory = SparseMemDevice::new(ByteLen::new(128 << 10), SectorSize::S512);
        let memory = Arc::new(memory);
        memory
            .write_at(ByteOffset::ZERO, &crc32c.disk())
            .expect("a memory device");
        let fails = |operation, _, _| match operation {
            Operation::Discard => Err(Error::Damaged {
                what: "hole",
                number: 0,
            }),
            _ => Ok(()),
        };
        let devices = Devices::interleaved(HookDevice::new(Arc::clone(&memory), fails));
        let options = OpenOptions::new().flags(FlagPolicy::Standalone).mode(mode);
        let device = IntegrityDevice::open(devices, options).expect("formatted");
        device
            .discard_tagged(SectorNumber::new(5), 20, &mut |_, tuples| tuples.fill(9))
            .expect("zeros do as well");
        // More than one lap of the journal.
        for _ in 0..BLOCKS {
            device
                .write_tagged(SectorNumber::ZERO, 4, &mut |data, tuples| {
                    data.fill(3);
                    tuples.fill(3);
                })
                .expect("there is room again");
        }
        device.close().expect("no faults left");
        let options = OpenOptions::new().flags(FlagPolicy::Standalone);
        let devices = Devices::interleaved(Arc::clone(&memory));
        let device = IntegrityDevice::open(devices, options).expect("closed");
        let (mut data, mut tags) = (vec![0xff; 26 * 512], vec![0; 26 * 32]);
        device
            .read_tagged(SectorNumber::ZERO, &mut data, &mut tags)
            .expect("a memory device");
        assert!(data[..4 * 512] == [3; 4 * 512] && tags[..4 * 32] == [3; 4 * 32]);
        assert!(data[5 * 512..25 * 512] == [0; 20 * 512], "{mode:?}");
        assert!(tags[5 * 32..25 * 32] == [9; 20 * 32], "{mode:?}");
        assert!(data[25 * 512..] == [1; 512]);
    }
}

/// What a file system without holes says is told when the marks are there already. A region of the
/// bitmap is read without a look at its tags, and tagged anew as it is, once a session was lost.
#[test]
fn a_discard_that_the_device_does_not_know_leaves_zeros_all_the_same() {
    for (kind, mode) in KINDS.into_iter().flat_map(|kind| {
        let modes = [Mode::Direct, Mode::Bitmap];
        modes.map(|mode| (kind, mode))
    }) {
        let memory = SparseMemDevice::new(ByteLen::new(128 << 10), SectorSize::S512);
        memory
            .write_at(ByteOffset::ZERO, &kind.disk())
            .expect("a memory device");
        let disk = Arc::new(memory);
        let refuses = |operation, _, _| match operation {
            Operation::Discard => Err(Error::Unsupported { operation }),
            _ => Ok(()),
        };
        let hooked = HookDevice::new(Arc::clone(&disk), refuses);
        let device = kind.open(hooked, kind.options(mode)).expect("formatted");
        device.discard(at(5), long(20)).expect("zeros do as well");
        let mut expected = vec![1; BLOCKS];
        expected[5..25].fill(0);
        assert_eq!(firsts(&device), expected);
        device.flush().expect("no faults here");
        // As the power goes.
        let mut bytes = vec![0; 128 << 10];
        disk.read_at(ByteOffset::ZERO, &mut bytes)
            .expect("a memory device");
        let ones = bytes.chunks(512).filter(|sector| **sector == [1; 512]);
        assert_eq!(ones.count(), BLOCKS - 20, "{} {mode:?}", kind.digest);
        let lost = MemDevice::from_bytes(&bytes, SectorSize::S512);
        let options = kind.options(mode).read_only(true);
        let device = kind.open(lost, options).expect("formatted");
        assert_eq!(firsts(&device), expected, "{} {mode:?}", kind.digest);
    }
}

/// Every 512 blocks cost a flush.
#[test]
fn a_discard_of_many_blocks_costs_one_flush() {
    let memory = SparseMemDevice::new(ByteLen::new(8 << 20), SectorSize::S512);
    let disk = Arc::new(CountingDevice::new(memory));
    let request = FormatRequest::new(4, SectorSize::S512).expect("a tag size that exists");
    format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
    let [crc32c, _] = KINDS;
    let device = crc32c
        .open(Arc::clone(&disk), crc32c.options(Mode::Direct))
        .expect("formatted");
    disk.take();
    device.discard(at(3), long(9000)).expect("it can");
    let counts = disk.take();
    assert_eq!((counts.flushes, counts.discards), (1, 1));
    let mut read = vec![1; 9000 * 512];
    device.read_at(at(3), &mut read).expect("marked");
    assert!(read.iter().all(|byte| *byte == 0));
}
