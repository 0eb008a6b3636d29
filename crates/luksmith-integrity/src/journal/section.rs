//! One section of the journal: from entries to sealed sectors and back.
//!
//! The first eight sectors hold the entries, the others the data. The last eight bytes of every
//! sector are its commit id, so the bytes of data that it displaces are kept in the entry.

use std::sync::Arc;

use luksmith_block::SECTOR_BYTES;

use crate::{
    JournalCipher, JournalMac,
    convert::{from_le, narrow},
    layout::{Layout, SectionShape},
};

/// Constants of the four sequence numbers, before a stream cipher changes them.
const COMMIT_CONSTANTS: [u64; 4] = [
    0x1111_1111_1111_1111,
    0x2222_2222_2222_2222,
    0x3333_3333_3333_3333,
    0x4444_4444_4444_4444,
];

/// Bytes of a sector, as a slice length.
const SECTOR: usize = 512;

/// Bytes of user data in one sector of the journal; the commit id takes the rest.
const PAYLOAD: usize = 504;

/// Byte in a metadata sector where its eighth of the section MAC lies.
const MAC_AT: usize = 496;

/// Bytes of one eighth of the section MAC.
const MAC_PIECE: usize = 8;

/// Sectors of a section that hold entries.
pub(crate) const METADATA: usize = 8;

/// The sector field of an unused entry.
const UNUSED: u64 = 0xffff_ffff_0000_0000;

/// One of the four sequence numbers that laps of the journal go through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sequence(u8);

impl Sequence {
    /// The number of a freshly formatted journal.
    pub(crate) const ZERO: Self = Self(0);

    /// Every number, ascending.
    pub(crate) const ALL: [Self; 4] = [Self(0), Self(1), Self(2), Self(3)];

    /// Gives the number of the following lap.
    pub(crate) const fn next(self) -> Self {
        Self((self.0 + 1) % 4)
    }

    /// Gives the number of the lap before.
    pub(crate) const fn previous(self) -> Self {
        Self((self.0 + 3) % 4)
    }

    /// Gives the number as an index below 4.
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One block for the journal: where it belongs, its data and its tag.
#[derive(Clone, Copy)]
pub(crate) struct JournalEntry<'a> {
    pub(crate) sector: u64,
    pub(crate) data: &'a [u8],
    pub(crate) tuple: &'a [u8],
}

/// Everything that is needed to read and write sections of one device's journal.
#[derive(Clone, Debug)]
pub(crate) struct SectionCodec {
    shape: SectionShape,
    sectors_per_block: usize,
    tag_bytes: usize,
    constants: [u64; 4],
    mac: Option<Arc<JournalMac>>,
    salt: Option<[u8; 16]>,
    cipher: Option<Arc<JournalCipher>>,
}

impl SectionCodec {
    /// `salt` is the superblock's if FIXED_HMAC is set.
    pub(crate) fn new(
        layout: &Layout,
        salt: Option<[u8; 16]>,
        mac: Option<Arc<JournalMac>>,
        cipher: Option<Arc<JournalCipher>>,
    ) -> Self {
        let mut constants = COMMIT_CONSTANTS;
        if let Some(cipher) = &cipher {
            cipher.adapt_constants(layout.journal_bytes(), &mut constants);
        }
        Self {
            shape: layout.section(),
            sectors_per_block: narrow(layout.block_size().sectors().get()),
            tag_bytes: usize::from(layout.tag_bytes()),
            constants,
            mac,
            salt,
            cipher,
        }
    }

    /// Gives the bytes of one section.
    pub(crate) fn section_bytes(&self) -> usize {
        narrow(self.shape.bytes())
    }

    /// Gives the entries of one section.
    pub(crate) fn entries(&self) -> usize {
        narrow(self.shape.entries)
    }

    /// Fills `image`, one section long, with an initialised section: no entry is used.
    pub(crate) fn initialise(&self, section: u32, sequence: Sequence, image: &mut [u8]) {
        self.assemble(section, sequence, core::iter::empty(), image);
    }

    /// Fills `image`, one section long, with a sealed section that holds `entries`.
    ///
    /// Unused entries and all padding are zeros, so nothing older leaks into the journal.
    pub(crate) fn assemble<'a>(
        &self,
        section: u32,
        sequence: Sequence,
        entries: impl Iterator<Item = JournalEntry<'a>>,
        image: &mut [u8],
    ) {
        debug_assert_eq!(image.len(), self.section_bytes());
        // The data of used entries is overwritten as a whole.
        if let Some(metadata) = image.get_mut(..METADATA * SECTOR) {
            metadata.fill(0);
        }
        let mut used = 0;
        for (index, entry) in entries.enumerate() {
            self.put_entry(index, &entry, image);
            used = index + 1;
        }
        debug_assert!(used <= self.entries());
        if let Some(unused) = image.get_mut(self.data_sector(used) * SECTOR..) {
            unused.fill(0);
        }
        for index in used..self.entries() {
            let at = self.entry_at(index);
            put(image, at, &UNUSED.to_le_bytes());
        }
        self.seal(section, sequence, image);
    }

    /// Stamps commit ids and MAC and encrypts.
    fn seal(&self, section: u32, sequence: Sequence, image: &mut [u8]) {
        if let Some(value) = self.section_mac(section, image) {
            let pieces = value.as_chunks::<MAC_PIECE>().0;
            for (sector, piece) in pieces.iter().enumerate() {
                put(image, sector * SECTOR + MAC_AT, piece);
            }
        }
        for (index, sector) in image.chunks_exact_mut(SECTOR).enumerate() {
            let id = self.commit_id(section, index, sequence);
            put(sector, PAYLOAD, &id.to_le_bytes());
        }
        if let Some(cipher) = &self.cipher {
            cipher.encrypt(section, image);
        }
    }

    /// Undoes the encryption of a section that was read, or of its first sectors. Does nothing
    /// where there is none.
    pub(crate) fn decrypt(&self, section: u32, image: &mut [u8]) {
        if let Some(cipher) = &self.cipher {
            cipher.decrypt(section, self.section_bytes(), image);
        }
    }

    /// Gives the sequence number whose commit id sector `index` of a decrypted section carries.
    pub(crate) fn sequence_of(
        &self,
        section: u32,
        index: usize,
        sector: &[u8],
    ) -> Option<Sequence> {
        let found = from_le(sector.get(PAYLOAD..SECTOR)?);
        Sequence::ALL
            .into_iter()
            .find(|&sequence| self.commit_id(section, index, sequence) == found)
    }

    /// Gives the sequence number that all sectors of a decrypted section carry, if they agree.
    pub(crate) fn whole_sequence(&self, section: u32, image: &[u8]) -> Option<Sequence> {
        let mut sectors = image.chunks_exact(SECTOR).enumerate();
        let (_, first) = sectors.next()?;
        let sequence = self.sequence_of(section, 0, first)?;
        sectors
            .all(|(index, sector)| self.sequence_of(section, index, sector) == Some(sequence))
            .then_some(sequence)
    }

    /// Tells whether the MAC of a decrypted section is right, or none is due.
    pub(crate) fn mac_matches(&self, section: u32, image: &[u8]) -> bool {
        use subtle::ConstantTimeEq as _;
        let Some(expected) = self.section_mac(section, image) else {
            return true;
        };
        let mut found = [0; METADATA * MAC_PIECE];
        for (piece, sector) in found
            .as_chunks_mut::<MAC_PIECE>()
            .0
            .iter_mut()
            .zip(image.chunks_exact(SECTOR))
        {
            piece.copy_from_slice(sector.get(MAC_AT..PAYLOAD).unwrap_or(&[0; MAC_PIECE]));
        }
        bool::from(expected.ct_eq(&found))
    }

    /// Gives where entry `index` of a decrypted section, or of its [`METADATA`] sectors alone,
    /// belongs, or `None` if it is unused.
    pub(crate) fn target(&self, index: usize, image: &[u8]) -> Option<u64> {
        let field = self.sector_field(index, image);
        (field >> 32 != UNUSED >> 32).then_some(field)
    }

    /// Tells whether no entry of a decrypted section, or of its [`METADATA`] sectors alone, is
    /// used.
    pub(crate) fn is_unused(&self, image: &[u8]) -> bool {
        (0..self.entries()).all(|index| self.target(index, image).is_none())
    }

    /// Copies the data and the tag of entry `index` out of a decrypted section.
    ///
    /// `data` is one block, `tuple` one tag.
    pub(crate) fn copy_entry(&self, index: usize, image: &[u8], data: &mut [u8], tuple: &mut [u8]) {
        let at = self.entry_at(index);
        let first = self.data_sector(index);
        for (piece, sector) in data.chunks_exact_mut(SECTOR).enumerate() {
            let from = (first + piece) * SECTOR;
            let (payload, tail) = sector.split_at_mut(PAYLOAD);
            payload.copy_from_slice(part(image, from, PAYLOAD));
            tail.copy_from_slice(part(image, at + 8 + 8 * piece, 8));
        }
        tuple.copy_from_slice(part(
            image,
            at + 8 + 8 * self.sectors_per_block,
            self.tag_bytes,
        ));
    }

    fn put_entry(&self, index: usize, entry: &JournalEntry<'_>, image: &mut [u8]) {
        let at = self.entry_at(index);
        put(image, at, &entry.sector.to_le_bytes());
        // Whole; where commit ids go, they are put once all entries are there.
        put(image, self.data_sector(index) * SECTOR, entry.data);
        for (piece, sector) in entry.data.chunks_exact(SECTOR).enumerate() {
            let (_, tail) = sector.split_at(PAYLOAD);
            put(image, at + 8 + 8 * piece, tail);
        }
        put(image, at + 8 + 8 * self.sectors_per_block, entry.tuple);
    }

    /// Gives the section MAC over the sector fields, if one is due.
    fn section_mac(&self, section: u32, image: &[u8]) -> Option<[u8; 64]> {
        let mac = self.mac.as_ref()?;
        let fields: Vec<u8> = (0..self.entries())
            .flat_map(|index| self.sector_field(index, image).to_le_bytes())
            .collect();
        Some(mac.section(self.salt.as_ref(), section, &fields))
    }

    fn sector_field(&self, index: usize, image: &[u8]) -> u64 {
        from_le(part(image, self.entry_at(index), 8))
    }

    /// Gives the first byte of an entry: consecutive entries go to different sectors.
    fn entry_at(&self, index: usize) -> usize {
        (index % METADATA) * SECTOR + (index / METADATA) * narrow(self.shape.entry_bytes)
    }

    fn data_sector(&self, index: usize) -> usize {
        METADATA + index * self.sectors_per_block
    }

    fn commit_id(&self, section: u32, sector: usize, sequence: Sequence) -> u64 {
        let constant = self
            .constants
            .get(sequence.index())
            .expect("a sequence number is below 4");
        let sector = u64::try_from(sector).unwrap_or(u64::MAX);
        constant ^ (u64::from(section) << 32) ^ sector
    }
}

// A section image always has the section's length, so these are in range; should one ever not be,
// zeros are read and nothing is written, and the commit ids then reject the section.

fn part(image: &[u8], at: usize, len: usize) -> &[u8] {
    const ZEROS: [u8; SECTOR] = [0; SECTOR];
    const EMPTY: &[u8] = &ZEROS;
    debug_assert!(at + len <= image.len());
    image
        .get(at..at + len)
        .unwrap_or_else(|| EMPTY.get(..len).unwrap_or(EMPTY))
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    debug_assert!(at + bytes.len() <= image.len());
    if let Some(to) = image.get_mut(at..at + bytes.len()) {
        to.copy_from_slice(bytes);
    }
}

const _: () = assert!(SECTOR as u64 == SECTOR_BYTES);

#[cfg(test)]
mod tests;
