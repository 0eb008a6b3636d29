//! Prepares the oracle: a kernel and a userland from Debian packages, unpacked and not installed.
//!
//! Everything lands in `target/oracle/SUITE`; the machine's own package state is only read. Needs
//! apt-get, dpkg-deb and xz, no root.

mod cpio;
mod modules;
mod packages;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use luksmith_testkit::Cryptsetup;

use crate::{
    Failure, Result,
    command::{output, root},
};
use packages::Apt;

/// What the scripts that the oracle runs may call.
const USERLAND: [&str; 6] = [
    "cryptsetup-bin",
    "dmsetup",
    "e2fsprogs",
    "busybox-static",
    "jq",
    // Its dd reads single blocks past the page cache, which busybox's does not.
    "coreutils",
];

/// The suite with the newest cryptsetup and Linux, with which the records are made.
pub(crate) const NEWEST: &str = Cryptsetup::NEWEST_SUITE;

/// First process of the booted system.
const INIT: &str = include_str!("oracle/init.sh");

/// Prepares the oracle of a Debian suite, unless that was done.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut suite = packages::machine_suite()?;
    let mut force = false;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match (word.as_str(), words.as_slice().first()) {
            ("--suite", Some(name)) => {
                suite.clone_from(name);
                words.next();
            }
            ("--force", _) => force = true,
            _ => {
                return Err(Failure::new(format!(
                    "oracle does not know {word}; it takes --suite NAME and --force"
                )));
            }
        }
    }
    let folder = root().join("target/oracle").join(&suite);
    let ready = folder.join("ready");
    if force {
        let _ = fs::remove_dir_all(&folder);
    }
    if !is_complete(&ready) {
        prepare(&folder, &suite)?;
    }
    print!("oracle in {}:\n{}", folder.display(), read(&ready)?);
    Ok(())
}

/// Tells whether an oracle was prepared with all that is asked for today.
fn is_complete(ready: &Path) -> bool {
    let record = fs::read_to_string(ready).unwrap_or_default();
    let has = |name: &&str| {
        record
            .lines()
            .any(|line| line.split(' ').next() == Some(name))
    };
    USERLAND.iter().all(has)
}

fn prepare(folder: &Path, suite: &str) -> Result<()> {
    create(folder)?;
    let apt = Apt::new(&folder.join("apt"), suite)?;
    let userland = apt.download_with_dependencies(&USERLAND, &folder.join("packages"))?;
    let kernel = apt.download_kernel(&folder.join("kernel-packages"))?;

    let tree = folder.join("root");
    merged_root(&tree)?;
    for package in &userland {
        unpack(package, &tree)?;
    }
    let kernel_tree = folder.join("kernel");
    create(&kernel_tree)?;
    for package in &kernel {
        unpack(package, &kernel_tree)?;
    }
    let image = find_kernel(&kernel_tree)?;
    let target = folder.join("vmlinuz");
    fs::copy(&image, &target).map_err(|error| Failure::at(&image, &error))?;

    let mut archive = cpio::Archive::new();
    archive.tree(&tree, is_needed)?;
    for name in ["proc", "sys", "dev", "tmp", "run", "etc", "disk"] {
        archive.folder(name);
    }
    archive.console();
    archive.file("init", 0o755, INIT.as_bytes());
    modules::add(&mut archive, &kernel_tree)?;
    let initrd = folder.join("initrd.cpio");
    fs::write(&initrd, archive.finish()).map_err(|error| Failure::at(&initrd, &error))?;

    // Written last: without it the folder counts as not prepared.
    let ready = folder.join("ready");
    let record = packages::record(suite, &userland, &kernel)?;
    fs::write(&ready, record).map_err(|error| Failure::at(&ready, &error))
}

/// Makes a root folder in which `/lib` is `/usr/lib`, whichever of them a package has.
fn merged_root(tree: &Path) -> Result<()> {
    for name in ["bin", "sbin", "lib", "lib64"] {
        create(&tree.join("usr").join(name))?;
        let link = tree.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(format!("usr/{name}"), &link)
                .map_err(|error| Failure::at(&link, &error))?;
        }
    }
    Ok(())
}

/// Leaves out what no script needs and what would only slow the boot down.
fn is_needed(path: &str) -> bool {
    let skipped = [
        "usr/share",
        "usr/lib/x86_64-linux-gnu/gconv",
        "etc",
        "var",
        "usr/lib/systemd",
    ];
    !skipped.iter().any(|prefix| path.starts_with(prefix))
}

/// Unpacks a package over `tree`; a folder of the package never replaces a link of the tree.
fn unpack(package: &Path, tree: &Path) -> Result<()> {
    let archive = package.with_extension("tar");
    let file = fs::File::create(&archive).map_err(|error| Failure::at(&archive, &error))?;
    let status = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(file)
        .status()
        .map_err(|error| Failure::new(format!("dpkg-deb: {error}")))?;
    if !status.success() {
        return Err(Failure::new(format!(
            "dpkg-deb: {status}: {}",
            package.display()
        )));
    }
    output(
        Command::new("tar")
            .args(["--keep-directory-symlink", "--no-same-owner", "-xf"])
            .arg(&archive)
            .arg("-C")
            .arg(tree),
    )?;
    fs::remove_file(&archive).map_err(|error| Failure::at(&archive, &error))
}

/// Finds the kernel image, which newer packages keep beside its modules.
fn find_kernel(tree: &Path) -> Result<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![
        tree.join("boot"),
        tree.join("usr/lib/modules"),
        tree.join("lib/modules"),
    ];
    for depth in 0..2 {
        for folder in std::mem::take(&mut folders) {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let name = entry.file_name();
                if path.is_file() && name.to_string_lossy().starts_with("vmlinuz") {
                    found.push(path);
                } else if depth == 0 && path.is_dir() {
                    folders.push(path);
                }
            }
        }
    }
    found
        .pop()
        .ok_or_else(|| Failure::new(format!("no vmlinuz under {}", tree.display())))
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| Failure::at(folder, &error))
}

fn read(path: &Path) -> Result<String> {
    crate::command::read_text(path)
}
