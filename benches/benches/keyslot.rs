//! Keyslots: `keyslot/<format>/<operation>`, on memory, with the least derivation that a keyslot
//! may have, so that its area, the stripes and the digests show.

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use luksmith::{FormatOptions, KdfChoice, NewKeys, Overwrite, Volume};
use luksmith_block::{BlockDevice, ByteLen, Control, MemDevice, SectorSize};
use luksmith_hash::HashName;
use luksmith_header::{Budget, Header, Limits};
use luksmith_keyslot::{
    Effort, Kdf, Passphrase, SystemRandom, Threads,
    change::{Changer, KeyslotPlan, LastKeyslot},
    unlock::{Unlock, UnlockOptions},
};

/// The iterations that cryptsetup takes at least.
const KDF: Kdf = Kdf::Pbkdf2 {
    hash: HashName::Sha256,
    iterations: 1000,
};

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.as_bytes()).expect("a passphrase")
}

/// Works on the keyslots of a device with all that it takes.
fn with_changer<T>(
    device: &MemDevice,
    work: impl FnOnce(&mut Changer<'_, dyn BlockDevice, SystemRandom>) -> T,
) -> T {
    let mut header = Header::read(device, &Limits::default()).expect("a header");
    let (mut budget, control) = (Budget::new(Limits::default()), Control::new());
    let effort = Effort {
        budget: &mut budget,
        control: &control,
        threads: Threads::default(),
    };
    let mut random = SystemRandom;
    work(&mut Changer::new(device, &mut header, &mut random, effort))
}

fn keyslots(c: &mut Criterion) {
    let (known, new) = (passphrase("the first one"), passphrase("the second one"));
    for (name, options) in [
        ("luks1", FormatOptions::luks1()),
        ("luks2", FormatOptions::luks2()),
    ] {
        let device = MemDevice::new(ByteLen::new(32 << 20), SectorSize::S512);
        let device = Arc::new(device.expect("memory"));
        let options = options
            .kdf(KdfChoice::Stated(KDF))
            .overwrite(Overwrite::Allow);
        luksmith::format(Arc::clone(&device), NewKeys::passphrase(&known), &options)
            .and_then(Volume::close)
            .expect("a volume");
        let mut group = c.benchmark_group(format!("keyslot/{name}"));
        group.sample_size(20);
        with_changer(&device, |changer| {
            let options = UnlockOptions::new();
            let mut unlock = |with: &Passphrase| {
                let found = changer.unlock(Unlock::Passphrase(with), &options);
                found.is_ok()
            };
            assert!(unlock(&known) && !unlock(&new), "{name}");
            group.bench_function("unlock", |b| b.iter(|| unlock(&known)));
            group.bench_function("refuse", |b| b.iter(|| unlock(&new)));
            let unlocked = changer
                .unlock(Unlock::Passphrase(&known), &options)
                .expect("it unlocks");
            let plan = KeyslotPlan::new(KDF);
            group.bench_function("add-and-remove", |b| {
                b.iter(|| {
                    let added = changer.add(&unlocked, &new, &plan).expect("room");
                    changer
                        .remove(added, LastKeyslot::Keep)
                        .expect("one is left");
                });
            });
        });
    }
}

criterion_group!(benches, keyslots);
criterion_main!(benches);
