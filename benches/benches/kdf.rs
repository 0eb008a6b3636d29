//! Key derivation: `kdf/<function>/<costs>`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use luksmith_simd::{Argon2, Argon2Variant, OneThread, pbkdf2_sha256, pbkdf2_sha512};

const PASSWORD: &[u8] = b"password";
const ITERATIONS: u32 = 1000;

fn pbkdf2(c: &mut Criterion) {
    let mut known = [0; 4];
    pbkdf2_sha256(PASSWORD, b"salt", 2, &mut known).expect("iterations");
    assert_eq!(known, [0xae, 0x4d, 0x0c, 0x95]);
    for key_bytes in [32, 64, 96] {
        let mut key = vec![0; key_bytes];
        let mut group = c.benchmark_group(format!("kdf/pbkdf2/key{key_bytes}"));
        group.throughput(Throughput::Elements(ITERATIONS.into()));
        group.bench_function("sha256", |b| {
            b.iter(|| pbkdf2_sha256(black_box(PASSWORD), &[7; 32], ITERATIONS, &mut key));
        });
        group.bench_function("sha512", |b| {
            b.iter(|| pbkdf2_sha512(black_box(PASSWORD), &[7; 32], ITERATIONS, &mut key));
        });
    }
}

/// One thread, 16 MiB: what the compression function and the cache make of it.
fn argon2(c: &mut Criterion) {
    let argon2 = Argon2::new(Argon2Variant::Id, 3, 16 << 10, 4).expect("valid costs");
    let mut arena = vec![0; argon2.arena_words()];
    let (mut key, mut again) = ([0; 32], [0; 32]);
    argon2
        .derive(PASSWORD, &[7; 32], &mut arena, &mut key, &OneThread)
        .expect("sizes fit");
    let mut group = c.benchmark_group("kdf/argon2id");
    group.sample_size(10);
    group.bench_function("t3-m16MiB-p4/one-thread", |b| {
        b.iter(|| {
            argon2
                .derive(
                    black_box(PASSWORD),
                    &[7; 32],
                    &mut arena,
                    &mut again,
                    &OneThread,
                )
                .expect("sizes fit");
        });
    });
    assert_eq!(key, again, "what the memory held before does not matter");
    let params = argon2::Params::new(16 << 10, 3, 4, Some(32)).expect("valid costs");
    let theirs = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    group.bench_function("t3-m16MiB-p4/argon2-crate", |b| {
        b.iter(|| {
            theirs
                .hash_password_into(black_box(PASSWORD), &[7; 32], &mut again)
                .expect("sizes fit");
        });
    });
    assert_eq!(key, again, "both derive the same key");
}

criterion_group!(benches, pbkdf2, argon2);
criterion_main!(benches);
