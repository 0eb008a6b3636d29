//! What a fresh authenticated volume reads as.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use luksmith_block::{BlockDevice, ByteLen, ByteOffset, SECTOR_BYTES, SectorNumber, TaggedDevice};
use luksmith_crypt::AuthenticatedDevice;
use luksmith_integrity::IntegrityDevice;
use luksmith_keyslot::VolumeKey;

use super::options::{FormatOptions, Init};
use crate::Error;
use crate::options::{Journal, OpenOptions};
use crate::plan::Plan;
use crate::stack::Stack;

/// Bytes of data that one thread takes at once.
const CHUNK: u64 = 4 << 20;

type Authenticated = AuthenticatedDevice<IntegrityDevice<Arc<dyn BlockDevice>>>;

/// Initialises the tags of a volume whose superblock was just written.
///
/// The journal is bypassed: nobody has the volume yet, and a crash leaves no header behind.
pub(super) fn run(
    device: &Arc<dyn BlockDevice>,
    plan: &Plan,
    key: &VolumeKey,
    options: &FormatOptions,
    opening: &OpenOptions,
) -> Result<(), Error> {
    if options.init == Init::None {
        return Ok(());
    }
    let opening = opening.clone().journal(Journal::Bypass);
    let stack = Stack::build(Arc::clone(device), plan, key, &opening)?;
    let Some(volume) = stack.authenticated_device() else {
        return Ok(());
    };
    let size = volume.size().get();
    options.control.begin(size);
    let next = AtomicU64::new(0);
    let work = || -> Result<(), Error> {
        loop {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            if start >= size {
                return Ok(());
            }
            let len = CHUNK.min(size - start);
            match options.init {
                Init::Tags => tag_zeros(volume, start, len)?,
                _ => volume.write_zeroes(ByteOffset::new(start), ByteLen::new(len))?,
            }
            options.control.advance(len)?;
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..options.threads.get())
            .map(|_| scope.spawn(work))
            .collect();
        let mut result = work();
        for other in others {
            // A panic in a worker goes on in the caller.
            let theirs = other
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result = result.and(theirs);
        }
        result
    })?;
    Ok(stack.close()?)
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
