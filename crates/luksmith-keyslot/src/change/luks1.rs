//! Changes of a LUKS1 header.
//!
//! The header is one piece of 1024 bytes without a checksum or a second copy, and a write of it may
//! be cut off between its two sectors. So no write may depend on both of them: each changes one
//! keyslot that nobody relies on at that moment. (Keyslot 6 lies across the border. Cut in two, it
//! opens nothing; the others are whole.)

use alloc::vec::Vec;

use luksmith_block::{BlockDevice, ByteLen, ByteOffset};
use luksmith_hash::HashName;
use luksmith_header::{
    Header, KdfUser,
    luks1::{self, KeyslotRecord, SlotState},
};
use rand_core::TryCryptoRng;

use super::{Changer, HeaderBackup, KeyslotPlan, LastKeyslot, wipe};
use crate::{AreaKey, Error, Kdf, Material, Passphrase, SALT_BYTES, VolumeKey, kdf::parse_hash};

impl<D, R> Changer<'_, D, R>
where
    D: BlockDevice + ?Sized,
    R: TryCryptoRng + ?Sized,
{
    pub(super) fn add_luks1(
        &mut self,
        key: &VolumeKey,
        passphrase: &Passphrase,
        plan: &KeyslotPlan,
    ) -> Result<u32, Error> {
        let header = self.luks1()?;
        let id = match plan.keyslot {
            Some(keyslot) => match record(header, keyslot)?.state {
                SlotState::Disabled => keyslot,
                _ => return Err(in_use(keyslot)),
            },
            None => header.free_keyslot()?,
        };
        let derived = self.derive_luks1(id, key, passphrase, plan)?;
        self.fill_luks1(id, key, &derived)?;
        Ok(id)
    }

    /// With a free keyslot at hand, one of two keyslots opens with the old or the new passphrase at
    /// any moment:
    ///
    /// 1. the free keyslot gets the new passphrase: its area, flushed; header, flushed;
    /// 2. the keyslot itself does: its area, flushed; header, flushed;
    /// 3. the free keyslot is free again: its area wiped, flushed; header, flushed.
    pub(super) fn change_luks1(
        &mut self,
        keyslot: u32,
        key: &VolumeKey,
        passphrase: &Passphrase,
        plan: &KeyslotPlan,
        backup: Option<&mut dyn HeaderBackup>,
    ) -> Result<(), Error> {
        let header = self.luks1()?;
        if record(header, keyslot)?.state != SlotState::Enabled {
            return Err(Error::NoSuchKeyslot { keyslot });
        }
        let before = header.clone();
        let room = match (header.free_keyslot(), backup) {
            (Ok(spare), _) => Room::Spare(spare),
            (Err(_), Some(backup)) => Room::Backup(backup),
            (Err(source), None) => return Err(Error::NoRoomToChange { keyslot, source }),
        };
        // Both keyslots get one derived key, so that nothing but the device can fail half-way.
        // Their stripes differ, and the spare one's are wiped in the end.
        let derived = self.derive_luks1(keyslot, key, passphrase, plan)?;
        let done = match room {
            Room::Spare(spare) => self
                .fill_luks1(spare, key, &derived)
                .and_then(|()| self.fill_luks1(keyslot, key, &derived))
                .and_then(|()| self.clear_luks1(&[spare])),
            Room::Backup(backup) => {
                self.refuse_stale_luks1()?;
                self.store(backup)?;
                self.fill_luks1(keyslot, key, &derived)
            }
        };
        if done.is_err() {
            *self.header = Header::Luks1(before);
        }
        done
    }

    pub(super) fn remove_luks1(&mut self, ids: &[u32], last: LastKeyslot) -> Result<(), Error> {
        let enabled = self.enabled_luks1();
        for &keyslot in ids {
            if !enabled.contains(&keyslot) {
                return Err(Error::NoSuchKeyslot { keyslot });
            }
            if last == LastKeyslot::Keep && self.is_last(keyslot) {
                return Err(Error::LastKeyslot { keyslot });
            }
        }
        self.clear_luks1(ids)
    }

    /// Gives the numbers of the enabled keyslots.
    pub(super) fn enabled_luks1(&self) -> Vec<u32> {
        match &*self.header {
            Header::Luks1(header) => numbered(header)
                .filter(|(_, record)| record.state == SlotState::Enabled)
                .map(|(id, _)| id)
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Derives the area key of a new keyslot, under a fresh salt.
    fn derive_luks1(
        &mut self,
        keyslot: u32,
        key: &VolumeKey,
        passphrase: &Passphrase,
        plan: &KeyslotPlan,
    ) -> Result<Derived, Error> {
        let header = self.luks1()?.clone();
        let iterations = iterations(&header, keyslot, plan)?;
        let salt = self.salt()?;
        let encryption = header.encryption();
        let material = material(&header, keyslot, plan.kdf, &salt, &encryption)?;
        self.effort.budget.restart();
        let area_key = material.area_key(key, passphrase, &mut self.effort)?;
        Ok(Derived {
            kdf: plan.kdf,
            iterations,
            salt,
            area_key,
        })
    }

    /// Writes a keyslot's area, flushed, then the header that enables it, flushed.
    fn fill_luks1(
        &mut self,
        keyslot: u32,
        key: &VolumeKey,
        derived: &Derived,
    ) -> Result<(), Error> {
        let mut next = self.luks1()?.clone();
        if record(&next, keyslot)?.state == SlotState::Enabled {
            next.disable_keyslot(keyslot)?;
        }
        next.enable_keyslot(keyslot, derived.iterations, derived.salt)?;
        self.refuse_stale_luks1()?;
        let encryption = next.encryption();
        let material = material(&next, keyslot, derived.kdf, &derived.salt, &encryption)?;
        material.write_with(self.device, key, &derived.area_key, self.random)?;
        self.flush()?;
        self.write_luks1(next)
    }

    /// Wipes the areas of keyslots, flushed, then writes the header that disables them, flushed.
    fn clear_luks1(&mut self, ids: &[u32]) -> Result<(), Error> {
        let mut next = self.luks1()?.clone();
        let mut areas = Vec::new();
        for &keyslot in ids {
            let old = record(&next, keyslot)?;
            areas.push((keyslot, area(&next, &old)));
            next.disable_keyslot(keyslot)?;
        }
        self.refuse_stale_luks1()?;
        for (keyslot, (at, len)) in areas {
            wipe::wipe(self.device, keyslot, at, len, self.random)?;
        }
        self.flush()?;
        self.write_luks1(next)
    }

    fn write_luks1(&mut self, next: luks1::Header) -> Result<(), Error> {
        luks1::write(self.device, &next)?;
        *self.header = Header::Luks1(next);
        Ok(())
    }

    /// Refuses if the device does not hold the header that was read any more.
    pub(super) fn refuse_stale_luks1(&self) -> Result<(), Error> {
        if luks1::read(self.device)?.to_bytes() != self.luks1()?.to_bytes() {
            return Err(Error::HeaderChanged);
        }
        Ok(())
    }

    fn luks1(&self) -> Result<&luks1::Header, Error> {
        match &*self.header {
            Header::Luks1(header) => Ok(header),
            _ => unreachable!("`change` looks at the version first"),
        }
    }
}

/// What keeps a key safe while its keyslot is overwritten.
enum Room<'a> {
    /// A free keyslot.
    Spare(u32),
    /// A backup.
    Backup(&'a mut dyn HeaderBackup),
}

/// What a passphrase gives for a keyslot to be written.
struct Derived {
    kdf: Kdf,
    iterations: u32,
    salt: [u8; SALT_BYTES],
    area_key: AreaKey,
}

fn material<'a>(
    header: &luks1::Header,
    keyslot: u32,
    kdf: Kdf,
    salt: &'a [u8; SALT_BYTES],
    encryption: &'a str,
) -> Result<Material<'a>, Error> {
    let record = record(header, keyslot)?;
    Ok(Material {
        keyslot,
        kdf,
        salt,
        offset: area(header, &record).0,
        encryption,
        area_key_bytes: header.key_bytes(),
        af_hash: hash(header)?,
    })
}

/// LUKS1 has one key derivation: PBKDF2 with the hash of the header.
fn iterations(header: &luks1::Header, keyslot: u32, plan: &KeyslotPlan) -> Result<u32, Error> {
    let own = hash(header)?;
    match plan.kdf {
        Kdf::Pbkdf2 { hash, iterations } if hash == own => Ok(iterations),
        _ => Err(Error::Luks1Kdf { keyslot, hash: own }),
    }
}

fn hash(header: &luks1::Header) -> Result<HashName, Error> {
    parse_hash(&header.hash_name(), KdfUser::Digest(0))
}

fn numbered(header: &luks1::Header) -> impl Iterator<Item = (u32, KeyslotRecord)> {
    (0_u32..).zip(header.keyslots().iter().copied())
}

fn record(header: &luks1::Header, keyslot: u32) -> Result<KeyslotRecord, Error> {
    numbered(header)
        .find(|(id, _)| *id == keyslot)
        .map(|(_, record)| record)
        .ok_or(Error::NoSuchKeyslot { keyslot })
}

fn area(header: &luks1::Header, record: &KeyslotRecord) -> (ByteOffset, ByteLen) {
    let sectors = luks1::area_sectors(header.key_bytes());
    // A 32-bit sector number, and 2^32 * 4000 bytes: both fit.
    (
        ByteOffset::new(u64::from(record.key_material_offset).saturating_mul(512)),
        ByteLen::new(sectors.saturating_mul(512)),
    )
}

fn in_use(keyslot: u32) -> Error {
    luksmith_header::Error::ObjectInUse {
        what: "keyslot",
        id: keyslot,
    }
    .into()
}
