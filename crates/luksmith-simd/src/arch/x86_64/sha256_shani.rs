//! SHA-256 with the SHA extensions: one message, or two side by side.
//!
//! These instructions exist only in the old SSE encoding, which is slow beside VEX code that uses
//! the upper halves of the registers: the functions here enable no AVX, are never inlined into code
//! that does, and clear or copy no arrays.

#![expect(
    unsafe_code,
    reason = "vector loads and stores, and the door to SHA-NI code"
)]

use super::cpu::{Features, features};
use crate::sha2::constants::K256;
use core::arch::x86_64::*;

/// Proof that this machine has what the kernels of this file use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShaNi(());

impl ShaNi {
    /// The proof, where the machine has the SHA extensions.
    pub(crate) fn detect() -> Option<Self> {
        let wanted = Features::SHA.and(Features::SSSE3).and(Features::SSE41);
        features().has(wanted).then_some(Self(()))
    }

    /// Compresses the blocks of one message into its state.
    pub(crate) fn compress(self, state: &mut [u32; 8], blocks: &[[u8; 64]]) {
        // SAFETY: a `ShaNi` exists only if `detect` saw sha, ssse3 and sse4.1 on this machine, and
        // these are what `compress_one` enables.
        unsafe { compress_one(state, blocks) }
    }

    /// Compresses the blocks of two equally long messages into their states.
    pub(crate) fn compress_pair(self, states: &mut [[u32; 8]; 2], blocks: [&[[u8; 64]]; 2]) {
        // SAFETY: as in `compress`.
        unsafe { compress_two(states, blocks) }
    }
}

/// The state as the instructions want it: words a, b, e, f and c, d, g, h, highest first.
#[derive(Clone, Copy)]
pub(super) struct State {
    pub(super) abef: __m128i,
    pub(super) cdgh: __m128i,
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn load_state(state: &[u32; 8]) -> State {
    // SAFETY: the reference is to 32 readable bytes; the loads need no alignment.
    let (dcba, hgfe) = unsafe {
        (
            _mm_loadu_si128(state.as_ptr().cast()),
            _mm_loadu_si128(state.as_ptr().add(4).cast()),
        )
    };
    let cdab = _mm_shuffle_epi32::<0xb1>(dcba);
    let efgh = _mm_shuffle_epi32::<0x1b>(hgfe);
    State {
        abef: _mm_alignr_epi8::<8>(cdab, efgh),
        cdgh: _mm_blend_epi16::<0xf0>(efgh, cdab),
    }
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn store_state(state: &mut [u32; 8], from: State) {
    let feba = _mm_shuffle_epi32::<0x1b>(from.abef);
    let dchg = _mm_shuffle_epi32::<0xb1>(from.cdgh);
    let dcba = _mm_blend_epi16::<0xf0>(feba, dchg);
    let hgfe = _mm_alignr_epi8::<8>(dchg, feba);
    // SAFETY: the reference is to 32 writable bytes; the stores need no alignment.
    unsafe {
        _mm_storeu_si128(state.as_mut_ptr().cast(), dcba);
        _mm_storeu_si128(state.as_mut_ptr().add(4).cast(), hgfe);
    }
}

/// Message words `4 * I` to `4 * I + 3` of a block.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn message<const I: usize>(block: &[u8; 64]) -> __m128i {
    const { assert!(I < 4) };
    let swap = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    // SAFETY: the reference is to 64 readable bytes and `I` is below 4.
    _mm_shuffle_epi8(
        unsafe { _mm_loadu_si128(block.as_ptr().add(16 * I).cast()) },
        swap,
    )
}

/// Round constants `4 * G` to `4 * G + 3`.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn constants<const G: usize>() -> __m128i {
    const { assert!(G < 16) };
    // SAFETY: `K256` has 64 words and `G` is below 16.
    unsafe { _mm_loadu_si128(K256.as_ptr().add(4 * G).cast()) }
}

/// Rounds `4 * G` to `4 * G + 3`, with the schedule of the words 16 rounds later where there are
/// any.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn four_rounds<const G: usize>(
    state: (&mut __m128i, &mut __m128i),
    w: &mut [__m128i; 4],
) {
    let (abef, cdgh) = state;
    let mut wk = _mm_add_epi32(w[G % 4], constants::<G>());
    *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, wk);
    wk = _mm_shuffle_epi32::<0x0e>(wk);
    *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, wk);
    if G < 12 {
        // W[t + 16..] = sigma1 over (W[t] + sigma0(W[t + 1..]) + W[t + 9..]).
        let near = _mm_alignr_epi8::<4>(w[(G + 3) % 4], w[(G + 2) % 4]);
        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[G % 4], w[(G + 1) % 4]), near);
        w[G % 4] = _mm_sha256msg2_epu32(sum, w[(G + 3) % 4]);
    }
}

/// Calls a step with const argument 0 to 15 in turn.
macro_rules! sixteen_groups {
    ($($call:ident($($arg:expr),*));+) => {
        sixteen_groups!(@ 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; $($call($($arg),*));+)
    };
    (@ $($g:literal)*; $a:ident($s:expr, $w:expr)) => {
        $($a::<$g>($s, $w);)*
    };
    (@ $($g:literal)*; $a:ident($s:expr, $w:expr); $b:ident($t:expr, $v:expr)) => {
        $($a::<$g>($s, $w); $b::<$g>($t, $v);)*
    };
}

pub(super) use sixteen_groups;

#[inline(never)]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn compress_one(state: &mut [u32; 8], blocks: &[[u8; 64]]) {
    let mut s = load_state(state);
    for block in blocks {
        let before = s;
        let mut w = [
            message::<0>(block),
            message::<1>(block),
            message::<2>(block),
            message::<3>(block),
        ];
        sixteen_groups!(four_rounds((&mut s.abef, &mut s.cdgh), &mut w));
        s.abef = _mm_add_epi32(s.abef, before.abef);
        s.cdgh = _mm_add_epi32(s.cdgh, before.cdgh);
    }
    store_state(state, s);
}

#[inline(never)]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn compress_two(states: &mut [[u32; 8]; 2], blocks: [&[[u8; 64]]; 2]) {
    let [first, second] = states;
    let (mut s, mut t) = (load_state(first), load_state(second));
    for (block, other) in blocks[0].iter().zip(blocks[1]) {
        let (s_before, t_before) = (s, t);
        let mut w = [
            message::<0>(block),
            message::<1>(block),
            message::<2>(block),
            message::<3>(block),
        ];
        let mut v = [
            message::<0>(other),
            message::<1>(other),
            message::<2>(other),
            message::<3>(other),
        ];
        sixteen_groups!(
            four_rounds((&mut s.abef, &mut s.cdgh), &mut w);
            four_rounds((&mut t.abef, &mut t.cdgh), &mut v)
        );
        s.abef = _mm_add_epi32(s.abef, s_before.abef);
        s.cdgh = _mm_add_epi32(s.cdgh, s_before.cdgh);
        t.abef = _mm_add_epi32(t.abef, t_before.abef);
        t.cdgh = _mm_add_epi32(t.cdgh, t_before.cdgh);
    }
    store_state(first, s);
    store_state(second, t);
}
