//! The real cryptsetup, on files of this machine.

use std::{env, path::PathBuf, process::Command};

use crate::{Oracle, interop};

/// First version that behaves as the records say; those before it accept and write other things.
const RECORDED: (u32, u32) = (2, 8);

/// A cryptsetup: the one that is installed, or one that `cargo xtask oracle` unpacked.
pub struct Cryptsetup {
    place: Place,
    version: String,
}

enum Place {
    Installed(PathBuf),
    Unpacked(Oracle),
}

impl Cryptsetup {
    /// Gives that of the oracle that the variable `LUKSMITH_ORACLE` names, else the installed one,
    /// or says that the test did not run.
    ///
    /// # Panics
    /// If there is none and [one is required](interop::is_required).
    #[must_use]
    pub fn find() -> Option<Self> {
        Some(Self::of(match env::var_os("LUKSMITH_ORACLE") {
            Some(_) => Place::Unpacked(interop::oracle()?),
            None => Place::Installed(interop::program("cryptsetup")?),
        }))
    }

    /// As [`find`](Self::find), but of version 2.8 at least: where that one is older, the newest
    /// oracle's.
    ///
    /// # Panics
    /// As [`find`](Self::find).
    #[must_use]
    pub fn newest() -> Option<Self> {
        let found = Self::find()?;
        if found.is_recorded() {
            return Some(found);
        }
        let newest = Oracle::of_suite("sid").map(|oracle| Self::of(Place::Unpacked(oracle)));
        let newest = newest.filter(Self::is_recorded);
        if newest.is_none() {
            interop::missing(&format!(
                "this is {}, older than 2.8; `cargo xtask oracle --suite sid` prepares a newer one",
                found.version
            ));
        }
        newest
    }

    fn of(place: Place) -> Self {
        let mut program = Self {
            place,
            version: String::new(),
        };
        let output = program.command().arg("--version").output();
        let text = output.expect("cryptsetup runs").stdout;
        let text = String::from_utf8_lossy(&text);
        text.lines()
            .next()
            .unwrap_or_default()
            .clone_into(&mut program.version);
        program
    }

    /// Tells whether it is one of those that the records are made with.
    fn is_recorded(&self) -> bool {
        let number = self.version.split(' ').nth(1).unwrap_or_default();
        let mut parts = number.split('.').map(str::parse);
        match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= RECORDED,
            _ => false,
        }
    }

    /// Makes a command of it.
    ///
    /// # Panics
    /// If it is gone.
    #[must_use]
    pub fn command(&self) -> Command {
        match &self.place {
            Place::Installed(path) => Command::new(path),
            Place::Unpacked(oracle) => oracle.program("cryptsetup").expect("it was unpacked"),
        }
    }

    /// Gives what it says of itself.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }
}
