//! The block ciphers behind one door: a name and a key length choose the type.

use aes::cipher::consts::U16;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit};
use alloc::boxed::Box;
use zeroize::ZeroizeOnDrop;

use crate::{BlockCipher, Error};

/// What every block cipher here can do; its round keys wipe themselves.
pub(crate) trait Cipher16:
    BlockSizeUser<BlockSize = U16>
    + BlockCipherEncrypt
    + BlockCipherDecrypt
    + KeyInit
    + ZeroizeOnDrop
    + Send
    + Sync
    + 'static
{
}

impl<C> Cipher16 for C where
    C: BlockSizeUser<BlockSize = U16>
        + BlockCipherEncrypt
        + BlockCipherDecrypt
        + KeyInit
        + ZeroizeOnDrop
        + Send
        + Sync
        + 'static
{
}

/// One 16-byte block as the cipher traits see it.
pub(crate) type Block = Array<u8, U16>;

/// Something that is built for whichever cipher type the name means.
pub(crate) trait Build {
    type Out;
    fn build<C: Cipher16>(self) -> Self::Out;
}

/// Builds `what` for `cipher` with keys of `key_bytes` bytes.
///
/// # Errors
/// [`Error::NotBuiltIn`]; [`Error::KeyLength`] for a length that the cipher does not have.
pub(crate) fn with<B: Build>(
    cipher: BlockCipher,
    key_bytes: usize,
    what: B,
) -> Result<B::Out, Error> {
    if !cipher.key_lengths().contains(&key_bytes) {
        return Err(Error::KeyLength {
            spec: cipher.name().into(),
            found: key_bytes,
            accepted: cipher.key_lengths(),
        });
    }
    Ok(match (cipher, key_bytes) {
        (BlockCipher::Aes, 16) => what.build::<aes::Aes128>(),
        (BlockCipher::Aes, 24) => what.build::<aes::Aes192>(),
        (BlockCipher::Aes, _) => what.build::<aes::Aes256>(),
        #[cfg(feature = "serpent")]
        (BlockCipher::Serpent, _) => what.build::<serpent::Serpent>(),
        #[cfg(feature = "twofish")]
        (BlockCipher::Twofish, _) => what.build::<crate::twofish::Twofish>(),
        #[cfg(feature = "camellia")]
        (BlockCipher::Camellia, 16) => what.build::<camellia::Camellia128>(),
        #[cfg(feature = "camellia")]
        (BlockCipher::Camellia, 24) => what.build::<camellia::Camellia192>(),
        #[cfg(feature = "camellia")]
        (BlockCipher::Camellia, _) => what.build::<camellia::Camellia256>(),
        #[cfg(feature = "aria")]
        (BlockCipher::Aria, 16) => what.build::<aria::Aria128>(),
        #[cfg(feature = "aria")]
        (BlockCipher::Aria, 24) => what.build::<aria::Aria192>(),
        #[cfg(feature = "aria")]
        (BlockCipher::Aria, _) => what.build::<aria::Aria256>(),
        #[cfg(feature = "sm4")]
        (BlockCipher::Sm4, _) => what.build::<sm4::Sm4>(),
        #[cfg(feature = "kuznyechik")]
        (BlockCipher::Kuznyechik, _) => what.build::<kuznyechik::Kuznyechik>(),
        #[allow(
            unreachable_patterns,
            reason = "with every feature on, the arms above are complete"
        )]
        (missing, _) => {
            return Err(Error::NotBuiltIn {
                cipher: missing.name(),
                feature: missing.name(),
            });
        }
    })
}

/// Makes a keyed cipher of a type that [`with`] chose.
pub(crate) fn keyed<C: Cipher16>(key: &[u8]) -> C {
    C::new_from_slice(key).expect("`with` checked the key length against the cipher's")
}

/// A keyed cipher for single blocks, where speed does not matter: IVs.
pub(crate) trait OneBlock: Send + Sync {
    fn encrypt(&self, block: &mut [u8; 16]);
}

struct Single<C>(C);

impl<C: Cipher16> OneBlock for Single<C> {
    fn encrypt(&self, block: &mut [u8; 16]) {
        self.0.encrypt_block(block.into());
    }
}

struct BuildSingle<'a>(&'a [u8]);

impl Build for BuildSingle<'_> {
    type Out = Box<dyn OneBlock>;
    fn build<C: Cipher16>(self) -> Self::Out {
        Box::new(Single(keyed::<C>(self.0)))
    }
}

/// Keys `cipher` for single blocks.
///
/// # Errors
/// As [`with`].
pub(crate) fn single(cipher: BlockCipher, key: &[u8]) -> Result<Box<dyn OneBlock>, Error> {
    with(cipher, key.len(), BuildSingle(key))
}
