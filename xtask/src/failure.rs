//! Why a tool did not do its work, as one line for a person.

use std::{fmt, io, path::Path};

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// A message that says what is wrong and where.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// An I/O error on a path.
    pub(crate) fn at(path: &Path, error: &io::Error) -> Self {
        Self(format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<luksmith_testkit::Problem> for Failure {
    fn from(problem: luksmith_testkit::Problem) -> Self {
        Self(problem.to_string())
    }
}
