//! Power failures during header updates: the header is the old or the new one, whole.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use common::TestRandom;
use luksmith_block::{BlockDevice, SectorSize};
use luksmith_header::{
    Limits, luks1,
    luks2::{self, Pair},
};
use luksmith_testkit::{CrashDevice, CrashOptions, Fates, mangled::Base};

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
    luks2::write(&disk, &mut new, &mut TestRandom::new(11)).unwrap();
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
        pair.repair(&medium, &mut TestRandom::new(12)).unwrap();
        let pair = Pair::read(&medium, &Limits::default()).unwrap();
        assert!(pair.both_are_current());
        let mut again = pair.choose().unwrap();
        again.set_label("again").unwrap();
        luks2::write(&medium, &mut again, &mut TestRandom::new(13)).unwrap();
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
        pair.repair(&disk, &mut TestRandom::new(1)).unwrap();
        disk.recording().for_each_crash(&OPTIONS, |_, crashed| {
            let medium = crashed.to_mem(SectorSize::S512);
            let header = luks2::read(&medium, &Limits::default()).unwrap();
            assert_eq!(header.metadata(), before.metadata());
            assert_eq!(header.binary().seqid(), before.binary().seqid());
            assert!(medium.size() == disk.size());
        });
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
