//! Rows V1 to V4 and T1: whole volumes, against what their parts cost in the same run.
//!
//! A volume in direct mode cannot be faster than its kernel and one copy into the device, one after
//! the other. Both are measured beside it, and `limit/kernel+copy` is their sum in each round.
//! Devices are memory, or a file on tmpfs, so all work is the CPU's: samples count CPU time, which
//! a neighbour does not change. Only T1 counts wall time; the case beside it counts the CPU time of
//! both threads, which tells on a busy machine too whether the second one costs the first anything.

use std::sync::Arc;

use luksmith::block::{
    BlockDevice, ByteLen, ByteOffset, Executor, MemDevice, SectorSize, Splitter,
};
use luksmith::{FormatOptions, HeaderPlace, KdfChoice, NewKeys, Overwrite, Volume, WorkerPool};
use luksmith_simd::{Run, TagKey, XtsKey};

use crate::harness::{self, Samples};
use crate::paired::{Clock, Shape, Side, sample, series, side};
use crate::scratch::Scratch;
use crate::xts::{Pages, REQUEST};

/// Bytes of a device: far more than any cache.
pub const DEVICE: u64 = 256 << 20;
/// Bytes between two flushes.
pub const COMMIT: usize = 8 << 20;
/// Bytes of a sample of journal mode: several laps of commits and write-backs.
const LAPS: usize = 128 << 20;
const SECTOR: usize = 4096;

/// The sum of the first two contenders, round by round.
fn add_limit(shape: &Shape, results: &mut Vec<Samples>) {
    let mut limit = series(shape, "limit/kernel+copy");
    let (kernel, copy) = (&results[0], &results[1]);
    let sums = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + b).collect();
    limit.ns = sums(&kernel.ns, &copy.ns);
    limit.cycles = sums(&kernel.cycles, &copy.cycles);
    results.push(limit);
}

pub fn options(integrity: bool) -> FormatOptions {
    let options = FormatOptions::luks2()
        .kdf(KdfChoice::HighEntropy)
        .header(HeaderPlace::Memory)
        // Whatever the measurement before left there.
        .overwrite(Overwrite::Allow)
        .sector_size(SectorSize::S4096);
    if integrity {
        options.integrity("hmac(sha256)")
    } else {
        options
    }
}

/// A device whose memory the system has already given.
pub fn memory() -> MemDevice {
    let device = MemDevice::new(ByteLen::new(DEVICE), SectorSize::S512);
    let device = device.expect("memory for a device");
    let mut write = writer(&device);
    (0..requests(&device)).for_each(|_| write());
    drop(write);
    device
}

pub fn volume(device: impl BlockDevice + 'static, options: &FormatOptions) -> Volume {
    let volume = luksmith::format(device, NewKeys::none(), options).expect("a volume");
    let mut data = Pages::pattern(REQUEST);
    let written = data.bytes().to_vec();
    let last = ByteOffset::new(requests(&volume) as u64 * REQUEST as u64 - REQUEST as u64);
    volume.write_at(last, &written).expect("a write");
    volume.flush().expect("a flush");
    data.bytes().fill(0);
    volume.read_at(last, data.bytes()).expect("a read");
    assert!(data.bytes() == written, "a volume reads what was written");
    volume
}

fn requests(device: &dyn BlockDevice) -> usize {
    usize::try_from(device.size().get()).expect("it is in memory") / REQUEST
}

/// Writes request after request, from the first again after the last.
fn writer<'a>(device: &'a dyn BlockDevice) -> impl FnMut() + 'a {
    let mut data = Pages::pattern(REQUEST);
    let mut walk = (0..requests(device)).cycle();
    move || {
        let at = walk.next().expect("it never ends") * REQUEST;
        let at = ByteOffset::new(at as u64);
        device.write_at(at, data.bytes()).expect("a write");
    }
}

fn reader<'a>(device: &'a dyn BlockDevice) -> impl FnMut() + 'a {
    let mut data = Pages::pattern(REQUEST);
    let mut walk = (0..requests(device)).cycle();
    move || {
        let at = walk.next().expect("it never ends") * REQUEST;
        let at = ByteOffset::new(at as u64);
        device.read_at(at, data.bytes()).expect("a read");
    }
}

fn keys() -> (XtsKey, TagKey) {
    let key: Vec<u8> = (1..=64).collect();
    let xts = XtsKey::new(&key).expect("64 bytes");
    (xts, TagKey::hmac_sha256(&key[..32]))
}

const RUN: Run = Run {
    first: 8,
    step: 8,
    sector_bytes: SECTOR,
};

/// What a write computes: from the caller's buffer into another one.
fn sealing(integrity: bool) -> impl FnMut() {
    let (xts, tag) = keys();
    let (mut plain, mut data) = (Pages::pattern(REQUEST), Pages::pattern(REQUEST));
    let mut tags = vec![0; REQUEST / SECTOR * 32];
    move || {
        let (plain, data) = (plain.bytes(), data.bytes());
        if integrity {
            luksmith_simd::seal(&xts, &tag, RUN, 8, plain, data, &mut tags).expect("shapes fit");
        } else {
            xts.encrypt(RUN, plain, data).expect("shapes fit");
        }
    }
}

/// What a read computes.
fn opening(integrity: bool) -> impl FnMut() {
    let (xts, tag) = keys();
    let (mut plain, mut data) = (Pages::pattern(REQUEST), Pages::pattern(REQUEST));
    let mut tags = vec![0; REQUEST / SECTOR * 32];
    luksmith_simd::seal(&xts, &tag, RUN, 8, plain.bytes(), data.bytes(), &mut tags)
        .expect("shapes fit");
    move || {
        let (plain, data) = (plain.bytes(), data.bytes());
        if integrity {
            luksmith_simd::open(&xts, &tag, RUN, 8, data, &tags, plain).expect("true tags");
        } else {
            xts.decrypt(RUN, data, plain).expect("shapes fit");
        }
    }
}

/// Writing and reading through one volume, against kernel and raw device.
fn against_limit(
    rows: [&'static str; 2],
    what: &str,
    raw: &dyn BlockDevice,
    volume: &Volume,
) -> Vec<Samples> {
    let integrity = volume.is_authenticated();
    let shape = |row, direction| Shape {
        row,
        name: format!("volume/{direction}/{what}/sector4096/run16"),
        bytes: REQUEST,
        calls: 64,
        clock: Clock::Cpu,
    };
    let write = shape(rows[0], "write");
    let sides = vec![
        side("luksmith/kernel", sealing(integrity)),
        side("luksmith/copy", writer(raw)),
        side("luksmith", writer(volume)),
    ];
    let mut samples = sample(&write, sides);
    add_limit(&write, &mut samples);
    let read = shape(rows[1], "read");
    let sides = vec![
        side("luksmith/kernel", opening(integrity)),
        side("luksmith/copy", reader(raw)),
        side("luksmith", reader(volume)),
    ];
    let mut reads = sample(&read, sides);
    add_limit(&read, &mut reads);
    samples.extend(reads);
    samples
}

/// Rows V1 and V3.
fn in_memory() -> Vec<Samples> {
    let raw = memory();
    let direct = volume(memory(), &options(true).without_journal());
    let mut samples = against_limit(["V1", "V3"], "memory/hmac-sha256", &raw, &direct);
    drop(direct);
    let plain = volume(memory(), &options(false));
    samples.extend(against_limit(
        ["volume", "volume"],
        "memory/xts",
        &raw,
        &plain,
    ));
    samples
}

/// Row V2: many requests, with a flush every 8 MiB.
fn journal() -> Vec<Samples> {
    let direct = volume(memory(), &options(true).without_journal());
    let journal = volume(memory(), &options(true));
    let shape = Shape {
        row: "V2",
        name: "volume/write/memory/hmac-sha256/sector4096/run16/flush8m".to_owned(),
        bytes: LAPS,
        calls: 1,
        clock: Clock::Cpu,
    };
    let laps = |volume| {
        let mut write = writer(volume);
        move || {
            for _ in 0..LAPS / COMMIT {
                (0..COMMIT / REQUEST).for_each(|_| write());
                BlockDevice::flush(volume).expect("a flush");
            }
        }
    };
    let sides = vec![
        side("luksmith/direct", laps(&direct)),
        side("luksmith/journal", laps(&journal)),
    ];
    sample(&shape, sides)
}

/// Row V4.
fn on_tmpfs() -> Vec<Samples> {
    let Some(folder) = Scratch::on_tmpfs() else {
        println!("V4: there is no tmpfs here");
        return Vec::new();
    };
    let raw = folder.device("raw", DEVICE);
    let options = options(true).without_journal();
    let direct = volume(folder.device("volume", DEVICE), &options);
    against_limit(["V4", "V4"], "tmpfs/hmac-sha256", &raw, &direct)
}

/// Row T1: as many bytes by one thread and by two, each with its half of the volume. The kernel
/// alone beside it, each thread in its own cache with nothing shared: what this machine's second
/// core adds, which on cores that share their units is less than the first one.
fn threads() -> Vec<Samples> {
    let volume = volume(memory(), &options(true).without_journal());
    let bytes = 32 << 20;
    let name = "volume/write/memory/hmac-sha256/sector4096/run16/threads";
    let shape = |row, name: String, clock| Shape {
        row,
        name,
        bytes,
        calls: 1,
        clock,
    };
    let write = |thread: usize, requests: usize| {
        let mut data = Pages::pattern(REQUEST);
        for request in 0..requests {
            let at = (thread * requests + request) * REQUEST;
            let at = ByteOffset::new(at as u64);
            volume.write_at(at, data.bytes()).expect("a write");
        }
    };
    let kernel = |_, requests: usize| {
        let mut work = sealing(true);
        (0..requests).for_each(|_| work());
    };
    let wall = shape("T1", name.to_owned(), Clock::Wall);
    let mut samples = sample(&wall, one_and_two(bytes, &write));
    let cpu = shape("volume", format!("{name}/cpu-time"), Clock::AllCpu);
    samples.extend(sample(&cpu, one_and_two(bytes, &write)));
    let alone = shape("T1", format!("{name}/kernel"), Clock::Wall);
    samples.extend(sample(&alone, one_and_two(bytes, &kernel)));
    samples
}

/// The requests that make up `bytes`, done by one thread and by two; `work` takes the thread's
/// number and how many requests are its own.
fn one_and_two(bytes: usize, work: &(impl Fn(usize, usize) + Sync)) -> Vec<Side<'_>> {
    let by = move |count: usize| {
        move || {
            std::thread::scope(|scope| {
                for thread in 0..count {
                    scope.spawn(move || {
                        harness::pin(thread);
                        work(thread, bytes / REQUEST / count);
                    });
                }
            });
        }
    };
    vec![side("one thread", by(1)), side("two threads", by(2))]
}

/// Does request after request of `bytes`, at 32 places in turn.
fn walk<'a>(
    bytes: usize,
    request: impl Fn(ByteOffset, &mut [u8]) -> Result<(), luksmith::block::Error> + 'a,
) -> impl FnMut() + 'a {
    let mut data = Pages::pattern(bytes);
    let mut places = (0..32).cycle();
    move || {
        let place: u64 = places.next().expect("it never ends");
        let at = ByteOffset::new(place * bytes as u64);
        request(at, data.bytes()).expect("a request");
    }
}

/// From which size on a request gains by a second thread: a volume and one large request after the
/// other, whole and split.
fn split() -> Vec<Samples> {
    // Threads of the pool run where the thread does that starts them.
    harness::unpin();
    let pool: Arc<dyn Executor> = Arc::new(WorkerPool::new(2));
    let splitter = Splitter::new(pool, 0);
    let mut samples = Vec::new();
    for (kind, integrity) in [("xts", false), ("hmac-sha256", true)] {
        let volume = if integrity {
            volume(memory(), &options(true).without_journal())
        } else {
            volume(memory(), &options(false))
        };
        for kib in [128, 256, 512, 1024, 4096] {
            let bytes = kib << 10;
            let shape = |direction| Shape {
                row: "volume",
                name: format!("volume/split/{kind}/{direction}/{kib}KiB"),
                bytes,
                calls: ((4 << 20) / bytes).max(1),
                clock: Clock::Wall,
            };
            let sides = vec![
                side(
                    "one thread",
                    walk(bytes, |at, data| volume.write_at(at, data)),
                ),
                side(
                    "two threads",
                    walk(bytes, |at, data| splitter.write_at(&volume, at, data)),
                ),
            ];
            samples.extend(sample(&shape("write"), sides));
            let sides = vec![
                side(
                    "one thread",
                    walk(bytes, |at, data| volume.read_at(at, data)),
                ),
                side(
                    "two threads",
                    walk(bytes, |at, data| splitter.read_at(&volume, at, data)),
                ),
            ];
            samples.extend(sample(&shape("read"), sides));
        }
    }
    harness::pin(1);
    samples
}

/// Rows that run together, and what their names have in common.
type Part = (&'static str, fn() -> Vec<Samples>);

/// All rows of this file whose name holds `filter`.
pub fn run(filter: &str) -> Vec<Samples> {
    let mut samples = Vec::new();
    let parts: [Part; 5] = [
        ("volume/memory", in_memory),
        ("volume/journal", journal),
        ("volume/tmpfs", on_tmpfs),
        ("volume/threads", threads),
        ("volume/split", split),
    ];
    for (name, part) in parts {
        if name.contains(filter) {
            let results = part();
            for case in results.chunk_by(|a, b| a.case == b.case) {
                harness::print(case);
            }
            samples.extend(results);
        }
    }
    samples
}
