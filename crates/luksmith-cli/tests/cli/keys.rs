//! Key options: each has its effect, or is refused where it has none.

use luksmith_testkit::test_image;

use crate::support::{Answer, Scratch, bytes, luksmith, luksmith_with, text};

/// Costs that open at once.
const WEAK: [&str; 4] = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];

fn opens(disk: &str, passphrase: &str) -> bool {
    let answer = luksmith_with(&["open", "--test-passphrase", disk], passphrase.as_bytes());
    assert!([0, 2].contains(&answer.status), "{answer:?}");
    answer.status == 0
}

/// A small volume with the passphrase "old".
fn volume(scratch: &Scratch) -> String {
    let disk = text(&scratch.path("disk"));
    let format = ["luksFormat", "--size", "6M", "--luks2-keyslots-size", "2M"];
    let answer = luksmith_with(&[&format[..], &WEAK, &[&disk]].concat(), b"old");
    assert_eq!(answer.text(), "");
    disk
}

/// Both were one group: a volume with a volume key of the user's could not have a passphrase from a
/// file, and the volume key not be dumped to a file with one.
#[test]
fn a_passphrase_and_a_volume_key_are_named_together_where_both_are_meant() {
    let scratch = Scratch::new();
    let disk = text(&scratch.path("disk"));
    let key = scratch.file("key", b"old");
    let volume_key = scratch.file("volume-key", &[0x5a; 64]);
    let both = ["-d", &key, "--volume-key-file", &volume_key];
    let format = ["luksFormat", "--size", "20M", &disk];
    assert_eq!(luksmith(&[&format[..], &WEAK, &both].concat()).text(), "");
    let out = text(&scratch.path("out"));
    let dump = ["-q", "luksDump", "--dump-volume-key", &disk, "-d", &key];
    let answer = luksmith(&[&dump[..], &["--volume-key-file", &out]].concat());
    assert!(answer.text().contains("Key stored to file"), "{answer:?}");
    assert_eq!(bytes(&out), [0x5a; 64]);

    let plain = scratch.file("plain", &[7; 1 << 20]);
    let image = text(&scratch.path("image"));
    let build = ["-q", "image", "build", "--format", "luks2", &plain, &image];
    assert_eq!(luksmith(&[&build[..], &WEAK, &both].concat()).text(), "");
    assert!(opens(&image, "old"));
    let by_key = ["open", "--test-passphrase", &image, "--volume-key-file"];
    assert_eq!(luksmith(&[&by_key[..], &[&volume_key]].concat()).text(), "");

    // Either of them opens.
    for action in [
        &["open", "--test-passphrase"][..],
        &["luksAddKey"],
        &["verify"],
    ] {
        let answer = luksmith(&[action, &[&disk], &both].concat());
        answer.fails(1, "either unlocks; give one");
    }
}

/// `luksRemoveKey --volume-key-file` removed the keyslot of the passphrase on standard input.
#[test]
fn a_key_option_without_a_use_is_refused_before_anything_happens() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-many-slots");
    let passphrase = test_image("luks2-many-slots").passphrase;
    let before = bytes(&disk);
    let refused: [(&[&str], &[&str], &str); 7] = [
        (
            &["luksRemoveKey"],
            &["--volume-key-file", "x"],
            "unexpected argument",
        ),
        (
            &["luksConvertKey"],
            &["--volume-key-file", "x"],
            "unexpected argument",
        ),
        (
            &["luksKillSlot"],
            &["1", "--volume-key-file", "x"],
            "unexpected argument",
        ),
        (&["luksKillSlot"], &["1", "-S", "3"], "unexpected argument"),
        (&["luksDump"], &["-d", "x"], "takes no key"),
        (
            &["luksAddKey"],
            &["--unbound", "-s", "64", "-d", "x"],
            "--unbound makes a new key",
        ),
        (&["luksAddKey"], &["-s", "64"], "--unbound"),
    ];
    for (action, options, why) in refused {
        let all = [action, &[disk.as_str()], options].concat();
        luksmith_with(&all, passphrase.as_bytes()).fails(1, why);
    }
    assert!(bytes(&disk) == before);
}

#[test]
fn parts_of_standard_input_are_keys_as_parts_of_files_are() {
    let scratch = Scratch::new();
    let disk = volume(&scratch);
    let add = |options: &[&str], input: &str| -> Answer {
        let base = ["luksAddKey", &disk];
        luksmith_with(&[&base[..], &WEAK, options].concat(), input.as_bytes())
    };
    // The new keyslot had the whole line: with cryptsetup its first three bytes opened it.
    assert_eq!(
        add(&["--new-keyfile-size", "3"], "old\nsecond\n").text(),
        ""
    );
    assert!(opens(&disk, "sec") && !opens(&disk, "second"));
    let offset = ["--new-keyfile-offset", "2"];
    assert_eq!(add(&offset, "old\nx\nthird\n").text(), "");
    assert!(opens(&disk, "third"));
    assert_eq!(add(&["-l", "3"], "oldfourth").text(), "");
    assert!(opens(&disk, "fourth"));
    let test = |options: &[&str], input: &str| {
        let all = [&["open", "--test-passphrase", &disk], options].concat();
        luksmith_with(&all, input.as_bytes())
    };
    assert_eq!(test(&["--keyfile-offset", "2"], "x\nold\nz").text(), "");
    assert_eq!(test(&["-l", "3"], "old\nx").text(), "");
    test(&["-l", "5"], "old\nxx").fails(1, "only 3 of the 5 bytes");
    let fd = ["--key-fd", "0", "--keyfile-offset", "1", "-l", "3"];
    assert_eq!(test(&fd, "xoldx").text(), "");
    test(&["-l", "3", "--key-command", "true"], "").fails(1, "cannot be used with");
}

#[test]
fn flags_may_stand_twice() {
    let scratch = Scratch::new();
    let disk = scratch.image("luks2-default");
    let twice = ["-v", "-v", "-q", "isLuks", "-q", "--batch-mode", &disk];
    assert_eq!(luksmith(&twice).text(), "");
    let open = ["open", "--test-passphrase", "--test-passphrase", &disk];
    let passphrase = test_image("luks2-default").passphrase;
    assert_eq!(luksmith_with(&open, passphrase.as_bytes()).text(), "");
}
