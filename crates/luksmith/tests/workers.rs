//! Large requests by several threads: the same bytes whoever works, within a stated memory.
#![cfg(feature = "parallel")]
#![expect(
    clippy::indexing_slicing,
    reason = "a slip here fails the test that makes it"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use luksmith::block::{
    BlockDevice, ByteLen, ByteOffset, Control, Error as BlockError, MemDevice, Operation,
    SectorNumber, SectorSize,
};
use luksmith::integrity::{Devices, Layout};
use luksmith::simd::{Backend, HashBackend, Run, TagKey, XtsKey, seal};
use luksmith::{
    CandidateKey, Error, ExportOptions, FormatOptions, HeaderPlace, Init, Journal, KdfChoice,
    NewKeys, OnError, OpenOptions, Part, SparseFile, Stream, Unlock, Volume, Workers, format, open,
};
use luksmith_testkit::{HookDevice, QuietExecutor, paint};
use proptest::prelude::*;

const SIZE: usize = 14 << 20;
const COUNTS: [usize; 4] = [0, 1, 2, 4];

/// What a volume is made of.
#[derive(Clone, Copy, Debug)]
struct Kind {
    integrity: bool,
    journal: Journal,
    sector_size: SectorSize,
}

impl Kind {
    const fn new(integrity: bool, journal: Journal, sector_size: SectorSize) -> Self {
        Self {
            integrity,
            journal,
            sector_size,
        }
    }

    fn all() -> [Self; 6] {
        use SectorSize::{S512, S4096};
        [
            Self::new(false, Journal::AsHeaderSays, S512),
            Self::new(false, Journal::AsHeaderSays, S4096),
            Self::new(true, Journal::Bypass, S512),
            Self::new(true, Journal::Bypass, S4096),
            Self::new(true, Journal::Use, S512),
            Self::new(true, Journal::Use, S4096),
        ]
    }

    fn key_bytes(self) -> usize {
        if self.integrity { 96 } else { 64 }
    }
}

fn key_of(kind: Kind) -> Vec<u8> {
    (1..).take(kind.key_bytes()).collect()
}

/// A volume with a header of its own, so that only its data and tags depend on what is written.
struct Made {
    kind: Kind,
    header: Arc<MemDevice>,
    device: Arc<MemDevice>,
}

impl Made {
    fn new(kind: Kind) -> Self {
        Self::sized(kind, SIZE)
    }

    fn sized(kind: Kind, bytes: usize) -> Self {
        let medium = |bytes: usize| {
            let size = ByteLen::new(bytes as u64);
            Arc::new(MemDevice::new(size, SectorSize::S512).expect("small"))
        };
        let (header, device) = (medium(17 << 20), medium(bytes));
        let mut options = FormatOptions::luks2()
            .kdf(KdfChoice::HighEntropy)
            .digest_iterations(1000)
            .sector_size(kind.sector_size)
            .init(Init::None)
            .header(HeaderPlace::Detached(header.clone()));
        if kind.integrity {
            options = options.integrity("hmac(sha256)");
        }
        let key = CandidateKey::new(&key_of(kind)).expect("a key");
        let keys = NewKeys::none().with_volume_key(key);
        let volume = format(device.clone(), keys, &options).expect("a volume");
        volume.close().expect("closed");
        Self {
            kind,
            header,
            device,
        }
    }

    /// The volume over a copy of its device.
    fn open(&self, workers: Workers) -> (Arc<MemDevice>, Volume) {
        let copy = MemDevice::from_bytes(&self.device.to_vec(), SectorSize::S512);
        let copy = Arc::new(copy);
        let volume = self.over(copy.clone(), workers);
        (copy, volume)
    }

    fn over(&self, device: impl BlockDevice + 'static, workers: Workers) -> Volume {
        let options = OpenOptions::new()
            .detached_header(self.header.clone())
            .journal(self.kind.journal)
            .workers(workers);
        let key = CandidateKey::new(&key_of(self.kind)).expect("a key");
        open(device, Unlock::VolumeKey(&key), &options).expect("the volume opens")
    }
}

/// What a device must hold, from the kernels of one backend and the layout alone.
fn check_against(
    kind: Kind,
    backends: (Backend, HashBackend),
    (at, data): (usize, &[u8]),
    device: &MemDevice,
) {
    let key = key_of(kind);
    let xts = XtsKey::with_backend(&key[..64], backends.0).expect("an available backend");
    let sector = kind.sector_size.bytes();
    let first = (at / 512) as u64;
    let run = Run {
        first,
        step: (sector / 512) as u64,
        sector_bytes: sector,
    };
    let mut ciphertext = vec![0; data.len()];
    let held = device.to_vec();
    if !kind.integrity {
        xts.encrypt(run, data, &mut ciphertext)
            .expect("whole sectors");
        assert!(held[at..at + data.len()] == ciphertext, "{backends:?}");
        return;
    }
    let tag = TagKey::hmac_sha256(&key[64..])
        .with_backend(backends.1)
        .expect("an available backend");
    let sectors = data.len() / sector;
    let mut tags = vec![0; sectors * 32];
    seal(&xts, &tag, run, first, data, &mut ciphertext, &mut tags).expect("shapes fit");
    let devices = Devices::interleaved(device);
    let superblock = devices.read_superblock(SectorNumber::ZERO).expect("one");
    let layout = Layout::of(&superblock, devices.sizes(), SectorNumber::ZERO, 128).expect("one");
    for index in 0..sectors {
        let number = first + (index * sector / 512) as u64;
        let place = layout.locate(SectorNumber::new(number)).expect("inside");
        let data_at = usize::try_from(place.data.get()).expect("inside");
        let tag_at = usize::try_from(place.tag.get()).expect("inside");
        let sealed = &ciphertext[index * sector..(index + 1) * sector];
        assert!(held[data_at..data_at + sector] == *sealed, "{backends:?}");
        let expected = &tags[index * 32..(index + 1) * 32];
        assert!(held[tag_at..tag_at + 32] == *expected, "{backends:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5))]

    #[test]
    fn the_bytes_on_the_device_depend_on_neither_threads_nor_backend(
        kind in proptest::sample::select(Kind::all().to_vec()),
        blocks in 1_usize..800,
        start in 0_usize..500,
    ) {
        let made = Made::new(kind);
        let (at, data) = (start * 4096, paint(u64::from(u8::MAX), blocks * 4096));
        let mut expected: Option<Vec<u8>> = None;
        for count in COUNTS {
            let (device, volume) = made.open(Workers::threads(count));
            let position = ByteOffset::new(at as u64);
            volume.write_at(position, &data).expect("a write");
            let mut back = vec![0; data.len()];
            volume.read_at(position, &mut back).expect("a read");
            assert!(back == data, "{kind:?}, {count} threads");
            volume.close().expect("closed");
            let volume = made.over(device.clone(), Workers::threads(count));
            back.fill(0);
            volume.read_at(position, &mut back).expect("a read");
            assert!(back == data, "{kind:?}, {count} threads, opened again");
            if kind.journal == Journal::Use {
                // Threads take journal entries in the order in which they come.
                let best = (Backend::best(), HashBackend::best());
                check_against(kind, best, (at, &data), &device);
                continue;
            }
            let bytes = device.to_vec();
            if let Some(expected) = &expected {
                assert!(*expected == bytes, "{kind:?}, {count} threads");
                continue;
            }
            expected = Some(bytes);
            for backend in Backend::available() {
                for hash in HashBackend::available() {
                    check_against(kind, (backend, hash), (at, &data), &device);
                }
            }
        }
    }
}

#[test]
fn an_export_is_the_same_by_any_number_of_threads_and_into_any_sink() {
    for kind in [Kind::all()[1], Kind::all()[3]] {
        let made = Made::new(kind);
        let (device, volume) = made.open(Workers::none());
        let size = usize::try_from(volume.size().get()).expect("small");
        let mut plaintext = paint(3, size);
        plaintext[5 * 4096..900 * 4096].fill(0);
        let tail = size - 8192;
        plaintext[tail..].fill(0);
        volume
            .write_at(ByteOffset::ZERO, &plaintext)
            .expect("a write");
        volume.close().expect("closed");
        for count in COUNTS {
            let volume = made.over(device.clone(), Workers::threads(count));
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            let mut sink = SparseFile::new(file.reopen().expect("a file")).expect("emptied");
            let (control, options) = (Control::new(), ExportOptions::new());
            let report = volume.export(&mut sink, &options, &control);
            let report = report.expect("an export");
            let mut streamed = Vec::new();
            let same = volume.export(&mut Stream(&mut streamed), &options, &Control::new());
            assert_eq!(same.expect("an export"), report, "{count} threads");
            assert_eq!(report.bytes, size as u64);
            assert_eq!(report.zero_bytes, (895 * 4096 + 8192) as u64);
            assert_eq!(control.progress().done, size as u64);
            assert!(streamed == plaintext, "{count} threads");
            let mut sparse = Vec::new();
            std::io::Read::read_to_end(file.as_file_mut(), &mut sparse).expect("a file");
            assert!(sparse == plaintext, "{count} threads");
        }
    }
}

#[test]
fn a_panic_on_any_thread_stops_all_writes_and_hangs_nobody() {
    for kind in [Kind::all()[1], Kind::all()[3]] {
        for count in [1, 2, 4] {
            let made = Made::new(kind);
            let armed = Arc::new(AtomicBool::new(false));
            let panics = Arc::clone(&armed);
            let device = HookDevice::new(made.device.clone(), move |operation, at, len| {
                let touched = at.get()..=at.get() + len.get() - 1;
                let hit = operation == Operation::Write && touched.contains(&(5 << 20));
                let panics = hit && panics.load(Ordering::SeqCst);
                assert!(!panics, "the device is gone");
                Ok(())
            });
            let volume = made.over(device, Workers::threads(count));
            let data = paint(1, 8 << 20);
            volume.write_at(ByteOffset::ZERO, &data).expect("a write");
            armed.store(true, Ordering::SeqCst);
            let result = catch_unwind(AssertUnwindSafe(|| {
                volume.write_at(ByteOffset::ZERO, &data)
            }));
            assert!(result.is_err(), "the panic goes on in the caller");
            armed.store(false, Ordering::SeqCst);
            let after = volume.write_at(ByteOffset::ZERO, &data[..4096]);
            let expected = BlockError::FailStop {
                operation: Operation::Write,
            };
            assert_eq!(after, Err(expected), "{kind:?}, {count} threads");
            let zeroed = volume.write_zeroes(ByteOffset::ZERO, ByteLen::new(4096));
            assert_eq!(zeroed, after, "{kind:?}, {count} threads");
            let mut back = vec![0; 4096];
            volume.read_at(ByteOffset::ZERO, &mut back).expect("a read");
            assert!(back == data[..4096]);
        }
    }
}

#[test]
fn many_callers_share_one_pool_without_waiting_for_ever() {
    let made = Made::new(Kind::all()[3]);
    let workers = Workers::threads(3);
    let (_, one) = made.open(workers.clone());
    let (_, other) = made.open(workers);
    std::thread::scope(|scope| {
        for caller in 0..6_u64 {
            let volume = if caller % 2 == 0 { &one } else { &other };
            scope.spawn(move || {
                let at = ByteOffset::new(caller * (2 << 20));
                let mut back = vec![0; 2 << 20];
                for round in 0..12 {
                    let data = paint(caller * 100 + round, 2 << 20);
                    volume.write_at(at, &data).expect("a write");
                    volume.read_at(at, &mut back).expect("a read");
                    assert!(back == data, "caller {caller}, round {round}");
                }
            });
        }
    });
}

#[test]
fn an_export_that_failed_leaves_what_is_whole_and_never_its_full_length() {
    const WHOLE: usize = 5 << 20;
    let made = Made::new(Kind::all()[1]);
    let (device, volume) = made.open(Workers::none());
    let offset = volume.data_offset().get();
    let size = usize::try_from(volume.size().get()).expect("small");
    let plaintext = paint(5, size);
    volume
        .write_at(ByteOffset::ZERO, &plaintext)
        .expect("a write");
    volume.close().expect("closed");
    for (workers, panics) in [
        (Workers::none(), false),
        (Workers::threads(4), false),
        (Workers::executor(QuietExecutor), true),
    ] {
        let (bad_from, armed) = (offset + WHOLE as u64, AtomicBool::new(panics));
        let bad = HookDevice::new(device.clone(), move |operation, at, len| {
            if operation != Operation::Read || at.get() + len.get() <= bad_from {
                return Ok(());
            }
            assert!(!armed.swap(false, Ordering::SeqCst), "the device is gone");
            Err(BlockError::ReadOnly)
        });
        let volume = made.over(bad, workers);
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut sink = SparseFile::new(file.reopen().expect("a file")).expect("emptied");
        let part = ExportOptions::new().part(Part::ALL.len(ByteLen::new(1 << 20)));
        let part = volume.export(&mut sink, &part, &Control::new());
        part.expect("this part can be read");
        let error = volume.export(&mut sink, &ExportOptions::new(), &Control::new());
        let stopped = matches!(
            error,
            Err(Error::Device {
                source: BlockError::FailStop { .. }
            })
        );
        assert_eq!(stopped, panics, "{error:?}");
        assert!(error.is_err());
        let found = std::fs::read(file.path()).expect("a file");
        let whole = if panics { 0 } else { WHOLE };
        assert_eq!(found.len(), (1 << 20) + whole);
        assert!(found[..1 << 20] == plaintext[..1 << 20]);
        assert!(found[1 << 20..] == plaintext[..whole]);
    }
}

#[test]
fn exports_into_one_file_follow_each_other() {
    let made = Made::new(Kind::all()[3]);
    let (_, volume) = made.open(Workers::threads(2));
    let mut plaintext = paint(4, 3 << 20);
    plaintext[(2 << 20) + 4096..].fill(0);
    volume
        .write_at(ByteOffset::ZERO, &plaintext)
        .expect("a write");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut sink = SparseFile::new(file.reopen().expect("a file")).expect("emptied");
    let options = ExportOptions::new().part(Part::ALL.len(ByteLen::new(3 << 20)));
    // By position, in order, by position.
    for options in [options, options.on_error(OnError::Zero), options] {
        let report = volume.export(&mut sink, &options, &Control::new());
        report.expect("an export");
    }
    let found = std::fs::read(file.path()).expect("a file");
    assert!(found == plaintext.repeat(3));
}

/// The most memory that this process had since the last reset, in KiB.
#[cfg(target_os = "linux")]
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let value = line.and_then(|line| line.split_whitespace().nth(1));
    value.and_then(|kib| kib.parse().ok()).expect("a number")
}

/// Alone in its process when it counts: it starts this program again.
#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_request() {
    const MARK: &str = "LUKSMITH_TEST_PEAK_MEMORY";
    const THREADS: u64 = 4;
    const REQUEST: usize = 48 << 20;
    if std::env::var_os(MARK).is_none() {
        let this = std::env::current_exe().expect("this program");
        let status = std::process::Command::new(this)
            .args(["--exact", "memory_does_not_grow_with_the_request"])
            .env(MARK, "1")
            .status();
        assert!(status.expect("it runs").success());
        return;
    }
    for kind in Kind::all().into_iter().skip(1) {
        let made = Made::sized(kind, REQUEST + (16 << 20));
        let volume = made.over(made.device.clone(), Workers::threads(4));
        let mut data = vec![7; REQUEST];
        // A first lap of small requests brings in what every volume needs, threads, their stacks,
        // tag pages, and all of the device, which is in memory too.
        for (index, part) in data.chunks_mut(1 << 20).enumerate() {
            let at = ByteOffset::new((index as u64) << 20);
            volume.write_at(at, part).expect("a write");
            volume.read_at(at, part).expect("a read");
        }
        std::fs::write("/proc/self/clear_refs", "5").expect("Linux resets the peak");
        let before = peak_kib();
        for _ in 0..2 {
            volume.write_at(ByteOffset::ZERO, &data).expect("a write");
            volume.read_at(ByteOffset::ZERO, &mut data).expect("a read");
            if kind.integrity {
                let part = Part::ALL.len(ByteLen::of(&data));
                let report = volume.verify(part, &Control::new()).expect("verified");
                assert!(report.is_clean(), "{kind:?}");
            }
        }
        let grown = peak_kib() - before;
        println!("{kind:?}: {grown} KiB for a request of {REQUEST} bytes");
        // A buffer and its tags for each thread, the spare ones of both layers, and the journal's.
        let journal = match kind.journal {
            Journal::Use if kind.integrity => 4096,
            _ => 0,
        };
        let bound = THREADS * 296 + 8 * 296 + 4096 + journal;
        assert!(grown <= bound, "{kind:?}: {grown} KiB");
        assert!(4 * bound < (REQUEST as u64) >> 10);
    }
}
