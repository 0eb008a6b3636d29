//! Mistakes that other readers have made, and headers that are not there.

mod common;

use common::device;
use luksmith_block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorSize};
use luksmith_header::{
    Error, Fault, Header, Limits,
    json::{SyntaxError, SyntaxFault},
    luks2::Side,
};
use luksmith_testkit::mangled::{Base, Recipe, recipes};

fn read(image: &[u8]) -> Result<Header, Error> {
    Header::read(&device(image), &Limits::default())
}

fn recipe(name: &str) -> Recipe {
    let found = recipes().into_iter().find(|recipe| recipe.name == name);
    found.unwrap_or_else(|| panic!("no recipe {name}"))
}

fn read_recipe(name: &str) -> Result<Header, Error> {
    let recipe = recipe(name);
    read(&recipe.cook(&recipe.base.image()))
}

/// The reasons why neither copy can be used.
fn reasons(name: &str) -> (Error, Error) {
    match read_recipe(name) {
        Err(Error::NoUsableCopy { primary, secondary }) => (*primary, *secondary),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_header_size_of_2_to_the_45_or_63_is_refused_before_anything_is_allocated() {
    for size in [1_u64 << 45, 1 << 63, u64::MAX, 0] {
        let (primary, secondary) = reasons(&format!("luks2/both-size-{size}"));
        let refused = |side, at| Error::CopySize {
            side,
            at: ByteOffset::new(at),
            found: size,
        };
        assert_eq!(primary, refused(Side::Primary, 0));
        assert_eq!(secondary, refused(Side::Secondary, 16384));
    }
}

#[test]
fn a_damaged_primary_does_not_hide_the_secondary() {
    let Ok(Header::Luks2(header)) = read_recipe("luks2/primary-all-zero") else {
        panic!("the secondary is good");
    };
    assert_eq!(header.binary().side(), Side::Secondary);
    assert_eq!(header.binary().label(), "base");
}

#[test]
fn a_newer_secondary_wins() {
    let Ok(Header::Luks2(header)) = read_recipe("luks2/seqid-1-2-primary-differs") else {
        panic!("both are good");
    };
    assert_eq!(header.binary().side(), Side::Secondary);
    assert_eq!(header.metadata().keyslots().len(), 2);
}

#[test]
fn a_checksum_is_looked_at_to_the_last_byte_of_the_json_area() {
    let (primary, secondary) = reasons("luks2/both-json-last-flipped");
    let wrong = |side, at| Error::Checksum {
        side,
        at: ByteOffset::new(at),
    };
    assert_eq!(primary, wrong(Side::Primary, 0));
    assert_eq!(secondary, wrong(Side::Secondary, 16384));
}

/// Images that a Go library wrote have a wrong checksum in the secondary: they open, unchanged.
#[test]
fn a_secondary_with_a_wrong_checksum_opens_and_is_not_modified() {
    let recipe = recipe("luks2/secondary-checksum-byte-0");
    let image = recipe.cook(&recipe.base.image());
    let disk = device(&image);
    let header = Header::read(&disk, &Limits::default()).unwrap();
    assert_eq!(header.label().as_deref(), Some("base"));
    assert!(disk.to_vec() == image);
}

#[test]
fn unknown_tokens_keyslots_digests_and_flags_are_kept_and_do_not_get_in_the_way() {
    for name in [
        "luks2/rule/token-id-32-0",
        "luks2/rule/slot-unknown-type",
        "luks2/rule/digest-id-8-0",
        "luks2/rule/flags-2",
        "luks2/rule/unknown-section-1",
    ] {
        let header = read_recipe(name).unwrap();
        let Header::Luks2(header) = header else {
            panic!("LUKS2");
        };
        assert!(header.metadata().keyslot(0).is_some(), "{name}");
    }
}

#[test]
fn a_device_that_ends_early_is_told_apart_from_one_without_a_header() {
    let image = Base::Luks2.image();
    let short = |len: usize| read(&image[..len]).unwrap_err();
    let too_short = |what, at, needed, size| Error::TooShort {
        what,
        at: ByteOffset::new(at),
        needed: ByteLen::new(needed),
        size: ByteLen::new(size),
    };
    assert_eq!(short(0), too_short("a LUKS header", 0, 512, 0));
    assert_eq!(short(511), too_short("a LUKS header", 0, 512, 0));
    assert_eq!(
        short(1024),
        too_short("a LUKS2 binary header", 0, 4096, 1024)
    );
    let whole = "the LUKS2 header with its keyslot area";
    assert_eq!(short(425_472), too_short(whole, 0, 425_984, 425_472));
    assert!(read(&image[..425_984]).is_ok());
    // Long enough for the primary alone.
    let Err(Error::TooShort { needed, .. }) = read(&image[..16384]) else {
        panic!("the keyslot area is not there");
    };
    assert_eq!(needed, ByteLen::new(425_984));
    let luks1 = Base::Luks1.image();
    assert_eq!(
        read(&luks1[..512]).unwrap_err(),
        too_short("a LUKS1 header", 0, 1024, 512)
    );
    assert_eq!(
        read(&luks1[..4096]).unwrap_err(),
        too_short(
            "the LUKS1 header with its keyslot areas",
            0,
            1_049_600,
            4096
        )
    );
}

#[test]
fn what_is_no_luks_header_is_called_so() {
    assert_eq!(read(&[0; 4096]), Err(Error::NotLuks));
    assert_eq!(read(&[0; 512]), Err(Error::NotLuks));
    let text: Vec<u8> = (0..=250_u8).cycle().take(10 << 20).collect();
    assert_eq!(read(&text), Err(Error::NotLuks));
    assert_eq!(
        read_recipe("luks1/version-3"),
        Err(Error::UnsupportedVersion { version: 3 })
    );
    assert_eq!(
        read_recipe("luks1/magic-old-reencryption"),
        Err(Error::Luks1OldReencryption)
    );
}

#[test]
fn a_device_of_4096_byte_sectors_reads_the_same() {
    for base in Base::ALL {
        let image = base.image();
        let large = MemDevice::from_bytes(&image, SectorSize::S4096);
        assert_eq!(Header::read(&large, &Limits::default()), read(&image));
    }
}

#[test]
fn a_header_of_the_largest_size_reads_and_the_limit_holds() {
    let recipe = recipe("luks2/resized-4194304");
    let image = recipe.cook(&recipe.base.image());
    let Ok(Header::Luks2(header)) = read(&image) else {
        panic!("4 MiB headers are good");
    };
    assert_eq!(header.binary().hdr_size(), 4 << 20);
    let mut limits = Limits::default();
    limits.header_bytes = 65536;
    let Err(Error::NoUsableCopy { primary, .. }) = Header::read(&device(&image), &limits) else {
        panic!("the limit is below the size");
    };
    assert_eq!(
        *primary,
        Error::HeaderBytes {
            side: Side::Primary,
            found: 4 << 20,
            limit: 65536
        }
    );
}

#[test]
fn many_json_values_are_refused_by_the_limit() {
    let image = Base::Luks2.image();
    let mut limits = Limits::default();
    limits.json_elements = 20;
    let Err(Error::NoUsableCopy { primary, .. }) = Header::read(&device(&image), &limits) else {
        panic!("the limit is below the count");
    };
    assert!(matches!(
        *primary,
        Error::Json {
            source: SyntaxError {
                fault: SyntaxFault::TooManyElements { limit: 20 },
                ..
            }
        }
    ));
}

#[test]
fn a_stale_secondary_inside_a_dead_primary_is_not_taken_for_the_real_one() {
    let Ok(Header::Luks2(header)) = read_recipe("luks2-64k/stale-secondary-in-dead-primary-older")
    else {
        panic!("the real secondary is good");
    };
    assert_eq!(header.binary().hdr_size(), 65536);
    assert_eq!(
        header.binary().uuid(),
        "21111111-2222-4333-8444-555555555555"
    );
}

#[test]
fn a_broken_rule_is_named_with_field_value_and_place() {
    let (primary, _) = reasons("luks2/rule/segment-offset-2");
    assert_eq!(
        primary.to_string(),
        "segments.0.offset: 1 is not a multiple of 512"
    );
    let (primary, _) = reasons("luks2/rule/area-offset-5");
    assert_eq!(
        primary.to_string(),
        "keyslots.1.area: shares bytes with \"0\""
    );
    let (primary, _) = reasons("luks2/rule/area-offset-9");
    assert_eq!(
        primary.to_string(),
        "keyslots.0.area: 131072 bytes at byte 425983 end behind the keyslot area, which ends at \
         425984"
    );
}

/// Objects with ten thousand members, each naming all others, cost no quadratic time.
#[test]
fn hostile_reference_lists_are_judged_quickly() {
    let slots: Vec<String> = (0..9000).map(|id| format!("\"{id}\":{{}}")).collect();
    let names: Vec<String> = (0..9000).map(|id| format!("\"{id}\"")).collect();
    let text = format!(
        "{{\"keyslots\":{{{}}},\"tokens\":{{\"0\":{{\"type\":\"x\",\"keyslots\":[{}]}}}},\
         \"segments\":{{}},\"digests\":{{}},\"config\":{{}}}}",
        slots.join(","),
        names.join(",")
    );
    let mut area = text.into_bytes();
    area.resize((4 << 20) - 4096, 0);
    let start = std::time::Instant::now();
    let error = luksmith_header::luks2::Metadata::parse(&area, 4 << 20, &Limits::default());
    assert!(matches!(
        error,
        Err(Error::Field {
            fault: Fault::NoSegment,
            ..
        })
    ));
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn a_device_error_is_passed_on() {
    struct Broken;
    impl BlockDevice for Broken {
        fn size(&self) -> ByteLen {
            ByteLen::new(1 << 20)
        }
        fn sector_size(&self) -> SectorSize {
            SectorSize::S512
        }
        fn read_at(&self, at: ByteOffset, _: &mut [u8]) -> Result<(), luksmith_block::Error> {
            Err(luksmith_block::Error::Io {
                operation: luksmith_block::Operation::Read,
                at,
                failure: luksmith_block::IoFailure::Os(5),
            })
        }
        fn write_at(&self, _: ByteOffset, _: &[u8]) -> Result<(), luksmith_block::Error> {
            Err(luksmith_block::Error::ReadOnly)
        }
        fn flush(&self) -> Result<(), luksmith_block::Error> {
            Ok(())
        }
    }
    assert!(matches!(
        Header::read(&Broken, &Limits::default()),
        Err(Error::Device { .. })
    ));
}
