//! Changes of a LUKS2 header.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use luksmith_block::{BlockDevice, ByteLen, ByteOffset};
use luksmith_crypt::CipherSpec;
use luksmith_header::{
    Header, KeyslotKind, Priority,
    luks2::{self, Draft, NewDigest, NewKdf, NewKeyslot, Requirement, Side},
};
use rand_core::TryCryptoRng;

use super::{Changer, HeaderBackup, KeyslotPlan, LastKeyslot, wipe};
use crate::{
    Error, Material, Passphrase, SALT_BYTES, VolumeKey, cost, digest::KeyDigest, unlock::Unlocked,
};

/// What areas are encrypted with where the volume's own cipher does not serve.
const FALLBACK_CIPHER: (&str, u32) = ("aes-xts-plain64", 64);

impl<D, R> Changer<'_, D, R>
where
    D: BlockDevice + ?Sized,
    R: TryCryptoRng + ?Sized,
{
    pub(super) fn add_luks2(
        &mut self,
        key: &VolumeKey,
        digest: u32,
        passphrase: &Passphrase,
        plan: &KeyslotPlan,
    ) -> Result<u32, Error> {
        self.refuse_requirements()?;
        let mut next = self.luks2()?.clone();
        let (id, slot) = self.insert(&mut next, key, digest, plan)?;
        // 1. the area, flushed; 2. the header that refers to it.
        self.write_material(id, &slot, key, passphrase, plan)?;
        self.write_header(next)?;
        Ok(id)
    }

    pub(super) fn add_unbound_luks2(
        &mut self,
        key: &VolumeKey,
        digest_iterations: u32,
        passphrase: &Passphrase,
        plan: &KeyslotPlan,
    ) -> Result<u32, Error> {
        cost::check_digest(digest_iterations)?;
        self.refuse_requirements()?;
        let mut next = self.luks2()?.clone();
        let salt = self.salt()?;
        let hash = plan.af_hash;
        self.effort.budget.restart();
        let made = KeyDigest::of(
            key,
            u32::MAX,
            hash,
            digest_iterations,
            &salt,
            hash.digest_bytes(),
            &mut self.effort,
        )?;
        let digest = next.metadata_mut().edit(|draft| {
            draft.add_digest(&NewDigest {
                hash: hash.to_string(),
                iterations: digest_iterations,
                salt,
                digest: made.digest().to_vec(),
                segments: Vec::new(),
            })
        })?;
        let (id, slot) = self.insert(&mut next, key, digest, plan)?;
        self.write_material(id, &slot, key, passphrase, plan)?;
        self.write_header(next)?;
        Ok(id)
    }

    pub(super) fn change_luks2(
        &mut self,
        keyslot: u32,
        unlocked: &Unlocked,
        passphrase: &Passphrase,
        plan: &KeyslotPlan,
        backup: Option<&mut dyn HeaderBackup>,
    ) -> Result<(), Error> {
        self.refuse_requirements()?;
        let header = self.luks2()?;
        let old = header
            .metadata()
            .keyslot(keyslot)
            .ok_or(Error::NoSuchKeyslot { keyslot })?;
        let holder = header.metadata().digest_of_keyslot(keyslot);
        if holder.and_then(|digest| digest.id) != Some(unlocked.digest) {
            return Err(Error::OtherKey { keyslot });
        }
        let old_area = (old.area.offset, old.area.len);
        let priority = old.priority;
        let mut plan = plan.clone();
        plan.priority = priority;
        let mut both = header.clone();
        let key_bytes = key_bytes(&unlocked.key);
        let room = both
            .metadata_mut()
            .edit(|draft| Ok((draft.find_area(key_bytes), draft.free_keyslot())))?;
        match room {
            (Ok(area), Ok(spare)) => {
                self.change_beside(keyslot, spare, area, unlocked, passphrase, &plan, old_area)
            }
            (Ok(area), Err(_)) => {
                self.change_over(keyslot, area, unlocked, passphrase, &plan)?;
                // The header no longer names the old area: it is nobody's now.
                self.wipe_area(keyslot, old_area.0, old_area.1)
            }
            (Err(source), _) => {
                let Some(backup) = backup else {
                    return Err(Error::NoRoomToChange { keyslot, source });
                };
                let needed = Material::area_bytes(key_bytes);
                if old_area.1.get() < needed {
                    return Err(Error::Header { source });
                }
                self.refuse_stale()?;
                self.store(backup)?;
                self.change_over(keyslot, old_area, unlocked, passphrase, &plan)
            }
        }
    }

    /// Both keyslots exist until the new one is durable:
    ///
    /// 1. new area, flushed;
    /// 2. header: the new keyslot under the old number, the old one under a spare number;
    /// 3. old area wiped, flushed;
    /// 4. header without the old keyslot.
    #[expect(clippy::too_many_arguments, reason = "one caller, which has them all")]
    fn change_beside(
        &mut self,
        keyslot: u32,
        spare: u32,
        area: (ByteOffset, ByteLen),
        unlocked: &Unlocked,
        passphrase: &Passphrase,
        plan: &KeyslotPlan,
        old_area: (ByteOffset, ByteLen),
    ) -> Result<(), Error> {
        let mut both = self.luks2()?.clone();
        let slot = self.new_keyslot(&both, &unlocked.key, area, plan)?;
        both.metadata_mut().edit(|draft| {
            draft.add_keyslot(spare, &slot, unlocked.digest)?;
            set_priority(draft, spare, plan.priority)?;
            draft.swap_keyslots(keyslot, spare)
        })?;
        let before = self.luks2()?.clone();
        self.write_material(keyslot, &slot, &unlocked.key, passphrase, plan)?;
        self.write_header(both)?;
        let mut without = self.luks2()?.clone();
        without
            .metadata_mut()
            .edit(|draft| draft.remove_keyslot(spare))?;
        let finished = self
            .wipe_area(keyslot, old_area.0, old_area.1)
            .and_then(|()| self.write_header(without));
        if finished.is_err() {
            // The new passphrase works, and so may the old one; what the device holds is for the
            // caller to read again. In memory nothing has happened.
            *self.header = Header::Luks2(before);
        }
        finished
    }

    /// The keyslot gets a new area, or new bytes in its old one, and one header update.
    fn change_over(
        &mut self,
        keyslot: u32,
        area: (ByteOffset, ByteLen),
        unlocked: &Unlocked,
        passphrase: &Passphrase,
        plan: &KeyslotPlan,
    ) -> Result<(), Error> {
        let mut next = self.luks2()?.clone();
        let slot = self.new_keyslot(&next, &unlocked.key, area, plan)?;
        next.metadata_mut()
            .edit(|draft| draft.replace_keyslot(keyslot, &slot))?;
        self.write_material(keyslot, &slot, &unlocked.key, passphrase, plan)?;
        self.write_header(next)
    }

    pub(super) fn remove_luks2(&mut self, ids: &[u32], last: LastKeyslot) -> Result<(), Error> {
        let header = self.luks2()?;
        let metadata = header.metadata();
        let mut areas = Vec::new();
        for &keyslot in ids {
            let slot = metadata
                .keyslot(keyslot)
                .ok_or(Error::NoSuchKeyslot { keyslot })?;
            if matches!(slot.kind, KeyslotKind::Reencrypt { .. }) {
                return Err(Error::KeyslotType { keyslot });
            }
            if last == LastKeyslot::Keep && is_last(metadata, keyslot) {
                return Err(Error::LastKeyslot { keyslot });
            }
            areas.push((keyslot, slot.area.offset, slot.area.len));
        }
        let mut next = header.clone();
        next.metadata_mut()
            .edit(|draft| ids.iter().try_for_each(|&id| draft.remove_keyslot(id)))?;
        self.refuse_what_cannot_be_written(&next)?;
        // 1. the areas, flushed, if this still is the header that was read; 2. the header.
        self.refuse_stale()?;
        for (keyslot, offset, len) in areas {
            wipe::wipe(self.device, keyslot, offset, len, self.random)?;
        }
        self.flush()?;
        self.write_header(next)
    }

    pub(super) fn set_priority_luks2(
        &mut self,
        keyslot: u32,
        priority: Priority,
    ) -> Result<(), Error> {
        self.refuse_requirements()?;
        let mut next = self.luks2()?.clone();
        if next.metadata().keyslot(keyslot).is_none() {
            return Err(Error::NoSuchKeyslot { keyslot });
        }
        next.metadata_mut()
            .edit(|draft| draft.set_priority(keyslot, priority))?;
        self.write_header(next)
    }

    /// Puts a keyslot into `next`, which is not written yet.
    fn insert(
        &mut self,
        next: &mut luks2::Header,
        key: &VolumeKey,
        digest: u32,
        plan: &KeyslotPlan,
    ) -> Result<(u32, NewKeyslot), Error> {
        let (id, area) = next.metadata_mut().edit(|draft| {
            let id = match plan.keyslot {
                Some(id) => id,
                None => draft.free_keyslot()?,
            };
            Ok((id, draft.find_area(key_bytes(key))?))
        })?;
        let slot = self.new_keyslot(next, key, area, plan)?;
        next.metadata_mut().edit(|draft| {
            draft.add_keyslot(id, &slot, digest)?;
            set_priority(draft, id, plan.priority)
        })?;
        self.refuse_what_cannot_be_written(next)?;
        Ok((id, slot))
    }

    fn new_keyslot(
        &mut self,
        header: &luks2::Header,
        key: &VolumeKey,
        area: (ByteOffset, ByteLen),
        plan: &KeyslotPlan,
    ) -> Result<NewKeyslot, Error> {
        let (encryption, area_key_bytes) = match &plan.cipher {
            Some((encryption, key_bytes)) => (encryption.clone(), *key_bytes),
            None => area_cipher(header),
        };
        let salt = self.salt()?;
        Ok(NewKeyslot {
            key_bytes: key_bytes(key),
            af_hash: plan.af_hash.to_string(),
            area_offset: area.0,
            area_len: area.1,
            encryption,
            area_key_bytes,
            kdf: plan.kdf.with_salt(salt),
        })
    }

    /// Writes the area of a new keyslot and makes it durable, if the header on the device still is
    /// the one that was read: otherwise the area may be someone else's by now.
    fn write_material(
        &mut self,
        keyslot: u32,
        slot: &NewKeyslot,
        key: &VolumeKey,
        passphrase: &Passphrase,
        plan: &KeyslotPlan,
    ) -> Result<(), Error> {
        self.refuse_stale()?;
        let salt = match &slot.kdf {
            NewKdf::Pbkdf2 { salt, .. } | NewKdf::Argon2 { salt, .. } => salt,
            _ => unreachable!("`new_keyslot` makes these two"),
        };
        let material = Material {
            keyslot,
            kdf: plan.kdf,
            salt,
            offset: slot.area_offset,
            encryption: &slot.encryption,
            area_key_bytes: slot.area_key_bytes,
            af_hash: plan.af_hash,
        };
        self.effort.budget.restart();
        material.write(self.device, key, passphrase, self.random, &mut self.effort)?;
        self.flush()
    }

    fn write_header(&mut self, mut next: luks2::Header) -> Result<(), Error> {
        luks2::write(self.device, &mut next, self.random)?;
        *self.header = Header::Luks2(next);
        Ok(())
    }

    /// Refuses metadata that do not fit their area before anything else is written.
    fn refuse_what_cannot_be_written(&self, next: &luks2::Header) -> Result<(), Error> {
        next.render(Side::Primary, [0; 64])?;
        Ok(())
    }

    /// Refuses if the device does not hold the header that was read any more, or if the update of
    /// the header would be refused: asked before areas are overwritten.
    pub(super) fn refuse_stale(&self) -> Result<(), Error> {
        let known = self.luks2()?.binary();
        let now = luks2::read(self.device, self.effort.budget.limits())?;
        now.check_updatable()?;
        if now.binary().seqid() != known.seqid() || now.binary().uuid() != known.uuid() {
            return Err(luksmith_header::Error::ConcurrentUpdate {
                expected: known.seqid(),
                found: now.binary().seqid(),
            }
            .into());
        }
        Ok(())
    }

    /// Adding and changing need every requirement to be understood, and no re-encryption going on.
    fn refuse_requirements(&self) -> Result<(), Error> {
        let requirements = self.luks2()?.metadata().requirements();
        let blocking = requirements.iter().find(|requirement| {
            !matches!(requirement, Requirement::InlineHwTags | Requirement::Opal)
        });
        match blocking {
            Some(requirement) => Err(Error::Requirement {
                word: luksmith_header::Quoted::new(&requirement.to_word()),
            }),
            None => Ok(()),
        }
    }

    fn wipe_area(&mut self, keyslot: u32, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        wipe::wipe(self.device, keyslot, at, len, self.random)?;
        self.flush()
    }

    pub(super) fn flush(&self) -> Result<(), Error> {
        self.device.flush().map_err(|source| Error::Header {
            source: source.into(),
        })
    }

    pub(super) fn salt(&mut self) -> Result<[u8; SALT_BYTES], Error> {
        let mut salt = [0; SALT_BYTES];
        self.random
            .try_fill_bytes(&mut salt)
            .map_err(|_| Error::Random)?;
        Ok(salt)
    }

    pub(super) fn luks2(&self) -> Result<&luks2::Header, Error> {
        match &*self.header {
            Header::Luks2(header) => Ok(header),
            _ => Err(Error::Luks1Feature),
        }
    }
}

fn set_priority(
    draft: &mut Draft,
    keyslot: u32,
    priority: Priority,
) -> Result<(), luksmith_header::Error> {
    match priority {
        // A value that means nothing: the new keyslot is tried in its turn.
        Priority::Other(_) => Ok(()),
        known => draft.set_priority(keyslot, known),
    }
}

/// Tells whether no other keyslot holds the key that this one holds, and the key opens a segment.
pub(super) fn is_last(metadata: &luks2::Metadata, keyslot: u32) -> bool {
    let Some(digest) = metadata.digest_of_keyslot(keyslot) else {
        return false;
    };
    let others = digest.keyslots.iter().filter(|&&id| id != keyslot);
    let usable = others
        .filter_map(|&id| metadata.keyslot(id))
        .filter(|slot| matches!(slot.kind, KeyslotKind::Luks2 { .. }));
    !digest.segments.is_empty() && usable.count() == 0
}

/// The volume's cipher with a key as long as the volume's, where it serves for areas.
///
/// How long the volume's key is, its first keyslot says, whatever key the new one is for: without a
/// keyslot of the volume it is not known. So cryptsetup has it.
fn area_cipher(header: &luks2::Header) -> (String, u32) {
    let metadata = header.metadata();
    let own = metadata.default_segment().and_then(|segment| {
        let crypt = segment.crypt.as_ref()?;
        let bound = &metadata.digest_of_segment(segment.id)?.keyslots;
        let mut keyslots = metadata.keyslots().iter();
        let is_bound = |id: Option<u32>| id.is_some_and(|id| bound.contains(&id));
        let key_bytes = keyslots.find(|slot| is_bound(slot.id))?.key_bytes;
        let spec = CipherSpec::parse(&crypt.encryption).ok()?;
        let serves = crypt.integrity.is_none()
            && !crypt.encryption.starts_with("capi:")
            && spec.serves_areas()
            && spec.check_key_len(usize::try_from(key_bytes).ok()?).is_ok();
        serves.then(|| (crypt.encryption.clone(), key_bytes))
    });
    own.unwrap_or_else(|| (FALLBACK_CIPHER.0.to_string(), FALLBACK_CIPHER.1))
}

/// Keys are at most `Limits::key_bytes` long, an u32, or come from one.
fn key_bytes(key: &VolumeKey) -> u32 {
    u32::try_from(key.len()).unwrap_or(u32::MAX)
}
