//! AES-GCM with AES-NI and carry-less products on 128-bit vectors.
//!
//! Nothing here enables AVX, as in [`super::aesni`].

use core::arch::x86_64::{
    __m128i, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_clmulepi64_si128, _mm_set_epi64x,
    _mm_setzero_si128, _mm_shuffle_epi8, _mm_xor_si128,
};
use core::hint::black_box;

use super::aesni::AesNi;
use super::gcm_narrow::{gcm_entry, gcm_kernel};
use super::gcm_schedule::{Batch, GcmSchedule, reduce};
use super::schedule::{load128, store128};
use crate::arch::round_keys::RoundKeys;
use crate::buffers::{Buffers, Chunk};
use crate::gcm::{BATCH, GcmRun, TAG_BYTES};

/// Blocks in one step: enough independent chains to cover the latency of an AES round.
const WIDE: usize = 8;
/// Bytes in one step.
const STEP: usize = WIDE * 16;

// `AesNi::detect` asks for aes, pclmulqdq and ssse3.
gcm_entry!(AesNi);
gcm_kernel!(__m128i, 16, "aes,pclmulqdq,ssse3");

#[inline]
#[target_feature(enable = "sse2")]
fn load(bytes: &[u8; 16]) -> __m128i {
    load128(bytes)
}

#[inline]
#[target_feature(enable = "sse2")]
fn store(bytes: &mut [u8; 16], value: __m128i) {
    store128(bytes, value);
}

#[inline]
#[target_feature(enable = "sse2")]
fn spread(block: &[u8; 16]) -> __m128i {
    load128(block)
}

#[inline]
#[target_feature(enable = "sse2")]
fn zero() -> __m128i {
    _mm_setzero_si128()
}

#[inline]
#[target_feature(enable = "sse2")]
fn xor(a: __m128i, b: __m128i) -> __m128i {
    _mm_xor_si128(a, b)
}

#[inline]
#[target_feature(enable = "aes")]
fn round(state: __m128i, key: __m128i) -> __m128i {
    _mm_aesenc_si128(state, key)
}

#[inline]
#[target_feature(enable = "aes")]
fn last_round(state: __m128i, key: __m128i) -> __m128i {
    _mm_aesenclast_si128(state, key)
}

#[inline]
#[target_feature(enable = "pclmulqdq")]
fn product<const HALVES: i32>(a: __m128i, b: __m128i) -> __m128i {
    _mm_clmulepi64_si128::<HALVES>(a, b)
}

#[inline]
#[target_feature(enable = "ssse3")]
fn turned(block: __m128i) -> __m128i {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    _mm_shuffle_epi8(block, order)
}

#[inline]
#[target_feature(enable = "sse2")]
fn lanes(value: __m128i) -> __m128i {
    value
}
