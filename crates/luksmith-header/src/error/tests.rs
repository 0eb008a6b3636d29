//! Every message is on record in tests/messages.txt.

use alloc::{
    boxed::Box,
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};

use luksmith_block::ByteLen;
use luksmith_hash::HashName;

use super::*;
use crate::{
    json::{SyntaxFault, ValueKind},
    limits::KdfUser,
};

/// Gives the variant's name. A new variant does not compile until it stands here, and then fails
/// the
/// test until there is an example.
macro_rules! variants {
    ($list:ident, $name:ident, $type:ident: $($variant:ident)+) => {
        const $list: &[&str] = &[$(stringify!($variant)),+];

        fn $name(value: &$type) -> &'static str {
            match value {
                $($type::$variant { .. } => stringify!($variant),)+
            }
        }
    };
}

variants! { ERRORS, error_name, Error:
    Device NotLuks UnsupportedVersion Luks1OldReencryption TooShort Magic CopyVersion CopyOffset
    CopySize HeaderBytes ChecksumHash Checksum Json JsonTail Field OlderCopy NoUsableCopy
    Overwritten
    Luks1Hash Luks1HashLength Luks1Stripes Luks1SlotOffset Luks1SlotInData Luks1SlotsOverlap
    Luks1KeyBytes DigestHash Argon2Memory Argon2Lanes Argon2Work Pbkdf2Iterations KeyBytes
    LabelLength Policy ProfileText Profile
    UuidText NoSuchObject ObjectInUse NewerDamagedCopy UnreadableCopy
    RestoreMismatch RestoreRequirement Convert
     ObjectId NoFreeObject NoAreaSpace MetadataFull ConcurrentUpdate
    Option Random
}

variants! { FAULTS, fault_name, Fault:
    Missing Type Empty Key Decimal Unsigned32 Zero Multiple TooLarge TooSmall Word Reference
    RequirementTwice NoSegment RegularBehindBackup SegmentIds SegmentCount DynamicNotLast Overlap
    Wraps
    NoDigest DigestCount Dynamic ReencryptionLacks ReencryptionMismatch DataOffset AreaEnd
    TextTooLong
    JsonSize Members PowerOfTwo UnknownMember Range Base64 Hex Length
}

variants! { SYNTAX, syntax_name, SyntaxFault:
    Unfinished Unexpected LeadingZero RawControl Escape NotUtf8 ZeroInKey TooDeep TooManyElements
}

// A table: one example per variant.
fn errors() -> Vec<Error> {
    let primary = Side::Primary;
    let at = ByteOffset::ZERO;
    let quoted = || Quoted::new("a\n\"b");
    let user = KdfUser::Keyslot(3);
    let unknown = || HashName::parse("crc32").unwrap_err();
    Vec::from([
        Error::Device {
            source: luksmith_block::Error::ReadOnly,
        },
        Error::NotLuks,
        Error::UnsupportedVersion { version: 3 },
        Error::Luks1OldReencryption,
        Error::too_short("a LUKS1 header", 0, 1024, ByteLen::new(512)),
        Error::Magic {
            side: primary,
            at,
            found: *b"LUKS\xba\xbf",
        },
        Error::CopyVersion {
            side: primary,
            at,
            found: 3,
        },
        Error::CopyOffset {
            side: Side::Secondary,
            at: ByteOffset::new(16384),
            found: 0,
        },
        Error::CopySize {
            side: primary,
            at,
            found: 1 << 45,
        },
        Error::HeaderBytes {
            side: primary,
            found: 4_194_304,
            limit: 65536,
        },
        Error::ChecksumHash {
            side: primary,
            at,
            source: unknown(),
        },
        Error::Checksum { side: primary, at },
        Error::JsonTail { at: 1175 },
        Error::OlderCopy {
            side: primary,
            found: 1,
            newer: 2,
        },
        Error::NoUsableCopy {
            primary: Box::new(Error::Checksum { side: primary, at }),
            secondary: Box::new(Error::JsonTail { at: 12 }),
        },
        Error::Overwritten {
            found: "swap space",
        },
        Error::Luks1Hash { source: unknown() },
        Error::Luks1HashLength {
            hash: "md5",
            bytes: 16,
        },
        Error::Luks1Stripes {
            slot: 1,
            at: ByteOffset::new(300),
            found: 4001,
        },
        Error::Luks1SlotOffset {
            slot: 1,
            at: ByteOffset::new(296),
            found: 1,
        },
        Error::Luks1SlotInData {
            slot: 7,
            found: 1800,
            sectors: 250,
            payload: 2048,
        },
        Error::Luks1SlotsOverlap {
            first: 0,
            first_at: 8,
            second: 1,
            second_at: 100,
        },
        Error::Luks1KeyBytes,
        Error::DigestHash {
            path: JsonPath::top().member("digests").member("0").member("hash"),
            source: unknown(),
        },
        Error::Argon2Memory {
            user,
            requested: 2_097_152,
            limit: 1_048_576,
        },
        Error::Argon2Lanes {
            user,
            requested: 17,
            limit: 16,
        },
        Error::Argon2Work {
            user,
            requested: 100,
            spent: 10,
            limit: 100,
        },
        Error::Pbkdf2Iterations {
            user: KdfUser::Digest(0),
            requested: 100,
            spent: 10,
            limit: 100,
        },
        Error::KeyBytes {
            user,
            requested: 5000,
            limit: 4096,
        },
        Error::Policy {
            field: JsonPath::top()
                .member("segments")
                .member("0")
                .member("sector_size"),
            found: Quoted::new("512"),
            expected: Quoted::new("4096"),
        },
        Error::ProfileText {
            source: SyntaxError {
                at: 3,
                fault: SyntaxFault::Unfinished,
            },
        },
        Error::Profile {
            path: JsonPath::top().member("keyslots").member("count"),
            fault: Fault::Range,
        },
        Error::LabelLength {
            field: "label",
            found: 48,
        },
        Error::UuidText { found: quoted() },
        Error::NoSuchObject {
            what: "keyslot",
            id: 5,
        },
        Error::ObjectInUse {
            what: "token",
            id: 5,
        },
        Error::ObjectId {
            what: "token",
            id: 32,
            max: 31,
        },
        Error::NoFreeObject {
            what: "keyslot",
            count: 32,
        },
        Error::NoAreaSpace { needed: 258_048 },
        Error::MetadataFull {
            needed: 13000,
            available: 12287,
        },
        Error::ConcurrentUpdate {
            expected: 4,
            found: 5,
        },
        Error::NewerDamagedCopy {
            side: Side::Secondary,
            claimed: 9,
            used: 4,
        },
        Error::UnreadableCopy {
            side: primary,
            used: 4,
        },
        Error::RestoreMismatch {
            field: "data offset",
            backup: 16_777_216,
            target: 2_097_152,
        },
        Error::RestoreRequirement {
            requirement: quoted(),
        },
        Error::Convert {
            version: 1,
            obstacle: "it has tokens",
        },
        Error::Option {
            option: "data offset",
            value: 4096,
            rule: "the two header copies do not fit before it",
        },
        Error::Random,
    ])
}

// A table: one example per fault.
fn faults() -> Vec<Fault> {
    let quoted = || Quoted::new("a\n\"b");
    Vec::from([
        Fault::Missing,
        Fault::Type {
            expected: "a string",
            found: ValueKind::Null,
        },
        Fault::Type {
            expected: "an object",
            found: ValueKind::Bool,
        },
        Fault::Type {
            expected: "an integer",
            found: ValueKind::Fraction,
        },
        Fault::Type {
            expected: "an array",
            found: ValueKind::Object,
        },
        Fault::Type {
            expected: "a string",
            found: ValueKind::Integer,
        },
        Fault::Type {
            expected: "a string",
            found: ValueKind::Array,
        },
        Fault::Type {
            expected: "an integer",
            found: ValueKind::String,
        },
        Fault::Empty,
        Fault::Key,
        Fault::Decimal { found: quoted() },
        Fault::Unsigned32 { found: quoted() },
        Fault::Zero,
        Fault::Multiple {
            found: 513,
            of: 512,
        },
        Fault::TooLarge { found: 9, max: 8 },
        Fault::TooSmall { found: 7, min: 8 },
        Fault::Word {
            found: quoted(),
            expected: "\"raw\"",
        },
        Fault::Reference {
            name: quoted(),
            container: "keyslots",
        },
        Fault::RequirementTwice,
        Fault::NoSegment,
        Fault::RegularBehindBackup { backup: 1 },
        Fault::SegmentIds { missing: 1 },
        Fault::SegmentCount,
        Fault::DynamicNotLast,
        Fault::Overlap { other: quoted() },
        Fault::Wraps {
            offset: u64::MAX,
            size: 512,
        },
        Fault::NoDigest,
        Fault::DigestCount { found: 0 },
        Fault::Dynamic,
        Fault::ReencryptionLacks {
            what: "a keyslot of type reencrypt",
        },
        Fault::ReencryptionMismatch,
        Fault::DataOffset {
            data: 1_048_576,
            needed: 16_777_216,
        },
        Fault::AreaEnd {
            offset: 32768,
            size: 262_144,
            end: 163_840,
        },
        Fault::TextTooLong {
            found: 13000,
            max: 12288,
        },
        Fault::JsonSize {
            found: 4096,
            expected: 12288,
        },
        Fault::Members {
            found: 5,
            expected: 4,
        },
        Fault::PowerOfTwo { found: 1536 },
        Fault::UnknownMember,
        Fault::Range,
        Fault::Base64,
        Fault::Hex,
        Fault::Length {
            found: 1,
            expected: "32",
        },
    ])
}

fn syntax_faults() -> Vec<SyntaxFault> {
    Vec::from([
        SyntaxFault::Unfinished,
        SyntaxFault::Unexpected {
            byte: b'/',
            expected: "a value",
        },
        SyntaxFault::LeadingZero,
        SyntaxFault::RawControl { byte: 10 },
        SyntaxFault::Escape,
        SyntaxFault::NotUtf8,
        SyntaxFault::ZeroInKey,
        SyntaxFault::TooDeep,
        SyntaxFault::TooManyElements { limit: 65536 },
    ])
}

#[test]
fn every_message_is_on_record() {
    let mut text = String::new();
    let mut seen = BTreeSet::new();
    let mut all = errors();
    all.extend(syntax_faults().into_iter().map(|fault| {
        seen.insert(syntax_name(&fault));
        Error::Json {
            source: SyntaxError { at: 17, fault },
        }
    }));
    all.extend(faults().into_iter().map(|fault| {
        seen.insert(fault_name(&fault));
        Error::Field {
            path: JsonPath::top().member("keyslots").member("0").index(2),
            fault,
        }
    }));
    for error in &all {
        seen.insert(error_name(error));
        text.push_str(&format!("{error}\n"));
    }
    let wanted: BTreeSet<&str> = [ERRORS, FAULTS, SYNTAX].concat().into_iter().collect();
    assert_eq!(seen, wanted);
    #[cfg(feature = "std")]
    if std::env::var("LUKSMITH_RECORD").is_ok_and(|what| what == "messages") {
        std::fs::write("tests/messages.txt", &text).unwrap();
    }
    let recorded = include_str!("../../tests/messages.txt").to_string();
    assert_eq!(text, recorded);
}
