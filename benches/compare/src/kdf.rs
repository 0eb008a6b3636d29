//! Rows K1 to K5: key derivation.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::time::Instant;

use luksmith_simd::{
    Argon2, Argon2Job, Argon2Threads, Argon2Variant, HashBackend, OneThread, ScopedThreads,
    pbkdf2_sha256, pbkdf2_sha256_by, pbkdf2_sha512, pbkdf2_sha512_by,
};
use luksmith_sys::{Arena, Supply};

use crate::harness::{Case, Contender, Samples, median, pin, unpin};
use crate::hash::contender_name;
use crate::mac_peers::{Pbkdf2Calls, libargon2_argon2id, openssl_argon2id};
use crate::memory::Memory;
use crate::system::SystemOpenSsl;

const PASSWORD: &[u8] = b"correct horse battery staple";
const SALT: &[u8] = &[7; 32];
const ITERATIONS: u32 = 1000;

/// What fills a key.
type Work = Box<dyn Fn(&mut [u8])>;

fn by_backend(sha512: bool, backend: HashBackend) -> Work {
    let derive = if sha512 {
        pbkdf2_sha512_by
    } else {
        pbkdf2_sha256_by
    };
    Box::new(move |key| {
        let mut go_on = |_, _| ControlFlow::Continue(());
        derive(backend, PASSWORD, SALT, ITERATIONS, key, &mut go_on).expect("iterations");
    })
}

fn pbkdf2(row: &'static str, sha512: bool, key_bytes: usize) -> Case<'static> {
    let mut contenders = Vec::new();
    let mut expected: Option<Vec<u8>> = None;
    let mut add = |name, work: Work| {
        let mut key = vec![0; key_bytes];
        work(&mut key);
        let reference = expected.get_or_insert_with(|| key.clone());
        assert!(*reference == key, "{name} computes something else");
        contenders.push(Contender {
            name,
            bytes: ITERATIONS as usize,
            work: Box::new(move || work(&mut key)),
        });
    };
    let by_openssl = |calls: Pbkdf2Calls| -> Work {
        Box::new(move |key| calls.run(sha512, PASSWORD, SALT, ITERATIONS as i32, key))
    };
    add("openssl", by_openssl(Pbkdf2Calls::linked()));
    if let Some(system) = SystemOpenSsl::load() {
        add("openssl/system", by_openssl(system.pbkdf2));
    }
    add(
        "pbkdf2",
        Box::new(move |key| {
            if sha512 {
                pbkdf2::pbkdf2_hmac::<sha2::Sha512>(PASSWORD, SALT, ITERATIONS, key);
            } else {
                pbkdf2::pbkdf2_hmac::<sha2::Sha256>(PASSWORD, SALT, ITERATIONS, key);
            }
        }),
    );
    add(
        "ring",
        Box::new(move |key| {
            let algorithm = if sha512 {
                ring::pbkdf2::PBKDF2_HMAC_SHA512
            } else {
                ring::pbkdf2::PBKDF2_HMAC_SHA256
            };
            let iterations = ITERATIONS.try_into().expect("not zero");
            ring::pbkdf2::derive(algorithm, iterations, SALT, PASSWORD, key);
        }),
    );
    add(
        "luksmith",
        Box::new(move |key| {
            if sha512 {
                pbkdf2_sha512(PASSWORD, SALT, ITERATIONS, key).expect("iterations");
            } else {
                pbkdf2_sha256(PASSWORD, SALT, ITERATIONS, key).expect("iterations");
            }
        }),
    );
    for backend in HashBackend::available() {
        add(contender_name(backend), by_backend(sha512, backend));
    }
    let hash = if sha512 { "sha512" } else { "sha256" };
    Case {
        row,
        name: format!("kdf/pbkdf2-{hash}/key{key_bytes}/per-iteration"),
        contenders,
    }
}

/// The compression function of Argon2id by every backend: one lane of 1 MiB, which stays in the
/// cache.
fn argon2_core() -> Case<'static> {
    let argon2 = Argon2::new(Argon2Variant::Id, 1, 1 << 10, 1).expect("valid costs");
    let mut contenders = Vec::new();
    let mut expected: Option<[u8; 32]> = None;
    for backend in HashBackend::available() {
        let argon2 = argon2.with_backend(backend).expect("an available backend");
        let mut arena = vec![0; argon2.arena_words()];
        let mut derive = move || {
            let mut key = [0; 32];
            argon2
                .derive(PASSWORD, SALT, &mut arena, &mut key, &OneThread)
                .expect("sizes fit");
            key
        };
        let key = derive();
        assert_eq!(*expected.get_or_insert(key), key, "{backend}");
        contenders.push(Contender {
            name: contender_name(backend),
            bytes: 1 << 20,
            work: Box::new(move || {
                black_box(derive());
            }),
        });
    }
    Case {
        row: "K",
        name: "kdf/argon2id/t1/1024KiB/lanes1/core".to_owned(),
        contenders,
    }
}

pub fn cases() -> Vec<Case<'static>> {
    vec![
        pbkdf2("K1", false, 32),
        pbkdf2("K2", false, 64),
        pbkdf2("K", false, 96),
        pbkdf2("K", true, 64),
        pbkdf2("K", true, 128),
        argon2_core(),
    ]
}

/// CPU time of this process in seconds, all threads and the kernel's share included.
fn cpu_seconds() -> f64 {
    // SAFETY: getrusage fills in the struct that it is given; all-zero is a valid value of it.
    let usage = unsafe {
        let mut usage: libc::rusage = core::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// What a run of Argon2id is compared by.
#[derive(Clone, Copy, PartialEq)]
enum Measure {
    /// CPU time of one thread, which other work on the machine disturbs least.
    Cpu,
    /// Wall time of two threads on two cores.
    Wall,
}

impl Measure {
    fn seconds(self) -> f64 {
        match self {
            Self::Cpu => cpu_seconds(),
            Self::Wall => {
                static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
                START.get_or_init(Instant::now).elapsed().as_secs_f64()
            }
        }
    }

    fn threads(self) -> u32 {
        match self {
            Self::Cpu => 1,
            Self::Wall => 2,
        }
    }
}

/// Rows K3 to K5: Argon2id with the costs that cryptsetup chooses on a fast and on a small machine.
pub fn argon2(filter: &str) -> Vec<Samples> {
    let cases = [
        ("K5", 3, 64 << 10, Measure::Cpu, 21),
        ("K5", 4, 1 << 20, Measure::Cpu, 3),
        ("K4", 3, 64 << 10, Measure::Wall, 21),
        ("K3", 4, 1 << 20, Measure::Wall, 5),
    ];
    let mut samples = Vec::new();
    for (row, passes, memory_kib, measure, rounds) in cases {
        let suffix = match measure {
            Measure::Cpu => "cpu-time",
            Measure::Wall => "two-threads",
        };
        let case = format!("kdf/argon2id/t{passes}/{memory_kib}KiB/lanes4/{suffix}");
        if case.contains(filter) {
            if measure == Measure::Wall {
                unpin();
            }
            for memory in Memory::BOTH {
                let costs = (passes, memory_kib);
                let case = format!("{case}{memory}");
                samples.extend(argon2_case(row, case, costs, measure, rounds, memory));
            }
            pin(1);
        }
    }
    samples
}

/// The threads of a caller, who makes memory come as they reach it.
struct Workers<'a> {
    threads: NonZeroUsize,
    supply: &'a Supply<'a>,
}

impl Argon2Threads for Workers<'_> {
    fn count(&self) -> usize {
        self.threads.get()
    }

    fn run(&self, jobs: &mut [Argon2Job<'_>]) {
        ScopedThreads::new(self.threads).run(jobs);
    }

    fn reach(&self, block: usize) {
        self.supply.reach(block * 1024);
    }
}

/// What a caller pays: memory is asked for, used, wiped and given back.
fn ours(argon2: Argon2, threads: u32, key: &mut [u8]) {
    let not_zero = |count| NonZeroUsize::new(count).expect("not zero");
    let bytes = argon2.arena_words() * 8;
    let mut arena = Arena::new(bytes).expect("memory");
    let threads = not_zero(threads as usize);
    let workers = not_zero(argon2.jobs(threads.get()));
    arena
        .fill_with(not_zero(4), workers, threads, |words, supply| {
            argon2.derive(PASSWORD, SALT, words, key, &Workers { threads, supply })
        })
        .expect("sizes fit");
}

fn argon2_case(
    row: &str,
    case: String,
    (passes, memory_kib): (u32, u32),
    measure: Measure,
    rounds: usize,
    memory: Memory,
) -> Vec<Samples> {
    let argon2 = Argon2::new(Argon2Variant::Id, passes, memory_kib, 4).expect("valid costs");
    let threads = measure.threads();
    let costs = [passes, memory_kib, 4, threads];
    let mut names = vec!["luksmith", "openssl", "libargon2"];
    if measure == Measure::Cpu {
        // It knows one thread only, without a feature that this comparison does not switch on.
        names.push("argon2");
    }
    let mut keys = vec![[0; 64]; names.len()];
    let mut seconds = vec![Vec::new(); names.len()];
    for _ in 0..rounds {
        for ((name, key), seconds) in names.iter().zip(&mut keys).zip(&mut seconds) {
            memory.prepare((memory_kib as usize) << 10);
            let before = measure.seconds();
            match *name {
                "luksmith" => ours(argon2, threads, key),
                "openssl" => openssl_argon2id(costs, PASSWORD, SALT, key),
                "libargon2" => libargon2_argon2id(costs, PASSWORD, SALT, key),
                _ => {
                    let params =
                        argon2::Params::new(memory_kib, passes, 4, Some(64)).expect("valid costs");
                    let algorithm = argon2::Algorithm::Argon2id;
                    argon2::Argon2::new(algorithm, argon2::Version::V0x13, params)
                        .hash_password_into(PASSWORD, SALT, key)
                        .expect("sizes fit");
                }
            }
            seconds.push(measure.seconds() - before);
        }
    }
    assert!(
        keys.iter().all(|key| *key == keys[0]),
        "contenders disagree"
    );
    let results: Vec<Samples> = names
        .iter()
        .zip(seconds)
        .map(|(name, seconds)| Samples {
            row: row.to_owned(),
            case: case.clone(),
            contender: (*name).to_owned(),
            bytes: 1,
            ns: seconds.iter().map(|seconds| seconds * 1e9).collect(),
            cycles: Vec::new(),
        })
        .collect();
    for one in &results {
        let (row, name, ms) = (&one.row, &one.contender, median(&one.ns) / 1e6);
        println!("{row} {case}: {name} {ms:.1} ms");
    }
    results
}
