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

/// Sectors, and what the portable backends make of them.
struct Case {
    run: Run,
    number: u64,
    plain: Vec<u8>,
    sealed: Vec<u8>,
    tags: Vec<u8>,
}

impl Case {
    fn new(key: &[u8], make: fn() -> TagKey, run: Run, sectors: usize) -> Self {
        let xts = XtsKey::with_backend(key, Backend::Portable).expect("available");
        let tag = make()
            .with_backend(HashBackend::Portable)
            .expect("available");
        let number = run.first.wrapping_add(5);
        let plain = painted(sectors * run.sector_bytes);
        let mut sealed = plain.clone();
        let tags = by_parts(&xts, &tag, run, number, &mut sealed);
        Self {
            run,
            number,
            plain,
            sealed,
            tags,
        }
    }

    /// Seals from one place to another and in place, with guard bytes around and the data at an odd
    /// address.
    fn check_sealing(&self, xts: &XtsKey, tag: &TagKey) {
        let Self { run, number, .. } = *self;
        let case = self.name(xts, tag);
        let (mut dst, mut data) = (
            Guarded::new(self.plain.len()),
            Guarded::new(self.plain.len()),
        );
        data.inside().copy_from_slice(&self.plain);
        let mut tags = Guarded::new(self.tags.len());
        seal(
            xts,
            tag,
            run,
            number,
            &self.plain,
            dst.inside(),
            tags.inside(),
        )
        .expect("fits");
        assert!(dst.inside() == self.sealed, "{case}: ciphertext");
        assert!(tags.inside() == self.tags, "{case}: tags");
        tags.inside().fill(0);
        seal_in_place(xts, tag, run, number, data.inside(), tags.inside()).expect("fits");
        assert!(data.inside() == self.sealed, "{case}: in place");
        assert!(tags.inside() == self.tags, "{case}: tags in place");
        for guarded in [dst, data, tags] {
            assert!(guarded.is_whole(), "{case}: guards");
        }
    }

    /// Opens in both ways, with the right tags and with one that is wrong at each of `wrong`.
    fn check_opening(&self, xts: &XtsKey, tag: &TagKey, wrong: impl IntoIterator<Item = usize>) {
        let Self { run, number, .. } = *self;
        let case = self.name(xts, tag);
        let (mut dst, mut data) = (
            Guarded::new(self.plain.len()),
            Guarded::new(self.plain.len()),
        );
        data.inside().copy_from_slice(&self.sealed);
        open(
            xts,
            tag,
            run,
            number,
            &self.sealed,
            &self.tags,
            dst.inside(),
        )
        .expect("true");
        assert!(dst.inside() == self.plain, "{case}: plaintext");
        open_in_place(xts, tag, run, number, data.inside(), &self.tags).expect("true");
        assert!(data.inside() == self.plain, "{case}: in place");
        for first in wrong {
            let mut tags = self.tags.clone();
            tags[first * tag.tag_bytes() + first % tag.tag_bytes()] ^= 1 << (first % 8);
            let mismatch = Err(Error::TagMismatch { first, count: 1 });
            dst.inside().fill(0xAA);
            let opened = open(xts, tag, run, number, &self.sealed, &tags, dst.inside());
            assert_eq!(opened, mismatch, "{case}");
            assert!(
                dst.inside().iter().all(|byte| *byte == 0),
                "{case}: {first}"
            );
            data.inside().copy_from_slice(&self.sealed);
            let opened = open_in_place(xts, tag, run, number, data.inside(), &tags);
            assert_eq!(opened, mismatch, "{case}");
            assert!(
                data.inside().iter().all(|byte| *byte == 0),
                "{case}: {first} in place"
            );
        }
        for guarded in [dst, data] {
            assert!(guarded.is_whole(), "{case}: guards");
        }
    }

    fn name(&self, xts: &XtsKey, tag: &TagKey) -> alloc::string::String {
        let sectors = self.plain.len() / self.run.sector_bytes;
        alloc::format!("{xts:?} {tag:?} {:?} x {sectors}", self.run)
    }
}

/// Bytes at an odd address, with others around that nobody may change.
struct Guarded(Vec<u8>);

impl Guarded {
    const AROUND: usize = 65;

    fn new(bytes: usize) -> Self {
        Self(vec![0xEE; bytes + 2 * Self::AROUND])
    }

    fn inside(&mut self) -> &mut [u8] {
        let end = self.0.len() - Self::AROUND;
        &mut self.0[Self::AROUND..end]
    }

    fn is_whole(&self) -> bool {
        let (before, rest) = self.0.split_at(Self::AROUND);
        let (_, after) = rest.split_at(rest.len() - Self::AROUND);
        before.iter().chain(after).all(|byte| *byte == 0xEE)
    }
}

/// Every pair of backends for `key` and `make`.
fn pairs(key: &[u8], make: fn() -> TagKey) -> Vec<(XtsKey, TagKey)> {
    let mut pairs = Vec::new();
    for backend in Backend::available() {
        for hash in HashBackend::available() {
            let xts = XtsKey::with_backend(key, backend).expect("available");
            pairs.push((xts, make().with_backend(hash).expect("available")));
        }
    }
    pairs
}

fn run_of(sector_bytes: usize) -> Run {
    Run {
        first: u64::MAX - 20,
        step: 1 + sector_bytes as u64 / 512,
        sector_bytes,
    }
}

const KINDS: [fn() -> TagKey; 3] = [
    || TagKey::hmac_sha256(b"k"),
    TagKey::sha256,
    || TagKey::hmac_sha512(b"k"),
];

#[test]
fn every_pair_of_backends_seals_and_opens_as_the_portable_ones() {
    for key in [&KEY[..32], &KEY[..]] {
        for make in KINDS {
            let pairs = pairs(key, make);
            // Alone, the portable ones have nothing to differ from but their parts.
            let counts: &[usize] = if pairs.len() > 1 {
                &[15, 16, 17, 33]
            } else {
                &[17]
            };
            for sector_bytes in [64, 128, 192, 256, 320, 496, 512, 1024, 2048, 4096] {
                for &sectors in counts {
                    let case = Case::new(key, make, run_of(sector_bytes), sectors);
                    for (xts, tag) in &pairs {
                        case.check_sealing(xts, tag);
                        case.check_opening(xts, tag, [(7 * sectors + sector_bytes) % sectors]);
                    }
                }
            }
        }
    }
}

#[test]
fn runs_of_1_to_70_sectors_are_sealed_and_opened_as_by_the_portable_backends() {
    let make = KINDS[0];
    // The cipher has no part in how a run is cut up, so its best kernel stands for the others.
    let best = |(xts, _): &(XtsKey, TagKey)| xts.backend() == Backend::best();
    let pairs: Vec<_> = pairs(&KEY, make).into_iter().filter(best).collect();
    assert!(!pairs.is_empty());
    for sectors in 1..=70 {
        for sector_bytes in [512, 1024, 2048, 4096] {
            // Where a pass ends, for all sizes.
            if sector_bytes > 512 && ![1, 16, 17, 31, 32, 33, 48, 64, 70].contains(&sectors) {
                continue;
            }
            let case = Case::new(&KEY, make, run_of(sector_bytes), sectors);
            for (xts, tag) in &pairs {
                case.check_sealing(xts, tag);
                case.check_opening(xts, tag, [sectors - 1]);
            }
        }
    }
}

#[test]
fn a_wrong_tag_is_found_wherever_it_is() {
    let make = KINDS[0];
    for (sector_bytes, sectors) in [(512, 70), (4096, 17)] {
        let case = Case::new(&KEY, make, run_of(sector_bytes), sectors);
        for (xts, tag) in pairs(&KEY, make) {
            if xts.backend() == Backend::best() {
                case.check_opening(&xts, &tag, 0..sectors);
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
        return; // named by the tests of `coverage`
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
