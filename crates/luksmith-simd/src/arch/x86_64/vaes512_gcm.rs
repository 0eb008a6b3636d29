//! AES-GCM with VAES and carry-less products on 512-bit vectors.

use core::arch::x86_64::{
    __m128i, __m512i, _mm_set_epi64x, _mm_shuffle_epi8, _mm_xor_si128, _mm256_castsi256_si128,
    _mm256_extracti128_si256, _mm256_xor_si256, _mm512_aesenc_epi128, _mm512_aesenclast_epi128,
    _mm512_castsi512_si256, _mm512_clmulepi64_epi128, _mm512_extracti64x4_epi64, _mm512_set_epi64,
    _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_xor_si512,
};

use super::gcm_narrow::gcm_entry;
use super::gcm_schedule::{Batch, GcmSchedule, STEP, reduce};
use super::schedule::{load128, store128};
use super::vaes512::{Vaes512, load, spread, store, xor3};
use crate::buffers::{Buffers, Chunk};
use crate::gcm::{BATCH, GcmRun, TAG_BYTES};

/// Vectors in one step.
const WIDE: usize = STEP / 64;

// `Vaes512::detect` asks for avx512f, avx512bw, vaes, vpclmulqdq and pclmulqdq.
gcm_entry!(Vaes512);

#[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq")]
fn sectors<const N: usize, const DECRYPT: bool>(
    keys: &GcmSchedule<N>,
    run: GcmRun<'_>,
    batch: &mut Batch,
    mut buffers: Buffers<'_>,
    tags: &mut [[u8; TAG_BYTES]],
) {
    let steps = run.sector_bytes / STEP;
    let powers = keys.powers(run.sector_bytes).as_flattened();
    let (powers, _) = powers.as_chunks::<64>();
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
        let (counters, _) = keys.counters.as_chunks::<4>().0.as_chunks::<WIDE>();
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
