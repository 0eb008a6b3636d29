//! AES-GCM sectors by backend.

use std::time::Duration;

use criterion::{Criterion, Throughput};
use luksmith_bench::painted;
use luksmith_simd::{Backend, GcmKey, GcmRun};

/// Sector number and nonce, as dm-crypt has them.
const AD_BYTES: usize = 20;

/// One shape of request on one backend, after its result was compared with the portable one.
fn bench(c: &mut Criterion, backend: Backend, key_bytes: usize, sector_bytes: usize) {
    let sectors = 65536 / sector_bytes;
    let key_material = painted(key_bytes);
    let key = GcmKey::with_backend(&key_material, backend).expect("an available backend");
    if key.backend() != backend {
        return;
    }
    let portable = GcmKey::with_backend(&key_material, Backend::Portable).expect("always there");
    let numbers = painted(sectors * 12);
    let (nonces, _) = numbers.as_chunks();
    let ads = painted(sectors * AD_BYTES);
    let run = GcmRun {
        nonces,
        ads: &ads,
        ad_bytes: AD_BYTES,
        sector_bytes,
    };
    let plain = painted(sectors * sector_bytes);
    let (mut expected, mut expected_tags) = (vec![0; plain.len()], vec![0; sectors * 16]);
    portable
        .seal(run, &plain, &mut expected, &mut expected_tags)
        .expect("shapes fit");
    let (mut data, mut tags) = (plain.clone(), vec![0; sectors * 16]);
    key.seal_in_place(run, &mut data, &mut tags)
        .expect("shapes fit");
    assert!(
        data == expected && tags == expected_tags,
        "{backend} computes something else"
    );
    let mut opened = vec![0; plain.len()];
    key.open(run, &expected, &tags, &mut opened)
        .expect("tags are right");
    assert!(opened == plain, "{backend} does not undo it");

    let path = format!(
        "aes{}/sector{sector_bytes}/run{sectors}/{backend}",
        key_bytes * 8
    );
    let mut group = c.benchmark_group("gcm");
    group.throughput(Throughput::Bytes(plain.len() as u64));
    group.bench_function(format!("seal/{path}"), |b| {
        b.iter(|| {
            key.seal_in_place(run, &mut data, &mut tags)
                .expect("shapes fit")
        });
    });
    group.bench_function(format!("open/{path}"), |b| {
        b.iter(|| {
            key.open(run, &expected, &expected_tags, &mut opened)
                .expect("tags are right")
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();
    for backend in Backend::available() {
        for key_bytes in [16, 32] {
            for sector_bytes in [512, 4096] {
                bench(&mut criterion, backend, key_bytes, sector_bytes);
            }
        }
    }
    criterion.final_summary();
}
