//! AEGIS-128, from single AES rounds.
//!
//! # Format
//! H. Wu, B. Preneel, "AEGIS: a fast authenticated encryption algorithm", version 1.1, the variant
//! with five blocks of state. Pinned by bytes that the kernel wrote (tests/vectors.rs).

use aes::Block;
use aes::hazmat::{Block8, cipher_round_par};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::TAG_BYTES;
use super::sealer::Sealer;

/// The Fibonacci numbers modulo 256, first half.
const CONST0: u128 = u128::from_le_bytes([
    0x00, 0x01, 0x01, 0x02, 0x03, 0x05, 0x08, 0x0d, 0x15, 0x22, 0x37, 0x59, 0x90, 0xe9, 0x79, 0x62,
]);
/// Second half.
const CONST1: u128 = u128::from_le_bytes([
    0xdb, 0x3d, 0x18, 0x55, 0x6d, 0xc2, 0x2f, 0xf1, 0x20, 0x11, 0x31, 0x42, 0x73, 0xb5, 0x28, 0xdd,
]);

/// A key.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Aegis128 {
    key: u128,
}

impl Aegis128 {
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self {
            key: u128::from_le_bytes(key),
        }
    }

    fn start(&self, nonce: &[u8], ad: &[u8]) -> State {
        let mut block = [0; 16];
        for (to, from) in block.iter_mut().zip(nonce) {
            *to = *from;
        }
        let both = self.key ^ u128::from_le_bytes(block);
        let mut state = State([both, CONST1, CONST0, self.key ^ CONST0, self.key ^ CONST1]);
        for _ in 0..5 {
            state.update(self.key);
            state.update(both);
        }
        for part in ad.chunks(16) {
            let mut block = [0; 16];
            for (to, from) in block.iter_mut().zip(part) {
                *to = *from;
            }
            state.update(u128::from_le_bytes(block));
        }
        state
    }
}

/// The five blocks; bytes in memory order are little-endian numbers.
#[derive(Zeroize, ZeroizeOnDrop)]
struct State([u128; 5]);

impl State {
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

    fn tag(mut self, ad: usize, message: usize) -> [u8; TAG_BYTES] {
        let lengths = (ad as u128 * 8) | (message as u128 * 8) << 64;
        let [.., s3, _] = self.0;
        for _ in 0..7 {
            self.update(s3 ^ lengths);
        }
        self.0.iter().fold(0, |tag, s| tag ^ s).to_le_bytes()
    }
}

impl Sealer for Aegis128 {
    fn seal(&self, nonce: &[u8], ad: &[u8], data: &mut [u8]) -> [u8; TAG_BYTES] {
        let mut state = self.start(nonce, ad);
        for block in data.as_chunks_mut::<16>().0 {
            let plain = u128::from_le_bytes(*block);
            *block = (plain ^ state.stream()).to_le_bytes();
            state.update(plain);
        }
        state.tag(ad.len(), data.len())
    }

    fn open(&self, nonce: &[u8], ad: &[u8], data: &mut [u8], tag: &[u8; TAG_BYTES]) -> bool {
        let mut state = self.start(nonce, ad);
        for block in data.as_chunks_mut::<16>().0 {
            let plain = u128::from_le_bytes(*block) ^ state.stream();
            *block = plain.to_le_bytes();
            state.update(plain);
        }
        let right: bool = state.tag(ad.len(), data.len()).ct_eq(tag).into();
        if !right {
            data.zeroize();
        }
        right
    }
}
