//! SHA-256 of 16 messages at once: AVX-512, 32 bits per lane.

#![expect(
    unsafe_code,
    reason = "vector loads and stores, and the door to AVX-512 code"
)]

pub(super) mod beside;
mod sectors;

use super::cpu::{Features, features};
use super::lanes::{lane_kernel, sixteen};
use crate::sha2::constants::K256;
use crate::sha2::lanes::{Lanes, Walk};
use core::arch::x86_64::*;

/// Proof that this machine has what the kernels of this file use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The proof, where the machine has AVX-512 with byte instructions.
    pub(crate) fn detect() -> Option<Self> {
        let wanted = Features::AVX512F.and(Features::AVX512BW);
        features().has(wanted).then_some(Self(()))
    }
}

impl Lanes<u32, 16, 64> for Avx512 {
    fn compress(self, state: &mut [[u32; 16]; 8], parts: &[[&[u8]; 16]]) {
        // SAFETY: an `Avx512` exists only if `detect` saw avx512f and avx512bw on this machine, and
        // these two are what `compress_featured` enables.
        unsafe { compress_featured(state, parts) }
    }

    fn compress_words(self, state: &mut [[u32; 16]; 8], words: &[[u32; 16]; 16]) {
        // SAFETY: as in `compress`.
        unsafe { compress_words_featured(state, words) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn splat(word: u32) -> __m512i {
    _mm512_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(row: &[u32; 16]) -> __m512i {
    // SAFETY: the reference is to 64 readable bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(row.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store(row: &mut [u32; 16], vector: __m512i) {
    // SAFETY: the reference is to 64 writable bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(row.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn sum0(a: __m512i) -> __m512i {
    xor3(
        ordered(_mm512_ror_epi32::<2>(a)),
        ordered(_mm512_ror_epi32::<13>(a)),
        ordered(_mm512_ror_epi32::<22>(a)),
    )
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn sum1(e: __m512i) -> __m512i {
    xor3(
        ordered(_mm512_ror_epi32::<6>(e)),
        ordered(_mm512_ror_epi32::<11>(e)),
        ordered(_mm512_ror_epi32::<25>(e)),
    )
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn mix0(w: __m512i) -> __m512i {
    xor3(
        ordered(_mm512_ror_epi32::<7>(w)),
        ordered(_mm512_ror_epi32::<18>(w)),
        ordered(_mm512_srli_epi32::<3>(w)),
    )
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn mix1(w: __m512i) -> __m512i {
    xor3(
        ordered(_mm512_ror_epi32::<17>(w)),
        ordered(_mm512_ror_epi32::<19>(w)),
        ordered(_mm512_srli_epi32::<10>(w)),
    )
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn choose(e: __m512i, f: __m512i, g: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xd8>(g, f, e)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn majority(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xe8>(c, b, a)
}

/// [`pinned`], and it is computed after what was `ordered` before it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn ordered(mut x: __m512i) -> __m512i {
    // SAFETY: the text is a comment; nothing is executed.
    unsafe {
        core::arch::asm!(
            "/* {0} */",
            inout(zmm_reg) x,
            options(nomem, nostack, preserves_flags)
        );
    }
    x
}

/// The same value, of which the compiler knows nothing: it would otherwise reorder sums, which
/// decides how long a round takes, and merge shuffles into more of them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pinned(mut x: __m512i) -> __m512i {
    // SAFETY: the text is a comment; nothing is executed.
    unsafe {
        core::arch::asm!(
            "/* {0} */",
            inout(zmm_reg) x,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    x
}

/// Eight message words of every lane, from the 32 bytes at `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transposed(lanes: &[&[u8]; 16], at: usize) -> [__m512i; 8] {
    transposed_halves(|lane| {
        debug_assert!(at + 32 <= lanes[lane].len());
        // SAFETY: `Walk` has seen that all lanes of a part have one length, and its places lie a
        // whole block below the end; `at` is in the block at such a place, 32 bytes or more below
        // its end. The load needs no alignment.
        unsafe { _mm256_loadu_si256(lanes[lane].as_ptr().add(at).cast()) }
    })
}

/// Eight message words of every lane, from the 32 bytes that `half` gives for lanes 0 to 15.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transposed_halves(half: impl Fn(usize) -> __m256i) -> [__m512i; 8] {
    let (low, high) = (eight_lanes(&half, 0), eight_lanes(&half, 8));
    let ([w0, w1, w2, w3], [w4, w5, w6, w7]) = (
        sixteen_lanes::<false>(low, high),
        sixteen_lanes::<true>(low, high),
    );
    [w0, w1, w2, w3, w4, w5, w6, w7]
}

/// Eight message words of the lanes `lane` to `lane + 7`, two words to a vector: the first vector
/// has words 0 and 4, each as two quarters.
///
/// A row holds 32 bytes of two lanes, `r` and `r + 4`, which takes two loads and no shuffle. Four
/// rows are transposed inside their 128-bit parts: two of these then hold a word of eight lanes,
/// the other two the fourth word after it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn eight_lanes(half: &impl Fn(usize) -> __m256i, lane: usize) -> [__m512i; 4] {
    let row = |lane: usize| {
        let row = _mm512_castsi256_si512(half(lane));
        _mm512_inserti64x4::<1>(row, half(lane + 4))
    };
    let (r0, r1, r2, r3) = (row(lane), row(lane + 1), row(lane + 2), row(lane + 3));
    let (low01, high01) = (_mm512_unpacklo_epi32(r0, r1), _mm512_unpackhi_epi32(r0, r1));
    let (low23, high23) = (_mm512_unpacklo_epi32(r2, r3), _mm512_unpackhi_epi32(r2, r3));
    [
        ordered(_mm512_unpacklo_epi64(low01, low23)),
        ordered(_mm512_unpackhi_epi64(low01, low23)),
        ordered(_mm512_unpacklo_epi64(high01, high23)),
        ordered(_mm512_unpackhi_epi64(high01, high23)),
    ]
}

/// Words 0 to 3, or 4 to 7 (`HIGH`), of all lanes, from those of the two halves of the lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn sixteen_lanes<const HIGH: bool>(low: [__m512i; 4], high: [__m512i; 4]) -> [__m512i; 4] {
    let swap = _mm512_broadcast_i32x4(_mm_set_epi8(
        12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3,
    ));
    let mut words = low;
    for (word, high) in words.iter_mut().zip(high) {
        let both = if HIGH {
            _mm512_shuffle_i32x4::<0b11_01_11_01>(*word, high)
        } else {
            _mm512_shuffle_i32x4::<0b10_00_10_00>(*word, high)
        };
        *word = ordered(_mm512_shuffle_epi8(pinned(both), swap));
    }
    words
}

lane_kernel! {
    features: "avx512f,avx512bw", vector: __m512i, word: u32, lanes: 16,
    block: 64, group: 8, passes: 3, behind: true, constants: K256
}
