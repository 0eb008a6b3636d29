//! The border between encryption and integrity: blocks with a tuple beside each.

use alloc::{boxed::Box, sync::Arc};

use crate::{Capabilities, Error, Operation, SectorNumber, SectorSize};

/// How many blocks a tagged device has, and how large a block and its tuple are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaggedShape {
    /// Number of blocks.
    pub blocks: u64,
    /// Size of one block.
    pub block_size: SectorSize,
    /// Bytes of one tuple: the tag, the IV where it is stored, and padding.
    pub tuple_bytes: usize,
}

impl TaggedShape {
    /// Puts a shape together.
    #[must_use]
    pub const fn new(blocks: u64, block_size: SectorSize, tuple_bytes: usize) -> Self {
        Self {
            blocks,
            block_size,
            tuple_bytes,
        }
    }
}

/// A device that keeps a tuple (tag, and IV where it is stored) beside each block.
///
/// Data and tuple of a block always change as a pair. `first` counts 512-byte sectors and is a
/// multiple of the block's sectors. `data` is whole blocks, `tuples` one tuple for each, in order.
pub trait TaggedDevice: Send + Sync {
    /// Gives the device's dimensions, constant for its life.
    fn shape(&self) -> TaggedShape;

    /// Reads blocks and their tuples. Nothing is verified here: the caller knows the key.
    ///
    /// # Errors
    /// [`Error::PastEnd`], [`Error::Misaligned`], [`Error::Length`], [`Error::Io`].
    fn read_tagged(
        &self,
        first: SectorNumber,
        data: &mut [u8],
        tuples: &mut [u8],
    ) -> Result<(), Error>;

    /// Writes `blocks` blocks and their tuples, made by `fill` straight into the device's buffers.
    ///
    /// `fill` is called once or more, for consecutive runs of whole blocks in ascending order, with
    /// buffers for the data and the tuples of that run; it writes every byte of both.
    ///
    /// # Errors
    /// As [`read_tagged`](Self::read_tagged), and [`Error::ReadOnly`], [`Error::FailStop`].
    fn write_tagged(
        &self,
        first: SectorNumber,
        blocks: usize,
        fill: &mut dyn FnMut(&mut [u8], &mut [u8]),
    ) -> Result<(), Error>;

    /// Writes tuples alone, for initialisation and discard. The data of the blocks stays.
    ///
    /// # Errors
    /// As [`write_tagged`](Self::write_tagged).
    fn write_tuples(&self, first: SectorNumber, tuples: &[u8]) -> Result<(), Error>;

    /// Makes blocks read as zeros with tuples made by `fill`, and gives their storage back.
    ///
    /// `fill` is called once or more with the first sector of consecutive blocks, in ascending
    /// order, and a buffer for their tuples, every byte of which it writes. Data and tuple change
    /// as a pair, as safe against a crash as a write is.
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless [`Capabilities::discard`] and
    /// [`Capabilities::zeroes_after_discard`] are set; as [`write_tagged`](Self::write_tagged).
    fn discard_tagged(
        &self,
        first: SectorNumber,
        blocks: usize,
        fill: &mut dyn FnMut(SectorNumber, &mut [u8]),
    ) -> Result<(), Error> {
        let _ = (first, blocks, fill);
        Err(Error::Unsupported {
            operation: Operation::Discard,
        })
    }

    /// Makes every acknowledged write durable.
    ///
    /// # Errors
    /// [`Error::Io`], after which writes fail with [`Error::FailStop`].
    fn flush(&self) -> Result<(), Error>;

    /// Tells what this device can do beyond that, as far as data is concerned.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}

/// Checks tuples against data with a key that the tagged device does not know, for replay.
pub trait CheckTuple: Send + Sync {
    /// Checks consecutive blocks that start at sector `first`.
    ///
    /// # Errors
    /// [`Error::TagMismatch`] naming the first block whose tuple does not belong to its data.
    fn check(&self, first: SectorNumber, data: &[u8], tuples: &[u8]) -> Result<(), Error>;
}

macro_rules! forward {
    ($($pointer:ty),+) => {$(
        impl<T: TaggedDevice + ?Sized> TaggedDevice for $pointer {
            fn shape(&self) -> TaggedShape {
                (**self).shape()
            }
            fn read_tagged(
                &self,
                first: SectorNumber,
                data: &mut [u8],
                tuples: &mut [u8],
            ) -> Result<(), Error> {
                (**self).read_tagged(first, data, tuples)
            }
            fn write_tagged(
                &self,
                first: SectorNumber,
                blocks: usize,
                fill: &mut dyn FnMut(&mut [u8], &mut [u8]),
            ) -> Result<(), Error> {
                (**self).write_tagged(first, blocks, fill)
            }
            fn write_tuples(&self, first: SectorNumber, tuples: &[u8]) -> Result<(), Error> {
                (**self).write_tuples(first, tuples)
            }
            fn discard_tagged(
                &self,
                first: SectorNumber,
                blocks: usize,
                fill: &mut dyn FnMut(SectorNumber, &mut [u8]),
            ) -> Result<(), Error> {
                (**self).discard_tagged(first, blocks, fill)
            }
            fn flush(&self) -> Result<(), Error> {
                (**self).flush()
            }
            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }
        }
    )+};
}

forward!(&T, Box<T>, Arc<T>);
