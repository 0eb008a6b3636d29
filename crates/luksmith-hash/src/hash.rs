//! One digest, whole or piece by piece.

use core::fmt;

use sha2::{
    Digest,
    digest::{FixedOutput, Output},
};

use crate::{Error, HashName};

/// Calls a macro with the variants of `HashName`, the type that computes each, and the type that
/// says of itself that it is wiped (BLAKE2's outer type forgets to say so; its parts are wiped).
macro_rules! with_types {
    ($callback:ident) => {
        $callback! {
            Sha1: sha1::Sha1, sha1::Sha1;
            Sha224: sha2::Sha224, sha2::Sha224;
            Sha256: sha2::Sha256, sha2::Sha256;
            Sha384: sha2::Sha384, sha2::Sha384;
            Sha512: sha2::Sha512, sha2::Sha512;
            Sha512_224: sha2::Sha512_224, sha2::Sha512_224;
            Sha512_256: sha2::Sha512_256, sha2::Sha512_256;
            #[cfg(feature = "md5")] Md5: md5::Md5, md5::Md5;
            #[cfg(feature = "sha3")] Sha3_224: sha3::Sha3_224, sha3::Sha3_224;
            #[cfg(feature = "sha3")] Sha3_256: sha3::Sha3_256, sha3::Sha3_256;
            #[cfg(feature = "sha3")] Sha3_384: sha3::Sha3_384, sha3::Sha3_384;
            #[cfg(feature = "sha3")] Sha3_512: sha3::Sha3_512, sha3::Sha3_512;
            #[cfg(feature = "blake2")] Blake2b512: blake2::Blake2b512, blake2::Blake2bVarCore;
            #[cfg(feature = "blake2")] Blake2s256: blake2::Blake2s256, blake2::Blake2sVarCore;
            #[cfg(feature = "ripemd")] Ripemd160: ripemd::Ripemd160, ripemd::Ripemd160;
            #[cfg(feature = "whirlpool")] Whirlpool: whirlpool::Whirlpool, whirlpool::Whirlpool;
            #[cfg(feature = "sm3")] Sm3: sm3::Sm3, sm3::Sm3;
            #[cfg(feature = "streebog")] Streebog256: streebog::Streebog256, streebog::Streebog256;
            #[cfg(feature = "streebog")] Streebog512: streebog::Streebog512, streebog::Streebog512;
        }
    };
}
pub(crate) use with_types;

/// A digest in the making. Wiped on drop.
///
/// ```
/// use luksmith_hash::{Hash, HashName};
///
/// let mut hash = Hash::new(HashName::Sha1);
/// hash.update(b"ab");
/// hash.update(b"c");
/// let mut digest = [0; 20];
/// hash.finish(&mut digest)?;
/// assert_eq!(digest[..4], [0xa9, 0x99, 0x3e, 0x36]);
/// # Ok::<(), luksmith_hash::Error>(())
/// ```
pub struct Hash(State);

macro_rules! hash_state {
    ($($(#[$cfg:meta])? $variant:ident: $type:ty, $wiped:ty;)+) => {
        enum State {
            $($(#[$cfg])? $variant($type),)+
        }

        impl Hash {
            /// Starts an empty digest.
            #[must_use]
            pub fn new(name: HashName) -> Self {
                Self(match name {
                    $($(#[$cfg])? HashName::$variant => State::$variant(<$type>::new()),)+
                })
            }

            /// Tells which hash this is.
            #[must_use]
            pub const fn name(&self) -> HashName {
                match self.0 {
                    $($(#[$cfg])? State::$variant(_) => HashName::$variant,)+
                }
            }

            /// Takes in more of the message.
            pub fn update(&mut self, data: &[u8]) {
                match &mut self.0 {
                    $($(#[$cfg])? State::$variant(state) => Digest::update(state, data),)+
                }
            }

            /// Writes the digest of what was taken in. `out` has exactly
            /// [`HashName::digest_bytes`] bytes.
            ///
            /// # Errors
            /// [`Error::DigestLength`].
            pub fn finish(self, out: &mut [u8]) -> Result<(), Error> {
                let out = exactly(self.name(), out)?;
                match self.0 {
                    $($(#[$cfg])? State::$variant(state) => write_digest(state, out),)+
                }
                Ok(())
            }
        }

        // The states wipe themselves; this list fails to compile if one of them stops doing so.
        const _: () = {
            const fn wiped<T: zeroize::ZeroizeOnDrop>() {}
            $($(#[$cfg])? wiped::<$wiped>();)+
        };
    };
}

with_types!(hash_state);

impl zeroize::ZeroizeOnDrop for Hash {}

impl Hash {
    /// Writes the digest of `parts`, one after the other, to `out`, which has exactly
    /// [`HashName::digest_bytes`] bytes.
    ///
    /// # Errors
    /// [`Error::DigestLength`].
    pub fn digest(name: HashName, parts: &[&[u8]], out: &mut [u8]) -> Result<(), Error> {
        let mut hash = Self::new(name);
        for part in parts {
            hash.update(part);
        }
        hash.finish(out)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({})", self.name())
    }
}

/// Gives `out` back if it has the length of `name`'s digests.
pub(crate) fn exactly(name: HashName, out: &mut [u8]) -> Result<&mut [u8], Error> {
    if out.len() == name.digest_bytes() {
        Ok(out)
    } else {
        Err(Error::DigestLength {
            name: name.as_str(),
            found: out.len(),
            expected: name.digest_bytes(),
        })
    }
}

/// Finishes `state` into `out`, whose length was checked.
pub(crate) fn write_digest<D: FixedOutput>(state: D, out: &mut [u8]) {
    let out: &mut Output<D> = out
        .try_into()
        .expect("`exactly` saw the digest's length, and a test holds it against the type's");
    FixedOutput::finalize_into(state, out);
}
