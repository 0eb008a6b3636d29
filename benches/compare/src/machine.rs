//! What the machine itself can do: the rates that no kernel can pass.

use crate::harness::{Case, Contender};

/// Instructions in one call of a rate measurement.
pub const INSTRUCTIONS: usize = 12 * 1000;

/// Rates of AES rounds at each width; `bytes` counts instructions here, so that "cycles per byte"
/// of these cases are cycles per instruction.
pub fn cases() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let mut add = |name: &str, work: fn()| {
            cases.push(Case {
                row: "machine",
                name: format!("machine/{name}"),
                bytes: INSTRUCTIONS,
                contenders: vec![Contender {
                    name: "machine",
                    work: Box::new(work),
                }],
            });
        };
        // SAFETY of the calls: each runs only where its features were detected right here.
        if std::is_x86_feature_detected!("aes") {
            add("aesenc128", || unsafe { x86::aesenc128() });
        }
        if std::is_x86_feature_detected!("vaes") && std::is_x86_feature_detected!("avx2") {
            add("aesenc256", || unsafe { x86::aesenc256() });
        }
        if std::is_x86_feature_detected!("vaes") && std::is_x86_feature_detected!("avx512f") {
            add("aesenc512", || unsafe { x86::aesenc512() });
            add("clmul512", || unsafe { x86::clmul512() });
        }
    }
    cases
}

/// The least cycles per byte that AES-XTS can take, from the cycles of one AES instruction:
/// the rounds of the data, and those of one tweak per sector.
pub fn xts_limit(cycles: f64, vector_bytes: usize, rounds: usize, sector_bytes: usize) -> f64 {
    let blocks = (vector_bytes / 16) as f64;
    let rounds = rounds as f64;
    rounds * cycles / vector_bytes as f64 + rounds * cycles / (blocks * sector_bytes as f64)
}

/// Copies within the L2 cache and within memory.
pub fn copies() -> Vec<Case<'static>> {
    [("l2", 64 << 10), ("memory", 64 << 20)]
        .map(|(name, bytes)| {
            let (src, mut dst) = (vec![1_u8; bytes], vec![0_u8; bytes]);
            let work = move || dst.copy_from_slice(std::hint::black_box(&src));
            Case {
                row: "machine",
                name: format!("machine/copy/{name}"),
                bytes,
                contenders: vec![Contender {
                    name: "machine",
                    work: Box::new(work),
                }],
            }
        })
        .into()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;
    use std::hint::black_box;

    /// Twelve independent chains of one instruction.
    macro_rules! rate {
        ($name:ident, $features:literal, $zero:expr, $instruction:expr) => {
            #[target_feature(enable = $features)]
            pub fn $name() {
                let mut chains = [$zero; 12];
                let key = black_box($zero);
                for _ in 0..super::INSTRUCTIONS / 12 {
                    for chain in &mut chains {
                        *chain = $instruction(*chain, key);
                    }
                }
                black_box(chains);
            }
        };
    }

    rate!(aesenc128, "aes", _mm_setzero_si128(), _mm_aesenc_si128);
    rate!(
        aesenc256,
        "avx2,vaes",
        _mm256_setzero_si256(),
        _mm256_aesenc_epi128
    );
    rate!(
        aesenc512,
        "avx512f,vaes",
        _mm512_setzero_si512(),
        _mm512_aesenc_epi128
    );
    rate!(
        clmul512,
        "avx512f,vpclmulqdq",
        _mm512_setzero_si512(),
        _mm512_clmulepi64_epi128::<0x01>
    );
}
