//! The compression function G of Argon2 (RFC 9106, section 3.5), portably.

use super::BLOCK_WORDS;

/// A block of 1 KiB, as 8 rows of 16 words.
pub(crate) type Block = [u64; BLOCK_WORDS];

/// A block of zeroes.
pub(crate) const ZERO: Block = [0; BLOCK_WORDS];

/// Writes G(`x`, `y`) to `out`, xored onto what `out` held if `onto`.
pub(crate) fn compress(x: &Block, y: &Block, out: &mut Block, onto: bool) {
    let mut r = ZERO;
    for ((r, x), y) in r.iter_mut().zip(x).zip(y) {
        *r = x ^ y;
    }
    let mut z = r;
    for row in 0..8 {
        permute(&mut z, |i| 16 * row + i);
    }
    for column in 0..8 {
        permute(&mut z, |i| i / 2 * 16 + 2 * column + i % 2);
    }
    for ((out, r), z) in out.iter_mut().zip(&r).zip(&z) {
        *out = r ^ z ^ if onto { *out } else { 0 };
    }
}

/// P of the standard over the 16 words at `at(0)` to `at(15)`.
fn permute(z: &mut Block, at: impl Fn(usize) -> usize) {
    let mut v: [u64; 16] = core::array::from_fn(|i| z[at(i)]);
    for [a, b, c, d] in [
        [0, 4, 8, 12],
        [1, 5, 9, 13],
        [2, 6, 10, 14],
        [3, 7, 11, 15],
        [0, 5, 10, 15],
        [1, 6, 11, 12],
        [2, 7, 8, 13],
        [3, 4, 9, 14],
    ] {
        v[a] = add(v[a], v[b]);
        v[d] = (v[d] ^ v[a]).rotate_right(32);
        v[c] = add(v[c], v[d]);
        v[b] = (v[b] ^ v[c]).rotate_right(24);
        v[a] = add(v[a], v[b]);
        v[d] = (v[d] ^ v[a]).rotate_right(16);
        v[c] = add(v[c], v[d]);
        v[b] = (v[b] ^ v[c]).rotate_right(63);
    }
    for (i, word) in v.into_iter().enumerate() {
        z[at(i)] = word;
    }
}

/// Addition with twice the product of the lower halves.
fn add(x: u64, y: u64) -> u64 {
    let product = (x & 0xffff_ffff).wrapping_mul(y & 0xffff_ffff);
    x.wrapping_add(y).wrapping_add(product << 1)
}
