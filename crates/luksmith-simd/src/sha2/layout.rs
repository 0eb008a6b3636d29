//! How one message splits into blocks: a head that mixes prefix and data, a body that is read in
//! place, and a tail with the padding.

use super::MAX_PREFIX_BYTES;

/// Where the blocks of `prefix || data || padding` come from, the same for every sector of a call.
///
/// `BLOCK` is 64 (SHA-256) or 128 (SHA-512).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout<const BLOCK: usize> {
    /// Bytes in front of the data of each sector, 0..=64.
    pub(crate) prefix_bytes: usize,
    /// Bytes of data of each sector.
    pub(crate) sector_bytes: usize,
    /// Whether a first block of prefix and data exists; without it all prefix bytes are in the
    /// tail.
    pub(crate) has_head: bool,
    /// Data bytes that the head took.
    pub(crate) body_start: usize,
    /// Bytes of data that are hashed in place, a multiple of `BLOCK`.
    pub(crate) body_bytes: usize,
    /// Blocks of the tail, 1 or 2.
    pub(crate) tail_blocks: usize,
    /// Length of the hashed text in bits, with the `keyed_bytes` that the state already took.
    pub(crate) bits: u64,
}

impl<const BLOCK: usize> Layout<BLOCK> {
    /// Plans messages of `prefix_bytes + sector_bytes`, after `keyed_bytes` that are already in
    /// the state.
    ///
    /// The caller has checked that `prefix_bytes` is at most [`MAX_PREFIX_BYTES`].
    pub(crate) fn new(keyed_bytes: usize, prefix_bytes: usize, sector_bytes: usize) -> Self {
        debug_assert!(prefix_bytes <= MAX_PREFIX_BYTES);
        let has_head = prefix_bytes > 0 && sector_bytes >= BLOCK - prefix_bytes;
        let body_start = if has_head { BLOCK - prefix_bytes } else { 0 };
        let body_bytes = if has_head || prefix_bytes == 0 {
            (sector_bytes - body_start) / BLOCK * BLOCK
        } else {
            0
        };
        let rest = if has_head { 0 } else { prefix_bytes } + sector_bytes - body_start - body_bytes;
        let length_field = BLOCK / 8;
        let tail_blocks = if rest + 1 + length_field <= BLOCK {
            1
        } else {
            2
        };
        // usize to u64 cannot lose bits on the supported targets.
        let bits = (keyed_bytes as u64 + prefix_bytes as u64 + sector_bytes as u64) * 8;
        Self {
            prefix_bytes,
            sector_bytes,
            has_head,
            body_start,
            body_bytes,
            tail_blocks,
            bits,
        }
    }

    /// Whether sectors are of whole columns of 64 bytes, after the prefix of dm-crypt's tags: what
    /// the kernels take that read sectors by columns.
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
    pub(crate) fn of_columns(&self) -> bool {
        self.prefix_bytes == 24 && self.sector_bytes >= 64 && self.sector_bytes.is_multiple_of(64)
    }

    /// Fills the head block of one sector. Only for layouts with `has_head`.
    pub(crate) fn fill_head(&self, prefix: &[u8], data: &[u8], head: &mut [u8; BLOCK]) {
        copy_short(&mut head[..self.prefix_bytes], prefix);
        copy_short(&mut head[self.prefix_bytes..], &data[..self.body_start]);
    }

    /// The part of `data` that is hashed in place.
    pub(crate) fn body<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        &data[self.body_start..self.body_start + self.body_bytes]
    }

    /// Fills the tail of one sector and gives its blocks; `tail` has room for two
    /// and is zero.
    pub(crate) fn fill_tail<'a>(
        &self,
        prefix: &[u8],
        data: &[u8],
        tail: &'a mut [[u8; BLOCK]; 2],
    ) -> &'a mut [[u8; BLOCK]] {
        let blocks = &mut tail[..self.tail_blocks];
        let bytes = blocks.as_flattened_mut();
        let from_prefix = if self.has_head { 0 } else { self.prefix_bytes };
        let rest = &data[self.body_start + self.body_bytes..];
        let end = from_prefix + rest.len();
        copy_short(&mut bytes[..from_prefix], &prefix[..from_prefix]);
        copy_short(&mut bytes[from_prefix..end], rest);
        bytes[end] = 0x80;
        let length_at = bytes.len() - 8;
        bytes[length_at..].copy_from_slice(&self.bits.to_be_bytes());
        blocks
    }
}

/// Copies up to two blocks without a call: fixed pieces that overlap in the middle.
#[inline]
fn copy_short(to: &mut [u8], from: &[u8]) {
    debug_assert_eq!(to.len(), from.len());
    match from.len() {
        32..=64 => copy_ends::<32>(to, from),
        16..32 => copy_ends::<16>(to, from),
        8..16 => copy_ends::<8>(to, from),
        0 => {}
        _ => to.copy_from_slice(from),
    }
}

/// Copies the first and the last `N` bytes, which is all if there are `N` to `2 * N`.
#[inline]
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk()) {
        *to = *from;
    }
}
