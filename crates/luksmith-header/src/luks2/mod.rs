//! LUKS2: two copies of a binary header with JSON metadata behind each, and keyslot areas.
//!
//! # Format
//! docs/formats/luks2.md.

mod binary;
mod create;
mod edit;
mod metadata;
pub(crate) mod node;
mod pair;
mod repair;
mod requirement;
mod validate;
mod views;
mod write;

use core::fmt;

pub use binary::{BINARY_HEADER_BYTES, BinaryHeader};
pub use create::{
    DEFAULT_ALIGNMENT, LayoutOptions, NewIntegrity, NewLayout, NewSegment, initial_metadata,
};
pub use edit::{
    Draft, MAX_CREATED, MAX_CREATED_DIGESTS, NewDigest, NewKdf, NewKeyslot, STRIPES, area_bytes,
};
pub use metadata::Metadata;
pub use pair::{Candidate, Copy, Header, Pair, read};
pub use repair::RepairPlan;
pub use requirement::Requirement;
pub use write::write;

/// Longest label or subsystem, in bytes.
pub const MAX_LABEL_BYTES: usize = 47;

/// Longest keyslot area, in bytes.
pub const MAX_KEYSLOTS_AREA_BYTES: u64 = 128 * 1024 * 1024;

/// Which of the two header copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The copy at byte 0.
    Primary,
    /// The copy behind it.
    Secondary,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        })
    }
}

/// The length of one header copy: 16 KiB doubled up to 4 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderSize {
    bytes: u32,
}

impl HeaderSize {
    /// The smallest one, which is also the default.
    pub const MIN: Self = Self { bytes: 16 * 1024 };
    /// The largest one.
    pub const MAX: Self = Self {
        bytes: 4 * 1024 * 1024,
    };

    /// Gives all nine, ascending. They are also the offsets at which a secondary copy can lie.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..9_u32).map(|power| Self {
            bytes: Self::MIN.bytes << power,
        })
    }

    /// Finds the size of this many bytes.
    #[must_use]
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        Self::all().find(|size| u64::from(size.bytes) == bytes)
    }

    pub(crate) fn from_json_bytes(bytes: u64) -> Option<Self> {
        Self::from_bytes(bytes.checked_add(4096)?)
    }

    /// Gives the number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        // Widening; `u64::from` is not const.
        self.bytes as u64
    }

    /// Gives the length of the JSON area.
    #[must_use]
    pub const fn json_bytes(self) -> u64 {
        self.bytes().saturating_sub(4096)
    }
}
