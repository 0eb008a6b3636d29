//! CRC-32C by carry-less multiplication, finished with the CRC instruction of SSE4.2.
//!
//! A register of 16 message bytes is a polynomial whose highest power is the lowest bit of its
//! first byte. Moving it `d` bits towards the end of the message means multiplying it by x^d;
//! modulo the CRC's polynomial that is two products with constants, one for each half. Bit-reversed
//! products come out one bit short, hence the odd exponents below.

#![expect(
    unsafe_code,
    reason = "vector loads, and the doors to SSE4.2 and AVX-512 code"
)]

use super::cpu::{Features, features};
use crate::Backend;
use crate::crc32c::portable;
use core::arch::x86_64::*;

/// A way to compute CRC-32C.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Crc32c {
    /// By table.
    Portable,
    /// By 128-bit products.
    Clmul128(Clmul128),
    /// By 512-bit products.
    Clmul512(Clmul512),
}

impl Crc32c {
    /// The fastest way on this machine.
    pub(crate) fn best() -> Self {
        if let Some(proof) = Clmul512::detect() {
            Self::Clmul512(proof)
        } else if let Some(proof) = Clmul128::detect() {
            Self::Clmul128(proof)
        } else {
            Self::Portable
        }
    }

    /// The way that belongs to a backend, or the widest below it that this machine has.
    pub(crate) fn by(backend: Backend) -> Self {
        let narrow = || Clmul128::detect().map(Self::Clmul128);
        let way = match backend {
            Backend::Vaes512 => Clmul512::detect().map(Self::Clmul512).or_else(narrow),
            Backend::AesNi | Backend::Vaes256 => narrow(),
            _ => None,
        };
        way.unwrap_or(Self::Portable)
    }

    /// All ways on this machine, with their names.
    #[cfg(test)]
    pub(crate) fn available() -> impl Iterator<Item = (&'static str, Self)> {
        [
            Some(("portable", Self::Portable)),
            Clmul128::detect().map(|proof| ("clmul128", Self::Clmul128(proof))),
            Clmul512::detect().map(|proof| ("clmul512", Self::Clmul512(proof))),
        ]
        .into_iter()
        .flatten()
    }

    /// Updates the raw remainder `state`.
    pub(crate) fn update(self, state: u32, data: &[u8]) -> u32 {
        match self {
            Self::Portable => portable(state, data),
            Self::Clmul128(proof) => proof.update(state, data),
            Self::Clmul512(proof) => proof.update(state, data),
        }
    }
}

/// Proof that this machine has SSE4.2 and PCLMULQDQ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clmul128(());

/// Proof that this machine has VPCLMULQDQ on 512 bits besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clmul512(());

impl Clmul128 {
    /// The proof, where the machine has both.
    pub(crate) fn detect() -> Option<Self> {
        let wanted = Features::SSE42.and(Features::PCLMULQDQ);
        features().has(wanted).then_some(Self(()))
    }

    /// Updates the raw remainder `state`.
    pub(crate) fn update(self, state: u32, data: &[u8]) -> u32 {
        // SAFETY: a `Clmul128` exists only if `detect` saw sse4.2 and pclmulqdq on this machine,
        // and these two are what `update_128` enables.
        unsafe { update_128(state, data) }
    }
}

impl Clmul512 {
    /// The proof, where the machine has all of it.
    pub(crate) fn detect() -> Option<Self> {
        let wanted = Features::SSE42
            .and(Features::PCLMULQDQ)
            .and(Features::VPCLMULQDQ)
            .and(Features::AVX512F);
        features().has(wanted).then_some(Self(()))
    }

    /// Updates the raw remainder `state`.
    pub(crate) fn update(self, state: u32, data: &[u8]) -> u32 {
        // SAFETY: a `Clmul512` exists only if `detect` saw sse4.2, pclmulqdq, vpclmulqdq and
        // avx512f on this machine, and these are what `update_512` enables.
        unsafe { update_512(state, data) }
    }
}

/// x^`exponent` modulo the polynomial, bit-reversed over 64 bits.
const fn power(exponent: u32) -> i64 {
    let mut remainder: u32 = 1;
    let mut i = 0;
    while i < exponent {
        let carry = remainder >> 31;
        remainder = (remainder << 1) ^ (carry * 0x1edc_6f41);
        i += 1;
    }
    (remainder as u64).reverse_bits().cast_signed()
}

/// Constants that move 16 bytes forward by some bits: one for the first 8 bytes, one for the rest.
#[derive(Clone, Copy)]
struct Shift {
    first: i64,
    second: i64,
}

const fn by_bits(bits: u32) -> Shift {
    Shift {
        first: power(bits + 63),
        second: power(bits - 1),
    }
}

const BY_2048: Shift = by_bits(2048);
const BY_1536: Shift = by_bits(1536);
const BY_1024: Shift = by_bits(1024);
const BY_512: Shift = by_bits(512);
const BY_384: Shift = by_bits(384);
const BY_256: Shift = by_bits(256);
const BY_128: Shift = by_bits(128);

#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn moved(x: __m128i, by: Shift) -> __m128i {
    let by = _mm_set_epi64x(by.second, by.first);
    _mm_xor_si128(
        _mm_clmulepi64_si128::<0x00>(x, by),
        _mm_clmulepi64_si128::<0x11>(x, by),
    )
}

#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn load_128(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the reference is to 16 readable bytes; the load needs no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// The remainder of 16 bytes alone, by two CRC instructions.
#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn reduced(x: __m128i) -> u32 {
    let first = _mm_cvtsi128_si64(x).cast_unsigned();
    let second = _mm_extract_epi64::<1>(x).cast_unsigned();
    low(_mm_crc32_u64(_mm_crc32_u64(0, first), second))
}

/// The CRC instruction's 64-bit form gives 32 bits and zeroes.
#[expect(clippy::cast_possible_truncation, reason = "the upper half is zero")]
const fn low(crc: u64) -> u32 {
    crc as u32
}

/// Eight bytes per instruction, each waiting for the one before: for what is too short to fold.
#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn update_serial(state: u32, data: &[u8]) -> u32 {
    let (words, rest) = data.as_chunks::<8>();
    let mut crc = u64::from(state);
    for word in words {
        crc = _mm_crc32_u64(crc, u64::from_le_bytes(*word));
    }
    rest.iter()
        .fold(low(crc), |crc, byte| _mm_crc32_u8(crc, *byte))
}

#[target_feature(enable = "sse4.2,pclmulqdq")]
fn update_128(state: u32, data: &[u8]) -> u32 {
    let (chunks, rest) = data.as_chunks::<64>();
    let Some((first, chunks)) = chunks.split_first() else {
        return update_serial(state, rest);
    };
    let load = |chunk: &[u8; 64]| {
        let (parts, _) = chunk.as_chunks::<16>();
        [
            load_128(&parts[0]),
            load_128(&parts[1]),
            load_128(&parts[2]),
            load_128(&parts[3]),
        ]
    };
    let mut x = load(first);
    x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128(state.cast_signed()));
    for chunk in chunks {
        let next = load(chunk);
        x = core::array::from_fn(|i| _mm_xor_si128(moved(x[i], BY_512), next[i]));
    }
    let near = _mm_xor_si128(moved(x[2], BY_128), x[3]);
    let far = _mm_xor_si128(moved(x[0], BY_384), moved(x[1], BY_256));
    update_serial(reduced(_mm_xor_si128(near, far)), rest)
}

#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq,vpclmulqdq,avx512f")]
fn load_512(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: the reference is to 64 readable bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// `x` moved by `by`, plus `next`.
#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq,vpclmulqdq,avx512f")]
fn folded(x: __m512i, by: __m512i, next: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0x96>(
        _mm512_clmulepi64_epi128::<0x00>(x, by),
        _mm512_clmulepi64_epi128::<0x11>(x, by),
        next,
    )
}

#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq,vpclmulqdq,avx512f")]
fn everywhere(by: Shift) -> __m512i {
    _mm512_broadcast_i32x4(_mm_set_epi64x(by.second, by.first))
}

#[target_feature(enable = "sse4.2,pclmulqdq,vpclmulqdq,avx512f")]
fn update_512(state: u32, data: &[u8]) -> u32 {
    let (chunks, rest) = data.as_chunks::<256>();
    let Some((first, chunks)) = chunks.split_first() else {
        return update_128(state, data);
    };
    let load = |chunk: &[u8; 256]| {
        let (parts, _) = chunk.as_chunks::<64>();
        [
            load_512(&parts[0]),
            load_512(&parts[1]),
            load_512(&parts[2]),
            load_512(&parts[3]),
        ]
    };
    let mut x = load(first);
    let initial = _mm_cvtsi32_si128(state.cast_signed());
    x[0] = _mm512_xor_si512(x[0], _mm512_zextsi128_si512(initial));
    let by_2048 = everywhere(BY_2048);
    for chunk in chunks {
        let next = load(chunk);
        x = core::array::from_fn(|i| folded(x[i], by_2048, next[i]));
    }
    let near = folded(x[2], everywhere(BY_512), x[3]);
    let far = folded(x[0], everywhere(BY_1536), _mm512_setzero_si512());
    let x = _mm512_xor_si512(near, folded(x[1], everywhere(BY_1024), far));
    // Parts 0 to 2 move to part 3; part 3 has constants of zero and is added as it is.
    let by = _mm512_set_epi64(
        0,
        0,
        BY_128.second,
        BY_128.first,
        BY_256.second,
        BY_256.first,
        BY_384.second,
        BY_384.first,
    );
    let moved = folded(x, by, _mm512_setzero_si512());
    let sum = _mm256_xor_si256(
        _mm512_castsi512_si256(moved),
        _mm512_extracti64x4_epi64::<1>(moved),
    );
    let sum = _mm_xor_si128(
        _mm256_castsi256_si128(sum),
        _mm256_extracti128_si256::<1>(sum),
    );
    let last = _mm512_extracti32x4_epi32::<3>(x);
    update_128(reduced(_mm_xor_si128(sum, last)), rest)
}
