//! Opening through tokens, and the profiles.

use std::sync::Arc;

use luksmith::block::{BlockDevice, ByteLen, Control, MemDevice, SectorSize};
use luksmith::hash::HashName;
use luksmith::header::json::{Object, Value};
use luksmith::header::policy::{Expectations, Policy, Profile};
use luksmith::header::{Budget, Header, Kdf, Keyslot, KeyslotKind, Limits, Priority};
use luksmith::keyslot::change::{Changer, KeyslotPlan};
use luksmith::keyslot::unlock::UnlockOptions;
use luksmith::keyslot::{Effort, Kdf as Cost, SystemRandom};
use luksmith::{
    Error, ErrorKind, FormatOptions, HandlerError, HeaderPlace, Init, KdfChoice, NewKeys,
    OpenOptions, Passphrase, Tags, Threads, TokenHandler, TokenRef, Unlock, format, open,
    open_with_tokens, test_tokens,
};

/// Hands out what the token's member `word` says.
struct Word {
    asked: Vec<u32>,
}

impl TokenHandler for Word {
    fn handles(&self, type_name: &str) -> bool {
        type_name == "word"
    }

    fn passphrase(&mut self, token: &TokenRef<'_>) -> Result<Option<Passphrase>, HandlerError> {
        self.asked.push(token.id);
        match token.object.get("word").and_then(Value::as_str) {
            None => Ok(None),
            Some("broken") => Err("the drawer is locked".into()),
            Some(word) => Ok(Some(Passphrase::new(word.as_bytes())?)),
        }
    }
}

fn token(kind: &str, word: Option<&str>, keyslots: &[&str]) -> Object {
    let keyslots = keyslots.iter().copied().map(Value::string).collect();
    let mut token: Object = [
        ("type", Value::string(kind)),
        ("keyslots", Value::Array(keyslots)),
    ]
    .into_iter()
    .collect();
    if let Some(word) = word {
        token.set("word", Value::string(word));
    }
    token
}

fn pbkdf2(iterations: u32) -> KdfChoice {
    let hash = HashName::Sha256;
    KdfChoice::Exactly(Cost::Pbkdf2 { hash, iterations })
}

fn with_tokens(tokens: Vec<Object>) -> Arc<MemDevice> {
    with_costly_tokens(1000, tokens)
}

fn with_costly_tokens(iterations: u32, tokens: Vec<Object>) -> Arc<MemDevice> {
    let device = MemDevice::new(ByteLen::new(20 << 20), SectorSize::S512).expect("a device");
    let device = Arc::new(device);
    let passphrase = Passphrase::new(b"open sesame").expect("a passphrase");
    let mut options = FormatOptions::luks2().kdf(pbkdf2(iterations));
    for (id, token) in (0..).zip(tokens) {
        options = options.token(id, token);
    }
    // Tokens name keyslot 0, which the new volume has.
    format(device.clone(), NewKeys::passphrase(&passphrase), &options).expect("a volume");
    device
}

#[test]
fn tokens_are_asked_in_order_until_one_opens_its_keyslot() {
    let device = with_tokens(vec![
        token("other", Some("open sesame"), &["0"]),
        token("word", None, &["0"]),
        token("word", Some("broken"), &["0"]),
        token("word", Some("wrong"), &["0"]),
        token("word", Some("open sesame"), &[]),
        token("word", Some("open sesame"), &["0"]),
        token("word", Some("open sesame"), &["0"]),
    ]);
    let mut word = Word { asked: Vec::new() };
    let volume = open_with_tokens(device, &mut [&mut word], &OpenOptions::new()).unwrap();
    assert_eq!(volume.keyslot(), Some(0));
    // A token without keyslots leads nowhere.
    assert_eq!(word.asked, [1, 2, 3, 5]);
}

#[test]
fn if_no_token_opens_the_first_failure_is_the_cause() {
    let device = with_tokens(vec![
        token("word", Some("wrong"), &["0"]),
        token("word", Some("broken"), &["0"]),
    ]);
    let mut word = Word { asked: Vec::new() };
    let error = open_with_tokens(device, &mut [&mut word], &OpenOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKey);
    let Error::NoTokenOpened {
        tokens: 2,
        kind: ErrorKind::WrongKey,
        source: Some(source),
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(source.to_string(), "the drawer is locked");
}

#[test]
fn limits_hold_for_all_tokens_together() {
    let device = with_tokens(vec![
        token("word", Some("wrong"), &["0"]),
        token("word", Some("wrong"), &["0"]),
        token("word", Some("open sesame"), &["0"]),
    ]);
    let mut limits = Limits::default();
    // The first two cost 1000 for the keyslot and 1000 for the digest each.
    limits.pbkdf2_iterations = 4500;
    let mut word = Word { asked: Vec::new() };
    let options = OpenOptions::new().limits(limits);
    let error = open_with_tokens(device, &mut [&mut word], &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKey, "{error}");
    let Error::NoTokenOpened { source, .. } = error else {
        panic!("{error}");
    };
    let third = source.expect("a reason");
    let third = third.downcast_ref::<Error>().expect("the library's own");
    assert_eq!(third.kind(), ErrorKind::OverLimit, "{third}");
}

/// One keyslot over a limit ended the search: neither the other tokens nor the typed passphrase
/// were tried.
#[test]
fn a_keyslot_that_cannot_be_tried_does_not_hide_the_next_one() {
    let first = token("word", Some("open sesame"), &["0"]);
    let device = with_costly_tokens(5000, vec![first]);
    add_second(&device);
    let mut limits = Limits::default();
    limits.pbkdf2_iterations = 3000;
    let options = OpenOptions::new().limits(limits);
    let mut word = Word { asked: Vec::new() };
    let volume = open_with_tokens(device.clone(), &mut [&mut word], &options).unwrap();
    assert_eq!((volume.keyslot(), &word.asked[..]), (Some(1), &[0, 1][..]));
    drop(volume);
    let second = Passphrase::new(b"second").expect("a passphrase");
    open(device.clone(), Unlock::Passphrase(&second), &options).expect("a volume");
    // Alone it is a failure of tokens, so that the passphrase is asked for, and says what it was.
    let mut word = Word { asked: Vec::new() };
    let error = open_with_tokens(device, &mut [&mut word], &options.token(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OverLimit, "{error}");
    assert!(matches!(error, Error::NoTokenOpened { tokens: 1, .. }));
}

/// Adds keyslots from number 1 on, with their passphrases and priorities, and tokens likewise.
fn add(device: &Arc<MemDevice>, keyslots: &[(&str, Priority)], tokens: Vec<Object>) {
    let first = Passphrase::new(b"open sesame").expect("a passphrase");
    let mut header = Header::read(device.as_ref(), &Limits::default()).expect("a header");
    let mut random = SystemRandom;
    let effort = Effort {
        budget: &mut Budget::new(Limits::default()),
        control: &Control::new(),
        threads: Threads::ONE,
    };
    let mut changer = Changer::new(device.as_ref(), &mut header, &mut random, effort);
    let unlocked = changer
        .unlock(Unlock::Passphrase(&first), &UnlockOptions::new())
        .expect("the key");
    let plan = KeyslotPlan::new(Cost::Pbkdf2 {
        hash: HashName::Sha256,
        iterations: 1000,
    });
    for (number, (word, priority)) in (1..).zip(keyslots) {
        let new = Passphrase::new(word.as_bytes()).expect("a passphrase");
        let id = changer.add(&unlocked, &new, &plan).expect("a keyslot");
        assert_eq!(id, number);
        changer.set_priority(id, *priority).expect("a priority");
    }
    let Header::Luks2(mut luks2) = header else {
        panic!("no LUKS2 header");
    };
    for (id, token) in (1..).zip(tokens) {
        let edited = luks2
            .metadata_mut()
            .edit(|draft| draft.add_token(id, token));
        edited.expect("a token");
    }
    luksmith::header::luks2::write(device.as_ref(), &mut luks2, &mut random).expect("a write");
}

/// Adds keyslot 1 with a token for it.
fn add_second(device: &Arc<MemDevice>) {
    let tokens = vec![token("word", Some("second"), &["1"])];
    add(device, &[("second", Priority::Normal)], tokens);
}

/// A keyring that cannot be asked was told as a wrong key, so scripts asked people for another one.
#[test]
fn a_key_is_wrong_only_if_it_was_tried_or_is_not_there() {
    let kind = |tokens: Vec<Object>| {
        let mut word = Word { asked: Vec::new() };
        let device = with_tokens(tokens);
        let opened = open_with_tokens(device, &mut [&mut word], &OpenOptions::new());
        opened.unwrap_err().kind()
    };
    let broken = || token("word", Some("broken"), &["0"]);
    let absent = || token("word", None, &["0"]);
    let wrong = || token("word", Some("wrong"), &["0"]);
    assert_eq!(kind(vec![broken()]), ErrorKind::Device);
    assert_eq!(kind(vec![absent(), broken()]), ErrorKind::Device);
    assert_eq!(kind(vec![absent()]), ErrorKind::WrongKey);
    assert_eq!(kind(vec![broken(), wrong()]), ErrorKind::WrongKey);
}

#[test]
fn what_a_profile_makes_its_policy_accepts_and_others_are_refused_by_name() {
    let passphrase = Passphrase::new(&[7; 32]).expect("a passphrase");
    for (options, name) in [
        (FormatOptions::ephemeral(), "emptydir"),
        (
            FormatOptions::secure_mount().init(Init::None),
            "secure-mount",
        ),
        (
            FormatOptions::constellation(Tags::Hmac).init(Init::None),
            "constellation",
        ),
        (
            FormatOptions::workload_image().kdf(KdfChoice::HighEntropy),
            "mkcw",
        ),
    ] {
        let device = MemDevice::new(ByteLen::new(24 << 20), SectorSize::S512).expect("a device");
        let device = Arc::new(device);
        let keys = NewKeys::passphrase(&passphrase);
        let volume = format(device.clone(), keys, &options).expect("a volume");
        let image = volume.header_image();
        volume.close().expect("a clean close");
        let opened = |profile: &str| {
            let mut opening = OpenOptions::new().read_only();
            let mut expected = Expectations::default();
            if let Some(image) = &image {
                expected.detached = true;
                opening = opening.detached_header(MemDevice::from_bytes(image, SectorSize::S512));
            }
            let profile = Profile::built_in(profile).expect("a built-in profile");
            let opening = opening.pinned(Policy::pinned(profile), expected);
            open(device.clone(), Unlock::Passphrase(&passphrase), &opening)
        };
        opened(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let error = opened("contrast").expect_err("another profile");
        assert_eq!(error.kind(), ErrorKind::Policy, "{name}: {error}");
        assert!(matches!(error, Error::Policy { .. }), "{name}: {error}");
    }
}

fn kdf_of(slot: &Keyslot) -> Option<&Kdf> {
    match &slot.kind {
        KeyslotKind::Luks2 { kdf, .. } => Some(kdf),
        _ => None,
    }
}

fn profile(options: &FormatOptions) -> (Header, Option<Vec<u8>>) {
    let device = MemDevice::new(ByteLen::new(24 << 20), SectorSize::S512).expect("a device");
    let passphrase = Passphrase::new(&[7; 32]).expect("a passphrase");
    let volume = format(device, NewKeys::passphrase(&passphrase), options).expect("a volume");
    assert!(volume.is_authenticated());
    assert_eq!(volume.sector_size(), SectorSize::S4096);
    (volume.header().clone(), volume.header_image())
}

#[test]
fn profiles_have_the_parameters_that_their_users_rely_on() {
    let (ephemeral, image) = profile(&FormatOptions::ephemeral());
    assert_eq!(image.map(|image| image.len()), Some(442_368));
    assert_eq!(ephemeral.flags(), ["no-journal"]);
    let slot = ephemeral.keyslots().remove(0);
    assert_eq!(
        (slot.area.offset.get(), slot.area.len.get()),
        (32768, 385_024)
    );
    assert!(matches!(
        kdf_of(&slot),
        Some(Kdf::Pbkdf2 {
            iterations: 1000,
            ..
        })
    ));
    let (secure, image) = profile(&FormatOptions::secure_mount().init(Init::None));
    assert_eq!(image, None);
    assert_eq!(secure.segments().remove(0).offset.get(), 16_777_216);
    assert!(secure.flags().is_empty());
    let options = FormatOptions::constellation(Tags::Hmac).init(Init::None);
    let (constellation, _) = profile(&options);
    let slot = constellation.keyslots().remove(0);
    assert!(matches!(
        kdf_of(&slot),
        Some(Kdf::Argon2 {
            passes: 3,
            memory_kib: 65536,
            lanes: 4,
            ..
        })
    ));
    let options = FormatOptions::constellation_state_disk(false)
        .init(Init::None)
        .kdf(KdfChoice::HighEntropy);
    let (state, _) = profile(&options);
    let Header::Luks2(state) = state else {
        panic!("no LUKS2 header");
    };
    let token = state.metadata().token_object(0).expect("the token");
    assert_eq!(
        token.to_compact(),
        r#"{"type":"constellation-state-disk","keyslots":[],"diskIsInitialized":false}"#
    );
    let options = FormatOptions::secure_mount().header(HeaderPlace::Memory);
    let (_, image) = profile(&options.init(Init::None));
    assert_eq!(image.map(|image| image.len()), Some(16 << 20));
}

#[test]
fn preferred_keyslots_come_first_and_ignored_ones_only_if_named() {
    let device = with_tokens(vec![token("word", Some("open sesame"), &["0"])]);
    let keyslots = [("second", Priority::Prefer), ("third", Priority::Ignore)];
    let tokens = vec![
        token("word", Some("second"), &["0", "1"]),
        token("word", Some("third"), &["2"]),
    ];
    add(&device, &keyslots, tokens);

    let asked = |options: OpenOptions| {
        let mut word = Word { asked: Vec::new() };
        let device = Arc::clone(&device);
        let found = test_tokens(device, &mut [&mut word], &options);
        let keyslot = found.map(|test| test.unlocked.keyslot);
        (word.asked, keyslot.map_err(|error| error.kind()))
    };
    let options = OpenOptions::new;
    assert_eq!(asked(options()), (vec![1], Ok(Some(1))));
    assert_eq!(asked(options().token(0)), (vec![0], Ok(Some(0))));
    assert_eq!(asked(options().keyslot(0)).1, Ok(Some(0)));
    let wrong = Err(ErrorKind::WrongKey);
    assert_eq!(asked(options().keyslot(0).token(1)), (vec![1], wrong));
    // Keyslot 2 is to be ignored unless it, or its token, is named.
    assert_eq!(asked(options().token(2)), (vec![2], Ok(Some(2))));
    assert_eq!(asked(options().keyslot(2)), (vec![2], Ok(Some(2))));
    let nothing = (Vec::new(), Err(ErrorKind::Caller));
    assert_eq!(asked(options().token(7)), nothing);
    assert_eq!(asked(options().token_type("other")), nothing);
    assert_eq!(asked(options().token_type("word")).1, Ok(Some(1)));
}
