//! What a fresh authenticated volume reads as.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Control, SECTOR_BYTES, SectorNumber, TaggedDevice,
};
use luksmith_keyslot::Threads;

use super::option;
use super::options::Init;
use crate::stack::Authenticated;
use crate::{Error, Volume};

/// Bytes of data that one thread takes at once.
const CHUNK: u64 = 4 << 20;

impl Volume {
    /// Initialises the sectors of an authenticated volume from byte `from` on, on several threads.
    /// **What they held is lost.**
    ///
    /// For a volume that was made with [`Init::None`], which is there at once and is initialised
    /// before it is used: until this has returned, nobody may write behind `from`, through this or
    /// another volume. Nothing records which sectors were written. [`Init::Wipe`] puts zeros over
    /// them, and [`Init::Tags`] tags that do not match, so that they can never be read again.
    /// Through a volume opened with [`Journal::Bypass`](crate::Journal::Bypass) everything is
    /// written once, else twice.
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
        &self,
        init: Init,
        from: ByteOffset,
        threads: Threads,
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
        let done = run(volume, init, from.get(), threads, control);
        let (next, cause) = match (done, volume.flush()) {
            (Ok(()), Ok(())) => return Ok(()),
            (Err(stopped), Ok(())) => (ByteOffset::new(stopped.next), stopped.cause),
            // Nothing is known to be durable.
            (Err(stopped), Err(_)) => (from, stopped.cause),
            (Ok(()), Err(error)) => (from, error.into()),
        };
        let cause = Box::new(cause);
        Err(Error::InitStopped { next, cause })
    }
}

/// Work that came to byte `next`, and why no further.
pub(super) struct Stopped {
    next: u64,
    pub(super) cause: Error,
}

/// Initialises what lies behind `from`. Chunks are taken in ascending order, so that what is done
/// is one range, whoever was at work when it was stopped.
pub(super) fn run(
    volume: &Authenticated,
    init: Init,
    from: u64,
    threads: Threads,
    control: &Control,
) -> Result<(), Stopped> {
    let size = volume.size().get();
    control.begin(size);
    // Work that goes on shows how far it had come.
    let _ = control.advance(from);
    let next = AtomicU64::new(from);
    let stop = AtomicBool::new(false);
    let work = || -> Result<(), Stopped> {
        while !stop.load(Ordering::Relaxed) {
            if let Err(cause) = control.check() {
                // Chunks that others have taken are finished by them.
                return Err(Stopped {
                    next: u64::MAX,
                    cause: cause.into(),
                });
            }
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            if start >= size {
                return Ok(());
            }
            let len = CHUNK.min(size - start);
            let done = match init {
                Init::Tags => tag_zeros(volume, start, len),
                _ => volume
                    .write_zeroes(ByteOffset::new(start), ByteLen::new(len))
                    .map_err(Error::from),
            };
            if let Err(cause) = done {
                stop.store(true, Ordering::Relaxed);
                return Err(Stopped { next: start, cause });
            }
            // Asked for again above: this chunk is done.
            let _ = control.advance(len);
        }
        Ok(())
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.get()).map(|_| scope.spawn(work)).collect();
        let own = work();
        let theirs = others.into_iter().map(|other| {
            // A panic in a worker goes on in the caller.
            other
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        std::iter::once(own).chain(theirs).collect()
    });
    let taken = next.into_inner().min(size);
    let first = results.into_iter().filter_map(Result::err);
    match first.min_by_key(|stopped| stopped.next) {
        None => Ok(()),
        // Cancelled just when the last chunk was done.
        Some(stopped) if stopped.next > taken && taken == size => Ok(()),
        Some(stopped) => Err(Stopped {
            next: stopped.next.min(taken),
            cause: stopped.cause,
        }),
    }
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
