//! One message at a time, over the `sha2` crate's compression functions: the reference that every
//! other kernel is compared with.

use super::layout::Layout;
use sha2::block_api::{compress256, compress512};

/// SHA-256 state after `blocks`.
pub(crate) fn compress_256(state: &mut [u32; 8], blocks: &[[u8; 64]]) {
    compress256(state, blocks);
}

/// SHA-512 state after `blocks`.
pub(crate) fn compress_512(state: &mut [u64; 8], blocks: &[[u8; 128]]) {
    compress512(state, blocks);
}

/// Writes one full digest per sector to `out`; `outer` is the HMAC's second state, and
/// `compress` takes the blocks of one message.
pub(crate) fn tags_256(
    compress: impl Fn(&mut [u32; 8], &[[u8; 64]]),
    inner: &[u32; 8],
    outer: Option<&[u32; 8]>,
    layout: &Layout<64>,
    prefixes: &[u8],
    data: &[u8],
    out: &mut [u8],
) {
    for (i, (sector, tag)) in data
        .chunks_exact(layout.sector_bytes)
        .zip(out.chunks_exact_mut(32))
        .enumerate()
    {
        let prefix = &prefixes[i * layout.prefix_bytes..(i + 1) * layout.prefix_bytes];
        let mut state = *inner;
        if layout.has_head {
            let mut head = [0; 64];
            layout.fill_head(prefix, sector, &mut head);
            compress(&mut state, &[head]);
        }
        compress(&mut state, layout.body(sector).as_chunks().0);
        compress(
            &mut state,
            layout.fill_tail(prefix, sector, &mut [[0; 64]; 2]),
        );
        if let Some(outer) = outer {
            let block = outer_block_256(&state);
            state = *outer;
            compress(&mut state, &[block]);
        }
        write_be_256(&state, tag);
    }
}

/// [`tags_256`] for SHA-512.
pub(crate) fn tags_512(
    compress: impl Fn(&mut [u64; 8], &[[u8; 128]]),
    inner: &[u64; 8],
    outer: Option<&[u64; 8]>,
    layout: &Layout<128>,
    prefixes: &[u8],
    data: &[u8],
    out: &mut [u8],
) {
    for (i, (sector, tag)) in data
        .chunks_exact(layout.sector_bytes)
        .zip(out.chunks_exact_mut(64))
        .enumerate()
    {
        let prefix = &prefixes[i * layout.prefix_bytes..(i + 1) * layout.prefix_bytes];
        let mut state = *inner;
        if layout.has_head {
            let mut head = [0; 128];
            layout.fill_head(prefix, sector, &mut head);
            compress(&mut state, &[head]);
        }
        compress(&mut state, layout.body(sector).as_chunks().0);
        compress(
            &mut state,
            layout.fill_tail(prefix, sector, &mut [[0; 128]; 2]),
        );
        if let Some(outer) = outer {
            let block = outer_block_512(&state);
            state = *outer;
            compress(&mut state, &[block]);
        }
        write_be_512(&state, tag);
    }
}

/// The one block of an HMAC's outer hash after the key pad: 32-byte digest and padding.
pub(crate) fn outer_block_256(digest: &[u32; 8]) -> [u8; 64] {
    let mut block = [0; 64];
    write_be_256(digest, &mut block[..32]);
    block[32] = 0x80;
    block[56..].copy_from_slice(&(8 * (64 + 32_u64)).to_be_bytes());
    block
}

/// The one block of an HMAC's outer hash after the key pad: 64-byte digest and padding.
pub(crate) fn outer_block_512(digest: &[u64; 8]) -> [u8; 128] {
    let mut block = [0; 128];
    write_be_512(digest, &mut block[..64]);
    block[64] = 0x80;
    block[120..].copy_from_slice(&(8 * (128 + 64_u64)).to_be_bytes());
    block
}

/// Writes the words of a SHA-256 state as its 32-byte digest.
pub(crate) fn write_be_256(state: &[u32; 8], out: &mut [u8]) {
    for (word, bytes) in state.iter().zip(out.as_chunks_mut().0) {
        *bytes = word.to_be_bytes();
    }
}

/// Writes the words of a SHA-512 state as its 64-byte digest.
pub(crate) fn write_be_512(state: &[u64; 8], out: &mut [u8]) {
    for (word, bytes) in state.iter().zip(out.as_chunks_mut().0) {
        *bytes = word.to_be_bytes();
    }
}
