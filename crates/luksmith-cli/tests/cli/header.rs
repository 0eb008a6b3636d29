//! `luksDump`, `isLuks`, `luksUUID`, `check`: what a header says, and what is refused.

use luksmith_testkit::test_image;

use crate::support::{Scratch, bytes, luksmith, text};

#[test]
fn a_luks2_dump_shows_every_object_of_the_header() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-label-token");
    let answer = luksmith(&["luksDump", &disk]);
    let text = answer.text();
    for line in [
        "LUKS header information",
        "Version:       \t2",
        "Metadata area: \t16384 [bytes]",
        "Data segments:",
        "  0: crypt",
        "\tlength: (whole device)",
        "\tcipher: aes-xts-plain64",
        "Keyslots:",
        "  0: luks2",
        "\tPriority:   normal",
        "\tAF stripes: 4000",
        "Tokens:",
        "Digests:",
        "  0: pbkdf2",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line:?} in\n{text}"
        );
    }
    assert!(!text.contains("(no label)"), "{text}");
    let json = luksmith(&["--dump-json-metadata", "luksDump", &disk]);
    assert!(json.text().starts_with("{\n  \"keyslots\":{\n    \"0\":{"));
}

#[test]
fn a_luks1_dump_shows_every_keyslot() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks1-default");
    let answer = luksmith(&["luksDump", &disk]);
    let text = answer.text();
    assert!(text.starts_with(&format!(
        "LUKS header information for {disk}\n\nVersion:       \t1\n"
    )));
    assert!(text.contains("\nKey Slot 0: ENABLED\n\tIterations:         \t"));
    assert!(text.contains("\nKey Slot 7: DISABLED\n"));
    luksmith(&["luksDump", "--dump-json-metadata", &disk]).fails(1, "no JSON metadata");
}

#[test]
fn the_status_of_isluks_is_its_whole_answer() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-default");
    let other = scratch.file("other", &[0; 8192]);
    let cases: [(&[&str], i32); 6] = [
        (&["isLuks", &disk], 0),
        (&["isLuks", "--type", "luks2", &disk], 0),
        (&["-M", "luks1", "isLuks", &disk], 1),
        (&["isLuks", &other], 1),
        (&["isLuks", "--header", &disk, &other], 0),
        (&["isLuks", "--header", &other, &disk], 1),
    ];
    for (arguments, status) in cases {
        let answer = luksmith(arguments);
        assert_eq!(answer.status, status, "{arguments:?}");
        assert_eq!(
            (answer.stdout.as_slice(), answer.stderr.as_str()),
            (&b""[..], "")
        );
    }
    assert_eq!(
        luksmith(&["-v", "isLuks", &other]).stderr.lines().count(),
        1
    );
}

#[test]
fn the_uuid_is_the_one_of_the_dump() {
    let scratch = Scratch::new();
    for name in ["luks2-default", "luks1-default"] {
        let disk = scratch.image(name);
        let uuid = luksmith(&["luksUUID", &disk]);
        let uuid = uuid.text().trim_end();
        assert_eq!(uuid.len(), 36);
        let dump = luksmith(&["luksDump", &disk]);
        assert!(dump.text().contains(&format!("UUID:          \t{uuid}\n")));
    }
}

#[test]
fn what_is_no_device_and_what_is_no_luks_have_statuses_and_messages_of_their_own() {
    let scratch = Scratch::new();
    let folder = text(&scratch.path(""));
    let missing = text(&scratch.path("missing"));
    let empty = scratch.file("empty", b"");
    let plain = scratch.file("plain", &[0x55; 1 << 20]);
    let disk = scratch.image("luks2-default");
    let short = scratch.file("short", &bytes(&disk)[..200_000]);
    for action in ["luksDump", "luksUUID", "check"] {
        luksmith(&[action, &missing]).fails(4, "No such file or directory");
        luksmith(&[action, &folder]).fails(4, "a directory cannot hold a volume");
        luksmith(&[action, &empty]).fails(1, "ends at byte 0");
        luksmith(&[action, &plain]).fails(1, "no LUKS header");
    }
    luksmith(&["luksDump", &short]).fails(1, "the device ends at byte 199680");
    luksmith(&["isLuks", &missing]).fails(4, "No such file or directory");
    luksmith(&["luksDump", "nbd://host/export"]).fails(1, "not supported yet");
}

#[test]
fn a_device_that_someone_writes_is_busy() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-default");
    let file = std::fs::File::open(&disk).expect("a file");
    file.lock().expect("the lock");
    luksmith(&["luksDump", &disk]).fails(5, "another process has this device open");
    file.unlock().expect("the lock back");
    assert_eq!(luksmith(&["luksDump", &disk]).status, 0);
}

#[test]
fn check_finds_a_damaged_copy_and_writes_nothing() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-default");
    let answer = luksmith(&["check", &disk]);
    assert!(answer.text().contains("secondary header: 16384 bytes"));
    let good = bytes(&disk);
    for (place, name) in [(4096 + 100, "primary"), (16384 + 4096 + 100, "secondary")] {
        let mut damaged = good.clone();
        damaged[place] ^= 1;
        let path = scratch.file(name, &damaged);
        let answer = luksmith(&["check", &path]);
        answer.fails(1, "1 problem found");
        let text = String::from_utf8(answer.stdout).expect("text");
        let problem = format!("PROBLEM {name} header at byte");
        assert!(text.contains(&problem), "{text}");
        assert!(text.contains("checksum does not match"), "{text}");
        let key = scratch.file("key", test_image("luks2-default").passphrase.as_bytes());
        let out = crate::support::text(&scratch.path("plain"));
        for arguments in [
            vec!["luksDump", &path],
            vec!["open", "--test-passphrase", "-d", &key, &path],
            vec!["export", "-d", &key, &path, &out],
        ] {
            let answer = luksmith(&arguments);
            assert_eq!(answer.status, 0, "{answer:?}");
            let warning = format!("luksmith: warning: {path}: {name} header at byte");
            assert!(answer.stderr.starts_with(&warning), "{}", answer.stderr);
            assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);
        }
        let answer = luksmith(&["--json", "luksDump", &path]);
        let warning: serde_json::Value = serde_json::from_str(&answer.stderr).expect("JSON");
        assert_eq!(warning["warning"]["kind"], "damaged");
        // The answer is the status alone.
        let answer = luksmith(&["isLuks", &path]);
        assert_eq!((answer.status, answer.stderr.as_str()), (0, ""));
        assert_eq!(bytes(&path), damaged, "a read action changed the file");
    }
}

#[test]
fn check_gives_json_and_so_do_errors() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks1-default");
    let answer = luksmith(&["check", "--json", &disk]);
    let result: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
    assert_eq!(result["problems"], serde_json::json!([]));
    assert_eq!(result["facts"][0], "LUKS1, one header");
    let plain = scratch.file("plain", &[0; 4096]);
    let answer = luksmith(&["--json", "luksDump", &plain]);
    assert_eq!(answer.status, 1);
    let error: serde_json::Value = serde_json::from_str(&answer.stderr).expect("JSON");
    assert_eq!(error["error"]["kind"], "not-luks");
    assert_eq!(error["error"]["status"], 1);
    let answer = luksmith(&["--json", "luksDump"]);
    let error: serde_json::Value = serde_json::from_str(&answer.stderr).expect("JSON");
    assert_eq!(error["error"]["kind"], "caller");
}

#[test]
fn wrong_arguments_are_one_line_and_status_1() {
    luksmith(&[]).fails(1, "an action is missing");
    luksmith(&["nonsense"]).fails(1, "unrecognized subcommand 'nonsense'");
    luksmith(&["luksDump"]).fails(1, "required arguments were not provided: <DEVICE>");
    luksmith(&["--nonsense", "luksDump", "x"]).fails(1, "unexpected argument '--nonsense'");
    luksmith(&["isLuks", "--type", "luks3", "x"]).fails(1, "invalid value 'luks3'");
    luksmith(&["isLuks", "--limit-header-size", "1X", "x"]).fails(1, "`X` is no unit");
}

#[test]
fn actions_of_the_kernel_say_so() {
    for (action, hint) in [
        ("close", "no mapping to close"),
        ("luksClose", "no mapping to close"),
        ("status", "use `luksDump` or `check`"),
        ("luksSuspend", "keys are wiped"),
        ("luksResume", "keys are wiped"),
        ("refresh", "options are given with each action"),
        ("reencrypt", "not supported yet"),
        ("tcryptDump", "only LUKS1 and LUKS2"),
    ] {
        luksmith(&[action, "--force", "name"]).fails(1, hint);
    }
}

#[test]
fn help_completions_and_man_pages_come_from_one_definition() {
    let help = luksmith(&["--help"]);
    assert!(help.text().contains("luksDump"));
    let help = luksmith(&["luksDump", "-?"]);
    assert!(help.text().contains("--dump-json-metadata"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            luksmith(&["completions", shell])
                .text()
                .contains("luksDump")
        );
    }
    let scratch = Scratch::new();
    let folder = text(&scratch.path(""));
    assert_eq!(luksmith(&["man", &folder]).text(), "");
    let page = bytes(&text(&scratch.path("luksmith-luksDump.1")));
    assert!(String::from_utf8_lossy(&page).contains("dump\\-json\\-metadata"));
    assert!(scratch.path("luksmith.1").exists());
    luksmith(&["man", &format!("{folder}/missing")]).fails(1, "No such file or directory");
}
