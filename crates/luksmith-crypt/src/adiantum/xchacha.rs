//! XChaCha with 12 or 20 rounds, from a nonce of up to 23 bytes.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::ChaChaRounds;

/// The words "expand 32-byte k".
const SIGMA: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// Blocks made side by side, so that the compiler can use vectors.
const LANES: usize = 8;

type State = [u32; 16];

/// A stream cipher key.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct XChaCha {
    key: [u32; 8],
    #[zeroize(skip)]
    double_rounds: usize,
}

impl XChaCha {
    pub(super) fn new(rounds: ChaChaRounds, key: &[u8; 32]) -> Self {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(key.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Self {
            key: words,
            double_rounds: match rounds {
                ChaChaRounds::Twelve => 6,
                ChaChaRounds::Twenty => 10,
            },
        }
    }

    /// Adds the key stream of `nonce`, at most 23 bytes, to `data`.
    ///
    /// The nonce is padded to 24 bytes with a one and zeros, as Adiantum wants it.
    pub(super) fn apply(&self, nonce: &[u8], data: &mut [u8]) {
        let mut padded = [0; 24];
        for (to, from) in padded.iter_mut().zip(nonce.iter().chain(&[1])) {
            *to = *from;
        }
        let mut nonce = [0; 6];
        for (word, bytes) in nonce.iter_mut().zip(padded.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let [n0, n1, n2, n3, n4, n5] = nonce;
        let mut subkey = self.hchacha([n0, n1, n2, n3]);
        let mut counter = 0_u64;
        let mut lanes = [[0; 16]; LANES];
        for part in data.chunks_mut(LANES * 64) {
            for lane in &mut lanes {
                *lane = block_input(&subkey, counter, [n4, n5]);
                counter = counter.wrapping_add(1);
            }
            let inputs = lanes;
            self.permute(&mut lanes);
            for ((block, lane), input) in part.chunks_mut(64).zip(&lanes).zip(&inputs) {
                add_stream(block, lane, input);
            }
        }
        lanes.zeroize();
        subkey.zeroize();
    }

    /// The subkey for the first 16 nonce bytes.
    fn hchacha(&self, nonce: [u32; 4]) -> [u32; 8] {
        let [k0, k1, k2, k3, k4, k5, k6, k7] = self.key;
        let [c0, c1, c2, c3] = SIGMA;
        let [n0, n1, n2, n3] = nonce;
        let mut state = [[
            c0, c1, c2, c3, k0, k1, k2, k3, k4, k5, k6, k7, n0, n1, n2, n3,
        ]];
        self.permute(&mut state);
        let [[s0, s1, s2, s3, .., s12, s13, s14, s15]] = state;
        state.zeroize();
        [s0, s1, s2, s3, s12, s13, s14, s15]
    }

    fn permute(&self, states: &mut [State]) {
        for _ in 0..self.double_rounds {
            for state in states.iter_mut() {
                double_round(state);
            }
        }
    }
}

fn block_input(key: &[u32; 8], counter: u64, nonce: [u32; 2]) -> State {
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key;
    let [c0, c1, c2, c3] = SIGMA;
    let [n0, n1] = nonce;
    let [[a0, a1, a2, a3], [b0, b1, b2, b3]] = split_counter(counter);
    [
        c0,
        c1,
        c2,
        c3,
        k0,
        k1,
        k2,
        k3,
        k4,
        k5,
        k6,
        k7,
        u32::from_le_bytes([a0, a1, a2, a3]),
        u32::from_le_bytes([b0, b1, b2, b3]),
        n0,
        n1,
    ]
}

fn split_counter(counter: u64) -> [[u8; 4]; 2] {
    let [a, b, c, d, e, f, g, h] = counter.to_le_bytes();
    [[a, b, c, d], [e, f, g, h]]
}

fn add_stream(block: &mut [u8], state: &State, input: &State) {
    for ((word, start), bytes) in state.iter().zip(input).zip(block.chunks_mut(4)) {
        let stream = word.wrapping_add(*start).to_le_bytes();
        for (byte, key) in bytes.iter_mut().zip(stream) {
            *byte ^= key;
        }
    }
}

#[inline(always)]
fn quarter(a: &mut u32, b: &mut u32, c: &mut u32, d: &mut u32) {
    *a = a.wrapping_add(*b);
    *d = (*d ^ *a).rotate_left(16);
    *c = c.wrapping_add(*d);
    *b = (*b ^ *c).rotate_left(12);
    *a = a.wrapping_add(*b);
    *d = (*d ^ *a).rotate_left(8);
    *c = c.wrapping_add(*d);
    *b = (*b ^ *c).rotate_left(7);
}

#[inline(always)]
fn double_round(state: &mut State) {
    let [
        s0,
        s1,
        s2,
        s3,
        s4,
        s5,
        s6,
        s7,
        s8,
        s9,
        s10,
        s11,
        s12,
        s13,
        s14,
        s15,
    ] = state;
    quarter(s0, s4, s8, s12);
    quarter(s1, s5, s9, s13);
    quarter(s2, s6, s10, s14);
    quarter(s3, s7, s11, s15);
    quarter(s0, s5, s10, s15);
    quarter(s1, s6, s11, s12);
    quarter(s2, s7, s8, s13);
    quarter(s3, s4, s9, s14);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hchacha20_gives_the_subkey_of_the_xchacha_draft() {
        // draft-irtf-cfrg-xchacha-03, section 2.2.1.
        let key: [u8; 32] = core::array::from_fn(|i| u8::try_from(i).unwrap());
        let cipher = XChaCha::new(ChaChaRounds::Twenty, &key);
        let subkey = cipher.hchacha([0x0900_0000, 0x4a00_0000, 0, 0x2759_4131]);
        assert_eq!(
            subkey.map(u32::swap_bytes),
            [
                0x8241_3b42,
                0x27b2_7bfe,
                0xd30e_4250,
                0x8a87_7d73,
                0xa0f9_e4d5,
                0x8a74_a853,
                0xc12e_c413,
                0x26d3_ecdc
            ]
        );
    }
}
