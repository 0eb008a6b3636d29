//! BLAKE2b without a key (RFC 7693), and the hash of variable length that Argon2 builds from it.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Initial values: those of SHA-512.
const INIT: [u64; 8] = crate::sha2::SHA512_INIT;

/// Which message word each step takes (RFC 7693, section 2.7).
const SIGMA: [[usize; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];

/// A hash of 1 to 64 bytes in the making.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Blake2b {
    state: [u64; 8],
    /// Bytes of the text, of which all but the last `filled` are in the state.
    total: u64,
    buffer: [u8; 128],
    filled: usize,
}

impl Blake2b {
    /// Starts a hash of `out_bytes`, 1 to 64.
    pub(super) fn new(out_bytes: usize) -> Self {
        debug_assert!((1..=64).contains(&out_bytes));
        let mut state = INIT;
        // Parameter block: digest length, no key, fanout and depth 1.
        state[0] ^= 0x0101_0000 ^ out_bytes as u64;
        Self {
            state,
            total: 0,
            buffer: [0; 128],
            filled: 0,
        }
    }

    /// Takes more text.
    pub(super) fn update(&mut self, mut text: &[u8]) {
        while !text.is_empty() {
            // The last block is compressed by `finish` alone, so a full buffer waits for more text.
            if self.filled == 128 {
                compress(&mut self.state, &self.buffer, self.total, false);
                self.filled = 0;
            }
            let taken = text.len().min(128 - self.filled);
            let (now, later) = text.split_at(taken);
            self.buffer[self.filled..self.filled + taken].copy_from_slice(now);
            self.filled += taken;
            self.total += taken as u64;
            text = later;
        }
    }

    /// Writes the hash to `out`, of the length that was asked for.
    pub(super) fn finish(mut self, out: &mut [u8]) {
        self.buffer[self.filled..].fill(0);
        compress(&mut self.state, &self.buffer, self.total, true);
        for (bytes, word) in out.chunks_mut(8).zip(self.state) {
            bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
        }
    }
}

fn compress(state: &mut [u64; 8], block: &[u8; 128], total: u64, last: bool) {
    let (words, _) = block.as_chunks::<8>();
    let mut m: [u64; 16] = core::array::from_fn(|i| u64::from_le_bytes(words[i]));
    let mut v = [0; 16];
    v[..8].copy_from_slice(state);
    v[8..].copy_from_slice(&INIT);
    // The upper half of the length, in v[13], stays 0: no text here has 2^64 bytes.
    v[12] ^= total;
    if last {
        v[14] = !v[14];
    }
    for round in 0..12 {
        let s = &SIGMA[round % 10];
        mix(&mut v, [0, 4, 8, 12], m[s[0]], m[s[1]]);
        mix(&mut v, [1, 5, 9, 13], m[s[2]], m[s[3]]);
        mix(&mut v, [2, 6, 10, 14], m[s[4]], m[s[5]]);
        mix(&mut v, [3, 7, 11, 15], m[s[6]], m[s[7]]);
        mix(&mut v, [0, 5, 10, 15], m[s[8]], m[s[9]]);
        mix(&mut v, [1, 6, 11, 12], m[s[10]], m[s[11]]);
        mix(&mut v, [2, 7, 8, 13], m[s[12]], m[s[13]]);
        mix(&mut v, [3, 4, 9, 14], m[s[14]], m[s[15]]);
    }
    for (i, word) in state.iter_mut().enumerate() {
        *word ^= v[i] ^ v[i + 8];
    }
    m.zeroize();
    v.zeroize();
}

fn mix(v: &mut [u64; 16], [a, b, c, d]: [usize; 4], x: u64, y: u64) {
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(x);
    v[d] = (v[d] ^ v[a]).rotate_right(32);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(24);
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(y);
    v[d] = (v[d] ^ v[a]).rotate_right(16);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(63);
}

/// Fills `out` (4 bytes or more) with H' of the parts' concatenation (RFC 9106, section 3.3).
pub(super) fn long_hash(parts: &[&[u8]], out: &mut [u8]) {
    let mut hash = Blake2b::new(out.len().min(64));
    // Callers have checked that the length is below 2^32.
    hash.update(&(out.len() as u64).to_le_bytes()[..4]);
    parts.iter().for_each(|part| hash.update(part));
    if out.len() <= 64 {
        return hash.finish(out);
    }
    let mut link = [0; 64];
    hash.finish(&mut link);
    let mut rest = out;
    loop {
        let (now, later) = rest.split_at_mut(32);
        now.copy_from_slice(&link[..32]);
        rest = later;
        let mut hash = Blake2b::new(rest.len().min(64));
        hash.update(&link);
        if rest.len() <= 64 {
            hash.finish(rest);
            break;
        }
        hash.finish(&mut link);
    }
    link.zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_of_rfc_7693_holds() {
        let mut hash = Blake2b::new(64);
        hash.update(b"a");
        hash.update(b"bc");
        let mut out = [0; 64];
        hash.finish(&mut out);
        let first = [0xba, 0x80, 0xa5, 0x3f, 0x98, 0x1c, 0x4d, 0x0d];
        let last = [0xd4, 0x00, 0x99, 0x23];
        assert_eq!(out[..8], first);
        assert_eq!(out[60..], last);
    }
}
