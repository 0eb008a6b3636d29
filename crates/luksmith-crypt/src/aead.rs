//! Runs of authenticated sectors: data, and a tuple of tag and stored IV beside each.

mod ccm;
mod encrypt_then_mac;
#[cfg(feature = "gcm")]
mod gcm;
mod sealer;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use luksmith_block::{CheckTuple, Error as BlockError, SectorNumber, SectorSize};
use luksmith_simd::{Run, TagKey, XtsKey};
use zeroize::Zeroize;

use crate::iv::IvMaker;
use crate::{Algorithm, AuthSpec, BlockCipher, Error, Integrity, IvKind, RandomSource};
use encrypt_then_mac::{EncryptThenMac, simd_tag_key};
use sealer::{Sealer, keyed_sealer};

/// Encrypts and authenticates runs of sectors with one volume key.
///
/// A sector number counts 512-byte units from the start of the plaintext device. It is part of
/// what is authenticated, so a sector that was moved together with its tuple does not verify.
///
/// # Format
/// docs/formats/luks2.md, "Authenticated segments". A tuple is the tag, then the IV if it is
/// random. The tag covers `le64(sector) || IV`, then the ciphertext (HMAC), or is the AEAD's.
pub struct AeadCipher {
    spec: AuthSpec,
    sector_size: SectorSize,
    iv_tweak: u64,
    keyed: Keyed,
}

enum Keyed {
    /// aes-xts-plain64 with an HMAC that has vector lanes: both in one pass over the data.
    Fused(Box<Fused>),
    EncryptThenMac(Box<EncryptThenMac>),
    #[cfg(feature = "gcm")]
    Gcm(Box<gcm::Gcm>),
    Sealed {
        sealer: Box<dyn Sealer>,
        /// `None` for random IVs.
        ivs: Option<IvMaker>,
    },
}

struct Fused {
    xts: XtsKey,
    tag: TagKey,
}

/// Blocks of one request whose tags were wrong.
#[derive(Default)]
struct Mismatches {
    /// Index of the first block.
    first: Option<u64>,
    blocks: u64,
}

impl Mismatches {
    fn note(&mut self, index: u64) {
        self.first.get_or_insert(index);
        self.blocks += 1;
    }
}

impl AeadCipher {
    /// Keys what `spec` names with the whole volume key.
    ///
    /// # Errors
    /// [`Error::VolumeKeyLength`] unless `volume_key` is exactly as long as cipher and HMAC need;
    /// [`Error::NotBuiltIn`], [`Error::EssivKey`].
    pub fn new(spec: &AuthSpec, volume_key: &[u8], sector_size: SectorSize) -> Result<Self, Error> {
        spec.check_key_len(volume_key.len())?;
        let keyed = match spec.integrity() {
            Integrity::Aead | Integrity::Poly1305 => sealed(spec, volume_key, sector_size)?,
            Integrity::None | Integrity::Hmac(_) => match fused(spec, volume_key) {
                Some(keyed) => Keyed::Fused(Box::new(keyed)),
                None => Keyed::EncryptThenMac(Box::new(EncryptThenMac::new(
                    spec,
                    volume_key,
                    sector_size,
                )?)),
            },
        };
        Ok(Self {
            spec: *spec,
            sector_size,
            iv_tweak: 0,
            keyed,
        })
    }

    /// Adds `sectors` to every sector number before its IV is made: a segment's `iv_tweak`. The
    /// number that is authenticated stays as it is.
    #[must_use]
    pub fn with_iv_tweak(self, sectors: u64) -> Self {
        let keyed = match self.keyed {
            Keyed::EncryptThenMac(inner) => {
                Keyed::EncryptThenMac(Box::new(inner.with_iv_tweak(sectors)))
            }
            #[cfg(feature = "gcm")]
            Keyed::Gcm(inner) => Keyed::Gcm(Box::new(inner.with_iv_tweak(sectors))),
            other => other,
        };
        Self {
            iv_tweak: sectors,
            keyed,
            ..self
        }
    }

    /// Gives the specification.
    #[must_use]
    pub const fn spec(&self) -> &AuthSpec {
        &self.spec
    }

    /// Gives the sector size.
    #[must_use]
    pub const fn sector_size(&self) -> SectorSize {
        self.sector_size
    }

    /// Gives the bytes of one tuple.
    #[must_use]
    pub fn tuple_bytes(&self) -> usize {
        self.spec.tuple_bytes()
    }

    /// Draws the IVs that sealing `sectors` sectors will store: empty unless IVs are random.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn draw_ivs(&self, sectors: usize, random: &dyn RandomSource) -> Result<Vec<u8>, Error> {
        let mut ivs = vec![0; sectors * self.spec.stored_iv_bytes()];
        Self::draw_ivs_into(&mut ivs, random)?;
        Ok(ivs)
    }

    /// As [`draw_ivs`](Self::draw_ivs), into memory that is there. After an error it must not be
    /// used.
    pub(crate) fn draw_ivs_into(ivs: &mut [u8], random: &dyn RandomSource) -> Result<(), Error> {
        if ivs.is_empty() {
            return Ok(());
        }
        random.fill(ivs).map_err(|_| Error::Random)
    }

    /// Encrypts the sectors of `plain`, the first of which is `first`, into `data`, and makes their
    /// tuples.
    ///
    /// `plain` and `data` have the same length, `tuples` one tuple for each sector. `ivs` comes
    /// from [`draw_ivs`](Self::draw_ivs) for this many sectors and is used once.
    ///
    /// # Errors
    /// [`Error::NonceReuse`] for a cipher whose nonce is the sector number;
    /// [`Error::PartialSector`], [`Error::Length`]. Nothing has been written then.
    pub fn seal(
        &self,
        first: SectorNumber,
        plain: &[u8],
        ivs: &[u8],
        data: &mut [u8],
        tuples: &mut [u8],
    ) -> Result<(), Error> {
        if self.spec.reuses_nonces() {
            return Err(Error::NonceReuse {
                spec: self.spec.cipher().text(),
            });
        }
        self.seal_once(first, plain, ivs, data, tuples)
    }

    /// As [`seal`](Self::seal), also where that is safe for the first write of a sector only.
    pub(crate) fn seal_once(
        &self,
        first: SectorNumber,
        plain: &[u8],
        ivs: &[u8],
        data: &mut [u8],
        tuples: &mut [u8],
    ) -> Result<(), Error> {
        let sectors = self.sectors(plain.len(), tuples.len())?;
        expect_len("the ciphertext", data.len(), plain.len())?;
        expect_len(
            "the list of IVs",
            ivs.len(),
            sectors * self.spec.stored_iv_bytes(),
        )?;
        match &self.keyed {
            Keyed::Fused(keyed) => {
                let Fused { xts, tag } = keyed.as_ref();
                let run = self.run(first);
                luksmith_simd::seal(xts, tag, run, first.get(), plain, data, tuples)
                    .expect("the lengths were checked above");
            }
            Keyed::EncryptThenMac(inner) => inner.seal(first, plain, ivs, data, tuples),
            #[cfg(feature = "gcm")]
            Keyed::Gcm(inner) => inner.seal(first, plain, ivs, data, tuples),
            Keyed::Sealed { sealer, ivs: maker } => {
                data.copy_from_slice(plain);
                let iv_bytes = self.spec.cipher().algorithm().iv_bytes();
                let parts = self.parts(data, tuples);
                for (at, (sector, tuple)) in parts.enumerate() {
                    let number = self.number(first, at);
                    let (tag, stored) = tuple.split_at_mut(TAG_BYTES);
                    let ad = match maker {
                        Some(maker) => Associated::made(number, self.iv_tweak, maker, iv_bytes),
                        None => {
                            let iv = ivs.chunks_exact(iv_bytes).nth(at).unwrap_or_default();
                            stored.copy_from_slice(iv);
                            Associated::stored(number, iv)
                        }
                    };
                    tag.copy_from_slice(&sealer.seal(ad.iv(), ad.bytes(), sector));
                }
            }
        }
        Ok(())
    }

    /// Tells whether [`tag_ciphertext`](Self::tag_ciphertext) can be used.
    pub fn tags_given_ciphertext(&self) -> bool {
        let separate = matches!(self.keyed, Keyed::Fused(_) | Keyed::EncryptThenMac(_));
        self.spec.stored_iv_bytes() == 0 && separate
    }

    /// Makes the tuples under which the bytes of `data` verify as the ciphertext that they already
    /// are: a device of zeros becomes readable, as noise, by writing tuples alone.
    ///
    /// # Errors
    /// [`Error::TagsOverGivenCiphertext`] unless the tag is an HMAC and no IV is stored: with an
    /// AEAD cipher, two messages under one nonce would give the authentication key away.
    /// [`Error::PartialSector`], [`Error::Length`].
    pub fn tag_ciphertext(
        &self,
        first: SectorNumber,
        data: &[u8],
        tuples: &mut [u8],
    ) -> Result<(), Error> {
        self.sectors(data.len(), tuples.len())?;
        let refused = || Error::TagsOverGivenCiphertext {
            spec: self.spec.cipher().text(),
        };
        if self.spec.stored_iv_bytes() > 0 {
            return Err(refused());
        }
        match &self.keyed {
            Keyed::Fused(keyed) => {
                for (at, (data, tuples)) in self.batches(data, tuples).enumerate() {
                    let sectors = data.len() / self.sector_size.bytes();
                    let prefixes = self.prefixes(first, at, sectors);
                    let (prefixes, _) = prefixes.split_at(sectors * HMAC_PREFIX_BYTES);
                    let sector_bytes = self.sector_size.bytes();
                    keyed
                        .tag
                        .tags(prefixes, HMAC_PREFIX_BYTES, sector_bytes, data, tuples)
                        .expect("the lengths were checked above");
                }
                Ok(())
            }
            Keyed::EncryptThenMac(inner) => {
                inner.tag_ciphertext(first, data, tuples);
                Ok(())
            }
            #[cfg(feature = "gcm")]
            Keyed::Gcm(_) => Err(refused()),
            Keyed::Sealed { .. } => Err(refused()),
        }
    }

    /// Verifies the tuples of the sectors in `data` and, if all are right, leaves their plaintext
    /// in its place; otherwise all of `data` is zero.
    ///
    /// # Errors
    /// [`BlockError::TagMismatch`] with the first sector that is wrong and the number of sectors
    /// of 512 bytes in all wrong ones; [`BlockError::Length`].
    pub fn open_in_place(
        &self,
        first: SectorNumber,
        data: &mut [u8],
        tuples: &[u8],
    ) -> Result<(), BlockError> {
        self.sectors(data.len(), tuples.len()).map_err(lengths)?;
        let wrong = match &self.keyed {
            Keyed::Fused(keyed) => {
                let Fused { xts, tag } = keyed.as_ref();
                let run = self.run(first);
                return luksmith_simd::open_in_place(xts, tag, run, first.get(), data, tuples)
                    .map_err(|error| self.simd_mismatch(first, error));
            }
            Keyed::EncryptThenMac(inner) => inner.open(first, data, tuples),
            #[cfg(feature = "gcm")]
            Keyed::Gcm(inner) => inner.open(first, data, tuples),
            Keyed::Sealed { sealer, ivs } => {
                let mut wrong = Mismatches::default();
                let tuple_bytes = self.tuple_bytes();
                let sectors = data.chunks_exact_mut(self.sector_size.bytes());
                for (at, (sector, tuple)) in
                    sectors.zip(tuples.chunks_exact(tuple_bytes)).enumerate()
                {
                    let ad = self.associated(ivs.as_ref(), self.number(first, at), tuple);
                    if !sealer.open(ad.iv(), ad.bytes(), sector, tag_of(tuple)) {
                        wrong.note(at as u64);
                    }
                }
                wrong
            }
        };
        self.verdict(first, &wrong).inspect_err(|_| data.zeroize())
    }

    /// Verifies the tuples of the sectors in `data` without decrypting any.
    ///
    /// # Errors
    /// As [`open_in_place`](Self::open_in_place).
    pub fn verify(
        &self,
        first: SectorNumber,
        data: &[u8],
        tuples: &[u8],
    ) -> Result<(), BlockError> {
        self.sectors(data.len(), tuples.len()).map_err(lengths)?;
        let wrong = match &self.keyed {
            Keyed::Fused(keyed) => self.verify_fused(&keyed.tag, first, data, tuples),
            Keyed::EncryptThenMac(inner) => inner.verify(first, data, tuples),
            #[cfg(feature = "gcm")]
            Keyed::Gcm(inner) => inner.verify(first, data, tuples),
            Keyed::Sealed { sealer, ivs } => {
                let mut wrong = Mismatches::default();
                // The ciphers have no way to verify without decrypting; this copy is wiped.
                let mut copy = vec![0; self.sector_size.bytes()];
                let sectors = data.chunks_exact(self.sector_size.bytes());
                let tuples = tuples.chunks_exact(self.tuple_bytes());
                for (at, (sector, tuple)) in sectors.zip(tuples).enumerate() {
                    copy.copy_from_slice(sector);
                    let ad = self.associated(ivs.as_ref(), self.number(first, at), tuple);
                    if !sealer.open(ad.iv(), ad.bytes(), &mut copy, tag_of(tuple)) {
                        wrong.note(at as u64);
                    }
                }
                copy.zeroize();
                wrong
            }
        };
        self.verdict(first, &wrong)
    }

    fn verify_fused(
        &self,
        tag: &TagKey,
        first: SectorNumber,
        data: &[u8],
        tuples: &[u8],
    ) -> Mismatches {
        let mut wrong = Mismatches::default();
        let sector_bytes = self.sector_size.bytes();
        let batches = data
            .chunks(FUSED_BATCH * sector_bytes)
            .zip(tuples.chunks(FUSED_BATCH * self.tuple_bytes()));
        for (batch, (data, tuples)) in batches.enumerate() {
            let sectors = data.len() / sector_bytes;
            let prefixes = self.prefixes(first, batch, sectors);
            let (prefixes, _) = prefixes.split_at(sectors * HMAC_PREFIX_BYTES);
            let each = tag.tag_bytes();
            let prefix_bytes = HMAC_PREFIX_BYTES;
            match tag.verify(prefixes, prefix_bytes, sector_bytes, data, tuples, each) {
                Ok(()) => {}
                Err(luksmith_simd::Error::TagMismatch { first, count }) => {
                    let index = (batch * FUSED_BATCH) as u64 + first as u64;
                    wrong.first.get_or_insert(index);
                    wrong.blocks += count as u64;
                }
                Err(error) => unreachable!("lengths were checked by the caller: {error}"),
            }
        }
        wrong
    }

    fn batches<'a>(
        &self,
        data: &'a [u8],
        tuples: &'a mut [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a mut [u8])> + use<'a> {
        data.chunks(FUSED_BATCH * self.sector_size.bytes())
            .zip(tuples.chunks_mut(FUSED_BATCH * self.tuple_bytes()))
    }

    /// Sector number and plain64 IV of each of the `sectors` sectors of batch `batch`.
    fn prefixes(
        &self,
        first: SectorNumber,
        batch: usize,
        sectors: usize,
    ) -> [u8; FUSED_BATCH * HMAC_PREFIX_BYTES] {
        let mut prefixes = [0; FUSED_BATCH * HMAC_PREFIX_BYTES];
        let parts = prefixes.chunks_exact_mut(HMAC_PREFIX_BYTES);
        for (at, prefix) in parts.take(sectors).enumerate() {
            let number = self.number(first, batch * FUSED_BATCH + at);
            let (sector, iv) = prefix.split_at_mut(8);
            sector.copy_from_slice(&number.to_le_bytes());
            IvMaker::Le64.write(number.wrapping_add(self.iv_tweak), iv);
        }
        prefixes
    }

    /// Counts the sectors of a request, once data and tuples fit together.
    fn sectors(&self, data: usize, tuples: usize) -> Result<usize, Error> {
        if !self.sector_size.divides(data as u64) {
            return Err(Error::PartialSector {
                found: data,
                sector_size: self.sector_size,
            });
        }
        let sectors = data / self.sector_size.bytes();
        expect_len("the list of tuples", tuples, sectors * self.tuple_bytes())?;
        Ok(sectors)
    }

    fn run(&self, first: SectorNumber) -> Run {
        Run {
            first: first.get().wrapping_add(self.iv_tweak),
            step: self.sector_size.sectors().get(),
            sector_bytes: self.sector_size.bytes(),
        }
    }

    /// The number of the sector at index `at` of a request.
    fn number(&self, first: SectorNumber, at: usize) -> u64 {
        let step = self.sector_size.sectors().get();
        first.get().wrapping_add(step.wrapping_mul(at as u64))
    }

    fn parts<'a>(
        &self,
        data: &'a mut [u8],
        tuples: &'a mut [u8],
    ) -> impl Iterator<Item = (&'a mut [u8], &'a mut [u8])> + use<'a> {
        data.chunks_exact_mut(self.sector_size.bytes())
            .zip(tuples.chunks_exact_mut(self.tuple_bytes()))
    }

    fn associated(&self, maker: Option<&IvMaker>, number: u64, tuple: &[u8]) -> Associated {
        match maker {
            Some(maker) => {
                let iv_bytes = self.spec.cipher().algorithm().iv_bytes();
                Associated::made(number, self.iv_tweak, maker, iv_bytes)
            }
            None => Associated::stored(number, tuple.split_at(TAG_BYTES).1),
        }
    }

    fn verdict(&self, first: SectorNumber, wrong: &Mismatches) -> Result<(), BlockError> {
        let Some(index) = wrong.first else {
            return Ok(());
        };
        let sectors = self.sector_size.sectors().get();
        Err(BlockError::TagMismatch {
            first: SectorNumber::new(first.get().wrapping_add(index * sectors)),
            count: wrong.blocks * sectors,
        })
    }

    fn simd_mismatch(&self, first: SectorNumber, error: luksmith_simd::Error) -> BlockError {
        let luksmith_simd::Error::TagMismatch { first: at, count } = error else {
            unreachable!("lengths were checked by the caller: {error}");
        };
        let wrong = Mismatches {
            first: Some(at as u64),
            blocks: count as u64,
        };
        self.verdict(first, &wrong)
            .expect_err("there is a first wrong sector")
    }
}

impl CheckTuple for AeadCipher {
    fn check(&self, first: SectorNumber, data: &[u8], tuples: &[u8]) -> Result<(), BlockError> {
        self.verify(first, data, tuples)
    }
}

impl fmt::Debug for AeadCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cipher, integrity) = (self.spec.cipher(), self.spec.integrity());
        write!(
            f,
            "AeadCipher({cipher}, {integrity}, {} bytes)",
            self.sector_size
        )
    }
}

/// Bytes of the tag of every AEAD cipher here.
const TAG_BYTES: usize = 16;

/// Bytes in front of the ciphertext in an HMAC's message: sector number and IV.
const HMAC_PREFIX_BYTES: usize = 24;

/// Sectors worked on at once: the lanes of the widest vector code.
const BATCH: usize = 16;

/// The same for the tags of one pass: two sets of lanes, which the widest kernel works on in turn.
const FUSED_BATCH: usize = 32;

/// Keys an AEAD cipher.
fn sealed(spec: &AuthSpec, volume_key: &[u8], sector_size: SectorSize) -> Result<Keyed, Error> {
    #[cfg(feature = "gcm")]
    if let Some(keyed) = gcm::Gcm::new(spec, volume_key, sector_size)? {
        return Ok(Keyed::Gcm(keyed));
    }
    Ok(Keyed::Sealed {
        sealer: keyed_sealer(spec.cipher().algorithm(), volume_key)?,
        ivs: IvMaker::new(spec.cipher(), volume_key, volume_key, sector_size)?,
    })
}

/// The parts of a volume key that one pass over the data can use, if it can.
fn fused(spec: &AuthSpec, volume_key: &[u8]) -> Option<Fused> {
    let Integrity::Hmac(hash) = spec.integrity() else {
        return None;
    };
    let cipher = spec.cipher();
    if cipher.algorithm() != Algorithm::Xts(BlockCipher::Aes)
        || cipher.iv() != Some(IvKind::Plain64)
    {
        return None;
    }
    let at = volume_key.len().checked_sub(spec.mac_key_bytes())?;
    let (cipher_key, mac_key) = volume_key.split_at_checked(at)?;
    let tag = simd_tag_key(*hash, mac_key)?;
    let xts = XtsKey::new(cipher_key).ok()?;
    Some(Fused { xts, tag })
}

fn expect_len(what: &'static str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Length {
        what,
        found,
        expected,
    })
}

/// Length errors as the device border knows them.
fn lengths(error: Error) -> BlockError {
    match error {
        Error::Length {
            what,
            found,
            expected,
        } => BlockError::Length {
            what,
            found,
            expected,
        },
        Error::PartialSector { found, sector_size } => BlockError::Length {
            what: "the ciphertext",
            found,
            expected: found.next_multiple_of(sector_size.bytes()),
        },
        other => unreachable!("only lengths are checked here: {other}"),
    }
}

fn tag_of(tuple: &[u8]) -> &[u8; TAG_BYTES] {
    tuple
        .first_chunk()
        .expect("a tuple of an AEAD cipher starts with its tag")
}

/// The associated data of one sector: its number, then its IV.
struct Associated {
    bytes: [u8; 8 + 16],
    len: usize,
}

impl Associated {
    fn made(number: u64, iv_tweak: u64, maker: &IvMaker, iv_bytes: usize) -> Self {
        let mut ad = Self::of(number, iv_bytes);
        let (_, iv) = ad.bytes.split_at_mut(8);
        let (iv, _) = iv.split_at_mut(iv_bytes);
        maker.write(number.wrapping_add(iv_tweak), iv);
        ad
    }

    fn stored(number: u64, iv: &[u8]) -> Self {
        let mut ad = Self::of(number, iv.len());
        for (to, from) in ad.bytes.iter_mut().skip(8).zip(iv) {
            *to = *from;
        }
        ad
    }

    fn of(number: u64, iv_bytes: usize) -> Self {
        let mut bytes = [0; 24];
        for (to, from) in bytes.iter_mut().zip(number.to_le_bytes()) {
            *to = from;
        }
        Self {
            bytes,
            len: 8 + iv_bytes,
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.split_at(self.len).0
    }

    fn iv(&self) -> &[u8] {
        self.bytes().split_at(8).1
    }
}

#[cfg(test)]
mod tests;
