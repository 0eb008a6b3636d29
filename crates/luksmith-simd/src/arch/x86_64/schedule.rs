//! Round keys of AES as the vector kernels want them, expanded without tables.

use core::arch::x86_64::{
    __m128i, _mm_aesimc_si128, _mm_aeskeygenassist_si128, _mm_loadu_si128, _mm_setzero_si128,
    _mm_shuffle_epi32, _mm_slli_si128, _mm_storeu_si128, _mm_xor_si128,
};

use super::aesni::AesNi;
use crate::arch::round_keys::{AES128, AES256, RoundKeys};

impl<const N: usize> RoundKeys<N> {
    /// Fills in the round keys for decryption: reversed, and carried through InvMixColumns
    /// except for the first and the last (the equivalent inverse cipher of FIPS 197, 5.3.5).
    pub(crate) fn invert(&mut self, cpu: AesNi, encrypt: &Self) {
        let _ = cpu;
        for (to, from) in self.0.iter_mut().zip(encrypt.0.iter().rev()) {
            *to = *from;
        }
        for key in &mut self.0[1..N - 1] {
            #[expect(unsafe_code, reason = "call of a function with a target feature")]
            // SAFETY: an `AesNi` exists only if `AesNi::detect` saw `aes` on this machine.
            unsafe {
                inverse_mix_columns(key);
            }
        }
    }
}

impl RoundKeys<AES128> {
    pub(crate) fn expand(&mut self, cpu: AesNi, key: &[u8; 16]) {
        let _ = cpu;
        #[expect(unsafe_code, reason = "call of a function with a target feature")]
        // SAFETY: an `AesNi` exists only if `AesNi::detect` saw `aes` on this machine.
        unsafe {
            expand128(&mut self.0, key);
        }
    }
}

impl RoundKeys<AES256> {
    pub(crate) fn expand(&mut self, cpu: AesNi, key: &[u8; 32]) {
        let _ = cpu;
        #[expect(unsafe_code, reason = "call of a function with a target feature")]
        // SAFETY: an `AesNi` exists only if `AesNi::detect` saw `aes` on this machine.
        unsafe {
            expand256(&mut self.0, key);
        }
    }
}

#[expect(unsafe_code, reason = "a load through a pointer")]
#[inline]
#[target_feature(enable = "sse2")]
pub(crate) fn load128(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the array type says that 16 bytes are readable; the load needs no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[expect(unsafe_code, reason = "a store through a pointer")]
#[inline]
#[target_feature(enable = "sse2")]
pub(crate) fn store128(bytes: &mut [u8; 16], value: __m128i) {
    // SAFETY: the array type says that 16 bytes are writable; the store needs no alignment.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), value) }
}

#[target_feature(enable = "aes")]
fn inverse_mix_columns(key: &mut [u8; 16]) {
    store128(key, _mm_aesimc_si128(load128(key)));
}

/// Each word of `key` xored with all words below it, as the key schedule chains them.
#[inline]
#[target_feature(enable = "sse2")]
fn chain(key: __m128i) -> __m128i {
    let key = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
    _mm_xor_si128(key, _mm_slli_si128::<8>(key))
}

/// The next round key where the last word goes through RotWord, SubWord and the round constant.
#[inline]
#[target_feature(enable = "aes")]
fn next_rotated<const RCON: i32>(before: __m128i, last: __m128i) -> __m128i {
    let word = _mm_shuffle_epi32::<0b1111_1111>(_mm_aeskeygenassist_si128::<RCON>(last));
    _mm_xor_si128(chain(before), word)
}

/// The next round key of AES-256 where the last word goes through SubWord alone.
#[inline]
#[target_feature(enable = "aes")]
fn next_plain(before: __m128i, last: __m128i) -> __m128i {
    let word = _mm_shuffle_epi32::<0b1010_1010>(_mm_aeskeygenassist_si128::<0>(last));
    _mm_xor_si128(chain(before), word)
}

#[target_feature(enable = "aes")]
fn expand128(to: &mut [[u8; 16]; AES128], key: &[u8; 16]) {
    let mut round = [_mm_setzero_si128(); AES128];
    round[0] = load128(key);
    round[1] = next_rotated::<0x01>(round[0], round[0]);
    round[2] = next_rotated::<0x02>(round[1], round[1]);
    round[3] = next_rotated::<0x04>(round[2], round[2]);
    round[4] = next_rotated::<0x08>(round[3], round[3]);
    round[5] = next_rotated::<0x10>(round[4], round[4]);
    round[6] = next_rotated::<0x20>(round[5], round[5]);
    round[7] = next_rotated::<0x40>(round[6], round[6]);
    round[8] = next_rotated::<0x80>(round[7], round[7]);
    round[9] = next_rotated::<0x1b>(round[8], round[8]);
    round[10] = next_rotated::<0x36>(round[9], round[9]);
    for (bytes, value) in to.iter_mut().zip(round) {
        store128(bytes, value);
    }
}

#[target_feature(enable = "aes")]
fn expand256(to: &mut [[u8; 16]; AES256], key: &[u8; 32]) {
    let (halves, _) = key.as_chunks::<16>();
    let mut round = [_mm_setzero_si128(); AES256];
    round[0] = load128(&halves[0]);
    round[1] = load128(&halves[1]);
    round[2] = next_rotated::<0x01>(round[0], round[1]);
    round[3] = next_plain(round[1], round[2]);
    round[4] = next_rotated::<0x02>(round[2], round[3]);
    round[5] = next_plain(round[3], round[4]);
    round[6] = next_rotated::<0x04>(round[4], round[5]);
    round[7] = next_plain(round[5], round[6]);
    round[8] = next_rotated::<0x08>(round[6], round[7]);
    round[9] = next_plain(round[7], round[8]);
    round[10] = next_rotated::<0x10>(round[8], round[9]);
    round[11] = next_plain(round[9], round[10]);
    round[12] = next_rotated::<0x20>(round[10], round[11]);
    round[13] = next_plain(round[11], round[12]);
    round[14] = next_rotated::<0x40>(round[12], round[13]);
    for (bytes, value) in to.iter_mut().zip(round) {
        store128(bytes, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197, appendix A.1 and A.3: the last round key of each example.
    #[test]
    fn round_keys_are_those_of_the_standard() {
        let Some(cpu) = AesNi::detect() else { return };
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

    #[test]
    fn inverted_keys_run_backwards() {
        let Some(cpu) = AesNi::detect() else { return };
        let mut keys = RoundKeys::<AES128>::zeroed();
        keys.expand(cpu, &[7; 16]);
        let mut inverse = RoundKeys::<AES128>::zeroed();
        inverse.invert(cpu, &keys);
        assert_eq!(inverse.0[0], keys.0[10]);
        assert_eq!(inverse.0[10], keys.0[0]);
        assert_ne!(inverse.0[1], keys.0[9]);
    }
}
