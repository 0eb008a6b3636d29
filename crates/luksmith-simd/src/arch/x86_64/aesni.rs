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

use super::cpu::{Features, features};
use super::schedule::{RoundKeys, XtsSchedule, load128, store128};
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
    let sectors = buffers.len() / (steps * STEP);
    let mut group = encrypt_tweaks(tweak_keys, ivs, 0);
    let mut tweaks = first_tweaks(&group[0]);
    for sector in 0..sectors {
        for _ in 1..steps {
            let Some(chunk) = buffers.next::<STEP>() else {
                return;
            };
            let now = tweaks;
            tweaks = advance(now);
            crypt::<N, DECRYPT>(data_keys, now, chunk);
        }
        let Some(chunk) = buffers.next::<STEP>() else {
            return;
        };
        let next = (sector + 1) % WIDE;
        if next == 0 && sector + 1 < sectors {
            group = encrypt_tweaks(tweak_keys, ivs, sector + 1);
        }
        let now = tweaks;
        tweaks = first_tweaks(&group[next]);
        crypt::<N, DECRYPT>(data_keys, now, chunk);
    }
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
    let sectors = buffers.len() / sector_bytes;
    let mut group = [[0; 16]; WIDE];
    for sector in 0..sectors {
        if sector % WIDE == 0 {
            group = encrypt_tweaks(tweak_keys, ivs, sector);
        }
        let mut tweaks = first_tweaks(&group[sector % WIDE]);
        for _ in 0..sector_bytes / STEP {
            let Some(chunk) = buffers.next::<STEP>() else {
                return;
            };
            crypt::<N, DECRYPT>(data_keys, tweaks, chunk);
            tweaks = advance(tweaks);
        }
        buffers.next_padded::<STEP>(sector_bytes % STEP, |padded| {
            crypt::<N, DECRYPT>(data_keys, tweaks, padded);
        });
    }
}

/// One step: `WIDE` blocks with their tweaks.
#[inline]
#[target_feature(enable = "aes")]
fn crypt<const N: usize, const DECRYPT: bool>(
    keys: &RoundKeys<N>,
    tweaks: [__m128i; WIDE],
    mut chunk: Chunk<'_, STEP>,
) {
    let mut state = [_mm_setzero_si128(); WIDE];
    let first = load128(&keys.0[0]);
    for at in 0..WIDE {
        let block = load128(&chunk.src().as_chunks().0[at]);
        state[at] = _mm_xor_si128(_mm_xor_si128(block, first), tweaks[at]);
    }
    for key in &keys.0[1..N - 1] {
        let key = load128(key);
        for one in &mut state {
            *one = round::<DECRYPT>(*one, key);
        }
    }
    let last = load128(&keys.0[N - 1]);
    for at in 0..WIDE {
        let block = last_round::<DECRYPT>(state[at], _mm_xor_si128(last, tweaks[at]));
        store128(&mut chunk.dst().as_chunks_mut().0[at], block);
    }
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

/// The tweaks of `WIDE` sectors, side by side.
#[inline]
#[target_feature(enable = "aes")]
fn encrypt_tweaks<const N: usize>(
    keys: &RoundKeys<N>,
    ivs: impl Ivs,
    first: usize,
) -> [[u8; 16]; WIDE] {
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
    let mut tweaks = [[0; 16]; WIDE];
    for (to, one) in tweaks.iter_mut().zip(state) {
        store128(to, _mm_aesenclast_si128(one, last));
    }
    tweaks
}

/// The tweaks of the first step of a sector: block `i` gets the sector's tweak times x^i.
#[inline]
#[target_feature(enable = "sse2")]
fn first_tweaks(tweak: &[u8; 16]) -> [__m128i; WIDE] {
    let mut tweaks = [load128(tweak); WIDE];
    for at in 1..WIDE {
        tweaks[at] = times_x(tweaks[at - 1]);
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

/// The tweaks of the next step: times x^8, a shift by one byte.
#[inline]
#[target_feature(enable = "pclmulqdq")]
fn advance(tweaks: [__m128i; WIDE]) -> [__m128i; WIDE] {
    let poly = _mm_set1_epi64x(0x87);
    let mut next = tweaks;
    for to in &mut next {
        let back = _mm_clmulepi64_si128::<0x00>(_mm_srli_si128::<15>(*to), poly);
        *to = _mm_xor_si128(_mm_slli_si128::<1>(*to), back);
    }
    next
}
