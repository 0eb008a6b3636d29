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
    /// Nothing until the first byte comes.
    file: Option<File>,
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
        let mut backup = Self::not_yet(path);
        backup.file()?;
        Ok(backup)
    }

    /// Creates the file with the first byte, for a change that may need none: until then nothing
    /// can stay behind, however the program ends.
    ///
    /// # Errors
    /// [`Error::Io`] if something is there already, as the first write gives if it comes
    /// meanwhile, or if there is no such folder.
    pub fn create_when_needed(path: &Path) -> Result<Self, Error> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = path
                    .parent()
                    .filter(|folder| !folder.as_os_str().is_empty());
                fs::metadata(folder.unwrap_or(Path::new(".")))
                    .map_err(|error| failed(Operation::Open, 0, &error))?;
                Ok(Self::not_yet(path))
            }
            Err(error) => Err(failed(Operation::Open, 0, &error)),
            // The system refuses in its own words.
            Ok(_) => Self::create(path),
        }
    }

    fn not_yet(path: &Path) -> Self {
        Self {
            file: None,
            path: path.to_owned(),
            written: 0,
            is_finished: false,
        }
    }

    /// Gives the file, which is made unless it is there.
    fn file(&mut self) -> Result<&mut File, Error> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut options = OpenOptions::new();
                options.write(true).create_new(true);
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o400);
                let made = options.open(&self.path);
                made.map_err(|error| failed(Operation::Open, 0, &error))?
            }
        };
        Ok(self.file.insert(file))
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
        match self.file {
            Some(_) => fs::remove_file(&self.path),
            None => Ok(()),
        }
    }
}

impl HeaderBackup for FileBackup {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let at = self.written;
        let written = self.file()?.write_all(bytes);
        written.map_err(|error| failed(Operation::Write, at, &error))?;
        self.written = self
            .written
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        let path = self.path.clone();
        let synced = luksmith_block::make_durable(self.file()?, &path);
        synced.map_err(|error| failed(Operation::Flush, self.written, &error))?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for FileBackup {
    fn drop(&mut self) {
        // Somebody else's may be there by now.
        if self.file.is_some() && !self.is_finished {
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
