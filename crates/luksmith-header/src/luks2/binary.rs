//! The binary header of one copy, and its checksum.

use alloc::{boxed::Box, string::String, vec, vec::Vec};

use luksmith_block::ByteOffset;
use luksmith_hash::{Hash, HashName, MAX_DIGEST_BYTES};

use super::{HeaderSize, Side};
use crate::{
    Error,
    layout::{luks2_binary as layout, text_of},
};

/// Length of the binary header; the JSON area follows.
pub const BINARY_HEADER_BYTES: usize = layout::SIZE;

pub(crate) const PRIMARY_MAGIC: [u8; 6] = *b"LUKS\xba\xbe";
pub(crate) const SECONDARY_MAGIC: [u8; 6] = *b"SKUL\xba\xbe";

impl Side {
    pub(crate) const fn magic(self) -> [u8; 6] {
        match self {
            Self::Primary => PRIMARY_MAGIC,
            Self::Secondary => SECONDARY_MAGIC,
        }
    }
}

/// A binary header whose magic, version, place and size fit.
///
/// # Format
/// docs/formats/luks2.md, "Binary header".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryHeader {
    raw: Box<[u8; BINARY_HEADER_BYTES]>,
    side: Side,
}

impl BinaryHeader {
    /// Reads the binary header that was found at byte `at` of the device.
    ///
    /// # Errors
    /// [`Error::Magic`], [`Error::CopyVersion`], [`Error::CopyOffset`], [`Error::CopySize`].
    pub fn parse(
        raw: &[u8; BINARY_HEADER_BYTES],
        side: Side,
        at: ByteOffset,
    ) -> Result<Self, Error> {
        let found = layout::magic.get(raw);
        if found != side.magic() {
            return Err(Error::Magic { side, at, found });
        }
        let found = u16::from_be_bytes(layout::version.get(raw));
        if found != 2 {
            return Err(Error::CopyVersion { side, at, found });
        }
        let found = u64::from_be_bytes(layout::hdr_offset.get(raw));
        if found != at.get() {
            return Err(Error::CopyOffset { side, at, found });
        }
        let found = u64::from_be_bytes(layout::hdr_size.get(raw));
        let in_range = (HeaderSize::MIN.bytes()..=HeaderSize::MAX.bytes()).contains(&found);
        if !in_range || (side == Side::Secondary && found != at.get()) {
            return Err(Error::CopySize { side, at, found });
        }
        Ok(Self {
            raw: Box::new(*raw),
            side,
        })
    }

    /// Tells which copy this is.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.side
    }

    /// Gives the bytes as they were read.
    #[must_use]
    pub fn raw(&self) -> &[u8; BINARY_HEADER_BYTES] {
        &self.raw
    }

    pub(super) fn raw_mut(&mut self) -> &mut [u8; BINARY_HEADER_BYTES] {
        &mut self.raw
    }

    /// Gives the length of the copy in bytes, JSON area included: between 16 KiB and 4 MiB, but not
    /// necessarily one of the nine sizes.
    #[must_use]
    pub fn hdr_size(&self) -> u64 {
        u64::from_be_bytes(layout::hdr_size.get(&self.raw))
    }

    /// Gives the sequence number.
    #[must_use]
    pub fn seqid(&self) -> u64 {
        u64::from_be_bytes(layout::seqid.get(&self.raw))
    }

    /// Gives where the copy starts.
    #[must_use]
    pub fn hdr_offset(&self) -> ByteOffset {
        ByteOffset::new(u64::from_be_bytes(layout::hdr_offset.get(&self.raw)))
    }

    /// Gives the label; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn label(&self) -> String {
        lossy(&layout::label.get(&self.raw))
    }

    /// Gives the subsystem; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn subsystem(&self) -> String {
        lossy(&layout::subsystem.get(&self.raw))
    }

    /// Gives the UUID as it stands; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn uuid(&self) -> String {
        lossy(&layout::uuid.get(&self.raw))
    }

    /// Gives the name of the checksum's hash as it stands.
    #[must_use]
    pub fn checksum_name(&self) -> String {
        lossy(&layout::checksum_alg.get(&self.raw))
    }

    /// Gives the salt, which only makes checksums differ.
    #[must_use]
    pub fn salt(&self) -> [u8; 64] {
        layout::salt.get(&self.raw)
    }

    /// Gives the checksum field; the hash's length tells how much of it counts.
    #[must_use]
    pub fn checksum(&self) -> [u8; 64] {
        layout::csum.get(&self.raw)
    }

    /// Gives the hash that the checksum is made with.
    ///
    /// # Errors
    /// [`Error::ChecksumHash`].
    pub fn checksum_hash(&self) -> Result<HashName, Error> {
        let name = layout::checksum_alg.get(&self.raw);
        HashName::parse_bytes(text_of(&name)).map_err(|source| Error::ChecksumHash {
            side: self.side,
            at: self.hdr_offset(),
            source,
        })
    }

    /// Checks the checksum over this header and its JSON area, unused tail included.
    ///
    /// # Errors
    /// [`Error::ChecksumHash`], [`Error::Checksum`].
    pub fn verify_checksum(&self, json_area: &[u8]) -> Result<(), Error> {
        let hash = self.checksum_hash()?;
        let expected = checksum(&self.raw, json_area, hash);
        let found = self.checksum();
        // No secret: anyone can compute this checksum.
        if found.get(..expected.len()) == Some(&expected) {
            Ok(())
        } else {
            Err(Error::Checksum {
                side: self.side,
                at: self.hdr_offset(),
            })
        }
    }
}

fn lossy(field: &[u8]) -> String {
    String::from_utf8_lossy(text_of(field)).into_owned()
}

/// Computes the checksum of a copy: its field counts as zeros.
fn checksum(raw: &[u8; BINARY_HEADER_BYTES], json_area: &[u8], hash: HashName) -> Vec<u8> {
    let mut zeroed = *raw;
    layout::csum.set(&mut zeroed, [0; MAX_DIGEST_BYTES]);
    let mut digest = vec![0; hash.digest_bytes()];
    Hash::digest(hash, &[&zeroed, json_area], &mut digest)
        .expect("the buffer has the digest's length");
    digest
}
