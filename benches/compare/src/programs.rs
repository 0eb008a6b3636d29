//! Whole programs: `luksmith` and `cryptsetup` with the same volume, key and costs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use luksmith_testkit::Oracle;

use crate::harness::{self, Samples, median};
use crate::memory::Memory;
use crate::scratch::Scratch;

/// Where the luksmith that is measured is, unless this variable names it.
const PROGRAM: &str = "LUKSMITH_PROGRAM";
const BUILT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/luksmith");
/// What both are asked to derive: cryptsetup's default on a machine with two cores, as it stands
/// after it has measured this one.
const COSTS: [&str; 8] = [
    "--pbkdf",
    "argon2id",
    "--pbkdf-force-iterations",
    "4",
    "--pbkdf-memory",
    "1048576",
    "--pbkdf-parallel",
    "2",
];
/// Costs that are next to nothing, so that the rest of the work shows.
const CHEAP: [&str; 4] = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
const SMALL: u64 = 64 << 20;
const LARGE: u64 = 1 << 40;
/// Rounds of programs that take seconds.
const ROUNDS: usize = 5;
/// Rounds of those that take tens of milliseconds.
const CHEAP_ROUNDS: usize = 31;

/// A folder with an image and a key file.
struct Scene(Scratch);

impl Scene {
    fn new() -> Self {
        let folder = Scratch::temporary();
        fs::write(folder.file("key"), b"correct horse battery staple").expect("a key file");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.file(name)
    }

    /// A fresh file that is one hole.
    fn image_of(&self, bytes: u64) -> PathBuf {
        self.0
            .sparse("image", bytes)
            .expect("a file may be that large")
    }

    /// A fresh file of 64 MiB.
    fn image(&self) -> PathBuf {
        self.image_of(SMALL)
    }
}

/// The program that is measured.
pub fn ours() -> PathBuf {
    std::env::var_os(PROGRAM).map_or_else(|| PathBuf::from(BUILT), PathBuf::from)
}

/// A way to start a program.
type Start = Box<dyn Fn() -> Command>;

/// Where Debian has it.
const INSTALLED: &str = "/usr/sbin/cryptsetup";

/// The installed cryptsetup, and the newest one where `cargo xtask oracle --suite sid` unpacked it:
/// their Argon2 is not the same.
fn peers() -> Vec<(&'static str, Start)> {
    let mut peers: Vec<(_, Start)> = Vec::new();
    if Path::new(INSTALLED).is_file() {
        peers.push(("cryptsetup", Box::new(|| Command::new(INSTALLED))));
    }
    if let Some(oracle) = Oracle::of_suite("sid") {
        let start = move || oracle.program("cryptsetup").expect("it was unpacked");
        peers.push(("cryptsetup/newest", Box::new(start)));
    }
    peers
}

/// luksmith, and every cryptsetup that there is.
fn programs() -> Option<Vec<(&'static str, Start)>> {
    let ours = ours();
    let mut programs = peers();
    if programs.is_empty() || !ours.is_file() {
        let ours = ours.display();
        println!("unlock, format: {ours} or cryptsetup is missing");
        return None;
    }
    programs.insert(0, ("luksmith", Box::new(move || Command::new(&ours))));
    Some(programs)
}

/// What each cryptsetup calls itself.
pub fn cryptsetup_versions() -> Vec<(&'static str, String)> {
    let version = |(name, start): (_, Start)| {
        let output = start().arg("--version").output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout);
        (name, text.trim().to_owned())
    };
    peers().into_iter().map(version).collect()
}

/// Wall and CPU seconds of one run that has to succeed.
fn cost(program: &Start, arguments: &[&str], files: [&Path; 2]) -> [f64; 2] {
    let mut command = program();
    command
        .args(arguments)
        .arg("--key-file")
        .args(files)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let before = children_cpu();
    let start = Instant::now();
    let status = command.status().expect("the program starts");
    let wall = start.elapsed().as_secs_f64();
    assert!(status.success(), "{command:?}");
    [wall, children_cpu() - before]
}

/// CPU seconds of all children that ended, the kernel's share included.
pub fn children_cpu() -> f64 {
    // SAFETY: getrusage fills in the struct that it is given; all-zero is a valid value of it.
    let usage = unsafe {
        let mut usage: libc::rusage = core::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Measures contenders in turns. `one` makes what one of them is measured on, and measures it.
fn case<T>(
    name: &str,
    rounds: usize,
    mut one: impl FnMut(&T) -> [f64; 2],
    contenders: &[(&str, T)],
) -> Vec<Samples> {
    let mut samples = Vec::new();
    for measure in ["wall", "cpu-time"] {
        for (contender, _) in contenders {
            samples.push(Samples {
                row: "unlock".to_owned(),
                case: format!("{name}/{measure}"),
                contender: (*contender).to_owned(),
                bytes: 1,
                ns: Vec::new(),
                cycles: Vec::new(),
            });
        }
    }
    for _ in 0..rounds {
        for (at, (_, contender)) in contenders.iter().enumerate() {
            let [wall, cpu] = one(contender);
            samples[at].ns.push(wall * 1e9);
            samples[contenders.len() + at].ns.push(cpu * 1e9);
        }
    }
    for one in &samples {
        let (case, name, ms) = (&one.case, &one.contender, median(&one.ns) / 1e6);
        println!("{case}: {name} {ms:.1} ms");
    }
    samples
}

/// Unlocking and formatting, by both programs in turns.
pub fn run(filter: &str) -> Vec<Samples> {
    if !["program/unlock", "program/format"]
        .iter()
        .any(|name| name.contains(filter))
    {
        return Vec::new();
    }
    let Some(programs) = programs() else {
        return Vec::new();
    };
    harness::unpin();
    let scene = Scene::new();
    let key = scene.path("key");
    let format: Vec<&str> = [
        "luksFormat",
        "--batch-mode",
        "--type",
        "luks2",
        "--sector-size",
        "4096",
    ]
    .into_iter()
    .chain(COSTS)
    .collect();
    let cheap: Vec<&str> = format[..6].iter().copied().chain(CHEAP).collect();
    let mut samples = case(
        "program/format/argon2id/t4/1048576KiB/lanes2",
        ROUNDS,
        |program| cost(program, &format, [&key, &scene.image()]),
        &programs,
    );
    samples.extend(case(
        "program/format/pbkdf2/i1000",
        CHEAP_ROUNDS,
        |program| cost(program, &cheap, [&key, &scene.image()]),
        &programs,
    ));
    samples.extend(case(
        "program/format/pbkdf2/i1000/size",
        CHEAP_ROUNDS,
        |size| cost(&programs[0].1, &cheap, [&key, &scene.image_of(*size)]),
        &[("luksmith/64MiB", SMALL), ("luksmith/1TiB", LARGE)],
    ));
    let with_tags: Vec<&str> = ["--integrity", "hmac-sha256", "--integrity-no-wipe"].into();
    let with_tags: Vec<&str> = cheap.iter().copied().chain(with_tags).collect();
    samples.extend(case(
        "program/format/pbkdf2/i1000/hmac-sha256/no-wipe/size",
        CHEAP_ROUNDS,
        |size| cost(&programs[0].1, &with_tags, [&key, &scene.image_of(*size)]),
        &[("luksmith/64MiB", SMALL), ("luksmith/1TiB", LARGE)],
    ));
    let image = scene.image();
    cost(&programs[1].1, &format, [&key, &image]);
    for memory in Memory::BOTH {
        samples.extend(case(
            &format!("program/unlock/argon2id/t4/1048576KiB/lanes2{memory}"),
            ROUNDS,
            |program| {
                memory.prepare(1 << 30);
                cost(program, &["open", "--test-passphrase"], [&key, &image])
            },
            &programs,
        ));
    }
    harness::pin(1);
    samples
}
