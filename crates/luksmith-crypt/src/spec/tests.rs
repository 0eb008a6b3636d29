use alloc::string::ToString;

use luksmith_hash::HashName;

use super::*;

#[test]
fn specs_are_read_as_cryptsetup_writes_them_and_print_in_one_form() {
    for (text, printed) in [
        ("aes-xts-plain64", "aes-xts-plain64"),
        ("capi:xts(aes)-plain64", "aes-xts-plain64"),
        ("aes-cbc-essiv:sha256", "aes-cbc-essiv:sha256"),
        ("capi:cbc(aes)-essiv:sha256", "aes-cbc-essiv:sha256"),
        ("aes", "aes-cbc-plain"),
        ("aes-plain", "aes-cbc-plain"),
        ("twofish", "twofish-cbc-plain"),
        ("aes-ecb", "aes-ecb"),
        ("aes-cbc-essiv:SHA512-256", "aes-cbc-essiv:sha512-256"),
        ("serpent-xts-plain64", "serpent-xts-plain64"),
        (
            "xchacha12,aes-adiantum-plain64",
            "xchacha12,aes-adiantum-plain64",
        ),
        (
            "capi:adiantum(xchacha20,aes)-plain64",
            "xchacha20,aes-adiantum-plain64",
        ),
        ("aegis128-random", "aegis128-random"),
        ("capi:aegis128-random", "aegis128-random"),
        ("chacha20-random", "chacha20-random"),
        ("capi:rfc7539(chacha20,poly1305)-random", "chacha20-random"),
        ("aes-gcm-random", "aes-gcm-random"),
        ("capi:rfc4309(ccm(aes))-random", "aes-ccm-random"),
        ("cipher_null-ecb", "cipher_null-ecb"),
        ("null", "cipher_null-ecb"),
        ("cipher_null-cbc-plain", "cipher_null-ecb"),
    ] {
        let spec = CipherSpec::parse(text).unwrap();
        assert_eq!(spec.to_string(), printed, "{text}");
        assert_eq!(CipherSpec::parse(printed).unwrap(), spec, "{text}");
    }
}

#[test]
fn what_is_no_spec_is_told_apart_by_its_part() {
    let text = |s: &str| String::from(s);
    for (spec, error) in [
        ("", Error::Malformed { spec: text("") }),
        (
            "aes--plain64",
            Error::Malformed {
                spec: text("aes--plain64"),
            },
        ),
        (
            "aes-xts-",
            Error::Malformed {
                spec: text("aes-xts-"),
            },
        ),
        (
            "aes xts",
            Error::Malformed {
                spec: text("aes xts"),
            },
        ),
        (
            "capi:xts(aes-plain64",
            Error::Malformed {
                spec: text("capi:xts(aes-plain64"),
            },
        ),
        (
            "capi:xts(aes)",
            Error::Malformed {
                spec: text("capi:xts(aes)"),
            },
        ),
        (
            "aegis128-random-x",
            Error::Malformed {
                spec: text("aegis128-random-x"),
            },
        ),
        (
            "des-xts-plain64",
            Error::UnknownCipher { name: text("des") },
        ),
        (
            "AES-xts-plain64",
            Error::UnknownCipher { name: text("AES") },
        ),
        (
            "xchacha8,aes-adiantum-plain64",
            Error::UnknownCipher {
                name: text("xchacha8,aes"),
            },
        ),
        ("aes-lrw-benbi", Error::UnknownMode { name: text("lrw") }),
        (
            "serpent-gcm-random",
            Error::UnknownMode { name: text("gcm") },
        ),
        (
            "aes-xts-plain65",
            Error::UnknownIv {
                name: text("plain65"),
            },
        ),
        (
            "aes-xts-PLAIN64",
            Error::UnknownIv {
                name: text("PLAIN64"),
            },
        ),
        ("aes-cbc-lmk", Error::RefusedIv { name: text("lmk") }),
        ("aes-cbc-tcw", Error::RefusedIv { name: text("tcw") }),
        (
            "aes-cbc-elephant",
            Error::RefusedIv {
                name: text("elephant"),
            },
        ),
        (
            "aes:64-cbc-plain",
            Error::MultiKey {
                spec: text("aes:64-cbc-plain"),
                keys: text("64"),
            },
        ),
        (
            "aes-xts",
            Error::Combination {
                spec: text("aes-xts"),
                why: "this mode needs an IV",
            },
        ),
        (
            "aes-xts-eboiv",
            Error::Combination {
                spec: text("aes-xts-eboiv"),
                why: "the IV eboiv is defined with cbc only",
            },
        ),
        (
            "aes-ctr-plain64",
            Error::Combination {
                spec: text("aes-ctr-plain64"),
                why: "ctr reuses its key stream unless the IV is random",
            },
        ),
        (
            "aes-cbc-essiv:sha257",
            Error::Hash(HashName::parse("sha257").unwrap_err()),
        ),
    ] {
        assert_eq!(CipherSpec::parse(spec), Err(error), "{spec}");
    }
}

#[test]
fn a_long_spec_is_refused_and_shortened_in_the_message() {
    let long = "a".repeat(MAX_SPEC_BYTES + 1);
    assert_eq!(
        CipherSpec::parse(&long),
        Err(Error::Malformed {
            spec: "a".repeat(MAX_SPEC_BYTES)
        })
    );
}

#[test]
fn areas_refuse_what_needs_tags() {
    for text in ["aes-gcm-random", "aes-xts-random", "aegis128-random"] {
        assert_eq!(
            CipherSpec::parse_for_area(text),
            Err(Error::Combination {
                spec: text.into(),
                why: "a keyslot area has no room for tags or stored IVs"
            })
        );
    }
    assert!(CipherSpec::parse("aes-xts-plain64").unwrap().serves_areas());
    assert!(!CipherSpec::parse("aes-xts-random").unwrap().serves_areas());
    assert!(!CipherSpec::parse("null").unwrap().serves_areas());
}

fn auth(cipher: &str, integrity: &str, mac: Option<usize>) -> Result<AuthSpec, Error> {
    AuthSpec::new(
        CipherSpec::parse(cipher)?,
        Integrity::parse(integrity)?,
        mac,
    )
}

#[test]
fn authenticated_specs_have_the_measured_sizes_and_kernel_strings() {
    // docs/formats/luks2.md, "Authenticated segments": what luksFormat makes.
    for (cipher, integrity, mac, key, tag, iv, kernel) in [
        (
            "aes-xts-plain64",
            "hmac(sha256)",
            None,
            96,
            32,
            0,
            "capi:authenc(hmac(sha256),xts(aes))-plain64",
        ),
        (
            "aes-xts-plain64",
            "hmac(sha512)",
            None,
            128,
            64,
            0,
            "capi:authenc(hmac(sha512),xts(aes))-plain64",
        ),
        (
            "aes-xts-plain64",
            "hmac(sha256)",
            Some(64),
            128,
            32,
            0,
            "capi:authenc(hmac(sha256),xts(aes))-plain64",
        ),
        (
            "aes-cbc-plain64",
            "hmac(sha1)",
            None,
            52,
            20,
            0,
            "capi:authenc(hmac(sha1),cbc(aes))-plain64",
        ),
        (
            "aes-cbc-essiv:sha256",
            "hmac(sha256)",
            None,
            64,
            32,
            0,
            "capi:authenc(hmac(sha256),cbc(aes))-essiv:sha256",
        ),
        (
            "aes-xts-random",
            "hmac(sha256)",
            None,
            96,
            32,
            16,
            "capi:authenc(hmac(sha256),xts(aes))-random",
        ),
        (
            "aes-ctr-random",
            "hmac(sha256)",
            None,
            64,
            32,
            16,
            "capi:authenc(hmac(sha256),ctr(aes))-random",
        ),
        (
            "aes-gcm-random",
            "aead",
            None,
            32,
            16,
            12,
            "capi:gcm(aes)-random",
        ),
        (
            "aes-gcm-plain64",
            "aead",
            None,
            32,
            16,
            0,
            "capi:gcm(aes)-plain64",
        ),
        (
            "chacha20-random",
            "poly1305",
            None,
            32,
            16,
            12,
            "capi:rfc7539(chacha20,poly1305)-random",
        ),
        (
            "chacha20-plain64",
            "poly1305",
            None,
            32,
            16,
            0,
            "capi:rfc7539(chacha20,poly1305)-plain64",
        ),
        (
            "aegis128-random",
            "aead",
            None,
            16,
            16,
            16,
            "capi:aegis128-random",
        ),
        (
            "aes-ccm-random",
            "aead",
            None,
            35,
            16,
            8,
            "capi:rfc4309(ccm(aes))-random",
        ),
        (
            "aes-xts-random",
            "none",
            None,
            64,
            0,
            16,
            "capi:xts(aes)-random",
        ),
    ] {
        let spec = auth(cipher, integrity, mac).unwrap();
        assert_eq!(spec.tag_bytes(), tag, "{cipher}");
        assert_eq!(spec.stored_iv_bytes(), iv, "{cipher}");
        assert_eq!(spec.tuple_bytes(), tag + iv, "{cipher}");
        assert_eq!(spec.kernel_string(), kernel);
        assert_eq!(spec.check_key_len(key), Ok(()), "{cipher}");
        assert!(spec.check_key_len(key + 1).is_err(), "{cipher}");
        let reuses = cipher == "aes-gcm-plain64" || cipher == "chacha20-plain64";
        assert_eq!(spec.reuses_nonces(), reuses, "{cipher}");
    }
}

#[test]
fn a_volume_key_without_the_hmac_part_is_refused_with_the_lengths_that_fit() {
    let spec = auth("aes-xts-plain64", "hmac(sha256)", None).unwrap();
    let error = spec.check_key_len(48).unwrap_err();
    assert_eq!(
        error.to_string(),
        "aes-xts-plain64 with an hmac key of 32 bytes needs a volume key of 64 or 80 or 96 bytes, \
         the key given has 48"
    );
}

#[test]
fn integrity_types_that_do_not_fit_the_cipher_are_refused() {
    for (cipher, integrity) in [
        ("aes-xts-plain64", "aead"),
        ("aes-xts-plain64", "none"),
        ("aes-gcm-random", "hmac(sha256)"),
        ("aes-gcm-random", "poly1305"),
        ("chacha20-random", "aead"),
        ("aes-cbc-eboiv", "hmac(sha256)"),
        ("aes-gcm-essiv:sha256", "aead"),
        ("null", "hmac(sha256)"),
        ("xchacha12,aes-adiantum-plain64", "hmac(sha256)"),
    ] {
        let error = auth(cipher, integrity, None).unwrap_err();
        assert!(
            matches!(error, Error::Combination { .. }),
            "{cipher}: {error}"
        );
    }
    for name in ["cmac(aes)", "phmac(sha256)", "hmac", "hmac(sha256", ""] {
        assert_eq!(
            Integrity::parse(name),
            Err(Error::UnknownIntegrity { name: name.into() })
        );
    }
}

#[test]
fn an_hmac_key_size_must_be_plausible() {
    for found in [0, 15, 513] {
        assert_eq!(
            auth("aes-xts-plain64", "hmac(sha256)", Some(found)),
            Err(Error::MacKeySize { found })
        );
    }
    assert_eq!(
        auth("aes-gcm-random", "aead", Some(32)),
        Err(Error::MacKeySize { found: 32 })
    );
}
