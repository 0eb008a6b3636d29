use std::{format, string::String, vec, vec::Vec};

use luksmith_block::ByteLen;

use super::*;

/// Fails to compile when a variant is added: number it here and list it below.
fn number(error: &Error) -> usize {
    match error {
        Error::PassphraseLength { .. } => 0,
        #[cfg(feature = "std")]
        Error::PassphraseRead { .. } => 1,
        Error::OutOfMemory { .. } => 2,
        Error::Random => 3,
        Error::Cancelled => 4,
        Error::AfLength { .. } => 5,
        Error::Header { .. } => 6,
        Error::NoIterations { .. } => 7,
        Error::Argon2Cost { .. } => 8,
        Error::AreaKeyBytes { .. } => 9,
        Error::Hash { .. } => 10,
        Error::SaltLength { .. } => 11,
        Error::DigestLength { .. } => 12,
        Error::KeyLength { .. } => 13,
        Error::DigestMismatch { .. } => 14,
        Error::Cipher { .. } => 15,
        Error::Device { .. } => 16,
        Error::AreaMisaligned { .. } => 17,
        Error::UnknownKdf { .. } => 18,
        Error::KeyslotType { .. } => 19,
        Error::NullCipher { .. } => 20,
        Error::NullCipherPassphrase { .. } => 21,
        Error::NoDigest { .. } => 22,
        Error::KeyLengthUnknown { .. } => 23,
        Error::NoSuchKeyslot { .. } => 24,
        Error::NoKeyslotOpened { .. } => 25,
        Error::NoDigestMatched { .. } => 26,
        Error::CostRange { .. } => 27,
        Error::NoClock => 28,
        Error::Requirement { .. } => 29,
        Error::OtherKey { .. } => 30,
        Error::LastKeyslot { .. } => 31,
        Error::NoRoomToChange { .. } => 32,
        Error::Backup { .. } => 33,
        Error::HeaderChanged => 34,
        Error::Luks1Feature => 35,
        Error::Luks1Kdf { .. } => 36,
        Error::OwnKeyUnbound => 37,
    }
}

const VARIANTS: usize = 38;

fn report() -> Report {
    use crate::unlock::{Outcome, Skip, Subject};

    let mut report = Report::default();
    report.note(Subject::Keyslot(0), Outcome::Wrong);
    report.note(
        Subject::Keyslot(1),
        Outcome::Failed(Error::KeyslotType { keyslot: 1 }),
    );
    for skip in [
        Skip::Priority,
        Skip::OtherKey,
        Skip::Type,
        Skip::NoPassphrase,
    ] {
        report.note(Subject::Keyslot(2), Outcome::Skipped(skip));
    }
    report.note(Subject::NamelessKeyslot(3), Outcome::Skipped(Skip::Name));
    report.note(Subject::Digest(0), Outcome::Opened);
    report
}

#[cfg(feature = "std")]
fn of_keys() -> Vec<Error> {
    let user = KdfUser::Keyslot(3);
    vec![
        Error::PassphraseLength {
            found: 0,
            limit: 8_388_608,
        },
        Error::PassphraseRead {
            failure: IoFailure::UnexpectedEnd,
        },
        Error::OutOfMemory { bytes: 1024 },
        Error::Random,
        Error::Cancelled,
        Error::AfLength {
            material: 100,
            key: 64,
        },
        Error::Header {
            source: luksmith_header::Error::NotLuks,
        },
        Error::NoIterations { user },
        Error::Argon2Cost {
            user,
            passes: 4,
            memory_kib: 31,
            lanes: 4,
        },
        Error::AreaKeyBytes { user, found: 0 },
        Error::Hash {
            user,
            source: HashName::parse("crc32").unwrap_err(),
        },
        Error::SaltLength {
            user: KdfUser::Digest(0),
            found: 31,
        },
        Error::DigestLength {
            digest: 0,
            found: 19,
            hash: HashName::Sha256,
        },
        Error::KeyLength {
            digest: 0,
            found: 32,
            expected: 64,
        },
    ]
}

#[cfg(feature = "std")]
fn of_unlocking() -> Vec<Error> {
    let user = KdfUser::Keyslot(3);
    vec![
        Error::DigestMismatch { digest: 0 },
        Error::Cipher {
            keyslot: 3,
            source: luksmith_crypt::CipherSpec::parse_for_area("nix-xts-plain64").unwrap_err(),
        },
        Error::Device {
            keyslot: 3,
            source: luksmith_block::Error::PastEnd {
                at: ByteOffset::new(32768),
                len: ByteLen::new(256_000),
                size: ByteLen::new(4096),
            },
        },
        Error::AreaMisaligned {
            keyslot: 3,
            offset: ByteOffset::new(32769),
        },
        Error::UnknownKdf {
            user,
            name: luksmith_header::Quoted::new("scrypt\n"),
        },
        Error::KeyslotType { keyslot: 3 },
        Error::NullCipher { keyslot: 3 },
        Error::NullCipherPassphrase { keyslot: 3 },
        Error::NoDigest { keyslot: 3 },
        Error::KeyLengthUnknown { digest: 0 },
        Error::NoSuchKeyslot { keyslot: 3 },
        Error::NoKeyslotOpened { report: report() },
        Error::NoDigestMatched {
            report: Report::default(),
        },
    ]
}

#[cfg(feature = "std")]
fn of_changes() -> Vec<Error> {
    vec![
        Error::CostRange {
            what: "PBKDF2 iterations",
            found: 999,
            min: 1000,
            max: u32::MAX,
        },
        Error::NoClock,
        Error::Requirement {
            word: luksmith_header::Quoted::new("online-reencrypt-v2"),
        },
        Error::OtherKey { keyslot: 3 },
        Error::LastKeyslot { keyslot: 3 },
        Error::NoRoomToChange {
            keyslot: 3,
            source: luksmith_header::Error::NoFreeObject {
                what: "keyslot",
                count: 8,
            },
        },
        Error::Backup {
            source: luksmith_block::Error::ReadOnly,
        },
        Error::HeaderChanged,
        Error::Luks1Feature,
        Error::Luks1Kdf {
            keyslot: 3,
            hash: HashName::Sha1,
        },
        Error::OwnKeyUnbound,
    ]
}

#[cfg(feature = "std")]
#[test]
fn every_message_is_on_record() {
    let errors = [of_keys(), of_unlocking(), of_changes()].concat();
    let listed: Vec<usize> = errors.iter().map(number).collect();
    assert_eq!(listed, (0..VARIANTS).collect::<Vec<_>>());
    let text: String = errors.iter().map(|error| format!("{error}\n")).collect();
    assert_eq!(text, include_str!("../../tests/messages.txt"), "\n{text}");
}
