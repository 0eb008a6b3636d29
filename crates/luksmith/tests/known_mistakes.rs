//! Mistakes that other readers of LUKS volumes have made with the data. Those with headers stand in
//! luksmith-header's tests/bad_input.rs.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;

use luksmith::{
    CandidateKey, OpenOptions, Unlock,
    block::{BlockDevice, ByteLen, ByteOffset, SectorSize, SparseMemDevice},
    open,
    simd::{Run, XtsKey},
};
use luksmith_testkit::{TestImage, test_image};

/// Where the data of the image start.
const DATA: u64 = 576 * 512;

fn image() -> TestImage {
    test_image("luks2-sector4096")
}

/// The image at the start of a device of `size` bytes.
fn disk(size: u64) -> Arc<SparseMemDevice> {
    let disk = SparseMemDevice::new(ByteLen::new(size), SectorSize::S512);
    disk.write_at(ByteOffset::ZERO, &image().file("image"))
        .unwrap();
    Arc::new(disk)
}

fn read(device: &dyn BlockDevice, at: u64) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    device.read_at(ByteOffset::new(at), &mut bytes).unwrap();
    bytes
}

/// One reader counted sectors of 4096 bytes one by one: all but the first came out as noise.
#[test]
fn the_tweak_counts_512_byte_sectors_whatever_the_sector_size() {
    let disk = disk(1 << 20);
    let key = image().volume_key;
    let candidate = CandidateKey::new(&key).unwrap();
    let options = OpenOptions::new();
    let volume = open(Arc::clone(&disk), Unlock::VolumeKey(&candidate), &options).unwrap();
    let xts = XtsKey::new(&key).unwrap();
    for block in [1, 2, 7] {
        let stored = read(disk.as_ref(), DATA + block * 4096);
        let wanted = read(&volume, block * 4096);
        let mut counted = stored.clone();
        let run = |first| Run {
            first,
            step: 8,
            sector_bytes: 4096,
        };
        xts.decrypt_in_place(run(block * 8), &mut counted).unwrap();
        assert!(counted == wanted, "block {block}");
        let mut miscounted = stored;
        xts.decrypt_in_place(run(block), &mut miscounted).unwrap();
        assert!(miscounted != wanted, "block {block}");
    }
}

/// Another one took the data offset off the size twice, so that the end could not be reached.
#[test]
fn a_volume_reaches_to_the_last_whole_sector_of_its_device() {
    let key = image().volume_key;
    let candidate = CandidateKey::new(&key).unwrap();
    let options = OpenOptions::new();
    for (size, whole) in [
        (64 << 20, 64 << 20),
        ((64 << 20) + 512, 64 << 20),
        ((64 << 20) + 4095, 64 << 20),
        ((64 << 20) - 1, (64 << 20) - 4096),
    ] {
        let disk = disk(size);
        let volume = open(Arc::clone(&disk), Unlock::VolumeKey(&candidate), &options).unwrap();
        assert_eq!(volume.size().get(), whole - DATA, "{size}");
        let last = volume.size().get() - 4096;
        volume
            .write_at(ByteOffset::new(last), &[0x77; 4096])
            .unwrap();
        assert!(read(&volume, last) == [0x77; 4096]);
        assert!(read(disk.as_ref(), whole - 4096) != [0; 4096], "{size}");
        let behind = volume.read_at(ByteOffset::new(last + 4096), &mut [0; 4096]);
        assert!(behind.is_err());
    }
}
