//! Devices with tags of random configurations, in both directions between the kernel and us.

pub(crate) mod amplification;
mod batch;
mod machine;
mod model;
mod ours;
mod script;
mod set;
mod state;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{mem, thread};

use luksmith_testkit::Oracle;
use set::{Abilities, Set};
pub(crate) use state::WANTED;

/// Sets of one batch, which is two boots.
const BATCH: u32 = 20;
/// Batches at once.
const WORKERS: usize = 2;

/// What a count of states begins with.
pub(crate) const STATE: &str = "state: ";

/// How long a boot may take: a machine that shares its processors is slow, not stuck.
const PATIENCE: Duration = Duration::from_secs(3000);

/// What became of all sets of a seed.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) sets: u32,
    /// What was compared, and how often; and what the sets were cases of.
    pub(crate) checks: BTreeMap<String, u32>,
    pub(crate) features: BTreeMap<String, u32>,
    pub(crate) failures: Vec<String>,
    /// Machines that failed and were started again, and batches given up for that reason: neither
    /// says anything about a device.
    pub(crate) machines_failed: u32,
    pub(crate) given_up: Vec<String>,
}

impl Outcome {
    /// Prints a failure when it happens: what comes after it may take long.
    fn fail(&mut self, why: String) {
        println!("FAILED {why}");
        self.failures.push(why);
    }

    fn count(&mut self, what: impl Into<String>) {
        *self.checks.entry(what.into()).or_default() += 1;
    }

    /// Prints what a record says, so far.
    pub(crate) fn print(&self) {
        let counts = [
            ("sets", self.sets),
            ("failures", u32::try_from(self.failures.len()).expect("few")),
            (
                "machines that failed and were started again",
                self.machines_failed,
            ),
            (
                "batches given up, without a verdict",
                u32::try_from(self.given_up.len()).expect("few"),
            ),
        ];
        for (name, count) in counts {
            println!("record: {name} {count}");
        }
        for (name, count) in self.checks.iter().chain(&self.features) {
            println!("record: {name} {count}");
        }
        println!("so far: {} sets", self.sets);
    }

    /// How often something was compared.
    pub(crate) fn checked(&self, what: &str) -> u32 {
        let counts = self
            .checks
            .iter()
            .filter(|(name, _)| name.starts_with(what));
        counts.map(|(_, count)| count).sum()
    }
}

/// Takes `count` sets of a seed, from the batch of set `first` on.
pub(crate) fn run(oracle: &Oracle, folder: &Path, seed: u64, first: u32, count: u32) -> Outcome {
    let version = |name| oracle.version(name).unwrap_or_default();
    let abilities = Abilities {
        newer_volumes: !version("cryptsetup-bin").contains(":2.6."),
        dropped_digests: version("linux").starts_with("6.1"),
    };
    let oracle = &oracle.clone().with_limit(PATIENCE);
    let outcome = Mutex::new(Outcome::default());
    let next = AtomicU32::new(first / BATCH);
    let end = first / BATCH * BATCH + count;
    let work = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let numbers = number * BATCH..end.min((number + 1) * BATCH);
        if numbers.is_empty() {
            break;
        }
        let sets: Vec<Set> = numbers
            .map(|number| Set::generate(seed, number, abilities))
            .collect();
        let folder = folder.join(number.to_string());
        std::fs::create_dir(&folder).expect("a folder");
        if let Err(why) = batch::run(oracle, &folder, &sets, &outcome) {
            println!("GIVEN UP {why}");
            locked(&outcome).given_up.push(why);
        }
        // The folder goes in the end; this only keeps it small.
        let _ = std::fs::remove_dir_all(&folder);
    };
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    mem::take(&mut *locked(&outcome))
}

/// Makes sets of many seeds: each has to be a device that can be made.
pub(crate) fn generate_many() -> usize {
    let abilities = Abilities {
        newer_volumes: true,
        dropped_digests: true,
    };
    let sets = (0..40).flat_map(|seed| (0..100).map(move |number| (seed, number)));
    sets.map(|(seed, number)| Set::generate(seed, number, abilities))
        .filter(|set| set.span() > 0 && !set.features().is_empty())
        .count()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A worker that panics ends the test.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
