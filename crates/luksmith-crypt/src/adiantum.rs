//! Adiantum: a wide-block cipher for machines without AES instructions.
//!
//! # Format
//! P. Crowley, E. Biggers, "Adiantum: length-preserving encryption for entry-level processors",
//! with a 32-byte tweak as dm-crypt uses it. Pinned by an image that the kernel wrote
//! (testvectors/images/).

mod hash;
mod xchacha;

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use zeroize::{Zeroize, Zeroizing};

use crate::modes::Unit;
use crate::{ChaChaRounds, Error};
use hash::{HASH_KEY_BYTES, TweakedHash};
use xchacha::XChaCha;

/// Bytes of the last block, which goes through AES.
const TAIL: usize = 16;

/// An Adiantum key with everything that follows from it.
pub(crate) struct Adiantum {
    stream: XChaCha,
    block: aes::Aes256,
    hash: TweakedHash,
}

impl Adiantum {
    /// Derives the AES and hash keys from `key`, 32 bytes.
    pub(crate) fn new(rounds: ChaChaRounds, key: &[u8]) -> Result<Self, Error> {
        let Ok(key) = key.try_into() else {
            return Err(Error::KeyLength {
                spec: "adiantum".into(),
                found: key.len(),
                accepted: &[32],
            });
        };
        let stream = XChaCha::new(rounds, key);
        // The keys are the stream under the empty nonce: a single one, then zeros.
        let mut derived = Zeroizing::new([0; 32 + HASH_KEY_BYTES]);
        stream.apply(&[], derived.as_mut());
        let (block_key, hash_key) = derived
            .split_first_chunk::<32>()
            .expect("the array is longer than the AES key");
        Ok(Self {
            stream,
            block: aes::Aes256::new(block_key.into()),
            hash: TweakedHash::new(hash_key.try_into().expect("the rest is the hash key")),
        })
    }
}

impl Unit for Adiantum {
    fn encrypt(&self, iv: &[u8], unit: &mut [u8]) {
        let (bulk, tail) = split(unit);
        let middle = self
            .hash
            .of(iv, bulk)
            .wrapping_add(u128::from_le_bytes(*tail));
        let mut block = middle.to_le_bytes();
        self.block.encrypt_block((&mut block).into());
        self.stream.apply(&block, bulk);
        let last = u128::from_le_bytes(block).wrapping_sub(self.hash.of(iv, bulk));
        *tail = last.to_le_bytes();
        block.zeroize();
    }

    fn decrypt(&self, iv: &[u8], unit: &mut [u8]) {
        let (bulk, tail) = split(unit);
        let middle = self
            .hash
            .of(iv, bulk)
            .wrapping_add(u128::from_le_bytes(*tail));
        let mut block = middle.to_le_bytes();
        self.stream.apply(&block, bulk);
        self.block.decrypt_block((&mut block).into());
        let last = u128::from_le_bytes(block).wrapping_sub(self.hash.of(iv, bulk));
        *tail = last.to_le_bytes();
        block.zeroize();
    }
}

fn split(unit: &mut [u8]) -> (&mut [u8], &mut [u8; TAIL]) {
    unit.split_last_chunk_mut()
        .expect("sectors have at least 512 bytes")
}
