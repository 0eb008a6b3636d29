//! Changed headers that cryptsetup accepts: the passphrases that open them there open them here,
//! but
//! for what is listed below.

use std::{collections::BTreeMap, fmt::Write as _};

use luksmith_block::{Control, MemDevice, SectorSize};
use luksmith_header::{Budget, Header, Limits};
use luksmith_keyslot::{
    Effort, Error, Passphrase, Threads,
    unlock::{Unlock, UnlockOptions, unlock},
};
use luksmith_testkit::mangled::{Base, recipes, recorded};

/// cryptsetup's status for "no key fits"; others than this and 0 are failures of another kind.
const NO_KEY: i32 = 2;

fn open(device: &MemDevice, header: &Header, passphrase: &str) -> Result<(), Error> {
    let passphrase = Passphrase::new(passphrase.as_bytes())?;
    let mut effort = Effort {
        budget: &mut Budget::new(Limits::default()),
        control: &Control::new(),
        threads: Threads::default(),
    };
    let key = Unlock::Passphrase(&passphrase);
    unlock(device, header, key, &UnlockOptions::new(), &mut effort).map(|_| ())
}

/// Tells whether we open on purpose what cryptsetup did not.
fn may_open(name: &str, theirs: i32) -> bool {
    // One keyslot that cannot be used, or a token that makes it abort, does not hide the others.
    theirs != NO_KEY
        // Nor does another keyslot's key length.
        || name.starts_with("luks2/rule/key-size-")
        // The newest secondary is chosen, not a stale one.
        || name == "luks2-64k/stale-secondary-in-dead-primary-older"
}

/// Tells whether we refuse on purpose what cryptsetup opened: a digest that cannot be verified,
/// which
/// it takes for a match with any key.
fn may_refuse(name: &str) -> bool {
    name.starts_with("luks2/member/digests.0.") || name.starts_with("luks2/rule/digest-")
}

/// Tells whether a change is one to what unlocking looks at. Of the others some have to do.
fn is_about_keys(name: &str) -> bool {
    const WORDS: [&str; 9] = [
        "keyslot", "digest", "area", "kdf", "key-size", "slot", "af-", "segment", "luks1/",
    ];
    WORDS.iter().any(|word| name.contains(word))
}

#[test]
fn the_passphrases_that_open_a_changed_header_are_those_on_record() {
    let bases: BTreeMap<Base, Vec<u8>> = Base::ALL.map(|base| (base, base.image())).into();
    let on_record = recorded();
    let mut wrong = String::new();
    let mut opened = 0;
    for (place, recipe) in recipes().into_iter().enumerate() {
        let verdict = &on_record[&recipe.name];
        if verdict.load != 0 || (!is_about_keys(&recipe.name) && place % 8 != 0) {
            continue;
        }
        let image = recipe.cook(&bases[&recipe.base]);
        let device = MemDevice::from_bytes(&image, SectorSize::S512);
        let Ok(header) = Header::read(&device, &Limits::default()) else {
            continue;
        };
        for (word, theirs) in ["one", "two", "wrong"].iter().zip(verdict.unlock) {
            let ours = open(&device, &header, word);
            opened += u32::from(ours.is_ok());
            let is_right = match (&ours, theirs) {
                (Ok(()), 0) => *word != "wrong",
                (Ok(()), theirs) => *word != "wrong" && may_open(&recipe.name, theirs),
                (Err(_), 0) => may_refuse(&recipe.name),
                (Err(_), _) => true,
            };
            if !is_right {
                let name = &recipe.name;
                writeln!(wrong, "{name} {word}: {ours:?}, cryptsetup {theirs}")
                    .expect("a String takes every write");
            }
        }
        assert!(
            device.to_vec() == image || image.len() % 512 != 0,
            "{}",
            recipe.name
        );
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(opened > 400, "{opened} passphrases opened a header");
}
