//! The secrets: a passphrase, the key of a keyslot area, a key not yet proven, and the volume key.
//!
//! Each wipes itself on drop and lives in storage that never moves or grows. With `std` that
//! storage is locked into memory and left out of core dumps where the system allows it. None of
//! them can be cloned, printed or compared; `Debug` shows the type and the length.

use alloc::vec::Vec;
use core::fmt;

use rand_core::TryCryptoRng;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use crate::{Error, storage::Storage};

/// Most bytes of a passphrase: 8 MiB, the longest key file that cryptsetup reads.
pub const MAX_PASSPHRASE_BYTES: usize = 8 * 1024 * 1024;

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name(Storage);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} bytes)"), self.len())
            }
        }

        // `Storage` wipes itself, and there is nothing else inside.
        impl ZeroizeOnDrop for $name {}

        impl $name {
            /// Gives the length in bytes.
            #[must_use]
            pub fn len(&self) -> usize {
                self.0.bytes().len()
            }

            /// Tells whether there is no byte in it.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }
    };
}

secret! {
    /// What unlocks a keyslot: bytes, taken as they are. Nothing is trimmed, so a newline at the
    /// end of a key file is part of it.
    ///
    /// ```
    /// use luksmith_keyslot::Passphrase;
    ///
    /// let passphrase = Passphrase::new(b"correct horse battery staple")?;
    /// assert_eq!(format!("{passphrase:?}"), "Passphrase(28 bytes)");
    /// # Ok::<(), luksmith_keyslot::Error>(())
    /// ```
    Passphrase
}

secret! {
    /// The key that encrypts a keyslot area, derived from a passphrase.
    AreaKey
}

secret! {
    /// A key that may be a volume key: merged from a keyslot area, or given by the caller. Only a
    /// digest tells whether it is one.
    CandidateKey
}

secret! {
    /// A volume key: a digest has accepted it, or it was generated for a new volume.
    ///
    /// No code outside this crate can make one from bytes of its choice without a digest agreeing.
    VolumeKey
}

impl Passphrase {
    /// Copies the bytes of a passphrase. The caller wipes what they were copied from, or uses
    /// [`from_vec`](Self::from_vec).
    ///
    /// # Errors
    /// [`Error::PassphraseLength`] if there is none or more than [`MAX_PASSPHRASE_BYTES`].
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.is_empty() || bytes.len() > MAX_PASSPHRASE_BYTES {
            return Err(Error::PassphraseLength {
                found: bytes.len(),
                limit: MAX_PASSPHRASE_BYTES,
            });
        }
        Ok(Self(Storage::copy_of(bytes)?))
    }

    /// Takes the bytes of a passphrase and wipes the vector they came in, its spare capacity
    /// included.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_vec(mut bytes: Vec<u8>) -> Result<Self, Error> {
        let passphrase = Self::new(&bytes);
        bytes.zeroize();
        passphrase
    }

    /// Gives the empty passphrase. It has a name of its own because it is nearly always a mistake:
    /// a variable that was not set, a key file that was not written.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn empty() -> Result<Self, Error> {
        Ok(Self(Storage::zeroed(0)?))
    }

    /// Reads a passphrase to the end of `source`, as from a key file: a newline at the end is part
    /// of it. Intermediate buffers are wiped.
    ///
    /// # Errors
    /// [`Error::PassphraseRead`], and as [`new`](Self::new); more than `max_bytes` (at most
    /// [`MAX_PASSPHRASE_BYTES`]) are an error, not a shorter passphrase.
    #[cfg(feature = "std")]
    pub fn read_from(source: &mut dyn std::io::Read, max_bytes: usize) -> Result<Self, Error> {
        let limit = max_bytes.min(MAX_PASSPHRASE_BYTES);
        let mut held = Storage::zeroed(limit.min(4096).saturating_add(1))?;
        let mut filled = 0;
        loop {
            if filled == held.bytes().len() {
                // Grown by hand: a vector would leave copies of the secret behind.
                let more = filled.saturating_mul(8).min(limit.saturating_add(1));
                let mut grown = Storage::zeroed(more)?;
                copy_prefix(grown.bytes_mut(), held.bytes());
                held = grown;
            }
            let room = held.bytes_mut().get_mut(filled..).unwrap_or_default();
            match source.read(room) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Error::PassphraseRead {
                        failure: (&error).into(),
                    });
                }
            }
            if filled > limit {
                return Err(Error::PassphraseLength {
                    found: filled,
                    limit,
                });
            }
        }
        Self::new(held.bytes().get(..filled).unwrap_or_default())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl AreaKey {
    /// Makes an area key of `len` zeros for a KDF to fill.
    pub(crate) fn zeroed(len: usize) -> Result<Self, Error> {
        Ok(Self(Storage::zeroed(len)?))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.bytes_mut()
    }
}

impl CandidateKey {
    /// Copies the bytes of a key that the caller has, to be proven by a digest. The caller wipes
    /// what they were copied from.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self(Storage::copy_of(bytes)?))
    }

    pub(crate) fn zeroed(len: usize) -> Result<Self, Error> {
        Ok(Self(Storage::zeroed(len)?))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.bytes_mut()
    }
}

impl VolumeKey {
    /// Generates the key of a new volume.
    ///
    /// # Errors
    /// [`Error::Random`], [`Error::OutOfMemory`].
    pub fn generate<R: TryCryptoRng + ?Sized>(len: usize, random: &mut R) -> Result<Self, Error> {
        let mut key = Storage::zeroed(len)?;
        random
            .try_fill_bytes(key.bytes_mut())
            .map_err(|_| Error::Random)?;
        Ok(Self(key))
    }

    /// Takes a key that the caller chose for a *new* volume: there is no digest yet that could
    /// refuse it. For a volume that exists, a digest decides: [`verify`](crate::digest::verify).
    #[must_use]
    pub fn for_new_volume(key: CandidateKey) -> Self {
        Self(key.0)
    }

    /// Only `digest::verify` may call this, after a match.
    pub(crate) fn proven(key: CandidateKey) -> Self {
        Self(key.0)
    }

    /// Shows the bytes, for the layer that encrypts with them. Do not copy them to where they are
    /// not wiped.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.bytes()
    }
}

#[cfg(feature = "std")]
fn copy_prefix(to: &mut [u8], from: &[u8]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = from;
    }
}

// Fails to compile when one of these no longer wipes itself.
const _: () = {
    const fn wiped<T: ZeroizeOnDrop + Send + Sync>() {}
    wiped::<Passphrase>();
    wiped::<AreaKey>();
    wiped::<CandidateKey>();
    wiped::<VolumeKey>();
    wiped::<Storage>();
    wiped::<luksmith_hash::Hash>();
    wiped::<luksmith_hash::HmacKey>();
};

#[cfg(test)]
mod tests {
    use std::{format, vec};

    use super::*;

    #[test]
    fn debug_shows_the_type_and_the_length_only() {
        let secret = [0x41; 64];
        let passphrase = Passphrase::new(&secret).unwrap();
        let candidate = CandidateKey::new(&secret).unwrap();
        let area = AreaKey::zeroed(32).unwrap();
        let volume = VolumeKey::proven(CandidateKey::new(&secret).unwrap());
        assert_eq!(format!("{passphrase:?}"), "Passphrase(64 bytes)");
        assert_eq!(format!("{candidate:?}"), "CandidateKey(64 bytes)");
        assert_eq!(format!("{area:?}"), "AreaKey(32 bytes)");
        assert_eq!(format!("{volume:#?}"), "VolumeKey(64 bytes)");
    }

    #[test]
    fn a_passphrase_has_one_byte_to_eight_mebibytes() {
        let error = Passphrase::new(b"").unwrap_err();
        assert_eq!(
            error,
            Error::PassphraseLength {
                found: 0,
                limit: MAX_PASSPHRASE_BYTES
            }
        );
        assert_eq!(Passphrase::empty().unwrap().bytes(), b"");
        assert_eq!(Passphrase::new(b"\0").unwrap().bytes(), b"\0");
        let longest = vec![7; MAX_PASSPHRASE_BYTES];
        assert_eq!(
            Passphrase::from_vec(longest.clone()).unwrap().bytes(),
            longest
        );
        assert!(Passphrase::from_vec(vec![7; MAX_PASSPHRASE_BYTES + 1]).is_err());
    }

    #[cfg(feature = "std")]
    #[test]
    fn a_key_file_is_read_whole_with_its_newline() {
        for len in [1, 4095, 4096, 4097, 40_000] {
            let mut file: Vec<u8> = (0..251).cycle().take(len).collect();
            file.push(b'\n');
            let read = Passphrase::read_from(&mut file.as_slice(), MAX_PASSPHRASE_BYTES).unwrap();
            assert_eq!(read.bytes(), file);
            assert_eq!(
                Passphrase::read_from(&mut file.as_slice(), file.len() - 1).unwrap_err(),
                Error::PassphraseLength {
                    found: file.len(),
                    limit: file.len() - 1
                }
            );
        }
        assert!(Passphrase::read_from(&mut std::io::empty(), 10).is_err());
    }
}
