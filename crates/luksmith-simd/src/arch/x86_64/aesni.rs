//! AES-NI on 128-bit vectors: one block per instruction.
//!
//! Nothing here enables AVX. The kernels must stay in the old encoding: code that mixes SHA-NI,
//! which has no other, with VEX code pays hundreds of cycles at every change.

use core::arch::x86_64::{
    __m128i, _mm_add_epi64, _mm_aesdec_si128, _mm_aesdeclast_si128, _mm_aesenc_si128,
    _mm_aesenclast_si128, _mm_and_si128, _mm_clmulepi64_si128, _mm_set_epi32, _mm_set1_epi64x,
    _mm_setzero_si128, _mm_shuffle_epi32, _mm_slli_si128, _mm_srai_epi32, _mm_srli_si128,
    _mm_xor_si128,
};

use core::hint::black_box;

use super::cpu::{Features, features};
use super::schedule::{load128, store128};
use crate::arch::round_keys::{RoundKeys, XtsSchedule, wipe};
use crate::buffers::{Buffers, Chunk};
use crate::xts::tweak::Ivs;

/// Proof that this CPU has what the kernels of this file enable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AesNi(());

impl AesNi {
    /// The only door: `None` where the CPU lacks AES-NI.
    pub(crate) fn detect() -> Option<Self> {
        let wanted = Features::AES.and(Features::PCLMULQDQ).and(Features::SSSE3);
        features().has(wanted).then_some(Self(()))
    }
}

/// Blocks in one step: enough independent chains to cover the latency of an AES round.
const WIDE: usize = 8;
/// Bytes in one step.
const STEP: usize = WIDE * 16;

/// Encrypts or decrypts whole sectors with AES-XTS.
pub(crate) fn xts<const N: usize, const DECRYPT: bool>(
    _cpu: AesNi,
    keys: &XtsSchedule<N>,
    ivs: impl Ivs,
    sector_bytes: usize,
    buffers: Buffers<'_>,
) {
    let data = if DECRYPT {
        &keys.decrypt
    } else {
        &keys.encrypt
    };
    if sector_bytes.is_multiple_of(STEP) {
        #[expect(unsafe_code, reason = "call of a function with target features")]
        // SAFETY: an `AesNi` exists only if `AesNi::detect` saw aes, pclmulqdq and ssse3 on this
        // machine, which include all that `run` enables.
        unsafe {
            run::<N, DECRYPT, _>(data, &keys.tweak, ivs, sector_bytes / STEP, buffers);
        }
    } else {
        #[expect(unsafe_code, reason = "call of a function with target features")]
        // SAFETY: as above; `any_size` enables the same features.
        unsafe {
            any_size::<N, DECRYPT, _>(data, &keys.tweak, ivs, sector_bytes, buffers);
        }
    }
}

/// Sectors of whole steps. The tweaks of eight sectors are encrypted together, and the tweaks of
/// the next step, or of the next sector, are ready before the rounds of the current step start.
#[target_feature(enable = "aes,pclmulqdq")]
fn run<const N: usize, const DECRYPT: bool, I: Ivs>(
    data_keys: &RoundKeys<N>,
    tweak_keys: &RoundKeys<N>,
    ivs: I,
    steps: usize,
    mut buffers: Buffers<'_>,
) {
    let keys = Keys::new(data_keys);
    let sectors = buffers.len() / (steps * STEP);
    let mut group = [[0; 16]; WIDE];
    encrypt_tweaks(tweak_keys, ivs, 0, &mut group);
    let mut tweaks = first_tweaks(&group[0], keys.last());
    let mut sector: usize = 0;
    let mut left = steps;
    while let Some(chunk) = buffers.next::<STEP>() {
        let now = tweaks;
        let state = whiten(&keys, now, &chunk);
        left -= 1;
        if left == 0 {
            left = steps;
            sector += 1;
            if sector.is_multiple_of(WIDE) && sector < sectors {
                encrypt_tweaks(tweak_keys, ivs, sector, &mut group);
            }
            tweaks = first_tweaks(&group[sector % WIDE], keys.last());
            rounds::<N, DECRYPT>(&keys, state, now, chunk);
        } else {
            tweaks = rounds_advancing::<N, DECRYPT>(&keys, state, now, chunk);
        }
    }
    wipe(&mut group, [[0; 16]; WIDE]);
}

/// Sectors of any size, one after the other; the last step of each may be a partial one.
#[target_feature(enable = "aes,pclmulqdq")]
fn any_size<const N: usize, const DECRYPT: bool, I: Ivs>(
    data_keys: &RoundKeys<N>,
    tweak_keys: &RoundKeys<N>,
    ivs: I,
    sector_bytes: usize,
    mut buffers: Buffers<'_>,
) {
    let keys = Keys::new(data_keys);
    let sectors = buffers.len() / sector_bytes;
    let mut group = [[0; 16]; WIDE];
    for sector in 0..sectors {
        if sector.is_multiple_of(WIDE) {
            encrypt_tweaks(tweak_keys, ivs, sector, &mut group);
        }
        let mut tweaks = first_tweaks(&group[sector % WIDE], keys.last());
        for _ in 0..sector_bytes / STEP {
            let Some(chunk) = buffers.next::<STEP>() else {
                break;
            };
            let state = whiten(&keys, tweaks, &chunk);
            rounds::<N, DECRYPT>(&keys, state, tweaks, chunk);
            tweaks = advance(tweaks, keys.advance);
        }
        buffers.next_padded::<STEP>(sector_bytes % STEP, |padded| {
            let state = whiten(&keys, tweaks, &padded);
            rounds::<N, DECRYPT>(&keys, state, tweaks, padded);
        });
    }
    wipe(&mut group, [[0; 16]; WIDE]);
}

/// What a step needs of the round keys: tweaks carry the last one with them, as the 512-bit
/// kernel explains.
struct Keys<'a, const N: usize> {
    whiten: __m128i,
    advance: __m128i,
    rounds: &'a RoundKeys<N>,
}

impl<'a, const N: usize> Keys<'a, N> {
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq")]
    fn new(rounds: &'a RoundKeys<N>) -> Self {
        let last = load128(&rounds.0[N - 1]);
        let whiten = _mm_xor_si128(load128(&rounds.0[0]), last);
        let [advance, ..] = advance([last; WIDE], last);
        Self {
            whiten,
            advance,
            rounds,
        }
    }

    #[inline]
    fn last(&self) -> &[u8; 16] {
        &self.rounds.0[N - 1]
    }
}

/// Loads one step and whitens it.
#[inline]
#[target_feature(enable = "aes")]
fn whiten<const N: usize>(
    keys: &Keys<'_, N>,
    tweaks: [__m128i; WIDE],
    chunk: &Chunk<'_, STEP>,
) -> [__m128i; WIDE] {
    let mut state = tweaks;
    for (one, block) in state.iter_mut().zip(chunk.src().as_chunks().0) {
        *one = _mm_xor_si128(_mm_xor_si128(load128(block), keys.whiten), *one);
    }
    state
}

/// The rounds of one whitened step: `WIDE` independent chains.
#[inline]
#[target_feature(enable = "aes")]
fn rounds<const N: usize, const DECRYPT: bool>(
    keys: &Keys<'_, N>,
    mut state: [__m128i; WIDE],
    tweaks: [__m128i; WIDE],
    mut chunk: Chunk<'_, STEP>,
) {
    let rounds = black_box(keys.rounds);
    for key in &rounds.0[1..N - 1] {
        let key = load128(key);
        for one in &mut state {
            *one = round::<DECRYPT>(*one, key);
        }
    }
    finish::<DECRYPT>(state, tweaks, &mut chunk);
}

/// The last round, which also whitens, and the store.
#[inline]
#[target_feature(enable = "aes")]
fn finish<const DECRYPT: bool>(
    state: [__m128i; WIDE],
    tweaks: [__m128i; WIDE],
    chunk: &mut Chunk<'_, STEP>,
) {
    for ((to, one), tweak) in chunk
        .dst()
        .as_chunks_mut()
        .0
        .iter_mut()
        .zip(state)
        .zip(tweaks)
    {
        store128(to, last_round::<DECRYPT>(one, tweak));
    }
}

/// [`rounds`], with the tweaks of the next step made between them: what waits for an AES round also
/// keeps what stands behind it waiting, so other work has to stand among the rounds.
#[inline]
#[target_feature(enable = "aes,pclmulqdq")]
fn rounds_advancing<const N: usize, const DECRYPT: bool>(
    keys: &Keys<'_, N>,
    mut state: [__m128i; WIDE],
    tweaks: [__m128i; WIDE],
    mut chunk: Chunk<'_, STEP>,
) -> [__m128i; WIDE] {
    const { assert!(WIDE < N - 1, "a round for each tweak") };
    let rounds = black_box(keys.rounds);
    let mut next = tweaks;
    for (at, key) in rounds.0[1..N - 1].iter().enumerate() {
        let key = load128(key);
        for one in &mut state {
            *one = round::<DECRYPT>(*one, key);
        }
        if let Some(tweak) = next.get_mut(at) {
            *tweak = advanced(*tweak, keys.advance);
        }
    }
    finish::<DECRYPT>(state, tweaks, &mut chunk);
    next
}

#[inline]
#[target_feature(enable = "aes")]
fn round<const DECRYPT: bool>(state: __m128i, key: __m128i) -> __m128i {
    if DECRYPT {
        _mm_aesdec_si128(state, key)
    } else {
        _mm_aesenc_si128(state, key)
    }
}

#[inline]
#[target_feature(enable = "aes")]
fn last_round<const DECRYPT: bool>(state: __m128i, key: __m128i) -> __m128i {
    if DECRYPT {
        _mm_aesdeclast_si128(state, key)
    } else {
        _mm_aesenclast_si128(state, key)
    }
}

/// The tweaks of `WIDE` sectors from `first` on.
#[inline]
#[target_feature(enable = "aes")]
fn encrypt_tweaks<const N: usize>(
    keys: &RoundKeys<N>,
    ivs: impl Ivs,
    first: usize,
    to: &mut [[u8; 16]; WIDE],
) {
    // Read again at each use: kept across the steps, they would push the tweaks out of registers.
    let keys = black_box(keys);
    let mut state = [_mm_setzero_si128(); WIDE];
    for (at, one) in state.iter_mut().enumerate() {
        let iv = load128(&ivs.iv(first + at).to_le_bytes());
        *one = _mm_xor_si128(iv, load128(&keys.0[0]));
    }
    for key in &keys.0[1..N - 1] {
        let key = load128(key);
        for one in &mut state {
            *one = _mm_aesenc_si128(*one, key);
        }
    }
    let last = load128(&keys.0[N - 1]);
    for (to, one) in to.iter_mut().zip(state) {
        store128(to, _mm_aesenclast_si128(one, last));
    }
}

/// The tweaks of the first step of a sector, xor the last round key: block `i` gets the sector's
/// tweak times x^i.
#[inline]
#[target_feature(enable = "sse2")]
fn first_tweaks(tweak: &[u8; 16], last: &[u8; 16]) -> [__m128i; WIDE] {
    let (mut tweak, last) = (load128(tweak), load128(last));
    let mut tweaks = [_mm_xor_si128(tweak, last); WIDE];
    for to in &mut tweaks[1..] {
        tweak = times_x(tweak);
        *to = _mm_xor_si128(tweak, last);
    }
    tweaks
}

/// Both halves move left by one bit. The top bit of each 32-bit word, spread over its word by an
/// arithmetic shift and moved to where it enters, selects what comes in: 1 into the high half,
/// 0x87 into the low one.
#[inline]
#[target_feature(enable = "sse2")]
fn times_x(tweak: __m128i) -> __m128i {
    let signs = _mm_srai_epi32::<31>(_mm_shuffle_epi32::<0b00_01_00_11>(tweak));
    let enters = _mm_and_si128(signs, _mm_set_epi32(0, 1, 0, 0x87));
    _mm_xor_si128(_mm_add_epi64(tweak, tweak), enters)
}

/// The tweaks of the next step.
#[inline]
#[target_feature(enable = "pclmulqdq")]
fn advance(tweaks: [__m128i; WIDE], constant: __m128i) -> [__m128i; WIDE] {
    let mut next = tweaks;
    for to in &mut next {
        *to = advanced(*to, constant);
    }
    next
}

/// A tweak of the next step: times x^8, a shift by one byte.
#[inline]
#[target_feature(enable = "pclmulqdq")]
fn advanced(tweak: __m128i, constant: __m128i) -> __m128i {
    let poly = _mm_set1_epi64x(0x87);
    let back = _mm_clmulepi64_si128::<0x00>(_mm_srli_si128::<15>(tweak), poly);
    let up = _mm_slli_si128::<1>(tweak);
    _mm_xor_si128(_mm_xor_si128(up, constant), back)
}

/// Encrypts one block, for values that are made once per key.
#[cfg(feature = "gcm")]
pub(crate) fn encrypt_block<const N: usize>(
    _cpu: AesNi,
    keys: &RoundKeys<N>,
    mut block: [u8; 16],
) -> [u8; 16] {
    #[expect(unsafe_code, reason = "call of a function with a target feature")]
    // SAFETY: an `AesNi` exists only if `AesNi::detect` saw aes on this machine.
    unsafe {
        encrypt_block_aes(keys, &mut block);
    }
    block
}

#[cfg(feature = "gcm")]
#[target_feature(enable = "aes")]
fn encrypt_block_aes<const N: usize>(keys: &RoundKeys<N>, block: &mut [u8; 16]) {
    let mut state = _mm_xor_si128(load128(block), load128(&keys.0[0]));
    for key in &keys.0[1..N - 1] {
        state = _mm_aesenc_si128(state, load128(key));
    }
    store128(block, _mm_aesenclast_si128(state, load128(&keys.0[N - 1])));
}
