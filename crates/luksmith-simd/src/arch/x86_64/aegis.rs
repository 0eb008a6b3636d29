//! AEGIS-128 on AES-NI, its state in registers: five rounds that do not wait for each other for
//! each block.

use core::arch::x86_64::{__m128i, _mm_aesenc_si128, _mm_and_si128, _mm_xor_si128};

use super::aesni::AesNi;
use super::schedule::{load128, store128};
use crate::Backend;
use crate::aegis::{BLOCK, CONSTANTS, lengths, padded};

/// The kernel, on a CPU that has what it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VectorAegis(AesNi);

impl VectorAegis {
    /// For every backend that includes AES-NI: wider vectors do not help a state of 128 bits.
    pub(crate) fn new(backend: Backend) -> Option<Self> {
        (backend >= Backend::AesNi)
            .then(AesNi::detect)
            .flatten()
            .map(Self)
    }

    /// Encrypts or decrypts `data` and gives the tag.
    pub(crate) fn crypt<const OPEN: bool>(
        self,
        key: &[u8; BLOCK],
        nonce: &[u8; BLOCK],
        ad: &[u8],
        data: &mut [[u8; BLOCK]],
    ) -> [u8; BLOCK] {
        #[expect(unsafe_code, reason = "call of a function with target features")]
        // SAFETY: an `AesNi` exists only if `AesNi::detect` saw aes on this machine.
        unsafe {
            run::<OPEN>(key, nonce, ad, data)
        }
    }
}

#[target_feature(enable = "aes")]
fn run<const OPEN: bool>(
    key: &[u8; BLOCK],
    nonce: &[u8; BLOCK],
    ad: &[u8],
    data: &mut [[u8; BLOCK]],
) -> [u8; BLOCK] {
    let key = load128(key);
    let both = _mm_xor_si128(key, load128(nonce));
    let (first, second) = (load128(&CONSTANTS[0]), load128(&CONSTANTS[1]));
    let mut state = [
        both,
        second,
        first,
        _mm_xor_si128(key, first),
        _mm_xor_si128(key, second),
    ];
    for _ in 0..5 {
        state = update(update(state, key), both);
    }
    for block in padded(ad) {
        state = update(state, load128(&block));
    }
    let bytes = data.len() * BLOCK;
    for block in data {
        let [_, s1, s2, s3, s4] = state;
        let stream = _mm_xor_si128(_mm_xor_si128(s1, s4), _mm_and_si128(s2, s3));
        let from = load128(block);
        let to = _mm_xor_si128(from, stream);
        store128(block, to);
        state = update(state, if OPEN { to } else { from });
    }
    let lengths = load128(&lengths(ad.len(), bytes).to_le_bytes());
    let last = _mm_xor_si128(state[3], lengths);
    for _ in 0..7 {
        state = update(state, last);
    }
    let [s0, s1, s2, s3, s4] = state;
    let [low, high] = [_mm_xor_si128(s0, s1), _mm_xor_si128(s2, s3)];
    let mut tag = [0; BLOCK];
    store128(&mut tag, _mm_xor_si128(_mm_xor_si128(low, high), s4));
    tag
}

/// One step: each block becomes an AES round of the block before it, keyed by the block, and
/// `message` enters at the first.
#[inline]
#[target_feature(enable = "aes")]
fn update(state: [__m128i; 5], message: __m128i) -> [__m128i; 5] {
    let [s0, s1, s2, s3, s4] = state;
    [
        _mm_aesenc_si128(s4, _mm_xor_si128(s0, message)),
        _mm_aesenc_si128(s0, s1),
        _mm_aesenc_si128(s1, s2),
        _mm_aesenc_si128(s2, s3),
        _mm_aesenc_si128(s3, s4),
    ]
}
