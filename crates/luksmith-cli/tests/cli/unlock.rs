//! `open --test-passphrase`: where keys come from, and what the exit status says.

use luksmith_testkit::interop::{session_key, skipped};

use luksmith_testkit::test_image;

#[cfg(target_os = "linux")]
use crate::support::luksmith_with_memory;
use crate::support::{Scratch, bytes, luksmith, luksmith_with, text};
#[cfg(unix)]
use crate::support::{luksmith_from, luksmith_redirected};

const TEST: [&str; 2] = ["open", "--test-passphrase"];

fn test<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&TEST, arguments].concat()
}

#[test]
fn each_source_of_a_key_opens_the_volume() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-default");
    let known = test_image("luks2-default");
    let passphrase = known.passphrase.as_bytes();
    let key_file = scratch.file("key", passphrase);
    let padded = scratch.file("padded", &[b"xx", passphrase, b"yy"].concat());
    let volume_key = scratch.file("volume-key", &known.volume_key);
    let before = bytes(&disk);

    let with_newline = [passphrase, b"\nnever read"].concat();
    assert_eq!(luksmith_with(&test(&[&disk]), &with_newline).text(), "");
    assert_eq!(
        luksmith_with(&test(&["-d", "-", &disk]), passphrase).text(),
        ""
    );
    assert_eq!(
        luksmith(&test(&["--key-file", &key_file, &disk])).text(),
        ""
    );
    let size = passphrase.len().to_string();
    let part = ["-d", &padded, "--keyfile-offset", "2", "-l", &size, &disk];
    assert_eq!(luksmith(&test(&part)).text(), "");
    let command = format!("cat {key_file}");
    assert_eq!(
        luksmith(&test(&["--key-command", &command, &disk])).text(),
        ""
    );
    let key_fd = luksmith_with(&test(&["--key-fd", "0", &disk]), passphrase);
    assert_eq!(key_fd.text(), "");
    let by_key = luksmith(&test(&["--volume-key-file", &volume_key, &disk]));
    assert_eq!(by_key.text(), "");
    assert_eq!(bytes(&disk), before, "a test of a key changed the file");
}

/// `/dev/fd/N` was opened again: what stood in a file was overwritten from its start, and a socket
/// could not be used at all.
#[cfg(unix)]
#[test]
fn keys_are_written_to_and_read_from_the_descriptor_itself() {
    use std::{io::Seek as _, io::SeekFrom, io::Write as _, os::fd::OwnedFd, os::unix::net};

    let scratch = Scratch::new();
    let disk = scratch.image("luks2-default");
    let known = test_image("luks2-default");
    let passphrase = known.passphrase.as_bytes();
    let key = scratch.file("key", passphrase);
    let keys = scratch.file("keys", b"what stood here before");
    let table = |to: &str, descriptor: &str| {
        let arguments = ["dm-table", &disk, "name", "-d", &key, "--volume-key-fd"];
        luksmith_redirected(to, &keys, &[&arguments[..], &[descriptor]].concat())
    };
    assert!(table("3>>\"$f\"", "3").text().starts_with("name: "));
    let appended = [b"what stood here before", known.volume_key.as_slice()].concat();
    assert_eq!(bytes(&keys), appended);
    // Nobody handed it over, so it must not be what the command opens by itself.
    let before = bytes(&disk);
    for closed in ["3>&-", "4>&-"] {
        table(closed, &closed[..1]).fails(1, "Bad file descriptor");
    }
    assert!(bytes(&disk) == before);
    // The first argument's copy took the number that the second one named: the volume key stood
    // in plain behind the passphrase.
    let both = [
        "dm-table",
        &disk,
        "name",
        "--key-fd",
        "3",
        "--volume-key-fd",
        "4",
    ];
    let answer = luksmith_redirected("3<>\"$f\" 4>&-", &key, &both);
    answer.fails(1, "Bad file descriptor");
    assert!(bytes(&disk) == before && bytes(&key) == passphrase);
    table("3<\"$f\"", "3").fails(1, "--volume-key-fd 3");
    table("", "x").fails(1, "a number is expected");

    let behind = scratch.file("behind", &[b"1234", passphrase].concat());
    let mut file = std::fs::File::open(&behind).expect("a file");
    file.seek(SeekFrom::Start(4)).expect("a position");
    let key_fd = test(&["--key-fd", "0", &disk]);
    assert_eq!(luksmith_from(&key_fd, file).text(), "");
    let (mut here, there) = net::UnixStream::pair().expect("a socket");
    here.write_all(passphrase).expect("room");
    drop(here);
    let there = OwnedFd::from(there);
    assert_eq!(luksmith_from(&key_fd, there).text(), "");
    // Who read from it before left nothing: that is no empty passphrase, which would be tried.
    let mut file = std::fs::File::open(&behind).expect("a file");
    file.seek(SeekFrom::End(0)).expect("a position");
    luksmith_from(&key_fd, file).fails(1, "nothing is left in it");
}

#[test]
fn a_wrong_key_is_status_2_and_a_missing_one_is_status_1() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-default");
    let known = test_image("luks2-default");
    let missing = text(&scratch.path("missing"));
    let empty = scratch.file("empty", b"");
    let short = scratch.file("short", &known.volume_key[..32]);
    let wrong_key = scratch.file("wrong", &[7; 64]);
    let wrong = "no keyslot opened: keyslot 0: not the right key";
    luksmith_with(&test(&[&disk]), b"wrong").fails(2, wrong);
    let with_newline = [known.passphrase.as_bytes(), b"\n"].concat();
    luksmith_with(&test(&["-d", "-", &disk]), &with_newline).fails(2, wrong);
    luksmith(&test(&["-d", &empty, &disk])).fails(2, wrong);
    luksmith(&test(&["--volume-key-file", &wrong_key, &disk])).fails(2, "matches no digest");
    luksmith(&test(&["--volume-key-file", &short, &disk])).fails(1, "the key has 32 bytes");
    luksmith(&test(&[&disk])).fails(1, "standard input gives no passphrase");
    luksmith(&test(&["-d", &missing, &disk])).fails(1, "the key cannot be read");
    luksmith(&test(&["-d", &missing, "--key-fd", "0", &disk])).fails(1, "cannot be used with");
    luksmith(&test(&["-S", "9", &disk])).fails(1, "standard input gives no passphrase");
    luksmith_with(&test(&["-S", "9", &disk]), b"x").fails(1, "there is no keyslot 9");
    luksmith(&test(&["--key-command", "false", &disk])).fails(1, "it ended with");
    luksmith(&test(&["--key-command", "true", &disk])).fails(1, "it gave no key");
    luksmith(&test(&["--key-command", "/no/such", &disk])).fails(1, "No such file");
    luksmith(&["open", &disk]).fails(1, "open makes no kernel mapping");
}

#[test]
fn a_limit_is_held_before_any_key_is_derived() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-default");
    let limited = test(&["--limit-argon2-memory", "1M", &disk]);
    luksmith_with(&limited, b"any").fails(1, "the limit is 1024 KiB");
    let answer = luksmith_with(&[&["--json"], limited.as_slice()].concat(), b"any");
    assert!(
        answer.stderr.contains("\"kind\":\"over-limit\""),
        "{}",
        answer.stderr
    );
}

#[test]
fn verbose_tells_the_keyslot_and_debug_every_attempt() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-many-slots");
    let passphrase = test_image("luks2-many-slots").passphrase;
    let answer = luksmith_with(&test(&["-v", "--debug", &disk]), passphrase.as_bytes());
    assert_eq!(answer.status, 0);
    assert!(
        answer.stderr.contains("Key slot 0 unlocked.\n"),
        "{}",
        answer.stderr
    );
    assert!(
        answer.stderr.contains("# keyslot 5: not the right key\n"),
        "{}",
        answer.stderr
    );
    assert!(
        !answer.stderr.contains(&passphrase),
        "a secret in the trace"
    );
}

/// `eprintln!` panics where standard error cannot be written: `luksDump` of a missing file ended
/// with status 101.
#[cfg(target_os = "linux")]
#[test]
fn the_status_is_the_same_where_nobody_can_be_told() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-default");
    let key = scratch.file("key", test_image("luks2-default").passphrase.as_bytes());
    let wrong = scratch.file("wrong", b"wrong");
    let missing = text(&scratch.path("missing"));
    let status = |arguments: &[&str]| {
        let full = std::fs::File::create("/dev/full").expect("a full device");
        let program = env!("CARGO_BIN_EXE_luksmith");
        let mut command = std::process::Command::new(program);
        let status = command.args(arguments).stderr(full).status();
        status.expect("an answer").code()
    };
    assert_eq!(status(&["luksDump", &missing]), Some(4));
    assert_eq!(status(&["--json", "luksDump", &missing]), Some(4));
    assert_eq!(status(&["no-such-action"]), Some(1));
    let told = ["-v", "--debug"];
    assert_eq!(
        status(&[&told[..], &test(&["-d", &key, &disk])].concat()),
        Some(0)
    );
    assert_eq!(
        status(&[&told[..], &test(&["-d", &wrong, &disk])].concat()),
        Some(2)
    );
}

/// The report of the keyslots hid it, and the status was 1; cryptsetup gives 3.
#[cfg(target_os = "linux")]
#[test]
fn a_keyslot_that_there_is_no_memory_for_is_status_3() {
    let scratch = Scratch::new();
    let disk = text(&scratch.path("disk"));
    let costs = ["--pbkdf-memory", "131072", "--pbkdf-force-iterations", "4"];
    let format = [
        "luksFormat",
        "--size",
        "20M",
        "--pbkdf-parallel",
        "1",
        &disk,
    ];
    let answer = luksmith_with(&[&format[..], &costs].concat(), b"passphrase");
    assert_eq!(answer.text(), "");
    let weak = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    let add = [&["luksAddKey", &disk], &weak[..]].concat();
    assert_eq!(luksmith_with(&add, b"passphrase\nother").text(), "");
    let actions: [&[&str]; 3] = [
        &["open", "--test-passphrase", "-S", "0", &disk],
        &["luksAddKey", "-S", "0", "--new-key-slot", "2", &disk],
        &["luksKillSlot", &disk, "1"],
    ];
    for action in actions {
        // Room for the keyslot's memory, and for nothing beside it.
        let answer = luksmith_with_memory(131_072, action, b"passphrase");
        answer.fails(3, "no memory for 134217728 bytes");
    }
    let answer = luksmith_with_memory(1 << 20, &test(&[&disk]), b"passphrase");
    assert_eq!(answer.text(), "");
}

#[test]
fn benchmark_measures_one_cipher_or_one_hash() {
    let answer = luksmith(&["benchmark", "-c", "aes-xts-plain64", "-s", "512"]);
    let words: Vec<&str> = answer.text().split_whitespace().collect();
    assert_eq!(words[..3], ["aes-xts-plain64", "|", "512b"]);
    let speed: f64 = words[4].parse().expect("a number");
    assert!(speed > 1.0, "{speed} MiB/s");
    // "| 94 % and 93 % with vaes512", where the machine has instructions for AES.
    match luksmith::simd::Backend::best() {
        luksmith::simd::Backend::Portable => assert_eq!(words.len(), 9, "{words:?}"),
        backend => {
            assert_eq!(
                words[9..],
                [
                    "|",
                    words[10],
                    "%",
                    "and",
                    words[13],
                    "%",
                    "with",
                    backend.name()
                ]
            );
            for share in [words[10], words[13]] {
                let share: u32 = share.parse().expect("a number");
                assert!((1..=120).contains(&share), "{words:?}");
            }
        }
    }
    let answer = luksmith(&["benchmark", "-c", "serpent-xts-plain64", "-s", "512"]);
    assert!(!answer.text().contains('%'), "{}", answer.text());
    let answer = luksmith(&["benchmark", "-h", "sha256"]);
    assert!(
        answer.text().starts_with("PBKDF2-sha256 "),
        "{}",
        answer.text()
    );
    luksmith(&["benchmark", "-c", "aes-xts-plain64", "-s", "100"]).fails(1, "takes a key of");
    luksmith(&["benchmark", "-h", "nope"]).fails(1, "hash \"nope\" is not known");
}

#[test]
fn the_volume_key_is_shown_or_stored_for_whoever_opens_the_volume() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-default");
    let known = test_image("luks2-default");
    let dump = ["-q", "luksDump", "--dump-volume-key", &disk];
    let answer = luksmith_with(&dump, known.passphrase.as_bytes());
    let (top, key) = answer.text().split_once("MK dump:\t").expect("a key");
    assert!(
        top.contains("Cipher name:   \taes\nCipher mode:   \txts-plain64\n"),
        "{top}"
    );
    let digits: String = key.split_whitespace().collect();
    assert_eq!(luksmith_testkit::unhex(&digits), known.volume_key);
    let out = text(&scratch.path("out"));
    let stored = [&dump[..], &["--volume-key-file", &out]].concat();
    let answer = luksmith_with(&stored, known.passphrase.as_bytes());
    assert!(
        answer
            .text()
            .ends_with(&format!("Key stored to file {out}.\n"))
    );
    assert_eq!(bytes(&out), known.volume_key);
    luksmith_with(&stored, known.passphrase.as_bytes()).fails(1, "File exists");
    luksmith_with(&dump, b"wrong").fails(2, "not the right key");
}

#[test]
fn a_policy_is_asked_before_any_key_is_derived() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-default");
    let pinned = test(&["--policy", "secure-mount", &disk]);
    luksmith_with(&pinned, b"any").fails(1, "the policy refuses this header");
    let json = luksmith_with(&[&["--json"], pinned.as_slice()].concat(), b"any");
    assert!(
        json.stderr.contains("\"kind\":\"policy\""),
        "{}",
        json.stderr
    );
    let check = luksmith(&["check", &disk]);
    assert!(!check.text().contains("policy"), "{check:?}");
    luksmith(&["check", "--policy", "secure-mount", &disk]).fails(1, "found");
    let json = luksmith(&["check", "--json", "--policy", "secure-mount", &disk]);
    assert!(json.stderr.contains("\"kind\":\"policy\""), "{json:?}");
    luksmith(&["check", "--policy", "nope", &disk]).fails(1, "built in are emptydir");
    luksmith(&["check", "--require-integrity", &disk]).fails(1, "1 problem found");
    let uuid = luksmith(&["luksUUID", &disk]).text().trim_end().to_owned();
    assert_eq!(
        luksmith(&["check", "--expect-uuid", &uuid, &disk]).status,
        0
    );
    let other = "12345678-1234-1234-1234-123456789abc";
    luksmith(&["check", "--expect-uuid", other, &disk]).fails(1, "1 problem found");
    let profile = scratch.file("profile", b"{}");
    luksmith(&["check", "--policy", &profile, &disk]).fails(1, "profile");
}

#[test]
fn a_token_leads_to_the_key_in_the_kernels_keyring() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-default");
    let known = test_image("luks2-default");
    let description = |word: &str| format!("luksmith:{}:{word}", std::process::id());
    let keys = [("right", known.passphrase.as_bytes()), ("wrong", b"other")];
    for (word, key) in keys {
        if !session_key(&description(word), key) {
            return;
        }
    }
    let add = |word: &str, id: &str| {
        let description = description(word);
        let options = ["token", "add", &disk, "--key-description", &description];
        let answer = luksmith(&[&options[..], &["--token-id", id]].concat());
        assert_eq!(answer.text(), "");
    };
    let open = |options: &[&str], input: &[u8]| {
        let arguments = [&TEST[..], &[disk.as_str()], options].concat();
        luksmith_with(&arguments, input)
    };
    let only = |options: &[&str]| open(&[&["--token-only"], options].concat(), b"");

    only(&[]).fails(1, "no token of this volume can be used");
    add("wrong", "1");
    add("nowhere", "2");
    only(&[]).fails(2, "none of 2 usable tokens opened the volume");
    let by_hand = open(&[], known.passphrase.as_bytes());
    assert_eq!(by_hand.text(), "");
    // Who names a token learns why it did not unlock; the passphrase still does.
    let by_hand = open(&["--token-id", "1"], known.passphrase.as_bytes());
    assert_eq!(by_hand.status, 0);
    assert!(by_hand.stderr.contains("none of 1 usable tokens"));

    add("right", "3");
    assert_eq!(only(&[]).text(), "");
    assert_eq!(open(&[], b"").text(), "");
    assert_eq!(only(&["--token-id", "3", "-S", "0"]).text(), "");
    assert_eq!(only(&["--token-type", "luks2-keyring"]).text(), "");
    only(&["--token-type", "systemd-tpm2"]).fails(1, "none of those asked for");
    only(&["--token-id", "1"]).fails(2, "none of 1 usable tokens");
    only(&["-S", "7"]).fails(1, "no token of this volume can be used");
    // A key that is named goes before tokens that are not.
    let key = scratch.file("key", b"nonsense");
    open(&["-d", &key], b"").fails(2, "not the right key");
    assert_eq!(open(&["-d", &key, "--token-id", "3"], b"").text(), "");
    let exported = luksmith(&["export", "--token-only", "--length", "4096", &disk]);
    assert_eq!((exported.status, exported.stdout.len()), (0, 4096));
    // Limits and policies hold here too.
    only(&["--policy", "mkcw"]).fails(1, "policy");
    let damaged = r#"{"type":"luks2-keyring","keyslots":["0"],"key_description":"x","y":1}"#;
    let import = ["token", "import", &disk, "--token-id", "4"];
    assert_eq!(luksmith_with(&import, damaged.as_bytes()).text(), "");
    let answer = only(&["--token-id", "4", "-v"]);
    // No key was tried, so none is wrong.
    assert_eq!(answer.status, 1);
    assert!(
        answer.stderr.contains("this type has exactly 3"),
        "{answer:?}"
    );
    assert_eq!(only(&[]).text(), "");
}

/// Expanded keys lie on the ordinary heap: a crash must not put them on the disk.
#[cfg(target_os = "linux")]
#[test]
fn a_crash_of_the_command_leaves_no_core_dump() {
    use std::{
        io::Write as _,
        os::unix::process::ExitStatusExt as _,
        process::{Command, Stdio},
    };
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-default");
    // The key never ends, so that the command is there to be ended.
    let aborted = |program: &str| {
        let script = format!("ulimit -c unlimited; exec {program}");
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .current_dir(scratch.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        // More than a pipe holds: this returns once the program is reading.
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(&[7; (64 << 10) + 1]).expect("a reader");
        let kill = format!("kill -ABRT {}", child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.expect("a shell").success());
        let status = child.wait().expect("its end");
        assert_eq!(status.signal(), Some(6), "{status}");
        status.core_dumped()
    };
    let command = env!("CARGO_BIN_EXE_luksmith");
    let open = format!("'{command}' open --test-passphrase --key-file - '{disk}'");
    assert!(!aborted(&open));
    if !aborted("cat") {
        skipped("no program leaves a core dump on this system");
    }
}
