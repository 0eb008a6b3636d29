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
