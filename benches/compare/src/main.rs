//! Compares luksmith's kernels with other implementations, paired, in one process.
//!
//! `luksmith-compare [--out FILE] [FILTER]`: runs the cases whose name contains FILTER, prints the
//! medians, and writes a record. `cargo xtask bench-report` makes docs/benchmarks.md of a record.

mod gcm;
mod harness;
mod hash;
mod kdf;
mod mac_peers;
mod machine;
mod peers;
mod record;
mod sealed;
mod volume;
mod xts;

use std::path::PathBuf;
use std::process::Command;

use harness::{Case, Samples};

/// Tells a child process to run only the cases that need OpenSSL's instructions masked.
const MASKED: &str = "--openssl-without-vaes";
/// Where OpenSSL reads which features it shall not see.
const MASK_VARIABLE: &str = "OPENSSL_ia32cap";
/// Takes VAES, VPCLMULQDQ and AVX-512 F, DQ, BW and VL away from it.
const MASK: &str = ":~0x600C0030000";

fn main() {
    let mut filter = String::new();
    let mut out: Option<PathBuf> = None;
    let mut arguments = std::env::args().skip(1);
    let mut masked = false;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--out" => out = arguments.next().map(PathBuf::from),
            MASKED => masked = true,
            _ => filter = argument,
        }
    }
    harness::pin(1);
    if masked {
        let samples = run(xts::masked_cases(), &filter, false);
        print!("{}", record::rows(&samples));
        return;
    }
    let mut samples = run(machine::cases(), "", true);
    samples.extend(run(machine::copies(), "", true));
    for cases in [
        xts::cases,
        gcm::cases,
        hash::cases,
        sealed::cases,
        kdf::cases,
        xts::sizes,
    ] {
        samples.extend(run(cases(), &filter, true));
    }
    if "kdf/argon2id".contains(&filter) {
        samples.extend(kdf::argon2(5));
    }
    samples.extend(volume::run(&filter));
    samples.extend(run_masked(&filter));
    let limits = xts::limits(&samples);
    samples.extend(limits);
    if let Some(path) = out {
        record::write(&path, &samples).expect("the record can be written");
    }
}

fn run(cases: Vec<Case<'_>>, filter: &str, print: bool) -> Vec<Samples> {
    let mut samples = Vec::new();
    for mut case in cases {
        if !case.name.contains(filter) {
            continue;
        }
        let results = harness::run(&mut case);
        if print {
            harness::print(&results);
        }
        samples.extend(results);
    }
    samples
}

/// Runs the cases against an OpenSSL that does not see VAES and AVX-512: it reads its mask when it
/// is loaded, so this takes a process of its own.
fn run_masked(filter: &str) -> Vec<Samples> {
    if !cfg!(target_arch = "x86_64") {
        return Vec::new();
    }
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program)
        .args([MASKED, filter])
        .env(MASK_VARIABLE, MASK)
        .output()
        .expect("this program starts again");
    assert!(output.status.success(), "the masked run failed");
    let samples = record::parse_rows(&String::from_utf8(output.stdout).expect("rows are text"));
    for case in samples.chunk_by(|a, b| a.case == b.case) {
        harness::print(case);
    }
    samples
}
