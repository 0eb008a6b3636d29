//! Cipher specifications: text from a header.

use luksmith_block::{SectorNumber, SectorSize};
use luksmith_crypt::{AuthSpec, CipherSpec, Integrity, SectorCipher};

use crate::paint;

/// A cipher's name: what is accepted prints to itself, and decrypts what it encrypts.
///
/// The text may go on with a comma, an integrity's name and the length of its key.
///
/// # Panics
/// If an accepted specification breaks a promise.
pub fn cipher_spec(data: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(data) else {
        return false;
    };
    let (cipher, integrity) = text.split_once('\n').unwrap_or((text, ""));
    let _ = CipherSpec::parse_for_area(cipher);
    let Ok(spec) = CipherSpec::parse(cipher) else {
        return false;
    };
    let printed = spec.to_string();
    assert_eq!(CipherSpec::parse(&printed), Ok(spec), "{printed}");
    if let Ok(integrity) = Integrity::parse(integrity)
        && let Ok(auth) = AuthSpec::new(spec, integrity, None)
    {
        assert!(auth.tuple_bytes() >= auth.tag_bytes(), "{auth:?}");
    }
    for &len in spec.key_lengths() {
        let key = paint(7, len);
        for size in [SectorSize::S512, SectorSize::S4096] {
            let Ok(sectors) = SectorCipher::new(&spec, &key, size) else {
                continue;
            };
            let plain = paint(11, size.bytes());
            let mut data = plain.clone();
            let first = SectorNumber::new(u64::from(u32::MAX) - 7);
            sectors
                .encrypt_in_place(first, &mut data)
                .expect("a sector");
            assert_eq!(data == plain, spec.is_null(), "{printed} encrypts");
            sectors
                .decrypt_in_place(first, &mut data)
                .expect("a sector");
            assert_eq!(data, plain, "{printed} with {len} bytes");
        }
    }
    true
}
