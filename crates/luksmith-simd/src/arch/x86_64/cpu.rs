//! What this CPU has and the operating system lets us use.
//!
//! `std` can tell this too, but not without an operating system; one source of truth for both is
//! simpler, and a test holds it against `std`'s.

use core::arch::x86_64::{__cpuid, __cpuid_count, __get_cpuid_max, _xgetbv};
use core::sync::atomic::{AtomicU32, Ordering};

/// A set of features, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features(u32);

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = $bit:expr;)*) => {
        impl Features {
            $($(#[$doc])* pub(crate) const $name: Self = Self(1 << $bit);)*
        }
    };
}

features! {
    /// Set once detection ran, so that an empty set is not detected again and again.
    DETECTED = 0;
    SSSE3 = 1;
    SSE41 = 2;
    SSE42 = 3;
    PCLMULQDQ = 4;
    AES = 5;
    SHA = 6;
    AVX = 7;
    AVX2 = 8;
    BMI2 = 9;
    VAES = 10;
    VPCLMULQDQ = 11;
    AVX512F = 12;
    AVX512BW = 13;
    AVX512DQ = 14;
    AVX512VL = 15;
    AVX512VBMI = 16;
    GFNI = 17;
    SHA512 = 18;
}

impl Features {
    /// Tells whether every feature of `wanted` is in this set.
    pub(crate) const fn has(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// Both sets together.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The features of this machine; asked of the CPU once per process.
pub(crate) fn features() -> Features {
    static CACHE: AtomicU32 = AtomicU32::new(0);
    let cached = CACHE.load(Ordering::Relaxed);
    if cached != 0 {
        return Features(cached);
    }
    let found = detect();
    CACHE.store(found.0, Ordering::Relaxed);
    found
}

/// One register of a CPUID leaf: bit `$bit` gives feature `$to`.
fn take(found: &mut u32, register: u32, bits: &[(u32, Features)]) {
    for (bit, feature) in bits {
        if register & (1 << bit) != 0 {
            *found |= feature.0;
        }
    }
}

#[expect(
    unsafe_code,
    reason = "asking the CPU takes intrinsics that are unsafe"
)]
#[allow(unused_unsafe, reason = "newer compilers made CPUID a safe call")]
fn detect() -> Features {
    let mut found = Features::DETECTED.0;
    // SAFETY: every x86-64 CPU has the CPUID instruction; leaf 0 and 1 exist on all of them.
    let (max_leaf, leaf1) = unsafe { (__get_cpuid_max(0).0, __cpuid(1)) };
    take(
        &mut found,
        leaf1.ecx,
        &[
            (1, Features::PCLMULQDQ),
            (9, Features::SSSE3),
            (19, Features::SSE41),
            (20, Features::SSE42),
            (25, Features::AES),
        ],
    );
    // The system must save what we use: bits 1 and 2 of XCR0 stand for xmm and ymm, bits 5 to 7
    // for the AVX-512 state.
    let os_saves_vectors = leaf1.ecx & (1 << 27) != 0;
    let xcr0 = if os_saves_vectors {
        // SAFETY: bit 27 of leaf 1 (OSXSAVE), tested above, says that XGETBV is enabled, and
        // register 0 always exists then.
        unsafe { read_xcr0() }
    } else {
        0
    };
    let ymm = xcr0 & 0b110 == 0b110;
    let zmm = xcr0 & 0b1110_0110 == 0b1110_0110;
    if ymm {
        take(&mut found, leaf1.ecx, &[(28, Features::AVX)]);
    }
    if max_leaf < 7 {
        return Features(found);
    }
    // SAFETY: leaf 7 exists, by the comparison above.
    let leaf7 = unsafe { __cpuid_count(7, 0) };
    take(
        &mut found,
        leaf7.ebx,
        &[(8, Features::BMI2), (29, Features::SHA)],
    );
    take(&mut found, leaf7.ecx, &[(8, Features::GFNI)]);
    if ymm {
        take(&mut found, leaf7.ebx, &[(5, Features::AVX2)]);
        take(
            &mut found,
            leaf7.ecx,
            &[(9, Features::VAES), (10, Features::VPCLMULQDQ)],
        );
        if leaf7.eax >= 1 {
            // SAFETY: leaf 7 says in EAX, tested above, that its subleaf 1 exists.
            let subleaf1 = unsafe { __cpuid_count(7, 1) };
            take(&mut found, subleaf1.eax, &[(0, Features::SHA512)]);
        }
    }
    if zmm {
        take(
            &mut found,
            leaf7.ebx,
            &[
                (16, Features::AVX512F),
                (17, Features::AVX512DQ),
                (30, Features::AVX512BW),
                (31, Features::AVX512VL),
            ],
        );
        take(&mut found, leaf7.ecx, &[(1, Features::AVX512VBMI)]);
    }
    Features(found)
}

/// Reads XCR0, the register that lists the vector state the system saves.
///
/// # Safety
/// CPUID leaf 1 must have OSXSAVE set.
#[expect(
    unsafe_code,
    reason = "XGETBV faults where the system did not enable it"
)]
#[target_feature(enable = "xsave")]
unsafe fn read_xcr0() -> u64 {
    // SAFETY: the caller saw OSXSAVE.
    unsafe { _xgetbv(0) }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn detection_agrees_with_the_standard_library() {
        let found = features();
        let expected = [
            (
                Features::SSSE3,
                std::arch::is_x86_feature_detected!("ssse3"),
            ),
            (
                Features::SSE41,
                std::arch::is_x86_feature_detected!("sse4.1"),
            ),
            (
                Features::SSE42,
                std::arch::is_x86_feature_detected!("sse4.2"),
            ),
            (
                Features::PCLMULQDQ,
                std::arch::is_x86_feature_detected!("pclmulqdq"),
            ),
            (Features::AES, std::arch::is_x86_feature_detected!("aes")),
            (Features::SHA, std::arch::is_x86_feature_detected!("sha")),
            (Features::AVX, std::arch::is_x86_feature_detected!("avx")),
            (Features::AVX2, std::arch::is_x86_feature_detected!("avx2")),
            (Features::BMI2, std::arch::is_x86_feature_detected!("bmi2")),
            (Features::VAES, std::arch::is_x86_feature_detected!("vaes")),
            (
                Features::VPCLMULQDQ,
                std::arch::is_x86_feature_detected!("vpclmulqdq"),
            ),
            (
                Features::AVX512F,
                std::arch::is_x86_feature_detected!("avx512f"),
            ),
            (
                Features::AVX512BW,
                std::arch::is_x86_feature_detected!("avx512bw"),
            ),
            (
                Features::AVX512DQ,
                std::arch::is_x86_feature_detected!("avx512dq"),
            ),
            (
                Features::AVX512VL,
                std::arch::is_x86_feature_detected!("avx512vl"),
            ),
            (
                Features::AVX512VBMI,
                std::arch::is_x86_feature_detected!("avx512vbmi"),
            ),
            (
                Features::SHA512,
                std::arch::is_x86_feature_detected!("sha512"),
            ),
        ];
        for (feature, standard) in expected {
            assert_eq!(found.has(feature), standard, "{feature:?}");
        }
    }

    #[test]
    fn a_set_has_what_it_is_made_of_and_nothing_else() {
        let set = Features::AES.and(Features::AVX);
        assert!(set.has(Features::AES) && set.has(Features::AVX));
        assert!(!set.has(Features::AVX2) && !set.has(Features::AES.and(Features::AVX2)));
    }
}
