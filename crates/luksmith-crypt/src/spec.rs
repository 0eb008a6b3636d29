//! Cipher specifications as headers and device-mapper tables spell them.

mod algorithm;
mod authenticated;
mod parse;

use alloc::string::String;
use core::fmt;

use luksmith_hash::HashName;

pub use algorithm::{Algorithm, BlockCipher, ChaChaRounds};
pub use authenticated::{AuthSpec, Integrity};

use crate::Error;

/// Longest specification that is looked at, in bytes.
///
/// The longest that any tool writes has under 60; a header may hold whatever an attacker likes.
pub const MAX_SPEC_BYTES: usize = 128;

/// How the IV of a sector is made.
///
/// # Format
/// docs/formats/luks2.md, "IVs". `n` is the sector number in 512-byte units, `iv_tweak` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IvKind {
    /// The low 32 bits of `n`, little endian, then zeros.
    Plain,
    /// `n` in 64 bits, little endian, then zeros.
    Plain64,
    /// Zeros, then `n` in 64 bits, big endian.
    Plain64Be,
    /// `n` encrypted under the hash of the key.
    Essiv(HashName),
    /// Zeros.
    Null,
    /// Zeros, then the number of the first cipher block, counted from one, in 64 bits, big endian.
    Benbi,
    /// The byte position encrypted under the data's own key.
    Eboiv,
    /// Fresh random bytes at each write, stored beside the sector.
    Random,
}

impl fmt::Display for IvKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Plain64 => f.write_str("plain64"),
            Self::Plain64Be => f.write_str("plain64be"),
            Self::Essiv(hash) => write!(f, "essiv:{hash}"),
            Self::Null => f.write_str("null"),
            Self::Benbi => f.write_str("benbi"),
            Self::Eboiv => f.write_str("eboiv"),
            Self::Random => f.write_str("random"),
        }
    }
}

/// A cipher, its mode and its IV, parsed.
///
/// ```
/// use luksmith_crypt::{Algorithm, BlockCipher, CipherSpec, IvKind};
///
/// let spec = CipherSpec::parse("aes-xts-plain64")?;
/// assert_eq!(spec.algorithm(), Algorithm::Xts(BlockCipher::Aes));
/// assert_eq!(spec.iv(), Some(IvKind::Plain64));
/// assert_eq!(spec, CipherSpec::parse("capi:xts(aes)-plain64")?);
/// assert_eq!(spec.to_string(), "aes-xts-plain64");
/// # Ok::<(), luksmith_crypt::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CipherSpec {
    algorithm: Algorithm,
    iv: Option<IvKind>,
}

impl CipherSpec {
    /// Puts a specification together.
    ///
    /// # Errors
    /// [`Error::Combination`] if the cipher and the IV do not go together.
    pub fn new(algorithm: Algorithm, iv: Option<IvKind>) -> Result<Self, Error> {
        let spec = Self { algorithm, iv };
        match spec.conflict() {
            Some(why) => Err(Error::Combination {
                spec: spec.text(),
                why,
            }),
            None => Ok(spec),
        }
    }

    /// Parses a specification as a LUKS2 segment, a LUKS1 header (cipher, `-`, mode) or a
    /// device-mapper table writes it, the `capi:` form included.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::UnknownCipher`], [`Error::UnknownMode`],
    /// [`Error::UnknownIv`], [`Error::RefusedIv`], [`Error::MultiKey`], [`Error::Combination`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse::segment(text)
    }

    /// Parses a specification as a keyslot area names it: there IV names are not case-sensitive,
    /// and what needs tags is refused.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); [`Error::Combination`] for what cannot encrypt an area.
    pub fn parse_for_area(text: &str) -> Result<Self, Error> {
        let spec = parse::area(text)?;
        if spec.needs_tags() {
            return Err(Error::Combination {
                spec: text.into(),
                why: "a keyslot area has no room for tags or stored IVs",
            });
        }
        Ok(spec)
    }

    /// Gives the cipher and its mode.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Gives the IV, `None` where the mode takes none.
    #[must_use]
    pub const fn iv(&self) -> Option<IvKind> {
        self.iv
    }

    /// Tells whether this leaves the data as they are.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self.algorithm, Algorithm::Null)
    }

    /// Tells whether this works only where a tuple is stored beside each sector.
    #[must_use]
    pub fn needs_tags(&self) -> bool {
        self.algorithm.is_aead() || self.iv == Some(IvKind::Random)
    }

    /// Tells whether cryptsetup would use this cipher for keyslot areas too.
    ///
    /// Where it would not, areas get `aes-xts-plain64` with a 64-byte key.
    #[must_use]
    pub fn serves_areas(&self) -> bool {
        !self.is_null() && !self.needs_tags()
    }

    /// Gives the key lengths in bytes that the cipher accepts, ascending; `[0]` for the null
    /// cipher.
    #[must_use]
    pub const fn key_lengths(&self) -> &'static [usize] {
        self.algorithm.key_lengths()
    }

    /// Checks the length of a key for this cipher alone.
    ///
    /// # Errors
    /// [`Error::KeyLength`].
    pub fn check_key_len(&self, len: usize) -> Result<(), Error> {
        // The null cipher ignores its key, whatever its length.
        if self.is_null() || self.key_lengths().contains(&len) {
            return Ok(());
        }
        Err(Error::KeyLength {
            spec: self.text(),
            found: len,
            accepted: self.key_lengths(),
        })
    }

    pub(crate) const fn null() -> Self {
        Self {
            algorithm: Algorithm::Null,
            iv: None,
        }
    }

    pub(crate) fn text(&self) -> String {
        alloc::format!("{self}")
    }

    fn conflict(&self) -> Option<&'static str> {
        let iv = self.iv;
        match self.algorithm {
            Algorithm::Null => None,
            Algorithm::Ecb(_) if iv.is_some() => Some("ecb takes no IV"),
            Algorithm::Ecb(_) => None,
            _ if iv.is_none() => Some("this mode needs an IV"),
            _ if iv == Some(IvKind::Eboiv) && !matches!(self.algorithm, Algorithm::Cbc(_)) => {
                Some("the IV eboiv is defined with cbc only")
            }
            _ if iv == Some(IvKind::Benbi) && self.algorithm.block_cipher().is_none() => {
                Some("the IV benbi counts blocks of a block cipher")
            }
            Algorithm::Ctr(_) if iv != Some(IvKind::Random) => {
                Some("ctr reuses its key stream unless the IV is random")
            }
            _ => None,
        }
    }
}

impl fmt::Display for CipherSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.algorithm.fmt(f)?;
        match &self.iv {
            Some(iv) => write!(f, "-{iv}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
