//! The superblock: 4096 bytes that fix the geometry of a dm-integrity device.
//!
//! The field table below is the only place that knows offsets; parser, writer, dump and the table
//! in docs/formats/integrity.md come from it.

use luksmith_block::{SectorCount, SectorNumber, SectorSize};
use subtle::ConstantTimeEq as _;

use crate::{Error, convert::from_le, mac::JournalMac};

/// Bytes of the superblock on disk.
pub const SUPERBLOCK_BYTES: usize = 4096;

/// Sectors of the superblock on disk.
pub const SUPERBLOCK_SECTORS: u64 = 8;

/// First bytes of every dm-integrity superblock.
pub const MAGIC: [u8; 8] = *b"integrt\0";

/// Highest version that is understood.
pub const MAX_VERSION: u8 = 7;

/// Bytes of the superblock that its MAC protects, the MAC included.
const MAC_SPAN_BYTES: usize = 512;

/// One field of the superblock: where it is and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// Name, as the kernel's status and dumps print it.
    pub name: &'static str,
    /// First byte.
    pub offset: usize,
    /// Bytes. Numbers are little-endian.
    pub bytes: usize,
    /// What it holds.
    pub meaning: &'static str,
}

macro_rules! fields {
    ($($id:ident = $name:literal, $offset:literal, $bytes:literal, $meaning:literal;)+) => {
        $(const $id: Field = Field {
            name: $name, offset: $offset, bytes: $bytes, meaning: $meaning,
        };)+

        /// Every field of the superblock, in the order of the disk.
        pub const FIELDS: &[Field] = &[$($id),+];

        // Fields follow one another without gap or overlap.
        const _: () = {
            let mut end = 0;
            $(assert!($offset == end); end = $offset + $bytes;)+
            assert!(end == 64);
        };
    };
}

fields! {
    MAGIC_FIELD = "magic", 0, 8, "`integrt` and a zero byte";
    VERSION = "version", 8, 1, "1 to 7, recomputed from the flags at every write";
    LOG2_INTERLEAVE = "log2_interleave_sectors", 9, 1,
        "data sectors of one area as a power of two, 3 to 31; 0 with a separate metadata device";
    TAG_SIZE = "integrity_tag_size", 10, 2, "bytes of the tag of one block, 1 to 255";
    JOURNAL_SECTIONS = "journal_sections", 12, 4, "sections of the journal, at least 1";
    PROVIDED = "provided_data_sectors", 16, 8, "size of the mapped device in sectors";
    FLAGS = "flags", 24, 4, "see the table of flags";
    LOG2_SPB = "log2_sectors_per_block", 28, 1, "sectors of one block as a power of two, 0 to 3";
    LOG2_BLOCKS_PER_BIT = "log2_blocks_per_bitmap_bit", 29, 1,
        "blocks that one bit of the bitmap stands for, as a power of two";
    PAD_A = "-", 30, 2, "zero";
    RECALC_SECTOR = "recalc_sector", 32, 8, "sectors below have been recalculated";
    PAD_B = "-", 40, 8, "zero";
    SALT = "salt", 48, 16, "random with FIXED_HMAC, else zero";
}

/// Flags of the superblock. Unknown bits are ignored and kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u32);

macro_rules! flags {
    ($($id:ident = $value:literal, $meaning:literal;)+) => {
        impl Flags {
            $(#[doc = $meaning] pub const $id: Self = Self($value);)+

            /// Every known flag with its name and meaning, ascending.
            pub const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$id, stringify!($id), $meaning)),+];
        }
    };
}

flags! {
    HAVE_JOURNAL_MAC = 0x01, "The journal's sections carry a MAC.";
    RECALCULATING = 0x02, "A recalculation of tags was asked for; stays set when it is finished.";
    DIRTY_BITMAP = 0x04, "The journal area holds a bitmap of blocks that may not match their tags.";
    FIXED_PADDING = 0x08, "A run of tags is padded to 4096 bytes instead of 128 KiB.";
    FIXED_HMAC = 0x10,
        "The salt enters tags and section MACs; with HAVE_JOURNAL_MAC the superblock carries a MAC too.";
    INLINE = 0x20, "Tags live in the per-block metadata of the hardware.";
    DISCARD_KEYED = 0x40, "Discarded blocks are marked by a keyed digest.";
}

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);

    /// Takes the stored number; unknown bits are kept.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Gives the number that is stored.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Tells whether every bit of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Gives these flags with those of `other` set.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Gives these flags with those of `other` cleared.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl core::fmt::Display for Flags {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut left = self.0;
        let mut separator = "";
        for (flag, name, _) in Self::ALL {
            if self.contains(*flag) {
                write!(f, "{separator}{name}")?;
                separator = " ";
                left &= !flag.0;
            }
        }
        match (left, separator) {
            (0, "") => f.write_str("none"),
            (0, _) => Ok(()),
            (left, separator) => write!(f, "{separator}{left:#x}"),
        }
    }
}

/// A superblock whose every field is within what the format allows.
///
/// Whether the fields fit a device is decided by [`Layout`](crate::Layout).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    pub(crate) version: u8,
    pub(crate) log2_interleave: u8,
    pub(crate) tag_bytes: u8,
    pub(crate) journal_sections: u32,
    pub(crate) provided: u64,
    pub(crate) flags: Flags,
    pub(crate) log2_spb: u8,
    pub(crate) log2_blocks_per_bit: u8,
    pub(crate) recalc_sector: u64,
    pub(crate) salt: [u8; 16],
    /// The bytes as they were read: what no field names survives a rewrite.
    rest: Box<[u8; SUPERBLOCK_BYTES]>,
}

impl Superblock {
    /// Gives a superblock with the given geometry and everything else zero.
    pub(crate) fn blank() -> Self {
        Self {
            version: 1,
            log2_interleave: 0,
            tag_bytes: 1,
            journal_sections: 1,
            provided: 0,
            flags: Flags::NONE,
            log2_spb: 0,
            log2_blocks_per_bit: 0,
            recalc_sector: 0,
            salt: [0; 16],
            rest: Box::new([0; SUPERBLOCK_BYTES]),
        }
    }

    /// Takes the 4096 bytes of a superblock apart.
    ///
    /// The superblock's MAC, if it has one, is a separate step: [`verify_mac`](Self::verify_mac).
    ///
    /// # Errors
    /// [`Error::NotFormatted`] for zeros, [`Error::Magic`], [`Error::Version`],
    /// [`Error::InlineMode`], and [`Error::Field`] for a number outside its range.
    ///
    /// # Format
    /// docs/formats/integrity.md, "Superblock".
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let rest = Box::new(
            <[u8; SUPERBLOCK_BYTES]>::try_from(bytes)
                .map_err(|_| Error::SuperblockLength { found: bytes.len() })?,
        );
        if read(&MAGIC_FIELD, &rest) != MAGIC {
            return Err(if rest.iter().all(|&byte| byte == 0) {
                Error::NotFormatted
            } else {
                Error::Magic
            });
        }
        let version = number8(&VERSION, &rest);
        if version == 0 || version > MAX_VERSION {
            return Err(Error::Version { found: version });
        }
        let flags = Flags(number32(&FLAGS, &rest));
        if flags.contains(Flags::INLINE) {
            return Err(Error::InlineMode);
        }
        let mut salt = [0; 16];
        salt.copy_from_slice(read(&SALT, &rest));
        Ok(Self {
            version,
            log2_interleave: ranged(&LOG2_INTERLEAVE, &rest, |value| {
                value == 0 || (3..=31).contains(&value)
            })?,
            tag_bytes: ranged(&TAG_SIZE, &rest, |value| (1..=255).contains(&value))?,
            journal_sections: match number32(&JOURNAL_SECTIONS, &rest) {
                0 => return Err(out_of_range(&JOURNAL_SECTIONS, 0)),
                sections => sections,
            },
            provided: number(&PROVIDED, &rest),
            flags,
            log2_spb: ranged(&LOG2_SPB, &rest, |value| value <= 3)?,
            log2_blocks_per_bit: number8(&LOG2_BLOCKS_PER_BIT, &rest),
            recalc_sector: number(&RECALC_SECTOR, &rest),
            salt,
            rest,
        })
    }

    /// Gives the 4096 bytes to be stored, with the version recomputed and the MAC, if due, made.
    ///
    /// `bitmap_mode` tells whether the device is being used in bitmap mode, which counts for the
    /// version.
    ///
    /// # Format
    /// docs/formats/integrity.md, "Superblock".
    #[must_use]
    pub fn to_bytes(&self, bitmap_mode: bool, mac: Option<&JournalMac>) -> Vec<u8> {
        let mut bytes = self.rest.to_vec();
        put(&MAGIC_FIELD, &mut bytes, &MAGIC);
        put(&VERSION, &mut bytes, &[self.written_version(bitmap_mode)]);
        put(&LOG2_INTERLEAVE, &mut bytes, &[self.log2_interleave]);
        put(
            &TAG_SIZE,
            &mut bytes,
            &u16::from(self.tag_bytes).to_le_bytes(),
        );
        put(
            &JOURNAL_SECTIONS,
            &mut bytes,
            &self.journal_sections.to_le_bytes(),
        );
        put(&PROVIDED, &mut bytes, &self.provided.to_le_bytes());
        put(&FLAGS, &mut bytes, &self.flags.0.to_le_bytes());
        put(&LOG2_SPB, &mut bytes, &[self.log2_spb]);
        put(
            &LOG2_BLOCKS_PER_BIT,
            &mut bytes,
            &[self.log2_blocks_per_bit],
        );
        put(
            &RECALC_SECTOR,
            &mut bytes,
            &self.recalc_sector.to_le_bytes(),
        );
        put(&SALT, &mut bytes, &self.salt);
        if let Some(mac) = self.due_mac(mac) {
            let (protected, stored) = mac_parts(&mut bytes, mac.digest_bytes());
            mac.superblock(protected, stored);
        }
        bytes
    }

    /// Checks the superblock's own MAC, where it has one.
    ///
    /// # Errors
    /// [`Error::SuperblockMac`] if it does not match; [`Error::JournalMacMissing`] or
    /// [`Error::JournalMacUnexpected`] if the flag and what was configured disagree.
    pub fn verify_mac(&self, mac: Option<&JournalMac>) -> Result<(), Error> {
        match (self.flags.contains(Flags::HAVE_JOURNAL_MAC), mac) {
            (true, None) => return Err(Error::JournalMacMissing),
            (false, Some(_)) => return Err(Error::JournalMacUnexpected),
            _ => {}
        }
        let Some(mac) = self.due_mac(mac) else {
            return Ok(());
        };
        let mut bytes = self.rest.to_vec();
        let (protected, stored) = mac_parts(&mut bytes, mac.digest_bytes());
        let mut expected = vec![0; stored.len()];
        mac.superblock(protected, &mut expected);
        if bool::from(expected.ct_eq(stored)) {
            Ok(())
        } else {
            Err(Error::SuperblockMac)
        }
    }

    fn due_mac<'a>(&self, mac: Option<&'a JournalMac>) -> Option<&'a JournalMac> {
        let both = Flags::HAVE_JOURNAL_MAC.with(Flags::FIXED_HMAC);
        mac.filter(|_| self.flags.contains(both))
    }

    /// Gives the version that a write of this superblock stores.
    fn written_version(&self, bitmap_mode: bool) -> u8 {
        let has = |flag| self.flags.contains(flag);
        if has(Flags::DISCARD_KEYED) {
            7
        } else if has(Flags::INLINE) {
            6
        } else if has(Flags::FIXED_HMAC) {
            5
        } else if has(Flags::FIXED_PADDING) {
            4
        } else if bitmap_mode || has(Flags::DIRTY_BITMAP) {
            3
        } else if self.log2_interleave == 0 || has(Flags::RECALCULATING) {
            2
        } else {
            1
        }
    }

    /// Gives the version that was stored.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// Gives the data sectors of one area as a power of two; `None` with separate metadata.
    #[must_use]
    pub const fn log2_interleave(&self) -> Option<u8> {
        match self.log2_interleave {
            0 => None,
            log2 => Some(log2),
        }
    }

    /// Gives the bytes of one tag, 1 to 255.
    #[must_use]
    pub const fn tag_bytes(&self) -> u8 {
        self.tag_bytes
    }

    /// Gives the number of journal sections, at least 1.
    #[must_use]
    pub const fn journal_sections(&self) -> u32 {
        self.journal_sections
    }

    /// Gives the size of the mapped device as it was stored.
    #[must_use]
    pub const fn provided_data_sectors(&self) -> SectorCount {
        SectorCount::new(self.provided)
    }

    /// Gives the flags, unknown bits included.
    #[must_use]
    pub const fn flags(&self) -> Flags {
        self.flags
    }

    /// Gives the size of one block.
    #[must_use]
    pub const fn block_size(&self) -> SectorSize {
        match self.log2_spb {
            0 => SectorSize::S512,
            1 => SectorSize::S1024,
            2 => SectorSize::S2048,
            _ => SectorSize::S4096,
        }
    }

    /// Gives the blocks of one bitmap bit as a power of two.
    #[must_use]
    pub const fn log2_blocks_per_bitmap_bit(&self) -> u8 {
        self.log2_blocks_per_bit
    }

    /// Gives the first sector that recalculation has not reached.
    #[must_use]
    pub const fn recalc_sector(&self) -> SectorNumber {
        SectorNumber::new(self.recalc_sector)
    }

    /// Gives the salt, zeros without FIXED_HMAC.
    #[must_use]
    pub const fn salt(&self) -> &[u8; 16] {
        &self.salt
    }

    /// Gives the salt that enters tags and MACs, if it does.
    pub(crate) fn active_salt(&self) -> Option<[u8; 16]> {
        self.flags.contains(Flags::FIXED_HMAC).then_some(self.salt)
    }
}

/// Gives the bytes of a field.
fn read<'a>(field: &Field, bytes: &'a [u8; SUPERBLOCK_BYTES]) -> &'a [u8] {
    bytes
        .get(field.offset..field.offset + field.bytes)
        .expect("every field of the table lies below 64")
}

fn number(field: &Field, bytes: &[u8; SUPERBLOCK_BYTES]) -> u64 {
    from_le(read(field, bytes))
}

fn number8(field: &Field, bytes: &[u8; SUPERBLOCK_BYTES]) -> u8 {
    u8::try_from(number(field, bytes)).expect("the field is one byte")
}

fn number32(field: &Field, bytes: &[u8; SUPERBLOCK_BYTES]) -> u32 {
    u32::try_from(number(field, bytes)).expect("the field is at most four bytes")
}

fn ranged(
    field: &Field,
    bytes: &[u8; SUPERBLOCK_BYTES],
    allowed: impl Fn(u64) -> bool,
) -> Result<u8, Error> {
    let value = number(field, bytes);
    match u8::try_from(value) {
        Ok(small) if allowed(value) => Ok(small),
        _ => Err(out_of_range(field, value)),
    }
}

fn out_of_range(field: &Field, found: u64) -> Error {
    Error::Field {
        field: field.name,
        found,
        meaning: field.meaning,
    }
}

fn put(field: &Field, bytes: &mut [u8], value: &[u8]) {
    bytes
        .get_mut(field.offset..field.offset + field.bytes)
        .expect("every field of the table lies below 64")
        .copy_from_slice(value);
}

/// Splits the first sector into what the MAC covers and the MAC itself.
fn mac_parts(bytes: &mut [u8], digest_bytes: usize) -> (&[u8], &mut [u8]) {
    let (first, _) = bytes.split_at_mut(MAC_SPAN_BYTES);
    let (protected, stored) = first.split_at_mut(MAC_SPAN_BYTES - digest_bytes);
    (protected, stored)
}
