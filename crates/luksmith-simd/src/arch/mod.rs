//! Kernels by instruction set. What a target lacks is not compiled for it.

use crate::buffers::Buffers;
use crate::{HashBackend, Run, TagKey, XtsKey};

// Bare-metal x86-64 targets are built without vector registers, and Miri knows few intrinsics.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
pub(crate) mod x86_64;

#[cfg(all(
    target_arch = "aarch64",
    target_feature = "neon",
    target_endian = "little",
    not(miri)
))]
mod aarch64;

// Round keys for the backends that expand their own.
#[cfg(any(
    all(target_arch = "x86_64", target_feature = "sse2", not(miri)),
    all(
        target_arch = "aarch64",
        target_feature = "neon",
        target_endian = "little",
        not(miri)
    )
))]
mod round_keys;

#[cfg(not(any(
    all(target_arch = "x86_64", target_feature = "sse2", not(miri)),
    all(
        target_arch = "aarch64",
        target_feature = "neon",
        target_endian = "little",
        not(miri)
    )
)))]
mod no_aes;

#[cfg(all(
    target_arch = "aarch64",
    target_feature = "neon",
    target_endian = "little",
    not(miri)
))]
pub(crate) use aarch64::{ArmXts as VectorXts, aes_rounds, has_aes};
#[cfg(not(any(
    all(target_arch = "x86_64", target_feature = "sse2", not(miri)),
    all(
        target_arch = "aarch64",
        target_feature = "neon",
        target_endian = "little",
        not(miri)
    )
)))]
pub(crate) use no_aes::{NoXts as VectorXts, aes_rounds, has_aes};
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
pub(crate) use x86_64::{has_aes, rounds::aes_rounds, xts::X86Xts as VectorXts};

#[cfg(all(
    feature = "gcm",
    not(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))
))]
mod no_gcm;
#[cfg(all(
    feature = "gcm",
    not(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))
))]
pub(crate) use no_gcm::VectorGcm;
#[cfg(all(
    feature = "gcm",
    all(target_arch = "x86_64", target_feature = "sse2", not(miri))
))]
pub(crate) use x86_64::gcm::VectorGcm;

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri))))]
mod portable;
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri))))]
pub(crate) use portable::{Argon2Kernel, Crc32c, Kernels, VectorAegis, prefetch, prefetch_once};
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
pub(crate) use x86_64::aegis::VectorAegis;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
pub(crate) use x86_64::argon2::{Argon2Kernel, prefetch, prefetch_once};
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
pub(crate) use x86_64::{crc32c::Crc32c, sha2::Kernels};

/// Encrypts a batch of sectors and writes their tags in one go, if a kernel does both together for
/// these keys and this shape; otherwise does nothing and gives `false`.
pub(crate) fn seal_together(
    xts: &XtsKey,
    tag: &TagKey,
    run: Run,
    prefixes: &[u8],
    buffers: Buffers<'_>,
    tags: &mut [u8],
) -> bool {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
    return x86_64::xts::seal_together(xts, tag, run, prefixes, buffers, tags);
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri))))]
    {
        let _ = (xts, tag, run, prefixes, buffers, tags);
        false
    }
}

/// Tells whether the machine has the instructions of a hash backend other than portable.
pub(crate) fn has_hash(backend: HashBackend) -> bool {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
    return x86_64::sha2::has_hash(backend);
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri))))]
    {
        backend == HashBackend::Portable
    }
}
