//! The iterations of PBKDF2-HMAC-SHA512: one chain with its rounds in general registers and its
//! message schedule in vectors, or many chains side by side in the lanes of the hash kernels.
//!
//! The digest of one compression is the message of the next: it stays words, whose second half is
//! always the same padding.

#![expect(
    unsafe_code,
    reason = "vector loads and stores, and the door to BMI2 and AVX-512 code"
)]

use super::cpu::{Features, features};
use crate::pbkdf2::{Chain, Pads};
use crate::sha2::constants::K512;
use crate::sha2::lanes::Lanes;
use core::arch::x86_64::*;
use zeroize::Zeroize;

/// Proof that this machine has AVX-512 with its 128-bit forms, and BMI2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OneChain(());

impl OneChain {
    /// The proof, where the machine has both.
    pub(crate) fn detect() -> Option<Self> {
        let wanted = Features::AVX512F
            .and(Features::AVX512VL)
            .and(Features::BMI2);
        features().has(wanted).then_some(Self(()))
    }

    /// Advances every chain by `n` iterations, one after the other.
    pub(crate) fn advance(self, pads: &Pads<u64>, chains: &mut [Chain<u64>], n: u32) {
        for chain in chains {
            // SAFETY: a `OneChain` exists only if `detect` saw avx512f, avx512vl and bmi2 on this
            // machine, and these are what `iterate` enables.
            unsafe { iterate(pads, chain, n) }
        }
    }
}

/// Advances up to `N` chains by `n` iterations, each in a lane of `kernel`.
pub(crate) fn advance_lanes<const N: usize>(
    kernel: impl Lanes<u64, N, 128>,
    pads: &Pads<u64>,
    chains: &mut [Chain<u64>],
    n: u32,
) {
    for group in chains.chunks_mut(N) {
        let mut words = [[0; N]; 16];
        for (row, word) in words[8..].iter_mut().zip(PADDING) {
            *row = [word; N];
        }
        let mut acc = [[0; N]; 8];
        for (lane, chain) in group.iter().enumerate() {
            for word in 0..8 {
                words[word][lane] = chain.last[word];
                acc[word][lane] = chain.acc[word];
            }
        }
        let mut state = [[0; N]; 8];
        for _ in 0..n {
            for pad in [&pads.inner, &pads.outer] {
                for (row, word) in state.iter_mut().zip(pad) {
                    *row = [*word; N];
                }
                kernel.compress_words(&mut state, &words);
                words[..8].copy_from_slice(&state);
            }
            for (acc, row) in acc.iter_mut().zip(&state) {
                for (acc, word) in acc.iter_mut().zip(row) {
                    *acc ^= word;
                }
            }
        }
        for (lane, chain) in group.iter_mut().enumerate() {
            for word in 0..8 {
                chain.last[word] = words[word][lane];
                chain.acc[word] = acc[word][lane];
            }
        }
        // One by one: a tuple of arrays would be a copy.
        words.zeroize();
        acc.zeroize();
        state.zeroize();
    }
}

/// What follows a digest in the second block after a key pad: one bit, zeros, and the length of key
/// pad and digest in bits.
const PADDING: [u64; 8] = [1 << 63, 0, 0, 0, 0, 0, 0, 8 * (128 + 64)];

/// The sums of message words and constants that 16 rounds take.
#[repr(align(64))]
struct Sums([[u64; 2]; 8]);

#[inline]
#[target_feature(enable = "avx512f,avx512vl,bmi2")]
fn load(words: &[u64; 2]) -> __m128i {
    // SAFETY: the reference is to 16 readable bytes; the load needs no alignment.
    unsafe { _mm_loadu_si128(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl,bmi2")]
fn store(words: &mut [u64; 2], vector: __m128i) {
    // SAFETY: the reference is to 16 writable bytes; the store needs no alignment.
    unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), vector) }
}

/// The words at `first` and after it, of pairs that begin with even words.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,bmi2")]
fn odd(even: __m128i, next: __m128i) -> __m128i {
    _mm_alignr_epi8::<8>(next, even)
}

/// Message words `2 * J` and `2 * J + 1` of the next 16, in the place of those of these 16.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,bmi2")]
fn schedule<const J: usize>(w: &mut [__m128i; 8], sums: &mut Sums, k: &[[u64; 2]]) {
    let back15 = odd(w[J], w[(J + 1) % 8]);
    let back7 = odd(w[(J + 4) % 8], w[(J + 5) % 8]);
    let back2 = w[(J + 7) % 8];
    let small0 = _mm_ternarylogic_epi64::<0x96>(
        _mm_ror_epi64::<1>(back15),
        _mm_ror_epi64::<8>(back15),
        _mm_srli_epi64::<7>(back15),
    );
    let small1 = _mm_ternarylogic_epi64::<0x96>(
        _mm_ror_epi64::<19>(back2),
        _mm_ror_epi64::<61>(back2),
        _mm_srli_epi64::<6>(back2),
    );
    let early = _mm_add_epi64(_mm_add_epi64(w[J], back7), small0);
    w[J] = _mm_add_epi64(early, small1);
    store(&mut sums.0[J], _mm_add_epi64(w[J], load(&k[J])));
}

/// The same value, of which the compiler knows nothing: it would otherwise reorder sums, which
/// decides how long a round takes.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,bmi2")]
fn pinned(mut x: u64) -> u64 {
    // SAFETY: the text is a comment; nothing is executed.
    unsafe {
        core::arch::asm!(
            "/* {0} */",
            inout(reg) x,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    x
}

/// A round whose message word and constant are summed already: `$d` and `$h` become the `e` and
/// `a` of the next one. A macro, so that the eight variables stay in registers under changing
/// names.
///
/// What the next round waits for is added last, so that four instructions follow each other from
/// `e` to `e` and from `a` to `a`.
macro_rules! round {
    ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $sum:expr) => {
        let early = pinned($h.wrapping_add($sum));
        let choose = $g ^ ($e & ($f ^ $g));
        let big1 = $e.rotate_right(14) ^ $e.rotate_right(18) ^ $e.rotate_right(41);
        $d = pinned(pinned($d.wrapping_add(early)).wrapping_add(choose)).wrapping_add(big1);
        let t = pinned(early.wrapping_add(choose)).wrapping_add(big1);
        // The majority of three bits is the sum of two ands that are never both set.
        let t = pinned(t.wrapping_add($b & $c));
        let big0 = $a.rotate_right(28) ^ $a.rotate_right(34) ^ $a.rotate_right(39);
        $h = pinned(t.wrapping_add($a & ($b ^ $c))).wrapping_add(big0);
    };
}

/// Sixteen rounds, and `$then` after every two.
macro_rules! sixteen_rounds {
    (
        [$a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident],
        $sums:ident, $then:ident
    ) => {
        round!($a $b $c $d $e $f $g $h, $sums.0[0][0]);
        round!($h $a $b $c $d $e $f $g, $sums.0[0][1]);
        $then!(0);
        round!($g $h $a $b $c $d $e $f, $sums.0[1][0]);
        round!($f $g $h $a $b $c $d $e, $sums.0[1][1]);
        $then!(1);
        round!($e $f $g $h $a $b $c $d, $sums.0[2][0]);
        round!($d $e $f $g $h $a $b $c, $sums.0[2][1]);
        $then!(2);
        round!($c $d $e $f $g $h $a $b, $sums.0[3][0]);
        round!($b $c $d $e $f $g $h $a, $sums.0[3][1]);
        $then!(3);
        round!($a $b $c $d $e $f $g $h, $sums.0[4][0]);
        round!($h $a $b $c $d $e $f $g, $sums.0[4][1]);
        $then!(4);
        round!($g $h $a $b $c $d $e $f, $sums.0[5][0]);
        round!($f $g $h $a $b $c $d $e, $sums.0[5][1]);
        $then!(5);
        round!($e $f $g $h $a $b $c $d, $sums.0[6][0]);
        round!($d $e $f $g $h $a $b $c, $sums.0[6][1]);
        $then!(6);
        round!($c $d $e $f $g $h $a $b, $sums.0[7][0]);
        round!($b $c $d $e $f $g $h $a, $sums.0[7][1]);
        $then!(7);
    };
}

/// The digest of one block, `digest` and its padding, after the state `pad`.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,bmi2")]
fn compressed(pad: &[u64; 8], digest: [u64; 8], sums: &mut Sums) -> [u64; 8] {
    let pair = |low: u64, high: u64| _mm_set_epi64x(high.cast_signed(), low.cast_signed());
    let mut w = [
        pair(digest[0], digest[1]),
        pair(digest[2], digest[3]),
        pair(digest[4], digest[5]),
        pair(digest[6], digest[7]),
        pair(PADDING[0], PADDING[1]),
        pair(PADDING[2], PADDING[3]),
        pair(PADDING[4], PADDING[5]),
        pair(PADDING[6], PADDING[7]),
    ];
    let (k, _) = K512.as_chunks::<2>();
    // By index: `zip` over vectors is not unrolled here.
    for i in 0..8 {
        store(&mut sums.0[i], _mm_add_epi64(w[i], load(&k[i])));
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *pad;
    for quarter in 1..5 {
        let k = &k[8 * quarter..8 * quarter + 8];
        macro_rules! scheduled {
            ($j:literal) => {
                schedule::<$j>(&mut w, sums, k);
            };
        }
        sixteen_rounds!([a b c d e f g h], sums, scheduled);
    }
    macro_rules! nothing {
        ($j:literal) => {};
    }
    sixteen_rounds!([a b c d e f g h], sums, nothing);
    let mut out = [a, b, c, d, e, f, g, h];
    for (word, pad) in out.iter_mut().zip(pad) {
        *word = word.wrapping_add(*pad);
    }
    out
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512vl,bmi2")]
fn iterate(pads: &Pads<u64>, chain: &mut Chain<u64>, n: u32) {
    let (mut last, mut sums) = (chain.last, Sums([[0; 2]; 8]));
    for _ in 0..n {
        // One place that calls it, or it is not inlined.
        for pad in [&pads.inner, &pads.outer] {
            last = compressed(pad, last, &mut sums);
        }
        for (acc, word) in chain.acc.iter_mut().zip(last) {
            *acc ^= word;
        }
    }
    chain.last = last;
    last.zeroize();
    sums.0.zeroize();
}
