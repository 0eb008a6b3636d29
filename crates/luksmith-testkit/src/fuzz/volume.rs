//! Open volumes: any sequence of requests, against plain bytes.

use std::sync::Arc;

use luksmith::{CandidateKey, OpenOptions, Unlock, Volume, block::Error, open};
use luksmith_block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorSize};

use crate::{TestImage, paint, test_images};

/// Volumes without and with tags, with small and large sectors.
const IMAGES: [&str; 4] = [
    "luks2-hmac-sha256",
    "luks2-cbc-essiv",
    "luks2-sector4096",
    "luks2-hmac-sha256-s512",
];
/// Most requests of one input.
const REQUESTS: usize = 64;

thread_local! {
    static LOADED: Vec<(TestImage, Vec<u8>)> = test_images()
        .into_iter()
        .filter(|image| IMAGES.contains(&image.name.as_str()))
        .map(|image| { let bytes = image.file("image"); (image, bytes) })
        .collect();
}

fn reopen(disk: &Arc<MemDevice>, key: &[u8]) -> Volume {
    let key = CandidateKey::new(key).expect("a key");
    let options = OpenOptions::new();
    open(Arc::clone(disk), Unlock::VolumeKey(&key), &options).expect("a volume")
}

/// The first byte chooses the volume; then five bytes a request: what, where in two, how long, and
/// what is written.
///
/// # Panics
/// If the volume answers other bytes than were written, or takes a request it must refuse.
pub fn volume_ops(data: &[u8]) -> bool {
    let (choice, rest) = data.split_first().unwrap_or((&0, &[]));
    LOADED.with(|images| {
        let (image, bytes) = &images[usize::from(*choice) % images.len()];
        let disk = Arc::new(MemDevice::from_bytes(bytes, SectorSize::S512));
        let mut volume = reopen(&disk, &image.volume_key);
        let size = usize::try_from(volume.size().get()).expect("a small volume");
        let mut expected = vec![0; size];
        volume
            .read_at(ByteOffset::ZERO, &mut expected)
            .expect("a read");
        for request in rest.chunks_exact(5).take(REQUESTS) {
            if request[0] % 8 == 7 {
                volume.close().expect("a clean close");
                volume = reopen(&disk, &image.volume_key);
            } else {
                step(&volume, &mut expected, request);
            }
        }
        volume.close().expect("a clean close");
        let volume = reopen(&disk, &image.volume_key);
        let mut found = vec![0; size];
        volume
            .read_at(ByteOffset::ZERO, &mut found)
            .expect("a read");
        assert!(
            found == expected,
            "{}: other bytes after a close",
            image.name
        );
    });
    rest.len() >= 5
}

fn step(volume: &Volume, expected: &mut [u8], request: &[u8]) {
    let place = usize::from(request[1]) << 8 | usize::from(request[2]);
    let (what, length, seed) = (request[0] % 8, usize::from(request[3]), request[4]);
    let sector = volume.sector_size().bytes();
    let fill = |length: usize| paint(u64::from(seed), length);
    // Bytes at any place, through the adapter; whole sectors, directly.
    if what >= 5 {
        let (at, length) = (place * 3, length * 11);
        let data = fill(length);
        let result = volume.bytes().write_at(ByteOffset::new(at as u64), &data);
        match expected.get_mut(at..at + length) {
            Some(target) => {
                result.expect("a write inside");
                target.copy_from_slice(&data);
            }
            None => assert!(result.is_err(), "a write past the end was taken"),
        }
        return;
    }
    let at = place % 1024 * sector;
    let length = (length % 32 + 1) * sector;
    let offset = ByteOffset::new(at as u64);
    let past = |error: Error| assert!(matches!(error, Error::PastEnd { .. }), "{error}");
    let Some(target) = expected.get_mut(at..at + length) else {
        past(
            volume
                .read_at(offset, &mut vec![0; length])
                .expect_err("past the end"),
        );
        past(
            volume
                .write_at(offset, &fill(length))
                .expect_err("past the end"),
        );
        return;
    };
    match what {
        0 | 1 => {
            let data = fill(length);
            volume.write_at(offset, &data).expect("a write");
            target.copy_from_slice(&data);
        }
        2 => {
            let mut found = vec![0; length];
            volume.read_at(offset, &mut found).expect("a read");
            assert!(found == target, "other bytes at {at}");
        }
        3 => {
            volume
                .write_zeroes(offset, ByteLen::new(length as u64))
                .expect("zeros");
            target.fill(0);
        }
        _ => volume.flush().expect("a flush"),
    }
}
