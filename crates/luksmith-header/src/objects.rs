//! Keyslots, digests, segments and tokens as values, the same for both versions of the format.
//!
//! A header that cryptsetup accepts can hold objects that nobody can use: a salt that is no base64,
//! a digest of two bytes, a kdf that is not known. They are kept here as they are, so that they can
//! be looked at; the accessors that unlocking needs give the error.

use alloc::{string::String, vec::Vec};

use luksmith_block::{ByteLen, ByteOffset};
use luksmith_hash::HashName;

use crate::{
    Error,
    error::{Fault, JsonPath},
};

/// Bytes that stand in the metadata as base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    bytes: Result<Vec<u8>, Fault>,
    path: JsonPath,
}

impl Blob {
    pub(crate) const fn new(bytes: Result<Vec<u8>, Fault>, path: JsonPath) -> Self {
        Self { bytes, path }
    }

    /// Gives the decoded bytes.
    ///
    /// # Errors
    /// [`Error::Field`] with [`Fault::Type`] or [`Fault::Base64`] for what could not be decoded.
    pub fn bytes(&self) -> Result<&[u8], Error> {
        match &self.bytes {
            Ok(bytes) => Ok(bytes),
            Err(fault) => self.fail(fault.clone()),
        }
    }

    /// Gives the decoded bytes of a salt, which are 32 in number.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and [`Error::Field`] with [`Fault::Length`].
    pub fn salt(&self) -> Result<&[u8; 32], Error> {
        let bytes = self.bytes()?;
        match bytes.try_into() {
            Ok(salt) => Ok(salt),
            Err(_) => self.fail(Fault::Length {
                found: bytes.len(),
                expected: "32",
            }),
        }
    }

    fn fail<T>(&self, fault: Fault) -> Result<T, Error> {
        Err(Error::Field {
            path: self.path.clone(),
            fault,
        })
    }
}

/// When a keyslot is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Only when asked for by its number.
    Ignore,
    /// In its turn.
    Normal,
    /// Before the normal ones.
    Prefer,
    /// A value that means nothing: only when asked for by its number.
    Other(i32),
}

/// Which of the two Argon2 variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Argon2Variant {
    /// Argon2i
    I,
    /// Argon2id
    Id,
}

/// How a passphrase becomes an area key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kdf {
    /// PBKDF2 with HMAC.
    Pbkdf2 {
        /// Name of the hash, as it stands.
        hash: String,
        /// Iterations.
        iterations: u32,
        /// Salt.
        salt: Blob,
    },
    /// Argon2, version 0x13.
    Argon2 {
        /// The variant.
        variant: Argon2Variant,
        /// Time cost.
        passes: u32,
        /// Memory cost in KiB.
        memory_kib: u32,
        /// Lanes.
        lanes: u32,
        /// Salt.
        salt: Blob,
    },
    /// Something that is not known.
    Unknown {
        /// Its name.
        kind: String,
    },
}

impl Kdf {
    /// Gives the name as it stands in a header: `pbkdf2`, `argon2i`, `argon2id` or the unknown one.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Pbkdf2 { .. } => "pbkdf2",
            Self::Argon2 {
                variant: Argon2Variant::I,
                ..
            } => "argon2i",
            Self::Argon2 {
                variant: Argon2Variant::Id,
                ..
            } => "argon2id",
            Self::Unknown { kind } => kind,
        }
    }
}

/// How a key is spread over its area.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AntiForensic {
    /// Name of the hash, as it stands.
    pub hash: String,
    /// Stripes as they stand. 4000 are always used, whatever stands here.
    pub stripes: u32,
}

/// Where a keyslot's key material lies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Area {
    /// `raw` for keys; re-encryption has others.
    pub kind: String,
    /// First byte on the header device.
    pub offset: ByteOffset,
    /// Length in bytes.
    pub len: ByteLen,
    /// Cipher of the area, as `aes-xts-plain64`.
    pub encryption: Option<String>,
    /// Length of the area key in bytes.
    pub key_bytes: Option<u32>,
}

/// What a keyslot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyslotKind {
    /// A key behind a passphrase. LUKS1 keyslots are of this kind too.
    Luks2 {
        /// Passphrase to area key.
        kdf: Kdf,
        /// Area to key.
        af: AntiForensic,
    },
    /// The working area of a re-encryption.
    Reencrypt {
        /// `reencrypt`, `encrypt` or `decrypt`.
        mode: String,
        /// `forward` or `backward`.
        direction: String,
    },
    /// Something that is not known.
    Unknown,
}

/// A keyslot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keyslot {
    /// The key under which it stands.
    pub key: String,
    /// Its id, unless the key spells none in canonical form.
    pub id: Option<u32>,
    /// Its type as it stands.
    pub type_name: String,
    /// Length of the key it holds, in bytes.
    pub key_bytes: u32,
    /// When it is tried.
    pub priority: Priority,
    /// Where its material lies.
    pub area: Area,
    /// What it holds.
    pub kind: KeyslotKind,
}

/// A digest: what tells the right key from a wrong one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Digest {
    /// The key under which it stands.
    pub key: String,
    /// Its id, unless the key spells none in canonical form.
    pub id: Option<u32>,
    /// `pbkdf2`, or a type that is not known.
    pub type_name: String,
    /// Ids of the keyslots that hold its key.
    pub keyslots: Vec<u32>,
    /// Ids of the segments that its key opens.
    pub segments: Vec<u32>,
    /// Name of the hash, if there is one.
    pub hash: Option<String>,
    /// Iterations, if there are any.
    pub iterations: Option<u32>,
    /// Salt, if there is one.
    pub salt: Option<Blob>,
    /// The digest's bytes, if there are any.
    pub digest: Option<Blob>,
    pub(crate) path: JsonPath,
}

/// A digest that can be verified: every part is there and has the right length.
#[derive(Clone, Copy, Debug)]
pub struct UsableDigest<'a> {
    /// The hash under HMAC.
    pub hash: HashName,
    /// Iterations, at least 1.
    pub iterations: u32,
    /// Salt.
    pub salt: &'a [u8; 32],
    /// What PBKDF2 must give: 20 bytes, or as many as the hash gives.
    pub digest: &'a [u8],
}

impl Digest {
    /// Gives the parts of a digest that can be verified.
    ///
    /// cryptsetup 2.8 takes a digest with a salt or a digest of a wrong length for a match,
    /// whatever
    /// the key; here such a digest never matches anything.
    ///
    /// # Errors
    /// [`Error::Field`] for what is missing or of a wrong length, [`Error::DigestHash`] for a hash
    /// that is not known.
    pub fn usable(&self) -> Result<UsableDigest<'_>, Error> {
        if self.type_name != "pbkdf2" {
            return self.fail(
                "type",
                Fault::Word {
                    found: crate::error::Quoted::new(&self.type_name),
                    expected: "\"pbkdf2\"",
                },
            );
        }
        let Some(hash) = &self.hash else {
            return self.fail("hash", Fault::Missing);
        };
        let hash = HashName::parse(hash).map_err(|source| Error::DigestHash {
            path: self.path.clone().member("hash"),
            source,
        })?;
        let iterations = match self.iterations {
            Some(0) => return self.fail("iterations", Fault::Zero),
            Some(iterations) => iterations,
            None => return self.fail("iterations", Fault::Missing),
        };
        let Some(salt) = &self.salt else {
            return self.fail("salt", Fault::Missing);
        };
        let salt = salt.salt()?;
        let Some(digest) = &self.digest else {
            return self.fail("digest", Fault::Missing);
        };
        let bytes = digest.bytes()?;
        if bytes.len() != 20 && (bytes.len() != hash.digest_bytes() || bytes.len() < 20) {
            return digest.fail(Fault::Length {
                found: bytes.len(),
                expected: "20, or as many as the hash gives,",
            });
        }
        Ok(UsableDigest {
            hash,
            iterations,
            salt,
            digest: bytes,
        })
    }

    fn fail<T>(&self, field: &str, fault: Fault) -> Result<T, Error> {
        Err(Error::Field {
            path: self.path.clone().member(field),
            fault,
        })
    }
}

/// Authenticated encryption of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Integrity {
    /// For example `hmac(sha256)` or `aead`.
    pub kind: String,
    /// Cipher of the integrity journal; cryptsetup maps only `none`.
    pub journal_encryption: String,
    /// MAC of the integrity journal; cryptsetup maps only `none`.
    pub journal_integrity: String,
    /// Length of the integrity key in bytes, where it is not the usual one.
    pub key_bytes: Option<u32>,
}

/// How a segment is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CryptParameters {
    /// Sector number of the first sector, in 512-byte sectors.
    pub iv_tweak: u64,
    /// Cipher, as `aes-xts-plain64`.
    pub encryption: String,
    /// Encryption sector size in bytes, as it stands: a multiple of 512.
    pub sector_size: u32,
    /// Authentication, if there is any.
    pub integrity: Option<Integrity>,
}

/// What a drive that encrypts by itself needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpalParameters {
    /// Number of the drive's locking range.
    pub segment_number: u32,
    /// Length of the drive's key in bytes.
    pub key_bytes: u32,
    /// Length of the locking range.
    pub len: ByteLen,
}

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SegmentKind {
    /// Encrypted data.
    Crypt,
    /// Data as they are: part of a re-encryption.
    Linear,
    /// Data encrypted by the drive.
    HwOpal,
    /// Data encrypted by the drive and once more.
    HwOpalCrypt,
    /// Something that is not known.
    Unknown,
}

/// A part of the data device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment {
    /// Its id.
    pub id: u32,
    /// What it holds.
    pub kind: SegmentKind,
    /// Its type as it stands.
    pub type_name: String,
    /// First byte on the data device.
    pub offset: ByteOffset,
    /// Length, or `None` for all the rest of the device.
    pub len: Option<ByteLen>,
    /// Encryption, for types that have it.
    pub crypt: Option<CryptParameters>,
    /// The drive's parameters, for types that have them.
    pub opal: Option<OpalParameters>,
    /// Flags as they stand.
    pub flags: Vec<String>,
}

impl Segment {
    /// Tells whether this only remembers a state of a re-encryption.
    #[must_use]
    pub fn is_backup(&self) -> bool {
        self.flags.iter().any(|flag| flag.starts_with("backup-"))
    }
}

/// A token: a note of some program, with the keyslots it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Token {
    /// The key under which it stands.
    pub key: String,
    /// Its id, unless the key spells none in canonical form.
    pub id: Option<u32>,
    /// Its type as it stands.
    pub type_name: String,
    /// Ids of its keyslots.
    pub keyslots: Vec<u32>,
}
