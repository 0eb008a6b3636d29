//! SHA-256 of 16 or 32 whole sectors, each with 24 bytes of prefix in front.
//!
//! Nothing is copied byte by byte to be brought into lanes: heads are put together in registers,
//! tails are a part of the last column and constants, and the outer block of an HMAC is the states.
//!
//! 32 sectors are two sets of 16 lanes side by side. A round waits for the one before, and those of
//! the other set fill the time. The message words of both do not fit into registers beside their
//! states, so rounds take them from memory.

use core::arch::x86_64::*;
use core::mem;

use super::*;
use crate::buffers::{COLUMN, Read, Sectors};
use crate::sha2::lanes;
use crate::sha2::layout::Layout;

/// Bytes in front of a sector: its number and its IV.
pub(super) const PREFIX: usize = 24;
/// The first block takes this much of a sector; the others follow from there.
pub(super) const SHIFT: usize = 64 - PREFIX;

/// The words of the first block of all messages: the prefix, and the first bytes of `column`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn prepare_heads(
    prefixes: &[[u8; PREFIX]; COLUMN],
    column: Read<'_>,
    next: &mut Scratch,
) {
    let (first, second) = next.0.split_at_mut(8);
    let head = transposed_halves(|lane| {
        let (prefix, _) = prefixes[lane % COLUMN].as_chunks();
        let quarter = |i: usize| i64::from_le_bytes(prefix[i]);
        let data = _mm256_castsi256_si128(load_half(column, 0, lane));
        let data = _mm256_broadcastq_epi64(data);
        let prefix = _mm256_set_epi64x(0, quarter(2), quarter(1), quarter(0));
        _mm256_blend_epi32::<0b1100_0000>(prefix, data)
    });
    for (row, word) in first.iter_mut().zip(head) {
        store(row, word);
    }
    let rest = transposed_halves(|lane| load_half(column, 8, lane));
    for (row, word) in second.iter_mut().zip(rest) {
        store(row, word);
    }
}

/// All words of the block of every message that is in `column`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn prepare_column(next: &mut Scratch, column: Read<'_>) {
    for (half, rows) in next.0.chunks_exact_mut(8).enumerate() {
        let words = transposed_halves(|lane| load_half(column, 32 * half, lane));
        for (row, word) in rows.iter_mut().zip(words) {
            store(row, word);
        }
    }
}

/// The words of the last block of all messages, where `next` has those of the last column.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn prepare_tails(layout: &Layout<64>, next: &mut Scratch) {
    next.0.copy_within(SHIFT / 4.., 0);
    let bits = layout.bits.to_be_bytes();
    let (length, _) = bits.as_chunks();
    for row in &mut next.0[PREFIX / 4..] {
        store(row, splat(0));
    }
    store(&mut next.0[PREFIX / 4], splat(1 << 31));
    store(&mut next.0[14], splat(u32::from_be_bytes(length[0])));
    store(&mut next.0[15], splat(u32::from_be_bytes(length[1])));
}

/// 32 bytes of `column` in a sector.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_half(column: Read<'_>, from: usize, sector: usize) -> __m256i {
    // SAFETY: `half` points to 32 readable bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(column.half(sector, from).cast()) }
}

/// Half of the words of the next block, of lanes 0 to 7, and 8 to 15.
pub(super) type Halves = [[__m512i; 4]; 2];

/// Brings the block in `column` into lanes, a part in each of the last 16 rounds of the one before:
/// all at once would hold up the rounds.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn prepare_part<const J: usize>(
    next: &mut Scratch,
    column: Read<'_>,
    lanes: &mut Halves,
) {
    let half = |lane| load_half(column, J / 8 * 32, lane);
    match J % 8 {
        0 => lanes[0] = eight_lanes(&half, 0),
        2 => lanes[1] = eight_lanes(&half, 8),
        4 => store_words::<false>(next, *lanes, J / 8),
        6 => store_words::<true>(next, *lanes, J / 8),
        _ => {}
    }
}

/// Stores four words of the next block, the first (`HIGH`: the last) of half a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store_words<const HIGH: bool>(next: &mut Scratch, lanes: Halves, half: usize) {
    let words = sixteen_lanes::<HIGH>(lanes[0], lanes[1]);
    let first = if half == 0 { 0 } else { 8 } + if HIGH { 4 } else { 0 };
    for (row, word) in next.0[first..first + 4].iter_mut().zip(words) {
        store(row, word);
    }
}

impl Avx512 {
    /// Writes the digests, or HMACs, of `SETS` times 16 sectors to `out`.
    ///
    /// # Panics
    /// Unless `layout` is of columns, and the others have that many prefixes, sectors and digests.
    pub(crate) fn tags_of_columns<const SETS: usize>(
        self,
        inner: &[u32; 8],
        outer: Option<&[u32; 8]>,
        layout: &Layout<64>,
        prefixes: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) {
        let set_bytes = COLUMN * layout.sector_bytes;
        assert!(
            layout.of_columns() && data.len() == SETS * set_bytes && out.len() == SETS * 512,
            "whole sets of sectors of columns"
        );
        let (prefixes, _) = prefixes.as_chunks::<PREFIX>().0.as_chunks::<COLUMN>();
        let prefixes = prefixes.first_chunk().expect("a prefix for every sector");
        let sectors = core::array::from_fn(|set| {
            let data = &data[set * set_bytes..(set + 1) * set_bytes];
            Sectors::new(data, layout.sector_bytes).expect("their size was looked at above")
        });
        let mut states = [inner.map(|word| [word; COLUMN]); SETS];
        // SAFETY: an `Avx512` exists only if `detect` saw avx512f and avx512bw on this machine, and
        // these two are what `hash` enables.
        unsafe { hash::<SETS>(outer, layout, prefixes, &sectors, &mut states) };
        for (state, out) in states.iter_mut().zip(out.chunks_exact_mut(512)) {
            lanes::write_tags(self, state, None, out);
        }
    }
}

/// 16 lanes on their way.
struct Set<'a> {
    s: [__m512i; 8],
    pending: [__m512i; 2],
    /// The words of the block that is hashed.
    w: &'a mut Scratch,
    /// Those of the next one.
    next: &'a mut Scratch,
    lanes: Halves,
    /// The last two words of `w` that were made.
    recent: [__m512i; 2],
}

#[target_feature(enable = "avx512f,avx512bw")]
fn hash<const SETS: usize>(
    outer: Option<&[u32; 8]>,
    layout: &Layout<64>,
    prefixes: &[[[u8; PREFIX]; COLUMN]; SETS],
    sectors: &[Sectors<'_>; SETS],
    states: &mut [[[u32; 16]; 8]; SETS],
) {
    let (k, _) = K256.as_chunks::<16>();
    let mut scratch = [const { [const { Scratch([[0; 16]; 16]) }; 2] }; SETS];
    let mut scratch = scratch.each_mut();
    let mut sets = scratch.each_mut().map(|words| {
        let [w, next] = words.each_mut();
        Set {
            s: [splat(0); 8],
            pending: [splat(0); 2],
            w,
            next,
            lanes: [[splat(0); 4]; 2],
            recent: [splat(0); 2],
        }
    });
    for (i, set) in sets.iter_mut().enumerate() {
        set.s = loaded(&states[i]);
        prepare_heads(&prefixes[i], sectors[i].at(0), set.next);
    }
    let last = layout.sector_bytes / 64;
    for block in 0..=last + usize::from(outer.is_some()) {
        let mut before = [[splat(0); 8]; SETS];
        for (before, set) in before.iter_mut().zip(&mut sets) {
            mem::swap(&mut set.w, &mut set.next);
            set.recent = [load(&set.w.0[14]), load(&set.w.0[15])];
            *before = set.s;
        }
        let mut w = [splat(0); 16];
        if SETS == 1 {
            w = loaded(&sets[0].w.0);
        }
        for k in &k[..3] {
            sixteen!(scheduled_sets[SETS](&mut sets, &mut w, k));
        }
        let at = 64 * block + SHIFT;
        sixteen!(closing_sets[SETS](&mut sets, &w, &k[3], sectors, at));
        for (before, set) in before.iter().zip(&mut sets) {
            for (now, before) in set.s.iter_mut().zip(before) {
                *now = add(*now, *before);
            }
            if block + 1 == last {
                prepare_tails(layout, set.next);
            }
            if block == last
                && let Some(outer) = outer
            {
                prepare_outer(outer, set);
            }
        }
    }
    for (state, set) in states.iter_mut().zip(&sets) {
        for (row, now) in state.iter_mut().zip(set.s) {
            store(row, now);
        }
    }
}

/// The outer block of HMACs, which is the inner digests and their padding.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn prepare_outer(outer: &[u32; 8], set: &mut Set<'_>) {
    let (digest, padding) = set.next.0.split_at_mut(8);
    for ((row, now), word) in digest.iter_mut().zip(&mut set.s).zip(outer) {
        store(row, *now);
        *now = splat(*word);
    }
    for row in &mut *padding {
        store(row, splat(0));
    }
    store(&mut padding[0], splat(1 << 31));
    store(&mut padding[7], splat(8 * (64 + 32)));
}

/// The same words, of which the compiler does not know that they are still in registers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn in_memory(w: &mut Scratch) -> &mut Scratch {
    // SAFETY: the text is a comment; nothing is executed.
    unsafe {
        core::arch::asm!("/* {0} */", in(reg) &raw mut *w, options(nostack, preserves_flags));
    }
    w
}

/// A place that calls rounds, beside those named by a number of sets.
const MEMORY: usize = 102;

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn scheduled_sets<const J: usize, const SETS: usize>(
    sets: &mut [Set<'_>; SETS],
    w: &mut [__m512i; 16],
    k: &[u32; 16],
) {
    if SETS == 1 {
        let set = &mut sets[0];
        scheduled::<J, SETS>(&mut set.s, &mut set.pending, w, k);
        return;
    }
    for set in sets {
        let w = in_memory(set.w);
        round::<J, MEMORY, false>(&mut set.s, &mut set.pending, load(&w.0[J]), &k[J]);
        renew_stored::<J>(w, &mut set.recent);
    }
}

/// [`renew`], of words in memory. The one that it made two rounds ago comes from a register: from
/// memory, it would hold up the chain of words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn renew_stored<const J: usize>(w: &mut Scratch, recent: &mut [__m512i; 2]) {
    let far = ordered(mix0(load(&w.0[(J + 1) % 16])));
    let sum = ordered(add(load(&w.0[J]), load(&w.0[(J + 9) % 16])));
    let near = ordered(mix1(recent[J % 2]));
    let sum = ordered(add(sum, far));
    recent[J % 2] = ordered(add(sum, near));
    store(&mut w.0[J], recent[J % 2]);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn closing_sets<const J: usize, const SETS: usize>(
    sets: &mut [Set<'_>; SETS],
    w: &[__m512i; 16],
    k: &[u32; 16],
    sectors: &[Sectors<'_>; SETS],
    at: usize,
) {
    for (set, sectors) in sets.iter_mut().zip(sectors) {
        prepare_part::<J>(set.next, sectors.at(at), &mut set.lanes);
        let word = if SETS == 1 { w[J] } else { load(&set.w.0[J]) };
        round::<J, SETS, true>(&mut set.s, &mut set.pending, word, &k[J]);
    }
}
