//! Compares luksmith's kernels with other implementations, paired, in one process.
//!
//! `luksmith-compare [--out FILE] [--kernels] [FILTER]`: runs the cases whose name contains FILTER,
//! prints the medians, and writes a record; with `--kernels` the kernels alone. `cargo xtask
//! bench-report` makes docs/benchmarks.md of a record.

mod aegis;
mod export;
mod gcm;
mod harness;
mod hash;
mod kdf;
mod layers;
mod mac_peers;
mod machine;
mod memory;
mod modes;
mod paired;
mod peers;
mod programs;
mod record;
mod scratch;
mod sealed;
mod system;
mod volume;
mod xts;

use std::path::PathBuf;
use std::process::Command;

use harness::{Case, Samples};

/// Where OpenSSL reads which features it shall not see.
const MASK_VARIABLE: &str = "OPENSSL_ia32cap";

/// What a child process runs with some of OpenSSL's instructions masked, which it reads when it is
/// loaded.
struct Masked {
    /// The argument that asks for it.
    argument: &'static str,
    mask: &'static str,
    cases: fn() -> Vec<Case<'static>>,
}

const MASKED: [Masked; 2] = [
    Masked {
        argument: "--openssl-without-vaes",
        // VAES, VPCLMULQDQ and AVX-512 F, DQ, BW and VL.
        mask: ":~0x600C0030000",
        cases: xts::masked_cases,
    },
    Masked {
        argument: "--openssl-without-sha",
        // The same, and SHA-NI.
        mask: ":~0x600E0030000",
        cases: hash::masked_cases,
    },
];

fn main() {
    let mut filter = String::new();
    let mut out: Option<PathBuf> = None;
    let mut arguments = std::env::args().skip(1);
    let mut masked = None;
    let mut kernels_only = false;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--out" => out = arguments.next().map(PathBuf::from),
            "--kernels" => kernels_only = true,
            _ => match MASKED.iter().find(|one| one.argument == argument) {
                Some(one) => masked = Some(one),
                None => filter = argument,
            },
        }
    }
    harness::pin(1);
    if let Some(masked) = masked {
        let mut samples = Vec::new();
        run((masked.cases)(), &filter, false, &mut samples);
        print!("{}", record::rows(&samples));
        return;
    }
    let mut samples = Vec::new();
    run(machine::cases(), "", true, &mut samples);
    run(machine::copies(), "", true, &mut samples);
    for cases in [
        xts::cases,
        gcm::cases,
        hash::cases,
        sealed::cases,
        kdf::cases,
    ] {
        run(cases(), &filter, true, &mut samples);
    }
    if !kernels_only {
        for cases in [
            xts::sizes,
            gcm::sizes,
            hash::sizes,
            sealed::sizes,
            aegis::sizes,
        ] {
            run(cases(), &filter, true, &mut samples);
        }
        samples.extend(kdf::argon2(&filter));
        samples.extend(volume::run(&filter));
        samples.extend(modes::run(&filter));
        samples.extend(layers::run(&filter));
        samples.extend(programs::run(&filter));
        samples.extend(export::run_both(&filter));
        for masked in &MASKED {
            samples.extend(run_masked(masked, &filter));
        }
    }
    for limits in [xts::limits, hash::limits, sealed::limits] {
        let limits = limits(&samples);
        samples.extend(limits);
    }
    if let Some(path) = out {
        record::write(&path, &samples).expect("the record can be written");
    }
}

/// Runs the cases whose name contains `filter` and adds their samples; a case that `samples` has
/// under the same name, perhaps with more contenders, is not run again.
fn run(cases: Vec<Case<'_>>, filter: &str, print: bool, samples: &mut Vec<Samples>) {
    for mut case in cases {
        let known = samples.iter().any(|one| one.case == case.name);
        if known || !case.name.contains(filter) {
            continue;
        }
        let results = harness::run(&mut case);
        if print {
            harness::print(&results);
        }
        samples.extend(results);
    }
}

/// Runs cases against an OpenSSL that does not see all of the CPU, in a process of its own.
fn run_masked(masked: &Masked, filter: &str) -> Vec<Samples> {
    if !cfg!(target_arch = "x86_64") {
        return Vec::new();
    }
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program)
        .args([masked.argument, filter])
        .env(MASK_VARIABLE, masked.mask)
        .output()
        .expect("this program starts again");
    assert!(output.status.success(), "the masked run failed");
    let samples = record::parse_rows(&String::from_utf8(output.stdout).expect("rows are text"));
    for case in samples.chunk_by(|a, b| a.case == b.case) {
        harness::print(case);
    }
    samples
}
