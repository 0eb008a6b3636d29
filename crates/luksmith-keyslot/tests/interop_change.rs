//! The real cryptsetup accepts what our changes of keyslots leave behind, and goes on from there.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect should stop there"
)]

#[expect(dead_code, reason = "the common module serves several tests")]
mod common;

use std::{fs, io::Write as _, path::Path, process::Stdio};

use common::{device, image, passphrase, run, with_changer};
use luksmith_block::{BlockDevice, SectorSize};
use luksmith_hash::HashName;
use luksmith_header::Priority;
use luksmith_keyslot::{
    Argon2Cost, Argon2Variant, Kdf,
    change::{Changer, HeaderBackup, KeyslotPlan, LastKeyslot},
    unlock::{Unlock, UnlockOptions},
};
use luksmith_testkit::{CrashDevice, CrashOptions, Image, Prng};

const FIRST: &str = "correct horse battery staple";

/// The real program.
struct Cryptsetup(luksmith_testkit::Cryptsetup);

impl Cryptsetup {
    fn find() -> Option<Self> {
        luksmith_testkit::Cryptsetup::find().map(Self)
    }

    /// Runs it with `stdin` and gives its exit status, and what it said on a failure.
    fn run(&self, arguments: &[&str], file: &Path, stdin: &str) -> (Option<i32>, String) {
        let mut child = self
            .0
            .command()
            .args(arguments)
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(stdin.as_bytes()).unwrap();
        drop(pipe);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    }

    fn opens(&self, file: &Path, text: &str, keyslot: Option<u32>) -> bool {
        let slot = keyslot.map(|keyslot| keyslot.to_string());
        let mut arguments = vec!["open", "--test-passphrase", "--key-file", "-"];
        if let Some(slot) = &slot {
            arguments.extend(["--key-slot", slot]);
        }
        match self.run(&arguments, file, text) {
            (Some(0), _) => true,
            (Some(2), _) => false,
            // All are gone.
            (Some(1), said) if said.contains("No usable keyslot is available") => false,
            other => panic!("{text}: {other:?}"),
        }
    }
}

fn with<D: BlockDevice, T>(device: &D, work: impl FnOnce(&mut Changer<'_, D, Prng>) -> T) -> T {
    with_changer(device, 5, work).0
}

fn plan(hash: HashName) -> KeyslotPlan {
    KeyslotPlan::new(Kdf::Pbkdf2 {
        hash,
        iterations: 1000,
    })
}

fn check(cryptsetup: &Cryptsetup, bytes: &[u8], good: &[(&str, u32)], bad: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("volume.img");
    fs::write(&file, bytes).unwrap();
    let (status, said) = cryptsetup.run(&["luksDump"], &file, "");
    assert_eq!(status, Some(0), "{said}");
    for (text, keyslot) in good {
        assert!(cryptsetup.opens(&file, text, Some(*keyslot)), "{text}");
    }
    for text in bad {
        assert!(!cryptsetup.opens(&file, text, None), "{text}");
    }
    // It can go on with what we left: a keyslot of its own, which we open in turn.
    let key = folder.path().join("key");
    fs::write(&key, good.first().unwrap().0).unwrap();
    let new = folder.path().join("new");
    fs::write(&new, "theirs").unwrap();
    let mut command = cryptsetup.0.command();
    command
        .args(["luksAddKey", "-q", "--pbkdf", "pbkdf2"])
        .args(["--pbkdf-force-iterations", "1000", "--key-file"])
        .arg(&key)
        .arg(&file)
        .arg(&new);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    fs::read(&file).unwrap()
}

#[test]
fn cryptsetup_opens_what_our_changes_of_luks2_leave() {
    let Some(cryptsetup) = Cryptsetup::find() else {
        return;
    };
    let bytes = image("luks2-many-slots.img");
    let device = device(&bytes);
    with(&device, |changer| {
        let unlocked = changer
            .unlock(
                Unlock::Passphrase(&passphrase(FIRST)),
                &UnlockOptions::new(),
            )
            .unwrap();
        // 1 MiB has room for four areas of 252 KiB: three are taken.
        let argon2 = KeyslotPlan::new(Kdf::Argon2 {
            variant: Argon2Variant::Id,
            cost: Argon2Cost {
                passes: 4,
                memory_kib: 1024,
                lanes: 2,
            },
        });
        let new = passphrase("new");
        assert_eq!(changer.add(&unlocked, &new, &argon2), Ok(2));
        changer.remove(5, LastKeyslot::Keep).unwrap();
        let third = passphrase("third");
        let changed = passphrase("changed");
        let plan = plan(HashName::Sha512).cipher("aes-cbc-essiv:sha256", 32);
        let found = changer.change_passphrase(Some(1), &third, &changed, &plan, None);
        assert_eq!(found, Ok(1));
        changer.set_priority(1, Priority::Normal).unwrap();
        let unbound = changer.add_unbound(32, 1000, &passphrase("unbound"), &plan);
        assert_eq!(unbound.unwrap().0, 3);
    });
    let good = [(FIRST, 0), ("new", 2), ("changed", 1)];
    let bytes = device.to_vec();
    // The unbound key takes the last room; without it there is some for cryptsetup's own keyslot.
    with(&device, |changer| changer.remove(3, LastKeyslot::Keep)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("volume.img");
    fs::write(&file, &bytes).unwrap();
    let unbound = [
        "open",
        "--test-passphrase",
        "--unbound",
        "--key-slot",
        "3",
        "--key-file",
        "-",
    ];
    let (status, said) = cryptsetup.run(&unbound, &file, "unbound");
    assert_eq!(status, Some(0), "{said}");

    let after = check(
        &cryptsetup,
        &device.to_vec(),
        &good,
        &["second", "third", "unbound"],
    );
    let theirs = run(
        &common::device(&after),
        Unlock::Passphrase(&passphrase("theirs")),
        &UnlockOptions::new(),
    );
    assert_eq!(theirs.unwrap().keyslot, Some(3));
}

#[test]
fn cryptsetup_opens_what_our_changes_of_luks1_leave() {
    let Some(cryptsetup) = Cryptsetup::find() else {
        return;
    };
    for (name, hash) in [
        ("luks1-aes128-sha512.img", HashName::Sha512),
        ("luks1-cbc-essiv-sha1.img", HashName::Sha1),
    ] {
        let device = device(&image(name));
        with(&device, |changer| {
            let unlocked = changer
                .unlock(
                    Unlock::Passphrase(&passphrase(FIRST)),
                    &UnlockOptions::new(),
                )
                .unwrap();
            let second = passphrase("second");
            let found = changer.add(&unlocked, &second, &plan(hash).keyslot(6));
            assert_eq!(found, Ok(6));
            assert_eq!(
                changer.add(&unlocked, &passphrase("gone"), &plan(hash)),
                Ok(1)
            );
            let third = passphrase("third");
            let found = changer.change_passphrase(None, &second, &third, &plan(hash), None);
            assert_eq!(found, Ok(6));
            changer.remove(1, LastKeyslot::Keep).unwrap();
        });
        let good = [(FIRST, 0), ("third", 6)];
        let after = check(&cryptsetup, &device.to_vec(), &good, &["second", "gone"]);
        let theirs = run(
            &common::device(&after),
            Unlock::Passphrase(&passphrase("theirs")),
            &UnlockOptions::new(),
        );
        assert_eq!(theirs.unwrap().keyslot, Some(1));
    }
}

/// A backup in memory.
#[derive(Default)]
struct MemoryBackup(Vec<u8>);

impl HeaderBackup for MemoryBackup {
    fn write(&mut self, bytes: &[u8]) -> Result<(), luksmith_block::Error> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), luksmith_block::Error> {
        Ok(())
    }
}

#[test]
fn cryptsetup_takes_our_conversions_and_their_backups() {
    let Some(cryptsetup) = Cryptsetup::find() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("volume.img");
    let mut bytes = image("luks1-aes128-sha512.img");
    bytes.resize(4 << 20, 0);
    let device = device(&bytes);
    let (mut first, mut second) = (MemoryBackup::default(), MemoryBackup::default());
    with(&device, |changer| changer.convert_to_luks2(&mut first)).unwrap();
    let converted = device.to_vec();
    fs::write(&file, &converted).unwrap();
    let is_luks2 = ["isLuks", "--type", "luks2"];
    assert_eq!(cryptsetup.run(&is_luks2, &file, "").0, Some(0));
    assert!(cryptsetup.opens(&file, FIRST, Some(0)));
    with(&device, |changer| changer.convert_to_luks1(&mut second)).unwrap();
    fs::write(&file, device.to_vec()).unwrap();
    let is_luks1 = ["isLuks", "--type", "luks1"];
    assert_eq!(cryptsetup.run(&is_luks1, &file, "").0, Some(0));
    assert!(cryptsetup.opens(&file, FIRST, Some(0)));

    // Its own backup of either header is the one that we made before the conversion.
    for (name, volume, ours) in [("1", &bytes, &first.0), ("2", &converted, &second.0)] {
        fs::write(&file, volume).unwrap();
        let theirs = folder.path().join(name);
        let mut command = cryptsetup.0.command();
        command.arg("luksHeaderBackup").arg(&file);
        command.arg("--header-backup-file").arg(&theirs);
        assert!(command.output().unwrap().status.success());
        assert!(fs::read(&theirs).unwrap() == *ours, "LUKS{name} backup");
        // And it puts ours back on a header that is gone.
        let mut damaged = volume.clone();
        damaged.get_mut(..65536).unwrap().fill(0);
        fs::write(&file, damaged).unwrap();
        let backup = folder.path().join(format!("ours {name}"));
        fs::write(&backup, ours).unwrap();
        let mut command = cryptsetup.0.command();
        command.args(["luksHeaderRestore", "-q"]).arg(&file);
        command.arg("--header-backup-file").arg(&backup);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert!(cryptsetup.opens(&file, FIRST, Some(0)));
    }
}

/// A change whose crash images both programs look at.
type Action<'a> = &'a dyn Fn(&mut Changer<'_, CrashDevice, Prng>);

#[test]
fn cryptsetup_agrees_on_a_sample_of_the_crash_images() {
    let Some(cryptsetup) = Cryptsetup::find() else {
        return;
    };
    for (name, hash) in [
        ("luks2-cbc-essiv.img", HashName::Sha256),
        ("luks1-aes128-sha512.img", HashName::Sha512),
    ] {
        let start = Image::from_bytes(&image(name));
        let (first, new) = (passphrase(FIRST), passphrase("new"));
        let change: Action<'_> = &|changer| {
            let found = changer.change_passphrase(Some(0), &first, &new, &plan(hash), None);
            assert_eq!(found, Ok(0));
        };
        let seen = agree(&cryptsetup, &format!("{name} change"), &start, change);
        let [both, old, only_new, nothing] = seen;
        assert!(both > 0 && old > 0 && only_new > 0, "{seen:?}");
        assert_eq!(nothing, 0, "nothing opens");

        let add: Action<'_> = &|changer| {
            let unlocked = changer.unlock(Unlock::Passphrase(&first), &UnlockOptions::new());
            changer.add(&unlocked.unwrap(), &new, &plan(hash)).unwrap();
        };
        let seen = agree(&cryptsetup, &format!("{name} add"), &start, add);
        let [both, old, only_new, nothing] = seen;
        assert!(both > 0 && old > 0, "{seen:?}");
        assert_eq!(only_new + nothing, 0, "{seen:?}");

        let device = CrashDevice::new(start, SectorSize::S512);
        with(&device, add);
        let start = device.durable();
        let remove: Action<'_> = &|changer| changer.remove(1, LastKeyslot::Keep).unwrap();
        let seen = agree(&cryptsetup, &format!("{name} remove"), &start, remove);
        let [both, old, only_new, nothing] = seen;
        assert!(both > 0 && old > 0, "{seen:?}");
        assert_eq!(only_new + nothing, 0, "{seen:?}");

        let erase: Action<'_> = &|changer| assert_eq!(changer.erase(), Ok(vec![0, 1]));
        let seen = agree(&cryptsetup, &format!("{name} erase"), &start, erase);
        let [both, _, _, nothing] = seen;
        assert!(both > 0 && nothing > 0, "{seen:?}");
    }
}

/// Cuts the power in a change and has both programs try both passphrases on a sample of what is
/// left. Counts the images that open by both, the old one, the new one, and none.
fn agree(cryptsetup: &Cryptsetup, name: &str, start: &Image, action: Action<'_>) -> [usize; 4] {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("volume.img");
    let device = CrashDevice::new(start.clone(), SectorSize::S512);
    with(&device, action);
    let options = CrashOptions {
        exhaustive_up_to: 1,
        random: 1,
        ..CrashOptions::default()
    };
    let mut seen = [0; 4];
    let recording = device.recording();
    let images = recording.for_each_crash(&options, |_, image| {
        let bytes = image.to_vec();
        let texts = [FIRST, "new"];
        let ours = texts.map(|text| {
            let with = passphrase(text);
            let options = UnlockOptions::new();
            run(&common::device(&bytes), Unlock::Passphrase(&with), &options).is_ok()
        });
        let theirs = texts.map(|text| {
            // Written anew each time: reading repairs the file.
            fs::write(&file, &bytes).unwrap();
            cryptsetup.opens(&file, text, None)
        });
        assert_eq!(ours, theirs, "{name}");
        let [both, old, new, nothing] = &mut seen;
        *match ours {
            [true, true] => both,
            [true, false] => old,
            [false, true] => new,
            [false, false] => nothing,
        } += 1;
    });
    let points = recording.points().count();
    println!("{name}: {points} crash points, {images} images; both, old, new, none open: {seen:?}");
    seen
}
