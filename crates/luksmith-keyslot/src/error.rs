//! What can go wrong between a passphrase and a volume key.

use luksmith_block::ByteOffset;
#[cfg(feature = "std")]
use luksmith_block::IoFailure;
use luksmith_hash::HashName;
use luksmith_header::KdfUser;

use crate::unlock::Report;

/// Why a key could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A passphrase is empty or too long.
    #[error(
        "the passphrase has {found} bytes, 1 to {limit} are possible; an empty one has to be asked \
         for by name"
    )]
    PassphraseLength {
        /// Bytes found, or read so far.
        found: usize,
        /// Most bytes.
        limit: usize,
    },
    /// A passphrase could not be read.
    #[cfg(feature = "std")]
    #[error("reading the passphrase failed: {failure}")]
    PassphraseRead {
        /// What the system said.
        failure: IoFailure,
    },
    /// The system has no memory for this.
    #[error("no memory for {bytes} bytes; close other programs or lower the limits")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// The random source failed.
    #[error("the source of random numbers failed, so no key can be made")]
    Random,
    /// The caller cancelled.
    #[error("cancelled by the caller")]
    Cancelled,
    /// Stripes and key do not fit together.
    #[error("{material} bytes are no whole number of stripes of {key} bytes")]
    AfLength {
        /// Bytes of the stripes.
        material: usize,
        /// Bytes of the key.
        key: usize,
    },
    /// The header asks for more than the caller's limits, or is wrong in itself.
    #[error(transparent)]
    Header {
        /// What the header crate says.
        #[from]
        source: luksmith_header::Error,
    },
    /// A key derivation without iterations.
    #[error("{user} asks for 0 iterations, at least 1 is needed")]
    NoIterations {
        /// Who asks.
        user: KdfUser,
    },
    /// Costs that Argon2 does not have.
    #[error(
        "{user} asks for Argon2 with {passes} passes over {memory_kib} KiB in {lanes} lanes; at \
         least 1 pass, 1 lane and 8 KiB for each lane are needed"
    )]
    Argon2Cost {
        /// Who asks.
        user: KdfUser,
        /// Passes over the memory.
        passes: u32,
        /// Memory in KiB.
        memory_kib: u32,
        /// Lanes.
        lanes: u32,
    },
    /// A derived key shorter than any cipher's.
    #[error("{user} asks for a derived key of {found} bytes, at least 4 are needed")]
    AreaKeyBytes {
        /// Who asks.
        user: KdfUser,
        /// Bytes asked for.
        found: u32,
    },
    /// A hash that does not exist or is not built in.
    #[error("{user}: {source}")]
    Hash {
        /// Who names it.
        user: KdfUser,
        /// What the hash crate says.
        source: luksmith_hash::Error,
    },
    /// A salt of the wrong length.
    #[error("{user} has a salt of {found} bytes, 32 are needed")]
    SaltLength {
        /// Whose salt.
        user: KdfUser,
        /// Bytes found.
        found: usize,
    },
    /// A digest that could not tell keys apart.
    #[error(
        "digest {digest} has {found} bytes; with {hash} it must have 20 or {}, so it proves no key",
        .hash.digest_bytes()
    )]
    DigestLength {
        /// The digest.
        digest: u32,
        /// Bytes found.
        found: usize,
        /// Its hash.
        hash: HashName,
    },
    /// A key has not the length that its volume needs.
    #[error("the key has {found} bytes, digest {digest} belongs to a key of {expected}")]
    KeyLength {
        /// The digest.
        digest: u32,
        /// Bytes found.
        found: usize,
        /// Bytes needed.
        expected: u32,
    },
    /// A key is not the one that a digest was made of.
    #[error("the key does not match digest {digest}: it is not this volume's key")]
    DigestMismatch {
        /// The digest.
        digest: u32,
    },
    /// A cipher that does not exist, is not built in, or does not take such a key.
    #[error("keyslot {keyslot}: {source}")]
    Cipher {
        /// The keyslot.
        keyslot: u32,
        /// What the cipher crate says.
        source: luksmith_crypt::Error,
    },
    /// A keyslot area could not be read or written.
    #[error("keyslot {keyslot}: {source}")]
    Device {
        /// The keyslot.
        keyslot: u32,
        /// What the device says.
        source: luksmith_block::Error,
    },
    /// A keyslot area does not start between sectors.
    #[error("the area of keyslot {keyslot} starts at byte {offset}, which is no multiple of 512")]
    AreaMisaligned {
        /// The keyslot.
        keyslot: u32,
        /// Its first byte.
        offset: ByteOffset,
    },
    /// A key derivation that is not known.
    #[error("{user} names the key derivation \"{name}\", which is not known")]
    UnknownKdf {
        /// Who names it.
        user: KdfUser,
        /// The name, escaped and shortened.
        name: luksmith_header::Quoted,
    },
    /// A keyslot of a type that cannot be opened with a passphrase, or without a cipher.
    #[error("keyslot {keyslot} holds no key behind a passphrase")]
    KeyslotType {
        /// The keyslot.
        keyslot: u32,
    },
    /// A keyslot keeps its key unencrypted.
    #[error(
        "keyslot {keyslot} keeps its key unencrypted; choose \
         NullCipherKeyslots::AcceptUnencryptedKeys to use it"
    )]
    NullCipher {
        /// The keyslot.
        keyslot: u32,
    },
    /// A keyslot without encryption was tried with a passphrase.
    #[error(
        "keyslot {keyslot} keeps its key unencrypted and opens with the empty passphrase alone"
    )]
    NullCipherPassphrase {
        /// The keyslot.
        keyslot: u32,
    },
    /// A keyslot that no digest lists.
    #[error("keyslot {keyslot} is listed by no digest, so its key cannot be told from any other")]
    NoDigest {
        /// The keyslot.
        keyslot: u32,
    },
    /// Nothing says how long a key must be.
    #[error(
        "digest {digest} has no keyslot that says how long its key is; state the length with \
         UnlockOptions::key_bytes"
    )]
    KeyLengthUnknown {
        /// The digest.
        digest: u32,
    },
    /// Costs chosen by the caller are outside what new keyslots may have.
    #[error("{what}: {found} is outside what a new keyslot may have, {min} to {max}")]
    CostRange {
        /// Which cost.
        what: &'static str,
        /// Its value.
        found: u32,
        /// The least.
        min: u32,
        /// The most.
        max: u32,
    },
    /// The system does not count processor time.
    #[error("this system does not count processor time, so costs cannot be measured; state them")]
    NoClock,
    /// The header demands something that must be understood before it is changed.
    #[error(
        "the header requires \"{word}\"; it cannot be changed until that is finished or understood"
    )]
    Requirement {
        /// The requirement, escaped and shortened.
        word: luksmith_header::Quoted,
    },
    /// The keyslot holds another key than the one that was unlocked.
    #[error("keyslot {keyslot} holds another key than the one that was unlocked")]
    OtherKey {
        /// The keyslot.
        keyslot: u32,
    },
    /// An unbound keyslot would hold the key of the volume.
    #[error(
        "the key given is the volume's own: an unbound keyslot with it would not open the volume, and \
         would outlive an erasing of its keyslots; add one that is bound instead"
    )]
    OwnKeyUnbound,
    /// The last keyslot would go.
    #[error(
        "keyslot {keyslot} is the last one for this volume: without it the data are lost for good; \
         choose LastKeyslot::DestroyAccess if that is meant"
    )]
    LastKeyslot {
        /// The keyslot.
        keyslot: u32,
    },
    /// A change would have to overwrite the only copy of a key.
    #[error(
        "keyslot {keyslot} cannot be changed safely: {source}; remove another keyslot, or give a \
         place for a backup of the header"
    )]
    NoRoomToChange {
        /// The keyslot.
        keyslot: u32,
        /// What there is no room for.
        source: luksmith_header::Error,
    },
    /// The backup that a change needs could not be made.
    #[error("the backup of the header failed, so nothing was changed: {source}")]
    Backup {
        /// What its storage says.
        source: luksmith_block::Error,
    },
    /// The LUKS1 header on the device is not the one that was read.
    #[error("the header was changed since it was read; read it again and repeat the change")]
    HeaderChanged,
    /// LUKS1 has no such thing.
    #[error("LUKS1 has no priorities and no unbound keys; convert the volume to LUKS2")]
    Luks1Feature,
    /// LUKS1 has one key derivation.
    #[error("keyslot {keyslot}: this LUKS1 volume takes PBKDF2 with {hash} and nothing else")]
    Luks1Kdf {
        /// The keyslot.
        keyslot: u32,
        /// The hash of the header.
        hash: HashName,
    },
    /// No keyslot has this number.
    #[error("there is no keyslot {keyslot}")]
    NoSuchKeyslot {
        /// The number.
        keyslot: u32,
    },
    /// No keyslot opened.
    #[error("no keyslot opened: {report}")]
    NoKeyslotOpened {
        /// What was tried, and what came of it.
        report: Report,
    },
    /// The key is none of this volume's.
    #[error("the key given matches no digest of this volume: {report}")]
    NoDigestMatched {
        /// What was tried, and what came of it.
        report: Report,
    },
}

#[cfg(test)]
mod tests;
