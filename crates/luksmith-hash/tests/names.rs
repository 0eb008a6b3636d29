//! Which text means which hash.

use luksmith_hash::{Error, HashName};

#[test]
fn names_are_found_in_any_letter_case_and_by_their_aliases() {
    for (text, name) in [
        ("sha256", HashName::Sha256),
        ("SHA256", HashName::Sha256),
        ("sha2-256", HashName::Sha256),
        ("SHA-256", HashName::Sha256),
        ("sha1", HashName::Sha1),
        ("Sha512", HashName::Sha512),
        ("sha2-512/256", HashName::Sha512_256),
    ] {
        assert_eq!(HashName::parse(text), Ok(name), "{text}");
    }
    for &name in HashName::ALL {
        assert_eq!(HashName::parse(name.as_str()), Ok(name));
        assert_eq!(HashName::parse(&name.as_str().to_uppercase()), Ok(name));
    }
}

#[cfg(feature = "all-hashes")]
#[test]
fn optional_hashes_are_found_by_the_names_of_library_and_kernel() {
    for (text, name) in [
        ("md5", HashName::Md5),
        ("sha3-512", HashName::Sha3_512),
        ("blake2b-512", HashName::Blake2b512),
        ("BLAKE2b512", HashName::Blake2b512),
        ("blake2s-256", HashName::Blake2s256),
        ("rmd160", HashName::Ripemd160),
        ("wp512", HashName::Whirlpool),
        ("stribog512", HashName::Streebog512),
    ] {
        assert_eq!(HashName::parse(text), Ok(name), "{text}");
    }
}

#[test]
fn anything_else_is_refused_by_name() {
    for text in [
        "", "crc32", "sha256 ", " sha256", "sha256\0", "shake128", "shake256", "sha3", "sha-2",
    ] {
        let error = HashName::parse(text).unwrap_err();
        assert!(
            matches!(error, Error::UnknownName { .. }),
            "{text}: {error}"
        );
    }
    assert!(HashName::parse_bytes(&[0xff; 32]).is_err());
}
