//! Headers made by cryptsetup unlock to the volume key that cryptsetup shows, and to nothing else.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect should stop there"
)]

#[expect(dead_code, reason = "the common module serves several tests")]
mod common;

use base64ct::{Base64, Encoding as _};
use common::{device, golden, image, passphrase, patch, run, run_with_limits};
use luksmith_block::{MemDevice, SectorSize};
use luksmith_hash::{Hash, HashName};
use luksmith_header::{Fault, KdfUser, Limits};
use luksmith_keyslot::{
    CandidateKey, Error, Passphrase,
    unlock::{
        NullCipherKeyslots, Outcome, Report, Scope, Skip, Subject, Unlock, UnlockOptions, Unlocked,
    },
};

fn with_passphrase(device: &MemDevice, passphrase: &Passphrase) -> Result<Unlocked, Error> {
    run(
        device,
        Unlock::Passphrase(passphrase),
        &UnlockOptions::new(),
    )
}

fn outcomes(report: &Report) -> Vec<(Subject, Outcome)> {
    report
        .attempts()
        .iter()
        .map(|attempt| (attempt.subject, attempt.outcome.clone()))
        .collect()
}

fn report_of(result: Result<Unlocked, Error>) -> Report {
    match result {
        Err(Error::NoKeyslotOpened { report } | Error::NoDigestMatched { report }) => report,
        other => panic!("{other:?} is no refusal"),
    }
}

#[test]
fn every_image_unlocks_to_the_volume_key_that_cryptsetup_shows() {
    let rows = golden();
    for row in &rows {
        let bytes = image(&row.name);
        for sector_size in [SectorSize::S512, SectorSize::S4096] {
            let device = MemDevice::from_bytes(&bytes, sector_size);
            let unlocked = with_passphrase(&device, &row.passphrase).unwrap();
            assert_eq!(unlocked.key.expose(), row.key, "{}", row.name);
            assert_eq!(unlocked.keyslot, Some(0), "{}", row.name);
        }
        let error = with_passphrase(&device(&bytes), &passphrase("wrong")).unwrap_err();
        let report = report_of(Err(error));
        assert!(report.has_wrong() && report.first_error().is_none());
    }
    println!("{} images unlocked", rows.len());
    assert_eq!(rows.len(), 11);
}

#[test]
fn a_passphrase_with_a_newline_behind_it_is_another_passphrase() {
    let device = device(&image("luks2-default.img"));
    let newline = passphrase("correct horse battery staple\n");
    assert!(report_of(with_passphrase(&device, &newline)).has_wrong());
}

#[test]
fn a_volume_key_given_directly_is_held_against_the_digest() {
    for row in golden() {
        let device = device(&image(&row.name));
        let prove = |key: &[u8], options: &UnlockOptions| {
            let key = CandidateKey::new(key).unwrap();
            run(&device, Unlock::VolumeKey(&key), options)
        };
        let options = UnlockOptions::new();
        let unlocked = prove(&row.key, &options).unwrap();
        assert_eq!(unlocked.key.expose(), row.key);
        assert_eq!((unlocked.keyslot, unlocked.digest), (None, 0));

        let mut wrong = row.key.clone();
        *wrong.last_mut().unwrap() ^= 1;
        let report = report_of(prove(&wrong, &options));
        assert_eq!(report.attempts()[0].outcome, Outcome::Wrong);

        // HMAC pads with zeros: the digest alone does not tell these two apart.
        let mut padded = row.key.clone();
        padded.push(0);
        let expected = u32::try_from(row.key.len()).unwrap();
        let report = report_of(prove(&padded, &options));
        assert_eq!(
            report.attempts()[0].outcome,
            Outcome::Failed(Error::KeyLength {
                digest: 0,
                found: padded.len(),
                expected
            })
        );
        // What cipher and integrity need decides, if the caller knows it.
        let stripped = UnlockOptions::new().key_bytes(expected - 1);
        assert!(
            report_of(prove(&row.key, &stripped))
                .first_error()
                .is_some()
        );
    }
}

#[test]
fn keyslots_are_tried_by_priority_then_in_the_order_of_the_header() {
    // Slot 5 is preferred, slot 1 ignored; the header lists 0, 5, 1.
    let device = device(&image("luks2-many-slots.img"));
    let second = with_passphrase(&device, &passphrase("second")).unwrap();
    assert_eq!(
        outcomes(&second.report),
        [(Subject::Keyslot(5), Outcome::Opened)]
    );
    let first = with_passphrase(&device, &passphrase("correct horse battery staple")).unwrap();
    assert_eq!(
        outcomes(&first.report),
        [
            (Subject::Keyslot(5), Outcome::Wrong),
            (Subject::Keyslot(0), Outcome::Opened)
        ]
    );
    assert_eq!(first.key.expose(), second.key.expose());

    let third = passphrase("third");
    let report = report_of(with_passphrase(&device, &third));
    assert_eq!(
        outcomes(&report)[2],
        (Subject::Keyslot(1), Outcome::Skipped(Skip::Priority))
    );
    let by_number = UnlockOptions::new().keyslot(1);
    let unlocked = run(&device, Unlock::Passphrase(&third), &by_number).unwrap();
    assert_eq!(unlocked.keyslot, Some(1));
    let missing = UnlockOptions::new().keyslot(2);
    assert_eq!(
        run(&device, Unlock::Passphrase(&third), &missing).unwrap_err(),
        Error::NoSuchKeyslot { keyslot: 2 }
    );
}

#[test]
fn an_unbound_keyslot_opens_only_when_any_key_is_asked_for() {
    let device = device(&image("luks2-unbound.img"));
    let unbound = passphrase("unbound");
    let report = report_of(with_passphrase(&device, &unbound));
    assert_eq!(
        outcomes(&report),
        [
            (Subject::Keyslot(0), Outcome::Wrong),
            (Subject::Keyslot(1), Outcome::Skipped(Skip::OtherKey))
        ]
    );
    let by_number = UnlockOptions::new().keyslot(1);
    let report = report_of(run(&device, Unlock::Passphrase(&unbound), &by_number));
    assert_eq!(
        outcomes(&report),
        [(Subject::Keyslot(1), Outcome::Skipped(Skip::OtherKey))]
    );
    let any = UnlockOptions::new().scope(Scope::AnyKey);
    let unlocked = run(&device, Unlock::Passphrase(&unbound), &any).unwrap();
    assert_eq!((unlocked.keyslot, unlocked.digest), (Some(1), 1));
    assert_eq!(unlocked.key.len(), 32);
}

#[test]
fn the_callback_is_asked_for_each_keyslot_by_its_number() {
    let device = device(&image("luks2-many-slots.img"));
    let mut asked = Vec::new();
    let mut ask = |keyslot| {
        asked.push(keyslot);
        (keyslot == 0).then(|| passphrase("correct horse battery staple"))
    };
    let unlocked = run(&device, Unlock::Ask(&mut ask), &UnlockOptions::new()).unwrap();
    assert_eq!(
        outcomes(&unlocked.report),
        [
            (Subject::Keyslot(5), Outcome::Skipped(Skip::NoPassphrase)),
            (Subject::Keyslot(0), Outcome::Opened)
        ]
    );
    assert_eq!(asked, [5, 0]);
}

#[test]
fn a_broken_keyslot_does_not_hide_the_one_behind_it() {
    // cryptsetup 2.8 gives up at the first keyslot that it cannot try.
    let right = passphrase("correct horse battery staple");
    let bytes = image("luks2-many-slots.img");
    for (from, to) in [
        ("\"priority\":2", "\"priority\":2,\"x\":0"),
        (
            "\"encryption\":\"aes-xts-plain64\"",
            "\"encryption\":\"nix-xts-plain64\"",
        ),
    ] {
        let mut broken = bytes.clone();
        let times = if from.contains("priority") { 1 } else { 4 };
        if times == 4 {
            // Only slot 5's area: the text between its number and its end.
            let text = String::from_utf8_lossy(&bytes[4096..16384]).into_owned();
            let at = text.find("\"5\":{").unwrap();
            let slot = text[at..].split("\"priority\"").next().unwrap().to_string();
            patch(&mut broken, &slot, &slot.replace(from, to), 1);
        } else {
            patch(&mut broken, from, to, times);
        }
        let unlocked = with_passphrase(&device(&broken), &right).unwrap();
        assert_eq!(unlocked.keyslot, Some(0));
        let first = &unlocked.report.attempts()[0];
        assert_eq!(first.subject, Subject::Keyslot(5));
        if times == 4 {
            assert!(
                matches!(
                    &first.outcome,
                    Outcome::Failed(Error::Cipher { keyslot: 5, .. })
                ),
                "{:?}",
                first.outcome
            );
        } else {
            assert_eq!(first.outcome, Outcome::Wrong);
        }
    }
}

#[test]
fn a_damaged_digest_never_unlocks_whatever_the_passphrase() {
    // cryptsetup 2.8 takes each of these for a match of any passphrase.
    let bytes = image("luks2-hmac-sha256.img");
    let salt = format!("\"salt\":\"{}\"", digest_part(&bytes, "salt"));
    let digest = format!("\"digest\":\"{}\"", digest_part(&bytes, "digest"));
    let cases: [(&str, String, Fault); 6] = [
        (&salt, "\"salt\":\"QUJD\"".into(), length(3, "32")),
        (
            &salt,
            format!("\"salt\":\"{}\"", "A".repeat(44)),
            length(33, "32"),
        ),
        (&digest, "\"digest\":\"\"".into(), length(0, ANY)),
        (&digest, "\"digest\":\"QUJD\"".into(), length(3, ANY)),
        (
            &digest,
            format!("\"digest\":\"{}\"", "A".repeat(28)),
            length(21, ANY),
        ),
        (&digest, "\"nothing\":\"\"".into(), Fault::Missing),
    ];
    for (from, to, expected) in cases {
        let mut broken = bytes.clone();
        patch(&mut broken, from, &to, 1);
        let device = device(&broken);
        for text in ["correct horse battery staple", "wrong"] {
            let report = report_of(with_passphrase(&device, &passphrase(text)));
            let [attempt] = report.attempts() else {
                panic!("{report}");
            };
            match &attempt.outcome {
                Outcome::Failed(Error::Header {
                    source: luksmith_header::Error::Field { fault, .. },
                }) => assert_eq!(*fault, expected, "{to}"),
                other => panic!("{to}: {other:?}"),
            }
        }
        let key = CandidateKey::new(&[0; 96]).unwrap();
        let report = report_of(run(&device, Unlock::VolumeKey(&key), &UnlockOptions::new()));
        assert!(report.first_error().is_some());
    }
}

const ANY: &str = "20, or as many as the hash gives,";

fn length(found: usize, expected: &'static str) -> Fault {
    Fault::Length { found, expected }
}

/// A field of digest 0; slots have salts too, and stand before the digests.
fn digest_part(bytes: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(&bytes[4096..16384]).into_owned();
    let (_, digests) = text.split_once("\"digests\":").unwrap();
    let (_, rest) = digests.split_once(&format!("\"{name}\":\"")).unwrap();
    rest.split('"').next().unwrap().to_string()
}

#[test]
fn limits_hold_for_the_sum_of_all_keyslots_and_digests() {
    // Each slot takes 1000 iterations for one block of 64 bytes, the digest 1000 more.
    let device = device(&image("luks2-many-slots.img"));
    let right = passphrase("correct horse battery staple");
    let run_limited = |iterations| {
        let mut limits = Limits::default();
        limits.pbkdf2_iterations = iterations;
        let with = Unlock::Passphrase(&right);
        run_with_limits(&device, with, &UnlockOptions::new(), limits)
    };
    let unlimited = run_limited(u64::MAX).unwrap();
    assert_eq!(unlimited.keyslot, Some(0));
    let report = report_of(run_limited(999));
    assert_eq!(
        report.first_error(),
        Some(&Error::Header {
            source: luksmith_header::Error::Pbkdf2Iterations {
                user: KdfUser::Keyslot(5),
                requested: 1000,
                spent: 0,
                limit: 999
            }
        })
    );
    // Enough for slot 5 and its digest, not for slot 0 behind it.
    let report = report_of(run_limited(2500));
    assert_eq!(report.attempts()[0].outcome, Outcome::Wrong);
    assert!(matches!(
        report.first_error(),
        Some(Error::Header {
            source: luksmith_header::Error::Pbkdf2Iterations { spent, .. }
        }) if *spent > 999
    ));
}

#[test]
fn a_token_of_a_number_that_cryptsetup_aborts_at_is_ignored() {
    let mut bytes = image("luks2-label-token.img");
    patch(&mut bytes, "\"tokens\":{\"3\":", "\"tokens\":{\"99\":", 1);
    let right = passphrase("correct horse battery staple");
    let unlocked = with_passphrase(&device(&bytes), &right).unwrap();
    assert_eq!(unlocked.keyslot, Some(0));
}

#[test]
fn a_keyslot_without_encryption_opens_only_if_asked_for_by_name() {
    // An attacker's slot: the stripes lie there as they are, so the key is known to anyone. Here
    // they are zeros, and the digest is made to fit.
    let mut bytes = image("luks2-pbkdf2-sha512.img");
    let encryption = "\"encryption\":\"aes-xts-plain64\",\"key_size\":64";
    let text = String::from_utf8_lossy(&bytes[4096..16384]).into_owned();
    let at = text.find("\"area\":{").unwrap();
    let area = text[at..].split('}').next().unwrap().to_string();
    assert!(area.contains(encryption), "{area}");
    let null = area.replace("aes-xts-plain64", "cipher_null-ecb");
    patch(&mut bytes, &area, &null, 1);
    bytes[32768..32768 + 256_000].fill(0);
    let key = merged_zeros(HashName::Sha512, 64);
    let candidate = CandidateKey::new(&key).unwrap();
    set_digest(&mut bytes, &key);

    let device = device(&bytes);
    let empty = Passphrase::empty().unwrap();
    let report = report_of(with_passphrase(&device, &empty));
    assert_eq!(
        report.first_error(),
        Some(&Error::NullCipher { keyslot: 0 })
    );

    let accept =
        UnlockOptions::new().null_cipher_keyslots(NullCipherKeyslots::AcceptUnencryptedKeys);
    let report = report_of(run(
        &device,
        Unlock::Passphrase(&passphrase("any")),
        &accept,
    ));
    assert_eq!(report.attempts()[0].outcome, Outcome::Wrong);
    let unlocked = run(&device, Unlock::Passphrase(&empty), &accept).unwrap();
    assert_eq!(unlocked.key.expose(), key);
    assert!(
        run(
            &device,
            Unlock::VolumeKey(&candidate),
            &UnlockOptions::new()
        )
        .is_ok()
    );
}

/// What 4000 stripes of zeros merge to: the definition, written down a second time.
fn merged_zeros(hash: HashName, key_bytes: usize) -> Vec<u8> {
    assert_eq!(hash.digest_bytes(), key_bytes, "one piece per block");
    let mut block = vec![0; key_bytes];
    for _ in 0..3999 {
        let mut digest = vec![0; key_bytes];
        Hash::digest(hash, &[&[0; 4], &block], &mut digest).unwrap();
        block = digest;
    }
    block
}

fn set_digest(bytes: &mut [u8], key: &[u8]) {
    let salt = digest_part(bytes, "salt");
    let old = digest_part(bytes, "digest");
    let salt_bytes = Base64::decode_vec(&salt).unwrap();
    let mut digest = [0; 64];
    let iterations = 1000.try_into().unwrap();
    luksmith_hash::pbkdf2(HashName::Sha512, key, &salt_bytes, iterations, &mut digest).unwrap();
    let new = Base64::encode_string(&digest);
    patch(bytes, &old, &new, 1);
}
