//! AES-XTS by backend, and what one call per sector costs.

use std::time::Duration;

use criterion::{Criterion, Throughput};
use luksmith_bench::painted;
use luksmith_simd::{Backend, Run, XtsKey};

fn run(sector_bytes: usize) -> Run {
    Run {
        first: 0,
        step: u64::try_from(sector_bytes / 512).unwrap_or(1),
        sector_bytes,
    }
}

/// One shape of request on one backend, after its result was compared with the portable one.
fn bench(
    c: &mut Criterion,
    backend: Backend,
    key_bytes: usize,
    sector_bytes: usize,
    sectors: usize,
) {
    let key_material = painted(key_bytes);
    let key = XtsKey::with_backend(&key_material, backend).expect("an available backend");
    let portable = XtsKey::with_backend(&key_material, Backend::Portable).expect("always there");
    let run = run(sector_bytes);
    let plain = painted(sectors * sector_bytes);
    let mut expected = vec![0; plain.len()];
    portable
        .encrypt(run, &plain, &mut expected)
        .expect("whole sectors");
    let mut data = plain.clone();
    key.encrypt_in_place(run, &mut data).expect("whole sectors");
    assert!(data == expected, "{backend} computes something else");
    key.decrypt_in_place(run, &mut data).expect("whole sectors");
    assert!(data == plain, "{backend} does not undo it");

    let path = format!(
        "aes{}/sector{sector_bytes}/run{sectors}/{backend}",
        key_bytes * 4
    );
    let mut group = c.benchmark_group("xts");
    group.throughput(Throughput::Bytes(plain.len() as u64));
    group.bench_function(format!("encrypt/{path}"), |b| {
        b.iter(|| key.encrypt_in_place(run, &mut data).expect("whole sectors"));
    });
    group.bench_function(format!("decrypt/{path}"), |b| {
        b.iter(|| key.decrypt_in_place(run, &mut data).expect("whole sectors"));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();
    for backend in Backend::available() {
        for (key_bytes, sector_bytes, sectors) in [
            (64, 4096, 16),
            (64, 512, 128),
            (32, 4096, 16),
            (32, 512, 128),
            (64, 4096, 1),
        ] {
            bench(&mut criterion, backend, key_bytes, sector_bytes, sectors);
        }
    }
    criterion.final_summary();
}
