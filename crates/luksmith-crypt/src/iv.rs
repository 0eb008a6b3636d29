//! The IV of each sector, from its number.

use alloc::boxed::Box;
use luksmith_block::SectorSize;
use luksmith_hash::{Hash, HashName, MAX_DIGEST_BYTES};
use zeroize::Zeroizing;

use crate::block::{OneBlock, single};
use crate::{Algorithm, BlockCipher, CipherSpec, Error, IvKind};

/// Bytes of the longest IV, Adiantum's tweak.
pub(crate) const MAX_IV_BYTES: usize = 32;

/// Makes the IV of a sector from its number `n`, which counts 512-byte units whatever the sector
/// size and includes `iv_tweak`.
pub(crate) enum IvMaker {
    Le32,
    Le64,
    Be64,
    Zero,
    Benbi,
    /// The number encrypted under another key.
    Essiv(Box<dyn OneBlock>),
    /// The byte position, in units of the sector size, encrypted under the data's key.
    Eboiv {
        cipher: Box<dyn OneBlock>,
        sector_bytes: u64,
    },
}

impl IvMaker {
    /// Prepares the IVs of `spec`, or gives `None` for random ones, which nothing can compute.
    ///
    /// `whole_key` is what ESSIV hashes: the cipher's key, with the HMAC's behind it if there is
    /// one. `cipher_key` is the cipher's alone.
    pub(crate) fn new(
        spec: &CipherSpec,
        cipher_key: &[u8],
        whole_key: &[u8],
        sector_size: SectorSize,
    ) -> Result<Option<Self>, Error> {
        Ok(Some(match spec.iv() {
            Some(IvKind::Plain) => Self::Le32,
            Some(IvKind::Plain64) => Self::Le64,
            Some(IvKind::Plain64Be) => Self::Be64,
            Some(IvKind::Null) | None => Self::Zero,
            Some(IvKind::Benbi) => Self::Benbi,
            Some(IvKind::Random) => return Ok(None),
            Some(IvKind::Essiv(hash)) => {
                Self::Essiv(essiv(block_cipher(spec.algorithm()), hash, whole_key)?)
            }
            Some(IvKind::Eboiv) => Self::Eboiv {
                cipher: single(block_cipher(spec.algorithm()), cipher_key)?,
                sector_bytes: sector_size.byte_len().get(),
            },
        }))
    }

    /// Writes the IV of sector `n`; `iv` has as many bytes as the algorithm needs.
    pub(crate) fn write(&self, n: u64, iv: &mut [u8]) {
        iv.fill(0);
        match self {
            Self::Zero => {}
            Self::Le32 => put(iv, &n.to_le_bytes()[..4]),
            Self::Le64 => put(iv, &n.to_le_bytes()),
            Self::Be64 => put_last(iv, n),
            // The number of the sector's first 16-byte block, counted from one.
            Self::Benbi => put_last(iv, (n << 5).wrapping_add(1)),
            Self::Essiv(cipher) => encrypt_number(cipher.as_ref(), n, iv),
            Self::Eboiv {
                cipher,
                sector_bytes,
            } => encrypt_number(cipher.as_ref(), n.wrapping_mul(*sector_bytes), iv),
        }
    }
}

/// The block cipher whose keys make ESSIV and EBOIV: that of the data.
fn block_cipher(algorithm: Algorithm) -> BlockCipher {
    algorithm.block_cipher().unwrap_or(BlockCipher::Aes)
}

fn essiv(cipher: BlockCipher, hash: HashName, key: &[u8]) -> Result<Box<dyn OneBlock>, Error> {
    let digest_bytes = hash.digest_bytes();
    if !cipher.key_lengths().contains(&digest_bytes) {
        return Err(Error::EssivKey {
            hash,
            digest: digest_bytes,
            cipher: cipher.name(),
        });
    }
    let mut digest = Zeroizing::new([0; MAX_DIGEST_BYTES]);
    let (digest, _) = digest.split_at_mut(digest_bytes.min(MAX_DIGEST_BYTES));
    Hash::digest(hash, &[key], digest)?;
    single(cipher, digest)
}

fn put(iv: &mut [u8], bytes: &[u8]) {
    for (to, from) in iv.iter_mut().zip(bytes) {
        *to = *from;
    }
}

fn put_last(iv: &mut [u8], value: u64) {
    for (to, from) in iv.iter_mut().rev().zip(value.to_le_bytes()) {
        *to = from;
    }
}

fn encrypt_number(cipher: &dyn OneBlock, number: u64, iv: &mut [u8]) {
    let mut block = [0; 16];
    put(&mut block, &number.to_le_bytes());
    cipher.encrypt(&mut block);
    put(iv, &block);
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn iv_of(spec: &str, n: u64, len: usize) -> Vec<u8> {
        let key: [u8; 32] = core::array::from_fn(|i| u8::try_from(i).unwrap());
        let spec = CipherSpec::parse(spec).unwrap();
        let maker = IvMaker::new(&spec, &key, &key, SectorSize::S512);
        let mut iv = alloc::vec![0xaa; len];
        maker.unwrap().unwrap().write(n, &mut iv);
        iv
    }

    #[test]
    fn plain_drops_what_does_not_fit_32_bits_and_plain64_keeps_it() {
        let n = 0x0102_0304_0506_0708;
        let mut expected = [0; 16];
        expected[..4].copy_from_slice(&[8, 7, 6, 5]);
        assert_eq!(iv_of("aes-cbc-plain", n, 16), expected);
        expected[4..8].copy_from_slice(&[4, 3, 2, 1]);
        assert_eq!(iv_of("aes-cbc-plain64", n, 16), expected);
    }

    #[test]
    fn plain64be_and_benbi_fill_the_last_bytes() {
        let mut expected = [0; 16];
        expected[8..].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        let n = 0x0102_0304_0506_0708;
        assert_eq!(iv_of("aes-cbc-plain64be", n, 16), expected);
        // Sector 8 starts at block 256; benbi counts from one.
        expected[8..].copy_from_slice(&[0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(iv_of("aes-cbc-benbi", 8, 16), expected);
    }

    #[test]
    fn short_and_long_ivs_keep_the_number_where_it_belongs() {
        assert_eq!(
            iv_of("aes-gcm-plain64", 0x1ff, 12),
            [0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(
            iv_of("aes-gcm-plain64be", 0x1ff, 12),
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff]
        );
        let mut tweak = [0; 32];
        tweak[0] = 9;
        assert_eq!(
            iv_of("xchacha12,aes-adiantum-plain64", 9, MAX_IV_BYTES),
            tweak
        );
    }

    #[test]
    fn an_essiv_hash_must_give_a_key_of_the_cipher() {
        let spec = CipherSpec::parse("aes-cbc-essiv:sha1").unwrap();
        let error = IvMaker::new(&spec, &[0; 32], &[0; 32], SectorSize::S512).err();
        assert_eq!(
            error,
            Some(Error::EssivKey {
                hash: HashName::Sha1,
                digest: 20,
                cipher: "aes"
            })
        );
    }
}
