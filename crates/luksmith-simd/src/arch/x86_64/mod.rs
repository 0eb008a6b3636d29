//! x86-64: AES-NI, VAES on 256 and 512 bits, SHA-NI, AVX2 and AVX-512.

pub(crate) mod aegis;
pub(crate) mod aesni;
#[cfg(feature = "gcm")]
mod aesni_gcm;
pub(crate) mod argon2;
pub(crate) mod cpu;
pub(crate) mod crc32c;
#[cfg(feature = "gcm")]
pub(crate) mod gcm;
#[cfg(feature = "gcm")]
mod gcm_narrow;
#[cfg(feature = "gcm")]
mod gcm_schedule;
mod lanes;
mod pbkdf2_sha512;
mod pbkdf2_shani;
pub(crate) mod rounds;
pub(crate) mod schedule;
pub(crate) mod sha2;
mod sha256_avx2;
mod sha256_avx512;
mod sha256_avx512vl;
mod sha256_shani;
mod sha512_avx2;
mod sha512_avx512;
pub(crate) mod vaes256;
#[cfg(feature = "gcm")]
mod vaes256_gcm;
pub(crate) mod vaes512;
#[cfg(feature = "gcm")]
mod vaes512_gcm;
pub(crate) mod xts;

use crate::Backend;

/// Tells whether the machine has the instructions of an AES backend other than portable.
pub(crate) fn has_aes(backend: Backend) -> bool {
    match backend {
        Backend::AesNi => aesni::AesNi::detect().is_some(),
        Backend::Vaes256 => vaes256::Vaes256::detect().is_some(),
        Backend::Vaes512 => vaes512::Vaes512::detect().is_some(),
        _ => false,
    }
}
