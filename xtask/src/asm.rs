//! `asm`: looks at the inner loops that the compiler made of the hot kernels.
//!
//! A call, a bounds check or a vector that is kept on the stack in such a loop costs more than any
//! care in the source gains, and shows nowhere else. A bounds check is a jump to the call of a
//! panic, so those calls are counted too, wherever in the function they stand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::command::{cargo, root, run};
use crate::{Failure, Result};

/// What makes the released code the one that is looked at.
const ONE_UNIT: &str = "[profile.release.package.luksmith-simd]\ncodegen-units = 1\n";
/// What was found when the kernels were last looked at by a person.
const RECORD: &str = "xtask/asm-kernels.csv";
/// Kernels whose loops are looked at, by a part of their mangled names.
const KERNELS: [&str; 23] = [
    "aegis3run",
    "aesni3run",
    "vaes2563run",
    "vaes5123run",
    "aesni_gcm7sectors",
    "vaes256_gcm7sectors",
    "vaes512_gcm7sectors",
    "sha256_shani12compress_one",
    "sha256_shani12compress_two",
    "sha256_avx217compress_featured",
    "sha256_avx512vl17compress_featured",
    "sha256_avx51217compress_featured",
    "beside11hash_beside",
    "sha256_avx5127sectors4hash",
    "sha512_avx217compress_featured",
    "sha512_avx51217compress_featured",
    "pbkdf2_shani11iterate_one",
    "pbkdf2_shani11iterate_two",
    "pbkdf2_sha5127iterate",
    "crc32c13update_chains",
    "crc32c10update_512",
    "argon213compress_avx2",
    "argon215compress_avx512",
];
/// What the inner loops are made of: AES rounds, SHA-256 rounds, the ternary logic or the plain one
/// of hashing in lanes, the rotations of SHA-512 beside its vectors, and the products of Argon2.
const WORK: [&str; 8] = [
    "aesenc",
    "aesdec",
    "sha256rnds2",
    "vpternlog",
    "vpxor ",
    "vpandn",
    "rorx",
    "vpmuludq",
];
/// Less work than this makes no inner loop: it is the tweaks of a group, or the head of a function.
const LOOP: usize = 32;

/// What the inner loops of this kernel are made of, and the least work of one.
fn work(kernel: &str) -> (&'static [&'static str], usize) {
    match kernel {
        // Five rounds for a block, and every block is a loop.
        "aegis3run" => (&WORK, 5),
        // A word of each of four chains; two products for each of four vectors.
        "crc32c13update_chains" => (&["crc32q"], 4),
        "crc32c10update_512" => (&["vpclmul"], 8),
        _ => (&WORK, LOOP),
    }
}

/// The inner loops of one kernel, all its copies together.
#[derive(Default, Debug, PartialEq, Eq, Clone, Copy)]
struct Found {
    blocks: usize,
    calls: usize,
    /// Calls of a panic, in the whole function.
    panics: usize,
    /// Vectors stored to the stack, the most in one block.
    spills: usize,
}

/// Compiles luksmith-simd and compares its inner loops with the record; `--write` renews it.
///
/// For assembly rustc makes one unit of the crate whatever its number is by default. In several,
/// other functions are inlined: the profile that programs are released with has to say one too.
pub(crate) fn check(arguments: &[String]) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        println!("asm: not covered on this machine: the kernels looked at are those of x86-64");
        return Ok(());
    }
    let manifest = root().join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(|error| Failure::at(&manifest, &error))?;
    if !text.contains(ONE_UNIT) {
        return Err(Failure::new(format!("Cargo.toml lacks\n{ONE_UNIT}")));
    }
    let folder = root().join("target/asm");
    run(cargo([
        "rustc",
        "-q",
        "-p",
        "luksmith-simd",
        "--release",
        "--features",
        "gcm",
        "--lib",
    ])
    .arg("--target-dir")
    .arg(&folder)
    .args(["--", "--emit=asm", "-Cdebuginfo=0"]))?;
    let path = assembly(&folder.join("release/deps"))?;
    let text = fs::read_to_string(&path).map_err(|error| Failure::at(&path, &error))?;
    let found = inspect(&text);
    let record = root().join(RECORD);
    if arguments.iter().any(|argument| argument == "--write") {
        return fs::write(&record, render(&found)).map_err(|error| Failure::at(&record, &error));
    }
    let recorded = fs::read_to_string(&record).map_err(|error| Failure::at(&record, &error))?;
    compare(&found, &recorded)
}

/// The newest file of assembly of the crate.
fn assembly(folder: &std::path::Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).map_err(|error| Failure::at(folder, &error))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("luksmith_simd") && name.ends_with(".s")
        })
        .max_by_key(|path| fs::metadata(path).and_then(|data| data.modified()).ok())
        .ok_or_else(|| Failure::new(format!("{}: no assembly was written", folder.display())))
}

/// Splits functions into blocks at labels and jumps, and sums up those that do the work.
fn inspect(text: &str) -> BTreeMap<&'static str, Found> {
    let mut found: BTreeMap<&'static str, Found> =
        KERNELS.map(|kernel| (kernel, Found::default())).into();
    let mut kernel = None;
    let (mut rounds, mut calls, mut spills) = (0, 0, 0);
    for line in text.lines() {
        let code = line.trim();
        let is_label = !line.starts_with(['\t', ' ']) && line.ends_with(':');
        let is_jump = code.starts_with('j') || code.starts_with("ret");
        if is_label || is_jump {
            if let Some(kernel) = kernel
                && rounds >= work(kernel).1
                && let Some(found) = found.get_mut(kernel)
            {
                found.blocks += 1;
                found.calls += calls;
                found.spills = found.spills.max(spills);
            }
            (rounds, calls, spills) = (0, 0, 0);
        }
        if is_label && !line.starts_with(".L") {
            kernel = KERNELS.into_iter().find(|kernel| line.contains(kernel));
        }
        let mnemonic = code.replacen('\t', " ", 1);
        let names = kernel.map_or(&[][..], |kernel| work(kernel).0);
        rounds += usize::from(names.iter().any(|name| mnemonic.contains(name)));
        calls += usize::from(code.starts_with("call"));
        if is_panic(code)
            && let Some(found) = kernel.and_then(|kernel| found.get_mut(kernel))
        {
            found.panics += 1;
        }
        let is_vector_move = code.starts_with("vmov") || code.starts_with("mov");
        let to_stack = code
            .split_once(", ")
            .is_some_and(|(_, to)| to.ends_with("(%rsp)"));
        spills += usize::from(is_vector_move && to_stack && code.contains("mm"));
    }
    found
}

/// Tells whether a line calls, or jumps to, what ends in a panic.
fn is_panic(code: &str) -> bool {
    (code.starts_with("call") || code.starts_with("jmp"))
        && ["panic", "slice5index", "unwrap_failed", "expect_failed"]
            .iter()
            .any(|name| code.contains(name))
}

fn render(found: &BTreeMap<&'static str, Found>) -> String {
    let mut text =
        String::from("kernel,inner loops,calls,calls of panics,vectors stored to the stack\n");
    for (
        kernel,
        Found {
            blocks,
            calls,
            panics,
            spills,
        },
    ) in found
    {
        let _ = writeln!(text, "{kernel},{blocks},{calls},{panics},{spills}");
    }
    text
}

fn compare(found: &BTreeMap<&'static str, Found>, recorded: &str) -> Result<()> {
    let mut complaints = String::new();
    for (kernel, now) in found {
        let line = recorded
            .lines()
            .find_map(|line| line.strip_prefix(kernel)?.strip_prefix(','));
        let numbers: Option<Vec<usize>> =
            line.map(|line| line.split(',').filter_map(|n| n.parse().ok()).collect());
        let mut complain = |text: String| {
            let _ = writeln!(complaints, "{kernel}: {text}");
        };
        if now.calls > 0 {
            complain(format!(
                "{} calls in inner loops, none are allowed",
                now.calls
            ));
        }
        let Some([blocks, _, panics, spills]) = numbers.as_deref() else {
            complain(format!("{RECORD} does not list it"));
            continue;
        };
        // A loop in pieces that are too short to count would hide its calls and spills.
        if now.blocks == 0 || now.blocks != *blocks {
            let now = now.blocks;
            complain(format!(
                "{now} inner loops, {RECORD} has {blocks}; look at them, then `cargo xtask asm --write`"
            ));
        }
        if now.panics > *panics {
            let now = now.panics;
            complain(format!(
                "{now} places where it panics, {RECORD} has {panics}"
            ));
        }
        if now.spills > *spills {
            let now = now.spills;
            complain(format!(
                "{now} vectors go to the stack in one inner loop, {RECORD} has {spills}"
            ));
        }
    }
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(complaints.trim_end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(extra: &str) -> String {
        let rounds = "\tvaesenc\t%zmm1, %zmm2, %zmm2\n".repeat(LOOP);
        format!("_ZN7vaes5123run17h0E:\n{rounds}{extra}\tjne\t.LBB0_1\n")
    }

    #[test]
    fn a_call_and_a_spill_in_a_loop_are_found() {
        let spill = "\tvmovdqu64\t%zmm0, 64(%rsp)\n\tcallq\tmemcpy\n\tmovq\t%rax, 8(%rsp)\n";
        let found = inspect(&block(spill));
        assert_eq!(
            found["vaes5123run"],
            Found {
                blocks: 1,
                calls: 1,
                panics: 0,
                spills: 1
            }
        );
        assert_eq!(found["aesni3run"], Found::default());
    }

    #[test]
    fn more_spills_than_recorded_are_refused_and_as_many_are_not() {
        let found = inspect(&block("\tvmovdqu64\t%zmm0, 64(%rsp)\n"));
        let only: BTreeMap<_, _> = [("vaes5123run", found["vaes5123run"])].into();
        assert!(compare(&only, "vaes5123run,1,0,0,1\n").is_ok());
        assert!(compare(&only, "vaes5123run,1,0,0,0\n").is_err());
        assert!(compare(&only, "").is_err());
    }

    #[test]
    fn a_bounds_check_outside_of_the_loop_is_found() {
        let check = "\tcallq\t_ZN4core9panicking18panic_bounds_check17hE\n";
        let found = inspect(&format!("{}.LBB0_1:\n{check}", block("")));
        let only: BTreeMap<_, _> = [("vaes5123run", found["vaes5123run"])].into();
        assert_eq!(found["vaes5123run"].panics, 1);
        assert!(compare(&only, "vaes5123run,1,0,1,0\n").is_ok());
        assert!(compare(&only, "vaes5123run,1,0,0,0\n").is_err());
    }

    #[test]
    fn a_call_in_a_loop_of_five_rounds_is_found_where_a_block_takes_five() {
        let rounds = "\taesenc\t%xmm1, %xmm2\n".repeat(5);
        let text = |name| format!("_ZN{name}17h0E:\n{rounds}\tcallq\tmemcpy\n\tjne\t.LBB0_1\n");
        let found = inspect(&text("5aegis3run"))["aegis3run"];
        assert_eq!((found.blocks, found.calls), (1, 1));
        let only: BTreeMap<_, _> = [("aegis3run", found)].into();
        assert!(compare(&only, "aegis3run,1,1,0,0\n").is_err());
        assert_eq!(inspect(&text("5aesni3run"))["aesni3run"], Found::default());
    }

    #[test]
    fn a_kernel_without_a_loop_is_a_complaint() {
        let found = inspect("");
        let only: BTreeMap<_, _> = [("aesni3run", found["aesni3run"])].into();
        assert!(compare(&only, "aesni3run,0,0,0,9\n").is_err());
    }

    #[test]
    fn a_loop_that_fell_into_pieces_too_short_to_count_is_a_complaint() {
        let whole = block("").repeat(2);
        let half = "\tvaesenc\t%zmm1, %zmm2, %zmm2\n".repeat(LOOP / 2);
        let pieces = format!(
            "{}{half}\tjae\t.LBB0_2\n\tcallq\tf\n{half}\tjne\t.L\n",
            block("")
        );
        for (text, agrees) in [(whole, true), (pieces, false)] {
            let only: BTreeMap<_, _> = [("vaes5123run", inspect(&text)["vaes5123run"])].into();
            assert_eq!(compare(&only, "vaes5123run,2,0,0,0\n").is_ok(), agrees);
        }
    }
}
