//! AEGIS-128 sectors by backend.

use std::time::Duration;

use criterion::{Criterion, Throughput};
use luksmith_bench::painted;
use luksmith_simd::{Aegis128, Backend};

const NONCE: [u8; 16] = [9; 16];
/// Sector number and nonce, as dm-crypt has them.
const AD: [u8; 24] = [8; 24];

/// One size of sector on one backend, after its result was compared with the portable one.
fn bench(c: &mut Criterion, backend: Backend, sector_bytes: usize) {
    let one = Aegis128::with_backend([7; 16], backend).expect("an available backend");
    if one.backend() != backend {
        return;
    }
    let portable = Aegis128::with_backend([7; 16], Backend::Portable).expect("always there");
    let plain = painted(sector_bytes);
    let (mut data, mut expected) = (plain.clone(), plain);
    let tag = one.seal(&NONCE, &AD, &mut data).expect("whole blocks");
    let expected_tag = portable.seal(&NONCE, &AD, &mut expected);
    assert!(
        data == expected && Ok(tag) == expected_tag,
        "{backend} computes something else"
    );

    let path = format!("sector{sector_bytes}/{backend}");
    let mut group = c.benchmark_group("aegis");
    group.throughput(Throughput::Bytes(sector_bytes as u64));
    group.bench_function(format!("seal/{path}"), |b| {
        b.iter(|| one.seal(&NONCE, &AD, &mut data).expect("whole blocks"));
    });
    let mut opened = expected.clone();
    group.bench_function(format!("open/{path}"), |b| {
        b.iter(|| {
            opened.copy_from_slice(&expected);
            let right = one.open(&NONCE, &AD, &mut opened, &tag);
            assert!(right.expect("whole blocks"), "the tag is right");
        });
    });
    group.finish();
}

fn main() {
    let mut c = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for backend in Backend::available() {
        for sector_bytes in [512, 4096] {
            bench(&mut c, backend, sector_bytes);
        }
    }
    c.final_summary();
}
