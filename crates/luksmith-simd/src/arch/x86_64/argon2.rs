//! Argon2's compression function with AVX-512 and AVX2.
//!
//! With AVX-512 the whole block lives in 16 registers, first with a row of the matrix in each lane,
//! then with a column in each: the eight permutations of a pass run side by side and no diagonal
//! has to be shuffled into place. With AVX2 four permutations run in lockstep, a quarter of one in
//! each register.

#![expect(
    unsafe_code,
    reason = "vector loads and stores, and the doors to AVX2 and AVX-512 code"
)]

use super::cpu::{Features, features};
use crate::HashBackend;
use crate::argon2::{Block, portable_compress};
use core::arch::x86_64::*;

/// A way to compress blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argon2Kernel {
    /// Word by word.
    Portable,
    /// 256 bits.
    Avx2(Avx2),
    /// 512 bits.
    Avx512(Avx512),
}

/// Proof that this machine has AVX2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx2(());

/// Proof that this machine has AVX-512F.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512(());

impl Argon2Kernel {
    /// All ways on this machine, simplest first.
    pub(crate) fn available() -> impl DoubleEndedIterator<Item = Self> {
        let avx2 = features()
            .has(Features::AVX2)
            .then_some(Self::Avx2(Avx2(())));
        let avx512 = features()
            .has(Features::AVX512F)
            .then_some(Self::Avx512(Avx512(())));
        [Some(Self::Portable), avx2, avx512].into_iter().flatten()
    }

    /// The fastest way on this machine.
    pub(crate) fn best() -> Self {
        Self::available().next_back().unwrap_or(Self::Portable)
    }

    /// The way of a backend that this machine has.
    pub(crate) fn of(backend: HashBackend) -> Self {
        let is_part = |kernel: &Self| match kernel {
            Self::Portable => true,
            Self::Avx2(_) => backend >= HashBackend::Avx2,
            Self::Avx512(_) => backend >= HashBackend::Avx512,
        };
        Self::available().rfind(is_part).unwrap_or(Self::Portable)
    }

    /// See [`Argon2`](crate::Argon2).
    pub(crate) const fn percent_of_libargon2(self) -> u32 {
        match self {
            Self::Portable => 50,
            Self::Avx2(_) => 100,
            Self::Avx512(_) => 200,
        }
    }

    /// How many lanes a thread fills in turn before another thread pays.
    ///
    /// A vector kernel compresses a block in less time than the next random one takes to come from
    /// memory, so a thread with one lane waits for most of its time, and two lanes in turn take no
    /// longer than one.
    pub(crate) const fn lanes_of_a_thread(self) -> usize {
        match self {
            Self::Portable => 1,
            Self::Avx2(_) | Self::Avx512(_) => 2,
        }
    }

    /// Writes G(`x`, `y`) to `out`, xored onto what `out` held if `onto`.
    pub(crate) fn compress(self, x: &Block, y: &Block, out: &mut Block, onto: bool) {
        match self {
            Self::Portable => portable_compress(x, y, out, onto),
            // SAFETY: an `Avx2` is made only by `available`, after it saw avx2 on this machine, and
            // this is what `compress_avx2` enables.
            Self::Avx2(_) => unsafe { compress_avx2(x, y, out, onto) },
            // SAFETY: as above, for avx512f.
            Self::Avx512(_) => unsafe { compress_avx512(x, y, out, onto) },
        }
    }
}

/// Starts to fetch a block that is read once: past the larger caches, whose queues of misses are
/// what several lanes in turn wait for.
#[inline]
pub(crate) fn prefetch_once(block: &Block) {
    for line in block.as_chunks::<8>().0 {
        // SAFETY: a prefetch changes nothing, and the address is that of a reference.
        unsafe { _mm_prefetch::<_MM_HINT_NTA>(line.as_ptr().cast()) }
    }
}

/// Starts to fetch a block that is overwritten soon, and read again after that.
#[inline]
pub(crate) fn prefetch(block: &Block) {
    for line in block.as_chunks::<8>().0 {
        // SAFETY: as in `prefetch_once`.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_512(words: &[u64; 8]) -> __m512i {
    // SAFETY: the reference is to 64 readable bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_512(words: &mut [u64; 8], vector: __m512i) {
    // SAFETY: the reference is to 64 writable bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) }
}

/// x + y + twice the product of the lower halves, in every lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_512(x: __m512i, y: __m512i) -> __m512i {
    let product = _mm512_mul_epu32(x, y);
    _mm512_add_epi64(_mm512_add_epi64(x, y), _mm512_add_epi64(product, product))
}

/// Half of the mixing function on four groups of registers, step by step in lockstep: one group
/// after the other would leave the CPU waiting for each product.
macro_rules! half_512 {
    (
        $v:ident, $first:literal, $second:literal,
        $([$a:literal $b:literal $c:literal $d:literal])*
    ) => {
        $($v[$a] = add_512($v[$a], $v[$b]);)*
        $($v[$d] = _mm512_ror_epi64::<$first>(_mm512_xor_si512($v[$d], $v[$a]));)*
        $($v[$c] = add_512($v[$c], $v[$d]);)*
        $($v[$b] = _mm512_ror_epi64::<$second>(_mm512_xor_si512($v[$b], $v[$c]));)*
    };
}

/// P of the standard in every lane. A macro, because a function of this size is not inlined and the
/// block would go through memory.
macro_rules! permute_512 {
    ($v:ident) => {
        half_512!($v, 32, 24, [0 4 8 12] [1 5 9 13] [2 6 10 14] [3 7 11 15]);
        half_512!($v, 16, 63, [0 4 8 12] [1 5 9 13] [2 6 10 14] [3 7 11 15]);
        half_512!($v, 32, 24, [0 5 10 15] [1 6 11 12] [2 7 8 13] [3 4 9 14]);
        half_512!($v, 16, 63, [0 5 10 15] [1 6 11 12] [2 7 8 13] [3 4 9 14]);
    };
}

/// Swaps rows and lanes of an 8 x 8 matrix.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed_512(r: [__m512i; 8]) -> [__m512i; 8] {
    let low = |i: usize| _mm512_unpacklo_epi64(r[i], r[i + 1]);
    let high = |i: usize| _mm512_unpackhi_epi64(r[i], r[i + 1]);
    let (p0, p1, p2, p3) = (low(0), low(2), low(4), low(6));
    let (q0, q1, q2, q3) = (high(0), high(2), high(4), high(6));
    // 128-bit parts: `x` of (m, n) is m0 m2 n0 n2, `y` is m1 m3 n1 n3.
    let x = |m, n| _mm512_shuffle_i64x2::<0x88>(m, n);
    let y = |m, n| _mm512_shuffle_i64x2::<0xdd>(m, n);
    let (px0, py0, px1, py1) = (x(p0, p1), y(p0, p1), x(p2, p3), y(p2, p3));
    let (qx0, qy0, qx1, qy1) = (x(q0, q1), y(q0, q1), x(q2, q3), y(q2, q3));
    [
        x(px0, px1),
        x(qx0, qx1),
        x(py0, py1),
        x(qy0, qy1),
        y(px0, px1),
        y(qx0, qx1),
        y(py0, py1),
        y(qy0, qy1),
    ]
}

#[target_feature(enable = "avx512f")]
fn compress_avx512(x: &Block, y: &Block, out: &mut Block, onto: bool) {
    let (xs, _) = x.as_chunks::<8>();
    let (ys, _) = y.as_chunks::<8>();
    let (outs, _) = out.as_chunks_mut::<8>();
    let r = |i: usize| _mm512_xor_si512(load_512(&xs[i]), load_512(&ys[i]));
    // Lane = row: `left` holds the words 0 to 7 of the rows, `right` the words 8 to 15.
    let left = transposed_512([r(0), r(2), r(4), r(6), r(8), r(10), r(12), r(14)]);
    let right = transposed_512([r(1), r(3), r(5), r(7), r(9), r(11), r(13), r(15)]);
    let [v0, v1, v2, v3, v4, v5, v6, v7] = left;
    let [v8, v9, v10, v11, v12, v13, v14, v15] = right;
    let mut v = [
        v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15,
    ];
    permute_512!(v);
    // Lane = column: word 2r of a column is the even word of row r, word 2r + 1 the odd one.
    let e = transposed_512([v[0], v[2], v[4], v[6], v[8], v[10], v[12], v[14]]);
    let o = transposed_512([v[1], v[3], v[5], v[7], v[9], v[11], v[13], v[15]]);
    let mut v = [
        e[0], o[0], e[1], o[1], e[2], o[2], e[3], o[3], e[4], o[4], e[5], o[5], e[6], o[6], e[7],
        o[7],
    ];
    permute_512!(v);
    // Even and odd words of a row become its two halves again.
    let first = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0);
    let second = _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4);
    for row in 0..8 {
        let (even, odd) = (v[2 * row], v[2 * row + 1]);
        for (i, index) in [(2 * row, first), (2 * row + 1, second)] {
            let z = _mm512_permutex2var_epi64(even, index, odd);
            let mut sum = _mm512_xor_si512(z, r(i));
            if onto {
                sum = _mm512_xor_si512(sum, load_512(&outs[i]));
            }
            store_512(&mut outs[i], sum);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_256(words: &[u64; 4]) -> __m256i {
    // SAFETY: the reference is to 32 readable bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_256(words: &mut [u64; 4], vector: __m256i) {
    // SAFETY: the reference is to 32 writable bytes; the store needs no alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) }
}

/// x + y + twice the product of the lower halves, in every lane.
#[inline]
#[target_feature(enable = "avx2")]
fn add_256(x: __m256i, y: __m256i) -> __m256i {
    let product = _mm256_mul_epu32(x, y);
    _mm256_add_epi64(_mm256_add_epi64(x, y), _mm256_add_epi64(product, product))
}

/// Four columns of P in the lanes of four registers.
#[derive(Clone, Copy)]
struct Quarters {
    a: __m256i,
    b: __m256i,
    c: __m256i,
    d: __m256i,
}

/// The shuffles that rotate 64-bit words by 24 and by 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn rotations() -> (__m256i, __m256i) {
    let mut by_24 = _mm256_setr_epi8(
        3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10, 3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13,
        14, 15, 8, 9, 10,
    );
    let mut by_16 = _mm256_setr_epi8(
        2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9, 2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12,
        13, 14, 15, 8, 9,
    );
    // SAFETY: the text is a comment; nothing is executed. Knowing the values, the compiler would
    // take two shuffles for one.
    unsafe {
        core::arch::asm!(
            "/* {0} {1} */",
            inout(ymm_reg) by_24,
            inout(ymm_reg) by_16,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    (by_24, by_16)
}

/// Half of the mixing function in every lane, on several permutations in lockstep; `$rotate_d` and
/// `$rotate_b` are its rotations. Macros, for the same reason as with 512 bits.
macro_rules! half_256 {
    ([$($p:ident)*], $rotate_d:expr, $rotate_b:expr) => {
        $($p.a = add_256($p.a, $p.b);)*
        $($p.d = $rotate_d(_mm256_xor_si256($p.d, $p.a));)*
        $($p.c = add_256($p.c, $p.d);)*
        $($p.b = $rotate_b(_mm256_xor_si256($p.b, $p.c));)*
    };
}

/// P of the standard on several sets of 16 words.
macro_rules! permute_256 {
    ([$($p:ident)*], $rotations:ident) => {
        let by_32 = |x| _mm256_shuffle_epi32::<0xb1>(x);
        let by_24 = |x| _mm256_shuffle_epi8(x, $rotations.0);
        let by_16 = |x| _mm256_shuffle_epi8(x, $rotations.1);
        let by_63 = |x| _mm256_xor_si256(_mm256_add_epi64(x, x), _mm256_srli_epi64::<63>(x));
        half_256!([$($p)*], by_32, by_24);
        half_256!([$($p)*], by_16, by_63);
        $($p = turned($p);)*
        half_256!([$($p)*], by_32, by_24);
        half_256!([$($p)*], by_16, by_63);
        $($p = turned_back($p);)*
    };
}

/// The diagonals as columns.
#[inline]
#[target_feature(enable = "avx2")]
fn turned(q: Quarters) -> Quarters {
    Quarters {
        a: q.a,
        b: _mm256_permute4x64_epi64::<0x39>(q.b),
        c: _mm256_permute4x64_epi64::<0x4e>(q.c),
        d: _mm256_permute4x64_epi64::<0x93>(q.d),
    }
}

/// The reverse of [`turned`].
#[inline]
#[target_feature(enable = "avx2")]
fn turned_back(q: Quarters) -> Quarters {
    Quarters {
        a: q.a,
        b: _mm256_permute4x64_epi64::<0x93>(q.b),
        c: _mm256_permute4x64_epi64::<0x4e>(q.c),
        d: _mm256_permute4x64_epi64::<0x39>(q.d),
    }
}

#[target_feature(enable = "avx2")]
fn compress_avx2(x: &Block, y: &Block, out: &mut Block, onto: bool) {
    let rotations = rotations();
    let mut r = [[0; 4]; 32];
    for ((r, x), y) in r.iter_mut().zip(x.as_chunks().0).zip(y.as_chunks().0) {
        store_256(r, _mm256_xor_si256(load_256(x), load_256(y)));
    }
    let mut z = r;
    for four in 0..2 {
        let (rows, _) = z[16 * four..16 * four + 16].as_chunks_mut::<4>();
        let [row0, row1, row2, row3] = rows else {
            unreachable!("16 are 4 times 4");
        };
        let (mut p0, mut p1) = (row_quarters(row0), row_quarters(row1));
        let (mut p2, mut p3) = (row_quarters(row2), row_quarters(row3));
        permute_256!([p0 p1 p2 p3], rotations);
        for (row, p) in [(row0, p0), (row1, p1), (row2, p2), (row3, p3)] {
            store_256(&mut row[0], p.a);
            store_256(&mut row[1], p.b);
            store_256(&mut row[2], p.c);
            store_256(&mut row[3], p.d);
        }
    }
    for at in [0, 2] {
        let [mut p0, mut p1] = column_quarters(&z, at);
        let [mut p2, mut p3] = column_quarters(&z, at + 1);
        permute_256!([p0 p1 p2 p3], rotations);
        store_columns(&mut z, at, [p0, p1]);
        store_columns(&mut z, at + 1, [p2, p3]);
    }
    for ((out, r), z) in out.as_chunks_mut().0.iter_mut().zip(&r).zip(&z) {
        let mut sum = _mm256_xor_si256(load_256(r), load_256(z));
        if onto {
            sum = _mm256_xor_si256(sum, load_256(out));
        }
        store_256(out, sum);
    }
}

/// The 16 words of a row.
#[inline]
#[target_feature(enable = "avx2")]
fn row_quarters(row: &[[u64; 4]; 4]) -> Quarters {
    Quarters {
        a: load_256(&row[0]),
        b: load_256(&row[1]),
        c: load_256(&row[2]),
        d: load_256(&row[3]),
    }
}

/// The columns `2 * at` and `2 * at + 1`: a 128-bit half of a register holds a row's two words of
/// one of them, and two rows give four words of each.
#[inline]
#[target_feature(enable = "avx2")]
fn column_quarters(z: &[[u64; 4]; 32], at: usize) -> [Quarters; 2] {
    let up = |row: usize| load_256(&z[4 * row + at]);
    let first = |row| _mm256_permute2x128_si256::<0x20>(up(row), up(row + 1));
    let second = |row| _mm256_permute2x128_si256::<0x31>(up(row), up(row + 1));
    [
        Quarters {
            a: first(0),
            b: first(2),
            c: first(4),
            d: first(6),
        },
        Quarters {
            a: second(0),
            b: second(2),
            c: second(4),
            d: second(6),
        },
    ]
}

/// The reverse of [`column_quarters`].
#[inline]
#[target_feature(enable = "avx2")]
fn store_columns(z: &mut [[u64; 4]; 32], at: usize, [p, q]: [Quarters; 2]) {
    for (row, p, q) in [(0, p.a, q.a), (2, p.b, q.b), (4, p.c, q.c), (6, p.d, q.d)] {
        store_256(
            &mut z[4 * row + at],
            _mm256_permute2x128_si256::<0x20>(p, q),
        );
        store_256(
            &mut z[4 * row + 4 + at],
            _mm256_permute2x128_si256::<0x31>(p, q),
        );
    }
}
