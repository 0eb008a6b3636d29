//! Blocks with tuples, in memory. Unit tests have it too, so it knows nothing of this crate.

use std::sync::Mutex;

use luksmith_block::{Error as BlockError, SectorNumber, SectorSize, TaggedDevice, TaggedShape};

/// Data and tuples of all blocks, and what is done in the middle of the next read.
pub(crate) struct Tagged {
    shape: TaggedShape,
    pub(crate) content: Mutex<(Vec<u8>, Vec<u8>)>,
    pub(crate) meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Tagged {
    pub(crate) fn new(blocks: u64, block_size: SectorSize, tuple_bytes: usize) -> Self {
        let count = usize::try_from(blocks).expect("a shape that fits");
        Self {
            shape: TaggedShape::new(blocks, block_size, tuple_bytes),
            content: Mutex::new((
                vec![0; count * block_size.bytes()],
                vec![0; count * tuple_bytes],
            )),
            meanwhile: Mutex::new(None),
        }
    }

    fn block(&self, first: SectorNumber) -> usize {
        usize::try_from(first.get() / self.shape.block_size.sectors().get())
            .expect("a shape that fits")
    }
}

impl TaggedDevice for Tagged {
    fn shape(&self) -> TaggedShape {
        self.shape
    }

    fn read_tagged(
        &self,
        first: SectorNumber,
        data: &mut [u8],
        tuples: &mut [u8],
    ) -> Result<(), BlockError> {
        let meanwhile = self
            .meanwhile
            .lock()
            .expect("no test panics with it")
            .take();
        if let Some(work) = meanwhile {
            work();
        }
        let content = self.content.lock().expect("no test panics with it");
        let block = self.block(first);
        let at = block * self.shape.block_size.bytes();
        data.copy_from_slice(&content.0[at..at + data.len()]);
        let at = block * self.shape.tuple_bytes;
        tuples.copy_from_slice(&content.1[at..at + tuples.len()]);
        Ok(())
    }

    fn write_tagged(
        &self,
        first: SectorNumber,
        blocks: usize,
        fill: &mut dyn FnMut(&mut [u8], &mut [u8]),
    ) -> Result<(), BlockError> {
        let mut content = self.content.lock().expect("no test panics with it");
        let (data, tuples) = &mut *content;
        let (size, tuple) = (self.shape.block_size.bytes(), self.shape.tuple_bytes);
        let start = self.block(first);
        // In two parts, as a device may that has no room for all at once.
        for (at, count) in [
            (start, blocks / 3),
            (start + blocks / 3, blocks - blocks / 3),
        ] {
            if count > 0 {
                fill(
                    &mut data[at * size..(at + count) * size],
                    &mut tuples[at * tuple..(at + count) * tuple],
                );
            }
        }
        Ok(())
    }

    fn write_tuples(&self, first: SectorNumber, tuples: &[u8]) -> Result<(), BlockError> {
        let at = self.block(first) * self.shape.tuple_bytes;
        self.content.lock().expect("no test panics with it").1[at..at + tuples.len()]
            .copy_from_slice(tuples);
        Ok(())
    }

    fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }
}
