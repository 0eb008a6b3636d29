//! Finding costs by measuring processor time.

use core::num::NonZeroU32;
use std::{thread, time::Duration};

use luksmith_block::Control;
use luksmith_hash::HashName;
use luksmith_header::Argon2Variant;
use luksmith_simd::Argon2;

use super::{
    MAX_ARGON2_LANES, MAX_ARGON2_MEMORY_KIB, MIN_ARGON2_MEMORY_KIB, MIN_ARGON2_PASSES,
    MIN_PBKDF2_ITERATIONS,
};
use crate::{
    Error, Kdf,
    kdf::{Argon2Cost, argon2},
};

/// Argon2 memory of a new keyslot when nothing else is said, in KiB.
pub const DEFAULT_ARGON2_MEMORY_KIB: u32 = 1024 * 1024;
/// What an unlock should take when nothing else is said.
pub const DEFAULT_TARGET: Duration = Duration::from_millis(2000);
/// What the check of a digest should take.
pub const DIGEST_TARGET: Duration = Duration::from_millis(125);

/// The plain stream that is measured here is up to this part slower than OpenSSL's, which was seen
/// to be 7 % faster: the iterations found are raised by a quarter, to stay on the strong side.
const PBKDF2_LAG: u64 = 4;

/// A measured Argon2 keyslot takes at least this much memory, in KiB, unless it may not.
const ARGON2_FLOOR_KIB: u32 = 64 * 1024;
/// A measurement shorter than this says too little.
const LONG_ENOUGH: Duration = Duration::from_millis(125);
/// Several measurements take this long together, and the fastest counts: processor time grows, too,
/// where others use the caches and the memory, and a slow measurement would make a weak keyslot.
const LONG_TOGETHER: Duration = Duration::from_millis(500);

/// A key derivation whose costs are to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// PBKDF2.
    Pbkdf2 {
        /// The HMAC's hash.
        hash: HashName,
    },
    /// Argon2.
    Argon2 {
        /// Which one.
        variant: Argon2Variant,
        /// Most memory in KiB; less is used if the machine has too little.
        max_memory_kib: u32,
        /// Lanes, `None` for as many as processors, 4 at most.
        lanes: Option<NonZeroU32>,
    },
}

impl Default for Method {
    /// What LUKS2 keyslots get: Argon2id, 1 GiB at most.
    fn default() -> Self {
        Self::Argon2 {
            variant: Argon2Variant::Id,
            max_memory_kib: DEFAULT_ARGON2_MEMORY_KIB,
            lanes: None,
        }
    }
}

/// Finds the costs at which deriving `key_bytes` bytes takes about `target` on this machine.
///
/// Takes up to a few times `target` itself. Never gives less than the minimum of new keyslots,
/// however short the target is.
///
/// # Errors
/// [`Error::Cancelled`], [`Error::OutOfMemory`], [`Error::NoClock`] where the system does not count
/// processor time.
pub fn measure(
    method: Method,
    key_bytes: u32,
    target: Duration,
    control: &Control,
) -> Result<Kdf, Error> {
    match method {
        Method::Pbkdf2 { hash } => Ok(Kdf::Pbkdf2 {
            hash,
            iterations: pbkdf2_iterations(hash, key_bytes, target, control)?,
        }),
        Method::Argon2 {
            variant,
            max_memory_kib,
            lanes,
        } => {
            let processors = thread::available_parallelism()
                .ok()
                .and_then(|count| u32::try_from(count.get()).ok())
                .unwrap_or(1);
            let lanes = lanes.map_or(processors, NonZeroU32::get);
            let lanes = lanes.clamp(1, MAX_ARGON2_LANES);
            let max = memory_limit_kib(max_memory_kib, luksmith_sys::machine::memory());
            let at_once = lanes.min(processors);
            // All lanes are run by this thread, whose time is exact. Costs are chosen as if this
            // machine ran Argon2 as slowly as the library that cryptsetup uses: volumes would take
            // other programs seconds longer to open.
            let percent = Argon2::percent_of_libargon2().max(1);
            let budget = target.saturating_mul(at_once).saturating_mul(100) / percent;
            let cost = argon2_cost(variant, lanes, max, budget, control)?;
            Ok(Kdf::Argon2 { variant, cost })
        }
    }
}

/// Finds the iterations of a digest whose check takes about [`DIGEST_TARGET`].
///
/// # Errors
/// As [`measure`].
pub fn measure_digest(hash: HashName, control: &Control) -> Result<u32, Error> {
    let bytes = u32::try_from(hash.digest_bytes()).unwrap_or(u32::MAX);
    pbkdf2_iterations(hash, bytes, DIGEST_TARGET, control)
}

fn pbkdf2_iterations(
    hash: HashName,
    key_bytes: u32,
    target: Duration,
    control: &Control,
) -> Result<u32, Error> {
    let mut out = alloc::vec![0; crate::kdf::to_usize(key_bytes)];
    let mut iterations = NonZeroU32::MIN.saturating_add((1 << 15) - 1);
    loop {
        control.check().map_err(|_| Error::Cancelled)?;
        let bytes = out.len();
        let took = time(&mut || {
            luksmith_hash::pbkdf2(hash, b"measurement", &[0; 32], iterations, &mut out)
                .map_err(|_| Error::OutOfMemory { bytes })
        })?;
        let factor = match took.as_millis() {
            0..=15 => 16,
            16..=31 => 8,
            32..=62 => 4,
            63..=125 => 2,
            _ => {
                let found = scale(u64::from(iterations.get()), took, target);
                let found = found.saturating_add(found / PBKDF2_LAG);
                let found = u32::try_from(found).unwrap_or(u32::MAX);
                return Ok(found.max(MIN_PBKDF2_ITERATIONS));
            }
        };
        iterations = iterations.saturating_mul(NonZeroU32::MIN.saturating_add(factor - 1));
    }
}

/// Finds passes and memory whose processor time is `budget`: memory first, then passes.
fn argon2_cost(
    variant: Argon2Variant,
    lanes: u32,
    max_memory_kib: u32,
    budget: Duration,
    control: &Control,
) -> Result<Argon2Cost, Error> {
    let least = MIN_ARGON2_MEMORY_KIB.max(lanes.saturating_mul(8));
    let max = max_memory_kib.max(least);
    let mut cost = Argon2Cost {
        passes: MIN_ARGON2_PASSES,
        memory_kib: ARGON2_FLOOR_KIB.clamp(least, max),
        lanes,
    };
    // Two rounds: the rate depends on the memory, so it is measured again near the memory found.
    for _ in 0..2 {
        let measured = long_enough(variant, cost, max, control)?;
        let work = scale(work_of(measured.0), measured.1, budget);
        cost = split_work(work, lanes, least, max);
    }
    Ok(cost)
}

/// Measures `cost`, or as much more as takes long enough.
fn long_enough(
    variant: Argon2Variant,
    mut cost: Argon2Cost,
    max_memory_kib: u32,
    control: &Control,
) -> Result<(Argon2Cost, Duration), Error> {
    // One pass tells the rate as well as many, once it takes long enough.
    cost.passes = 1;
    loop {
        control.check().map_err(|_| Error::Cancelled)?;
        let took = argon2::measure(variant, cost, time)?;
        if took >= LONG_ENOUGH {
            return Ok((cost, took));
        }
        if cost.memory_kib < max_memory_kib && cost.memory_kib < ARGON2_FLOOR_KIB {
            cost.memory_kib = cost.memory_kib.saturating_mul(2).min(max_memory_kib);
        } else {
            cost.passes = cost.passes.saturating_mul(2);
        }
    }
}

/// KiB filled.
fn work_of(cost: Argon2Cost) -> u64 {
    u64::from(cost.passes).saturating_mul(u64::from(cost.memory_kib))
}

/// Spreads work over memory, as much as is allowed, and passes.
fn split_work(work: u64, lanes: u32, least: u32, max: u32) -> Argon2Cost {
    let min_passes = u64::from(MIN_ARGON2_PASSES);
    let memory = (work / min_passes).clamp(
        u64::from(least.max(ARGON2_FLOOR_KIB.min(max))),
        u64::from(max),
    );
    let passes = (work / memory.max(1)).max(min_passes);
    Argon2Cost {
        passes: u32::try_from(passes).unwrap_or(u32::MAX),
        // At most `max`.
        memory_kib: u32::try_from(memory).unwrap_or(max),
        lanes,
    }
}

/// Half of the physical memory at most; on a small machine without swap, half of what is free too.
fn memory_limit_kib(asked: u32, machine: Option<luksmith_sys::machine::Memory>) -> u32 {
    const SMALL: u64 = 4 * 1024 * 1024 * 1024;
    let asked = asked.min(MAX_ARGON2_MEMORY_KIB);
    let Some(memory) = machine else {
        return asked.min(DEFAULT_ARGON2_MEMORY_KIB);
    };
    let mut limit = memory.total / 1024 / 2;
    let half_free = memory.free / 1024 / 2;
    if memory.total < SMALL && memory.swap == 0 && half_free > u64::from(ARGON2_FLOOR_KIB) {
        limit = limit.min(half_free);
    }
    u32::try_from(limit).unwrap_or(u32::MAX).min(asked)
}

/// Gives the work that takes `target` if `work` took `took`.
fn scale(work: u64, took: Duration, target: Duration) -> u64 {
    let scaled = u128::from(work).saturating_mul(target.as_nanos()) / took.as_nanos().max(1);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// Gives the processor time that `run` takes on this thread, the least of two or more times; of
/// one, if that is too short to count.
fn time(run: &mut dyn FnMut() -> Result<(), Error>) -> Result<Duration, Error> {
    let clock = || luksmith_sys::machine::thread_cpu_time().ok_or(Error::NoClock);
    let mut measure = || -> Result<Duration, Error> {
        let start = clock()?;
        run()?;
        Ok(clock()?.saturating_sub(start))
    };
    let mut least = measure()?;
    if least < LONG_ENOUGH {
        return Ok(least);
    }
    let (mut together, mut again) = (least, true);
    while again || together < LONG_TOGETHER {
        let took = measure()?;
        (least, together, again) = (least.min(took), together + took, false);
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use luksmith_sys::machine::Memory;

    use super::*;

    #[test]
    fn memory_grows_first_then_passes() {
        let split = |work| {
            let cost = split_work(work, 4, 32, 1024 * 1024);
            (cost.passes, cost.memory_kib)
        };
        assert_eq!(split(0), (4, 64 * 1024), "never below the floor");
        assert_eq!(split(4 * 64 * 1024), (4, 64 * 1024));
        assert_eq!(split(4 * 100_000), (4, 100_000));
        assert_eq!(split(4 * 1024 * 1024), (4, 1024 * 1024));
        assert_eq!(split(9 * 1024 * 1024), (9, 1024 * 1024));
        let small = split_work(1_000_000, 1, 32, 1000);
        assert_eq!((small.passes, small.memory_kib), (1000, 1000));
    }

    #[test]
    fn memory_is_bounded_by_the_machine() {
        const GIB: u64 = 1024 * 1024 * 1024;
        let limit = |total, free, swap| {
            let mut memory = luksmith_sys::machine::memory().unwrap();
            memory.total = total;
            memory.free = free;
            memory.swap = swap;
            memory_limit_kib(DEFAULT_ARGON2_MEMORY_KIB, Some::<Memory>(memory))
        };
        assert_eq!(limit(64 * GIB, GIB, 0), 1024 * 1024);
        assert_eq!(limit(GIB, GIB, 0), 512 * 1024);
        assert_eq!(limit(2 * GIB, GIB / 2, 0), 256 * 1024);
        assert_eq!(limit(2 * GIB, GIB / 2, 1), 1024 * 1024);
        assert_eq!(limit(2 * GIB, GIB / 16, 0), 1024 * 1024);
        assert_eq!(memory_limit_kib(u32::MAX, None), 1024 * 1024);
    }

    #[test]
    fn a_busy_machine_gives_no_weaker_costs() {
        use std::sync::atomic::{AtomicBool, Ordering};

        // What is asked for, in work: iterations, or passes times memory.
        fn found(method: Method) -> u64 {
            let target = Duration::from_millis(1000);
            match measure(method, 32, target, &Control::new()).unwrap() {
                Kdf::Pbkdf2 { iterations, .. } => iterations.into(),
                Kdf::Argon2 { cost, .. } => work_of(cost),
            }
        }
        let processors = thread::available_parallelism().unwrap().get();
        for method in [
            Method::Pbkdf2 {
                hash: HashName::Sha256,
            },
            Method::Argon2 {
                variant: Argon2Variant::Id,
                max_memory_kib: 32 * 1024,
                lanes: NonZeroU32::new(2),
            },
        ] {
            let idle = found(method);
            let done = AtomicBool::new(false);
            // Also if measuring panics: the scope waits for the threads.
            struct Stop<'a>(&'a AtomicBool);
            impl Drop for Stop<'_> {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
            let busy = thread::scope(|scope| {
                for _ in 0..3 * processors {
                    scope.spawn(|| {
                        while !done.load(Ordering::Relaxed) {
                            core::hint::spin_loop();
                        }
                    });
                }
                let _stop = Stop(&done);
                found(method)
            });
            // By the time of day it would be a quarter: one thread of four on each processor.
            assert!(
                2 * busy > idle,
                "{method:?}: {busy} when busy, {idle} before"
            );
        }
    }

    #[test]
    fn measured_costs_grow_with_the_target_and_keep_the_minimum() {
        let control = Control::new();
        let method = Method::Pbkdf2 {
            hash: HashName::Sha256,
        };
        let iterations = |millis| {
            let target = Duration::from_millis(millis);
            match measure(method, 32, target, &control).unwrap() {
                Kdf::Pbkdf2 { iterations, .. } => iterations,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(iterations(0), MIN_PBKDF2_ITERATIONS);
        assert!(iterations(10_000) > 100_000);

        let method = Method::Argon2 {
            variant: Argon2Variant::Id,
            max_memory_kib: 2048,
            lanes: NonZeroU32::new(2),
        };
        match measure(method, 64, Duration::ZERO, &control).unwrap() {
            Kdf::Argon2 { cost, .. } => assert_eq!(
                cost,
                Argon2Cost {
                    passes: 4,
                    memory_kib: 2048,
                    lanes: 2
                }
            ),
            other => panic!("{other:?}"),
        }
        control.cancel();
        assert_eq!(
            measure(method, 64, DEFAULT_TARGET, &control),
            Err(Error::Cancelled)
        );
    }
}
