//! Reading headers from a device in memory: `header/<format>/<operation>`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use luksmith_block::{MemDevice, SectorSize};
use luksmith_header::{
    Header, Limits,
    policy::{Expectations, Policy, Profile},
};
use luksmith_testkit::mangled::Base;

fn read(c: &mut Criterion) {
    for (name, base) in [
        ("luks1", Base::Luks1),
        ("luks2-16k", Base::Luks2),
        ("luks2-64k", Base::Luks2Large),
    ] {
        let device = MemDevice::from_bytes(&base.image(), SectorSize::S512);
        let limits = Limits::default();
        let header = Header::read(&device, &limits).expect("a base is good");
        assert!(!header.keyslots().is_empty());
        let mut group = c.benchmark_group(format!("header/{name}"));
        group.bench_function("read", |b| {
            b.iter(|| Header::read(black_box(&device), &limits));
        });
        let profile = Profile::built_in("secure-mount").expect("it is built in");
        let policy = Policy::pinned(profile);
        let expected = Expectations::default();
        assert!(policy.judge(&header, &expected).is_err());
        group.bench_function("judge", |b| {
            b.iter(|| policy.violations(black_box(&header), &expected));
        });
    }
}

criterion_group!(benches, read);
criterion_main!(benches);
