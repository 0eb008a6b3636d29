//! A length-preserving cipher, then an HMAC over sector number, IV and ciphertext; also the bare
//! cipher with a stored IV, which authenticates nothing.

use alloc::boxed::Box;

use luksmith_block::{SectorNumber, SectorSize};
use luksmith_hash::{HashName, HmacKey, MAX_DIGEST_BYTES};
use luksmith_simd::TagKey;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::{BATCH, HMAC_PREFIX_BYTES, Mismatches};
use crate::sector::{Direction, RequestIvs};
use crate::{AuthSpec, Error, Integrity, SectorCipher};

/// Bytes of the IV of every cipher that an HMAC goes with.
const IV_BYTES: usize = 16;

pub(super) struct EncryptThenMac {
    cipher: SectorCipher,
    mac: Option<Mac>,
    stored_iv: bool,
    sector_bytes: usize,
    sector_step: u64,
    tag_bytes: usize,
}

enum Mac {
    Lanes(TagKey),
    Named(Box<HmacKey>),
}

/// Gives the vector code's HMAC, for the hashes that it has.
pub(super) fn simd_tag_key(hash: HashName, key: &[u8]) -> Option<TagKey> {
    match hash {
        HashName::Sha256 => Some(TagKey::hmac_sha256(key)),
        HashName::Sha512 => Some(TagKey::hmac_sha512(key)),
        _ => None,
    }
}

/// Numbers, IVs and tags of one batch of sectors.
struct Batch {
    prefixes: [u8; BATCH * HMAC_PREFIX_BYTES],
    ivs: [u8; BATCH * IV_BYTES],
    tags: [u8; BATCH * MAX_DIGEST_BYTES],
}

impl EncryptThenMac {
    pub(super) fn new(
        spec: &AuthSpec,
        volume_key: &[u8],
        sector_size: SectorSize,
    ) -> Result<Self, Error> {
        let at = volume_key.len().saturating_sub(spec.mac_key_bytes());
        let (cipher_key, mac_key) = volume_key.split_at(at);
        let mac = match spec.integrity() {
            Integrity::Hmac(hash) => Some(match simd_tag_key(*hash, mac_key) {
                Some(key) => Mac::Lanes(key),
                None => Mac::Named(Box::new(HmacKey::new(*hash, mac_key))),
            }),
            _ => None,
        };
        Ok(Self {
            // ESSIV hashes the whole volume key here, as the kernel does.
            cipher: SectorCipher::with_whole_key(
                spec.cipher(),
                cipher_key,
                volume_key,
                sector_size,
            )?,
            mac,
            stored_iv: spec.stored_iv_bytes() > 0,
            sector_bytes: sector_size.bytes(),
            sector_step: sector_size.sectors().get(),
            tag_bytes: spec.tag_bytes(),
        })
    }

    pub(super) fn with_iv_tweak(self, sectors: u64) -> Self {
        Self {
            cipher: self.cipher.with_iv_tweak(sectors),
            ..self
        }
    }

    fn tuple_bytes(&self) -> usize {
        self.tag_bytes + if self.stored_iv { IV_BYTES } else { 0 }
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
        let mut batch = Batch::new();
        let parts = plain
            .chunks(BATCH * self.sector_bytes)
            .zip(data.chunks_mut(BATCH * self.sector_bytes))
            .zip(tuples.chunks_mut(BATCH * self.tuple_bytes()));
        for (at, ((plain, data), tuples)) in parts.enumerate() {
            let sectors = data.len() / self.sector_bytes;
            let start = self.start(first, at);
            let (ivs, _) = batch.ivs.split_at_mut(sectors * IV_BYTES);
            if self.stored_iv {
                let drawn = drawn.chunks(BATCH * IV_BYTES).nth(at).unwrap_or_default();
                ivs.copy_from_slice(drawn);
            } else {
                self.cipher.write_ivs(start, ivs);
            }
            self.cipher
                .encrypt_with_ivs(ivs, plain, data)
                .expect("one IV for each whole sector");
            self.tags(start, sectors, data, &mut batch);
            let ivs = batch.ivs.chunks_exact(IV_BYTES);
            let tags = batch.tags.chunks_exact(self.tag_bytes.max(1));
            for ((tuple, iv), tag) in tuples
                .chunks_exact_mut(self.tuple_bytes())
                .zip(ivs)
                .zip(tags)
            {
                let (tag_out, iv_out) = tuple.split_at_mut(self.tag_bytes);
                tag_out.copy_from_slice(tag.split_at(self.tag_bytes).0);
                if self.stored_iv {
                    iv_out.copy_from_slice(iv);
                }
            }
        }
    }

    /// The caller has checked every length, and that no IV is stored.
    pub(super) fn tag_ciphertext(&self, first: SectorNumber, data: &[u8], tuples: &mut [u8]) {
        let mut batch = Batch::new();
        let parts = data
            .chunks(BATCH * self.sector_bytes)
            .zip(tuples.chunks_mut(BATCH * self.tag_bytes));
        for (at, (data, tuples)) in parts.enumerate() {
            let sectors = data.len() / self.sector_bytes;
            let start = self.start(first, at);
            self.fill_ivs(start, &[], sectors, &mut batch);
            self.tags(start, sectors, data, &mut batch);
            tuples.copy_from_slice(batch.tags.split_at(sectors * self.tag_bytes).0);
        }
    }

    /// Verifies everything, then decrypts everything if all of it is right.
    pub(super) fn open(&self, first: SectorNumber, data: &mut [u8], tuples: &[u8]) -> Mismatches {
        let wrong = self.verify(first, data, tuples);
        if wrong.first.is_some() {
            return wrong;
        }
        let mut batch = Batch::new();
        let parts = data
            .chunks_mut(BATCH * self.sector_bytes)
            .zip(tuples.chunks(BATCH * self.tuple_bytes()));
        for (at, (data, tuples)) in parts.enumerate() {
            let sectors = data.len() / self.sector_bytes;
            self.fill_ivs(self.start(first, at), tuples, sectors, &mut batch);
            let (ivs, _) = batch.ivs.split_at(sectors * IV_BYTES);
            self.cipher
                .in_place(Direction::Decrypt, RequestIvs::Stored(ivs), data)
                .expect("one IV for each whole sector");
        }
        wrong
    }

    pub(super) fn verify(&self, first: SectorNumber, data: &[u8], tuples: &[u8]) -> Mismatches {
        let mut wrong = Mismatches::default();
        if self.mac.is_none() {
            return wrong;
        }
        let mut batch = Batch::new();
        let parts = data
            .chunks(BATCH * self.sector_bytes)
            .zip(tuples.chunks(BATCH * self.tuple_bytes()));
        for (at, (data, tuples)) in parts.enumerate() {
            let sectors = data.len() / self.sector_bytes;
            let start = self.start(first, at);
            self.fill_ivs(start, tuples, sectors, &mut batch);
            self.tags(start, sectors, data, &mut batch);
            let computed = batch.tags.chunks_exact(self.tag_bytes);
            let stored = tuples.chunks_exact(self.tuple_bytes());
            for (index, (computed, tuple)) in computed.zip(stored).enumerate() {
                let (tag, _) = tuple.split_at(self.tag_bytes);
                if !bool::from(computed.ct_eq(tag)) {
                    wrong.note((at * BATCH + index) as u64);
                }
            }
        }
        // Tags of data that an attacker chose are what he must not learn.
        batch.tags.zeroize();
        wrong
    }

    /// The number of the first sector of batch `at`.
    fn start(&self, first: SectorNumber, at: usize) -> SectorNumber {
        let sectors = (at * BATCH) as u64;
        SectorNumber::new(
            first
                .get()
                .wrapping_add(sectors.wrapping_mul(self.sector_step)),
        )
    }

    fn fill_ivs(&self, start: SectorNumber, tuples: &[u8], sectors: usize, batch: &mut Batch) {
        let (ivs, _) = batch.ivs.split_at_mut(sectors * IV_BYTES);
        if !self.stored_iv {
            self.cipher.write_ivs(start, ivs);
            return;
        }
        let stored = tuples.chunks_exact(self.tuple_bytes());
        for (iv, tuple) in ivs.chunks_exact_mut(IV_BYTES).zip(stored) {
            iv.copy_from_slice(tuple.split_at(self.tag_bytes).1);
        }
    }

    /// Computes the tags of a batch whose IVs are filled in.
    fn tags(&self, start: SectorNumber, sectors: usize, data: &[u8], batch: &mut Batch) {
        let Some(mac) = &self.mac else {
            return;
        };
        let prefixes = batch.prefixes.chunks_exact_mut(HMAC_PREFIX_BYTES);
        let ivs = batch.ivs.chunks_exact(IV_BYTES);
        for (at, (prefix, iv)) in prefixes.zip(ivs).take(sectors).enumerate() {
            let step = self.sector_step.wrapping_mul(at as u64);
            let (number, iv_out) = prefix.split_at_mut(8);
            number.copy_from_slice(&start.get().wrapping_add(step).to_le_bytes());
            iv_out.copy_from_slice(iv);
        }
        let (prefixes, _) = batch.prefixes.split_at(sectors * HMAC_PREFIX_BYTES);
        let (tags, _) = batch.tags.split_at_mut(sectors * self.tag_bytes);
        match mac {
            Mac::Lanes(key) => key
                .tags(prefixes, HMAC_PREFIX_BYTES, self.sector_bytes, data, tags)
                .expect("one prefix and one tag for each sector"),
            Mac::Named(key) => {
                let sectors = data.chunks_exact(self.sector_bytes);
                for ((prefix, sector), tag) in prefixes
                    .chunks_exact(HMAC_PREFIX_BYTES)
                    .zip(sectors)
                    .zip(tags.chunks_exact_mut(self.tag_bytes))
                {
                    key.mac(&[prefix, sector], tag)
                        .expect("the tag has the digest's length");
                }
            }
        }
    }
}

impl Batch {
    fn new() -> Self {
        Self {
            prefixes: [0; BATCH * HMAC_PREFIX_BYTES],
            ivs: [0; BATCH * IV_BYTES],
            tags: [0; BATCH * MAX_DIGEST_BYTES],
        }
    }
}
