//! The key object: expanded once, for one instruction set.

use core::fmt;

use super::portable::PortableXts;
use super::tweak::{Counted, Given, Ivs, Run, count_sectors};
use crate::arch::VectorXts;
use crate::buffers::Buffers;
use crate::{Backend, Error};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Encrypt,
    Decrypt,
}

/// An AES-XTS key, expanded for one [`Backend`].
///
/// The first half of the key encrypts data, the second half makes tweaks. Equal halves are
/// accepted, as the kernel accepts them outside of FIPS mode: volumes with such keys can be read.
///
/// All operations take whole sectors, many at once; a request of 16 sectors or more is served at
/// full speed. Source and destination need no alignment.
///
/// # Format
/// XTS-AES-128 and XTS-AES-256 of IEEE Std 1619-2018, without ciphertext stealing, which sectors
/// never need.
pub struct XtsKey {
    backend: Backend,
    bits: u16,
    kernels: Kernels,
}

/// The expanded keys, with the proof that the CPU can use them.
enum Kernels {
    Portable(PortableXts),
    Vectors(VectorXts),
}

impl Kernels {
    /// Expands a key, or gives `None` if this machine lacks the instructions of `backend`.
    fn aes128(backend: Backend, data: &[u8; 16], tweak: &[u8; 16]) -> Option<Self> {
        match backend {
            Backend::Portable => Some(Self::Portable(PortableXts::aes128(data, tweak))),
            _ => VectorXts::aes128(backend, data, tweak).map(Self::Vectors),
        }
    }

    /// Expands a key, or gives `None` if this machine lacks the instructions of `backend`.
    fn aes256(backend: Backend, data: &[u8; 32], tweak: &[u8; 32]) -> Option<Self> {
        match backend {
            Backend::Portable => Some(Self::Portable(PortableXts::aes256(data, tweak))),
            _ => VectorXts::aes256(backend, data, tweak).map(Self::Vectors),
        }
    }
}

impl XtsKey {
    /// Expands a key of 32 bytes (AES-128) or 64 bytes (AES-256) for the best backend.
    ///
    /// # Errors
    /// [`Error::KeyLength`] for any other length.
    pub fn new(key: &[u8]) -> Result<Self, Error> {
        Self::with_backend(key, Backend::best())
    }

    /// Expands a key for a backend chosen by hand.
    ///
    /// # Errors
    /// [`Error::KeyLength`], and [`Error::BackendUnavailable`] if this machine lacks the
    /// instructions.
    pub fn with_backend(key: &[u8], backend: Backend) -> Result<Self, Error> {
        let (data, tweak) = key.split_at(key.len() / 2);
        let (bits, kernels) = if let (Ok(data), Ok(tweak)) = (data.try_into(), tweak.try_into()) {
            (128, Kernels::aes128(backend, data, tweak))
        } else if let (Ok(data), Ok(tweak)) = (data.try_into(), tweak.try_into()) {
            (256, Kernels::aes256(backend, data, tweak))
        } else {
            let expected = "32 (AES-128) or 64 (AES-256)";
            return Err(Error::KeyLength {
                cipher: "AES-XTS",
                bytes: key.len(),
                expected,
            });
        };
        let kernels = kernels.ok_or(Error::BackendUnavailable { backend })?;
        Ok(Self {
            backend,
            bits,
            kernels,
        })
    }

    /// The backend that serves this key.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Encrypts the sectors of `src` into `dst`, which has the same length.
    ///
    /// # Errors
    /// [`Error::SectorBytes`], [`Error::PartialSector`] and [`Error::LengthMismatch`]; nothing has
    /// been written then.
    pub fn encrypt(&self, run: Run, src: &[u8], dst: &mut [u8]) -> Result<(), Error> {
        self.counted(Direction::Encrypt, run, Buffers::between(src, dst)?)
    }

    /// Encrypts sectors where they are.
    ///
    /// # Errors
    /// As [`XtsKey::encrypt`].
    pub fn encrypt_in_place(&self, run: Run, data: &mut [u8]) -> Result<(), Error> {
        self.counted(Direction::Encrypt, run, Buffers::in_place(data))
    }

    /// Decrypts the sectors of `src` into `dst`, which has the same length.
    ///
    /// # Errors
    /// As [`XtsKey::encrypt`].
    pub fn decrypt(&self, run: Run, src: &[u8], dst: &mut [u8]) -> Result<(), Error> {
        self.counted(Direction::Decrypt, run, Buffers::between(src, dst)?)
    }

    /// Decrypts sectors where they are.
    ///
    /// # Errors
    /// As [`XtsKey::encrypt`].
    pub fn decrypt_in_place(&self, run: Run, data: &mut [u8]) -> Result<(), Error> {
        self.counted(Direction::Decrypt, run, Buffers::in_place(data))
    }

    /// Encrypts sectors whose IVs the caller made: one 16-byte IV per sector.
    ///
    /// # Errors
    /// As [`XtsKey::encrypt`]; [`Error::LengthMismatch`] also if `ivs` has not one IV per sector.
    pub fn encrypt_with_ivs(
        &self,
        ivs: &[[u8; 16]],
        sector_bytes: usize,
        src: &[u8],
        dst: &mut [u8],
    ) -> Result<(), Error> {
        self.given(
            Direction::Encrypt,
            ivs,
            sector_bytes,
            Buffers::between(src, dst)?,
        )
    }

    /// Encrypts sectors where they are, with IVs that the caller made.
    ///
    /// # Errors
    /// As [`XtsKey::encrypt_with_ivs`].
    pub fn encrypt_in_place_with_ivs(
        &self,
        ivs: &[[u8; 16]],
        sector_bytes: usize,
        data: &mut [u8],
    ) -> Result<(), Error> {
        self.given(
            Direction::Encrypt,
            ivs,
            sector_bytes,
            Buffers::in_place(data),
        )
    }

    /// Decrypts sectors whose IVs the caller knows: one 16-byte IV per sector.
    ///
    /// # Errors
    /// As [`XtsKey::encrypt_with_ivs`].
    pub fn decrypt_with_ivs(
        &self,
        ivs: &[[u8; 16]],
        sector_bytes: usize,
        src: &[u8],
        dst: &mut [u8],
    ) -> Result<(), Error> {
        self.given(
            Direction::Decrypt,
            ivs,
            sector_bytes,
            Buffers::between(src, dst)?,
        )
    }

    /// Decrypts sectors where they are, with IVs that the caller knows.
    ///
    /// # Errors
    /// As [`XtsKey::encrypt_with_ivs`].
    pub fn decrypt_in_place_with_ivs(
        &self,
        ivs: &[[u8; 16]],
        sector_bytes: usize,
        data: &mut [u8],
    ) -> Result<(), Error> {
        self.given(
            Direction::Decrypt,
            ivs,
            sector_bytes,
            Buffers::in_place(data),
        )
    }

    /// The key of the vector kernels, if they serve it.
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
    pub(crate) fn vectors(&self) -> Option<&VectorXts> {
        match &self.kernels {
            Kernels::Portable(_) => None,
            Kernels::Vectors(keys) => Some(keys),
        }
    }

    fn counted(&self, direction: Direction, run: Run, buffers: Buffers<'_>) -> Result<(), Error> {
        count_sectors(buffers.len(), run.sector_bytes)?;
        let ivs = Counted {
            first: run.first,
            step: run.step,
        };
        self.crypt(direction, ivs, run.sector_bytes, buffers);
        Ok(())
    }

    fn given(
        &self,
        direction: Direction,
        ivs: &[[u8; 16]],
        sector_bytes: usize,
        buffers: Buffers<'_>,
    ) -> Result<(), Error> {
        let sectors = count_sectors(buffers.len(), sector_bytes)?;
        if ivs.len() != sectors {
            let (bytes, expected) = (ivs.len() * 16, sectors * 16);
            return Err(Error::LengthMismatch {
                what: "list of IVs",
                bytes,
                expected,
            });
        }
        self.crypt(direction, Given(ivs), sector_bytes, buffers);
        Ok(())
    }

    fn crypt(
        &self,
        direction: Direction,
        ivs: impl Ivs,
        sector_bytes: usize,
        buffers: Buffers<'_>,
    ) {
        match &self.kernels {
            Kernels::Portable(keys) => keys.crypt(direction, ivs, sector_bytes, buffers),
            Kernels::Vectors(keys) => keys.crypt(direction, ivs, sector_bytes, buffers),
        }
    }
}

impl fmt::Debug for XtsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XtsKey(AES-{}, {})", self.bits, self.backend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;

    #[test]
    fn debug_prints_no_key() {
        let key = XtsKey::with_backend(&[0x5a; 64], Backend::Portable).unwrap();
        assert_eq!(format!("{key:?}"), "XtsKey(AES-256, portable)");
    }

    #[test]
    fn a_key_of_a_length_that_xts_lacks_is_refused() {
        for bytes in [0, 1, 16, 31, 33, 48, 63, 65, 96, 128] {
            let expected = "32 (AES-128) or 64 (AES-256)";
            let refused = XtsKey::new(&vec![1; bytes]).err();
            assert_eq!(
                refused,
                Some(Error::KeyLength {
                    cipher: "AES-XTS",
                    bytes,
                    expected
                })
            );
        }
    }

    #[test]
    fn wrong_lengths_are_refused_and_write_nothing() {
        let key = XtsKey::new(&[1; 32]).unwrap();
        let run = Run {
            first: 0,
            step: 1,
            sector_bytes: 512,
        };
        let mut dst = [0x77; 1024];
        let mismatch = Error::LengthMismatch {
            what: "destination",
            bytes: 1024,
            expected: 512,
        };
        assert_eq!(key.encrypt(run, &[0; 512], &mut dst), Err(mismatch));
        let partial = Error::PartialSector {
            bytes: 1000,
            sector_bytes: 512,
        };
        assert_eq!(key.decrypt_in_place(run, &mut dst[..1000]), Err(partial));
        let ivs = Error::LengthMismatch {
            what: "list of IVs",
            bytes: 48,
            expected: 32,
        };
        assert_eq!(
            key.encrypt_in_place_with_ivs(&[[0; 16]; 3], 512, &mut dst),
            Err(ivs)
        );
        assert_eq!(dst, [0x77; 1024]);
    }
}
