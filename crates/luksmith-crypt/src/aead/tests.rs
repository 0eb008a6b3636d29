use luksmith_block::SectorSize;

use super::*;
use crate::{CipherSpec, RandomError};

/// Bytes that Linux 7.2 wrote through dm-crypt over dm-integrity, measured for this project: key
/// 00 01 02 and so on, the sector at number 8, plaintext byte `i` is `i` modulo 251.
struct Case {
    spec: &'static str,
    integrity: &'static str,
    key_bytes: u8,
    size: SectorSize,
    start: &'static str,
    tag: &'static str,
}

const AUTHENTICATED: [Case; 8] = [
    Case {
        spec: "aes-xts-plain64",
        integrity: "hmac(sha256)",
        key_bytes: 96,
        size: SectorSize::S512,
        start: "d669f5e2d9e798975a7ec16179cd66c7",
        tag: "2abeeb85228162a41002739238d6440f8de7984bcd3285f8614f122e0156a6cf",
    },
    Case {
        spec: "aes-xts-plain64",
        integrity: "hmac(sha256)",
        key_bytes: 96,
        size: SectorSize::S4096,
        start: "d669f5e2d9e798975a7ec16179cd66c7",
        tag: "d597b0826e48c37b83eb151dbad46749dc37a8325ba8f9f59b73d306057a81ad",
    },
    Case {
        spec: "aes-xts-plain64",
        integrity: "hmac(sha512)",
        key_bytes: 128,
        size: SectorSize::S4096,
        start: "d669f5e2d9e798975a7ec16179cd66c7",
        tag: "6576d55bd19d3f94fa6b193988f044ed2e68fa73687d00d14c35245fd30e5767\
              36bbeab6af8c71ce0b6306619bc8b8b6860ccaa4aa0462a1144dc5e560bb808d",
    },
    Case {
        spec: "aes-cbc-essiv:sha256",
        integrity: "hmac(sha256)",
        key_bytes: 64,
        size: SectorSize::S512,
        start: "4e19f7f211eccb0a3f034c52d58d6800",
        tag: "907e7b0ba179eb81d0cd492f20e834d5e98e809fb8cbf1d1932a6d31d5d7aec7",
    },
    Case {
        spec: "aes-gcm-plain64",
        integrity: "aead",
        key_bytes: 32,
        size: SectorSize::S4096,
        start: "b527454cad6bff7c58df8f0c453c26a1",
        tag: "23b80c63db3f37b684a8b8259675d73c",
    },
    Case {
        spec: "chacha20-plain64",
        integrity: "poly1305",
        key_bytes: 32,
        size: SectorSize::S4096,
        start: "2cce10dcdc590242c730550f1e1a872a",
        tag: "a30be26cc5b0afd88ea00b5b7b635495",
    },
    Case {
        spec: "aegis128-plain64",
        integrity: "aead",
        key_bytes: 16,
        size: SectorSize::S512,
        start: "d06c5ba53d0cb705465f790e8fb758a2",
        tag: "320cb0a040777107225d0aa48a65ba1b",
    },
    // This one from OpenSSL's AES-CCM: nonce = last three key bytes and le64(8), AD = le64(8).
    Case {
        spec: "aes-ccm-plain64",
        integrity: "aead",
        key_bytes: 35,
        size: SectorSize::S512,
        start: "1d5cfbd0973d45111580be0e2803394a",
        tag: "ad0c8cbb554c4b689627510e998d4df1",
    },
];

const FIRST: SectorNumber = SectorNumber::new(8);

fn pattern(len: usize) -> Vec<u8> {
    (0..251).cycle().take(len).collect()
}

fn key(bytes: u8) -> Vec<u8> {
    (0..bytes).collect()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn cipher(spec: &str, integrity: &str, key_bytes: u8, size: SectorSize) -> AeadCipher {
    let spec = CipherSpec::parse(spec).unwrap();
    let spec = AuthSpec::new(spec, Integrity::parse(integrity).unwrap(), None).unwrap();
    AeadCipher::new(&spec, &key(key_bytes), size).unwrap()
}

/// Not random at all, so that ciphertexts can be compared.
struct Counting;

impl RandomSource for Counting {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::try_from(at % 241).unwrap();
        }
        Ok(())
    }
}

struct Broken;

impl RandomSource for Broken {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }
}

#[test]
fn authenticated_sectors_are_what_the_kernel_wrote() {
    for case in &AUTHENTICATED {
        let cipher = cipher(case.spec, case.integrity, case.key_bytes, case.size);
        let plain = pattern(case.size.bytes());
        let mut data = vec![0; plain.len()];
        let mut tuple = vec![0; cipher.tuple_bytes()];
        cipher
            .seal_once(FIRST, &plain, &[], &mut data, &mut tuple)
            .unwrap();
        assert_eq!(data[..16], hex(case.start), "{}", case.spec);
        assert_eq!(tuple, hex(case.tag), "{}", case.spec);
        assert_eq!(cipher.verify(FIRST, &data, &tuple), Ok(()));
        cipher.open_in_place(FIRST, &mut data, &tuple).unwrap();
        assert_eq!(data, plain, "{}", case.spec);
    }
}

/// Every construction, with a key of the right length.
const ALL: [(&str, &str, u8); 16] = [
    ("aes-xts-plain64", "hmac(sha256)", 96),
    ("aes-xts-plain64", "hmac(sha512)", 96),
    ("aes-xts-plain64", "hmac(sha1)", 84),
    ("aes-xts-plain", "hmac(sha256)", 96),
    ("aes-xts-random", "hmac(sha256)", 96),
    ("aes-xts-random", "hmac(ripemd160)", 52),
    ("aes-cbc-plain64", "hmac(sha1)", 52),
    ("aes-cbc-essiv:sha256", "hmac(sha256)", 64),
    ("aes-ctr-random", "hmac(sha256)", 64),
    ("serpent-xts-plain64", "hmac(sha512)", 128),
    ("aes-gcm-random", "aead", 32),
    ("aes-gcm-random", "aead", 24),
    ("aes-gcm-random", "aead", 16),
    ("chacha20-random", "poly1305", 32),
    ("aegis128-random", "aead", 16),
    ("aes-ccm-random", "aead", 35),
];

#[test]
fn a_run_is_its_sectors_one_by_one() {
    for (spec, integrity, key_bytes) in ALL {
        for size in SectorSize::ALL {
            let cipher = cipher(spec, integrity, key_bytes, size).with_iv_tweak(u64::MAX - 9);
            // More than two batches, not a multiple of one. How a run is cut into batches does not
            // depend on the size.
            let sectors = if size == SectorSize::S512 {
                2 * FUSED_BATCH + 3
            } else {
                5
            };
            let plain = pattern(sectors * size.bytes());
            let ivs = cipher.draw_ivs(sectors, &Counting).unwrap();
            let mut data = vec![0; plain.len()];
            let mut tuples = vec![0; sectors * cipher.tuple_bytes()];
            cipher
                .seal(FIRST, &plain, &ivs, &mut data, &mut tuples)
                .unwrap();
            for at in 0..sectors {
                let iv_bytes = cipher.spec().stored_iv_bytes();
                let (sector, tuple) = (size.bytes(), cipher.tuple_bytes());
                let mut one = vec![0; sector];
                let mut one_tuple = vec![0; tuple];
                let number = SectorNumber::new(8 + at as u64 * size.sectors().get());
                cipher
                    .seal(
                        number,
                        &plain[at * sector..(at + 1) * sector],
                        &ivs[at * iv_bytes..(at + 1) * iv_bytes],
                        &mut one,
                        &mut one_tuple,
                    )
                    .unwrap();
                assert_eq!(one, data[at * sector..(at + 1) * sector], "{spec} {at}");
                assert_eq!(
                    one_tuple,
                    tuples[at * tuple..(at + 1) * tuple],
                    "{spec} {at}"
                );
            }
            assert_eq!(cipher.check(FIRST, &data, &tuples), Ok(()), "{spec}");
            cipher.open_in_place(FIRST, &mut data, &tuples).unwrap();
            assert_eq!(data, plain, "{spec} {integrity} {size}");
        }
    }
}

#[test]
fn any_changed_byte_or_place_is_found_and_nothing_is_handed_out() {
    for (spec, integrity, key_bytes) in ALL {
        let size = SectorSize::S1024;
        let cipher = cipher(spec, integrity, key_bytes, size);
        let sectors = FUSED_BATCH + 4;
        let plain = pattern(sectors * size.bytes());
        let ivs = cipher.draw_ivs(sectors, &Counting).unwrap();
        let mut data = vec![0; plain.len()];
        let tuple_bytes = cipher.tuple_bytes();
        let mut tuples = vec![0; sectors * tuple_bytes];
        cipher
            .seal(FIRST, &plain, &ivs, &mut data, &mut tuples)
            .unwrap();
        let mismatch = |at: u64, blocks: u64| {
            Err(BlockError::TagMismatch {
                first: SectorNumber::new(8 + 2 * at),
                count: 2 * blocks,
            })
        };
        // A byte of the data, of the tag, and the last byte of the tuple, in two sectors of two
        // batches.
        let changes: [(usize, usize); 3] = [
            (17 * size.bytes() + 1023, 34 * size.bytes()),
            (17 * tuple_bytes, 34 * tuple_bytes + 15),
            (18 * tuple_bytes - 1, 35 * tuple_bytes - 1),
        ];
        for (kind, (a, b)) in changes.into_iter().enumerate() {
            let (mut bad, mut bad_tuples) = (data.clone(), tuples.clone());
            let target = if kind == 0 { &mut bad } else { &mut bad_tuples };
            target[a] ^= 0x80;
            target[b] ^= 1;
            assert_eq!(cipher.verify(FIRST, &bad, &bad_tuples), mismatch(17, 2));
            let opened = cipher.open_in_place(FIRST, &mut bad, &bad_tuples);
            assert_eq!(opened, mismatch(17, 2), "{spec} {integrity}");
            assert!(bad.iter().all(|byte| *byte == 0), "{spec} {integrity}");
        }
        // The whole run moved by one sector.
        let moved = cipher.verify(SectorNumber::new(10), &data, &tuples);
        let all = Err(BlockError::TagMismatch {
            first: SectorNumber::new(10),
            count: 2 * sectors as u64,
        });
        assert_eq!(moved, all, "{spec} {integrity}");
    }
}

#[test]
fn zeros_with_tags_over_them_verify_and_open_as_noise() {
    for (spec, integrity, key_bytes) in [
        ("aes-xts-plain64", "hmac(sha256)", 96),
        ("aes-cbc-essiv:sha256", "hmac(sha1)", 52),
    ] {
        let cipher = cipher(spec, integrity, key_bytes, SectorSize::S512).with_iv_tweak(5);
        let sectors = 2 * FUSED_BATCH + 1;
        let mut data = vec![0; sectors * 512];
        let mut tuples = vec![0; sectors * cipher.tuple_bytes()];
        cipher.tag_ciphertext(FIRST, &data, &mut tuples).unwrap();
        assert_eq!(cipher.verify(FIRST, &data, &tuples), Ok(()), "{spec}");
        cipher.open_in_place(FIRST, &mut data, &tuples).unwrap();
        assert_ne!(data, vec![0; sectors * 512], "{spec}");
        // Sealing the noise gives the zeros and the same tags back.
        let mut sealed = vec![1; data.len()];
        let mut again = vec![0; tuples.len()];
        cipher
            .seal(FIRST, &data, &[], &mut sealed, &mut again)
            .unwrap();
        assert_eq!(sealed, vec![0; sectors * 512], "{spec}");
        assert_eq!(again, tuples, "{spec}");
    }
    for (spec, integrity, key_bytes) in [
        ("aes-xts-random", "hmac(sha256)", 96),
        ("aes-gcm-random", "aead", 32),
        ("aegis128-random", "aead", 16),
    ] {
        let cipher = cipher(spec, integrity, key_bytes, SectorSize::S512);
        let mut tuple = vec![0; cipher.tuple_bytes()];
        assert_eq!(
            cipher.tag_ciphertext(FIRST, &[0; 512], &mut tuple),
            Err(Error::TagsOverGivenCiphertext { spec: spec.into() })
        );
    }
}

#[test]
fn without_a_tag_nothing_is_noticed_and_the_iv_is_stored() {
    let cipher = cipher("aes-xts-random", "none", 64, SectorSize::S512);
    let plain = pattern(1024);
    let ivs = cipher.draw_ivs(2, &Counting).unwrap();
    let mut data = vec![0; 1024];
    let mut tuples = vec![0; 32];
    cipher
        .seal(FIRST, &plain, &ivs, &mut data, &mut tuples)
        .unwrap();
    assert_eq!(tuples, ivs);
    data[0] ^= 1;
    assert_eq!(cipher.verify(FIRST, &data, &tuples), Ok(()));
    data[0] ^= 1;
    cipher.open_in_place(FIRST, &mut data, &tuples).unwrap();
    assert_eq!(data, plain);
}

#[test]
fn a_nonce_that_is_the_sector_number_is_never_written() {
    for (spec, integrity) in [
        ("aes-gcm-plain64", "aead"),
        ("chacha20-plain64", "poly1305"),
    ] {
        let cipher = cipher(spec, integrity, 32, SectorSize::S512);
        let mut data = [0; 512];
        let sealed = cipher.seal(FIRST, &[0; 512], &[], &mut data, &mut [0; 16]);
        assert_eq!(sealed, Err(Error::NonceReuse { spec: spec.into() }));
        assert_eq!(data, [0; 512]);
    }
}

#[test]
fn a_broken_generator_stops_the_write() {
    let random = cipher("aes-gcm-random", "aead", 32, SectorSize::S512);
    assert_eq!(random.draw_ivs(1, &Broken), Err(Error::Random));
    let counted = cipher("aes-xts-plain64", "hmac(sha256)", 96, SectorSize::S512);
    assert_eq!(counted.draw_ivs(9, &Broken), Ok(Vec::new()));
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let cipher = cipher("aes-gcm-random", "aead", 32, SectorSize::S512);
    let (plain, mut data) = ([0; 1024], [0; 1024]);
    let length = |what, found, expected| {
        Err(Error::Length {
            what,
            found,
            expected,
        })
    };
    assert_eq!(
        cipher.seal(FIRST, &plain, &[0; 24], &mut data, &mut [0; 28]),
        length("the list of tuples", 28, 56)
    );
    assert_eq!(
        cipher.seal(FIRST, &plain, &[0; 12], &mut data, &mut [0; 56]),
        length("the list of IVs", 12, 24)
    );
    assert_eq!(
        cipher.seal(FIRST, &plain, &[0; 24], &mut data[..512], &mut [0; 56]),
        length("the ciphertext", 512, 1024)
    );
    assert_eq!(
        cipher.open_in_place(FIRST, &mut data[..513], &[0; 28]),
        Err(BlockError::Length {
            what: "the ciphertext",
            found: 513,
            expected: 1024
        })
    );
}

#[test]
fn a_volume_key_of_another_length_is_refused() {
    let spec = CipherSpec::parse("aes-xts-plain64").unwrap();
    let spec = AuthSpec::new(spec, Integrity::parse("hmac(sha256)").unwrap(), None).unwrap();
    assert_eq!(
        AeadCipher::new(&spec, &[0; 128], SectorSize::S512).err(),
        Some(Error::VolumeKeyLength {
            spec: "aes-xts-plain64".into(),
            found: 128,
            accepted: &[32, 48, 64],
            mac: 32
        })
    );
}
