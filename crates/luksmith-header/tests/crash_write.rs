//! Power failures during header updates: the header is the old or the new one, whole.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use luksmith_block::{BlockDevice, SectorSize};
use luksmith_header::{
    KeyringToken, Limits, Priority, luks1,
    luks2::{self, Pair},
};
use luksmith_testkit::Prng;
use luksmith_testkit::{
    CrashDevice, CrashOptions, Fates,
    mangled::{Base, Draft1},
};

const OPTIONS: CrashOptions = CrashOptions {
    fates: Fates::OldOrNew,
    exhaustive_up_to: 64,
    random: 40,
    seed: 7,
};

/// Runs one update and crashes it everywhere; gives the number of images.
fn crash_everywhere(image: &[u8], fates: Fates) -> u64 {
    let disk = CrashDevice::from_bytes(image, SectorSize::S512);
    let old = luks2::read(&disk, &Limits::default()).unwrap();
    let mut new = old.clone();
    new.set_label("after the update").unwrap();
    new.metadata_mut()
        .edit(|draft| draft.remove_keyslot(0))
        .unwrap();
    luks2::write(&disk, &mut new, &mut Prng::new(11)).unwrap();
    let options = CrashOptions { fates, ..OPTIONS };
    disk.recording().for_each_crash(&options, |point, crashed| {
        let medium = crashed.to_mem(SectorSize::S512);
        let header = luks2::read(&medium, &Limits::default()).unwrap();
        let is_old =
            header.metadata() == old.metadata() && header.binary().label() == old.binary().label();
        let is_new =
            header.metadata() == new.metadata() && header.binary().label() == new.binary().label();
        assert!(is_old || is_new, "neither the old header nor the new one");
        // Once the update has returned, the new one is there for good.
        if point.pending_pieces() == 0 && point.after == disk.recording().events().len() {
            assert!(is_new);
        }
        // And it can be made whole: by a repair, and by the next update.
        let pair = Pair::read(&medium, &Limits::default()).unwrap();
        pair.repair(&medium, &mut Prng::new(12)).unwrap();
        let pair = Pair::read(&medium, &Limits::default()).unwrap();
        assert!(pair.both_are_current());
        let mut again = pair.choose().unwrap();
        again.set_label("again").unwrap();
        luks2::write(&medium, &mut again, &mut Prng::new(13)).unwrap();
        assert_eq!(luks2::read(&medium, &Limits::default()).unwrap(), again);
    })
}

#[test]
fn after_a_crash_the_header_is_the_old_or_the_new_one() {
    let mut images = 0;
    for fates in [Fates::OldOrNew, Fates::Torn] {
        images += crash_everywhere(&Base::Luks2.image(), fates);
    }
    println!("{images} crash images of an update");
    assert!(images > 100);
}

/// One change of a header.
type Edit = fn(&mut luks2::Header);

/// Every change of a LUKS2 header that touches no keyslot area.
const EDITS: [(&str, Edit); 10] = [
    ("label", |header| header.set_label("other").unwrap()),
    ("subsystem", |header| header.set_subsystem("other").unwrap()),
    ("uuid", |header| {
        let uuid = "0f0f0f0f-1111-4222-8333-444444444444";
        header.set_uuid(uuid).unwrap();
    }),
    ("priority", |header| {
        let edited = header
            .metadata_mut()
            .edit(|draft| draft.set_priority(0, Priority::Prefer));
        edited.unwrap();
    }),
    ("flags", |header| {
        let edited = header.metadata_mut().edit(|draft| {
            draft.set_flags(&["allow-discards".into()]);
            Ok(())
        });
        edited.unwrap();
    }),
    ("token add", |header| {
        let token = KeyringToken::to_object("a:key", &[0]);
        let edited = header
            .metadata_mut()
            .edit(|draft| draft.add_token(7, token));
        edited.unwrap();
    }),
    ("token replace", |header| {
        let token = KeyringToken::to_object("another:key", &[]);
        let edited = header
            .metadata_mut()
            .edit(|draft| draft.replace_token(10, token));
        edited.unwrap();
    }),
    ("token remove", |header| {
        let edited = header.metadata_mut().edit(|draft| draft.remove_token(10));
        edited.unwrap();
    }),
    ("token assign", |header| {
        let edited = header
            .metadata_mut()
            .edit(|draft| draft.assign_token(11, 0));
        edited.unwrap();
    }),
    ("token unassign", |header| {
        let edited = header
            .metadata_mut()
            .edit(|draft| draft.unassign_token(10, 0));
        edited.unwrap();
    }),
];

#[test]
fn each_change_of_a_luks2_header_is_made_or_not() {
    // Something to replace, to remove, to assign and to unassign.
    let disk = CrashDevice::from_bytes(&Base::Luks2.image(), SectorSize::S512);
    let mut old = luks2::read(&disk, &Limits::default()).unwrap();
    for (id, keyslots) in [(10, &[0][..]), (11, &[])] {
        let token = KeyringToken::to_object("the:key", keyslots);
        let draft = old.metadata_mut();
        draft.edit(|draft| draft.add_token(id, token)).unwrap();
    }
    luks2::write(&disk, &mut old, &mut Prng::new(3)).unwrap();
    let image = disk.durable().to_vec();
    for (name, edit) in EDITS {
        let disk = CrashDevice::from_bytes(&image, SectorSize::S512);
        let mut new = old.clone();
        edit(&mut new);
        luks2::write(&disk, &mut new, &mut Prng::new(4)).unwrap();
        assert!(new != old, "{name}");
        let (mut before, mut after) = (0, 0);
        let recording = disk.recording();
        let images = recording.for_each_crash(&OPTIONS, |_, crashed| {
            let medium = crashed.to_mem(SectorSize::S512);
            let found = luks2::read(&medium, &Limits::default()).unwrap();
            match (same(&found, &old), same(&found, &new)) {
                (true, false) => before += 1,
                (false, true) => after += 1,
                _ => panic!("{name}: neither the old header nor the new one"),
            }
        });
        let now = luks2::read(&disk.durable().to_mem(SectorSize::S512), &Limits::default());
        assert!(same(&now.unwrap(), &new), "{name}");
        let points = recording.points().count();
        println!("luks2 {name}: {points} crash points, {images} images: {before} old, {after} new");
        assert!(before > 0 && after > 0);
    }
}

/// Salts aside, which are new with every write.
fn same(one: &luks2::Header, other: &luks2::Header) -> bool {
    let (first, second) = (one.binary(), other.binary());
    one.metadata() == other.metadata()
        && first.label() == second.label()
        && first.subsystem() == second.subsystem()
        && first.uuid() == second.uuid()
        && first.seqid() == second.seqid()
}

#[test]
fn a_luks1_uuid_and_a_luks1_repair_touch_nothing_else() {
    let image = Base::Luks1.image();
    let disk = CrashDevice::from_bytes(&image, SectorSize::S512);
    let old = luks1::read(&disk).unwrap();
    let mut new = old.clone();
    let uuid = "0f0f0f0f-1111-4222-8333-444444444444";
    new.set_uuid(uuid).unwrap();
    luks1::write(&disk, &new).unwrap();
    let recording = disk.recording();
    let images = recording.for_each_crash(&OPTIONS, |_, crashed| {
        let header = luks1::read(&crashed.to_mem(SectorSize::S512)).unwrap();
        assert!(header == old || header == new);
    });
    let points = recording.points().count();
    println!("luks1 uuid: {points} crash points, {images} images");

    let mut damaged = image.clone();
    damaged[72..78].copy_from_slice(b"SHA256");
    // One in each of the two sectors.
    damaged[Draft1::slot(5) + 44] = 1;
    damaged[Draft1::slot(7) + 44] = 1;
    let disk = CrashDevice::from_bytes(&damaged, SectorSize::S512);
    let plan = |bytes: &[u8]| {
        let len = disk.size();
        luks1::Repair::plan(bytes.first_chunk().unwrap(), len).unwrap()
    };
    let repair = plan(&damaged);
    assert_eq!(repair.header, old);
    luks1::write(&disk, &repair.header).unwrap();
    let recording = disk.recording();
    let (mut partly, mut done) = (0, 0);
    let images = recording.for_each_crash(&OPTIONS, |_, crashed| {
        let again = plan(&crashed.to_vec());
        assert_eq!(again.header, old, "the next repair does not end there");
        match again.changes.len() {
            0 => done += 1,
            1 | 2 => partly += 1,
            _ => {}
        }
    });
    let points = recording.points().count();
    println!("luks1 repair: {points} crash points, {images} images: {partly} in part, {done} done");
    assert!(partly > 0 && done > 0);
}

#[test]
fn after_a_crash_a_header_with_one_good_copy_is_still_there() {
    let mut images = 0;
    for at in [0, 16384] {
        let mut image = Base::Luks2.image();
        image[at..at + 4096].fill(0);
        images += crash_everywhere(&image, Fates::OldOrNew);
    }
    println!("{images} crash images of an update of a damaged header");
    assert!(images > 100);
}

#[test]
fn a_crash_during_a_repair_loses_nothing() {
    for at in [0, 16384] {
        let mut image = Base::Luks2.image();
        image[at..at + 4096].fill(0);
        let disk = CrashDevice::from_bytes(&image, SectorSize::S512);
        let before = luks2::read(&disk, &Limits::default()).unwrap();
        let pair = Pair::read(&disk, &Limits::default()).unwrap();
        pair.repair(&disk, &mut Prng::new(1)).unwrap();
        let recording = disk.recording();
        let images = recording.for_each_crash(&OPTIONS, |_, crashed| {
            let medium = crashed.to_mem(SectorSize::S512);
            let header = luks2::read(&medium, &Limits::default()).unwrap();
            assert_eq!(header.metadata(), before.metadata());
            assert_eq!(header.binary().seqid(), before.binary().seqid());
            assert!(medium.size() == disk.size());
        });
        let points = recording.points().count();
        println!("luks2 repair: {points} crash points, {images} images");
    }
}

/// A LUKS1 header is two sectors without a second copy: a crash may undo or break the one change
/// that
/// was under way, and nothing else.
#[test]
fn a_crash_while_a_luks1_header_is_written_touches_no_other_keyslot() {
    let image = Base::Luks1.image();
    for slot in [2, 6, 7] {
        let disk = CrashDevice::from_bytes(&image, SectorSize::S512);
        let old = luks1::read(&disk).unwrap();
        let mut new = old.clone();
        new.enable_keyslot(slot, 1000, [0x5a; 32]).unwrap();
        luks1::write(&disk, &new).unwrap();
        disk.recording().for_each_crash(&OPTIONS, |_, crashed| {
            let header = luks1::read(&crashed.to_mem(SectorSize::S512)).unwrap();
            for (id, record) in header.keyslots().iter().enumerate() {
                if id != slot as usize {
                    assert_eq!(Some(record), old.keyslots().get(id), "keyslot {id}");
                }
            }
            assert_eq!(header.digest(), old.digest());
        });
    }
}
