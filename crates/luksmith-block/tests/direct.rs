//! Requests that go past the page cache.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a slip here fails the test that makes it"
)]

use std::fs;

use luksmith_block::{
    BlockDevice, ByteDevice, ByteLen, ByteOffset, Error, FileDevice, FileOptions, Operation,
};
use luksmith_testkit::{Model, Prng, hammer, interop, paint};
use tempfile::TempDir;

const NAME: &str = "direct.img";

/// A file beside the sources, as the system's folder for temporary files may know no direct
/// requests. Says that the test did not run where this one does not either.
fn direct(bytes: &[u8]) -> Option<(TempDir, Result<FileDevice, Error>)> {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let path = folder.path().join(NAME);
    fs::write(&path, bytes).unwrap();
    match FileOptions::writer().direct().open(&path) {
        Err(Error::System {
            operation: Operation::Open,
            failure,
        }) => {
            interop::skipped(&format!("no direct requests here: {failure}"));
            None
        }
        result => Some((folder, result)),
    }
}

#[test]
fn a_direct_file_holds_what_was_written_even_where_blocks_are_shared() {
    let Some((_folder, device)) = direct(&paint(0, 2 << 20)) else {
        return;
    };
    let device = device.unwrap();
    let mut model = Model::of(&device);
    let mut prng = Prng::from_env(21);
    for _ in 0..150 {
        model.step(&device, &mut prng);
    }
    model.check(&device);
    // Stripes of three sectors: neighbours of other threads lie in the same block.
    hammer(&device, 22, 4, 200, 3);
}

#[test]
fn direct_requests_of_any_alignment_change_exactly_their_bytes() {
    let mut expected = paint(0, 4 << 20);
    let Some((folder, device)) = direct(&expected) else {
        return;
    };
    let (device, path) = (device.unwrap(), folder.path().join(NAME));
    let new: Vec<u8> = paint(0, 3 << 20).iter().map(|byte| !byte).collect();
    for (at, skip, len) in [
        (0, 0, 4096),
        (512, 0, 512),
        (4096 - 512, 1, 1024),
        (512, 3, (2 << 20) + 1024),
        ((4 << 20) - 512, 0, 512),
    ] {
        let data = &new[skip..skip + len];
        device.write_at(ByteOffset::new(at as u64), data).unwrap();
        expected[at..at + len].copy_from_slice(data);
        let mut back = vec![0; len + 1];
        device
            .read_at(ByteOffset::new(at as u64), &mut back[1..])
            .unwrap();
        assert_eq!(back[1..], *data);
    }
    device.flush().unwrap();
    assert!(fs::read(&path).unwrap() == expected);
    let bytes = ByteDevice::new(&device);
    bytes.write_at(ByteOffset::new(77), b"odd").unwrap();
    assert_eq!(fs::read(&path).unwrap()[77..80], *b"odd");
}

#[test]
fn a_direct_file_that_ends_inside_a_block_is_refused() {
    if let Some((_folder, device)) = direct(&paint(0, 4608)) {
        assert_eq!(
            device.unwrap_err(),
            Error::DirectSize {
                size: ByteLen::new(4608),
                unit: ByteLen::new(4096)
            }
        );
    }
}
