//! Reading and writing byte ranges of a device whose sectors may be larger.

use alloc::vec;

use luksmith_block::{BlockDevice, ByteLen, ByteOffset};

use crate::Error;

/// Tells a bad place on the medium, which makes one copy of a header useless, from a device that
/// refuses to read at all.
///
/// # Errors
/// `error`, if it is of the second kind.
pub(crate) fn bad_medium(error: Error) -> Result<Error, Error> {
    use luksmith_block::Error::{Io, TagMismatch};
    match &error {
        Error::Device {
            source: Io { .. } | TagMismatch { .. },
        } => Ok(error),
        _ => Err(error),
    }
}

/// Fills `buf` from byte `at`, whatever the device's sector size.
///
/// # Errors
/// [`Error::TooShort`] if the device ends before, [`Error::Device`] if it fails.
pub(crate) fn read<D: BlockDevice + ?Sized>(
    device: &D,
    what: &'static str,
    at: ByteOffset,
    buf: &mut [u8],
) -> Result<(), Error> {
    let size = device.size();
    let len = ByteLen::of(buf);
    let too_short = || Error::too_short(what, at.get(), len.get(), size);
    let end = at.checked_add(len).ok_or_else(too_short)?;
    if end.get() > size.get() {
        return Err(too_short());
    }
    let unit = device.sector_size().byte_len().get();
    if at.get().is_multiple_of(unit) && len.get().is_multiple_of(unit) {
        return Ok(device.read_at(at, buf)?);
    }
    // Whole sectors around the range. A last sector that the device's size cuts off cannot be
    // asked for, which is the device's answer, not ours.
    let start = at.get().saturating_sub(at.get() % unit);
    let end = end
        .get()
        .checked_next_multiple_of(unit)
        .ok_or_else(too_short)?;
    let span = usize::try_from(end.saturating_sub(start)).map_err(|_| too_short())?;
    let skip = usize::try_from(at.get().saturating_sub(start)).map_err(|_| too_short())?;
    let mut sectors = vec![0; span];
    device.read_at(ByteOffset::new(start), &mut sectors)?;
    let wanted = sectors.get(skip..).unwrap_or_default();
    for (to, from) in buf.iter_mut().zip(wanted) {
        *to = *from;
    }
    Ok(())
}
