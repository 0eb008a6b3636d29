//! cryptsetup, asked about an image. It repairs what it reads, so it gets a copy.

use std::{
    fs,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use luksmith_testkit::mangled::{Repair, Verdict};

/// Longest that one question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Status that stands for a question that a refused header is not asked.
const NOT_ASKED: i32 = -1;

/// Status that stands for "did not finish in time".
pub(crate) const TOO_LONG: i32 = 99;

pub(crate) struct Cryptsetup {
    program: luksmith_testkit::Cryptsetup,
    folder: tempfile::TempDir,
}

impl Cryptsetup {
    /// The record is of cryptsetup 2.8.
    pub(crate) fn newest() -> Option<Self> {
        let program = luksmith_testkit::Cryptsetup::newest()?;
        let folder = tempfile::tempdir().expect("a folder for the copies");
        for word in ["one", "two", "wrong"] {
            fs::write(folder.path().join(word), word).expect("a key file");
        }
        Some(Self { program, folder })
    }

    pub(crate) fn version(&self) -> &str {
        self.program.version()
    }

    /// Asks what it makes of an image.
    pub(crate) fn ask(&self, image: &[u8]) -> Verdict {
        let copy = self.folder.path().join("image");
        fs::write(&copy, image).expect("a copy");
        let load = self.run(&["isLuks".as_ref(), copy.as_os_str()]);
        let after = fs::read(&copy).expect("the copy is still there");
        let unlock = ["one", "two", "wrong"].map(|word| {
            if load != 0 {
                return NOT_ASKED;
            }
            fs::write(&copy, image).expect("a copy");
            let key = self.folder.path().join(word);
            self.run(&[
                "open".as_ref(),
                "--test-passphrase".as_ref(),
                "--key-file".as_ref(),
                key.as_os_str(),
                copy.as_os_str(),
            ])
        });
        Verdict {
            load,
            repair: repaired(image, &after),
            unlock,
        }
    }

    fn run(&self, arguments: &[&std::ffi::OsStr]) -> i32 {
        let mut child = self
            .program
            .command()
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("it can be waited for") {
                // Ended by a signal: an abort, for instance.
                return status.code().unwrap_or(98);
            }
            if start.elapsed() > PATIENCE {
                child.kill().expect("it can be ended");
                child.wait().expect("it ends");
                return TOO_LONG;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn repaired(before: &[u8], after: &[u8]) -> Repair {
    // Whole pieces first: byte by byte, a debug build takes long for megabytes.
    if before == after {
        return Repair::None;
    }
    let first = before
        .iter()
        .zip(after)
        .position(|(old, new)| old != new)
        .or_else(|| (before.len() != after.len()).then_some(before.len()));
    match first {
        None => Repair::None,
        Some(at) if at < 16384 => Repair::Primary,
        Some(_) => Repair::Secondary,
    }
}
