//! What several tests of this crate use.
#![expect(dead_code, reason = "each test takes what it needs")]

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use luksmith_block::{MemDevice, SectorSize};

/// A source that never has any.
pub(crate) struct NoRandom;

#[derive(Debug)]
pub(crate) struct Exhausted;

impl std::fmt::Display for Exhausted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no random numbers")
    }
}

impl std::error::Error for Exhausted {}

impl rand_core::TryRng for NoRandom {
    type Error = Exhausted;

    fn try_next_u32(&mut self) -> Result<u32, Exhausted> {
        Err(Exhausted)
    }

    fn try_next_u64(&mut self) -> Result<u64, Exhausted> {
        Err(Exhausted)
    }

    fn try_fill_bytes(&mut self, _bytes: &mut [u8]) -> Result<(), Exhausted> {
        Err(Exhausted)
    }
}

impl rand_core::TryCryptoRng for NoRandom {}

pub(crate) fn device(image: &[u8]) -> MemDevice {
    MemDevice::from_bytes(image, SectorSize::S512)
}

/// The real cryptsetup, working on files in a folder of its own.
pub(crate) struct Cryptsetup {
    program: luksmith_testkit::Cryptsetup,
    folder: tempfile::TempDir,
}

impl Cryptsetup {
    pub(crate) fn find() -> Option<Self> {
        luksmith_testkit::Cryptsetup::find().map(Self::of)
    }

    /// The rules and layouts were measured with cryptsetup 2.8.
    pub(crate) fn newest() -> Option<Self> {
        luksmith_testkit::Cryptsetup::newest().map(Self::of)
    }

    fn of(program: luksmith_testkit::Cryptsetup) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the files");
        Self { program, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path
    }

    pub(crate) fn get(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).expect("a file")
    }

    pub(crate) fn output<I: AsRef<OsStr>>(&self, arguments: &[I]) -> Output {
        self.program
            .command()
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .expect("it runs")
    }

    /// Runs it with words of which those that name a file of the folder become its path.
    pub(crate) fn run(&self, line: &str) -> Output {
        let words: Vec<String> = line
            .split_whitespace()
            .map(|word| {
                let path = self.folder.path().join(word);
                match path.is_file() || word.starts_with("new-") {
                    true => path.to_string_lossy().into_owned(),
                    false => word.to_string(),
                }
            })
            .collect();
        self.output(&words)
    }

    /// Runs it and asks for success.
    pub(crate) fn must(&self, line: &str) {
        let output = self.run(line);
        assert!(
            output.status.success(),
            "cryptsetup {line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
