//! AES-GCM over runs of sectors: the kernel's bytes, and every backend against the portable one.
#![cfg(feature = "gcm")]
#![expect(clippy::unwrap_used, reason = "a failing call fails the test")]

use luksmith_simd::{Backend, Error, GcmKey, GcmRun};

/// What stands around a buffer and must still be there afterwards.
const GUARD: u8 = 0xa5;

/// A pattern whose period fits no sector, so that swapped blocks show.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..=250).cycle().take(bytes).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .map(|digit| digit.to_digit(16).expect("a hex digit"))
        .collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    assert!(rest.is_empty(), "hex text has whole bytes");
    pairs
        .iter()
        .map(|[high, low]| u8::try_from(high * 16 + low).expect("one byte"))
        .collect()
}

fn nonces(sectors: usize) -> Vec<[u8; 12]> {
    (0..sectors)
        .map(|at| core::array::from_fn(|byte| (at * 31 + byte * 7).to_le_bytes()[0]))
        .collect()
}

/// Sector 8 of aes-gcm-plain64 with tags, as the Linux kernel 7.2 wrote it.
#[test]
fn sector_and_tag_are_those_that_the_kernel_wrote() {
    let key: Vec<u8> = (0..32).collect();
    let mut nonce = [0; 12];
    nonce[0] = 8;
    let mut ad = [0; 20];
    ad[0] = 8;
    ad[8] = 8;
    let run = GcmRun {
        nonces: &[nonce],
        ads: &ad,
        ad_bytes: 20,
        sector_bytes: 4096,
    };
    for backend in Backend::available() {
        let key = GcmKey::with_backend(&key, backend).unwrap();
        let mut data = pattern(4096);
        let mut tag = [0; 16];
        key.seal_in_place(run, &mut data, &mut tag).unwrap();
        assert_eq!(
            data[..16],
            hex("b527454cad6bff7c58df8f0c453c26a1"),
            "{backend}"
        );
        assert_eq!(tag, *hex("23b80c63db3f37b684a8b8259675d73c"), "{backend}");
        key.open_in_place(run, &mut data, &tag).unwrap();
        assert_eq!(data, pattern(4096), "{backend}");
    }
}

/// Seals and opens one run, in place and between guarded buffers, against the portable backend.
fn check(key: &GcmKey, portable: &GcmKey, run: GcmRun<'_>, shift: usize) {
    let sectors = run.nonces.len();
    let (ad_bytes, sector_bytes) = (run.ad_bytes, run.sector_bytes);
    let about = format!("{key:?}, {sectors} of {sector_bytes}, {ad_bytes} before, {shift}");
    let len = sectors * sector_bytes;
    let plain = pattern(len);
    let (mut expected, mut expected_tags) = (vec![0; len], vec![0; 16 * sectors]);
    portable
        .seal(run, &plain, &mut expected, &mut expected_tags)
        .unwrap();

    let here = shift..shift + len;
    let guarded = |content: &[u8]| {
        let mut memory = vec![GUARD; shift + len + 64];
        memory[here.clone()].copy_from_slice(content);
        memory
    };
    let intact = |memory: &[u8]| {
        memory[..shift]
            .iter()
            .chain(&memory[shift + len..])
            .all(|byte| *byte == GUARD)
    };

    let source = guarded(&plain);
    let mut memory = guarded(&vec![0; len]);
    let mut tags = vec![0; 16 * sectors];
    key.seal(
        run,
        &source[here.clone()],
        &mut memory[here.clone()],
        &mut tags,
    )
    .unwrap();
    assert!(memory[here.clone()] == expected, "seal: {about}");
    assert!(tags == expected_tags, "tags: {about}");
    assert!(intact(&memory), "seal wrote outside: {about}");

    let source = memory.clone();
    let mut memory = guarded(&vec![0; len]);
    key.open(run, &source[here.clone()], &tags, &mut memory[here.clone()])
        .unwrap();
    assert!(memory[here.clone()] == plain, "open: {about}");
    assert!(intact(&memory), "open wrote outside: {about}");

    tags.fill(0);
    key.seal_in_place(run, &mut memory[here.clone()], &mut tags)
        .unwrap();
    assert!(
        memory[here.clone()] == expected && tags == expected_tags,
        "in place: {about}"
    );
    key.open_in_place(run, &mut memory[here.clone()], &tags)
        .unwrap();
    assert!(memory[here] == plain, "open in place: {about}");
    assert!(intact(&memory), "in place wrote outside: {about}");
}

/// Every key that has kernels of its own, beside the portable one. Backends without any are served
/// by the portable code, which would be compared with itself.
fn for_each_key(mut work: impl FnMut(&GcmKey, &GcmKey)) {
    for backend in Backend::available() {
        for key_len in [16, 24, 32] {
            let key: Vec<u8> = (1..=251).cycle().take(key_len).collect();
            let portable = GcmKey::with_backend(&key, Backend::Portable).unwrap();
            let key = GcmKey::with_backend(&key, backend).unwrap();
            if key.backend() != Backend::Portable {
                work(&key, &portable);
            }
        }
    }
}

#[test]
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn every_backend_of_x86_serves_keys_of_128_and_256_bits_itself() {
    for backend in Backend::available() {
        let served_by = |key: &[u8]| GcmKey::with_backend(key, backend).unwrap().backend();
        assert_eq!(served_by(&[7; 16]), backend);
        assert_eq!(served_by(&[7; 24]), Backend::Portable);
        assert_eq!(served_by(&[7; 32]), backend);
    }
}

#[test]
fn backends_agree_on_every_length_of_data_and_associated_data() {
    let ads = pattern(3 * 64);
    let nonces = nonces(3);
    for_each_key(|key, portable| {
        for (at, sector_bytes) in (16..=5120_usize).step_by(16).enumerate() {
            // Kernels take steps of 256 bytes, and up to 48 bytes beside them.
            let (sectors, ad_bytes) = if sector_bytes.is_multiple_of(256) {
                (3, at % 49)
            } else {
                (1, at % 65)
            };
            let run = GcmRun {
                nonces: &nonces[..sectors],
                ads: &ads[..sectors * ad_bytes],
                ad_bytes,
                sector_bytes,
            };
            check(key, portable, run, at % 64);
        }
        for ad_bytes in 0..=64 {
            let run = GcmRun {
                nonces: &nonces,
                ads: &ads[..3 * ad_bytes],
                ad_bytes,
                sector_bytes: 512,
            };
            check(key, portable, run, 0);
        }
    });
}

#[test]
fn backends_agree_on_0_to_65_sectors_and_every_alignment() {
    let nonces = nonces(65);
    let ads = pattern(65 * 20);
    for_each_key(|key, portable| {
        for sectors in 0..=65 {
            for sector_bytes in [256, 512, 4096] {
                let ads = &ads[..sectors * 20];
                let run = GcmRun {
                    nonces: &nonces[..sectors],
                    ads,
                    ad_bytes: 20,
                    sector_bytes,
                };
                check(key, portable, run, sectors);
            }
        }
    });
}

#[test]
fn a_changed_bit_anywhere_leaves_nothing_but_zeroes() {
    let nonces = nonces(33);
    let mut ads = pattern(33 * 20);
    for backend in Backend::available() {
        let key = GcmKey::with_backend(&[7; 32], backend).unwrap();
        for wrong in 0..33 {
            for part in ["data", "tag", "associated data"] {
                let run = GcmRun {
                    nonces: &nonces,
                    ads: &ads,
                    ad_bytes: 20,
                    sector_bytes: 512,
                };
                let mut data = pattern(33 * 512);
                let mut tags = vec![0; 33 * 16];
                key.seal_in_place(run, &mut data, &mut tags).unwrap();
                match part {
                    "data" => data[wrong * 512 + 17 * (wrong + 1) % 512] ^= 0x10,
                    "tag" => tags[wrong * 16 + wrong % 16] ^= 0x80,
                    _ => ads[wrong * 20 + wrong % 20] ^= 1,
                }
                let run = GcmRun {
                    nonces: &nonces,
                    ads: &ads,
                    ad_bytes: 20,
                    sector_bytes: 512,
                };
                let mismatch = Err(Error::TagMismatch {
                    first: wrong,
                    count: 1,
                });
                let mut dst = vec![0xaa; data.len()];
                assert_eq!(
                    key.open(run, &data, &tags, &mut dst),
                    mismatch,
                    "{backend} {part}"
                );
                assert!(dst.iter().all(|byte| *byte == 0), "{backend} {part}");
                assert_eq!(key.open_in_place(run, &mut data, &tags), mismatch);
                assert!(data.iter().all(|byte| *byte == 0), "{backend} {part}");
            }
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused_and_write_nothing() {
    let key = GcmKey::new(&[1; 32]).unwrap();
    let nonces = nonces(2);
    let run = GcmRun {
        nonces: &nonces,
        ads: &[0; 40],
        ad_bytes: 20,
        sector_bytes: 512,
    };
    let (mut data, mut tags) = ([0x77; 1024], [0x77; 32]);
    let mismatch = |what, bytes, expected| {
        Err(Error::LengthMismatch {
            what,
            bytes,
            expected,
        })
    };
    let short = &mut tags[..31];
    assert_eq!(
        key.seal_in_place(run, &mut data, short),
        mismatch("tags", 31, 32)
    );
    let one = GcmRun {
        nonces: &nonces[..1],
        ..run
    };
    let refused = key.seal_in_place(one, &mut data, &mut tags);
    assert_eq!(refused, mismatch("list of nonces", 12, 24));
    let bare = GcmRun {
        ads: &[0; 39],
        ..run
    };
    assert_eq!(
        key.open_in_place(bare, &mut data, &tags),
        mismatch("associated data", 39, 40)
    );
    let long = GcmRun {
        ads: &[0; 130],
        ad_bytes: 65,
        ..run
    };
    let refused = key.open_in_place(long, &mut data, &tags);
    assert_eq!(refused, Err(Error::PrefixBytes { bytes: 65, max: 64 }));
    let refused = key.open(run, &data, &tags, &mut [0; 512]);
    assert_eq!(refused, mismatch("destination", 512, 1024));
    assert_eq!((data, tags), ([0x77; 1024], [0x77; 32]));
}

#[test]
fn a_key_of_a_length_that_gcm_lacks_is_refused() {
    for bytes in [0, 15, 17, 31, 33, 64] {
        let refused = GcmKey::new(&vec![1; bytes]).err();
        let expected = "16, 24 or 32";
        assert_eq!(
            refused,
            Some(Error::KeyLength {
                cipher: "AES-GCM",
                bytes,
                expected
            })
        );
    }
}

#[test]
fn debug_prints_no_key() {
    let key = GcmKey::with_backend(&[0x5a; 24], Backend::Portable).unwrap();
    assert_eq!(format!("{key:?}"), "GcmKey(AES-192, portable)");
}
