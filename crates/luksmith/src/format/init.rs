//! What a fresh authenticated volume reads as.

use std::ops::Range;

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Control, Operation, SECTOR_BYTES, SectorNumber, TaggedDevice,
};

use super::option;
use super::options::Init;
use crate::stack::Authenticated;
use crate::workers::{Stopped, Workers};
use crate::{Error, Volume};

/// Bytes of data that one thread takes at once.
const CHUNK: u64 = 4 << 20;

impl Volume {
    /// Initialises the sectors of an authenticated volume from byte `from` on, by all its
    /// [workers](crate::OpenOptions::workers). **What they held is lost.**
    ///
    /// For a volume that was made with [`Init::None`], which is there at once and is initialised
    /// before it is used. Nothing records which sectors were written: [`Init::Wipe`] puts zeros
    /// over them, and [`Init::Tags`] tags that do not match, so that they can never be read again.
    /// That is why it takes the volume alone: nobody can read or write through it meanwhile.
    /// Through a volume opened with [`Journal::Bypass`](crate::Journal::Bypass) everything is
    /// written once, else twice.
    ///
    /// ```compile_fail,E0502
    /// # use luksmith::{Init, Volume, block::{BlockDevice, ByteOffset, Control}};
    /// # fn refused(mut volume: Volume) -> Result<(), luksmith::Error> {
    /// let writer = &volume;
    /// volume.initialise(Init::Wipe, ByteOffset::ZERO, &Control::new())?;
    /// writer.write_at(ByteOffset::ZERO, &[7; 4096])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Work that was cancelled or failed goes on where it was: the error tells the byte from which.
    /// Everything before it is initialised and durable, and may be used. `control` sees bytes from
    /// 0 on.
    ///
    /// # Errors
    /// [`Error::InitStopped`]; [`Error::NothingToVerify`] without tags; [`Error::FormatOption`]
    /// for [`Init::Lazy`], which is chosen when a volume is made, and for [`Init::Tags`] where tags
    /// over given data cannot be made; [`Error::Device`] if `from` is inside a sector.
    pub fn initialise(
        &mut self,
        init: Init,
        from: ByteOffset,
        control: &Control,
    ) -> Result<(), Error> {
        let Some(volume) = self.stack().authenticated_device() else {
            return Err(Error::NothingToVerify);
        };
        if init == Init::Lazy || self.is_lazy() {
            return Err(option(
                "initialisation",
                "lazy",
                "it is chosen when the volume is made, and lasts",
            ));
        }
        let tags = volume.cipher().tags_given_ciphertext();
        if init == Init::Tags && !tags {
            return Err(option(
                "initialisation",
                "tags",
                "it needs an integrity type hmac and an IV that is not stored; use wipe",
            ));
        }
        if init == Init::None {
            return Ok(());
        }
        self.check_range(from, ByteLen::ZERO)?;
        let done = run(volume, init, from.get(), self.workers(), control);
        let (next, cause) = match (done, volume.flush()) {
            (Ok(()), Ok(())) => return Ok(()),
            (Err(stopped), Ok(())) => (ByteOffset::new(stopped.at), stopped.cause),
            // Nothing is known to be durable.
            (Err(stopped), Err(_)) => (from, stopped.cause),
            (Ok(()), Err(error)) => (from, error.into()),
        };
        let cause = Box::new(cause);
        Err(Error::InitStopped { next, cause })
    }
}

/// Initialises what lies behind `from`. Shares are taken in ascending order, so that what is done
/// is one range, whoever was at work when it was stopped.
pub(super) fn run(
    volume: &Authenticated,
    init: Init,
    from: u64,
    workers: &Workers,
    control: &Control,
) -> Result<(), Stopped> {
    let range = from..volume.size().get();
    fill(range, workers, control, |start, len| match init {
        Init::Tags => tag_zeros(volume, start, len),
        _ => Ok(volume.write_zeroes(ByteOffset::new(start), ByteLen::new(len))?),
    })
}

/// Writes zeros to all of a device, on all workers: what gives every sector of a dm-integrity
/// device on its own ([`HashedDevice`](luksmith_integrity::HashedDevice)) a tag. `control` sees
/// bytes. What was written is not flushed.
///
/// # Errors
/// [`Error::Device`], [`BlockError::Cancelled`](luksmith_block::Error::Cancelled) among what it may
/// hold.
pub fn wipe_device(
    device: &dyn BlockDevice,
    workers: &Workers,
    control: &Control,
) -> Result<(), Error> {
    let write = |start, len| Ok(device.write_zeroes(ByteOffset::new(start), ByteLen::new(len))?);
    fill(0..device.size().get(), workers, control, write).map_err(|stopped| stopped.cause)
}

/// Has `write` fill a range; it takes first byte and length.
fn fill(
    range: Range<u64>,
    workers: &Workers,
    control: &Control,
    write: impl Fn(u64, u64) -> Result<(), Error> + Sync,
) -> Result<(), Stopped> {
    control.begin(range.end);
    // Work that goes on shows how far it had come.
    let _ = control.advance(range.start);
    let work = |(): &mut (), share: Range<u64>| -> Result<(), Error> {
        control.check()?;
        let len = share.end - share.start;
        write(share.start, len)?;
        // Asked for again above: this share is done.
        let _ = control.advance(len);
        Ok(())
    };
    workers.share_out(range, CHUNK, Operation::Write, || (), work)
}

/// Writes the tags under which zeros are the ciphertext of a range.
fn tag_zeros(volume: &Authenticated, start: u64, len: u64) -> Result<(), Error> {
    let cipher = volume.cipher();
    let size = cipher.sector_size().byte_len().get();
    let run = ByteLen::new(len).to_usize().unwrap_or_default();
    let zeros = vec![0; run];
    let blocks = ByteLen::new(len / size).to_usize().unwrap_or_default();
    let mut tuples = vec![0; blocks * cipher.tuple_bytes()];
    let first = SectorNumber::new(start / SECTOR_BYTES);
    cipher
        .tag_ciphertext(first, &zeros, &mut tuples)
        .map_err(|source| Error::Cipher { segment: 0, source })?;
    Ok(volume.device().write_tuples(first, &tuples)?)
}
