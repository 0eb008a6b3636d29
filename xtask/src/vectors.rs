//! Makes `testvectors/images` anew: the real cryptsetup and the real kernel, in the oracle.
//!
//! Each image gets a row in `manifest.json`: what made it, with which commands, what it holds. The
//! salts and keys are new each time, so every file differs from the one it replaces.

mod cases;
mod script;

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use luksmith_testkit::{Oracle, paint, sha256_hex};
use serde_json::{Value, json};

use crate::{
    Failure, Result,
    command::{output, root},
    oracle,
};
use cases::{CASES, Case, Kind};

/// Disks of one boot besides the one with the pattern.
const DISKS: usize = 20;
const BLOCK_BYTES: usize = 4096;
const PATTERN_BLOCKS: usize = 512;
/// What the folder may weigh, in bytes.
const BUDGET: u64 = 25 << 20;

/// Makes every image, or those whose name contains one of the words given.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut suite = oracle::NEWEST.to_owned();
    let mut wanted: Vec<&String> = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match (word.as_str(), words.as_slice().first()) {
            ("--suite", Some(name)) => {
                suite.clone_from(name);
                words.next();
            }
            _ => wanted.push(word),
        }
    }
    oracle::run(&["--suite".to_owned(), suite.clone()])?;
    let oracle = Oracle::at(&root().join("target/oracle").join(&suite))
        .ok_or_else(|| Failure::new("the oracle is not ready"))?
        .with_memory_mib(2048);
    let folder = root().join("testvectors/images");
    fs::create_dir_all(&folder).map_err(|error| Failure::at(&folder, &error))?;
    let scratch = root().join("target/vectors");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch).map_err(|error| Failure::at(&scratch, &error))?;

    let mut rows = kept_rows(&folder, &wanted)?;
    let mut failed = Vec::new();
    let chosen = CASES.iter().filter(|case| {
        wanted.is_empty() || wanted.iter().any(|word| case.name.contains(word.as_str()))
    });
    // A batch with images left dirty ends with a power cut, so those go last, together.
    let (dirty, clean): (Vec<&Case>, Vec<&Case>) = chosen.partition(|case| case.dirty);
    for batch in [clean, dirty].iter().flat_map(|cases| batches(cases)) {
        for made in make(&oracle, batch, &scratch)? {
            match made {
                Ok(row) => rows.push(row),
                Err(failure) => failed.push(failure.to_string()),
            }
        }
    }
    // One that failed leaves no row and no file; the others stand.
    for entry in fs::read_dir(&scratch).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "zst") {
            let target = folder.join(entry.file_name());
            fs::copy(&path, &target).map_err(|error| Failure::at(&target, &error))?;
        }
    }
    let order = |row: &Value| CASES.iter().position(|case| row["name"] == case.name);
    rows.sort_by_key(order);
    write_manifest(&folder, rows)?;
    weigh(&folder)?;
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(failed.join("\n")))
    }
}

/// Cuts the cases into batches of so many disks as a boot can have.
fn batches<'a, 'b>(cases: &'b [&'a Case]) -> Vec<&'b [&'a Case]> {
    let mut batches = Vec::new();
    let mut rest = cases;
    while !rest.is_empty() {
        let mut disks = 0;
        let fits = rest.iter().take_while(|case| {
            disks += case.files().len();
            disks <= DISKS
        });
        let (batch, after) = rest.split_at(fits.count().max(1));
        batches.push(batch);
        rest = after;
    }
    batches
}

/// Keeps the rows of images that are not made anew and still exist.
fn kept_rows(folder: &Path, wanted: &[&String]) -> Result<Vec<Value>> {
    let path = folder.join("manifest.json");
    if wanted.is_empty() || !path.is_file() {
        return Ok(Vec::new());
    }
    let text = crate::command::read_text(&path)?;
    let manifest: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    let mut rows = manifest
        .get("images")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    rows.retain(|row| {
        let name = row["name"].as_str().unwrap_or_default();
        let known = CASES.iter().any(|case| case.name == name);
        known && !wanted.iter().any(|word| name.contains(word.as_str()))
    });
    Ok(rows)
}

/// Boots once for a batch and gives the rows of its images.
fn make(oracle: &Oracle, batch: &[&Case], scratch: &Path) -> Result<Vec<Result<Value>>> {
    let pattern_disk = scratch.join("pattern");
    fs::write(&pattern_disk, paint(0, PATTERN_BLOCKS * BLOCK_BYTES))
        .map_err(|error| Failure::at(&pattern_disk, &error))?;
    let mut disks: Vec<PathBuf> = vec![pattern_disk];
    let mut numbers = Vec::new();
    for case in batch {
        numbers.push(disks.len());
        for (_, suffix, kib) in case.files() {
            let path = scratch.join(format!("{}{suffix}.img", case.name));
            fs::File::create(&path)
                .and_then(|file| file.set_len(kib * 1024))
                .map_err(|error| Failure::at(&path, &error))?;
            disks.push(path);
        }
    }
    let text = script::batch(batch, &numbers);
    let borrowed: Vec<&Path> = disks.iter().map(PathBuf::as_path).collect();
    let report = oracle.boot_to_any_end(&text, &borrowed)?;
    let log = scratch.join(format!(
        "{}.log",
        batch.first().map_or("none", |case| case.name)
    ));
    fs::write(&log, &report.text).map_err(|error| Failure::at(&log, &error))?;
    if !report.text.contains("@@end") {
        return Err(Failure::new(format!(
            "the script did not end, see {}",
            log.display()
        )));
    }
    let made_with = json!({
        "cryptsetup": oracle.version("cryptsetup-bin")?,
        "linux": report.kernel,
    });
    let mut rows = Vec::new();
    for section in report.text.split("@@case ").skip(1) {
        let (name, printed) = section.split_once('\n').unwrap_or_default();
        let case = batch
            .iter()
            .find(|case| case.name == name)
            .ok_or_else(|| Failure::new(format!("an unknown case {name} was printed")))?;
        rows.push(row(case, printed, &made_with, scratch));
    }
    Ok(rows)
}

/// Takes what the guest printed for one image apart, and packs its files.
fn row(case: &Case, printed: &str, made_with: &Value, scratch: &Path) -> Result<Value> {
    let printed = printed.split("@@end").next().unwrap_or_default();
    if printed.contains("@fail") {
        return Err(Failure::new(format!("{}: {printed}", case.name)));
    }
    let word = |mark: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(mark));
        line.map(str::trim).filter(|text| !text.is_empty())
    };
    let mut files = serde_json::Map::new();
    let mut hashes = serde_json::Map::new();
    for (role, suffix, _) in case.files() {
        let name = format!("{}{suffix}.img", case.name);
        let path = scratch.join(&name);
        if case.kind == Kind::Luks1 {
            zero_unused_areas(&path)?;
        }
        let bytes = fs::read(&path).map_err(|error| Failure::at(&path, &error))?;
        output(
            Command::new("zstd")
                .args(["-q", "-f", "-19"])
                .arg(&path)
                .arg("-o")
                .arg(scratch.join(format!("{name}.zst"))),
        )?;
        files.insert(role.to_owned(), json!(name));
        hashes.insert(role.to_owned(), json!(sha256_hex(&bytes)));
    }
    let size: Option<u64> = word("@size ").and_then(|text| text.parse().ok());
    Ok(json!({
        "name": case.name,
        "kind": case.kind.name(),
        "made_with": made_with,
        "commands": script::recorded(case),
        "options": case.format.join(" "),
        "open_options": case.open,
        "note": case.note,
        "clean": !case.dirty,
        "passphrase": case.passphrase(),
        "volume_key": word("@key "),
        "integrity_key": case.integrity_key().map(|byte| format!("{byte:02x}").repeat(32)),
        "writes": case.writes,
        "plaintext_sha256": word("@sha "),
        "size": size,
        "table": word("@table "),
        "files": files,
        "files_sha256": hashes,
    }))
}

/// Zeroes the areas of LUKS1 keyslots that hold no key: they are noise, which does not pack.
fn zero_unused_areas(image: &Path) -> Result<()> {
    let at = |error| Failure::at(image, &error);
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(image)
        .map_err(at)?;
    let number = |offset: u64| -> Result<u32> {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, offset).map_err(at)?;
        Ok(u32::from_be_bytes(bytes))
    };
    // Offsets of the LUKS1 header: key bytes 108; keyslots of 48 bytes from 208 with a state at 0,
    // the area's first sector at 40 and its stripes at 44.
    let key_bytes = u64::from(number(108)?);
    for slot in 0..8 {
        let base = 208 + 48 * slot;
        if number(base)? == 0x0000_dead {
            let first = u64::from(number(base + 40)?) * 512;
            let area = (u64::from(number(base + 44)?) * key_bytes).next_multiple_of(4096);
            let zeros = vec![0; usize::try_from(area).unwrap_or(0)];
            file.write_all_at(&zeros, first).map_err(at)?;
        }
    }
    Ok(())
}

fn write_manifest(folder: &Path, rows: Vec<Value>) -> Result<()> {
    let manifest = json!({
        "about": "Made by `cargo xtask vectors`. Files are packed with zstd; names and hashes are \
            those of the unpacked form. `commands` are what ran in the oracle; /disk/pattern is \
            what luksmith_testkit::paint gives, written at its own offset: `writes` \
            lists the first block of 4096 bytes and the number of blocks. `plaintext_sha256` and \
            `size` are of the whole plaintext device, as the kernel read it.",
        "images": rows,
    });
    let path = folder.join("manifest.json");
    let text = serde_json::to_string_pretty(&manifest)
        .map_err(|error| Failure::new(format!("manifest: {error}")))?;
    fs::write(&path, text + "\n").map_err(|error| Failure::at(&path, &error))?;
    // What no row names is left over from an older set.
    let listed = crate::command::read_text(&path)?;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(image) = name.strip_suffix(".zst")
            && !listed.contains(&format!("\"{image}\""))
        {
            let path = entry.path();
            fs::remove_file(&path).map_err(|error| Failure::at(&path, &error))?;
        }
    }
    Ok(())
}

fn weigh(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes: u64 = entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|data| data.len())
        .sum();
    println!("{}: {} KiB", folder.display(), bytes / 1024);
    if bytes > BUDGET {
        return Err(Failure::new(format!(
            "the images have {bytes} bytes, the limit is {BUDGET}"
        )));
    }
    Ok(())
}
