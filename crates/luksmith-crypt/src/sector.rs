//! Runs of sectors through a length-preserving cipher.

use alloc::boxed::Box;
use core::fmt;

use luksmith_block::{SectorNumber, SectorSize};
use luksmith_simd::{Run, XtsKey};

use crate::iv::{IvMaker, MAX_IV_BYTES};
use crate::modes::{Unit, keyed_unit};
use crate::{Algorithm, BlockCipher, CipherSpec, Error};

/// Encrypts and decrypts runs of sectors with one key.
///
/// Sector numbers count 512-byte units from the start of the plaintext device; the number of each
/// further sector of a run follows from the sector size. Data are whole sectors.
///
/// ```
/// use luksmith_block::{SectorNumber, SectorSize};
/// use luksmith_crypt::{CipherSpec, SectorCipher};
///
/// let spec = CipherSpec::parse("aes-xts-plain64")?;
/// let cipher = SectorCipher::new(&spec, &[7; 64], SectorSize::S4096)?;
/// let mut data = vec![0; 8192];
/// cipher.encrypt_in_place(SectorNumber::new(16), &mut data)?;
/// assert_ne!(data[..4096], data[4096..]);
/// cipher.decrypt_in_place(SectorNumber::new(16), &mut data)?;
/// assert_eq!(data, [0; 8192]);
/// # Ok::<(), luksmith_crypt::Error>(())
/// ```
pub struct SectorCipher {
    spec: CipherSpec,
    sector_size: SectorSize,
    iv_tweak: u64,
    keyed: Keyed,
}

enum Keyed {
    AesXts(XtsKey, Ivs),
    Unit(Box<dyn Unit>, Ivs),
    Null,
}

/// Where IVs come from, decided once for a key.
enum Ivs {
    /// plain64: the vector code counts by itself.
    Counted,
    Made(IvMaker),
    /// Random: the caller brings them.
    Given,
}

/// Sectors whose IVs are made at once.
const BATCH: usize = 32;

/// What happens to the data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Encrypt,
    Decrypt,
}

/// The IVs of one request.
#[derive(Clone, Copy)]
pub(crate) enum RequestIvs<'a> {
    /// The number of the first sector, `iv_tweak` not yet added.
    From(SectorNumber),
    /// One IV for each sector, back to back.
    Stored(&'a [u8]),
}

impl SectorCipher {
    /// Keys the cipher that `spec` names.
    ///
    /// # Errors
    /// [`Error::KeyLength`], [`Error::NullCipher`], [`Error::NotBuiltIn`], [`Error::EssivKey`];
    /// [`Error::Combination`] if the cipher needs tags.
    pub fn new(spec: &CipherSpec, key: &[u8], sector_size: SectorSize) -> Result<Self, Error> {
        if spec.needs_tags() {
            return Err(Error::Combination {
                spec: spec.text(),
                why: "this cipher needs a tag or an IV stored beside each sector",
            });
        }
        Self::with_whole_key(spec, key, key, sector_size)
    }

    /// Keys the cipher of a keyslot area: sectors of 512 bytes, numbered from 0 at its start.
    ///
    /// `text` is the area's `encryption`, with the rules of [`CipherSpec::parse_for_area`].
    ///
    /// # Errors
    /// As [`CipherSpec::parse_for_area`] and [`new`](Self::new).
    pub fn for_area(text: &str, key: &[u8]) -> Result<Self, Error> {
        Self::new(&CipherSpec::parse_for_area(text)?, key, SectorSize::S512)
    }

    /// Makes the cipher that leaves data as they are, for a caller who was asked for it by name.
    #[must_use]
    pub fn null(sector_size: SectorSize) -> Self {
        Self {
            spec: CipherSpec::null(),
            sector_size,
            iv_tweak: 0,
            keyed: Keyed::Null,
        }
    }

    /// As [`new`](Self::new), for every cipher; `whole_key` is what ESSIV hashes.
    pub(crate) fn with_whole_key(
        spec: &CipherSpec,
        key: &[u8],
        whole_key: &[u8],
        sector_size: SectorSize,
    ) -> Result<Self, Error> {
        if spec.is_null() {
            return Err(Error::NullCipher { spec: spec.text() });
        }
        spec.check_key_len(key.len())?;
        let ivs = match IvMaker::new(spec, key, whole_key, sector_size)? {
            None => Ivs::Given,
            Some(IvMaker::Le64) => Ivs::Counted,
            Some(maker) => Ivs::Made(maker),
        };
        let aes_xts = spec.algorithm() == Algorithm::Xts(BlockCipher::Aes);
        let keyed = if aes_xts && (key.len() == 32 || key.len() == 64) {
            let key = XtsKey::new(key).expect("32 and 64 bytes are the key lengths of AES-XTS");
            Keyed::AesXts(key, ivs)
        } else {
            let ivs = match ivs {
                Ivs::Counted => Ivs::Made(IvMaker::Le64),
                other => other,
            };
            Keyed::Unit(keyed_unit(spec.algorithm(), key)?, ivs)
        };
        Ok(Self {
            spec: *spec,
            sector_size,
            iv_tweak: 0,
            keyed,
        })
    }

    /// Adds `sectors` to every sector number before its IV is made: a segment's `iv_tweak`.
    #[must_use]
    pub fn with_iv_tweak(self, sectors: u64) -> Self {
        Self {
            iv_tweak: sectors,
            ..self
        }
    }

    /// Gives the specification.
    #[must_use]
    pub const fn spec(&self) -> &CipherSpec {
        &self.spec
    }

    /// Gives the sector size.
    #[must_use]
    pub const fn sector_size(&self) -> SectorSize {
        self.sector_size
    }

    /// Encrypts the sectors of `src`, the first of which is `first`, into `dst`.
    ///
    /// # Errors
    /// [`Error::PartialSector`], [`Error::Length`].
    pub fn encrypt(&self, first: SectorNumber, src: &[u8], dst: &mut [u8]) -> Result<(), Error> {
        self.between(Direction::Encrypt, first, src, dst)
    }

    /// Decrypts the sectors of `src`, the first of which is `first`, into `dst`.
    ///
    /// # Errors
    /// As [`encrypt`](Self::encrypt).
    pub fn decrypt(&self, first: SectorNumber, src: &[u8], dst: &mut [u8]) -> Result<(), Error> {
        self.between(Direction::Decrypt, first, src, dst)
    }

    /// Encrypts sectors where they are.
    ///
    /// # Errors
    /// [`Error::PartialSector`].
    pub fn encrypt_in_place(&self, first: SectorNumber, data: &mut [u8]) -> Result<(), Error> {
        self.in_place(Direction::Encrypt, RequestIvs::From(first), data)
    }

    /// Decrypts sectors where they are.
    ///
    /// # Errors
    /// [`Error::PartialSector`].
    pub fn decrypt_in_place(&self, first: SectorNumber, data: &mut [u8]) -> Result<(), Error> {
        self.in_place(Direction::Decrypt, RequestIvs::From(first), data)
    }

    /// Writes the IVs of consecutive sectors, back to back, as authenticated data need them.
    ///
    /// Not for random IVs, which are stored: `ivs` is left as it is then.
    pub(crate) fn write_ivs(&self, first: SectorNumber, ivs: &mut [u8]) {
        let made = match &self.keyed {
            Keyed::AesXts(_, ivs) | Keyed::Unit(_, ivs) => ivs,
            Keyed::Null => return,
        };
        let maker = match made {
            Ivs::Counted => &IvMaker::Le64,
            Ivs::Made(maker) => maker,
            Ivs::Given => return,
        };
        for (number, iv) in self
            .numbers(first)
            .zip(ivs.chunks_exact_mut(self.iv_bytes()))
        {
            maker.write(number, iv);
        }
    }

    fn iv_bytes(&self) -> usize {
        // `chunks_exact` refuses zero; without IVs nothing is asked for.
        self.spec.algorithm().iv_bytes().max(1)
    }

    /// The numbers from which the IVs of a run are made.
    fn numbers(&self, first: SectorNumber) -> impl Iterator<Item = u64> + use<> {
        let step = self.sector_size.sectors().get();
        let start = first.get().wrapping_add(self.iv_tweak);
        core::iter::successors(Some(start), move |n| Some(n.wrapping_add(step)))
    }

    fn run(&self, first: SectorNumber) -> Run {
        Run {
            first: first.get().wrapping_add(self.iv_tweak),
            step: self.sector_size.sectors().get(),
            sector_bytes: self.sector_size.bytes(),
        }
    }

    fn check(&self, len: usize) -> Result<(), Error> {
        if self.sector_size.divides(len as u64) {
            return Ok(());
        }
        Err(Error::PartialSector {
            found: len,
            sector_size: self.sector_size,
        })
    }

    fn between(
        &self,
        direction: Direction,
        first: SectorNumber,
        src: &[u8],
        dst: &mut [u8],
    ) -> Result<(), Error> {
        self.check(src.len())?;
        if src.len() != dst.len() {
            return Err(Error::Length {
                what: "the destination",
                found: dst.len(),
                expected: src.len(),
            });
        }
        if let Keyed::AesXts(key, Ivs::Counted) = &self.keyed {
            let run = self.run(first);
            let done = match direction {
                Direction::Encrypt => key.encrypt(run, src, dst),
                Direction::Decrypt => key.decrypt(run, src, dst),
            };
            done.expect("lengths were checked above");
            return Ok(());
        }
        dst.copy_from_slice(src);
        self.in_place(direction, RequestIvs::From(first), dst)
    }

    /// Encrypts the sectors of `src` into `dst`, of the same length, with one IV for each, back to
    /// back.
    ///
    /// # Errors
    /// As [`in_place`](Self::in_place).
    pub(crate) fn encrypt_with_ivs(
        &self,
        ivs: &[u8],
        src: &[u8],
        dst: &mut [u8],
    ) -> Result<(), Error> {
        if let Keyed::AesXts(key, _) = &self.keyed {
            self.check(src.len())?;
            self.check_stored(ivs, src.len())?;
            key.encrypt_with_ivs(ivs.as_chunks().0, self.sector_size.bytes(), src, dst)
                .expect("as many bytes as there are to encrypt");
            return Ok(());
        }
        dst.copy_from_slice(src);
        self.in_place(Direction::Encrypt, RequestIvs::Stored(ivs), dst)
    }

    /// Encrypts or decrypts sectors where they are.
    pub(crate) fn in_place(
        &self,
        direction: Direction,
        ivs: RequestIvs<'_>,
        data: &mut [u8],
    ) -> Result<(), Error> {
        self.check(data.len())?;
        let made = match &self.keyed {
            Keyed::Null => return Ok(()),
            Keyed::AesXts(key, Ivs::Counted) => {
                if let RequestIvs::From(first) = ivs {
                    let run = self.run(first);
                    let done = match direction {
                        Direction::Encrypt => key.encrypt_in_place(run, data),
                        Direction::Decrypt => key.decrypt_in_place(run, data),
                    };
                    done.expect("lengths were checked above");
                    return Ok(());
                }
                &Ivs::Counted
            }
            Keyed::AesXts(_, ivs) | Keyed::Unit(_, ivs) => ivs,
        };
        match (ivs, made) {
            (RequestIvs::Stored(stored), _) => self.with_stored(direction, stored, data),
            (RequestIvs::From(first), Ivs::Made(maker)) => {
                self.with_made(direction, maker, first, data);
                Ok(())
            }
            (RequestIvs::From(_), Ivs::Counted | Ivs::Given) => Err(Error::Length {
                what: "the list of stored IVs",
                found: 0,
                expected: data.len() / self.sector_size.bytes() * self.iv_bytes(),
            }),
        }
    }

    fn with_made(
        &self,
        direction: Direction,
        maker: &IvMaker,
        first: SectorNumber,
        data: &mut [u8],
    ) {
        let sector_bytes = self.sector_size.bytes();
        let mut buffer = [0; BATCH * MAX_IV_BYTES];
        let mut numbers = self.numbers(first);
        for part in data.chunks_mut(BATCH * sector_bytes) {
            let sectors = part.len() / sector_bytes;
            let (ivs, _) = buffer.split_at_mut(sectors * self.iv_bytes());
            // The iterator comes second: `zip` takes from the first before it sees the end.
            for (iv, number) in ivs.chunks_exact_mut(self.iv_bytes()).zip(&mut numbers) {
                maker.write(number, iv);
            }
            self.with_ivs(direction, ivs, part);
        }
    }

    fn with_stored(
        &self,
        direction: Direction,
        stored: &[u8],
        data: &mut [u8],
    ) -> Result<(), Error> {
        self.check_stored(stored, data.len())?;
        self.with_ivs(direction, stored, data);
        Ok(())
    }

    /// Checks that there is one IV for each sector of `data_bytes`.
    fn check_stored(&self, stored: &[u8], data_bytes: usize) -> Result<(), Error> {
        let expected = data_bytes / self.sector_size.bytes() * self.iv_bytes();
        if stored.len() != expected {
            return Err(Error::Length {
                what: "the list of stored IVs",
                found: stored.len(),
                expected,
            });
        }
        Ok(())
    }

    /// One IV for each sector, back to back.
    fn with_ivs(&self, direction: Direction, ivs: &[u8], data: &mut [u8]) {
        let sector_bytes = self.sector_size.bytes();
        match &self.keyed {
            Keyed::Null => {}
            Keyed::AesXts(key, _) => {
                let ivs = ivs.as_chunks().0;
                let done = match direction {
                    Direction::Encrypt => key.encrypt_in_place_with_ivs(ivs, sector_bytes, data),
                    Direction::Decrypt => key.decrypt_in_place_with_ivs(ivs, sector_bytes, data),
                };
                done.expect("one IV for each whole sector");
            }
            Keyed::Unit(unit, _) => {
                let iv_bytes = self.spec.algorithm().iv_bytes();
                match direction {
                    Direction::Encrypt => unit.encrypt_run(ivs, iv_bytes, data, sector_bytes),
                    Direction::Decrypt => unit.decrypt_run(ivs, iv_bytes, data, sector_bytes),
                }
            }
        }
    }
}

impl fmt::Debug for SectorCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SectorCipher({}, {} bytes)", self.spec, self.sector_size)
    }
}

#[cfg(test)]
mod tests;
