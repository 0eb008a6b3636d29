//! x86-64: AES-NI, VAES on 256 and 512 bits.

#[allow(dead_code, reason = "the kernels that ask come with their backends")]
pub(crate) mod cpu;

use crate::Backend;

/// Tells whether the machine has the instructions of an AES backend other than portable.
///
/// A backend is offered only together with its kernels.
pub(crate) fn has_aes(backend: Backend) -> bool {
    let _ = backend;
    false
}
