//! The material of a new keyslot: a volume key behind a passphrase, ready on the device.

use luksmith_block::{BlockDevice, ByteOffset};
use luksmith_hash::HashName;
use luksmith_header::KdfUser;
use rand_core::TryCryptoRng;

use crate::{
    AreaKey, Error, Kdf, Passphrase, SALT_BYTES, VolumeKey, af,
    area::{Area, Stripes},
    kdf::Effort,
};

/// Everything that decides the bytes of a keyslot area, the secrets and the stripes aside.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// The keyslot.
    pub keyslot: u32,
    /// From passphrase to area key.
    pub kdf: Kdf,
    /// The key derivation's salt.
    pub salt: &'a [u8; SALT_BYTES],
    /// First byte of the area on the header device, a multiple of 512.
    pub offset: ByteOffset,
    /// Cipher of the area, as `aes-xts-plain64`.
    pub encryption: &'a str,
    /// Bytes of the area key.
    pub area_key_bytes: u32,
    /// Hash of the anti-forensic splitter.
    pub af_hash: HashName,
}

impl Material<'_> {
    /// Gives the bytes that the area of a volume key takes: 4000 stripes, in whole sectors.
    #[must_use]
    pub fn area_bytes(key_bytes: u32) -> u64 {
        crate::area::disk_bytes(key_bytes)
    }

    /// Splits `key` into fresh stripes, encrypts them with what `passphrase` gives, and writes them
    /// to the area. The write is acknowledged, not durable: flush before a header refers to it.
    ///
    /// A cipher that does not encrypt is refused: see [`Error::NullCipher`].
    ///
    /// # Errors
    /// What [`Kdf::derive`] gives, [`Error::Cipher`], [`Error::Device`], [`Error::AreaMisaligned`],
    /// [`Error::Random`]; nothing was written then, unless the device itself failed.
    pub fn write<D, R>(
        &self,
        device: &D,
        key: &VolumeKey,
        passphrase: &Passphrase,
        random: &mut R,
        effort: &mut Effort<'_>,
    ) -> Result<(), Error>
    where
        D: BlockDevice + ?Sized,
        R: TryCryptoRng + ?Sized,
    {
        let area_key = self.area_key(key, passphrase, effort)?;
        self.write_with(device, key, &area_key, random)
    }

    /// Derives the area key, once everything else about the area is known to be right.
    pub(crate) fn area_key(
        &self,
        key: &VolumeKey,
        passphrase: &Passphrase,
        effort: &mut Effort<'_>,
    ) -> Result<AreaKey, Error> {
        let user = KdfUser::Keyslot(self.keyslot);
        let area = self.area(key);
        area.check()?;
        if area.spec()?.is_null() {
            return Err(Error::NullCipher {
                keyslot: self.keyslot,
            });
        }
        effort.budget.check_key_bytes(user, area.key_bytes)?;
        self.kdf
            .derive(passphrase, self.salt, self.area_key_bytes, user, effort)
    }

    /// Splits `key` into fresh stripes and writes them, encrypted with a key that
    /// [`area_key`](Self::area_key) gave for the same salt.
    pub(crate) fn write_with<D, R>(
        &self,
        device: &D,
        key: &VolumeKey,
        area_key: &AreaKey,
        random: &mut R,
    ) -> Result<(), Error>
    where
        D: BlockDevice + ?Sized,
        R: TryCryptoRng + ?Sized,
    {
        let area = self.area(key);
        let mut stripes = Stripes::zeroed(area.key_bytes)?;
        af::split(key.expose(), self.af_hash, random, stripes.bytes_mut())?;
        area.write(device, area_key, stripes)
    }

    fn area(&self, key: &VolumeKey) -> Area<'_> {
        Area {
            keyslot: self.keyslot,
            offset: self.offset,
            key_bytes: u32::try_from(key.len()).unwrap_or(u32::MAX),
            encryption: self.encryption,
        }
    }
}
