//! Every write and flush of every change of keyslots is a place where the power may go. Afterwards
//! the volume opens with the old keys or with the new ones, and with those that were not touched.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect should stop there"
)]

#[expect(dead_code, reason = "the common module serves several tests")]
mod common;

use std::{cell::RefCell, collections::HashMap};

use common::{image, passphrase, run, with_changer};
use luksmith_block::{BlockDevice, SectorSize};
use luksmith_hash::{Hash, HashName};
use luksmith_header::{Header, Limits, Priority, RestorePlan};
use luksmith_keyslot::{
    Error, Kdf,
    change::{Changer, HeaderBackup, KeyslotPlan, LastKeyslot, restore_header},
    unlock::{Scope, Unlock, UnlockOptions},
};
use luksmith_testkit::{CrashDevice, CrashOptions, Image, Prng};

const FIRST: &str = "correct horse battery staple";

type TestChanger<'a> = Changer<'a, CrashDevice, Prng>;
/// A change, which is to succeed.
type Action<'a> = &'a dyn Fn(&mut TestChanger<'_>);

fn plan(hash: HashName) -> KeyslotPlan {
    KeyslotPlan::new(Kdf::Pbkdf2 {
        hash,
        iterations: 1000,
    })
}

/// Runs a change on a device that records every request.
fn perform(start: &Image, action: Action<'_>) -> CrashDevice {
    let device = CrashDevice::new(start.clone(), SectorSize::S512);
    run_change(&device, action);
    device
}

fn run_change(device: &CrashDevice, action: Action<'_>) {
    let ((), header) = with_changer(device, 7, action);
    let now = Header::read(device, &Limits::default()).unwrap();
    assert_eq!(*header.uuid(), *now.uuid());
    assert_eq!(header.keyslots(), now.keyslots());
}

/// What opens at all, of some passphrases: the volume key of each, by passphrase.
fn opens<D: BlockDevice>(device: &D, passphrases: &[&'static str]) -> Vec<(&'static str, Vec<u8>)> {
    passphrases
        .iter()
        .filter_map(|&text| {
            let options = UnlockOptions::new().scope(Scope::AnyKey);
            match run(device, Unlock::Passphrase(&passphrase(text)), &options) {
                Ok(unlocked) => Some((text, unlocked.key.expose().to_vec())),
                Err(Error::NoKeyslotOpened { .. }) => None,
                Err(error) => panic!("the header is lost: {error}"),
            }
        })
        .collect()
}

struct Expected<'a> {
    /// Opens at every moment.
    always: &'a [&'static str],
    /// At least one of these opens at every moment.
    either: &'a [&'static str],
    /// Opens when the change is done.
    after: &'a [&'static str],
    /// No longer opens when the change is done.
    gone: &'a [&'static str],
}

/// What a removal of the keyslot of the passphrase "second" leaves.
const SECOND_GONE: Expected<'_> = Expected {
    always: &[FIRST],
    either: &[],
    after: &[],
    gone: &["second"],
};

/// Cuts the power everywhere in a removal of `keyslot` by its passphrase, "second".
fn crash_in_removal_by_passphrase(volume: &str, start: &Image, keyslot: u32) {
    crash_everywhere(
        &format!("{volume} remove by passphrase"),
        start,
        &|changer| {
            let found = changer.remove_by_passphrase(&passphrase("second"), LastKeyslot::Keep);
            assert_eq!(found, Ok(keyslot));
        },
        &SECOND_GONE,
    );
}

/// Cuts the power everywhere in `action` and checks what opens.
fn crash_everywhere(name: &str, start: &Image, action: Action<'_>, expected: &Expected<'_>) {
    let key = opens(&start.to_mem(SectorSize::S512), &[FIRST]);
    let device = perform(start, action);
    let mut all: Vec<&str> = Vec::new();
    for list in [
        expected.always,
        expected.either,
        expected.after,
        expected.gone,
    ] {
        all.extend(
            list.iter()
                .filter(|text| !all.contains(text))
                .copied()
                .collect::<Vec<_>>(),
        );
    }
    let seen = RefCell::new(HashMap::<[u8; 32], Vec<&'static str>>::new());
    let what_opens = |image: &Image| -> Vec<&'static str> {
        let bytes = image.to_vec();
        let mut digest = [0; 32];
        Hash::digest(HashName::Sha256, &[&bytes], &mut digest).unwrap();
        if let Some(known) = seen.borrow().get(&digest) {
            return known.clone();
        }
        let keys = opens(&image.to_mem(SectorSize::S512), &all);
        for (text, found) in &keys {
            if expected.always.contains(text) || expected.either.contains(text) {
                assert_eq!(Some(found), key.first().map(|(_, key)| key), "{text}");
            }
        }
        let texts: Vec<&str> = keys.into_iter().map(|(text, _)| text).collect();
        seen.borrow_mut().insert(digest, texts.clone());
        texts
    };
    let mut points = 0;
    let mut last = usize::MAX;
    let recording = device.recording();
    let images = recording.for_each_crash(&CrashOptions::default(), |point, image| {
        if point.after != last {
            points += 1;
            last = point.after;
        }
        let open = what_opens(&image);
        for text in expected.always {
            assert!(open.contains(text), "{text} no longer opens; {open:?} do");
        }
        let either = expected.either.iter().any(|text| open.contains(text));
        assert!(either || expected.either.is_empty(), "only {open:?} open");
    });
    let open = what_opens(&device.durable());
    for text in expected.always.iter().chain(expected.after) {
        assert!(open.contains(text), "{text} does not open after the change");
    }
    for text in expected.gone {
        assert!(!open.contains(text), "{text} still opens after the change");
    }
    println!("{name}: {points} crash points, {images} images");
}

fn luks2() -> Image {
    Image::from_bytes(&image("luks2-cbc-essiv.img"))
}

fn luks1() -> Image {
    Image::from_bytes(&image("luks1-aes128-sha512.img"))
}

/// Adds keyslots for these passphrases.
fn with_more(start: &Image, hash: HashName, more: &[(&'static str, u32)]) -> Image {
    let device = perform(start, &|changer| {
        let unlocked = changer
            .unlock(
                Unlock::Passphrase(&passphrase(FIRST)),
                &UnlockOptions::new(),
            )
            .unwrap();
        for (text, keyslot) in more {
            let plan = plan(hash).keyslot(*keyslot);
            let found = changer.add(&unlocked, &passphrase(text), &plan).unwrap();
            assert_eq!(found, *keyslot);
        }
    });
    device.durable()
}

fn add(changer: &mut TestChanger<'_>, plan: &KeyslotPlan) {
    let unlocked = changer
        .unlock(
            Unlock::Passphrase(&passphrase(FIRST)),
            &UnlockOptions::new(),
        )
        .unwrap();
    changer.add(&unlocked, &passphrase("new"), plan).unwrap();
}

#[test]
fn adding_a_luks2_keyslot_never_costs_another() {
    crash_everywhere(
        "luks2 add",
        &luks2(),
        &|changer| add(changer, &plan(HashName::Sha256)),
        &Expected {
            always: &[FIRST],
            either: &[],
            after: &["new"],
            gone: &[],
        },
    );
}

#[test]
fn removing_a_luks2_keyslot_never_costs_another() {
    let start = with_more(&luks2(), HashName::Sha256, &[("second", 3)]);
    crash_everywhere(
        "luks2 remove",
        &start,
        &|changer| changer.remove(3, LastKeyslot::Keep).unwrap(),
        &SECOND_GONE,
    );
    crash_in_removal_by_passphrase("luks2", &start, 3);
}

#[test]
fn the_last_keyslot_goes_whole_if_it_has_to_go() {
    for (name, start) in [("luks2", luks2()), ("luks1", luks1())] {
        crash_everywhere(
            &format!("{name} remove the last"),
            &start,
            &|changer| {
                let guarded = changer.remove(0, LastKeyslot::Keep);
                assert!(
                    matches!(guarded, Err(Error::LastKeyslot { .. })),
                    "{guarded:?}"
                );
                changer.remove(0, LastKeyslot::DestroyAccess).unwrap();
            },
            &Expected {
                always: &[],
                either: &[],
                after: &[],
                gone: &[FIRST],
            },
        );
    }
}

#[test]
fn a_luks2_passphrase_is_old_or_new_while_it_changes() {
    let start = with_more(&luks2(), HashName::Sha256, &[("second", 3)]);
    let change = |changer: &mut TestChanger<'_>| {
        let found = changer.change_passphrase(
            None,
            &passphrase(FIRST),
            &passphrase("new"),
            &plan(HashName::Sha256),
            None,
        );
        assert_eq!(found, Ok(0));
    };
    crash_everywhere(
        "luks2 change",
        &start,
        &change,
        &Expected {
            always: &["second"],
            either: &[FIRST, "new"],
            after: &["new"],
            gone: &[FIRST],
        },
    );
}

#[test]
fn a_luks2_key_derivation_is_old_or_new_while_it_is_converted() {
    let kdf = Kdf::Argon2 {
        variant: luksmith_keyslot::Argon2Variant::Id,
        cost: luksmith_keyslot::Argon2Cost {
            passes: 4,
            memory_kib: 64,
            lanes: 2,
        },
    };
    crash_everywhere(
        "luks2 convert",
        &luks2(),
        &|changer| {
            let plan = KeyslotPlan::new(kdf).cipher("aes-xts-plain64", 64);
            let found = changer.convert(Some(0), &passphrase(FIRST), &plan, None);
            assert_eq!(found, Ok(0));
        },
        &Expected {
            always: &[FIRST],
            either: &[],
            after: &[FIRST],
            gone: &[],
        },
    );
}

#[test]
fn a_luks2_priority_and_an_unbound_key_cost_no_keyslot() {
    crash_everywhere(
        "luks2 priority",
        &luks2(),
        &|changer| changer.set_priority(0, Priority::Prefer).unwrap(),
        &Expected {
            always: &[FIRST],
            either: &[],
            after: &[],
            gone: &[],
        },
    );
    crash_everywhere(
        "luks2 unbound",
        &luks2(),
        &|changer| {
            let plan = plan(HashName::Sha256);
            let (keyslot, key) = changer
                .add_unbound(16, 1000, &passphrase("unbound"), &plan)
                .unwrap();
            assert_eq!((keyslot, key.len()), (1, 16));
        },
        &Expected {
            always: &[FIRST],
            either: &[],
            after: &["unbound"],
            gone: &[],
        },
    );
}

#[test]
fn erasing_luks2_leaves_a_readable_header_and_the_unbound_keys() {
    let start = with_more(&luks2(), HashName::Sha256, &[("second", 3)]);
    let start = perform(&start, &|changer| {
        let plan = plan(HashName::Sha256);
        changer
            .add_unbound(16, 1000, &passphrase("unbound"), &plan)
            .unwrap();
    })
    .durable();
    crash_everywhere(
        "luks2 erase",
        &start,
        &|changer| assert_eq!(changer.erase(), Ok(vec![0, 3])),
        &Expected {
            always: &[],
            either: &[],
            after: &["unbound"],
            gone: &[FIRST, "second"],
        },
    );
}

/// A backup in memory.
#[derive(Default)]
struct MemoryBackup {
    bytes: RefCell<Vec<u8>>,
    finished: bool,
}

impl HeaderBackup for &mut MemoryBackup {
    fn write(&mut self, bytes: &[u8]) -> Result<(), luksmith_block::Error> {
        self.bytes.borrow_mut().extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), luksmith_block::Error> {
        self.finished = true;
        Ok(())
    }
}

/// A LUKS1 header with room for a LUKS2 one before the data.
fn convertible() -> Image {
    let mut bytes = image("luks1-aes128-sha512.img");
    bytes.resize(2 << 20, 0);
    let start = with_more(
        &Image::from_bytes(&bytes),
        HashName::Sha512,
        &[("second", 6)],
    );
    Image::from_bytes(&start.to_vec())
}

/// Cuts the power everywhere in a change of the whole header: the backup brings the old keys back,
/// through the same door as a user's.
fn crash_and_restore(
    name: &str,
    start: &Image,
    change: &dyn Fn(&mut TestChanger<'_>, &mut dyn HeaderBackup),
) -> Image {
    let texts = [FIRST, "second"];
    let keys = opens(&start.to_mem(SectorSize::S512), &texts);
    assert_eq!(keys.len(), 2);
    let mut backup = MemoryBackup::default();
    let device = CrashDevice::new(start.clone(), SectorSize::S512);
    {
        let backup = RefCell::new(&mut backup);
        run_change(&device, &|changer| {
            change(changer, &mut *backup.borrow_mut());
        });
    }
    assert!(backup.finished);
    let saved = common::device(&backup.bytes.into_inner());
    let recording = device.recording();
    let points = recording.points().count();
    let mut seen = std::collections::HashSet::new();
    let images = recording.for_each_crash(&CrashOptions::default(), |_, image| {
        if !seen.insert(image.to_vec()) {
            return;
        }
        let target = image.to_mem(SectorSize::S512);
        let limits = Limits::default();
        let plan = RestorePlan::check(&saved, &target, &limits).unwrap();
        let mut old = MemoryBackup::default();
        restore_header(&plan, &saved, &target, &limits, &mut &mut old).unwrap();
        assert!(old.finished);
        assert_eq!(opens(&target, &texts), keys, "{name}: after a restore");
    });
    let done = device.durable();
    assert_eq!(opens(&done.to_mem(SectorSize::S512), &texts), keys);
    println!("{name}: {points} crash points, {images} images, each after a restore");
    done
}

#[test]
fn a_conversion_cut_off_anywhere_is_undone_by_its_backup() {
    let luks1 = convertible();
    let luks2 = crash_and_restore("luks1 to luks2", &luks1, &|changer, backup| {
        changer.convert_to_luks2(backup).unwrap();
        assert_eq!(changer.header().version(), 2);
        let again = changer.convert_to_luks2(backup).unwrap_err();
        assert!(matches!(
            again,
            Error::Header {
                source: luksmith_header::Error::Convert { version: 2, .. }
            }
        ));
    });
    let back = crash_and_restore("luks2 to luks1", &luks2, &|changer, backup| {
        changer.convert_to_luks1(backup).unwrap();
        assert_eq!(changer.header().version(), 1);
    });
    // The same header comes back, and the same areas.
    let (before, after) = (luks1.to_vec(), back.to_vec());
    assert!(before.starts_with(after.get(..1024).unwrap()));
    let areas = 4096..(8 + 6 * 256 + 250) * 512;
    assert!(before.get(areas.clone()) == after.get(areas));
}

#[test]
fn a_restore_cut_off_anywhere_is_undone_by_its_own_backup_or_repeated() {
    for (name, hash) in [("luks2", HashName::Sha256), ("luks1", HashName::Sha512)] {
        let old = if name == "luks2" { luks2() } else { luks1() };
        let new = with_more(&old, hash, &[("second", 3)]);
        // The older header goes back over the newer one, which has one keyslot more.
        let file = old.to_mem(SectorSize::S512);
        let device = CrashDevice::new(new.clone(), SectorSize::S512);
        let limits = Limits::default();
        let plan = RestorePlan::check(&file, &device, &limits).unwrap();
        assert!(!plan.uuid_differs());
        let mut undo = MemoryBackup::default();
        restore_header(&plan, &file, &device, &limits, &mut &mut undo).unwrap();
        assert!(undo.finished);
        let undo = common::device(&undo.bytes.into_inner());
        let recording = device.recording();
        let mut seen = std::collections::HashSet::new();
        let images = recording.for_each_crash(&CrashOptions::default(), |_, image| {
            if !seen.insert(image.to_vec()) {
                return;
            }
            for (backup, expected) in [(&undo, 2), (&file, 1)] {
                let target = image.to_mem(SectorSize::S512);
                let plan = RestorePlan::check(backup, &target, &limits).unwrap();
                let mut old = MemoryBackup::default();
                restore_header(&plan, backup, &target, &limits, &mut &mut old).unwrap();
                assert_eq!(opens(&target, &[FIRST, "second"]).len(), expected, "{name}");
            }
        });
        let points = recording.points().count();
        println!("{name} restore: {points} crash points, {images} images, undone and repeated");
    }
}

/// Without room for a second area the old keys come back with the backup, at any moment.
fn crash_with_backup(name: &str, start: &Image, hash: HashName) {
    let mut backup = MemoryBackup::default();
    let device = CrashDevice::new(start.clone(), SectorSize::S512);
    {
        let backup = RefCell::new(&mut backup);
        run_change(&device, &|changer| {
            let refused = changer.change_passphrase(
                Some(0),
                &passphrase(FIRST),
                &passphrase("new"),
                &plan(hash),
                None,
            );
            let refused = refused.unwrap_err();
            assert!(matches!(refused, Error::NoRoomToChange { keyslot: 0, .. }));
            changer
                .change_passphrase(
                    Some(0),
                    &passphrase(FIRST),
                    &passphrase("new"),
                    &plan(hash),
                    Some(&mut *backup.borrow_mut()),
                )
                .unwrap();
        });
    }
    assert!(backup.finished);
    let saved = backup.bytes.into_inner();
    let recording = device.recording();
    let points = recording.points().count();
    let mut seen = std::collections::HashSet::new();
    let images = recording.for_each_crash(&CrashOptions::default(), |_, image| {
        let mut bytes = image.to_vec();
        let (head, _) = bytes.split_at_mut(saved.len());
        head.copy_from_slice(&saved);
        if seen.insert(bytes.clone()) {
            let open = opens(&common::device(&bytes), &[FIRST]);
            assert_eq!(open.len(), 1, "the backup does not bring the old key back");
        }
    });
    let open = opens(&device.durable().to_mem(SectorSize::S512), &["new", FIRST]);
    assert_eq!(open.len(), 1);
    assert_eq!(open.first().map(|(text, _)| *text), Some("new"));
    println!("{name}: {points} crash points, {images} images, each after a restore");
}

#[test]
fn a_change_without_room_is_refused_or_made_after_a_backup() {
    let full = [("b", 1), ("c", 2), ("d", 3)];
    let start = with_more(&luks2(), HashName::Sha256, &full);
    crash_with_backup("luks2 change without room", &start, HashName::Sha256);

    let full: Vec<(&'static str, u32)> = ["b", "c", "d", "e", "f", "g", "h"]
        .into_iter()
        .zip(1..)
        .collect();
    let start = with_more(&luks1(), HashName::Sha512, &full);
    crash_with_backup("luks1 change without room", &start, HashName::Sha512);
}

#[test]
fn luks1_keyslots_are_added_changed_and_removed_without_loss() {
    // Keyslot 6 lies across the border of two sectors of the header.
    for keyslot in [1, 6, 7] {
        let hash = HashName::Sha512;
        crash_everywhere(
            &format!("luks1 add {keyslot}"),
            &luks1(),
            &|changer| add(changer, &plan(hash).keyslot(keyslot)),
            &Expected {
                always: &[FIRST],
                either: &[],
                after: &["new"],
                gone: &[],
            },
        );
        let start = with_more(&luks1(), hash, &[("second", keyslot)]);
        crash_everywhere(
            &format!("luks1 change {keyslot}"),
            &start,
            &|changer| {
                let found = changer.change_passphrase(
                    Some(keyslot),
                    &passphrase("second"),
                    &passphrase("new"),
                    &plan(hash),
                    None,
                );
                assert_eq!(found, Ok(keyslot));
            },
            &Expected {
                always: &[FIRST],
                either: &["second", "new"],
                after: &["new"],
                gone: &["second"],
            },
        );
        crash_everywhere(
            &format!("luks1 remove {keyslot}"),
            &start,
            &|changer| changer.remove(keyslot, LastKeyslot::Keep).unwrap(),
            &SECOND_GONE,
        );
    }
    let start = with_more(&luks1(), HashName::Sha512, &[("second", 6)]);
    crash_in_removal_by_passphrase("luks1", &start, 6);
    crash_everywhere(
        "luks1 convert key derivation",
        &start,
        &|changer| {
            let plan = KeyslotPlan::new(Kdf::Pbkdf2 {
                hash: HashName::Sha512,
                iterations: 1700,
            });
            let found = changer.convert(Some(6), &passphrase("second"), &plan, None);
            assert_eq!(found, Ok(6));
        },
        &Expected {
            always: &[FIRST, "second"],
            either: &[],
            after: &["second"],
            gone: &[],
        },
    );
    crash_everywhere(
        "luks1 erase",
        &with_more(&luks1(), HashName::Sha512, &[("second", 6)]),
        &|changer| assert_eq!(changer.erase(), Ok(vec![0, 6])),
        &Expected {
            always: &[],
            either: &[],
            after: &[],
            gone: &[FIRST, "second"],
        },
    );
}
