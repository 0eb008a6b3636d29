//! The one place that runs Argon2.

use alloc::vec::Vec;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use super::{Argon2Cost, Argon2Variant, Effort};
use crate::{Error, kdf::to_usize};

/// The memory matrix. Every block of it was derived from the passphrase.
struct Arena(Vec<Block>);

impl Arena {
    fn new(blocks: usize) -> Result<Self, Error> {
        let mut arena = Vec::new();
        arena
            .try_reserve_exact(blocks)
            .map_err(|_| Error::OutOfMemory {
                bytes: blocks.saturating_mul(Block::SIZE),
            })?;
        arena.resize(blocks, Block::new());
        Ok(Self(arena))
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for block in &mut self.0 {
            block.zeroize();
        }
    }
}

impl ZeroizeOnDrop for Arena {}

/// Fills `out` with Argon2 of `password` and `salt`. The costs were checked and charged.
pub(super) fn derive(
    variant: Argon2Variant,
    cost: Argon2Cost,
    password: &[u8],
    salt: &[u8],
    out: &mut [u8],
    effort: &Effort<'_>,
) -> Result<(), Error> {
    let argon2 = context(variant, cost, out.len());
    let mut arena = Arena::new(to_usize(cost.memory_kib))?;
    let mut run = || {
        argon2
            .hash_password_into_with_memory(password, salt, out, arena.0.as_mut_slice())
            .expect("a passphrase is below 2^32 bytes, a salt has 32 and the arena fits the costs");
    };
    let threads = effort.threads.get().min(to_usize(cost.lanes));
    on_threads(threads, &mut run)
}

/// Runs Argon2 once on one thread and gives what `time` says of it. The memory was touched before: a
/// first touch costs time that later runs do not need.
#[cfg(feature = "std")]
pub(crate) fn measure(
    variant: Argon2Variant,
    cost: Argon2Cost,
    time: impl Fn(&mut dyn FnMut() -> Result<(), Error>) -> Result<core::time::Duration, Error> + Sync,
) -> Result<core::time::Duration, Error> {
    let mut out = [0; 32];
    let argon2 = context(variant, cost, out.len());
    let mut arena = Arena::new(to_usize(cost.memory_kib))?;
    let mut took = Err(Error::NoClock);
    on_threads(1, &mut || {
        took = time(&mut || {
            argon2
                .hash_password_into_with_memory(
                    b"measurement",
                    &[0; 32],
                    &mut out,
                    arena.0.as_mut_slice(),
                )
                .expect("the lengths are fixed and the arena fits the costs");
            Ok(())
        });
    })?;
    took
}

fn context(variant: Argon2Variant, cost: Argon2Cost, out_bytes: usize) -> Argon2<'static> {
    let algorithm = match variant {
        Argon2Variant::I => Algorithm::Argon2i,
        Argon2Variant::Id => Algorithm::Argon2id,
    };
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(out_bytes))
        .expect("the costs and the length of the key were checked");
    Argon2::new(algorithm, Version::V0x13, params)
}

/// Runs `run` in a pool of its own: a library does not take over the process's global pool.
#[cfg(feature = "parallel")]
fn on_threads(threads: usize, run: &mut (dyn FnMut() + Send)) -> Result<(), Error> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|_| Error::Threads { count: threads })?;
    pool.install(run);
    Ok(())
}

#[cfg(not(feature = "parallel"))]
fn on_threads(_threads: usize, run: &mut dyn FnMut()) -> Result<(), Error> {
    run();
    Ok(())
}
