//! The kernel's part: it opens what we made, reads, writes, and makes what it alone can.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use luksmith_testkit::{Oracle, sha256_hex};

use super::theirs::{Call, Place};
use super::{Made, Outcome, compare, empty, header, locked, ours, theirs};

/// Disks of one boot, beside the one that has the pattern.
const DISKS: usize = 20;
/// Work of one boot, counted in sets that the kernel only opens.
const WORK: usize = 16;
/// The work of a set of which it makes its own: half a minute on a quiet machine.
const MADE: usize = 4;
/// Boots at once.
const BOOTS: usize = 2;

/// What one set brings into a boot.
struct Job {
    made: Made,
    /// The kernel makes its own as well.
    both: bool,
    /// Our header before the boot.
    before: Vec<u8>,
}

impl Job {
    /// Our files and, after them, cryptsetup's.
    fn disks(&self) -> Vec<PathBuf> {
        let sides: &[&str] = if self.both {
            &["ours", "theirs"]
        } else {
            &["ours"]
        };
        let paths = |who: &&str| [Some(self.made.path(who)), self.made.header_path(who)];
        sides.iter().flat_map(paths).flatten().collect()
    }

    /// The disks of a side as the script names them, if the first one of all is `first`.
    fn place(&self, who: &str, first: usize) -> Place {
        let per_side = 1 + usize::from(self.made.set.header_len.is_some());
        let first = if who == "ours" {
            first
        } else {
            first + per_side
        };
        Place {
            data: format!("/disk/{first}"),
            header: (per_side == 2).then(|| format!("/disk/{}", first + 1)),
            keys: format!("/tmp/{}-", self.made.set.number),
        }
    }
}

/// Boots as often as it takes, at once.
pub(super) fn run(
    oracle: &Oracle,
    needed: Vec<Made>,
    both: bool,
    ours: Vec<Made>,
    outcome: &Mutex<Outcome>,
) {
    let job = |both| {
        move |made| Job {
            before: header(&made, "ours").unwrap_or_default(),
            made,
            both,
        }
    };
    let jobs = needed.into_iter().map(job(both));
    let mut jobs: Vec<Job> = jobs.chain(ours.into_iter().map(job(false))).collect();
    let mut batches = Vec::new();
    while !jobs.is_empty() {
        let (mut disks, mut work) = (0, 0);
        let fits = jobs.iter().take_while(|job| {
            disks += job.disks().len();
            work += if job.both { MADE } else { 1 };
            disks <= DISKS && work <= WORK
        });
        let count = fits.count();
        batches.push(jobs.drain(..count).collect::<Vec<Job>>());
    }
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(batch) = batches.get(number) else {
                break;
            };
            if let Err(why) = boot(oracle, number, batch, outcome) {
                locked(outcome).fail(why);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..BOOTS {
            scope.spawn(work);
        }
    });
}

fn boot(
    oracle: &Oracle,
    number: usize,
    batch: &[Job],
    outcome: &Mutex<Outcome>,
) -> Result<(), String> {
    let folder = &batch.first().ok_or("an empty batch")?.made.folder;
    let second = folder.join(format!("pattern-{number}"));
    std::fs::write(&second, ours::pattern(ours::SECOND)).map_err(|error| error.to_string())?;
    let mut script = String::from("echo 3 > /proc/sys/kernel/printk\n");
    let mut disks = vec![second];
    for job in batch {
        if job.both {
            job.made
                .with("theirs", |files| empty(&job.made.set, files))?;
        }
        script += &commands(job, disks.len());
        disks.extend(job.disks());
    }
    let paths: Vec<_> = disks.iter().map(PathBuf::as_path).collect();
    let report = oracle
        .boot(&script, &paths)
        .map_err(|error| error.to_string())?;
    for job in batch {
        let name = format!("{}-", job.made.set.number);
        let result = complaints(&report.text, &name)
            .and_then(|()| check(job, &report.text))
            .map_err(|why| job.made.failed(&why));
        match result {
            Ok(()) => {
                let mut outcome = locked(outcome);
                outcome.opened_by_kernel += 1;
                outcome.made_by_kernel += usize::from(job.both);
            }
            Err(why) => locked(outcome).fail(why),
        }
    }
    Ok(())
}

fn commands(job: &Job, first: usize) -> String {
    let (set, number) = (&job.made.set, job.made.set.number);
    let ours = job.place("ours", first);
    let mut script = theirs::keys_script(set, &ours);
    if job.both {
        let place = job.place("theirs", first);
        script += &theirs::script(&format!("{number}-makes"), &theirs::format(set, &place));
        script += &use_volume(&format!("{number}-theirs"), theirs::map(&place, "volume"));
        script += &theirs::script(&format!("{number}-takes"), &theirs::accept(set, &ours));
    }
    script + &use_volume(&format!("{number}-ours"), theirs::map(&ours, "volume"))
}

/// Maps a volume, prints the sum of the first part, and writes the second pattern.
fn use_volume(name: &str, map: Call) -> String {
    let part = ours::PART;
    let sum = format!("dd if=/dev/mapper/volume bs={part} count=1 2>/dev/null | sha256sum");
    let write = format!("dd if=/disk/0 of=/dev/mapper/volume bs={part} count=1 seek=3 conv=fsync");
    // A volume that is not mapped is no file to be made by a write.
    theirs::script(name, &[map])
        + "if [ -b /dev/mapper/volume ]; then\n"
        + &format!("echo \"@{name} $({sum} | cut -d' ' -f1)\"\n")
        + &format!("{write} 2>/tmp/said || {{ echo '@bad {name} write'; cat /tmp/said; }}\n")
        + &format!("cryptsetup close volume || echo '@bad {name} close'\n")
        + "fi\n"
}

/// Gives what the script complained about in what concerns one set.
fn complaints(text: &str, name: &str) -> Result<(), String> {
    let mark = format!("@bad {name}");
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&mark));
    let first = lines.next();
    first.map_or(Ok(()), |first| {
        let said: Vec<&str> = lines.take_while(|line| !line.starts_with('@')).collect();
        Err(format!("{first}: {}", said.join(" ")))
    })
}

/// Looks at the files after the boot.
fn check(job: &Job, text: &str) -> Result<(), String> {
    let (made, set) = (&job.made, &job.made.set);
    let sum = format!(
        "@{}-ours {}",
        set.number,
        sha256_hex(&ours::pattern(ours::FIRST))
    );
    if !text.contains(&sum) {
        return Err("the kernel did not read what we wrote".into());
    }
    let after = |why| format!("after the kernel wrote: {why}");
    made.with("ours", |files| {
        ours::reads(set, files, 3 * ours::PART, ours::SECOND)
    })
    .map_err(after)?;
    if !job.both {
        return Ok(());
    }
    // Our keyslots have one of cryptsetup's behind them by now.
    made.with("ours", |files| {
        ours::accept(set, files, Some(theirs::THEIR_KEY))
    })?;
    made.with("theirs", |files| {
        ours::accept(set, files, None)?;
        ours::reads(set, files, 3 * ours::PART, ours::SECOND)
    })
    .map_err(|why| format!("what cryptsetup made: {why}"))?;
    compare::same(&job.before, &header(made, "theirs")?, set.is_luks2())
}
