//! Taking the room that a larger device has, and giving some up with the end of the device.

use std::cell::Cell;

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Control, Error as BlockError, SectorNumber,
};
use luksmith_crypt::{AeadCipher, SystemRandom};
use luksmith_integrity::{DeviceSizes, IntegrityDevice, Layout, NewBlocks, Superblock};

use crate::stack::{Shared, Stack};
use crate::{Error, Init, Volume};

impl Volume {
    /// Makes the volume as large as its device has become, and closes it. Gives the new size in
    /// bytes; open it again to use it. The volume is gone after an error too: one whose process
    /// alone knows it ([`Init::Lazy`], or a key and header that nobody kept) goes with its data.
    ///
    /// A volume without tags has always the size of its device: nothing is done then. With tags,
    /// the new sectors are initialised as `init` says before the new size becomes valid, so that a
    /// crash leaves the old size or the new one. The header stays as it is. `control` sees 512-byte
    /// sectors.
    ///
    /// # Errors
    /// [`Error::FixedSize`]; [`Error::FormatOption`] for [`Init::Tags`] where tags over given data
    /// cannot be made; [`Error::Integrity`], [`Error::Device`].
    pub fn grow(self, init: Init, control: &Control) -> Result<ByteLen, Error> {
        self.check_growable(init)?;
        let size = self.size();
        match self.into_stack() {
            Stack::Authenticated(device) => {
                let (integrity, cipher) = device.into_parts();
                grow(integrity, &cipher, init, control)
            }
            Stack::Lazy(_) => Err(Error::LazyVolume { action: "grow" }),
            plain @ Stack::Plain(_) => {
                plain.close()?;
                Ok(size)
            }
        }
    }

    /// Gives the error with which [`grow`](Self::grow) would refuse before it writes anything.
    ///
    /// # Errors
    /// Those of [`grow`](Self::grow), but for what devices say.
    pub fn check_growable(&self, init: Init) -> Result<(), Error> {
        self.check_resizable()?;
        let device = match self.stack() {
            Stack::Plain(_) => return Ok(()),
            Stack::Lazy(_) => return Err(Error::LazyVolume { action: "grow" }),
            Stack::Authenticated(device) => device,
        };
        match init {
            Init::Tags => {
                let cipher = device.cipher();
                let mut tuple = vec![0; cipher.tuple_bytes()];
                let zeros = vec![0; cipher.sector_size().bytes()];
                cipher
                    .tag_ciphertext(SectorNumber::ZERO, &zeros, &mut tuple)
                    .map_err(|source| self.plan().cipher_error(source))
            }
            Init::Lazy => Err(lazy()),
            Init::Wipe | Init::None => Ok(()),
        }
    }

    /// Gives the byte of its device from which on [`grow`](Self::grow) would add sectors, `None` if
    /// the device has no more room, or the volume no tags.
    ///
    /// Whether the device holds zeros from there on tells whether [`Init::Tags`] makes the new
    /// sectors readable.
    #[must_use]
    pub fn new_room_at(&self) -> Option<ByteOffset> {
        let device = self.stack().authenticated_device()?.device();
        new_room_at(device.layout(), device.superblock())
    }

    /// Makes the volume fit its device cut to `device` bytes, closes it, and has `cut` cut the
    /// device to that length. **What lies behind the new end is lost.** Gives the new size in
    /// bytes. The volume is gone after an error too, as with [`grow`](Self::grow).
    ///
    /// `device` counts from the start of the device that holds the data, a header in front
    /// included. With tags:
    ///
    /// 1. The journal is applied and emptied, so that nothing of it is lost with the end.
    /// 2. The new size is written to the integrity superblock and made durable.
    /// 3. The device is cut.
    ///
    /// A crash before 2 leaves the old size, one after it the new one, with everything before the
    /// new end. Volume and device get smaller together or not at all: on a device that stays larger
    /// than the volume Linux takes the room back when it next opens it. If `cut` fails, do it
    /// again. Without tags a volume always has the size of its device, so there is only step 3.
    ///
    /// `cut` is called once nothing holds the device any more.
    ///
    /// # Errors
    /// [`Error::FixedSize`], [`Error::LazyVolume`]; [`Error::NotSmaller`] if `device` is more than
    /// the device has, or has room for more than the volume; [`Error::VolumeRoom`] or
    /// [`Error::Integrity`] if nothing is left; [`Error::Device`], that of `cut` included.
    pub fn shrink(
        self,
        device: ByteLen,
        cut: impl FnOnce(ByteLen) -> Result<(), BlockError>,
    ) -> Result<ByteLen, Error> {
        self.check_resizable()?;
        let (size, offset, sector) = (self.size(), self.plan().offset, self.sector_size());
        if device.whole_sectors() > self.device_size().whole_sectors() {
            let room = size;
            return Err(Error::NotSmaller { device, room, size });
        }
        let left = match self.into_stack() {
            Stack::Authenticated(volume) => {
                let sizes = DeviceSizes {
                    data: device.whole_sectors(),
                    meta: None,
                };
                volume.into_inner().shrink(sizes)?.byte_len()?
            }
            Stack::Lazy(_) => return Err(Error::LazyVolume { action: "shrink" }),
            plain @ Stack::Plain(_) => {
                let unit = sector.byte_len().get();
                let left = device.get().saturating_sub(offset) / unit * unit;
                if left == 0 {
                    let needed = ByteLen::new(offset.saturating_add(unit));
                    return Err(Error::VolumeRoom {
                        needed,
                        size: device,
                    });
                }
                if left > size.get() {
                    let room = ByteLen::new(left);
                    return Err(Error::NotSmaller { device, room, size });
                }
                plain.close()?;
                ByteLen::new(left)
            }
        };
        cut(device)?;
        Ok(left)
    }

    fn check_resizable(&self) -> Result<(), Error> {
        let plan = self.plan();
        if let Some(len) = plan.len {
            return Err(Error::FixedSize {
                segment: plan.segment,
                len,
            });
        }
        if self.capabilities().read_only {
            return Err(BlockError::ReadOnly.into());
        }
        Ok(())
    }
}

/// Gives the byte at which the first sector lies that an integrity device has room for and does
/// not have yet, `None` if there is no room; see [`Volume::new_room_at`].
///
/// `layout` is that of the device as large as it is now.
#[must_use]
pub fn new_room_at(layout: &Layout, superblock: &Superblock) -> Option<ByteOffset> {
    let size = superblock.provided_data_sectors().get();
    let block = layout.block_size().sectors().get();
    let first = SectorNumber::new(size - size % block);
    layout.locate(first).ok().map(|position| position.data)
}

fn lazy() -> Error {
    Error::FormatOption {
        option: "initialisation",
        found: "lazy".into(),
        rule: "it is chosen when the volume is made; use wipe, tags or none",
    }
}

fn grow(
    integrity: IntegrityDevice<Shared>,
    cipher: &AeadCipher,
    init: Init,
    control: &Control,
) -> Result<ByteLen, Error> {
    let tuple_bytes = cipher.tuple_bytes();
    let sector_bytes = cipher.sector_size().bytes();
    // The engine knows no errors of ciphers: one is kept here, and what it is told ends the work.
    let failure = Cell::new(None);
    let check = |result: Result<(), luksmith_crypt::Error>| {
        result.map_err(|error| {
            failure.set(Some(error));
            BlockError::Cancelled
        })
    };
    let mut tags = |first: SectorNumber, tuples: &mut [u8]| {
        let zeros = vec![0; tuples.len() / tuple_bytes * sector_bytes];
        check(cipher.tag_ciphertext(first, &zeros, tuples))
    };
    let mut blocks = |first: SectorNumber, data: &mut [u8], tuples: &mut [u8]| {
        let zeros = vec![0; data.len()];
        let sealed = cipher
            .draw_ivs(data.len() / sector_bytes, &SystemRandom)
            .and_then(|ivs| cipher.seal(first, &zeros, &ivs, data, tuples));
        check(sealed)
    };
    let new = match init {
        Init::Tags => NewBlocks::Tags(&mut tags),
        Init::Wipe => NewBlocks::Blocks(&mut blocks),
        Init::None => NewBlocks::Leave,
        Init::Lazy => return Err(lazy()),
    };
    let grown = integrity.grow(new, control);
    if let Some(source) = failure.take() {
        return Err(Error::Cipher { segment: 0, source });
    }
    Ok(grown?.byte_len()?)
}
