use luksmith_block::ByteOffset;

use super::*;

fn sizes(data: u64, meta: Option<u64>) -> DeviceSizes {
    DeviceSizes {
        data: SectorCount::new(data),
        meta: meta.map(SectorCount::new),
    }
}

/// Entry bytes, entries per sector, entries, sectors.
type Dimensions = (u64, u64, u64, u64);

#[test]
fn sections_have_the_dimensions_of_the_format() {
    // Entry bytes, entries per sector, entries, sectors; rows are blocks, columns tag sizes.
    let tags = [4, 8, 16, 20, 28, 32, 48, 64];
    let table: [(SectorSize, [Dimensions; 8]); 4] = [
        (
            SectorSize::S512,
            [
                (24, 21, 168, 176),
                (24, 21, 168, 176),
                (32, 15, 120, 128),
                (40, 12, 96, 104),
                (48, 10, 80, 88),
                (48, 10, 80, 88),
                (64, 7, 56, 64),
                (80, 6, 48, 56),
            ],
        ),
        (
            SectorSize::S1024,
            [
                (32, 15, 120, 248),
                (32, 15, 120, 248),
                (40, 12, 96, 200),
                (48, 10, 80, 168),
                (56, 9, 72, 152),
                (56, 9, 72, 152),
                (72, 7, 56, 120),
                (88, 5, 40, 88),
            ],
        ),
        (
            SectorSize::S2048,
            [
                (48, 10, 80, 328),
                (48, 10, 80, 328),
                (56, 9, 72, 296),
                (64, 7, 56, 232),
                (72, 7, 56, 232),
                (72, 7, 56, 232),
                (88, 5, 40, 168),
                (104, 4, 32, 136),
            ],
        ),
        (
            SectorSize::S4096,
            [
                (80, 6, 48, 392),
                (80, 6, 48, 392),
                (88, 5, 40, 328),
                (96, 5, 40, 328),
                (104, 4, 32, 264),
                (104, 4, 32, 264),
                (120, 4, 32, 264),
                (136, 3, 24, 200),
            ],
        ),
    ];
    for (block, row) in table {
        for (tag, (entry_bytes, entries_per_sector, entries, sectors)) in tags.into_iter().zip(row)
        {
            let shape = SectionShape {
                entry_bytes,
                entries_per_sector,
                entries,
                sectors,
            };
            assert_eq!(SectionShape::of(tag, block, false), shape, "{block}/{tag}");
            // With a journal MAC eight bytes less are left in each metadata sector.
            let with_mac = match entry_bytes {
                24 => 20,
                56 => 8,
                72 => 6,
                _ => entries_per_sector,
            };
            assert_eq!(
                SectionShape::of(tag, block, true).entries_per_sector,
                with_mac,
                "{block}/{tag} with MAC"
            );
        }
    }
}

/// One row of the measured table: the request, the sizes and what the kernel made of them.
struct Measured {
    request: FormatRequest,
    sizes: DeviceSizes,
    section: u64,
    sections: u32,
    init: u64,
    run: u64,
    provided: u64,
    last_data: u64,
}

fn measured() -> Vec<Measured> {
    let new = |tag, block| FormatRequest::new(tag, block).unwrap();
    let luks = |tag, block| new(tag, block).start(SectorNumber::new(32768));
    let row = |request, sizes, numbers: [u64; 6]| Measured {
        request,
        sizes,
        section: numbers[0],
        sections: u32::try_from(numbers[1]).unwrap(),
        init: numbers[2],
        run: numbers[3],
        provided: numbers[4],
        last_data: numbers[5],
    };
    let small = sizes(40960, None);
    let volume = sizes(49152, None);
    let mib = |n: u64| SectorCount::new(n * 2048);
    vec![
        row(
            new(4, SectorSize::S512),
            small,
            [176, 1, 184, 256, 40264, 40959],
        ),
        row(
            new(4, SectorSize::S512).legacy_padding(true),
            small,
            [176, 1, 184, 256, 40264, 40959],
        ),
        row(
            new(4, SectorSize::S4096),
            small,
            [392, 1, 400, 32, 40496, 40959],
        ),
        row(
            new(32, SectorSize::S2048)
                .interleave(Interleave::Sectors(512))
                .journal_sectors(mib(1)),
            small,
            [232, 8, 1864, 8, 38488, 40959],
        ),
        row(
            luks(32, SectorSize::S512),
            volume,
            [88, 4, 360, 2048, 13976, 49151],
        ),
        row(
            luks(32, SectorSize::S4096),
            volume,
            [264, 1, 272, 256, 15856, 49151],
        ),
        row(
            luks(28, SectorSize::S4096),
            volume,
            [264, 1, 272, 224, 15888, 49151],
        ),
        row(
            new(4, SectorSize::S512),
            sizes(131_072, Some(1400)),
            [176, 2, 360, 0, 131_072, 131_071],
        ),
    ]
}

#[test]
fn formatting_gives_the_measured_numbers() {
    for (i, row) in measured().into_iter().enumerate() {
        let (superblock, layout) = row.request.plan(row.sizes).unwrap();
        assert_eq!(layout.section().sectors, row.section, "row {i}");
        assert_eq!(superblock.journal_sections(), row.sections, "row {i}");
        assert_eq!(layout.init_sectors().get(), row.init, "row {i}");
        assert_eq!(layout.run_sectors().get(), row.run, "row {i}");
        assert_eq!(
            superblock.provided_data_sectors().get(),
            row.provided,
            "row {i}"
        );
        let spb = layout.block_size().sectors().get();
        let last = layout
            .locate(SectorNumber::new(row.provided - spb))
            .unwrap();
        assert_eq!(last.data.get() / 512 + spb - 1, row.last_data, "row {i}");
        assert_eq!(last.run_blocks, 1, "row {i}");
        let reopened =
            Layout::of(&superblock, row.sizes, layout.start(), 128).expect("it fits its device");
        assert_eq!(reopened, layout, "row {i}");
    }
}

#[test]
fn volumes_have_the_sizes_that_cryptsetup_gives_them() {
    // 64 MiB, 192 MiB and 512 MiB behind the superblock, HMAC-SHA256 on 4096-byte blocks.
    let request = FormatRequest::new(32, SectorSize::S4096).unwrap();
    for (mib, sections, provided) in [(64, 3, 129_248), (512, 31, 1_032_192)] {
        let (superblock, _) = request.plan(sizes(mib * 2048, None)).unwrap();
        assert_eq!(superblock.journal_sections(), sections);
        assert_eq!(superblock.provided_data_sectors().get(), provided);
    }
    let (superblock, _) = request.plan(sizes(64 * 2048, None)).unwrap();
    let grown = Layout::of(
        &superblock,
        sizes(192 * 2048, None),
        SectorNumber::ZERO,
        128,
    )
    .unwrap();
    assert_eq!(grown.provided_data_sectors().get(), 389_344);
}

#[test]
fn the_last_block_of_an_area_ends_its_run() {
    let (_, layout) = FormatRequest::new(4, SectorSize::S4096)
        .unwrap()
        .interleave(Interleave::Sectors(64))
        .plan(sizes(40960, None))
        .unwrap();
    let base = layout.init_sectors().get();
    // 8 blocks of 4 bytes of tags: one page before each 64 sectors.
    assert_eq!(layout.run_sectors().get(), 8);
    let at = |sector| layout.locate(SectorNumber::new(sector)).unwrap();
    assert_eq!(
        at(56),
        Position {
            data: ByteOffset::new((base + 8 + 56) * 512),
            tag: ByteOffset::new(base * 512 + 7 * 4),
            run_blocks: 1,
        }
    );
    assert_eq!(
        at(64),
        Position {
            data: ByteOffset::new((base + 72 + 8) * 512),
            tag: ByteOffset::new((base + 72) * 512),
            run_blocks: 8,
        }
    );
    assert!(!layout.destroys_itself());
}

#[test]
fn sectors_inside_a_block_and_past_the_end_are_refused() {
    let (superblock, layout) = FormatRequest::new(4, SectorSize::S4096)
        .unwrap()
        .plan(sizes(40960, None))
        .unwrap();
    let provided = superblock.provided_data_sectors();
    for sector in [1, 4, provided.get(), provided.get() + 8, u64::MAX] {
        let sector = SectorNumber::new(sector);
        assert_eq!(
            layout.locate(sector),
            Err(Error::OutOfRange { sector, provided })
        );
    }
}

#[test]
fn old_padding_below_the_buffer_size_is_not_created_and_found_when_it_exists() {
    let request = FormatRequest::new(4, SectorSize::S512)
        .unwrap()
        .legacy_padding(true);
    for sectors in [8, 16, 32, 64] {
        let request = request.clone().interleave(Interleave::Sectors(sectors));
        assert_eq!(
            request.plan(sizes(40960, None)).err(),
            Some(Error::DestroysItself)
        );
        // With buffers no larger than an area the same device works.
        let (superblock, layout) = request
            .buffer_sectors(sectors)
            .plan(sizes(40960, None))
            .unwrap();
        assert!(!layout.destroys_itself());
        let found = Layout::of(&superblock, sizes(40960, None), SectorNumber::ZERO, 128).unwrap();
        assert!(found.destroys_itself());
        // Area 1 starts 256 + 2^I sectors in; its tags are looked for at the buffer's start.
        let tag = found
            .locate(SectorNumber::new(u64::from(sectors)))
            .unwrap()
            .tag
            .get();
        assert_eq!(tag, (found.init_sectors().get() + 256) * 512);
    }
    let request = request.interleave(Interleave::Sectors(128));
    assert!(
        !request
            .plan(sizes(40960, None))
            .unwrap()
            .1
            .destroys_itself()
    );
}

#[test]
fn hostile_geometries_are_errors_not_overflows() {
    let (good, _) = FormatRequest::new(4, SectorSize::S512)
        .unwrap()
        .plan(sizes(40960, None))
        .unwrap();
    let open = |change: &dyn Fn(&mut Superblock), start: u64| {
        let mut superblock = good.clone();
        change(&mut superblock);
        Layout::of(
            &superblock,
            sizes(40960, None),
            SectorNumber::new(start),
            128,
        )
        .err()
    };
    let too_small = |error| matches!(error, Some(Error::TooSmall { .. }));
    assert!(too_small(open(&|s| s.provided = u64::MAX, 0)));
    assert_eq!(open(&|s| s.provided = 0, 0), Some(Error::NoSectors));
    assert!(too_small(open(&|s| s.journal_sections = 1000, 0)));
    assert!(too_small(open(&|_| {}, u64::MAX)));
    assert!(too_small(open(&|s| s.log2_interleave = 31, 0)));
    assert!(matches!(
        open(&|s| s.journal_sections = u32::MAX, 0),
        Some(Error::JournalSize { .. })
    ));
    assert_eq!(
        open(&|s| s.log2_interleave = 0, 0),
        Some(Error::Interleave {
            found: 0,
            split: false
        })
    );
    // Even on the largest device that can exist, nothing overflows.
    let huge = DeviceSizes {
        data: SectorCount::new(u64::MAX),
        meta: None,
    };
    for log2 in [3, 31] {
        let mut superblock = good.clone();
        superblock.log2_interleave = log2;
        superblock.tag_bytes = 255;
        let layout = Layout::of(&superblock, huge, SectorNumber::ZERO, 128).unwrap();
        let last = layout.provided_data_sectors().get() - 1;
        assert!(layout.locate(SectorNumber::new(last)).is_ok());
    }
}

#[test]
fn tags_past_the_end_of_a_metadata_device_are_refused() {
    let request = FormatRequest::new(32, SectorSize::S512).unwrap();
    let (superblock, layout) = request.plan(sizes(4096, Some(1000))).unwrap();
    let needed = layout.init_sectors().get() + 4096 * 32 / 512;
    assert_eq!(needed, 352);
    let open = |meta| {
        Layout::of(
            &superblock,
            sizes(4096, Some(meta)),
            SectorNumber::ZERO,
            128,
        )
    };
    assert!(open(needed).is_ok());
    assert_eq!(
        open(needed - 1),
        Err(Error::TooSmall {
            needed: SectorCount::new(needed),
            found: SectorCount::new(needed - 1)
        })
    );
}

/// Both were told as "18446744073709551615 sectors are needed".
#[test]
fn what_a_separate_metadata_device_lacks_is_told_by_true_numbers() {
    let sizes = |data, meta| DeviceSizes {
        data: SectorCount::new(data),
        meta: Some(SectorCount::new(meta)),
    };
    let request = FormatRequest::new(4, SectorSize::S4096).unwrap();
    for found in [0, 1, 7] {
        let small = request.clone().buffer_sectors(found);
        let error = small.plan(sizes(65_536, 8192)).err();
        assert_eq!(error, Some(Error::BufferSectors { found }));
    }
    assert!(
        request
            .clone()
            .buffer_sectors(8)
            .plan(sizes(65_536, 8192))
            .is_ok()
    );
    let too_small = |needed, found| {
        Some(Error::TooSmall {
            needed: SectorCount::new(needed),
            found: SectorCount::new(found),
        })
    };
    assert_eq!(request.plan(sizes(7, 8192)).err(), too_small(8, 7));
    // Superblock, one section of 392 sectors, a page of tags.
    assert_eq!(request.plan(sizes(65_536, 399)).err(), too_small(464, 399));
}
