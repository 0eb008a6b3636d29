//! Long runs of the interop tests, with a record of what came of them.
//!
//! A campaign is a test that CI runs on a sample: here it gets a seed and a number of sets of its
//! own, and the newest programs. What it prints behind `record:` stands in docs/campaigns
//! afterwards.

use std::{
    fs,
    io::{self, BufRead},
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    Failure, Result,
    command::{cargo, output, root},
    oracle::NEWEST,
};

/// A campaign: a test and what its record says about it.
struct Campaign {
    name: &'static str,
    package: &'static str,
    test: &'static str,
    title: &'static str,
    about: &'static str,
    /// The variable that says how much is to be done, and how much it is where nobody says so.
    sets: (&'static str, u64),
    /// Whether it asks the programs and the kernel of the oracle.
    oracle: bool,
    /// Whether it is long enough to be worth an optimised build.
    release: bool,
}

const CAMPAIGNS: [Campaign; 5] = [VERDICTS, FORMAT, INTEGRITY, KILLS, CRASHES];

const VERDICTS: Campaign = Campaign {
    name: "verdicts",
    package: "luksmith-header",
    test: "verdicts",
    title: "Verdicts on changed headers",
    sets: ("LUKSMITH_SETS", 1),
    oracle: true,
    release: false,
    about: "\
Each recipe of luksmith-testkit changes a LUKS1 or LUKS2 header in one place. cryptsetup is asked
whether it takes the header, which copy it writes anew, and which of three passphrases open it;
its answers must be those of testvectors/headers/verdicts.txt. The same run holds our own verdict
against that record: nothing that cryptsetup refuses is accepted, but for a hash that only other
builds of it know, and what is refused beyond stands in differences.txt with its reason. Headers on
which cryptsetup never ends are left out.",
};

const FORMAT: Campaign = Campaign {
    name: "format",
    package: "luksmith",
    test: "interop_options",
    title: "Random options of a new volume",
    sets: ("LUKSMITH_SETS", 200),
    oracle: true,
    release: false,
    about: "\
Each set is a version, a cipher, a key, a hash, key derivations, sizes, places, names and
keyslots. cryptsetup and the library make it from the same options and the same volume key. Both
headers are the same in every byte but for salts, digests and checksums. cryptsetup dumps ours,
opens it by every key and by no other, and adds a keyslot; the library then opens that one too.
The library opens cryptsetup's by every key and by no other, and adds a keyslot that cryptsetup
opens. The kernel maps a part of ours, reads what the library wrote, and writes; the library reads
it back. Where cryptsetup needs the kernel to format, with tags and ciphers beyond AES, all of
this happens there.",
};

const INTEGRITY: Campaign = Campaign {
    name: "integrity",
    package: "luksmith",
    test: "interop_integrity",
    title: "Devices with tags, between the kernel and the library",
    sets: ("LUKSMITH_SETS", 300),
    oracle: true,
    release: false,
    about: "\
Each set is a standalone device of integritysetup or an authenticated LUKS2 volume: digest or
cipher, keys, size of blocks and tags, layout, journal, and the mode of each session. The real
kernel formats it, and the library formats it to the same bytes. The kernel writes and closes, or
loses power: from a log of all that reached its disk, at any request while it opens, writes,
discards, closes or recalculates, unflushed sectors old or new in any mixture. The library reads
that: flushed data are there, other blocks are old or new, and tags mismatch only where the mode
allows it. Then the library works on the kernel's device or on one of its own and loses power in the
same way. The kernel gets both devices. What it reads, block by block, is what the library reads,
the same blocks mismatch, and where it only replays the journal, the whole device is the same to the
byte as after the library's replay of a copy; in the other half of the cases it writes and closes,
and the library reads that. A machine that does not do what it was told says nothing and is started
again.",
};

const KILLS: Campaign = Campaign {
    name: "kills",
    package: "luksmith-cli",
    test: "interop_kills",
    title: "An ext4 in an authenticated volume, and kills",
    sets: ("LUKSMITH_SETS", 60),
    oracle: true,
    release: false,
    about: "\
An ext4 that mke2fs made is imported into a LUKS2 volume with HMACs. A third of the kills: the
kernel mounts volumes, writes, syncs, moves and removes files, and is killed; the command exports,
e2fsck replays the file system's own journal and then finds nothing to repair, and every file that
was synced has its contents; then the same volumes go on. A third: the log of what a kernel wrote to
an ext4 is written to a volume by a process of ours that flushes where the kernel did and is killed.
A third: the command is killed while it imports; every block is old or new, and the next import
makes it whole. After the last two the kernel opens the volumes, reads every block, and e2fsck finds
nothing to repair.",
};

const CRASHES: Campaign = Campaign {
    name: "crashes",
    package: "luksmith-integrity",
    test: "crash",
    title: "Simulated crashes of devices with tags",
    sets: ("LUKSMITH_CRASHES", 1_000_000),
    oracle: false,
    release: true,
    about: "\
Random work on a device that loses power at any request: each unflushed sector is old or one of the
versions written since. After it, and after another loss of power during the recovery, flushed data
are there and every block is old or new; in direct mode, blocks written since the last flush may
mismatch; in bitmap mode they may hold anything, once marked regions were recalculated.",
};

/// Begins the line that a test prints when it has counted another part of its work.
const PART_DONE: &str = "so far: ";

/// Runs one campaign and writes its record.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        return Err(unknown("nothing"));
    };
    let campaign = CAMPAIGNS
        .iter()
        .find(|campaign| campaign.name == name)
        .ok_or_else(|| unknown(name))?;
    let (variable, mut sets) = campaign.sets;
    let (mut seed, mut suite) = (1, NEWEST.to_owned());
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| unknown(word))?;
        let number = || value.parse::<u64>().map_err(|_| unknown(value));
        match word.as_str() {
            "--sets" => sets = number()?,
            "--seed" => seed = number()?,
            "--suite" => suite.clone_from(value),
            _ => return Err(unknown(word)),
        }
    }
    let commit = commit()?;
    let mut test = cargo(["test", "--package", campaign.package]);
    test.args(["--test", campaign.test]);
    if campaign.release {
        test.arg("--release");
    }
    test.args(["--", "--nocapture"])
        .env(variable, sets.to_string())
        .env("LUKSMITH_SEED", seed.to_string());
    let mut command = format!("cargo xtask campaign {name} --sets {sets} --seed {seed}");
    let mut file = name.clone();
    if campaign.oracle {
        let oracle = root().join("target/oracle").join(&suite);
        if !oracle.join("ready").is_file() {
            return Err(Failure::new(format!(
                "no oracle of {suite}; `cargo xtask oracle --suite {suite}` prepares one"
            )));
        }
        test.env("LUKSMITH_ORACLE", &oracle)
            .env("LUKSMITH_REQUIRE", "interop");
        command += &format!(" --suite {suite}");
        // Records of the newest have no suite in their names.
        if suite != NEWEST {
            file += &format!("-{suite}");
        }
    }
    let path = root().join("docs/campaigns").join(format!("{file}.md"));
    let keep = |printed: &str, is_over| {
        let text = record(campaign, &command, &commit, printed, is_over);
        write(&path, &text)
    };
    // What was done counts, whatever becomes of the rest.
    let printed = print_and_keep(&mut test, &|so_far| keep(so_far, false))?;
    keep(&printed.text, true)?;
    println!("{}", path.display());
    match printed.succeeded {
        true => Ok(()),
        false => Err(Failure::new("the campaign failed; its record says where")),
    }
}

fn unknown(word: &str) -> Failure {
    let names: Vec<&str> = CAMPAIGNS.iter().map(|campaign| campaign.name).collect();
    Failure::new(format!(
        "campaign does not know {word}; it takes one of {}, --sets N, --seed N and --suite NAME",
        names.join(", ")
    ))
}

/// The commit that runs, with a word if it is not all that runs.
fn commit() -> Result<String> {
    let git = |arguments: &[&str]| output(Command::new("git").args(arguments).current_dir(root()));
    let id = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let word = if changed.is_empty() {
        ""
    } else {
        " with changes"
    };
    Ok(format!("{}{word}", id.trim()))
}

struct Printed {
    text: String,
    succeeded: bool,
}

/// Runs a command whose standard output is needed although it may fail, and shows it as it comes: a
/// campaign takes long. `keep` gets what there is whenever a part of it was done.
fn print_and_keep(command: &mut Command, keep: &dyn Fn(&str) -> Result<()>) -> Result<Printed> {
    let failed = |error: io::Error| Failure::new(format!("cargo: {error}"));
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut text = String::new();
    if let Some(stdout) = child.stdout.take() {
        for line in io::BufReader::new(stdout).lines() {
            let line = line.map_err(failed)?;
            println!("{line}");
            text += &line;
            text.push('\n');
            if line.starts_with(PART_DONE) {
                keep(&text)?;
            }
        }
    }
    Ok(Printed {
        text,
        succeeded: child.wait().map_err(failed)?.success(),
    })
}

/// Writes down what a run printed for the record. What it printed again counts as it was last.
fn record(
    campaign: &Campaign,
    command: &str,
    commit: &str,
    printed: &str,
    is_over: bool,
) -> String {
    let mut text = format!("# {}\n\n{}\n\n", campaign.title, campaign.about);
    text += "| | |\n|---|---|\n";
    text += &format!("| command | `{command}` |\n| commit | {commit} |\n");
    if !is_over {
        text += "| state | not at its end: these are the counts of what was done |\n";
    }
    let mut rows: Vec<(&str, &str)> = Vec::new();
    let lines = printed
        .lines()
        .filter_map(|line| line.strip_prefix("record: "));
    for (name, value) in lines.filter_map(|line| line.rsplit_once(' ')) {
        match rows.iter_mut().find(|(known, _)| *known == name) {
            Some(row) => row.1 = value,
            None => rows.push((name, value)),
        }
    }
    for (name, value) in rows {
        text += &format!("| {name} | {value} |\n");
    }
    let mut failures = printed
        .lines()
        .skip_while(|line| !line.starts_with("FAILED "));
    if let Some(first) = failures.next() {
        text += &format!("\nThe first failure:\n\n```\n{first}\n");
        text += &format!("{}\n```\n", failures.next().unwrap_or_default());
    }
    text
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| Failure::at(folder, &error))?;
    }
    fs::write(path, text).map_err(|error| Failure::at(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_what_was_printed_for_it_and_the_first_failure() {
        let printed = "seed 1\nrecord: made by the kernel too 7\nFAILED set 3: x\n  why\n\
             record: made by the kernel too 20\nFAILED y\n";
        let text = record(&CAMPAIGNS[0], "cargo xtask campaign", "abc", printed, true);
        assert!(text.contains("\n| commit | abc |\n| made by the kernel too | 20 |\n"));
        assert!(text.ends_with("```\nFAILED set 3: x\n  why\n```\n"));
        assert!(!text.contains("seed 1"));
        let so_far = record(&CAMPAIGNS[0], "", "abc", printed, false);
        assert!(so_far.contains("| state | not at its end"));
    }
}
