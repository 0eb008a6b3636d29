//! LUKS1 to LUKS2 and back: the same keys, salts and iterations in the other header, and the key
//! material moved to where that header has room for it.
//!
//! The move is not crash safe: the caller has a durable header backup before it begins.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use base64ct::{Base64, Encoding};
use luksmith_block::{BlockDevice, ByteLen, ByteOffset};
use rand_core::TryCryptoRng;

use crate::{
    Error, device,
    json::{Object, Value},
    luks1::{self, KEYSLOTS, KeyslotRecord, SlotState},
    luks2::{self, HeaderSize, MAX_KEYSLOTS_AREA_BYTES, Metadata},
    objects::{Kdf, Keyslot, KeyslotKind, SegmentKind},
};

/// Where LUKS1 key material starts, in both formats' usual layout.
const LUKS1_AREAS: u64 = 4096;
/// Where LUKS2 key material starts behind two copies of 16 KiB.
const LUKS2_AREAS: u64 = 32768;
/// How far key material moves.
const SHIFT: u64 = LUKS2_AREAS - LUKS1_AREAS;
/// Bytes of a LUKS1 digest.
const DIGEST_BYTES: usize = 20;
/// What a program that keeps notes behind a LUKS1 header starts them with.
const LUKSMETA: &[u8; 8] = b"LUKSMETA";

/// Key material that has to move before the new header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Where it is.
    pub from: ByteOffset,
    /// Where it goes.
    pub to: ByteOffset,
    /// How much it is.
    pub len: ByteLen,
}

impl Move {
    /// Moves the key material: one read, one write, one flush.
    fn run<D: BlockDevice + ?Sized>(&self, device: &D) -> Result<(), Error> {
        // 128 MiB at most: both plans refuse areas that spread over more.
        let mut bytes = vec![0; self.len.to_usize().unwrap_or(0)];
        device::read(device, "the keyslot areas", self.from, &mut bytes)?;
        device.write_at(self.to, &bytes)?;
        device.flush()?;
        Ok(())
    }
}

/// A LUKS1 header as LUKS2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToLuks2 {
    /// The new header.
    pub header: luks2::Header,
    /// What has to move.
    pub moved: Move,
}

impl ToLuks2 {
    /// Makes the LUKS2 header of a LUKS1 device, or says what is in the way. Only reads.
    ///
    /// # Errors
    /// [`Error::Convert`], [`Error::TooShort`] for a header device without room, [`Error::Field`]
    /// if
    /// the result would break a rule.
    ///
    /// # Format
    /// docs/formats/luks2.md, "Conversion".
    pub fn plan<D: BlockDevice + ?Sized>(
        header: &luks1::Header,
        device: &D,
    ) -> Result<Self, Error> {
        let refuse = |obstacle| Error::Convert {
            version: 2,
            obstacle,
        };
        let lowest = header
            .keyslots()
            .iter()
            .map(|slot| slot.key_material_offset)
            .min();
        if lowest != Some(8) {
            return Err(refuse("its lowest keyslot area does not start at sector 8"));
        }
        let cipher = header.cipher_name();
        if cipher.contains("null") {
            return Err(refuse("LUKS2 has no keyslots with a null cipher"));
        }
        let end = header.total_len().get().next_multiple_of(4096);
        if end > LUKS1_AREAS.saturating_add(MAX_KEYSLOTS_AREA_BYTES) {
            return Err(refuse("its keyslot areas spread over more than 128 MiB"));
        }
        let payload = u64::from(header.payload_sector()).saturating_mul(512);
        let needed = end.saturating_add(SHIFT);
        if payload != 0 && needed > payload {
            return Err(refuse(
                "there is no room for two header copies before the data",
            ));
        }
        if device.size().get() < needed {
            let what = "the LUKS2 header with the keyslot areas";
            return Err(Error::too_short(what, 0, needed, device.size()));
        }
        refuse_luksmeta(device, end)?;
        let room = match payload {
            0 => device.size().get(),
            payload => payload,
        };
        let area = room.saturating_sub(LUKS2_AREAS);
        let area = area
            .saturating_sub(area % 4096)
            .min(MAX_KEYSLOTS_AREA_BYTES);
        let metadata = Metadata::from_tree(luks2_tree(header, area), HeaderSize::MIN.bytes())?;
        Ok(Self {
            header: luks2::Header::new(metadata, &header.uuid())?,
            moved: Move {
                from: ByteOffset::new(LUKS1_AREAS),
                to: ByteOffset::new(LUKS2_AREAS),
                len: ByteLen::new(end.saturating_sub(LUKS1_AREAS)),
            },
        })
    }

    /// Moves the key material and writes the new header.
    ///
    /// # Errors
    /// As [`luks2::write`].
    pub fn run<D, R>(mut self, device: &D, random: &mut R) -> Result<luks2::Header, Error>
    where
        D: BlockDevice + ?Sized,
        R: TryCryptoRng + ?Sized,
    {
        self.moved.run(device)?;
        luks2::write(device, &mut self.header, random)?;
        Ok(self.header)
    }
}

/// Refuses if another program's notes stand behind the last area: they would be overwritten.
fn refuse_luksmeta<D: BlockDevice + ?Sized>(device: &D, end: u64) -> Result<(), Error> {
    let mut start = [0; 512];
    match device::read(
        device,
        "the gap behind the areas",
        ByteOffset::new(end),
        &mut start,
    ) {
        Err(Error::TooShort { .. }) => return Ok(()),
        other => other?,
    }
    if start.starts_with(LUKSMETA) {
        return Err(Error::Convert {
            version: 2,
            obstacle: "luksmeta keeps notes behind its keyslot areas; remove them first",
        });
    }
    Ok(())
}

fn text(value: impl Into<String>) -> Value {
    Value::string(value)
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().collect())
}

/// The members in the order in which cryptsetup's conversion writes them.
fn luks2_tree(header: &luks1::Header, area: u64) -> Object {
    let hash = header.hash_name().to_lowercase();
    let mut keyslots = Object::new();
    let mut ids = Vec::new();
    for (id, slot) in (0_u32..).zip(header.keyslots()) {
        if slot.state == SlotState::Enabled {
            ids.push(text(id.to_string()));
            keyslots.set(id.to_string(), luks2_keyslot(header, slot, &hash));
        }
    }
    let payload = u64::from(header.payload_sector()).saturating_mul(512);
    let segment = object([
        ("type", text("crypt")),
        ("offset", text(payload.to_string())),
        ("iv_tweak", text("0")),
        ("size", text("dynamic")),
        ("encryption", text(header.encryption())),
        ("sector_size", Value::integer(512)),
    ]);
    let digest = object([
        ("type", text("pbkdf2")),
        ("keyslots", Value::Array(ids)),
        ("segments", Value::Array(Vec::from([text("0")]))),
        ("hash", text(&hash)),
        ("salt", text(Base64::encode_string(&header.digest_salt()))),
        ("digest", text(Base64::encode_string(&header.digest()))),
        (
            "iterations",
            Value::integer(u64::from(header.digest_iterations())),
        ),
    ]);
    let config = object([
        ("json_size", text(HeaderSize::MIN.json_bytes().to_string())),
        ("keyslots_size", text(area.to_string())),
    ]);
    [
        ("keyslots", Value::Object(keyslots)),
        ("tokens", Value::Object(Object::new())),
        ("segments", object([("0", segment)])),
        ("digests", object([("0", digest)])),
        ("config", config),
    ]
    .into_iter()
    .collect()
}

fn luks2_keyslot(header: &luks1::Header, slot: &KeyslotRecord, hash: &str) -> Value {
    let key_bytes = || Value::integer(u64::from(header.key_bytes()));
    let offset = u64::from(slot.key_material_offset)
        .saturating_mul(512)
        .saturating_add(SHIFT);
    let len = header.area_len().get().next_multiple_of(4096);
    let kdf = object([
        ("type", text("pbkdf2")),
        ("hash", text(hash)),
        ("iterations", Value::integer(u64::from(slot.iterations))),
        ("salt", text(Base64::encode_string(&slot.salt))),
    ]);
    let af = object([
        ("type", text("luks1")),
        ("hash", text(hash)),
        ("stripes", Value::integer(4000)),
    ]);
    let area = object([
        ("type", text("raw")),
        ("encryption", text(header.encryption())),
        ("key_size", key_bytes()),
        ("offset", text(offset.to_string())),
        ("size", text(len.to_string())),
    ]);
    object([
        ("type", text("luks2")),
        ("key_size", key_bytes()),
        ("kdf", kdf),
        ("af", af),
        ("area", area),
    ])
}

/// A LUKS2 header as LUKS1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToLuks1 {
    /// The new header.
    pub header: luks1::Header,
    /// What has to move.
    pub moved: Move,
}

impl ToLuks1 {
    /// Makes the LUKS1 header of a LUKS2 device, or says what is in the way.
    ///
    /// # Errors
    /// [`Error::Convert`], and what [`luks1::Header::parse`] gives.
    ///
    /// # Format
    /// docs/formats/luks2.md, "Conversion".
    pub fn plan(header: &luks2::Header, device_len: ByteLen) -> Result<Self, Error> {
        let metadata = header.metadata();
        let facts = Luks1Facts::find(metadata)?;
        let (cipher_name, cipher_mode) = facts
            .encryption
            .split_once('-')
            .ok_or(refuse1("its cipher has no mode"))?;
        let mut new = luks1::Header::new(
            &luks1::NewHeader {
                cipher_name: cipher_name.to_string(),
                cipher_mode: cipher_mode.to_string(),
                hash: facts.hash,
                key_bytes: facts.key_bytes,
                payload_sector: facts.payload_sector,
                digest: facts.digest,
                digest_salt: facts.digest_salt,
                digest_iterations: facts.digest_iterations,
                uuid: header.binary().uuid(),
            },
            device_len,
        )?;
        new.set_areas(&facts.areas)?;
        for slot in metadata.keyslots() {
            if let (Some(id), KeyslotKind::Luks2 { kdf, .. }) = (slot.id, &slot.kind)
                && let Kdf::Pbkdf2 {
                    iterations, salt, ..
                } = kdf
            {
                new.enable_keyslot(id, *iterations, *salt.salt()?)?;
            }
        }
        // The areas are where the LUKS2 header had them: the rules are asked once more.
        let new = luks1::Header::parse(&new.to_bytes(), device_len)?;
        let len = new.total_len().get().saturating_sub(LUKS1_AREAS);
        Ok(Self {
            header: new,
            moved: Move {
                from: ByteOffset::new(LUKS2_AREAS),
                to: ByteOffset::new(LUKS1_AREAS),
                len: ByteLen::new(len),
            },
        })
    }

    /// Moves the key material, zeroes what is before it, and writes the new header.
    ///
    /// # Errors
    /// As [`luks1::write`].
    pub fn run<D: BlockDevice + ?Sized>(self, device: &D) -> Result<luks1::Header, Error> {
        self.moved.run(device)?;
        device.write_zeroes(ByteOffset::ZERO, ByteLen::new(LUKS1_AREAS))?;
        luks1::write(device, &self.header)?;
        Ok(self.header)
    }
}

const fn refuse1(obstacle: &'static str) -> Error {
    Error::Convert {
        version: 1,
        obstacle,
    }
}

/// What a LUKS1 header needs, found in LUKS2 metadata that can become one.
struct Luks1Facts {
    encryption: String,
    hash: luksmith_hash::HashName,
    key_bytes: u32,
    payload_sector: u32,
    digest: [u8; DIGEST_BYTES],
    digest_salt: [u8; 32],
    digest_iterations: u32,
    /// First sectors of the eight areas.
    areas: [u32; KEYSLOTS],
}

impl Luks1Facts {
    fn find(metadata: &Metadata) -> Result<Self, Error> {
        if !metadata.requirements().is_empty() {
            return Err(refuse1("it has requirements"));
        }
        if !metadata.tokens().is_empty() {
            return Err(refuse1("it has tokens; remove them first"));
        }
        let [segment] = metadata.segments() else {
            return Err(refuse1("it has more than one segment"));
        };
        let crypt = match (&segment.crypt, segment.kind) {
            (Some(crypt), SegmentKind::Crypt) => crypt,
            _ => return Err(refuse1("its segment is not of type crypt")),
        };
        if crypt.sector_size != 512 {
            return Err(refuse1("its encryption sectors are not 512 bytes"));
        }
        if crypt.integrity.is_some() {
            return Err(refuse1("its data are authenticated"));
        }
        if segment.len.is_some() || crypt.iv_tweak != 0 {
            return Err(refuse1("its segment has a fixed size or an iv_tweak"));
        }
        if crypt.encryption.starts_with("capi:") {
            return Err(refuse1("its cipher is written in the kernel's own form"));
        }
        let [digest] = metadata.digests() else {
            return Err(refuse1("it has more than one digest"));
        };
        if digest.id != Some(0) {
            return Err(refuse1("its digest does not have the id 0"));
        }
        let usable = digest.usable()?;
        let cut = usable
            .digest
            .first_chunk()
            .ok_or(refuse1("its digest has less than 20 bytes"))?;
        let key_bytes = metadata
            .keyslots()
            .first()
            .map(|slot| slot.key_bytes)
            .ok_or(refuse1("it has no keyslot"))?;
        let payload = segment.offset.get() / 512;
        Ok(Self {
            areas: areas(
                metadata,
                key_bytes,
                &crypt.encryption,
                digest.hash.as_deref(),
            )?,
            encryption: crypt.encryption.clone(),
            hash: usable.hash,
            key_bytes,
            payload_sector: u32::try_from(payload)
                .map_err(|_| refuse1("its data start past sector 2^32"))?,
            digest: *cut,
            digest_salt: *usable.salt,
            digest_iterations: usable.iterations,
        })
    }
}

/// Checks the keyslots and gives the first sector of each of the eight areas: those of keyslots
/// that
/// are there, moved down, and gaps for the others.
fn areas(
    metadata: &Metadata,
    key_bytes: u32,
    encryption: &str,
    hash: Option<&str>,
) -> Result<[u32; KEYSLOTS], Error> {
    let mut metadata = metadata.clone();
    let mut offsets = [None; KEYSLOTS];
    for slot in metadata.keyslots() {
        check_keyslot(slot, key_bytes, encryption, hash)?;
        let place = slot
            .id
            .and_then(|id| usize::try_from(id).ok())
            .and_then(|id| offsets.get_mut(id))
            .ok_or(refuse1("it has a keyslot above 7"))?;
        *place = Some(slot.area.offset.get());
    }
    let len = luks2::area_bytes(key_bytes);
    let mut sectors = [0; KEYSLOTS];
    for (id, (sector, known)) in (0_u32..).zip(sectors.iter_mut().zip(offsets)) {
        let offset = match known {
            Some(offset) => offset,
            None => metadata.edit(|draft| {
                let (offset, _) = draft.find_area(key_bytes)?;
                // A placeholder, so that the next search finds the next gap.
                let area = object([
                    ("type", text("raw")),
                    ("offset", text(offset.get().to_string())),
                    ("size", text(len.to_string())),
                ]);
                let slot = object([
                    ("type", text("placeholder")),
                    ("key_size", Value::integer(1)),
                    ("area", area),
                ]);
                if let Some(keyslots) = draft
                    .tree()
                    .get_mut("keyslots")
                    .and_then(Value::as_object_mut)
                {
                    keyslots.set(format!("{}", id.saturating_add(100)), slot);
                }
                Ok(offset.get())
            })?,
        };
        let moved = offset
            .checked_sub(SHIFT)
            .filter(|moved| moved.is_multiple_of(512))
            .ok_or(refuse1("a keyslot area does not start at a sector"))?;
        *sector = u32::try_from(moved / 512)
            .map_err(|_| refuse1("a keyslot area starts past sector 2^32"))?;
    }
    Ok(sectors)
}

fn check_keyslot(
    slot: &Keyslot,
    key_bytes: u32,
    encryption: &str,
    hash: Option<&str>,
) -> Result<(), Error> {
    let KeyslotKind::Luks2 { kdf, af } = &slot.kind else {
        return Err(refuse1("it has a keyslot of another type than luks2"));
    };
    let Kdf::Pbkdf2 { hash: kdf_hash, .. } = kdf else {
        return Err(refuse1("a keyslot does not use pbkdf2; convert it first"));
    };
    if Some(kdf_hash.as_str()) != hash || Some(af.hash.as_str()) != hash {
        return Err(refuse1("a keyslot uses another hash than the digest"));
    }
    if af.stripes != luks1::STRIPES {
        return Err(refuse1("a keyslot has another number of stripes than 4000"));
    }
    let same_cipher = slot.area.encryption.as_deref() == Some(encryption);
    if !same_cipher || slot.area.key_bytes != Some(key_bytes) || slot.key_bytes != key_bytes {
        return Err(refuse1(
            "a keyslot uses another cipher or key size than the data",
        ));
    }
    if slot.area.len.get() != luks2::area_bytes(key_bytes) {
        return Err(refuse1(
            "a keyslot area has another length than its key asks for",
        ));
    }
    Ok(())
}
