//! VAES on 256-bit vectors: two blocks per instruction, without AVX-512.

use core::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_aesdec_epi128, _mm256_aesdeclast_epi128,
    _mm256_aesenc_epi128, _mm256_aesenclast_epi128, _mm256_broadcastsi128_si256,
    _mm256_bslli_epi128, _mm256_bsrli_epi128, _mm256_clmulepi64_epi128, _mm256_loadu_si256,
    _mm256_set_epi64x, _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_sllv_epi64,
    _mm256_srlv_epi64, _mm256_storeu_si256, _mm256_sub_epi64, _mm256_xor_si256,
};

use core::hint::black_box;

use super::cpu::{Features, features};
use super::schedule::load128;
use crate::arch::round_keys::{RoundKeys, XtsSchedule, wipe};
use crate::buffers::{Buffers, Chunk};
use crate::xts::tweak::Ivs;

/// Proof that this CPU has what the kernels of this file enable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vaes256(());

impl Vaes256 {
    /// The only door: `None` where the CPU lacks VAES, AVX2 or wide carry-less products.
    pub(crate) fn detect() -> Option<Self> {
        let wanted = Features::AVX2
            .and(Features::VAES)
            .and(Features::VPCLMULQDQ)
            .and(Features::AES)
            .and(Features::PCLMULQDQ)
            .and(Features::SSSE3);
        features().has(wanted).then_some(Self(()))
    }
}

/// Vectors in one step: enough independent chains to cover the latency of an AES round.
const WIDE: usize = 8;
/// Bytes in one step.
const STEP: usize = WIDE * 32;
/// Sectors whose tweaks are encrypted together.
const GROUP: usize = WIDE * 2;

/// Encrypts or decrypts whole sectors with AES-XTS.
pub(crate) fn xts<const N: usize, const DECRYPT: bool>(
    _cpu: Vaes256,
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
        // SAFETY: a `Vaes256` exists only if `Vaes256::detect` saw avx2, vaes and vpclmulqdq on
        // this machine, which are all that `run` enables.
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

/// Sectors of whole steps. The tweaks of sixteen sectors are encrypted together, and the tweaks
/// of the next step, or of the next sector, are ready before the rounds of the current step start.
#[target_feature(enable = "avx2,vaes,vpclmulqdq")]
fn run<const N: usize, const DECRYPT: bool, I: Ivs>(
    data_keys: &RoundKeys<N>,
    tweak_keys: &RoundKeys<N>,
    ivs: I,
    steps: usize,
    mut buffers: Buffers<'_>,
) {
    let keys = Keys::new(data_keys);
    let sectors = buffers.len() / (steps * STEP);
    let mut group = [[0; 16]; GROUP];
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
            if sector.is_multiple_of(GROUP) && sector < sectors {
                encrypt_tweaks(tweak_keys, ivs, sector, &mut group);
            }
            tweaks = first_tweaks(&group[sector % GROUP], keys.last());
        } else {
            tweaks = advance(now, keys.advance);
        }
        rounds::<N, DECRYPT>(&keys, state, now, chunk);
    }
    wipe(&mut group, [[0; 16]; GROUP]);
}

/// Sectors of any size, one after the other; the last step of each may be a partial one.
#[target_feature(enable = "avx2,vaes,vpclmulqdq")]
fn any_size<const N: usize, const DECRYPT: bool, I: Ivs>(
    data_keys: &RoundKeys<N>,
    tweak_keys: &RoundKeys<N>,
    ivs: I,
    sector_bytes: usize,
    mut buffers: Buffers<'_>,
) {
    let keys = Keys::new(data_keys);
    let sectors = buffers.len() / sector_bytes;
    let mut group = [[0; 16]; GROUP];
    for sector in 0..sectors {
        if sector.is_multiple_of(GROUP) {
            encrypt_tweaks(tweak_keys, ivs, sector, &mut group);
        }
        let mut tweaks = first_tweaks(&group[sector % GROUP], keys.last());
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
    wipe(&mut group, [[0; 16]; GROUP]);
}

/// What a step needs of the round keys: tweaks carry the last one with them, as the 512-bit
/// kernel explains.
struct Keys<'a, const N: usize> {
    whiten: __m256i,
    advance: __m256i,
    rounds: &'a RoundKeys<N>,
}

impl<'a, const N: usize> Keys<'a, N> {
    #[inline]
    #[target_feature(enable = "avx2,vpclmulqdq")]
    fn new(rounds: &'a RoundKeys<N>) -> Self {
        let last = spread(&rounds.0[N - 1]);
        let whiten = _mm256_xor_si256(spread(&rounds.0[0]), last);
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
#[target_feature(enable = "avx2")]
fn whiten<const N: usize>(
    keys: &Keys<'_, N>,
    tweaks: [__m256i; WIDE],
    chunk: &Chunk<'_, STEP>,
) -> [__m256i; WIDE] {
    let mut state = tweaks;
    for (one, blocks) in state.iter_mut().zip(chunk.src().as_chunks().0) {
        *one = _mm256_xor_si256(_mm256_xor_si256(load(blocks), keys.whiten), *one);
    }
    state
}

/// The rounds of one whitened step: `WIDE` independent chains.
#[inline]
#[target_feature(enable = "avx2,vaes")]
fn rounds<const N: usize, const DECRYPT: bool>(
    keys: &Keys<'_, N>,
    mut state: [__m256i; WIDE],
    tweaks: [__m256i; WIDE],
    mut chunk: Chunk<'_, STEP>,
) {
    let rounds = black_box(keys.rounds);
    for key in &rounds.0[1..N - 1] {
        let key = spread(key);
        for one in &mut state {
            *one = round::<DECRYPT>(*one, key);
        }
    }
    for ((to, one), tweak) in chunk
        .dst()
        .as_chunks_mut()
        .0
        .iter_mut()
        .zip(state)
        .zip(tweaks)
    {
        store(to, last_round::<DECRYPT>(one, tweak));
    }
}

#[inline]
#[target_feature(enable = "avx2,vaes")]
fn round<const DECRYPT: bool>(state: __m256i, key: __m256i) -> __m256i {
    if DECRYPT {
        _mm256_aesdec_epi128(state, key)
    } else {
        _mm256_aesenc_epi128(state, key)
    }
}

#[inline]
#[target_feature(enable = "avx2,vaes")]
fn last_round<const DECRYPT: bool>(state: __m256i, key: __m256i) -> __m256i {
    if DECRYPT {
        _mm256_aesdeclast_epi128(state, key)
    } else {
        _mm256_aesenclast_epi128(state, key)
    }
}

/// The tweaks of `GROUP` sectors, side by side.
#[inline]
#[target_feature(enable = "avx2,vaes")]
fn encrypt_tweaks<const N: usize>(
    keys: &RoundKeys<N>,
    ivs: impl Ivs,
    first: usize,
    to: &mut [[u8; 16]; GROUP],
) {
    // Read again at each use: kept across the steps, they would push the tweaks out of registers.
    let keys = black_box(keys);
    for (at, iv) in to.iter_mut().enumerate() {
        *iv = ivs.iv(first + at).to_le_bytes();
    }
    let (vectors, _) = to.as_flattened_mut().as_chunks_mut::<32>();
    let mut state = [_mm256_setzero_si256(); WIDE];
    for (one, iv) in state.iter_mut().zip(&*vectors) {
        *one = _mm256_xor_si256(load(iv), spread(&keys.0[0]));
    }
    for key in &keys.0[1..N - 1] {
        let key = spread(key);
        for one in &mut state {
            *one = _mm256_aesenc_epi128(*one, key);
        }
    }
    let last = spread(&keys.0[N - 1]);
    for (to, one) in vectors.iter_mut().zip(state) {
        store(to, _mm256_aesenclast_epi128(one, last));
    }
}

/// The tweaks of the first step of a sector: block `i` gets the sector's tweak T times x^i.
///
/// Both halves of T move left by `i` bits; what leaves the low half enters the high one, and what
/// leaves the high half comes back into the low one times 0x87.
#[inline]
#[target_feature(enable = "avx2,vpclmulqdq")]
fn first_tweaks(tweak: &[u8; 16], last: &[u8; 16]) -> [__m256i; WIDE] {
    let (tweak, last) = (spread(tweak), spread(last));
    let poly = _mm256_set1_epi64x(0x87);
    let mut shift = _mm256_set_epi64x(1, 1, 0, 0);
    let mut tweaks = [_mm256_setzero_si256(); WIDE];
    for to in &mut tweaks {
        let kept = _mm256_sllv_epi64(tweak, shift);
        // A shift by 64, which block 0 asks for, gives 0.
        let left = _mm256_srlv_epi64(tweak, _mm256_sub_epi64(_mm256_set1_epi64x(64), shift));
        let up = _mm256_bslli_epi128::<8>(left);
        let back = _mm256_clmulepi64_epi128::<0x01>(left, poly);
        *to = _mm256_xor_si256(_mm256_xor_si256(kept, last), _mm256_xor_si256(up, back));
        shift = _mm256_add_epi64(shift, _mm256_set1_epi64x(2));
    }
    tweaks
}

/// The tweaks of the next step: times x^16, a shift by two bytes.
#[inline]
#[target_feature(enable = "avx2,vpclmulqdq")]
fn advance(tweaks: [__m256i; WIDE], constant: __m256i) -> [__m256i; WIDE] {
    let poly = _mm256_set1_epi64x(0x87);
    let mut next = tweaks;
    for to in &mut next {
        let back = _mm256_clmulepi64_epi128::<0x00>(_mm256_bsrli_epi128::<14>(*to), poly);
        let up = _mm256_bslli_epi128::<2>(*to);
        *to = _mm256_xor_si256(_mm256_xor_si256(up, constant), back);
    }
    next
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn spread(key: &[u8; 16]) -> __m256i {
    _mm256_broadcastsi128_si256(load128(key))
}

#[expect(unsafe_code, reason = "a load through a pointer")]
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the array type says that 32 bytes are readable; the load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[expect(unsafe_code, reason = "a store through a pointer")]
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store(bytes: &mut [u8; 32], value: __m256i) {
    // SAFETY: the array type says that 32 bytes are writable; the store needs no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), value) }
}
