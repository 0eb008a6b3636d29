//! The choice of an instruction set for the AES kernels.

use core::fmt;

use crate::arch;

/// An instruction set that the AES kernels of this crate are written for.
///
/// Sorted from the simplest to the widest, so that `max` is the best of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// No instruction set in particular: the `aes` crate, block by block.
    Portable,
    /// Arm's AES instructions on 128-bit vectors.
    Aarch64,
    /// AES-NI on 128-bit vectors.
    AesNi,
    /// VAES on 256-bit vectors.
    Vaes256,
    /// VAES on 512-bit vectors, with AVX-512.
    Vaes512,
}

impl Backend {
    /// Every backend that exists, on this machine or another, simplest first.
    pub const ALL: [Self; 5] = [
        Self::Portable,
        Self::Aarch64,
        Self::AesNi,
        Self::Vaes256,
        Self::Vaes512,
    ];

    /// Lists what this machine has, simplest first; [`Backend::Portable`] is always among them.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .filter(|backend| backend.is_available())
    }

    /// The fastest backend of this machine.
    #[must_use]
    pub fn best() -> Self {
        Self::available().max().unwrap_or(Self::Portable)
    }

    /// Tells whether this machine has the instructions.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            other => arch::has_aes(other),
        }
    }

    /// Computes one AES round on each of `blocks` blocks that it makes up, rounded up to a multiple
    /// of 48, as fast as this machine starts them; tells whether it has instructions for it, which
    /// [`Backend::Portable`] never has.
    ///
    /// Whoever times it knows what no AES kernel of this backend can pass: a block of AES-256-XTS
    /// takes 14 rounds, and a sector 14 more.
    #[must_use]
    pub fn aes_rounds(self, blocks: usize) -> bool {
        arch::aes_rounds(self, blocks).is_some()
    }

    /// The name used in benchmarks and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Aarch64 => "aarch64",
            Self::AesNi => "aesni",
            Self::Vaes256 => "vaes256",
            Self::Vaes512 => "vaes512",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_is_always_available_and_comes_first() {
        assert_eq!(Backend::available().next(), Some(Backend::Portable));
    }

    #[test]
    fn the_best_backend_is_available_and_nothing_available_is_wider() {
        let best = Backend::best();
        assert!(best.is_available());
        assert!(Backend::available().all(|backend| backend <= best));
    }

    #[test]
    fn every_backend_but_the_portable_one_has_rounds_where_it_is_available() {
        for backend in Backend::ALL {
            let has = backend != Backend::Portable && backend.is_available();
            assert_eq!(backend.aes_rounds(100), has, "{backend}");
        }
    }

    #[test]
    fn names_are_distinct() {
        for (at, backend) in Backend::ALL.iter().enumerate() {
            for other in &Backend::ALL[at + 1..] {
                assert_ne!(backend.name(), other.name());
            }
        }
    }
}
