//! The digest: what tells a volume key from any other bytes.

use luksmith_hash::{HashName, MAX_DIGEST_BYTES};
use luksmith_header::KdfUser;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::{
    CandidateKey, Error, VolumeKey,
    kdf::{Effort, SALT_BYTES, pbkdf2, to_usize},
};

/// Bytes of the shortest digest, and of every LUKS1 digest.
pub const MIN_DIGEST_BYTES: usize = 20;

/// A PBKDF2 digest whose form is right: salt of 32 bytes, as many digest bytes as LUKS1 has or as
/// the hash gives.
///
/// A digest of another form cannot be made. A reader that skips the comparison for one (because
/// there is nothing to compare, say) takes any passphrase for the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyDigest {
    id: u32,
    hash: HashName,
    iterations: u32,
    salt: [u8; SALT_BYTES],
    digest: [u8; MAX_DIGEST_BYTES],
    digest_bytes: usize,
}

impl KeyDigest {
    /// Takes the digest of number `id`: its salt and its value, decoded.
    ///
    /// # Errors
    /// [`Error::SaltLength`] unless the salt has 32 bytes, [`Error::DigestLength`] unless the
    /// digest has 20 bytes or exactly the hash's (and 20 to 64 in any case),
    /// [`Error::NoIterations`].
    ///
    /// # Format
    /// docs/formats/keyslots.md, "Digests".
    pub fn new(
        id: u32,
        hash: HashName,
        iterations: u32,
        salt: &[u8],
        digest: &[u8],
    ) -> Result<Self, Error> {
        let user = KdfUser::Digest(id);
        let salt = salt.try_into().map_err(|_| Error::SaltLength {
            user,
            found: salt.len(),
        })?;
        let fits = digest.len() == MIN_DIGEST_BYTES || digest.len() == hash.digest_bytes();
        let mut kept = [0; MAX_DIGEST_BYTES];
        match kept.get_mut(..digest.len()) {
            Some(kept) if fits && digest.len() >= MIN_DIGEST_BYTES => kept.copy_from_slice(digest),
            _ => {
                return Err(Error::DigestLength {
                    digest: id,
                    found: digest.len(),
                    hash,
                });
            }
        }
        if iterations == 0 {
            return Err(Error::NoIterations { user });
        }
        Ok(Self {
            id,
            hash,
            iterations,
            salt,
            digest: kept,
            digest_bytes: digest.len(),
        })
    }

    /// Takes a digest as a header has it.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`Error::Header`] for what the header crate finds wrong with it.
    pub fn of_header(digest: &luksmith_header::Digest) -> Result<Self, Error> {
        let usable = digest.usable()?;
        // A digest under a name that is no number proves keys like any other; no number is its own.
        let id = digest.id.unwrap_or(u32::MAX);
        Self::new(
            id,
            usable.hash,
            usable.iterations,
            usable.salt,
            usable.digest,
        )
    }

    /// Makes the digest of a volume key, as long as the hash's digests.
    ///
    /// # Errors
    /// [`Error::NoIterations`], [`Error::DigestLength`] for a hash too short for a digest (md5),
    /// [`Error::Header`] for a limit, [`Error::Cancelled`].
    pub fn of(
        key: &VolumeKey,
        id: u32,
        hash: HashName,
        iterations: u32,
        salt: &[u8; SALT_BYTES],
        digest_bytes: usize,
        effort: &mut Effort<'_>,
    ) -> Result<Self, Error> {
        let blank = [0; MAX_DIGEST_BYTES];
        let blank = blank.get(..digest_bytes).unwrap_or(&[]);
        let mut made = Self::new(id, hash, iterations, salt, blank)?;
        let mut digest = [0; MAX_DIGEST_BYTES];
        let out = digest.get_mut(..digest_bytes).unwrap_or_default();
        made.compute(key.expose(), out, effort)?;
        made.digest = digest;
        Ok(made)
    }

    /// Gives the digest's number.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Gives the hash of its PBKDF2.
    #[must_use]
    pub const fn hash(&self) -> HashName {
        self.hash
    }

    /// Gives the iterations of its PBKDF2.
    #[must_use]
    pub const fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Gives its salt.
    #[must_use]
    pub const fn salt(&self) -> &[u8; SALT_BYTES] {
        &self.salt
    }

    /// Gives its value.
    #[must_use]
    pub fn digest(&self) -> &[u8] {
        self.digest.get(..self.digest_bytes).unwrap_or_default()
    }

    /// Tells in constant time whether `key`, which must have `key_bytes` bytes, is the key of this
    /// digest.
    ///
    /// The length counts: HMAC pads short keys with zeros, so a key and the same key with zeros
    /// behind it have one digest.
    pub(crate) fn check(
        &self,
        key: &[u8],
        key_bytes: u32,
        effort: &mut Effort<'_>,
    ) -> Result<(), Error> {
        if key.len() != to_usize(key_bytes) {
            return Err(Error::KeyLength {
                digest: self.id,
                found: key.len(),
                expected: key_bytes,
            });
        }
        let mut computed = Zeroizing::new([0; MAX_DIGEST_BYTES]);
        let computed = computed.get_mut(..self.digest_bytes).unwrap_or_default();
        self.compute(key, computed, effort)?;
        if bool::from(computed.ct_eq(self.digest())) && !computed.is_empty() {
            Ok(())
        } else {
            Err(Error::DigestMismatch { digest: self.id })
        }
    }

    fn compute(&self, key: &[u8], out: &mut [u8], effort: &mut Effort<'_>) -> Result<(), Error> {
        let user = KdfUser::Digest(self.id);
        let bytes = u32::try_from(out.len()).unwrap_or(u32::MAX);
        effort.budget.charge_pbkdf2(user, self.iterations, bytes)?;
        pbkdf2(
            self.hash,
            key,
            &self.salt,
            self.iterations,
            out,
            user,
            effort,
        )
    }
}

/// Turns a candidate into a volume key if `digest` agrees and it has exactly `key_bytes` bytes.
///
/// # Errors
/// [`Error::DigestMismatch`], [`Error::KeyLength`], [`Error::Header`] for a limit,
/// [`Error::Cancelled`].
pub fn verify(
    candidate: CandidateKey,
    digest: &KeyDigest,
    key_bytes: u32,
    effort: &mut Effort<'_>,
) -> Result<VolumeKey, Error> {
    digest.check(candidate.bytes(), key_bytes, effort)?;
    Ok(VolumeKey::proven(candidate))
}
