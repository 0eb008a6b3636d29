//! SHA-512 of 8 messages at once: AVX-512, 64 bits per lane.

#![expect(
    unsafe_code,
    reason = "vector loads and stores, and the door to AVX-512 code"
)]

use super::cpu::{Features, features};
use super::lanes::{lane_kernel, sixteen};
use crate::sha2::constants::K512;
use crate::sha2::lanes::{Lanes, Walk};
use core::arch::x86_64::*;

/// Proof that this machine has what the kernels of this file use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The proof, where the machine has AVX-512 with its byte and 64-bit instructions.
    pub(crate) fn detect() -> Option<Self> {
        let wanted = Features::AVX512F
            .and(Features::AVX512BW)
            .and(Features::AVX512DQ);
        features().has(wanted).then_some(Self(()))
    }
}

impl Lanes<u64, 8, 128> for Avx512 {
    fn compress(self, state: &mut [[u64; 8]; 8], parts: &[[&[u8]; 8]]) {
        // SAFETY: an `Avx512` exists only if `detect` saw avx512f, avx512bw and avx512dq on this
        // machine, and these are what `compress_featured` enables.
        unsafe { compress_featured(state, parts) }
    }

    fn compress_words(self, state: &mut [[u64; 8]; 8], words: &[[u64; 8]; 16]) {
        // SAFETY: as in `compress`.
        unsafe { compress_words_featured(state, words) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn splat(word: u64) -> __m512i {
    _mm512_set1_epi64(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn load(row: &[u64; 8]) -> __m512i {
    // SAFETY: the reference is to 64 readable bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(row.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn store(row: &mut [u64; 8], vector: __m512i) {
    // SAFETY: the reference is to 64 writable bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(row.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi64(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn sum0(a: __m512i) -> __m512i {
    xor3(
        _mm512_ror_epi64::<28>(a),
        _mm512_ror_epi64::<34>(a),
        _mm512_ror_epi64::<39>(a),
    )
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn sum1(e: __m512i) -> __m512i {
    xor3(
        _mm512_ror_epi64::<14>(e),
        _mm512_ror_epi64::<18>(e),
        _mm512_ror_epi64::<41>(e),
    )
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn mix0(w: __m512i) -> __m512i {
    xor3(
        _mm512_ror_epi64::<1>(w),
        _mm512_ror_epi64::<8>(w),
        _mm512_srli_epi64::<7>(w),
    )
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn mix1(w: __m512i) -> __m512i {
    xor3(
        _mm512_ror_epi64::<19>(w),
        _mm512_ror_epi64::<61>(w),
        _mm512_srli_epi64::<6>(w),
    )
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn choose(e: __m512i, f: __m512i, g: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0xd8>(g, f, e)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn majority(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0xe8>(c, b, a)
}

/// [`pinned`], for a place where the order may matter.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn ordered(x: __m512i) -> __m512i {
    pinned(x)
}

/// The same value, of which the compiler knows nothing: it would otherwise reorder sums, which
/// decides how long a round takes, and merge shuffles into more of them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
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

/// Two message words of every lane, from the 16 bytes at `at`.
///
/// 128-bit part `p` of row `r` comes from lane `2 * p + r`, by loads that merge under a mask and
/// need no shuffle; a 2 x 2 transposition inside the parts does the rest.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn transposed(lanes: &[&[u8]; 8], at: usize) -> [__m512i; 2] {
    let row = |r: usize| {
        let part = |p: usize| {
            debug_assert!(at + 16 <= lanes[2 * p + r].len());
            // SAFETY: `Walk` has seen that all lanes of a part have one length, and its places lie
            // a whole block below the end; `at` is in the block at such a place, 16 bytes or more
            // below its end.
            unsafe { _mm_loadu_si128(lanes[2 * p + r].as_ptr().add(at).cast()) }
        };
        let row = _mm512_castsi128_si512(part(0));
        let row = _mm512_mask_broadcast_i64x2(row, 0x0c, part(1));
        let row = _mm512_mask_broadcast_i64x2(row, 0x30, part(2));
        _mm512_mask_broadcast_i64x2(row, 0xc0, part(3))
    };
    let (r0, r1) = (row(0), row(1));
    let swap = _mm512_broadcast_i32x4(_mm_set_epi8(
        8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7,
    ));
    [
        _mm512_shuffle_epi8(pinned(_mm512_unpacklo_epi64(r0, r1)), swap),
        _mm512_shuffle_epi8(pinned(_mm512_unpackhi_epi64(r0, r1)), swap),
    ]
}

lane_kernel! {
    features: "avx512f,avx512bw,avx512dq", vector: __m512i, word: u64, lanes: 8,
    block: 128, group: 2, passes: 4, behind: true, constants: K512
}
