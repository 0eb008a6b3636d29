//! What changes of keyslots refuse before the first write, what they leave behind, and what happens
//! when the device fails under them.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect should stop there"
)]

#[expect(dead_code, reason = "the common module serves several tests")]
mod common;

use common::{device, image, passphrase, patch, run, with_changer};
use luksmith_block::{BlockDevice, Control, MemDevice, SectorSize};
use luksmith_hash::HashName;
use luksmith_header::{Budget, Header, Limits, Priority, Quoted};
use luksmith_keyslot::{
    CandidateKey, Effort, Error, Kdf, Passphrase, Threads,
    change::{Changer, FileBackup, HeaderBackup as _, KeyslotPlan, LastKeyslot},
    unlock::{Scope, Unlock, UnlockOptions, Unlocked, unlock as unlock_header},
};
use luksmith_testkit::{FaultDevice, FaultPlan, Prng, mangled::Draft2};

const FIRST: &str = "correct horse battery staple";

fn pbkdf2(iterations: u32) -> KeyslotPlan {
    KeyslotPlan::new(Kdf::Pbkdf2 {
        hash: HashName::Sha256,
        iterations,
    })
}

/// Runs a change and gives what came of it with the header in memory afterwards.
fn with<D: BlockDevice, T>(
    device: &D,
    work: impl FnOnce(&mut Changer<'_, D, Prng>) -> T,
) -> (T, Header) {
    with_changer(device, 11, work)
}

fn unlock<D: BlockDevice>(changer: &mut Changer<'_, D, Prng>) -> Unlocked {
    changer
        .unlock(
            Unlock::Passphrase(&passphrase(FIRST)),
            &UnlockOptions::new(),
        )
        .expect("the first passphrase opens")
}

fn opens<D: BlockDevice>(device: &D, text: &str) -> bool {
    let options = UnlockOptions::new().scope(Scope::AnyKey);
    run(device, Unlock::Passphrase(&passphrase(text)), &options).is_ok()
}

/// Runs a change that is to be refused, and checks that no byte and nothing in memory has changed.
fn refused(
    bytes: &[u8],
    work: impl FnOnce(&mut Changer<'_, MemDevice, Prng>) -> Result<(), Error>,
) -> Error {
    let device = device(bytes);
    let before = Header::read(&device, &Limits::default()).unwrap();
    let (answer, header) = with(&device, work);
    assert!(device.to_vec() == bytes, "something was written");
    assert_eq!(header, before);
    answer.unwrap_err()
}

#[test]
fn the_last_keyslot_of_a_volume_goes_only_if_that_is_said() {
    for name in ["luks2-cbc-essiv.img", "luks1-aes128-sha512.img"] {
        let bytes = image(name);
        let error = refused(&bytes, |changer| changer.remove(0, LastKeyslot::Keep));
        assert_eq!(error, Error::LastKeyslot { keyslot: 0 }, "{name}");
        let error = refused(&bytes, |changer| {
            let first = passphrase(FIRST);
            changer
                .remove_by_passphrase(&first, LastKeyslot::Keep)
                .map(|_| ())
        });
        assert_eq!(error, Error::LastKeyslot { keyslot: 0 }, "{name}");
        let error = refused(&bytes, |changer| changer.remove(3, LastKeyslot::Keep));
        assert_eq!(error, Error::NoSuchKeyslot { keyslot: 3 }, "{name}");

        let device = device(&bytes);
        with(&device, |changer| {
            changer.remove(0, LastKeyslot::DestroyAccess).unwrap();
        });
        assert!(!opens(&device, FIRST), "{name}");
    }
    // An unbound key's last keyslot is no volume's.
    let device = device(&image("luks2-unbound.img"));
    with(&device, |changer| {
        changer.remove(1, LastKeyslot::Keep).unwrap();
    });
    assert!(opens(&device, FIRST));
}

/// One budget went through all tries and the new keyslot: after a typo the right passphrase was
/// refused, and so was a new keyslot behind many others.
#[test]
fn a_typo_and_a_new_keyslot_cost_nothing_of_what_an_unlocking_may_cost() {
    let device = device(&image("luks2-cbc-essiv.img"));
    let limits = Limits::default();
    let mut header = Header::read(&device, &limits).unwrap();
    let first = passphrase(FIRST);
    let options = UnlockOptions::new();
    let once = {
        let mut budget = Budget::new(limits);
        let mut effort = Effort {
            budget: &mut budget,
            control: &Control::new(),
            threads: Threads::ONE,
        };
        unlock_header(
            &device,
            &header,
            Unlock::Passphrase(&first),
            &options,
            &mut effort,
        )
        .unwrap();
        budget.pbkdf2_iterations()
    };
    let mut limits = limits;
    limits.pbkdf2_iterations = once;
    let mut budget = Budget::new(limits);
    let effort = Effort {
        budget: &mut budget,
        control: &Control::new(),
        threads: Threads::ONE,
    };
    let mut random = Prng::new(3);
    let mut changer = Changer::new(&device, &mut header, &mut random, effort);
    for _ in 0..3 {
        let typo = passphrase("typo");
        let error = changer.unlock(Unlock::Passphrase(&typo), &options);
        let Err(Error::NoKeyslotOpened { report }) = error else {
            panic!("{error:?}");
        };
        assert_eq!(report.first_error(), None);
    }
    let unlocked = changer.unlock(Unlock::Passphrase(&first), &options);
    let unlocked = unlocked.unwrap();
    let most = u32::try_from(once).unwrap();
    changer
        .add(&unlocked, &passphrase("second"), &pbkdf2(most))
        .unwrap();
    let error = changer.add(&unlocked, &passphrase("third"), &pbkdf2(most + 1));
    assert!(error.is_err(), "a keyslot that its own limits refuse");
}

/// The areas were overwritten before the update of the header was found to be refused: keyslots
/// that the header still listed held noise.
#[test]
fn no_area_is_touched_if_the_header_copy_that_seems_newer_forbids_the_update() {
    let mut bytes = image("luks2-cbc-essiv.img");
    // The damaged secondary claims a sequence number above the primary's.
    let newer = bytes.get_mut(16384 + 8 + 8..16384 + 8 + 16).unwrap();
    newer.copy_from_slice(&99_u64.to_be_bytes());
    let is_refused = |error: &Error| {
        matches!(
            error,
            Error::Header {
                source: luksmith_header::Error::NewerDamagedCopy { claimed: 99, .. }
            }
        )
    };
    let error = refused(&bytes, |changer| {
        changer.remove(0, LastKeyslot::DestroyAccess)
    });
    assert!(is_refused(&error), "{error}");
    let error = refused(&bytes, |changer| changer.erase().map(|_| ()));
    assert!(is_refused(&error), "{error}");
    assert!(opens(&device(&bytes), FIRST));
}

/// Keyslots of a type that is not known stayed, and the key in them with whoever knows the type.
#[test]
fn an_erase_takes_the_keyslots_of_every_type_and_of_every_digest_of_the_volume() {
    let mut draft = Draft2::new(&image("luks2-many-slots.img"));
    draft.set("digests/0/keyslots", r#"["5","0"]"#);
    draft.set("keyslots/1/type", r#""tpm""#);
    let second = r#"{"type":"pbkdf2","keyslots":["1"],"segments":["0"]}"#;
    draft.set("digests/1", second);
    let device = device(&draft.into_image());
    let (erased, header) = with(&device, |changer| {
        let keyslots = changer.volume_keyslots();
        // In the order of the text, as they are tried and dumped.
        assert_eq!(keyslots, [0, 5, 1]);
        changer.erase()
    });
    assert_eq!(erased, Ok(vec![0, 5, 1]));
    assert!(header.keyslots().is_empty());
}

/// Only the area of a re-encryption holds no key, and what opens nothing of the volume stays.
#[test]
fn an_erase_leaves_unbound_keyslots() {
    let mut draft = Draft2::new(&image("luks2-many-slots.img"));
    draft.set("digests/0/keyslots", r#"["5","0"]"#);
    draft.set(
        "digests/1",
        r#"{"type":"pbkdf2","keyslots":["1"],"segments":[]}"#,
    );
    let device = device(&draft.into_image());
    let (erased, header) = with(&device, |changer| changer.erase());
    assert_eq!(erased, Ok(vec![0, 5]));
    let left: Vec<_> = header.keyslots().iter().map(|slot| slot.id).collect();
    assert_eq!(left, [Some(1)]);
}

#[test]
fn the_area_of_a_removed_keyslot_is_overwritten_in_every_sector() {
    let bytes = image("luks2-many-slots.img");
    let device = device(&bytes);
    let header = Header::read(&device, &Limits::default()).unwrap();
    let slots = header.keyslots();
    let slot = slots.iter().find(|slot| slot.id == Some(5)).unwrap();
    let start = usize::try_from(slot.area.offset.get()).unwrap();
    let end = start + slot.area.len.to_usize().unwrap();
    with(&device, |changer| {
        changer.remove(5, LastKeyslot::Keep).unwrap();
    });
    let now = device.to_vec();
    for at in (start..end).step_by(512) {
        assert!(now[at..at + 512] != bytes[at..at + 512], "byte {at}");
        assert!(now[at..at + 512] != [0; 512], "byte {at}");
    }
    assert!(now[end..] == bytes[end..] && now[32768..start] == bytes[32768..start]);
    assert!(!opens(&device, "second") && opens(&device, FIRST));
}

/// Random options beside cryptsetup's showed it: an area of a key for another use went by the
/// length of that key, so that the same request gave another header.
#[test]
fn an_unbound_keyslot_gives_back_the_key_that_it_was_made_for() {
    let device = device(&image("luks2-cbc-essiv.img"));
    let bytes: Vec<u8> = (0..20).collect();
    let (id, _) = with(&device, |changer| {
        let (key, new) = (CandidateKey::new(&bytes).unwrap(), passphrase("other use"));
        changer
            .add_unbound_key(key, 1000, &new, &pbkdf2(1000))
            .unwrap()
    });
    let options = UnlockOptions::new().keyslot(id).scope(Scope::AnyKey);
    let unlocked = run(
        &device,
        Unlock::Passphrase(&passphrase("other use")),
        &options,
    )
    .unwrap();
    assert_eq!(unlocked.key.expose(), bytes);
    assert!(
        run(
            &device,
            Unlock::VolumeKey(&CandidateKey::new(&bytes).unwrap()),
            &UnlockOptions::new()
        )
        .is_err(),
        "it opens no segment"
    );
}

/// It would have stayed, key and all, when the keyslots of the volume are erased.
#[test]
fn the_volumes_own_key_gets_no_unbound_keyslot() {
    let bytes = image("luks2-cbc-essiv.img");
    let device = device(&bytes);
    let first = run(
        &device,
        Unlock::Passphrase(&passphrase(FIRST)),
        &UnlockOptions::new(),
    );
    let own = first.unwrap().key.expose().to_vec();
    // Also with zeros behind it, which change no digest, and when no keyslot tells its length.
    for (tail, erased) in [(0, false), (1, false), (0, true)] {
        if erased {
            assert!(with(&device, |changer| changer.erase()).0.is_ok());
        }
        let before = device.to_vec();
        let key = CandidateKey::new(&[&own[..], &vec![0; tail]].concat()).unwrap();
        let (added, _) = with(&device, |changer| {
            changer.add_unbound_key(key, 1000, &passphrase("other use"), &pbkdf2(1000))
        });
        assert_eq!(added, Err(Error::OwnKeyUnbound), "{tail} {erased}");
        assert!(device.to_vec() == before);
    }
}

#[test]
fn the_cipher_of_an_area_goes_by_the_volume_key_whatever_the_keyslot_holds() {
    let device = device(&image("luks2-cbc-essiv.img"));
    let area = |header: &Header, id| {
        let slots = header.keyslots();
        let slot = slots.iter().find(|slot| slot.id == Some(id)).unwrap();
        (slot.area.encryption.clone().unwrap(), slot.area.key_bytes)
    };
    let of_volume = area(&Header::read(&device, &Limits::default()).unwrap(), 0);
    assert_eq!(of_volume.0, "aes-cbc-essiv:sha256");
    let plan = pbkdf2(1000);
    for key_bytes in [8, 16, 48] {
        let ((id, _), header) = with(&device, |changer| {
            let new = passphrase("other use");
            changer.add_unbound(key_bytes, 1000, &new, &plan).unwrap()
        });
        assert_eq!(area(&header, id), of_volume, "a key of {key_bytes} bytes");
        with(&device, |changer| {
            changer.remove(id, LastKeyslot::Keep).unwrap()
        });
    }
    // Nothing tells the length of a volume key that no keyslot holds.
    let (bound, header) = with(&device, |changer| {
        let unlocked = unlock(changer);
        changer.remove(0, LastKeyslot::DestroyAccess).unwrap();
        changer.add(&unlocked, &passphrase("back"), &plan).unwrap()
    });
    assert_eq!(area(&header, bound), ("aes-xts-plain64".into(), Some(64)));
    assert!(opens(&device, "back"));
}

#[test]
fn what_cannot_be_done_is_refused_before_the_first_write() {
    let bytes = image("luks2-cbc-essiv.img");
    let new = passphrase("new");
    let add = |plan: KeyslotPlan| {
        refused(&bytes, |changer| {
            let unlocked = unlock(changer);
            changer.add(&unlocked, &new, &plan).map(|_| ())
        })
    };
    assert_eq!(
        add(pbkdf2(1000).keyslot(0)),
        Error::Header {
            source: luksmith_header::Error::ObjectInUse {
                what: "keyslot",
                id: 0
            }
        }
    );
    assert_eq!(
        add(pbkdf2(1000).keyslot(32)),
        Error::Header {
            source: luksmith_header::Error::ObjectId {
                what: "keyslot",
                id: 32,
                max: 31
            }
        }
    );
    assert!(matches!(
        add(pbkdf2(999)),
        Error::CostRange { found: 999, .. }
    ));
    assert!(matches!(
        add(pbkdf2(1000).cipher("nix-xts-plain64", 64)),
        Error::Cipher { .. }
    ));
    assert!(matches!(
        add(pbkdf2(1000).cipher("aes-xts-plain64", 33)),
        Error::Cipher { .. }
    ));
    assert!(matches!(
        add(pbkdf2(1000).cipher("cipher_null-ecb", 16)),
        Error::NullCipher { .. }
    ));
    let error = refused(&bytes, |changer| {
        let plan = pbkdf2(1000);
        changer.add_unbound(32, 999, &new, &plan).map(|_| ())
    });
    assert!(matches!(error, Error::CostRange { found: 999, .. }));
    let error = refused(&bytes, |changer| {
        let wrong = passphrase("wrong");
        changer
            .change_passphrase(None, &wrong, &new, &pbkdf2(1000), None)
            .map(|_| ())
    });
    assert!(matches!(error, Error::NoKeyslotOpened { .. }), "{error}");
}

#[test]
fn a_full_keyslot_area_and_full_metadata_are_told_apart() {
    let device = device(&image("luks2-cbc-essiv.img"));
    let (result, _) = with(&device, |changer| {
        let unlocked = unlock(changer);
        (1..10).try_for_each(|keyslot| {
            let text = format!("passphrase {keyslot}");
            let found = changer.add(&unlocked, &passphrase(&text), &pbkdf2(1000))?;
            assert_eq!(found, keyslot);
            Ok(())
        })
    });
    // 512 KiB have room for four areas of 128 KiB.
    assert_eq!(
        result,
        Err(Error::Header {
            source: luksmith_header::Error::NoAreaSpace { needed: 131_072 }
        })
    );
    assert!(opens(&device, "passphrase 3") && !opens(&device, "passphrase 4"));

    // A token fills the metadata: a keyslot does not fit behind it.
    let mut bytes = image("luks2-cbc-essiv.img");
    let token = format!(
        "\"tokens\":{{\"0\":{{\"type\":\"t\",\"keyslots\":[],\"x\":\"{}\"}}}}",
        "y".repeat(11_400)
    );
    patch(&mut bytes, "\"tokens\":{}", &token, 1);
    let error = refused(&bytes, |changer| {
        let unlocked = unlock(changer);
        let new = passphrase("new");
        changer.add(&unlocked, &new, &pbkdf2(1000)).map(|_| ())
    });
    let text = error.to_string();
    assert!(matches!(error, Error::Header { .. }), "{text}");
    assert!(text.contains("12287") || text.contains("12288"), "{text}");
}

#[test]
fn a_requirement_that_is_not_understood_allows_removing_alone() {
    let mut bytes = image("luks2-many-slots.img");
    patch(
        &mut bytes,
        "\"config\":{",
        "\"config\":{\"requirements\":{\"mandatory\":[\"from-the-future\"]},",
        1,
    );
    let error = refused(&bytes, |changer| changer.set_priority(0, Priority::Prefer));
    assert_eq!(
        error,
        Error::Requirement {
            word: Quoted::new("from-the-future")
        }
    );
    let error = refused(&bytes, |changer| {
        let unlocked = unlock(changer);
        let new = passphrase("new");
        changer.add(&unlocked, &new, &pbkdf2(1000)).map(|_| ())
    });
    assert!(matches!(error, Error::Requirement { .. }));
    let device = device(&bytes);
    with(&device, |changer| {
        changer.remove(5, LastKeyslot::Keep).unwrap();
    });
    assert!(opens(&device, FIRST));
}

#[test]
fn a_header_that_someone_else_changed_is_not_overwritten() {
    for name in ["luks2-cbc-essiv.img", "luks1-aes128-sha512.img"] {
        let hash = if name.starts_with("luks1") {
            HashName::Sha512
        } else {
            HashName::Sha256
        };
        let plan = KeyslotPlan::new(Kdf::Pbkdf2 {
            hash,
            iterations: 1000,
        });
        let device = device(&image(name));
        let (error, _) = with(&device, |late| {
            let unlocked = unlock(late);
            with(&device, |first| {
                let unlocked = unlock(first);
                let theirs = passphrase("theirs");
                first.add(&unlocked, &theirs, &plan).unwrap();
            });
            let before = device.to_vec();
            let error = late.add(&unlocked, &passphrase("ours"), &plan).unwrap_err();
            assert!(device.to_vec() == before, "{name}: something was written");
            let removal = late.remove(0, LastKeyslot::DestroyAccess).unwrap_err();
            assert!(device.to_vec() == before, "{name}: something was wiped");
            assert_eq!(error, removal);
            error
        });
        match error {
            Error::HeaderChanged => assert!(name.starts_with("luks1")),
            Error::Header {
                source: luksmith_header::Error::ConcurrentUpdate { expected, found },
            } => assert_eq!(found, expected + 1),
            other => panic!("{other}"),
        }
        assert!(opens(&device, "theirs") && opens(&device, FIRST));
    }
}

#[test]
fn luks1_takes_its_own_key_derivation_and_nothing_of_luks2() {
    let bytes = image("luks1-cbc-essiv-sha1.img");
    let error = refused(&bytes, |changer| {
        let unlocked = unlock(changer);
        let new = passphrase("new");
        changer.add(&unlocked, &new, &pbkdf2(1000)).map(|_| ())
    });
    assert_eq!(
        error,
        Error::Luks1Kdf {
            keyslot: 1,
            hash: HashName::Sha1
        }
    );
    let error = refused(&bytes, |changer| changer.set_priority(0, Priority::Prefer));
    assert_eq!(error, Error::Luks1Feature);
}

#[test]
fn a_changed_keyslot_keeps_its_number_its_priority_and_its_tokens() {
    let device = device(&image("luks2-label-token.img"));
    let before = Header::read(&device, &Limits::default()).unwrap();
    let (_, header) = with(&device, |changer| {
        changer.set_priority(0, Priority::Prefer).unwrap();
        let new = passphrase("new");
        let first = passphrase(FIRST);
        let changed = changer.change_passphrase(None, &first, &new, &pbkdf2(1200), None);
        assert_eq!(changed, Ok(0));
    });
    assert!(opens(&device, "new") && !opens(&device, FIRST));
    let (Header::Luks2(before), Header::Luks2(after)) = (before, header) else {
        panic!("these are LUKS2 headers");
    };
    assert_eq!(after.metadata().tokens(), before.metadata().tokens());
    assert_eq!(after.metadata().keyslots().len(), 1);
    let slot = after.metadata().keyslot(0).unwrap();
    assert_eq!(slot.priority, Priority::Prefer);
    assert_eq!(after.binary().label(), "vault");
    // One update for the priority, two for the change, as cryptsetup counts them.
    assert_eq!(after.binary().seqid(), before.binary().seqid() + 3);
}

#[test]
fn a_device_of_large_sectors_is_changed_like_one_of_small_ones() {
    for name in ["luks2-cbc-essiv.img", "luks1-cbc-essiv-sha1.img"] {
        let hash = if name.starts_with("luks1") {
            HashName::Sha1
        } else {
            HashName::Sha256
        };
        let plan = KeyslotPlan::new(Kdf::Pbkdf2 {
            hash,
            iterations: 1000,
        });
        let device = MemDevice::from_bytes(&image(name), SectorSize::S4096);
        with(&device, |changer| {
            let unlocked = unlock(changer);
            let second = passphrase("second");
            assert_eq!(changer.add(&unlocked, &second, &plan), Ok(1));
            let third = passphrase("third");
            let changed = changer.change_passphrase(Some(1), &second, &third, &plan, None);
            assert_eq!(changed, Ok(1));
            changer.remove(0, LastKeyslot::Keep).unwrap();
        });
        assert!(opens(&device, "third"), "{name}");
        assert!(
            !opens(&device, "second") && !opens(&device, FIRST),
            "{name}"
        );
    }
}

#[test]
fn a_backup_file_is_new_whole_and_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backup");
    let mut unfinished = FileBackup::create(&path).unwrap();
    unfinished.write(b"half").unwrap();
    drop(unfinished);
    assert!(!path.exists(), "a file cut short stayed behind");

    let mut bytes = image("luks1-aes128-sha512.img");
    bytes.resize(2 << 20, 0);
    let device = device(&bytes);
    let mut backup = FileBackup::create(&path).unwrap();
    with(&device, |changer| changer.convert_to_luks2(&mut backup))
        .0
        .unwrap();
    drop(backup);
    let saved = std::fs::read(&path).unwrap();
    assert_eq!(saved.len(), 1_052_672);
    // Eight areas end at sector 2050; what is behind in the last page is zero.
    let end = 2050 * 512;
    assert!(saved[..1024] == bytes[..1024] && saved[4096..end] == bytes[4096..end]);
    #[cfg(unix)]
    {
        let mode = std::fs::metadata(&path).unwrap().permissions();
        let mode = std::os::unix::fs::PermissionsExt::mode(&mode);
        assert_eq!(mode & 0o777, 0o400);
    }
    let error = FileBackup::create(&path).unwrap_err();
    assert!(matches!(error, luksmith_block::Error::Io { .. }), "{error}");
    assert!(path.exists());
}

/// The file was made before anybody had typed a passphrase, and stayed, empty, when they gave up.
#[test]
fn a_backup_file_that_is_not_needed_is_never_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backup");
    let nowhere = path.join("folder");
    let refused = FileBackup::create_when_needed(&nowhere.join("backup")).map(drop);
    assert!(refused.is_err(), "there is no such folder");
    let mut backup = FileBackup::create_when_needed(&path).unwrap();
    let device = device(&image("luks2-cbc-essiv.img"));
    with(&device, |changer| {
        let (first, new) = (passphrase(FIRST), passphrase("new"));
        let plan = pbkdf2(1000);
        changer.change_passphrase(None, &first, &new, &plan, Some(&mut backup))
    })
    .0
    .unwrap();
    assert!(!backup.is_finished() && !path.exists());
    backup.write(b"half").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"half");
    drop(backup);
    assert!(!path.exists());
    FileBackup::create_when_needed(&path)
        .unwrap()
        .remove()
        .unwrap();

    // What somebody else puts there meanwhile is left alone, as what was there before is.
    let mut late = FileBackup::create_when_needed(&path).unwrap();
    std::fs::write(&path, b"other").unwrap();
    for error in [
        FileBackup::create_when_needed(&path).unwrap_err(),
        late.write(b"x").unwrap_err(),
        late.finish().unwrap_err(),
    ] {
        assert!(error.to_string().contains("exists"), "{error}");
    }
    drop(late);
    assert_eq!(std::fs::read(&path).unwrap(), b"other");
}

#[test]
fn a_keyslot_changes_in_one_update_where_all_numbers_are_taken() {
    // Slot 0 and 31 small ones of a type that nobody knows: no number is free, but room is.
    let mut bytes = image("luks2-cbc-essiv.img");
    let text = String::from_utf8_lossy(&bytes[4096..16384]).into_owned();
    let (_, rest) = text.split_once("\"keyslots\":{").unwrap();
    let (slot, _) = rest.split_once("},\"tokens\"").unwrap();
    let mut all = slot.to_string();
    for id in 1..32 {
        let offset = 32768 + 524_288 - 512 * id;
        all += &format!(
            ",\"{id}\":{{\"type\":\"dummy\",\"key_size\":1,\"area\":{{\"type\":\"raw\",\
             \"offset\":\"{offset}\",\"size\":\"512\"}}}}"
        );
    }
    patch(&mut bytes, slot, &all, 1);
    let device = device(&bytes);
    let before = Header::read(&device, &Limits::default()).unwrap();
    let old = before.keyslots()[0].area.clone();
    let (_, after) = with(&device, |changer| {
        let (first, new) = (passphrase(FIRST), passphrase("new"));
        let found = changer.change_passphrase(None, &first, &new, &pbkdf2(1000), None);
        assert_eq!(found, Ok(0));
    });
    assert!(opens(&device, "new") && !opens(&device, FIRST));
    assert_eq!(after.keyslots().len(), 32);
    assert_ne!(after.keyslots()[0].area.offset, old.offset);
    let start = usize::try_from(old.offset.get()).unwrap();
    let now = device.to_vec();
    assert!(
        now[start..start + 512] != bytes[start..start + 512],
        "not wiped"
    );
}

/// Fails every operation of a change once: an error comes out, the header in memory is as it was,
/// and the device still opens with one of the passphrases.
fn fail_everywhere(name: &str, hash: HashName) {
    let plan = KeyslotPlan::new(Kdf::Pbkdf2 {
        hash,
        iterations: 1000,
    });
    let bytes = image(name);
    let work = |changer: &mut Changer<'_, FaultDevice<MemDevice>, Prng>| {
        let (first, new): (Passphrase, Passphrase) = (passphrase(FIRST), passphrase("new"));
        changer.change_passphrase(Some(0), &first, &new, &plan, None)
    };
    let faulty = FaultDevice::new(device(&bytes));
    let reading = {
        Header::read(&faulty, &Limits::default()).unwrap();
        faulty.operations()
    };
    let (done, _) = with(&faulty, work);
    assert_eq!(done, Ok(0));
    let operations = faulty.operations() - reading * 2;
    assert!(operations > 10, "{operations}");
    for nth in 0..operations {
        let faulty = FaultDevice::new(device(&bytes));
        let before = Header::read(&faulty, &Limits::default()).unwrap();
        let ((answer, kept), _) = with(&faulty, |changer| {
            faulty.set_plan(Some(FaultPlan::nth(nth)));
            let answer = work(changer);
            faulty.set_plan(None);
            (answer, *changer.header() == before)
        });
        assert!(answer.is_err(), "{name}: operation {nth} failed unseen");
        assert!(kept, "{name}: operation {nth} left the header changed");
        let opened = opens(&faulty, FIRST) || opens(&faulty, "new");
        assert!(opened, "{name}: nothing opens after operation {nth} failed");
    }
    println!("{name}: {operations} operations, each failed once");
}

#[test]
fn a_device_that_fails_anywhere_in_a_change_costs_no_key() {
    fail_everywhere("luks2-cbc-essiv.img", HashName::Sha256);
    fail_everywhere("luks1-aes128-sha512.img", HashName::Sha512);
}
