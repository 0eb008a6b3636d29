//! VAES on 512-bit vectors: four blocks per instruction.

use core::arch::x86_64::{
    __m512i, _mm512_aesdec_epi128, _mm512_aesdeclast_epi128, _mm512_aesenc_epi128,
    _mm512_aesenclast_epi128, _mm512_broadcast_i32x4, _mm512_bslli_epi128, _mm512_bsrli_epi128,
    _mm512_castsi512_si128, _mm512_clmulepi64_epi128, _mm512_loadu_si512, _mm512_set_epi64,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_sllv_epi64,
    _mm512_srlv_epi64, _mm512_storeu_si512, _mm512_sub_epi64, _mm512_ternarylogic_epi64,
    _mm512_xor_si512,
};

use super::cpu::{Features, features};
use super::schedule::{RoundKeys, XtsSchedule, load128};
use crate::buffers::{Buffers, Chunk};
use crate::xts::tweak::Ivs;

/// Proof that this CPU has what the kernels of this file enable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vaes512(());

impl Vaes512 {
    /// The only door: `None` where the CPU lacks VAES, AVX-512 or wide carry-less products.
    pub(crate) fn detect() -> Option<Self> {
        let wanted = Features::AVX512F
            .and(Features::AVX512BW)
            .and(Features::VAES)
            .and(Features::VPCLMULQDQ)
            .and(Features::AES)
            .and(Features::SSSE3);
        features().has(wanted).then_some(Self(()))
    }
}

/// Vectors in one step: enough independent chains to cover the latency of an AES round.
const WIDE: usize = 4;
/// Bytes in one step.
const STEP: usize = WIDE * 64;

/// Encrypts or decrypts whole sectors with AES-XTS.
pub(crate) fn xts<const N: usize, const DECRYPT: bool>(
    _cpu: Vaes512,
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
    let steps = sector_bytes / STEP;
    if steps >= 2 && sector_bytes.is_multiple_of(STEP) {
        #[expect(unsafe_code, reason = "call of a function with target features")]
        // SAFETY: a `Vaes512` exists only if `Vaes512::detect` saw avx512f, avx512bw, vaes and
        // vpclmulqdq on this machine, which are all that `run` enables.
        unsafe {
            run::<N, DECRYPT, _>(data, &keys.tweak, ivs, steps, buffers);
        }
    } else {
        #[expect(unsafe_code, reason = "call of a function with target features")]
        // SAFETY: as above; `any_size` enables the same features.
        unsafe {
            any_size::<N, DECRYPT, _>(data, &keys.tweak, ivs, sector_bytes, buffers);
        }
    }
}

/// Sectors of two steps or more. The AES rounds of the tweaks run beside those of the data:
///
/// 1. one vector holds the tweaks of four sectors; those of the next four are encrypted as a
///    fifth chain beside the first step of the current four;
/// 2. the tweaks of the next step, or of the next sector, are ready before the rounds of the
///    current step start. The CPU looks about a hundred instructions ahead, so the order in the
///    source decides what overlaps.
#[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq")]
fn run<const N: usize, const DECRYPT: bool, I: Ivs>(
    data_keys: &RoundKeys<N>,
    tweak_keys: &RoundKeys<N>,
    ivs: I,
    steps: usize,
    mut buffers: Buffers<'_>,
) {
    let keys = broadcast(data_keys);
    let sectors = buffers.len() / (steps * STEP);
    let mut group = encrypt_tweaks(tweak_keys, four_ivs(ivs, 0));
    let mut next_group = group;
    let mut tweaks = first_tweaks(group);
    for sector in 0..sectors {
        for step in 1..steps {
            let Some(chunk) = buffers.next::<STEP>() else {
                return;
            };
            let now = tweaks;
            tweaks = advance(now);
            if step == 1 && sector % 4 == 0 && sector + 4 < sectors {
                next_group = four_ivs(ivs, sector + 4);
                crypt_beside::<N, DECRYPT>(&keys, now, chunk, tweak_keys, &mut next_group);
            } else {
                crypt::<N, DECRYPT>(&keys, now, chunk);
            }
        }
        let Some(chunk) = buffers.next::<STEP>() else {
            return;
        };
        let now = tweaks;
        group = if sector % 4 == 3 {
            next_group
        } else {
            next_lane(group)
        };
        tweaks = first_tweaks(group);
        crypt::<N, DECRYPT>(&keys, now, chunk);
    }
}

/// Sectors of any size, one after the other; the last step of each may be a partial one.
#[target_feature(enable = "avx512f,avx512bw,vaes,vpclmulqdq")]
fn any_size<const N: usize, const DECRYPT: bool, I: Ivs>(
    data_keys: &RoundKeys<N>,
    tweak_keys: &RoundKeys<N>,
    ivs: I,
    sector_bytes: usize,
    mut buffers: Buffers<'_>,
) {
    let keys = broadcast(data_keys);
    let sectors = buffers.len() / sector_bytes;
    let mut group = encrypt_tweaks(tweak_keys, four_ivs(ivs, 0));
    for sector in 0..sectors {
        let mut tweaks = first_tweaks(group);
        for _ in 0..sector_bytes / STEP {
            let Some(chunk) = buffers.next::<STEP>() else {
                return;
            };
            crypt::<N, DECRYPT>(&keys, tweaks, chunk);
            tweaks = advance(tweaks);
        }
        buffers.next_padded::<STEP>(sector_bytes % STEP, |padded| {
            crypt::<N, DECRYPT>(&keys, tweaks, padded);
        });
        group = if sector % 4 == 3 {
            encrypt_tweaks(tweak_keys, four_ivs(ivs, sector + 1))
        } else {
            next_lane(group)
        };
    }
}

/// One step: `WIDE` vectors with their tweaks.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn crypt<const N: usize, const DECRYPT: bool>(
    keys: &[__m512i; N],
    tweaks: [__m512i; WIDE],
    mut chunk: Chunk<'_, STEP>,
) {
    let mut state = [_mm512_setzero_si512(); WIDE];
    for at in 0..WIDE {
        state[at] = xor3(load(&chunk.src().as_chunks().0[at]), tweaks[at], keys[0]);
    }
    for key in &keys[1..N - 1] {
        for one in &mut state {
            *one = round::<DECRYPT>(*one, *key);
        }
    }
    for at in 0..WIDE {
        let last = _mm512_xor_si512(keys[N - 1], tweaks[at]);
        store(
            &mut chunk.dst().as_chunks_mut().0[at],
            last_round::<DECRYPT>(state[at], last),
        );
    }
}

/// One step with a fifth chain: the encryption of the tweaks of the next four sectors.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn crypt_beside<const N: usize, const DECRYPT: bool>(
    keys: &[__m512i; N],
    tweaks: [__m512i; WIDE],
    mut chunk: Chunk<'_, STEP>,
    tweak_keys: &RoundKeys<N>,
    next_group: &mut __m512i,
) {
    let mut state = [_mm512_setzero_si512(); WIDE];
    for at in 0..WIDE {
        state[at] = xor3(load(&chunk.src().as_chunks().0[at]), tweaks[at], keys[0]);
    }
    let mut fifth = _mm512_xor_si512(*next_group, spread(&tweak_keys.0[0]));
    for (key, tweak_key) in keys[1..N - 1].iter().zip(&tweak_keys.0[1..]) {
        for one in &mut state {
            *one = round::<DECRYPT>(*one, *key);
        }
        fifth = _mm512_aesenc_epi128(fifth, spread(tweak_key));
    }
    *next_group = _mm512_aesenclast_epi128(fifth, spread(&tweak_keys.0[N - 1]));
    for at in 0..WIDE {
        let last = _mm512_xor_si512(keys[N - 1], tweaks[at]);
        store(
            &mut chunk.dst().as_chunks_mut().0[at],
            last_round::<DECRYPT>(state[at], last),
        );
    }
}

#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn round<const DECRYPT: bool>(state: __m512i, key: __m512i) -> __m512i {
    if DECRYPT {
        _mm512_aesdec_epi128(state, key)
    } else {
        _mm512_aesenc_epi128(state, key)
    }
}

#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn last_round<const DECRYPT: bool>(state: __m512i, key: __m512i) -> __m512i {
    if DECRYPT {
        _mm512_aesdeclast_epi128(state, key)
    } else {
        _mm512_aesenclast_epi128(state, key)
    }
}

/// The IVs of four sectors, one per lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn four_ivs(ivs: impl Ivs, first: usize) -> __m512i {
    let mut bytes = [0; 64];
    for (at, lane) in bytes.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        *lane = ivs.iv(first + at).to_le_bytes();
    }
    load(&bytes)
}

#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn encrypt_tweaks<const N: usize>(keys: &RoundKeys<N>, ivs: __m512i) -> __m512i {
    let mut state = _mm512_xor_si512(ivs, spread(&keys.0[0]));
    for key in &keys.0[1..N - 1] {
        state = _mm512_aesenc_epi128(state, spread(key));
    }
    _mm512_aesenclast_epi128(state, spread(&keys.0[N - 1]))
}

/// The tweaks of the first step of a sector, from the sector's tweak T in the lowest lane: block
/// `i` gets T times x^i.
///
/// Both halves of T move left by `i` bits; what leaves the low half enters the high one, and what
/// leaves the high half comes back into the low one times 0x87.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
fn first_tweaks(group: __m512i) -> [__m512i; WIDE] {
    let tweak = _mm512_broadcast_i32x4(_mm512_castsi512_si128(group));
    let poly = _mm512_set1_epi64(0x87);
    let mut shift = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0);
    let mut tweaks = [_mm512_setzero_si512(); WIDE];
    for to in &mut tweaks {
        let kept = _mm512_sllv_epi64(tweak, shift);
        // A shift by 64, which block 0 asks for, gives 0.
        let left = _mm512_srlv_epi64(tweak, _mm512_sub_epi64(_mm512_set1_epi64(64), shift));
        let up = _mm512_bslli_epi128::<8>(left);
        *to = xor3(kept, up, _mm512_clmulepi64_epi128::<0x01>(left, poly));
        shift = _mm512_sub_epi64(shift, _mm512_set1_epi64(-4));
    }
    tweaks
}

/// The tweaks of the next step: times x^16, a shift by two bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
fn advance(tweaks: [__m512i; WIDE]) -> [__m512i; WIDE] {
    let poly = _mm512_set1_epi64(0x87);
    let mut next = tweaks;
    for to in &mut next {
        let fell_out = _mm512_bsrli_epi128::<14>(*to);
        let back = _mm512_clmulepi64_epi128::<0x00>(fell_out, poly);
        *to = _mm512_xor_si512(_mm512_bslli_epi128::<2>(*to), back);
    }
    next
}

/// Moves the tweak of the next sector into the lowest lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn next_lane(group: __m512i) -> __m512i {
    _mm512_shuffle_i32x4::<0b00_11_10_01>(group, group)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast<const N: usize>(keys: &RoundKeys<N>) -> [__m512i; N] {
    let mut wide = [_mm512_setzero_si512(); N];
    for (to, key) in wide.iter_mut().zip(&keys.0) {
        *to = spread(key);
    }
    wide
}

#[inline]
#[target_feature(enable = "avx512f")]
fn spread(key: &[u8; 16]) -> __m512i {
    _mm512_broadcast_i32x4(load128(key))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}

#[expect(unsafe_code, reason = "a load through a pointer")]
#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: the array type says that 64 bytes are readable; the load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[expect(unsafe_code, reason = "a store through a pointer")]
#[inline]
#[target_feature(enable = "avx512f")]
fn store(bytes: &mut [u8; 64], value: __m512i) {
    // SAFETY: the array type says that 64 bytes are writable; the store needs no alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), value) }
}
