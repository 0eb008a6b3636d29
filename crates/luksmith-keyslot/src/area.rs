//! Keyslot areas: 4000 stripes of a key, encrypted, at a place on the device.
//!
//! # Format
//! docs/formats/keyslots.md, "Area content". Sectors of 512 bytes, numbered from 0 at the start of
//! the area, whatever the sector size of the data.

use luksmith_block::{BlockDevice, ByteLen, ByteOffset, SECTOR_BYTES, SectorNumber, SectorSize};
use luksmith_crypt::{CipherSpec, SectorCipher};
use luksmith_header::luks2;

use crate::{AreaKey, Error, af::STRIPES, storage::Storage};

/// Where an area is and how it is encrypted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area<'a> {
    /// The keyslot, for messages.
    pub(crate) keyslot: u32,
    /// First byte on the header device.
    pub(crate) offset: ByteOffset,
    /// Bytes of the key that is split over the stripes, at least 1.
    pub(crate) key_bytes: u32,
    /// Cipher, mode and IV as the header spells them.
    pub(crate) encryption: &'a str,
}

/// Whether a keyslot whose cipher leaves its key readable by anyone may be used.
///
/// Such a slot opens with the empty passphrase alone; whoever can write to the header can add one,
/// and with it a volume key of their choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NullCipherKeyslots {
    /// They are refused.
    #[default]
    Refuse,
    /// They open with the empty passphrase.
    AcceptUnencryptedKeys,
}

impl<'a> Area<'a> {
    /// Gives the bytes on disk: the stripes, rounded up to sectors.
    pub(crate) fn disk_bytes(&self) -> u64 {
        disk_bytes(self.key_bytes)
    }

    /// Gives the parsed cipher.
    pub(crate) fn spec(&self) -> Result<CipherSpec, Error> {
        CipherSpec::parse_for_area(self.encryption).map_err(|source| Error::Cipher {
            keyslot: self.keyslot,
            source,
        })
    }

    fn cipher(&self, key: &AreaKey) -> Result<SectorCipher, Error> {
        let spec = self.spec()?;
        if spec.is_null() {
            // `unlock` and `change` have asked for the opt-in before they derived the key.
            return Ok(SectorCipher::null(SectorSize::S512));
        }
        SectorCipher::new(&spec, key.bytes(), SectorSize::S512).map_err(|source| Error::Cipher {
            keyslot: self.keyslot,
            source,
        })
    }

    /// Checks what can be checked without the key.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.offset.sector().is_none() {
            return Err(Error::AreaMisaligned {
                keyslot: self.keyslot,
                offset: self.offset,
            });
        }
        Ok(())
    }

    /// Reads and decrypts the stripes. The caller has held `key_bytes` against the limits.
    pub(crate) fn read<D>(&self, device: &D, key: &AreaKey) -> Result<Stripes, Error>
    where
        D: BlockDevice + ?Sized,
    {
        self.check()?;
        let cipher = self.cipher(key)?;
        let len = usize::try_from(self.disk_bytes())
            .map_err(|_| Error::OutOfMemory { bytes: usize::MAX })?;
        let mut sectors = Storage::zeroed(len)?;
        read_unaligned(device, self.offset, sectors.bytes_mut()).map_err(|source| {
            Error::Device {
                keyslot: self.keyslot,
                source,
            }
        })?;
        cipher
            .decrypt_in_place(SectorNumber::ZERO, sectors.bytes_mut())
            .map_err(|source| Error::Cipher {
                keyslot: self.keyslot,
                source,
            })?;
        Ok(Stripes {
            sectors,
            bytes: stripe_bytes(self.key_bytes),
        })
    }

    /// Encrypts the stripes and writes them. Acknowledged, not durable.
    pub(crate) fn write<D>(
        &self,
        device: &D,
        key: &AreaKey,
        mut stripes: Stripes,
    ) -> Result<(), Error>
    where
        D: BlockDevice + ?Sized,
    {
        self.check()?;
        let cipher = self.cipher(key)?;
        cipher
            .encrypt_in_place(SectorNumber::ZERO, stripes.sectors.bytes_mut())
            .map_err(|source| Error::Cipher {
                keyslot: self.keyslot,
                source,
            })?;
        write_unaligned(device, self.offset, stripes.sectors.bytes()).map_err(|source| {
            Error::Device {
                keyslot: self.keyslot,
                source,
            }
        })
    }
}

/// The decrypted stripes of one key. With all of them, anyone has the key.
pub(crate) struct Stripes {
    /// Whole sectors; zeros behind the last stripe.
    sectors: Storage,
    bytes: usize,
}

impl Stripes {
    /// Makes room for the stripes of a key of `key_bytes` bytes.
    pub(crate) fn zeroed(key_bytes: u32) -> Result<Self, Error> {
        let len = usize::try_from(disk_bytes(key_bytes))
            .map_err(|_| Error::OutOfMemory { bytes: usize::MAX })?;
        Ok(Self {
            sectors: Storage::zeroed(len)?,
            bytes: stripe_bytes(key_bytes),
        })
    }

    /// Gives the stripes, without the zeros behind them.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.sectors.bytes().get(..self.bytes).unwrap_or_default()
    }

    /// Gives the stripes, without the zeros behind them.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.sectors
            .bytes_mut()
            .get_mut(..self.bytes)
            .unwrap_or_default()
    }
}

/// Gives the bytes that the stripes of a key take on disk.
pub(crate) fn disk_bytes(key_bytes: u32) -> u64 {
    // At most 2^32 * 4000 and a sector: far below 64 bits.
    (u64::from(key_bytes) * luks2::STRIPES).next_multiple_of(SECTOR_BYTES)
}

fn stripe_bytes(key_bytes: u32) -> usize {
    crate::kdf::to_usize(key_bytes).saturating_mul(STRIPES)
}

/// Reads bytes whose place and length are multiples of 512 from a device of larger sectors.
pub(crate) fn read_unaligned<D>(
    device: &D,
    at: ByteOffset,
    out: &mut [u8],
) -> Result<(), luksmith_block::Error>
where
    D: BlockDevice + ?Sized,
{
    let span = Span::around(device, at, out.len())?;
    if span.is_exact {
        return device.read_at(at, out);
    }
    let mut whole = alloc::vec![0; span.bytes];
    device.read_at(span.start, &mut whole)?;
    out.copy_from_slice(whole.get(span.inner()).unwrap_or_default());
    Ok(())
}

/// Writes bytes whose place and length are multiples of 512 to a device of larger sectors: what
/// else is in those sectors is read before and written back.
pub(crate) fn write_unaligned<D>(
    device: &D,
    at: ByteOffset,
    data: &[u8],
) -> Result<(), luksmith_block::Error>
where
    D: BlockDevice + ?Sized,
{
    let span = Span::around(device, at, data.len())?;
    if span.is_exact {
        return device.write_at(at, data);
    }
    let mut whole = alloc::vec![0; span.bytes];
    device.read_at(span.start, &mut whole)?;
    if let Some(inner) = whole.get_mut(span.inner()) {
        inner.copy_from_slice(data);
    }
    device.write_at(span.start, &whole)
}

/// The whole device sectors around some bytes.
struct Span {
    start: ByteOffset,
    bytes: usize,
    skip: usize,
    len: usize,
    is_exact: bool,
}

impl Span {
    fn around<D>(device: &D, at: ByteOffset, len: usize) -> Result<Self, luksmith_block::Error>
    where
        D: BlockDevice + ?Sized,
    {
        let wanted = ByteLen::new(u64::try_from(len).unwrap_or(u64::MAX));
        let past_end = luksmith_block::Error::PastEnd {
            at,
            len: wanted,
            size: device.size(),
        };
        let unit = device.sector_size().byte_len().get();
        let start = at.get() - at.get() % unit;
        let end = at.checked_add(wanted);
        let end = end.filter(|end| end.get() <= device.size().get());
        let end = end.and_then(|end| end.get().checked_next_multiple_of(unit));
        // The bytes fit a slice already; at most two sectors are added.
        let bytes = end.and_then(|end| usize::try_from(end - start).ok());
        let (Some(bytes), Ok(skip)) = (bytes, usize::try_from(at.get() - start)) else {
            return Err(past_end);
        };
        Ok(Self {
            start: ByteOffset::new(start),
            bytes,
            skip,
            len,
            is_exact: bytes == len,
        })
    }

    fn inner(&self) -> core::ops::Range<usize> {
        self.skip..self.skip + self.len
    }
}
