//! AES-XTS against published vectors, on every backend that this machine has.

use luksmith_simd::{Backend, Run, XtsKey};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .map(|digit| digit.to_digit(16).expect("a hex digit"))
        .collect();
    let bytes = digits.as_chunks::<2>();
    assert!(bytes.1.is_empty(), "hex text has whole bytes");
    bytes
        .0
        .iter()
        .map(|[high, low]| u8::try_from(high * 16 + low).expect("one byte"))
        .collect()
}

/// A pattern whose period fits no sector, so that swapped blocks show.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..=250).cycle().take(bytes).collect()
}

/// First ciphertext bytes that the Linux kernel 7.2 wrote for the counting key, sector 8.
#[test]
fn ciphertext_starts_as_the_kernel_wrote_it() {
    let cases = [
        (64, 512, "d669f5e2d9e798975a7ec16179cd66c7"),
        (64, 4096, "d669f5e2d9e798975a7ec16179cd66c7"),
        (32, 512, "8a14a9a8492fc62560c2006c31ad3199"),
    ];
    for backend in Backend::available() {
        for (key_bytes, sector_bytes, expected) in cases {
            let key: Vec<u8> = (0..key_bytes).collect();
            let key = XtsKey::with_backend(&key, backend).unwrap();
            let run = Run {
                first: 8,
                step: 1,
                sector_bytes,
            };
            let plain = pattern(sector_bytes);
            let mut data = vec![0; sector_bytes];
            key.encrypt(run, &plain, &mut data).unwrap();
            assert_eq!(data[..16], hex(expected), "{backend}");
            key.decrypt_in_place(run, &mut data).unwrap();
            assert_eq!(data, plain, "{backend}");
        }
    }
}

/// IEEE Std 1619-2018, annex B, vectors 1 to 3: XTS-AES-128 over one data unit of 32 bytes.
#[test]
fn data_units_are_those_of_the_standard() {
    let descending: Vec<u8> = (0xf0..=0xff).rev().collect();
    let cases = [
        (
            vec![0; 16],
            0,
            0,
            0,
            "917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e",
        ),
        (
            vec![0x11; 16],
            0x22,
            0x33_3333_3333,
            0x44,
            "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0",
        ),
        (
            descending,
            0x22,
            0x33_3333_3333,
            0x44,
            "af85336b597afc1a900b2eb21ec949d292df4c047e0b21532186a5971a227a89",
        ),
    ];
    for backend in Backend::available() {
        for (data_key, tweak_key, first, plain, expected) in &cases {
            let key = [&data_key[..], &[*tweak_key; 16]].concat();
            let key = XtsKey::with_backend(&key, backend).unwrap();
            let run = Run {
                first: *first,
                step: 1,
                sector_bytes: 32,
            };
            let mut data = [*plain; 32];
            key.encrypt_in_place(run, &mut data).unwrap();
            assert_eq!(data, *hex(expected), "{backend}");
            key.decrypt_in_place(run, &mut data).unwrap();
            assert_eq!(data, [*plain; 32], "{backend}");
        }
    }
}
