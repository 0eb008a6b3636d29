//! Updates of a header on its device: what is written, what is kept, what is refused.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what fails here fails the test"
)]

mod common;

use common::{NoRandom, device};
use luksmith_block::{BlockDevice, ByteOffset};
use luksmith_header::{
    Error, Limits, Priority,
    json::{Object, Value},
    luks1,
    luks2::{self, Metadata, NewKdf, NewKeyslot, Pair, Side},
};
use luksmith_testkit::{Prng, mangled::Base};

fn read(image: &dyn BlockDevice) -> luks2::Header {
    luks2::read(image, &Limits::default()).unwrap()
}

fn json_text(image: &[u8], copy: usize) -> &[u8] {
    let area = &image[copy * 16384 + 4096..(copy + 1) * 16384];
    &area[..area.iter().position(|&byte| byte == 0).unwrap()]
}

#[test]
fn an_update_without_a_change_raises_the_sequence_number_and_keeps_every_other_byte() {
    let image = Base::Luks2.image();
    let disk = device(&image);
    let mut header = read(&disk);
    assert_eq!(header.binary().seqid(), 7);
    luks2::write(&disk, &mut header, &mut Prng::new(1)).unwrap();
    assert_eq!(header.binary().seqid(), 8);
    let after = disk.to_vec();
    for copy in 0..2 {
        assert_eq!(
            json_text(&after, copy),
            json_text(&image, copy),
            "copy {copy}"
        );
        // Sequence number, salt and checksum are new; nothing else is.
        let changed: Vec<usize> = (0..4096)
            .filter(|at| after[copy * 16384 + at] != image[copy * 16384 + at])
            .collect();
        let allowed =
            |at: &usize| *at == 23 || (0x68..0xa8).contains(at) || (0x1c0..0x1e0).contains(at);
        assert!(changed.iter().all(allowed), "copy {copy}: {changed:x?}");
    }
    assert!(
        after[32768..] == image[32768..],
        "nothing behind the headers changed"
    );
    assert_eq!(read(&disk), header);
    assert!(
        Pair::read(&disk, &Limits::default())
            .unwrap()
            .both_are_current()
    );
}

#[test]
fn the_sequence_number_wraps_to_zero() {
    let image = Base::Luks2.image();
    let disk = device(&image);
    let mut header = read(&disk);
    for seqid in [8, 9] {
        luks2::write(&disk, &mut header, &mut Prng::new(seqid)).unwrap();
        assert_eq!(header.binary().seqid(), seqid);
    }
}

#[test]
fn a_header_that_another_program_has_written_since_is_not_overwritten() {
    let disk = device(&Base::Luks2.image());
    let mut first = read(&disk);
    let mut second = read(&disk);
    luks2::write(&disk, &mut first, &mut Prng::new(1)).unwrap();
    let before = disk.to_vec();
    second.set_label("late").unwrap();
    assert_eq!(
        luks2::write(&disk, &mut second, &mut Prng::new(2)),
        Err(Error::ConcurrentUpdate {
            expected: 7,
            found: 8
        })
    );
    assert!(disk.to_vec() == before);
}

#[test]
fn without_random_numbers_nothing_is_written() {
    let image = Base::Luks2.image();
    let disk = device(&image);
    let mut header = read(&disk);
    assert_eq!(
        luks2::write(&disk, &mut header, &mut NoRandom),
        Err(Error::Random)
    );
    assert!(disk.to_vec() == image);
}

/// A crash while the only good copy is overwritten would leave none.
#[test]
fn a_damaged_secondary_is_restored_before_the_primary_is_touched() {
    let mut image = Base::Luks2.image();
    image[16384..20480].fill(0);
    let disk = luksmith_testkit::CrashDevice::from_bytes(&image, luksmith_block::SectorSize::S512);
    let mut header = read(&disk);
    header.set_label("new").unwrap();
    luks2::write(&disk, &mut header, &mut Prng::new(3)).unwrap();
    let writes: Vec<u64> = disk
        .recording()
        .events()
        .iter()
        .filter_map(|event| match event {
            luksmith_testkit::Event::Write { at, .. } => Some(at.get()),
            _ => None,
        })
        .collect();
    assert_eq!(writes, [16384, 0, 16384]);
    assert_eq!(read(&disk).binary().label(), "new");
}

#[test]
fn a_damaged_secondary_that_claims_to_be_newer_stops_the_update() {
    let mut image = Base::Luks2.image();
    image[16384 + 16..16384 + 24].copy_from_slice(&9_u64.to_be_bytes());
    let disk = device(&image);
    let mut header = read(&disk);
    assert_eq!(
        luks2::write(&disk, &mut header, &mut Prng::new(3)),
        Err(Error::NewerDamagedCopy {
            side: Side::Secondary,
            claimed: 9,
            used: 7
        })
    );
    assert!(disk.to_vec() == image);
    // An explicit repair gives the damaged copy up, and says so.
    let pair = Pair::read(&disk, &Limits::default()).unwrap();
    let plan = pair.repair(&disk, &mut Prng::new(4)).unwrap().unwrap();
    assert_eq!((plan.side, plan.claimed_newer), (Side::Secondary, Some(9)));
    let mut header = read(&disk);
    luks2::write(&disk, &mut header, &mut Prng::new(5)).unwrap();
}

#[test]
fn a_repair_copies_the_text_to_the_byte_and_keeps_the_sequence_number() {
    let good = Base::Luks2.image();
    for (side, at) in [(Side::Primary, 0), (Side::Secondary, 16384)] {
        let mut image = good.clone();
        image[at..at + 4096].fill(0xff);
        let disk = device(&image);
        let pair = Pair::read(&disk, &Limits::default()).unwrap();
        assert_eq!(pair.repair_plan().unwrap().unwrap().side, side);
        pair.repair(&disk, &mut Prng::new(9)).unwrap();
        let after = disk.to_vec();
        let pair = Pair::read(&disk, &Limits::default()).unwrap();
        assert_eq!(pair.repair_plan(), Ok(None));
        assert_eq!(pair.primary().unwrap().binary().seqid(), 7);
        assert!(after[at + 4096..at + 16384] == good[at + 4096..at + 16384]);
        assert!(after[32768..] == good[32768..]);
    }
}

#[test]
fn a_repair_of_what_is_whole_writes_nothing() {
    let image = Base::Luks2.image();
    let disk = device(&image);
    let pair = Pair::read(&disk, &Limits::default()).unwrap();
    assert_eq!(pair.repair(&disk, &mut NoRandom), Ok(None));
    assert!(disk.to_vec() == image);
}

fn keyslot(metadata: &mut Metadata) -> NewKeyslot {
    let (area_offset, area_len) = metadata.edit(|draft| draft.find_area(32)).unwrap();
    NewKeyslot {
        key_bytes: 32,
        af_hash: "sha256".into(),
        area_offset,
        area_len,
        encryption: "aes-xts-plain64".into(),
        area_key_bytes: 32,
        kdf: NewKdf::Pbkdf2 {
            hash: "sha256".into(),
            iterations: 1000,
            salt: [5; 32],
        },
    }
}

#[test]
fn keyslots_come_and_go_with_their_references() {
    let disk = device(&Base::Luks2.image());
    let mut header = read(&disk);
    let before = header.metadata().clone();
    let new = keyslot(header.metadata_mut());
    assert_eq!(new.area_offset, ByteOffset::new(294_912));
    let metadata = header.metadata_mut();
    metadata
        .edit(|draft| {
            assert_eq!(draft.free_keyslot(), Ok(2));
            draft.add_keyslot(2, &new, 0)?;
            draft.assign_token(1, 2)
        })
        .unwrap();
    assert_eq!(metadata.digest_of_keyslot(2).unwrap().id, Some(0));
    assert_eq!(metadata.token(1).unwrap().keyslots, [0, 2]);
    // The area is full now.
    assert_eq!(
        metadata.edit(|draft| draft.find_area(32)),
        Err(Error::NoAreaSpace { needed: 131_072 })
    );
    metadata.edit(|draft| draft.remove_keyslot(2)).unwrap();
    assert_eq!(*metadata, before);
    let missing = Error::NoSuchObject {
        what: "keyslot",
        id: 2,
    };
    assert_eq!(metadata.edit(|draft| draft.remove_keyslot(2)), Err(missing));
}

#[test]
fn an_edit_that_breaks_a_rule_changes_nothing() {
    let disk = device(&Base::Luks2.image());
    let mut header = read(&disk);
    let before = header.metadata().clone();
    let new = NewKeyslot {
        area_offset: ByteOffset::new(163_840),
        ..keyslot(header.metadata_mut())
    };
    let error = header
        .metadata_mut()
        .edit(|draft| draft.add_keyslot(2, &new, 0))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "keyslots.2.area: shares bytes with \"1\""
    );
    assert_eq!(*header.metadata(), before);
}

#[test]
fn swapped_keyslots_keep_their_areas_and_trade_their_ids() {
    let disk = device(&Base::Luks2.image());
    let mut header = read(&disk);
    let offset = |header: &luks2::Header, id| header.metadata().keyslot(id).unwrap().area.offset;
    let (first, second) = (offset(&header, 0), offset(&header, 1));
    header
        .metadata_mut()
        .edit(|draft| draft.swap_keyslots(0, 1))
        .unwrap();
    assert_eq!((offset(&header, 0), offset(&header, 1)), (second, first));
}

#[test]
fn unknown_content_survives_changes() {
    let disk = device(&Base::Luks2.image());
    let mut header = read(&disk);
    header
        .metadata_mut()
        .edit(|draft| {
            draft.tree().set("later", Value::string("x"));
            let config = draft
                .tree()
                .get_mut("config")
                .and_then(Value::as_object_mut);
            config
                .unwrap()
                .set("flags", Value::Array(vec![Value::string("unknown-flag")]));
            Ok(())
        })
        .unwrap();
    header
        .metadata_mut()
        .edit(|draft| draft.set_priority(0, Priority::Prefer))
        .unwrap();
    luks2::write(&disk, &mut header, &mut Prng::new(1)).unwrap();
    let text = read(&disk).metadata().tree().to_compact();
    assert!(text.contains("\"note\":{\"a\":[1,2.50,null]}"), "{text}");
    assert!(
        text.ends_with("\"flags\":[\"unknown-flag\"]},\"later\":\"x\"}"),
        "{text}"
    );
    assert!(text.contains("\"priority\":2"), "{text}");
}

#[test]
fn metadata_grow_until_one_byte_is_left_and_no_further() {
    let disk = device(&Base::Luks2.image());
    let mut header = read(&disk);
    let used = header.metadata().tree().to_compact().len();
    let token = |len: usize| -> Object {
        [
            ("type", Value::string("x")),
            ("keyslots", Value::Array(Vec::new())),
            ("n", Value::string("y".repeat(len))),
        ]
        .into_iter()
        .collect()
    };
    // `,"2":` and the token around its text.
    let room = 12287 - used - 5 - token(0).to_compact().len();
    header
        .metadata_mut()
        .edit(|draft| draft.add_token(2, token(room)))
        .unwrap();
    luks2::write(&disk, &mut header, &mut Prng::new(1)).unwrap();
    header
        .metadata_mut()
        .edit(|draft| draft.replace_token(2, token(room + 1)))
        .unwrap();
    let before = disk.to_vec();
    assert_eq!(
        luks2::write(&disk, &mut header, &mut Prng::new(1)),
        Err(Error::MetadataFull {
            needed: 12288,
            available: 12287
        })
    );
    assert!(disk.to_vec() == before);
}

#[test]
fn labels_that_do_not_fit_are_refused() {
    let disk = device(&Base::Luks2.image());
    let mut header = read(&disk);
    header.set_label(&"x".repeat(47)).unwrap();
    let refused = |found| {
        Err(Error::LabelLength {
            field: "label",
            found,
        })
    };
    assert_eq!(header.set_label(&"x".repeat(48)), refused(48));
    assert_eq!(header.set_label("a\0b"), refused(3));
    assert_eq!(header.binary().label(), "x".repeat(47));
}

#[test]
fn a_luks1_header_writes_back_to_the_same_bytes() {
    let image = Base::Luks1.image();
    for sector_size in [
        luksmith_block::SectorSize::S512,
        luksmith_block::SectorSize::S4096,
    ] {
        let disk = luksmith_block::MemDevice::from_bytes(&image, sector_size);
        let header = luks1::read(&disk).unwrap();
        luks1::write(&disk, &header).unwrap();
        assert!(disk.to_vec() == image);
    }
}
