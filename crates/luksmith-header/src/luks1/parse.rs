//! Bytes to a LUKS1 header, in the order of the rules.

use alloc::{boxed::Box, string::String};

use luksmith_block::{BlockDevice, ByteLen, ByteOffset};
use luksmith_hash::HashName;

use super::{HEADER_BYTES, KEYSLOTS, STRIPES, area_sectors};
use crate::{
    Error, device,
    layout::{luks1_header as layout, luks1_keyslot as slot_layout, text_of},
};

/// Magic of a header.
pub(crate) const MAGIC: [u8; 6] = *b"LUKS\xba\xbe";
/// Magic of a header that the old offline re-encryption has made unusable.
pub(crate) const OLD_REENCRYPTION_MAGIC: [u8; 6] = *b"LUKS\xde\xad";

const ENABLED: u32 = 0x00ac_71f3;
const DISABLED: u32 = 0x0000_dead;

/// Whether a keyslot holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotState {
    /// It does.
    Enabled,
    /// It does not.
    Disabled,
    /// The field holds neither of the two values: never opened, filled or removed.
    Invalid(u32),
}

impl SlotState {
    pub(super) const fn from_number(number: u32) -> Self {
        match number {
            ENABLED => Self::Enabled,
            DISABLED => Self::Disabled,
            other => Self::Invalid(other),
        }
    }

    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Enabled => ENABLED,
            Self::Disabled => DISABLED,
            Self::Invalid(other) => other,
        }
    }
}

/// One of the eight keyslots, as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyslotRecord {
    /// Whether it holds a key.
    pub state: SlotState,
    /// PBKDF2 iterations.
    pub iterations: u32,
    /// PBKDF2 salt.
    pub salt: [u8; 32],
    /// Start of its area in 512-byte sectors.
    pub key_material_offset: u32,
    /// Stripes.
    pub stripes: u32,
}

impl KeyslotRecord {
    fn parse(raw: &[u8; slot_layout::SIZE]) -> Self {
        Self {
            state: SlotState::from_number(u32::from_be_bytes(slot_layout::active.get(raw))),
            iterations: u32::from_be_bytes(slot_layout::iterations.get(raw)),
            salt: slot_layout::salt.get(raw),
            key_material_offset: u32::from_be_bytes(slot_layout::key_material_offset.get(raw)),
            stripes: u32::from_be_bytes(slot_layout::stripes.get(raw)),
        }
    }
}

/// A LUKS1 header that obeys every rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    raw: Box<[u8; HEADER_BYTES]>,
    keyslots: [KeyslotRecord; KEYSLOTS],
    hash: HashName,
}

/// Reads the LUKS1 header of a device.
///
/// # Errors
/// As [`Header::parse`], and [`Error::Device`].
pub fn read<D: BlockDevice + ?Sized>(device: &D) -> Result<Header, Error> {
    let mut raw = [0; HEADER_BYTES];
    device::read(device, "a LUKS1 header", ByteOffset::ZERO, &mut raw)?;
    Header::parse(&raw, device.size())
}

impl Header {
    /// Checks the first 1024 bytes of a device of `device_len` bytes.
    ///
    /// # Errors
    /// [`Error::NotLuks`], [`Error::Luks1OldReencryption`], [`Error::UnsupportedVersion`], the
    /// variants whose names start with `Luks1`, and [`Error::TooShort`] for areas behind the end.
    ///
    /// # Format
    /// docs/formats/luks1.md, "Rules".
    pub fn parse(raw: &[u8; HEADER_BYTES], device_len: ByteLen) -> Result<Self, Error> {
        match layout::magic.get(raw) {
            MAGIC => {}
            OLD_REENCRYPTION_MAGIC => return Err(Error::Luks1OldReencryption),
            _ => return Err(Error::NotLuks),
        }
        let version = u16::from_be_bytes(layout::version.get(raw));
        if version != 1 {
            return Err(Error::UnsupportedVersion { version });
        }
        let hash = parse_hash(raw)?;
        let keyslots = parse_keyslots(raw);
        let header = Self {
            raw: Box::new(*raw),
            keyslots,
            hash,
        };
        header.check_areas()?;
        if header.key_bytes() == 0 {
            return Err(Error::Luks1KeyBytes);
        }
        let end = header.total_len();
        if device_len.whole_sectors().get() < end.whole_sectors().get() {
            return Err(Error::too_short(
                "the LUKS1 header with its keyslot areas",
                0,
                end.get(),
                device_len,
            ));
        }
        Ok(header)
    }

    /// The rules for stripes and areas: of all eight keyslots, enabled or not.
    fn check_areas(&self) -> Result<(), Error> {
        for (slot, record) in (0_u32..).zip(&self.keyslots) {
            if record.stripes != STRIPES {
                return Err(Error::Luks1Stripes {
                    slot,
                    at: field_at(slot, slot_layout::stripes.offset()),
                    found: record.stripes,
                });
            }
            // cryptsetup multiplies in 32 bits and refuses what wraps to the header's own bytes.
            let found = record.key_material_offset;
            if found.wrapping_mul(512) < 1024 || found < 2 {
                return Err(Error::Luks1SlotOffset {
                    slot,
                    at: field_at(slot, slot_layout::key_material_offset.offset()),
                    found,
                });
            }
        }
        let sectors = area_sectors(self.key_bytes());
        let payload = self.payload_sector();
        if payload != 0 {
            for (slot, record) in (0_u32..).zip(&self.keyslots) {
                let found = record.key_material_offset;
                let end = u64::from(found).saturating_add(sectors);
                if payload <= found || u64::from(payload) < end {
                    return Err(Error::Luks1SlotInData {
                        slot,
                        found,
                        sectors,
                        payload,
                    });
                }
            }
        }
        self.check_overlaps(sectors)
    }

    fn check_overlaps(&self, sectors: u64) -> Result<(), Error> {
        let mut order: [(u32, u32); KEYSLOTS] = Default::default();
        for ((slot, record), place) in (0_u32..).zip(&self.keyslots).zip(&mut order) {
            *place = (record.key_material_offset, slot);
        }
        order.sort_unstable();
        for pair in order.windows(2) {
            if let [(first_at, first), (second_at, second)] = *pair
                && u64::from(second_at) < u64::from(first_at).saturating_add(sectors)
            {
                return Err(Error::Luks1SlotsOverlap {
                    first,
                    first_at,
                    second,
                    second_at,
                });
            }
        }
        Ok(())
    }

    /// Gives the bytes as they were read.
    #[must_use]
    pub fn raw(&self) -> &[u8; HEADER_BYTES] {
        &self.raw
    }

    pub(super) fn raw_mut(&mut self) -> &mut [u8; HEADER_BYTES] {
        &mut self.raw
    }

    pub(super) fn set_records(&mut self, keyslots: [KeyslotRecord; KEYSLOTS]) {
        self.keyslots = keyslots;
    }

    /// Gives the cipher's name; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn cipher_name(&self) -> String {
        lossy(&layout::cipher_name.get(&self.raw))
    }

    /// Gives the cipher's mode; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn cipher_mode(&self) -> String {
        lossy(&layout::cipher_mode.get(&self.raw))
    }

    /// Gives the name of the hash as it stands.
    #[must_use]
    pub fn hash_name(&self) -> String {
        lossy(&layout::hash_spec.get(&self.raw))
    }

    /// Gives the hash.
    #[must_use]
    pub const fn hash(&self) -> HashName {
        self.hash
    }

    /// Gives the start of the data in 512-byte sectors, 0 for a detached header.
    #[must_use]
    pub fn payload_sector(&self) -> u32 {
        u32::from_be_bytes(layout::payload_offset.get(&self.raw))
    }

    /// Gives the length of the volume key in bytes.
    #[must_use]
    pub fn key_bytes(&self) -> u32 {
        u32::from_be_bytes(layout::key_bytes.get(&self.raw))
    }

    /// Gives the digest of the volume key.
    #[must_use]
    pub fn digest(&self) -> [u8; 20] {
        layout::digest.get(&self.raw)
    }

    /// Gives the salt of the digest.
    #[must_use]
    pub fn digest_salt(&self) -> [u8; 32] {
        layout::digest_salt.get(&self.raw)
    }

    /// Gives the iterations of the digest.
    #[must_use]
    pub fn digest_iterations(&self) -> u32 {
        u32::from_be_bytes(layout::digest_iterations.get(&self.raw))
    }

    /// Gives the UUID as it stands; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn uuid(&self) -> String {
        lossy(&layout::uuid.get(&self.raw))
    }

    /// Gives the eight keyslots as they stand.
    #[must_use]
    pub const fn keyslots(&self) -> &[KeyslotRecord; KEYSLOTS] {
        &self.keyslots
    }
}

fn parse_hash(raw: &[u8; HEADER_BYTES]) -> Result<HashName, Error> {
    let name = layout::hash_spec.get(raw);
    let hash =
        HashName::parse_bytes(text_of(&name)).map_err(|source| Error::Luks1Hash { source })?;
    let bytes = hash.digest_bytes();
    if bytes < 20 {
        return Err(Error::Luks1HashLength {
            hash: hash.as_str(),
            bytes,
        });
    }
    Ok(hash)
}

pub(super) fn parse_keyslots(raw: &[u8; HEADER_BYTES]) -> [KeyslotRecord; KEYSLOTS] {
    let table = layout::keyslots.get(raw);
    let (slots, _) = table.as_chunks::<{ slot_layout::SIZE }>();
    core::array::from_fn(|slot| {
        let raw = slots
            .get(slot)
            .expect("the field holds eight keyslots, a compile-time check says");
        KeyslotRecord::parse(raw)
    })
}

/// Gives the byte of a keyslot's field within the header.
pub(super) fn field_at(slot: u32, offset: usize) -> ByteOffset {
    let before = u64::from(slot).saturating_mul(ByteLen::of(&[0; slot_layout::SIZE]).get());
    let start = layout::keyslots.offset().saturating_add(offset);
    ByteOffset::new(before.saturating_add(u64::try_from(start).unwrap_or(u64::MAX)))
}

fn lossy(field: &[u8]) -> String {
    String::from_utf8_lossy(text_of(field)).into_owned()
}
