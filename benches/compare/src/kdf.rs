//! Rows K1, K2 and K5: key derivation.

use luksmith_simd::{Argon2, Argon2Variant, OneThread, pbkdf2_sha256, pbkdf2_sha512};

use crate::harness::{Case, Contender, Samples, median};
use crate::mac_peers::{openssl_argon2id, openssl_pbkdf2};

const PASSWORD: &[u8] = b"correct horse battery staple";
const SALT: &[u8] = &[7; 32];
const ITERATIONS: u32 = 1000;

fn pbkdf2(row: &'static str, sha512: bool, key_bytes: usize) -> Case<'static> {
    let mut contenders = Vec::new();
    let mut expected: Option<Vec<u8>> = None;
    let mut add = |name, work: Box<dyn Fn(&mut [u8])>| {
        let mut key = vec![0; key_bytes];
        work(&mut key);
        let reference = expected.get_or_insert_with(|| key.clone());
        assert!(*reference == key, "{name} computes something else");
        contenders.push(Contender {
            name,
            work: Box::new(move || work(&mut key)),
        });
    };
    add(
        "openssl",
        Box::new(move |key| openssl_pbkdf2(sha512, PASSWORD, SALT, ITERATIONS as i32, key)),
    );
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
        "luksmith",
        Box::new(move |key| {
            if sha512 {
                pbkdf2_sha512(PASSWORD, SALT, ITERATIONS, key).expect("iterations");
            } else {
                pbkdf2_sha256(PASSWORD, SALT, ITERATIONS, key).expect("iterations");
            }
        }),
    );
    let hash = if sha512 { "sha512" } else { "sha256" };
    Case {
        row,
        name: format!("kdf/pbkdf2-{hash}/key{key_bytes}/per-iteration"),
        bytes: ITERATIONS as usize,
        contenders,
    }
}

pub fn cases() -> Vec<Case<'static>> {
    vec![
        pbkdf2("K1", false, 32),
        pbkdf2("K2", false, 64),
        pbkdf2("K", false, 96),
        pbkdf2("K", true, 64),
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

/// Row K5: Argon2id on one thread, by CPU time, which other work on the machine disturbs least.
pub fn argon2(rounds: usize) -> Vec<Samples> {
    let mut samples = Vec::new();
    for (passes, memory_kib) in [(3, 64 << 10), (4, 1 << 20)] {
        let argon2 = Argon2::new(Argon2Variant::Id, passes, memory_kib, 4).expect("valid costs");
        let mut arena = luksmith_sys::Arena::new(argon2.arena_words() * 8).expect("memory");
        let mut keys = [[0; 64]; 3];
        let mut seconds = [const { Vec::new() }; 3];
        for _ in 0..rounds {
            let [ours, openssl, rust] = &mut keys;
            let mut works: [Box<dyn FnMut()>; 3] = [
                Box::new(|| {
                    let arena = arena.words_mut();
                    argon2
                        .derive(PASSWORD, SALT, arena, ours, &OneThread)
                        .expect("sizes fit");
                    // What a caller pays: the memory is wiped.
                    arena.fill(0);
                }),
                Box::new(|| openssl_argon2id([passes, memory_kib, 4, 1], PASSWORD, SALT, openssl)),
                Box::new(|| {
                    let params =
                        argon2::Params::new(memory_kib, passes, 4, Some(64)).expect("valid costs");
                    let algorithm = argon2::Algorithm::Argon2id;
                    argon2::Argon2::new(algorithm, argon2::Version::V0x13, params)
                        .hash_password_into(PASSWORD, SALT, rust)
                        .expect("sizes fit");
                }),
            ];
            for (work, seconds) in works.iter_mut().zip(&mut seconds) {
                let before = cpu_seconds();
                work();
                seconds.push(cpu_seconds() - before);
            }
        }
        assert!(
            keys[0] == keys[1] && keys[0] == keys[2],
            "contenders disagree"
        );
        let case = format!("kdf/argon2id/t{passes}/{memory_kib}KiB/lanes4/cpu-time");
        let names = ["luksmith", "openssl", "argon2"];
        let results: Vec<Samples> = names
            .iter()
            .zip(seconds)
            .map(|(name, seconds)| Samples {
                row: "K5".to_owned(),
                case: case.clone(),
                contender: (*name).to_owned(),
                bytes: 1,
                ns: seconds.iter().map(|seconds| seconds * 1e9).collect(),
                cycles: Vec::new(),
            })
            .collect();
        for one in &results {
            println!(
                "K5 {case}: {} {:.1} ms",
                one.contender,
                median(&one.ns) / 1e6
            );
        }
        samples.extend(results);
    }
    samples
}
