//! Overwriting key material.

use luksmith_block::{BlockDevice, ByteLen, ByteOffset};
use rand_core::TryCryptoRng;

use crate::{Error, area::write_unaligned};

/// Bytes overwritten at once.
const CHUNK: usize = 64 * 1024;

/// Overwrites a keyslot's area with random bytes. Acknowledged, not durable.
pub(super) fn wipe<D, R>(
    device: &D,
    keyslot: u32,
    at: ByteOffset,
    len: ByteLen,
    random: &mut R,
) -> Result<(), Error>
where
    D: BlockDevice + ?Sized,
    R: TryCryptoRng + ?Sized,
{
    let mut chunk = alloc::vec![0; CHUNK];
    let mut done = 0;
    while done < len.get() {
        let left = ByteLen::new(len.get() - done).to_usize().unwrap_or(CHUNK);
        let part = chunk.get_mut(..left.min(CHUNK)).unwrap_or_default();
        random.try_fill_bytes(part).map_err(|_| Error::Random)?;
        let past_end = luksmith_block::Error::PastEnd {
            at,
            len,
            size: device.size(),
        };
        let result = match at.checked_add(ByteLen::new(done)) {
            Some(place) => write_unaligned(device, place, part),
            None => Err(past_end),
        };
        result.map_err(|source| Error::Device { keyslot, source })?;
        done += ByteLen::of(part).get();
    }
    Ok(())
}
