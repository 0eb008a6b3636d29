//! Reading and writing open volumes: whole, in parts, from many threads, damaged.
#![expect(
    clippy::indexing_slicing,
    reason = "a slip here fails the test that makes it"
)]

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use luksmith::block::{
    BlockDevice, ByteLen, ByteOffset, Control, Error as BlockError, MemDevice, Operation,
    SectorNumber, SectorSize, SparseMemDevice,
};
use luksmith::integrity::{Devices, Layout};
use luksmith::{
    CandidateKey, Error, ErrorKind, ExportOptions, FormatOptions, Init, Journal, NewKeys, OnError,
    OpenOptions, Part, SparseFile, Stream, Unlock, Volume, Workers, export_device, format, open,
    verify_device,
};
use luksmith_testkit::{FAULT_FAILURE, HookDevice, Prng, TestImage, test_image};

fn opened(image: &TestImage, device: impl BlockDevice + 'static) -> Volume {
    let key = CandidateKey::new(&image.volume_key).expect("a key");
    open(device, Unlock::VolumeKey(&key), &OpenOptions::new()).expect("the volume opens")
}

/// Flips a bit of the ciphertext of each of these blocks of 4096 bytes.
fn damage(image: &TestImage, volume: &Volume, blocks: &[u64]) -> MemDevice {
    let mut bytes = image.file("image");
    let start = volume.data_offset().sector().expect("a sector");
    let devices = Devices::interleaved(image.device("image"));
    let superblock = devices.read_superblock(start).expect("a superblock");
    let layout = Layout::of(&superblock, devices.sizes(), start, 128).expect("a layout");
    for block in blocks {
        let position = layout
            .locate(SectorNumber::new(block * 8))
            .expect("a block");
        bytes[usize::try_from(position.data.get()).expect("a position") + 77] ^= 1;
    }
    MemDevice::from_bytes(&bytes, SectorSize::S512)
}

#[test]
fn exactly_the_damaged_blocks_are_found() {
    let image = test_image("luks2-hmac-sha256");
    let clean = opened(&image, image.device("image"));
    let blocks = clean.size().get() / 4096;
    let volume = opened(&image, damage(&image, &clean, &[3, 4, blocks - 1]));
    let mut all = vec![0; usize::try_from(volume.size().get()).unwrap()];
    assert_eq!(
        volume.read_at(ByteOffset::ZERO, &mut all),
        Err(BlockError::TagMismatch {
            first: SectorNumber::new(24),
            count: 24
        })
    );
    let stats = volume.stats();
    assert_eq!((stats.tampered_requests, stats.tampered_sectors), (1, 24));
    assert_eq!((stats.reads, stats.failures), (0, 0));
    for workers in [Workers::none(), Workers::threads(3)] {
        let key = CandidateKey::new(&image.volume_key).expect("a key");
        let options = OpenOptions::new().workers(workers);
        let damaged = damage(&image, &clean, &[3, 4, blocks - 1]);
        let volume = open(damaged, Unlock::VolumeKey(&key), &options).expect("the volume opens");
        let control = Control::new();
        let report = volume.verify(Part::ALL, &control).unwrap();
        assert_eq!(
            report.tampered.ranges(),
            [
                (SectorNumber::new(24), 16),
                (SectorNumber::new((blocks - 1) * 8), 8)
            ]
        );
        assert_eq!(report.tampered.sectors(), 24);
        assert!(report.unreadable.is_empty());
        assert!(!report.is_clean());
        assert_eq!(control.progress().done, volume.size().get());
        // A part says nothing about the rest.
        let control = Control::new();
        let part = Part::starting_at(ByteOffset::new(4 * 4096)).len(ByteLen::new(8192));
        let report = volume.verify(part, &control).unwrap();
        assert_eq!(report.bytes, 8192);
        assert_eq!(control.progress().total, 8192);
        assert_eq!(report.tampered.ranges(), [(SectorNumber::new(32), 8)]);
        let part = Part::starting_at(ByteOffset::new(5 * 4096)).len(ByteLen::new(4096));
        assert!(volume.verify(part, &control).unwrap().is_clean());
        for part in [
            Part::starting_at(ByteOffset::new(100)),
            Part::ALL.len(ByteLen::new(volume.size().get() + 4096)),
        ] {
            let error = volume.verify(part, &control).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Caller, "{error}");
        }
    }
    let mut one = [0; 4096];
    volume.read_at(ByteOffset::new(2 * 4096), &mut one).unwrap();
    volume.read_at(ByteOffset::new(5 * 4096), &mut one).unwrap();
}

#[test]
fn an_export_stops_at_damage_or_puts_zeros_there_and_says_so() {
    let image = test_image("luks2-hmac-sha256");
    let clean = opened(&image, image.device("image"));
    let volume = opened(&image, damage(&image, &clean, &[3]));
    let export = |options: &ExportOptions, volume: &Volume| {
        let mut out = Vec::new();
        let report = volume.export(&mut Stream(&mut out), options, &Control::new());
        report.map(|report| (report, out))
    };
    let stopped = export(&ExportOptions::new(), &volume).unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Tampered);
    let zeroing = ExportOptions::new().on_error(OnError::Zero);
    let (report, out) = export(&zeroing, &volume).unwrap();
    let (_, mut expected) = export(&ExportOptions::new(), &clean).unwrap();
    expected[3 * 4096..4 * 4096].fill(0);
    assert!(out == expected, "all but the damaged block");
    assert_eq!(report.tampered.ranges(), [(SectorNumber::new(24), 8)]);
    assert!(report.unreadable.is_empty());
    // A part that the damage is not in.
    let part = Part::starting_at(ByteOffset::new(4 * 4096)).len(ByteLen::new(8192));
    let part = ExportOptions::new().part(part);
    let (report, out) = export(&part, &volume).unwrap();
    assert_eq!(report.bytes, 8192);
    assert!(out == expected[4 * 4096..6 * 4096]);
    let past = Part::starting_at(ByteOffset::new(volume.size().get() + 4096));
    let past = ExportOptions::new().part(past);
    assert_eq!(
        export(&past, &volume).unwrap_err().kind(),
        ErrorKind::Caller
    );
}

#[test]
fn a_sparse_export_leaves_holes_and_forgets_what_the_file_held() {
    let image = test_image("luks2-hmac-sha256");
    let volume = opened(&image, image.device("image"));
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![0xff; 3 << 20]).unwrap();
    let mut sink = SparseFile::new(file.try_clone().unwrap()).unwrap();
    let report = volume
        .export(&mut sink, &ExportOptions::new(), &Control::new())
        .unwrap();
    assert!(report.zero_bytes > 0);
    let mut whole = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut whole).unwrap();
    let mut expected = Vec::new();
    volume
        .export(
            &mut Stream(&mut expected),
            &ExportOptions::new(),
            &Control::new(),
        )
        .unwrap();
    assert!(whole == expected, "the same bytes with holes and without");
}

#[test]
fn an_import_of_any_length_is_there_after_reopening() {
    for name in ["luks2-hmac-sha256", "luks2-gcm-random", "luks1-default"] {
        let image = test_image(name);
        let device = Arc::new(image.device("image"));
        let volume = opened(&image, device.clone());
        let size = usize::try_from(volume.size().get()).unwrap();
        let mut expected = vec![0; size];
        volume.read_at(ByteOffset::ZERO, &mut expected).unwrap();
        let data: Vec<u8> = (0..251).cycle().take(size - 5000).collect();
        expected[4097..4097 + data.len()].copy_from_slice(&data);
        let at = ByteOffset::new(4097);
        let count = volume.import(&mut data.as_slice(), at, &Control::new());
        assert_eq!(count.unwrap(), data.len() as u64, "{name}");
        let too_long = volume.import(&mut vec![0; size].as_slice(), at, &Control::new());
        assert_eq!(too_long.unwrap_err().kind(), ErrorKind::Caller, "{name}");
        volume.close().unwrap();
        let volume = opened(&image, device);
        let mut back = vec![0; size];
        volume.read_at(ByteOffset::ZERO, &mut back).unwrap();
        assert!(back == expected, "{name}");
    }
}

#[test]
fn many_threads_write_and_read_their_own_parts_at_once() {
    for name in ["luks2-hmac-sha256", "luks2-sector4096"] {
        let image = test_image(name);
        let device = Arc::new(image.device("image"));
        let volume = opened(&image, device.clone());
        let blocks = volume.size().get() / 4096;
        let share = blocks / 4;
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let volume = &volume;
                scope.spawn(move || {
                    let mut prng = Prng::new(thread);
                    let start = thread * share;
                    for round in 0..20 {
                        let block = start + prng.below(share);
                        let mut data = vec![0; 4096];
                        prng.fill(&mut data);
                        let at = ByteOffset::new(block * 4096);
                        volume.write_at(at, &data).expect("a write");
                        let mut back = vec![0; 4096];
                        volume.read_at(at, &mut back).expect("a read");
                        assert!(back == data, "thread {thread}, round {round}");
                        if round % 7 == 0 {
                            volume.flush().expect("a flush");
                        }
                    }
                });
            }
        });
        let stats = volume.stats();
        assert_eq!((stats.writes, stats.written_bytes), (80, 80 * 4096));
        assert_eq!((stats.reads, stats.flushes), (80, 12));
        let mut before = vec![0; usize::try_from(volume.size().get()).unwrap()];
        volume.read_at(ByteOffset::ZERO, &mut before).unwrap();
        volume.close().unwrap();
        let volume = opened(&image, device);
        let mut after = vec![0; before.len()];
        volume.read_at(ByteOffset::ZERO, &mut after).unwrap();
        assert!(before == after, "{name}");
    }
}

#[test]
fn threads_that_write_parts_of_one_sector_lose_nothing() {
    let image = test_image("luks2-hmac-sha256");
    let volume = opened(&image, image.device("image"));
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let bytes = volume.bytes();
            scope.spawn(move || {
                for round in 0..16 {
                    let at = u64::from(thread) * 16 + round;
                    bytes
                        .write_at(ByteOffset::new(at), &[thread + 1])
                        .expect("a byte");
                }
            });
        }
    });
    let mut back = [0; 64];
    volume.bytes().read_at(ByteOffset::ZERO, &mut back).unwrap();
    let expected: Vec<u8> = (0..64).map(|at| at / 16 + 1).collect();
    assert_eq!(back[..], expected);
}

#[test]
fn discards_are_refused_unless_allowed_and_possible() {
    let plain = test_image("luks2-default");
    let key = CandidateKey::new(&plain.volume_key).unwrap();
    let discard = |volume: &Volume| {
        assert_eq!(
            volume.capabilities().discard,
            volume.discard(ByteOffset::ZERO, ByteLen::new(4096)).is_ok()
        );
        volume.capabilities().discard
    };
    assert!(!discard(&opened(&plain, plain.device("image"))));
    let allowed = OpenOptions::new().allow_discards();
    let volume = open(plain.device("image"), Unlock::VolumeKey(&key), &allowed).unwrap();
    assert_eq!(
        discard(&volume),
        plain.device("image").capabilities().discard
    );
    for (name, possible) in [
        ("luks2-hmac-sha256", true),
        ("luks2-hmac-nojournal", true),
        ("luks2-cbc-hmac", true),
        // Nobody can make a tag for given ciphertext without giving the key away.
        ("luks2-gcm-random", false),
        ("luks2-chacha20-poly1305", false),
    ] {
        let tagged = test_image(name);
        let key = CandidateKey::new(&tagged.volume_key).unwrap();
        let unlock = || Unlock::VolumeKey(&key);
        let device = || {
            let bytes = tagged.file("image");
            let device = SparseMemDevice::new(ByteLen::of(&bytes), SectorSize::S512);
            device.write_at(ByteOffset::ZERO, &bytes).unwrap();
            device
        };
        let volume = open(device(), unlock(), &allowed).unwrap();
        assert_eq!(discard(&volume), possible, "{name}");
        assert!(!discard(&opened(&tagged, device())), "{name}");
        let reader = allowed.clone().read_only();
        let volume = open(device(), unlock(), &reader).unwrap();
        assert!(!discard(&volume), "{name}");
        // A device that cannot promise zeros.
        let volume = open(tagged.device("image"), unlock(), &allowed).unwrap();
        assert!(!discard(&volume), "{name}");
    }
}

#[test]
fn what_is_discarded_gives_storage_back_and_reads_without_error() {
    const MIB: usize = 1 << 20;
    let at = |position: usize| ByteOffset::new(u64::try_from(position).unwrap());
    let long = |len: usize| ByteLen::new(u64::try_from(len).unwrap());

    for journal in [Journal::Use, Journal::Bypass] {
        let device = SparseMemDevice::new(long(64 * MIB), SectorSize::S512);
        let device = Arc::new(device);
        let options = FormatOptions::secure_mount().init(Init::Tags);
        let volume = format(Arc::clone(&device), NewKeys::none(), &options).unwrap();
        let key = CandidateKey::new(volume.volume_key().unwrap().expose()).unwrap();
        volume.close().unwrap();
        let reopened = || {
            let options = OpenOptions::new().allow_discards().journal(journal);
            open(Arc::clone(&device), Unlock::VolumeKey(&key), &options).unwrap()
        };
        let volume = reopened();
        let data = vec![0x5a; 8 * MIB];
        volume.write_at(ByteOffset::ZERO, &data).unwrap();
        volume.flush().unwrap();
        volume.close().unwrap();
        let volume = reopened();
        let full = device.allocated();
        // Not whole areas, and more than the journal holds at once.
        let (from, len) = (MIB + 4096, 5 * MIB + 8192);
        volume.discard(at(from), long(len)).unwrap();
        let mut part = vec![0; 2 * MIB];
        // Readers see it at once: noise for what is gone, and the rest as it was.
        volume.read_at(ByteOffset::ZERO, &mut part).unwrap();
        assert!(part[..from].iter().all(|byte| *byte == 0x5a));
        assert_ne!(part[from..][..4096], [0x5a; 4096]);
        volume.flush().unwrap();
        volume.close().unwrap();
        let left = device.allocated();
        assert!(
            left.get() + long(4 * MIB).get() < full.get(),
            "{journal:?}: {full} bytes before, {left} after"
        );
        let volume = reopened();
        let report = volume.verify(Part::ALL, &Control::new()).unwrap();
        assert!(report.is_clean(), "{journal:?}: {report:?}");
        let mut rest = vec![0; 8 * MIB];
        volume.read_at(ByteOffset::ZERO, &mut rest).unwrap();
        let end = from + len;
        assert!(rest[end..].iter().all(|byte| *byte == 0x5a));
        // Write-zeroes is no discard: it gives encrypted zeros.
        volume.write_zeroes(at(from), long(4096)).unwrap();
        let mut block = [1; 4096];
        volume.read_at(at(from), &mut block).unwrap();
        assert_eq!(block, [0; 4096]);
    }
}

#[test]
fn a_volume_without_tags_cannot_be_verified() {
    let image = test_image("luks2-default");
    let volume = opened(&image, image.device("image"));
    let error = volume.verify(Part::ALL, &Control::new()).unwrap_err();
    assert!(matches!(error, Error::NothingToVerify), "{error}");
}

/// It used to say that it can be written.
#[test]
fn a_volume_opened_for_reading_says_so() {
    for name in ["luks2-hmac-sha256", "luks2-sector4096"] {
        let image = test_image(name);
        let key = CandidateKey::new(&image.volume_key).expect("a key");
        let options = OpenOptions::new().read_only();
        let device = image.device("image");
        let volume = open(device, Unlock::VolumeKey(&key), &options).expect("the volume opens");
        assert!(volume.capabilities().read_only, "{name}");
        let refused = volume.write_at(ByteOffset::ZERO, &[0; 4096]);
        assert_eq!(refused, Err(BlockError::ReadOnly), "{name}");
        let writable = opened(&image, image.device("image"));
        assert!(!writable.capabilities().read_only, "{name}");
    }
}

/// A device that has stopped once `reads` are used up, and can never read one place.
fn stopping(
    device: MemDevice,
    reads: &Arc<AtomicU32>,
    bad: Option<ByteOffset>,
) -> impl BlockDevice + use<> {
    let reads = Arc::clone(reads);
    HookDevice::new(device, move |operation, at, len| {
        let left = reads.load(Ordering::SeqCst);
        if left == 0 {
            return Err(BlockError::FailStop {
                operation: Operation::Flush,
            });
        }
        reads.store(left - 1, Ordering::SeqCst);
        let touched = at.get()..at.get() + len.get();
        match bad {
            Some(bad) if touched.contains(&bad.get()) => Err(BlockError::Io {
                operation,
                at,
                failure: FAULT_FAILURE,
            }),
            _ => Ok(()),
        }
    })
}

fn is_fail_stop(error: &Error) -> bool {
    let source = BlockError::FailStop {
        operation: Operation::Flush,
    };
    matches!(error, Error::Device { source: found } if *found == source)
}

/// Every sector used to be listed as unreadable.
#[test]
fn a_device_that_has_stopped_ends_a_verification_with_its_error() {
    let image = test_image("luks2-hmac-sha256");
    let reads = Arc::new(AtomicU32::new(u32::MAX));
    let volume = opened(&image, stopping(image.device("image"), &reads, None));
    reads.store(1, Ordering::SeqCst);
    let error = volume.verify(Part::ALL, &Control::new()).unwrap_err();
    assert!(is_fail_stop(&error), "{error}");
}

/// Sectors that the medium cannot read are told apart from those that were changed, in one request
/// and in all reports; an export that goes on over damage used to go on over a stopped device too.
#[test]
fn a_failing_medium_is_told_apart_from_tampering() {
    let image = test_image("luks2-hmac-sha256");
    let clean = opened(&image, image.device("image"));
    let start = clean.data_offset().sector().expect("a sector");
    let devices = Devices::interleaved(image.device("image"));
    let superblock = devices.read_superblock(start).expect("a superblock");
    let layout = Layout::of(&superblock, devices.sizes(), start, 128).expect("a layout");
    let bad = layout.locate(SectorNumber::new(7 * 8)).expect("a block");
    let damaged = damage(&image, &clean, &[3]);
    let reads = Arc::new(AtomicU32::new(u32::MAX));
    let volume = opened(&image, stopping(damaged, &reads, Some(bad.data)));
    let report = volume.verify(Part::ALL, &Control::new()).unwrap();
    assert_eq!(report.tampered.ranges(), [(SectorNumber::new(24), 8)]);
    assert_eq!(report.unreadable.ranges(), [(SectorNumber::new(56), 8)]);
    let zeroing = ExportOptions::new().on_error(OnError::Zero);
    let export =
        |volume: &Volume| volume.export(&mut Stream(std::io::sink()), &zeroing, &Control::new());
    let exported = export(&volume).unwrap();
    assert_eq!(exported.tampered, report.tampered);
    assert_eq!(exported.unreadable, report.unreadable);
    // One request after the other: one kind of error each, and its own counter.
    let before = volume.stats();
    let mut block = [0; 4096];
    let kind = |block: u64, buf: &mut [u8]| {
        let read = volume.read_at(ByteOffset::new(block * 4096), buf);
        read.map_err(|error| Error::from(error).kind())
    };
    assert_eq!(kind(3, &mut block), Err(ErrorKind::Tampered));
    assert_eq!(kind(7, &mut block), Err(ErrorKind::Device));
    assert_eq!(kind(8, &mut block), Ok(()));
    let stats = volume.stats();
    assert_eq!(stats.tampered_requests, before.tampered_requests + 1);
    assert_eq!(stats.tampered_sectors, before.tampered_sectors + 8);
    assert_eq!(stats.failures, before.failures + 1);
    reads.store(2, Ordering::SeqCst);
    let error = export(&volume).unwrap_err();
    assert!(is_fail_stop(&error), "{error}");
}

#[test]
fn a_device_on_its_own_is_verified_and_exported_by_all_workers_too() {
    use luksmith::integrity::{DigestName, FormatRequest, HashedDevice};

    let disk = Arc::new(MemDevice::from_bytes(&vec![0; 3 << 20], SectorSize::S512));
    let request = FormatRequest::new(32, SectorSize::S4096).unwrap();
    luksmith::integrity::format(&Devices::interleaved(&disk), &request, None, None).unwrap();
    let open = |disk: &Arc<MemDevice>| {
        let devices = Devices::interleaved(Arc::clone(disk));
        let options = luksmith::integrity::OpenOptions::new();
        let sha256 = DigestName::parse("sha256").unwrap();
        HashedDevice::open(devices, options, sha256, None).unwrap()
    };
    let device = open(&disk);
    let mut data = vec![0x5a; device.size().to_usize().unwrap()];
    device.write_at(ByteOffset::ZERO, &data).unwrap();
    device.close().unwrap();
    let device = open(&disk);
    let mut bytes = disk.to_vec();
    for block in [1_u64, 200] {
        let place = device
            .layout()
            .locate(SectorNumber::new(block * 8))
            .unwrap();
        let place = usize::try_from(place.data.get()).unwrap();
        bytes[place] ^= 1;
    }
    let device = open(&Arc::new(MemDevice::from_bytes(&bytes, SectorSize::S512)));
    for workers in [Workers::none(), Workers::threads(3)] {
        let report = verify_device(&device, Part::ALL, &workers, &Control::new()).unwrap();
        assert_eq!(report.bytes, data.len() as u64);
        let bad = [(SectorNumber::new(8), 8), (SectorNumber::new(1600), 8)];
        assert_eq!(report.tampered.ranges(), bad);
        let part = Part::starting_at(ByteOffset::new(2 * 4096)).len(ByteLen::new(8192));
        let report = verify_device(&device, part, &workers, &Control::new()).unwrap();
        assert!(report.is_clean());
        let mut out = Vec::new();
        let zeroing = ExportOptions::new().on_error(OnError::Zero);
        let mut sink = Stream(&mut out);
        let report = export_device(&device, &mut sink, &zeroing, &workers, &Control::new());
        assert_eq!(report.unwrap().tampered.ranges(), bad);
        data[4096..8192].fill(0);
        data[200 * 4096..201 * 4096].fill(0);
        assert!(out == data);
    }
}

/// The error told of a mode that volumes did not have.
#[test]
fn a_ruined_journal_is_left_aside_where_that_is_asked_for() {
    let image = test_image("luks2-hmac-dirty");
    let mut bytes = image.file("image");
    let superblock = bytes.windows(8).position(|at| at == b"integrt\0");
    let journal = superblock.expect("a superblock") + 4096;
    bytes[journal..][..264 * 512].fill(0xee);
    let key = CandidateKey::new(&image.volume_key).expect("a key");
    let open = |options: &OpenOptions| {
        let device = MemDevice::from_bytes(&bytes, SectorSize::S512);
        open(device, Unlock::VolumeKey(&key), options)
    };
    for options in [OpenOptions::new(), OpenOptions::new().read_only()] {
        assert_eq!(open(&options).unwrap_err().kind(), ErrorKind::Malformed);
    }
    let volume = open(&OpenOptions::new().journal(Journal::Ignore)).unwrap();
    assert!(
        volume
            .verify(Part::ALL, &Control::new())
            .unwrap()
            .is_clean()
    );
    assert!(volume.capabilities().read_only && !volume.uses_journal());
    let write = volume.write_at(ByteOffset::ZERO, &[0; 4096]);
    assert_eq!(write, Err(BlockError::ReadOnly));
    let tables = volume
        .dm_tables("v", "/dev/x", luksmith::DmKey::Keyring)
        .expect("words");
    assert!(
        tables[0].line().contains(" 32 R 1 "),
        "{}",
        tables[0].line()
    );
}

#[test]
fn cancelling_stops_an_export_and_a_verification() {
    let image = test_image("luks2-hmac-sha256");
    let volume = opened(&image, image.device("image"));
    let control = Control::new();
    control.cancel();
    let error = volume
        .export(&mut Stream(Vec::new()), &ExportOptions::new(), &control)
        .unwrap_err();
    assert!(matches!(
        error,
        Error::Device {
            source: BlockError::Cancelled
        }
    ));
    let error = volume.verify(Part::ALL, &control).unwrap_err();
    assert!(matches!(
        error,
        Error::Device {
            source: BlockError::Cancelled
        }
    ));
}

#[test]
fn debug_output_of_a_volume_and_its_tables_holds_no_key() {
    let image = test_image("luks2-hmac-sha256");
    let key = CandidateKey::new(&image.volume_key).unwrap();
    let options = OpenOptions::new().keep_volume_key();
    let volume = open(image.device("image"), Unlock::VolumeKey(&key), &options).unwrap();
    let shown = format!("{volume:?}");
    assert!(shown.contains("VolumeKey(96 bytes)"), "{shown}");
    let held = volume.volume_key().expect("the key was to be kept");
    let tables = volume
        .dm_tables("name", "/dev/x", luksmith::DmKey::Hex(held))
        .expect("words");
    let hex: String = image
        .volume_key
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert!(tables[1].line().contains(&hex));
    assert_eq!(format!("{:?}", tables[1]), "DmTable(name, crypt)");
}

/// The UUID of a header names the key, and stood in the table as it was.
#[test]
fn no_text_of_a_header_or_a_caller_becomes_a_second_word_of_a_table() {
    let image = test_image("luks1-default");
    let mut bytes = image.file("image");
    bytes[168..208].fill(0);
    let uuid = b"x 0 /dev/sda 0\n0 9 zero";
    bytes[168..168 + uuid.len()].copy_from_slice(uuid);
    let hostile = opened(&image, MemDevice::from_bytes(&bytes, SectorSize::S512));
    let word = |volume: &Volume, name: &str, device: &str| {
        let tables = volume.dm_tables(name, device, luksmith::DmKey::Keyring);
        match tables {
            Ok(_) => None,
            Err(Error::DmWord { what, .. }) => Some(what),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(word(&hostile, "v", "/dev/x"), Some("the UUID"));
    let volume = opened(&image, image.device("image"));
    assert_eq!(word(&volume, "v", "/dev/x"), None);
    for bad in ["", "a b", "a\n0", "a\\b"] {
        assert_eq!(word(&volume, bad, "/dev/x"), Some("the name"), "{bad:?}");
        assert_eq!(word(&volume, "v", bad), Some("the device"), "{bad:?}");
    }
}
