//! What callers of the kernels can do wrong.

use crate::{Backend, HashBackend};

/// A request that no kernel can serve. Nothing has been written when one is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key has a length that its cipher does not have.
    #[error("{cipher} key has {bytes} bytes, expected {expected}")]
    KeyLength {
        /// The cipher, as its users call it.
        cipher: &'static str,
        /// The length given.
        bytes: usize,
        /// The lengths that exist, in words.
        expected: &'static str,
    },
    /// A sector size that is no positive multiple of 16, or is too large for the mode.
    #[error(
        "sector of {bytes} bytes: a size must be a multiple of 16 from 16 to {max}; \
         LUKS knows 512, 1024, 2048 and 4096"
    )]
    SectorBytes {
        /// The size given.
        bytes: usize,
        /// The largest size that is accepted.
        max: usize,
    },
    /// Data that is no whole number of sectors.
    #[error("data of {bytes} bytes is no whole number of {sector_bytes}-byte sectors")]
    PartialSector {
        /// The length of the data.
        bytes: usize,
        /// The size of a sector.
        sector_bytes: usize,
    },
    /// Two arguments that must have the same length, or lengths that belong together, do not.
    #[error("{what} has {bytes} bytes, expected {expected} for this data")]
    LengthMismatch {
        /// The argument that does not fit.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The length that the data asks for.
        expected: usize,
    },
    /// The backend was chosen by hand and this machine does not have it.
    #[error(
        "this machine lacks the instructions of backend {backend}; choose one of \
         Backend::available()"
    )]
    BackendUnavailable {
        /// The backend asked for.
        backend: Backend,
    },
    /// The hash backend was chosen by hand and this machine does not have it.
    #[error(
        "this machine lacks the instructions of hash backend {backend}; choose one of \
         HashBackend::available()"
    )]
    HashBackendUnavailable {
        /// The backend asked for.
        backend: HashBackend,
    },
    /// A prefix in front of the sectors that is longer than the kernels take.
    #[error("prefix of {bytes} bytes in front of each sector, at most {max} are possible")]
    PrefixBytes {
        /// The length given.
        bytes: usize,
        /// The largest length that is accepted.
        max: usize,
    },
    /// Tags cut to a length that the hash does not have.
    #[error("tag of {bytes} bytes, expected 1 to {max} for this hash")]
    TagBytes {
        /// The length given.
        bytes: usize,
        /// The length of a full tag.
        max: usize,
    },
    /// Sectors whose stored tags are not the tags of their data.
    #[error("sector {first} of the run ({count} in all): tag does not match the data")]
    TagMismatch {
        /// Index of the first such sector in the call, from 0.
        first: usize,
        /// How many such sectors the call found.
        count: usize,
    },
    /// A key derivation with no iteration at all.
    #[error("key derivation with 0 iterations, at least 1 is needed")]
    Iterations,
    /// A length of output that the key derivation's standard excludes.
    #[error(
        "key derivation of {bytes} bytes, which its standard excludes; Argon2 makes \
         4 to 2^32 - 1 bytes, PBKDF2 at most 2^32 - 1 digests"
    )]
    OutputBytes {
        /// The length given.
        bytes: usize,
    },
    /// A password or salt longer than the standard takes.
    #[error("{what} of {bytes} bytes, Argon2 takes fewer than 2^32")]
    InputBytes {
        /// The argument.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// Costs that Argon2 does not have.
    #[error(
        "Argon2 with {passes} passes, {memory_kib} KiB and {lanes} lanes: it takes at least \
         1 pass, 8 KiB for each lane, and 1 to 16777215 lanes"
    )]
    Argon2Cost {
        /// Passes over the memory.
        passes: u32,
        /// Memory in KiB.
        memory_kib: u32,
        /// Lanes.
        lanes: u32,
    },
    /// The caller's callback ended the work.
    #[error("cancelled by the caller")]
    Cancelled,
}
