//! Argon2i and Argon2id, version 0x13 (RFC 9106), without secret and associated data.

mod blake2b;
mod block;
mod fill;
mod threads;

pub(crate) use block::{Block, ZERO, compress as portable_compress};
#[cfg(feature = "std")]
pub use threads::ScopedThreads;
pub use threads::{Argon2Job, Argon2Threads, OneThread};

use crate::arch::Argon2Kernel;
use crate::{Error, HashBackend};
use blake2b::{Blake2b, long_hash};
use core::ops::ControlFlow;
use zeroize::{Zeroize, Zeroizing};

/// Words of 64 bits in a block of 1 KiB.
pub(crate) const BLOCK_WORDS: usize = 128;

/// Segments of a lane; lanes wait for each other after each of them.
const SLICES: u32 = 4;

/// The version of the algorithm, 1.3.
const VERSION: u32 = 0x13;

/// Longest lanes number of RFC 9106.
const MAX_LANES: u32 = (1 << 24) - 1;

/// Which function of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Argon2Variant {
    /// Argon2i: which blocks are read never depends on the password.
    I,
    /// Argon2id: the same in the first half of the first pass; afterwards the data decide.
    Id,
}

impl Argon2Variant {
    /// The number that goes into the hash.
    const fn number(self) -> u32 {
        match self {
            Self::I => 1,
            Self::Id => 2,
        }
    }
}

/// What is hashed. LUKS uses neither secret nor data; the standard's vectors do.
#[derive(Clone, Copy)]
struct Texts<'a> {
    password: &'a [u8],
    salt: &'a [u8],
    secret: &'a [u8],
    data: &'a [u8],
}

/// The costs of one derivation, checked.
///
/// ```
/// use luksmith_simd::{Argon2, Argon2Variant, OneThread};
///
/// let argon2 = Argon2::new(Argon2Variant::Id, 1, 64, 2)?; // 1 pass, 64 KiB, 2 lanes
/// let mut arena = vec![0; argon2.arena_words()];
/// let mut key = [0; 32];
/// argon2.derive(b"password", b"a salt of 16 b..", &mut arena, &mut key, &OneThread)?;
/// # Ok::<(), luksmith_simd::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2 {
    variant: Argon2Variant,
    passes: u32,
    memory_kib: u32,
    lanes: u32,
    kernel: Argon2Kernel,
}

impl Argon2 {
    /// Takes the costs: passes over the memory (1 or more), memory in KiB (8 or more per lane),
    /// lanes (1 to 2^24 - 1).
    ///
    /// # Errors
    /// [`Error::Argon2Cost`] for numbers outside these bounds.
    pub fn new(
        variant: Argon2Variant,
        passes: u32,
        memory_kib: u32,
        lanes: u32,
    ) -> Result<Self, Error> {
        let enough = lanes
            .checked_mul(8)
            .is_some_and(|least| memory_kib >= least);
        if passes == 0 || lanes == 0 || lanes > MAX_LANES || !enough {
            return Err(Error::Argon2Cost {
                passes,
                memory_kib,
                lanes,
            });
        }
        Ok(Self {
            variant,
            passes,
            memory_kib,
            lanes,
            kernel: Argon2Kernel::best(),
        })
    }

    /// The same costs, computed with what a backend chosen by hand has for Argon2: AVX-512, AVX2
    /// ([`HashBackend::ShaNi`] too), or nothing but words.
    ///
    /// # Errors
    /// [`Error::HashBackendUnavailable`] if this machine lacks its instructions.
    pub fn with_backend(mut self, backend: HashBackend) -> Result<Self, Error> {
        if !backend.is_available() {
            return Err(Error::HashBackendUnavailable { backend });
        }
        self.kernel = Argon2Kernel::of(backend);
        Ok(self)
    }

    /// The least rate at which this machine's kernel fills a gigabyte, in percent of libargon2's,
    /// built for the same processor: whoever finds costs by measuring this library, and wants those
    /// that others would find, divides by it. Too little of it makes keys stronger than asked for,
    /// too much makes them weaker.
    ///
    /// With AVX-512 twice as fast: what an Intel server gave; a Zen 5 gave up to three times. The
    /// others are not measured: with AVX2 no credit is taken, and word by word this is thought to
    /// be at least half as fast as their vector code.
    #[must_use]
    pub fn percent_of_libargon2() -> u32 {
        Argon2Kernel::best().percent_of_libargon2()
    }

    /// Blocks of a segment.
    const fn segment_blocks(self) -> u32 {
        self.memory_kib / (SLICES * self.lanes)
    }

    /// Blocks that are filled: the memory, rounded down to a multiple of four per lane.
    const fn blocks(self) -> u32 {
        self.segment_blocks() * SLICES * self.lanes
    }

    /// The arena that [`derive`](Self::derive) wants, in words of 8 bytes.
    #[must_use]
    pub fn arena_words(self) -> usize {
        usize::try_from(self.blocks())
            .unwrap_or(usize::MAX)
            .saturating_mul(BLOCK_WORDS)
    }

    /// How many jobs run at the same time where `threads` threads may; the others have none.
    #[must_use]
    pub fn jobs(self, threads: usize) -> usize {
        self.jobs_by(self.kernel, threads)
    }

    /// Lanes in turn were measured where there are two processors. With more of them to choose
    /// from, each lane gets one of its own: what waits for memory on one machine may not on
    /// another.
    fn jobs_by(self, kernel: Argon2Kernel, threads: usize) -> usize {
        let each = if threads > 2 {
            1
        } else {
            kernel.lanes_of_a_thread()
        };
        threads.clamp(1, (self.lanes as usize).div_ceil(each))
    }

    /// Fills `out` (4 bytes or more) from `password` and `salt`.
    ///
    /// `arena` has at least [`arena_words`](Self::arena_words); what it holds before does not
    /// matter. **It is full of secrets afterwards, and wiping it is the caller's.**
    ///
    /// # Errors
    /// [`Error::LengthMismatch`] for a short arena, [`Error::OutputBytes`] and
    /// [`Error::InputBytes`] for lengths that the standard excludes.
    pub fn derive(
        self,
        password: &[u8],
        salt: &[u8],
        arena: &mut [u64],
        out: &mut [u8],
        threads: &dyn Argon2Threads,
    ) -> Result<(), Error> {
        let mut progress = |_, _| ControlFlow::Continue(());
        self.derive_with(password, salt, arena, out, threads, &mut progress)
    }

    /// [`derive`](Self::derive) that asks `progress` after each quarter of a pass whether to go on,
    /// with the number of quarters done and of all.
    ///
    /// # Errors
    /// As [`derive`](Self::derive), and [`Error::Cancelled`] if `progress` breaks.
    pub fn derive_with(
        self,
        password: &[u8],
        salt: &[u8],
        arena: &mut [u64],
        out: &mut [u8],
        threads: &dyn Argon2Threads,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let texts = Texts {
            password,
            salt,
            secret: &[],
            data: &[],
        };
        self.derive_by(self.kernel, &texts, arena, out, threads, progress)
    }

    /// [`derive_with`](Self::derive_with) with a compression function chosen by hand.
    fn derive_by(
        self,
        kernel: Argon2Kernel,
        texts: &Texts<'_>,
        arena: &mut [u64],
        out: &mut [u8],
        threads: &dyn Argon2Threads,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let words = self.arena_words();
        let bytes = arena.len().saturating_mul(8);
        let Some(arena) = arena.get_mut(..words) else {
            return Err(Error::LengthMismatch {
                what: "arena",
                bytes,
                expected: words * 8,
            });
        };
        let (blocks, _) = arena.as_chunks_mut::<BLOCK_WORDS>();
        let initial = self.initial_hash(texts, out.len())?;
        self.first_blocks(&initial, blocks, threads);
        let quarters = u64::from(self.passes) * u64::from(SLICES);
        let mut done = 0;
        for pass in 0..self.passes {
            for slice in 0..SLICES {
                if progress(done, quarters).is_break() {
                    return Err(Error::Cancelled);
                }
                fill::slice(
                    &fill::At {
                        argon2: self,
                        kernel,
                        pass,
                        slice,
                    },
                    blocks,
                    threads,
                );
                done += 1;
            }
        }
        self.finish(blocks, out);
        Ok(())
    }

    /// H0 of the standard (RFC 9106, section 3.2, step 1).
    fn initial_hash(
        self,
        texts: &Texts<'_>,
        out_bytes: usize,
    ) -> Result<Zeroizing<[u8; 64]>, Error> {
        let length = |what: &'static str, bytes: usize| {
            u32::try_from(bytes).map_err(|_| Error::InputBytes { what, bytes })
        };
        let tag = match u32::try_from(out_bytes) {
            Ok(tag) if tag >= 4 => tag,
            _ => return Err(Error::OutputBytes { bytes: out_bytes }),
        };
        let mut hash = Blake2b::new(64);
        for number in [
            self.lanes,
            tag,
            self.memory_kib,
            self.passes,
            VERSION,
            self.variant.number(),
        ] {
            hash.update(&number.to_le_bytes());
        }
        let Texts {
            password,
            salt,
            secret,
            data,
        } = *texts;
        for (what, text) in [
            ("password", password),
            ("salt", salt),
            ("secret", secret),
            ("data", data),
        ] {
            hash.update(&length(what, text.len())?.to_le_bytes());
            hash.update(text);
        }
        let mut initial = Zeroizing::new([0; 64]);
        hash.finish(&mut initial[..]);
        Ok(initial)
    }

    /// The first two blocks of every lane (steps 3 and 4).
    fn first_blocks(self, initial: &[u8; 64], blocks: &mut [Block], threads: &dyn Argon2Threads) {
        let lane_blocks = blocks.len() / self.lanes as usize;
        for (lane, blocks) in (0..self.lanes).zip(blocks.chunks_exact_mut(lane_blocks)) {
            threads.reach(lane as usize * lane_blocks);
            for (i, block) in (0..2_u32).zip(blocks) {
                let mut bytes = [0; 8 * BLOCK_WORDS];
                let parts = [&initial[..], &i.to_le_bytes(), &lane.to_le_bytes()];
                long_hash(&parts, &mut bytes);
                for (word, bytes) in block.iter_mut().zip(bytes.as_chunks().0) {
                    *word = u64::from_le_bytes(*bytes);
                }
                bytes.zeroize();
            }
        }
    }

    /// The output, from the last block of every lane (steps 7 and 8).
    fn finish(self, blocks: &[Block], out: &mut [u8]) {
        let lane_blocks = blocks.len() / self.lanes as usize;
        let mut sum = ZERO;
        for lane in blocks.chunks_exact(lane_blocks) {
            for (sum, word) in sum.iter_mut().zip(&lane[lane_blocks - 1]) {
                *sum ^= word;
            }
        }
        let mut bytes = [0; 8 * BLOCK_WORDS];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(&sum) {
            *bytes = word.to_le_bytes();
        }
        long_hash(&[&bytes], out);
        bytes.zeroize();
        sum.zeroize();
    }
}

#[cfg(test)]
mod tests;
