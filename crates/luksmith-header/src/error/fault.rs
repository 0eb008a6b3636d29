//! What can be wrong with one field of the LUKS2 metadata.

use core::fmt;

use super::Quoted;
use crate::json::ValueKind;

/// Which rule a field of the metadata breaks, with the value that breaks it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The field is missing.
    Missing,
    /// The field has another type.
    Type {
        /// What is expected.
        expected: &'static str,
        /// What was found.
        found: ValueKind,
    },
    /// A string is empty.
    Empty,
    /// An object's key is not made of digits.
    Key,
    /// A string does not hold a decimal number of 64 bits.
    Decimal {
        /// The string.
        found: Quoted,
    },
    /// An integer does not fit 32 bits without sign.
    Unsigned32 {
        /// The number's text.
        found: Quoted,
    },
    /// A number is zero.
    Zero,
    /// A number is no multiple.
    Multiple {
        /// The number.
        found: u64,
        /// What it must be a multiple of.
        of: u64,
    },
    /// A number is too large.
    TooLarge {
        /// The number.
        found: u64,
        /// The largest one allowed.
        max: u64,
    },
    /// A number is too small.
    TooSmall {
        /// The number.
        found: u64,
        /// The smallest one allowed.
        min: u64,
    },
    /// A word is not one of those allowed.
    Word {
        /// The word.
        found: Quoted,
        /// The words allowed.
        expected: &'static str,
    },
    /// A name refers to nothing.
    Reference {
        /// The name.
        name: Quoted,
        /// The object it should be found in.
        container: &'static str,
    },
    /// There is more than one re-encryption requirement.
    RequirementTwice,
    /// There is no segment at all.
    NoSegment,
    /// A regular segment stands behind a backup segment.
    RegularBehindBackup {
        /// The lowest backup id.
        backup: i64,
    },
    /// Segment ids are not 0, 1, 2 and so on.
    SegmentIds {
        /// The id that is missing.
        missing: usize,
    },
    /// There is no regular segment, or nothing but regular ones where backups are.
    SegmentCount,
    /// A segment that is not the last has no fixed size.
    DynamicNotLast,
    /// Two things share bytes.
    Overlap {
        /// The other one's key.
        other: Quoted,
    },
    /// An end is past 64 bits.
    Wraps {
        /// Where it starts.
        offset: u64,
        /// Its length.
        size: u64,
    },
    /// A crypt segment has no digest.
    NoDigest,
    /// A keyslot is not listed in exactly one digest.
    DigestCount {
        /// How many list it.
        found: usize,
    },
    /// A segment may not be dynamic.
    Dynamic,
    /// A re-encryption lacks a segment.
    ReencryptionLacks {
        /// What is missing.
        what: &'static str,
    },
    /// A segment of a re-encryption is neither like the old state nor like the new.
    ReencryptionMismatch,
    /// The keyslot area and the data share bytes, or the headers do.
    DataOffset {
        /// First byte of the data.
        data: u64,
        /// First byte that the data may take.
        needed: u64,
    },
    /// An area ends behind the keyslot area.
    AreaEnd {
        /// Its first byte.
        offset: u64,
        /// Its length.
        size: u64,
        /// End of the keyslot area.
        end: u64,
    },
    /// The metadata take more bytes than their area has.
    TextTooLong {
        /// Length of the text.
        found: usize,
        /// Length of the area.
        max: u64,
    },
    /// `json_size` does not agree with the binary header.
    JsonSize {
        /// What it says.
        found: u64,
        /// What the binary header asks for.
        expected: u64,
    },
    /// An object has members that its type does not have.
    Members {
        /// How many it has.
        found: usize,
        /// How many its type has.
        expected: usize,
    },
    /// A number is not a power of two.
    PowerOfTwo {
        /// The number.
        found: u64,
    },
    /// A member that does not belong here.
    UnknownMember,
    /// An array is not a lowest and a highest number.
    Range,
    /// A string is not base64.
    Base64,
    /// A string is not hexadecimal.
    Hex,
    /// Decoded bytes have the wrong length.
    Length {
        /// Bytes found.
        found: usize,
        /// What is expected.
        expected: &'static str,
    },
}

impl fmt::Display for Fault {
    // A table: one message per fault.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the field is missing"),
            Self::Type { expected, found } => write!(f, "found {found}, {expected} is expected"),
            Self::Empty => f.write_str("the string is empty"),
            Self::Key => f.write_str("the key must be made of digits"),
            Self::Decimal { found } => {
                write!(f, "\"{found}\" is not a decimal number below 2^64")
            }
            Self::Unsigned32 { found } => write!(f, "{found} is not between 0 and 2^32 - 1"),
            Self::Zero => f.write_str("0 is not allowed"),
            Self::Multiple { found, of } => write!(f, "{found} is not a multiple of {of}"),
            Self::TooLarge { found, max } => write!(f, "{found} is above {max}"),
            Self::TooSmall { found, min } => write!(f, "{found} is below {min}"),
            Self::Word { found, expected } => write!(f, "\"{found}\", {expected} is expected"),
            Self::Reference { name, container } => {
                write!(f, "\"{name}\" is not in {container}")
            }
            Self::RequirementTwice => {
                f.write_str("more than one re-encryption requirement is listed")
            }
            Self::NoSegment => f.write_str("at least one segment is needed"),
            Self::RegularBehindBackup { backup } => {
                write!(f, "a regular segment follows backup segment {backup}")
            }
            Self::SegmentIds { missing } => {
                write!(f, "segment ids must count up from 0, {missing} is missing")
            }
            Self::SegmentCount => f.write_str("there is no regular segment"),
            Self::DynamicNotLast => {
                f.write_str("only the last regular segment may have the size \"dynamic\"")
            }
            Self::Overlap { other } => write!(f, "shares bytes with \"{other}\""),
            Self::Wraps { offset, size } => {
                write!(f, "{size} bytes at byte {offset} end past 2^64")
            }
            Self::NoDigest => f.write_str("no digest lists this crypt segment"),
            Self::DigestCount { found } => {
                write!(f, "{found} digests list this keyslot, exactly one must")
            }
            Self::Dynamic => f.write_str("\"dynamic\" is not allowed for this type"),
            Self::ReencryptionLacks { what } => {
                write!(f, "a re-encryption needs {what}, there is none")
            }
            Self::ReencryptionMismatch => f.write_str(
                "type, encryption or sector size match neither side of the re-encryption",
            ),
            Self::DataOffset { data, needed } => write!(
                f,
                "the data start at byte {data}, headers and keyslot area need {needed} bytes"
            ),
            Self::AreaEnd { offset, size, end } => write!(
                f,
                "{size} bytes at byte {offset} end behind the keyslot area, which ends at {end}"
            ),
            Self::TextTooLong { found, max } => {
                write!(f, "the metadata take {found} bytes, their area has {max}")
            }
            Self::JsonSize { found, expected } => write!(
                f,
                "{found} does not agree with hdr_size, which asks for {expected}"
            ),
            Self::Members { found, expected } => {
                write!(f, "{found} members, this type has exactly {expected}")
            }
            Self::PowerOfTwo { found } => write!(f, "{found} is not a power of two"),
            Self::UnknownMember => f.write_str("unknown here"),
            Self::Range => f.write_str("a number, or [lowest, highest] is expected"),
            Self::Base64 => f.write_str("the string is not base64 with padding"),
            Self::Hex => f.write_str("the string is not pairs of hexadecimal digits"),
            Self::Length { found, expected } => {
                write!(f, "{found} bytes, {expected} are expected")
            }
        }
    }
}
