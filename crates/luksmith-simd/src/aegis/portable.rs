//! AEGIS-128 on the rounds of the `aes` crate.

use aes::Block;
use aes::hazmat::{Block8, cipher_round_par};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{BLOCK, CONSTANTS, lengths, padded};

/// Encrypts or decrypts `data` and gives the tag.
pub(super) fn crypt<const OPEN: bool>(
    key: &[u8; BLOCK],
    nonce: &[u8; BLOCK],
    ad: &[u8],
    data: &mut [[u8; BLOCK]],
) -> [u8; BLOCK] {
    let mut state = State::new(u128::from_le_bytes(*key), u128::from_le_bytes(*nonce));
    for block in padded(ad) {
        state.update(u128::from_le_bytes(block));
    }
    for block in &mut *data {
        let (from, stream) = (u128::from_le_bytes(*block), state.stream());
        *block = (from ^ stream).to_le_bytes();
        state.update(if OPEN { from ^ stream } else { from });
    }
    state.tag(lengths(ad.len(), data.len() * BLOCK))
}

/// The five blocks; bytes in memory order are little-endian numbers.
#[derive(Zeroize, ZeroizeOnDrop)]
struct State([u128; 5]);

impl State {
    fn new(key: u128, nonce: u128) -> Self {
        let [first, second] = CONSTANTS.map(u128::from_le_bytes);
        let both = key ^ nonce;
        let mut state = Self([both, second, first, key ^ first, key ^ second]);
        for _ in 0..5 {
            state.update(key);
            state.update(both);
        }
        state
    }

    /// One step: each block becomes an AES round of the block before it, keyed by the block, and
    /// `message` enters at the first.
    fn update(&mut self, message: u128) {
        let [s0, s1, s2, s3, s4] = self.0;
        let block = |value: u128| Block::from(value.to_le_bytes());
        // Eight at once costs what one costs, in hardware and in software; three go unused.
        let mut blocks = Block8::default();
        let mut keys = Block8::default();
        let pairs = [(s4, s0 ^ message), (s0, s1), (s1, s2), (s2, s3), (s3, s4)];
        for ((to, key), (value, round_key)) in blocks.iter_mut().zip(keys.iter_mut()).zip(pairs) {
            *to = block(value);
            *key = block(round_key);
        }
        cipher_round_par(&mut blocks, &keys);
        for (to, from) in self.0.iter_mut().zip(blocks.iter()) {
            *to = u128::from_le_bytes((*from).into());
        }
    }

    fn stream(&self) -> u128 {
        let [_, s1, s2, s3, s4] = self.0;
        s1 ^ s4 ^ (s2 & s3)
    }

    fn tag(mut self, lengths: u128) -> [u8; BLOCK] {
        let [.., s3, _] = self.0;
        for _ in 0..7 {
            self.update(s3 ^ lengths);
        }
        self.0.iter().fold(0, |tag, s| tag ^ s).to_le_bytes()
    }
}
