//! What a new volume is to be.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use luksmith_block::{BlockDevice, ByteLen, Control, SectorCount, SectorSize};
use luksmith_crypt::{AuthSpec, CipherSpec, Integrity};
use luksmith_hash::HashName;
use luksmith_header::json::Object;
use luksmith_header::luks2::{DEFAULT_ALIGNMENT, HeaderSize};
use luksmith_header::policy::{Expectations, Policy};
use luksmith_header::{Header, Limits, Priority};
use luksmith_keyslot::cost::{DEFAULT_TARGET, Method};
use luksmith_keyslot::{Kdf, Threads};

use crate::Error;
use crate::options::{HeaderPolicy, Journal, OpenOptions, pinned};
use crate::plan::Construction;

/// Which version of the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// LUKS2.
    #[default]
    Luks2,
    /// LUKS1: one copy of the header, no checksum, no tags, PBKDF2 alone.
    Luks1,
}

/// Where the header is to be.
#[derive(Clone, Default)]
pub enum HeaderPlace {
    /// In front of the data.
    #[default]
    Attached,
    /// On a device of its own; the data start at byte 0 of theirs.
    Detached(Arc<dyn BlockDevice>),
    /// Nowhere: [`Volume::header_image`](crate::Volume::header_image) gives its bytes.
    Memory,
}

impl fmt::Debug for HeaderPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attached => "Attached",
            Self::Detached(_) => "Detached",
            Self::Memory => "Memory",
        })
    }
}

/// How the key derivation of the first keyslot is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KdfChoice {
    /// Costs are measured until an unlock takes about this long.
    Measured(Method, Duration),
    /// These costs, if new keyslots may have them.
    Stated(Kdf),
    /// These costs, whatever they are: for formats that other programs have fixed.
    Exactly(Kdf),
    /// PBKDF2 with 1000 iterations, for a key that nobody can guess: 32 bytes or more from a
    /// generator, never what a person made up or typed. Shorter keys are refused.
    HighEntropy,
}

impl KdfChoice {
    /// Fewest bytes of a key for [`HighEntropy`](Self::HighEntropy). Longer keys may be weak all
    /// the same: whoever chooses it knows where the key comes from.
    pub const MIN_HIGH_ENTROPY_BYTES: usize = 32;
}

/// What a fresh authenticated volume reads as. Without tags there is nothing to initialise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Init {
    /// Zeros: all data and tags are written, as cryptsetup does.
    #[default]
    Wipe,
    /// Noise without an error: tags over the zeros that the device reads as. Only tags are written.
    /// A block that does not read as zeros stays an error. HMAC integrity only.
    Tags,
    /// Zeros, in the process that made the volume: it remembers what was written, in one bit for
    /// each sector. Nothing but superblock and one section of journal is written, however large the
    /// device. For a volume that ends with its process: the header stays in memory
    /// ([`HeaderPlace::Memory`]), writes bypass the journal, and whoever opened the volume again
    /// would find errors where nothing was written.
    Lazy,
    /// Errors, until a sector is written.
    None,
}

/// Whether a volume that is there already may be overwritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// Refuse a device that would be written and has a LUKS header or the mark of another format.
    #[default]
    Refuse,
    /// Its data are lost.
    Allow,
}

/// What a new volume is to be: a builder with cryptsetup's defaults.
///
/// ```
/// use luksmith::{FormatOptions, Init};
/// use luksmith::block::SectorSize;
///
/// let options = FormatOptions::luks2()
///     .integrity("hmac(sha256)")
///     .sector_size(SectorSize::S4096)
///     .init(Init::Tags)
///     .label("scratch");
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
pub struct FormatOptions {
    pub(crate) version: Version,
    pub(crate) cipher: String,
    pub(crate) cipher_key_bytes: Option<usize>,
    pub(crate) hash: HashName,
    pub(crate) integrity: Option<String>,
    pub(crate) integrity_key_bytes: Option<usize>,
    pub(crate) sector_size: Option<SectorSize>,
    pub(crate) label: String,
    pub(crate) subsystem: String,
    pub(crate) uuid: Option<String>,
    pub(crate) header_size: HeaderSize,
    pub(crate) keyslots_len: Option<u64>,
    pub(crate) data_offset: Option<u64>,
    pub(crate) alignment: u64,
    pub(crate) place: HeaderPlace,
    pub(crate) kdf: KdfChoice,
    pub(crate) digest_iterations: Option<u32>,
    pub(crate) keyslot: u32,
    pub(crate) keyslot_cipher: Option<(String, u32)>,
    pub(crate) priority: Priority,
    pub(crate) journal_sectors: Option<SectorCount>,
    pub(crate) no_journal: bool,
    pub(crate) legacy_padding: bool,
    pub(crate) init: Init,
    pub(crate) tokens: Vec<(u32, Object)>,
    pub(crate) overwrite: Overwrite,
    pub(crate) limits: Limits,
    pub(crate) control: Arc<Control>,
    pub(crate) threads: Threads,
    pub(crate) policy: Judge,
}

/// Judges the new header.
#[derive(Clone, Default)]
pub(crate) struct Judge(Option<Arc<dyn HeaderPolicy>>);

impl Judge {
    pub(crate) fn check(&self, header: &Header) -> Result<(), Error> {
        let judged = self.0.as_ref().map_or(Ok(()), |judge| judge.judge(header));
        judged.map_err(|violation| Error::Policy { violation })
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Judge({})", self.0.is_some())
    }
}

impl FormatOptions {
    /// LUKS2 with cryptsetup's defaults: aes-xts-plain64 with a 512-bit key, Argon2id, a header of
    /// 16 MiB in front of the data, no integrity.
    #[must_use]
    pub fn luks2() -> Self {
        Self {
            version: Version::Luks2,
            cipher: "aes-xts-plain64".into(),
            cipher_key_bytes: None,
            hash: HashName::Sha256,
            integrity: None,
            integrity_key_bytes: None,
            sector_size: None,
            label: String::new(),
            subsystem: String::new(),
            uuid: None,
            header_size: HeaderSize::MIN,
            keyslots_len: None,
            data_offset: None,
            alignment: DEFAULT_ALIGNMENT,
            place: HeaderPlace::Attached,
            kdf: KdfChoice::Measured(Method::default(), DEFAULT_TARGET),
            digest_iterations: None,
            keyslot: 0,
            keyslot_cipher: None,
            priority: Priority::Normal,
            journal_sectors: None,
            no_journal: false,
            legacy_padding: false,
            init: Init::Wipe,
            tokens: Vec::new(),
            overwrite: Overwrite::Refuse,
            limits: Limits::default(),
            control: Arc::default(),
            threads: Threads::default(),
            policy: Judge::default(),
        }
    }

    /// LUKS1 with cryptsetup's defaults: aes-xts-plain64 with a 512-bit key, PBKDF2 with SHA-256.
    #[must_use]
    pub fn luks1() -> Self {
        let method = Method::Pbkdf2 {
            hash: HashName::Sha256,
        };
        Self {
            version: Version::Luks1,
            kdf: KdfChoice::Measured(method, DEFAULT_TARGET),
            ..Self::luks2()
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])+ $name:ident: $argument:ty => $field:ident = $value:expr;)+) => {
        impl FormatOptions {
            $(
                $(#[$doc])+
                #[must_use]
                pub fn $name(mut self, $name: $argument) -> Self {
                    self.$field = $value;
                    self
                }
            )+
        }
    };
}

setters! {
    /// Sets the cipher, as `aes-xts-plain64`.
    cipher: &str => cipher = cipher.into();
    /// Sets the length of the cipher's key in bytes, an HMAC's key not counted. Otherwise it is the
    /// longest that the cipher takes.
    cipher_key_bytes: usize => cipher_key_bytes = Some(cipher_key_bytes);
    /// Sets the hash of digest, anti-forensic split and, where it is PBKDF2, key derivation.
    hash: HashName => hash = hash;
    /// Adds integrity: `hmac(sha256)`, `aead` or `poly1305`, as the segment names it.
    integrity: &str => integrity = Some(integrity.into());
    /// Sets the length of the HMAC's key in bytes; otherwise it is the digest's.
    integrity_key_bytes: usize => integrity_key_bytes = Some(integrity_key_bytes);
    /// Sets what is encrypted at once. Otherwise 4096 bytes if data offset and length allow it,
    /// else 512.
    sector_size: SectorSize => sector_size = Some(sector_size);
    /// Sets the label, 47 bytes at most.
    label: &str => label = label.into();
    /// Sets the subsystem, 47 bytes at most.
    subsystem: &str => subsystem = subsystem.into();
    /// Sets the UUID; otherwise it is random.
    uuid: &str => uuid = Some(uuid.into());
    /// Sets the length of one LUKS2 header copy.
    header_size: HeaderSize => header_size = header_size;
    /// Sets the length of the LUKS2 keyslot area.
    keyslots_len: ByteLen => keyslots_len = Some(keyslots_len.get());
    /// Sets where the data start.
    data_offset: ByteLen => data_offset = Some(data_offset.get());
    /// Sets what the start of the data is a multiple of, where it is not given.
    alignment: ByteLen => alignment = alignment.get();
    /// Says where the header is to be.
    header: HeaderPlace => place = header;
    /// Says how the key derivation of the keyslot is chosen.
    kdf: KdfChoice => kdf = kdf;
    /// Sets the iterations of the volume key's digest. Otherwise they are measured, or 1000 if the
    /// keyslot's costs are stated.
    digest_iterations: u32 => digest_iterations = Some(digest_iterations);
    /// Sets the number of the keyslot.
    keyslot: u32 => keyslot = keyslot;
    /// Sets when the keyslot is tried.
    priority: Priority => priority = priority;
    /// Sets the length of the integrity journal, rounded down to whole sections, at least one.
    journal_sectors: SectorCount => journal_sectors = Some(journal_sectors);
    /// Says what a fresh authenticated volume reads as.
    init: Init => init = init;
    /// Says whether a volume that is there already may be overwritten.
    overwrite: Overwrite => overwrite = overwrite;
    /// Sets what the key derivation may cost.
    limits: Limits => limits = limits;
    /// Gives the handle for progress and cancellation.
    control: Arc<Control> => control = control;
    /// Says how many threads may work.
    threads: Threads => threads = threads;
}

impl FormatOptions {
    /// Sets the cipher of the keyslot area and the length of its key in bytes. Otherwise it is that
    /// of the data, or aes-xts-plain64 with 64 bytes where that cannot serve.
    #[must_use]
    pub fn keyslot_cipher(mut self, encryption: &str, key_bytes: u32) -> Self {
        self.keyslot_cipher = Some((encryption.into(), key_bytes));
        self
    }

    /// Puts a token into the new header: an object with a `type` and an array `keyslots`.
    #[must_use]
    pub fn token(mut self, id: u32, token: Object) -> Self {
        self.tokens.push((id, token));
        self
    }

    /// Has the header say that writes bypass the integrity journal.
    #[must_use]
    pub fn without_journal(mut self) -> Self {
        self.no_journal = true;
        self
    }

    /// Has the new header judged by a profile before anything is written: see
    /// [`luksmith_header::policy`].
    #[must_use]
    pub fn pinned(mut self, policy: Policy, expected: Expectations) -> Self {
        self.policy = Judge(Some(Arc::new(pinned(policy, expected))));
        self
    }

    /// Pads tags as devices before Linux 5.5 did.
    #[must_use]
    pub fn legacy_padding(mut self) -> Self {
        self.legacy_padding = true;
        self
    }

    /// The options under which the new volume is opened.
    pub(crate) fn opening(&self) -> OpenOptions {
        let opening = OpenOptions::new().keep_volume_key();
        match self.init {
            Init::Lazy => opening.journal(Journal::Bypass),
            _ => opening,
        }
    }

    /// As [`resolve`](Self::resolve), where the data become as long as they need to be.
    pub(crate) fn resolve_any_length(&self) -> Result<Resolved, Error> {
        Ok(Resolved {
            data_len: None,
            ..self.resolve(ByteLen::ZERO)?
        })
    }

    /// Works out what follows from the options, for data of `data_len` bytes at most.
    pub(crate) fn resolve(&self, data_len: ByteLen) -> Result<Resolved, Error> {
        let cipher_error = |source| Error::Cipher { segment: 0, source };
        let spec = CipherSpec::parse(&self.cipher).map_err(cipher_error)?;
        if spec.is_null() {
            return Err(option(
                "cipher",
                &self.cipher,
                "a volume that is not encrypted is never made",
            ));
        }
        self.check_version()?;
        let cipher_key = match (self.cipher_key_bytes, spec.key_lengths().last()) {
            (Some(bytes), _) => bytes,
            (None, Some(longest)) => *longest,
            (None, None) => 0,
        };
        spec.check_key_len(cipher_key).map_err(cipher_error)?;
        let (construction, key_bytes) = match &self.integrity {
            None => {
                self.check_untagged(&spec)?;
                (Construction::Plain(spec), cipher_key)
            }
            Some(kind) => {
                let spec = Integrity::parse(kind)
                    .and_then(|kind| AuthSpec::new(spec, kind, self.integrity_key_bytes))
                    .map_err(cipher_error)?;
                self.check_tagged(&spec)?;
                let key_bytes = cipher_key + spec.mac_key_bytes();
                (Construction::Authenticated(spec), key_bytes)
            }
        };
        Ok(Resolved {
            construction,
            key_bytes,
            sector_size: self.sector_size,
            data_len: Some(data_len),
        })
    }

    fn check_untagged(&self, spec: &CipherSpec) -> Result<(), Error> {
        if spec.needs_tags() {
            return Err(option(
                "cipher",
                &self.cipher,
                "it needs an integrity type: an hmac, aead or poly1305",
            ));
        }
        if self.integrity_key_bytes.is_some() {
            return Err(option(
                "integrity key size",
                &self.cipher,
                "it needs an integrity type hmac",
            ));
        }
        if self.no_journal || self.journal_sectors.is_some() || self.legacy_padding {
            return Err(option(
                "integrity journal",
                &self.cipher,
                "it needs an integrity type",
            ));
        }
        Ok(())
    }

    fn check_tagged(&self, spec: &AuthSpec) -> Result<(), Error> {
        if spec.reuses_nonces() {
            return Err(option(
                "cipher",
                &self.cipher,
                "each overwrite would use a nonce again, which gives the authentication key away; \
                 use the IV random",
            ));
        }
        if self.init == Init::Lazy && !matches!(self.place, HeaderPlace::Memory) {
            return Err(option(
                "initialisation",
                "lazy",
                "what was written is remembered in memory alone, so the header must be there too",
            ));
        }
        let is_hmac = matches!(spec.integrity(), Integrity::Hmac(_)) && spec.stored_iv_bytes() == 0;
        if self.init == Init::Tags && !is_hmac {
            return Err(option(
                "initialisation",
                "tags",
                "it needs an integrity type hmac and an IV that is not stored; use wipe",
            ));
        }
        Ok(())
    }

    fn check_version(&self) -> Result<(), Error> {
        if self.version == Version::Luks2 {
            return Ok(());
        }
        let sector = self
            .sector_size
            .is_some_and(|size| size != SectorSize::S512);
        let refused = [
            (self.integrity.is_some(), "integrity"),
            (sector, "sector size"),
            (!self.label.is_empty(), "label"),
            (!self.subsystem.is_empty(), "subsystem"),
            (self.keyslots_len.is_some(), "keyslot area"),
            (self.header_size != HeaderSize::MIN, "header size"),
            (self.keyslot_cipher.is_some(), "keyslot cipher"),
            (self.priority != Priority::Normal, "priority"),
            (!self.tokens.is_empty(), "token"),
            (self.cipher.starts_with("capi:"), "cipher in capi form"),
        ];
        match refused.into_iter().find(|(is_set, _)| *is_set) {
            Some((_, name)) => Err(option(name, "LUKS1", "this needs LUKS2")),
            None => Ok(()),
        }
    }
}

/// What follows from the options.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) construction: Construction,
    /// Length of the volume key in bytes.
    pub(crate) key_bytes: usize,
    sector_size: Option<SectorSize>,
    /// `None` for as long as needed.
    data_len: Option<ByteLen>,
}

impl Resolved {
    /// Chooses the sector size for data that start at `offset`.
    pub(crate) fn sector_size(&self, offset: u64) -> Result<SectorSize, Error> {
        let tagged = matches!(self.construction, Construction::Authenticated(_));
        let left = self.data_len.map(|len| len.get().saturating_sub(offset));
        let fits = |size: SectorSize| {
            tagged || (size.divides(offset) && left.is_none_or(|left| size.divides(left)))
        };
        match self.sector_size {
            None if fits(SectorSize::S4096) => Ok(SectorSize::S4096),
            None => Ok(SectorSize::S512),
            Some(size) if fits(size) => Ok(size),
            Some(size) => Err(option(
                "sector size",
                &size.to_string(),
                "start and length of the data must be multiples of it",
            )),
        }
    }
}

/// An option that cannot be had.
pub(super) fn option(option: &'static str, found: &str, rule: &'static str) -> Error {
    Error::FormatOption {
        option,
        found: found.into(),
        rule,
    }
}
