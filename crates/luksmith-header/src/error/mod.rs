//! What can be wrong with a header, each with the value found and its place.

mod fault;
#[cfg(test)]
mod tests;
mod text;

use alloc::boxed::Box;

use luksmith_block::{ByteLen, ByteOffset};

pub use fault::Fault;
pub use text::{JsonPath, Quoted};

use crate::{
    json::SyntaxError,
    limits::KdfUser,
    luks2::{MAX_LABEL_BYTES, Side},
};

/// Why a header was not read, changed or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device failed.
    #[error("the device that holds the header failed: {source}")]
    Device {
        /// What the device said.
        #[from]
        source: luksmith_block::Error,
    },
    /// There is no trace of a LUKS header.
    #[error("no LUKS header: byte 0 holds no LUKS magic, and no secondary LUKS2 header is found")]
    NotLuks,
    /// The magic is there, the version is one that nobody has defined.
    #[error("LUKS version {version} at byte 6 is not supported; versions 1 and 2 are")]
    UnsupportedVersion {
        /// The version found.
        version: u16,
    },
    /// A LUKS1 header that the old offline re-encryption has made unusable.
    #[error(
        "this LUKS1 device is in the middle of an old offline re-encryption; finish it with the \
         program that started it and its LUKS-<uuid>.log, .org and .new files"
    )]
    Luks1OldReencryption,
    /// The device ends before the structure does.
    #[error("{what} needs {needed} bytes at byte {at}, the device ends at byte {size}")]
    TooShort {
        /// What was to be read.
        what: &'static str,
        /// Where it starts.
        at: ByteOffset,
        /// Its length.
        needed: ByteLen,
        /// The device's size.
        size: ByteLen,
    },

    /// A LUKS2 copy does not start with its magic.
    #[error("{side} header: byte {at} holds {found:02x?} instead of the magic")]
    Magic {
        /// Which copy.
        side: Side,
        /// Where the copy starts.
        at: ByteOffset,
        /// The bytes found.
        found: [u8; 6],
    },
    /// A LUKS2 copy has another version than 2.
    #[error("{side} header at byte {at}: version is {found}, 2 is expected")]
    CopyVersion {
        /// Which copy.
        side: Side,
        /// Where the copy starts.
        at: ByteOffset,
        /// The version found.
        found: u16,
    },
    /// A LUKS2 copy says that it lies elsewhere.
    #[error("{side} header at byte {at}: hdr_offset says {found}")]
    CopyOffset {
        /// Which copy.
        side: Side,
        /// Where the copy starts.
        at: ByteOffset,
        /// What it says.
        found: u64,
    },
    /// A LUKS2 copy has a size that no header has.
    #[error(
        "{side} header at byte {at}: hdr_size {found} is none of 16 KiB, 32 KiB and so on up to \
         4 MiB, or does not fit this place"
    )]
    CopySize {
        /// Which copy.
        side: Side,
        /// Where the copy starts.
        at: ByteOffset,
        /// The size found.
        found: u64,
    },
    /// A LUKS2 copy is larger than the caller wants to read.
    #[error(
        "{side} header has {found} bytes, the limit is {limit}; raise Limits::header_bytes to \
         read it"
    )]
    HeaderBytes {
        /// Which copy.
        side: Side,
        /// Its size.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// The checksum's hash is not known.
    #[error("{side} header at byte {at}: checksum_alg: {source}")]
    ChecksumHash {
        /// Which copy.
        side: Side,
        /// Where the copy starts.
        at: ByteOffset,
        /// Why the name means no hash.
        source: luksmith_hash::Error,
    },
    /// The checksum does not match.
    #[error("{side} header at byte {at}: checksum does not match; the copy was damaged or changed")]
    Checksum {
        /// Which copy.
        side: Side,
        /// Where the copy starts.
        at: ByteOffset,
    },
    /// The JSON area does not hold JSON.
    #[error("{source}")]
    Json {
        /// Where and why.
        #[from]
        source: SyntaxError,
    },
    /// There is something other than zeros behind the JSON text, or the text fills the area.
    #[error("JSON area byte {at}: only zeros may follow the text, and at least one must")]
    JsonTail {
        /// Position from the start of the JSON area.
        at: usize,
    },
    /// A field of the metadata breaks a rule.
    #[error("{path}: {fault}")]
    Field {
        /// Which field.
        path: JsonPath,
        /// What is wrong with it.
        fault: Fault,
    },
    /// One LUKS2 copy is older than the other.
    #[error("{side} header is older: seqid {found}, the other copy has {newer}")]
    OlderCopy {
        /// Which copy.
        side: Side,
        /// Its sequence number.
        found: u64,
        /// The other's.
        newer: u64,
    },
    /// Neither copy of a LUKS2 header can be used.
    #[error("no usable LUKS2 header; primary: {primary}; secondary: {secondary}")]
    NoUsableCopy {
        /// Why the primary cannot be used.
        primary: Box<Error>,
        /// Why the secondary cannot be used.
        secondary: Box<Error>,
    },
    /// The primary copy is gone and something else has its place.
    #[error(
        "the primary header is overwritten by something that looks like {found}; if the LUKS2 \
         volume is still wanted, run `repair`"
    )]
    Overwritten {
        /// What seems to be there.
        found: &'static str,
    },

    /// The hash of a LUKS1 header is not known.
    #[error("hash_spec at byte 72: {source}")]
    Luks1Hash {
        /// Why the name means no hash.
        source: luksmith_hash::Error,
    },
    /// The hash of a LUKS1 header gives too few bytes.
    #[error("hash_spec at byte 72: {hash} gives {bytes} bytes, LUKS1 needs 20")]
    Luks1HashLength {
        /// The hash.
        hash: &'static str,
        /// Its digest length.
        bytes: usize,
    },
    /// A LUKS1 keyslot has another number of stripes than 4000.
    #[error("keyslot {slot}: stripes at byte {at} is {found}, 4000 is expected")]
    Luks1Stripes {
        /// Which keyslot.
        slot: u32,
        /// Where the field is.
        at: ByteOffset,
        /// What it says.
        found: u32,
    },
    /// A LUKS1 keyslot area lies inside the header.
    #[error(
        "keyslot {slot}: key_material_offset at byte {at} is sector {found}, inside the header"
    )]
    Luks1SlotOffset {
        /// Which keyslot.
        slot: u32,
        /// Where the field is.
        at: ByteOffset,
        /// The sector.
        found: u32,
    },
    /// A LUKS1 keyslot area reaches into the data.
    #[error(
        "keyslot {slot}: its area at sector {found} takes {sectors} sectors and reaches past \
         payload_offset {payload} at byte 104"
    )]
    Luks1SlotInData {
        /// Which keyslot.
        slot: u32,
        /// First sector of its area.
        found: u32,
        /// Length of its area in sectors.
        sectors: u64,
        /// Where the data start.
        payload: u32,
    },
    /// Two LUKS1 keyslot areas overlap.
    #[error(
        "keyslots {first} and {second}: their areas at sectors {first_at} and {second_at} overlap"
    )]
    Luks1SlotsOverlap {
        /// The keyslot with the lower area.
        first: u32,
        /// First sector of its area.
        first_at: u32,
        /// The keyslot with the higher area.
        second: u32,
        /// First sector of its area.
        second_at: u32,
    },
    /// A LUKS1 header names no key length.
    #[error("key_bytes at byte 108 is 0")]
    Luks1KeyBytes,

    /// The hash of a digest is not known.
    #[error("{path}: {source}")]
    DigestHash {
        /// Which field.
        path: JsonPath,
        /// Why the name means no hash.
        source: luksmith_hash::Error,
    },

    /// A keyslot asks for more Argon2 memory than allowed.
    #[error(
        "{user} asks for {requested} KiB of Argon2 memory, the limit is {limit} KiB; raise \
         Limits::argon2_memory_kib to allow it"
    )]
    Argon2Memory {
        /// Who asks.
        user: KdfUser,
        /// KiB asked for.
        requested: u32,
        /// The limit in KiB.
        limit: u32,
    },
    /// A keyslot asks for more Argon2 lanes than allowed.
    #[error(
        "{user} asks for {requested} Argon2 lanes, the limit is {limit}; raise \
         Limits::argon2_lanes to allow it"
    )]
    Argon2Lanes {
        /// Who asks.
        user: KdfUser,
        /// Lanes asked for.
        requested: u32,
        /// The limit.
        limit: u32,
    },
    /// A keyslot asks for more Argon2 work than this open has left.
    #[error(
        "{user} asks for {requested} KiB of Argon2 work, {spent} of {limit} KiB are spent; raise \
         Limits::argon2_work_kib or name the keyslot to use"
    )]
    Argon2Work {
        /// Who asks.
        user: KdfUser,
        /// KiB asked for: time cost times memory.
        requested: u64,
        /// KiB spent before.
        spent: u64,
        /// The limit in KiB.
        limit: u64,
    },
    /// A keyslot or digest asks for more PBKDF2 iterations than this open has left.
    #[error(
        "{user} asks for {requested} PBKDF2 iterations, {spent} of {limit} are spent; raise \
         Limits::pbkdf2_iterations or name the keyslot to use"
    )]
    Pbkdf2Iterations {
        /// Who asks.
        user: KdfUser,
        /// Iterations asked for.
        requested: u64,
        /// Iterations spent before.
        spent: u64,
        /// The limit.
        limit: u64,
    },
    /// A key is longer than allowed.
    #[error(
        "{user} names a key of {requested} bytes, the limit is {limit}; raise Limits::key_bytes \
         to allow it"
    )]
    KeyBytes {
        /// Who asks.
        user: KdfUser,
        /// Length asked for.
        requested: u32,
        /// The limit.
        limit: u32,
    },

    /// The header is not the one that the policy asks for.
    #[error("policy: {field} is {found}, the policy asks for {expected}")]
    Policy {
        /// Which field.
        field: JsonPath,
        /// What it is.
        found: Quoted,
        /// What it should be.
        expected: Quoted,
    },
    /// A policy profile does not hold JSON.
    #[error("policy profile: {source}")]
    ProfileText {
        /// Where and why.
        source: SyntaxError,
    },
    /// A field of a policy profile is wrong.
    #[error("policy profile, {path}: {fault}")]
    Profile {
        /// Which field.
        path: JsonPath,
        /// What is wrong with it.
        fault: Fault,
    },

    /// A label or subsystem does not fit.
    #[error("{field} has {found} bytes, {MAX_LABEL_BYTES} fit and none may be zero")]
    LabelLength {
        /// `label` or `subsystem`.
        field: &'static str,
        /// Bytes given.
        found: usize,
    },
    /// A UUID is not in its textual form.
    #[error(
        "uuid \"{found}\" is not 36 characters of the form 01234567-89ab-cdef-0123-456789abcdef"
    )]
    UuidText {
        /// The text given.
        found: Quoted,
    },
    /// There is no object of this id.
    #[error("there is no {what} {id} in this header")]
    NoSuchObject {
        /// `keyslot`, `token`, `digest` or `segment`.
        what: &'static str,
        /// The id.
        id: u32,
    },
    /// The id is taken.
    #[error("{what} {id} is in use; choose a free id or remove it first")]
    ObjectInUse {
        /// `keyslot` or `token`.
        what: &'static str,
        /// The id.
        id: u32,
    },
    /// The id is beyond what can be created.
    #[error("{what} id {id} is too high, ids 0 to {max} can be created")]
    ObjectId {
        /// `keyslot`, `token` or `digest`.
        what: &'static str,
        /// The id.
        id: u32,
        /// The highest id.
        max: u32,
    },
    /// All ids are taken.
    #[error("no free {what}: all {count} are in use; remove one first")]
    NoFreeObject {
        /// `keyslot`, `token` or `digest`.
        what: &'static str,
        /// How many there are.
        count: u32,
    },
    /// No gap in the keyslot area is large enough.
    #[error(
        "no room for a keyslot area of {needed} bytes; remove a keyslot, or format with a larger \
         keyslot area"
    )]
    NoAreaSpace {
        /// Bytes needed.
        needed: u64,
    },
    /// The metadata no longer fit their area.
    #[error("the metadata take {needed} bytes, {available} fit; remove tokens or keyslots")]
    MetadataFull {
        /// Length of the text.
        needed: usize,
        /// What fits.
        available: u64,
    },
    /// The header on the device was changed since it was read.
    #[error(
        "the header was changed since it was read (seqid {expected} then, {found} now); read it \
         again and repeat the change"
    )]
    ConcurrentUpdate {
        /// The sequence number that was read.
        expected: u64,
        /// The one there now.
        found: u64,
    },
    /// A damaged copy claims to be newer than the one that can be used.
    #[error(
        "the {side} header is damaged and claims to be newer (seqid {claimed}) than the one in use \
         ({used}); run `repair` to give it up"
    )]
    NewerDamagedCopy {
        /// The damaged copy.
        side: Side,
        /// The sequence number that it claims.
        claimed: u64,
        /// The sequence number of the copy in use.
        used: u64,
    },
    /// A copy cannot be read, so nobody knows whether it is the newer one.
    #[error(
        "the {side} header cannot be read and may be newer than the one in use (seqid {used}); run \
         `repair` to write it anew"
    )]
    UnreadableCopy {
        /// The copy that cannot be read.
        side: Side,
        /// The sequence number of the copy in use.
        used: u64,
    },
    /// A backup cannot be put over what is on the target.
    #[error(
        "the backup does not fit its target: {field} is {backup} in the backup, {target} there"
    )]
    RestoreMismatch {
        /// What differs.
        field: &'static str,
        /// In the backup.
        backup: u64,
        /// On the target.
        target: u64,
    },
    /// A backup was made in a state that must not be brought back.
    #[error(
        "the backup carries the requirement \"{requirement}\", so restoring it could damage the \
         data"
    )]
    RestoreRequirement {
        /// The requirement.
        requirement: Quoted,
    },
    /// A header cannot become one of the other version.
    #[error("this header cannot be converted to LUKS{version}: {obstacle}")]
    Convert {
        /// The version wanted.
        version: u16,
        /// What is in the way.
        obstacle: &'static str,
    },
    /// What was to be formatted is impossible.
    #[error("{option} {value}: {rule}")]
    Option {
        /// The option.
        option: &'static str,
        /// The value given.
        value: u64,
        /// What it must obey.
        rule: &'static str,
    },
    /// The random source failed.
    #[error("the random source gave no bytes, so nothing was written")]
    Random,
}

impl Error {
    /// Puts the place of a field below an object that holds it.
    pub(crate) fn below(self, keys: &[&str]) -> Self {
        match self {
            Self::Field { path, fault } => {
                let parent = keys
                    .iter()
                    .fold(JsonPath::top(), |parent, key| parent.member(key));
                Self::Field {
                    path: parent.join(&path),
                    fault,
                }
            }
            other => other,
        }
    }

    /// Makes the error for a device that ends too early.
    pub(crate) fn too_short(what: &'static str, at: u64, needed: u64, size: ByteLen) -> Self {
        Self::TooShort {
            what,
            at: ByteOffset::new(at),
            needed: ByteLen::new(needed),
            size,
        }
    }
}
