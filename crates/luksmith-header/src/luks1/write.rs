//! Making, changing and writing LUKS1 headers.
//!
//! There is one copy and no checksum: a header of 1024 bytes is written in one request of whole
//! sectors and flushed. What keeps a crash from losing keys is the caller's order: a new area is
//! written and flushed before the header that enables it, and no area that still holds the only
//! copy
//! of a wanted key is overwritten (`luksmith-keyslot`, `change`).

use alloc::{boxed::Box, string::String, vec};

use luksmith_block::{BlockDevice, ByteLen, ByteOffset};
use luksmith_hash::HashName;

use super::{
    HEADER_BYTES, KEYSLOTS, KeyslotRecord, STRIPES, SlotState, area_sectors,
    parse::{Header, MAGIC},
};
use crate::{
    Error, device,
    layout::{luks1_header as layout, luks1_keyslot as slot_layout},
};

/// First sector of the first keyslot area, and the unit of all of them.
const AREA_SECTORS: u64 = 8;
/// Where the data start is a multiple of this many sectors, unless the caller says otherwise.
pub const DEFAULT_ALIGNMENT_SECTORS: u32 = 2048;

/// What a new header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHeader {
    /// Cipher's name, as `aes`.
    pub cipher_name: String,
    /// Cipher's mode, as `xts-plain64`.
    pub cipher_mode: String,
    /// The one hash.
    pub hash: HashName,
    /// Length of the volume key in bytes.
    pub key_bytes: u32,
    /// Start of the data in 512-byte sectors, 0 for a detached header.
    pub payload_sector: u32,
    /// PBKDF2 of the volume key.
    pub digest: [u8; 20],
    /// Salt of the digest.
    pub digest_salt: [u8; 32],
    /// Iterations of the digest.
    pub digest_iterations: u32,
    /// UUID in its 36-character form.
    pub uuid: String,
}

/// Gives the first sectors of the eight keyslot areas, and the sector behind the last one.
///
/// # Errors
/// [`Error::Option`] for a key whose areas would end past 32 bits.
///
/// # Format
/// docs/formats/luks1.md, "Formatting".
pub fn area_layout(key_bytes: u32) -> Result<([u32; KEYSLOTS], u32), Error> {
    let too_long = Error::Option {
        option: "key size",
        value: u64::from(key_bytes),
        rule: "its keyslot areas would end past sector 2^32",
    };
    let sectors = area_sectors(key_bytes);
    let mut next = AREA_SECTORS;
    let mut offsets = [0; KEYSLOTS];
    for offset in &mut offsets {
        *offset = u32::try_from(next).map_err(|_| too_long.clone())?;
        next = next.saturating_add(sectors).next_multiple_of(AREA_SECTORS);
    }
    let end = u32::try_from(next).map_err(|_| too_long)?;
    Ok((offsets, end))
}

/// Gives the first sector of the data where it is not given: behind the areas, aligned.
///
/// `alignment` and `alignment_offset` count 512-byte sectors.
///
/// # Errors
/// [`Error::Option`] for a sector past 32 bits or an alignment of 0.
pub fn default_payload_sector(
    key_bytes: u32,
    alignment: u32,
    alignment_offset: u32,
) -> Result<u32, Error> {
    let (_, end) = area_layout(key_bytes)?;
    end.checked_next_multiple_of(alignment.max(1))
        .and_then(|sector| sector.checked_add(alignment_offset))
        .ok_or(Error::Option {
            option: "alignment",
            value: u64::from(alignment),
            rule: "the data would start past sector 2^32",
        })
}

impl Header {
    /// Makes a header without any enabled keyslot, for a device of `device_len` bytes.
    ///
    /// # Errors
    /// [`Error::Option`] for data that would start inside the keyslot areas, [`Error::UuidText`],
    /// and
    /// what [`Header::parse`] gives.
    pub fn new(new: &NewHeader, device_len: ByteLen) -> Result<Self, Error> {
        let (offsets, end) = area_layout(new.key_bytes)?;
        if new.payload_sector != 0 && new.payload_sector < end {
            return Err(Error::Option {
                option: "payload offset",
                value: u64::from(new.payload_sector),
                rule: "the keyslot areas do not fit before it",
            });
        }
        for (option, text) in [
            ("cipher name", &new.cipher_name),
            ("cipher mode", &new.cipher_mode),
        ] {
            if text.len() > 31 {
                return Err(Error::Option {
                    option,
                    value: u64::try_from(text.len()).unwrap_or(u64::MAX),
                    rule: "31 bytes fit a LUKS1 header",
                });
            }
        }
        let uuid = crate::uuid_text(&new.uuid)?;
        let mut raw = [0; HEADER_BYTES];
        layout::magic.set(&mut raw, MAGIC);
        layout::version.set(&mut raw, 1_u16.to_be_bytes());
        layout::cipher_name.set_text(&mut raw, new.cipher_name.as_bytes());
        layout::cipher_mode.set_text(&mut raw, new.cipher_mode.as_bytes());
        layout::hash_spec.set_text(&mut raw, new.hash.as_str().as_bytes());
        layout::payload_offset.set(&mut raw, new.payload_sector.to_be_bytes());
        layout::key_bytes.set(&mut raw, new.key_bytes.to_be_bytes());
        layout::digest.set(&mut raw, new.digest);
        layout::digest_salt.set(&mut raw, new.digest_salt);
        layout::digest_iterations.set(&mut raw, new.digest_iterations.to_be_bytes());
        layout::uuid.set_text(&mut raw, uuid.as_bytes());
        let keyslots = offsets.map(|key_material_offset| KeyslotRecord {
            state: SlotState::Disabled,
            iterations: 0,
            salt: [0; 32],
            key_material_offset,
            stripes: STRIPES,
        });
        set_keyslots(&mut raw, &keyslots);
        Self::parse(&raw, device_len)
    }

    /// Gives the lowest disabled keyslot. One whose state is invalid is not free.
    ///
    /// # Errors
    /// [`Error::NoFreeObject`].
    pub fn free_keyslot(&self) -> Result<u32, Error> {
        (0_u32..)
            .zip(self.keyslots())
            .find(|(_, record)| record.state == SlotState::Disabled)
            .map(|(id, _)| id)
            .ok_or(Error::NoFreeObject {
                what: "keyslot",
                count: 8,
            })
    }

    /// Enables a keyslot whose area holds a key by now.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`] for an id above 7, [`Error::ObjectInUse`] unless the keyslot is
    /// disabled.
    pub fn enable_keyslot(
        &mut self,
        id: u32,
        iterations: u32,
        salt: [u8; 32],
    ) -> Result<(), Error> {
        self.change_keyslot(id, |record| {
            if record.state != SlotState::Disabled {
                return Err(Error::ObjectInUse {
                    what: "keyslot",
                    id,
                });
            }
            record.state = SlotState::Enabled;
            record.iterations = iterations;
            record.salt = salt;
            Ok(())
        })
    }

    /// Disables a keyslot; its place and its stripes stay.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`] unless the keyslot is enabled.
    pub fn disable_keyslot(&mut self, id: u32) -> Result<(), Error> {
        self.change_keyslot(id, |record| {
            if record.state != SlotState::Enabled {
                return Err(Error::NoSuchObject {
                    what: "keyslot",
                    id,
                });
            }
            record.state = SlotState::Disabled;
            record.iterations = 0;
            record.salt = [0; 32];
            Ok(())
        })
    }

    /// Sets the UUID.
    ///
    /// # Errors
    /// [`Error::UuidText`].
    pub fn set_uuid(&mut self, text: &str) -> Result<(), Error> {
        let uuid = crate::uuid_text(text)?;
        layout::uuid.set_text(self.raw_mut(), uuid.as_bytes());
        Ok(())
    }

    /// Puts the keyslot areas elsewhere, by their first sectors. The result is not checked here.
    pub(crate) fn set_areas(&mut self, sectors: &[u32; KEYSLOTS]) -> Result<(), Error> {
        for (id, sector) in (0_u32..).zip(sectors) {
            self.change_keyslot(id, |record| {
                record.key_material_offset = *sector;
                Ok(())
            })?;
        }
        Ok(())
    }

    fn change_keyslot(
        &mut self,
        id: u32,
        change: impl FnOnce(&mut KeyslotRecord) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut keyslots = *self.keyslots();
        let record = usize::try_from(id)
            .ok()
            .and_then(|slot| keyslots.get_mut(slot))
            .ok_or(Error::NoSuchObject {
                what: "keyslot",
                id,
            })?;
        change(record)?;
        set_keyslots(self.raw_mut(), &keyslots);
        self.set_records(keyslots);
        Ok(())
    }

    /// Gives the bytes as they are written: what is behind the format's fields is zero.
    #[must_use]
    pub fn to_bytes(&self) -> Box<[u8; HEADER_BYTES]> {
        let mut raw = Box::new(*self.raw());
        layout::padding.set(&mut raw, [0; 432]);
        raw
    }
}

/// Writes a header to its device and makes it durable.
///
/// # Errors
/// [`Error::TooShort`] for a device that ends before the areas do, [`Error::Device`]: then read the
/// header again, each of its 512-byte sectors is old or new.
pub fn write<D: BlockDevice + ?Sized>(device: &D, header: &Header) -> Result<(), Error> {
    let end = header.total_len();
    if device.size().get() < end.get() {
        return Err(Error::too_short(
            "the LUKS1 header with its keyslot areas",
            0,
            end.get(),
            device.size(),
        ));
    }
    let bytes = header.to_bytes();
    let unit = device.sector_size().bytes();
    if HEADER_BYTES.is_multiple_of(unit) {
        device.write_at(ByteOffset::ZERO, bytes.as_slice())?;
    } else {
        let mut block = vec![0; unit];
        device::read(
            device,
            "the LUKS1 header's block",
            ByteOffset::ZERO,
            &mut block,
        )?;
        for (to, from) in block.iter_mut().zip(bytes.iter()) {
            *to = *from;
        }
        device.write_at(ByteOffset::ZERO, &block)?;
    }
    device.flush()?;
    Ok(())
}

pub(super) fn set_keyslots(raw: &mut [u8; HEADER_BYTES], keyslots: &[KeyslotRecord; KEYSLOTS]) {
    let mut table = layout::keyslots.get(raw);
    let (places, _) = table.as_chunks_mut::<{ slot_layout::SIZE }>();
    for (place, record) in places.iter_mut().zip(keyslots) {
        slot_layout::active.set(place, record.state.number().to_be_bytes());
        slot_layout::iterations.set(place, record.iterations.to_be_bytes());
        slot_layout::salt.set(place, record.salt);
        slot_layout::key_material_offset.set(place, record.key_material_offset.to_be_bytes());
        slot_layout::stripes.set(place, record.stripes.to_be_bytes());
    }
    layout::keyslots.set(raw, table);
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn new(key_bytes: u32, payload_sector: u32) -> NewHeader {
        NewHeader {
            cipher_name: "aes".to_string(),
            cipher_mode: "xts-plain64".to_string(),
            hash: HashName::Sha256,
            key_bytes,
            payload_sector,
            digest: [1; 20],
            digest_salt: [2; 32],
            digest_iterations: 1000,
            uuid: "11111111-2222-4333-8444-555555555555".to_string(),
        }
    }

    #[test]
    fn the_measured_layouts_come_out() {
        let cases = [
            (16, [8, 136, 264, 392, 520, 648, 776, 904], 1032, 2048),
            (24, [8, 200, 392, 584, 776, 968, 1160, 1352], 1544, 2048),
            (32, [8, 264, 520, 776, 1032, 1288, 1544, 1800], 2056, 4096),
            (48, [8, 384, 760, 1136, 1512, 1888, 2264, 2640], 3016, 4096),
            (64, [8, 512, 1016, 1520, 2024, 2528, 3032, 3536], 4040, 4096),
        ];
        for (key_bytes, offsets, end, payload) in cases {
            assert_eq!(area_layout(key_bytes), Ok((offsets, end)));
            assert_eq!(
                default_payload_sector(key_bytes, DEFAULT_ALIGNMENT_SECTORS, 0),
                Ok(payload)
            );
        }
        assert!(matches!(
            area_layout(u32::MAX),
            Err(Error::Option {
                option: "key size",
                ..
            })
        ));
    }

    #[test]
    fn a_keyslot_is_enabled_once_and_disabled_once() {
        let len = ByteLen::new(4 << 20);
        let mut header = Header::new(&new(64, 4096), len).unwrap();
        assert_eq!(header.free_keyslot(), Ok(0));
        header.enable_keyslot(0, 1234, [7; 32]).unwrap();
        assert_eq!(header.free_keyslot(), Ok(1));
        let in_use = Error::ObjectInUse {
            what: "keyslot",
            id: 0,
        };
        assert_eq!(header.enable_keyslot(0, 1, [0; 32]), Err(in_use));
        let again = Header::parse(&header.to_bytes(), len).unwrap();
        assert_eq!(again, header);
        assert_eq!(again.keyslots()[0].iterations, 1234);
        header.disable_keyslot(0).unwrap();
        assert_eq!(header, Header::new(&new(64, 4096), len).unwrap());
        let missing = |id| Error::NoSuchObject {
            what: "keyslot",
            id,
        };
        assert_eq!(header.disable_keyslot(0), Err(missing(0)));
        assert_eq!(header.disable_keyslot(8), Err(missing(8)));
    }

    #[test]
    fn data_inside_the_areas_are_refused_by_name() {
        assert!(matches!(
            Header::new(&new(64, 4039), ByteLen::new(4 << 20)),
            Err(Error::Option {
                option: "payload offset",
                value: 4039,
                ..
            })
        ));
        assert!(Header::new(&new(64, 4040), ByteLen::new(4 << 20)).is_ok());
        assert!(Header::new(&new(64, 0), ByteLen::new(4 << 20)).is_ok());
    }
}
