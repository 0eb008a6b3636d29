//! The steps of the gate, cheapest first.

use std::process::Command;

use luksmith_testkit::Cryptsetup;

use super::{Step, Uncovered};
use crate::{
    Failure, Result, asm,
    command::{cargo, has_program, output, root, run},
    fuzz, oracle, tidy,
};

/// Crates that build without `std`.
const CORE: [&str; 6] = [
    "luksmith-block",
    "luksmith-hash",
    "luksmith-simd",
    "luksmith-header",
    "luksmith-crypt",
    "luksmith-keyslot",
];

/// Crates whose tests also run under other instruction sets. `luksmith-keyslot` derives keys, which
/// takes minutes under emulation; its arithmetic is that of the crates here.
const EMULATED: [&str; 5] = [
    "luksmith-block",
    "luksmith-hash",
    "luksmith-simd",
    "luksmith-header",
    "luksmith-crypt",
];

macro_rules! steps {
    ($($name:ident, $about:literal;)+) => {
        &[$(Step { name: stringify!($name), about: $about, run: $name }),+]
    };
}

/// Every step, in the order in which they run.
pub(super) const ALL: &[Step] = steps![
    fmt, "formatting";
    tidy_rules, "the house rules";
    clippy, "lints, no warnings";
    docs, "rustdoc, no warnings";
    interop, "the Linux and the cryptsetup that the interop tests run";
    tests, "the README's test command";
    release, "the hot loops and the integrity engine, optimised";
    minimal, "core crates without std, for bare metal";
    inner_loops, "no calls and no more spills than recorded in the hot loops";
    software_aes, "the crates that use AES, with its software backend";
    schedules, "threads under random schedules";
    cross, "Windows and macOS, type-checked";
    musl, "a static binary for Linux, built and run";
    emulated, "core crates on 64-bit Arm and on a big-endian machine, under QEMU";
    corpus, "every fuzz input ever kept";
    fuzzing, "one minute of fuzzing";
    benches, "each bench once";
];

fn fmt(_: &mut Uncovered) -> Result<()> {
    run(&mut cargo(["fmt", "--all", "--check"]))
}

fn tidy_rules(_: &mut Uncovered) -> Result<()> {
    tidy::run(&[])
}

fn clippy(_: &mut Uncovered) -> Result<()> {
    run(&mut cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--keep-going",
        "--",
        "-D",
        "warnings",
    ]))
}

fn docs(_: &mut Uncovered) -> Result<()> {
    run(cargo(["doc", "--workspace", "--no-deps", "--keep-going"])
        .env("RUSTDOCFLAGS", "-D warnings"))
}

fn tests(uncovered: &mut Uncovered) -> Result<()> {
    let mut command = cargo(["test", "--workspace", "--no-fail-fast"]);
    run_tests(&mut command, "tests", uncovered)
}

/// Runs tests of `step` and notes those that say that they did not run.
fn run_tests(command: &mut Command, step: &str, uncovered: &mut Uncovered) -> Result<()> {
    let list = root().join(format!("target/not-run-{step}"));
    // What an earlier run left there.
    let _ = std::fs::remove_file(&list);
    let outcome = run(command.env("LUKSMITH_NOT_RUN", &list));
    for line in std::fs::read_to_string(&list).unwrap_or_default().lines() {
        uncovered.note(&format!("{step}: {line}"));
    }
    outcome
}

fn release(uncovered: &mut Uncovered) -> Result<()> {
    let mut command = cargo(["test", "--release"]);
    packages(&mut command, &["luksmith-simd", "luksmith-integrity"]);
    run_tests(&mut command, "release", uncovered)
}

/// Adds `-p CRATE` for each crate.
fn packages(command: &mut Command, names: &[&str]) {
    for name in names {
        command.args(["-p", name]);
    }
}

fn minimal(uncovered: &mut Uncovered) -> Result<()> {
    // These crates pick vector instructions at run time, which this target does not let them use.
    let soft = "--cfg sha1_backend=\"soft\" --cfg sha2_backend=\"soft\" \
                --cfg poly1305_backend=\"soft\"";
    let bare = [
        ("x86_64-unknown-none", soft),
        ("aarch64-unknown-none", ""),
        ("armv7a-none-eabi", ""),
    ];
    for (target, flags) in bare {
        if !has_target(target)? {
            uncovered.missing_program(&format!("no std for {target}"))?;
            continue;
        }
        let mut command = cargo(["build", "--no-default-features", "--target", target]);
        packages(&mut command, &CORE);
        run(command.env("RUSTFLAGS", flags))?;
        // Every cipher and hash is there without std too.
        let all = "luksmith-crypt/all-ciphers,luksmith-hash/all-hashes,luksmith-simd/gcm";
        command.args(["--features", all]);
        run(command.env("RUSTFLAGS", flags))?;
    }
    let mut command = cargo(["test", "--no-default-features", "--lib"]);
    packages(&mut command, &CORE);
    run(&mut command)
}

fn inner_loops(uncovered: &mut Uncovered) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        uncovered.note("inner loops in assembly: the kernels looked at are those of x86-64");
        return Ok(());
    }
    asm::check(&[])
}

fn software_aes(uncovered: &mut Uncovered) -> Result<()> {
    let mut command = cargo(["test", "--target-dir", "target/software-aes"]);
    packages(&mut command, &["luksmith-simd", "luksmith-crypt"]);
    command.env("RUSTFLAGS", "--cfg aes_backend=\"soft\"");
    run_tests(&mut command, "software_aes", uncovered)
}

/// The crates with locks of their own, with shuttle in the place of `std::sync`.
fn schedules(_: &mut Uncovered) -> Result<()> {
    let mut command = cargo([
        "test",
        "--test",
        "schedules",
        "--target-dir",
        "target/schedules",
    ]);
    packages(
        &mut command,
        &["luksmith-sys", "luksmith-block", "luksmith-integrity"],
    );
    run(command.env("RUSTFLAGS", "--cfg shuttle"))
}

fn cross(uncovered: &mut Uncovered) -> Result<()> {
    for target in ["x86_64-pc-windows-gnu", "aarch64-apple-darwin"] {
        if has_target(target)? {
            run(&mut cargo([
                "check",
                "-p",
                "luksmith-cli",
                "--target",
                target,
            ]))?;
        } else {
            uncovered.missing_program(&format!("no std for {target}"))?;
        }
    }
    Ok(())
}

fn musl(uncovered: &mut Uncovered) -> Result<()> {
    let target = "x86_64-unknown-linux-musl";
    if !has_target(target)? {
        return uncovered.missing_program(&format!("no std for {target}"));
    }
    run(&mut cargo([
        "build",
        "-p",
        "luksmith-cli",
        "--target",
        target,
    ]))?;
    let binary = root().join(format!("target/{target}/debug/luksmith"));
    let bytes = std::fs::read(&binary).map_err(|error| Failure::at(&binary, &error))?;
    // A dynamically linked program names its loader; a static one has no such name in it.
    if bytes.windows(7).any(|window| window == b"/ld-mus") {
        return Err(Failure::new(format!("{} is not static", binary.display())));
    }
    run(Command::new(&binary).arg("--version"))?;
    run(Command::new(&binary).arg("quickstart"))
}

fn emulated(uncovered: &mut Uncovered) -> Result<()> {
    let machines = [
        (
            "aarch64-unknown-linux-gnu",
            "aarch64-linux-gnu",
            "qemu-aarch64",
        ),
        ("s390x-unknown-linux-gnu", "s390x-linux-gnu", "qemu-s390x"),
    ];
    for (target, triple, emulator) in machines {
        let linker = format!("{triple}-gcc");
        if !has_target(target)? || !has_program(&linker) || !has_program(emulator) {
            uncovered.missing_program(&format!("{target} needs its std, {linker}, {emulator}"))?;
            continue;
        }
        let upper = target.to_uppercase().replace('-', "_");
        let mut command = cargo([
            "test",
            "--no-fail-fast",
            "--lib",
            "--tests",
            "--target",
            target,
        ]);
        packages(&mut command, &EMULATED);
        command
            .env(format!("CARGO_TARGET_{upper}_LINKER"), linker)
            .env(
                format!("CARGO_TARGET_{upper}_RUNNER"),
                format!("{emulator} -L /usr/{triple}"),
            )
            // Enough to see a wrong byte order; the full number runs natively.
            .env("PROPTEST_CASES", "16");
        if target.starts_with("aarch64") {
            // Half a minute of 2000 headers, which the machine of the other byte order reads.
            command.args([
                "--",
                "--skip",
                "no_header_is_accepted_that_cryptsetup_refuses",
            ]);
        }
        run_tests(&mut command, emulator, uncovered)?;
    }
    uncovered.note("speed and instructions of a real Arm CPU: its tests run under emulation");
    Ok(())
}

fn corpus(_: &mut Uncovered) -> Result<()> {
    run(&mut cargo([
        "test",
        "-p",
        "luksmith-testkit",
        "--test",
        "corpus",
    ]))
}

fn fuzzing(_: &mut Uncovered) -> Result<()> {
    fuzz::run(&["--seconds".to_owned(), "60".to_owned()])
}

fn benches(_: &mut Uncovered) -> Result<()> {
    // In the test profile, so that nothing is compiled twice: a bench checks its result once.
    run(&mut cargo(["test", "--workspace", "--benches"]))
}

fn interop(uncovered: &mut Uncovered) -> Result<()> {
    for program in ["qemu-system-x86_64", "qemu-img", "apt-get", "dpkg-deb"] {
        if !has_program(program) {
            return uncovered.missing_program(&format!("no {program}, so no interop tests"));
        }
    }
    oracle::run(&[])?;
    // Where the one that tests find is older than their records, they take the newest.
    if Cryptsetup::at_hand().is_some_and(|program| program.is_recorded()) {
        return Ok(());
    }
    oracle::run(&["--suite".to_owned(), oracle::NEWEST.to_owned()])
}

/// Tells whether rustc has the standard library of `target`.
fn has_target(target: &str) -> Result<bool> {
    let folder = output(
        Command::new("rustc")
            .args(["--print", "target-libdir", "--target", target])
            .current_dir(root()),
    )?;
    Ok(std::path::Path::new(folder.trim()).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_test_that_says_that_it_did_not_run_is_noted_with_its_step() {
        for (script, passes) in [("", true), ("; false", false)] {
            let mut uncovered = Uncovered::default();
            let mut command = Command::new("sh");
            command.args([
                "-c",
                &format!("echo no zmm >> \"$LUKSMITH_NOT_RUN\"{script}"),
            ]);
            let outcome = run_tests(&mut command, "a-unit-test", &mut uncovered);
            assert_eq!(outcome.is_ok(), passes);
            assert_eq!(uncovered.0, ["a-unit-test: no zmm"]);
        }
    }
}
