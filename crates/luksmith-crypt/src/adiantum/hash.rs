//! Adiantum's tweakable hash: NH over the bulk, then Poly1305, plus Poly1305 of the tweak.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes that NH takes at once.
const NH_MESSAGE_BYTES: usize = 1024;
/// Words of the NH key: a message's words, and four more for each pass after the first.
const NH_KEY_WORDS: usize = NH_MESSAGE_BYTES / 4 + 3 * 4;
/// Bytes of key material: two Poly1305 keys, then the NH key.
pub(super) const HASH_KEY_BYTES: usize = 16 + 16 + NH_KEY_WORDS * 4;

/// The keys of the hash.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct TweakedHash {
    header_key: Poly1305Key,
    message_key: Poly1305Key,
    nh_key: [u32; NH_KEY_WORDS],
}

impl TweakedHash {
    pub(super) fn new(key: &[u8; HASH_KEY_BYTES]) -> Self {
        let (header, rest) = key.split_first_chunk().expect("the first key fits");
        let (message, rest) = rest.split_first_chunk().expect("the second key fits");
        let mut nh_key = [0; NH_KEY_WORDS];
        for (word, bytes) in nh_key.iter_mut().zip(rest.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Self {
            header_key: Poly1305Key::new(*header),
            message_key: Poly1305Key::new(*message),
            nh_key,
        }
    }

    /// Hashes `tweak` and `bulk`, whole blocks of 16 bytes each.
    pub(super) fn of(&self, tweak: &[u8], bulk: &[u8]) -> u128 {
        let mut header = Poly1305::new(&self.header_key);
        header.block((bulk.len() as u128 * 8).to_le_bytes());
        for block in tweak.as_chunks().0 {
            header.block(*block);
        }
        let mut message = Poly1305::new(&self.message_key);
        for chunk in bulk.chunks(NH_MESSAGE_BYTES) {
            let [a, b, c, d] = self.nh(chunk);
            message.block(join(a, b));
            message.block(join(c, d));
        }
        header.finish().wrapping_add(message.finish())
    }

    /// NH with four passes, each with its key four words further on.
    fn nh(&self, chunk: &[u8]) -> [u64; 4] {
        let mut sums = [0_u64; 4];
        for (unit, key) in chunk
            .as_chunks::<16>()
            .0
            .iter()
            .zip(self.nh_key.as_chunks::<4>().0.windows(4))
        {
            let mut m = [0; 4];
            for (word, bytes) in m.iter_mut().zip(unit.as_chunks().0) {
                *word = u32::from_le_bytes(*bytes);
            }
            let [m0, m1, m2, m3] = m;
            for (sum, [k0, k1, k2, k3]) in sums.iter_mut().zip(key) {
                let first = product(m0.wrapping_add(*k0), m2.wrapping_add(*k2));
                let second = product(m1.wrapping_add(*k1), m3.wrapping_add(*k3));
                *sum = sum.wrapping_add(first).wrapping_add(second);
            }
        }
        sums
    }
}

fn product(a: u32, b: u32) -> u64 {
    u64::from(a) * u64::from(b)
}

fn join(low: u64, high: u64) -> [u8; 16] {
    (u128::from(low) | u128::from(high) << 64).to_le_bytes()
}

/// Limbs of 26 bits.
const LIMB: u64 = (1 << 26) - 1;

#[derive(Zeroize, ZeroizeOnDrop)]
struct Poly1305Key([u64; 5]);

impl Poly1305Key {
    fn new(bytes: [u8; 16]) -> Self {
        // RFC 8439 section 2.5.1: the bits that r must not have.
        let r = u128::from_le_bytes(bytes) & 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff;
        Self(limbs(r, 0))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the mask leaves 26 bits")]
fn limbs(value: u128, top: u64) -> [u64; 5] {
    let limb = |shift: u32| (value >> shift) as u64 & LIMB;
    [
        limb(0),
        limb(26),
        limb(52),
        limb(78),
        (value >> 104) as u64 | top << 24,
    ]
}

/// The polynomial modulo 2^130 - 5, without the final addition of RFC 8439.
struct Poly1305<'a> {
    r: &'a [u64; 5],
    h: [u64; 5],
}

impl<'a> Poly1305<'a> {
    fn new(key: &'a Poly1305Key) -> Self {
        Self {
            r: &key.0,
            h: [0; 5],
        }
    }

    fn block(&mut self, bytes: [u8; 16]) {
        let [m0, m1, m2, m3, m4] = limbs(u128::from_le_bytes(bytes), 1);
        let [h0, h1, h2, h3, h4] = self.h;
        let (h0, h1, h2, h3, h4) = (h0 + m0, h1 + m1, h2 + m2, h3 + m3, h4 + m4);
        let [r0, r1, r2, r3, r4] = *self.r;
        let (s1, s2, s3, s4) = (r1 * 5, r2 * 5, r3 * 5, r4 * 5);
        // Limbs of h stay below 2^27 and 5 * r below 2^29, so five products stay below 2^59.
        let d0 = h0 * r0 + h1 * s4 + h2 * s3 + h3 * s2 + h4 * s1;
        let d1 = h0 * r1 + h1 * r0 + h2 * s4 + h3 * s3 + h4 * s2;
        let d2 = h0 * r2 + h1 * r1 + h2 * r0 + h3 * s4 + h4 * s3;
        let d3 = h0 * r3 + h1 * r2 + h2 * r1 + h3 * r0 + h4 * s4;
        let d4 = h0 * r4 + h1 * r3 + h2 * r2 + h3 * r1 + h4 * r0;
        self.h = carry([d0, d1, d2, d3, d4]);
    }

    fn finish(mut self) -> u128 {
        // Twice: after the first pass a carry may still sit in the second limb.
        let [h0, h1, h2, h3, h4] = carry(carry(self.h));
        // Subtracting 2^130 - 5 is adding 5 and dropping bit 130; the choice is made by masks.
        let mut plus = [h0 + 5, h1, h2, h3, h4];
        let mut over = 0;
        for limb in &mut plus {
            *limb += over;
            over = *limb >> 26;
            *limb &= LIMB;
        }
        let take = 0_u64.wrapping_sub(over);
        let mut sum = 0_u128;
        let kept = [h0, h1, h2, h3, h4];
        for (at, (limb, reduced)) in kept.iter().zip(&plus).enumerate() {
            let limb = (limb & !take) | (reduced & take);
            // Bits past 128 fall off: the hash is taken modulo 2^128.
            sum = sum.wrapping_add(u128::from(limb) << (26 * at));
        }
        self.h.zeroize();
        sum
    }
}

fn carry(d: [u64; 5]) -> [u64; 5] {
    let [d0, d1, d2, d3, d4] = d;
    let d1 = d1 + (d0 >> 26);
    let d2 = d2 + (d1 >> 26);
    let d3 = d3 + (d2 >> 26);
    let d4 = d4 + (d3 >> 26);
    let d0 = (d0 & LIMB) + (d4 >> 26) * 5;
    let d1 = (d1 & LIMB) + (d0 >> 26);
    [d0 & LIMB, d1, d2 & LIMB, d3 & LIMB, d4 & LIMB]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomial_is_the_accumulator_of_rfc_8439() {
        // Section 2.5.2, the accumulator after the second block; its top two bits fall off here.
        let key = Poly1305Key::new([
            0x85, 0xd6, 0xbe, 0x78, 0x57, 0x55, 0x6d, 0x33, 0x7f, 0x44, 0x52, 0xfe, 0x42, 0xd5,
            0x06, 0xa8,
        ]);
        let mut poly = Poly1305::new(&key);
        poly.block(*b"Cryptographic Fo");
        poly.block(*b"rum Research Gro");
        assert_eq!(
            poly.finish(),
            0xd8ad_af23_b033_7fa7_cccf_b4ea_344b_30de_u128
        );
    }

    #[test]
    fn values_at_the_prime_are_reduced() {
        // r = 1 sums the blocks: 2^130 - 5 + 3 as blocks must leave 3 after reduction.
        let mut one = [0; 16];
        one[0] = 1;
        let key = Poly1305Key::new(one);
        let mut poly = Poly1305::new(&key);
        // Each block carries 2^128; four of them are 2^130, which is 5.
        for _ in 0..4 {
            poly.block([0; 16]);
        }
        assert_eq!(poly.finish(), 5);
        // 2^130 - 5 exactly: three full blocks and one that makes up the rest.
        let mut poly = Poly1305::new(&key);
        for block in [0, 0, 0, u128::MAX - 4] {
            poly.block(u128::to_le_bytes(block));
        }
        assert_eq!(poly.finish(), 0);
    }
}
