//! The iterations of PBKDF2-HMAC-SHA256 with the SHA extensions: one chain, or two side by side.
//!
//! The digest of one compression is the message of the next and never leaves the registers. As in
//! `sha256_shani`, no function here enables AVX.

#![expect(unsafe_code, reason = "the door to SHA-NI code")]

use super::sha256_shani::{ShaNi, State, four_rounds, load_state, sixteen_groups, store_state};
use crate::pbkdf2::{Chain, Pads};
use core::arch::x86_64::*;

impl ShaNi {
    /// Advances every chain by `n` iterations, two chains at a time.
    pub(crate) fn pbkdf2(self, pads: &Pads<u32>, chains: &mut [Chain<u32>], n: u32) {
        let (pairs, rest) = chains.as_chunks_mut::<2>();
        for pair in pairs {
            // SAFETY: a `ShaNi` exists only if `detect` saw sha, ssse3 and sse4.1 on this machine,
            // and these are what `iterate_two` enables.
            unsafe { iterate_two(pads, pair, n) }
        }
        for chain in rest {
            // SAFETY: as above.
            unsafe { iterate_one(pads, chain, n) }
        }
    }
}

/// A digest and its padding as the message of the second block after a key pad.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn message(digest: State) -> [__m128i; 4] {
    let badc = _mm_unpackhi_epi64(digest.abef, digest.cdgh);
    let fehg = _mm_unpacklo_epi64(digest.abef, digest.cdgh);
    [
        _mm_shuffle_epi32::<0xb1>(badc),
        _mm_shuffle_epi32::<0xb1>(fehg),
        _mm_set_epi32(0, 0, 0, i32::MIN),
        _mm_set_epi32(8 * (64 + 32), 0, 0, 0),
    ]
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn sum(a: State, b: State) -> State {
    State {
        abef: _mm_add_epi32(a.abef, b.abef),
        cdgh: _mm_add_epi32(a.cdgh, b.cdgh),
    }
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn xored(a: State, b: State) -> State {
    State {
        abef: _mm_xor_si128(a.abef, b.abef),
        cdgh: _mm_xor_si128(a.cdgh, b.cdgh),
    }
}

/// The digest of one block after the state `pad`.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn one(pad: State, digest: State) -> State {
    let mut w = message(digest);
    let mut s = pad;
    sixteen_groups!(four_rounds((&mut s.abef, &mut s.cdgh), &mut w));
    sum(s, pad)
}

/// [`one`] for two digests.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn two(pad: State, first: State, second: State) -> (State, State) {
    let (mut w, mut v) = (message(first), message(second));
    let (mut s, mut t) = (pad, pad);
    sixteen_groups!(
        four_rounds((&mut s.abef, &mut s.cdgh), &mut w);
        four_rounds((&mut t.abef, &mut t.cdgh), &mut v)
    );
    (sum(s, pad), sum(t, pad))
}

#[inline(never)]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn iterate_one(pads: &Pads<u32>, chain: &mut Chain<u32>, n: u32) {
    let (inner, outer) = (load_state(&pads.inner), load_state(&pads.outer));
    let (mut last, mut acc) = (load_state(&chain.last), load_state(&chain.acc));
    for _ in 0..n {
        last = one(outer, one(inner, last));
        acc = xored(acc, last);
    }
    store_state(&mut chain.last, last);
    store_state(&mut chain.acc, acc);
}

#[inline(never)]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn iterate_two(pads: &Pads<u32>, chains: &mut [Chain<u32>; 2], n: u32) {
    let pads = [load_state(&pads.inner), load_state(&pads.outer)];
    let [first, second] = chains;
    let (mut a, mut b) = (load_state(&first.last), load_state(&second.last));
    let (mut acc, mut other_acc) = (load_state(&first.acc), load_state(&second.acc));
    for _ in 0..n {
        // One place that calls it, or it is not inlined and the digests go through memory.
        for pad in &pads {
            (a, b) = two(*pad, a, b);
        }
        acc = xored(acc, a);
        other_acc = xored(other_acc, b);
    }
    store_state(&mut first.last, a);
    store_state(&mut first.acc, acc);
    store_state(&mut second.last, b);
    store_state(&mut second.acc, other_acc);
}
