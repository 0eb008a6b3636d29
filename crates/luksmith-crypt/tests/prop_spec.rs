//! Cipher specifications: what prints parses back to the same value, and nothing makes the parser
//! fall.

use luksmith_crypt::{AuthSpec, CipherSpec, Integrity};
use proptest::prelude::*;

/// Words that specifications are made of, and some that they are not.
fn word() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "aes",
        "serpent",
        "twofish",
        "capi:",
        "xts",
        "cbc",
        "ecb",
        "ctr",
        "gcm",
        "ccm",
        "plain",
        "plain64",
        "plain64be",
        "essiv:sha256",
        "essiv",
        "null",
        "benbi",
        "eboiv",
        "random",
        "aegis128",
        "chacha20",
        "xchacha12,aes",
        "adiantum",
        "cipher_null",
        "(",
        ")",
        ",",
        "hmac",
        "authenc",
        "rfc4309",
        "-",
        ":",
        "64",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "[ -~]{0,6}", 1 => "\\PC{0,3}"]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec((word(), prop::bool::ANY), 0..7).prop_map(|words| {
        let mut text = String::new();
        for (word, dash) in words {
            if dash && !text.is_empty() {
                text.push('-');
            }
            text.push_str(&word);
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_parses_prints_to_what_parses_to_the_same(text in text()) {
        let parsed = [CipherSpec::parse(&text), CipherSpec::parse_for_area(&text)];
        for spec in parsed.into_iter().flatten() {
            let printed = spec.to_string();
            prop_assert_eq!(CipherSpec::parse(&printed), Ok(spec), "{}", printed);
        }
    }

    #[test]
    fn an_authenticated_spec_needs_a_key_for_cipher_and_hmac(
        text in text(),
        kind in prop::sample::select(vec!["hmac(sha256)", "hmac(sha1)", "aead", "poly1305", "none"]),
        mac in prop::option::of(0_usize..600),
        len in 0_usize..700,
    ) {
        let Ok(cipher) = CipherSpec::parse(&text) else { return Ok(()) };
        let kind = Integrity::parse(kind).expect("a known type");
        let Ok(spec) = AuthSpec::new(cipher, kind, mac) else { return Ok(()) };
        let fits = len
            .checked_sub(spec.mac_key_bytes())
            .is_some_and(|len| cipher.key_lengths().contains(&len));
        prop_assert_eq!(spec.check_key_len(len).is_ok(), fits);
        prop_assert_eq!(spec.tuple_bytes(), spec.tag_bytes() + spec.stored_iv_bytes());
    }
}
