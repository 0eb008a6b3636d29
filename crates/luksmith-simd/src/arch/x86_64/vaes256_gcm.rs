//! AES-GCM with VAES and carry-less products on 256-bit vectors, without AVX-512.

use core::arch::x86_64::{
    __m128i, __m256i, _mm_set_epi64x, _mm_shuffle_epi8, _mm_xor_si128, _mm256_aesenc_epi128,
    _mm256_aesenclast_epi128, _mm256_castsi256_si128, _mm256_clmulepi64_epi128,
    _mm256_extracti128_si256, _mm256_set_epi64x, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_xor_si256,
};
use core::hint::black_box;

use super::gcm_narrow::{gcm_entry, gcm_kernel};
use super::gcm_schedule::{Batch, GcmSchedule, STEP, reduce};
use super::schedule::{load128, store128};
use super::vaes256::{Vaes256, load, spread, store};
use crate::arch::round_keys::RoundKeys;
use crate::buffers::{Buffers, Chunk};
use crate::gcm::{BATCH, GcmRun, TAG_BYTES};

/// Vectors in one step: enough independent chains to cover the latency of an AES round.
const WIDE: usize = STEP / 32;

// `Vaes256::detect` asks for avx2, vaes, vpclmulqdq and pclmulqdq.
gcm_entry!(Vaes256);
gcm_kernel!(__m256i, 32, "avx2,vaes,vpclmulqdq,pclmulqdq");

#[inline]
#[target_feature(enable = "avx2")]
fn zero() -> __m256i {
    _mm256_setzero_si256()
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor(a: __m256i, b: __m256i) -> __m256i {
    _mm256_xor_si256(a, b)
}

#[inline]
#[target_feature(enable = "avx2,vaes")]
fn round(state: __m256i, key: __m256i) -> __m256i {
    _mm256_aesenc_epi128(state, key)
}

#[inline]
#[target_feature(enable = "avx2,vaes")]
fn last_round(state: __m256i, key: __m256i) -> __m256i {
    _mm256_aesenclast_epi128(state, key)
}

#[inline]
#[target_feature(enable = "avx2,vpclmulqdq")]
fn product<const HALVES: i32>(a: __m256i, b: __m256i) -> __m256i {
    _mm256_clmulepi64_epi128::<HALVES>(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn turned(blocks: __m256i) -> __m256i {
    let order = _mm256_set_epi64x(
        0x0001_0203_0405_0607,
        0x0809_0a0b_0c0d_0e0f,
        0x0001_0203_0405_0607,
        0x0809_0a0b_0c0d_0e0f,
    );
    _mm256_shuffle_epi8(blocks, order)
}

#[inline]
#[target_feature(enable = "avx2")]
fn lanes(value: __m256i) -> __m128i {
    _mm_xor_si128(
        _mm256_castsi256_si128(value),
        _mm256_extracti128_si256::<1>(value),
    )
}
