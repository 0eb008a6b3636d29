//! Encrypt-then-MAC over runs of sectors: AES-XTS with plain64 IVs, and a hash or HMAC over sector
//! number, IV and ciphertext.
//!
//! # Format
//! dm-crypt's authenticated sectors: tag of sector `s` = MAC(le64(s) || iv || ciphertext), where
//! iv = le64(number that the cipher uses) || 0^8. The two numbers differ only by a segment's IV
//! offset.

use crate::arch;
use crate::buffers::Buffers;
use crate::sha2::{Differing, PASS, TagKey, check_length, pass};
use crate::xts::tweak::count_sectors;
use crate::{Error, Run, XtsKey};
use zeroize::Zeroize;

/// Sector number and IV.
const PREFIX_BYTES: usize = 24;

/// The prefixes of one batch and where they stand in the run.
struct Batch {
    prefixes: [u8; PASS * PREFIX_BYTES],
    /// Index of its first sector.
    start: usize,
    sectors: usize,
    run: Run,
}

/// The batches of `sectors` sectors of `run`, numbered from `first_sector` in the MAC.
fn batches(run: Run, first_sector: u64, sectors: usize) -> impl Iterator<Item = Batch> {
    let mut start = 0;
    core::iter::from_fn(move || {
        let count = pass(sectors - start, run.sector_bytes);
        let batch = Batch::new(run, first_sector, start, count);
        start += count;
        (count > 0).then_some(batch)
    })
}

impl Batch {
    /// The `sectors` (up to [`PASS`]) at index `start` of `run`, numbered from `first_sector` in
    /// the MAC.
    #[inline]
    fn new(run: Run, first_sector: u64, start: usize, sectors: usize) -> Self {
        let at = |i: usize| run.step.wrapping_mul((start + i) as u64);
        let mut prefixes = [0; PASS * PREFIX_BYTES];
        for (i, prefix) in prefixes
            .chunks_exact_mut(PREFIX_BYTES)
            .take(sectors)
            .enumerate()
        {
            prefix[..8].copy_from_slice(&first_sector.wrapping_add(at(i)).to_le_bytes());
            prefix[8..16].copy_from_slice(&run.first.wrapping_add(at(i)).to_le_bytes());
        }
        Self {
            prefixes,
            start,
            sectors,
            run: Run {
                first: run.first.wrapping_add(at(0)),
                ..run
            },
        }
    }

    fn prefixes(&self) -> &[u8] {
        &self.prefixes[..self.sectors * PREFIX_BYTES]
    }

    /// Encrypts the batch and writes its tags, if a kernel does both together.
    fn seal_together(
        &self,
        xts: &XtsKey,
        tag: &TagKey,
        buffers: Buffers<'_>,
        tags: &mut [u8],
    ) -> bool {
        arch::seal_together(xts, tag, self.run, self.prefixes(), buffers, tags)
    }

    fn tags(&self, tag: &TagKey, ciphertext: &[u8], out: &mut [u8]) {
        tag.tags_checked(
            self.prefixes(),
            PREFIX_BYTES,
            self.run.sector_bytes,
            ciphertext,
            out,
        );
    }
}

/// Encrypts `src` into `dst` and writes the full tag of every sector to `tags`, back to back.
///
/// `first_sector` is the number of the run's first sector in the MAC; like the IV it grows by
/// `run.step` from sector to sector, wrapping.
///
/// # Errors
/// [`Error::PartialSector`], [`Error::SectorBytes`] or [`Error::LengthMismatch`] for lengths that
/// do not fit together.
pub fn seal(
    xts: &XtsKey,
    tag: &TagKey,
    run: Run,
    first_sector: u64,
    src: &[u8],
    dst: &mut [u8],
    tags: &mut [u8],
) -> Result<(), Error> {
    let sectors = check(tag, run, src.len(), tags.len())?;
    check_length("destination", dst.len(), sectors, run.sector_bytes)?;
    for batch in batches(run, first_sector, sectors) {
        let start = batch.start;
        let range = byte_range(start, batch.sectors, run.sector_bytes);
        let (src, dst) = (&src[range.clone()], &mut dst[range]);
        let tags = &mut tags[byte_range(start, batch.sectors, tag.tag_bytes())];
        if !batch.seal_together(xts, tag, Buffers::between(src, dst)?, tags) {
            xts.encrypt(batch.run, src, dst)?;
            batch.tags(tag, dst, tags);
        }
    }
    Ok(())
}

/// [`seal`] with the ciphertext in the place of the plaintext.
///
/// # Errors
/// As [`seal`].
pub fn seal_in_place(
    xts: &XtsKey,
    tag: &TagKey,
    run: Run,
    first_sector: u64,
    data: &mut [u8],
    tags: &mut [u8],
) -> Result<(), Error> {
    let sectors = check(tag, run, data.len(), tags.len())?;
    for batch in batches(run, first_sector, sectors) {
        let start = batch.start;
        let data = &mut data[byte_range(start, batch.sectors, run.sector_bytes)];
        let tags = &mut tags[byte_range(start, batch.sectors, tag.tag_bytes())];
        if !batch.seal_together(xts, tag, Buffers::in_place(data), tags) {
            xts.encrypt_in_place(batch.run, data)?;
            batch.tags(tag, data, tags);
        }
    }
    Ok(())
}

/// Verifies the full tags of all sectors of `src` and decrypts them into `dst`.
///
/// The plaintext is valid only if this returns `Ok`; otherwise all of `dst` is zero.
///
/// # Errors
/// [`Error::TagMismatch`] with the first sector whose tag is wrong, as an index into the run, and
/// the count of all such sectors; shapes as in [`seal`].
pub fn open(
    xts: &XtsKey,
    tag: &TagKey,
    run: Run,
    first_sector: u64,
    src: &[u8],
    tags: &[u8],
    dst: &mut [u8],
) -> Result<(), Error> {
    let sectors = check(tag, run, src.len(), tags.len())?;
    check_length("destination", dst.len(), sectors, run.sector_bytes)?;
    let mut differing = Differing::default();
    for batch in batches(run, first_sector, sectors) {
        let start = batch.start;
        let range = byte_range(start, batch.sectors, run.sector_bytes);
        let src = &src[range.clone()];
        compare(&mut differing, tag, &batch, start, src, tags);
        if differing.none() {
            xts.decrypt(batch.run, src, &mut dst[range])?;
        }
    }
    differing.into_result().inspect_err(|_| dst.zeroize())
}

/// [`open`] with the plaintext in the place of the ciphertext.
///
/// # Errors
/// As [`open`]; all of `data` is zero if a tag is wrong.
pub fn open_in_place(
    xts: &XtsKey,
    tag: &TagKey,
    run: Run,
    first_sector: u64,
    data: &mut [u8],
    tags: &[u8],
) -> Result<(), Error> {
    let sectors = check(tag, run, data.len(), tags.len())?;
    let mut differing = Differing::default();
    for batch in batches(run, first_sector, sectors) {
        let start = batch.start;
        let data = &mut data[byte_range(start, batch.sectors, run.sector_bytes)];
        compare(&mut differing, tag, &batch, start, data, tags);
        if differing.none() {
            xts.decrypt_in_place(batch.run, data)?;
        }
    }
    differing.into_result().inspect_err(|_| data.zeroize())
}

/// Computes the tags of one batch and notes which differ from those in `tags`.
fn compare(
    differing: &mut Differing,
    tag: &TagKey,
    batch: &Batch,
    start: usize,
    ciphertext: &[u8],
    tags: &[u8],
) {
    let tag_bytes = tag.tag_bytes();
    let mut computed = [0; PASS * 64];
    let used = &mut computed[..batch.sectors * tag_bytes];
    batch.tags(tag, ciphertext, used);
    let expected = &tags[byte_range(start, batch.sectors, tag_bytes)];
    differing.compare(start, used, tag_bytes, expected, tag_bytes);
    if !differing.none() {
        // The right tags of data that an attacker chose are what he must not learn.
        computed.zeroize();
    }
}

/// Where `count` items of `each` bytes from item `start` on lie.
fn byte_range(start: usize, count: usize, each: usize) -> core::ops::Range<usize> {
    start * each..(start + count) * each
}

/// Number of sectors, once data and tags fit the run.
fn check(tag: &TagKey, run: Run, data: usize, tags: usize) -> Result<usize, Error> {
    let sectors = count_sectors(data, run.sector_bytes)?;
    check_length("tags", tags, sectors, tag.tag_bytes())?;
    Ok(sectors)
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "painted test patterns stay below 256"
)]
mod tests;
