//! Tags of runs of sectors: `tags/<hash>/sector<bytes>/run<sectors>/<backend>`, and sealed runs:
//! `sealed/aes256-hmac-sha256/<verb>/sector<bytes>/run<sectors>/<backends>`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use luksmith_bench::painted;
use luksmith_simd::{Backend, HashBackend, Run, TagKey, XtsKey, crc32c_tags_by, open, seal};

const KEY: &[u8] = b"a key of 32 bytes, or so it says";
/// Sector number and IV.
const PREFIX_BYTES: usize = 24;
const REQUEST: usize = 64 << 10;

type NewKey = fn() -> TagKey;

fn tags(c: &mut Criterion) {
    let keys: [(&str, NewKey); 3] = [
        ("hmac-sha256", || TagKey::hmac_sha256(KEY)),
        ("hmac-sha512", || TagKey::hmac_sha512(KEY)),
        ("sha256", TagKey::sha256),
    ];
    for (name, key) in keys {
        for (sector_bytes, sectors) in [(4096, 1), (4096, 2), (4096, 8), (4096, 16), (512, 128)] {
            let data = painted(sectors * sector_bytes);
            let prefixes = painted(sectors * PREFIX_BYTES);
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

/// Every backend of the cipher with every one of the hash.
fn sealed(c: &mut Criterion) {
    for sector_bytes in [512, 4096] {
        let sectors = REQUEST / sector_bytes;
        let run = Run {
            first: 0,
            step: sector_bytes as u64 / 512,
            sector_bytes,
        };
        let plain = painted(REQUEST);
        let mut expected: Option<(Vec<u8>, Vec<u8>)> = None;
        let mut group = c.benchmark_group("sealed/aes256-hmac-sha256");
        group.throughput(Throughput::Bytes(REQUEST as u64));
        for (backend, hash) in
            Backend::available().flat_map(|one| HashBackend::available().map(move |two| (one, two)))
        {
            let xts = XtsKey::with_backend(&[7; 64], backend).expect("an available backend");
            let mac = TagKey::hmac_sha256(KEY).with_backend(hash);
            let mac = mac.expect("an available backend");
            let (mut sealed, mut tags) = (vec![0; REQUEST], vec![0; sectors * 32]);
            let mut seal =
                || seal(&xts, &mac, run, 0, &plain, &mut sealed, &mut tags).expect("shapes fit");
            let path = format!("sector{sector_bytes}/run{sectors}/{backend}+{hash}");
            seal();
            group.bench_function(format!("seal/{path}"), |b| b.iter(&mut seal));
            let made = (sealed, tags);
            let same = *expected.get_or_insert_with(|| made.clone()) == made;
            assert!(same, "{backend}+{hash}");
            let (sealed, tags) = made;
            let mut opened = vec![0; REQUEST];
            let mut open =
                || open(&xts, &mac, run, 0, &sealed, &tags, &mut opened).expect("true tags");
            open();
            group.bench_function(format!("open/{path}"), |b| b.iter(&mut open));
            assert!(opened == plain, "{backend}+{hash}");
        }
    }
}

fn checksums(c: &mut Criterion) {
    for sector_bytes in [512, 4096] {
        let sectors = REQUEST / sector_bytes;
        let data = painted(REQUEST);
        let mut expected: Option<Vec<u8>> = None;
        let mut group = c.benchmark_group(format!("tags/crc32c/sector{sector_bytes}/run{sectors}"));
        group.throughput(Throughput::Bytes(REQUEST as u64));
        // With 256-bit vectors it is the chains of the CRC instruction again.
        let distinct = Backend::available().filter(|backend| *backend != Backend::Vaes256);
        for backend in distinct {
            let mut out = vec![0; sectors * 4];
            let mut tags = || {
                let data = black_box(&data);
                crc32c_tags_by(backend, &[], 0, sector_bytes, data, &mut out).expect("shapes fit");
            };
            tags();
            group.bench_function(backend.name(), |b| b.iter(&mut tags));
            assert_eq!(
                *expected.get_or_insert_with(|| out.clone()),
                out,
                "{backend}"
            );
        }
    }
}

criterion_group!(benches, tags, sealed, checksums);
criterion_main!(benches);
