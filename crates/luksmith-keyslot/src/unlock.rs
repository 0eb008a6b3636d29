//! From a passphrase, or a key, to the volume key of a header.
//!
//! Keyslots are tried by priority, then in the header's order. One that is damaged, not supported
//! or too costly does not hide those behind it: its error is remembered in the [`Report`].

mod report;

use alloc::{vec, vec::Vec};
use core::fmt;

use luksmith_block::BlockDevice;
use luksmith_header::{Digest, Header, KdfUser, Keyslot, KeyslotKind, Priority};

pub use crate::area::NullCipherKeyslots;
use crate::{
    AreaKey, CandidateKey, Error, Passphrase, VolumeKey, af,
    area::Area,
    digest::{self, KeyDigest},
    kdf::{Effort, Kdf, parse_hash, to_usize},
};

pub use report::{Attempt, Outcome, Report, Skip, Subject};

/// What the caller has to unlock a volume with.
#[non_exhaustive]
pub enum Unlock<'a> {
    /// A passphrase, or the bytes of a key file.
    Passphrase(&'a Passphrase),
    /// The volume key itself. It has to match a digest.
    VolumeKey(&'a CandidateKey),
    /// A callback that is asked for the passphrase of each keyslot that would be tried, by its
    /// number; `None` skips it.
    Ask(&'a mut (dyn FnMut(u32) -> Option<Passphrase> + 'a)),
}

impl fmt::Debug for Unlock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passphrase(passphrase) => write!(f, "Unlock::{passphrase:?}"),
            Self::VolumeKey(key) => write!(f, "Unlock::VolumeKey({key:?})"),
            Self::Ask(_) => f.write_str("Unlock::Ask"),
        }
    }
}

/// Which keyslots are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// Those that hold the key of the volume: of the default segment.
    #[default]
    Volume,
    /// Those that hold the key of this segment.
    Segment(u32),
    /// Any, unbound ones included: the key may be for another use than this volume.
    AnyKey,
}

/// How a header is unlocked.
///
/// ```
/// use luksmith_keyslot::unlock::{Scope, UnlockOptions};
///
/// let options = UnlockOptions::new().keyslot(3).scope(Scope::AnyKey);
/// # let _ = options;
/// ```
#[derive(Clone, Debug, Default)]
pub struct UnlockOptions {
    keyslot: Option<u32>,
    all_but: Option<u32>,
    scope: Scope,
    null_cipher: NullCipherKeyslots,
    key_bytes: Option<u32>,
}

impl UnlockOptions {
    /// Starts with the defaults: every keyslot of the volume's key.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tries this keyslot alone, whatever its priority.
    #[must_use]
    pub const fn keyslot(mut self, keyslot: u32) -> Self {
        self.keyslot = Some(keyslot);
        self
    }

    /// Tries the keyslots but this one, whatever their priority: so that whoever removes it shows
    /// that another one is left that opens.
    #[must_use]
    pub const fn all_but(mut self, keyslot: u32) -> Self {
        self.all_but = Some(keyslot);
        self
    }

    /// Says whose key is wanted.
    #[must_use]
    pub const fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Says whether keyslots that keep their key unencrypted are used.
    #[must_use]
    pub const fn null_cipher_keyslots(mut self, choice: NullCipherKeyslots) -> Self {
        self.null_cipher = choice;
        self
    }

    /// Says how long the volume key must be, exactly: what cipher and integrity of the segment
    /// need.
    #[must_use]
    pub const fn key_bytes(mut self, bytes: u32) -> Self {
        self.key_bytes = Some(bytes);
        self
    }
}

/// A volume key, and how it was had.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unlocked {
    /// The key.
    pub key: VolumeKey,
    /// The keyslot that held it, `None` if the caller brought the key.
    pub keyslot: Option<u32>,
    /// The digest that proved it.
    pub digest: u32,
    /// What became of each keyslot on the way.
    pub report: Report,
}

/// Unlocks a header whose keyslot areas are on `device`.
///
/// Requirements of the header are not looked at: testing a passphrase ignores them, mapping must
/// not.
///
/// ```no_run
/// use luksmith_block::{BlockDevice, Control};
/// use luksmith_header::{Budget, Header, Limits};
/// use luksmith_keyslot::{
///     Effort, Passphrase, Threads,
///     unlock::{Unlock, UnlockOptions, unlock},
/// };
///
/// fn key_length(device: &dyn BlockDevice) -> Result<usize, luksmith_keyslot::Error> {
///     let header = Header::read(device, &Limits::default())?;
///     let passphrase = Passphrase::new(b"correct horse")?;
///     let mut effort = Effort {
///         budget: &mut Budget::new(Limits::default()),
///         control: &Control::new(),
///         threads: Threads::default(),
///     };
///     let unlocked = unlock(
///         device,
///         &header,
///         Unlock::Passphrase(&passphrase),
///         &UnlockOptions::new(),
///         &mut effort,
///     )?;
///     Ok(unlocked.key.len())
/// }
/// ```
///
/// # Errors
/// [`Error::NoKeyslotOpened`]; [`Error::NoDigestMatched`] for a key given directly;
/// [`Error::NoSuchKeyslot`]; [`Error::Cancelled`]. What kept single keyslots from being tried is in
/// the report of the first two.
pub fn unlock<D: BlockDevice + ?Sized>(
    device: &D,
    header: &Header,
    unlock: Unlock<'_>,
    options: &UnlockOptions,
    effort: &mut Effort<'_>,
) -> Result<Unlocked, Error> {
    let view = View {
        keyslots: header.keyslots(),
        digests: header.digests(),
        segment: match options.scope {
            Scope::Volume => default_segment(header),
            Scope::Segment(id) => Some(id),
            Scope::AnyKey => None,
        },
    };
    match unlock {
        Unlock::VolumeKey(key) => view.prove(key, options, effort),
        Unlock::Passphrase(passphrase) => view.search(
            device,
            &mut |_| Some(Cow::Borrowed(passphrase)),
            options,
            effort,
        ),
        Unlock::Ask(ask) => view.search(device, &mut |id| ask(id).map(Cow::Owned), options, effort),
    }
}

/// The segment that describes the volume. Every header has one: rules of the format say so.
fn default_segment(header: &Header) -> Option<u32> {
    match header {
        Header::Luks2(header) => header
            .metadata()
            .default_segment()
            .map(|segment| segment.id),
        _ => Some(0),
    }
}

/// A passphrase that is lent or given.
enum Cow<'a> {
    Borrowed(&'a Passphrase),
    Owned(Passphrase),
}

impl Cow<'_> {
    fn get(&self) -> &Passphrase {
        match self {
            Self::Borrowed(passphrase) => passphrase,
            Self::Owned(passphrase) => passphrase,
        }
    }
}

/// What unlocking sees of a header of either version.
struct View {
    keyslots: Vec<Keyslot>,
    digests: Vec<Digest>,
    /// Whose key is wanted, `None` for any.
    segment: Option<u32>,
}

/// Gives the passphrase for a keyslot.
type Source<'a, 'p> = &'a mut dyn FnMut(u32) -> Option<Cow<'p>>;

impl View {
    /// Tries the keyslots until one opens.
    fn search<D: BlockDevice + ?Sized>(
        &self,
        device: &D,
        source: Source<'_, '_>,
        options: &UnlockOptions,
        effort: &mut Effort<'_>,
    ) -> Result<Unlocked, Error> {
        let mut report = Report::default();
        for (place, slot) in self.order(options)? {
            let id = match self.is_candidate(slot, options) {
                Ok(id) => id,
                Err(why) => {
                    let subject = slot
                        .id
                        .map_or(Subject::NamelessKeyslot(place), Subject::Keyslot);
                    report.note(subject, Outcome::Skipped(why));
                    continue;
                }
            };
            let subject = Subject::Keyslot(id);
            let Some(passphrase) = source(id) else {
                report.note(subject, Outcome::Skipped(Skip::NoPassphrase));
                continue;
            };
            match self.open_slot(device, slot, id, passphrase.get(), options, effort) {
                Ok((key, digest)) => {
                    report.note(subject, Outcome::Opened);
                    return Ok(Unlocked {
                        key,
                        keyslot: Some(id),
                        digest,
                        report,
                    });
                }
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(Error::DigestMismatch { .. } | Error::NullCipherPassphrase { .. }) => {
                    report.note(subject, Outcome::Wrong);
                }
                Err(error) => report.note(subject, Outcome::Failed(error)),
            }
        }
        Err(Error::NoKeyslotOpened { report })
    }

    /// Gives the keyslots in the order in which they are tried, with their places in the header:
    /// the preferred ones, then all others. Only the one asked for, if one is.
    fn order(&self, options: &UnlockOptions) -> Result<Vec<(usize, &Keyslot)>, Error> {
        let is_left_out = |slot: &Keyslot| slot.id.is_some() && slot.id == options.all_but;
        let all = || {
            let slots = self.keyslots.iter().enumerate();
            slots.filter(|(_, slot)| !is_left_out(slot))
        };
        if let Some(keyslot) = options.keyslot {
            let found = all().find(|(_, slot)| slot.id == Some(keyslot));
            return match found {
                Some(found) => Ok(vec![found]),
                None => Err(Error::NoSuchKeyslot { keyslot }),
            };
        }
        let is_preferred = |slot: &Keyslot| slot.priority == Priority::Prefer;
        let first = all().filter(|(_, slot)| is_preferred(slot));
        let then = all().filter(|(_, slot)| !is_preferred(slot));
        Ok(first.chain(then).collect())
    }

    /// Tells whether a keyslot is tried, and gives its number.
    fn is_candidate(&self, slot: &Keyslot, options: &UnlockOptions) -> Result<u32, Skip> {
        let id = slot.id.ok_or(Skip::Name)?;
        let by_number = options.keyslot.or(options.all_but).is_some();
        if !matches!(slot.kind, KeyslotKind::Luks2 { .. }) {
            return Err(Skip::Type);
        }
        if !by_number && !matches!(slot.priority, Priority::Prefer | Priority::Normal) {
            return Err(Skip::Priority);
        }
        match (self.segment, self.digest_of(id)) {
            (Some(segment), Some(digest)) if !self.opens(digest, segment) => Err(Skip::OtherKey),
            _ => Ok(id),
        }
    }

    /// Tells whether a digest is the one of a segment: the first that lists it. Another one that
    /// lists it too has no say.
    fn opens(&self, digest: &Digest, segment: u32) -> bool {
        let first = self
            .digests
            .iter()
            .find(|digest| digest.segments.contains(&segment));
        first.is_some_and(|first| first.key == digest.key)
    }

    fn digest_of(&self, keyslot: u32) -> Option<&Digest> {
        self.digests
            .iter()
            .find(|digest| digest.keyslots.contains(&keyslot))
    }

    fn open_slot<D: BlockDevice + ?Sized>(
        &self,
        device: &D,
        slot: &Keyslot,
        id: u32,
        passphrase: &Passphrase,
        options: &UnlockOptions,
        effort: &mut Effort<'_>,
    ) -> Result<(VolumeKey, u32), Error> {
        // The digest comes first: without one that can say no, no work is worth doing.
        let digest = self.digest_of(id).ok_or(Error::NoDigest { keyslot: id })?;
        let digest = KeyDigest::of_header(digest)?;
        let key_bytes = slot.key_bytes;
        if let Some(expected) = options.key_bytes
            && expected != key_bytes
        {
            return Err(Error::KeyLength {
                digest: digest.id(),
                found: to_usize(key_bytes),
                expected,
            });
        }
        let candidate = read_slot(device, slot, id, passphrase, options.null_cipher, effort)?;
        let key = digest::verify(candidate, &digest, key_bytes, effort)?;
        Ok((key, digest.id()))
    }

    /// Holds a key that the caller brought against the digests.
    fn prove(
        &self,
        key: &CandidateKey,
        options: &UnlockOptions,
        effort: &mut Effort<'_>,
    ) -> Result<Unlocked, Error> {
        let mut report = Report::default();
        for digest in &self.digests {
            let Some(id) = digest.id else { continue };
            let subject = Subject::Digest(id);
            if let Some(segment) = self.segment
                && !digest.segments.contains(&segment)
            {
                report.note(subject, Outcome::Skipped(Skip::OtherKey));
                continue;
            }
            if let Some(keyslot) = options.keyslot
                && !digest.keyslots.contains(&keyslot)
            {
                report.note(subject, Outcome::Skipped(Skip::OtherKey));
                continue;
            }
            match self.prove_one(key, digest, options, effort) {
                Ok(key) => {
                    report.note(subject, Outcome::Opened);
                    return Ok(Unlocked {
                        key,
                        keyslot: None,
                        digest: id,
                        report,
                    });
                }
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(Error::DigestMismatch { .. }) => report.note(subject, Outcome::Wrong),
                Err(error) => report.note(subject, Outcome::Failed(error)),
            }
        }
        Err(Error::NoDigestMatched { report })
    }

    fn prove_one(
        &self,
        key: &CandidateKey,
        digest: &Digest,
        options: &UnlockOptions,
        effort: &mut Effort<'_>,
    ) -> Result<VolumeKey, Error> {
        let usable = KeyDigest::of_header(digest)?;
        // The length is part of the proof: a key and the same key with zeros behind it have one
        // digest. The header knows it from the keyslots, the caller from cipher and integrity.
        let slot = self
            .keyslots
            .iter()
            .find(|slot| slot.id.is_some_and(|id| digest.keyslots.contains(&id)));
        let from_slot = slot.map(|slot| slot.key_bytes);
        let Some(expected) = options.key_bytes.or(from_slot) else {
            return Err(Error::KeyLengthUnknown {
                digest: usable.id(),
            });
        };
        digest::verify(CandidateKey::new(key.bytes())?, &usable, expected, effort)
    }
}

/// Derives the area key of a keyslot, reads its area and merges the key in it.
fn read_slot<D: BlockDevice + ?Sized>(
    device: &D,
    slot: &Keyslot,
    id: u32,
    passphrase: &Passphrase,
    null_cipher: NullCipherKeyslots,
    effort: &mut Effort<'_>,
) -> Result<CandidateKey, Error> {
    let user = KdfUser::Keyslot(id);
    let KeyslotKind::Luks2 { kdf, af } = &slot.kind else {
        return Err(Error::KeyslotType { keyslot: id });
    };
    let (Some(encryption), Some(area_key_bytes)) = (&slot.area.encryption, slot.area.key_bytes)
    else {
        return Err(Error::KeyslotType { keyslot: id });
    };
    let area = Area {
        keyslot: id,
        offset: slot.area.offset,
        key_bytes: slot.key_bytes,
        encryption,
    };
    area.check()?;
    let af_hash = parse_hash(&af.hash, user)?;
    effort.budget.check_key_bytes(user, slot.key_bytes)?;
    let area_key = if area.spec()?.is_null() {
        if null_cipher == NullCipherKeyslots::Refuse {
            return Err(Error::NullCipher { keyslot: id });
        }
        if !passphrase.is_empty() {
            return Err(Error::NullCipherPassphrase { keyslot: id });
        }
        // Nothing is encrypted with it, so nothing is derived.
        AreaKey::zeroed(0)?
    } else {
        let (kdf, salt) = Kdf::of_header(kdf, user)?;
        kdf.derive(passphrase, salt, area_key_bytes, user, effort)?
    };
    let stripes = area.read(device, &area_key)?;
    af::merge(stripes.bytes(), to_usize(slot.key_bytes), af_hash)
}
