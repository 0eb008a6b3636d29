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

/// Makes the function for one width of vectors, with the features that `$cpu` proves.
macro_rules! rounds {
    ($name:ident, $cpu:ty, $features:literal, $zero:ident, $round:ident) => {
        fn $name(_cpu: $cpu, steps: usize) {
            #[target_feature(enable = $features)]
            fn run(steps: usize) {
                let (mut chains, key) = black_box(([$zero(); CHAINS], $zero()));
                for _ in 0..steps {
                    for chain in &mut chains {
                        *chain = $round(*chain, key);
                    }
                }
                black_box(chains);
            }
            #[expect(unsafe_code, reason = "call of a function with target features")]
            // SAFETY: the proof of the CPU exists only if its `detect` saw these features on this
            // machine: aes with `AesNi`, avx2 and vaes with `Vaes256`, avx512f and vaes with
            // `Vaes512`.
            unsafe {
                run(steps);
            }
        }
    };
}

// `AesNi::detect` asks for aes.
rounds!(rounds128, AesNi, "aes", _mm_setzero_si128, _mm_aesenc_si128);
// `Vaes256::detect` asks for avx2 and vaes.
rounds!(
    rounds256,
    Vaes256,
    "avx2,vaes",
    _mm256_setzero_si256,
    _mm256_aesenc_epi128
);
// `Vaes512::detect` asks for avx512f and vaes.
rounds!(
    rounds512,
    Vaes512,
    "avx512f,vaes",
    _mm512_setzero_si512,
    _mm512_aesenc_epi128
);
