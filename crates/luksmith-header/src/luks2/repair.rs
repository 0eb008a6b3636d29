//! Making both copies of a header whole again: an explicit act.

use alloc::vec::Vec;

use luksmith_block::{BlockDevice, ByteLen};
use rand_core::TryCryptoRng;

use super::{
    Pair, Side,
    write::{put, render, salt},
};
use crate::Error;

/// What a repair would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairPlan {
    /// The copy to be overwritten with the other one.
    pub side: Side,
    /// Sequence number of the copy that is good.
    pub seqid: u64,
    /// Sequence number that the copy to be overwritten claims, if that is higher. After a power
    /// failure during an update it is; otherwise somebody should look first.
    pub claimed_newer: Option<u64>,
    /// Whether the copy to be overwritten could not be read, so that it may be newer unseen.
    pub unreadable: bool,
    /// The format whose mark stands where the primary copy is to be written: somebody may have
    /// meant to replace the volume, and the repair damages what took its place.
    pub foreign: Option<&'static str>,
}

impl Pair {
    /// Says what a repair would do: nothing if both copies are good and equally new.
    ///
    /// # Errors
    /// [`Error::NoUsableCopy`], [`Error::NotLuks`], and [`Error::TooShort`] for a device that ends
    /// before the keyslot area does.
    pub fn repair_plan(&self) -> Result<Option<RepairPlan>, Error> {
        let good = self.pick()?;
        let total = good.metadata().map_err(Clone::clone)?.total_len();
        if self.device_len().get() < total.get() {
            let what = "the LUKS2 header with its keyslot area";
            return Err(Error::too_short(what, 0, total.get(), self.device_len()));
        }
        if self.both_are_current() {
            return Ok(None);
        }
        let side = match good.binary().side() {
            Side::Primary => Side::Secondary,
            Side::Secondary => Side::Primary,
        };
        Ok(Some(RepairPlan {
            side,
            seqid: good.binary().seqid(),
            claimed_newer: match side {
                Side::Primary => self.newer_damaged_primary(good.binary()),
                Side::Secondary => self.newer_damaged_secondary(good.binary()),
            },
            unreadable: matches!(self.other_fault(good.binary()), Some(Error::Device { .. })),
            foreign: self.foreign().filter(|_| side == Side::Primary),
        }))
    }

    /// Overwrites the copy that is damaged or older with the good one, on the device that the pair
    /// was
    /// read from or on a copy of it, and flushes. Gives what was done.
    ///
    /// The sequence number and the JSON text stay as they are, to the byte; the salt is new. The
    /// caller holds the lock that excludes other writers.
    ///
    /// # Errors
    /// As [`repair_plan`](Self::repair_plan), [`Error::Random`], [`Error::Device`].
    pub fn repair<D, R>(&self, device: &D, random: &mut R) -> Result<Option<RepairPlan>, Error>
    where
        D: BlockDevice + ?Sized,
        R: TryCryptoRng + ?Sized,
    {
        let Some(plan) = self.repair_plan()? else {
            return Ok(None);
        };
        let copy = self.rendered(plan.side, salt(random)?)?;
        put(device, plan.side, &copy)?;
        Ok(Some(plan))
    }

    /// Makes both copies from the good one, the primary first, and gives the length of the header
    /// with its keyslot area.
    pub(crate) fn both_rendered(&self) -> Result<(Vec<u8>, ByteLen), Error> {
        let good = self.pick()?;
        let total = good.metadata().map_err(Clone::clone)?.total_len();
        let salt = good.binary().salt();
        let mut copies = self.rendered(Side::Primary, salt)?;
        copies.extend(self.rendered(Side::Secondary, salt)?);
        Ok((copies, total))
    }

    /// Makes one copy from the good one.
    pub(crate) fn rendered(&self, side: Side, salt: [u8; 64]) -> Result<Vec<u8>, Error> {
        let good = self.pick()?;
        render(good.binary(), side, salt, good.json_text())
    }
}
