//! Builds the fuzz targets and runs each for a while.
//!
//! The instrumentation is the compiler's own, switched on by flags that the stable compiler takes;
//! libFuzzer is built from its crate. Nothing is installed.

use std::{
    fs,
    path::Path,
    process::{Child, Command},
    thread,
};

use crate::{
    Failure, Result,
    command::{cargo, output, root, run as run_command},
};

/// Counters on every edge, and what comparisons compare.
const FLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Clink-dead-code",
    "--cfg=fuzzing",
];

/// Runs the targets named, or all, for `--seconds` altogether.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut seconds = 60;
    let mut wanted: Vec<&str> = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match (word.as_str(), words.as_slice().first()) {
            ("--seconds", Some(number)) => {
                seconds = number
                    .parse()
                    .map_err(|_| Failure::new(format!("{number} is no number of seconds")))?;
                words.next();
            }
            (name, _) => wanted.push(name),
        }
    }
    let mut names = targets()?;
    if let Some(unknown) = wanted
        .iter()
        .find(|name| !names.iter().any(|known| known == *name))
    {
        return Err(Failure::new(format!(
            "no target {unknown}; there are {}",
            names.join(", ")
        )));
    }
    names.retain(|name| wanted.is_empty() || wanted.contains(&name.as_str()));

    let host = host()?;
    run_command(
        cargo(["build", "--release", "--bins", "--target", &host])
            .args(["--target-dir", "target"])
            .current_dir(root().join("fuzz"))
            .env("RUSTFLAGS", FLAGS.join(" ")),
    )?;
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    let rounds = names.len().div_ceil(jobs);
    let each = (seconds / rounds.max(1) as u64).max(1);
    let folder = root().join("fuzz/target").join(host).join("release");
    for batch in names.chunks(jobs) {
        let children: Vec<(&String, Child)> = batch
            .iter()
            .map(|name| Ok((name, start(&folder, name, each)?)))
            .collect::<Result<_>>()?;
        let mut failed = Vec::new();
        for (name, mut child) in children {
            let status = child.wait();
            if !status.is_ok_and(|status| status.success()) {
                failed.push(name.as_str());
            }
        }
        for name in batch {
            println!("{name}: {}", summary(&log(name)));
        }
        if !failed.is_empty() {
            for name in &failed {
                println!("{}", fs::read_to_string(log(name)).unwrap_or_default());
            }
            return Err(Failure::new(format!(
                "{} failed; the input is in fuzz/artifacts",
                failed.join(", ")
            )));
        }
    }
    Ok(())
}

fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .map_err(|error| Failure::at(&folder, &error))?
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.strip_suffix(".rs").map(str::to_owned)
        })
        .collect();
    names.sort_unstable();
    Ok(names)
}

fn host() -> Result<String> {
    let version = output(Command::new("rustc").arg("-vV").current_dir(root()))?;
    version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| Failure::new("rustc -vV names no host"))
}

fn log(name: &str) -> std::path::PathBuf {
    root().join("fuzz/target").join(format!("{name}.log"))
}

/// Starts a target on its corpus; what it finds goes to a folder that is not committed.
fn start(folder: &Path, name: &str, seconds: u64) -> Result<Child> {
    let base = root().join("fuzz");
    let found = base.join("target/found").join(name);
    let artifacts = base.join("artifacts").join(name);
    for folder in [&found, &artifacts] {
        fs::create_dir_all(folder).map_err(|error| Failure::at(folder, &error))?;
    }
    let path = log(name);
    let file = fs::File::create(&path).map_err(|error| Failure::at(&path, &error))?;
    let errors = file
        .try_clone()
        .map_err(|error| Failure::at(&path, &error))?;
    Command::new(folder.join(name))
        .arg(&found)
        .arg(base.join("corpus").join(name))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        // An input that takes seconds, or a GiB, is a way to hang a reader.
        .args([
            "-timeout=10",
            "-rss_limit_mb=1024",
            "-max_len=20000",
            "-print_final_stats=1",
        ])
        .stdout(file)
        .stderr(errors)
        .spawn()
        .map_err(|error| Failure::new(format!("{name}: {error}")))
}

/// Takes the numbers that matter from libFuzzer's last words.
fn summary(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let number = |key: &str| {
        let line = text.lines().find(|line| line.contains(key));
        line.and_then(|line| line.split_whitespace().last())
            .unwrap_or("no")
            .to_owned()
    };
    let executed = number("stat::number_of_executed_units");
    let memory = number("stat::peak_rss_mb");
    format!("{executed} inputs, {memory} MiB at most")
}
