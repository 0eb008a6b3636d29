//! Changes of a header: keyslots, tokens, settings, backup, conversion, repair.

use luksmith::{
    Passphrase, Threads,
    block::{Control, FileOptions},
    header::{Budget, Header, Limits},
    keyslot::{
        Effort,
        unlock::{Scope, Unlock, UnlockOptions, unlock},
    },
};
use luksmith_testkit::{paint, test_image};

use crate::support::{Answer, Scratch, WEAK, bytes, luksmith, luksmith_with, text};

struct Disk {
    scratch: Scratch,
    path: String,
    passphrase: String,
}

impl Disk {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new();
        Self {
            path: scratch.image(name),
            passphrase: test_image(name).passphrase,
            scratch,
        }
    }

    /// A new volume with one keyslot that opens at once, and room for more.
    fn fresh(luks_type: &str) -> Self {
        let scratch = Scratch::new();
        let path = text(&scratch.path("disk"));
        let format = ["luksFormat", "--type", luks_type, "--size", "6M", &path];
        let small: &[&str] = match luks_type {
            "luks2" => &["--luks2-keyslots-size", "1M"],
            _ => &[],
        };
        let answer = luksmith_with(&[&format[..], small, &WEAK].concat(), b"passphrase");
        assert_eq!(answer.text(), "");
        Self {
            scratch,
            path,
            passphrase: "passphrase".to_owned(),
        }
    }

    /// Runs an action on the disk, with lines on standard input.
    fn run(&self, arguments: &[&str], lines: &[&str]) -> Answer {
        let all = [arguments, &[self.path.as_str()]].concat();
        luksmith_with(&all, lines.join("\n").as_bytes())
    }

    fn opens(&self, passphrase: &str, arguments: &[&str]) -> bool {
        let test = [&["open", "--test-passphrase"], arguments].concat();
        let answer = self.run(&test, &[passphrase]);
        assert!([0, 2].contains(&answer.status), "{answer:?}");
        answer.status == 0
    }

    fn dump(&self) -> String {
        self.run(&["luksDump"], &[]).text().to_owned()
    }

    fn json(&self) -> serde_json::Value {
        let answer = self.run(&["luksDump", "--dump-json-metadata"], &[]);
        serde_json::from_str(answer.text()).expect("JSON")
    }

    fn backup(&self, name: &str) -> String {
        let file = text(&self.scratch.path(name));
        let arguments = ["luksHeaderBackup", "--header-backup-file", &file];
        assert_eq!(self.run(&arguments, &[]).text(), "");
        file
    }
}

#[test]
fn keyslots_are_added_changed_and_removed() {
    for luks_type in ["luks1", "luks2"] {
        let disk = Disk::fresh(luks_type);
        let old = disk.passphrase.as_str();
        let add = [&["luksAddKey", "-S", "3"], &WEAK[..]].concat();
        assert_eq!(disk.run(&add, &[old, "second"]).text(), "");
        assert!(disk.opens("second", &["-S", "3"]) && disk.opens(old, &[]));
        disk.run(&add, &[old, "third"])
            .fails(1, "keyslot 3 is in use");
        disk.run(&add, &["wrong", "third"])
            .fails(2, "not the right key");
        disk.run(&add, &[old, ""]).fails(1, "gives no passphrase");

        let change = [&["luksChangeKey"], &WEAK[..]].concat();
        assert_eq!(disk.run(&change, &["second", "changed"]).text(), "");
        assert!(!disk.opens("second", &[]) && disk.opens("changed", &["-S", "3"]));

        let before = bytes(&disk.path);
        disk.run(&["luksRemoveKey"], &["wrong"])
            .fails(2, "not the right key");
        assert!(bytes(&disk.path) == before);
        assert_eq!(disk.run(&["luksRemoveKey"], &["changed"]).text(), "");
        assert!(!disk.opens("changed", &[]) && disk.opens(old, &[]));
    }
}

#[test]
fn the_last_keyslot_goes_only_if_the_user_says_so() {
    for name in ["luks2-default", "luks1-default"] {
        let disk = Disk::new(name);
        let old = disk.passphrase.as_str();
        let before = bytes(&disk.path);
        disk.run(&["luksRemoveKey"], &[old])
            .fails(1, "this is the last keyslot");
        let kill = ["luksKillSlot", &disk.path, "0"];
        luksmith_with(&kill, old.as_bytes()).fails(1, "give -q if that is meant");
        assert!(bytes(&disk.path) == before);
        assert_eq!(disk.run(&["-q", "luksRemoveKey"], &[old]).text(), "");
        assert_eq!(disk.run(&["open", "--test-passphrase"], &[old]).status, 1);
    }
}

/// What the last of the others lacked was told instead, with status 1.
#[test]
fn a_wrong_passphrase_is_told_also_where_another_keyslot_is_over_a_limit() {
    let disk = Disk::fresh("luks2");
    let old = disk.passphrase.as_str();
    let add = |slot: &str, costs: &[&str]| {
        let add = [&["luksAddKey", "-S", slot], costs].concat();
        assert_eq!(disk.run(&add, &[old, "another"]).text(), "");
    };
    add("1", &WEAK);
    add(
        "2",
        &["--pbkdf-memory", "1024", "--pbkdf-force-iterations", "4"],
    );
    let before = bytes(&disk.path);
    let kill = [
        "luksKillSlot",
        &disk.path,
        "1",
        "--limit-argon2-memory",
        "64",
    ];
    luksmith_with(&kill, b"wrong").fails(2, "not the right key");
    assert!(bytes(&disk.path) == before);
}

/// An unbound keyslot counted as another one of the volume: without `-q` nobody was warned, and
/// with `-q` the keyslot stayed for ever.
#[test]
fn an_unbound_keyslot_does_not_stand_in_for_one_of_the_volume() {
    let disk = Disk::fresh("luks2");
    let old = disk.passphrase.as_str();
    let unbound = ["luksAddKey", "--unbound", "-s", "256", "-S", "1"];
    let made = disk.run(&[&unbound[..], &WEAK].concat(), &["other"]);
    assert_eq!(made.text(), "");
    let second = [&["luksAddKey", "-S", "2"], &WEAK[..]].concat();
    assert_eq!(disk.run(&second, &[old, "second"]).text(), "");
    let full = bytes(&disk.path);
    let kill = |slot: &str, options: &[&str], input: &str| {
        let all = [&["luksKillSlot", &disk.path, slot], options].concat();
        luksmith_with(&all, input.as_bytes())
    };
    // What opens the volume is what shows that another keyslot is left.
    kill("0", &[], "other").fails(2, "not the right key");
    kill("1", &[], "other").fails(2, "not the right key");
    kill("0", &["-q", "-d", "-"], "other").fails(2, "not the right key");
    assert!(bytes(&disk.path) == full);
    assert_eq!(kill("1", &[], "second").text(), "");
    std::fs::write(&disk.path, &full).expect("a writable file");

    assert_eq!(kill("2", &[], old).text(), "");
    let before = bytes(&disk.path);
    kill("0", &[], old).fails(1, "this is the last keyslot");
    disk.run(&["luksRemoveKey"], &[old])
        .fails(1, "this is the last keyslot");
    assert!(bytes(&disk.path) == before);
    assert_eq!(kill("0", &["-q"], "").text(), "");
    std::fs::write(&disk.path, &before).expect("a writable file");
    assert_eq!(disk.run(&["-q", "luksRemoveKey"], &[old]).text(), "");
    let left = disk.json();
    let left: Vec<&String> = left["keyslots"].as_object().expect("some").keys().collect();
    assert_eq!(left, ["1"]);
    // With it no data go.
    assert_eq!(kill("1", &[], "").text(), "");
}

/// Each of the others was tried with a budget of its own, so that a header with many of them cost
/// as many times the limit.
#[test]
fn the_keyslots_that_are_left_cost_no_more_than_one_opening() {
    let disk = Disk::fresh("luks2");
    let old = disk.passphrase.as_str();
    for slot in ["1", "2", "3"] {
        let add = [&["luksAddKey", "-S", slot], &WEAK[..]].concat();
        assert_eq!(disk.run(&add, &[old, slot]).text(), "");
    }
    let ignored = ["config", "--priority", "ignore", "-S", "3"];
    assert_eq!(disk.run(&ignored, &[]).text(), "");
    let before = bytes(&disk.path);
    // A thousand iterations for each keyslot, and as many for the digest of what comes out.
    let kill = |limit: &str| {
        let limit = ["--limit-pbkdf2-iterations", limit];
        let all = [&["luksKillSlot", &disk.path, "0"], &limit[..]].concat();
        luksmith_with(&all, b"3")
    };
    let refused = kill("5999");
    assert_ne!(refused.status, 0);
    assert!(
        refused.stderr.contains("5000 of 5999 are spent"),
        "{}",
        refused.stderr
    );
    assert!(bytes(&disk.path) == before);
    // What may be opened may be killed: also by a keyslot that is only tried by its number.
    assert_eq!(kill("6000").text(), "");
    let left = disk.json();
    let left: Vec<&String> = left["keyslots"].as_object().expect("some").keys().collect();
    assert_eq!(left, ["1", "2", "3"]);
}

#[test]
fn a_keyslot_is_killed_by_whoever_opens_another_one() {
    let disk = Disk::new("luks2-many-slots");
    let kill = |slot: &str, arguments: &[&str], input: &str| {
        let all = [&["luksKillSlot", &disk.path, slot], arguments].concat();
        luksmith_with(&all, input.as_bytes())
    };
    kill("9", &[], "").fails(1, "there is no keyslot 9");
    kill("5", &[], "second").fails(2, "not the right key");
    assert!(disk.opens("second", &[]));
    assert_eq!(kill("5", &[], &disk.passphrase).text(), "");
    assert!(!disk.opens("second", &[]));
    assert_eq!(kill("1", &["-q"], "").text(), "");
    assert_eq!(
        disk.json()["keyslots"].as_object().expect("keyslots").len(),
        1
    );
}

#[test]
fn erase_leaves_no_keyslot_and_the_volume_key_still_opens() {
    let disk = Disk::new("luks2-default");
    let before = bytes(&disk.path);
    disk.run(&["erase"], &[])
        .fails(1, "give -q if that is meant");
    assert!(bytes(&disk.path) == before, "erased unasked");
    assert_eq!(disk.run(&["-q", "luksErase"], &[]).text(), "");
    assert_eq!(disk.json()["keyslots"], serde_json::json!({}));
    let key = disk
        .scratch
        .file("key", &test_image("luks2-default").volume_key);
    let out = text(&disk.scratch.path("out"));
    let export = ["export", &disk.path, &out, "--volume-key-file", &key];
    assert_eq!(luksmith(&export).text(), "");
}

#[test]
fn costs_are_forced_measured_or_refused_by_name() {
    let disk = Disk::fresh("luks2");
    let old = disk.passphrase.as_str();
    let convert = |options: &[&str]| disk.run(&[&["luksConvertKey"], options].concat(), &[old]);
    let argon2 = ["--pbkdf", "argon2i", "--pbkdf-force-iterations", "4"];
    let sizes = ["--pbkdf-memory", "64", "--pbkdf-parallel", "1"];
    assert_eq!(convert(&[&argon2[..], &sizes].concat()).text(), "");
    let kdf = &disk.json()["keyslots"]["0"]["kdf"];
    assert_eq!(
        (&kdf["type"], &kdf["memory"]),
        (&"argon2i".into(), &64.into())
    );
    assert_eq!(
        convert(&["--pbkdf", "pbkdf2", "--iter-time", "10"]).text(),
        ""
    );
    let measured = disk.json()["keyslots"]["0"]["kdf"]["iterations"].as_u64();
    assert!(measured >= Some(1000), "{measured:?}");
    let area = [
        "--keyslot-cipher",
        "aes-cbc-essiv:sha256",
        "--keyslot-key-size",
        "256",
    ];
    assert_eq!(convert(&[&WEAK[..], &area].concat()).text(), "");
    assert_eq!(
        disk.json()["keyslots"]["0"]["area"]["encryption"],
        "aes-cbc-essiv:sha256"
    );
    assert!(disk.opens(old, &[]));
    convert(&["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "999"])
        .fails(1, "999 is outside what a new keyslot may have, 1000 to");
    convert(&[&argon2[..], &["--pbkdf-memory", "16"]].concat()).fails(1, "Argon2 memory in KiB");
    convert(&[&WEAK[..], &["--hash", "nope"]].concat()).fails(1, "hash \"nope\" is not known");
    convert(&[&WEAK[..], &["--pbkdf-memory", "64"]].concat())
        .fails(1, "for Argon2, not for PBKDF2");
}

#[test]
fn an_unbound_key_has_its_own_digest() {
    let disk = Disk::fresh("luks2");
    let unbound = ["luksAddKey", "--unbound", "--key-size", "256", "-S", "9"];
    assert_eq!(
        disk.run(&[&unbound[..], &WEAK].concat(), &["other"]).text(),
        ""
    );
    assert!(disk.opens("other", &["-S", "9"]) && !disk.opens("other", &[]));
    assert!(disk.dump().contains("  9: luks2 (unbound)\n"));
    // A key of the user's is no volume key: as many bytes of the file as were asked for.
    let key = disk.scratch.file("key", &[7; 40]);
    let given = |size| {
        let given = [
            "luksAddKey",
            "--unbound",
            "--volume-key-file",
            &key,
            "--key-size",
            size,
        ];
        disk.run(&[&given[..], &WEAK].concat(), &["third"])
    };
    given("328").fails(1, "the key is to have 41 bytes, the file has 40");
    given("4294967288").fails(1, "it may have 4096");
    assert_eq!(given("256").text(), "");
    let device = FileOptions::reader()
        .without_lock()
        .open(&disk.path)
        .expect("the disk");
    let third = Passphrase::new(b"third").expect("a passphrase");
    let options = UnlockOptions::new().scope(Scope::AnyKey).keyslot(1);
    let mut effort = Effort {
        budget: &mut Budget::new(Limits::default()),
        control: &Control::new(),
        threads: Threads::default(),
    };
    let header = Header::read(&device, &Limits::default()).expect("a header");
    let unlocked = unlock(
        &device,
        &header,
        Unlock::Passphrase(&third),
        &options,
        &mut effort,
    );
    assert_eq!(unlocked.expect("the key").key.expose(), [7; 32]);
    let odd = ["luksAddKey", "--unbound", "--key-size", "100"];
    disk.run(&[&odd[..], &WEAK].concat(), &["x"])
        .fails(1, "no whole number of bytes");
}

#[test]
fn label_subsystem_priority_and_uuid_are_set() {
    let disk = Disk::new("luks2-default");
    let config = ["config", "--label", "data", "--subsystem", "test"];
    assert_eq!(disk.run(&config, &[]).text(), "");
    let priority = ["config", "--priority", "ignore", "-S", "0"];
    assert_eq!(disk.run(&priority, &[]).text(), "");
    let uuid = "12345678-1234-1234-1234-123456789abc";
    assert_eq!(
        disk.run(&["-q", "luksUUID", "--uuid", uuid], &[]).text(),
        ""
    );
    let dump = disk.dump();
    for line in [
        "Label:         \tdata",
        "Subsystem:     \ttest",
        &format!("UUID:          \t{uuid}"),
        "\tPriority:   ignored",
    ] {
        assert!(
            dump.lines().any(|found| found == line),
            "{line:?} in\n{dump}"
        );
    }
    disk.run(&["config"], &[]).fails(1, "nothing to set");
    disk.run(&["config", "--label", &"x".repeat(48)], &[])
        .fails(1, "48");
    disk.run(&["config", "--priority", "prefer"], &[])
        .fails(1, "--key-slot");
    disk.run(&["luksUUID", "--uuid", "x"], &[])
        .fails(1, "36 characters");
    let old = Disk::new("luks1-default");
    old.run(&["config", "--label", "x"], &[])
        .fails(1, "a LUKS1 header has no label");
}

/// It was made first, and stayed, empty, when the person at the prompt gave up.
#[cfg(unix)]
#[test]
fn the_backup_file_is_not_made_before_the_passphrase_is_there() {
    let disk = Disk::fresh("luks2");
    let (backup, seen) = (disk.scratch.path("backup"), disk.scratch.path("seen"));
    let (backup, seen) = (text(&backup), text(&seen));
    let script = format!("ls {backup} > {seen} 2>&1; printf %s {}", disk.passphrase);
    let script = disk.scratch.file("script", script.as_bytes());
    let command = format!("sh {script}");
    let convert = ["luksConvertKey", "--key-command", &command];
    let kept = ["--header-backup-file", &backup];
    let answer = disk.run(&[&convert[..], &kept, &WEAK].concat(), &[]);
    assert_eq!(answer.text(), "");
    let seen = String::from_utf8(bytes(&seen)).expect("text");
    assert!(seen.contains("No such file"), "{seen}");
    assert!(!std::path::Path::new(&backup).exists());
    // What is there already is told before anybody types.
    let taken = disk.scratch.file("backup", b"mine");
    let answer = disk.run(
        &[&convert[..], &["--header-backup-file", &taken]].concat(),
        &[],
    );
    answer.fails(1, "File exists");
    assert_eq!(bytes(&taken), b"mine");
}

/// Those of the volume alone, by a list of the command's own; cryptsetup 2.8.8 takes every keyslot.
#[test]
fn a_token_for_no_keyslot_in_particular_is_for_all_of_them() {
    let disk = Disk::new("luks2-unbound");
    let slots = disk.json()["keyslots"].as_object().expect("keyslots").len();
    let add = ["token", "add", "--key-description", "k"];
    assert_eq!(disk.run(&add, &[]).text(), "");
    let json = disk.json();
    let listed = json["tokens"]["0"]["keyslots"].as_array().expect("a list");
    assert_eq!(listed.len(), slots);
    let bound = json["digests"]["0"]["keyslots"].as_array().expect("a list");
    assert!(bound.len() < slots, "one is unbound");
}

#[test]
fn tokens_come_and_go() {
    let disk = Disk::new("luks2-many-slots");
    let token = |verb: &str, arguments: &[&str], input: &str| {
        let all = [&["token", verb, &disk.path], arguments].concat();
        luksmith_with(&all, input.as_bytes())
    };
    let keyring = r#"{"type":"luks2-keyring","keyslots":["0","5","1"],"key_description":"k"}"#;
    assert_eq!(token("add", &["--key-description", "k"], "").text(), "");
    assert_eq!(token("export", &["--token-id", "0"], "").text(), keyring);
    let own = r#"{"type":"own","keyslots":["5"],"x":[1,2.50,{"y":null}]}"#;
    assert_eq!(token("import", &["--token-id", "7"], own).text(), "");
    assert_eq!(token("export", &["--token-id", "7"], "").text(), own);
    token("import", &["--token-id", "7"], own).fails(1, "token 7 is in use");
    let replaced = ["--token-id", "7", "--token-replace", "-S", "1"];
    assert_eq!(token("import", &replaced, own).text(), "");
    assert_eq!(
        disk.json()["tokens"]["7"]["keyslots"],
        serde_json::json!(["1"])
    );
    let both = ["--token-id", "7", "-S", "0"];
    for _ in 0..2 {
        assert_eq!(token("assign", &both, "").text(), "");
        let keyslots = &disk.json()["tokens"]["7"]["keyslots"];
        assert_eq!(*keyslots, serde_json::json!(["1", "0"]));
    }
    token("assign", &["--token-id", "7", "-S", "31"], "").fails(1, "31");
    token("assign", &["--token-id", "9", "-S", "1"], "").fails(1, "there is no token 9");
    token("assign", &["--token-id", "7"], "").fails(1, "--key-slot has to name");
    assert_eq!(token("unassign", &both, "").text(), "");
    assert_eq!(
        token("unassign", &["--token-id", "7", "-S", "1"], "").text(),
        ""
    );
    token("unassign", &["--token-id", "7", "-S", "1"], "").fails(1, "token 7 is not for keyslot 1");
    assert_eq!(token("remove", &["--token-id", "7"], "").text(), "");
    token("remove", &["--token-id", "7"], "").fails(1, "there is no token 7");
    token("export", &["--token-id", "7"], "").fails(1, "there is no token 7");
    token("remove", &[], "").fails(1, "--token-id has to name the token");
    token("add", &[], "").fails(1, "--key-description has to name");
    token("add", &["--key-description", ""], "").fails(1, "--key-description has to name");
    token("import", &[], "{} x").fails(1, "more behind the token's JSON");
    token("import", &[], "nonsense").fails(1, "JSON byte 0");
    token("import", &[], r#"{"type":"own","keyslots":["9"]}"#).fails(1, "is not in keyslots");
}

#[test]
fn what_is_wrong_in_a_luks1_header_is_put_right_in_place_or_in_a_copy() {
    let disk = Disk::new("luks1-default");
    let answer = disk.run(&["repair"], &[]);
    assert!(answer.text().contains("nothing to repair"));
    let good = bytes(&disk.path);
    let mut damaged = good.clone();
    // The stripes of keyslot 7, which nobody uses, and the hash's spelling.
    damaged[208 + 7 * 48 + 44] = 1;
    damaged[72..78].make_ascii_uppercase();
    std::fs::write(&disk.path, &damaged).expect("a writable file");
    disk.run(&["open", "--test-passphrase"], &[])
        .fails(1, "keyslot 7");

    let out = text(&disk.scratch.path("out"));
    let answer = disk.run(&["repair", "--out", &out], &[]);
    assert!(answer.text().contains("A repaired copy"));
    assert!(bytes(&disk.path) == damaged, "--out changed the device");
    let copy = bytes(&out);
    assert!(copy.len() > 1 << 20 && good.starts_with(&copy));
    disk.run(&["repair", "--out", &out], &[])
        .fails(1, "File exists");

    let answer = disk.run(&["repair"], &[]);
    let text = "Put right: the name of the hash, the unused keyslot 7.\n";
    assert_eq!(answer.text(), text);
    assert!(bytes(&disk.path) == good);
    assert!(disk.opens(&disk.passphrase, &[]));
    // What nobody can put right is said, and left alone.
    damaged[208 + 44] = 1;
    std::fs::write(&disk.path, &damaged).expect("a writable file");
    disk.run(&["repair"], &[]).fails(1, "keyslot 0");
    assert!(bytes(&disk.path) == damaged);
}

#[test]
fn a_header_comes_back_from_its_backup() {
    for name in ["luks2-default", "luks1-default"] {
        let disk = Disk::new(name);
        let old = disk.passphrase.as_str();
        let file = disk.backup("backup");
        let dump = disk.dump();
        assert_eq!(
            luksmith(&["luksDump", "--header", &file, &disk.path]).status,
            0
        );
        let again = ["luksHeaderBackup", "--header-backup-file", &file];
        disk.run(&again, &[]).fails(1, "File exists");
        assert_eq!(disk.run(&["-q", "erase"], &[]).text(), "");
        let restore = ["luksHeaderRestore", "--header-backup-file", &file];
        assert_eq!(disk.run(&restore, &[]).text(), "");
        assert_eq!(disk.dump(), dump);
        assert!(disk.opens(old, &[]));
        let left = std::fs::read_dir(disk.scratch.path(""))
            .expect("a folder")
            .count();
        assert_eq!(
            left, 2,
            "the disk and the backup, no copy of the old header"
        );

        let kept = text(&disk.scratch.path("kept"));
        let keeping = [&restore[..], &["--old-header-file", &kept]].concat();
        assert_eq!(disk.run(&keeping, &[]).text(), "");
        assert!(bytes(&kept).len() >= 4096);
    }
}

#[test]
fn a_header_of_another_volume_is_restored_only_if_that_is_meant() {
    let disk = Disk::new("luks2-default");
    let file = disk.backup("backup");
    let uuid = "12345678-1234-1234-1234-123456789abc";
    assert_eq!(
        disk.run(&["-q", "luksUUID", "--uuid", uuid], &[]).text(),
        ""
    );
    let restore = ["luksHeaderRestore", "--header-backup-file", &file];
    let before = bytes(&disk.path);
    disk.run(&restore, &[])
        .fails(1, "the backup belongs to another volume");
    assert!(bytes(&disk.path) == before);
    assert_eq!(disk.run(&[&["-q"], &restore[..]].concat(), &[]).text(), "");
    let plain = disk.scratch.file("plain", &paint(0, 4 << 20));
    let onto = ["luksHeaderRestore", "--header-backup-file", &file, &plain];
    luksmith(&onto).fails(1, "holds no LUKS header");
    assert!(bytes(&plain) == paint(0, 4 << 20));
}

#[test]
fn a_volume_is_converted_there_and_back_with_its_data() {
    let disk = Disk::fresh("luks1");
    let old = disk.passphrase.as_str();
    let key = disk.scratch.file("key", old.as_bytes());
    let export = || luksmith(&["export", &disk.path, "--key-file", &key]).stdout;
    let plaintext = export();
    let dump = disk.dump();
    disk.run(&["convert", "--type", "luks1"], &[])
        .fails(1, "it is one already");
    assert_eq!(disk.run(&["convert", "--type", "luks2"], &[]).text(), "");
    assert!(disk.dump().contains("Version:       \t2\n") && disk.opens(old, &[]));
    assert!(export() == plaintext);
    assert_eq!(disk.run(&["convert", "--type", "luks1"], &[]).text(), "");
    assert_eq!(disk.dump(), dump);
    assert!(export() == plaintext);
    let argon2 = Disk::new("luks2-default");
    let before = bytes(&argon2.path);
    argon2
        .run(&["convert", "--type", "luks1"], &[])
        .fails(1, "cannot be converted to LUKS1");
    assert!(bytes(&argon2.path) == before);
}

#[test]
fn repair_writes_the_damaged_copy_anew_or_a_good_copy_elsewhere() {
    let disk = Disk::new("luks2-default");
    let answer = disk.run(&["repair"], &[]);
    assert!(
        answer.text().contains("nothing to repair"),
        "{}",
        answer.text()
    );
    let good = bytes(&disk.path);
    for place in [4096 + 100, 16384 + 4096 + 100] {
        let mut damaged = good.clone();
        damaged[place] ^= 1;
        std::fs::write(&disk.path, &damaged).expect("a writable file");
        let out = text(&disk.scratch.path(&format!("out-{place}")));
        let answer = disk.run(&["repair", "--out", &out], &[]);
        assert!(
            answer.text().contains("A repaired copy"),
            "{}",
            answer.text()
        );
        assert!(bytes(&disk.path) == damaged, "--out changed the device");
        assert_eq!(luksmith(&["check", "--header", &out, &disk.path]).status, 0);
        let answer = disk.run(&["repair"], &[]);
        assert!(
            answer.text().contains("was written anew"),
            "{}",
            answer.text()
        );
        assert_eq!(disk.run(&["check"], &[]).status, 0);
        assert!(disk.opens(&disk.passphrase, &[]));
    }
    let plain = disk.scratch.file("plain", &paint(0, 1 << 20));
    luksmith(&["repair", &plain]).fails(1, "no LUKS header");
    let out = text(&disk.scratch.path("nothing"));
    luksmith(&["repair", "--out", &out, &plain]).fails(1, "no LUKS header");
    assert!(!std::path::Path::new(&out).exists());
}

#[test]
fn repair_overwrites_another_format_only_if_that_is_meant() {
    let disk = Disk::new("luks2-default");
    let mut taken = bytes(&disk.path);
    taken[..512].fill(0);
    taken[1080..1082].copy_from_slice(&[0x53, 0xef]);
    std::fs::write(&disk.path, &taken).expect("a writable file");
    disk.run(&["repair"], &[]).fails(
        1,
        "ext4 file system stands in the place of the primary header",
    );
    assert!(bytes(&disk.path) == taken);
    // A copy is made without a question: the device stays as it is.
    let out = text(&disk.scratch.path("out"));
    let answer = disk.run(&["repair", "--out", &out], &[]);
    assert!(answer.text().contains("A repaired copy"));
    assert!(bytes(&disk.path) == taken, "--out changed the device");
    let test = ["open", "--test-passphrase", "--header", &out];
    assert_eq!(disk.run(&test, &[&disk.passphrase]).text(), "");
    let answer = disk.run(&["-q", "repair"], &[]);
    assert!(answer.text().contains("was written anew"));
    assert!(disk.opens(&disk.passphrase, &[]));
}
