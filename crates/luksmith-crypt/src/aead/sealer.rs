//! The AEAD ciphers behind one door.

use alloc::boxed::Box;

use luksmith_simd::Aegis128;

use super::TAG_BYTES;
use super::ccm::Ccm;
use crate::block::{Build, Cipher16, keyed, with};
use crate::{Algorithm, BlockCipher, Error};

/// A keyed AEAD cipher with tags of 16 bytes.
///
/// `nonce` has the algorithm's IV size; `ad` is the sector number and the nonce.
pub(super) trait Sealer: Send + Sync {
    /// Encrypts `data` where it is and gives the tag.
    fn seal(&self, nonce: &[u8], ad: &[u8], data: &mut [u8]) -> [u8; TAG_BYTES];

    /// Verifies in constant time and tells whether the tag is right. Only then does `data` hold
    /// plaintext; otherwise its contents are not data and the caller drops them.
    fn open(&self, nonce: &[u8], ad: &[u8], data: &mut [u8], tag: &[u8; TAG_BYTES]) -> bool;
}

/// Keys `algorithm`.
///
/// # Errors
/// [`Error::NotBuiltIn`], [`Error::KeyLength`]; [`Error::Combination`] for what is no AEAD cipher.
pub(super) fn keyed_sealer(algorithm: Algorithm, key: &[u8]) -> Result<Box<dyn Sealer>, Error> {
    let length = || Error::KeyLength {
        spec: alloc::format!("{algorithm}"),
        found: key.len(),
        accepted: algorithm.key_lengths(),
    };
    match algorithm {
        Algorithm::Ccm => {
            // RFC 4309, section 7.1: the last three bytes are the salt of the nonce.
            let (aes_key, salt) = key.split_last_chunk::<3>().ok_or_else(length)?;
            with(
                BlockCipher::Aes,
                aes_key.len(),
                BuildCcm {
                    key: aes_key,
                    salt: *salt,
                },
            )
        }
        Algorithm::Aegis128 => {
            let key = key.try_into().map_err(|_| length())?;
            Ok(Box::new(Aegis128::new(key)))
        }
        // With the feature it has a key of its own, for whole runs.
        #[cfg(not(feature = "gcm"))]
        Algorithm::Gcm => Err(Error::NotBuiltIn {
            cipher: "aes-gcm",
            feature: "gcm",
        }),
        #[cfg(feature = "chacha20")]
        Algorithm::ChaCha20 => crates::chacha20_poly1305(key).ok_or_else(length),
        #[cfg(not(feature = "chacha20"))]
        Algorithm::ChaCha20 => Err(Error::NotBuiltIn {
            cipher: "chacha20-poly1305",
            feature: "chacha20",
        }),
        _ => Err(Error::Combination {
            spec: alloc::format!("{algorithm}"),
            why: "this is no AEAD cipher",
        }),
    }
}

impl Sealer for Aegis128 {
    fn seal(&self, nonce: &[u8], ad: &[u8], data: &mut [u8]) -> [u8; TAG_BYTES] {
        let nonce = nonce.try_into().expect("the nonce has the IV's size");
        Self::seal(self, nonce, ad, data).expect("a sector is made of whole blocks")
    }

    fn open(&self, nonce: &[u8], ad: &[u8], data: &mut [u8], tag: &[u8; TAG_BYTES]) -> bool {
        let nonce = nonce.try_into().expect("the nonce has the IV's size");
        Self::open(self, nonce, ad, data, tag).expect("a sector is made of whole blocks")
    }
}

struct BuildCcm<'a> {
    key: &'a [u8],
    salt: [u8; 3],
}

impl Build for BuildCcm<'_> {
    type Out = Box<dyn Sealer>;
    fn build<C: Cipher16>(self) -> Self::Out {
        Box::new(Ccm::new(keyed::<C>(self.key), self.salt))
    }
}

/// The cipher that comes as a crate of its own.
#[cfg(feature = "chacha20")]
mod crates {
    use alloc::boxed::Box;
    use chacha20poly1305::aead::{AeadInOut, KeyInit};

    use super::{Sealer, TAG_BYTES};

    struct FromCrate<A>(A);

    macro_rules! sealer {
        ($type:ty) => {
            impl Sealer for FromCrate<$type> {
                fn seal(&self, nonce: &[u8], ad: &[u8], data: &mut [u8]) -> [u8; TAG_BYTES] {
                    let nonce = nonce.try_into().expect("the nonce has the IV's size");
                    self.0
                        .encrypt_inout_detached(nonce, ad, data.into())
                        .expect("a sector is below the cipher's limit")
                        .into()
                }

                fn open(
                    &self,
                    nonce: &[u8],
                    ad: &[u8],
                    data: &mut [u8],
                    tag: &[u8; TAG_BYTES],
                ) -> bool {
                    let nonce = nonce.try_into().expect("the nonce has the IV's size");
                    self.0
                        .decrypt_inout_detached(nonce, ad, data.into(), tag.into())
                        .is_ok()
                }
            }
        };
    }

    sealer!(chacha20poly1305::ChaCha20Poly1305);

    /// Keys ChaCha20-Poly1305, or gives `None` for a length that it does not have.
    pub(super) fn chacha20_poly1305(key: &[u8]) -> Option<Box<dyn Sealer>> {
        let cipher = chacha20poly1305::ChaCha20Poly1305::new_from_slice(key).ok()?;
        Some(Box::new(FromCrate(cipher)))
    }
}
