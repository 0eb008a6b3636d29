//! CRC-32C by the CRC instruction of SSE4.2 in four chains, or by carry-less multiplication of 512
//! bits, finished with that instruction.
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
    /// By the CRC instruction, several parts side by side.
    Chains(Chains),
    /// By 512-bit products.
    Clmul512(Clmul512),
}

impl Crc32c {
    /// The fastest way on this machine.
    pub(crate) fn best() -> Self {
        if let Some(proof) = Clmul512::detect() {
            Self::Clmul512(proof)
        } else if let Some(proof) = Chains::detect() {
            Self::Chains(proof)
        } else {
            Self::Portable
        }
    }

    /// The way that belongs to a backend, or the widest below it that this machine has.
    pub(crate) fn by(backend: Backend) -> Self {
        let narrow = || Chains::detect().map(Self::Chains);
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
            Chains::detect().map(|proof| ("chains", Self::Chains(proof))),
            Clmul512::detect().map(|proof| ("clmul512", Self::Clmul512(proof))),
        ]
        .into_iter()
        .flatten()
    }

    /// Updates the raw remainder `state`.
    pub(crate) fn update(self, state: u32, data: &[u8]) -> u32 {
        match self {
            Self::Portable => portable(state, data),
            Self::Chains(proof) => proof.update(state, data),
            Self::Clmul512(proof) => proof.update(state, data),
        }
    }
}

/// Proof that this machine has SSE4.2 and PCLMULQDQ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chains(());

/// Proof that this machine has VPCLMULQDQ on 512 bits besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clmul512(());

impl Chains {
    /// The proof, where the machine has both.
    pub(crate) fn detect() -> Option<Self> {
        let wanted = Features::SSE42.and(Features::PCLMULQDQ);
        features().has(wanted).then_some(Self(()))
    }

    /// Updates the raw remainder `state`.
    pub(crate) fn update(self, state: u32, data: &[u8]) -> u32 {
        // SAFETY: a `Chains` exists only if `detect` saw sse4.2 and pclmulqdq on this machine,
        // and these two are what `update_chains` enables.
        unsafe { update_chains(state, data) }
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

/// The CRC instruction's 64-bit form gives 32 bits and zeroes.
#[expect(clippy::cast_possible_truncation, reason = "the upper half is zero")]
const fn low(crc: u64) -> u32 {
    crc as u32
}

/// Eight bytes per instruction, each waiting for the one before: for what is too short for more.
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

/// Parts of a text whose chains run side by side: more than cover the latency of the instruction.
const PARTS: usize = 4;
/// Bytes of a part, for long texts and for a sector of 512 bytes.
const LONG: usize = 1024;
const SHORT: usize = 128;

#[target_feature(enable = "sse4.2,pclmulqdq")]
fn update_chains(state: u32, data: &[u8]) -> u32 {
    let (long, rest) = data.as_chunks::<{ LONG * PARTS }>();
    let (short, rest) = rest.as_chunks::<{ SHORT * PARTS }>();
    let mut crc = state;
    for block in long {
        crc = chains::<LONG>(crc, block);
    }
    for block in short {
        crc = chains::<SHORT>(crc, block);
    }
    update_serial(crc, rest)
}

/// Four parts of `PART` bytes at once. The remainder of each moves over the parts behind it, which
/// is a product with a constant; the CRC instruction brings their sum back to 32 bits.
#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn chains<const PART: usize>(state: u32, block: &[u8]) -> u32 {
    let (words, _) = block.as_chunks::<8>();
    let (first, words) = words.split_at(PART / 8);
    let (second, words) = words.split_at(PART / 8);
    let (third, fourth) = words.split_at(PART / 8);
    let mut crcs = [u64::from(state), 0, 0, 0];
    for (((first, second), third), fourth) in first.iter().zip(second).zip(third).zip(fourth) {
        for (crc, word) in crcs.iter_mut().zip([first, second, third, fourth]) {
            *crc = _mm_crc32_u64(*crc, u64::from_le_bytes(*word));
        }
    }
    let moves = const { [over::<PART>(3), over::<PART>(2), over::<PART>(1)] };
    let mut sum = _mm_setzero_si128();
    for (crc, by) in crcs.into_iter().zip(moves) {
        let crc = _mm_cvtsi64_si128(crc.cast_signed());
        let by = _mm_cvtsi64_si128(by);
        sum = _mm_xor_si128(sum, _mm_clmulepi64_si128::<0x00>(crc, by));
    }
    let moved = _mm_crc32_u64(0, _mm_cvtsi128_si64(sum).cast_unsigned());
    low(moved ^ crcs[PARTS - 1])
}

/// What moves a remainder over `parts` parts: a product of two remainders comes out one bit short,
/// and the CRC instruction moves it by 32 bits.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a few thousand bytes at most"
)]
const fn over<const PART: usize>(parts: usize) -> i64 {
    (power((8 * PART * parts - 33) as u32).cast_unsigned() >> 32).cast_signed()
}

#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq,vpclmulqdq,avx512f")]
fn load_512(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: the reference is to 64 readable bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq,vpclmulqdq,avx512f")]
fn store_512(bytes: &mut [u8; 64], value: __m512i) {
    // SAFETY: the reference is to 64 writable bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), value) }
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
        return update_chains(state, data);
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
    let [first, second, third, last] = x;
    let sum = folded(first, everywhere(BY_1536), last);
    let sum = folded(second, everywhere(BY_1024), sum);
    let sum = folded(third, everywhere(BY_512), sum);
    // What is left are the remainders of 64 bytes, which the CRC instruction takes as a text.
    let mut text = [0; 64];
    store_512(&mut text, sum);
    update_serial(update_serial(0, &text), rest)
}
