//! Digests, HMAC and PBKDF2 against other implementations and the standards' own values.

use std::num::NonZeroU32;

use luksmith_hash::{Error, Hash, HashName, Hmac, HmacKey, MAX_DIGEST_BYTES, pbkdf2};

const OPENSSL: &str = include_str!("../../../testvectors/kdf/openssl-hashes.txt");

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("vectors are ASCII");
            u8::from_str_radix(pair, 16).expect("vectors are hexadecimal")
        })
        .collect()
}

fn digest(name: HashName, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![0; name.digest_bytes()];
    Hash::digest(name, parts, &mut out).expect("the buffer fits");
    out
}

fn mac(name: HashName, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![0; name.digest_bytes()];
    HmacKey::new(name, key)
        .mac(parts, &mut out)
        .expect("the buffer fits");
    out
}

fn derive(name: HashName, password: &[u8], salt: &[u8], iterations: u32, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    let iterations = NonZeroU32::new(iterations).expect("tests ask for one or more");
    pbkdf2(name, password, salt, iterations, &mut out).expect("short enough");
    out
}

fn pattern(len: usize) -> Vec<u8> {
    (0_u8..251).cycle().take(len).collect()
}

#[test]
fn every_hash_gives_the_digests_macs_and_keys_of_openssl() {
    let long = pattern(1000);
    let key: Vec<u8> = (0..200).collect();
    let mut seen = 0;
    for line in OPENSSL.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let name = match HashName::parse(fields[0]) {
            Ok(name) => name,
            Err(Error::NotBuiltIn { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(digest(name, &[b"abc"]), unhex(fields[1]), "{name} abc");
        assert_eq!(digest(name, &[&long]), unhex(fields[2]), "{name} long");
        assert_eq!(
            mac(name, &key[..20], &[&long]),
            unhex(fields[3]),
            "{name} mac"
        );
        assert_eq!(
            mac(name, &key, &[b"abc"]),
            unhex(fields[4]),
            "{name} long key"
        );
        let once = derive(name, b"password", b"saltsalt", 1, 70);
        assert_eq!(once, unhex(fields[5]), "{name} pbkdf2 once");
        let often = derive(name, b"password", b"saltsalt", 37, 100);
        assert_eq!(often, unhex(fields[6]), "{name} pbkdf2");
        seen += 1;
    }
    let streebog = HashName::ALL
        .iter()
        .filter(|name| name.as_str().starts_with("streebog"))
        .count();
    assert_eq!(seen + streebog, HashName::ALL.len());
    println!("{seen} hashes checked against OpenSSL");
}

#[cfg(feature = "streebog")]
#[test]
fn streebog_gives_the_values_of_rfc_6986_and_rfc_7836() {
    let message = b"012345678901234567890123456789012345678901234567890123456789012";
    assert_eq!(
        digest(HashName::Streebog256, &[message]),
        unhex("9d151eefd8590b89daa6ba6cb74af9275dd051026bb149a452fd84e5e57b5500")
    );
    assert_eq!(
        digest(HashName::Streebog512, &[message]),
        unhex(
            "1b54d01a4af5b9d5cc3d86d68d285462b19abc2475222f35c085122be4ba1ffa\
             00ad30f8767b3a82384c6574f024c311e2a481332b08ef7f41797891c1646f48"
        )
    );
    let key: Vec<u8> = (0..32).collect();
    let text = unhex("0126bdb87800af214341456563780100");
    assert_eq!(
        mac(HashName::Streebog256, &key, &[&text]),
        unhex("a1aa5f7de402d7b3d323f2991c8d4534013137010a83754fd0af6d7cd4922ed9")
    );
    assert_eq!(
        mac(HashName::Streebog512, &key, &[&text]),
        unhex(
            "a59bab22ecae19c65fbde6e5f4e9f5d8549d31f037f9df9b905500e171923a77\
             3d5f1530f2ed7e964cb2eedc29e9ad2f3afe93b2814f79f5000ffc0366c251e6"
        )
    );
}

#[test]
fn hmac_gives_the_values_of_rfc_2202_and_rfc_4231() {
    assert_eq!(
        mac(
            HashName::Sha1,
            b"Jefe",
            &[b"what do ya want ", b"for nothing?"]
        ),
        unhex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")
    );
    assert_eq!(
        mac(
            HashName::Sha256,
            b"Jefe",
            &[b"what do ya want for nothing?"]
        ),
        unhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    );
    // Test case 6: a key longer than a block.
    assert_eq!(
        mac(
            HashName::Sha256,
            &[0xaa; 131],
            &[b"Test Using Larger Than Block-Size Key - Hash Key First"]
        ),
        unhex("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
    );
}

#[test]
fn pbkdf2_gives_the_values_of_rfc_6070_and_rfc_7914() {
    assert_eq!(
        derive(HashName::Sha1, b"password", b"salt", 4096, 20),
        unhex("4b007901b765489abead49d926f721d065a429c1")
    );
    assert_eq!(
        derive(HashName::Sha1, b"pass\0word", b"sa\0lt", 4096, 16),
        unhex("56fa6aa75548099dcc37d7f03425e0c3")
    );
    assert_eq!(
        derive(HashName::Sha256, b"passwd", b"salt", 1, 64),
        unhex(
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc\
             49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"
        )
    );
}

#[test]
fn key_lengths_around_the_block_agree_with_the_hmac_and_pbkdf2_crates() {
    use hmac::{Hmac as Oracle, KeyInit as _, Mac as _};

    for key_len in [0, 1, 63, 64, 65, 127, 128, 129, 1000] {
        let key = pattern(key_len);
        let mut oracle = Oracle::<sha2::Sha512>::new_from_slice(&key).unwrap();
        oracle.update(b"message");
        let expected = oracle.finalize().into_bytes();
        assert_eq!(mac(HashName::Sha512, &key, &[b"message"]), *expected);

        let mut expected = [0; 130];
        pbkdf2::pbkdf2_hmac::<sha2::Sha256>(&key, b"salt", 3, &mut expected);
        assert_eq!(derive(HashName::Sha256, &key, b"salt", 3, 130), expected);
    }
}

#[test]
fn a_message_in_pieces_is_the_message() {
    let message = pattern(700);
    for &name in HashName::ALL {
        let whole = digest(name, &[&message]);
        for cut in [0, 1, name.block_bytes() - 1, name.block_bytes(), 699] {
            let (head, tail) = message.split_at(cut);
            assert_eq!(
                digest(name, &[head, &[], tail]),
                whole,
                "{name} cut at {cut}"
            );
            let key = HmacKey::new(name, b"key");
            let mut run: Hmac = key.begin();
            run.update(head);
            run.update(tail);
            let mut pieces = vec![0; name.digest_bytes()];
            run.finish(&mut pieces).unwrap();
            assert_eq!(
                pieces,
                mac(name, b"key", &[&message]),
                "{name} mac cut at {cut}"
            );
        }
    }
}

#[test]
fn a_key_and_the_same_key_with_zeros_behind_it_make_one_mac() {
    for &name in HashName::ALL {
        let mut padded = vec![0; name.block_bytes()];
        padded[..3].copy_from_slice(b"key");
        assert_eq!(mac(name, &padded, &[b"m"]), mac(name, b"key", &[b"m"]));
        padded.push(0);
        assert_ne!(mac(name, &padded, &[b"m"]), mac(name, b"key", &[b"m"]));
    }
}

#[test]
fn verify_tells_a_wrong_mac_and_a_short_one_apart() {
    let key = HmacKey::new(HashName::Sha256, b"key");
    let mut tag = [0; 32];
    key.mac(&[b"m"], &mut tag).unwrap();
    assert_eq!(key.verify(&[b"m"], &tag), Ok(()));
    for bit in 0..256 {
        let mut wrong = tag;
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(key.verify(&[b"m"], &wrong), Err(Error::MacMismatch));
    }
    assert_eq!(
        key.verify(&[b"m"], &tag[..31]),
        Err(Error::DigestLength {
            name: "sha256",
            found: 31,
            expected: 32
        })
    );
}

#[test]
fn a_digest_only_goes_into_a_buffer_of_its_length() {
    for &name in HashName::ALL {
        assert!(name.digest_bytes() <= MAX_DIGEST_BYTES);
        for wrong in [0, name.digest_bytes() - 1, name.digest_bytes() + 1] {
            let expected = Err(Error::DigestLength {
                name: name.as_str(),
                found: wrong,
                expected: name.digest_bytes(),
            });
            assert_eq!(Hash::digest(name, &[], &mut vec![0; wrong]), expected);
            let key = HmacKey::new(name, b"");
            assert_eq!(key.mac(&[], &mut vec![0; wrong]), expected);
            assert_eq!(key.begin().finish(&mut vec![0; wrong]), expected);
        }
    }
}
