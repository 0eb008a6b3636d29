//! Where the backups of headers are made.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use luksmith::keyslot::change::FileBackup;

use crate::failure::{Failure, Kind};

/// Makes a file that is not there yet.
pub(crate) fn create(path: &Path) -> Result<FileBackup, Failure> {
    FileBackup::create(path).map_err(|error| of_the_caller(error, path))
}

/// Takes the name of a file that is not there yet, and that is made if the change needs it.
pub(crate) fn create_when_needed(path: &Path) -> Result<FileBackup, Failure> {
    FileBackup::create_when_needed(path).map_err(|error| of_the_caller(error, path))
}

/// Another name would do.
fn of_the_caller(error: luksmith::block::Error, path: &Path) -> Failure {
    Failure::from(error).of_kind(Kind::CALLER).at(path)
}

/// Makes a file for the time of a change, beside the header, named for its volume.
pub(crate) fn create_beside(header: &Path, uuid: &str) -> Result<FileBackup, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0, |time| time.as_secs());
    let is_device = header.starts_with("/dev");
    let folder = match header.parent() {
        Some(folder) if !is_device && !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Read from the header, so it may hold anything.
    let uuid: String = uuid.chars().filter(char::is_ascii_alphanumeric).collect();
    create(&folder.join(format!("luks-header-{uuid}-{seconds}.img")))
}

/// Removes a file that is not needed any more.
pub(crate) fn remove(file: FileBackup) -> Result<(), Failure> {
    let path = file.path().to_owned();
    let removed = file.remove();
    removed.map_err(|error| Failure::new(Kind::DEVICE, error.to_string()).at(&path))
}
