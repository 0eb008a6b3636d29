//! Updates and conversions beside cryptsetup's own: the same JSON, the same binary fields.

#![expect(clippy::indexing_slicing, reason = "what fails here fails the test")]

mod common;

use common::{Cryptsetup, device};
use luksmith_header::{
    Error, Header, Limits, Priority, RestorePlan, backup,
    convert::{ToLuks1, ToLuks2},
    luks1, luks2,
};
use luksmith_testkit::Prng;
use luksmith_testkit::mangled::{Base, vector};

/// Salt and checksum of each LUKS2 copy are random; the rest must agree.
fn without_salts(image: &[u8]) -> Vec<u8> {
    let mut image = image.to_vec();
    for copy in [0, 16384] {
        image[copy + 0x68..copy + 0xa8].fill(0);
        image[copy + 0x1c0..copy + 0x200].fill(0);
    }
    image
}

#[track_caller]
fn assert_same(ours: &[u8], theirs: &[u8]) {
    let ours = without_salts(ours);
    let theirs = without_salts(theirs);
    assert_eq!(ours.len(), theirs.len());
    if let Some(at) = (0..ours.len()).find(|&at| ours[at] != theirs[at]) {
        let text = |image: &[u8]| {
            let from = at.saturating_sub(200).max(4096);
            String::from_utf8_lossy(&image[from..at + 60]).into_owned()
        };
        panic!(
            "first difference at byte {at}:\n{}\n{}",
            text(&ours),
            text(&theirs)
        );
    }
}

#[test]
fn a_label_and_a_priority_are_written_as_cryptsetup_writes_them() {
    let Some(program) = Cryptsetup::find() else {
        return;
    };
    let image = Base::Luks2.image();
    program.put("image", &image);
    program.must("config --label other --subsystem sub image");
    program.must("config --priority prefer -S 1 image");
    program.must("config --priority ignore -S 0 image");
    program.must("config --priority normal -S 1 image");
    program.must("token remove --token-id 0 image");
    program.must("luksUUID -q --uuid 01234567-89AB-CDEF-0123-456789ABCDEF image");

    let disk = device(&image);
    let mut header = luks2::read(&disk, &Limits::default()).unwrap();
    let random = &mut Prng::new(1);
    header.set_label("other").unwrap();
    header.set_subsystem("sub").unwrap();
    luks2::write(&disk, &mut header, random).unwrap();
    for (id, priority) in [
        (1, Priority::Prefer),
        (0, Priority::Ignore),
        (1, Priority::Normal),
    ] {
        let metadata = header.metadata_mut();
        metadata
            .edit(|draft| draft.set_priority(id, priority))
            .unwrap();
        luks2::write(&disk, &mut header, random).unwrap();
    }
    header
        .metadata_mut()
        .edit(|draft| draft.remove_token(0))
        .unwrap();
    luks2::write(&disk, &mut header, random).unwrap();
    header
        .set_uuid("01234567-89AB-CDEF-0123-456789ABCDEF")
        .unwrap();
    luks2::write(&disk, &mut header, random).unwrap();
    assert_same(&disk.to_vec(), &program.get("image"));
}

/// The LUKS1 base with its data far enough behind for a conversion.
fn roomy_luks1() -> Vec<u8> {
    let mut image = Base::Luks1.image();
    image[104..108].copy_from_slice(&4096_u32.to_be_bytes());
    image.resize(4 << 20, 0);
    image
}

fn assert_unlocks(image: &[u8]) {
    let Some(program) = Cryptsetup::find() else {
        return;
    };
    program.put("ours", image);
    for (word, status) in [("one", 0), ("two", 0), ("wrong", 2)] {
        program.put(word, word.as_bytes());
        let output = program.run(&format!("open --test-passphrase --key-file {word} ours"));
        assert_eq!(output.status.code(), Some(status), "{word}");
    }
}

#[test]
fn luks1_becomes_the_luks2_header_that_cryptsetup_makes_and_comes_back() {
    let image = roomy_luks1();
    let disk = device(&image);
    let header = luks1::read(&disk).unwrap();
    let plan = ToLuks2::plan(&header, &disk).unwrap();
    let converted = plan.run(&disk, &mut Prng::new(1)).unwrap();
    assert_eq!(converted.binary().seqid(), 2);
    assert_same(&disk.to_vec()[..32768], &vector("converted/luks1-as-luks2"));
    assert_unlocks(&disk.to_vec());

    let header = luks2::read(&disk, &Limits::default()).unwrap();
    let plan = ToLuks1::plan(&header, luksmith_block::BlockDevice::size(&disk)).unwrap();
    plan.run(&disk).unwrap();
    let after = disk.to_vec();
    assert!(after[..1024] == vector("converted/luks1-and-back"));
    assert!(after[..592] == image[..592], "nothing was lost on the way");
    assert!(after[4096..4096 + 262_144] == image[4096..4096 + 262_144]);
    assert_unlocks(&after);
}

#[test]
fn conversions_that_would_lose_something_are_refused_by_what_is_in_the_way() {
    let image = Base::Luks2.image();
    let disk = device(&image);
    let size = luksmith_block::BlockDevice::size(&disk);
    let mut header = luks2::read(&disk, &Limits::default()).unwrap();
    let obstacle = |header: &luks2::Header| match ToLuks1::plan(header, size) {
        Err(Error::Convert {
            version: 1,
            obstacle,
        }) => obstacle,
        other => panic!("{other:?}"),
    };
    assert_eq!(obstacle(&header), "it has tokens; remove them first");
    let metadata = header.metadata_mut();
    metadata.edit(|draft| draft.remove_token(0)).unwrap();
    metadata.edit(|draft| draft.remove_token(1)).unwrap();
    assert_eq!(
        obstacle(&header),
        "its encryption sectors are not 512 bytes"
    );
    // One sector less than what both header copies need.
    let mut image = Base::Luks1.image();
    image[104..108].copy_from_slice(&2111_u32.to_be_bytes());
    let disk = device(&image);
    let header = luks1::read(&disk).unwrap();
    assert_eq!(
        ToLuks2::plan(&header, &disk),
        Err(Error::Convert {
            version: 2,
            obstacle: "there is no room for two header copies before the data"
        })
    );
    // Notes behind the areas.
    let mut image = roomy_luks1();
    image[1_052_672..1_052_680].copy_from_slice(b"LUKSMETA");
    let disk = device(&image);
    let header = luks1::read(&disk).unwrap();
    assert!(matches!(
        ToLuks2::plan(&header, &disk),
        Err(Error::Convert { version: 2, obstacle }) if obstacle.starts_with("luksmeta")
    ));
}

#[test]
fn backups_are_interchangeable() {
    let Some(program) = Cryptsetup::find() else {
        return;
    };
    for (base, changed) in [(Base::Luks1, 300), (Base::Luks2, 5000)] {
        let image = base.image();
        program.put("image", &image);
        let theirs = program.folder().join("backup");
        let _ = std::fs::remove_file(&theirs);
        let output = program.output(&[
            "luksHeaderBackup",
            "--header-backup-file",
            &theirs.to_string_lossy(),
            &program.folder().join("image").to_string_lossy(),
        ]);
        assert!(output.status.success());
        let theirs = program.get("backup");

        let mut ours = Vec::new();
        let header = backup(&device(&image), &Limits::default(), &mut |at, bytes| {
            assert_eq!(at.get(), ours.len() as u64);
            ours.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
        assert_eq!(
            luksmith_header::backup_len(&header).get(),
            ours.len() as u64
        );
        assert!(ours == theirs, "{base:?}: the backup files agree");

        // Their backup restores here.
        let mut damaged = image.clone();
        damaged[changed] ^= 0xff;
        if base == Base::Luks2 {
            damaged[16384 + changed] ^= 0xff;
        }
        let disk = device(&damaged);
        let plan = RestorePlan::check(&device(&theirs), &disk, &Limits::default()).unwrap();
        plan.restore(&device(&theirs), &disk).unwrap();
        assert!(disk.to_vec() == image);
        // Ours restores there.
        program.put("ours", &ours);
        program.put("image", &damaged);
        program.must("luksHeaderRestore -q --header-backup-file ours image");
        assert!(program.get("image") == image);
    }
}

#[test]
fn a_backup_of_a_header_with_a_damaged_copy_holds_two_good_ones() {
    let mut image = Base::Luks2.image();
    image[..4096].fill(0);
    let mut ours = Vec::new();
    backup(&device(&image), &Limits::default(), &mut |_, bytes| {
        ours.extend_from_slice(bytes);
        Ok(())
    })
    .unwrap();
    let pair = luks2::Pair::read(&device(&ours), &Limits::default()).unwrap();
    assert!(pair.both_are_current());
    assert!(ours[32768..] == image[32768..ours.len()]);
    let header = Header::read(&device(&ours), &Limits::default()).unwrap();
    assert_eq!(header.uuid(), "11111111-2222-4333-8444-555555555555");
}
