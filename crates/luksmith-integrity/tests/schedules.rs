//! Random schedules of threads on one device: a read sees old or new and never a mix, data and tag
//! change as a pair, and what was flushed survives.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p luksmith-integrity --test schedules`
#![cfg(shuttle)]
#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

mod places;

use std::sync::Arc;

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, MemDevice, SectorCount, SectorNumber, SectorSize,
    TaggedDevice,
};
use luksmith_integrity::{
    Devices, DigestName, FormatRequest, HashedDevice, Interleave, Mode, OpenOptions, format,
};
use shuttle::{check_pct, check_random, thread};

use places::at;

const BLOCKS: usize = 6;

type Device = HashedDevice<Arc<MemDevice>>;

fn disk() -> Arc<MemDevice> {
    let disk = Arc::new(MemDevice::new(ByteLen::new(64 << 10), SectorSize::S512).expect("small"));
    let request = FormatRequest::new(255, SectorSize::S512)
        .expect("a tag size that exists")
        .journal_sectors(SectorCount::new(32))
        .interleave(Interleave::Sectors(8));
    format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
    disk
}

fn open(disk: &Arc<MemDevice>, mode: Mode) -> Device {
    let options = OpenOptions::new().mode(mode).tag_cache(ByteLen::new(0));
    let devices = Devices::interleaved(Arc::clone(disk));
    HashedDevice::open(devices, options, DigestName::Crc32c, None).expect("formatted")
}

/// Checks that each block holds one value and not a mix, and gives the values.
fn read(device: &Device, first: usize, blocks: usize) -> Vec<u8> {
    let mut bytes = vec![0; blocks * 512];
    device
        .read_at(at(first), &mut bytes)
        .expect("every tag matches");
    bytes
        .chunks(512)
        .map(|block| {
            assert!(block.iter().all(|byte| *byte == block[0]), "a mix");
            block[0]
        })
        .collect()
}

fn scenario(mode: Mode) {
    let disk = disk();
    let device = Arc::new(open(&disk, mode));
    device
        .write_at(ByteOffset::ZERO, &[1; BLOCKS * 512])
        .expect("no faults here");
    let writers = [(0, 2_u8), (1, 3)].map(|(first, value)| {
        let device = Arc::clone(&device);
        thread::spawn(move || {
            for step in 0..3 {
                let data = vec![value + 10 * step; 4 * 512];
                device.write_at(at(first), &data).expect("no faults here");
                if step == 1 {
                    device.flush().expect("no faults here");
                }
            }
        })
    });
    let reader = {
        let device = Arc::clone(&device);
        thread::spawn(move || {
            for _ in 0..3 {
                read(&device, 0, BLOCKS);
            }
        })
    };
    for thread in writers {
        thread.join().expect("no panic");
    }
    reader.join().expect("no panic");
    let values = read(&device, 0, BLOCKS);
    assert_eq!((values[0], values[4], values[5]), (22, 23, 1));
    assert!(values[1..4].iter().all(|value| [22, 23].contains(value)));
    let device = Arc::into_inner(device).expect("all threads ended");
    device.close().expect("no faults here");
    assert_eq!(read(&open(&disk, Mode::Direct), 0, BLOCKS), values);
}

#[test]
fn in_journal_mode_every_schedule_keeps_blocks_whole() {
    check_random(|| scenario(Mode::Journal), 2000);
    // Long pauses of one thread: a reader sleeps while others commit and write back.
    check_pct(|| scenario(Mode::Journal), 5000, 3);
}

#[test]
fn in_direct_mode_every_schedule_keeps_blocks_whole() {
    check_random(|| scenario(Mode::Direct), 2000);
    check_pct(|| scenario(Mode::Direct), 2000, 3);
}

#[test]
fn in_bitmap_mode_every_schedule_keeps_blocks_whole() {
    check_random(|| scenario(Mode::Bitmap), 1000);
    check_pct(|| scenario(Mode::Bitmap), 1000, 3);
}

/// A flush that began before tags were written passed for theirs: the next one found nothing to do.
fn flushed_tags(mode: Mode) {
    let disk = disk();
    let device = Arc::new(open(&disk, mode));
    device
        .write_at(ByteOffset::ZERO, &[1; BLOCKS * 512])
        .expect("no faults here");
    let other = {
        let device = Arc::clone(&device);
        thread::spawn(move || device.flush().expect("no faults here"))
    };
    let engine = device.unchecked();
    let tuples = [0x5a; 2 * 255];
    engine
        .write_tuples(SectorNumber::new(2), &tuples)
        .expect("no faults here");
    device.flush().expect("no faults here");
    // Whatever else goes on: the tags are on the disk, not in the cache alone.
    let mut found = [0; 2 * 255];
    let position = device
        .layout()
        .locate(SectorNumber::new(2))
        .expect("a block");
    let sector = position.tag.get() / 512 * 512;
    let mut bytes = [0; 1536];
    disk.read_at(ByteOffset::new(sector), &mut bytes)
        .expect("a memory device");
    let skip = usize::try_from(position.tag.get() - sector).expect("below 512");
    found.copy_from_slice(&bytes[skip..skip + 2 * 255]);
    assert!(found == tuples, "flushed tags are not on the disk");
    other.join().expect("no panic");
}

#[test]
fn flushed_tags_are_on_the_disk_whoever_flushes_beside_them() {
    for mode in [Mode::Journal, Mode::Direct] {
        check_random(move || flushed_tags(mode), 2000);
        check_pct(move || flushed_tags(mode), 2000, 3);
    }
}

/// A journal of one section, which others fill and flush while it is emptied for tags that go past
/// it.
fn resets() {
    let disk = Arc::new(MemDevice::new(ByteLen::new(64 << 10), SectorSize::S512).expect("small"));
    let request = FormatRequest::new(255, SectorSize::S512)
        .expect("a tag size that exists")
        .journal_sectors(SectorCount::new(16))
        .interleave(Interleave::Sectors(8));
    format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
    let device = Arc::new(open(&disk, Mode::Journal));
    device
        .write_at(ByteOffset::ZERO, &[1; BLOCKS * 512])
        .expect("no faults here");
    let writers = [(0, 0, 2_u8), (2, 4, 3)].map(|(first, own, value)| {
        let device = Arc::clone(&device);
        let disk = Arc::clone(&disk);
        thread::spawn(move || {
            for step in 0..2 {
                let value = value + 10 * step;
                device
                    .write_at(at(first), &[value; 3 * 512])
                    .expect("no faults here");
                device.flush().expect("no faults here");
                // What was flushed survives, whatever a reset makes of the journal meanwhile.
                let crashed = Arc::new(MemDevice::from_bytes(&disk.to_vec(), SectorSize::S512));
                assert_eq!(read(&open(&crashed, Mode::Journal), own, 1), [value]);
            }
        })
    });
    let flusher = {
        let device = Arc::clone(&device);
        thread::spawn(move || {
            for _ in 0..2 {
                device.flush().expect("no faults here");
            }
        })
    };
    // The tag of block 5 as it is, so that its data are read; they must not be older ones.
    let (sector, mut block, mut tag) = (SectorNumber::new(5), [0; 512], [0; 255]);
    let engine = device.unchecked();
    engine
        .read_tagged(sector, &mut block, &mut tag)
        .expect("no faults here");
    // Once: another reset would put in place what the first one lost.
    engine.write_tuples(sector, &tag).expect("no faults here");
    assert_eq!(read(&device, 5, 1), [1]);
    for thread in writers {
        thread.join().expect("no panic");
    }
    flusher.join().expect("no panic");
    let values = read(&device, 0, BLOCKS);
    assert_eq!((values[0], values[4], values[5]), (12, 13, 1));
    assert!([12, 13].contains(&values[2]));
    device.flush().expect("no faults here");
    let crashed = Arc::new(MemDevice::from_bytes(&disk.to_vec(), SectorSize::S512));
    assert_eq!(read(&open(&crashed, Mode::Journal), 0, BLOCKS), values);
    let device = Arc::into_inner(device).expect("all threads ended");
    device.close().expect("no faults here");
    assert_eq!(read(&open(&disk, Mode::Direct), 0, BLOCKS), values);
}

#[test]
fn writers_and_flushes_beside_a_reset_of_the_journal_lose_nothing() {
    check_random(resets, 2000);
    check_pct(resets, 3000, 3);
}
