//! Volumes of random options, made by cryptsetup and by us, each taken by the other.

mod compare;
mod kernel;
mod ours;
mod set;
mod theirs;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use std::{mem, thread};

use luksmith_testkit::Oracle;
use ours::Files;
use set::OptionSet;
use theirs::Place;

/// Both copies of the longest header.
const HEADERS: u64 = 8 << 20;

/// Sets that are taken at once: most of the time goes to waiting for programs.
const WORKERS: usize = 4;

/// What became of all sets of a seed.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Whether cryptsetup is the version whose headers ours are compared with.
    pub(crate) is_measured: bool,
    /// Sets that were made.
    pub(crate) sets: usize,
    /// Sets of which the kernel opened ours, and those of which it also made its own.
    pub(crate) opened_by_kernel: usize,
    pub(crate) made_by_kernel: usize,
    pub(crate) failures: Vec<String>,
}

impl Outcome {
    /// Prints a failure when it happens: what comes after it may take long.
    fn fail(&mut self, why: String) {
        println!("FAILED {why}");
        self.failures.push(why);
    }
}

/// A set, made by us in files that are still there.
struct Made {
    set: OptionSet,
    folder: PathBuf,
}

impl Made {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}-{name}", self.set.number))
    }

    fn header_path(&self, who: &str) -> Option<PathBuf> {
        let header = self.set.header_len?;
        (header > 0).then(|| self.path(&format!("{who}-header")))
    }

    fn place(&self, who: &str) -> Place {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        Place {
            data: text(self.path(who)),
            header: self.header_path(who).map(text),
            keys: text(self.path("key-")),
        }
    }

    /// Does `work` with the files of one side.
    fn with<T>(&self, who: &str, work: impl FnOnce(&Files<'_>) -> T) -> T {
        let (data, header) = (self.path(who), self.header_path(who));
        work(&Files {
            data: &data,
            header: header.as_deref(),
        })
    }

    fn remove(&self, who: &str) {
        let header = self.header_path(who);
        for path in [Some(self.path(who)), header].into_iter().flatten() {
            // The folder goes in the end; this only keeps it small.
            let _ = std::fs::remove_file(path);
        }
    }

    fn failed(&self, why: &str) -> String {
        format!("{}\n  {why}", self.set)
    }
}

/// Takes `count` sets of a seed; the kernel gets those of the first `sample` that it is not needed
/// for. Headers are compared with those of cryptsetup 2.8, with which the rules were measured.
pub(crate) fn run(oracle: &Oracle, folder: &Path, seed: u64, count: u32, sample: u32) -> Outcome {
    let is_measured = oracle
        .version("cryptsetup-bin")
        .is_ok_and(|version| version.contains(":2.8."));
    let outcome = Mutex::new(Outcome {
        is_measured,
        ..Outcome::default()
    });
    let (for_kernel, sampled) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let next = AtomicU32::new(0);
    let work = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            break;
        }
        let made = Made {
            set: OptionSet::generate(seed, number),
            folder: folder.to_path_buf(),
        };
        let start = Instant::now();
        let result = match made.set.needs_kernel {
            true => made.with("ours", |files| ours::format(&made.set, files)),
            false => both_ways(oracle, &made, is_measured),
        };
        println!("{}: {:.1} s", made.set, start.elapsed().as_secs_f32());
        locked(&outcome).sets += 1;
        match result {
            Err(why) => locked(&outcome).fail(made.failed(&why)),
            Ok(()) if made.set.needs_kernel => locked(&for_kernel).push(made),
            Ok(()) if number < sample && made.set.cipher.is_in_kernel() => {
                locked(&sampled).push(made)
            }
            Ok(()) => made.remove("ours"),
        }
    };
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    let (for_kernel, sampled) = (
        mem::take(&mut *locked(&for_kernel)),
        mem::take(&mut *locked(&sampled)),
    );
    kernel::run(oracle, for_kernel, is_measured, sampled, &outcome);
    mem::take(&mut *locked(&outcome))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A worker that panics ends the test.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a set with both programs and gives each what the other made.
fn both_ways(oracle: &Oracle, made: &Made, is_measured: bool) -> Result<(), String> {
    let set = &made.set;
    let (our_place, their_place) = (made.place("ours"), made.place("theirs"));
    theirs::write_keys(set, &our_place)?;
    made.with("ours", |files| ours::format(set, files))?;
    made.with("theirs", |files| empty(set, files))?;
    theirs::run(oracle, &theirs::format(set, &their_place))?;
    // Older ones chose fewer lanes and other sector sizes.
    if is_measured {
        compare::same(
            &header(made, "ours")?,
            &header(made, "theirs")?,
            set.is_luks2(),
        )?;
    }
    theirs::run(oracle, &theirs::accept(set, &our_place))?;
    made.with("ours", |files| {
        ours::accept(set, files, Some(theirs::THEIR_KEY))?;
        ours::reads(set, files, 0, ours::FIRST)
    })
    .map_err(|why| format!("ours, with a key of cryptsetup's: {why}"))?;
    made.with("theirs", |files| {
        ours::accept(set, files, None)?;
        ours::add_ours(set, files)
    })
    .map_err(|why| format!("what cryptsetup made: {why}"))?;
    theirs::run(oracle, &theirs::open_by_ours(&their_place))?;
    made.remove("theirs");
    Ok(())
}

/// Makes the files for cryptsetup: it formats no file that is not there.
fn empty(set: &OptionSet, files: &Files<'_>) -> Result<(), String> {
    let create = |path: &Path, len| {
        let file = std::fs::File::create(path)?;
        file.set_len(len)
    };
    create(files.data, set.data_len).map_err(|error| error.to_string())?;
    match (files.header, set.header_len) {
        (Some(path), Some(len)) => create(path, len).map_err(|error| error.to_string()),
        _ => Ok(()),
    }
}

/// The header of one side, and what follows it.
fn header(made: &Made, who: &str) -> Result<Vec<u8>, String> {
    let path = made.header_path(who).unwrap_or_else(|| made.path(who));
    let mut bytes = Vec::new();
    std::fs::File::open(&path)
        .and_then(|file| file.take(HEADERS).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}
