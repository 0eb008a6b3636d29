//! Targets without AES kernels of their own: the portable ones serve them.

use crate::Backend;
use crate::buffers::Buffers;
use crate::xts::key::Direction;
use crate::xts::tweak::Ivs;

/// Tells whether the machine has the instructions of an AES backend other than portable.
pub(crate) fn has_aes(_backend: Backend) -> bool {
    false
}

/// AES rounds alone, for which there are no instructions.
pub(crate) fn aes_rounds(_: Backend, _blocks: usize) -> Option<()> {
    None
}

/// A key for vector kernels, of which there are none.
pub(crate) enum NoXts {}

impl NoXts {
    pub(crate) fn aes128(_: Backend, _data: &[u8; 16], _tweak: &[u8; 16]) -> Option<Self> {
        None
    }

    pub(crate) fn aes256(_: Backend, _data: &[u8; 32], _tweak: &[u8; 32]) -> Option<Self> {
        None
    }

    pub(crate) fn crypt(&self, _: Direction, _: impl Ivs, _sector_bytes: usize, _: Buffers<'_>) {
        match *self {}
    }
}
