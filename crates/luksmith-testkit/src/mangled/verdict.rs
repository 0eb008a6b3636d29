//! What cryptsetup says to a header, as it stands on record.

use std::{collections::BTreeMap, fmt, fs, path::PathBuf};

use super::headers_folder;

/// Which copy cryptsetup rewrote while it looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// None.
    None,
    /// The copy at byte 0.
    Primary,
    /// Another one.
    Secondary,
}

/// What cryptsetup says to a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Exit status of `isLuks`: 0 is accepted.
    pub load: i32,
    /// Which copy it rewrote.
    pub repair: Repair,
    /// Exit status of `open --test-passphrase` with the passphrases `one`, `two` and `wrong`: -1
    /// where the header was refused, 98 where a signal ended it, 99 where it took too long.
    pub unlock: [i32; 3],
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repair = match self.repair {
            Repair::None => "none",
            Repair::Primary => "primary",
            Repair::Secondary => "secondary",
        };
        let [one, two, wrong] = self.unlock;
        write!(f, "{}\t{repair}\t{one}\t{two}\t{wrong}", self.load)
    }
}

impl Verdict {
    fn parse(fields: &[&str]) -> Option<Self> {
        let [load, repair, one, two, wrong] = fields else {
            return None;
        };
        Some(Self {
            load: load.parse().ok()?,
            repair: match *repair {
                "none" => Repair::None,
                "primary" => Repair::Primary,
                "secondary" => Repair::Secondary,
                _ => return None,
            },
            unlock: [one.parse().ok()?, two.parse().ok()?, wrong.parse().ok()?],
        })
    }
}

/// Gives the file of the record.
#[must_use]
pub fn record_path() -> PathBuf {
    headers_folder().join("verdicts.txt")
}

/// Gives the verdicts on record, by recipe name.
///
/// # Panics
/// If a line of the file is not one of a record.
#[must_use]
pub fn recorded() -> BTreeMap<String, Verdict> {
    let text = fs::read_to_string(record_path()).unwrap_or_default();
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (name, rest) = line.split_once('\t').expect("name, tab, verdict");
            let fields: Vec<&str> = rest.split('\t').collect();
            let verdict = Verdict::parse(&fields).expect("five fields of a verdict");
            (name.to_string(), verdict)
        })
        .collect()
}
