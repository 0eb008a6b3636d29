//! Key expansion on Arm: the S-box comes from the AES instructions, so no table is read.

use core::arch::aarch64::{
    vaeseq_u8, vaesimcq_u8, vdupq_n_u8, vdupq_n_u32, vgetq_lane_u32, vreinterpretq_u8_u32,
    vreinterpretq_u32_u8,
};

use super::neon::{NeonAes, load, store};
use crate::arch::round_keys::{AES128, AES256, RoundKeys};

impl<const N: usize> RoundKeys<N> {
    /// Fills in the round keys for decryption: reversed, and carried through InvMixColumns
    /// except for the first and the last (the equivalent inverse cipher of FIPS 197, 5.3.5).
    pub(crate) fn invert(&mut self, cpu: NeonAes, encrypt: &Self) {
        let _ = cpu;
        for (to, from) in self.0.iter_mut().zip(encrypt.0.iter().rev()) {
            *to = *from;
        }
        for key in &mut self.0[1..N - 1] {
            #[expect(unsafe_code, reason = "call of a function with a target feature")]
            // SAFETY: a `NeonAes` exists only if `NeonAes::detect` saw `aes` on this machine.
            unsafe {
                inverse_mix_columns(key);
            }
        }
    }

    /// FIPS 197, 5.2: the words of the key, each made from the one before it and the one a key
    /// length before it.
    fn expand_words(&mut self, cpu: NeonAes, key: &[u8]) {
        let key_words = key.len() / 4;
        let bytes = self.0.as_flattened_mut();
        bytes[..key.len()].copy_from_slice(key);
        let (words, _) = bytes.as_chunks_mut::<4>();
        let mut constant: u32 = 1;
        for at in key_words..words.len() {
            let mut word = u32::from_le_bytes(words[at - 1]);
            if at % key_words == 0 {
                word = sub_word(cpu, word.rotate_right(8)) ^ constant;
                constant = (constant << 1) ^ if constant == 0x80 { 0x11b } else { 0 };
            } else if key_words == 8 && at % key_words == 4 {
                word = sub_word(cpu, word);
            }
            words[at] = (word ^ u32::from_le_bytes(words[at - key_words])).to_le_bytes();
        }
    }
}

impl RoundKeys<AES128> {
    pub(crate) fn expand(&mut self, cpu: NeonAes, key: &[u8; 16]) {
        self.expand_words(cpu, key);
    }
}

impl RoundKeys<AES256> {
    pub(crate) fn expand(&mut self, cpu: NeonAes, key: &[u8; 32]) {
        self.expand_words(cpu, key);
    }
}

/// The S-box on each byte of a word.
fn sub_word(_cpu: NeonAes, word: u32) -> u32 {
    #[expect(unsafe_code, reason = "call of a function with a target feature")]
    // SAFETY: a `NeonAes` exists only if `NeonAes::detect` saw `aes` on this machine.
    unsafe {
        sub_word_aes(word)
    }
}

#[target_feature(enable = "aes")]
fn sub_word_aes(word: u32) -> u32 {
    // With the same word in every column, ShiftRows changes nothing and SubBytes is left.
    let columns = vreinterpretq_u8_u32(vdupq_n_u32(word));
    vgetq_lane_u32::<0>(vreinterpretq_u32_u8(vaeseq_u8(columns, vdupq_n_u8(0))))
}

#[target_feature(enable = "aes")]
fn inverse_mix_columns(key: &mut [u8; 16]) {
    store(key, vaesimcq_u8(load(key)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197, appendix A.1 and A.3: the last round key of each example.
    #[test]
    fn round_keys_are_those_of_the_standard() {
        let Some(cpu) = NeonAes::detect() else { return };
        let mut keys = RoundKeys::<AES128>::zeroed();
        keys.expand(
            cpu,
            &0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes(),
        );
        assert_eq!(
            keys.0[10],
            0xd014_f9a8_c9ee_2589_e13f_0cc8_b663_0ca6_u128.to_be_bytes()
        );

        let mut key = [0; 32];
        key[..16].copy_from_slice(&0x603d_eb10_15ca_71be_2b73_aef0_857d_7781_u128.to_be_bytes());
        key[16..].copy_from_slice(&0x1f35_2c07_3b61_08d7_2d98_10a3_0914_dff4_u128.to_be_bytes());
        let mut keys = RoundKeys::<AES256>::zeroed();
        keys.expand(cpu, &key);
        assert_eq!(
            keys.0[14],
            0xfe48_90d1_e618_8d0b_046d_f344_706c_631e_u128.to_be_bytes()
        );
    }
}
