//! Random changes of keyslots against a plain list of which passphrase opens which keyslot.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect should stop there"
)]

#[expect(dead_code, reason = "the common module serves several tests")]
mod common;

use std::collections::BTreeMap;

use common::{device, image, passphrase, run};
use luksmith_block::{Control, MemDevice};
use luksmith_hash::HashName;
use luksmith_header::{Budget, Header, Limits};
use luksmith_keyslot::{
    Effort, Error, Kdf, Threads,
    change::{Changer, KeyslotPlan, LastKeyslot},
    unlock::{Unlock, UnlockOptions},
};
use luksmith_testkit::Prng;

const FIRST: &str = "correct horse battery staple";

struct Model {
    device: MemDevice,
    hash: HashName,
    /// Which passphrase opens which keyslot.
    keyslots: BTreeMap<u32, String>,
    /// Passphrases are never used twice.
    made: u32,
}

impl Model {
    fn new(name: &str, hash: HashName) -> Self {
        Self {
            device: device(&image(name)),
            hash,
            keyslots: BTreeMap::from([(0, FIRST.to_owned())]),
            made: 0,
        }
    }

    fn fresh(&mut self) -> String {
        self.made += 1;
        format!("passphrase {}", self.made)
    }

    fn any(&self, prng: &mut Prng) -> (u32, String) {
        let at = prng.index(self.keyslots.len());
        let (keyslot, text) = self.keyslots.iter().nth(at).unwrap();
        (*keyslot, text.clone())
    }

    /// One random change. Gives its name.
    fn step(&mut self, prng: &mut Prng) -> &'static str {
        let (keyslot, text) = self.any(prng);
        let plan = KeyslotPlan::new(Kdf::Pbkdf2 {
            hash: self.hash,
            iterations: 1000,
        });
        let fresh = self.fresh();
        let mut header = Header::read(&self.device, &Limits::default()).unwrap();
        let mut random = Prng::new(prng.next_u64());
        let mut budget = Budget::new(Limits::default());
        let control = Control::new();
        let effort = Effort {
            budget: &mut budget,
            control: &control,
            threads: Threads::ONE,
        };
        let mut changer = Changer::new(&self.device, &mut header, &mut random, effort);
        match prng.below(6) {
            0 | 1 => {
                let with = passphrase(&text);
                let unlocked = changer
                    .unlock(Unlock::Passphrase(&with), &UnlockOptions::new())
                    .unwrap();
                match changer.add(&unlocked, &passphrase(&fresh), &plan) {
                    Ok(id) => assert_eq!(self.keyslots.insert(id, fresh), None),
                    Err(Error::Header {
                        source:
                            luksmith_header::Error::NoAreaSpace { .. }
                            | luksmith_header::Error::NoFreeObject { .. },
                    }) => return "add without room",
                    Err(error) => panic!("{error}"),
                }
                "add"
            }
            2 | 3 => match changer.remove(keyslot, LastKeyslot::Keep) {
                Ok(()) => {
                    self.keyslots.remove(&keyslot);
                    "remove"
                }
                Err(error) => {
                    assert_eq!(error, Error::LastKeyslot { keyslot });
                    assert_eq!(self.keyslots.len(), 1);
                    "remove the last"
                }
            },
            4 => {
                let (old, new) = (passphrase(&text), passphrase(&fresh));
                match changer.change_passphrase(None, &old, &new, &plan, None) {
                    Ok(found) => {
                        assert_eq!(found, keyslot);
                        self.keyslots.insert(keyslot, fresh);
                        "change"
                    }
                    Err(Error::NoRoomToChange { .. }) => "change without room",
                    Err(error) => panic!("{error}"),
                }
            }
            _ => {
                let with = passphrase(&text);
                match changer.convert(Some(keyslot), &with, &plan, None) {
                    Ok(found) => {
                        assert_eq!(found, keyslot);
                        "convert"
                    }
                    Err(Error::NoRoomToChange { .. }) => "convert without room",
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// Gives the keyslot that a passphrase opens, of all or of one.
    fn check(&self, text: &str, keyslot: Option<u32>) -> Option<u32> {
        let with = passphrase(text);
        let mut options = UnlockOptions::new();
        if let Some(keyslot) = keyslot {
            options = options.keyslot(keyslot);
        }
        match run(&self.device, Unlock::Passphrase(&with), &options) {
            Ok(unlocked) => unlocked.keyslot,
            Err(Error::NoKeyslotOpened { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn check_all(&self) {
        let header = Header::read(&self.device, &Limits::default()).unwrap();
        let mut ids: Vec<u32> = header
            .keyslots()
            .iter()
            .filter_map(|slot| slot.id)
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, self.keyslots.keys().copied().collect::<Vec<_>>());
        for (keyslot, text) in &self.keyslots {
            assert_eq!(self.check(text, Some(*keyslot)), Some(*keyslot), "{text}");
        }
    }
}

#[test]
fn random_changes_leave_exactly_the_passphrases_of_a_plain_list() {
    let mut prng = Prng::from_env(20);
    for (name, hash) in [
        ("luks2-cbc-essiv.img", HashName::Sha256),
        ("luks1-aes128-sha512.img", HashName::Sha512),
    ] {
        let mut model = Model::new(name, hash);
        let mut done: BTreeMap<&str, u32> = BTreeMap::new();
        for _ in 0..50 {
            let before = model.keyslots.clone();
            *done.entry(model.step(&mut prng)).or_default() += 1;
            let gone = before
                .values()
                .filter(|text| !model.keyslots.values().any(|kept| kept == *text));
            for text in gone {
                assert_eq!(model.check(text, None), None, "{text} still opens");
            }
            model.check_all();
        }
        println!("{name}: {done:?}");
        for what in ["add", "remove", "change", "convert"] {
            assert!(done.get(what).is_some_and(|&count| count > 0), "{done:?}");
        }
    }
}
