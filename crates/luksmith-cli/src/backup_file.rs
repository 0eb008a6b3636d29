//! Files that hold a header and its keyslot areas.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use luksmith::{
    block::{self, IoFailure, Operation},
    keyslot::change::HeaderBackup,
};

use crate::failure::{Failure, Kind};

/// A new file that only its owner can read, and nobody write.
pub(crate) struct BackupFile {
    file: File,
    path: PathBuf,
}

impl BackupFile {
    /// Makes a file that is not there yet.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o400);
        }
        let file = options
            .open(path)
            .map_err(|error| Failure::new(Kind::CALLER, error.to_string()).at(path))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Makes a file for the time of a change, beside the header, named for its volume.
    pub(crate) fn beside(header: &Path, uuid: &str) -> Result<Self, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = now.map_or(0, |time| time.as_secs());
        let is_device = header.starts_with("/dev");
        let folder = match header.parent() {
            Some(folder) if !is_device && !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // Read from the header, so it may hold anything.
        let uuid: String = uuid.chars().filter(char::is_ascii_alphanumeric).collect();
        Self::create(&folder.join(format!("luks-header-{uuid}-{seconds}.img")))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells whether nothing was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.file
            .metadata()
            .is_ok_and(|metadata| metadata.len() == 0)
    }

    /// Removes the file: what it was kept for went well.
    pub(crate) fn remove(self) -> Result<(), Failure> {
        drop(self.file);
        fs::remove_file(&self.path)
            .map_err(|error| Failure::new(Kind::DEVICE, error.to_string()).at(&self.path))
    }
}

/// Makes a new file durable: its contents, and its name in the folder.
pub(crate) fn make_durable(file: &File, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    #[cfg(unix)]
    {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

impl HeaderBackup for BackupFile {
    fn write(&mut self, bytes: &[u8]) -> Result<(), block::Error> {
        self.file
            .write_all(bytes)
            .map_err(|error| system(Operation::Write, &error))
    }

    fn finish(&mut self) -> Result<(), block::Error> {
        make_durable(&self.file, &self.path).map_err(|error| system(Operation::Flush, &error))
    }
}

fn system(operation: Operation, error: &io::Error) -> block::Error {
    block::Error::System {
        operation,
        failure: IoFailure::from(error),
    }
}
