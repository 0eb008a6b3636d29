//! Encrypt-then-MAC over runs of sectors: AES-XTS with plain64 IVs, and a hash or HMAC over sector
//! number, IV and ciphertext.
//!
//! # Format
//! dm-crypt's authenticated sectors: tag of sector `s` = MAC(le64(s) || iv || ciphertext), where
//! iv = le64(number that the cipher uses) || 0^8. The two numbers differ only by a segment's IV
//! offset.

use crate::arch;
use crate::buffers::Buffers;
use crate::sha2::{BATCH, Differing, TagKey, check_length};
use crate::xts::tweak::count_sectors;
use crate::{Error, Run, XtsKey};
use zeroize::Zeroize;

/// Sector number and IV.
const PREFIX_BYTES: usize = 24;

/// The prefixes of one batch and where they stand in the run.
struct Batch {
    prefixes: [u8; BATCH * PREFIX_BYTES],
    sectors: usize,
    run: Run,
}

impl Batch {
    /// The `sectors` (up to 16) at index `start` of `run`, numbered from `first_sector` in the MAC.
    fn new(run: Run, first_sector: u64, start: usize, sectors: usize) -> Self {
        let at = |i: usize| run.step.wrapping_mul((start + i) as u64);
        let mut prefixes = [0; BATCH * PREFIX_BYTES];
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
    for start in (0..sectors).step_by(BATCH) {
        let batch = Batch::new(run, first_sector, start, BATCH.min(sectors - start));
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
    for start in (0..sectors).step_by(BATCH) {
        let batch = Batch::new(run, first_sector, start, BATCH.min(sectors - start));
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
    for start in (0..sectors).step_by(BATCH) {
        let batch = Batch::new(run, first_sector, start, BATCH.min(sectors - start));
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
    for start in (0..sectors).step_by(BATCH) {
        let batch = Batch::new(run, first_sector, start, BATCH.min(sectors - start));
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
    let mut computed = [0; BATCH * 64];
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
mod tests {
    use super::*;
    use crate::{Backend, HashBackend};
    use alloc::vec;
    use alloc::vec::Vec;

    const KEY: [u8; 64] = {
        let mut key = [0; 64];
        let mut i = 0;
        while i < 64 {
            key[i] = i as u8;
            i += 1;
        }
        key
    };

    fn painted(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|i| (i % 251) as u8).collect()
    }

    fn tag_keys() -> [TagKey; 2] {
        [
            TagKey::hmac_sha256(b"mac key"),
            TagKey::hmac_sha512(b"mac key"),
        ]
    }

    /// What `seal` must give, from whole-run XTS and one message at a time.
    fn by_parts(xts: &XtsKey, tag: &TagKey, run: Run, first: u64, data: &mut [u8]) -> Vec<u8> {
        xts.encrypt_in_place(run, data).expect("shapes fit");
        let mut tags = Vec::new();
        for (i, sector) in data.chunks_exact(run.sector_bytes).enumerate() {
            let grown = run.step.wrapping_mul(i as u64);
            let mut prefix = [0; 24];
            prefix[..8].copy_from_slice(&first.wrapping_add(grown).to_le_bytes());
            prefix[8..16].copy_from_slice(&run.first.wrapping_add(grown).to_le_bytes());
            let mut out = vec![0; tag.tag_bytes()];
            tag.tags(&prefix, 24, run.sector_bytes, sector, &mut out)
                .expect("shapes fit");
            tags.extend_from_slice(&out);
        }
        tags
    }

    #[test]
    fn sealing_is_xts_then_one_tag_per_sector_and_opening_undoes_it() {
        let xts = XtsKey::new(&KEY).expect("64 bytes");
        for tag in tag_keys() {
            for sectors in [0, 1, 2, 5, 8, 15, 16, 17, 33] {
                for (first, step) in [(0, 1), (u64::MAX - 9, 8), ((1 << 32) - 3, 1)] {
                    for sector_bytes in [512, 4096] {
                        let run = Run {
                            first,
                            step,
                            sector_bytes,
                        };
                        let plain = painted(sectors * sector_bytes);
                        let number = first.wrapping_sub(77);
                        let mut want = plain.clone();
                        let want_tags = by_parts(&xts, &tag, run, number, &mut want);
                        let mut dst = vec![0; plain.len()];
                        let mut tags = vec![0; want_tags.len()];
                        seal(&xts, &tag, run, number, &plain, &mut dst, &mut tags).expect("fits");
                        assert_eq!(
                            (&dst, &tags),
                            (&want, &want_tags),
                            "{sectors} {sector_bytes}"
                        );
                        let mut data = plain.clone();
                        tags.fill(0);
                        seal_in_place(&xts, &tag, run, number, &mut data, &mut tags).expect("fits");
                        assert_eq!(
                            (&data, &tags),
                            (&want, &want_tags),
                            "{sectors} {sector_bytes}"
                        );
                        dst.fill(0);
                        open(&xts, &tag, run, number, &want, &want_tags, &mut dst).expect("true");
                        assert_eq!(dst, plain);
                        open_in_place(&xts, &tag, run, number, &mut data, &tags).expect("true");
                        assert_eq!(data, plain);
                    }
                }
            }
        }
    }

    /// Seals `sectors` sectors from one place to another and in place, with guard bytes around and
    /// the data at an odd address, and compares with the portable backends.
    fn check_backends(
        (xts, want_xts): (&XtsKey, &XtsKey),
        (tag, want_tag): (&TagKey, &TagKey),
        run: Run,
        sectors: usize,
    ) {
        let number = run.first.wrapping_add(5);
        let plain = painted(sectors * run.sector_bytes);
        let mut want = plain.clone();
        let want_tags = by_parts(want_xts, want_tag, run, number, &mut want);
        let case = alloc::format!("{xts:?} {tag:?} {run:?} x {sectors}");
        let inside = 65..65 + plain.len();
        let mut dst = vec![0xEE; plain.len() + 130];
        let mut data = dst.clone();
        data[inside.clone()].copy_from_slice(&plain);
        let mut tags = vec![0xEE; want_tags.len() + 2];
        let tags_inside = 1..1 + want_tags.len();
        let (to, tags_to) = (&mut dst[inside.clone()], &mut tags[tags_inside.clone()]);
        seal(xts, tag, run, number, &plain, to, tags_to).expect("fits");
        assert!(dst[inside.clone()] == want, "{case}: ciphertext");
        assert!(tags[tags_inside.clone()] == want_tags, "{case}: tags");
        tags[tags_inside.clone()].fill(0);
        let (to, tags_to) = (&mut data[inside.clone()], &mut tags[tags_inside]);
        seal_in_place(xts, tag, run, number, to, tags_to).expect("fits");
        assert!(
            tags[1..=want_tags.len()] == want_tags,
            "{case}: tags in place"
        );
        assert!(data == dst, "{case}: in place");
        let guards = [
            &dst[..65],
            &dst[inside.end..],
            &tags[..1],
            &tags[1 + want_tags.len()..],
        ];
        let mut guards = guards.into_iter().flatten();
        assert!(guards.all(|byte| *byte == 0xEE), "{case}: guards");
    }

    #[test]
    fn every_pair_of_backends_seals_as_the_portable_ones() {
        let portable = HashBackend::Portable;
        let tag_keys = || {
            [
                TagKey::hmac_sha256(b"k"),
                TagKey::sha256(),
                TagKey::hmac_sha512(b"k"),
            ]
        };
        for backend in Backend::available() {
            for key_bytes in [32, 64] {
                let key = |backend| XtsKey::with_backend(&KEY[..key_bytes], backend);
                let xts = key(backend).expect("available");
                let want_xts = key(Backend::Portable).expect("available");
                for hash in HashBackend::available() {
                    for (tag, want_tag) in tag_keys().into_iter().zip(tag_keys()) {
                        let tag = tag.with_backend(hash).expect("available");
                        let want_tag = want_tag.with_backend(portable).expect("available");
                        for sector_bytes in [64, 128, 192, 256, 320, 496, 512, 1024, 2048, 4096] {
                            let run = Run {
                                first: u64::MAX - 20,
                                step: 1 + sector_bytes as u64 / 512,
                                sector_bytes,
                            };
                            for sectors in [15, 16, 17, 33] {
                                let tag = (&tag, &want_tag);
                                check_backends((&xts, &want_xts), tag, run, sectors);
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn sectors_that_are_too_large_or_not_whole_blocks_are_refused_by_every_backend() {
        for backend in Backend::available() {
            let xts = XtsKey::with_backend(&KEY, backend).expect("available");
            for sector_bytes in [0, 8, 520, Run::MAX_SECTOR_BYTES + 64] {
                let run = Run {
                    first: 0,
                    step: 1,
                    sector_bytes,
                };
                let max = Run::MAX_SECTOR_BYTES;
                let bytes = sector_bytes;
                let refused = Err(Error::SectorBytes { bytes, max });
                let tag = TagKey::hmac_sha256(b"k");
                assert_eq!(seal_in_place(&xts, &tag, run, 0, &mut [], &mut []), refused);
                assert_eq!(
                    open_in_place(&xts, &tag, run, 0, &mut [], &[]),
                    refused,
                    "{backend}"
                );
            }
        }
    }

    /// Else a kernel that is never chosen would be as right as any.
    #[test]
    fn the_kernel_for_both_takes_the_shapes_that_it_is_for_and_no_others() {
        let (cipher, hash) = (Backend::Vaes512, HashBackend::Avx512);
        if !(cipher.is_available() && HashBackend::available().any(|one| one == hash)) {
            println!("not covered: this machine lacks {cipher} or {hash}");
            return;
        }
        for key_bytes in [32, 64] {
            let xts = XtsKey::with_backend(&KEY[..key_bytes], cipher).expect("available");
            let takes = |tag: TagKey, sectors: usize, sector_bytes: usize| {
                let tag = tag.with_backend(hash).expect("available");
                let run = Run {
                    first: 0,
                    step: 1,
                    sector_bytes,
                };
                let mut data = painted(sectors * sector_bytes);
                let mut tags = vec![0; sectors * tag.tag_bytes()];
                let batch = Batch::new(run, 0, 0, sectors);
                batch.seal_together(&xts, &tag, Buffers::in_place(&mut data), &mut tags)
            };
            for sector_bytes in [192, 512, 4096] {
                assert!(takes(TagKey::hmac_sha256(b"k"), 16, sector_bytes));
                assert!(takes(TagKey::sha256(), 16, sector_bytes));
                assert!(!takes(TagKey::hmac_sha256(b"k"), 15, sector_bytes));
                assert!(!takes(TagKey::hmac_sha512(b"k"), 16, sector_bytes));
            }
            for sector_bytes in [128, 496] {
                assert!(!takes(TagKey::hmac_sha256(b"k"), 16, sector_bytes));
            }
        }
    }

    #[test]
    fn a_wrong_tag_in_any_sector_leaves_nothing_but_zeroes() {
        let xts = XtsKey::new(&KEY).expect("64 bytes");
        let run = Run {
            first: 40,
            step: 1,
            sector_bytes: 512,
        };
        for tag in tag_keys() {
            for wrong in 0..33 {
                let mut data = painted(33 * 512);
                let mut tags = vec![0; 33 * tag.tag_bytes()];
                seal_in_place(&xts, &tag, run, 40, &mut data, &mut tags).expect("fits");
                data[wrong * 512 + 511] ^= 1;
                let mut dst = vec![0xAA; data.len()];
                let mismatch = Err(Error::TagMismatch {
                    first: wrong,
                    count: 1,
                });
                assert_eq!(open(&xts, &tag, run, 40, &data, &tags, &mut dst), mismatch);
                assert_eq!(dst, vec![0; data.len()]);
                let last = tags.len() - 1;
                tags[last] ^= 1;
                let count = if wrong == 32 { 1 } else { 2 };
                let mismatch = Err(Error::TagMismatch {
                    first: wrong,
                    count,
                });
                assert_eq!(
                    open_in_place(&xts, &tag, run, 40, &mut data, &tags),
                    mismatch
                );
                assert_eq!(data, vec![0; data.len()]);
            }
        }
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let xts = XtsKey::new(&KEY).expect("64 bytes");
        let tag = TagKey::hmac_sha256(b"");
        let run = Run {
            first: 0,
            step: 1,
            sector_bytes: 512,
        };
        let partial = Err(Error::PartialSector {
            bytes: 513,
            sector_bytes: 512,
        });
        assert_eq!(
            seal_in_place(&xts, &tag, run, 0, &mut [0; 513], &mut [0; 32]),
            partial
        );
        let short = |what, bytes, expected| {
            Err(Error::LengthMismatch {
                what,
                bytes,
                expected,
            })
        };
        let mut tags = [0; 31];
        assert_eq!(
            seal_in_place(&xts, &tag, run, 0, &mut [0; 512], &mut tags),
            short("tags", 31, 32)
        );
        let result = open(&xts, &tag, run, 0, &[0; 512], &[0; 32], &mut [0; 511]);
        assert_eq!(result, short("destination", 511, 512));
    }
}
