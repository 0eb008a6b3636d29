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

    /// Gives where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells whether the backup is whole and durable; without that the file goes with this value.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Removes the file: what it was kept for went well.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(mut self) -> io::Result<()> {
        // Not once more when this is dropped.
        self.is_finished = true;
        fs::remove_file(&self.path)
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
        let synced = luksmith_block::make_durable(&self.file, &self.path);
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

fn failed(operation: Operation, at: u64, error: &io::Error) -> Error {
    Error::Io {
        operation,
        at: ByteOffset::new(at),
        failure: error.into(),
    }
}
