//! Volumes that take the room of a device that has become larger.

use std::sync::Arc;

use luksmith::block::{
    BlockDevice, ByteLen, ByteOffset, Control, Error as BlockError, SectorSize, SparseMemDevice,
    Window,
};
use luksmith::{
    CandidateKey, Error, ErrorKind, FormatOptions, HeaderPlace, Init, KdfChoice, NewKeys,
    OpenOptions, Threads, Unlock, Volume, format, open,
};

const MIB: u64 = 1 << 20;

/// The first `mib` MiB of a device.
fn part(device: &Arc<SparseMemDevice>, mib: u64) -> Window<Arc<SparseMemDevice>> {
    Window::new(device.clone(), ByteOffset::ZERO, ByteLen::new(mib * MIB)).expect("a window")
}

fn reopened(device: impl BlockDevice + 'static, header: &[u8], key: &[u8]) -> Volume {
    let header = luksmith::block::MemDevice::from_bytes(header, SectorSize::S512);
    let key = CandidateKey::new(key).expect("a key");
    let options = OpenOptions::new().detached_header(header);
    open(device, Unlock::VolumeKey(&key), &options).expect("the volume opens")
}

/// A volume on 64 MiB with data at its start and end: the device, the header, the key.
fn small(options: &FormatOptions) -> (Arc<SparseMemDevice>, Vec<u8>, Vec<u8>) {
    let device = SparseMemDevice::new(ByteLen::new(192 * MIB), SectorSize::S512);
    let device = Arc::new(device);
    let options = options.clone().header(HeaderPlace::Memory);
    let volume = format(part(&device, 64), NewKeys::none(), &options).expect("a volume");
    let end = volume.size().get() - 4096;
    for (at, byte) in [(0, 1), (end, 2)] {
        volume
            .write_at(ByteOffset::new(at), &[byte; 4096])
            .expect("a write");
    }
    let header = volume.header_image().expect("an image");
    let key = volume.volume_key().expect("the key").expose().to_vec();
    volume.close().expect("a clean close");
    (device, header, key)
}

#[test]
fn a_grown_volume_has_the_reference_size_and_all_of_it_reads() {
    for (options, init) in [
        (FormatOptions::secure_mount().init(Init::Tags), Init::Tags),
        (FormatOptions::secure_mount().init(Init::Tags), Init::Wipe),
        (FormatOptions::secure_mount().init(Init::Tags), Init::None),
    ] {
        let (device, header, key) = small(&options);
        let volume = reopened(part(&device, 192), &header, &key);
        assert_eq!(volume.size(), ByteLen::new(129_248 * 512));
        let control = Control::new();
        let grown = volume.grow(init, &control).unwrap();
        assert_eq!(grown, ByteLen::new(389_344 * 512), "{init:?}");
        let volume = reopened(part(&device, 192), &header, &key);
        assert_eq!(volume.size(), grown);
        let mut block = [0; 4096];
        volume.read_at(ByteOffset::ZERO, &mut block).unwrap();
        assert_eq!(block, [1; 4096]);
        let old_end = ByteOffset::new(129_248 * 512 - 4096);
        volume.read_at(old_end, &mut block).unwrap();
        assert_eq!(block, [2; 4096]);
        let report = volume.verify(Threads::default(), &Control::new()).unwrap();
        let unreadable = if init == Init::None {
            389_344 - 129_248
        } else {
            0
        };
        assert_eq!(report.tampered.sectors(), unreadable, "{init:?}");
        if init == Init::Wipe {
            volume
                .read_at(ByteOffset::new(129_248 * 512), &mut block)
                .unwrap();
            assert_eq!(block, [0; 4096]);
        }
    }
}

#[test]
fn stored_ivs_grow_by_writing_zeros_and_not_by_tags_alone() {
    let options = FormatOptions::luks2()
        .kdf(KdfChoice::HighEntropy)
        .integrity("aead")
        .cipher("aes-gcm-random")
        .init(Init::None);
    let (device, header, key) = small(&options);
    let volume = reopened(part(&device, 80), &header, &key);
    let before = volume.size();
    let error = volume.grow(Init::Tags, &Control::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let volume = reopened(part(&device, 80), &header, &key);
    assert_eq!(volume.size(), before);
    let grown = volume.grow(Init::Wipe, &Control::new()).unwrap();
    assert!(grown > before);
    let volume = reopened(part(&device, 80), &header, &key);
    let mut block = [1; 4096];
    volume
        .read_at(ByteOffset::new(before.get()), &mut block)
        .unwrap();
    assert_eq!(block, [0; 4096]);
}

#[test]
fn without_new_room_or_without_tags_nothing_changes() {
    let options = FormatOptions::secure_mount().init(Init::Tags);
    let (device, header, key) = small(&options);
    let volume = reopened(part(&device, 64), &header, &key);
    let size = volume.size();
    assert_eq!(volume.grow(Init::Wipe, &Control::new()).unwrap(), size);
    let plain = FormatOptions::luks2().kdf(KdfChoice::HighEntropy);
    let (device, header, key) = small(&plain);
    let volume = reopened(part(&device, 80), &header, &key);
    let grown = volume.grow(Init::Wipe, &Control::new()).unwrap();
    assert_eq!(grown, ByteLen::new(80 * MIB));
}

#[test]
fn cancelling_keeps_the_old_size() {
    let options = FormatOptions::secure_mount().init(Init::Tags);
    let (device, header, key) = small(&options);
    let control = Control::new();
    control.cancel();
    let volume = reopened(part(&device, 192), &header, &key);
    let error = volume.grow(Init::Tags, &control).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Device {
                source: BlockError::Cancelled
            } | Error::Integrity {
                source: luksmith::integrity::Error::Device {
                    source: BlockError::Cancelled
                }
            }
        ),
        "{error}"
    );
    let volume = reopened(part(&device, 192), &header, &key);
    assert_eq!(volume.size(), ByteLen::new(129_248 * 512));
}
