//! How a volume is opened.

use std::fmt;
use std::sync::Arc;

use luksmith_block::{BlockDevice, ByteLen, Control};
use luksmith_header::policy::{Expectations, Policy};
use luksmith_header::{Header, Limits};
use luksmith_integrity::Mode;
use luksmith_keyslot::Threads;

use crate::{NullCipherKeyslots, Workers};

/// What a policy found wrong with a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field, as a path: `segments.0.encryption`.
    pub field: String,
    /// What it is.
    pub found: String,
    /// What it must be.
    pub expected: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            found,
            expected,
        } = self;
        write!(f, "{field} is {found:?}, {expected:?} is required")
    }
}

/// Judges a header before any key is derived from it.
///
/// The header is read once into memory; what the policy sees is what is used.
pub trait HeaderPolicy: Send + Sync {
    /// Looks at every field that matters.
    ///
    /// # Errors
    /// The first [`Violation`].
    fn judge(&self, header: &Header) -> Result<(), Violation>;
}

impl<F> HeaderPolicy for F
where
    F: Fn(&Header) -> Result<(), Violation> + Send + Sync,
{
    fn judge(&self, header: &Header) -> Result<(), Violation> {
        self(header)
    }
}

/// What to do with a segment whose cipher does not encrypt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NullCipher {
    /// Refuse it: whoever can change the header could pass plaintext off as encrypted.
    #[default]
    Refuse,
    /// Map the plaintext.
    AcceptPlaintext,
}

/// Whether a volume without tags may be opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IntegrityRequirement {
    /// With tags or without.
    #[default]
    Optional,
    /// With tags that authenticate the data, or not at all.
    Required,
}

/// How writes of an authenticated volume are kept consistent with their tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Journal {
    /// As the header says: through the journal, unless it has the flag `no-journal`.
    #[default]
    AsHeaderSays,
    /// Through the journal.
    Use,
    /// In place: after a crash, sectors written since the last flush may be unreadable.
    Bypass,
    /// Not at all, for a journal that is damaged beyond use: what waits in it is not seen, tags are
    /// verified as ever, and nothing can be written.
    Ignore,
}

impl Journal {
    /// Gives the mode of the integrity layer under a header that has the flag `no-journal` or not.
    pub(crate) const fn mode(self, no_journal: bool) -> Mode {
        match self {
            Self::Use => Mode::Journal,
            Self::Bypass => Mode::Direct,
            Self::AsHeaderSays if no_journal => Mode::Direct,
            Self::AsHeaderSays => Mode::Journal,
            Self::Ignore => Mode::Recovery,
        }
    }
}

/// Whether journal entries are verified before they are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JournalTrust {
    /// Every entry's tag must match.
    #[default]
    Verify,
    /// As the kernel does: entries are used unseen, and a wrong one shows when its sector is read.
    Trust,
}

/// How a volume is opened: a builder with safe defaults.
///
/// ```
/// use luksmith::{IntegrityRequirement, OpenOptions};
///
/// let options = OpenOptions::new()
///     .read_only()
///     .integrity(IntegrityRequirement::Required)
///     .keyslot(0);
/// # let _ = options;
/// ```
#[derive(Clone)]
pub struct OpenOptions {
    pub(crate) header: Option<Arc<dyn BlockDevice>>,
    pub(crate) read_only: bool,
    pub(crate) limits: Limits,
    pub(crate) keyslot: Option<u32>,
    pub(crate) token: Option<u32>,
    pub(crate) token_type: Option<String>,
    pub(crate) null_cipher: NullCipher,
    pub(crate) null_cipher_keyslots: NullCipherKeyslots,
    pub(crate) integrity: IntegrityRequirement,
    pub(crate) journal: Journal,
    pub(crate) journal_trust: JournalTrust,
    pub(crate) journal_limit: Option<ByteLen>,
    pub(crate) policy: Option<Arc<dyn HeaderPolicy>>,
    pub(crate) control: Arc<Control>,
    pub(crate) threads: Threads,
    pub(crate) workers: Workers,
    pub(crate) discards: bool,
    pub(crate) keep_key: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            header: None,
            read_only: false,
            limits: Limits::default(),
            keyslot: None,
            token: None,
            token_type: None,
            null_cipher: NullCipher::Refuse,
            null_cipher_keyslots: NullCipherKeyslots::default(),
            integrity: IntegrityRequirement::Optional,
            journal: Journal::AsHeaderSays,
            journal_trust: JournalTrust::Verify,
            journal_limit: None,
            policy: None,
            control: Arc::default(),
            threads: Threads::default(),
            workers: Workers::default(),
            discards: false,
            keep_key: false,
        }
    }
}

impl OpenOptions {
    /// Starts with the defaults: writable, everything verified, cryptsetup's limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the header from another device: a detached header, a header backup file, or memory.
    #[must_use]
    pub fn detached_header(mut self, device: impl BlockDevice + 'static) -> Self {
        self.header = Some(Arc::new(device));
        self
    }

    /// Refuses every write. A journal that was left behind is read, not applied.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Sets what reading and unlocking the header may cost.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Tries this keyslot alone, whatever its priority.
    #[must_use]
    pub fn keyslot(mut self, keyslot: u32) -> Self {
        self.keyslot = Some(keyslot);
        self
    }

    /// Uses this token alone, and its keyslots whatever their priority: for
    /// [`open_with_tokens`](crate::open_with_tokens) and [`test_tokens`](crate::test_tokens).
    #[must_use]
    pub fn token(mut self, id: u32) -> Self {
        self.token = Some(id);
        self
    }

    /// Uses tokens of this type alone.
    #[must_use]
    pub fn token_type(mut self, type_name: impl Into<String>) -> Self {
        self.token_type = Some(type_name.into());
        self
    }

    /// Says what to do with a segment whose cipher does not encrypt.
    #[must_use]
    pub fn null_cipher(mut self, choice: NullCipher) -> Self {
        self.null_cipher = choice;
        self
    }

    /// Says whether keyslots that keep the volume key unencrypted are used.
    #[must_use]
    pub fn null_cipher_keyslots(mut self, choice: NullCipherKeyslots) -> Self {
        self.null_cipher_keyslots = choice;
        self
    }

    /// Says whether a volume without tags may be opened.
    #[must_use]
    pub fn integrity(mut self, requirement: IntegrityRequirement) -> Self {
        self.integrity = requirement;
        self
    }

    /// Says how writes of an authenticated volume are kept consistent with their tags.
    #[must_use]
    pub fn journal(mut self, journal: Journal) -> Self {
        self.journal = journal;
        self
    }

    /// Says whether journal entries are verified before they are used.
    #[must_use]
    pub fn journal_trust(mut self, trust: JournalTrust) -> Self {
        self.journal_trust = trust;
        self
    }

    /// Limits the size of the journal of an authenticated volume, 4 GiB by default. It is read
    /// whole if anything waits in it, which takes up to 200 MiB of memory for 4 GiB, and before the
    /// first write.
    #[must_use]
    pub fn journal_limit(mut self, bytes: ByteLen) -> Self {
        self.journal_limit = Some(bytes);
        self
    }

    /// Has the header judged before any key is derived from it.
    #[must_use]
    pub fn policy(mut self, policy: impl HeaderPolicy + 'static) -> Self {
        self.policy = Some(Arc::new(policy));
        self
    }

    /// Has the header judged by a profile: see [`luksmith_header::policy`].
    #[must_use]
    pub fn pinned(self, policy: Policy, expected: Expectations) -> Self {
        self.policy(pinned(policy, expected))
    }

    /// Gives the handle on which the caller cancels a key derivation.
    #[must_use]
    pub fn control(mut self, control: Arc<Control>) -> Self {
        self.control = control;
        self
    }

    /// Says how many threads a key derivation may use.
    #[must_use]
    pub fn threads(mut self, threads: Threads) -> Self {
        self.threads = threads;
        self
    }

    /// Says who works on large reads and writes of the open volume; otherwise the caller alone.
    #[must_use]
    pub fn workers(mut self, workers: Workers) -> Self {
        self.workers = workers;
        self
    }

    /// Passes discards on to the device, which shows it which sectors are in use.
    ///
    /// A volume with tags takes them if its tags are HMACs, no IVs are stored and the device
    /// promises zeros where it discarded: a discarded sector then reads as noise, the decryption of
    /// zeros, and not as an error. Others refuse discards all the same.
    ///
    /// With a journal, a discarded sector is written to it as any other: a block of zeros. That
    /// costs as much as writing the sector to the journal, and gives its storage back afterwards;
    /// where many gigabytes are to be discarded, a volume opened with
    /// [`Journal::Bypass`] does it by tags alone.
    #[must_use]
    pub fn allow_discards(mut self) -> Self {
        self.discards = true;
        self
    }

    /// Keeps the volume key in locked memory while the volume is open, for
    /// [`Volume::volume_key`](crate::Volume::volume_key). Otherwise only round keys remain.
    #[must_use]
    pub fn keep_volume_key(mut self) -> Self {
        self.keep_key = true;
        self
    }
}

/// Makes a judge of a profile.
pub(crate) fn pinned(policy: Policy, expected: Expectations) -> impl HeaderPolicy + 'static {
    move |header: &Header| match policy.violations(header, &expected).first() {
        None => Ok(()),
        Some(violation) => Err(Violation {
            field: violation.field.as_str().to_owned(),
            found: violation.found.as_str().to_owned(),
            expected: violation.expected.as_str().to_owned(),
        }),
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("detached_header", &self.header.is_some())
            .field("read_only", &self.read_only)
            .field("limits", &self.limits)
            .field("keyslot", &self.keyslot)
            .field("integrity", &self.integrity)
            .field("policy", &self.policy.is_some())
            .finish_non_exhaustive()
    }
}
