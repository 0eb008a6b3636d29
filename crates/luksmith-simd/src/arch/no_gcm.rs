//! Targets without AES-GCM kernels of their own: the portable ones serve them.

use crate::Backend;
use crate::buffers::Buffers;
use crate::gcm::{GcmRun, TAG_BYTES};
use crate::xts::key::Direction;

/// A key for vector kernels, of which there are none.
pub(crate) enum VectorGcm {}

impl VectorGcm {
    pub(crate) fn new(_: Backend, _key: &[u8]) -> Option<Self> {
        None
    }

    pub(crate) fn takes(&self, _sector_bytes: usize, _ad_bytes: usize) -> bool {
        match *self {}
    }

    pub(crate) fn crypt(
        &self,
        _: Direction,
        _: GcmRun<'_>,
        _first: usize,
        _: Buffers<'_>,
        _tags: &mut [[u8; TAG_BYTES]],
    ) {
        match *self {}
    }
}
