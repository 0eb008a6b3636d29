//! Notes what the benchmarks were built with, for the head of their records.

use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").expect("cargo sets RUSTC");
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .expect("the compiler runs");
    let version = String::from_utf8(version.stdout).expect("a version is text");
    println!("cargo::rustc-env=COMPARE_RUSTC={}", version.trim());
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    println!(
        "cargo::rustc-env=COMPARE_RUSTFLAGS={}",
        flags.replace('\u{1f}', " ")
    );
    println!("cargo::rustc-env=COMPARE_PEERS={}", peers());
    println!("cargo::rerun-if-changed=Cargo.lock");
}

/// Names and versions of the crates that stand on the other side, from the lock file.
fn peers() -> String {
    let lock = std::fs::read_to_string("Cargo.lock").expect("the lock file is committed");
    let mut versions = Vec::new();
    for package in lock.split("[[package]]") {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim_matches('"').to_owned())
        };
        let (Some(name), Some(version)) = (value("name = "), value("version = ")) else {
            continue;
        };
        if [
            "xts-mode",
            "aes",
            "aes-gcm",
            "sha2",
            "argon2",
            "crc-fast",
            "ring",
            "aws-lc-sys",
            "argon2-sys",
            "luks2",
        ]
        .contains(&name.as_str())
        {
            versions.push(format!("{name} {version}"));
        }
    }
    versions.join(", ")
}
