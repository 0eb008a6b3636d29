//! x86-64: AES-NI, VAES on 256 and 512 bits.

pub(crate) mod aesni;
pub(crate) mod cpu;
pub(crate) mod schedule;
pub(crate) mod vaes256;
pub(crate) mod vaes512;
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
