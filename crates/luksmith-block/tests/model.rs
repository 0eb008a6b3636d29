//! Devices against plain bytes, under random operations and from many threads.

use luksmith_block::{
    BlockDevice, ByteDevice, ByteLen, ByteOffset, Error, FileDevice, FileOptions, MemDevice,
    SectorSize, Window,
};
use luksmith_testkit::{Model, Prng, hammer, paint};

fn run(device: &dyn BlockDevice, seed: u64) {
    let mut model = Model::of(device);
    let mut prng = Prng::from_env(seed);
    for _ in 0..150 {
        model.step(device, &mut prng);
    }
    model.check(device);
}

fn file(folder: &tempfile::TempDir, options: &FileOptions) -> Result<FileDevice, Error> {
    let path = folder.path().join("device.img");
    std::fs::write(&path, paint(0, 2 << 20)).expect("a file");
    options.open(&path)
}

#[test]
fn a_file_holds_what_was_written_at_every_sector_size() {
    for sector_size in SectorSize::ALL {
        let folder = tempfile::tempdir().expect("a folder");
        let options = FileOptions::writer().sector_size(sector_size);
        let device = file(&folder, &options).expect("a device");
        run(&device, 11);
        hammer(&device, 12, 4, 200, 3);
        drop(device);
        run(
            &options
                .open(folder.path().join("device.img"))
                .expect("again"),
            13,
        );
    }
}

#[test]
fn a_window_in_a_window_changes_nothing_around_it() {
    let below = MemDevice::from_bytes(&paint(0, 1 << 20), SectorSize::S512);
    let before = below.to_vec();
    let outer = Window::new(&below, ByteOffset::new(8192), ByteLen::new(600_064));
    let outer = outer.expect("inside");
    let inner = Window::from_start(&outer, ByteOffset::new(1024)).expect("inside");
    run(&inner, 31);
    let after = below.to_vec();
    assert_eq!(after[..9216], before[..9216]);
    assert_eq!(after[608_256..], before[608_256..]);
    assert_ne!(after[9216..608_256], before[9216..608_256]);
}

#[test]
fn bytes_of_any_range_are_what_was_written_last() {
    let device = ByteDevice::new(MemDevice::from_bytes(&[0; 1 << 16], SectorSize::S1024));
    let mut expected = vec![0; 1 << 16];
    let mut prng = Prng::from_env(41);
    for _ in 0..2000 {
        let start = prng.index(expected.len());
        let len = prng.index((expected.len() - start).min(5000) + 1);
        let at = ByteOffset::new(start as u64);
        if prng.chance(1, 2) {
            let data = prng.bytes(len);
            device.write_at(at, &data).expect("a write");
            expected[start..start + len].copy_from_slice(&data);
        } else {
            let mut found = prng.bytes(len);
            device.read_at(at, &mut found).expect("a read");
            assert_eq!(found, expected[start..start + len]);
        }
    }
    assert_eq!(device.device().to_vec(), expected);
}
