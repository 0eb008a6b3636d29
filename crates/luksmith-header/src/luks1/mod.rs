//! LUKS1: one binary header with eight keyslots.
//!
//! # Format
//! docs/formats/luks1.md.

mod parse;
mod repair;
mod views;
mod write;

use alloc::string::String;

use luksmith_block::ByteLen;

pub use parse::{Header, KeyslotRecord, SlotState, read};
pub(crate) use parse::{MAGIC, OLD_REENCRYPTION_MAGIC};
pub use repair::{Repair, Repaired};
pub use write::{DEFAULT_ALIGNMENT_SECTORS, NewHeader, area_layout, default_payload_sector, write};

use crate::layout::{luks1_header, luks1_keyslot};

/// Length of the header as it is read and written.
pub const HEADER_BYTES: usize = luks1_header::SIZE;

/// Keyslots of a header.
pub const KEYSLOTS: usize = 8;

/// Stripes of every keyslot.
pub const STRIPES: u32 = 4000;

const _: () = assert!(
    KEYSLOTS * luks1_keyslot::SIZE == 384,
    "the keyslots fill their field"
);

/// Gives the length of a keyslot area in 512-byte sectors, for a key of this many bytes.
#[must_use]
pub fn area_sectors(key_bytes: u32) -> u64 {
    // 2^32 * 4000 fits 64 bits.
    u64::from(key_bytes)
        .saturating_mul(u64::from(STRIPES))
        .div_ceil(512)
}

impl Header {
    /// Gives the cipher of keyslots and data, as `aes-xts-plain64`.
    #[must_use]
    pub fn encryption(&self) -> String {
        let mut text = self.cipher_name();
        text.push('-');
        text.push_str(&self.cipher_mode());
        text
    }

    /// Gives the length of one keyslot area, in whole 512-byte sectors.
    #[must_use]
    pub fn area_len(&self) -> ByteLen {
        ByteLen::new(area_sectors(self.key_bytes()).saturating_mul(512))
    }

    /// Gives the length of header and keyslot areas: up to the end of the highest area.
    #[must_use]
    pub fn total_len(&self) -> ByteLen {
        let highest = self
            .keyslots()
            .iter()
            .map(|slot| slot.key_material_offset)
            .max()
            .unwrap_or(0);
        let end = u64::from(highest).saturating_add(area_sectors(self.key_bytes()));
        ByteLen::new(end.saturating_mul(512))
    }
}
