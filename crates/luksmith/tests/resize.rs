//! Volumes that take the room of a device that has become larger, or get smaller together with it.

use std::sync::Arc;

use luksmith::block::{
    BlockDevice, ByteLen, ByteOffset, Control, Error as BlockError, MemDevice, SectorCount,
    SectorSize, SparseMemDevice, Window,
};
use luksmith::{
    CandidateKey, Error, ErrorKind, FormatOptions, HeaderPlace, Init, KdfChoice, NewKeys,
    OpenOptions, Part, Unlock, Volume, format, open,
};

use luksmith_testkit::{CrashDevice, CrashOptions, FaultDevice, FaultPlan};

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
        let report = volume.verify(Part::ALL, &Control::new()).unwrap();
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

/// A small volume with two blocks, the first and the last, that wait in the journal or are in
/// place: the device, the header, the key.
fn left_dirty(bytes: usize, no_journal: bool) -> (Arc<MemDevice>, Vec<u8>, Vec<u8>) {
    let mut options = FormatOptions::secure_mount()
        .header(HeaderPlace::Memory)
        .journal_sectors(SectorCount::new(1))
        .init(Init::Wipe);
    if no_journal {
        options = options.without_journal();
    }
    let device = Arc::new(MemDevice::from_bytes(&vec![0; bytes], SectorSize::S512));
    let volume = format(Arc::clone(&device), NewKeys::none(), &options).expect("a volume");
    let header = volume.header_image().expect("an image");
    let key = volume.volume_key().expect("the key").expose().to_vec();
    volume.close().expect("a clean close");
    let volume = reopened(Arc::clone(&device), &header, &key);
    let end = volume.size().get() - 4096;
    for at in [end, 0] {
        volume
            .write_at(ByteOffset::new(at), &[3; 4096])
            .expect("a write");
    }
    volume.flush().expect("a memory device");
    drop(volume);
    (device, header, key)
}

fn contents(volume: &Volume) -> Vec<u8> {
    let mut bytes = vec![0; volume.size().to_usize().expect("small")];
    volume
        .read_at(ByteOffset::ZERO, &mut bytes)
        .expect("every tag matches");
    bytes
}

#[test]
fn power_loss_at_any_step_of_growing_leaves_the_old_or_the_new_size() {
    for (init, no_journal) in [(Init::Tags, false), (Init::Wipe, false), (Init::Tags, true)] {
        let (device, header, key) = left_dirty(400 << 10, no_journal);
        let old = reopened(Arc::clone(&device), &header, &key).size();
        let mut bytes = device.to_vec();
        bytes.resize(700 << 10, 0);
        let crash = Arc::new(CrashDevice::from_bytes(&bytes, SectorSize::S512));
        let volume = reopened(Arc::clone(&crash), &header, &key);
        let new = volume.grow(init, &Control::new()).expect("room enough");
        assert!(new > old);
        let (mut before, mut after) = (0, 0);
        crash
            .recording()
            .for_each_crash(&few_crashes(), |_, image| {
                let volume = reopened(image.to_mem(SectorSize::S512), &header, &key);
                let mut block = [0; 4096];
                volume
                    .read_at(ByteOffset::ZERO, &mut block)
                    .expect("it was flushed");
                assert_eq!(block, [3; 4096]);
                let report = volume.verify(Part::ALL, &Control::new());
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
    let error = volume.check_growable(Init::Tags).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let error = volume.check_growable(Init::Lazy).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Caller, "{error}");
    volume.check_growable(Init::Wipe).unwrap();
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

/// Tags over zeros are right only from here on.
#[test]
fn new_room_starts_behind_the_old_end_or_in_what_a_larger_device_left() {
    let options = FormatOptions::secure_mount().init(Init::Tags);
    let (device, header, key) = small(&options);
    let room = |mib| reopened(part(&device, mib), &header, &key).new_room_at();
    assert_eq!(room(64), None);
    let at = room(192).expect("room");
    let (block, end) = (ByteOffset::new(64 * MIB - 4096), ByteOffset::new(64 * MIB));
    assert!(at > block, "{at}");
    assert_eq!(room(80), Some(at));
    reopened(part(&device, 192), &header, &key)
        .grow(Init::None, &Control::new())
        .expect("room enough");
    assert_eq!(room(192), None);
    let shrunk = reopened(part(&device, 192), &header, &key)
        .shrink(ByteLen::new(64 * MIB), |_| Err(BlockError::Busy));
    shrunk.expect_err("it was not cut");
    // The same place, and the device has old data there.
    assert_eq!(room(192), Some(at));
    let plain = FormatOptions::luks2().kdf(KdfChoice::HighEntropy);
    let (device, header, key) = small(&plain);
    let volume = reopened(part(&device, 80), &header, &key);
    assert_eq!(volume.new_room_at(), None);
    assert!(at >= end, "{at} is before {end}");
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
            }
        ),
        "{error}"
    );
    let volume = reopened(part(&device, 192), &header, &key);
    assert_eq!(volume.size(), ByteLen::new(129_248 * 512));
}

/// Few enough that each image is read as a whole.
fn few_crashes() -> CrashOptions {
    CrashOptions {
        exhaustive_up_to: 4,
        random: 3,
        ..CrashOptions::default()
    }
}

#[test]
fn power_loss_at_any_step_of_shrinking_leaves_the_old_or_the_new_size() {
    const SMALL: usize = 400 << 10;
    for no_journal in [false, true] {
        let (device, header, key) = left_dirty(700 << 10, no_journal);
        let old = contents(&reopened(Arc::clone(&device), &header, &key));
        let crash = Arc::new(CrashDevice::from_bytes(&device.to_vec(), SectorSize::S512));
        let volume = reopened(Arc::clone(&crash), &header, &key);
        let mut cut = Vec::new();
        let size = volume.shrink(ByteLen::new(SMALL as u64), |len| {
            assert_eq!(len, ByteLen::new(SMALL as u64));
            // Nobody holds the device, and all that matters is durable: so what a crash in or after
            // the cut leaves is this.
            assert_eq!(Arc::strong_count(&crash), 1);
            let durable = crash.durable().to_mem(SectorSize::S512).to_vec();
            assert!(durable == crash.current().to_mem(SectorSize::S512).to_vec());
            cut.extend_from_slice(&durable[..SMALL]);
            Ok(())
        });
        let size = size.expect("room enough").to_usize().expect("small");
        assert!(size < old.len() && size > 100_000, "{size}");
        let volume = reopened(MemDevice::from_bytes(&cut, SectorSize::S512), &header, &key);
        assert!(contents(&volume) == old[..size], "no journal: {no_journal}");
        let (mut before, mut after) = (0, 0);
        crash
            .recording()
            .for_each_crash(&few_crashes(), |_, image| {
                let volume = reopened(image.to_mem(SectorSize::S512), &header, &key);
                let found = contents(&volume);
                let whole = found.len() == old.len();
                assert!(found == old[..if whole { old.len() } else { size }]);
                *(if whole { &mut before } else { &mut after }) += 1;
            });
        assert!(before > 0 && after > 0, "{before} before, {after} after");
    }
}

#[test]
fn a_failure_at_any_step_of_shrinking_cuts_nothing_and_it_can_be_done_again() {
    let (device, header, key) = left_dirty(700 << 10, false);
    let old = contents(&reopened(Arc::clone(&device), &header, &key));
    let size = ByteLen::new(400 << 10);
    let copy = || MemDevice::from_bytes(&device.to_vec(), SectorSize::S512);
    let whole = Arc::new(copy());
    let shrunk = reopened(Arc::clone(&whole), &header, &key).shrink(size, |_| Ok(()));
    let new = shrunk.expect("room enough").to_usize().expect("small");
    assert!(new < old.len());
    let mut failures = 0;
    for number in 0.. {
        let faulty = Arc::new(FaultDevice::new(copy()));
        let volume = reopened(Arc::clone(&faulty), &header, &key);
        faulty.set_plan(Some(FaultPlan::nth(number)));
        let mut was_cut = false;
        let shrunk = volume.shrink(size, |_| {
            was_cut = true;
            Ok(())
        });
        let done = shrunk.is_ok();
        assert_eq!(was_cut, done, "operation {number}");
        if let Err(error) = shrunk {
            assert_eq!(
                error.kind(),
                ErrorKind::Device,
                "operation {number}: {error}"
            );
            failures += 1;
        }
        faulty.set_plan(None);
        let volume = reopened(Arc::clone(&faulty), &header, &key);
        let found = contents(&volume);
        let is_old_or_new = [old.len(), new].contains(&found.len());
        assert!(is_old_or_new, "operation {number}: {} bytes", found.len());
        assert!(found == old[..found.len()], "operation {number}");
        assert!(!done || found.len() == new, "operation {number}");
        let again = volume.shrink(size, |_| Ok(()));
        assert!(again.is_ok(), "operation {number}: {again:?}");
        if done {
            break;
        }
    }
    assert!(failures > 5, "{failures} operations");
    // A cut that fails is the caller's to know; the volume is smaller already.
    let disk = Arc::new(copy());
    let volume = reopened(Arc::clone(&disk), &header, &key);
    let failed = volume.shrink(size, |_| Err(BlockError::Busy));
    assert_eq!(failed.expect_err("it was not cut").kind(), ErrorKind::Busy);
    assert!(reopened(disk, &header, &key).size() < ByteLen::new(old.len() as u64));
}

#[test]
fn what_cannot_be_shrunk_is_refused_and_nothing_changes() {
    let nothing = |_| -> Result<(), BlockError> { panic!("nothing is to be cut") };
    let (device, header, key) = left_dirty(700 << 10, false);
    let before = device.to_vec();
    let open = || reopened(Arc::clone(&device), &header, &key);
    let larger = open().shrink(ByteLen::new(800 << 10), nothing);
    assert_eq!(larger.expect_err("larger").kind(), ErrorKind::Caller);
    // Not room for a block more: the device used to be grown by its cut.
    let tagged = open().shrink(ByteLen::new((700 << 10) + 512), nothing);
    assert!(
        matches!(tagged, Err(Error::NotSmaller { .. })),
        "{tagged:?}"
    );
    let none_left = open().shrink(ByteLen::new(64 << 10), nothing);
    assert_eq!(
        none_left.expect_err("too small").kind(),
        ErrorKind::TooSmall
    );
    let key_given = CandidateKey::new(&key).expect("a key");
    let options = OpenOptions::new()
        .read_only()
        .detached_header(MemDevice::from_bytes(&header, SectorSize::S512));
    let volume = luksmith::open(Arc::clone(&device), Unlock::VolumeKey(&key_given), &options);
    let read_only = volume
        .expect("it opens")
        .shrink(ByteLen::new(400 << 10), nothing);
    assert_eq!(read_only.expect_err("read-only").kind(), ErrorKind::Caller);
    assert!(device.to_vec() == before);
}

#[test]
fn without_tags_a_volume_has_the_size_of_what_is_left_of_its_device() {
    let plain = FormatOptions::luks2().kdf(KdfChoice::HighEntropy);
    let (device, header, key) = small(&plain);
    let volume = reopened(part(&device, 64), &header, &key);
    let error = volume.shrink(ByteLen::new(64 * MIB + 4096), |_| Ok(()));
    assert!(matches!(error, Err(Error::NotSmaller { .. })), "{error:?}");
    let volume = reopened(part(&device, 64), &header, &key);
    let error = volume.shrink(ByteLen::new(64 * MIB + 512), |_| Ok(()));
    assert!(matches!(error, Err(Error::NotSmaller { .. })), "{error:?}");
    let volume = reopened(part(&device, 64), &header, &key);
    let error = volume.shrink(ByteLen::new(4095), |_| Ok(()));
    assert!(matches!(error, Err(Error::VolumeRoom { .. })), "{error:?}");
    let volume = reopened(part(&device, 64), &header, &key);
    let mut asked = None;
    let left = volume.shrink(ByteLen::new(32 * MIB + 512), |len| {
        asked = Some(len);
        Ok(())
    });
    assert_eq!(left.expect("room enough"), ByteLen::new(32 * MIB));
    assert_eq!(asked, Some(ByteLen::new(32 * MIB + 512)));
}
