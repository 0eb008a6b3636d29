//! The filling of the memory (RFC 9106, sections 3.2 and 3.4).
//!
//! A thread fills its lanes in turn, block by block: while the CPU fetches the random block that
//! one lane wants next, the others' blocks are computed. So two lanes in one thread take hardly
//! longer than two threads with a lane each, and half the CPU time. Within a slice, a lane reads
//! its own segment and the finished segments of all lanes, never what another lane is writing.

use super::threads::{Argon2Job, Argon2Threads};
use super::{Argon2, Argon2Variant, BLOCK_WORDS, Block, SLICES, ZERO};
use crate::arch::{self, Argon2Kernel};
use alloc::vec::Vec;
use zeroize::Zeroize;

/// Lanes that one thread fills in turn.
const IN_TURN: usize = 4;

/// How many blocks ahead a lane asks for the block that it will overwrite. Its own blocks follow
/// each other, but a CPU that guesses so stops at the end of each page.
const AHEAD: usize = 2;

/// Blocks that are told of at once, as `Argon2Threads::reach` says.
const REACHED_AT_ONCE: usize = 64;

/// Which quarter of which pass.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) argon2: Argon2,
    pub(super) kernel: Argon2Kernel,
    pub(super) pass: u32,
    pub(super) slice: u32,
}

impl At {
    /// Whether the blocks to read are known without looking at the data.
    fn is_independent(&self) -> bool {
        self.argon2.variant == Argon2Variant::I || (self.pass == 0 && self.slice < SLICES / 2)
    }

    /// Index in the segment of the first block to fill: two blocks come from the initial hash.
    fn first_index(&self) -> u32 {
        if self.pass == 0 && self.slice == 0 {
            2
        } else {
            0
        }
    }

    /// The block that index `index` of `lane` reads, chosen by the random number `j`.
    fn reference(&self, lane: u32, index: u32, j: u64) -> Reference {
        let segment_blocks = self.argon2.segment_blocks();
        let (j1, j2) = (j & 0xffff_ffff, j >> 32);
        let is_first_slice = self.pass == 0 && self.slice == 0;
        let from_lane = if is_first_slice {
            lane
        } else {
            low(j2 % u64::from(self.argon2.lanes))
        };
        let finished = if self.pass == 0 {
            self.slice
        } else {
            SLICES - 1
        } * segment_blocks;
        // The own lane is open up to the block before the previous one; another lane without the
        // block that its own next one needs, as long as that may not exist.
        let area = if from_lane == lane {
            finished + index - 1
        } else {
            finished - u32::from(index == 0)
        };
        let x = (j1 * j1) >> 32;
        let back = low((u64::from(area) * x) >> 32);
        // Positions count from the oldest finished segment, which is the first one in pass 0.
        let oldest = if self.pass == 0 {
            0
        } else {
            (self.slice + 1) % SLICES
        };
        let position = area - 1 - back;
        let slice = (oldest + position / segment_blocks) % SLICES;
        Reference {
            lane: from_lane,
            slice,
            index: position % segment_blocks,
        }
    }
}

/// The lower half of a number.
#[expect(
    clippy::cast_possible_truncation,
    reason = "callers want the lower half, or it is all"
)]
const fn low(number: u64) -> u32 {
    number as u32
}

/// A block that is read.
#[derive(Clone, Copy, Default)]
struct Reference {
    lane: u32,
    slice: u32,
    index: u32,
}

/// The finished segments, by lane and slice; segments being written are empty here.
struct Finished<'a> {
    segments: Vec<&'a [Block]>,
}

impl<'a> Finished<'a> {
    fn segment(&self, lane: u32, slice: u32) -> &'a [Block] {
        self.segments[(lane * SLICES + slice) as usize]
    }
}

/// A lane and its segment of this slice.
pub(super) struct Lane<'a> {
    at: At,
    number: u32,
    /// Number in the arena of the first block of `segment`.
    start: usize,
    segment: &'a mut [Block],
    finished: &'a Finished<'a>,
    /// Who hears how far the first pass is.
    threads: &'a dyn Argon2Threads,
    /// What the next block reads.
    next: Reference,
    /// The random numbers of the next 128 blocks, where they do not depend on the data.
    addresses: Block,
}

/// Fills one slice of every lane.
pub(super) fn slice(at: &At, blocks: &mut [Block], threads: &dyn Argon2Threads) {
    let segment_blocks = at.argon2.segment_blocks() as usize;
    let mut current = Vec::new();
    let mut segments: Vec<&[Block]> = Vec::new();
    for (segment, i) in blocks.chunks_exact_mut(segment_blocks).zip(0..) {
        if i % SLICES == at.slice {
            let start = i as usize * segment_blocks;
            current.push((i / SLICES, start, segment));
            segments.push(&[]);
        } else {
            segments.push(segment);
        }
    }
    let finished = &Finished { segments };
    let workers = at.argon2.jobs_by(at.kernel, threads.count());
    let mut jobs: Vec<_> = (0..workers)
        .map(|_| Argon2Job { lanes: Vec::new() })
        .collect();
    for (i, (number, start, segment)) in current.into_iter().enumerate() {
        jobs[i % workers].lanes.push(Lane {
            at: *at,
            number,
            start,
            segment,
            finished,
            threads,
            next: Reference::default(),
            addresses: ZERO,
        });
    }
    threads.run(&mut jobs);
}

/// Fills the segments of the lanes, a few in turn.
pub(super) fn lanes(lanes: &mut [Lane<'_>]) {
    for turn in lanes.chunks_mut(IN_TURN) {
        let at = turn[0].at;
        let first = at.first_index();
        for lane in turn.iter_mut() {
            lane.choose(first);
        }
        for index in first..at.argon2.segment_blocks() {
            for lane in turn.iter_mut() {
                if at.pass == 0 {
                    lane.reach(index);
                }
                lane.step(index);
            }
        }
    }
}

impl Lane<'_> {
    /// Tells that the block at `index` is the next, where nothing was told of it yet.
    fn reach(&self, index: u32) {
        let block = self.start + index as usize;
        if index == self.at.first_index() || block.is_multiple_of(REACHED_AT_ONCE) {
            self.threads.reach(block);
        }
    }

    /// Fills the block at `index` and asks for what the one after it reads.
    fn step(&mut self, index: u32) {
        let at = self.at;
        let (before, rest) = self.segment.split_at_mut(index as usize);
        let previous = match before.last() {
            Some(previous) => previous,
            None => last_of(self.finished, self.number, at.slice),
        };
        let Reference {
            lane,
            slice,
            index: from,
        } = self.next;
        let reference = if lane == self.number && slice == at.slice {
            &before[from as usize]
        } else {
            &self.finished.segment(lane, slice)[from as usize]
        };
        if let Some(ahead) = rest.get(AHEAD) {
            arch::prefetch(ahead);
        }
        at.kernel
            .compress(previous, reference, &mut rest[0], at.pass > 0);
        if rest.len() > 1 {
            self.choose(index + 1);
        }
    }

    /// Finds the block that `index` reads, and starts to fetch it.
    fn choose(&mut self, index: u32) {
        let at = self.at;
        let j = if at.is_independent() {
            let within = index as usize % BLOCK_WORDS;
            if within == 0 || index == at.first_index() {
                self.draw_addresses(index);
            }
            self.addresses[within]
        } else if index == 0 {
            last_of(self.finished, self.number, at.slice)[0]
        } else {
            self.segment[index as usize - 1][0]
        };
        self.next = at.reference(self.number, index, j);
        let Reference {
            lane,
            slice,
            index: from,
        } = self.next;
        let reference = if lane == self.number && slice == at.slice {
            &self.segment[from as usize]
        } else {
            &self.finished.segment(lane, slice)[from as usize]
        };
        arch::prefetch_once(reference);
    }

    /// Makes the random numbers for the 128 blocks around `index` (section 3.4.1.2).
    fn draw_addresses(&mut self, index: u32) {
        let at = self.at;
        let mut input = ZERO;
        let numbers = [
            at.pass,
            self.number,
            at.slice,
            at.argon2.blocks(),
            at.argon2.passes,
            at.argon2.variant.number(),
            index / low(BLOCK_WORDS as u64) + 1,
        ];
        for (word, number) in input.iter_mut().zip(numbers) {
            *word = number.into();
        }
        let mut middle = ZERO;
        at.kernel.compress(&ZERO, &input, &mut middle, false);
        at.kernel
            .compress(&ZERO, &middle, &mut self.addresses, false);
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        // Not secret with data-independent addressing, all zero otherwise; kept clean all the same.
        self.addresses.zeroize();
    }
}

/// The last block that `lane` filled before `slice`.
fn last_of<'a>(finished: &Finished<'a>, lane: u32, slice: u32) -> &'a Block {
    let segment = finished.segment(lane, (slice + SLICES - 1) % SLICES);
    &segment[segment.len() - 1]
}
