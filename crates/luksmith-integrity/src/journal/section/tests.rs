use luksmith_block::{SectorCount, SectorSize};

use super::*;
use crate::{DeviceSizes, DigestName, FormatRequest};

fn layout(tag: usize, block: SectorSize, mac: bool) -> Layout {
    let sizes = DeviceSizes {
        data: SectorCount::new(1 << 16),
        meta: None,
    };
    let request = FormatRequest::new(tag, block).unwrap().journal_mac(mac);
    request.plan(sizes).unwrap().1
}

fn mac() -> Arc<JournalMac> {
    let name = DigestName::parse("hmac-sha256").unwrap();
    Arc::new(JournalMac::new(name, Some(&[0x22; 32])).unwrap())
}

fn pattern(seed: usize, bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|i| u8::try_from((i * 7 + seed * 13) % 251).unwrap())
        .collect()
}

#[test]
fn entries_come_back_out_of_sections_of_every_shape() {
    for block in SectorSize::ALL {
        for tag in [1, 4, 28, 32, 64, 255] {
            for (with_mac, cipher) in [
                (false, None),
                (true, Some("ctr(aes)")),
                (true, Some("cbc(aes)")),
            ] {
                let cipher =
                    cipher.map(|name| Arc::new(JournalCipher::new(name, &[0x11; 32]).unwrap()));
                let codec = SectionCodec::new(
                    &layout(tag, block, with_mac),
                    Some([3; 16]),
                    with_mac.then(mac),
                    cipher,
                );
                let blocks: Vec<_> = (0..codec.entries() - 1)
                    .map(|e| (pattern(e, block.bytes()), pattern(e + 99, tag)))
                    .collect();
                let entries = blocks
                    .iter()
                    .enumerate()
                    .map(|(e, (data, tuple))| JournalEntry {
                        sector: wide_sector(e, block),
                        data,
                        tuple,
                    });
                let mut image = vec![0xee; codec.section_bytes()];
                codec.assemble(5, Sequence::ALL[2], entries, &mut image);
                codec.decrypt(5, &mut image);
                assert_eq!(codec.whole_sequence(5, &image), Some(Sequence::ALL[2]));
                assert_eq!(codec.whole_sequence(4, &image), None);
                assert!(codec.mac_matches(5, &image));
                for (e, (data, tuple)) in blocks.iter().enumerate() {
                    let (mut found, mut tag) = (vec![0; data.len()], vec![0; tuple.len()]);
                    codec.copy_entry(e, &image, &mut found, &mut tag);
                    assert_eq!(codec.target(e, &image), Some(wide_sector(e, block)));
                    assert_eq!((&found, &tag), (data, tuple));
                }
                assert_eq!(codec.target(codec.entries() - 1, &image), None);
            }
        }
    }
}

fn wide_sector(entry: usize, block: SectorSize) -> u64 {
    1000 * 8 + u64::try_from(entry).unwrap() * block.sectors().get()
}

#[test]
fn consecutive_entries_go_to_different_sectors() {
    let codec = SectionCodec::new(&layout(32, SectorSize::S4096, false), None, None, None);
    assert_eq!(codec.entry_at(0), 0);
    assert_eq!(codec.entry_at(1), 512);
    assert_eq!(codec.entry_at(7), 7 * 512);
    assert_eq!(codec.entry_at(8), 104);
    assert_eq!(codec.data_sector(1), 16);
}

#[test]
fn an_initialised_section_has_unused_entries_and_commit_ids_and_nothing_else() {
    let codec = SectionCodec::new(&layout(4, SectorSize::S4096, false), None, None, None);
    let mut image = vec![0xee; codec.section_bytes()];
    codec.initialise(3, Sequence::ZERO, &mut image);
    for (index, sector) in image.chunks(512).enumerate() {
        let id = 0x1111_1111_1111_1111_u64 ^ (3 << 32) ^ u64::try_from(index).unwrap();
        assert_eq!(sector[504..], id.to_le_bytes());
        let mut expected = [0; 504];
        if index < 8 {
            // Six entries of 80 bytes in each metadata sector.
            for entry in 0..6 {
                expected[entry * 80 + 4..entry * 80 + 8].fill(0xff);
            }
        }
        assert_eq!(sector[..504], expected, "sector {index}");
    }
}

#[test]
fn the_mac_covers_section_number_salt_and_every_sector_field() {
    let layout = layout(4, SectorSize::S512, true);
    let make = |salt| SectionCodec::new(&layout, salt, Some(mac()), None);
    let codec = make(Some([9; 16]));
    let mut image = vec![0; codec.section_bytes()];
    codec.initialise(1, Sequence::ZERO, &mut image);
    assert!(codec.mac_matches(1, &image));
    assert!(!codec.mac_matches(2, &image));
    assert!(!make(Some([8; 16])).mac_matches(1, &image));
    // Without FIXED_HMAC neither salt nor section number count.
    let old = make(None);
    assert!(!old.mac_matches(1, &image));
    old.initialise(1, Sequence::ZERO, &mut image);
    assert!(old.mac_matches(2, &image));
    // The low half of an unused field counts, data and tags do not.
    let last = codec.entry_at(codec.entries() - 1);
    image[last] ^= 1;
    assert!(!old.mac_matches(1, &image));
    image[last] ^= 1;
    image[last + 16] ^= 1;
    assert!(old.mac_matches(1, &image));
}

#[test]
fn one_foreign_sector_makes_a_section_not_whole() {
    let codec = SectionCodec::new(&layout(4, SectorSize::S512, false), None, None, None);
    let mut image = vec![0; codec.section_bytes()];
    codec.initialise(0, Sequence::ALL[1], &mut image);
    let last = codec.section_bytes() - 8;
    image[last] ^= 1;
    assert_eq!(codec.whole_sequence(0, &image), None);
    assert_eq!(codec.sequence_of(0, 175, &image[175 * 512..]), None);
}
