//! What the AES-GCM kernels make once from a key, and what they need for each sector.
//!
//! GHASH is computed as POLYVAL (RFC 8452, appendix A): blocks are read byte-reversed, the hash key
//! is multiplied by x, and a product carries a factor x^-128 that the reduction makes for free.
//!
//! The sum over all blocks of a sector is kept unreduced, each block times its own power of the
//! hash key, so that a sector has one reduction and no chain through its blocks.

use alloc::boxed::Box;
use core::arch::x86_64::{
    __m128i, _mm_clmulepi64_si128, _mm_set_epi64x, _mm_shuffle_epi32, _mm_slli_si128,
    _mm_srli_si128, _mm_xor_si128,
};

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::aesni::{self, AesNi};
use super::schedule::{load128, store128};
use crate::arch::round_keys::{RoundKeys, wipe};
use crate::gcm::{BATCH, GcmRun, NONCE_BYTES};

/// Sectors are multiples of this many bytes: what the wider kernels take in one step.
pub(crate) const STEP: usize = 256;
/// Blocks in so many bytes.
const STEP_BLOCKS: usize = STEP / 16;
/// Steps in the largest sector.
pub(crate) const MAX_STEPS: usize = 16;
/// Blocks of associated data per sector: what fits into one vector beside the block of lengths.
pub(crate) const MAX_AD_BLOCKS: usize = 3;
/// Powers of the hash key: for every block of the largest sector, its associated data and the
/// block of lengths.
const POWERS: usize = MAX_STEPS * STEP_BLOCKS + MAX_AD_BLOCKS + 1;

/// Everything that is made once from a key.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(64))]
pub(crate) struct GcmSchedule<const N: usize> {
    pub(crate) keys: RoundKeys<N>,
    /// Counter blocks with an empty nonce, xor the first round key: block `i` counts 2 + i.
    pub(super) counters: [[u8; 16]; MAX_STEPS * STEP_BLOCKS],
    /// Powers of the hash key, the highest first, the first power last.
    powers: [[u8; 16]; POWERS],
}

impl<const N: usize> GcmSchedule<N> {
    /// The powers that belong to the blocks of a sector. Block `i` of `n` has power `n + 1 - i`,
    /// since the block of lengths comes after it.
    #[inline]
    pub(super) fn powers(&self, sector_bytes: usize) -> &[[u8; 16]] {
        &self.powers[POWERS - 1 - sector_bytes / 16..POWERS - 1]
    }

    /// Memory to expand into.
    pub(crate) fn zeroed() -> Box<Self> {
        Box::new(Self {
            keys: RoundKeys::zeroed(),
            counters: [[0; 16]; MAX_STEPS * STEP_BLOCKS],
            powers: [[0; 16]; POWERS],
        })
    }

    /// Fills in what follows from the round keys.
    pub(crate) fn derive(&mut self, cpu: AesNi) {
        for (at, block) in (2_u32..).zip(&mut self.counters) {
            *block = self.keys.0[0];
            for (byte, counter) in block[NONCE_BYTES..].iter_mut().zip(at.to_be_bytes()) {
                *byte ^= counter;
            }
        }
        let mut hash_key = aesni::encrypt_block(cpu, &self.keys, [0; 16]);
        hash_key = times_x(u128::from_be_bytes(hash_key)).to_le_bytes();
        #[expect(unsafe_code, reason = "call of a function with target features")]
        // SAFETY: an `AesNi` exists only if `AesNi::detect` saw pclmulqdq on this machine, and
        // sse2 is part of every x86-64 CPU.
        unsafe {
            fill_powers(&mut self.powers, &hash_key);
        }
        hash_key.zeroize();
    }
}

/// Times x in POLYVAL's field, x^128 + x^127 + x^126 + x^121 + 1, in constant time.
const fn times_x(value: u128) -> u128 {
    (value << 1) ^ ((value >> 127) * ((0xc2 << 120) | 1))
}

/// Fills in the powers of `key` from the last place on.
#[target_feature(enable = "pclmulqdq")]
fn fill_powers(powers: &mut [[u8; 16]; POWERS], key: &[u8; 16]) {
    let key = load128(key);
    let mut power = key;
    for to in powers.iter_mut().rev() {
        store128(to, power);
        power = multiply(power, key);
    }
}

/// A product in POLYVAL's field.
#[inline]
#[target_feature(enable = "pclmulqdq")]
fn multiply(a: __m128i, b: __m128i) -> __m128i {
    let low = _mm_clmulepi64_si128::<0x00>(a, b);
    let high = _mm_clmulepi64_si128::<0x11>(a, b);
    let middle = _mm_xor_si128(
        _mm_clmulepi64_si128::<0x01>(a, b),
        _mm_clmulepi64_si128::<0x10>(a, b),
    );
    reduce(low, middle, high)
}

/// Brings a product of 256 bits, low + middle * x^64 + high * x^128, back to 128 bits, times
/// x^-128: twice the lowest 64 bits are cancelled by a multiple of the field's polynomial, whose
/// part between x^64 and x^128 is the constant.
#[inline]
#[target_feature(enable = "pclmulqdq")]
pub(super) fn reduce(low: __m128i, middle: __m128i, high: __m128i) -> __m128i {
    let poly = _mm_set_epi64x(0, 0xc2_u64.cast_signed() << 56);
    let mut low = _mm_xor_si128(low, _mm_slli_si128::<8>(middle));
    let high = _mm_xor_si128(high, _mm_srli_si128::<8>(middle));
    for _ in 0..2 {
        let cancelled = _mm_clmulepi64_si128::<0x00>(low, poly);
        low = _mm_xor_si128(_mm_shuffle_epi32::<0b01_00_11_10>(low), cancelled);
    }
    _mm_xor_si128(high, low)
}

/// What the sectors of one call need besides their data.
pub(super) struct Batch {
    /// Per sector, the associated data in up to three blocks, and in the fourth the lengths of
    /// both parts in bits.
    pub(super) edges: [[[u8; 16]; 4]; BATCH],
    /// The powers of the hash key that belong to the blocks of an edge.
    pub(super) edge_powers: [[u8; 16]; 4],
    /// Per sector, the counter block that counts 0.
    pub(super) nonces: [[u8; 16]; BATCH],
    /// Per sector, the counter block that counts 1; encrypted, it masks the tag.
    pub(super) masks: [[u8; 16]; BATCH],
}

impl Batch {
    /// Fills in what belongs to `count` sectors, the first of which is number `first` of `run`.
    #[inline]
    pub(super) fn fill<const N: usize>(
        &mut self,
        keys: &GcmSchedule<N>,
        run: GcmRun<'_>,
        first: usize,
        count: usize,
    ) {
        for at in 0..count.min(BATCH) {
            let Some((nonce, ad)) = run.sector(first + at) else {
                break;
            };
            self.set(at, nonce, ad, run.sector_bytes);
        }
        let ad_blocks = run.ad_bytes.div_ceil(16);
        let data_from = POWERS - 1 - run.sector_bytes / 16;
        self.edge_powers[..ad_blocks]
            .copy_from_slice(&keys.powers[data_from - ad_blocks..data_from]);
        self.edge_powers[3] = keys.powers[POWERS - 1];
    }

    pub(super) const fn zeroed() -> Self {
        Self {
            edges: [[[0; 16]; 4]; BATCH],
            edge_powers: [[0; 16]; 4],
            nonces: [[0; 16]; BATCH],
            masks: [[0; 16]; BATCH],
        }
    }

    fn set(&mut self, at: usize, nonce: &[u8; NONCE_BYTES], ad: &[u8], sector_bytes: usize) {
        let edge = &mut self.edges[at];
        // The shape of dm-crypt, sector number and nonce, is copied without a call.
        if let Some((ad, [])) = ad.split_first_chunk::<20>() {
            edge.as_flattened_mut()[..20].copy_from_slice(ad);
        } else {
            edge.as_flattened_mut()[..ad.len()].copy_from_slice(ad);
        }
        edge[3][..8].copy_from_slice(&(ad.len() as u64 * 8).to_be_bytes());
        edge[3][8..].copy_from_slice(&(sector_bytes as u64 * 8).to_be_bytes());
        self.nonces[at][..NONCE_BYTES].copy_from_slice(nonce);
        self.masks[at] = self.nonces[at];
        self.masks[at][15] = 1;
    }
}

/// With a power of the hash key, tags can be made for anything.
impl Drop for Batch {
    #[inline]
    fn drop(&mut self) {
        wipe(&mut self.edge_powers, [[0; 16]; 4]);
        wipe(&mut self.masks, [[0; 16]; BATCH]);
    }
}
