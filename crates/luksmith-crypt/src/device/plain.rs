//! Encryption without tags.

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Capabilities, Error as BlockError, SectorNumber, SectorSize,
};

use super::RUN_BYTES;
use super::buffers::Buffers;
use crate::{Error, SectorCipher};

/// A device whose sectors are stored encrypted on another device.
///
/// Its first sector is the first of the device below: a window cuts the header off. Sectors are
/// numbered from 0 there, in 512-byte units. A tail of the device below that is no whole sector is
/// not seen.
///
/// ```
/// use luksmith_block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorSize};
/// use luksmith_crypt::{CipherSpec, CryptDevice, SectorCipher};
///
/// let medium = MemDevice::new(ByteLen::new(1 << 20), SectorSize::S512)?;
/// let spec = CipherSpec::parse("aes-xts-plain64")?;
/// let cipher = SectorCipher::new(&spec, &[7; 64], SectorSize::S4096)?;
/// let volume = CryptDevice::new(medium, cipher)?;
/// volume.write_at(ByteOffset::new(8192), &[1; 4096])?;
/// let mut data = [0; 4096];
/// volume.read_at(ByteOffset::new(8192), &mut data)?;
/// assert_eq!(data, [1; 4096]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct CryptDevice<D> {
    device: D,
    cipher: SectorCipher,
    size: ByteLen,
    buffers: Buffers,
}

impl<D: BlockDevice> CryptDevice<D> {
    /// Puts `cipher` over `device`.
    ///
    /// # Errors
    /// [`Error::DeviceSector`] if the device's sectors are larger than the cipher's.
    pub fn new(device: D, cipher: SectorCipher) -> Result<Self, Error> {
        let (below, ours) = (device.sector_size(), cipher.sector_size());
        if below > ours {
            return Err(Error::DeviceSector {
                found: below,
                expected: ours,
            });
        }
        let whole = device.size().get() / ours.byte_len().get() * ours.byte_len().get();
        Ok(Self {
            size: ByteLen::new(whole),
            device,
            cipher,
            buffers: Buffers::default(),
        })
    }

    /// Gives the device below.
    pub const fn device(&self) -> &D {
        &self.device
    }

    /// Gives the cipher.
    pub const fn cipher(&self) -> &SectorCipher {
        &self.cipher
    }

    /// Gives the device below back. The key is wiped.
    pub fn into_inner(self) -> D {
        self.device
    }
}

/// The sector at a byte position that [`BlockDevice::check_range`] saw to be aligned.
pub(super) fn sector_at(at: ByteOffset) -> SectorNumber {
    at.sector().expect("the position is a whole sector")
}

/// The position of part `index` of a request that is cut every [`RUN_BYTES`].
pub(super) fn part_at(at: ByteOffset, index: usize) -> ByteOffset {
    // Cannot overflow: `check_range` saw that the whole request fits.
    ByteOffset::new(at.get() + (index * RUN_BYTES) as u64)
}

impl<D: BlockDevice> BlockDevice for CryptDevice<D> {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn sector_size(&self) -> SectorSize {
        self.cipher.sector_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), BlockError> {
        self.check_range(at, ByteLen::of(buf))?;
        // In parts, so that each is decrypted while it is in cache.
        for (index, part) in buf.chunks_mut(RUN_BYTES).enumerate() {
            let at = part_at(at, index);
            self.device.read_at(at, part)?;
            self.cipher
                .decrypt_in_place(sector_at(at), part)
                .expect("parts are whole sectors");
        }
        Ok(())
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), BlockError> {
        self.check_range(at, ByteLen::of(data))?;
        if self.capabilities().read_only {
            return Err(BlockError::ReadOnly);
        }
        self.buffers.with(data.len().min(RUN_BYTES), |buffer| {
            for (index, part) in data.chunks(RUN_BYTES).enumerate() {
                let at = part_at(at, index);
                let (ciphertext, _) = buffer.split_at_mut(part.len());
                self.cipher
                    .encrypt(sector_at(at), part, ciphertext)
                    .expect("parts are whole sectors");
                self.device.write_at(at, ciphertext)?;
            }
            Ok(())
        })
    }

    fn flush(&self) -> Result<(), BlockError> {
        self.device.flush()
    }

    fn discard(&self, at: ByteOffset, len: ByteLen) -> Result<(), BlockError> {
        self.check_range(at, len)?;
        self.device.discard(at, len)
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.device.capabilities();
        // What was discarded reads as the decryption of what the device below returns.
        capabilities.zeroes_after_discard = false;
        capabilities
    }
}
