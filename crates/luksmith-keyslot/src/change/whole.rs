//! Changes of a whole header: the other version, or an older header back from a file.
//!
//! Neither has room to be safe by itself: key material moves over the old header, or everything is
//! overwritten. So a backup of what is there becomes durable first. Cut off later, the device may
//! hold no header at all; restoring the backup gives the old keys back, and the change can be
//! repeated.

use luksmith_block::BlockDevice;
use luksmith_header::{
    Header, Limits, RestorePlan,
    convert::{ToLuks1, ToLuks2},
};
use rand_core::TryCryptoRng;

use super::{Changer, HeaderBackup, backup};
use crate::Error;

impl<D, R> Changer<'_, D, R>
where
    D: BlockDevice + ?Sized,
    R: TryCryptoRng + ?Sized,
{
    /// Makes a LUKS2 header of a LUKS1 header: the same keys and passphrases, the data untouched.
    ///
    /// 1. what is in the way is said; 2. the backup, durable; 3. the areas move; 4. the header.
    ///
    /// # Errors
    /// [`luksmith_header::Error::Convert`] inside [`Error::Header`] for what is in the way, also of
    /// a header that is LUKS2 already; [`Error::HeaderChanged`]; [`Error::Backup`].
    pub fn convert_to_luks2(&mut self, backup: &mut dyn HeaderBackup) -> Result<(), Error> {
        let Header::Luks1(header) = &*self.header else {
            return Err(already(2));
        };
        let plan = ToLuks2::plan(header, self.device)?;
        self.refuse_stale_luks1()?;
        self.store(backup)?;
        let header = plan.run(self.device, self.random)?;
        *self.header = Header::Luks2(header);
        Ok(())
    }

    /// Makes a LUKS1 header of a LUKS2 header: the same keys and passphrases, the data untouched.
    ///
    /// The order is that of [`convert_to_luks2`](Self::convert_to_luks2).
    ///
    /// # Errors
    /// [`luksmith_header::Error::Convert`] inside [`Error::Header`] for what is in the way, also of
    /// a header that is LUKS1 already, or one that was changed since; [`Error::Backup`].
    pub fn convert_to_luks1(&mut self, backup: &mut dyn HeaderBackup) -> Result<(), Error> {
        let Header::Luks2(header) = &*self.header else {
            return Err(already(1));
        };
        let plan = ToLuks1::plan(header, self.device.size())?;
        self.refuse_stale()?;
        self.store(backup)?;
        let header = plan.run(self.device)?;
        *self.header = Header::Luks1(header);
        Ok(())
    }

    /// Makes a durable backup of the header and its areas.
    pub(super) fn store(&self, backup: &mut dyn HeaderBackup) -> Result<(), Error> {
        backup::store_header(self.device, self.effort.budget.limits(), backup)
    }
}

fn already(version: u16) -> Error {
    luksmith_header::Error::Convert {
        version,
        obstacle: "it is one already",
    }
    .into()
}

/// Puts the header of a backup file back on its device. Gives the header that is there then.
///
/// What `plan` overwrites is copied to `old` first, durable: as a header backup if the target has a
/// header, byte by byte if it has none. Whether overwriting it is meant (another UUID, another
/// version, no header at all) is for the caller to ask, before: the plan tells.
///
/// # Errors
/// [`Error::Backup`] before the first write; [`Error::Header`] with what the devices or the header
/// say.
pub fn restore_header<B, T>(
    plan: &RestorePlan,
    file: &B,
    target: &T,
    limits: &Limits,
    old: &mut dyn HeaderBackup,
) -> Result<Header, Error>
where
    B: BlockDevice + ?Sized,
    T: BlockDevice + ?Sized,
{
    if plan.target.is_some() {
        backup::store_header(target, limits, old)?;
    } else {
        backup::store_bytes(target, plan.len, old)?;
    }
    plan.restore(file, target)?;
    Ok(Header::read(target, limits)?)
}
