//! Devices with tags: `integrity/<mode>/<direction>/<bytes of a request>`, on memory.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use luksmith::integrity::{
    Devices, DigestName, FlagPolicy, FormatRequest, HashedDevice, Mode, OpenOptions, format,
};
use luksmith_bench::painted;
use luksmith_block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorSize};

const KEY: &[u8] = b"the key of a keyed digest";
/// Bytes that are written and read, one request after the other.
const WORKED_ON: usize = 16 << 20;
/// Bytes between two flushes.
const COMMIT: usize = 8 << 20;

fn device(mode: Mode) -> HashedDevice<Arc<MemDevice>> {
    let memory = MemDevice::new(ByteLen::new(64 << 20), SectorSize::S512).expect("memory");
    let memory = Arc::new(memory);
    let digest = DigestName::parse("hmac(sha256)").expect("a digest");
    let request = FormatRequest::new(digest.digest_bytes(), SectorSize::S4096).expect("a shape");
    let devices = || Devices::interleaved(Arc::clone(&memory));
    format(&devices(), &request, None, None).expect("a device");
    let options = OpenOptions::new().mode(mode).flags(FlagPolicy::Standalone);
    HashedDevice::open(devices(), options, digest, Some(KEY)).expect("it opens")
}

fn modes(c: &mut Criterion) {
    for (name, mode) in [
        ("journal", Mode::Journal),
        ("bitmap", Mode::Bitmap),
        ("direct", Mode::Direct),
    ] {
        let device = device(mode);
        for bytes in [4 << 10, 64 << 10] {
            let data = painted(bytes);
            let write = || {
                for at in (0..WORKED_ON).step_by(bytes) {
                    let place = ByteOffset::new(at as u64);
                    device.write_at(place, &data).expect("a write");
                    if (at + bytes).is_multiple_of(COMMIT) {
                        device.flush().expect("a flush");
                    }
                }
            };
            let mut found = vec![0; bytes];
            let mut read = || {
                for at in (0..WORKED_ON).step_by(bytes) {
                    let place = ByteOffset::new(at as u64);
                    device.read_at(place, &mut found).expect("a read");
                }
                found == data
            };
            write();
            assert!(read(), "{name} reads what was written");
            let mut group = c.benchmark_group(format!("integrity/{name}"));
            group.sample_size(10);
            group.throughput(Throughput::Bytes(WORKED_ON as u64));
            group.bench_function(format!("write/{bytes}"), |b| b.iter(write));
            group.bench_function(format!("read/{bytes}"), |b| b.iter(&mut read));
        }
    }
}

criterion_group!(benches, modes);
criterion_main!(benches);
