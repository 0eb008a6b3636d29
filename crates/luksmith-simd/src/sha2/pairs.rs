//! Two messages at a time, over a kernel that compresses two side by side.

use super::layout::Layout;
use super::portable::{outer_block_256, write_be_256};

/// Tags of exactly two sectors.
pub(crate) fn tags_256(
    compress: impl Fn(&mut [[u32; 8]; 2], [&[[u8; 64]]; 2]),
    inner: &[u32; 8],
    outer: Option<&[u32; 8]>,
    layout: &Layout<64>,
    prefixes: &[u8],
    data: &[u8],
    out: &mut [u8],
) {
    let (first, second) = data.split_at(layout.sector_bytes);
    let (prefix, other) = prefixes.split_at(layout.prefix_bytes);
    let mut states = [*inner; 2];
    if layout.has_head {
        let mut heads = [[0; 64]; 2];
        layout.fill_head(prefix, first, &mut heads[0]);
        layout.fill_head(other, second, &mut heads[1]);
        compress(&mut states, [&heads[..1], &heads[1..]]);
    }
    compress(
        &mut states,
        [
            layout.body(first).as_chunks().0,
            layout.body(second).as_chunks().0,
        ],
    );
    let mut tails = [[[0; 64]; 2]; 2];
    let [tail, other_tail] = &mut tails;
    compress(
        &mut states,
        [
            layout.fill_tail(prefix, first, tail),
            layout.fill_tail(other, second, other_tail),
        ],
    );
    if let Some(outer) = outer {
        let blocks = [outer_block_256(&states[0]), outer_block_256(&states[1])];
        states = [*outer; 2];
        compress(&mut states, [&blocks[..1], &blocks[1..]]);
    }
    let (tag, other) = out.split_at_mut(32);
    write_be_256(&states[0], tag);
    write_be_256(&states[1], other);
}
