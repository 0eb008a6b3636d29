//! AES rounds alone, as fast as the CPU starts them: what bounds every AES kernel.

use core::arch::x86_64::{
    _mm_aesenc_si128, _mm_setzero_si128, _mm256_aesenc_epi128, _mm256_setzero_si256,
    _mm512_aesenc_epi128, _mm512_setzero_si512,
};
use core::hint::black_box;

use super::aesni::AesNi;
use super::vaes256::Vaes256;
use super::vaes512::Vaes512;
use crate::Backend;

/// Chains that do not wait for each other: more than cover the latency of a round.
const CHAINS: usize = 12;

/// A round on each of `blocks` blocks, rounded up to a multiple of 48; `None` where `backend` has
/// no instructions for it here.
pub(crate) fn aes_rounds(backend: Backend, blocks: usize) -> Option<()> {
    let widest = blocks.div_ceil(CHAINS * 4);
    match backend {
        Backend::AesNi => rounds128(AesNi::detect()?, widest * 4),
        Backend::Vaes256 => rounds256(Vaes256::detect()?, widest * 2),
        Backend::Vaes512 => rounds512(Vaes512::detect()?, widest),
        _ => return None,
    }
    Some(())
}

fn rounds128(_cpu: AesNi, steps: usize) {
    #[target_feature(enable = "aes")]
    fn run(steps: usize) {
        let (mut chains, key) = black_box(([_mm_setzero_si128(); CHAINS], _mm_setzero_si128()));
        for _ in 0..steps {
            for chain in &mut chains {
                *chain = _mm_aesenc_si128(*chain, key);
            }
        }
        black_box(chains);
    }
    #[expect(unsafe_code, reason = "call of a function with a target feature")]
    // SAFETY: an `AesNi` exists only if `AesNi::detect` saw aes on this machine.
    unsafe {
        run(steps);
    }
}

fn rounds256(_cpu: Vaes256, steps: usize) {
    #[target_feature(enable = "avx2,vaes")]
    fn run(steps: usize) {
        let zero = _mm256_setzero_si256();
        let (mut chains, key) = black_box(([zero; CHAINS], zero));
        for _ in 0..steps {
            for chain in &mut chains {
                *chain = _mm256_aesenc_epi128(*chain, key);
            }
        }
        black_box(chains);
    }
    #[expect(unsafe_code, reason = "call of a function with target features")]
    // SAFETY: a `Vaes256` exists only if `Vaes256::detect` saw avx2 and vaes on this machine.
    unsafe {
        run(steps);
    }
}

fn rounds512(_cpu: Vaes512, steps: usize) {
    #[target_feature(enable = "avx512f,vaes")]
    fn run(steps: usize) {
        let zero = _mm512_setzero_si512();
        let (mut chains, key) = black_box(([zero; CHAINS], zero));
        for _ in 0..steps {
            for chain in &mut chains {
                *chain = _mm512_aesenc_epi128(*chain, key);
            }
        }
        black_box(chains);
    }
    #[expect(unsafe_code, reason = "call of a function with target features")]
    // SAFETY: a `Vaes512` exists only if `Vaes512::detect` saw avx512f and vaes on this machine.
    unsafe {
        run(steps);
    }
}
