//! Records: one CSV file per run, with what it was taken on in its head.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::harness::Samples;

/// Columns of a record. `ns` and `cycles` hold one value per round, per byte, with spaces between.
const COLUMNS: &str = "row,case,contender,bytes,ns,cycles";

/// Writes a record.
pub fn write(path: &Path, samples: &[Samples]) -> std::io::Result<()> {
    let mut text = String::new();
    for (key, value) in facts() {
        let _ = writeln!(text, "# {key}: {value}");
    }
    let _ = writeln!(text, "{COLUMNS}");
    text.push_str(&rows(samples));
    std::fs::write(path, text)
}

/// The rows alone, which is how a child process hands them to its parent.
pub fn rows(samples: &[Samples]) -> String {
    let mut text = String::new();
    for one in samples {
        let list = |values: &[f64]| {
            values
                .iter()
                .map(|value| format!("{value:.5}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let _ = writeln!(
            text,
            "{},{},{},{},{},{}",
            one.row,
            one.case,
            one.contender,
            one.bytes,
            list(&one.ns),
            list(&one.cycles)
        );
    }
    text
}

/// Reads rows back.
pub fn parse_rows(text: &str) -> Vec<Samples> {
    let numbers = |text: &str| -> Vec<f64> {
        text.split_whitespace()
            .map(|value| value.parse().expect("a number"))
            .collect()
    };
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let [row, case, contender, bytes, ns, cycles] = fields[..] else {
                panic!("a row of six columns: {line}");
            };
            Samples {
                row: row.to_owned(),
                case: case.to_owned(),
                contender: contender.to_owned(),
                bytes: bytes.parse().expect("a number of bytes"),
                ns: numbers(ns),
                cycles: numbers(cycles),
            }
        })
        .collect()
}

/// What a reader must know about the machine and the build.
fn facts() -> Vec<(&'static str, String)> {
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        String::from_utf8(output.stdout)
            .ok()
            .map(|text| text.trim().to_owned())
    };
    let unknown = || "unknown".to_owned();
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = |key: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(key))?;
        line.split_once(": ").map(|(_, value)| value.to_owned())
    };
    let mut commit = output("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(unknown);
    if output("git", &["status", "--porcelain", "--untracked-files=no"])
        .is_none_or(|s| !s.is_empty())
    {
        commit.push_str(" with changes");
    }
    let family = format!(
        "family {}, model {}, stepping {}",
        cpu("cpu family").unwrap_or_else(unknown),
        cpu("model\t").unwrap_or_else(unknown),
        cpu("stepping").unwrap_or_else(unknown)
    );
    let clock: Vec<f64> = (0..21).map(|_| crate::harness::clock_ghz()).collect();
    let mut data = vec![
        ("cpu", cpu("model name").unwrap_or_else(unknown)),
        ("cpu family", family),
        ("features", features()),
        (
            "clock",
            format!("{:.2} GHz, measured", crate::harness::median(&clock)),
        ),
        ("system", output("uname", &["-sr"]).unwrap_or_else(unknown)),
        (
            "date",
            output("date", &["-u", "+%Y-%m-%d"]).unwrap_or_else(unknown),
        ),
        ("commit", commit),
        ("compiler", env!("COMPARE_RUSTC").to_owned()),
        ("rustflags", env!("COMPARE_RUSTFLAGS").to_owned()),
        ("openssl", crate::peers::openssl_version()),
        (
            "openssl/system",
            crate::system::SystemOpenSsl::load().map_or_else(unknown, |one| one.version()),
        ),
        ("peers", env!("COMPARE_PEERS").to_owned()),
        (
            "rounds",
            format!(
                "{} of about 1 ms, or 0.4 ms where requests of many sizes are compared, where \
                 nothing else is said at a case",
                crate::harness::ROUNDS
            ),
        ),
        (
            "data",
            "kernels: page-aligned, in place (GCM opens from a copy), warm, pinned to one core; \
             volumes walk through 256 MiB; what has two threads, and whole programs, is not pinned"
                .to_owned(),
        ),
    ];
    data.extend(crate::programs::cryptsetup_versions());
    data
}

fn features() -> String {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! ask {
            ($($name:tt)*) => {
                $(if std::is_x86_feature_detected!($name) { found.push($name); })*
            };
        }
        ask!("aes" "sha" "avx2" "vaes" "vpclmulqdq" "gfni" "avx512f" "avx512vl" "avx512vbmi2");
    }
    #[cfg(target_arch = "aarch64")]
    {
        macro_rules! ask {
            ($($name:tt)*) => {
                $(if std::arch::is_aarch64_feature_detected!($name) { found.push($name); })*
            };
        }
        ask!("aes" "sha2" "sha3" "sve2");
    }
    found.join(" ")
}
