//! What tests do when a program that they compare with is missing.

use std::{
    env,
    ffi::CString,
    fs::OpenOptions,
    io::{self, Write},
    path::PathBuf,
    thread,
    time::Duration,
};

use crate::Oracle;

/// Tells whether a missing program is a failure: `LUKSMITH_REQUIRE` has the word `interop`.
#[must_use]
pub fn is_required() -> bool {
    let words = env::var("LUKSMITH_REQUIRE").unwrap_or_default();
    words.split(',').any(|word| word.trim() == "interop")
}

/// Gives the oracle, or says that the test did not run.
///
/// # Panics
/// If it is missing and [required](is_required).
#[must_use]
pub fn oracle() -> Option<Oracle> {
    let found = Oracle::find();
    if found.is_none() {
        missing("no oracle; `cargo xtask oracle` prepares one");
    }
    found
}

/// Gives the path of a program on this machine, or says that the test did not run.
///
/// # Panics
/// If it is missing and [required](is_required).
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let found = on_path(name);
    if found.is_none() {
        missing(&format!("no program {name} on this machine"));
    }
    found
}

/// Gives the path of a program on this machine, if it is there.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Puts a key into the keyring of this session for ten minutes, where the programs that a test
/// starts find it. Says that the test did not run where the system gives no keyring: some
/// sandboxes do not.
///
/// # Panics
/// If the description has a zero byte.
#[must_use]
pub fn session_key(description: &str, key: &[u8]) -> bool {
    let name = CString::new(description).expect("a description without zero bytes");
    match luksmith_sys::keyring::add_user_key(&name, key, Duration::from_secs(600)) {
        Ok(()) => true,
        Err(error) => {
            skipped(&format!("this system gives no keyring: {error}"));
            false
        }
    }
}

pub(crate) fn missing(what: &str) {
    assert!(!is_required(), "LUKSMITH_REQUIRE=interop, but {what}");
    skipped(what);
}

/// Says that the test of this thread did not run, past the capture that hides what a test prints,
/// and in the file that `LUKSMITH_NOT_RUN` names.
pub fn skipped(why: &str) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    // Who closed standard error does not want to know.
    let _ = writeln!(io::stderr(), "NOT RUN: {test}: {why}");
    if let Some(path) = env::var_os("LUKSMITH_NOT_RUN") {
        let file = OpenOptions::new().append(true).create(true).open(path);
        // In one piece: other tests write there too.
        let line = format!("{test}: {why}\n");
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("a list of what did not run");
    }
}
