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
    /// Debian release whose cryptsetup is taken where the one at hand is too old.
    pub const NEWEST_SUITE: &str = "sid";

    /// Gives that of the oracle that the variable `LUKSMITH_ORACLE` names, else the installed one,
    /// if there is one.
    #[must_use]
    pub fn at_hand() -> Option<Self> {
        let place = match env::var_os("LUKSMITH_ORACLE") {
            Some(_) => Oracle::find().map(Place::Unpacked),
            None => interop::on_path("cryptsetup").map(Place::Installed),
        };
        place.map(Self::of)
    }

    /// Gives the one [at hand](Self::at_hand), or says that the test did not run.
    ///
    /// # Panics
    /// If there is none and [one is required](interop::is_required).
    #[must_use]
    pub fn find() -> Option<Self> {
        let found = Self::at_hand();
        if found.is_none() {
            interop::missing(
                "no cryptsetup: neither on this machine, nor in an oracle that LUKSMITH_ORACLE \
                 names; `cargo xtask oracle` prepares one",
            );
        }
        found
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
        let newest = Oracle::of_suite(Self::NEWEST_SUITE);
        let newest = newest.map(|oracle| Self::of(Place::Unpacked(oracle)));
        let newest = newest.filter(Self::is_recorded);
        if newest.is_none() {
            interop::missing(&format!(
                "this is {}, older than 2.8; `cargo xtask oracle --suite {}` prepares a newer one",
                found.version,
                Self::NEWEST_SUITE
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

    /// Tells whether it behaves as the records say, which are made with 2.8 and newer ones.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        is_recorded(&self.version)
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

/// Tells so from what `--version` prints.
fn is_recorded(version: &str) -> bool {
    let number = version.split(' ').nth(1).unwrap_or_default();
    let mut parts = number.split('.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= RECORDED,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_records_hold_from_2_8_on() {
        for version in ["2.8.0", "2.8.8 flags: UDEV BLKID", "2.10.1", "3.0.0"] {
            assert!(is_recorded(&format!("cryptsetup {version}")), "{version}");
        }
        for version in ["2.7.9 flags: UDEV BLKID", "2.6.1", "1.9.0", "2", "x.y", ""] {
            assert!(!is_recorded(&format!("cryptsetup {version}")), "{version}");
        }
        assert!(!is_recorded(""));
    }
}
