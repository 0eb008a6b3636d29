//! Volumes that take the room of a device that has become larger.

use std::sync::Arc;

use luksmith::block::{
    BlockDevice, ByteLen, ByteOffset, Control, Error as BlockError, MemDevice, SectorCount,
    SectorSize, SparseMemDevice, Window,
};
use luksmith::{
    CandidateKey, Error, ErrorKind, FormatOptions, HeaderPlace, Init, KdfChoice, NewKeys,
    OpenOptions, Threads, Unlock, Volume, format, open,
};

use luksmith_testkit::{CrashDevice, CrashOptions};

const MIB: u64 = 1 << 20;

/// The first `mib` MiB of a device.
fn part(device: &Arc<SparseMemDevice>, mib: u64) -> Window<Arc<SparseMemDevice>> {
    Window::new(device.clone(), ByteOffset::ZERO, ByteLen::new(mib * MIB)).expect("a window")
}

fn reopened(device: impl BlockDevice + 'static, header: &[u8], key: &[u8]) -> Volume {
    let header = MemDevice::from_bytes(header, SectorSize::S512);
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
fn power_loss_at_any_step_of_growing_leaves_the_old_or_the_new_size() {
    for (init, no_journal) in [(Init::Tags, false), (Init::Wipe, false), (Init::Tags, true)] {
        let mut options = FormatOptions::secure_mount()
            .header(HeaderPlace::Memory)
            .journal_sectors(SectorCount::new(1))
            .init(Init::Wipe);
        if no_journal {
            options = options.without_journal();
        }
        // Small: every request is a crash, and each is verified as a whole.
        let device = Arc::new(MemDevice::from_bytes(&vec![0; 400 << 10], SectorSize::S512));
        let volume = format(Arc::clone(&device), NewKeys::none(), &options).expect("a volume");
        let header = volume.header_image().expect("an image");
        let key = volume.volume_key().expect("the key").expose().to_vec();
        let old = volume.size();
        volume.close().expect("a clean close");
        // One block waits in the journal, or is in place.
        let volume = reopened(Arc::clone(&device), &header, &key);
        volume
            .write_at(ByteOffset::ZERO, &[3; 4096])
            .expect("a write");
        volume.flush().expect("a memory device");
        drop(volume);
        let mut bytes = device.to_vec();
        bytes.resize(700 << 10, 0);
        let crash = Arc::new(CrashDevice::from_bytes(&bytes, SectorSize::S512));
        let volume = reopened(Arc::clone(&crash), &header, &key);
        let new = volume.grow(init, &Control::new()).expect("room enough");
        assert!(new > old);
        let (mut before, mut after) = (0, 0);
        let crash_options = CrashOptions {
            exhaustive_up_to: 4,
            random: 3,
            ..CrashOptions::default()
        };
        crash
            .recording()
            .for_each_crash(&crash_options, |_, image| {
                let volume = reopened(image.to_mem(SectorSize::S512), &header, &key);
                let mut block = [0; 4096];
                volume
                    .read_at(ByteOffset::ZERO, &mut block)
                    .expect("it was flushed");
                assert_eq!(block, [3; 4096]);
                let report = volume.verify(Threads::default(), &Control::new());
                assert!(report.expect("a memory device").is_clean(), "{init:?}");
                if volume.size() == old {
                    before += 1;
                } else {
                    assert_eq!(volume.size(), new);
                    after += 1;
                }
            });
        assert!(before > 5 && after > 0, "{before} before, {after} after");
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
