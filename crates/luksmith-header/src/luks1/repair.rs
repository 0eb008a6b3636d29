//! Putting right what old programs and careless ones did to a LUKS1 header: an explicit act.

use alloc::{string::ToString, vec::Vec};

use luksmith_block::ByteLen;

use super::{
    HEADER_BYTES, KEYSLOTS, STRIPES, SlotState, area_layout,
    parse::{Header, KeyslotRecord, MAGIC, parse_keyslots},
    write::set_keyslots,
};
use crate::{
    Error,
    layout::{luks1_header as layout, text_of},
};

/// Keyslot whose salt lies where a boot sector has its mark.
const MARKED_SLOT: usize = 6;
/// Where that mark is.
const BOOT_MARK: core::ops::Range<usize> = 510..512;

/// One thing that a repair puts right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repaired {
    /// A cipher mode of `ecb-` and something: ECB has nothing behind it.
    CipherMode,
    /// A hash in upper case.
    Hash,
    /// A keyslot that is not enabled: back at its place, disabled, its salt zeroed.
    Keyslot(u32),
}

/// A header as a repair would leave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The header.
    pub header: Header,
    /// What is put right; nothing if the header was as it should be.
    pub changes: Vec<Repaired>,
}

impl Repair {
    /// Finds what can be put right in the first 1024 bytes of a device of `device_len` bytes.
    /// Enabled
    /// keyslots are never touched. Nothing is written: [`write`](super::write) does that.
    ///
    /// # Errors
    /// [`Error::NotLuks`], [`Error::UnsupportedVersion`], [`Error::Luks1OldReencryption`];
    /// [`Error::Option`] for a key length that has no usual layout; [`Error::Luks1SlotOffset`] for
    /// a
    /// first keyslot in front of its usual place; and what [`Header::parse`] gives for a header
    /// that
    /// breaks a rule all the same.
    ///
    /// # Format
    /// docs/formats/luks1.md, "Repair".
    pub fn plan(raw: &[u8; HEADER_BYTES], device_len: ByteLen) -> Result<Self, Error> {
        let version = u16::from_be_bytes(layout::version.get(raw));
        if layout::magic.get(raw) != MAGIC || version != 1 {
            // Says which of the three it is.
            let header = Header::parse(raw, device_len)?;
            return Ok(Self {
                header,
                changes: Vec::new(),
            });
        }
        let key_bytes = u32::from_be_bytes(layout::key_bytes.get(raw));
        if !matches!(key_bytes, 16 | 32 | 64) {
            return Err(Error::Option {
                option: "key size",
                value: u64::from(key_bytes),
                rule: "only keys of 16, 32 and 64 bytes can be repaired",
            });
        }
        let mut keyslots = parse_keyslots(raw);
        if let Some(first) = keyslots.first()
            && first.key_material_offset < 8
        {
            return Err(Error::Luks1SlotOffset {
                slot: 0,
                at: super::parse::field_at(0, 40),
                found: first.key_material_offset,
            });
        }
        let mut raw = *raw;
        let mut changes = repair_texts(&mut raw);
        let is_marked = raw.get(BOOT_MARK) == Some(&[0x55, 0xaa]);
        changes.extend(repair_keyslots(&mut keyslots, key_bytes, is_marked)?);
        set_keyslots(&mut raw, &keyslots);
        Ok(Self {
            header: Header::parse(&raw, device_len)?,
            changes,
        })
    }
}

fn repair_texts(raw: &mut [u8; HEADER_BYTES]) -> Vec<Repaired> {
    let mut changes = Vec::new();
    if text_of(&layout::cipher_mode.get(raw)).starts_with(b"ecb-") {
        layout::cipher_mode.set_text(raw, b"ecb");
        changes.push(Repaired::CipherMode);
    }
    let hash = layout::hash_spec.get(raw);
    let lower = text_of(&hash).to_ascii_lowercase();
    if lower != text_of(&hash) {
        layout::hash_spec.set_text(raw, &lower);
        changes.push(Repaired::Hash);
    }
    changes
}

fn repair_keyslots(
    keyslots: &mut [KeyslotRecord; KEYSLOTS],
    key_bytes: u32,
    is_marked: bool,
) -> Result<Vec<Repaired>, Error> {
    let (places, _) = area_layout(key_bytes)?;
    let mut changes = Vec::new();
    for (id, (record, place)) in (0_u32..).zip(keyslots.iter_mut().zip(places)) {
        if record.state == SlotState::Enabled {
            continue;
        }
        let is_marked = is_marked && usize::try_from(id) == Ok(MARKED_SLOT);
        let is_misplaced = record.key_material_offset != place || record.stripes != STRIPES;
        if is_misplaced || is_marked {
            *record = KeyslotRecord {
                state: SlotState::Disabled,
                iterations: 0,
                salt: [0; 32],
                key_material_offset: place,
                stripes: STRIPES,
            };
            changes.push(Repaired::Keyslot(id));
        }
    }
    Ok(changes)
}

impl core::fmt::Display for Repaired {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::CipherMode => f.write_str("cipher_mode"),
            Self::Hash => f.write_str("hash_spec"),
            Self::Keyslot(id) => {
                f.write_str("keyslot ")?;
                f.write_str(&id.to_string())
            }
        }
    }
}
