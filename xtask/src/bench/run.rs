//! Takes the two records of a report: the default build, and one for this CPU alone.

use std::path::PathBuf;
use std::process::Command;

use super::{NATIVE, RECORDS, native_of};
use crate::Result;
use crate::command::{cargo, output, root, run};

/// The workspace of the comparisons.
const COMPARE: &str = "benches/compare/Cargo.toml";

/// Builds and runs both flavours; gives the record of the default one.
pub(super) fn both_flavours() -> Result<PathBuf> {
    // The whole program, which is compared with cryptsetup.
    run(&mut cargo(["build", "--release", "-p", "luksmith-cli"]))?;
    let record = root().join(RECORDS).join(format!("{}.csv", record_name()?));
    let base = ["run", "--release", "--manifest-path", COMPARE];
    let separate = ["--target-dir", "benches/compare/target/native"];
    // Everything is built before anything is measured.
    run(&mut cargo([
        "build",
        "--release",
        "--manifest-path",
        COMPARE,
    ]))?;
    run(cargo(["build", "--release", "--manifest-path", COMPARE])
        .args(separate)
        .env("RUSTFLAGS", FLAGS))?;
    run(cargo(base).args(["--", "--out"]).arg(&record))?;
    run(cargo(base)
        .args(separate)
        .args(["--", "--kernels", "--out"])
        .arg(native_of(&record))
        .env("RUSTFLAGS", FLAGS))?;
    Ok(record)
}

/// What the other flavour is built with.
const FLAGS: &str = "-C target-cpu=native";

/// The date and the CPU, so that names sort by time.
fn record_name() -> Result<String> {
    let date = output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| {
        let line = cpu.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split(": ").nth(1))
            .unwrap_or("cpu")
    };
    let model: Vec<String> = value("model name")
        .split_whitespace()
        .take(3)
        .map(|word| word.chars().filter(char::is_ascii_alphanumeric).collect())
        .collect();
    let name = format!(
        "{}-{}-f{}",
        date.trim(),
        model.join("-"),
        value("cpu family")
    );
    debug_assert!(!name.ends_with(NATIVE));
    Ok(name.to_lowercase())
}
