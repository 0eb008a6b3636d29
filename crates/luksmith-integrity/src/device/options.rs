//! How a device is to be opened.

use std::sync::Arc;

use luksmith_block::{ByteLen, CheckTuple, Executor, Inline, SectorNumber, SectorSize};

use crate::{DigestName, DiscardMarker, Error, Flags, JournalCipher, JournalMac, Superblock};

/// Bytes of a tag under a key that are enough without being asked for: nobody finds the tag of
/// other data by trying.
const UNASKED_TAG_BYTES: usize = 16;

/// How writes are kept consistent with their tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Through the journal: after a crash each block is old or new and matches its tag.
    #[default]
    Journal,
    /// In place: after a crash, blocks written since the last flush may not match their tags.
    Direct,
    /// In place, with a bitmap of regions that may not match; needs an internal hash.
    Bitmap,
    /// Reading what is in place, without journal and without checks.
    Recovery,
}

/// Which superblock flags are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlagPolicy {
    /// What a LUKS2 segment may have: FIXED_PADDING or nothing. A host that sets another flag would
    /// have the journal skipped or its own data blessed.
    #[default]
    Luks2,
    /// Whatever a device with an internal hash may have.
    Standalone,
}

/// How to open a device: a builder with the defaults of the tools.
#[derive(Clone)]
pub struct OpenOptions {
    pub(crate) start: SectorNumber,
    pub(crate) mode: Mode,
    pub(crate) read_only: bool,
    pub(crate) flags: FlagPolicy,
    pub(crate) buffer_sectors: u32,
    pub(crate) watermark: u8,
    pub(crate) journal_buffer: ByteLen,
    pub(crate) tag_cache: ByteLen,
    pub(crate) overlay_blocks: Option<usize>,
    pub(crate) journal_limit: ByteLen,
    pub(crate) journal_mac: Option<Arc<JournalMac>>,
    pub(crate) journal_cipher: Option<Arc<JournalCipher>>,
    pub(crate) check: Option<Arc<dyn CheckTuple>>,
    pub(crate) tag_bytes: Option<usize>,
    pub(crate) block: Option<SectorSize>,
    pub(crate) legacy_hmac: bool,
    pub(crate) sectors_per_bit: u64,
    pub(crate) discards: DiscardMarker,
    pub(crate) recalculating: bool,
    pub(crate) executor: Arc<dyn Executor>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            start: SectorNumber::ZERO,
            mode: Mode::Journal,
            read_only: false,
            flags: FlagPolicy::Luks2,
            buffer_sectors: 128,
            watermark: 50,
            journal_buffer: ByteLen::new(16 << 20),
            tag_cache: ByteLen::new(4 << 20),
            overlay_blocks: None,
            journal_limit: ByteLen::new(4 << 30),
            journal_mac: None,
            journal_cipher: None,
            check: None,
            tag_bytes: None,
            block: None,
            legacy_hmac: false,
            sectors_per_bit: 32768,
            discards: DiscardMarker::None,
            recalculating: false,
            executor: Arc::new(Inline),
        }
    }
}

impl OpenOptions {
    /// Starts from the defaults: journal mode, writable, LUKS2's flags.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says at which sector of the metadata device the superblock is.
    #[must_use]
    pub fn start(mut self, start: SectorNumber) -> Self {
        self.start = start;
        self
    }

    /// Chooses how writes are kept consistent with their tags.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Refuses every write; what waits in the journal is read from there.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Says which superblock flags are accepted.
    #[must_use]
    pub fn flags(mut self, policy: FlagPolicy) -> Self {
        self.flags = policy;
        self
    }

    /// Sets the kernel's `buffer_sectors`, which counts for devices with the old padding only.
    #[must_use]
    pub fn buffer_sectors(mut self, sectors: u32) -> Self {
        self.buffer_sectors = sectors;
        self
    }

    /// Sets the per cent of the journal in use at which blocks are written in place, 0 to 100.
    #[must_use]
    pub fn watermark(mut self, per_cent: u8) -> Self {
        self.watermark = per_cent;
        self
    }

    /// Limits the memory for blocks that are not in place yet; one section is always held.
    #[must_use]
    pub fn journal_buffer(mut self, bytes: ByteLen) -> Self {
        self.journal_buffer = bytes;
        self
    }

    /// Limits the memory for tags.
    #[must_use]
    pub fn tag_cache(mut self, bytes: ByteLen) -> Self {
        self.tag_cache = bytes;
        self
    }

    /// Limits how many blocks may wait in a journal that is opened; by default a journal may be as
    /// full as it gets. Until the journal is applied each of them takes 16 bytes of an ordered map,
    /// some 25 with its nodes: 3 MiB for the 64 MiB that a journal has at most unless somebody
    /// chose more, 200 MiB for the 4 GiB of the default
    /// [`journal_limit`](Self::journal_limit).
    #[must_use]
    pub fn overlay_blocks(mut self, blocks: usize) -> Self {
        self.overlay_blocks = Some(blocks);
        self
    }

    /// Limits the size of a journal that is opened, 4 GiB by default. It is read whole if anything
    /// waits in it, and before the first write; and written whole where a bitmap was in its place.
    #[must_use]
    pub fn journal_limit(mut self, bytes: ByteLen) -> Self {
        self.journal_limit = bytes;
        self
    }

    /// Gives the algorithm and key of the journal MAC.
    #[must_use]
    pub fn journal_mac(mut self, mac: Arc<JournalMac>) -> Self {
        self.journal_mac = Some(mac);
        self
    }

    /// Gives the cipher and key of the journal.
    #[must_use]
    pub fn journal_cipher(mut self, cipher: Arc<JournalCipher>) -> Self {
        self.journal_cipher = Some(cipher);
        self
    }

    /// Gives what checks journal entries before they are applied. Without it the journal is
    /// trusted, as the kernel trusts it under dm-crypt.
    #[must_use]
    pub fn check_journal(mut self, check: Arc<dyn CheckTuple>) -> Self {
        self.check = Some(check);
        self
    }

    /// Demands tags of this many bytes.
    ///
    /// The superblock says how long tags are, and whoever can write it can cut them short. So a
    /// [`HashedDevice`](crate::HashedDevice) with a key opens with tags shorter than its digest and
    /// than 16 bytes only if they are asked for here.
    #[must_use]
    pub fn expect_tag_bytes(mut self, bytes: usize) -> Self {
        self.tag_bytes = Some(bytes);
        self
    }

    /// Demands blocks of this size.
    #[must_use]
    pub fn expect_block_size(mut self, block: SectorSize) -> Self {
        self.block = Some(block);
        self
    }

    /// Accepts a device with a keyed journal MAC whose superblock carries none, as old tools made
    /// them. On such a device nobody notices changes of the superblock: whoever can write it also
    /// decides whether it looks like one.
    #[must_use]
    pub fn legacy_hmac(mut self, legacy: bool) -> Self {
        self.legacy_hmac = legacy;
        self
    }

    /// Sets the sectors that one bit stands for, in bitmap mode.
    #[must_use]
    pub fn sectors_per_bit(mut self, sectors: u64) -> Self {
        self.sectors_per_bit = sectors;
        self
    }

    /// Allows discards on a device with an internal hash, and says how a discarded block is marked.
    ///
    /// A device that was once used with [`DiscardMarker::Keyed`] opens with nothing else.
    #[must_use]
    pub fn discards(mut self, marker: DiscardMarker) -> Self {
        self.discards = marker;
        self
    }

    /// Lends threads to a recalculation; without them the caller's does it alone. Requests are the
    /// business of their callers' threads.
    #[must_use]
    pub fn executor(mut self, executor: Arc<dyn Executor>) -> Self {
        self.executor = executor;
        self
    }

    /// Accepts what only a recalculation puts right.
    pub(crate) fn recalculating(mut self) -> Self {
        self.recalculating = true;
        self
    }

    pub(crate) fn is_bitmap_mode(&self) -> bool {
        self.mode == Mode::Bitmap
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only || self.mode == Mode::Recovery
    }

    /// Checks the superblock's MAC, and that it has one where a key can make it.
    ///
    /// Whether it has one is said by a flag that the MAC itself protects: clearing it would be
    /// enough to be rid of the check.
    pub(crate) fn verify_mac(&self, superblock: &Superblock) -> Result<(), Error> {
        if self.mode == Mode::Recovery {
            return Ok(());
        }
        let mac = self.journal_mac.as_deref();
        superblock.verify_mac(mac)?;
        let is_keyed = mac.is_some_and(|mac| mac.name().is_keyed());
        let has_mac = superblock.flags().contains(Flags::FIXED_HMAC);
        if is_keyed && !has_mac && !self.legacy_hmac {
            return Err(Error::SuperblockMacMissing);
        }
        Ok(())
    }

    /// Refuses tags under a key that are shorter than anybody chooses unasked.
    pub(crate) fn admit_keyed_tags(
        &self,
        superblock: &Superblock,
        digest: DigestName,
    ) -> Result<(), Error> {
        let found = usize::from(superblock.tag_bytes());
        let least = digest.digest_bytes().min(UNASKED_TAG_BYTES);
        // Another size than the one asked for is refused as such.
        let is_unasked = self.tag_bytes.is_none() && self.mode != Mode::Recovery;
        if digest.is_keyed() && found < least && is_unasked {
            return Err(Error::ShortTags { found, least });
        }
        Ok(())
    }

    /// Holds a superblock against what is expected.
    pub(crate) fn admit(&self, superblock: &Superblock) -> Result<(), Error> {
        let flags = superblock.flags();
        if self.flags == FlagPolicy::Luks2 && flags.without(Flags::FIXED_PADDING) != Flags::NONE {
            return Err(Error::FlagsRefused { found: flags });
        }
        if self.flags == FlagPolicy::Luks2 && self.mode == Mode::Bitmap {
            return Err(Error::BitmapNeedsHash);
        }
        if flags.contains(Flags::DISCARD_KEYED) && self.discards != DiscardMarker::Keyed {
            return Err(Error::DiscardKeyed);
        }
        self.check_sizes(superblock)
    }

    /// Holds the sizes of tags and blocks against those that are demanded.
    ///
    /// # Errors
    /// [`Error::TagSize`], [`Error::BlockSize`].
    pub fn check_sizes(&self, superblock: &Superblock) -> Result<(), Error> {
        let found = usize::from(superblock.tag_bytes());
        match self.tag_bytes {
            Some(expected) if expected != found => {
                return Err(Error::TagSize { found, expected });
            }
            _ => {}
        }
        let found = superblock.block_size();
        match self.block {
            Some(expected) if expected != found => Err(Error::BlockSize { found, expected }),
            _ => Ok(()),
        }
    }
}

impl core::fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OpenOptions")
            .field("start", &self.start)
            .field("mode", &self.mode)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}
