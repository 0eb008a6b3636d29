//! Every error message, rendered, is kept in `messages.txt`, with its kind.

use luksmith::block::ByteLen;
use luksmith::header::{Quoted, luks2::Requirement};
use luksmith::{Error, Found, Violation};
use luksmith_testkit::check_messages;

/// One value per variant, in the order of the source.
fn every_error() -> Vec<Error> {
    vec![
        Error::Header {
            source: luksmith::header::Error::NotLuks,
        },
        Error::Keyslot {
            source: luksmith::keyslot::Error::NoSuchKeyslot { keyslot: 7 },
        },
        Error::Cipher {
            segment: 0,
            source: luksmith::crypt::Error::NullCipher {
                spec: "cipher_null-ecb".into(),
            },
        },
        Error::Integrity {
            source: luksmith::integrity::Error::NotFormatted,
        },
        Error::Device {
            source: luksmith::block::Error::Busy,
        },
        Error::Policy {
            violation: Violation {
                field: "segments.0.encryption".into(),
                found: "cipher_null-ecb".into(),
                expected: "aes-xts-plain64".into(),
            },
        },
        Error::Requirement {
            requirement: Requirement::InlineHwTags,
        },
        Error::SegmentCount { count: 3 },
        Error::SegmentType {
            segment: 0,
            found: Quoted::new("linear"),
        },
        Error::SegmentFlag {
            segment: 0,
            flag: Quoted::new("in-reencryption"),
        },
        Error::IvTweak {
            segment: 0,
            found: 8,
        },
        Error::SegmentSectorSize {
            segment: 0,
            found: 8192,
        },
        Error::SegmentOffset {
            segment: 0,
            found: 100,
        },
        Error::IntegrityJournal {
            segment: 0,
            field: "journal_encryption",
            found: Quoted::new("ctr(aes)"),
        },
        Error::DeviceTooSmall {
            segment: 0,
            offset: 16_777_216,
            needed: 512,
            size: ByteLen::new(1_048_576),
        },
        Error::SegmentSize {
            segment: 0,
            segment_bytes: 4096,
            provided_bytes: 8192,
        },
        Error::IntegrityRequired,
        Error::FixedSize {
            segment: 0,
            len: ByteLen::new(4096),
        },
        Error::NotSmaller {
            device: ByteLen::new(2 << 20),
            room: ByteLen::new(1 << 20),
            size: ByteLen::new(4096),
        },
        Error::FormatOption {
            option: "cipher",
            found: "cipher_null-ecb".into(),
            rule: "a volume that is not encrypted is never made",
        },
        Error::AlreadyFormatted {
            found: Found::Luks(2),
        },
        Error::DmWord {
            what: "the UUID",
            found: "x\n0 9 zero".into(),
        },
        Error::HeaderRoom {
            needed: ByteLen::new(16_777_216),
            size: ByteLen::new(1_048_576),
        },
        Error::VolumeRoom {
            needed: ByteLen::new(16_781_312),
            size: ByteLen::new(1 << 20),
        },
        Error::StreamLength {
            announced: ByteLen::new(8192),
            found: ByteLen::new(8000),
        },
        Error::Footer {
            problem: "its JSON is malformed",
        },
        Error::NoUsableToken,
        Error::NoTokenOpened {
            tokens: 2,
            kind: luksmith::ErrorKind::WrongKey,
            source: None,
        },
        Error::NothingToVerify,
        Error::InitStopped {
            next: luksmith::block::ByteOffset::new(8_388_608),
            cause: Box::new(Error::Device {
                source: luksmith::block::Error::Cancelled,
            }),
        },
        Error::LazyVolume { action: "grow" },
        Error::Stream {
            what: "writing the plaintext",
            source: std::io::Error::new(std::io::ErrorKind::StorageFull, "no space left"),
        },
    ]
}

#[test]
fn every_variant_has_its_message_in_the_list() {
    let source = include_str!("../src/error.rs");
    let kind = |error: &Error| Some(error.kind().to_string());
    check_messages(source, &every_error(), kind, include_str!("messages.txt"));
}
