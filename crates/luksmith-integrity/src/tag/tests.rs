use super::*;

/// The block whose tags the kernel wrote at sector 8: byte i is i mod 251.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn maker(
    name: &str,
    key: Option<&[u8]>,
    salt: Option<[u8; 16]>,
    tag: usize,
    block: SectorSize,
) -> TagMaker {
    TagMaker::new(DigestName::parse(name).unwrap(), key, salt, tag, block).unwrap()
}

fn tag_at_8(maker: &TagMaker, block: SectorSize, tag_bytes: usize) -> Vec<u8> {
    let mut tag = vec![0; tag_bytes];
    maker
        .tags(SectorNumber::new(8), &pattern(block.bytes()), &mut tag)
        .unwrap();
    tag
}

/// Digest, key, salt, block size and the tag.
type Written<'a> = (
    &'a str,
    Option<&'a [u8]>,
    Option<[u8; 16]>,
    SectorSize,
    &'a str,
);

#[test]
fn tags_are_those_that_the_kernel_wrote() {
    // docs/formats/integrity.md, "Tags that the kernel wrote".
    let key: Vec<u8> = (0..32).collect();
    let salt = hex("d31af7cfbaa8a988d1ed44b542769388").try_into().unwrap();
    let table: [Written<'_>; 5] = [
        ("crc32c", None, None, SectorSize::S512, "b143260f"),
        ("crc32c", None, None, SectorSize::S4096, "07a9cdbc"),
        ("crc32c", None, Some(salt), SectorSize::S512, "05678a0b"),
        (
            "sha256",
            None,
            None,
            SectorSize::S4096,
            "0cda060b9ab8893989416ee4e6417fb52c1cbcdc6daee63c6e9cad0371282cc3",
        ),
        (
            "hmac(sha256)",
            Some(&key),
            None,
            SectorSize::S512,
            "9e11077cf65ec912f23e29208898745e09913393cc64c21814a038d020dc5428",
        ),
    ];
    for (name, key, salt, block, expected) in table {
        let expected = hex(expected);
        let maker = maker(name, key, salt, expected.len(), block);
        assert_eq!(tag_at_8(&maker, block, expected.len()), expected, "{name}");
    }
}

#[test]
fn checksums_have_their_published_check_values() {
    let digest = |name: &str| {
        let name = DigestName::parse(name).unwrap();
        Digester::new(name, None)
            .unwrap()
            .digest(&[b"1234", b"56789"])[..name.digest_bytes()]
            .to_vec()
    };
    // 0xe3069283, little-endian.
    assert_eq!(digest("crc32c"), hex("839206e3"));
    // The register from 0 without inversions: 0x2dfd2d88.
    assert_eq!(digest("crc32"), hex("882dfd2d"));
    // XXH64 of "123456789" with seed 0: 0x8cb841db40e6ae83.
    assert_eq!(digest("xxhash64"), hex("83aee640db41b88c"));
    assert_eq!(
        digest("sha1"),
        hex("f7c3bc1d808e04732adf679965ccc34ca7ae3441")
    );
}

#[test]
fn a_short_tag_is_the_digest_cut_and_a_long_one_padded_with_zeros() {
    let block = SectorSize::S512;
    for name in ["sha256", "sha1", "crc32c", "sha3-256", "blake2b-512"] {
        let natural = DigestName::parse(name).unwrap().digest_bytes();
        let full = tag_at_8(&maker(name, None, None, natural, block), block, natural);
        let cut = tag_at_8(&maker(name, None, None, 3, block), block, 3);
        assert_eq!(cut, full[..3], "{name}");
        let long = tag_at_8(&maker(name, None, None, 80, block), block, 80);
        assert_eq!(long[..natural], full, "{name}");
        assert_eq!(long[natural..], vec![0; 80 - natural], "{name}");
    }
}

#[test]
fn the_many_lane_path_makes_the_tags_of_single_digests() {
    let key = [0x5a; 48];
    for (name, key) in [
        ("sha256", None),
        ("sha512", None),
        ("hmac-sha256", Some(&key[..])),
        ("hmac-sha512", Some(&key[..])),
    ] {
        for salt in [None, Some([7; 16])] {
            for block in SectorSize::ALL {
                let digest = DigestName::parse(name).unwrap();
                let maker = maker(name, key, salt, 20, block);
                assert!(maker.lanes.is_some());
                let blocks = RUN_BLOCKS + 3;
                let data: Vec<u8> = pattern(blocks * block.bytes());
                let first = SectorNumber::new(u64::from(u32::MAX) - 7);
                let mut tags = vec![0; blocks * 20];
                maker.tags(first, &data, &mut tags).unwrap();
                let single = Digester::new(digest, key).unwrap();
                for (i, (block_data, tag)) in
                    data.chunks(block.bytes()).zip(tags.chunks(20)).enumerate()
                {
                    let at = first.get() + wide(i) * block.sectors().get();
                    let salt = salt.as_ref().map_or(&[][..], |salt| salt);
                    let digest = single.digest(&[salt, &at.to_le_bytes(), block_data]);
                    assert_eq!(tag, &digest[..20], "{name} block {i}");
                }
            }
        }
    }
}

#[test]
fn a_check_names_the_first_bad_block_and_counts_all_bad_sectors() {
    let block = SectorSize::S1024;
    let maker = maker("hmac-sha256", Some(b"key"), None, 32, block);
    let first = SectorNumber::new(100);
    let mut data = pattern(6 * 1024);
    let mut tags = vec![0; 6 * 32];
    maker.tags(first, &data, &mut tags).unwrap();
    assert_eq!(maker.check(first, &data, &tags), Ok(()));
    data[2 * 1024 + 5] ^= 1;
    tags[4 * 32 + 31] ^= 0x80;
    assert_eq!(
        maker.check(first, &data, &tags),
        Err(DeviceError::TagMismatch {
            first: SectorNumber::new(104),
            count: 4
        })
    );
    assert_eq!(
        maker.mismatches(first, &data, &tags).unwrap(),
        [(2, false), (4, false)]
    );
    assert_eq!(
        maker.check(SectorNumber::new(101), &data[..1024], &tags[..32]),
        Err(DeviceError::TagMismatch {
            first: SectorNumber::new(101),
            count: 2
        })
    );
}

#[test]
fn a_discarded_block_is_good_only_where_its_kind_of_mark_is_accepted() {
    let block = SectorSize::S512;
    let at = SectorNumber::new(3);
    let data = pattern(512);
    let make = |marker| {
        maker("hmac-sha256", Some(b"key"), Some([1; 16]), 20, block).discard_marker(marker)
    };
    for marker in [DiscardMarker::Filler, DiscardMarker::Keyed] {
        let mut tag = [0; 20];
        make(marker).discard_tag(at, &mut tag);
        let admit = |maker: TagMaker, at| {
            let mut read = data.clone();
            maker.admit(at, &mut read, &tag).map(|()| read)
        };
        assert_eq!(admit(make(marker), at), Ok(vec![0; 512]));
        // Whoever kept a mark would have it authenticate an entry of the journal.
        assert!(make(marker).check(at, &data, &tag).is_err());
        for other in [
            DiscardMarker::None,
            DiscardMarker::Filler,
            DiscardMarker::Keyed,
        ] {
            if other != marker {
                assert!(admit(make(other), at).is_err());
            }
        }
        if marker == DiscardMarker::Keyed {
            assert!(admit(make(marker), SectorNumber::new(4)).is_err());
        }
    }
}

#[test]
fn lengths_that_do_not_fit_together_are_refused() {
    let maker = maker("crc32c", None, None, 4, SectorSize::S4096);
    let first = SectorNumber::ZERO;
    assert_eq!(
        maker.tags(first, &[0; 4096], &mut [0; 8]),
        Err(DeviceError::Length {
            what: "tags",
            found: 8,
            expected: 4
        })
    );
    assert_eq!(
        maker.check(first, &[0; 512], &[]),
        Err(DeviceError::Length {
            what: "data",
            found: 512,
            expected: 0
        })
    );
}

#[test]
fn keys_belong_to_hmacs_and_to_nothing_else() {
    let new = |name: &str, key: Option<&[u8]>| {
        TagMaker::new(
            DigestName::parse(name).unwrap(),
            key,
            None,
            4,
            SectorSize::S512,
        )
        .err()
    };
    let hmac = DigestName::parse("hmac-sha256").unwrap();
    assert_eq!(
        new("hmac-sha256", None),
        Some(Error::DigestKeyMissing { name: hmac })
    );
    assert_eq!(
        new("crc32c", Some(b"k")),
        Some(Error::DigestKeyUnexpected {
            name: DigestName::Crc32c
        })
    );
    assert_eq!(
        new("hmac(sha256)", Some(b"")),
        Some(Error::DigestKeyLength {
            name: hmac,
            found: 0,
            limit: 4096
        })
    );
    assert!(matches!(
        DigestName::parse("hmac(crc32c)"),
        Err(Error::Digest { .. })
    ));
}
