//! Chooses kernel modules and writes the tables by which `modprobe` finds them.
//!
//! A module says in its `.modinfo` section which modules it needs and which other names it answers
//! to: strings such as `depends=xts,crypto_simd`, each ended by a zero byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::cpio::Archive;
use crate::{Failure, Result};

/// Folders whose modules all come along, with what they depend on.
const FOLDERS: [&str; 4] = ["crypto", "arch/x86/crypto", "drivers/virtio", "lib/crypto"];
/// Single modules that come along.
const MODULES: [&str; 9] = [
    "virtio_blk",
    "dm-mod",
    "dm-crypt",
    "dm-integrity",
    "dm-verity",
    "dm-flakey",
    "loop",
    "ext4",
    "crc32c_generic",
];

struct Module {
    /// Below the folder of the release, without `.xz`.
    path: String,
    file: PathBuf,
}

struct Info {
    /// Below the folder of the release, without `.xz`.
    path: String,
    bytes: Vec<u8>,
    depends: Vec<String>,
    aliases: Vec<String>,
}

/// Adds the modules of the kernel under `tree` and their tables to the archive.
pub(super) fn add(archive: &mut Archive, tree: &Path) -> Result<()> {
    let (release, folder) = release(tree)?;
    let mut known = BTreeMap::new();
    collect(&folder.join("kernel"), "kernel", &mut known)?;
    let mut wanted: Vec<String> = known
        .iter()
        .filter(|(name, module)| {
            let inside = |folder: &str| module.path.starts_with(&format!("kernel/{folder}/"));
            FOLDERS.iter().any(|folder| inside(folder))
                || MODULES.iter().any(|module| canonical(module) == **name)
        })
        .map(|(name, _)| name.clone())
        .collect();

    let mut chosen: BTreeMap<String, Info> = BTreeMap::new();
    while let Some(name) = wanted.pop() {
        if chosen.contains_key(&name) {
            continue;
        }
        // What is not there as a file is built in.
        let Some(module) = known.get(&name) else {
            continue;
        };
        let info = info(module)?;
        wanted.extend(info.depends.iter().cloned());
        chosen.insert(name, info);
    }

    let base = format!("usr/lib/modules/{release}");
    let mut folders: BTreeSet<String> = BTreeSet::new();
    folders.insert("usr/lib/modules".to_owned());
    for info in chosen.values() {
        let path = format!("{base}/{}", info.path);
        let parents = path.match_indices('/').map(|(at, _)| path[..at].to_owned());
        folders.extend(parents.filter(|parent| parent.starts_with(&base)));
    }
    for folder in &folders {
        archive.folder(folder);
    }
    for info in chosen.values() {
        archive.file(&format!("{base}/{}", info.path), 0o644, &info.bytes);
    }
    let tables = tables(&chosen);
    archive.file(&format!("{base}/modules.dep"), 0o644, tables.0.as_bytes());
    archive.file(&format!("{base}/modules.alias"), 0o644, tables.1.as_bytes());
    println!("{} modules of Linux {release}", chosen.len());
    Ok(())
}

/// Gives the contents of `modules.dep` and `modules.alias`.
fn tables(chosen: &BTreeMap<String, Info>) -> (String, String) {
    let mut dependencies = String::new();
    let mut aliases = String::new();
    for (name, info) in chosen {
        // modprobe loads a line's modules from its end to its start, so needed ones stand behind.
        let mut order: Vec<(&str, &str)> = Vec::new();
        let mut open: Vec<&String> = info.depends.iter().collect();
        while let Some(next) = open.pop() {
            order.retain(|(seen, _)| seen != next);
            if let Some(info) = chosen.get(next) {
                order.push((next, &info.path));
                open.extend(&info.depends);
            }
        }
        let paths: Vec<&str> = order.iter().map(|(_, path)| *path).collect();
        dependencies += &format!("{}: {}\n", info.path, paths.join(" "));
        for alias in &info.aliases {
            aliases += &format!("alias {alias} {name}\n");
        }
    }
    (dependencies, aliases)
}

fn release(tree: &Path) -> Result<(String, PathBuf)> {
    for base in ["usr/lib/modules", "lib/modules"] {
        for entry in fs::read_dir(tree.join(base))
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry.path().join("kernel").is_dir() {
                return Ok((
                    entry.file_name().to_string_lossy().into_owned(),
                    entry.path(),
                ));
            }
        }
    }
    Err(Failure::new(format!(
        "no kernel modules under {}",
        tree.display()
    )))
}

fn collect(folder: &Path, inside: &str, known: &mut BTreeMap<String, Module>) -> Result<()> {
    for entry in fs::read_dir(folder)
        .map_err(|error| Failure::at(folder, &error))?
        .flatten()
    {
        let file = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{inside}/{name}");
        if file.is_dir() {
            collect(&file, &path, known)?;
            continue;
        }
        let plain = name.strip_suffix(".xz").unwrap_or(&name);
        if let Some(stem) = plain.strip_suffix(".ko") {
            let path = path.strip_suffix(".xz").unwrap_or(&path).to_owned();
            known.insert(canonical(stem), Module { path, file });
        }
    }
    Ok(())
}

/// The kernel takes `-` and `_` in a module's name for the same.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn info(module: &Module) -> Result<Info> {
    let file = &module.file;
    let bytes = if file.extension().is_some_and(|extension| extension == "xz") {
        let output = Command::new("xz")
            .arg("-dc")
            .arg(file)
            .output()
            .map_err(|error| Failure::new(format!("xz: {error}")))?;
        if !output.status.success() {
            return Err(Failure::new(format!(
                "xz -dc {}: {}",
                file.display(),
                output.status
            )));
        }
        output.stdout
    } else {
        fs::read(file).map_err(|error| Failure::at(file, &error))?
    };
    let mut depends = Vec::new();
    let mut aliases = Vec::new();
    for text in bytes.split(|byte| *byte == 0) {
        if let Some(list) = text.strip_prefix(b"depends=") {
            let list = String::from_utf8_lossy(list);
            depends.extend(
                list.split(',')
                    .filter(|name| !name.is_empty())
                    .map(canonical),
            );
        } else if let Some(alias) = text.strip_prefix(b"alias=") {
            aliases.push(String::from_utf8_lossy(alias).into_owned());
        }
    }
    Ok(Info {
        path: module.path.clone(),
        bytes,
        depends,
        aliases,
    })
}
