//! AES-GCM with VAES and carry-less products on 256-bit vectors, without AVX-512.

use core::arch::x86_64::{
    __m128i, __m256i, _mm_set_epi64x, _mm_shuffle_epi8, _mm_xor_si128, _mm256_aesenc_epi128,
    _mm256_aesenclast_epi128, _mm256_castsi256_si128, _mm256_clmulepi64_epi128,
    _mm256_extracti128_si256, _mm256_set_epi64x, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_xor_si256,
};
use core::hint::black_box;

use super::gcm_schedule::{Batch, GcmSchedule, STEP, reduce};
use super::schedule::{load128, store128};
use super::vaes256::{Vaes256, load, spread, store};
use crate::arch::round_keys::RoundKeys;
use crate::buffers::{Buffers, Chunk};
use crate::gcm::{BATCH, GcmRun, TAG_BYTES};

/// Vectors in one step: enough independent chains to cover the latency of an AES round.
const WIDE: usize = STEP / 32;

/// Encrypts or decrypts as many sectors as there are `tags`, the first of which is number `first`
/// of `run`, and writes the tag of each.
///
/// The shape is one that [`super::gcm::VectorGcm::takes`].
pub(crate) fn crypt<const N: usize, const DECRYPT: bool>(
    _cpu: Vaes256,
    keys: &GcmSchedule<N>,
    run: GcmRun<'_>,
    first: usize,
    buffers: Buffers<'_>,
    tags: &mut [[u8; TAG_BYTES]],
) {
    let mut batch = Batch::zeroed();
    batch.fill(keys, run, first, tags.len());
    #[expect(unsafe_code, reason = "call of a function with target features")]
    // SAFETY: a `Vaes256` exists only if `Vaes256::detect` saw avx2, vaes, vpclmulqdq and pclmulqdq
    // on this machine, which are all that `sectors` enables.
    unsafe {
        sectors::<N, DECRYPT>(keys, run, &mut batch, buffers, tags);
    }
}

#[target_feature(enable = "avx2,vaes,vpclmulqdq,pclmulqdq")]
fn sectors<const N: usize, const DECRYPT: bool>(
    keys: &GcmSchedule<N>,
    run: GcmRun<'_>,
    batch: &mut Batch,
    mut buffers: Buffers<'_>,
    tags: &mut [[u8; TAG_BYTES]],
) {
    let powers = keys.powers(run.sector_bytes).as_flattened();
    let (powers, _) = powers.as_chunks::<32>().0.as_chunks::<WIDE>();
    let counters = keys.counters.as_flattened();
    let (counters, _) = counters.as_chunks::<32>().0.as_chunks::<WIDE>();
    encrypt_masks(&keys.keys, &mut batch.masks);
    let sectors = tags
        .iter_mut()
        .zip(&batch.edges)
        .zip(&batch.nonces)
        .zip(&batch.masks);
    for (((tag, edge), nonce), mask) in sectors {
        let mut sum = Sum::start(edge, &batch.edge_powers);
        let nonce = spread(nonce);
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
#[target_feature(enable = "avx2,vaes")]
fn start(nonce: __m256i, counters: &[[u8; 32]; WIDE]) -> [__m256i; WIDE] {
    let mut state = [nonce; WIDE];
    for (one, counter) in state.iter_mut().zip(counters) {
        *one = _mm256_xor_si256(*one, load(counter));
    }
    state
}

/// All rounds but the last, `WIDE` independent chains, and beside them the products of the blocks
/// in `hashed`, if `HASH` says so.
#[inline]
#[target_feature(enable = "avx2,vaes,vpclmulqdq,pclmulqdq")]
fn rounds<const N: usize, const HASH: bool>(
    keys: &RoundKeys<N>,
    mut state: [__m256i; WIDE],
    sum: &mut Sum,
    hashed: &[u8; STEP],
    powers: &[[u8; 32]; WIDE],
) -> [__m256i; WIDE] {
    const { assert!(WIDE < N - 1, "a round for each vector") };
    let (hashed, _) = hashed.as_chunks();
    // Read again at each use: kept across the steps, they would take every register.
    let keys = black_box(keys);
    for (at, key) in keys.0[1..N - 1].iter().enumerate() {
        let key = spread(key);
        for one in &mut state {
            *one = _mm256_aesenc_epi128(*one, key);
        }
        if let (true, Some(block), Some(power)) = (HASH, hashed.get(at), powers.get(at)) {
            sum.add(block, power);
        }
    }
    state
}

/// The last round, and the text.
#[inline]
#[target_feature(enable = "avx2,vaes")]
fn finish<const N: usize>(
    keys: &RoundKeys<N>,
    state: [__m256i; WIDE],
    chunk: &mut Chunk<'_, STEP>,
) {
    let last = spread(&keys.0[N - 1]);
    let mut made = state;
    for (one, block) in made.iter_mut().zip(chunk.src().as_chunks().0) {
        *one = _mm256_aesenclast_epi128(*one, _mm256_xor_si256(load(block), last));
    }
    for (to, one) in chunk.dst().as_chunks_mut().0.iter_mut().zip(made) {
        store(to, one);
    }
}

/// Encrypts the first counter block of each sector, which masks its tag.
#[inline]
#[target_feature(enable = "avx2,vaes")]
fn encrypt_masks<const N: usize>(keys: &RoundKeys<N>, masks: &mut [[u8; 16]; BATCH]) {
    let (vectors, _) = masks.as_flattened_mut().as_chunks_mut();
    let (groups, _) = vectors.as_chunks_mut::<WIDE>();
    for group in groups {
        let mut state = start(spread(&keys.0[0]), group);
        for key in &keys.0[1..N - 1] {
            let key = spread(key);
            for one in &mut state {
                *one = _mm256_aesenc_epi128(*one, key);
            }
        }
        for (to, one) in group.iter_mut().zip(state) {
            store(to, _mm256_aesenclast_epi128(one, spread(&keys.0[N - 1])));
        }
    }
}

/// The sum of blocks times powers, unreduced, lane by lane.
struct Sum {
    low: __m256i,
    middle: __m256i,
    high: __m256i,
}

impl Sum {
    /// Starts with the blocks before and after the data.
    #[inline]
    #[target_feature(enable = "avx2,vpclmulqdq,pclmulqdq")]
    fn start(edge: &[[u8; 16]; 4], powers: &[[u8; 16]; 4]) -> Self {
        let zero = _mm256_setzero_si256();
        let mut sum = Self {
            low: zero,
            middle: zero,
            high: zero,
        };
        let (blocks, _) = edge.as_flattened().as_chunks();
        let (powers, _) = powers.as_flattened().as_chunks();
        for (block, power) in blocks.iter().zip(powers) {
            sum.add(block, power);
        }
        sum
    }

    #[inline]
    #[target_feature(enable = "avx2,vpclmulqdq,pclmulqdq")]
    fn add(&mut self, blocks: &[u8; 32], powers: &[u8; 32]) {
        let blocks = _mm256_shuffle_epi8(load(blocks), reversed());
        let powers = load(powers);
        self.low = _mm256_xor_si256(self.low, _mm256_clmulepi64_epi128::<0x00>(blocks, powers));
        self.high = _mm256_xor_si256(self.high, _mm256_clmulepi64_epi128::<0x11>(blocks, powers));
        let middle = _mm256_xor_si256(
            _mm256_clmulepi64_epi128::<0x01>(blocks, powers),
            _mm256_clmulepi64_epi128::<0x10>(blocks, powers),
        );
        self.middle = _mm256_xor_si256(self.middle, middle);
    }

    /// Adds the lanes up and reduces: the hash of the sector, in the byte order of a tag.
    #[inline]
    #[target_feature(enable = "avx2,vpclmulqdq,pclmulqdq")]
    fn finish(self) -> __m128i {
        let hash = reduce(lanes(self.low), lanes(self.middle), lanes(self.high));
        let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
        _mm_shuffle_epi8(hash, order)
    }
}

/// The xor of the two lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn lanes(value: __m256i) -> __m128i {
    _mm_xor_si128(
        _mm256_castsi256_si128(value),
        _mm256_extracti128_si256::<1>(value),
    )
}

/// The order of bytes that turns blocks around.
#[inline]
#[target_feature(enable = "avx2")]
fn reversed() -> __m256i {
    _mm256_set_epi64x(
        0x0001_0203_0405_0607,
        0x0809_0a0b_0c0d_0e0f,
        0x0001_0203_0405_0607,
        0x0809_0a0b_0c0d_0e0f,
    )
}
