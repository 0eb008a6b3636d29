//! Sectors through every cipher that volumes may have, and a plain volume on memory.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use luksmith_bench::painted;
use luksmith_block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorNumber, SectorSize};
use luksmith_crypt::{CipherSpec, CryptDevice, SectorCipher};

/// Bytes of a request.
const REQUEST: usize = 64 << 10;

/// A cipher and the bytes of its key.
const SPECS: [(&str, usize); 11] = [
    ("aes-xts-plain64", 64),
    ("aes-xts-plain64", 32),
    ("aes-cbc-essiv:sha256", 32),
    ("serpent-xts-plain64", 64),
    ("twofish-xts-plain64", 64),
    ("camellia-xts-plain64", 64),
    ("aria-xts-plain64", 64),
    ("sm4-xts-plain64", 32),
    ("kuznyechik-xts-plain64", 64),
    ("xchacha12,aes-adiantum-plain64", 32),
    ("xchacha20,aes-adiantum-plain64", 32),
];

fn cipher(spec: &str, key_bytes: usize, size: SectorSize) -> SectorCipher {
    let spec = CipherSpec::parse(spec).expect("a cipher that exists");
    SectorCipher::new(&spec, &painted(key_bytes), size).expect("a key of its length")
}

/// A run is compared with its sectors one by one before it is timed.
fn ciphers(c: &mut Criterion) {
    for (spec, key_bytes) in SPECS {
        for size in [SectorSize::S512, SectorSize::S4096] {
            let cipher = cipher(spec, key_bytes, size);
            let mut data = painted(REQUEST);
            cipher
                .encrypt_in_place(SectorNumber::ZERO, &mut data)
                .expect("whole sectors");
            let mut one_by_one = painted(REQUEST);
            let mut number = SectorNumber::ZERO;
            for sector in one_by_one.chunks_mut(size.bytes()) {
                cipher
                    .encrypt_in_place(number, sector)
                    .expect("a whole sector");
                number = SectorNumber::new(number.get() + size.sectors().get());
            }
            assert!(data == one_by_one, "{spec} {size}");
            let path = format!(
                "{spec}/key{}/sector{}/run{}",
                8 * key_bytes,
                size.bytes(),
                REQUEST / size.bytes()
            );
            let mut group = c.benchmark_group("sectors");
            group.throughput(Throughput::Bytes(REQUEST as u64));
            group.sample_size(10);
            group.bench_function(format!("encrypt/{path}"), |b| {
                b.iter(|| cipher.encrypt_in_place(SectorNumber::ZERO, black_box(&mut data)));
            });
            group.bench_function(format!("decrypt/{path}"), |b| {
                b.iter(|| cipher.decrypt_in_place(SectorNumber::ZERO, black_box(&mut data)));
            });
        }
    }
}

fn volume(c: &mut Criterion) {
    let medium = MemDevice::new(ByteLen::new(16 << 20), SectorSize::S512).expect("memory");
    let cipher = cipher("aes-xts-plain64", 64, SectorSize::S4096);
    let volume = CryptDevice::new(medium, cipher).expect("sectors that fit");
    let plain = painted(REQUEST);
    let mut data = vec![0; REQUEST];
    volume
        .write_at(ByteOffset::new(0), &plain)
        .expect("within the device");
    volume
        .read_at(ByteOffset::new(0), &mut data)
        .expect("within the device");
    assert!(data == plain, "what was written comes back");
    let mut group = c.benchmark_group("volume/plain/memory");
    for bytes in [4096, REQUEST] {
        let mut offsets = (0..16 << 20).step_by(bytes).cycle();
        let mut next = move || ByteOffset::new(offsets.next().unwrap_or_default());
        group.throughput(Throughput::Bytes(bytes as u64));
        let (request, _) = data.split_at_mut(bytes);
        group.bench_function(format!("write/{bytes}"), |b| {
            b.iter(|| volume.write_at(next(), black_box(request)));
        });
        group.bench_function(format!("read/{bytes}"), |b| {
            b.iter(|| volume.read_at(next(), black_box(request)));
        });
    }
}

criterion_group!(benches, ciphers, volume);
criterion_main!(benches);
