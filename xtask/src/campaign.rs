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
};

/// A campaign: a test and what its record says about it.
struct Campaign {
    name: &'static str,
    package: &'static str,
    test: &'static str,
    title: &'static str,
    about: &'static str,
}

const CAMPAIGNS: [Campaign; 2] = [VERDICTS, FORMAT];

const VERDICTS: Campaign = Campaign {
    name: "verdicts",
    package: "luksmith-header",
    test: "verdicts",
    title: "Verdicts on changed headers",
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

/// Runs one campaign and writes its record.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        return Err(unknown("nothing"));
    };
    let campaign = CAMPAIGNS
        .iter()
        .find(|campaign| campaign.name == name)
        .ok_or_else(|| unknown(name))?;
    let (mut sets, mut seed, mut suite) = (200, 1, "sid".to_owned());
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
    let oracle = root().join("target/oracle").join(&suite);
    if !oracle.join("ready").is_file() {
        return Err(Failure::new(format!(
            "no oracle of {suite}; `cargo xtask oracle --suite {suite}` prepares one"
        )));
    }
    let commit = commit()?;
    let printed = print_and_keep(
        cargo([
            "test",
            "--package",
            campaign.package,
            "--test",
            campaign.test,
        ])
        .args(["--", "--nocapture"])
        .env("LUKSMITH_ORACLE", &oracle)
        .env("LUKSMITH_REQUIRE", "interop")
        .env("LUKSMITH_SETS", sets.to_string())
        .env("LUKSMITH_SEED", seed.to_string()),
    )?;
    let command =
        format!("cargo xtask campaign {name} --sets {sets} --seed {seed} --suite {suite}");
    let text = record(campaign, &command, &commit, &printed.text);
    let path = root().join("docs/campaigns").join(format!("{name}.md"));
    write(&path, &text)?;
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
/// campaign takes long.
fn print_and_keep(command: &mut Command) -> Result<Printed> {
    let failed = |error: io::Error| Failure::new(format!("cargo: {error}"));
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut text = String::new();
    if let Some(stdout) = child.stdout.take() {
        for line in io::BufReader::new(stdout).lines() {
            let line = line.map_err(failed)?;
            println!("{line}");
            text += &line;
            text.push('\n');
        }
    }
    Ok(Printed {
        text,
        succeeded: child.wait().map_err(failed)?.success(),
    })
}

/// Writes down what a run printed for the record.
fn record(campaign: &Campaign, command: &str, commit: &str, printed: &str) -> String {
    let mut text = format!("# {}\n\n{}\n\n", campaign.title, campaign.about);
    text += "| | |\n|---|---|\n";
    text += &format!("| command | `{command}` |\n| commit | {commit} |\n");
    for line in printed.lines() {
        if let Some((name, value)) = line
            .strip_prefix("record: ")
            .and_then(|line| line.rsplit_once(' '))
        {
            text += &format!("| {name} | {value} |\n");
        }
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
        let printed =
            "seed 1\nrecord: made by the kernel too 20\nFAILED set 3: x\n  why\nFAILED y\n";
        let text = record(&FORMAT, "cargo xtask campaign", "abc", printed);
        assert!(text.contains("\n| commit | abc |\n| made by the kernel too | 20 |\n"));
        assert!(text.ends_with("```\nFAILED set 3: x\n  why\n```\n"));
        assert!(!text.contains("seed 1"));
    }
}
