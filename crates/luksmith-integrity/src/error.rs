//! What can go wrong below an authenticated or checksummed device.

use luksmith_block::{SectorCount, SectorNumber, SectorSize};

use crate::DigestName;

/// Why a dm-integrity device could not be formatted, opened or changed.
///
/// Reads and writes of an open device fail with [`luksmith_block::Error`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The underlying device failed.
    #[error("the device below failed")]
    Device {
        /// What it said.
        #[from]
        source: luksmith_block::Error,
    },
    /// The superblock's 4096 bytes are all zero.
    #[error("the superblock is all zeros: this device was never formatted, or was wiped")]
    NotFormatted,
    /// There is something, but no superblock.
    #[error("no dm-integrity superblock here: the magic does not match")]
    Magic,
    /// A superblock is 4096 bytes.
    #[error("a superblock has 4096 bytes, {found} were given")]
    SuperblockLength {
        /// Bytes given.
        found: usize,
    },
    /// The version is none that is known.
    #[error("superblock version {found} is not known; 1 to 7 are")]
    Version {
        /// The stored version.
        found: u8,
    },
    /// The tags live in hardware.
    #[error(
        "this device keeps its tags in the per-block metadata of the drive (inline mode), which a \
         file or an ordinary block device cannot hold"
    )]
    InlineMode,
    /// A field holds a number outside its range.
    #[error("superblock field {field} is {found}; it holds {meaning}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// What is stored.
        found: u64,
        /// What may be stored.
        meaning: &'static str,
    },
    /// The superblock's flags are none that this use allows.
    #[error(
        "superblock flags are {found}; a LUKS2 segment has FIXED_PADDING or none, so this one was \
         changed outside or needs the kernel's attention first"
    )]
    FlagsRefused {
        /// The stored flags.
        found: crate::Flags,
    },
    /// The interleave field does not belong to the devices given.
    #[error(
        "log2_interleave_sectors is {found}, but {} metadata device was given; give the devices \
         with which it was formatted",
        if *split { "a separate" } else { "no separate" }
    )]
    Interleave {
        /// The stored power of two.
        found: u8,
        /// Whether a separate metadata device was given.
        split: bool,
    },
    /// The tag size is not what the caller or the hash needs.
    #[error("tags have {found} bytes, {expected} were expected")]
    TagSize {
        /// What is stored.
        found: usize,
        /// What is needed.
        expected: usize,
    },
    /// Tags under a key that are so short that data for them can be found by trying.
    #[error(
        "tags have {found} bytes where {least} or more are due: someone may have cut them short; \
         set OpenOptions::expect_tag_bytes to {found} if the device was made so"
    )]
    ShortTags {
        /// What is stored.
        found: usize,
        /// What is enough without being asked for.
        least: usize,
    },
    /// The block size is not what the caller needs.
    #[error("blocks have {found} bytes, {expected} were expected")]
    BlockSize {
        /// What is stored.
        found: SectorSize,
        /// What is needed.
        expected: SectorSize,
    },
    /// A tag size that no device can have.
    #[error("tags of {found} bytes do not exist; 1 to 255 bytes do")]
    TagBytes {
        /// What was asked for.
        found: usize,
    },
    /// The superblock says that nothing is stored.
    #[error("the superblock provides 0 sectors: a device has a block at least")]
    NoSectors,
    /// The device, or one of its devices, is too small.
    #[error("the device is too small: {needed} sectors are needed, there is room for {found}")]
    TooSmall {
        /// Sectors needed.
        needed: SectorCount,
        /// Sectors there are.
        found: SectorCount,
    },
    /// Buffers so small that no device with separate metadata can be formatted with them.
    #[error(
        "a separate metadata device needs buffers of 8 sectors or more, {found} were asked for; \
         leave buffer_sectors at 128"
    )]
    BufferSectors {
        /// What was asked for.
        found: u32,
    },
    /// The start lies inside a block.
    #[error("start sector {start} is not a multiple of the block of {block} bytes")]
    Misaligned {
        /// The start sector.
        start: SectorNumber,
        /// The block size.
        block: SectorSize,
    },
    /// The device's own sectors are larger than a block.
    #[error("the device has sectors of {device} bytes, too large for blocks of {block} bytes")]
    DeviceSectors {
        /// Sector size of the device.
        device: SectorSize,
        /// Block size of the volume.
        block: SectorSize,
    },
    /// The journal is longer than the format can address.
    #[error("a journal of {sectors} sectors is too large; 2^32 - 1 sectors are the limit")]
    JournalSize {
        /// Sectors of the journal.
        sectors: SectorCount,
    },
    /// The old padding with a small interleave puts tags into data.
    #[error(
        "old padding with an interleave below the buffer size puts tags inside the data of other \
         blocks; such a device destroys its own data, so it is not created or written"
    )]
    DestroysItself,
    /// A position past the mapped device.
    #[error("sector {sector} is no block of this device, which has {provided} sectors")]
    OutOfRange {
        /// The sector.
        sector: SectorNumber,
        /// Sectors of the device.
        provided: SectorCount,
    },
    /// The digest's name is not known.
    #[error("no such digest for tags or MACs")]
    Digest {
        /// What the hash library said.
        source: luksmith_hash::Error,
    },
    /// An HMAC needs a key.
    #[error("{name} needs a key")]
    DigestKeyMissing {
        /// The digest.
        name: DigestName,
    },
    /// A plain digest takes no key.
    #[error("{name} takes no key")]
    DigestKeyUnexpected {
        /// The digest.
        name: DigestName,
    },
    /// The key's length is not usable.
    #[error("a key of {found} bytes for {name}; 1 to {limit} bytes are taken")]
    DigestKeyLength {
        /// The digest.
        name: DigestName,
        /// Bytes given.
        found: usize,
        /// Most bytes taken.
        limit: usize,
    },
    /// The device has a journal MAC and none was configured.
    #[error("this device was formatted with a journal MAC; give its algorithm and key")]
    JournalMacMissing,
    /// The device has no journal MAC and one was configured.
    #[error("this device was formatted without a journal MAC; open it without one")]
    JournalMacUnexpected,
    /// The superblock was changed, or the key is wrong.
    #[error(
        "the superblock's MAC does not match: it was changed outside, or the journal MAC's \
         algorithm or key is not this device's"
    )]
    SuperblockMac,
    /// A journal MAC with a key, and a superblock without the flag that gives it one too.
    #[error(
        "the superblock carries no MAC although the journal has one with a key: it was changed \
         outside, or made by an old tool; set OpenOptions::legacy_hmac if the latter is so"
    )]
    SuperblockMacMissing,
    /// The system gives no random numbers.
    #[error("the system's random number generator failed")]
    Random,
    /// The journal cipher's name is not known.
    #[error("no such journal cipher; ctr(aes), cbc(aes) and chacha20 are known")]
    JournalCipherName,
    /// The journal cipher's key has the wrong length.
    #[error("a journal key of {found} bytes; AES takes 16, 24 or 32, ChaCha20 takes 32")]
    JournalCipherKey {
        /// Bytes given.
        found: usize,
    },
    /// A device was to be shrunk to more than it has.
    #[error("the device has {found} sectors and the new size has room for {room}; grow it instead")]
    Growing {
        /// Sectors of the device.
        found: SectorCount,
        /// Sectors there would be room for.
        room: SectorCount,
    },
    /// A sector of the journal is foreign.
    #[error(
        "journal section {section}, sector {sector}: no commit id of this place; the journal was \
         damaged or needs another journal cipher or key. Recovery mode reads without it"
    )]
    CommitId {
        /// The section.
        section: u32,
        /// The sector within the section.
        sector: usize,
    },
    /// The journal's laps cannot be told apart.
    #[error(
        "the journal carries all four sequence numbers at once, so its order is lost; recovery \
         mode reads without it"
    )]
    CommitIds,
    /// A section's MAC is wrong.
    #[error(
        "journal section {section}: its MAC does not match; it was changed outside, or the journal \
         MAC's key is not this device's. Recovery mode reads without the journal"
    )]
    SectionMac {
        /// The section.
        section: u32,
    },
    /// An entry names a sector inside a block.
    #[error(
        "journal section {section}, entry {entry}: sector {sector} is not the start of a block"
    )]
    JournalSector {
        /// The section.
        section: u32,
        /// The entry within the section.
        entry: usize,
        /// The sector it names.
        sector: SectorNumber,
    },
    /// An entry's tag does not belong to its data.
    #[error(
        "journal section {section}, entry {entry}: the tag does not match the data meant for \
         sector {sector}; the journal was changed outside, so nothing of it was applied. Open \
         read-only to read what verifies"
    )]
    JournalTag {
        /// The section.
        section: u32,
        /// The entry within the section.
        entry: usize,
        /// The sector it names.
        sector: SectorNumber,
    },
    /// The journal is not what it was a moment ago.
    #[error("journal section {section} changed while the device was open; who else writes to it?")]
    JournalChanged {
        /// The section.
        section: u32,
    },
    /// The journal is larger than the caller wants to read.
    #[error("a journal of {found} bytes, the limit is {limit}; raise OpenOptions::journal_limit")]
    JournalLimit {
        /// Bytes of the journal.
        found: luksmith_block::ByteLen,
        /// The limit.
        limit: luksmith_block::ByteLen,
    },
    /// Bitmap mode without an internal hash.
    #[error("bitmap mode needs an internal hash, so that marked regions can be recalculated")]
    BitmapNeedsHash,
    /// The device was not closed in bitmap mode.
    #[error(
        "the device was in use in bitmap mode when it was last written, and marked regions may not \
         match their tags; open read-only, or recalculate"
    )]
    BitmapDirty,
    /// The bitmap is larger than the journal or than is held in memory.
    #[error("a bitmap of {found} bytes, the limit is {limit}; let a bit stand for more sectors")]
    BitmapSize {
        /// Bytes of the bitmap.
        found: luksmith_block::ByteLen,
        /// The limit.
        limit: luksmith_block::ByteLen,
    },
    /// Recalculating the tags of a keyed hash makes authentic whatever is on the device.
    #[error(
        "recalculating {name} tags makes authentic whatever is on the device, tampered or not; ask \
         for it explicitly if you trust the data"
    )]
    RecalculationKeyed {
        /// The digest.
        name: DigestName,
    },
    /// Discarded blocks are marked by a keyed digest.
    #[error(
        "this device marks discarded blocks by a keyed digest; allow keyed discards to open it"
    )]
    DiscardKeyed,
    /// More blocks wait in the journal than may be remembered.
    #[error(
        "more than {limit} blocks wait in the journal; raise OpenOptions::overlay_blocks to open it"
    )]
    OverlayLimit {
        /// The limit.
        limit: usize,
    },
}
