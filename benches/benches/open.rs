//! Opening by the volume key, and reading: `open/<size>`, `read/<kind>/<cipher>`.
//!
//! After the measurements of criterion, opening a sparse file of 1 TiB is compared with one of
//! 16 MiB, in pairs that take turns: the run fails if it costs more than a tenth more. The
//! derivation of keyslots is left out, as it would hide any difference.

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use luksmith::{
    CandidateKey, OpenOptions, Unlock, Volume,
    block::{BlockDevice, ByteLen, ByteOffset, FileOptions, SectorSize, SparseMemDevice},
};
use luksmith_sys::machine::thread_cpu_time;
use luksmith_testkit::{TestImage, test_images};

const SMALL: u64 = 16 << 20;
const LARGE: u64 = 1 << 40;

/// How much more the large file may cost.
const MARGIN: f64 = 1.10;

fn image(name: &str) -> TestImage {
    let found = test_images().into_iter().find(|image| image.name == name);
    found.unwrap_or_else(|| panic!("no image {name}"))
}

/// Makes a sparse file of `size` bytes that starts with the image.
fn sparse(folder: &Path, image: &TestImage, size: u64) -> PathBuf {
    let path = folder.join(format!("{}-{size}", image.name));
    fs::write(&path, image.file("image")).expect("room for an image");
    let file = fs::OpenOptions::new().write(true).open(&path);
    let file = file.expect("the file just made");
    file.set_len(size).expect("a file system with large files");
    path
}

fn open_file(path: &Path, key: &CandidateKey) -> Volume {
    let file = FileOptions::reader().open(path).expect("the file");
    let options = OpenOptions::new().read_only();
    luksmith::open(file, Unlock::VolumeKey(key), &options).expect("the volume")
}

fn opens(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let image = image("luks2-sector4096");
    let key = CandidateKey::new(&image.volume_key).expect("a key");
    for (name, size) in [("16MiB", SMALL), ("1TiB", LARGE)] {
        let path = sparse(folder.path(), &image, size);
        c.bench_with_input(BenchmarkId::new("open", name), &path, |b, path| {
            b.iter(|| open_file(black_box(path), &key));
        });
    }
}

/// Reads of a volume in memory, 1 MiB at a time from its start on, and 4 KiB here and there.
fn reads(c: &mut Criterion) {
    const SIZE: u64 = 64 << 20;
    for name in ["luks2-sector4096", "luks2-cbc-essiv", "luks2-adiantum"] {
        let image = image(name);
        let disk = SparseMemDevice::new(ByteLen::new(SIZE), SectorSize::S512);
        let start = image.file("image");
        disk.write_at(ByteOffset::ZERO, &start).expect("room");
        let key = CandidateKey::new(&image.volume_key).expect("a key");
        let volume = luksmith::open(disk, Unlock::VolumeKey(&key), &OpenOptions::new());
        let volume = volume.expect("the volume");
        let painted = vec![0x5a; 1 << 20];
        let whole = volume.size().get() >> 20;
        for piece in 0..whole {
            let at = ByteOffset::new(piece << 20);
            volume.write_at(at, &painted).expect("a write");
        }
        for (kind, bytes) in [("sequential-1MiB", 1_usize << 20), ("random-4KiB", 4096)] {
            let mut buf = vec![0; bytes];
            volume.read_at(ByteOffset::ZERO, &mut buf).expect("a read");
            assert!(buf.iter().all(|byte| *byte == 0x5a), "{name}: {kind}");
            let pieces = (whole << 20) / ByteLen::of(&buf).get();
            let mut turn = 0_u64;
            let mut group = c.benchmark_group(format!("read/{kind}"));
            group.throughput(Throughput::Bytes(ByteLen::of(&buf).get()));
            group.bench_function(volume.cipher().to_string(), |b| {
                b.iter(|| {
                    turn = turn.wrapping_add(1);
                    // A multiplier without a factor of two visits every place, far from the last.
                    let piece = if bytes == 4096 {
                        turn.wrapping_mul(7919)
                    } else {
                        turn
                    };
                    let at = ByteOffset::new(piece % pieces * ByteLen::of(&buf).get());
                    volume.read_at(at, black_box(&mut buf)).expect("a read");
                });
            });
        }
    }
}

/// What opening the file took: time, and time on the processor, 0 where the system does not tell.
fn once(path: &Path, key: &CandidateKey) -> (Duration, Duration) {
    let (start, busy) = (Instant::now(), thread_cpu_time().unwrap_or_default());
    let volume = open_file(path, key);
    let spent = thread_cpu_time().unwrap_or_default() - busy;
    let took = (start.elapsed(), spent);
    drop(black_box(volume));
    took
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().expect("some rounds")
}

/// Compares the two sizes in pairs; which of the two comes first alternates.
fn compare(rounds: u32) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let mut good = true;
    for name in ["luks2-sector4096", "luks1-default"] {
        let image = image(name);
        let key = CandidateKey::new(&image.volume_key).expect("a key");
        let small = sparse(folder.path(), &image, SMALL);
        let large = sparse(folder.path(), &image, LARGE);
        let (mut wall, mut busy) = (Vec::new(), Vec::new());
        let mut micros = Vec::new();
        for round in 0..rounds {
            let ((s, s_busy), (l, l_busy)) = if round % 2 == 0 {
                let first = once(&small, &key);
                (first, once(&large, &key))
            } else {
                let first = once(&large, &key);
                (once(&small, &key), first)
            };
            wall.push(l.as_secs_f64() / s.as_secs_f64());
            micros.push(s.as_secs_f64() * 1e6);
            if !s_busy.is_zero() {
                busy.push(l_busy.as_secs_f64() / s_busy.as_secs_f64());
            }
        }
        let wall = median(wall);
        let busy = if busy.is_empty() {
            f64::NAN
        } else {
            median(busy)
        };
        println!(
            "open, {name}: 1 TiB costs {wall:.3} of 16 MiB ({:.1} us), processor time {busy:.3}; \
             {rounds} pairs",
            median(micros)
        );
        good &= wall <= MARGIN && (busy.is_nan() || busy <= MARGIN);
    }
    good
}

criterion_group!(benches, opens, reads);

fn main() -> ExitCode {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // `cargo test` runs each bench once: that it works is seen then, how fast it is not.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let good = compare(if is_bench { 4000 } else { 2 });
    if is_bench && !good {
        println!("opening costs more the larger the device is: the limit is {MARGIN}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
