//! The names: which text means which hash, and what the hash's sizes are.

use core::fmt;

use crate::{Error, NameText};

/// Bytes of the longest digest here.
pub const MAX_DIGEST_BYTES: usize = 64;

macro_rules! names {
    ($($(#[cfg(feature = $feature:literal)])? $variant:ident = $name:literal,
        $digest:literal, $block:literal, $aliases:expr;)+) => {
        /// A hash, chosen by the name that a header gives it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum HashName {
            $(
                $(#[cfg(feature = $feature)])?
                #[doc = concat!("`", $name, "`: ", stringify!($digest), "-byte digests.")]
                $variant,
            )+
        }

        impl HashName {
            /// Every hash of this build.
            pub const ALL: &'static [Self] = &[$($(#[cfg(feature = $feature)])? Self::$variant),+];

            /// Gives the usual name, in lower case as cryptsetup writes it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($(#[cfg(feature = $feature)])? Self::$variant => $name,)+
                }
            }

            /// Gives the length of a digest in bytes, at most [`MAX_DIGEST_BYTES`].
            #[must_use]
            pub const fn digest_bytes(self) -> usize {
                match self {
                    $($(#[cfg(feature = $feature)])? Self::$variant => $digest,)+
                }
            }

            /// Gives the length of a block in bytes: HMAC hashes longer keys first.
            #[must_use]
            pub const fn block_bytes(self) -> usize {
                match self {
                    $($(#[cfg(feature = $feature)])? Self::$variant => $block,)+
                }
            }
        }

        fn find(text: &[u8]) -> Result<HashName, Error> {
            $(
                $(#[cfg(feature = $feature)])?
                if is_one_of(text, $name, &$aliases) {
                    return Ok(HashName::$variant);
                }
                $(
                    #[cfg(not(feature = $feature))]
                    if is_one_of(text, $name, &$aliases) {
                        return Err(Error::NotBuiltIn { name: $name, feature: $feature });
                    }
                )?
            )+
            Err(Error::UnknownName { name: NameText::new(text) })
        }
    };
}

names! {
    Sha1 = "sha1", 20, 64, ["sha-1", "ssl3-sha1"];
    Sha224 = "sha224", 28, 64, ["sha-224", "sha2-224"];
    Sha256 = "sha256", 32, 64, ["sha-256", "sha2-256"];
    Sha384 = "sha384", 48, 128, ["sha-384", "sha2-384"];
    Sha512 = "sha512", 64, 128, ["sha-512", "sha2-512"];
    Sha512_224 = "sha512-224", 28, 128, ["sha-512/224", "sha2-512/224"];
    Sha512_256 = "sha512-256", 32, 128, ["sha-512/256", "sha2-512/256"];
    #[cfg(feature = "md5")] Md5 = "md5", 16, 64, ["ssl3-md5"];
    #[cfg(feature = "sha3")] Sha3_224 = "sha3-224", 28, 144, [];
    #[cfg(feature = "sha3")] Sha3_256 = "sha3-256", 32, 136, [];
    #[cfg(feature = "sha3")] Sha3_384 = "sha3-384", 48, 104, [];
    #[cfg(feature = "sha3")] Sha3_512 = "sha3-512", 64, 72, [];
    #[cfg(feature = "blake2")] Blake2b512 = "blake2b-512", 64, 128, ["blake2b512"];
    #[cfg(feature = "blake2")] Blake2s256 = "blake2s-256", 32, 64, ["blake2s256"];
    #[cfg(feature = "ripemd")]
    Ripemd160 = "ripemd160", 20, 64, ["ripemd-160", "ripemd", "rmd160"];
    #[cfg(feature = "whirlpool")] Whirlpool = "whirlpool", 64, 64, ["wp512"];
    #[cfg(feature = "sm3")] Sm3 = "sm3", 32, 64, [];
    #[cfg(feature = "streebog")]
    Streebog256 = "streebog256", 32, 64, ["stribog256", "streebog-256"];
    #[cfg(feature = "streebog")]
    Streebog512 = "streebog512", 64, 64, ["stribog512", "streebog-512"];
}

impl HashName {
    /// Finds the hash that `name` means, in any letter case.
    ///
    /// # Errors
    /// [`Error::UnknownName`], also for names with anything around them and for hashes without a
    /// fixed digest length (shake128); [`Error::NotBuiltIn`].
    ///
    /// # Format
    /// LUKS2 headers name hashes as the crypto library does; `SHA256` and `sha2-256` are measured
    /// to be accepted, `"sha256 "` and `shake128` to be refused.
    pub fn parse(name: &str) -> Result<Self, Error> {
        find(name.as_bytes())
    }

    /// Like [`parse`](Self::parse), for names from binary headers: no byte after them, not even a
    /// zero.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_bytes(name: &[u8]) -> Result<Self, Error> {
        find(name)
    }
}

impl fmt::Display for HashName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_one_of(text: &[u8], name: &str, aliases: &[&str]) -> bool {
    text.eq_ignore_ascii_case(name.as_bytes())
        || aliases
            .iter()
            .any(|alias| text.eq_ignore_ascii_case(alias.as_bytes()))
}
