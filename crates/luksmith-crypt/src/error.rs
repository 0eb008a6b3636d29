//! What can be wrong with a specification, a key or a request.

use alloc::string::String;
use core::fmt;

use luksmith_block::SectorSize;

/// Why a cipher could not be made or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A specification is not written as one.
    #[error(
        "cipher {spec:?} is not written as cipher-mode-iv or capi:name(cipher)-iv in printable \
         ASCII of at most 128 bytes"
    )]
    Malformed {
        /// The specification, shortened.
        spec: String,
    },
    /// No cipher has this name.
    #[error(
        "cipher {name:?} is not supported; supported are aes, serpent, twofish, camellia, aria, \
         sm4, kuznyechik, chacha20, aegis128, xchacha12,aes and xchacha20,aes"
    )]
    UnknownCipher {
        /// The name, shortened.
        name: String,
    },
    /// No mode of this cipher has this name.
    #[error(
        "mode {name:?} is not supported for this cipher; xts, cbc, ecb, ctr and, with aes, gcm \
         and ccm exist"
    )]
    UnknownMode {
        /// The name, shortened.
        name: String,
    },
    /// No IV has this name.
    #[error(
        "IV {name:?} is not supported; supported are plain, plain64, plain64be, essiv:hash, null, \
         benbi, eboiv and random"
    )]
    UnknownIv {
        /// The name, shortened.
        name: String,
    },
    /// The IV belongs to another disk format.
    #[error(
        "IV {name:?} belongs to Loop-AES, old TrueCrypt or BitLocker volumes; LUKS never uses it"
    )]
    RefusedIv {
        /// The name, shortened.
        name: String,
    },
    /// Several keys used in turn.
    #[error("cipher {spec:?} takes {keys:?} keys in turn; LUKS volumes have one key")]
    MultiKey {
        /// The specification.
        spec: String,
        /// How many keys it asks for.
        keys: String,
    },
    /// The parts of a specification do not go together.
    #[error("cipher {spec:?}: {why}")]
    Combination {
        /// The specification.
        spec: String,
        /// What does not fit.
        why: &'static str,
    },
    /// The integrity type of a segment is not known.
    #[error("integrity type {name:?} is not supported; none, aead, poly1305 and hmac(hash) exist")]
    UnknownIntegrity {
        /// The name, shortened.
        name: String,
    },
    /// A cipher is known, but not part of this build.
    #[error(
        "cipher {cipher} is not part of this build; build luksmith-crypt with the feature \
         \"{feature}\""
    )]
    NotBuiltIn {
        /// The cipher.
        cipher: &'static str,
        /// The Cargo feature that adds it.
        feature: &'static str,
    },
    /// The null cipher was named without asking for it.
    #[error(
        "cipher {spec:?} leaves the data unencrypted; opening such a volume has to be asked for \
         by name"
    )]
    NullCipher {
        /// The specification.
        spec: String,
    },
    /// A hash cannot be used.
    #[error(transparent)]
    Hash(#[from] luksmith_hash::Error),
    /// The digest of an ESSIV hash is no key of the cipher.
    #[error("IV essiv:{hash}: its digest of {digest} bytes is no key of {cipher}")]
    EssivKey {
        /// The hash.
        hash: luksmith_hash::HashName,
        /// Bytes of its digest.
        digest: usize,
        /// The block cipher.
        cipher: &'static str,
    },
    /// A key has a length that the cipher does not take.
    #[error("{spec} takes a key of {} bytes, the key given has {found}", Lengths { accepted, plus: 0 })]
    KeyLength {
        /// The specification.
        spec: String,
        /// Bytes of the key.
        found: usize,
        /// Lengths that the cipher takes.
        accepted: &'static [usize],
    },
    /// A volume key is not exactly as long as cipher and HMAC need.
    #[error(
        "{spec} with an hmac key of {mac} bytes needs a volume key of {} bytes, the key given has \
         {found}",
        Lengths { accepted, plus: *mac }
    )]
    VolumeKeyLength {
        /// The specification.
        spec: String,
        /// Bytes of the volume key.
        found: usize,
        /// Lengths that the cipher takes, without the HMAC's key.
        accepted: &'static [usize],
        /// Bytes of the HMAC's key.
        mac: usize,
    },
    /// An HMAC key size that no volume has.
    #[error("integrity key size {found}: it must be 16 to 512 bytes, and stand with an hmac only")]
    MacKeySize {
        /// Bytes asked for.
        found: usize,
    },
    /// The layer below keeps tuples of another size than the cipher makes.
    #[error("{spec} makes tuples of {expected} bytes, the device keeps {found} beside each block")]
    TupleBytes {
        /// The specification.
        spec: String,
        /// Bytes that the device keeps.
        found: usize,
        /// Bytes that the cipher makes.
        expected: usize,
    },
    /// The layer below has another block size.
    #[error("the sectors to encrypt have {expected} bytes, the device's blocks {found}")]
    BlockSize {
        /// The device's block size.
        found: SectorSize,
        /// The segment's sector size.
        expected: SectorSize,
    },
    /// The device cannot hold whole sectors.
    #[error(
        "the device below has sectors of {found} bytes, the volume's {expected} do not fit them"
    )]
    DeviceSector {
        /// The device's sector size.
        found: SectorSize,
        /// The segment's sector size.
        expected: SectorSize,
    },
    /// The device below says that it has more bytes than 64 bits can count.
    #[error("the device below says that it has {blocks} blocks, which is more than 2^64 bytes")]
    TooLarge {
        /// Blocks of the device.
        blocks: u64,
    },
    /// Writing would use a nonce twice.
    #[error(
        "{spec} uses each sector's nonce again when it is overwritten, which gives the \
         authentication key away; such volumes are opened read-only"
    )]
    NonceReuse {
        /// The specification.
        spec: String,
    },
    /// Tags were asked for over ciphertext that the cipher did not make.
    #[error(
        "{spec}: tags over given ciphertext can be made for an hmac without stored IVs only; \
         initialise such a volume by writing zeros through it"
    )]
    TagsOverGivenCiphertext {
        /// The specification.
        spec: String,
    },
    /// Data are not whole sectors.
    #[error("data of {found} bytes are not whole sectors of {sector_size} bytes")]
    PartialSector {
        /// Bytes given.
        found: usize,
        /// Size of a sector.
        sector_size: SectorSize,
    },
    /// Two slices given to one call do not belong together.
    #[error("{what} has {found} bytes, these data need {expected}")]
    Length {
        /// Which argument.
        what: &'static str,
        /// Bytes given.
        found: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// The random generator failed.
    #[error("the random generator gave no bytes for the IVs")]
    Random,
}

struct Lengths<'a> {
    accepted: &'a [usize],
    plus: usize,
}

impl fmt::Display for Lengths<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, len) in self.accepted.iter().enumerate() {
            if at > 0 {
                f.write_str(" or ")?;
            }
            write!(f, "{}", len + self.plus)?;
        }
        Ok(())
    }
}
