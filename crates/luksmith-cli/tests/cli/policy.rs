//! What is asked of a header holds for every action that takes the options.

use luksmith_testkit::test_image;

use crate::support::{Answer, Offered, Scratch, bytes, luksmith, luksmith_with, options_of, text};

/// What makes an action run, behind the device: every action that judges a header.
const JUDGED: [(&str, &[&str]); 30] = [
    ("isLuks", &[]),
    ("luksUUID", &[]),
    ("luksUUID", &["--uuid", OTHER]),
    ("luksDump", &[]),
    ("luksDump", &["--dump-json-metadata"]),
    ("luksDump", &["--dump-volume-key"]),
    ("open", &["--test-passphrase"]),
    ("luksAddKey", &[]),
    ("luksAddKey", &["--unbound", "-s", "64"]),
    ("luksRemoveKey", &[]),
    ("luksChangeKey", &[]),
    ("luksKillSlot", &["0"]),
    ("luksConvertKey", &[]),
    ("erase", &[]),
    ("luksHeaderBackup", &["--header-backup-file", "{new}"]),
    ("luksHeaderRestore", &["--header-backup-file", "{copy}"]),
    ("convert", &["--type", "luks1"]),
    ("config", &["--label", "x"]),
    ("token", &["add", "--key-description", "x"]),
    ("token", &["remove", "--token-id", "0"]),
    ("token", &["import", "--json-file", "{json}"]),
    ("token", &["export", "--token-id", "0"]),
    ("token", &["assign", "--token-id", "0", "-S", "0"]),
    ("token", &["unassign", "--token-id", "0", "-S", "0"]),
    ("export", &["{new}"]),
    ("import", &["{disk}"]),
    ("resize", &[]),
    ("verify", &[]),
    ("dm-table", &["name"]),
    ("check", &[]),
];
const OTHER: &str = "12345678-1234-1234-1234-123456789abc";

/// Runs an action of the table on `disk`, with a wrong key; `{new}` is a file that is not there.
/// Where the action wants a verb, that stands before the device.
fn run(judged: (&str, &[&str]), options: &[&str], disk: &str, scratch: &Scratch) -> Answer {
    let (action, rest) = judged;
    let verb = usize::from(action == "token");
    let named = |word: &&str| match *word {
        "{disk}" => disk.to_owned(),
        "{new}" => text(&scratch.path("new")),
        "{copy}" => text(&scratch.path("copy")),
        "{json}" => text(&scratch.path("json")),
        word => word.to_owned(),
    };
    let mut words = vec![action.to_owned()];
    let (verb, rest) = rest.split_at(verb);
    words.extend(verb.iter().map(named));
    words.push(disk.to_owned());
    words.extend(rest.iter().map(named));
    words.extend(options.iter().map(named));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    luksmith_with(&words, b"wrong")
}

/// `luksAddKey --policy` added a key to a volume that the policy refuses, and `isLuks
/// --require-integrity` called one without integrity good.
#[test]
fn every_action_judges_the_header_before_it_takes_a_key_or_changes_anything() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-default");
    scratch.file("json", br#"{"type":"own","keyslots":[]}"#);
    let before = bytes(&disk);
    scratch.file("copy", &before);
    let asked: [&[&str]; 4] = [
        &["--policy", "constellation"],
        &["--expect-uuid", OTHER],
        &["--require-integrity"],
        &["--policy", "nope"],
    ];
    for judged in JUDGED {
        for options in asked {
            let answer = run(judged, options, &disk, &scratch);
            let what = format!("{judged:?} {options:?}: {answer:?}");
            assert_eq!(answer.status, 1, "{what}");
            let refused = match (judged.0, options) {
                (_, ["--policy", "nope"]) => answer.stderr.contains("built in are emptydir"),
                ("isLuks", _) => answer.stderr.is_empty(),
                ("check", _) => answer.stderr.contains("found"),
                _ => answer.stderr.contains("the policy refuses this header"),
            };
            assert!(refused, "{what}");
        }
    }
    assert!(bytes(&disk) == before);
    assert!(!scratch.path("new").exists());
    let uuid = luksmith(&["luksUUID", &disk]).text().trim_end().to_owned();
    assert_eq!(
        luksmith(&["isLuks", "--expect-uuid", &uuid, &disk]).text(),
        ""
    );
}

#[test]
fn the_table_of_actions_that_judge_is_complete() {
    for (action, options) in options_of() {
        let is_judged = JUDGED.iter().any(|(name, _)| *name == action);
        for option in ["--expect-uuid", "--require-integrity", "--policy"] {
            let offered = options.iter().any(|offered| offered.name == option);
            let makes_one = action == "luksFormat" && option == "--policy";
            assert_eq!(offered, is_judged || makes_one, "{action} {option}");
        }
        let accepts = |offered: &Offered| offered.name == "--accept-null-cipher";
        let offered = options.iter().any(accepts);
        assert_eq!(offered, is_judged, "{action}");
    }
}

#[test]
fn a_restored_header_is_judged_not_the_one_that_it_replaces() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-default");
    let uuid = luksmith(&["luksUUID", &disk]).text().trim_end().to_owned();
    let backup = text(&scratch.path("backup"));
    let make = ["luksHeaderBackup", "--header-backup-file", &backup, &disk];
    assert_eq!(luksmith(&make).text(), "");
    assert_eq!(luksmith(&["luksUUID", "--uuid", OTHER, &disk]).text(), "");
    let restore = |expected: &str| {
        let options = ["-q", "luksHeaderRestore", "--header-backup-file", &backup];
        luksmith(&[&options[..], &["--expect-uuid", expected, &disk]].concat())
    };
    restore(OTHER).fails(1, &format!("{backup}: the policy refuses this header"));
    assert_eq!(restore(&uuid).text(), "");
    assert_eq!(luksmith(&["luksUUID", &disk]).text().trim_end(), uuid);
}

#[test]
fn a_new_volume_is_judged_before_anything_is_written() {
    let scratch = Scratch::new();
    let disk = text(&scratch.path("disk"));
    let format = |options: &[&str]| {
        let base = ["luksFormat", "--size", "20M", "--sector-size", "4096"];
        let kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
        let all = [&base[..], &kdf, options, &[disk.as_str()]].concat();
        luksmith_with(&all, &[b'k'; 32])
    };
    format(&["--policy", "nope"]).fails(1, "built in are emptydir");
    format(&["--policy", "secure-mount"]).fails(1, "the policy refuses this header");
    assert!(!std::path::Path::new(&disk).exists());
    assert_eq!(format(&["--policy", "secure-mount-plain"]).text(), "");
    let header = text(&scratch.path("header"));
    let apart = [
        "--force",
        "--header",
        &header,
        "--policy",
        "secure-mount-plain",
    ];
    assert_eq!(format(&apart).text(), "");
}

/// A keyslot that does not encrypt its key was refused by everything but opening, whatever the
/// option said.
#[test]
fn a_keyslot_that_does_not_encrypt_is_tried_only_where_that_is_accepted() {
    let scratch = Scratch::new();
    let mut image = test_image("luks1-default").file("image");
    image[8..72].fill(0);
    image[8..19].copy_from_slice(b"cipher_null");
    image[40..43].copy_from_slice(b"ecb");
    let disk = scratch.file("null", &image);
    let actions: [&[&str]; 6] = [
        &["luksAddKey"],
        &["luksRemoveKey"],
        &["luksChangeKey"],
        &["luksConvertKey"],
        &["luksDump", "--dump-volume-key"],
        &["open", "--test-passphrase"],
    ];
    for action in actions {
        let run = |options: &[&str]| luksmith_with(&[action, options, &[&disk]].concat(), b"wrong");
        run(&[]).fails(1, "keeps its key unencrypted; --accept-null-cipher uses it");
        let debug = run(&["--debug", "-v"]).stderr;
        assert!(
            debug.contains("# keyslot 0") && !debug.contains("::"),
            "{debug}"
        );
        run(&["--accept-null-cipher"]).fails(2, "no keyslot opened");
        // Who asks for a policy asks for a cipher too.
        let uuid = luksmith(&["luksUUID", &disk]).text().trim_end().to_owned();
        run(&["--expect-uuid", &uuid]).fails(1, "a cipher that encrypts");
    }
}
