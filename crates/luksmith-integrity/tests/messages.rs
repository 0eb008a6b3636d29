//! Every error message, rendered, is kept in `messages.txt`.

use luksmith_block::{ByteLen, SectorCount, SectorNumber, SectorSize};
use luksmith_integrity::{DigestName, Error, Flags, Superblock, superblock::SUPERBLOCK_BYTES};
use luksmith_testkit::check_messages;

/// Examples of every variant, in the order of the source.
fn every_error() -> Vec<Error> {
    let sector = SectorNumber::new(24);
    let count = SectorCount::new;
    let bytes = ByteLen::new;
    let name = DigestName::parse("hmac-sha256").expect("a digest that is known");
    let (section, entry) = (3, 7);
    vec![
        Error::Device {
            source: luksmith_block::Error::ReadOnly,
        },
        Error::NotFormatted,
        Error::Magic,
        Error::SuperblockLength { found: 512 },
        Error::Version { found: 8 },
        Error::InlineMode,
        field_error(),
        Error::FlagsRefused {
            found: Flags::FIXED_PADDING.with(Flags::DIRTY_BITMAP),
        },
        Error::Interleave {
            found: 15,
            split: true,
        },
        Error::Interleave {
            found: 0,
            split: false,
        },
        Error::TagSize {
            found: 4,
            expected: 32,
        },
        Error::ShortTags {
            found: 4,
            least: 16,
        },
        Error::BlockSize {
            found: SectorSize::S512,
            expected: SectorSize::S4096,
        },
        Error::TagBytes { found: 256 },
        Error::NoSectors,
        Error::TooSmall {
            needed: count(1000),
            found: count(999),
        },
        Error::BufferSectors { found: 4 },
        Error::Misaligned {
            start: sector,
            block: SectorSize::S4096,
        },
        Error::DeviceSectors {
            device: SectorSize::S4096,
            block: SectorSize::S512,
        },
        Error::JournalSize {
            sectors: count(1 << 33),
        },
        Error::DestroysItself,
        Error::OutOfRange {
            sector,
            provided: count(16),
        },
        DigestName::parse("md99").expect_err("no such digest"),
        Error::DigestKeyMissing { name },
        Error::DigestKeyUnexpected {
            name: DigestName::Crc32c,
        },
        Error::DigestKeyLength {
            name,
            found: 0,
            limit: 4096,
        },
        Error::JournalMacMissing,
        Error::JournalMacUnexpected,
        Error::SuperblockMac,
        Error::SuperblockMacMissing,
        Error::Random,
        Error::JournalCipherName,
        Error::JournalCipherKey { found: 17 },
        Error::Growing {
            found: count(100),
            room: count(200),
        },
        Error::CommitId { section, sector: 9 },
        Error::CommitIds,
        Error::SectionMac { section },
        Error::JournalSector {
            section,
            entry,
            sector,
        },
        Error::JournalTag {
            section,
            entry,
            sector,
        },
        Error::JournalChanged { section },
        Error::JournalLimit {
            found: bytes(8 << 30),
            limit: bytes(4 << 30),
        },
        Error::BitmapNeedsHash,
        Error::BitmapDirty,
        Error::BitmapSize {
            found: bytes(8 << 20),
            limit: bytes(4 << 20),
        },
        Error::RecalculationKeyed { name },
        Error::DiscardKeyed,
        Error::OverlayLimit { limit: 1000 },
    ]
}

/// A superblock whose block size is out of range.
fn field_error() -> Error {
    let mut bytes = vec![0; SUPERBLOCK_BYTES];
    for (at, value) in [(8, 1), (10, 4), (12, 1), (16, 8), (28, 4)] {
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
    }
    if let Some(magic) = bytes.get_mut(..8) {
        magic.copy_from_slice(b"integrt\0");
    }
    Superblock::parse(&bytes).expect_err("blocks of 8192 bytes do not exist")
}

#[test]
fn every_variant_has_its_message_in_the_list() {
    let source = include_str!("../src/error.rs");
    check_messages(
        source,
        &every_error(),
        |_| None,
        include_str!("messages.txt"),
    );
}
