//! SHA-512 of 4 messages at once: AVX2, 64 bits per lane.

#![expect(
    unsafe_code,
    reason = "vector loads and stores, and the door to AVX2 code"
)]

use super::cpu::{Features, features};
use super::lanes::{lane_kernel, sixteen};
use crate::sha2::constants::K512;
use crate::sha2::lanes::{Lanes, Walk};
use core::arch::x86_64::*;

/// Proof that this machine has what the kernels of this file use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The proof, where the machine has AVX2.
    pub(crate) fn detect() -> Option<Self> {
        features().has(Features::AVX2).then_some(Self(()))
    }
}

impl Lanes<u64, 4, 128> for Avx2 {
    fn compress(self, state: &mut [[u64; 4]; 8], parts: &[[&[u8]; 4]]) {
        // SAFETY: an `Avx2` exists only if `detect` saw avx2 on this machine, and this is what
        // `compress_featured` enables.
        unsafe { compress_featured(state, parts) }
    }

    fn compress_words(self, state: &mut [[u64; 4]; 8], words: &[[u64; 4]; 16]) {
        // SAFETY: as in `compress`.
        unsafe { compress_words_featured(state, words) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat(word: u64) -> __m256i {
    _mm256_set1_epi64x(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(row: &[u64; 4]) -> __m256i {
    // SAFETY: the reference is to 32 readable bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(row.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(row: &mut [u64; 4], vector: __m256i) {
    // SAFETY: the reference is to 32 writable bytes; the store needs no alignment.
    unsafe { _mm256_storeu_si256(row.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi64(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotated<const RIGHT: i32, const LEFT: i32>(a: __m256i) -> __m256i {
    const { assert!(RIGHT + LEFT == 64) };
    _mm256_or_si256(_mm256_srli_epi64::<RIGHT>(a), _mm256_slli_epi64::<LEFT>(a))
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum0(a: __m256i) -> __m256i {
    xor3(
        rotated::<28, 36>(a),
        rotated::<34, 30>(a),
        rotated::<39, 25>(a),
    )
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum1(e: __m256i) -> __m256i {
    xor3(
        rotated::<14, 50>(e),
        rotated::<18, 46>(e),
        rotated::<41, 23>(e),
    )
}

#[inline]
#[target_feature(enable = "avx2")]
fn mix0(w: __m256i) -> __m256i {
    xor3(
        rotated::<1, 63>(w),
        rotated::<8, 56>(w),
        _mm256_srli_epi64::<7>(w),
    )
}

#[inline]
#[target_feature(enable = "avx2")]
fn mix1(w: __m256i) -> __m256i {
    xor3(
        rotated::<19, 45>(w),
        rotated::<61, 3>(w),
        _mm256_srli_epi64::<6>(w),
    )
}

#[inline]
#[target_feature(enable = "avx2")]
fn choose(e: __m256i, f: __m256i, g: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_and_si256(_mm256_xor_si256(f, g), e), g)
}

#[inline]
#[target_feature(enable = "avx2")]
fn majority(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_or_si256(
        _mm256_and_si256(a, b),
        _mm256_and_si256(_mm256_or_si256(a, b), c),
    )
}

/// [`pinned`], for a place where the order may matter.
#[inline]
#[target_feature(enable = "avx2")]
fn ordered(x: __m256i) -> __m256i {
    pinned(x)
}

/// The same value, of which the compiler knows nothing: it would otherwise reorder sums, which
/// decides how long a round takes, and merge shuffles into more of them.
#[inline]
#[target_feature(enable = "avx2")]
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

/// Two message words of every lane, from the 16 bytes at `at`.
///
/// 128-bit part `p` of row `r` comes from lane `2 * p + r`; a 2 x 2 transposition
/// inside the parts does the rest.
#[inline]
#[target_feature(enable = "avx2")]
fn transposed(lanes: &[&[u8]; 4], at: usize) -> [__m256i; 2] {
    let row = |r: usize| {
        let part = |p: usize| {
            debug_assert!(at + 16 <= lanes[2 * p + r].len());
            // SAFETY: `Walk` has seen that all lanes of a part have one length, and its places lie
            // a whole block below the end; `at` is in the block at such a place, 16 bytes or more
            // below its end.
            unsafe { _mm_loadu_si128(lanes[2 * p + r].as_ptr().add(at).cast()) }
        };
        _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(part(0)), part(1))
    };
    let (r0, r1) = (row(0), row(1));
    let swap = _mm256_broadcastsi128_si256(_mm_set_epi8(
        8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7,
    ));
    [
        _mm256_shuffle_epi8(pinned(_mm256_unpacklo_epi64(r0, r1)), swap),
        _mm256_shuffle_epi8(pinned(_mm256_unpackhi_epi64(r0, r1)), swap),
    ]
}

lane_kernel! {
    features: "avx2", vector: __m256i, word: u64, lanes: 4,
    block: 128, group: 2, passes: 4, behind: false, constants: K512
}
