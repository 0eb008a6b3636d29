//! What the tests of this crate say that cannot run here. `luksmith_testkit::interop` says it for
//! those of others.

use std::io::{self, Write};
use std::{env, fs::OpenOptions, thread};

/// Says that the test of this thread did not run, past the capture that hides what a test prints,
/// and in the file that `LUKSMITH_NOT_RUN` names.
///
/// # Panics
/// If `LUKSMITH_REQUIRE` has the word for what is missing.
pub(crate) fn not_run(word: &str, why: &str) {
    let required = env::var("LUKSMITH_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|other| other.trim() == word);
    assert!(!is_required, "LUKSMITH_REQUIRE={word}, but {why}");
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    let line = format!("{test}: {why}\n");
    // Who closed standard error does not want to know.
    let _ = write!(io::stderr(), "NOT RUN: {line}");
    if let Some(path) = env::var_os("LUKSMITH_NOT_RUN") {
        let file = OpenOptions::new().append(true).create(true).open(path);
        // In one piece: other tests write there too.
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("a list of what did not run");
    }
}
