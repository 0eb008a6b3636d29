//! Up to `N` messages at once, over any kernel that compresses `N` lanes side by side.

use super::layout::Layout;
use zeroize::Zeroize;

/// A kernel that compresses `N` messages side by side; `BLOCK` is 64 (SHA-256) or 128 (SHA-512).
///
/// A state row holds one word of the state for every lane.
pub(crate) trait Lanes<W, const N: usize, const BLOCK: usize>: Copy {
    /// Compresses the messages of all lanes, which come in parts, each of whole blocks.
    fn compress(self, state: &mut [[W; N]; 8], parts: &[[&[u8]; N]]);

    /// Compresses one block of every lane, given as words.
    fn compress_words(self, state: &mut [[W; N]; 8], words: &[[W; N]; 16]);
}

/// The way of a kernel through its messages, block by block: in every part, all lanes have the same
/// number of whole blocks.
pub(crate) struct Walk<'a, const N: usize, const BLOCK: usize> {
    parts: &'a [[&'a [u8]; N]],
}

/// A block of all lanes. Made only by a [`Walk`], for which it lies inside every lane.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    part: usize,
    at: usize,
}

impl Place {
    /// Where the block starts in its part, in bytes.
    pub(crate) fn at(self) -> usize {
        self.at
    }
}

impl<'a, const N: usize, const BLOCK: usize> Walk<'a, N, BLOCK> {
    /// Looks over the parts.
    ///
    /// # Panics
    /// If the lanes of a part differ in length, or it has a broken block: kernels read without
    /// looking.
    pub(crate) fn new(parts: &'a [[&'a [u8]; N]]) -> Self {
        for lanes in parts {
            let bytes = lanes[0].len();
            assert!(bytes.is_multiple_of(BLOCK), "whole blocks");
            assert!(
                lanes.iter().all(|lane| lane.len() == bytes),
                "equally long lanes"
            );
        }
        Self { parts }
    }

    /// The first block, if there is one.
    pub(crate) fn first(&self) -> Option<Place> {
        self.start(0)
    }

    /// The block after `place`.
    pub(crate) fn after(&self, place: Place) -> Option<Place> {
        let at = place.at + BLOCK;
        if at < self.parts[place.part][0].len() {
            return Some(Place { at, ..place });
        }
        self.start(place.part + 1)
    }

    /// The lanes that `place` lies in.
    pub(crate) fn lanes(&self, place: Place) -> &'a [&'a [u8]; N] {
        &self.parts[place.part]
    }

    /// The start of the first part from `part` on that is not empty.
    fn start(&self, part: usize) -> Option<Place> {
        (part..self.parts.len())
            .find(|part| !self.parts[*part][0].is_empty())
            .map(|part| Place { part, at: 0 })
    }
}

/// A word of SHA-256 or SHA-512.
pub(crate) trait Word: Copy + Default + Zeroize {
    /// Number of its bytes.
    const BYTES: usize;
    /// The padding bit after the last byte of a message.
    const PADDING: Self;

    /// A small number, such as a length in bits.
    fn of(number: u16) -> Self;

    /// Writes it in the byte order of digests.
    fn write_be(self, out: &mut [u8]);
}

impl Word for u32 {
    const BYTES: usize = 4;
    const PADDING: Self = 1 << 31;

    fn of(number: u16) -> Self {
        number.into()
    }

    fn write_be(self, out: &mut [u8]) {
        out.copy_from_slice(&self.to_be_bytes());
    }
}

impl Word for u64 {
    const BYTES: usize = 8;
    const PADDING: Self = 1 << 63;

    fn of(number: u16) -> Self {
        number.into()
    }

    fn write_be(self, out: &mut [u8]) {
        out.copy_from_slice(&self.to_be_bytes());
    }
}

/// Tags of 1 to `N` sectors; lanes without a sector repeat the last one.
pub(crate) fn tags<W: Word, const N: usize, const BLOCK: usize, L: Lanes<W, N, BLOCK>>(
    kernel: L,
    inner: &[W; 8],
    outer: Option<&[W; 8]>,
    layout: &Layout<BLOCK>,
    prefixes: &[u8],
    data: &[u8],
    out: &mut [u8],
) {
    let sectors = data.len() / layout.sector_bytes;
    let number = |lane: usize| lane.min(sectors - 1);
    let sector = |lane: usize| {
        let start = number(lane) * layout.sector_bytes;
        &data[start..start + layout.sector_bytes]
    };
    let prefix = |lane: usize| {
        let start = number(lane) * layout.prefix_bytes;
        &prefixes[start..start + layout.prefix_bytes]
    };
    let mut heads = [[0; BLOCK]; N];
    if layout.has_head {
        for (lane, head) in heads.iter_mut().enumerate() {
            layout.fill_head(prefix(lane), sector(lane), head);
        }
    }
    let mut tails = [[[0; BLOCK]; 2]; N];
    for (lane, tail) in tails.iter_mut().enumerate() {
        layout.fill_tail(prefix(lane), sector(lane), tail);
    }
    let head_bytes = if layout.has_head { BLOCK } else { 0 };
    let tail_bytes = layout.tail_blocks * BLOCK;
    let mut state = inner.map(|word| [word; N]);
    kernel.compress(
        &mut state,
        &[
            heads.each_ref().map(|head| &head[..head_bytes]),
            core::array::from_fn(|lane| layout.body(sector(lane))),
            tails
                .each_ref()
                .map(|tail| &tail.as_flattened()[..tail_bytes]),
        ],
    );
    write_tags(kernel, &mut state, outer, out);
}

/// Finishes the tags of lanes whose messages `state` took, and writes as many as `out` has room
/// for.
pub(crate) fn write_tags<W: Word, const N: usize, const BLOCK: usize, L: Lanes<W, N, BLOCK>>(
    kernel: L,
    state: &mut [[W; N]; 8],
    outer: Option<&[W; 8]>,
    out: &mut [u8],
) {
    if let Some(outer) = outer {
        // The inner digests lie word by word across the lanes: the outer block needs no
        // transposition.
        let mut words = [[W::default(); N]; 16];
        words[..8].copy_from_slice(&*state);
        words[8] = [W::PADDING; N];
        words[15] = [W::of(if BLOCK == 64 {
            8 * (64 + 32)
        } else {
            8 * (128 + 64)
        }); N];
        *state = outer.map(|word| [word; N]);
        kernel.compress_words(state, &words);
    }
    for (lane, tag) in out.chunks_exact_mut(8 * W::BYTES).enumerate() {
        for (row, bytes) in state.iter().zip(tag.chunks_exact_mut(W::BYTES)) {
            row[lane].write_be(bytes);
        }
    }
}
