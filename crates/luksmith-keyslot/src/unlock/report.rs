//! What became of each keyslot of one unlocking.

use alloc::vec::Vec;
use core::fmt;

use crate::Error;

/// Why a keyslot was not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Skip {
    /// Its priority says that it is used only when asked for by its number.
    Priority,
    /// Its key is not the one of the segment to be opened.
    OtherKey,
    /// It holds no key behind a passphrase: a type that is not known, or a re-encryption's.
    Type,
    /// It stands under a name that is no number, so that nothing can refer to it.
    Name,
    /// The caller had no passphrase for it.
    NoPassphrase,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Priority => "not tried, its priority is to be ignored",
            Self::OtherKey => "not tried, it holds another key than this volume's",
            Self::Type => "not tried, it holds no key behind a passphrase",
            Self::Name => "not tried, its name in the header is no number",
            Self::NoPassphrase => "not tried, there is no passphrase for it",
        })
    }
}

/// What became of one keyslot, or of one digest for a volume key given directly.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It gave the volume key.
    Opened,
    /// The passphrase, or the key, is not the right one for it.
    Wrong,
    /// It was not tried.
    Skipped(Skip),
    /// It could not be tried: it is damaged, not supported, or costs more than allowed.
    Failed(Error),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened => f.write_str("opened"),
            Self::Wrong => f.write_str("not the right key"),
            Self::Skipped(why) => why.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// Which object of the header an attempt was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// A keyslot of this number.
    Keyslot(u32),
    /// A keyslot whose name is no number; it stands at this place in the header, counted from 0.
    NamelessKeyslot(usize),
    /// A digest of this number.
    Digest(u32),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyslot(id) => write!(f, "keyslot {id}"),
            Self::NamelessKeyslot(place) => write!(f, "the keyslot at place {place}"),
            Self::Digest(id) => write!(f, "digest {id}"),
        }
    }
}

/// One keyslot or digest, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// What was tried.
    pub subject: Subject,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of each keyslot, in the order in which they were looked at.
///
/// A keyslot that is skipped in the first round because only preferred ones are tried there is not
/// listed for that round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    attempts: Vec<Attempt>,
}

impl Report {
    /// Gives every attempt.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Tells whether at least one keyslot or digest was tried to the end and said no.
    #[must_use]
    pub fn has_wrong(&self) -> bool {
        self.attempts
            .iter()
            .any(|attempt| attempt.outcome == Outcome::Wrong)
    }

    /// Gives the first error that kept a keyslot from being tried.
    #[must_use]
    pub fn first_error(&self) -> Option<&Error> {
        self.attempts
            .iter()
            .find_map(|attempt| match &attempt.outcome {
                Outcome::Failed(error) => Some(error),
                _ => None,
            })
    }

    pub(crate) fn note(&mut self, subject: Subject, outcome: Outcome) {
        self.attempts.push(Attempt { subject, outcome });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts.is_empty() {
            return f.write_str("there is none to try");
        }
        for (at, Attempt { subject, outcome }) in self.attempts.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            match outcome {
                // These messages name the keyslot or digest themselves.
                Outcome::Failed(error) => error.fmt(f)?,
                _ => write!(f, "{subject}: {outcome}")?,
            }
        }
        Ok(())
    }
}
