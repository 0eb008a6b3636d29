//! A header backup as a file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use luksmith_block::{ByteOffset, Error, Operation};

use super::HeaderBackup;

/// A new file that takes a header backup, readable by its owner alone.
///
/// It is durable once [`HeaderBackup::finish`] has returned: contents, length, and name. Dropped
/// before, the unfinished file is removed.
#[derive(Debug)]
pub struct FileBackup {
    file: File,
    path: PathBuf,
    written: u64,
    is_finished: bool,
}

impl FileBackup {
    /// Creates the file. One that exists is left alone.
    ///
    /// # Errors
    /// [`Error::Io`], also if the file exists.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o400);
        let file = options
            .open(path)
            .map_err(|error| failed(Operation::Open, 0, &error))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            written: 0,
            is_finished: false,
        })
    }
}

impl HeaderBackup for FileBackup {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .map_err(|error| failed(Operation::Write, self.written, &error))?;
        self.written = self
            .written
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        let synced = self.file.sync_all().and_then(|()| sync_folder(&self.path));
        synced.map_err(|error| failed(Operation::Flush, self.written, &error))?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for FileBackup {
    fn drop(&mut self) {
        if !self.is_finished {
            // Nothing can be reported from here, and a file cut short would be mistaken for a
            // backup.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the file's name durable: on Unix a name belongs to its folder.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

fn failed(operation: Operation, at: u64, error: &io::Error) -> Error {
    Error::Io {
        operation,
        at: ByteOffset::new(at),
        failure: error.into(),
    }
}
