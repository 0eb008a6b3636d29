//! Kernels by instruction set. What a target lacks is not compiled for it.

use crate::Backend;

// Bare-metal x86-64 targets are built without vector registers, and Miri knows few intrinsics.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
pub(crate) mod x86_64;

/// Tells whether the machine has the instructions of an AES backend other than portable.
pub(crate) fn has_aes(backend: Backend) -> bool {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
    return x86_64::has_aes(backend);
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri))))]
    {
        let _ = backend;
        false
    }
}
