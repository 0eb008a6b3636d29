//! Twofish (Schneier, Kelsey, Whiting, Wagner, Hall, Ferguson 1998), with what depends on the key
//! alone worked out once: four tables that hold a substitution box and its column of the matrix
//! each. Working them out for every block, as the crate does that this is tested against, costs 200
//! times as much.
//!
//! The tables are looked up by secret bytes, so this is not constant time; SECURITY.md says so.

use aes::cipher::consts::{U1, U16, U32};
use aes::cipher::{
    Block, BlockCipherDecBackend, BlockCipherDecClosure, BlockCipherDecrypt, BlockCipherEncBackend,
    BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, InOut, InvalidLength, Key, KeyInit,
    KeySizeUser, ParBlocksSizeUser,
};
use alloc::boxed::Box;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A Twofish key made ready.
pub(crate) struct Twofish {
    /// For each byte of a word: its substitution box, times its column of the matrix.
    boxes: Box<[[u32; 256]; 4]>,
    /// 8 words for whitening, then two for each round.
    subkeys: Box<[u32; 40]>,
}

/// The tables of which the two fixed permutations are made (section 4.3.5).
const NIBBLES: [[[u8; 16]; 4]; 2] = [
    [
        [
            0x8, 0x1, 0x7, 0xd, 0x6, 0xf, 0x3, 0x2, 0x0, 0xb, 0x5, 0x9, 0xe, 0xc, 0xa, 0x4,
        ],
        [
            0xe, 0xc, 0xb, 0x8, 0x1, 0x2, 0x3, 0x5, 0xf, 0x4, 0xa, 0x6, 0x7, 0x0, 0x9, 0xd,
        ],
        [
            0xb, 0xa, 0x5, 0xe, 0x6, 0xd, 0x9, 0x0, 0xc, 0x8, 0xf, 0x3, 0x2, 0x4, 0x7, 0x1,
        ],
        [
            0xd, 0x7, 0xf, 0x4, 0x1, 0x2, 0x6, 0xe, 0x9, 0xb, 0x3, 0x0, 0x8, 0x5, 0xc, 0xa,
        ],
    ],
    [
        [
            0x2, 0x8, 0xb, 0xd, 0xf, 0x7, 0x6, 0xe, 0x3, 0x1, 0x9, 0x4, 0x0, 0xa, 0xc, 0x5,
        ],
        [
            0x1, 0xe, 0x2, 0xb, 0x4, 0xc, 0x3, 0x7, 0x6, 0xd, 0xa, 0x5, 0xf, 0x9, 0x0, 0x8,
        ],
        [
            0x4, 0xc, 0x7, 0x5, 0x1, 0x6, 0x9, 0xa, 0x0, 0xe, 0xd, 0x8, 0x2, 0xb, 0x3, 0xf,
        ],
        [
            0xb, 0x9, 0x5, 0x1, 0xc, 0x3, 0xd, 0xe, 0x6, 0x4, 0x7, 0xf, 0x2, 0x0, 0x8, 0xa,
        ],
    ],
];

/// Which permutation comes in which stage, for each byte of a word (section 4.3.2): with 256-bit
/// keys all five stages, with 192 bits the last four, with 128 bits the last three.
const ORDER: [[usize; 5]; 4] = [
    [1, 1, 0, 0, 1],
    [0, 1, 1, 0, 0],
    [0, 0, 0, 1, 1],
    [1, 0, 1, 1, 0],
];

/// The matrix by columns, low byte first, over the field of `MDS_FIELD` (section 4.2).
const MDS: [[u8; 4]; 4] = [
    [0x01, 0x5b, 0xef, 0xef],
    [0xef, 0xef, 0x5b, 0x01],
    [0x5b, 0xef, 0x01, 0xef],
    [0x5b, 0x01, 0xef, 0x5b],
];

/// x^8 + x^6 + x^5 + x^3 + 1, without its first term.
const MDS_FIELD: u8 = 0x69;

/// The matrix that makes the boxes' key from the key, by rows (section 4.3).
const RS: [[u8; 8]; 4] = [
    [0x01, 0xa4, 0x55, 0x87, 0x5a, 0x58, 0xdb, 0x9e],
    [0xa4, 0x56, 0x82, 0xf3, 0x1e, 0xc6, 0x68, 0xe5],
    [0x02, 0xa1, 0xfc, 0xc1, 0x47, 0xae, 0x3d, 0x19],
    [0xa4, 0x55, 0x87, 0x5a, 0x58, 0xdb, 0x9e, 0x03],
];

/// x^8 + x^6 + x^3 + x^2 + 1, without its first term.
const RS_FIELD: u8 = 0x4d;

/// The two fixed permutations of bytes, q0 and q1.
static PERMUTATIONS: [[u8; 256]; 2] = [permutation(&NIBBLES[0]), permutation(&NIBBLES[1])];

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "runs when the crate is compiled, where a wrong index is an error"
)]
const fn permutation(tables: &[[u8; 16]; 4]) -> [u8; 256] {
    let mut out = [0; 256];
    let mut x = 0;
    while x < out.len() {
        let (mut a, mut b) = ((x >> 4) as u8, (x & 15) as u8);
        let mut half = 0;
        while half < 4 {
            let turned = ((b >> 1) | (b << 3)) & 15;
            (a, b) = (a ^ b, (a ^ turned ^ (a << 3)) & 15);
            (a, b) = (tables[half][a as usize], tables[half + 1][b as usize]);
            half += 2;
        }
        out[x] = b << 4 | a;
        x += 1;
    }
    out
}

/// The product of two bytes in a field of 256 elements.
fn product(a: u8, b: u8, field: u8) -> u8 {
    let mut sum = 0;
    let mut power = b;
    for bit in 0..8 {
        // By masks, because one of the two may be secret.
        sum ^= power & 0_u8.wrapping_sub(a >> bit & 1);
        power = power << 1 ^ field & 0_u8.wrapping_sub(power >> 7);
    }
    sum
}

/// Byte `at` of a word, through its permutations, keyed with `words`, the last of them first.
#[expect(
    clippy::indexing_slicing,
    reason = "a byte is an index of 256 entries; `at` is below 4 and keys have 2 to 4 words"
)]
fn substituted(at: usize, byte: u8, words: &[[u8; 4]]) -> u8 {
    let order = &ORDER[at][4 - words.len()..];
    let through = |permutation: usize, byte: u8| PERMUTATIONS[permutation][usize::from(byte)];
    let mut byte = byte;
    for (permutation, word) in order.iter().zip(words.iter().rev()) {
        byte = through(*permutation, byte) ^ word[at];
    }
    through(ORDER[at][4], byte)
}

/// `byte` times column `at` of the matrix.
#[expect(clippy::indexing_slicing, reason = "`at` is below 4")]
fn column(at: usize, byte: u8) -> u32 {
    u32::from_le_bytes(MDS[at].map(|factor| product(factor, byte, MDS_FIELD)))
}

/// The function h of a word whose four bytes are all `byte`.
fn h(byte: u8, words: &[[u8; 4]]) -> u32 {
    (0..4).fold(0, |sum, at| sum ^ column(at, substituted(at, byte, words)))
}

impl Twofish {
    /// `key` has 16, 24 or 32 bytes.
    fn with_key(key: &[u8]) -> Self {
        let (words, _) = key.as_chunks::<4>();
        let mut even = Zeroizing::new([[0; 4]; 4]);
        let mut odd = Zeroizing::new([[0; 4]; 4]);
        let mut of_boxes = Zeroizing::new([[0; 4]; 4]);
        let count = words.len() / 2;
        for (i, pair) in words.as_chunks::<2>().0.iter().enumerate() {
            let [first, second] = pair;
            let eight = first.iter().chain(second);
            let made = RS.map(|row| {
                let products = row.iter().zip(eight.clone());
                products.fold(0, |sum, (factor, byte)| {
                    sum ^ product(*factor, *byte, RS_FIELD)
                })
            });
            for (list, place, word) in [
                (&mut even, i, *first),
                (&mut odd, i, *second),
                // In reverse order, as the standard has them.
                (&mut of_boxes, count - 1 - i, made),
            ] {
                if let Some(place) = list.get_mut(place) {
                    *place = word;
                }
            }
        }
        let (even, _) = even.split_at(count);
        let (odd, _) = odd.split_at(count);
        let (of_boxes, _) = of_boxes.split_at(count);
        let mut twofish = Self {
            boxes: Box::new([[0; 256]; 4]),
            subkeys: Box::new([0; 40]),
        };
        for (pair, i) in twofish.subkeys.as_chunks_mut::<2>().0.iter_mut().zip(0..) {
            let a = h(2 * i, even);
            let b = h(2 * i + 1, odd).rotate_left(8);
            let sum = a.wrapping_add(b);
            *pair = [sum, sum.wrapping_add(b).rotate_left(9)];
        }
        for (at, table) in twofish.boxes.iter_mut().enumerate() {
            for (entry, byte) in table.iter_mut().zip(0..=255) {
                *entry = column(at, substituted(at, byte, of_boxes));
            }
        }
        twofish
    }

    /// The function g.
    #[expect(clippy::indexing_slicing, reason = "a byte is an index of 256 entries")]
    fn g(&self, word: u32) -> u32 {
        let [b0, b1, b2, b3] = word.to_le_bytes();
        let [t0, t1, t2, t3] = &*self.boxes;
        t0[usize::from(b0)] ^ t1[usize::from(b1)] ^ t2[usize::from(b2)] ^ t3[usize::from(b3)]
    }

    /// What a round adds to the other half of the block.
    fn f(&self, a: u32, b: u32, [k0, k1]: [u32; 2]) -> [u32; 2] {
        let (t0, t1) = (self.g(a), self.g(b.rotate_left(8)));
        let sum = t0.wrapping_add(t1);
        [sum.wrapping_add(k0), sum.wrapping_add(t1).wrapping_add(k1)]
    }

    /// The keys of whitening before and after, and of eight pairs of rounds.
    fn keys(&self) -> ([u32; 4], [u32; 4], &[[u32; 4]]) {
        match self.subkeys.as_chunks::<4>().0 {
            [before, after, rounds @ ..] => (*before, *after, rounds),
            _ => unreachable!("40 words are ten times four"),
        }
    }
}

fn words_of(block: &Block<Twofish>) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(block.0.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

fn write(words: [u32; 4], keys: [u32; 4], block: &mut Block<Twofish>) {
    for ((bytes, word), key) in block.0.as_chunks_mut().0.iter_mut().zip(words).zip(keys) {
        *bytes = (word ^ key).to_le_bytes();
    }
}

impl BlockCipherEncBackend for Twofish {
    #[inline]
    fn encrypt_block(&self, mut block: InOut<'_, '_, Block<Self>>) {
        let (before, after, rounds) = self.keys();
        let [mut a, mut b, mut c, mut d] = words_of(block.get_in());
        let [k0, k1, k2, k3] = before;
        (a, b, c, d) = (a ^ k0, b ^ k1, c ^ k2, d ^ k3);
        for [k0, k1, k2, k3] in rounds {
            let [x, y] = self.f(a, b, [*k0, *k1]);
            (c, d) = ((c ^ x).rotate_right(1), d.rotate_left(1) ^ y);
            let [x, y] = self.f(c, d, [*k2, *k3]);
            (a, b) = ((a ^ x).rotate_right(1), b.rotate_left(1) ^ y);
        }
        write([c, d, a, b], after, block.get_out());
    }
}

impl BlockCipherDecBackend for Twofish {
    #[inline]
    fn decrypt_block(&self, mut block: InOut<'_, '_, Block<Self>>) {
        let (before, after, rounds) = self.keys();
        let [mut c, mut d, mut a, mut b] = words_of(block.get_in());
        let [k0, k1, k2, k3] = after;
        (c, d, a, b) = (c ^ k0, d ^ k1, a ^ k2, b ^ k3);
        for [k0, k1, k2, k3] in rounds.iter().rev() {
            let [x, y] = self.f(c, d, [*k2, *k3]);
            (a, b) = (a.rotate_left(1) ^ x, (b ^ y).rotate_right(1));
            let [x, y] = self.f(a, b, [*k0, *k1]);
            (c, d) = (c.rotate_left(1) ^ x, (d ^ y).rotate_right(1));
        }
        write([a, b, c, d], before, block.get_out());
    }
}

impl BlockSizeUser for Twofish {
    type BlockSize = U16;
}

impl ParBlocksSizeUser for Twofish {
    type ParBlocksSize = U1;
}

impl KeySizeUser for Twofish {
    type KeySize = U32;
}

impl KeyInit for Twofish {
    fn new(key: &Key<Self>) -> Self {
        Self::with_key(key)
    }

    fn new_from_slice(key: &[u8]) -> Result<Self, InvalidLength> {
        match key.len() {
            16 | 24 | 32 => Ok(Self::with_key(key)),
            _ => Err(InvalidLength),
        }
    }
}

impl BlockCipherEncrypt for Twofish {
    #[inline]
    fn encrypt_with_backend(&self, f: impl BlockCipherEncClosure<BlockSize = Self::BlockSize>) {
        f.call(self);
    }
}

impl BlockCipherDecrypt for Twofish {
    #[inline]
    fn decrypt_with_backend(&self, f: impl BlockCipherDecClosure<BlockSize = Self::BlockSize>) {
        f.call(self);
    }
}

impl Drop for Twofish {
    fn drop(&mut self) {
        self.boxes.zeroize();
        self.subkeys.zeroize();
    }
}

impl ZeroizeOnDrop for Twofish {}

#[cfg(test)]
mod tests {
    use super::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit, Twofish};

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        core::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    #[test]
    fn the_vectors_of_the_paper_hold() {
        // Appendix B.2, the first of each key length: zeros, or counting keys, and a zero block.
        for (key, expected) in [
            (&[0; 16][..], "9f589f5cf6122c32b6bfec2f2ae8c35a"),
            (
                &hex::<24>("0123456789abcdeffedcba98765432100011223344556677"),
                "cfd1d2e5a9be9cdf501f13b892bd2248",
            ),
            (
                &hex::<32>("0123456789abcdeffedcba987654321000112233445566778899aabbccddeeff"),
                "37527be0052334b89f0cfccae87cfa20",
            ),
        ] {
            let twofish = Twofish::new_from_slice(key).unwrap();
            let mut block = Block::<Twofish>::default();
            twofish.encrypt_block(&mut block);
            assert_eq!(block.0, hex(expected), "{}", key.len());
            twofish.decrypt_block(&mut block);
            assert_eq!(block.0, [0; 16], "{}", key.len());
        }
    }

    #[test]
    fn blocks_and_keys_of_all_kinds_agree_with_the_twofish_crate() {
        let mut seed = 1_u64;
        let mut random = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            seed.to_be_bytes()[0]
        };
        for round in 0..100 {
            let key: [u8; 32] = core::array::from_fn(|_| random());
            for bytes in [16, 24, 32] {
                let ours = Twofish::new_from_slice(&key[..bytes]).unwrap();
                let theirs = twofish::Twofish::new_from_slice(&key[..bytes]).unwrap();
                let plain: [u8; 16] = core::array::from_fn(|_| random());
                let (mut have, mut want) =
                    (Block::<Twofish>::from(plain), Block::<Twofish>::from(plain));
                ours.encrypt_block(&mut have);
                theirs.encrypt_block(&mut want);
                assert_eq!(have, want, "{bytes} bytes, round {round}");
                ours.decrypt_block(&mut have);
                assert_eq!(have.0, plain, "{bytes} bytes, round {round}");
            }
        }
    }

    #[test]
    fn keys_of_other_lengths_are_refused() {
        for bytes in (0..=40).filter(|bytes| ![16, 24, 32].contains(bytes)) {
            assert!(
                Twofish::new_from_slice(&[0; 40][..bytes]).is_err(),
                "{bytes}"
            );
        }
    }
}
