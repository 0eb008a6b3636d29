//! The one error of the facade, and whose move it is.

use luksmith_block::ByteLen;
use luksmith_header::{Quoted, luks2::Requirement};

use crate::{Found, Violation};

/// Whose move it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request or an option is wrong, or the caller cancelled.
    Caller,
    /// Another process or a concurrent change is in the way.
    Busy,
    /// There is no LUKS volume here.
    NotLuks,
    /// The header, or what it describes, is damaged or contradicts itself.
    Malformed,
    /// The volume uses something that is not supported.
    Unsupported,
    /// The volume asks for more than the limits allow.
    OverLimit,
    /// A policy or a safety rule refuses the volume.
    Policy,
    /// The header's own authentication does not match.
    HeaderMac,
    /// No keyslot opened with this key.
    WrongKey,
    /// Data or tags were changed outside.
    Tampered,
    /// The contents are older than they must be.
    Stale,
    /// The device is too small.
    TooSmall,
    /// There is a volume or something else already.
    AlreadyFormatted,
    /// The system or the medium failed.
    Device,
}

impl ErrorKind {
    /// Gives the name that stays the same, for programs: `wrong-key`, `not-luks` and so on.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Busy => "busy",
            Self::NotLuks => "not-luks",
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::OverLimit => "over-limit",
            Self::Policy => "policy",
            Self::HeaderMac => "header-mac",
            Self::WrongKey => "wrong-key",
            Self::Tampered => "tampered",
            Self::Stale => "stale",
            Self::TooSmall => "too-small",
            Self::AlreadyFormatted => "already-formatted",
            Self::Device => "device",
        }
    }
}

impl core::fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a volume could not be made, opened or used.
///
/// What the layers below say is passed on as it is; [`kind`](Self::kind) sorts all of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The header could not be read or is malformed.
    #[error(transparent)]
    Header {
        /// What the header crate says.
        #[from]
        source: luksmith_header::Error,
    },
    /// The volume key could not be had.
    #[error(transparent)]
    Keyslot {
        /// What the keyslot crate says.
        #[from]
        source: luksmith_keyslot::Error,
    },
    /// The segment's cipher cannot be used.
    #[error("segment {segment}: {source}")]
    Cipher {
        /// The segment.
        segment: u32,
        /// What the cipher crate says.
        source: luksmith_crypt::Error,
    },
    /// The integrity layer cannot be opened.
    #[error(transparent)]
    Integrity {
        /// What the integrity crate says; what the device says is [`Device`](Self::Device).
        source: luksmith_integrity::Error,
    },
    /// The device failed, or a tag did not match.
    #[error(transparent)]
    Device {
        /// What the device says.
        #[from]
        source: luksmith_block::Error,
    },
    /// The caller's policy refuses the header.
    #[error("the policy refuses this header: {violation}")]
    Policy {
        /// Which field, what it is, what it must be.
        violation: Violation,
    },

    /// The header asks for something that this reader does not do.
    #[error("the header requires \"{}\", which is not supported; {}", .requirement.to_word(), advice(.requirement))]
    Requirement {
        /// What is required.
        requirement: Requirement,
    },
    /// There is not exactly one segment to be mapped.
    #[error(
        "the header has {count} segments; more than one belongs to a re-encryption, which has to be \
         finished first"
    )]
    SegmentCount {
        /// How many segments there are, those that only remember a state included.
        count: usize,
    },
    /// The segment is not encrypted data.
    #[error(
        "segment {segment} has the type \"{found}\"; only \"crypt\" is mapped, so that nobody can \
         pass plaintext off as an encrypted volume"
    )]
    SegmentType {
        /// The segment.
        segment: u32,
        /// Its type.
        found: Quoted,
    },
    /// The segment carries a flag of a re-encryption.
    #[error(
        "segment {segment} has the flag \"{flag}\", which belongs to a re-encryption that has to be \
         finished first"
    )]
    SegmentFlag {
        /// The segment.
        segment: u32,
        /// The flag.
        flag: Quoted,
    },
    /// The segment's IVs start elsewhere.
    #[error(
        "segment {segment} has iv_tweak {found}; only 0 is mapped, anything else belongs to a \
         re-encryption"
    )]
    IvTweak {
        /// The segment.
        segment: u32,
        /// Its IV tweak in 512-byte sectors.
        found: u64,
    },
    /// The segment's encryption sectors have a size that does not exist.
    #[error("segment {segment} has sector_size {found}; 512, 1024, 2048 and 4096 exist")]
    SegmentSectorSize {
        /// The segment.
        segment: u32,
        /// The size in bytes.
        found: u32,
    },
    /// The segment does not start between sectors.
    #[error("segment {segment} starts at byte {found}, which is no multiple of 512")]
    SegmentOffset {
        /// The segment.
        segment: u32,
        /// Its first byte.
        found: u64,
    },
    /// The journal of the segment's integrity is protected in a way that nobody uses.
    #[error("segment {segment}: integrity.{field} is \"{found}\"; only \"none\" is supported")]
    IntegrityJournal {
        /// The segment.
        segment: u32,
        /// `journal_encryption` or `journal_integrity`.
        field: &'static str,
        /// What it says.
        found: Quoted,
    },
    /// The device is too small for what the header says.
    #[error(
        "segment {segment} starts at byte {offset} and needs {needed} bytes, the device has {size}; \
         is this a header without its data device, or a truncated image"
    )]
    DeviceTooSmall {
        /// The segment.
        segment: u32,
        /// First byte of the segment.
        offset: u64,
        /// Bytes that it needs at least.
        needed: u64,
        /// Size of the device.
        size: ByteLen,
    },
    /// The header and the integrity superblock disagree on the size.
    #[error(
        "segment {segment} has {segment_bytes} bytes by the header, {provided_bytes} by the integrity \
         superblock"
    )]
    SegmentSize {
        /// The segment.
        segment: u32,
        /// Size in the header.
        segment_bytes: u64,
        /// Size in the superblock.
        provided_bytes: u64,
    },
    /// The caller asked for an authenticated volume and this is none.
    #[error(
        "this volume has no integrity protection, which the caller requires; its integrity may have \
         been stripped from the header"
    )]
    IntegrityRequired,
    /// The volume's size stands in its header.
    #[error(
        "segment {segment} has a fixed size of {len} bytes in its header, which does not change \
         with its device"
    )]
    FixedSize {
        /// The segment.
        segment: u32,
        /// Its length.
        len: ByteLen,
    },
    /// A volume was to be shrunk to more than it has.
    #[error(
        "a device of {device} bytes has room for {room} bytes of data and the volume has {size}; grow \
         it instead"
    )]
    NotSmaller {
        /// Bytes to which the device was to be cut.
        device: ByteLen,
        /// Bytes of data for which there would be room.
        room: ByteLen,
        /// Bytes of the volume.
        size: ByteLen,
    },
    /// An option of a new volume cannot be had, alone or together with the others.
    #[error("{option} {found:?}: {rule}")]
    FormatOption {
        /// Which option.
        option: &'static str,
        /// What was asked for.
        found: String,
        /// Why it cannot be had, and what would work.
        rule: &'static str,
    },
    /// There is something on the device already.
    #[error(
        "the device holds {found}, which would be lost: choose Overwrite::Allow if that is meant"
    )]
    AlreadyFormatted {
        /// What was found.
        found: Found,
    },
    /// A word of a device-mapper table would end too early, or begin a second table.
    #[error(
        "a device-mapper table has no room for {what} {found:?}: it has blanks, control characters \
         or backslashes, or nothing at all"
    )]
    DmWord {
        /// What it is.
        what: &'static str,
        /// The word.
        found: String,
    },
    /// The header device is too small.
    #[error("the header needs {needed} bytes with its keyslot areas, the device for it has {size}")]
    HeaderRoom {
        /// Bytes needed.
        needed: ByteLen,
        /// Size of the device.
        size: ByteLen,
    },
    /// The device is too small for a new volume.
    #[error("the device has {size}, a volume of these options needs at least {needed}")]
    VolumeRoom {
        /// Bytes needed: header, keyslot areas and one sector of data.
        needed: ByteLen,
        /// Size of the device.
        size: ByteLen,
    },
    /// A plaintext has another length than was announced.
    #[error(
        "the plaintext was announced with {announced} bytes, it has {found} or more; the output \
         is no volume"
    )]
    StreamLength {
        /// Bytes announced.
        announced: ByteLen,
        /// Bytes found: all of them, or one more than announced.
        found: ByteLen,
    },
    /// A workload image's footer cannot be read or written.
    #[error("the workload footer cannot be used: {problem}")]
    Footer {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is no token that a handler could have used.
    #[error(
        "no token of this volume can be used here, or none of those asked for; give the passphrase \
         itself"
    )]
    NoUsableToken,
    /// No token led to the volume key.
    #[error("none of {tokens} usable tokens opened the volume")]
    NoTokenOpened {
        /// Tokens for which there was a handler.
        tokens: usize,
        /// [`ErrorKind::WrongKey`] if a passphrase did not fit, or if there is none at the moment;
        /// else that of `source`.
        kind: ErrorKind,
        /// Why the first passphrase was not had, or the first keyslot not tried.
        source: Option<crate::HandlerError>,
    },
    /// Verifying needs tags.
    #[error("this volume has no tags, so there is nothing to verify")]
    NothingToVerify,
    /// An initialisation was cancelled or failed.
    #[error(
        "the initialisation stopped at byte {next}: {cause}; everything before is initialised, go on \
         from there"
    )]
    InitStopped {
        /// The first byte that is not initialised.
        next: luksmith_block::ByteOffset,
        /// Why it stopped.
        #[source]
        cause: Box<Self>,
    },
    /// A lazy volume was asked for what outlives its process.
    #[error(
        "this volume was made with lazy initialisation and ends with its process; it cannot {action}"
    )]
    LazyVolume {
        /// What was asked for.
        action: &'static str,
    },
    /// Reading or writing the plaintext's other side failed.
    #[error("{what} failed: {source}")]
    Stream {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<luksmith_integrity::Error> for Error {
    fn from(source: luksmith_integrity::Error) -> Self {
        match source {
            // One error for what the device says, whichever layer asked it.
            luksmith_integrity::Error::Device { source } => Self::Device { source },
            source => Self::Integrity { source },
        }
    }
}

fn advice(requirement: &Requirement) -> &'static str {
    match requirement {
        Requirement::OfflineReencrypt | Requirement::OnlineReencrypt { .. } => {
            "finish the re-encryption first"
        }
        Requirement::InlineHwTags => {
            "the tags live in the drive's own metadata, which a file cannot hold"
        }
        Requirement::Opal => "the drive itself encrypts; unlock it with the tools for it",
        _ => "a newer program made this header",
    }
}

impl Error {
    /// Tells whose move it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Header { source } => of_header(source),
            Self::Keyslot { source } => of_keyslot(source),
            Self::Cipher { source, .. } => of_crypt(source),
            Self::Integrity { source } => of_integrity(source),
            Self::Device { source } => of_block(source),
            Self::Policy { .. } | Self::IntegrityRequired => ErrorKind::Policy,
            Self::Requirement { .. }
            | Self::SegmentCount { .. }
            | Self::SegmentType { .. }
            | Self::SegmentFlag { .. }
            | Self::IvTweak { .. }
            | Self::IntegrityJournal { .. } => ErrorKind::Unsupported,
            Self::SegmentSectorSize { .. }
            | Self::SegmentOffset { .. }
            | Self::SegmentSize { .. } => ErrorKind::Malformed,
            Self::DeviceTooSmall { .. } | Self::HeaderRoom { .. } | Self::VolumeRoom { .. } => {
                ErrorKind::TooSmall
            }
            Self::AlreadyFormatted { .. } => ErrorKind::AlreadyFormatted,
            Self::NothingToVerify
            | Self::FixedSize { .. }
            | Self::NotSmaller { .. }
            | Self::FormatOption { .. }
            | Self::StreamLength { .. }
            | Self::DmWord { .. } => ErrorKind::Caller,
            Self::Footer { .. } => ErrorKind::Malformed,
            Self::NoUsableToken => ErrorKind::Caller,
            Self::NoTokenOpened { kind, .. } => *kind,
            Self::InitStopped { cause, .. } => cause.kind(),
            Self::LazyVolume { .. } => ErrorKind::Caller,
            Self::Stream { .. } => ErrorKind::Device,
        }
    }

    /// Tells whose move it is if no token led to a key and this kept the first from it.
    pub(crate) fn kind_of_handler(error: &crate::HandlerError) -> ErrorKind {
        if let Some(error) = error.downcast_ref::<Self>() {
            return error.kind();
        }
        match error.downcast_ref::<luksmith_header::Error>() {
            Some(error) => of_header(error),
            None => ErrorKind::Device,
        }
    }

    /// Gives the operating system's error number, if the failure came from it.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Device { source }
            | Self::Header {
                source: luksmith_header::Error::Device { source },
            } => source.raw_os_error(),
            Self::Stream { source, .. } => source.raw_os_error(),
            Self::InitStopped { cause, .. } => cause.raw_os_error(),
            _ => None,
        }
    }
}

fn of_block(error: &luksmith_block::Error) -> ErrorKind {
    use luksmith_block::Error;
    match error {
        tampering if tampering.is_tampering() => ErrorKind::Tampered,
        Error::Busy => ErrorKind::Busy,
        Error::Damaged { .. } => ErrorKind::Malformed,
        Error::PastEnd { .. }
        | Error::Misaligned { .. }
        | Error::Length { .. }
        | Error::ReadOnly
        | Error::Unsupported { .. }
        | Error::Cancelled => ErrorKind::Caller,
        _ => ErrorKind::Device,
    }
}

fn of_header(error: &luksmith_header::Error) -> ErrorKind {
    use luksmith_header::Error;
    match error {
        Error::Device { source } => of_block(source),
        Error::NotLuks | Error::Overwritten { .. } => ErrorKind::NotLuks,
        Error::UnsupportedVersion { .. } | Error::Luks1OldReencryption => ErrorKind::Unsupported,
        Error::TooShort { .. } => ErrorKind::TooSmall,
        Error::HeaderBytes { .. }
        | Error::Argon2Memory { .. }
        | Error::Argon2Lanes { .. }
        | Error::Argon2Work { .. }
        | Error::Pbkdf2Iterations { .. }
        | Error::KeyBytes { .. } => ErrorKind::OverLimit,
        Error::NoUsableCopy { primary, secondary } => match of_header(primary) {
            ErrorKind::NotLuks | ErrorKind::Malformed => match of_header(secondary) {
                kind @ (ErrorKind::OverLimit | ErrorKind::Device) => kind,
                _ => ErrorKind::Malformed,
            },
            kind => kind,
        },
        Error::Policy { .. } => ErrorKind::Policy,
        Error::LabelLength { .. }
        | Error::ProfileText { .. }
        | Error::Profile { .. }
        | Error::RestoreMismatch { .. }
        | Error::RestoreRequirement { .. }
        | Error::Convert { .. }
        | Error::UuidText { .. }
        | Error::NoSuchObject { .. }
        | Error::ObjectInUse { .. }
        | Error::ObjectId { .. }
        | Error::NoFreeObject { .. }
        | Error::NoAreaSpace { .. }
        | Error::MetadataFull { .. }
        | Error::Option { .. } => ErrorKind::Caller,
        Error::ConcurrentUpdate { .. } => ErrorKind::Busy,
        Error::Random => ErrorKind::Device,
        _ => ErrorKind::Malformed,
    }
}

fn of_keyslot(error: &luksmith_keyslot::Error) -> ErrorKind {
    use luksmith_keyslot::Error;
    match error {
        Error::NoKeyslotOpened { report } | Error::NoDigestMatched { report } => {
            // One keyslot that said no outweighs those that could not be asked: another passphrase
            // is what helps first.
            match report.first_error() {
                Some(error) if !report.has_wrong() => of_keyslot(error),
                _ => ErrorKind::WrongKey,
            }
        }
        Error::KeyLength { .. } | Error::DigestMismatch { .. } | Error::OtherKey { .. } => {
            ErrorKind::WrongKey
        }
        Error::Header { source } => of_header(source),
        Error::Device { source, .. } => of_block(source),
        Error::Cipher { source, .. } => of_crypt(source),
        Error::PassphraseLength { .. }
        | Error::NoSuchKeyslot { .. }
        | Error::KeyLengthUnknown { .. }
        | Error::CostRange { .. }
        | Error::LastKeyslot { .. }
        | Error::OwnKeyUnbound
        | Error::NoRoomToChange { .. }
        | Error::Luks1Feature
        | Error::Luks1Kdf { .. }
        | Error::Cancelled => ErrorKind::Caller,
        Error::Backup { source } => of_block(source),
        Error::HeaderChanged => ErrorKind::Busy,
        Error::PassphraseRead { .. }
        | Error::OutOfMemory { .. }
        | Error::Random
        | Error::NoClock => ErrorKind::Device,
        Error::NullCipher { .. } | Error::NullCipherPassphrase { .. } => ErrorKind::Policy,
        Error::UnknownKdf { .. }
        | Error::KeyslotType { .. }
        | Error::Hash { .. }
        | Error::Requirement { .. } => ErrorKind::Unsupported,
        _ => ErrorKind::Malformed,
    }
}

fn of_crypt(error: &luksmith_crypt::Error) -> ErrorKind {
    use luksmith_crypt::Error;
    match error {
        Error::NullCipher { .. } => ErrorKind::Policy,
        Error::Malformed { .. }
        | Error::KeyLength { .. }
        | Error::VolumeKeyLength { .. }
        | Error::MacKeySize { .. }
        | Error::TupleBytes { .. }
        | Error::BlockSize { .. }
        | Error::TooLarge { .. } => ErrorKind::Malformed,
        Error::DeviceSector { .. } | Error::PartialSector { .. } | Error::Length { .. } => {
            ErrorKind::Caller
        }
        Error::Random => ErrorKind::Device,
        _ => ErrorKind::Unsupported,
    }
}

fn of_integrity(error: &luksmith_integrity::Error) -> ErrorKind {
    use luksmith_integrity::Error;
    match error {
        Error::Device { source } => of_block(source),
        Error::FlagsRefused { .. } | Error::ShortTags { .. } | Error::SuperblockMacMissing => {
            ErrorKind::Policy
        }
        Error::JournalTag { .. }
        | Error::JournalChanged { .. }
        | Error::SectionMac { .. }
        | Error::SuperblockMac => ErrorKind::Tampered,
        Error::InlineMode | Error::Version { .. } | Error::DestroysItself => ErrorKind::Unsupported,
        Error::TooSmall { .. } => ErrorKind::TooSmall,
        Error::JournalLimit { .. } | Error::OverlayLimit { .. } | Error::BitmapSize { .. } => {
            ErrorKind::OverLimit
        }
        Error::TagBytes { .. }
        | Error::Misaligned { .. }
        | Error::DeviceSectors { .. }
        | Error::JournalSize { .. }
        | Error::OutOfRange { .. }
        | Error::Digest { .. }
        | Error::DigestKeyMissing { .. }
        | Error::DigestKeyUnexpected { .. }
        | Error::DigestKeyLength { .. }
        | Error::JournalMacMissing
        | Error::JournalMacUnexpected
        | Error::JournalCipherName
        | Error::JournalCipherKey { .. }
        | Error::Growing { .. }
        | Error::BitmapNeedsHash
        | Error::RecalculationKeyed { .. }
        | Error::DiscardKeyed => ErrorKind::Caller,
        Error::Random => ErrorKind::Device,
        Error::BufferSectors { .. } => ErrorKind::Caller,
        _ => ErrorKind::Malformed,
    }
}
