//! Key derivation: `kdf/<function>/<costs>/<backend>`.

use std::hint::black_box;
use std::ops::ControlFlow;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use luksmith_simd::{
    Argon2, Argon2Variant, HashBackend, OneThread, pbkdf2_sha256_by, pbkdf2_sha512_by,
};

const PASSWORD: &[u8] = b"password";
const SALT: &[u8] = &[7; 32];
const ITERATIONS: u32 = 1000;

/// One to three digests of key, which are as many chains side by side.
fn pbkdf2(c: &mut Criterion) {
    for (hash, digest_bytes) in [("sha256", 32), ("sha512", 64)] {
        for digests in 1..=3 {
            let mut key = vec![0; digests * digest_bytes];
            let derive = |backend, key: &mut [u8]| {
                let mut go_on = |_, _| ControlFlow::Continue(());
                let password = black_box(PASSWORD);
                match hash {
                    "sha256" => {
                        pbkdf2_sha256_by(backend, password, SALT, ITERATIONS, key, &mut go_on)
                    }
                    _ => pbkdf2_sha512_by(backend, password, SALT, ITERATIONS, key, &mut go_on),
                }
                .expect("an available backend");
            };
            let mut expected: Option<Vec<u8>> = None;
            let name = format!("kdf/pbkdf2-{hash}/key{}", key.len());
            let mut group = c.benchmark_group(name);
            group.throughput(Throughput::Elements(ITERATIONS.into()));
            for backend in HashBackend::available() {
                derive(backend, &mut key);
                let expected = expected.get_or_insert_with(|| key.clone());
                assert_eq!(*expected, key, "{backend}");
                group.bench_function(backend.name(), |b| b.iter(|| derive(backend, &mut key)));
            }
        }
    }
}

/// One thread, 16 MiB: what the compression function and the cache make of it.
fn argon2(c: &mut Criterion) {
    let argon2 = Argon2::new(Argon2Variant::Id, 3, 16 << 10, 4).expect("valid costs");
    let mut arena = vec![0; argon2.arena_words()];
    let params = argon2::Params::new(16 << 10, 3, 4, Some(32)).expect("valid costs");
    let theirs = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut expected = [0; 32];
    let mut by_crate = || {
        theirs
            .hash_password_into(black_box(PASSWORD), SALT, &mut expected)
            .expect("sizes fit");
    };
    let mut group = c.benchmark_group("kdf/argon2id/t3-m16MiB-p4");
    group.sample_size(10);
    by_crate();
    group.bench_function("argon2-crate", |b| b.iter(&mut by_crate));
    for backend in HashBackend::available() {
        let argon2 = argon2.with_backend(backend).expect("available");
        let mut key = [0; 32];
        let mut derive = || {
            argon2
                .derive(black_box(PASSWORD), SALT, &mut arena, &mut key, &OneThread)
                .expect("sizes fit");
            key
        };
        // What the memory held before does not matter.
        assert_eq!(derive(), expected, "{backend}");
        group.bench_function(backend.name(), |b| b.iter(&mut derive));
    }
}

criterion_group!(benches, pbkdf2, argon2);
criterion_main!(benches);
