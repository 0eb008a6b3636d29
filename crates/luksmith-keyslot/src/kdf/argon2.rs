//! The one place that runs Argon2.

#[cfg(not(feature = "std"))]
use alloc::vec::Vec;
#[cfg(feature = "std")]
use core::num::NonZeroUsize;
use core::ops::ControlFlow;

#[cfg(feature = "std")]
use luksmith_simd::Argon2Job;
use luksmith_simd::{Argon2, Argon2Threads};

#[cfg(feature = "std")]
use super::to_usize;
use super::{Argon2Cost, Argon2Variant, Effort, Threads};
use crate::Error;

/// The memory matrix. Every block of it was derived from the passphrase, so it is wiped on drop;
/// with `std` it is also kept out of core dumps and swap where the system allows it.
#[cfg(feature = "std")]
struct Arena(luksmith_sys::Arena);

#[cfg(feature = "std")]
impl Arena {
    fn new(words: usize) -> Result<Self, Error> {
        let bytes = words.saturating_mul(8);
        luksmith_sys::Arena::new(bytes)
            .map(Self)
            .map_err(|_| Error::OutOfMemory { bytes })
    }

    /// Calls `fill` with the memory and with the threads that fill it.
    fn fill<R>(
        &mut self,
        argon2: Argon2,
        lanes: u32,
        threads: Threads,
        fill: impl FnOnce(&mut [u64], &dyn Argon2Threads) -> R,
    ) -> R {
        let at_least_one = |count| NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
        let threads = threads.count();
        let workers = at_least_one(argon2.jobs(threads.get()));
        let lanes = at_least_one(to_usize(lanes));
        self.0.fill_with(lanes, workers, threads, |words, supply| {
            fill(words, &Workers { threads, supply })
        })
    }

    /// All of it, touched.
    fn filled_words(&mut self) -> &mut [u64] {
        let words = self.0.words_mut();
        words.fill(1);
        words
    }
}

/// The threads that fill the memory, each of which first makes it come.
#[cfg(feature = "std")]
struct Workers<'a> {
    threads: NonZeroUsize,
    supply: &'a luksmith_sys::Supply<'a>,
}

#[cfg(feature = "std")]
impl Argon2Threads for Workers<'_> {
    fn count(&self) -> usize {
        self.threads.get()
    }

    fn run(&self, jobs: &mut [Argon2Job<'_>]) {
        luksmith_simd::ScopedThreads::new(self.threads).run(jobs);
    }

    fn reach(&self, block: usize) {
        self.supply.reach(block.saturating_mul(1024));
    }
}

#[cfg(not(feature = "std"))]
struct Arena(Vec<u64>);

#[cfg(not(feature = "std"))]
impl Arena {
    fn new(words: usize) -> Result<Self, Error> {
        let mut arena = Vec::new();
        arena
            .try_reserve_exact(words)
            .map_err(|_| Error::OutOfMemory {
                bytes: words.saturating_mul(8),
            })?;
        arena.resize(words, 0);
        Ok(Self(arena))
    }

    fn fill<R>(
        &mut self,
        _: Argon2,
        _: u32,
        _: Threads,
        fill: impl FnOnce(&mut [u64], &dyn Argon2Threads) -> R,
    ) -> R {
        fill(&mut self.0, &luksmith_simd::OneThread)
    }
}

#[cfg(not(feature = "std"))]
impl Drop for Arena {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// Fills `out` with Argon2 of `password` and `salt`. The costs were checked and charged.
pub(super) fn derive(
    variant: Argon2Variant,
    cost: Argon2Cost,
    password: &[u8],
    salt: &[u8],
    out: &mut [u8],
    effort: &Effort<'_>,
) -> Result<(), Error> {
    let argon2 = context(variant, cost);
    let mut arena = Arena::new(argon2.arena_words())?;
    let mut progress = |_, _| match effort.control.check() {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    };
    let done = arena.fill(argon2, cost.lanes, effort.threads, |words, threads| {
        argon2.derive_with(password, salt, words, out, threads, &mut progress)
    });
    match done {
        Err(luksmith_simd::Error::Cancelled) => Err(Error::Cancelled),
        done => {
            done.expect(
                "a passphrase is below 2^32 bytes, a salt has 32, the arena fits the costs",
            );
            Ok(())
        }
    }
}

/// Runs Argon2 once on this thread and gives what `time` says of it. The memory was touched before:
/// a first touch costs time that later runs do not need.
#[cfg(feature = "std")]
pub(crate) fn measure(
    variant: Argon2Variant,
    cost: Argon2Cost,
    time: impl FnOnce(&mut dyn FnMut() -> Result<(), Error>) -> Result<core::time::Duration, Error>,
) -> Result<core::time::Duration, Error> {
    let argon2 = context(variant, cost);
    let mut arena = Arena::new(argon2.arena_words())?;
    let words = arena.filled_words();
    let mut out = [0; 32];
    time(&mut || {
        argon2
            .derive(
                b"measurement",
                &[0; 32],
                words,
                &mut out,
                &luksmith_simd::OneThread,
            )
            .expect("the lengths are fixed and the arena fits the costs");
        Ok(())
    })
}

fn context(variant: Argon2Variant, cost: Argon2Cost) -> Argon2 {
    let variant = match variant {
        Argon2Variant::I => luksmith_simd::Argon2Variant::I,
        Argon2Variant::Id => luksmith_simd::Argon2Variant::Id,
    };
    Argon2::new(variant, cost.passes, cost.memory_kib, cost.lanes)
        .expect("the costs were checked by who asked")
}
