//! A folder for files that go away again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use luksmith::block::{BlockDevice, FileOptions};

/// Removed with all in it when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// In memory; nothing where the system has no tmpfs at its usual place.
    pub fn on_tmpfs() -> Option<Self> {
        let tmpfs = Path::new("/dev/shm");
        tmpfs.is_dir().then(|| Self::within(tmpfs))
    }

    /// Where temporary files go.
    pub fn temporary() -> Self {
        Self::within(&std::env::temp_dir())
    }

    fn within(folder: &Path) -> Self {
        let name = |count| format!("luksmith-compare-{}-{count}", std::process::id());
        let path = (0..)
            .map(|count| folder.join(name(count)))
            .find(|path| fs::create_dir(path).is_ok() || !path.exists());
        let path = path.expect("a number that is free");
        assert!(
            path.is_dir(),
            "no folder can be made in {}",
            folder.display()
        );
        Self(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file of `bytes`, all of it allocated.
    pub fn device(&self, name: &str, bytes: u64) -> impl BlockDevice + use<> {
        let path = self.file(name);
        fs::write(&path, vec![1; usize::try_from(bytes).expect("it fits")]).expect("room");
        FileOptions::writer().open(&path).expect("a file")
    }

    /// A file of `bytes`, none of it allocated; nothing where files cannot be as large.
    pub fn sparse(&self, name: &str, bytes: u64) -> Option<PathBuf> {
        let path = self.file(name);
        let file = File::create(&path).expect("a file");
        file.set_len(bytes).ok().map(|()| path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing is to be done about a folder that is gone already.
        let _ = fs::remove_dir_all(&self.0);
    }
}
