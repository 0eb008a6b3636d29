//! SHA-256 of 8 messages at once: AVX-512VL forms on 256-bit vectors, 32 bits per lane.

#![expect(
    unsafe_code,
    reason = "vector loads and stores, and the door to AVX-512VL code"
)]

use super::cpu::{Features, features};
use super::lanes::{lane_kernel, sixteen};
use crate::sha2::constants::K256;
use crate::sha2::lanes::{Lanes, Walk};
use core::arch::x86_64::*;

/// Proof that this machine has what the kernels of this file use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512Vl(());

impl Avx512Vl {
    /// The proof, where the machine has AVX-512VL with AVX2.
    pub(crate) fn detect() -> Option<Self> {
        let wanted = Features::AVX512F
            .and(Features::AVX512VL)
            .and(Features::AVX2);
        features().has(wanted).then_some(Self(()))
    }
}

impl Lanes<u32, 8, 64> for Avx512Vl {
    fn compress(self, state: &mut [[u32; 8]; 8], parts: &[[&[u8]; 8]]) {
        // SAFETY: an `Avx512Vl` exists only if `detect` saw avx2, avx512f and avx512vl on this
        // machine, and these are what `compress_featured` enables.
        unsafe { compress_featured(state, parts) }
    }

    fn compress_words(self, state: &mut [[u32; 8]; 8], words: &[[u32; 8]; 16]) {
        // SAFETY: as in `compress`.
        unsafe { compress_words_featured(state, words) }
    }
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn splat(word: u32) -> __m256i {
    _mm256_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn load(row: &[u32; 8]) -> __m256i {
    // SAFETY: the reference is to 32 readable bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(row.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn store(row: &mut [u32; 8], vector: __m256i) {
    // SAFETY: the reference is to 32 writable bytes; the store needs no alignment.
    unsafe { _mm256_storeu_si256(row.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn add(a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn xor3(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_ternarylogic_epi32::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn sum0(a: __m256i) -> __m256i {
    xor3(
        _mm256_ror_epi32::<2>(a),
        _mm256_ror_epi32::<13>(a),
        _mm256_ror_epi32::<22>(a),
    )
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn sum1(e: __m256i) -> __m256i {
    xor3(
        _mm256_ror_epi32::<6>(e),
        _mm256_ror_epi32::<11>(e),
        _mm256_ror_epi32::<25>(e),
    )
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn mix0(w: __m256i) -> __m256i {
    xor3(
        _mm256_ror_epi32::<7>(w),
        _mm256_ror_epi32::<18>(w),
        _mm256_srli_epi32::<3>(w),
    )
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn mix1(w: __m256i) -> __m256i {
    xor3(
        _mm256_ror_epi32::<17>(w),
        _mm256_ror_epi32::<19>(w),
        _mm256_srli_epi32::<10>(w),
    )
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn choose(e: __m256i, f: __m256i, g: __m256i) -> __m256i {
    _mm256_ternarylogic_epi32::<0xd8>(g, f, e)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn majority(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_ternarylogic_epi32::<0xe8>(c, b, a)
}

/// [`pinned`], for a place where the order may matter.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn ordered(x: __m256i) -> __m256i {
    pinned(x)
}

/// The same value, of which the compiler knows nothing: it would otherwise reorder sums, which
/// decides how long a round takes, and merge shuffles into more of them.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn pinned(mut x: __m256i) -> __m256i {
    // SAFETY: the text is a comment; nothing is executed.
    unsafe {
        core::arch::asm!(
            "/* {0} */",
            inout(ymm_reg) x,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    x
}

/// Four message words of every lane, from the 16 bytes at `at`.
///
/// 128-bit part `p` of row `r` comes from lane `4 * p + r`; a 4 x 4 transposition
/// inside the parts does the rest.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn transposed(lanes: &[&[u8]; 8], at: usize) -> [__m256i; 4] {
    let row = |r: usize| {
        let part = |p: usize| {
            debug_assert!(at + 16 <= lanes[4 * p + r].len());
            // SAFETY: `Walk` has seen that all lanes of a part have one length, and its places lie
            // a whole block below the end; `at` is in the block at such a place, 16 bytes or more
            // below its end.
            unsafe { _mm_loadu_si128(lanes[4 * p + r].as_ptr().add(at).cast()) }
        };
        _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(part(0)), part(1))
    };
    let (r0, r1, r2, r3) = (row(0), row(1), row(2), row(3));
    let (low01, high01) = (_mm256_unpacklo_epi32(r0, r1), _mm256_unpackhi_epi32(r0, r1));
    let (low23, high23) = (_mm256_unpacklo_epi32(r2, r3), _mm256_unpackhi_epi32(r2, r3));
    let swap = _mm256_broadcastsi128_si256(_mm_set_epi8(
        12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3,
    ));
    [
        _mm256_shuffle_epi8(pinned(_mm256_unpacklo_epi64(low01, low23)), swap),
        _mm256_shuffle_epi8(pinned(_mm256_unpackhi_epi64(low01, low23)), swap),
        _mm256_shuffle_epi8(pinned(_mm256_unpacklo_epi64(high01, high23)), swap),
        _mm256_shuffle_epi8(pinned(_mm256_unpackhi_epi64(high01, high23)), swap),
    ]
}

lane_kernel! {
    features: "avx2,avx512f,avx512vl", vector: __m256i, word: u32, lanes: 8,
    block: 64, group: 4, passes: 3, behind: true, constants: K256
}
