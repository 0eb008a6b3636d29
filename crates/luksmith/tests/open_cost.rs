//! What opening asks of the device does not depend on the size of the volume.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;

use luksmith::{
    CandidateKey, OpenOptions, Passphrase, Unlock,
    block::{BlockDevice, ByteLen, ByteOffset, SectorSize, SparseMemDevice},
    open,
};
use luksmith_testkit::{CountingDevice, Counts, test_image};

/// Opens the image of this name on a device of `size` bytes, and reads its last sector.
fn cost(name: &str, size: u64) -> (Counts, u64) {
    let image = test_image(name);
    let disk = SparseMemDevice::new(ByteLen::new(size), SectorSize::S512);
    let bytes = image.file("image");
    disk.write_at(ByteOffset::ZERO, &bytes).unwrap();
    let disk = Arc::new(CountingDevice::new(disk));
    let key = CandidateKey::new(&image.volume_key).unwrap();
    let passphrase = Passphrase::new(image.passphrase.as_bytes()).unwrap();
    let options = OpenOptions::new();
    let mut counts = Counts::default();
    for unlock in [Unlock::VolumeKey(&key), Unlock::Passphrase(&passphrase)] {
        let volume = open(Arc::clone(&disk), unlock, &options).unwrap();
        let now = disk.take();
        counts.reads += now.reads;
        counts.read_bytes += now.read_bytes;
        assert_eq!((now.writes, now.zeroings, now.discards), (0, 0, 0));
        let unit = volume.sector_size().byte_len().get();
        let mut last = vec![0; volume.sector_size().bytes()];
        let end = volume.size().get();
        assert!(end > size - (4 << 20) && end < size);
        volume
            .read_at(ByteOffset::new(end - unit), &mut last)
            .unwrap();
        disk.take();
    }
    (counts, disk.size().get())
}

#[test]
fn opening_a_tebibyte_asks_the_device_for_no_more_than_opening_sixteen_mebibytes() {
    for name in ["luks2-sector4096", "luks2-default", "luks1-default"] {
        let (small, _) = cost(name, 16 << 20);
        let (large, size) = cost(name, 1 << 40);
        assert_eq!(size, 1 << 40);
        assert_eq!(large, small, "{name}");
        assert!(small.reads > 0 && small.read_bytes < 2 << 20, "{small:?}");
    }
}
