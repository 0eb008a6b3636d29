//! AES-GCM with VAES and carry-less products on 512-bit vectors.
//!
//! GHASH is computed as POLYVAL (RFC 8452, appendix A): blocks are read byte-reversed, the hash key
//! is multiplied by x, and a product carries a factor x^-128 that the reduction makes for free.
//!
//! The sum over all blocks of a sector is kept unreduced, each block times its own power of the
//! hash key, so that a sector has one reduction and no chain through its blocks.

use alloc::boxed::Box;
use core::arch::x86_64::{
    __m128i, __m512i, _mm_clmulepi64_si128, _mm_set_epi64x, _mm_shuffle_epi8, _mm_shuffle_epi32,
    _mm_slli_si128, _mm_srli_si128, _mm_xor_si128, _mm256_castsi256_si128,
    _mm256_extracti128_si256, _mm256_xor_si256, _mm512_aesenc_epi128, _mm512_aesenclast_epi128,
    _mm512_castsi512_si256, _mm512_clmulepi64_epi128, _mm512_extracti64x4_epi64, _mm512_set_epi64,
    _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_xor_si512,
};

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::aesni::{self, AesNi};
use super::schedule::{load128, store128};
use super::vaes512::{Vaes512, load, spread, store, xor3};
use crate::arch::round_keys::RoundKeys;
use crate::buffers::{Buffers, Chunk};
use crate::gcm::{BATCH, GcmRun, NONCE_BYTES, TAG_BYTES};

/// Vectors in one step.
const WIDE: usize = 4;
/// Bytes in one step.
pub(crate) const STEP: usize = WIDE * 64;
/// Steps in the largest sector.
pub(crate) const MAX_STEPS: usize = 16;
/// Blocks of associated data per sector: what fits into one vector beside the block of lengths.
pub(crate) const MAX_AD_BLOCKS: usize = 3;
/// Powers of the hash key: for every block of the largest sector, its associated data and the
/// block of lengths.
const POWERS: usize = MAX_STEPS * STEP / 16 + MAX_AD_BLOCKS + 1;

/// Everything that is made once from a key.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(64))]
pub(crate) struct GcmSchedule<const N: usize> {
    pub(crate) keys: RoundKeys<N>,
    /// Counter blocks with an empty nonce, xor the first round key: block `i` counts 2 + i.
    counters: [[[u8; 16]; 4]; MAX_STEPS * WIDE],
    /// Powers of the hash key, the highest first, the first power last.
    powers: [[u8; 16]; POWERS],
}

impl<const N: usize> GcmSchedule<N> {
    /// Memory to expand into.
    pub(crate) fn zeroed() -> Box<Self> {
        Box::new(Self {
            keys: RoundKeys::zeroed(),
            counters: [[[0; 16]; 4]; MAX_STEPS * WIDE],
            powers: [[0; 16]; POWERS],
        })
    }

    /// Fills in what follows from the round keys.
    pub(crate) fn derive(&mut self, cpu: AesNi) {
        for (at, block) in (2_u32..).zip(self.counters.as_flattened_mut()) {
            *block = self.keys.0[0];
            for (byte, counter) in block[NONCE_BYTES..].iter_mut().zip(at.to_be_bytes()) {
                *byte ^= counter;
            }
        }
        let mut hash_key = aesni::encrypt_block(cpu, &self.keys, [0; 16]);
        let key = times_x(u128::from_be_bytes(hash_key));
        hash_key.zeroize();
        #[expect(unsafe_code, reason = "call of a function with target features")]
        // SAFETY: an `AesNi` exists only if `AesNi::detect` saw pclmulqdq on this machine, and
        // sse2 is part of every x86-64 CPU.
        unsafe {
            fill_powers(&mut self.powers, key.to_le_bytes());
        }
    }
}

/// Times x in POLYVAL's field, x^128 + x^127 + x^126 + x^121 + 1, in constant time.
const fn times_x(value: u128) -> u128 {
    (value << 1) ^ ((value >> 127) * ((0xc2 << 120) | 1))
}

/// Fills in the powers of `key` from the last place on.
#[target_feature(enable = "pclmulqdq")]
fn fill_powers(powers: &mut [[u8; 16]; POWERS], key: [u8; 16]) {
    let key = load128(&key);
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
fn reduce(low: __m128i, middle: __m128i, high: __m128i) -> __m128i {
    let poly = _mm_set_epi64x(0, 0xc2_u64.cast_signed() << 56);
    let mut low = _mm_xor_si128(low, _mm_slli_si128::<8>(middle));
    let high = _mm_xor_si128(high, _mm_srli_si128::<8>(middle));
    for _ in 0..2 {
        let cancelled = _mm_clmulepi64_si128::<0x00>(low, poly);
        low = _mm_xor_si128(_mm_shuffle_epi32::<0b01_00_11_10>(low), cancelled);
    }
    _mm_xor_si128(high, low)
}

/// Encrypts or decrypts as many sectors as there are `tags`, the first of which is number `first`
/// of `run`, and writes the tag of each.
///
/// The shape is one that [`super::gcm::VectorGcm::takes`].
pub(crate) fn crypt<const N: usize, const DECRYPT: bool>(
    _cpu: Vaes512,
    keys: &GcmSchedule<N>,
    run: GcmRun<'_>,
    first: usize,
    buffers: Buffers<'_>,
    tags: &mut [[u8; TAG_BYTES]],
) {
    // Made before the vectors are loaded: a copy of unknown length is a call, and a call empties
    // every vector register.
    let mut batch = Batch::zeroed();
    for at in 0..tags.len().min(BATCH) {
        let Some((nonce, ad)) = run.sector(first + at) else {
            break;
        };
        batch.set(at, nonce, ad, run.sector_bytes);
    }
    let ad_blocks = run.ad_bytes.div_ceil(16);
    let data_from = POWERS - 1 - run.sector_bytes / 16;
    batch.edge_powers[..ad_blocks].copy_from_slice(&keys.powers[data_from - ad_blocks..data_from]);
    batch.edge_powers[3] = keys.powers[POWERS - 1];
    #[expect(unsafe_code, reason = "call of a function with target features")]
    // SAFETY: a `Vaes512` exists only if `Vaes512::detect` saw avx512f, avx512bw, vaes, vpclmulqdq
    // and pclmulqdq on this machine, which are all that `sectors` enables.
    unsafe {
        sectors::<N, DECRYPT>(keys, run, &mut batch, buffers, tags);
    }
}

/// What the sectors of one call need besides their data.
struct Batch {
    /// Per sector, the associated data in up to three blocks, and in the fourth the lengths of
    /// both parts in bits.
    edges: [[[u8; 16]; 4]; BATCH],
    /// The powers of the hash key that belong to the blocks of an edge.
    edge_powers: [[u8; 16]; 4],
    /// Per sector, the counter block that counts 0.
    nonces: [[u8; 16]; BATCH],
    /// Per sector, the counter block that counts 1; encrypted, it masks the tag.
    masks: [[u8; 16]; BATCH],
}

impl Batch {
    const fn zeroed() -> Self {
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

#[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq")]
fn sectors<const N: usize, const DECRYPT: bool>(
    keys: &GcmSchedule<N>,
    run: GcmRun<'_>,
    batch: &mut Batch,
    mut buffers: Buffers<'_>,
    tags: &mut [[u8; TAG_BYTES]],
) {
    let steps = run.sector_bytes / STEP;
    // Block i of n has power n + 1 - i, since the block of lengths comes after it.
    let from = POWERS - 1 - steps * STEP / 16;
    let (powers, _) = keys.powers[from..POWERS - 1]
        .as_flattened()
        .as_chunks::<64>();
    let edge_powers = load_blocks(&batch.edge_powers);
    let mut round_keys = [_mm512_setzero_si512(); N];
    for (to, key) in round_keys.iter_mut().zip(&keys.keys.0) {
        *to = spread(key);
    }
    encrypt_masks(&round_keys, &mut batch.masks);
    let sectors = tags
        .iter_mut()
        .zip(&batch.edges)
        .zip(&batch.nonces)
        .zip(&batch.masks);
    for (((tag, edge), nonce), mask) in sectors {
        let mut sum = Sum::start(edge, edge_powers);
        let nonce = spread(nonce);
        let Some(chunk) = buffers.next::<STEP>() else {
            return;
        };
        let (counters, _) = keys.counters.as_chunks::<WIDE>();
        let (powers, _) = powers.as_chunks::<WIDE>();
        let mut before = step::<N, DECRYPT>(&round_keys, nonce, &counters[0], chunk);
        for (counters, powers) in counters[1..].iter().zip(&powers[..steps - 1]) {
            let Some(chunk) = buffers.next::<STEP>() else {
                return;
            };
            sum.add_all(before, powers);
            before = step::<N, DECRYPT>(&round_keys, nonce, counters, chunk);
        }
        sum.add_all(before, &powers[steps - 1]);
        store128(tag, _mm_xor_si128(load128(mask), sum.finish()));
    }
}

/// One step of counter mode: gives the ciphertext, whatever the direction.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn step<const N: usize, const DECRYPT: bool>(
    round_keys: &[__m512i; N],
    nonce: __m512i,
    counters: &[[[u8; 16]; 4]; WIDE],
    mut chunk: Chunk<'_, STEP>,
) -> [__m512i; WIDE] {
    let mut state = [_mm512_setzero_si512(); WIDE];
    for (one, counter) in state.iter_mut().zip(counters) {
        *one = _mm512_xor_si512(nonce, load_blocks(counter));
    }
    for key in &round_keys[1..N - 1] {
        for one in &mut state {
            *one = _mm512_aesenc_epi128(*one, *key);
        }
    }
    let mut input = [_mm512_setzero_si512(); WIDE];
    for (one, blocks) in input.iter_mut().zip(chunk.src().as_chunks().0) {
        *one = load(blocks);
    }
    for (one, blocks) in state.iter_mut().zip(input) {
        *one = _mm512_aesenclast_epi128(*one, _mm512_xor_si512(blocks, round_keys[N - 1]));
    }
    for (to, one) in chunk.dst().as_chunks_mut().0.iter_mut().zip(state) {
        store(to, one);
    }
    if DECRYPT { input } else { state }
}

/// Encrypts the first counter block of each sector, which masks its tag.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn encrypt_masks<const N: usize>(round_keys: &[__m512i; N], masks: &mut [[u8; 16]; BATCH]) {
    let (vectors, _) = masks.as_flattened_mut().as_chunks_mut();
    let mut state = [_mm512_setzero_si512(); BATCH / 4];
    for (one, blocks) in state.iter_mut().zip(&*vectors) {
        *one = _mm512_xor_si512(load(blocks), round_keys[0]);
    }
    for key in &round_keys[1..N - 1] {
        for one in &mut state {
            *one = _mm512_aesenc_epi128(*one, *key);
        }
    }
    for (to, one) in vectors.iter_mut().zip(state) {
        store(to, _mm512_aesenclast_epi128(one, round_keys[N - 1]));
    }
}

/// The sum of blocks times powers, unreduced, lane by lane.
struct Sum {
    low: __m512i,
    middle: __m512i,
    high: __m512i,
}

impl Sum {
    /// Starts with the blocks before and after the data.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
    fn start(edge: &[[u8; 16]; 4], powers: __m512i) -> Self {
        let zero = _mm512_setzero_si512();
        let mut sum = Self {
            low: zero,
            middle: zero,
            high: zero,
        };
        sum.add(load_blocks(edge), powers);
        sum
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
    fn add(&mut self, blocks: __m512i, powers: __m512i) {
        let reversed = _mm512_set_epi64(
            0x0001_0203_0405_0607,
            0x0809_0a0b_0c0d_0e0f,
            0x0001_0203_0405_0607,
            0x0809_0a0b_0c0d_0e0f,
            0x0001_0203_0405_0607,
            0x0809_0a0b_0c0d_0e0f,
            0x0001_0203_0405_0607,
            0x0809_0a0b_0c0d_0e0f,
        );
        let blocks = _mm512_shuffle_epi8(blocks, reversed);
        self.low = _mm512_xor_si512(self.low, _mm512_clmulepi64_epi128::<0x00>(blocks, powers));
        self.high = _mm512_xor_si512(self.high, _mm512_clmulepi64_epi128::<0x11>(blocks, powers));
        self.middle = xor3(
            self.middle,
            _mm512_clmulepi64_epi128::<0x01>(blocks, powers),
            _mm512_clmulepi64_epi128::<0x10>(blocks, powers),
        );
    }

    /// Adds the blocks of one step.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
    fn add_all(&mut self, blocks: [__m512i; WIDE], powers: &[[u8; 64]; WIDE]) {
        for (blocks, power) in blocks.into_iter().zip(powers) {
            self.add(blocks, load(power));
        }
    }

    /// Adds the lanes up and reduces: the hash of the sector, in the byte order of a tag.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq")]
    fn finish(self) -> __m128i {
        let hash = reduce(lanes(self.low), lanes(self.middle), lanes(self.high));
        let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
        _mm_shuffle_epi8(hash, order)
    }
}

/// The xor of the four lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn lanes(value: __m512i) -> __m128i {
    let halves = _mm256_xor_si256(
        _mm512_castsi512_si256(value),
        _mm512_extracti64x4_epi64::<1>(value),
    );
    _mm_xor_si128(
        _mm256_castsi256_si128(halves),
        _mm256_extracti128_si256::<1>(halves),
    )
}

/// Four blocks as one vector.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_blocks(blocks: &[[u8; 16]; 4]) -> __m512i {
    let (vectors, _) = blocks.as_flattened().as_chunks();
    load(&vectors[0])
}
