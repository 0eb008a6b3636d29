//! Whole volumes in memory, cipher and integrity together:
//! `volume/<tags>/<direction>/<bytes of a request>/<threads>`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use luksmith::{FormatOptions, HeaderPlace, NewKeys, Volume, WorkerPool};
use luksmith_bench::painted;
use luksmith_block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorSize, Splitter};

/// Bytes that are written and read, one request after the other.
const WORKED_ON: usize = 16 << 20;
/// Requests that one thread works on, and those that a pool may share.
const SMALL: [usize; 2] = [4 << 10, 64 << 10];
const LARGE: [usize; 2] = [1 << 20, 4 << 20];

/// One mode of integrity.
type Shape = (&'static str, fn(FormatOptions) -> FormatOptions);

const SHAPES: [Shape; 4] = [
    ("none", |options| options),
    ("hmac-sha256-direct", |options| {
        options.integrity("hmac(sha256)").without_journal()
    }),
    ("hmac-sha256-journal", |options| {
        options.integrity("hmac(sha256)")
    }),
    ("aead-direct", |options| {
        options
            .cipher("aes-gcm-random")
            .integrity("aead")
            .without_journal()
    }),
];

fn volume(shape: fn(FormatOptions) -> FormatOptions) -> Volume {
    let device = MemDevice::new(ByteLen::new(64 << 20), SectorSize::S512).expect("memory");
    let options = FormatOptions::luks2()
        .header(HeaderPlace::Memory)
        .sector_size(SectorSize::S4096);
    luksmith::format(device, NewKeys::none(), &shape(options)).expect("a volume")
}

fn volumes(c: &mut Criterion) {
    for (tags, shape) in SHAPES {
        let volume = volume(shape);
        for threads in [1, 2] {
            // With one thread a splitter hands every request on as it is.
            let splitter = Splitter::new(Arc::new(WorkerPool::new(threads)), 0);
            let sizes = if threads == 1 {
                [SMALL, LARGE].concat()
            } else {
                LARGE.to_vec()
            };
            for bytes in sizes {
                let data = painted(bytes);
                let mut found = vec![0; bytes];
                let places = || (0..WORKED_ON).step_by(bytes).map(|at| at as u64);
                let write = || {
                    for at in places().map(ByteOffset::new) {
                        let done = splitter.write_at(&volume, at, black_box(&data));
                        done.expect("a write");
                    }
                    volume.flush().expect("a flush");
                };
                let mut read = || {
                    for at in places().map(ByteOffset::new) {
                        let done = splitter.read_at(&volume, at, black_box(&mut found));
                        done.expect("a read");
                    }
                    found == data
                };
                write();
                assert!(read(), "{tags}: what was written comes back");
                let mut group = c.benchmark_group(format!("volume/{tags}"));
                group.sample_size(10);
                group.throughput(Throughput::Bytes(WORKED_ON as u64));
                let path = format!("{bytes}/threads{threads}");
                group.bench_function(format!("write/{path}"), |b| b.iter(write));
                group.bench_function(format!("read/{path}"), |b| b.iter(&mut read));
            }
        }
    }
}

criterion_group!(benches, volumes);
criterion_main!(benches);
