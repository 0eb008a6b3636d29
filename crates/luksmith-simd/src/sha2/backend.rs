//! The choice of an instruction set for the hash kernels.

use crate::arch;
use core::fmt;

/// An instruction set that the hash kernels of this crate are written for.
///
/// Sorted from the simplest to the widest, so that `max` is the best of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HashBackend {
    /// One message at a time, by the `sha2` crate.
    Portable,
    /// AVX2: 8 lanes for SHA-256, 4 for SHA-512.
    Avx2,
    /// SHA extensions for SHA-256, one or two messages; SHA-512 as in [`Avx2`](Self::Avx2) where
    /// the machine has it.
    ShaNi,
    /// AVX-512: 8 or 16 lanes for SHA-256, 8 for SHA-512; fewer sectors than lanes are left to SHA
    /// extensions.
    Avx512,
}

impl HashBackend {
    /// Every backend that exists, on this machine or another, simplest first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::ShaNi, Self::Avx512];

    /// Lists what this machine has, simplest first; [`HashBackend::Portable`] is always among them.
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
            other => arch::has_hash(other),
        }
    }

    /// The name used in benchmarks and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::ShaNi => "shani",
            Self::Avx512 => "avx512",
        }
    }
}

impl fmt::Display for HashBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_backend_is_available_and_nothing_available_is_wider() {
        let best = HashBackend::best();
        assert!(best.is_available());
        assert!(HashBackend::available().all(|backend| backend <= best));
        assert_eq!(HashBackend::available().next(), Some(HashBackend::Portable));
    }

    #[test]
    fn names_are_distinct() {
        for (at, backend) in HashBackend::ALL.iter().enumerate() {
            for other in &HashBackend::ALL[at + 1..] {
                assert_ne!(backend.name(), other.name());
            }
        }
    }
}
