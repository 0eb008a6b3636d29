//! Bitmap mode: what is marked when, and what a crash leaves while the mode is entered or left.

#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

mod places;

use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Control, MemDevice, Operation, SectorCount, SectorNumber,
    SectorSize,
};
use luksmith_integrity::{
    Devices, DigestName, Error as IntegrityError, FormatRequest, HashedDevice, Mode, OpenOptions,
    Recalculation, format, recalculate,
};
use luksmith_testkit::{CrashDevice, CrashOptions, HookDevice};

use places::at;

const DIGEST: DigestName = DigestName::Crc32c;

/// A bit for each block: the bitmap of so many is larger than the first sector of the journal.
fn options() -> OpenOptions {
    OpenOptions::new().mode(Mode::Bitmap).sectors_per_bit(1)
}

/// A device of more than 5000 blocks that all hold 1, and a journal of one section.
fn disk() -> Arc<MemDevice> {
    let disk = Arc::new(MemDevice::new(ByteLen::new(3 << 20), SectorSize::S512).expect("small"));
    let request = FormatRequest::new(4, SectorSize::S512)
        .expect("a tag size that exists")
        .journal_sectors(SectorCount::new(176));
    format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
    let device = open(&disk, options().mode(Mode::Direct)).expect("formatted");
    let blocks = blocks(&device);
    assert!(blocks > 5000, "{blocks}");
    device
        .write_at(ByteOffset::ZERO, &vec![1; blocks * 512])
        .expect("no faults here");
    device.close().expect("no faults here");
    disk
}

fn open<D: BlockDevice>(
    disk: &Arc<D>,
    options: OpenOptions,
) -> Result<HashedDevice<Arc<D>>, IntegrityError> {
    HashedDevice::open(
        Devices::interleaved(Arc::clone(disk)),
        options,
        DIGEST,
        None,
    )
}

fn blocks<D: BlockDevice>(device: &HashedDevice<D>) -> usize {
    device.size().to_usize().expect("small") / 512
}

/// The blocks that are marked on the disk.
fn marked(disk: &MemDevice, blocks: usize) -> Vec<usize> {
    let mut bytes = [0; 4096];
    disk.read_at(ByteOffset::new(4096), &mut bytes)
        .expect("a memory device");
    let is_set = |block: &usize| bytes[block / 8] & (1 << (block % 8)) != 0;
    (0..blocks).filter(is_set).collect()
}

#[test]
fn entering_the_mode_marks_nothing_and_a_write_its_block() {
    let disk = disk();
    let device = open(&disk, options()).expect("closed");
    let blocks = blocks(&device);
    // The journal is where the bitmap will be: as bits, it has some.
    assert!(!marked(&disk, blocks).is_empty());
    device.unchecked().apply_journal().expect("no faults here");
    assert_eq!(marked(&disk, blocks), [0; 0]);
    device.write_at(at(9), &[2; 512]).expect("no faults here");
    assert_eq!(marked(&disk, blocks), [9]);
    device.flush().expect("no faults here");
    assert_eq!(marked(&disk, blocks), [9]);
    device
        .commit_if_older_than(Duration::ZERO)
        .expect("no faults here");
    assert_eq!(marked(&disk, blocks), [0; 0]);
}

#[test]
fn what_no_recalculation_has_reached_is_marked_and_stays_so() {
    let disk = disk();
    let mut superblock = [0; 512];
    disk.read_at(ByteOffset::ZERO, &mut superblock)
        .expect("a memory device");
    // RECALCULATING, from sector 4000 on.
    superblock[24] |= 2;
    superblock[32..40].copy_from_slice(&4000_u64.to_le_bytes());
    disk.write_at(ByteOffset::ZERO, &superblock)
        .expect("a memory device");
    let device = open(&disk, options()).expect("closed");
    let blocks = blocks(&device);
    device.write_at(at(9), &[2; 512]).expect("no faults here");
    let expected: Vec<usize> = core::iter::once(9).chain(4000..blocks).collect();
    assert_eq!(marked(&disk, blocks), expected);
    device
        .commit_if_older_than(Duration::ZERO)
        .expect("no faults here");
    assert_eq!(marked(&disk, blocks), expected);
}

/// Marks that stay cost a recalculation, and the kernel's do not.
#[test]
fn marks_that_were_cleared_do_not_come_back_after_power_loss() {
    let crash = Arc::new(CrashDevice::from_bytes(&disk().to_vec(), SectorSize::S512));
    let device = open(&crash, options()).expect("closed");
    let blocks = blocks(&device);
    device.write_at(at(9), &[2; 512]).expect("no faults here");
    let left = || crash.durable().to_mem(SectorSize::S512);
    assert_eq!(marked(&left(), blocks), [9]);
    device
        .commit_if_older_than(Duration::ZERO)
        .expect("no faults here");
    assert_eq!(marked(&left(), blocks), [0; 0]);
}

/// A bitmap that reaches beyond the first entries of the journal is no journal any more: the
/// superblock must not say so before there is one.
#[test]
fn a_crash_while_the_mode_is_entered_or_left_leaves_a_device_that_opens() {
    let bytes = disk().to_vec();
    let crash = Arc::new(CrashDevice::from_bytes(&bytes, SectorSize::S512));
    let device = open(&crash, options()).expect("closed");
    // Their bits are in the commit id of the journal's first sector.
    device
        .write_at(at(4040), &[2; 8 * 512])
        .expect("no faults here");
    device.close().expect("no faults here");
    let mut dirty = 0;
    let count = crash
        .recording()
        .for_each_crash(&CrashOptions::default(), |_, image| {
            let disk = Arc::new(image.to_mem(SectorSize::S512));
            let device = match open(&disk, options()) {
                Err(IntegrityError::BitmapDirty) => {
                    dirty += 1;
                    let devices = Devices::interleaved(Arc::clone(&disk));
                    let control = Control::new();
                    let due = Recalculation::Due;
                    recalculate(devices, options(), DIGEST, None, due, false, &control)
                        .expect("no faults here");
                    open(&disk, options())
                }
                opened => opened,
            }
            .expect("it opens");
            for block in 4038..4050 {
                let mut data = [0; 512];
                device
                    .read_at(at(block), &mut data)
                    .expect("its tag is right");
                assert!([1, 2].contains(&data[0]), "block {block}");
            }
            device.write_at(at(0), &[3; 512]).expect("no faults here");
        });
    assert!(dirty > 0 && count > dirty, "{dirty} of {count}");
}

#[test]
fn a_mark_is_not_cleared_while_what_it_stands_for_is_being_written() {
    let disk = disk();
    let layout = *open(&disk, options()).expect("closed").layout();
    let position = layout.locate(SectorNumber::new(70)).expect("a block");
    let (arrived, has_arrived) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let gate = Mutex::new(Some((arrived, may_go_on)));
    let hold = |operation, at, _| {
        if operation == Operation::Write && at == position.data {
            let gate = gate.lock().expect("nobody panics").take();
            if let Some((arrived, go_on)) = gate {
                arrived.send(()).expect("the test listens");
                go_on.recv().expect("the test says so");
            }
        }
        Ok(())
    };
    let held = Arc::new(HookDevice::new(Arc::clone(&disk), hold));
    let device = open(&held, options()).expect("closed");
    let blocks = blocks(&device);
    thread::scope(|scope| {
        let writer = scope.spawn(|| device.write_at(at(70), &[2; 512]));
        has_arrived.recv().expect("the write comes");
        let timer = scope.spawn(|| device.commit_if_older_than(Duration::ZERO));
        thread::sleep(Duration::from_millis(100));
        let meanwhile = marked(&disk, blocks);
        go_on.send(()).expect("the device listens");
        assert_eq!(writer.join().expect("no panic"), Ok(()));
        assert_eq!(timer.join().expect("no panic"), Ok(()));
        assert_eq!(meanwhile, [70]);
    });
    assert_eq!(marked(&disk, blocks), [0; 0]);
    let mut data = [0; 512];
    disk.read_at(position.data, &mut data)
        .expect("a memory device");
    assert_eq!(data, [2; 512]);
}

/// A flag of the superblock was enough to have a journal of any size written.
#[test]
fn a_device_with_a_bitmap_is_held_against_the_limit_of_the_journal_too() {
    let disk = disk();
    let device = open(&disk, options()).expect("closed");
    device.write_at(at(0), &[2; 512]).expect("no faults here");
    device.flush().expect("no faults here");
    std::mem::forget(device);
    let before = disk.to_vec();
    let limit = ByteLen::new(176 * 512 - 1);
    let small = |mode| OpenOptions::new().mode(mode).journal_limit(limit);
    let found = ByteLen::new(176 * 512);
    let refused = IntegrityError::JournalLimit { found, limit };
    for mode in [Mode::Journal, Mode::Direct, Mode::Bitmap] {
        assert_eq!(open(&disk, small(mode)).err(), Some(refused.clone()));
        let reading = small(mode).read_only(true);
        assert_eq!(open(&disk, reading).err(), Some(refused.clone()));
    }
    let recalculated = recalculate(
        Devices::interleaved(Arc::clone(&disk)),
        small(Mode::Direct),
        DIGEST,
        None,
        Recalculation::Due,
        false,
        &Control::new(),
    );
    assert_eq!(recalculated, Err(refused));
    assert!(disk.to_vec() == before);
    assert!(open(&disk, small(Mode::Recovery)).is_ok());
}

/// Byte 29 of the superblock says what a bit stands for. With 64 and more, nothing was due.
#[test]
fn a_mark_of_a_bit_for_more_blocks_than_there_can_be_is_a_mark_of_all() {
    for log2 in [63, 64, 255] {
        let disk = disk();
        let device = open(&disk, options()).expect("closed");
        let provided = device.superblock().provided_data_sectors();
        device.write_at(at(0), &[2; 512]).expect("no faults here");
        device.flush().expect("no faults here");
        std::mem::forget(device);
        let mut superblock = vec![0; 512];
        disk.read_at(ByteOffset::ZERO, &mut superblock)
            .expect("a memory device");
        superblock[29] = log2;
        disk.write_at(ByteOffset::ZERO, &superblock)
            .expect("a memory device");
        let recalculated = recalculate(
            Devices::interleaved(Arc::clone(&disk)),
            OpenOptions::new(),
            DIGEST,
            None,
            Recalculation::Due,
            false,
            &Control::new(),
        );
        assert_eq!(recalculated, Ok(provided), "{log2}");
    }
}
