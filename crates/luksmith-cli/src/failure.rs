//! What goes wrong, how it is told, and which exit status it gives.

use std::{error::Error as StdError, ops::RangeInclusive, path::Path};

use luksmith::{ErrorKind, block, header, keyslot};

use crate::context::{Context, tell, tell_json};

/// What went wrong, with the name that scripts see and the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A kind of the library's.
    Of(ErrorKind),
    /// Damage was found by an action that looks for damage.
    Damaged,
    /// Memory ran out.
    OutOfMemory,
    /// The device is missing, not accessible or no device.
    NoDevice,
    /// The user said no, or interrupted.
    Cancelled,
}

impl Kind {
    pub(crate) const CALLER: Self = Self::Of(ErrorKind::Caller);
    pub(crate) const UNSUPPORTED: Self = Self::Of(ErrorKind::Unsupported);
    pub(crate) const NOT_LUKS: Self = Self::Of(ErrorKind::NotLuks);
    pub(crate) const BUSY: Self = Self::Of(ErrorKind::Busy);
    pub(crate) const DEVICE: Self = Self::Of(ErrorKind::Device);
    pub(crate) const ALREADY_FORMATTED: Self = Self::Of(ErrorKind::AlreadyFormatted);
    pub(crate) const DAMAGED: Self = Self::Damaged;
    pub(crate) const POLICY: Self = Self::Of(ErrorKind::Policy);

    const fn name(self) -> &'static str {
        match self {
            Self::Of(kind) => kind.as_str(),
            Self::Damaged => "damaged",
            Self::OutOfMemory => "out-of-memory",
            Self::NoDevice => "no-device",
            Self::Cancelled => "cancelled",
        }
    }

    /// The exit statuses of cryptsetup: 1 failed, 2 no key fits, 3 out of memory, 4 device missing
    /// or not accessible, 5 device busy.
    const fn status(self) -> u8 {
        match self {
            Self::Of(ErrorKind::WrongKey) => 2,
            Self::OutOfMemory => 3,
            Self::NoDevice => 4,
            Self::Of(ErrorKind::Busy) => 5,
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
            message: with_options(message.into()),
            causes: Vec::new(),
            quiet: false,
        }
    }

    pub(crate) fn caller(message: impl Into<String>) -> Self {
        Self::new(Kind::CALLER, message)
    }

    fn of(kind: Kind, error: &dyn StdError) -> Self {
        let mut failure = Self::new(kind, error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            failure.causes.push(with_options(cause.to_string()));
            source = cause.source();
        }
        failure
    }

    /// Puts the name of what failed before the message.
    pub(crate) fn at(mut self, path: &Path) -> Self {
        let name = format!("{}: ", path.display());
        // Opening has put it there already.
        if !self.message.starts_with(&name) {
            self.message.insert_str(0, &name);
        }
        self
    }

    /// Adds what the state is now, or what to do.
    pub(crate) fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.message.push_str("; ");
        self.message.push_str(hint.as_ref());
        self
    }

    /// Says nothing on an ordinary run.
    pub(crate) fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Says whose move it is, where that is not what the error alone tells.
    pub(crate) fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn status(&self) -> u8 {
        self.kind.status()
    }

    /// Tells the user on standard error about what does not keep the action from its work.
    pub(crate) fn warn(&self, context: &Context) {
        if context.json {
            let warning = serde_json::json!({
                "warning": { "kind": self.kind.name(), "message": self.message }
            });
            tell_json(&warning);
        } else {
            tell(&format!("luksmith: warning: {}", one_line(&self.message)));
        }
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
            tell_json(&error);
            return;
        }
        if self.quiet && !context.verbose {
            return;
        }
        tell(&format!("luksmith: {}", one_line(&self.message)));
        if context.verbose {
            for cause in &self.causes {
                tell(&format!("  because: {}", one_line(cause)));
            }
        }
    }
}

/// What the library advises its callers, and what that is here: the option that does it, or nothing
/// where there is none.
const ADVICE: &[(&str, &str)] = &[
    (
        "raise Limits::argon2_memory_kib",
        "raise --limit-argon2-memory",
    ),
    ("raise Limits::argon2_work_kib", "raise --limit-argon2-work"),
    ("raise Limits::argon2_lanes", "raise --limit-argon2-lanes"),
    (
        "raise Limits::pbkdf2_iterations",
        "raise --limit-pbkdf2-iterations",
    ),
    ("raise Limits::header_bytes", "raise --limit-header-size"),
    ("; raise Limits::key_bytes to allow it", ""),
    ("; raise Limits::json_elements to read it", ""),
    (": choose Overwrite::Allow if that is meant", ""),
    (
        "Recovery mode reads without",
        "--integrity-recovery-mode reads without",
    ),
    (
        "recovery mode reads without",
        "--integrity-recovery-mode reads without",
    ),
    (
        "allow keyed discards to open it",
        "--allow-discards opens it",
    ),
    ("set OpenOptions::expect_tag_bytes to", "give --tag-size"),
    (
        "set OpenOptions::legacy_hmac",
        "give --integrity-legacy-hmac",
    ),
    ("raise OpenOptions::journal_limit", "raise --limit-journal"),
    ("; raise OpenOptions::overlay_blocks to open it", ""),
    (
        "choose NullCipherKeyslots::AcceptUnencryptedKeys to use it",
        "--accept-null-cipher uses it all the same",
    ),
    (
        "choose LastKeyslot::DestroyAccess if that is meant",
        "give -q if that is meant",
    ),
    ("; state the length with UnlockOptions::key_bytes", ""),
    ("; give it with FileOptions::size", ""),
    ("; open it without FileOptions::direct", ""),
    ("; choose one of HashBackend::available()", ""),
    ("; choose one of Backend::available()", ""),
];

/// Names the option in place of the library's field: that is what the reader can give.
pub(crate) fn with_options(message: String) -> String {
    ADVICE.iter().fold(message, |message, (field, option)| {
        message.replace(field, option)
    })
}

/// Names from a header or a path may hold anything; an error is one line on a terminal all the
/// same.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escape = commands(c).then(|| c.escape_default());
            let plain = (!commands(c)).then_some(c);
            escape.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// Tells whether a terminal does something else than show this character: control characters, and
/// those that turn around the order in which the ones beside them are shown.
pub(crate) fn commands(c: char) -> bool {
    const TURNS: [RangeInclusive<char>; 4] = [
        '\u{61c}'..='\u{61c}',
        '\u{200e}'..='\u{200f}',
        '\u{202a}'..='\u{202e}',
        '\u{2066}'..='\u{2069}',
    ];
    c.is_control() || TURNS.iter().any(|range| range.contains(&c))
}

impl From<luksmith::Error> for Failure {
    fn from(error: luksmith::Error) -> Self {
        let kind = special(&error).unwrap_or(Kind::Of(error.kind()));
        Self::of(kind, &error)
    }
}

impl From<block::Error> for Failure {
    fn from(error: block::Error) -> Self {
        luksmith::Error::from(error).into()
    }
}

impl From<header::Error> for Failure {
    fn from(error: header::Error) -> Self {
        luksmith::Error::from(error).into()
    }
}

impl From<keyslot::Error> for Failure {
    fn from(error: keyslot::Error) -> Self {
        luksmith::Error::from(error).into()
    }
}

/// Cases that have an exit status of their own.
fn special(error: &luksmith::Error) -> Option<Kind> {
    match error {
        luksmith::Error::Device { source }
        | luksmith::Error::Header {
            source: header::Error::Device { source },
        } => match source {
            block::Error::System {
                operation: block::Operation::Open,
                ..
            }
            | block::Error::NotStorage { .. }
            | block::Error::SizeUnknown => Some(Kind::NoDevice),
            block::Error::Cancelled => Some(Kind::Cancelled),
            _ => None,
        },
        luksmith::Error::Keyslot { source } => special_keyslot(source),
        luksmith::Error::NoTokenOpened { kind, source, .. } if *kind != ErrorKind::WrongKey => {
            let first = source.as_ref()?;
            first.downcast_ref().and_then(special)
        }
        _ => None,
    }
}

fn special_keyslot(error: &keyslot::Error) -> Option<Kind> {
    match error {
        keyslot::Error::OutOfMemory { .. } => Some(Kind::OutOfMemory),
        keyslot::Error::Cancelled => Some(Kind::Cancelled),
        keyslot::Error::NoKeyslotOpened { report } if !report.has_wrong() => {
            match report.first_error() {
                // Nothing was tried, so no key can be said to be wrong.
                None => Some(Kind::CALLER),
                Some(error) => special_keyslot(error),
            }
        }
        // A file that cannot hold this volume's key is a wrong argument, not a wrong key.
        keyslot::Error::NoDigestMatched { report } if !report.has_wrong() => {
            match report.first_error() {
                Some(keyslot::Error::KeyLength { .. }) => Some(Kind::CALLER),
                Some(error) => special_keyslot(error),
                None => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_the_name_holds() {
        let hostile = "a\nb\x1b[31m\u{e9}\u{202e}\u{2067}";
        assert_eq!(
            one_line(hostile),
            "a\\nb\\u{1b}[31m\u{e9}\\u{202e}\\u{2067}"
        );
    }

    #[test]
    fn a_limit_is_named_by_the_option_that_raises_it() {
        let message = |error: header::Error| Failure::from(error).message;
        let user = header::KdfUser::Keyslot(3);
        let lanes = message(header::Error::Argon2Lanes {
            user,
            requested: 17,
            limit: 16,
        });
        let wanted = "keyslot 3 asks for 17 Argon2 lanes, the limit is 16; raise --limit-argon2-lanes \
                      to allow it";
        assert_eq!(lanes, wanted);
        // A field that was renamed would be told to people who cannot set it.
        let size = message(header::Error::HeaderBytes {
            side: header::luks2::Side::Primary,
            found: 2,
            limit: 1,
        });
        let (requested, spent, limit) = (3, 2, 1);
        let work = message(header::Error::Argon2Work {
            user,
            requested,
            spent,
            limit,
        });
        let iterations = message(header::Error::Pbkdf2Iterations {
            user,
            requested,
            spent,
            limit,
        });
        let memory = message(header::Error::Argon2Memory {
            user,
            requested: 3,
            limit: 1,
        });
        for text in [size, work, iterations, memory] {
            assert!(!text.contains("::") && text.contains("--limit-"), "{text}");
        }
    }

    #[test]
    fn advice_that_nobody_can_follow_here_is_left_out() {
        let message = |error: luksmith::Error| Failure::from(error).message;
        let key = header::Error::KeyBytes {
            user: header::KdfUser::Keyslot(3),
            requested: 5000,
            limit: 4096,
        };
        let wanted = "keyslot 3 names a key of 5000 bytes, the limit is 4096";
        assert_eq!(message(key.into()), wanted);
        let limits = header::json::ParseLimits { elements: 2 };
        let json = header::json::parse_object(b"{\"a\":[1,2,3]}", &limits);
        let source = json.expect_err("too many values");
        let json = message(header::Error::from(source).into());
        assert!(json.ends_with("more than 2 values"), "{json}");
        let found = luksmith::Found::Luks(2);
        let there = message(luksmith::Error::AlreadyFormatted { found });
        assert_eq!(
            there,
            "the device holds a LUKS2 header, which would be lost"
        );
    }

    /// A retry told a person at a terminal to choose a constant of the library.
    #[test]
    fn no_message_of_any_crate_names_what_only_a_program_can_set() {
        let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let mut named = 0;
        for folder in std::fs::read_dir(crates).expect("the crates") {
            let messages = folder.expect("a crate").path().join("tests/messages.txt");
            let Ok(text) = std::fs::read_to_string(&messages) else {
                continue;
            };
            for line in text.lines() {
                // `Variant: ` in front is the test's own.
                named += usize::from(line.contains("::"));
                let told = Failure::caller(line).message;
                assert!(!told.contains("::"), "{}: {told}", messages.display());
            }
        }
        assert!(named > 10, "{named}");
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
