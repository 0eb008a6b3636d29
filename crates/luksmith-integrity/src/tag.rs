//! Tags of a device with an internal hash.
//!
//! The message of a block is `[salt] || le64(sector) || data`; the tag is its digest, cut or padded
//! with zeros to the tag size.

use core::fmt;

use luksmith_block::{CheckTuple, Error as DeviceError, SectorNumber, SectorSize};
use luksmith_hash::HashName;
use luksmith_simd::TagKey;
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::ZeroizeOnDrop;

use crate::{
    DigestName, Error,
    convert::wide,
    digest::{DigestBuffer, Digester, wiped},
};

/// Byte that fills the tag of a discarded block.
const DISCARD_FILLER: u8 = 0xf6;

/// Which tags, besides the right one, a read accepts: those that discards leave. Such a block reads
/// as zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiscardMarker {
    /// None: a discarded block is a corrupt block.
    #[default]
    None,
    /// Tags filled with `f6`. Whoever can write the disk can make any block look discarded.
    Filler,
    /// The digest over salt and sector number alone, under the key.
    Keyed,
}

/// Makes and verifies the tags of blocks under one digest, key, salt and tag size.
pub struct TagMaker {
    digester: Digester,
    /// The many-lane path, where the digest has one.
    lanes: Option<TagKey>,
    salt: Option<[u8; 16]>,
    tag_bytes: usize,
    block: SectorSize,
    marker: DiscardMarker,
}

// What has a key.
const _: () = {
    wiped::<Digester>();
    wiped::<TagKey>();
};
impl ZeroizeOnDrop for TagMaker {}

impl TagMaker {
    /// Takes the digest, its key (for HMACs only), and what the superblock says about tags.
    ///
    /// `salt` is the superblock's if FIXED_HMAC is set, else `None`.
    ///
    /// # Errors
    /// [`Error::DigestKeyMissing`], [`Error::DigestKeyUnexpected`], [`Error::DigestKeyLength`],
    /// and [`Error::TagBytes`] unless `tag_bytes` is 1 to 255.
    pub fn new(
        name: DigestName,
        key: Option<&[u8]>,
        salt: Option<[u8; 16]>,
        tag_bytes: usize,
        block: SectorSize,
    ) -> Result<Self, Error> {
        if !(1..=255).contains(&tag_bytes) {
            return Err(Error::TagBytes { found: tag_bytes });
        }
        let lanes = match (name, key) {
            (DigestName::Hash(HashName::Sha256), None) => Some(TagKey::sha256()),
            (DigestName::Hash(HashName::Sha512), None) => Some(TagKey::sha512()),
            (DigestName::Hmac(HashName::Sha256), Some(key)) => Some(TagKey::hmac_sha256(key)),
            (DigestName::Hmac(HashName::Sha512), Some(key)) => Some(TagKey::hmac_sha512(key)),
            _ => None,
        };
        Ok(Self {
            digester: Digester::new(name, key)?,
            lanes,
            salt,
            tag_bytes,
            block,
            marker: DiscardMarker::None,
        })
    }

    /// Chooses which marks of discarded blocks a read accepts.
    #[must_use]
    pub(crate) fn discard_marker(mut self, marker: DiscardMarker) -> Self {
        self.marker = marker;
        self
    }

    /// Gives the digest.
    #[must_use]
    pub fn name(&self) -> DigestName {
        self.digester.name()
    }

    /// Writes the tags of consecutive blocks from `first`: one tag for each block of `data`.
    ///
    /// # Errors
    /// [`luksmith_block::Error::Length`] if `tags` is not one tag for each whole block of `data`.
    pub fn tags(
        &self,
        first: SectorNumber,
        data: &[u8],
        tags: &mut [u8],
    ) -> Result<(), DeviceError> {
        self.check_lengths(data, tags.len())?;
        self.each_digest(first, data, |index, digest| {
            if let Some(tag) = tags.chunks_exact_mut(self.tag_bytes).nth(index) {
                cut_or_pad(digest, tag);
            }
        });
        Ok(())
    }

    /// Writes the tag that marks a discarded block at `sector`.
    pub(crate) fn discard_tag(&self, sector: SectorNumber, tag: &mut [u8]) {
        if self.marker == DiscardMarker::Keyed {
            cut_or_pad(&self.keyed_marker(sector), tag);
        } else {
            tag.fill(DISCARD_FILLER);
        }
    }

    /// Checks the tags of consecutive blocks that are read, and makes zeros of discarded ones.
    ///
    /// Linux gives what the device holds below a mark. A mark says nothing of it: whoever kept one
    /// could put any data under it, also where marks are keyed, and have them taken for verified.
    /// Where discards leave zeros, as in files, both give the same.
    ///
    /// # Errors
    /// As [`CheckTuple::check`].
    pub(crate) fn admit(
        &self,
        first: SectorNumber,
        data: &mut [u8],
        tags: &[u8],
    ) -> Result<(), DeviceError> {
        let mut bad = self.mismatches(first, data, tags)?;
        bad.retain(|&(index, is_discarded)| {
            if is_discarded
                && let Some(block) = data.chunks_exact_mut(self.block.bytes()).nth(index)
            {
                block.fill(0);
            }
            !is_discarded
        });
        self.error_of(first, &bad)
    }

    /// Checks the tags of consecutive blocks and gives the indexes, ascending, of those that are
    /// not the tags of their data, with whether they are marks of discarded blocks.
    ///
    /// # Errors
    /// [`luksmith_block::Error::Length`].
    fn mismatches(
        &self,
        first: SectorNumber,
        data: &[u8],
        tags: &[u8],
    ) -> Result<Vec<(usize, bool)>, DeviceError> {
        self.check_lengths(data, tags.len())?;
        let mut bad = Vec::new();
        let mut expected = [0; 255];
        let spb = self.block.sectors().get();
        self.each_digest(first, data, |index, digest| {
            let (Some(tag), Some(expected)) = (
                tags.chunks_exact(self.tag_bytes).nth(index),
                expected.get_mut(..self.tag_bytes),
            ) else {
                return;
            };
            cut_or_pad(digest, expected);
            if !bool::from(tag.ct_eq(expected)) {
                let sector = SectorNumber::new(first.get().saturating_add(wide(index) * spb));
                bad.push((index, self.is_discard_tag(sector, tag).into()));
            }
        });
        Ok(bad)
    }

    fn error_of(&self, first: SectorNumber, bad: &[(usize, bool)]) -> Result<(), DeviceError> {
        let spb = self.block.sectors().get();
        match bad.first() {
            None => Ok(()),
            Some(&(index, _)) => Err(DeviceError::TagMismatch {
                first: SectorNumber::new(first.get().saturating_add(wide(index) * spb)),
                count: wide(bad.len()) * spb,
            }),
        }
    }

    fn is_discard_tag(&self, sector: SectorNumber, tag: &[u8]) -> Choice {
        match self.marker {
            DiscardMarker::None => Choice::from(0),
            DiscardMarker::Filler => {
                tag.ct_eq([DISCARD_FILLER; 255].get(..tag.len()).unwrap_or(&[]))
            }
            DiscardMarker::Keyed => {
                let mut expected = [0; 255];
                let expected = expected.get_mut(..tag.len()).unwrap_or(&mut []);
                cut_or_pad(&self.keyed_marker(sector), expected);
                tag.ct_eq(expected)
            }
        }
    }

    fn keyed_marker(&self, sector: SectorNumber) -> DigestBuffer {
        let sector = sector.get().to_le_bytes();
        match &self.salt {
            Some(salt) => self.digester.digest(&[salt, &sector]),
            None => self.digester.digest(&[&sector]),
        }
    }

    fn check_lengths(&self, data: &[u8], tags: usize) -> Result<(), DeviceError> {
        let blocks = data.len() / self.block.bytes();
        if !data.len().is_multiple_of(self.block.bytes()) {
            return Err(DeviceError::Length {
                what: "data",
                found: data.len(),
                expected: blocks * self.block.bytes(),
            });
        }
        if blocks.checked_mul(self.tag_bytes) != Some(tags) {
            return Err(DeviceError::Length {
                what: "tags",
                found: tags,
                expected: blocks.saturating_mul(self.tag_bytes),
            });
        }
        Ok(())
    }

    /// Calls `each` with the digest of every block, in order.
    fn each_digest(
        &self,
        first: SectorNumber,
        data: &[u8],
        mut each: impl FnMut(usize, &DigestBuffer),
    ) {
        let spb = self.block.sectors().get();
        let sector = |index: usize| first.get().saturating_add(wide(index) * spb).to_le_bytes();
        let Some(lanes) = &self.lanes else {
            for (index, block) in data.chunks_exact(self.block.bytes()).enumerate() {
                let digest = match &self.salt {
                    Some(salt) => self.digester.digest(&[salt, &sector(index), block]),
                    None => self.digester.digest(&[&sector(index), block]),
                };
                each(index, &digest);
            }
            return;
        };
        let prefix_bytes = 8 + self.salt.map_or(0, |salt| salt.len());
        let digest_bytes = lanes.tag_bytes();
        let mut prefixes = [0; RUN_BLOCKS * 24];
        let mut digests = [0; RUN_BLOCKS * 64];
        for (run, data) in data.chunks(RUN_BLOCKS * self.block.bytes()).enumerate() {
            let blocks = data.len() / self.block.bytes();
            let prefixes = prefixes.get_mut(..blocks * prefix_bytes).unwrap_or(&mut []);
            let digests = digests.get_mut(..blocks * digest_bytes).unwrap_or(&mut []);
            for (index, prefix) in prefixes.chunks_exact_mut(prefix_bytes).enumerate() {
                let (salt, number) = prefix.split_at_mut(prefix_bytes - 8);
                salt.copy_from_slice(self.salt.as_ref().map_or(&[][..], |salt| salt));
                number.copy_from_slice(&sector(run * RUN_BLOCKS + index));
            }
            lanes
                .tags(prefixes, prefix_bytes, self.block.bytes(), data, digests)
                .expect(
                    "one prefix and one digest for each block, and prefixes of at most 24 bytes",
                );
            for (index, digest) in digests.chunks_exact(digest_bytes).enumerate() {
                let mut padded = [0; 64];
                cut_or_pad(digest, &mut padded);
                each(run * RUN_BLOCKS + index, &padded);
            }
        }
    }
}

/// Blocks that one call of the many-lane path takes: several rounds of the widest backend.
const RUN_BLOCKS: usize = 64;

impl CheckTuple for TagMaker {
    /// Takes no mark for a tag: discards do not go through the journal.
    fn check(&self, first: SectorNumber, data: &[u8], tuples: &[u8]) -> Result<(), DeviceError> {
        self.error_of(first, &self.mismatches(first, data, tuples)?)
    }
}

impl fmt::Debug for TagMaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TagMaker({}, {} bytes)", self.name(), self.tag_bytes)
    }
}

/// Fills `tag` from a digest, with zeros behind the digest's end.
fn cut_or_pad(digest: &[u8], tag: &mut [u8]) {
    let padded = digest.iter().copied().chain(core::iter::repeat(0));
    for (to, from) in tag.iter_mut().zip(padded) {
        *to = from;
    }
}

#[cfg(test)]
mod tests;
