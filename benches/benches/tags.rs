//! Tags of runs of sectors, and sealed runs: `tags/<hash>/sector<bytes>/run<sectors>/<backend>`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use luksmith_simd::{
    HashBackend, Run, TagKey, XtsKey, crc32c, crc32c_tags, open_in_place, seal_in_place,
};

const KEY: &[u8] = b"a key of 32 bytes, or so it says";
/// Sector number and IV.
const PREFIX_BYTES: usize = 24;
const REQUEST: usize = 64 << 10;

fn pattern(bytes: usize) -> Vec<u8> {
    (0..251).cycle().take(bytes).collect()
}

type NewKey = fn() -> TagKey;

fn tags(c: &mut Criterion) {
    let keys: [(&str, NewKey); 3] = [
        ("hmac-sha256", || TagKey::hmac_sha256(KEY)),
        ("hmac-sha512", || TagKey::hmac_sha512(KEY)),
        ("sha256", TagKey::sha256),
    ];
    for (name, key) in keys {
        for (sector_bytes, sectors) in [(4096, 1), (4096, 2), (4096, 8), (4096, 16), (512, 128)] {
            let data = pattern(sectors * sector_bytes);
            let prefixes = pattern(sectors * PREFIX_BYTES);
            let mut expected: Option<Vec<u8>> = None;
            let mut group =
                c.benchmark_group(format!("tags/{name}/sector{sector_bytes}/run{sectors}"));
            group.throughput(Throughput::Bytes(data.len() as u64));
            for backend in HashBackend::available() {
                let key = key().with_backend(backend).expect("an available backend");
                let mut out = vec![0; sectors * key.tag_bytes()];
                let mut run = || {
                    key.tags(
                        &prefixes,
                        PREFIX_BYTES,
                        sector_bytes,
                        black_box(&data),
                        &mut out,
                    )
                    .expect("shapes fit");
                    out.clone()
                };
                let computed = run();
                assert_eq!(
                    *expected.get_or_insert_with(|| computed.clone()),
                    computed,
                    "{backend}"
                );
                group.bench_function(backend.name(), |b| b.iter(&mut run));
            }
        }
    }
}

fn sealed(c: &mut Criterion) {
    let xts = XtsKey::new(&[7; 64]).expect("64 bytes");
    let mac = TagKey::hmac_sha256(KEY);
    for sector_bytes in [512, 4096] {
        let sectors = REQUEST / sector_bytes;
        let run = Run {
            first: 0,
            step: sector_bytes as u64 / 512,
            sector_bytes,
        };
        let mut data = pattern(REQUEST);
        let mut tags = vec![0; sectors * 32];
        let mut group = c.benchmark_group(format!(
            "sealed/aes256-hmac-sha256/sector{sector_bytes}/run{sectors}"
        ));
        group.throughput(Throughput::Bytes(REQUEST as u64));
        group.bench_function("seal", |b| {
            b.iter(|| seal_in_place(&xts, &mac, run, 0, &mut data, &mut tags).expect("shapes fit"));
        });
        let mut plain = pattern(REQUEST);
        seal_in_place(&xts, &mac, run, 0, &mut plain, &mut tags).expect("shapes fit");
        let ciphertext = plain.clone();
        open_in_place(&xts, &mac, run, 0, &mut plain, &tags).expect("true tags");
        assert_eq!(plain, pattern(REQUEST));
        group.bench_function("copy-and-open", |b| {
            b.iter(|| {
                plain.copy_from_slice(&ciphertext);
                open_in_place(&xts, &mac, run, 0, &mut plain, &tags).expect("true tags");
            });
        });
    }
}

fn checksums(c: &mut Criterion) {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    for sector_bytes in [512, 4096] {
        let data = pattern(REQUEST);
        let mut out = vec![0; REQUEST / sector_bytes * 4];
        let mut group = c.benchmark_group(format!("tags/crc32c/sector{sector_bytes}"));
        group.throughput(Throughput::Bytes(REQUEST as u64));
        group.bench_function("best", |b| {
            b.iter(|| {
                crc32c_tags(&[], 0, sector_bytes, black_box(&data), &mut out).expect("shapes fit");
            });
        });
    }
}

criterion_group!(benches, tags, sealed, checksums);
criterion_main!(benches);
