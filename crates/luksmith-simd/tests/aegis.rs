//! AEGIS-128: every backend against the portable one, and what a wrong tag leaves behind.

use luksmith_simd::{Aegis128, Backend, Error};

const NONCE: [u8; 16] = [9; 16];

fn key() -> [u8; 16] {
    core::array::from_fn(|at| at.to_le_bytes()[0])
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..=250).cycle().take(bytes).collect()
}

#[test]
fn every_backend_gives_the_bytes_of_the_portable_one() {
    let portable = Aegis128::with_backend(key(), Backend::Portable).unwrap();
    assert_eq!(portable.backend(), Backend::Portable);
    for backend in Backend::available() {
        let one = Aegis128::with_backend(key(), backend).unwrap();
        for bytes in [0, 16, 32, 48, 512, 4080, 4096] {
            for ad in [0, 1, 15, 16, 17, 24, 40] {
                let (plain, ad) = (pattern(bytes), pattern(ad));
                let (mut expected, mut data) = (plain.clone(), plain.clone());
                let expected_tag = portable.seal(&NONCE, &ad, &mut expected).unwrap();
                let tag = one.seal(&NONCE, &ad, &mut data).unwrap();
                let about = format!("{one:?}, {bytes} bytes, {} before", ad.len());
                assert_eq!((&data, tag), (&expected, expected_tag), "{about}");
                assert!(one.open(&NONCE, &ad, &mut data, &tag).unwrap(), "{about}");
                assert_eq!(data, plain, "{about}");
            }
        }
    }
}

#[test]
fn a_changed_bit_anywhere_leaves_zeros() {
    for backend in Backend::available() {
        let one = Aegis128::with_backend(key(), backend).unwrap();
        let (ad, mut sealed) = (pattern(24), pattern(64));
        let tag = one.seal(&NONCE, &ad, &mut sealed).unwrap();
        let bits = |bytes: usize| (0..bytes * 8).map(|bit| (bit / 8, 1 << (bit % 8)));
        for (at, bit) in bits(16) {
            let (mut wrong, mut data) = (tag, sealed.clone());
            wrong[at] ^= bit;
            assert!(!one.open(&NONCE, &ad, &mut data, &wrong).unwrap());
            assert_eq!(data, vec![0; 64], "{backend}, tag, {at}");
        }
        for (at, bit) in bits(64) {
            let mut data = sealed.clone();
            data[at] ^= bit;
            assert!(!one.open(&NONCE, &ad, &mut data, &tag).unwrap());
            assert_eq!(data, vec![0; 64], "{backend}, data, {at}");
        }
        for (at, bit) in bits(24) {
            let (mut other, mut data) = (ad.clone(), sealed.clone());
            other[at] ^= bit;
            assert!(!one.open(&NONCE, &other, &mut data, &tag).unwrap());
        }
    }
}

#[test]
fn a_part_of_a_block_is_refused_and_left_alone() {
    let mut data = pattern(17);
    let sealed = Aegis128::new(key()).seal(&NONCE, &[], &mut data);
    let expected = Error::PartialSector {
        bytes: 17,
        sector_bytes: 16,
    };
    assert_eq!(sealed, Err(expected));
    assert_eq!(data, pattern(17));
}
