//! Changing the keyslots of a volume: add, change, convert, remove, erase, priorities, unbound
//! keys.
//!
//! No change loses a key, wherever it is cut off: after a crash the volume opens with the old keys
//! or with the new ones. The orders of writes are these, and every step is flushed before the next:
//!
//! * Add: the area; the header.
//! * Change and convert, LUKS2: a new area; the header with both keyslots; the old area wiped; the
//!   header without the old keyslot.
//! * Change and convert, LUKS1: a free keyslot's area; the header; the keyslot's own area; the
//!   header; the free keyslot's area wiped; the header.
//! * The same without room for a second area: a backup stored; the area overwritten; the header.
//! * Remove and erase: the areas wiped; the header.
//! * Priority: the header.
//! * The other version, or a header from a file: a backup stored; the areas moved; the header.
//!
//! A removed keyslot's area is wiped *before* the header forgets it. Cut off in between, the
//! keyslot is still listed and can be removed again; the other way round its key material would
//! stay on the disk for good, and nobody would know. It is overwritten once with random bytes: on
//! flash storage the medium may keep an older copy.
//!
//! The caller holds the locks that its system asks for, for the whole of a change.

mod backup;
#[cfg(feature = "std")]
mod file_backup;
mod luks1;
mod luks2;
mod plan;
mod whole;
mod wipe;

use alloc::vec::Vec;

use luksmith_block::BlockDevice;
use luksmith_header::{Header, Priority};
use rand_core::TryCryptoRng;

pub use backup::HeaderBackup;
#[cfg(feature = "std")]
pub use file_backup::FileBackup;
pub use plan::KeyslotPlan;
pub use whole::restore_header;

use crate::{
    CandidateKey, Error, Passphrase, VolumeKey,
    kdf::Effort,
    unlock::{Unlock, UnlockOptions, Unlocked, unlock},
};

/// Whether the last keyslot of the volume's key may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastKeyslot {
    /// It stays: [`Error::LastKeyslot`].
    #[default]
    Keep,
    /// It goes too. Without a copy of the header or of the volume key, the data are lost for good.
    DestroyAccess,
}

/// Changes the keyslots of one volume.
///
/// Each method either succeeds, and then the header in memory is the one on the device, or fails,
/// and then the header in memory is as it was before. After [`Error::Device`], or
/// [`luksmith_header::Error::Device`] inside [`Error::Header`], read the header again: the device
/// holds the old one or the new one.
///
/// ```no_run
/// use luksmith_block::{BlockDevice, Control};
/// use luksmith_hash::HashName;
/// use luksmith_header::{Budget, Header, Limits};
/// use luksmith_keyslot::{
///     Effort, Error, Kdf, Passphrase, SystemRandom, Threads,
///     change::{Changer, KeyslotPlan},
///     unlock::{Unlock, UnlockOptions},
/// };
///
/// fn add(device: &dyn BlockDevice, old: &Passphrase, new: &Passphrase) -> Result<u32, Error> {
///     let mut header = Header::read(device, &Limits::default())?;
///     let mut random = SystemRandom;
///     let mut budget = Budget::new(Limits::default());
///     let control = Control::new();
///     let effort = Effort {
///         budget: &mut budget,
///         control: &control,
///         threads: Threads::default(),
///     };
///     let mut changer = Changer::new(device, &mut header, &mut random, effort);
///     let unlocked = changer.unlock(Unlock::Passphrase(old), &UnlockOptions::new())?;
///     let kdf = Kdf::Pbkdf2 {
///         hash: HashName::Sha256,
///         iterations: 2_000_000,
///     };
///     changer.add(&unlocked, new, &KeyslotPlan::new(kdf))
/// }
/// ```
pub struct Changer<'a, D: ?Sized, R: ?Sized> {
    device: &'a D,
    header: &'a mut Header,
    random: &'a mut R,
    effort: Effort<'a>,
}

impl<'a, D, R> Changer<'a, D, R>
where
    D: BlockDevice + ?Sized,
    R: TryCryptoRng + ?Sized,
{
    /// Takes a header that was read from `device`.
    ///
    /// The limits of `effort`'s budget hold for each unlocking, and for each new keyslot, whose
    /// costs the caller chooses, apart: a person may mistype, and many keyslots together cost more
    /// than a header may ask for at once.
    pub fn new(
        device: &'a D,
        header: &'a mut Header,
        random: &'a mut R,
        effort: Effort<'a>,
    ) -> Self {
        Self {
            device,
            header,
            random,
            effort,
        }
    }

    /// Gives the header as it stands.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.header
    }

    /// Unlocks the header: what most changes need first.
    ///
    /// # Errors
    /// As [`unlock`].
    pub fn unlock(&mut self, with: Unlock<'_>, options: &UnlockOptions) -> Result<Unlocked, Error> {
        self.effort.budget.restart();
        unlock(self.device, self.header, with, options, &mut self.effort)
    }

    /// Adds a keyslot that holds `unlocked`'s key behind `passphrase`, and gives its number.
    ///
    /// # Errors
    /// Before the first write: [`Error::CostRange`], [`Error::Requirement`], [`Error::Header`] for
    /// a number that is taken, no free number, no room for an area, full metadata. What
    /// [`Material::write`](crate::Material::write) gives, and [`Error::Header`] when writing it.
    pub fn add(
        &mut self,
        unlocked: &Unlocked,
        passphrase: &Passphrase,
        plan: &KeyslotPlan,
    ) -> Result<u32, Error> {
        plan.check()?;
        match self.header {
            Header::Luks1(_) => self.add_luks1(&unlocked.key, passphrase, plan),
            _ => self.add_luks2(&unlocked.key, unlocked.digest, passphrase, plan),
        }
    }

    /// Generates a key of `key_bytes` bytes that opens no segment, and adds a keyslot for it. LUKS2
    /// only.
    ///
    /// The digest of the key is made with `digest_iterations` of the plan's hash.
    ///
    /// # Errors
    /// As [`add`](Self::add); [`Error::Luks1Feature`].
    pub fn add_unbound(
        &mut self,
        key_bytes: u32,
        digest_iterations: u32,
        passphrase: &Passphrase,
        plan: &KeyslotPlan,
    ) -> Result<(u32, VolumeKey), Error> {
        plan.check()?;
        let key = VolumeKey::generate(crate::kdf::to_usize(key_bytes), self.random)?;
        let keyslot = self.add_unbound_luks2(&key, digest_iterations, passphrase, plan)?;
        Ok((keyslot, key))
    }

    /// As [`add_unbound`](Self::add_unbound), with a key of the caller's. Gives the number of the
    /// keyslot.
    ///
    /// # Errors
    /// As [`add_unbound`](Self::add_unbound); [`Error::OwnKeyUnbound`].
    pub fn add_unbound_key(
        &mut self,
        key: CandidateKey,
        digest_iterations: u32,
        passphrase: &Passphrase,
        plan: &KeyslotPlan,
    ) -> Result<u32, Error> {
        plan.check()?;
        self.luks2()?;
        // Of whatever length the volume's is: zeros behind a key change no digest.
        let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
        let any_length = UnlockOptions::new().key_bytes(length);
        match self.unlock(Unlock::VolumeKey(&key), &any_length) {
            Ok(_) => return Err(Error::OwnKeyUnbound),
            // A digest that cannot be asked may be the one that would say so.
            Err(Error::NoDigestMatched { report }) if report.first_error().is_none() => {}
            Err(error) => return Err(error),
        }
        let key = VolumeKey::for_new_volume(key);
        self.add_unbound_luks2(&key, digest_iterations, passphrase, plan)
    }

    /// Puts `passphrase` in the place of what opened `keyslot`, which holds `unlocked`'s key. The
    /// number of the keyslot stays the same.
    ///
    /// The old keyslot works until the new one is durable. Where there is no room for both,
    /// `backup` gets the header and all areas first; without one that is refused.
    ///
    /// # Errors
    /// As [`add`](Self::add); [`Error::NoSuchKeyslot`]; [`Error::OtherKey`] if the keyslot holds
    /// another key; [`Error::NoRoomToChange`]; [`Error::Backup`].
    pub fn change(
        &mut self,
        keyslot: u32,
        unlocked: &Unlocked,
        passphrase: &Passphrase,
        plan: &KeyslotPlan,
        backup: Option<&mut dyn HeaderBackup>,
    ) -> Result<(), Error> {
        plan.check()?;
        match self.header {
            Header::Luks1(_) => self.change_luks1(keyslot, &unlocked.key, passphrase, plan, backup),
            _ => self.change_luks2(keyslot, unlocked, passphrase, plan, backup),
        }
    }

    /// Gives a keyslot another key derivation or cipher behind the same passphrase. Gives its
    /// number.
    ///
    /// # Errors
    /// As [`unlock`] for a passphrase that is not this keyslot's, and as [`change`](Self::change).
    pub fn convert(
        &mut self,
        keyslot: Option<u32>,
        passphrase: &Passphrase,
        plan: &KeyslotPlan,
        backup: Option<&mut dyn HeaderBackup>,
    ) -> Result<u32, Error> {
        plan.check()?;
        let (found, unlocked) = self.find(keyslot, passphrase)?;
        self.change(found, &unlocked, passphrase, plan, backup)?;
        Ok(found)
    }

    /// Changes a passphrase: [`change`](Self::change) of the keyslot that `old` opens, or of
    /// `keyslot`. Gives its number.
    ///
    /// # Errors
    /// As [`unlock`] and [`change`](Self::change).
    pub fn change_passphrase(
        &mut self,
        keyslot: Option<u32>,
        old: &Passphrase,
        new: &Passphrase,
        plan: &KeyslotPlan,
        backup: Option<&mut dyn HeaderBackup>,
    ) -> Result<u32, Error> {
        plan.check()?;
        let (found, unlocked) = self.find(keyslot, old)?;
        self.change(found, &unlocked, new, plan, backup)?;
        Ok(found)
    }

    /// Gives the numbers of the keyslots that hold the volume's key, unbound ones left out.
    #[must_use]
    pub fn volume_keyslots(&self) -> Vec<u32> {
        match &*self.header {
            Header::Luks2(header) => {
                let keyslots = header.metadata().volume_keyslots();
                keyslots.filter_map(|slot| slot.id).collect()
            }
            _ => self.enabled_luks1(),
        }
    }

    /// Tells whether a keyslot is the last one of a key that opens a segment: with it the data go,
    /// whatever unbound keyslots are left. `false` for a keyslot that does not exist.
    #[must_use]
    pub fn is_last(&self, keyslot: u32) -> bool {
        match &*self.header {
            Header::Luks2(header) => luks2::is_last(header.metadata(), keyslot),
            _ => self.enabled_luks1() == [keyslot],
        }
    }

    /// Removes a keyslot. No passphrase is needed; whoever can write to the device can do so
    /// anyway.
    ///
    /// # Errors
    /// [`Error::NoSuchKeyslot`], [`Error::LastKeyslot`], [`Error::KeyslotType`] for the working
    /// area of a re-encryption, [`Error::Header`], [`Error::Device`], [`Error::Random`].
    pub fn remove(&mut self, keyslot: u32, last: LastKeyslot) -> Result<(), Error> {
        match self.header {
            Header::Luks1(_) => self.remove_luks1(&[keyslot], last),
            _ => self.remove_luks2(&[keyslot], last),
        }
    }

    /// Removes the keyslot that `passphrase` opens, and gives its number.
    ///
    /// # Errors
    /// As [`unlock`] and [`remove`](Self::remove).
    pub fn remove_by_passphrase(
        &mut self,
        passphrase: &Passphrase,
        last: LastKeyslot,
    ) -> Result<u32, Error> {
        let (keyslot, _) = self.find(None, passphrase)?;
        self.remove(keyslot, last)?;
        Ok(keyslot)
    }

    /// Removes every keyslot of the volume's key, and gives their numbers. Unbound ones stay.
    /// Without a copy of the header or of the volume key, the data are lost for good.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn erase(&mut self) -> Result<Vec<u32>, Error> {
        let keyslots = self.volume_keyslots();
        match self.header {
            Header::Luks1(_) => self.remove_luks1(&keyslots, LastKeyslot::DestroyAccess)?,
            _ => self.remove_luks2(&keyslots, LastKeyslot::DestroyAccess)?,
        }
        Ok(keyslots)
    }

    /// Sets when a keyslot is tried. LUKS2 only.
    ///
    /// # Errors
    /// [`Error::NoSuchKeyslot`], [`Error::Luks1Feature`], [`Error::Requirement`],
    /// [`Error::Header`].
    pub fn set_priority(&mut self, keyslot: u32, priority: Priority) -> Result<(), Error> {
        self.set_priority_luks2(keyslot, priority)
    }

    /// Finds the keyslot that a passphrase opens, or holds it against one, whatever its key is for.
    fn find(
        &mut self,
        keyslot: Option<u32>,
        passphrase: &Passphrase,
    ) -> Result<(u32, Unlocked), Error> {
        let mut options = UnlockOptions::new().scope(crate::unlock::Scope::AnyKey);
        if let Some(keyslot) = keyslot {
            options = options.keyslot(keyslot);
        }
        let unlocked = self.unlock(Unlock::Passphrase(passphrase), &options)?;
        let found = unlocked
            .keyslot
            .expect("a passphrase opens a keyslot, not a digest");
        Ok((found, unlocked))
    }
}
