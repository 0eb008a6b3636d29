//! Bytes that Linux 7.2 wrote through dm-crypt, measured for this project: key 00 01 02 and so on,
//! the sector at number 8, plaintext byte `i` is `i` modulo 251. Volumes with stored random IVs are
//! checked through the images in `testvectors/`.
#![cfg(feature = "all-ciphers")]

use luksmith_block::{SectorNumber, SectorSize};
use luksmith_crypt::{CipherSpec, SectorCipher};

const FIRST: SectorNumber = SectorNumber::new(8);

fn plain(size: SectorSize) -> Vec<u8> {
    (0..251).cycle().take(size.bytes()).collect()
}

fn key(bytes: u8) -> Vec<u8> {
    (0..bytes).collect()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("two hex digits"))
        .collect()
}

#[test]
fn length_preserving_ciphers_write_what_the_kernel_wrote() {
    for (spec, key_bytes, size, start) in [
        (
            "aes-xts-plain64",
            64,
            SectorSize::S512,
            "d669f5e2d9e798975a7ec16179cd66c7",
        ),
        (
            "aes-xts-plain64",
            64,
            SectorSize::S4096,
            "d669f5e2d9e798975a7ec16179cd66c7",
        ),
        (
            "aes-xts-plain64",
            32,
            SectorSize::S512,
            "8a14a9a8492fc62560c2006c31ad3199",
        ),
        (
            "aes-cbc-essiv:sha256",
            32,
            SectorSize::S512,
            "fae8499ad2e8543d5a2836fbc9d4d251",
        ),
    ] {
        let spec = CipherSpec::parse(spec).unwrap();
        let cipher = SectorCipher::new(&spec, &key(key_bytes), size).unwrap();
        let mut data = plain(size);
        cipher.encrypt_in_place(FIRST, &mut data).unwrap();
        assert_eq!(data[..16], hex(start), "{spec} {size}");
        cipher.decrypt_in_place(FIRST, &mut data).unwrap();
        assert_eq!(data, plain(size), "{spec} {size}");
    }
}
