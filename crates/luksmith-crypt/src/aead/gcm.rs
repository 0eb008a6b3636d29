//! AES-GCM over runs of sectors.

use alloc::boxed::Box;
use alloc::vec;

use luksmith_block::{SectorNumber, SectorSize};
use luksmith_simd::{GcmKey, GcmRun};
use zeroize::Zeroize;

use super::{BATCH, Mismatches, TAG_BYTES};
use crate::iv::IvMaker;
use crate::{Algorithm, AuthSpec, Error};

/// Bytes of the nonce.
const NONCE_BYTES: usize = 12;

/// Sector number and nonce, which the tag covers before the data.
const AD_BYTES: usize = 8 + NONCE_BYTES;

pub(super) struct Gcm {
    key: GcmKey,
    /// `None` for random IVs, which are stored.
    maker: Option<IvMaker>,
    iv_tweak: u64,
    sector_bytes: usize,
    sector_step: u64,
}

/// Nonces, associated data and tags of one batch of sectors.
struct Batch {
    nonces: [[u8; NONCE_BYTES]; BATCH],
    ads: [u8; BATCH * AD_BYTES],
    tags: [u8; BATCH * TAG_BYTES],
}

impl Gcm {
    /// Keys AES-GCM, or gives `None` for another algorithm.
    pub(super) fn new(
        spec: &AuthSpec,
        volume_key: &[u8],
        sector_size: SectorSize,
    ) -> Result<Option<Box<Self>>, Error> {
        let algorithm = spec.cipher().algorithm();
        if algorithm != Algorithm::Gcm {
            return Ok(None);
        }
        let key = GcmKey::new(volume_key).map_err(|_| Error::KeyLength {
            spec: alloc::format!("{algorithm}"),
            found: volume_key.len(),
            accepted: algorithm.key_lengths(),
        })?;
        Ok(Some(Box::new(Self {
            key,
            maker: IvMaker::new(spec.cipher(), volume_key, volume_key, sector_size)?,
            iv_tweak: 0,
            sector_bytes: sector_size.bytes(),
            sector_step: sector_size.sectors().get(),
        })))
    }

    pub(super) fn with_iv_tweak(self, iv_tweak: u64) -> Self {
        Self { iv_tweak, ..self }
    }

    /// The caller has checked every length.
    pub(super) fn seal(
        &self,
        first: SectorNumber,
        plain: &[u8],
        drawn: &[u8],
        data: &mut [u8],
        tuples: &mut [u8],
    ) {
        let mut drawn = drawn.as_chunks().0;
        let parts = plain
            .chunks(BATCH * self.sector_bytes)
            .zip(data.chunks_mut(BATCH * self.sector_bytes))
            .zip(tuples.chunks_mut(BATCH * self.tuple_bytes()));
        for (at, ((plain, data), tuples)) in parts.enumerate() {
            let sectors = data.len() / self.sector_bytes;
            let taken = sectors.min(drawn.len());
            let (now, later) = drawn.split_at(taken);
            drawn = later;
            let mut batch = self.batch(first, at, sectors, now.iter());
            let (tags, _) = batch.tags.split_at_mut(sectors * TAG_BYTES);
            let run = GcmRun {
                nonces: batch.nonces.split_at(sectors).0,
                ads: batch.ads.split_at(sectors * AD_BYTES).0,
                ad_bytes: AD_BYTES,
                sector_bytes: self.sector_bytes,
            };
            self.key
                .seal(run, plain, data, tags)
                .expect("one nonce and one tag for each whole sector");
            let made = tags.as_chunks::<TAG_BYTES>().0.iter().zip(&batch.nonces);
            for (tuple, (tag, nonce)) in tuples.chunks_exact_mut(self.tuple_bytes()).zip(made) {
                let (tag_out, nonce_out) = tuple.split_at_mut(TAG_BYTES);
                tag_out.copy_from_slice(tag);
                nonce_out.copy_from_slice(nonce.split_at(nonce_out.len()).0);
            }
        }
    }

    /// Verifies and decrypts. If anything is wrong, `data` is not plaintext and the caller wipes
    /// it.
    ///
    /// The caller has checked every length.
    pub(super) fn open(&self, first: SectorNumber, data: &mut [u8], tuples: &[u8]) -> Mismatches {
        let mut wrong = Mismatches::default();
        let parts = data
            .chunks_mut(BATCH * self.sector_bytes)
            .zip(tuples.chunks(BATCH * self.tuple_bytes()));
        for (at, (data, tuples)) in parts.enumerate() {
            self.open_batch(first, at, tuples, &mut wrong, |key, run, tags| {
                key.open_in_place(run, data, tags)
            });
        }
        wrong
    }

    /// Verifies. The caller has checked every length.
    pub(super) fn verify(&self, first: SectorNumber, data: &[u8], tuples: &[u8]) -> Mismatches {
        let mut wrong = Mismatches::default();
        // There is no way to verify without decrypting; this copy is wiped.
        let mut opened = vec![0; data.len().min(BATCH * self.sector_bytes)];
        let parts = data
            .chunks(BATCH * self.sector_bytes)
            .zip(tuples.chunks(BATCH * self.tuple_bytes()));
        for (at, (data, tuples)) in parts.enumerate() {
            let (opened, _) = opened.split_at_mut(data.len());
            self.open_batch(first, at, tuples, &mut wrong, |key, run, tags| {
                key.open(run, data, tags, opened)
            });
        }
        opened.zeroize();
        wrong
    }

    /// Takes nonces and tags of batch `at` from its tuples, and notes what `open` finds wrong.
    fn open_batch(
        &self,
        first: SectorNumber,
        at: usize,
        tuples: &[u8],
        wrong: &mut Mismatches,
        open: impl FnOnce(&GcmKey, GcmRun<'_>, &[u8]) -> Result<(), luksmith_simd::Error>,
    ) {
        let sectors = tuples.len() / self.tuple_bytes();
        let stored = tuples.chunks_exact(self.tuple_bytes());
        let nonces = stored
            .clone()
            .filter_map(|tuple| tuple.split_at(TAG_BYTES).1.first_chunk());
        let mut batch = self.batch(first, at, sectors, nonces);
        let tags = batch.tags.as_chunks_mut::<TAG_BYTES>().0.iter_mut();
        for (tag, tuple) in tags.zip(stored) {
            tag.copy_from_slice(tuple.split_at(TAG_BYTES).0);
        }
        let run = GcmRun {
            nonces: batch.nonces.split_at(sectors).0,
            ads: batch.ads.split_at(sectors * AD_BYTES).0,
            ad_bytes: AD_BYTES,
            sector_bytes: self.sector_bytes,
        };
        match open(&self.key, run, batch.tags.split_at(sectors * TAG_BYTES).0) {
            Ok(()) => {}
            Err(luksmith_simd::Error::TagMismatch { first, count }) => {
                wrong.first.get_or_insert((at * BATCH + first) as u64);
                wrong.blocks += count as u64;
            }
            Err(error) => unreachable!("lengths were checked by the caller: {error}"),
        }
    }

    /// Puts nonces, stored or made, and associated data of batch `at` together.
    fn batch<'a>(
        &self,
        first: SectorNumber,
        at: usize,
        sectors: usize,
        stored: impl Iterator<Item = &'a [u8; NONCE_BYTES]>,
    ) -> Batch {
        let mut batch = Batch {
            nonces: [[0; NONCE_BYTES]; BATCH],
            ads: [0; BATCH * AD_BYTES],
            tags: [0; BATCH * TAG_BYTES],
        };
        let number = |index: usize| {
            let step = ((at * BATCH + index) as u64).wrapping_mul(self.sector_step);
            first.get().wrapping_add(step)
        };
        let nonces = batch.nonces.iter_mut().take(sectors);
        match &self.maker {
            None => nonces.zip(stored).for_each(|(to, from)| *to = *from),
            Some(maker) => {
                for (index, nonce) in nonces.enumerate() {
                    maker.write(number(index).wrapping_add(self.iv_tweak), nonce);
                }
            }
        }
        let ads = batch.ads.chunks_exact_mut(AD_BYTES).zip(&batch.nonces);
        for (index, (ad, nonce)) in ads.take(sectors).enumerate() {
            let (sector, iv) = ad.split_at_mut(8);
            sector.copy_from_slice(&number(index).to_le_bytes());
            iv.copy_from_slice(nonce);
        }
        batch
    }

    fn tuple_bytes(&self) -> usize {
        TAG_BYTES + if self.maker.is_none() { NONCE_BYTES } else { 0 }
    }
}
