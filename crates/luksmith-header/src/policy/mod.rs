//! Header policy: is this the header that was expected? Asked before any key is derived.
//!
//! A header read from a disk that somebody else controls can be valid and still be wrong: its
//! cipher
//! weaker, its integrity gone, its data elsewhere, a second keyslot added. A [`Policy`] judges a
//! header that was read into memory, field by field; nothing is read again afterwards.
//!
//! ```
//! use luksmith_header::policy::{Expectations, Policy, Profile};
//! # fn judge(header: &luksmith_header::Header) -> Result<(), luksmith_header::Error> {
//! let profile = Profile::built_in("secure-mount").expect("a profile of that name is built in");
//! let policy = Policy::pinned(profile);
//! policy.judge(header, &Expectations::default())?;
//! # Ok(())
//! # }
//! ```
//!
//! Profiles are data: [`Profile::parse`] reads a user's own. The format is described in
//! docs/formats/policy.md.

mod judge;
mod profile;

pub use judge::Violation;
pub use profile::{Allowed, KdfRule, Profile, Range};

use alloc::{boxed::Box, string::String, vec::Vec};

use crate::{Error, Header};

/// How strictly a header is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    /// Every header that can be read.
    Permissive,
    /// Every field that a profile names must match.
    Pinned(Box<Profile>),
}

/// What a header must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    level: Level,
    null_cipher: bool,
}

/// What the caller knows about the volume beforehand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expectations {
    /// The volume's UUID: without it, somebody can hand over another volume.
    pub uuid: Option<String>,
    /// The header stands beside the data, not before them.
    pub detached: bool,
    /// The data must be authenticated, even where the profile leaves that open.
    pub require_integrity: bool,
}

impl Policy {
    /// Accepts every header that can be read, but no null cipher.
    #[must_use]
    pub const fn permissive() -> Self {
        Self {
            level: Level::Permissive,
            null_cipher: false,
        }
    }

    /// Accepts headers that match a profile in every field that it names.
    #[must_use]
    pub fn pinned(profile: Profile) -> Self {
        Self {
            level: Level::Pinned(Box::new(profile)),
            null_cipher: false,
        }
    }

    /// Accepts null ciphers too: data and keyslots that are not encrypted at all.
    #[must_use]
    pub const fn with_null_cipher(mut self) -> Self {
        self.null_cipher = true;
        self
    }

    /// Gives the profile, if there is one.
    #[must_use]
    pub fn profile(&self) -> Option<&Profile> {
        match &self.level {
            Level::Permissive => None,
            Level::Pinned(profile) => Some(profile),
        }
    }

    /// Judges a header.
    ///
    /// # Errors
    /// [`Error::Policy`] with the first violation.
    pub fn judge(&self, header: &Header, expected: &Expectations) -> Result<(), Error> {
        match self.violations(header, expected).into_iter().next() {
            None => Ok(()),
            Some(violation) => Err(Error::Policy {
                field: violation.field,
                found: violation.found,
                expected: violation.expected,
            }),
        }
    }

    /// Gives every violation, in the order of the header.
    #[must_use]
    pub fn violations(&self, header: &Header, expected: &Expectations) -> Vec<Violation> {
        judge::violations(self.profile(), self.null_cipher, header, expected)
    }
}
