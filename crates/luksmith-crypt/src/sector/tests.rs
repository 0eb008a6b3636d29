use alloc::vec::Vec;

use super::*;

fn pattern(len: usize) -> Vec<u8> {
    (0..251).cycle().take(len).collect()
}

fn key(len: u8) -> Vec<u8> {
    (0..len).collect()
}

const SPECS: [(&str, u8); 17] = [
    ("aes-xts-plain64", 64),
    ("aes-xts-plain", 48),
    ("aes-xts-plain64be", 32),
    ("aes-xts-benbi", 64),
    ("aes-cbc-essiv:sha256", 32),
    ("aes-cbc-eboiv", 16),
    ("aes-cbc-null", 24),
    ("aes-ecb", 32),
    ("serpent-xts-plain64", 64),
    ("serpent-cbc-essiv:sha256", 16),
    ("twofish-xts-plain64", 48),
    ("camellia-xts-plain64", 32),
    ("aria-xts-plain64", 64),
    ("sm4-xts-plain64", 32),
    ("kuznyechik-xts-plain64", 64),
    ("xchacha12,aes-adiantum-plain64", 32),
    ("xchacha20,aes-adiantum-plain64", 32),
];

fn cipher(spec: &str, bytes: u8, sector_size: SectorSize) -> SectorCipher {
    SectorCipher::new(&CipherSpec::parse(spec).unwrap(), &key(bytes), sector_size).unwrap()
}

#[test]
fn a_run_is_its_sectors_one_by_one_in_place_or_not() {
    for (spec, bytes) in SPECS {
        for size in SectorSize::ALL {
            let cipher = cipher(spec, bytes, size).with_iv_tweak(u64::MAX - 7);
            // 35 sectors: more than one batch of IVs, not a multiple of one. How a run is cut into
            // batches does not depend on the size.
            let sectors = if size == SectorSize::S512 { 35 } else { 5 };
            let plain = pattern(sectors * size.bytes());
            let first = SectorNumber::new(24);
            let mut run = alloc::vec![0; plain.len()];
            cipher.encrypt(first, &plain, &mut run).unwrap();
            let mut in_place = plain.clone();
            cipher.encrypt_in_place(first, &mut in_place).unwrap();
            assert_eq!(run, in_place, "{spec} {size}");
            for (at, sector) in plain.chunks(size.bytes()).enumerate() {
                let number = SectorNumber::new(24 + at as u64 * size.sectors().get());
                let mut one = sector.to_vec();
                cipher.encrypt_in_place(number, &mut one).unwrap();
                let from = at * size.bytes();
                assert_eq!(run[from..from + size.bytes()], one, "{spec} {size} {at}");
                assert_ne!(one, sector, "{spec} {size} {at}");
            }
            let mut back = alloc::vec![0; plain.len()];
            cipher.decrypt(first, &run, &mut back).unwrap();
            assert_eq!(back, plain, "{spec} {size}");
            cipher.decrypt_in_place(first, &mut run).unwrap();
            assert_eq!(run, plain, "{spec} {size}");
        }
    }
}

#[test]
fn the_iv_tweak_moves_sector_numbers() {
    let plain = pattern(1024);
    for (spec, bytes) in SPECS {
        if spec == "aes-ecb" || spec == "aes-cbc-null" {
            continue;
        }
        let mut tweaked = plain.clone();
        let cipher_a = cipher(spec, bytes, SectorSize::S512).with_iv_tweak(3);
        cipher_a
            .encrypt_in_place(SectorNumber::new(5), &mut tweaked)
            .unwrap();
        let mut moved = plain.clone();
        let cipher_b = cipher(spec, bytes, SectorSize::S512);
        cipher_b
            .encrypt_in_place(SectorNumber::new(8), &mut moved)
            .unwrap();
        assert_eq!(tweaked, moved, "{spec}");
    }
}

#[test]
fn parts_of_sectors_are_refused_and_left_alone() {
    let cipher = cipher("aes-xts-plain64", 64, SectorSize::S4096);
    let mut data = pattern(4096 + 512);
    assert_eq!(
        cipher.encrypt_in_place(SectorNumber::ZERO, &mut data),
        Err(Error::PartialSector {
            found: 4608,
            sector_size: SectorSize::S4096
        })
    );
    assert_eq!(data, pattern(4096 + 512));
    assert_eq!(
        cipher.encrypt(SectorNumber::ZERO, &data[..4096], &mut [0; 8192]),
        Err(Error::Length {
            what: "the destination",
            found: 8192,
            expected: 4096
        })
    );
}

#[test]
fn the_null_cipher_is_made_by_its_name_only() {
    let spec = CipherSpec::parse("cipher_null-ecb").unwrap();
    assert_eq!(
        SectorCipher::new(&spec, &[], SectorSize::S512).err(),
        Some(Error::NullCipher {
            spec: "cipher_null-ecb".into()
        })
    );
    let mut data = pattern(512);
    SectorCipher::null(SectorSize::S512)
        .encrypt_in_place(SectorNumber::ZERO, &mut data)
        .unwrap();
    assert_eq!(data, pattern(512));
}

#[test]
fn a_key_of_another_length_is_refused() {
    let spec = CipherSpec::parse("aes-xts-plain64").unwrap();
    let error = SectorCipher::new(&spec, &[0; 96], SectorSize::S512).unwrap_err();
    assert_eq!(
        error,
        Error::KeyLength {
            spec: "aes-xts-plain64".into(),
            found: 96,
            accepted: &[32, 48, 64]
        }
    );
}

#[test]
fn what_needs_tags_is_no_sector_cipher() {
    for (spec, bytes) in [("aes-xts-random", 64), ("aes-gcm-plain64", 32)] {
        let spec = CipherSpec::parse(spec).unwrap();
        let error = SectorCipher::new(&spec, &key(bytes), SectorSize::S512).unwrap_err();
        assert!(matches!(error, Error::Combination { .. }), "{error}");
    }
}

#[test]
fn areas_take_iv_names_in_capitals_and_a_cipher_alone() {
    let mut capital = pattern(1024);
    SectorCipher::for_area("aes-cbc-PLAIN64", &key(32))
        .unwrap()
        .encrypt_in_place(SectorNumber::ZERO, &mut capital)
        .unwrap();
    let mut small = pattern(1024);
    cipher("aes-cbc-plain64", 32, SectorSize::S512)
        .encrypt_in_place(SectorNumber::ZERO, &mut small)
        .unwrap();
    assert_eq!(capital, small);
    let mut alone = pattern(1024);
    SectorCipher::for_area("aes", &key(32))
        .unwrap()
        .encrypt_in_place(SectorNumber::ZERO, &mut alone)
        .unwrap();
    assert_eq!(alone, small);
}

#[test]
fn debug_output_holds_no_key() {
    let cipher = cipher("aes-xts-plain64", 64, SectorSize::S4096);
    assert_eq!(
        alloc::format!("{cipher:?}"),
        "SectorCipher(aes-xts-plain64, 4096 bytes)"
    );
}
