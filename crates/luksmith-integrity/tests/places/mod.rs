//! Where blocks of 512 bytes are.

use luksmith_block::ByteOffset;

/// The first byte of a block.
pub(crate) fn at(block: usize) -> ByteOffset {
    ByteOffset::new(u64::try_from(block * 512).expect("small"))
}
