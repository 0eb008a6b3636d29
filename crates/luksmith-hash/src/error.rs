//! What can go wrong with a hash by name.

use core::fmt;

/// Why a hash could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No hash has this name, or it is one without a fixed digest length.
    #[error("hash \"{name}\" is not known; a fixed-length hash such as sha256 is needed")]
    UnknownName {
        /// The name as it was given, shortened.
        name: NameText,
    },
    /// The hash is known, but this build leaves it out.
    #[error(
        "hash {name} is not part of this build; build luksmith-hash with the feature \"{feature}\""
    )]
    NotBuiltIn {
        /// The hash's usual name.
        name: &'static str,
        /// The Cargo feature that adds it.
        feature: &'static str,
    },
    /// The buffer for a digest has the wrong length.
    #[error("the digest of {name} has {expected} bytes, the buffer given for it has {found}")]
    DigestLength {
        /// The hash's usual name.
        name: &'static str,
        /// Bytes of the buffer.
        found: usize,
        /// Bytes of the digest.
        expected: usize,
    },
    /// PBKDF2 cannot give this many bytes.
    #[error("pbkdf2 with {name} gives at most 2^32 - 1 digests, {requested} bytes are more")]
    Pbkdf2Length {
        /// The hash's usual name.
        name: &'static str,
        /// Bytes asked for.
        requested: usize,
    },
    /// A MAC is not the one expected.
    #[error("the MAC does not match the message")]
    MacMismatch,
}

/// A name from a header, as far as a message needs it: at most 40 bytes, printed escaped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NameText {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl NameText {
    /// Bytes kept.
    const MAX: usize = 40;

    pub(crate) fn new(text: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX];
        for (kept, &given) in bytes.iter_mut().zip(text) {
            *kept = given;
        }
        Self {
            bytes,
            len: text.len(),
        }
    }
}

impl fmt::Display for NameText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.bytes.get(..self.len).unwrap_or(&self.bytes);
        kept.escape_ascii().fmt(f)?;
        if self.len > Self::MAX {
            f.write_str("...")?;
        }
        Ok(())
    }
}

impl fmt::Debug for NameText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameText({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::{format, string::String};

    use super::*;
    use crate::HashName;

    /// Fails to compile when a variant is added: number it here and list it below.
    const fn number(error: &Error) -> usize {
        match error {
            Error::UnknownName { .. } => 0,
            Error::NotBuiltIn { .. } => 1,
            Error::DigestLength { .. } => 2,
            Error::Pbkdf2Length { .. } => 3,
            Error::MacMismatch => 4,
        }
    }

    #[test]
    fn every_message_is_on_record() {
        let long = b"a \"name\"\n\xff that is longer than any hash has ever been";
        let errors = [
            HashName::parse("shake128").expect_err("shake128 has no fixed length"),
            HashName::parse_bytes(long).expect_err("no hash has such a name"),
            Error::NotBuiltIn {
                name: "sm3",
                feature: "sm3",
            },
            Error::DigestLength {
                name: "sha256",
                found: 31,
                expected: 32,
            },
            Error::Pbkdf2Length {
                name: "sha1",
                requested: 1_000_000_000_000,
            },
            Error::MacMismatch,
        ];
        let mut seen = [false; 5];
        let mut text = String::new();
        for error in &errors {
            seen[number(error)] = true;
            text += &format!("{error}\n");
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(text, include_str!("../tests/messages.txt"));
    }
}
