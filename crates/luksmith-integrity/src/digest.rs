//! Digests by the names that dm-integrity tables use: checksums, hashes and HMACs.

use core::fmt;

use luksmith_hash::{Hash, HashName, HmacKey, MAX_DIGEST_BYTES};
use zeroize::ZeroizeOnDrop;

use crate::Error;

/// Longest key that is taken, in bytes; what the tools accept.
const MAX_KEY_BYTES: usize = 4096;

/// Which digest makes tags or section MACs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DigestName {
    /// CRC-32 over the reflected polynomial, start 0 and no final inversion, as dm-integrity has
    /// it.
    Crc32,
    /// CRC-32C with the usual start and final inversion.
    Crc32c,
    /// XXH64 with seed 0.
    XxHash64,
    /// A cryptographic hash without key.
    Hash(HashName),
    /// HMAC over a cryptographic hash.
    Hmac(HashName),
}

impl DigestName {
    /// Finds the digest that a name means: `crc32c`, `sha256`, `hmac(sha256)` or `hmac-sha256`.
    ///
    /// # Errors
    /// [`Error::Digest`] if the name is not known here.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let lower = name.to_ascii_lowercase();
        let inner = lower
            .strip_prefix("hmac(")
            .and_then(|rest| rest.strip_suffix(')'))
            .or_else(|| lower.strip_prefix("hmac-"));
        match (lower.as_str(), inner) {
            ("crc32", _) => Ok(Self::Crc32),
            ("crc32c", _) => Ok(Self::Crc32c),
            ("xxhash64", _) => Ok(Self::XxHash64),
            (_, Some(inner)) => HashName::parse(inner).map(Self::Hmac),
            (plain, None) => HashName::parse(plain).map(Self::Hash),
        }
        .map_err(|source| Error::Digest { source })
    }

    /// Gives the bytes of one digest: 4 to 64.
    #[must_use]
    pub const fn digest_bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::XxHash64 => 8,
            Self::Hash(name) | Self::Hmac(name) => name.digest_bytes(),
        }
    }

    /// Tells whether the digest has a key, so that it detects more than accidents.
    #[must_use]
    pub const fn is_keyed(self) -> bool {
        matches!(self, Self::Hmac(_))
    }
}

impl fmt::Display for DigestName {
    /// Prints the name as device-mapper tables have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crc32 => f.write_str("crc32"),
            Self::Crc32c => f.write_str("crc32c"),
            Self::XxHash64 => f.write_str("xxhash64"),
            Self::Hash(name) => name.fmt(f),
            Self::Hmac(name) => write!(f, "hmac({name})"),
        }
    }
}

/// A digest with its key, if it has one, expanded once.
pub(crate) struct Digester(Kind);

#[expect(
    clippy::large_enum_variant,
    reason = "one value per open device, never in a collection"
)]
enum Kind {
    Crc32,
    Crc32c,
    XxHash64,
    Hash(HashName),
    Hmac(HmacKey),
}

/// Only compiles for types that wipe themselves.
pub(crate) const fn wiped<T: ZeroizeOnDrop>() {}

// The one kind that has a key.
const _: () = wiped::<HmacKey>();
impl ZeroizeOnDrop for Digester {}

/// One digest, padded with zeros behind its length.
pub(crate) type DigestBuffer = [u8; MAX_DIGEST_BYTES];

impl Digester {
    pub(crate) fn new(name: DigestName, key: Option<&[u8]>) -> Result<Self, Error> {
        let kind = match (name, key) {
            (DigestName::Hmac(hash), Some(key)) => {
                if key.is_empty() || key.len() > MAX_KEY_BYTES {
                    return Err(Error::DigestKeyLength {
                        name,
                        found: key.len(),
                        limit: MAX_KEY_BYTES,
                    });
                }
                Kind::Hmac(HmacKey::new(hash, key))
            }
            (DigestName::Hmac(_), None) => return Err(Error::DigestKeyMissing { name }),
            (_, Some(_)) => return Err(Error::DigestKeyUnexpected { name }),
            (DigestName::Crc32, None) => Kind::Crc32,
            (DigestName::Crc32c, None) => Kind::Crc32c,
            (DigestName::XxHash64, None) => Kind::XxHash64,
            (DigestName::Hash(hash), None) => Kind::Hash(hash),
        };
        Ok(Self(kind))
    }

    pub(crate) fn name(&self) -> DigestName {
        match &self.0 {
            Kind::Crc32 => DigestName::Crc32,
            Kind::Crc32c => DigestName::Crc32c,
            Kind::XxHash64 => DigestName::XxHash64,
            Kind::Hash(name) => DigestName::Hash(*name),
            Kind::Hmac(key) => DigestName::Hmac(key.name()),
        }
    }

    /// Gives the digest of `parts`, one after the other, with zeros behind it.
    pub(crate) fn digest(&self, parts: &[&[u8]]) -> DigestBuffer {
        const OUT: &str = "the slice has the digest's length";
        let mut out = [0; MAX_DIGEST_BYTES];
        let bytes = self.name().digest_bytes();
        let slice = out.get_mut(..bytes).expect("no digest exceeds the buffer");
        match &self.0 {
            Kind::Crc32 => slice.copy_from_slice(&raw_crc32(parts).to_le_bytes()),
            Kind::Crc32c => {
                let crc = parts
                    .iter()
                    .fold(0, |crc, part| luksmith_simd::crc32c_append(crc, part));
                slice.copy_from_slice(&crc.to_le_bytes());
            }
            Kind::XxHash64 => {
                let mut state = xxhash_rust::xxh64::Xxh64::new(0);
                for part in parts {
                    state.update(part);
                }
                slice.copy_from_slice(&state.digest().to_le_bytes());
            }
            Kind::Hash(name) => Hash::digest(*name, parts, slice).expect(OUT),
            Kind::Hmac(key) => key.mac(parts, slice).expect(OUT),
        }
        out
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digester({})", self.name())
    }
}

/// CRC-32 as dm-integrity has it: the register starts at 0 and is not inverted at the end.
///
/// `crc32fast` inverts on both sides, so its initial value is the inverse of the register's.
fn raw_crc32(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(u32::MAX);
    for part in parts {
        hasher.update(part);
    }
    !hasher.finalize()
}
