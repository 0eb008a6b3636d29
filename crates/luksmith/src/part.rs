//! Which part of a volume or device work is about.

use std::ops::Range;

use luksmith_block::{BlockDevice, ByteLen, ByteOffset};

use crate::Error;

/// A part of the plaintext of a volume, or of another device.
///
/// ```
/// use luksmith::{Part, block::{ByteLen, ByteOffset}};
///
/// let second_mebibyte = Part::starting_at(ByteOffset::new(1 << 20)).len(ByteLen::new(1 << 20));
/// # let _ = second_mebibyte;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    start: ByteOffset,
    len: Option<ByteLen>,
}

impl Part {
    /// All of it.
    pub const ALL: Self = Self {
        start: ByteOffset::ZERO,
        len: None,
    };

    /// Everything from this byte on, where a sector begins.
    #[must_use]
    pub const fn starting_at(start: ByteOffset) -> Self {
        Self { start, len: None }
    }

    /// This many bytes of it, whole sectors.
    #[must_use]
    pub const fn len(self, len: ByteLen) -> Self {
        Self {
            start: self.start,
            len: Some(len),
        }
    }

    /// Gives the bytes of a device that are meant.
    ///
    /// # Errors
    /// [`Error::Device`] if they are not all on the device, or do not start and end between its
    /// sectors.
    pub(crate) fn of(self, device: &dyn BlockDevice) -> Result<Range<u64>, Error> {
        let left = device.size().get().saturating_sub(self.start.get());
        let len = self.len.unwrap_or(ByteLen::new(left));
        device.check_range(self.start, len)?;
        Ok(self.start.get()..self.start.get() + len.get())
    }
}
