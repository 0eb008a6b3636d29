//! Every error message, rendered, is kept in `messages.txt`.

use luksmith_block::SectorSize;
use luksmith_crypt::{CipherSpec, Error};
use luksmith_hash::HashName;
use luksmith_testkit::check_messages;

/// One value per variant, in the order of the source.
fn every_error() -> Vec<Error> {
    let text = |text: &str| String::from(text);
    let xts = CipherSpec::parse("aes-xts-plain64").expect("a spec");
    vec![
        Error::Malformed {
            spec: text("aes--plain64"),
        },
        Error::UnknownCipher { name: text("des") },
        Error::UnknownMode { name: text("lrw") },
        Error::UnknownIv {
            name: text("plain65"),
        },
        Error::RefusedIv { name: text("lmk") },
        Error::MultiKey {
            spec: text("aes:64-cbc-lmk"),
            keys: text("64"),
        },
        CipherSpec::parse("aes-xts").expect_err("an IV is missing"),
        Error::UnknownIntegrity {
            name: text("cmac(aes)"),
        },
        Error::NotBuiltIn {
            cipher: "serpent",
            feature: "serpent",
        },
        Error::NullCipher {
            spec: text("cipher_null-ecb"),
        },
        Error::Hash(HashName::parse("sha257").expect_err("no such hash")),
        Error::EssivKey {
            hash: HashName::Sha1,
            digest: 20,
            cipher: "aes",
        },
        Error::KeyLength {
            spec: text("aes-xts-plain64"),
            found: 96,
            accepted: xts.key_lengths(),
        },
        Error::VolumeKeyLength {
            spec: text("aes-xts-plain64"),
            found: 64,
            accepted: xts.key_lengths(),
            mac: 32,
        },
        Error::MacKeySize { found: 8 },
        Error::TupleBytes {
            spec: text("aes-gcm-random"),
            found: 16,
            expected: 28,
        },
        Error::BlockSize {
            found: SectorSize::S512,
            expected: SectorSize::S4096,
        },
        Error::DeviceSector {
            found: SectorSize::S4096,
            expected: SectorSize::S512,
        },
        Error::TooLarge { blocks: u64::MAX },
        Error::NonceReuse {
            spec: text("aes-gcm-plain64"),
        },
        Error::TagsOverGivenCiphertext {
            spec: text("aes-gcm-random"),
        },
        Error::PartialSector {
            found: 4608,
            sector_size: SectorSize::S4096,
        },
        Error::Length {
            what: "the destination",
            found: 512,
            expected: 4096,
        },
        Error::Random,
    ]
}

#[test]
fn every_variant_has_its_message_in_the_list() {
    let source = include_str!("../src/error.rs");
    check_messages(
        source,
        &every_error(),
        |_| None,
        include_str!("messages.txt"),
    );
}
