//! What goes wrong, how it is told, and which exit status it gives.

use std::{error::Error as StdError, path::Path};

use luksmith::{block, header, keyslot};

use crate::context::Context;

/// Whose move it is, with the name that scripts see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Arguments are wrong or do not fit together.
    Caller,
    /// Someone else uses the device.
    Busy,
    /// There is no LUKS header.
    NotLuks,
    /// There is one, and it is damaged.
    Malformed,
    /// It is valid and we do not know how.
    Unsupported,
    /// It costs more than allowed.
    OverLimit,
    /// No key fits.
    WrongKey,
    /// Damage was found by an action that looks for damage.
    Damaged,
    /// Memory ran out.
    OutOfMemory,
    /// The device is missing, not accessible or no device.
    NoDevice,
    /// The device failed at work.
    Device,
    /// The user said no, or interrupted.
    Cancelled,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Busy => "busy",
            Self::NotLuks => "not-luks",
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::OverLimit => "over-limit",
            Self::WrongKey => "wrong-key",
            Self::Damaged => "damaged",
            Self::OutOfMemory => "out-of-memory",
            Self::NoDevice => "no-device",
            Self::Device => "device",
            Self::Cancelled => "cancelled",
        }
    }

    /// The exit statuses of cryptsetup: 1 failed, 2 no key fits, 3 out of memory, 4 device missing
    /// or not accessible, 5 device busy.
    const fn status(self) -> u8 {
        match self {
            Self::WrongKey => 2,
            Self::OutOfMemory => 3,
            Self::NoDevice => 4,
            Self::Busy => 5,
            _ => 1,
        }
    }
}

/// Why an action did not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    causes: Vec<String>,
    /// Told only with `-v` or `--json`, for actions that answer with their status.
    quiet: bool,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            causes: Vec::new(),
            quiet: false,
        }
    }

    pub(crate) fn caller(message: impl Into<String>) -> Self {
        Self::new(Kind::Caller, message)
    }

    fn of(kind: Kind, error: &dyn StdError) -> Self {
        let mut failure = Self::new(kind, error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            failure.causes.push(cause.to_string());
            source = cause.source();
        }
        failure
    }

    /// Puts the name of what failed before the message.
    pub(crate) fn at(mut self, path: &Path) -> Self {
        self.message = format!("{}: {}", path.display(), self.message);
        self
    }

    /// Says nothing on an ordinary run.
    pub(crate) fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn status(&self) -> u8 {
        self.kind.status()
    }

    /// Tells the user on standard error.
    pub(crate) fn report(&self, context: &Context) {
        if context.json {
            let error = serde_json::json!({
                "error": {
                    "kind": self.kind.name(),
                    "message": self.message,
                    "causes": self.causes,
                    "status": self.status(),
                }
            });
            eprintln!("{error}");
            return;
        }
        if self.quiet && !context.verbose {
            return;
        }
        eprintln!("luksmith: {}", one_line(&self.message));
        if context.verbose {
            for cause in &self.causes {
                eprintln!("  because: {}", one_line(cause));
            }
        }
    }
}

/// Names from a header or a path may hold anything; an error is one line on a terminal all the same.
fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escape = c.is_control().then(|| c.escape_default());
            let plain = (!c.is_control()).then_some(c);
            escape.into_iter().flatten().chain(plain)
        })
        .collect()
}

impl From<block::Error> for Failure {
    fn from(error: block::Error) -> Self {
        Self::of(kind_of_block(&error), &error)
    }
}

fn kind_of_block(error: &block::Error) -> Kind {
    match error {
        block::Error::Busy => Kind::Busy,
        block::Error::System {
            operation: block::Operation::Open,
            ..
        }
        | block::Error::NotStorage { .. }
        | block::Error::SizeUnknown => Kind::NoDevice,
        block::Error::Cancelled => Kind::Cancelled,
        block::Error::Unsupported { .. } | block::Error::DirectSize { .. } => Kind::Unsupported,
        _ => Kind::Device,
    }
}

impl From<header::Error> for Failure {
    fn from(error: header::Error) -> Self {
        Self::of(kind_of_header(&error), &error)
    }
}

fn kind_of_header(error: &header::Error) -> Kind {
    use header::Error;

    match error {
        Error::Device { source } => kind_of_block(source),
        Error::NotLuks | Error::TooShort { .. } => Kind::NotLuks,
        Error::UnsupportedVersion { .. } | Error::Luks1OldReencryption => Kind::Unsupported,
        Error::HeaderBytes { .. }
        | Error::Argon2Memory { .. }
        | Error::Argon2Lanes { .. }
        | Error::Argon2Work { .. }
        | Error::Pbkdf2Iterations { .. }
        | Error::KeyBytes { .. } => Kind::OverLimit,
        _ => Kind::Malformed,
    }
}

impl From<keyslot::Error> for Failure {
    fn from(error: keyslot::Error) -> Self {
        Self::of(kind_of_keyslot(&error), &error)
    }
}

fn kind_of_keyslot(error: &keyslot::Error) -> Kind {
    use keyslot::Error;

    match error {
        Error::NoKeyslotOpened { report } | Error::NoDigestMatched { report } => {
            // "No key fits" is only true if one was tried; else what kept it from being tried.
            match report.first_error() {
                _ if report.has_wrong() => Kind::WrongKey,
                Some(error) => kind_of_keyslot(error),
                None => Kind::Caller,
            }
        }
        Error::OutOfMemory { .. } => Kind::OutOfMemory,
        Error::Header { source } => kind_of_header(source),
        Error::Cancelled => Kind::Cancelled,
        Error::PassphraseLength { .. }
        | Error::PassphraseRead { .. }
        | Error::NoSuchKeyslot { .. }
        | Error::KeyLength { .. } => Kind::Caller,
        Error::DigestMismatch { .. } => Kind::WrongKey,
        _ => Kind::Unsupported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_the_name_holds() {
        assert_eq!(one_line("a\nb\x1b[31m\u{e9}"), "a\\nb\\u{1b}[31m\u{e9}");
    }

    #[test]
    fn statuses_are_those_of_cryptsetup() {
        let status = |error: block::Error| Failure::from(error).status();
        assert_eq!(status(block::Error::Busy), 5);
        assert_eq!(status(block::Error::ReadOnly), 1);
        assert_eq!(status(block::Error::NotStorage { found: "a pipe" }), 4);
        assert_eq!(Failure::new(Kind::OutOfMemory, "").status(), 3);
        assert_eq!(Failure::from(header::Error::NotLuks).status(), 1);
    }
}
