use super::*;
use crate::Error;
use alloc::vec::Vec;
use hmac::{KeyInit, Mac};
use sha2::Digest;

/// Period 251, so that swapped blocks show.
pub(crate) fn painted(bytes: usize, salt: u8) -> Vec<u8> {
    (0..bytes).map(|i| (i % 251) as u8 ^ salt).collect()
}

/// The answer of the `hmac` and `sha2` crates, whole messages at a time.
pub(crate) fn expected_tags(
    hash: TagHash,
    key: &[u8],
    prefixes: &[u8],
    prefix_bytes: usize,
    sector_bytes: usize,
    data: &[u8],
) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, sector) in data.chunks_exact(sector_bytes).enumerate() {
        let prefix = &prefixes[i * prefix_bytes..(i + 1) * prefix_bytes];
        match hash {
            TagHash::Sha256 => out.extend_from_slice(
                &sha2::Sha256::new()
                    .chain_update(prefix)
                    .chain_update(sector)
                    .finalize(),
            ),
            TagHash::Sha512 => out.extend_from_slice(
                &sha2::Sha512::new()
                    .chain_update(prefix)
                    .chain_update(sector)
                    .finalize(),
            ),
            TagHash::HmacSha256 => out.extend_from_slice(
                &hmac::Hmac::<sha2::Sha256>::new_from_slice(key)
                    .expect("any length")
                    .chain_update(prefix)
                    .chain_update(sector)
                    .finalize()
                    .into_bytes(),
            ),
            TagHash::HmacSha512 => out.extend_from_slice(
                &hmac::Hmac::<sha2::Sha512>::new_from_slice(key)
                    .expect("any length")
                    .chain_update(prefix)
                    .chain_update(sector)
                    .finalize()
                    .into_bytes(),
            ),
        }
    }
    out
}

fn make(hash: TagHash, key: &[u8]) -> TagKey {
    match hash {
        TagHash::Sha256 => TagKey::sha256(),
        TagHash::Sha512 => TagKey::sha512(),
        TagHash::HmacSha256 => TagKey::hmac_sha256(key),
        TagHash::HmacSha512 => TagKey::hmac_sha512(key),
    }
}

const HASHES: [TagHash; 4] = [
    TagHash::Sha256,
    TagHash::Sha512,
    TagHash::HmacSha256,
    TagHash::HmacSha512,
];

#[test]
fn tags_are_those_of_the_crates_for_every_prefix_and_odd_sector_sizes() {
    for hash in HASHES {
        for prefix_bytes in 0..=64 {
            for sector_bytes in [1, 55, 63, 64, 65, 111, 127, 128, 512, 520] {
                let data = painted(3 * sector_bytes, 1);
                let prefixes = painted(3 * prefix_bytes, 2);
                let mut out = alloc::vec![0; 3 * hash.tag_bytes()];
                make(hash, b"key")
                    .tags(&prefixes, prefix_bytes, sector_bytes, &data, &mut out)
                    .expect("shapes fit");
                let want =
                    expected_tags(hash, b"key", &prefixes, prefix_bytes, sector_bytes, &data);
                assert_eq!(
                    out, want,
                    "{hash:?} prefix {prefix_bytes} sector {sector_bytes}"
                );
            }
        }
    }
}

#[test]
fn hmac_keys_of_every_length_around_a_block_give_the_crates_tags() {
    let data = painted(512, 3);
    for hash in [TagHash::HmacSha256, TagHash::HmacSha512] {
        for key_bytes in [0, 1, 31, 32, 63, 64, 65, 127, 128, 129, 191, 192, 300] {
            let key = painted(key_bytes, 4);
            let mut out = alloc::vec![0; hash.tag_bytes()];
            make(hash, &key)
                .tags(&[], 0, 512, &data, &mut out)
                .expect("shapes fit");
            assert_eq!(
                out,
                expected_tags(hash, &key, &[], 0, 512, &data),
                "{key_bytes}"
            );
        }
    }
}

#[test]
fn verify_names_the_first_wrong_sector_and_counts_all() {
    let data = painted(40 * 512, 5);
    for hash in HASHES {
        let key = make(hash, b"k");
        let full = key.tag_bytes();
        let mut tags = alloc::vec![0; 40 * full];
        key.tags(&[], 0, 512, &data, &mut tags).expect("shapes fit");
        for kept in [1, 4, full - 1, full] {
            let mut cut: Vec<u8> = tags
                .chunks_exact(full)
                .flat_map(|tag| tag[..kept].to_vec())
                .collect();
            assert_eq!(key.verify(&[], 0, 512, &data, &cut, kept), Ok(()));
            for wrong in [17, 18, 39] {
                cut[wrong * kept + kept - 1] ^= 0x80;
            }
            let found = key.verify(&[], 0, 512, &data, &cut, kept);
            assert_eq!(
                found,
                Err(Error::TagMismatch {
                    first: 17,
                    count: 3
                }),
                "{hash:?} {kept}"
            );
        }
    }
}

#[test]
fn debug_of_a_key_shows_no_state() {
    assert_eq!(
        alloc::format!("{:?}", TagKey::hmac_sha256(b"secret")),
        "TagKey(HmacSha256)"
    );
}

#[test]
fn shapes_that_do_not_fit_are_refused_and_write_nothing() {
    let key = TagKey::sha256();
    let data = painted(1024, 0);
    let mut out = [0xAA; 64];
    let mut tags = |prefixes: &[u8], prefix_bytes, sector_bytes, tags: usize| {
        let result = key.tags(
            prefixes,
            prefix_bytes,
            sector_bytes,
            &data,
            &mut out[..tags],
        );
        assert_eq!(out, [0xAA; 64]);
        result
    };
    assert_eq!(
        tags(&[0; 130], 65, 512, 64),
        Err(Error::PrefixBytes { bytes: 65, max: 64 })
    );
    let partial = |sector_bytes| {
        Err(Error::PartialSector {
            bytes: 1024,
            sector_bytes,
        })
    };
    assert_eq!(tags(&[], 0, 0, 64), partial(0));
    assert_eq!(tags(&[], 0, 1000, 64), partial(1000));
    let mismatch = |what, bytes, expected| {
        Err(Error::LengthMismatch {
            what,
            bytes,
            expected,
        })
    };
    assert_eq!(tags(&[0; 15], 8, 512, 64), mismatch("prefixes", 15, 16));
    assert_eq!(tags(&[0; 16], 8, 512, 63), mismatch("tag buffer", 63, 64));
    let verify = |tags: &[u8], bytes| key.verify(&[], 0, 512, &data, tags, bytes);
    assert_eq!(verify(&[], 0), Err(Error::TagBytes { bytes: 0, max: 32 }));
    assert_eq!(
        verify(&[0; 66], 33),
        Err(Error::TagBytes { bytes: 33, max: 32 })
    );
    assert_eq!(verify(&[0; 31], 16), mismatch("expected tags", 31, 32));
}

/// Checks the tags of `sectors` sectors on every backend against those of `expected_tags`, with
/// guard bytes around the output and the data at an odd address.
fn check_backends(hash: TagHash, prefix_bytes: usize, sector_bytes: usize, sectors: usize) {
    let painted_data = painted(1 + sectors * sector_bytes, 9);
    let data = &painted_data[1..];
    let prefixes = painted(sectors * prefix_bytes, 77);
    let want = expected_tags(hash, b"key", &prefixes, prefix_bytes, sector_bytes, data);
    for backend in HashBackend::available() {
        let key = make(hash, b"key").with_backend(backend).expect("available");
        let mut out = alloc::vec![0xEE; want.len() + 128];
        let inside = 64..64 + want.len();
        key.tags(
            &prefixes,
            prefix_bytes,
            sector_bytes,
            data,
            &mut out[inside.clone()],
        )
        .expect("shapes fit");
        let case = alloc::format!("{backend} {hash:?} {prefix_bytes}+{sector_bytes} x {sectors}");
        assert!(out[inside] == want, "{case}: tags differ");
        assert!(
            out[..64]
                .iter()
                .chain(&out[64 + want.len()..])
                .all(|byte| *byte == 0xEE),
            "{case}"
        );
    }
}

#[test]
fn every_backend_agrees_for_1_to_65_sectors_of_every_size() {
    for hash in HASHES {
        for sector_bytes in [512, 1024, 2048, 4096] {
            for sectors in 1..=65 {
                check_backends(hash, [0, 8, 24][sectors % 3], sector_bytes, sectors);
            }
        }
    }
}

#[test]
fn every_backend_agrees_for_sectors_of_any_number_of_columns() {
    for hash in [TagHash::Sha256, TagHash::HmacSha256] {
        for columns in [1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 32, 33, 63, 64] {
            for sectors in [16, 31, 32, 48, 65] {
                check_backends(hash, 24, 64 * columns, sectors);
            }
        }
    }
}

#[test]
fn a_pass_is_of_32_sectors_where_these_are_small_and_there_are_so_many() {
    for (left, sector_bytes, taken) in [
        (0, 512, 0),
        (31, 512, 16),
        (32, 512, 32),
        (33, 2048, 32),
        (15, 512, 15),
        (64, 2064, 16),
        (64, 4096, 16),
    ] {
        assert_eq!(pass(left, sector_bytes), taken, "{left} of {sector_bytes}");
    }
}

#[test]
fn every_backend_agrees_for_every_prefix() {
    for hash in HASHES {
        for prefix_bytes in 0..=64 {
            for sectors in [1, 2, 3, 7, 8, 12, 16, 17, 27] {
                check_backends(hash, prefix_bytes, 512, sectors);
            }
            for sector_bytes in [1, 8, 55, 56, 64, 100, 111, 112, 119, 120, 128, 4096] {
                check_backends(hash, prefix_bytes, sector_bytes, 16);
                check_backends(hash, prefix_bytes, sector_bytes, 5);
            }
        }
    }
}

/// The last blocks of a message went to another implementation than the one that a key chose.
#[test]
fn every_block_of_a_message_goes_to_the_compression_function_that_is_given() {
    use core::cell::Cell;

    /// Compressions of a message, and of the one block of its outer hash.
    macro_rules! check {
        ($word:ty, $block:literal, $length:literal, $compress:ident, $tags:ident, $parts:expr) => {
            let (prefix, sector): (&[u8], &[u8]) = $parts;
            let blocks = Cell::new(0);
            let layout = layout::Layout::<$block>::new($block, prefix.len(), sector.len());
            let count = |state: &mut [$word; 8], some: &[[u8; $block]]| {
                blocks.set(blocks.get() + some.len());
                portable::$compress(state, some);
            };
            let (pad, mut out) = ([7; 8], [0; $block / 2]);
            portable::$tags(count, &pad, Some(&pad), &layout, prefix, sector, &mut out);
            // The padding is a byte and the length.
            let message = (prefix.len() + sector.len() + 1 + $length).div_ceil($block);
            assert_eq!(
                blocks.get(),
                message + 1,
                "{} {}",
                prefix.len(),
                sector.len()
            );
        };
    }
    for (prefix_bytes, sector_bytes) in [(0, 512), (24, 512), (24, 4096), (8, 24), (64, 60)] {
        let (prefix, sector) = (painted(prefix_bytes, 1), painted(sector_bytes, 2));
        let parts = (prefix.as_slice(), sector.as_slice());
        check!(u32, 64, 8, compress_256, tags_256, parts);
        check!(u64, 128, 16, compress_512, tags_512, parts);
    }
}
