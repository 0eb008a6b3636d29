//! The choices of a target that has no kernels of its own.

use crate::Backend;
use crate::aegis::BLOCK;
use crate::argon2::{Block, portable_compress};
use crate::crc32c;
use crate::pbkdf2::{self, Chain, Pads};
use crate::sha2::layout::Layout;
use crate::sha2::{HashBackend, portable};

/// The SHA-2 kernels of one key: the `sha2` crate's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernels(());

impl Kernels {
    /// The kernels of `backend`, of which only the portable one exists here.
    pub(crate) fn new(_backend: HashBackend) -> Self {
        Self(())
    }

    /// Writes one full SHA-256 digest or HMAC per sector to `out`.
    pub(crate) fn tags_256(
        self,
        inner: &[u32; 8],
        outer: Option<&[u32; 8]>,
        layout: &Layout<64>,
        prefixes: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) {
        portable::tags_256(
            portable::compress_256,
            inner,
            outer,
            layout,
            prefixes,
            data,
            out,
        );
    }

    /// Advances PBKDF2-HMAC-SHA256 chains by `n` iterations.
    pub(crate) fn pbkdf2_256(self, pads: &Pads<u32>, chains: &mut [Chain<u32>], n: u32) {
        pbkdf2::advance_256(pads, chains, n);
    }

    /// Advances PBKDF2-HMAC-SHA512 chains by `n` iterations.
    pub(crate) fn pbkdf2_512(self, pads: &Pads<u64>, chains: &mut [Chain<u64>], n: u32) {
        pbkdf2::advance_512(pads, chains, n);
    }

    /// Writes one full SHA-512 digest or HMAC per sector to `out`.
    pub(crate) fn tags_512(
        self,
        inner: &[u64; 8],
        outer: Option<&[u64; 8]>,
        layout: &Layout<128>,
        prefixes: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) {
        portable::tags_512(
            portable::compress_512,
            inner,
            outer,
            layout,
            prefixes,
            data,
            out,
        );
    }
}

/// The CRC-32C of this target: by table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crc32c(());

impl Crc32c {
    /// The only way here.
    pub(crate) fn best() -> Self {
        Self(())
    }

    /// The only way here, whatever the backend.
    pub(crate) fn by(_: Backend) -> Self {
        Self(())
    }

    /// All ways on this machine, with their names.
    #[cfg(test)]
    pub(crate) fn available() -> impl Iterator<Item = (&'static str, Self)> {
        core::iter::once(("portable", Self(())))
    }

    /// Updates the raw remainder `state`.
    pub(crate) fn update(self, state: u32, data: &[u8]) -> u32 {
        crc32c::portable(state, data)
    }
}

/// Argon2's compression function on this target: word by word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argon2Kernel {
    /// Word by word.
    Portable,
}

impl Argon2Kernel {
    /// All ways on this machine.
    #[cfg(test)]
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        core::iter::once(Self::Portable)
    }

    /// The only way here.
    pub(crate) fn best() -> Self {
        Self::Portable
    }

    /// The same for every backend.
    pub(crate) fn of(_backend: HashBackend) -> Self {
        Self::Portable
    }

    /// See [`Argon2`](crate::Argon2).
    pub(crate) const fn percent_of_libargon2(self) -> u32 {
        50
    }

    /// How many lanes a thread fills in turn before another thread pays: compressing word by word
    /// takes longer than the next block takes to come from memory.
    pub(crate) const fn lanes_of_a_thread(self) -> usize {
        1
    }

    /// Writes G(`x`, `y`) to `out`, xored onto what `out` held if `onto`.
    pub(crate) fn compress(self, x: &Block, y: &Block, out: &mut Block, onto: bool) {
        portable_compress(x, y, out, onto);
    }
}

/// Nothing that can be done here.
pub(crate) fn prefetch_once(_block: &Block) {}

/// Nothing that can be done here.
pub(crate) fn prefetch(_block: &Block) {}

/// Vector kernels of AEGIS-128, of which there are none.
#[derive(Clone, Copy, Debug)]
pub(crate) enum VectorAegis {}

impl VectorAegis {
    /// Nothing for any backend.
    pub(crate) fn new(_backend: Backend) -> Option<Self> {
        None
    }

    /// Never called.
    pub(crate) fn crypt<const OPEN: bool>(
        self,
        _key: &[u8; BLOCK],
        _nonce: &[u8; BLOCK],
        _ad: &[u8],
        _data: &mut [[u8; BLOCK]],
    ) -> [u8; BLOCK] {
        match self {}
    }
}
