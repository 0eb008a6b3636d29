//! Where secrets lie: bytes that never move or grow, wiped on drop.

#[cfg(not(feature = "std"))]
use alloc::{boxed::Box, vec::Vec};

use zeroize::{Zeroize as _, ZeroizeOnDrop};

use crate::Error;

/// With `std`: pages of their own, locked and left out of core dumps where the system allows it.
#[cfg(feature = "std")]
type Bytes = luksmith_sys::LockedBytes;
#[cfg(not(feature = "std"))]
type Bytes = Box<[u8]>;

pub(crate) struct Storage(Bytes);

impl Storage {
    /// Takes `len` bytes of zeros.
    pub(crate) fn zeroed(len: usize) -> Result<Self, Error> {
        allocate(len)
            .map(Self)
            .ok_or(Error::OutOfMemory { bytes: len })
    }

    pub(crate) fn copy_of(bytes: &[u8]) -> Result<Self, Error> {
        let mut storage = Self::zeroed(bytes.len())?;
        storage.0.copy_from_slice(bytes);
        Ok(storage)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[cfg(feature = "std")]
fn allocate(len: usize) -> Option<Bytes> {
    Bytes::new(len).ok()
}

#[cfg(not(feature = "std"))]
fn allocate(len: usize) -> Option<Bytes> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).ok()?;
    bytes.resize(len, 0);
    Some(bytes.into_boxed_slice())
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Storage {}
