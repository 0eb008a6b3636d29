//! Writes the archive that the kernel unpacks as its first file system ("newc" cpio).

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::{Failure, Result};

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive in memory.
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            entries: 0,
        }
    }

    pub(super) fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER, (0, 0), &[]);
    }

    pub(super) fn file(&mut self, name: &str, permissions: u32, data: &[u8]) {
        self.entry(name, FILE | permissions, (0, 0), data);
    }

    /// Adds the device that the kernel opens for the first process.
    pub(super) fn console(&mut self) {
        self.entry("dev/console", CHARACTER_DEVICE, (5, 1), &[]);
    }

    /// Adds what is in `tree` and wanted, in the order of names, a folder before what it holds.
    pub(super) fn tree(&mut self, tree: &Path, wanted: fn(&str) -> bool) -> Result<()> {
        self.subtree(tree, "", wanted)
    }

    fn subtree(&mut self, folder: &Path, prefix: &str, wanted: fn(&str) -> bool) -> Result<()> {
        let at = |error| Failure::at(folder, &error);
        let mut names: Vec<String> = fs::read_dir(folder)
            .map_err(at)?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        for name in names {
            let path = folder.join(&name);
            let inside = format!("{prefix}{name}");
            if !wanted(&inside) {
                continue;
            }
            let kind = fs::symlink_metadata(&path).map_err(at)?;
            if kind.is_symlink() {
                let target = fs::read_link(&path).map_err(at)?;
                self.entry(&inside, LINK, (0, 0), target.to_string_lossy().as_bytes());
            } else if kind.is_dir() {
                self.folder(&inside);
                self.subtree(&path, &format!("{inside}/"), wanted)?;
            } else {
                let data = fs::read(&path).map_err(at)?;
                self.file(&inside, kind.permissions().mode() & 0o777, &data);
            }
        }
        Ok(())
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), data: &[u8]) {
        self.entries += 1;
        let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
        let fields = [
            self.entries,
            mode,
            0, // user
            0, // group
            links,
            0, // time
            u32::try_from(data.len()).unwrap_or(u32::MAX),
            0,
            0, // the device it is on
            device.0,
            device.1,
            u32::try_from(name.len() + 1).unwrap_or(u32::MAX),
            0, // no checksum in this variant
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(data);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_data_of_an_entry_start_at_multiples_of_four() {
        let mut archive = Archive::new();
        archive.file("init", 0o755, b"hello");
        let bytes = archive.finish();
        assert_eq!(&bytes[..14], b"07070100000001");
        assert_eq!(&bytes[110..116], b"init\0\0");
        assert_eq!(&bytes[116..124], b"hello\0\0\0");
        assert_eq!(&bytes[124..130], b"070701");
        assert_eq!(bytes.len() % 4, 0);
    }
}
