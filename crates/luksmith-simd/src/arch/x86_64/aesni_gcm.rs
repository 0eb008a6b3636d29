//! AES-GCM with AES-NI and carry-less products on 128-bit vectors.
//!
//! Nothing here enables AVX, as in [`super::aesni`].

use core::arch::x86_64::{
    __m128i, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_clmulepi64_si128, _mm_set_epi64x,
    _mm_setzero_si128, _mm_shuffle_epi8, _mm_xor_si128,
};
use core::hint::black_box;

use super::aesni::AesNi;
use super::gcm_schedule::{Batch, GcmSchedule, reduce};
use super::schedule::{load128, store128};
use crate::arch::round_keys::RoundKeys;
use crate::buffers::{Buffers, Chunk};
use crate::gcm::{BATCH, GcmRun, TAG_BYTES};

/// Blocks in one step: enough independent chains to cover the latency of an AES round.
const WIDE: usize = 8;
/// Bytes in one step.
const STEP: usize = WIDE * 16;

/// Encrypts or decrypts as many sectors as there are `tags`, the first of which is number `first`
/// of `run`, and writes the tag of each.
///
/// The shape is one that [`super::gcm::VectorGcm::takes`].
pub(crate) fn crypt<const N: usize, const DECRYPT: bool>(
    _cpu: AesNi,
    keys: &GcmSchedule<N>,
    run: GcmRun<'_>,
    first: usize,
    buffers: Buffers<'_>,
    tags: &mut [[u8; TAG_BYTES]],
) {
    let mut batch = Batch::zeroed();
    batch.fill(keys, run, first, tags.len());
    #[expect(unsafe_code, reason = "call of a function with target features")]
    // SAFETY: an `AesNi` exists only if `AesNi::detect` saw aes, pclmulqdq and ssse3 on this
    // machine, which are all that `sectors` enables.
    unsafe {
        sectors::<N, DECRYPT>(keys, run, &mut batch, buffers, tags);
    }
}

#[target_feature(enable = "aes,pclmulqdq,ssse3")]
fn sectors<const N: usize, const DECRYPT: bool>(
    keys: &GcmSchedule<N>,
    run: GcmRun<'_>,
    batch: &mut Batch,
    mut buffers: Buffers<'_>,
    tags: &mut [[u8; TAG_BYTES]],
) {
    let (powers, _) = keys.powers(run.sector_bytes).as_chunks::<WIDE>();
    let (counters, _) = keys.counters.as_chunks::<WIDE>();
    encrypt_masks(&keys.keys, &mut batch.masks);
    let ad_blocks = run.ad_bytes.div_ceil(16);
    let sectors = tags
        .iter_mut()
        .zip(&batch.edges)
        .zip(&batch.nonces)
        .zip(&batch.masks);
    for (((tag, edge), nonce), mask) in sectors {
        let mut sum = Sum::start(edge, &batch.edge_powers, ad_blocks);
        let nonce = load128(nonce);
        let mut steps = counters.iter().zip(powers);
        let Some((counters, first_powers)) = steps.next() else {
            return;
        };
        let Some(mut chunk) = buffers.next::<STEP>() else {
            return;
        };
        if DECRYPT {
            // What is hashed is read before it is overwritten.
            let state = rounds::<N, true>(
                &keys.keys,
                start(nonce, counters),
                &mut sum,
                chunk.src(),
                first_powers,
            );
            finish(&keys.keys, state, &mut chunk);
            for (counters, powers) in steps {
                let Some(mut chunk) = buffers.next::<STEP>() else {
                    return;
                };
                let state = start(nonce, counters);
                let state = rounds::<N, true>(&keys.keys, state, &mut sum, chunk.src(), powers);
                finish(&keys.keys, state, &mut chunk);
            }
        } else {
            let state = start(nonce, counters);
            let state = rounds::<N, false>(&keys.keys, state, &mut sum, chunk.src(), first_powers);
            finish(&keys.keys, state, &mut chunk);
            let (mut before, mut before_powers) = (chunk, first_powers);
            for (counters, powers) in steps {
                let Some(mut chunk) = buffers.next::<STEP>() else {
                    return;
                };
                let state = start(nonce, counters);
                let state =
                    rounds::<N, true>(&keys.keys, state, &mut sum, before.dst(), before_powers);
                finish(&keys.keys, state, &mut chunk);
                (before, before_powers) = (chunk, powers);
            }
            let (blocks, _) = before.dst().as_chunks();
            for (block, power) in blocks.iter().zip(before_powers) {
                sum.add(block, power);
            }
        }
        store128(tag, _mm_xor_si128(load128(mask), sum.finish()));
    }
}

/// The counter blocks of a step, with the first round key.
#[inline]
#[target_feature(enable = "aes")]
fn start(nonce: __m128i, counters: &[[u8; 16]; WIDE]) -> [__m128i; WIDE] {
    let mut state = [nonce; WIDE];
    for (one, counter) in state.iter_mut().zip(counters) {
        *one = _mm_xor_si128(*one, load128(counter));
    }
    state
}

/// All rounds but the last, `WIDE` independent chains, and beside them the products of the blocks
/// in `hashed`, if `HASH` says so.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,ssse3")]
fn rounds<const N: usize, const HASH: bool>(
    keys: &RoundKeys<N>,
    mut state: [__m128i; WIDE],
    sum: &mut Sum,
    hashed: &[u8; STEP],
    powers: &[[u8; 16]; WIDE],
) -> [__m128i; WIDE] {
    const { assert!(WIDE < N - 1, "a round for each block") };
    let (hashed, _) = hashed.as_chunks();
    // Read again at each use: kept across the steps, they would take every register.
    let keys = black_box(keys);
    for (at, key) in keys.0[1..N - 1].iter().enumerate() {
        let key = load128(key);
        for one in &mut state {
            *one = _mm_aesenc_si128(*one, key);
        }
        if let (true, Some(block), Some(power)) = (HASH, hashed.get(at), powers.get(at)) {
            sum.add(block, power);
        }
    }
    state
}

/// The last round, and the text.
#[inline]
#[target_feature(enable = "aes")]
fn finish<const N: usize>(
    keys: &RoundKeys<N>,
    state: [__m128i; WIDE],
    chunk: &mut Chunk<'_, STEP>,
) {
    let last = load128(&keys.0[N - 1]);
    let mut made = state;
    for (one, block) in made.iter_mut().zip(chunk.src().as_chunks().0) {
        *one = _mm_aesenclast_si128(*one, _mm_xor_si128(load128(block), last));
    }
    for (to, one) in chunk.dst().as_chunks_mut().0.iter_mut().zip(made) {
        store128(to, one);
    }
}

/// Encrypts the first counter block of each sector, which masks its tag.
#[inline]
#[target_feature(enable = "aes")]
fn encrypt_masks<const N: usize>(keys: &RoundKeys<N>, masks: &mut [[u8; 16]; BATCH]) {
    let (groups, _) = masks.as_chunks_mut::<WIDE>();
    for group in groups {
        let mut state = start(load128(&keys.0[0]), group);
        for key in &keys.0[1..N - 1] {
            let key = load128(key);
            for one in &mut state {
                *one = _mm_aesenc_si128(*one, key);
            }
        }
        for (to, one) in group.iter_mut().zip(state) {
            store128(to, _mm_aesenclast_si128(one, load128(&keys.0[N - 1])));
        }
    }
}

/// The sum of blocks times powers, unreduced.
struct Sum {
    low: __m128i,
    middle: __m128i,
    high: __m128i,
}

impl Sum {
    /// Starts with the blocks before and after the data.
    #[inline]
    #[target_feature(enable = "pclmulqdq,ssse3")]
    fn start(edge: &[[u8; 16]; 4], powers: &[[u8; 16]; 4], ad_blocks: usize) -> Self {
        let zero = _mm_setzero_si128();
        let mut sum = Self {
            low: zero,
            middle: zero,
            high: zero,
        };
        let [ads @ .., lengths] = edge;
        let [ad_powers @ .., last] = powers;
        for (block, power) in ads.iter().zip(ad_powers).take(ad_blocks) {
            sum.add(block, power);
        }
        sum.add(lengths, last);
        sum
    }

    #[inline]
    #[target_feature(enable = "pclmulqdq,ssse3")]
    fn add(&mut self, block: &[u8; 16], power: &[u8; 16]) {
        let block = _mm_shuffle_epi8(load128(block), reversed());
        let power = load128(power);
        self.low = _mm_xor_si128(self.low, _mm_clmulepi64_si128::<0x00>(block, power));
        self.high = _mm_xor_si128(self.high, _mm_clmulepi64_si128::<0x11>(block, power));
        let middle = _mm_xor_si128(
            _mm_clmulepi64_si128::<0x01>(block, power),
            _mm_clmulepi64_si128::<0x10>(block, power),
        );
        self.middle = _mm_xor_si128(self.middle, middle);
    }

    /// Reduces: the hash of the sector, in the byte order of a tag.
    #[inline]
    #[target_feature(enable = "pclmulqdq,ssse3")]
    fn finish(self) -> __m128i {
        _mm_shuffle_epi8(reduce(self.low, self.middle, self.high), reversed())
    }
}

/// The order of bytes that turns a block around.
#[inline]
#[target_feature(enable = "sse2")]
fn reversed() -> __m128i {
    _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f)
}
