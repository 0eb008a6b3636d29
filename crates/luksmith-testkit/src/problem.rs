//! Why a tool of the tests could not do its work.

use std::{fmt, io, path::Path};

/// A message that says what is wrong and where.
#[derive(Debug)]
pub struct Problem(String);

impl Problem {
    /// Makes a problem of a message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// Makes a problem of an I/O error on a path.
    #[must_use]
    pub fn at(path: &Path, error: &io::Error) -> Self {
        Self(format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Problem {}
