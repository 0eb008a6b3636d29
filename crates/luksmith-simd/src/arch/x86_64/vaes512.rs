//! VAES on 512-bit vectors: four blocks per instruction.

use core::arch::x86_64::{
    __m128i, __m512i, _mm512_aesdec_epi128, _mm512_aesdeclast_epi128, _mm512_aesenc_epi128,
    _mm512_aesenclast_epi128, _mm512_broadcast_i32x4, _mm512_bslli_epi128, _mm512_bsrli_epi128,
    _mm512_castsi512_si128, _mm512_clmulepi64_epi128, _mm512_loadu_si512, _mm512_set_epi64,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_sllv_epi64, _mm512_srlv_epi64,
    _mm512_storeu_si512, _mm512_sub_epi64, _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

use core::hint::black_box;

use super::cpu::{Features, features};
use super::schedule::load128;
use crate::arch::round_keys::{RoundKeys, XtsSchedule, wipe};
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
            .and(Features::PCLMULQDQ)
            .and(Features::SSSE3);
        features().has(wanted).then_some(Self(()))
    }
}

/// Vectors in one step: enough independent chains to cover the latency of an AES round.
pub(super) const WIDE: usize = 4;
/// Bytes in one step.
const STEP: usize = WIDE * 64;
/// Sectors whose tweaks are encrypted together.
pub(super) const GROUP: usize = 4;

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
    if sector_bytes.is_multiple_of(STEP) {
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
/// 2. the second half of a step's rounds runs beside the first half of the next one's: eight chains
///    at a time, where a round takes four cycles and two of them start in each;
/// 3. the tweaks of the next step, or of the next sector, are ready before the rounds of the
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
    // In memory, not in registers, which the rounds need all: a state that waits in memory for one
    // holds up its chain, and these do not.
    let mut groups = Vectors([[0; 64]; 2]);
    let Vectors(groups) = &mut groups;
    // The tweaks of a step and of the one before, for their last rounds.
    let mut used = [const { Vectors([[0; 64]; WIDE]) }; 2];
    let mut turn = 0;
    let group = encrypt_tweaks(tweak_keys, ivs, 0);
    store(&mut groups[0], group);
    let mut tweaks = first_tweaks(_mm512_castsi512_si128(group), data_keys);
    let mut sector = 0;
    let mut left = steps;
    let mut behind: Option<Behind<'_>> = None;
    while let Some(chunk) = buffers.next::<STEP>() {
        let now = tweaks;
        let mut state = whiten(&keys, now, &chunk);
        turn = (turn + 1) % 2;
        for (place, tweak) in used[turn].0.iter_mut().zip(now) {
            store(place, tweak);
        }
        left -= 1;
        if left == 0 {
            left = steps;
            sector += 1;
            let tweak = groups[sector / GROUP % 2].as_chunks().0[sector % GROUP];
            tweaks = first_tweaks(load128(&tweak), data_keys);
            let next = sector + GROUP - 1;
            if next.is_multiple_of(GROUP) && next < sectors {
                store(
                    &mut groups[next / GROUP % 2],
                    encrypt_tweaks(tweak_keys, ivs, next),
                );
            }
        } else {
            tweaks = advance(now, keys.advance);
        }
        match behind {
            Some(mut behind) => {
                both_halves::<N, DECRYPT>(&keys, &mut state, &mut behind.state);
                last::<DECRYPT>(behind.state, loaded(&used[(turn + 1) % 2].0), behind.chunk);
            }
            None => half::<N, DECRYPT, false>(&keys, &mut state),
        }
        behind = Some(Behind { state, chunk });
    }
    if let Some(mut behind) = behind {
        half::<N, DECRYPT, true>(&keys, &mut behind.state);
        last::<DECRYPT>(behind.state, loaded(&used[turn].0), behind.chunk);
    }
    wipe(groups, [[0; 64]; 2]);
    for one in &mut used {
        wipe(&mut one.0, [[0; 64]; WIDE]);
    }
}

/// Vectors in memory, each in a cache line of its own.
#[repr(align(64))]
struct Vectors<const N: usize>([[u8; 64]; N]);

/// A step that has the first half of its rounds behind it.
struct Behind<'a> {
    state: [__m512i; WIDE],
    chunk: Chunk<'a, STEP>,
}

/// The first half of a step's rounds, or the second (`SECOND`), but for the last round.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn half<const N: usize, const DECRYPT: bool, const SECOND: bool>(
    keys: &Keys<N>,
    state: &mut [__m512i; WIDE],
) {
    let keys = if SECOND {
        &keys.middle[N / 2 + 1..N - 1]
    } else {
        &keys.middle[1..=N / 2]
    };
    for key in keys {
        for one in &mut *state {
            *one = round::<DECRYPT>(*one, *key);
        }
    }
}

/// The first half of a step's rounds beside the second half of the step before.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn both_halves<const N: usize, const DECRYPT: bool>(
    keys: &Keys<N>,
    state: &mut [__m512i; WIDE],
    old: &mut [__m512i; WIDE],
) {
    for at in 1..=N / 2 {
        for one in state.iter_mut() {
            *one = round::<DECRYPT>(*one, keys.middle[at]);
        }
        if N / 2 + at < N - 1 {
            for one in old.iter_mut() {
                *one = round::<DECRYPT>(*one, keys.middle[N / 2 + at]);
            }
        }
    }
}

/// The last round of a step, into its place.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn last<const DECRYPT: bool>(
    state: [__m512i; WIDE],
    tweaks: [__m512i; WIDE],
    mut chunk: Chunk<'_, STEP>,
) {
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

/// Tweaks from where they were put.
#[inline]
#[target_feature(enable = "avx512f")]
fn loaded(places: &[[u8; 64]; WIDE]) -> [__m512i; WIDE] {
    let mut vectors = [_mm512_setzero_si512(); WIDE];
    for (vector, place) in vectors.iter_mut().zip(places) {
        *vector = load(place);
    }
    vectors
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
    let mut group = [0; 64];
    for sector in 0..sectors {
        if sector % GROUP == 0 {
            store(&mut group, encrypt_tweaks(tweak_keys, ivs, sector));
        }
        let tweak = group.as_chunks().0[sector % GROUP];
        let mut tweaks = first_tweaks(load128(&tweak), data_keys);
        for _ in 0..sector_bytes / STEP {
            let Some(chunk) = buffers.next::<STEP>() else {
                break;
            };
            rounds::<N, DECRYPT>(&keys, whiten(&keys, tweaks, &chunk), tweaks, chunk);
            tweaks = advance(tweaks, keys.advance);
        }
        buffers.next_padded::<STEP>(sector_bytes % STEP, |padded| {
            rounds::<N, DECRYPT>(&keys, whiten(&keys, tweaks, &padded), tweaks, padded);
        });
    }
    wipe(&mut group, [0; 64]);
}

/// Loads one step and whitens it.
#[inline]
#[target_feature(enable = "avx512f")]
fn whiten<const N: usize>(
    keys: &Keys<N>,
    tweaks: [__m512i; WIDE],
    chunk: &Chunk<'_, STEP>,
) -> [__m512i; WIDE] {
    let mut state = tweaks;
    for (one, blocks) in state.iter_mut().zip(chunk.src().as_chunks().0) {
        *one = xor3(load(blocks), *one, keys.whiten);
    }
    state
}

/// The rounds of one whitened step: `WIDE` independent chains.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn rounds<const N: usize, const DECRYPT: bool>(
    keys: &Keys<N>,
    mut state: [__m512i; WIDE],
    tweaks: [__m512i; WIDE],
    chunk: Chunk<'_, STEP>,
) {
    half::<N, DECRYPT, false>(keys, &mut state);
    half::<N, DECRYPT, true>(keys, &mut state);
    last::<DECRYPT>(state, tweaks, chunk);
}

#[inline]
#[target_feature(enable = "avx512f,vaes")]
pub(super) fn round<const DECRYPT: bool>(state: __m512i, key: __m512i) -> __m512i {
    if DECRYPT {
        _mm512_aesdec_epi128(state, key)
    } else {
        _mm512_aesenc_epi128(state, key)
    }
}

#[inline]
#[target_feature(enable = "avx512f,vaes")]
pub(super) fn last_round<const DECRYPT: bool>(state: __m512i, key: __m512i) -> __m512i {
    if DECRYPT {
        _mm512_aesdeclast_epi128(state, key)
    } else {
        _mm512_aesenclast_epi128(state, key)
    }
}

/// The tweaks of `GROUP` sectors from `first` on, one per lane.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
pub(super) fn encrypt_tweaks<const N: usize>(
    keys: &RoundKeys<N>,
    ivs: impl Ivs,
    first: usize,
) -> __m512i {
    // Written out: `map` is not inlined, and a call here would empty every vector register.
    let (a, b) = (halves(ivs.iv(first)), halves(ivs.iv(first + 1)));
    let (c, d) = (halves(ivs.iv(first + 2)), halves(ivs.iv(first + 3)));
    let ivs = _mm512_set_epi64(d.1, d.0, c.1, c.0, b.1, b.0, a.1, a.0);
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
pub(super) fn first_tweaks<const N: usize>(tweak: __m128i, keys: &RoundKeys<N>) -> [__m512i; WIDE] {
    let tweak = _mm512_broadcast_i32x4(tweak);
    let last = spread(&black_box(keys).0[N - 1]);
    let poly = _mm512_set1_epi64(0x87);
    let mut shift = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0);
    let mut tweaks = [_mm512_setzero_si512(); WIDE];
    for to in &mut tweaks {
        let kept = _mm512_sllv_epi64(tweak, shift);
        // A shift by 64, which block 0 asks for, gives 0.
        let left = _mm512_srlv_epi64(tweak, _mm512_sub_epi64(_mm512_set1_epi64(64), shift));
        let up = _mm512_bslli_epi128::<8>(left);
        let back = _mm512_clmulepi64_epi128::<0x01>(left, poly);
        *to = xor3(_mm512_xor_si512(kept, last), up, back);
        shift = _mm512_sub_epi64(shift, _mm512_set1_epi64(-4));
    }
    tweaks
}

/// The tweaks of the next step: times x^16, a shift by two bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
fn advance(tweaks: [__m512i; WIDE], constant: __m512i) -> [__m512i; WIDE] {
    let poly = _mm512_set1_epi64(0x87);
    let mut next = tweaks;
    for to in &mut next {
        let fell_out = _mm512_bsrli_epi128::<14>(*to);
        let back = _mm512_clmulepi64_epi128::<0x00>(fell_out, poly);
        *to = xor3(_mm512_bslli_epi128::<2>(*to), back, constant);
    }
    next
}

/// Round keys in every lane, rearranged for tweaks that carry the last round key with them.
///
/// A block is whitened by the first round key and the tweak before its rounds, and by the last
/// round key and the tweak after them. With U = tweak ^ last, the first is U ^ (first ^ last), a
/// constant, and the second is U itself: no step has to add the last round key to a tweak. U of
/// the next step is (U times x^16) ^ (last times x^16) ^ last, which is one more constant.
struct Keys<const N: usize> {
    whiten: __m512i,
    middle: [__m512i; N],
    advance: __m512i,
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
fn broadcast<const N: usize>(rounds: &RoundKeys<N>) -> Keys<N> {
    let mut middle = [_mm512_setzero_si512(); N];
    for (to, key) in middle.iter_mut().zip(&rounds.0) {
        *to = spread(key);
    }
    let last = spread(&rounds.0[N - 1]);
    let [advance, ..] = advance([last; WIDE], last);
    let whiten = _mm512_xor_si512(spread(&rounds.0[0]), last);
    Keys {
        whiten,
        middle,
        advance,
    }
}

/// The low and the high half of an IV.
#[expect(
    clippy::cast_possible_truncation,
    reason = "each half is taken on purpose"
)]
#[inline]
const fn halves(iv: u128) -> (i64, i64) {
    (iv as i64, (iv >> 64) as i64)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn spread(key: &[u8; 16]) -> __m512i {
    _mm512_broadcast_i32x4(load128(key))
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}

#[expect(unsafe_code, reason = "a load through a pointer")]
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn load(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: the array type says that 64 bytes are readable; the load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[expect(unsafe_code, reason = "a store through a pointer")]
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn store(bytes: &mut [u8; 64], value: __m512i) {
    // SAFETY: the array type says that 64 bytes are writable; the store needs no alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), value) }
}
