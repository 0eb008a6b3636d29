//! Modes over one data unit: cbc, ecb, ctr, and xts for the ciphers that have no lanes of their
//! own.

use aes::cipher::consts::U16;
use aes::cipher::{Array, BlockCipherEncBackend, BlockCipherEncClosure, BlockSizeUser};
use alloc::boxed::Box;
use luksmith_block::SectorSize;
use xts_mode::Xts128;
use zeroize::Zeroize;

use crate::block::{Block, Build, Cipher16, keyed, with};
use crate::{Algorithm, Error};

/// A keyed cipher that works on one data unit at a time, where it is.
///
/// `iv` has as many bytes as the algorithm needs; `unit` is a sector.
pub(crate) trait Unit: Send + Sync {
    fn encrypt(&self, iv: &[u8], unit: &mut [u8]);
    fn decrypt(&self, iv: &[u8], unit: &mut [u8]);

    /// Encrypts units of `unit_bytes` bytes, each with its IV of `iv_bytes` bytes.
    fn encrypt_run(&self, ivs: &[u8], iv_bytes: usize, units: &mut [u8], unit_bytes: usize) {
        // `chunks_exact` refuses zero; without IVs nothing is taken of the byte.
        let ivs = ivs.chunks_exact(iv_bytes.max(1));
        for (iv, unit) in ivs.zip(units.chunks_exact_mut(unit_bytes)) {
            let (iv, _) = iv.split_at(iv_bytes);
            self.encrypt(iv, unit);
        }
    }

    /// The reverse of [`encrypt_run`](Self::encrypt_run).
    fn decrypt_run(&self, ivs: &[u8], iv_bytes: usize, units: &mut [u8], unit_bytes: usize) {
        let ivs = ivs.chunks_exact(iv_bytes.max(1));
        for (iv, unit) in ivs.zip(units.chunks_exact_mut(unit_bytes)) {
            let (iv, _) = iv.split_at(iv_bytes);
            self.decrypt(iv, unit);
        }
    }
}

/// Keys the mode `algorithm`.
///
/// # Errors
/// [`Error::NotBuiltIn`], [`Error::KeyLength`]; [`Error::Combination`] for an algorithm that is no
/// mode over single units.
pub(crate) fn keyed_unit(algorithm: Algorithm, key: &[u8]) -> Result<Box<dyn Unit>, Error> {
    match algorithm {
        Algorithm::Xts(cipher) => with(cipher, key.len() / 2, BuildUnit { algorithm, key }),
        Algorithm::Cbc(cipher) | Algorithm::Ecb(cipher) | Algorithm::Ctr(cipher) => {
            with(cipher, key.len(), BuildUnit { algorithm, key })
        }
        #[cfg(feature = "adiantum")]
        Algorithm::Adiantum(rounds) => Ok(Box::new(crate::adiantum::Adiantum::new(rounds, key)?)),
        #[cfg(not(feature = "adiantum"))]
        Algorithm::Adiantum(_) => Err(Error::NotBuiltIn {
            cipher: "adiantum",
            feature: "adiantum",
        }),
        _ => Err(Error::Combination {
            spec: alloc::format!("{algorithm}"),
            why: "this cipher needs a tag beside each sector",
        }),
    }
}

struct BuildUnit<'a> {
    algorithm: Algorithm,
    key: &'a [u8],
}

impl Build for BuildUnit<'_> {
    type Out = Box<dyn Unit>;
    fn build<C: Cipher16>(self) -> Self::Out {
        match self.algorithm {
            Algorithm::Xts(_) => {
                let (data, tweak) = self.key.split_at(self.key.len() / 2);
                Box::new(Xts(Xts128::new(keyed::<C>(data), keyed::<C>(tweak))))
            }
            Algorithm::Cbc(_) => Box::new(Cbc(keyed::<C>(self.key))),
            Algorithm::Ctr(_) => Box::new(Ctr(keyed::<C>(self.key))),
            _ => Box::new(Ecb(keyed::<C>(self.key))),
        }
    }
}

/// Copies an IV of 16 bytes; a shorter one would be a mistake of this crate.
fn block_of(iv: &[u8]) -> Block {
    Block::try_from(iv).expect("the IV was made for an algorithm with 16-byte IVs")
}

fn xor(block: &mut [u8], with: &[u8]) {
    for (a, b) in block.iter_mut().zip(with) {
        *a ^= b;
    }
}

struct Xts<C: Cipher16>(Xts128<C>);

impl<C: Cipher16> Unit for Xts<C> {
    fn encrypt(&self, iv: &[u8], unit: &mut [u8]) {
        self.0.encrypt_sector(unit, block_of(iv));
    }
    fn decrypt(&self, iv: &[u8], unit: &mut [u8]) {
        self.0.decrypt_sector(unit, block_of(iv));
    }
}

struct Cbc<C>(C);

/// Sectors that are encrypted side by side: within one, a block waits for the one before it, so a
/// CPU that has four or more of them in flight works on as many sectors.
const CBC_UNITS: usize = 16;

/// CBC encryption of up to [`CBC_UNITS`] sectors, one step in each in turn.
struct CbcUnits<'a> {
    ivs: &'a [Block],
    units: &'a mut [u8],
    unit_bytes: usize,
}

impl BlockSizeUser for CbcUnits<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for CbcUnits<'_> {
    // Inlined, so that it has the instructions that the cipher has found.
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let mut store = [Block::default(); CBC_UNITS];
        let (previous, _) = store.split_at_mut(self.ivs.len());
        previous.clone_from_slice(self.ivs);
        for at in (0..self.unit_bytes).step_by(16) {
            let units = self.units.chunks_exact(self.unit_bytes);
            for (previous, unit) in previous.iter_mut().zip(units) {
                // As many bytes as a block has.
                xor(previous, unit.split_at(at).1);
            }
            let (many, rest) = Array::slice_as_chunks_mut(previous);
            for blocks in many {
                backend.encrypt_par_blocks_inplace(blocks);
            }
            backend.encrypt_tail_blocks_inplace(rest);
            let units = self.units.chunks_exact_mut(self.unit_bytes);
            for (block, unit) in previous.iter().zip(units) {
                let (_, rest) = unit.split_at_mut(at);
                rest.iter_mut()
                    .zip(block)
                    .for_each(|(out, byte)| *out = *byte);
            }
        }
    }
}

impl<C: Cipher16> Unit for Cbc<C> {
    fn encrypt(&self, iv: &[u8], unit: &mut [u8]) {
        self.encrypt_run(iv, iv.len(), unit, unit.len());
    }

    fn encrypt_run(&self, ivs: &[u8], _: usize, units: &mut [u8], unit_bytes: usize) {
        let (ivs, rest): (&[Block], _) = Array::slice_as_chunks(ivs);
        // A sector without its IV would be left as it is: plaintext.
        assert!(
            rest.is_empty() && units.len() == ivs.len() * unit_bytes,
            "one IV for each whole sector"
        );
        let groups = units.chunks_mut((CBC_UNITS * unit_bytes).max(1));
        for (ivs, units) in ivs.chunks(CBC_UNITS).zip(groups) {
            self.0.encrypt_with_backend(CbcUnits {
                ivs,
                units,
                unit_bytes,
            });
        }
    }

    fn decrypt(&self, iv: &[u8], unit: &mut [u8]) {
        // Each block needs the ciphertext before it, which decrypting many at once overwrites.
        let mut ciphertext = [0; SectorSize::S512.bytes()];
        let mut previous = block_of(iv);
        for part in unit.chunks_mut(ciphertext.len()) {
            let (kept, _) = ciphertext.split_at_mut(part.len());
            kept.copy_from_slice(part);
            let blocks = Array::slice_as_chunks_mut(part).0;
            self.0.decrypt_blocks(blocks);
            let kept: &[Block] = Array::slice_as_chunks(kept).0;
            for (block, ciphertext) in blocks.iter_mut().zip(kept) {
                xor(block, &previous);
                previous.clone_from(ciphertext);
            }
        }
    }
}

struct Ecb<C>(C);

impl<C: Cipher16> Unit for Ecb<C> {
    fn encrypt(&self, _iv: &[u8], unit: &mut [u8]) {
        self.0.encrypt_blocks(Array::slice_as_chunks_mut(unit).0);
    }
    fn decrypt(&self, _iv: &[u8], unit: &mut [u8]) {
        self.0.decrypt_blocks(Array::slice_as_chunks_mut(unit).0);
    }
}

struct Ctr<C>(C);

/// Blocks of key stream made at once.
const CTR_BLOCKS: usize = 16;

impl<C: Cipher16> Ctr<C> {
    fn apply(&self, iv: &[u8], unit: &mut [u8]) {
        let mut counter = u128::from_be_bytes(block_of(iv).0);
        let mut stream = [Block::default(); CTR_BLOCKS];
        for part in unit.chunks_mut(CTR_BLOCKS * 16) {
            for block in &mut stream {
                block.0 = counter.to_be_bytes();
                counter = counter.wrapping_add(1);
            }
            self.0.encrypt_blocks(&mut stream);
            xor(part, stream.as_flattened_bytes());
        }
        for block in &mut stream {
            block.0.zeroize();
        }
    }
}

trait AsBytes {
    fn as_flattened_bytes(&self) -> &[u8];
}

impl AsBytes for [Block] {
    fn as_flattened_bytes(&self) -> &[u8] {
        Array::slice_as_flattened(self)
    }
}

impl<C: Cipher16> Unit for Ctr<C> {
    fn encrypt(&self, iv: &[u8], unit: &mut [u8]) {
        self.apply(iv, unit);
    }
    fn decrypt(&self, iv: &[u8], unit: &mut [u8]) {
        self.apply(iv, unit);
    }
}
