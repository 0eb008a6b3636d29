//! Every backend of this machine against the portable one, and the portable one against xts-mode.
#![expect(clippy::unwrap_used, reason = "a failing call fails the test")]

use aes::cipher::{Array, KeyInit};
use aes::{Aes128, Aes256};
use luksmith_simd::{Backend, Run, XtsKey};
use xts_mode::Xts128;

/// First sectors around every boundary of the counter.
const FIRSTS: [u64; 8] = [
    0,
    1,
    7,
    (1 << 32) - 1,
    1 << 32,
    u64::MAX - 8,
    u64::MAX - 1,
    u64::MAX,
];
/// What stands around a buffer and must still be there afterwards.
const GUARD: u8 = 0xa5;

fn key_bytes(bytes: usize) -> Vec<u8> {
    (1..=251).cycle().take(bytes).collect()
}

/// A pattern whose period fits no sector, so that swapped blocks show.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..=250).cycle().take(bytes).collect()
}

/// The run through xts-mode: one sector after the other, with our IVs.
fn by_xts_mode(key: &[u8], run: Run, data: &mut [u8]) {
    for (at, sector) in data.chunks_mut(run.sector_bytes).enumerate() {
        let number = run.first.wrapping_add(run.step.wrapping_mul(at as u64));
        let iv = u128::from(number).to_le_bytes();
        let (data, tweak) = key.split_at(key.len() / 2);
        if key.len() == 64 {
            let [data, tweak] = [data, tweak].map(|key| Aes256::new_from_slice(key).unwrap());
            Xts128::new(data, tweak).encrypt_sector(sector, Array(iv));
        } else {
            let [data, tweak] = [data, tweak].map(|key| Aes128::new_from_slice(key).unwrap());
            Xts128::new(data, tweak).encrypt_sector(sector, Array(iv));
        }
    }
}

#[test]
fn portable_agrees_with_xts_mode() {
    for key_len in [32, 64] {
        let key = key_bytes(key_len);
        let ours = XtsKey::with_backend(&key, Backend::Portable).unwrap();
        for (at, sector_bytes) in (16..=1040).step_by(16).chain([2048, 4096]).enumerate() {
            let first = FIRSTS[at % FIRSTS.len()];
            let run = Run {
                first,
                step: sector_bytes as u64 / 16,
                sector_bytes,
            };
            let plain = pattern(5 * sector_bytes);
            let mut expected = plain.clone();
            by_xts_mode(&key, run, &mut expected);
            let mut data = plain.clone();
            ours.encrypt_in_place(run, &mut data).unwrap();
            assert!(data == expected, "AES-{}, {run:?}", key_len * 4);
            ours.decrypt_in_place(run, &mut data).unwrap();
            assert!(data == plain, "AES-{}, {run:?}", key_len * 4);
        }
    }
}

/// Encrypts and decrypts a run, in place and between buffers, at some distance from the start of
/// guarded buffers, and compares with the portable backend.
fn check(key: &XtsKey, portable: &XtsKey, run: Run, sectors: usize, shift: usize) {
    let about = format!("{key:?}, {run:?}, {sectors} sectors, shifted by {shift}");
    let len = sectors * run.sector_bytes;
    let plain = pattern(len);
    let mut expected = vec![0; len];
    portable.encrypt(run, &plain, &mut expected).unwrap();

    let guarded = |content: &[u8]| {
        let mut memory = vec![GUARD; shift + len + 64];
        memory[shift..shift + len].copy_from_slice(content);
        memory
    };
    let intact = |memory: &[u8]| {
        memory[..shift]
            .iter()
            .chain(&memory[shift + len..])
            .all(|byte| *byte == GUARD)
    };
    let here = shift..shift + len;

    let source = guarded(&plain);
    let mut memory = guarded(&vec![0; len]);
    key.encrypt(run, &source[here.clone()], &mut memory[here.clone()])
        .unwrap();
    assert!(memory[here.clone()] == expected, "encrypt: {about}");
    assert!(intact(&memory), "encrypt wrote outside: {about}");

    let source = memory.clone();
    let mut memory = guarded(&vec![0; len]);
    key.decrypt(run, &source[here.clone()], &mut memory[here.clone()])
        .unwrap();
    assert!(memory[here.clone()] == plain, "decrypt: {about}");
    assert!(intact(&memory), "decrypt wrote outside: {about}");

    key.encrypt_in_place(run, &mut memory[here.clone()])
        .unwrap();
    assert!(
        memory[here.clone()] == expected,
        "encrypt in place: {about}"
    );
    key.decrypt_in_place(run, &mut memory[here.clone()])
        .unwrap();
    assert!(memory[here] == plain, "decrypt in place: {about}");
    assert!(intact(&memory), "in place wrote outside: {about}");
}

/// All pairs of a key on a backend of this machine and the same key on the portable one.
fn for_each_key(mut work: impl FnMut(&XtsKey, &XtsKey)) {
    for backend in Backend::available().filter(|backend| *backend != Backend::Portable) {
        for key_len in [32, 64] {
            let key = key_bytes(key_len);
            let portable = XtsKey::with_backend(&key, Backend::Portable).unwrap();
            work(&XtsKey::with_backend(&key, backend).unwrap(), &portable);
        }
    }
}

#[test]
fn backends_agree_on_every_data_unit_length() {
    for_each_key(|key, portable| {
        for (at, sector_bytes) in (16..=4096).step_by(16).enumerate() {
            let run = Run {
                first: FIRSTS[at % FIRSTS.len()],
                step: 8,
                sector_bytes,
            };
            check(key, portable, run, 1 + at % 6, at % 64);
        }
    });
}

#[test]
fn backends_agree_on_1_to_65_sectors() {
    for_each_key(|key, portable| {
        for sector_bytes in [48, 256, 512, 1024, 2048, 4096] {
            for sectors in 1..=65 {
                let first = FIRSTS[sectors % FIRSTS.len()];
                let run = Run {
                    first,
                    step: sector_bytes as u64 / 512,
                    sector_bytes,
                };
                check(key, portable, run, sectors, sectors % 64);
            }
        }
    });
}

#[test]
fn backends_agree_on_every_alignment() {
    for_each_key(|key, portable| {
        for sector_bytes in [16, 512, 528, 4096] {
            for shift in 0..=64 {
                let run = Run {
                    first: u64::MAX,
                    step: 3,
                    sector_bytes,
                };
                check(key, portable, run, 3, shift);
            }
        }
    });
}

#[test]
fn backends_agree_on_ivs_given_by_the_caller() {
    let ivs: Vec<[u8; 16]> = (0..33_u8).map(|at| [at.wrapping_mul(97); 16]).collect();
    for_each_key(|key, portable| {
        for sector_bytes in [16, 512, 4096, 4112] {
            for sectors in 0..=33 {
                let ivs = &ivs[..sectors];
                let plain = pattern(sectors * sector_bytes);
                let mut expected = vec![0; plain.len()];
                portable
                    .encrypt_with_ivs(ivs, sector_bytes, &plain, &mut expected)
                    .unwrap();
                let mut data = plain.clone();
                key.encrypt_in_place_with_ivs(ivs, sector_bytes, &mut data)
                    .unwrap();
                assert!(data == expected, "{key:?}, {sectors} of {sector_bytes}");
                let mut back = vec![0; plain.len()];
                key.decrypt_with_ivs(ivs, sector_bytes, &data, &mut back)
                    .unwrap();
                assert!(back == plain, "{key:?}, {sectors} of {sector_bytes}");
                key.decrypt_in_place_with_ivs(ivs, sector_bytes, &mut data)
                    .unwrap();
                assert!(data == plain, "{key:?}, {sectors} of {sector_bytes}");
            }
        }
    });
}

#[test]
fn counted_ivs_are_le64_numbers_that_wrap() {
    for backend in Backend::available() {
        let key = XtsKey::with_backend(&key_bytes(64), backend).unwrap();
        let run = Run {
            first: u64::MAX - 8,
            step: 8,
            sector_bytes: 512,
        };
        let mut counted = pattern(4 * 512);
        key.encrypt_in_place(run, &mut counted).unwrap();
        let numbers = [u64::MAX - 8, u64::MAX, 7, 15];
        let ivs = numbers.map(|number| u128::from(number).to_le_bytes());
        let mut given = pattern(4 * 512);
        key.encrypt_in_place_with_ivs(&ivs, 512, &mut given)
            .unwrap();
        assert!(counted == given, "{backend}");
    }
}

/// Which ones these are is said by the crate's own tests, for all kernels.
#[test]
fn backends_that_this_machine_lacks_are_refused() {
    for backend in Backend::ALL
        .into_iter()
        .filter(|backend| !backend.is_available())
    {
        let refused = XtsKey::with_backend(&[0; 64], backend).err();
        assert_eq!(
            refused,
            Some(luksmith_simd::Error::BackendUnavailable { backend })
        );
    }
}
