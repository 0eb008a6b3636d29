//! What the machine itself can do: the rates that no kernel can pass.

use std::hint::black_box;

use crate::harness::{Case, Contender};

/// Instructions in one call of a rate measurement.
pub const INSTRUCTIONS: usize = 12 * 1000;

/// Its instructions, and what runs [`INSTRUCTIONS`] of them, where the CPU has them.
#[cfg(target_arch = "x86_64")]
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "one line for each instruction; the comment below is for all"
)]
fn instructions() -> Vec<(&'static str, fn())> {
    use luksmith_simd::Backend;

    let mut list: Vec<(&'static str, fn())> = Vec::new();
    let mut add = |name, work| list.push((name, work));
    let aes: [(&str, Backend, fn()); 3] = [
        ("machine/aesenc128", Backend::AesNi, || {
            black_box(Backend::AesNi.aes_rounds(INSTRUCTIONS));
        }),
        ("machine/aesenc256", Backend::Vaes256, || {
            black_box(Backend::Vaes256.aes_rounds(INSTRUCTIONS * 2));
        }),
        ("machine/aesenc512", Backend::Vaes512, || {
            black_box(Backend::Vaes512.aes_rounds(INSTRUCTIONS * 4));
        }),
    ];
    for (name, _, work) in aes.into_iter().filter(|(_, one, _)| one.is_available()) {
        add(name, work);
    }
    // SAFETY of the calls: each runs only where its features were detected right here.
    if std::is_x86_feature_detected!("vpclmulqdq") && std::is_x86_feature_detected!("avx512f") {
        add("machine/clmul512", || unsafe { x86::clmul512() });
    }
    if std::is_x86_feature_detected!("avx512f") {
        add("machine/add512", || unsafe { x86::add512() });
        add("machine/rotate512", || unsafe { x86::rotate512() });
        add("machine/shift512", || unsafe { x86::shift512() });
        add("machine/ternary512", || unsafe { x86::ternary512() });
        add("machine/add512/latency", || unsafe { x86::add512_chain() });
        add("machine/rotate512/latency", || unsafe {
            x86::rotate512_chain()
        });
    }
    if std::is_x86_feature_detected!("avx512bw") {
        add("machine/shuffle512", || unsafe { x86::shuffle512() });
    }
    if std::is_x86_feature_detected!("sha") {
        add("machine/sha256rnds2", || unsafe { x86::sha256rnds2() });
        add("machine/sha256msg1", || unsafe { x86::sha256msg1() });
        add("machine/sha256msg2", || unsafe { x86::sha256msg2() });
        add("machine/sha256rnds2/latency", || unsafe {
            x86::sha256rnds2_chain()
        });
    }
    list
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> Vec<(&'static str, fn())> {
    Vec::new()
}

fn contender(name: &'static str, work: fn()) -> Contender<'static> {
    Contender {
        name,
        bytes: INSTRUCTIONS,
        work: Box::new(work),
    }
}

/// Rates of instructions; they stand in for bytes here, so that "cycles per byte" of these cases
/// are cycles per instruction.
pub fn cases() -> Vec<Case<'static>> {
    let case = |(name, work): (&'static str, fn())| Case {
        row: "machine",
        name: name.to_owned(),
        contenders: vec![contender("machine", work)],
    };
    instructions().into_iter().map(case).collect()
}

/// Some of the same beside the contenders of a case: the rate of the machine in each of its rounds.
pub fn beside(names: &[&str]) -> impl Iterator<Item = Contender<'static>> {
    instructions()
        .into_iter()
        .filter(|(name, _)| names.contains(name))
        .map(|(name, work)| contender(name, work))
}

/// The least cycles per byte that AES-XTS can take, from the cycles of one AES instruction:
/// the rounds of the data, and those of one tweak per sector.
pub fn xts_limit(cycles: f64, vector_bytes: usize, rounds: usize, sector_bytes: usize) -> f64 {
    let blocks = (vector_bytes / 16) as f64;
    let rounds = rounds as f64;
    rounds * cycles / vector_bytes as f64 + rounds * cycles / (blocks * sector_bytes as f64)
}

/// Vector instructions of one block of SHA-256 in lanes: 64 rounds of 17, 48 words of schedule of
/// 11, and 80 to bring 16 blocks into lanes.
pub const SHA256_SLOTS: f64 = 64.0 * 17.0 + 48.0 * 11.0 + 80.0;

/// The least cycles per byte of HMAC-SHA256 over sectors in 16 lanes, from the cycles of one
/// addition, which is the instruction that most ports take: 24 bytes stand before each sector, and
/// the outer hash is one block more.
pub fn hmac_limit(cycles: f64, sector_bytes: usize) -> f64 {
    let blocks = (sector_bytes + 24 + 9).div_ceil(64) + 1;
    SHA256_SLOTS * cycles * blocks as f64 / (16 * sector_bytes) as f64
}

/// The least cycles per byte of AES-256-XTS and HMAC-SHA256 that overlap in every slot: those of
/// the hash, and 20 for each 64 bytes of cipher.
pub fn fused_limit(cycles: f64, sector_bytes: usize) -> f64 {
    hmac_limit(cycles, sector_bytes) + 20.0 * cycles / 64.0
}

/// Copies within the L2 cache and within memory.
pub fn copies() -> Vec<Case<'static>> {
    [("l2", 64 << 10), ("memory", 64 << 20)]
        .map(|(name, bytes)| {
            let (src, mut dst) = (vec![1_u8; bytes], vec![0_u8; bytes]);
            let work = move || dst.copy_from_slice(black_box(&src));
            Case {
                row: "machine",
                name: format!("machine/copy/{name}"),
                contenders: vec![Contender {
                    name: "machine",
                    bytes,
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

    /// Twelve independent chains of one instruction, or one chain of it, in `asm!`: the compiler
    /// would merge rotations, and compute sums in another order. `{0}` is the register of a chain.
    macro_rules! rate_of {
        ($name:ident $features:literal $class:ident $zero:expr, $text:literal 12) => {
            #[target_feature(enable = $features)]
            pub fn $name() {
                let [mut a, mut b, mut c, mut d, mut e, mut f] = [$zero; 6];
                let [mut g, mut h, mut i, mut j, mut k, mut l] = [$zero; 6];
                for _ in 0..super::INSTRUCTIONS / 12 {
                    rate_of!(@ $class, $text, a b c d e f g h i j k l);
                }
                black_box([a, b, c, d, e, f, g, h, i, j, k, l]);
            }
        };
        ($name:ident $features:literal $class:ident $zero:expr, $text:literal 1) => {
            #[target_feature(enable = $features)]
            pub fn $name() {
                let mut a = $zero;
                for _ in 0..super::INSTRUCTIONS / 12 {
                    rate_of!(@ $class, $text, a a a a a a a a a a a a);
                }
                black_box(a);
            }
        };
        (@ $class:ident, $text:literal, $($chain:ident)*) => {
            $(
                // SAFETY: an instruction on registers alone, of a feature that the function has.
                unsafe {
                    core::arch::asm!($text, inout($class) $chain,
                        options(pure, nomem, nostack, preserves_flags));
                }
            )*
        };
    }

    macro_rules! rates {
        ($($name:ident $features:literal $class:ident $zero:ident $text:literal $chains:tt;)*) => {
            $(rate_of!($name $features $class $zero(), $text $chains);)*
        };
    }

    rates! {
        add512 "avx512f" zmm_reg _mm512_setzero_si512 "vpaddd {0}, {0}, {0}" 12;
        add512_chain "avx512f" zmm_reg _mm512_setzero_si512 "vpaddd {0}, {0}, {0}" 1;
        rotate512 "avx512f" zmm_reg _mm512_setzero_si512 "vprord {0}, {0}, 7" 12;
        rotate512_chain "avx512f" zmm_reg _mm512_setzero_si512 "vprord {0}, {0}, 7" 1;
        shift512 "avx512f" zmm_reg _mm512_setzero_si512 "vpsrld {0}, {0}, 7" 12;
        ternary512 "avx512f" zmm_reg _mm512_setzero_si512 "vpternlogd {0}, {0}, {0}, 0x96" 12;
        shuffle512 "avx512bw" zmm_reg _mm512_setzero_si512 "vpshufb {0}, {0}, {0}" 12;
        sha256msg1 "sha,sse4.1" xmm_reg _mm_setzero_si128 "sha256msg1 {0}, {0}" 12;
        sha256msg2 "sha,sse4.1" xmm_reg _mm_setzero_si128 "sha256msg2 {0}, {0}" 12;
        sha256rnds2 "sha,sse4.1" xmm_reg _mm_setzero_si128 "sha256rnds2 {0}, {0}, xmm0" 12;
        sha256rnds2_chain "sha,sse4.1" xmm_reg _mm_setzero_si128 "sha256rnds2 {0}, {0}, xmm0" 1;
    }

    rate!(
        clmul512,
        "avx512f,vpclmulqdq",
        _mm512_setzero_si512(),
        _mm512_clmulepi64_epi128::<0x01>
    );
}
