//! `luksFormat` and `quickstart`.

use luksmith_testkit::paint;

use crate::support::{Answer, Scratch, WEAK, bytes, luksmith, luksmith_with, text};

fn format(path: &str, options: &[&str]) -> Answer {
    luksmith_with(&[&["luksFormat", path], options, &WEAK].concat(), b"pass")
}

/// A file and a keyslot area that are made quickly.
const SMALL: [&str; 4] = ["--size", "6M", "--luks2-keyslots-size", "512K"];

fn json(path: &str) -> serde_json::Value {
    let answer = luksmith(&["luksDump", "--dump-json-metadata", path]);
    serde_json::from_str(answer.text()).expect("JSON")
}

/// Argon2 that opens at once.
const QUICK: [&str; 6] = [
    "--pbkdf-memory",
    "64",
    "--pbkdf-force-iterations",
    "4",
    "--pbkdf-parallel",
    "1",
];

/// Writes through `import` and reads through `export`.
fn holds_data(path: &str, more: &[&str]) {
    holds_data_behind(b"pass", path, more);
}

fn holds_data_behind(key: &[u8], path: &str, more: &[&str]) {
    // Whole sectors: a part of one would have to be read first, which may be an error.
    let data = paint(5, 24 * 4096);
    let scratch = Scratch::new();
    let (key, input) = (scratch.file("key", key), scratch.file("input", &data));
    let import = [
        &["import", path, &input, "--offset", "4096", "-d", &key],
        more,
    ]
    .concat();
    assert_eq!(luksmith(&import).text(), "");
    let out = text(&scratch.path("out"));
    let export = [
        &["export", path, &out, "-d", &key, "--on-error", "zero"],
        more,
    ]
    .concat();
    let answer = luksmith(&export);
    assert!([0, 1].contains(&answer.status), "{answer:?}");
    let out = bytes(&out);
    assert!(out.iter().skip(4096).take(data.len()).eq(&data));
}

#[test]
fn every_option_ends_in_the_header() {
    let scratch = Scratch::new();
    let path = text(&scratch.path("disk"));
    let uuid = "12345678-1234-1234-1234-123456789abc";
    let options = [
        "--size",
        "24M",
        "--label",
        "data",
        "--subsystem",
        "test",
        "--uuid",
        uuid,
        "-S",
        "5",
        "--sector-size",
        "2048",
        "--cipher",
        "aes-cbc-essiv:sha256",
        "--key-size",
        "256",
        "--hash",
        "sha512",
        "--luks2-metadata-size",
        "32K",
        "--luks2-keyslots-size",
        "2M",
        "--offset",
        "8192",
        "--keyslot-cipher",
        "aes-xts-plain64",
        "--keyslot-key-size",
        "256",
    ];
    assert_eq!(format(&path, &options).text(), "");
    let json = json(&path);
    let segment = &json["segments"]["0"];
    assert_eq!(segment["offset"], "4194304");
    assert_eq!(segment["encryption"], "aes-cbc-essiv:sha256");
    assert_eq!(segment["sector_size"], 2048);
    let slot = &json["keyslots"]["5"];
    assert_eq!(slot["key_size"], 32);
    assert_eq!(slot["area"]["encryption"], "aes-xts-plain64");
    assert_eq!(slot["area"]["key_size"], 32);
    assert_eq!(slot["af"]["hash"], "sha512");
    assert_eq!(slot["kdf"]["iterations"], 1000);
    assert_eq!(json["config"]["keyslots_size"], "2097152");
    let dump = luksmith(&["luksDump", &path]);
    for line in ["Label:         \tdata", "Subsystem:     \ttest"] {
        assert!(
            dump.text().lines().any(|found| found == line),
            "{}",
            dump.text()
        );
    }
    assert_eq!(luksmith(&["luksUUID", &path]).text(), format!("{uuid}\n"));
    assert_eq!(luksmith(&["check", &path]).status, 0);
    holds_data(&path, &[]);
}

#[test]
fn luks1_and_detached_headers_hold_data() {
    let scratch = Scratch::new();
    let old = text(&scratch.path("old"));
    assert_eq!(
        format(&old, &["--type", "luks1", "--size", "8M"]).text(),
        ""
    );
    assert_eq!(luksmith(&["isLuks", "--type", "luks1", &old]).status, 0);
    holds_data(&old, &[]);
    let (data, header) = (text(&scratch.path("data")), text(&scratch.path("header")));
    let options = ["--size", "4M", "--header", &header];
    assert_eq!(format(&data, &options).text(), "");
    assert_eq!(luksmith(&["isLuks", &data]).status, 1);
    assert_eq!(bytes(&header).len(), 16 << 20);
    holds_data(&data, &["--header", &header]);
}

#[test]
fn a_profile_is_a_start_that_options_change() {
    let scratch = Scratch::new();
    let key = scratch.file("key", b"pass");
    let generated = scratch.file("generated", &[0xa5; 32]);
    let run = |path: &str, options: &[&str]| {
        luksmith_with(&[&["luksFormat", path], options].concat(), b"pass")
    };
    let mount = text(&scratch.path("mount"));
    let small = ["--size", "6M", "--luks2-keyslots-size", "512K"];
    let secure = ["--profile", "secure-mount", "--label", "mine"];
    let declared = ["--high-entropy-key", "-d", &generated];
    let options = [&small[..], &secure, &declared].concat();
    assert_eq!(run(&mount, &options).text(), "");
    let header = json(&mount);
    let segment = &header["segments"]["0"];
    assert_eq!(segment["integrity"]["type"], "hmac(sha256)");
    assert_eq!(segment["sector_size"], 4096);
    let kdf = &header["keyslots"]["0"]["kdf"];
    assert_eq!(
        (&kdf["type"], &kdf["iterations"]),
        (&"pbkdf2".into(), &1000.into())
    );
    assert!(luksmith(&["luksDump", &mount]).text().contains("mine"));
    assert_eq!(luksmith(&["verify", &mount, "-d", &generated]).status, 0);
    holds_data_behind(&[0xa5; 32], &mount, &[]);

    let state = text(&scratch.path("state"));
    let node = [
        "--profile",
        "constellation_state_disk",
        "--integrity-no-wipe",
    ];
    assert_eq!(format(&state, &[&small[..], &node].concat()).text(), "");
    let header = json(&state);
    assert_eq!(header["tokens"]["0"]["diskIsInitialized"], false);
    // What `format` gives replaces the profile's key derivation.
    assert_eq!(header["keyslots"]["0"]["kdf"]["type"], "pbkdf2");
    assert_eq!(luksmith(&["verify", &state, "-d", &key]).status, 1);

    let image = text(&scratch.path("image"));
    let workload = ["--profile", "workload-image", "--size", "4M"];
    assert_eq!(format(&image, &workload).text(), "");
    assert!(
        luksmith(&["luksDump", &image])
            .text()
            .contains("Payload offset:\t4040\n")
    );

    let (scratch_disk, header) = (text(&scratch.path("eph")), text(&scratch.path("header")));
    let ephemeral = ["--profile", "ephemeral", "--size", "4M"];
    run(&scratch_disk, &ephemeral).fails(1, "give --header FILE");
    let kept = [&ephemeral[..], &QUICK, &["--header", &header]].concat();
    assert_eq!(run(&scratch_disk, &kept).text(), "");
    holds_data(&scratch_disk, &["--header", &header]);
}

/// What people typed got PBKDF2 with 1000 iterations, which is meant for keys of key brokers.
#[test]
fn without_a_declaration_no_key_gets_the_derivation_for_generated_keys() {
    let scratch = Scratch::new();
    let short = scratch.file("short", &[0xa5; 31]);
    let long = scratch.file("long", &[0xa5; 32]);
    let path = text(&scratch.path("disk"));
    let run = |options: &[&str]| {
        let start = ["luksFormat", &path, "--profile"];
        luksmith_with(
            &[&start[..], options, &SMALL].concat(),
            b"a typed passphrase\n",
        )
    };
    let secure = ["secure-mount", "--init", "none"];
    for key in [&[][..], &["-d", &long]] {
        assert_eq!(run(&[&secure[..], &QUICK, key].concat()).text(), "");
        let kdf = &json(&path)["keyslots"]["0"]["kdf"];
        let costs = (&kdf["type"], &kdf["time"], &kdf["memory"]);
        assert_eq!(costs, (&"argon2id".into(), &4.into(), &64.into()));
        std::fs::remove_file(&path).expect("a file");
    }
    run(&["secure-mount", "--high-entropy-key"]).fails(1, "what is typed");
    run(&["secure-mount", "--high-entropy-key", "-d", &short]).fails(1, "31 bytes, fewer than");
    run(&["contrast", "--high-entropy-key", "-d", &long]).fails(1, "same key derivation");
    run(&["secure-mount", "--high-entropy-key", "--pbkdf", "pbkdf2"]).fails(1, "cannot be used");
    assert!(!std::path::Path::new(&path).exists());
}

#[test]
fn what_contradicts_a_profile_is_refused() {
    let scratch = Scratch::new();
    let path = text(&scratch.path("disk"));
    let run = |options: &[&str]| {
        let start = ["luksFormat", &path, "--size", "6M", "--profile"];
        luksmith_with(&[&start[..], options].concat(), b"pass")
    };
    run(&["nonsense"]).fails(
        1,
        "there are ephemeral, secure-mount, constellation, constellation-state-disk, contrast, \
         workload-image",
    );
    run(&["secure-mount", "--type", "luks1"]).fails(1, "is for LUKS2");
    run(&["workload-image", "--type", "luks2"]).fails(1, "is for LUKS1");
    run(&["workload-image", "--integrity", "hmac-sha256"]).fails(1, "LUKS1 does not have this");
    run(&["workload-image", "--init", "tags"]).fails(1, "has no tags");
    run(&["contrast", "--pbkdf-memory", "64"]).fails(1, "give --pbkdf too");
    assert!(!std::path::Path::new(&path).exists());
}

#[test]
fn authenticated_volumes_start_as_they_were_asked_to() {
    let scratch = Scratch::new();
    let key = scratch.file("key", b"pass");
    for (name, options, clean) in [
        ("tags", &["--integrity", "hmac-sha256"][..], true),
        (
            "wipe",
            &["--integrity", "hmac-sha256", "--init", "wipe"][..],
            true,
        ),
        (
            "none",
            &["--integrity", "hmac-sha256", "--integrity-no-wipe"][..],
            false,
        ),
        (
            "gcm",
            &["--integrity", "aead", "--cipher", "aes-gcm-random"][..],
            true,
        ),
    ] {
        let path = text(&scratch.path(name));
        assert_eq!(format(&path, &[&SMALL[..], options].concat()).text(), "");
        let verify = luksmith(&["verify", &path, "-d", &key]);
        assert_eq!(verify.status, i32::from(!clean), "{name}: {verify:?}");
        holds_data(&path, &[]);
    }
    let stored = text(&scratch.path("stored"));
    let options = [
        "--size",
        "20M",
        "--integrity",
        "hmac-sha256",
        "--integrity-no-journal",
    ];
    assert_eq!(
        format(&stored, &[&options[..], &["--persistent"]].concat()).text(),
        ""
    );
    assert_eq!(
        json(&stored)["config"]["flags"],
        serde_json::json!(["no-journal"])
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_terabyte_of_holes_costs_what_a_small_file_costs() {
    use std::os::unix::fs::MetadataExt;

    let scratch = Scratch::new();
    let path = text(&scratch.path("disk"));
    assert_eq!(format(&path, &["--size", "1T"]).text(), "");
    let metadata = std::fs::metadata(&path).expect("a file");
    assert_eq!(metadata.len(), 1 << 40);
    assert!(
        metadata.blocks() * 512 < 20 << 20,
        "{} blocks",
        metadata.blocks()
    );
    holds_data_at_end(&path);
}

#[cfg(target_os = "linux")]
fn holds_data_at_end(path: &str) {
    let scratch = Scratch::new();
    let key = scratch.file("key", b"pass");
    let input = scratch.file("input", &paint(0, 4096));
    let offset = ((1u64 << 40) - (16 << 20) - 4096).to_string();
    let import = ["import", path, &input, "--offset", &offset, "-d", &key];
    assert_eq!(luksmith(&import).text(), "");
    let export = ["export", path, "--offset", &offset, "-d", &key];
    assert!(luksmith(&export).stdout == paint(0, 4096));
}

#[test]
fn what_is_there_is_overwritten_only_if_that_is_meant() {
    let scratch = Scratch::new();
    let path = text(&scratch.path("disk"));
    assert_eq!(format(&path, &SMALL).text(), "");
    let before = bytes(&path);
    format(&path, &[]).fails(1, "give -q or --force to overwrite it");
    assert!(bytes(&path) == before);
    assert_eq!(
        format(&path, &[&SMALL[..], &["--force"]].concat()).text(),
        ""
    );
    assert_eq!(format(&path, &[&SMALL[..], &["-q"]].concat()).text(), "");
    let ext4 = [&[0; 1080][..], &[0x53, 0xef], &[0; 4 << 20]].concat();
    let before = ext4.clone();
    let ext4 = scratch.file("ext4", &ext4);
    format(&ext4, &[]).fails(1, "give -q or --force to overwrite it");
    // The file used to be longer after the refusal.
    format(&ext4, &["--size", "32M"]).fails(1, "give -q or --force to overwrite it");
    assert!(bytes(&ext4) == before);
    // With the header in a new file nobody looked at the device, and the tags went over it.
    let header = text(&scratch.path("header"));
    let elsewhere = ["--profile", "ephemeral", "--header", &header];
    format(&ext4, &elsewhere).fails(1, "give -q or --force to overwrite it");
    assert!(bytes(&ext4) == before && !std::path::Path::new(&header).exists());
}

/// Cleaning up removed the link, which this program had not made.
#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_is_refused_and_stays() {
    let scratch = Scratch::new();
    let (path, link) = (text(&scratch.path("disk")), scratch.path("link"));
    std::os::unix::fs::symlink("/no/such/folder/header", &link).expect("a link");
    let name = text(&link);
    format(&path, &["--size", "4M", "--header", &name]).fails(4, "File exists");
    format(&name, &["--size", "20M"]).fails(4, "File exists");
    assert!(std::fs::symlink_metadata(&link).is_ok());
    assert!(!std::path::Path::new(&path).exists());
}

#[test]
fn a_failure_leaves_no_file_behind_and_a_file_as_it_was() {
    let scratch = Scratch::new();
    let path = text(&scratch.path("disk"));
    let size = ["--size", "20M"];
    let run = |options: &[&str]| format(&path, &[&size[..], options].concat());
    run(&["--cipher", "nonsense"]).fails(1, "cipher \"nonsense\" is not supported");
    run(&["--key-size", "100"]).fails(1, "no whole number of bytes");
    run(&["--sector-size", "123"]).fails(1, "512, 1024, 2048 and 4096 are possible");
    run(&["--uuid", "x"]).fails(1, "36 characters");
    run(&["--label", &"x".repeat(48)]).fails(1, "48");
    run(&["--integrity", "nonsense"]).fails(1, "integrity type \"nonsense\"");
    run(&["--cipher", "aes-gcm-random"]).fails(1, "needs an integrity type");
    run(&["--type", "luks1", "--label", "x"]).fails(1, "LUKS1 does not have this");
    run(&["--luks2-metadata-size", "17K"]).fails(1, "16K, 32K and so on");
    run(&["--luks2-keyslots-size", "4K"]).fails(1, "no room for a keyslot area");
    run(&["--pbkdf-memory", "64"]).fails(1, "for Argon2, not for PBKDF2");
    format(&path, &["--size", "1M"]).fails(1, "the device has 1048576");
    format(&path, &[]).fails(4, "No such file");
    luksmith(&["luksFormat", &path, "--size", "20M"]).fails(1, "gives no passphrase");
    let empty = scratch.file("empty", b"");
    luksmith(&["luksFormat", &path, &empty, "--size", "20M"]).fails(1, "passphrase is empty");
    assert!(!std::path::Path::new(&path).exists());
    // The same of a file that is there already and would have to grow.
    let kept = scratch.file("kept", &paint(0, (1 << 20) + 100));
    let grown = |options: &[&str]| format(&kept, &[&size[..], options].concat());
    grown(&["--cipher", "nonsense"]).fails(1, "not supported");
    grown(&["--uuid", "x"]).fails(1, "36 characters");
    grown(&["--offset", "3"]).fails(1, "offset");
    grown(&["--integrity", "nonsense"]).fails(1, "integrity type");
    grown(&["--offset", "65536"]).fails(1, "the header needs 33554432 bytes");
    // Growing so far would have had a place for the header, but none for data.
    grown(&["--offset", "40960", "--luks2-keyslots-size", "512K"]).fails(1, "needs at least");
    assert!(
        bytes(&kept) == paint(0, (1 << 20) + 100),
        "a refused format wrote"
    );
    let large = scratch.file("large", &paint(0, 1 << 20));
    format(&large, &["--size", "512K"]).fails(1, "would make it smaller");
    assert!(bytes(&large) == paint(0, 1 << 20));
}

#[test]
fn a_volume_key_may_be_given() {
    let scratch = Scratch::new();
    let path = text(&scratch.path("disk"));
    let key = scratch.file("key", &paint(3, 64));
    let given = ["--volume-key-file", &key];
    assert_eq!(format(&path, &[&SMALL[..], &given].concat()).text(), "");
    let test = ["open", "--test-passphrase", &path];
    assert_eq!(
        luksmith(&[&test[..], &["--volume-key-file", &key]].concat()).status,
        0
    );
    assert_eq!(luksmith_with(&test, b"pass").status, 0);
    let short = scratch.file("short", &[1; 10]);
    let other = text(&scratch.path("other"));
    format(&other, &["--size", "20M", "--volume-key-file", &short]).fails(1, "10");
}

#[test]
fn a_volume_grows_with_its_file() {
    let scratch = Scratch::new();
    let key = scratch.file("key", b"pass");
    for options in [&[][..], &["--integrity", "hmac-sha256"]] {
        let path = text(&scratch.path("disk"));
        assert_eq!(format(&path, &[&SMALL[..], options].concat()).text(), "");
        holds_data(&path, &[]);
        let resize = ["resize", &path, "--size", "12M", "-d", &key];
        luksmith_with(&["resize", &path, "--size", "12M"], b"wrong").fails(2, "not the right key");
        assert_eq!(
            bytes(&path).len(),
            6 << 20,
            "a wrong key left the file larger"
        );
        assert!(luksmith(&resize).text().contains("for data."));
        assert_eq!(bytes(&path).len(), 12 << 20);
        let size = still_painted(&path, &key);
        assert!(size > 9 << 20, "{size}");
        shrinks(&path, &key);
        std::fs::remove_file(&path).expect("a file");
    }
}

/// Checks that a volume of 12 MiB gets smaller together with its file, or not at all.
fn shrinks(path: &str, key: &str) {
    let before = bytes(path);
    let to = |size: &str, more: &[&str]| {
        luksmith(&[&["resize", path, "--size", size, "-d", key], more].concat())
    };
    to("4M", &[]).fails(1, "what lies behind byte 4194304 of");
    to("4M", &["-q", "--init", "wipe"]).fails(1, "--init is for what a larger volume has more");
    to("1M", &["-q"]).fails(1, "need");
    luksmith_with(&["resize", path, "--size", "4M", "-q"], b"wrong").fails(2, "not the right key");
    assert!(bytes(path) == before, "a refused resize wrote");
    assert!(to("4M", &["-q"]).text().contains("for data."));
    assert_eq!(bytes(path).len(), 4 << 20);
    assert!(still_painted(path, key) < 4 << 20);
}

/// Checks that a volume has what `holds_data` put there, and gives its size.
fn still_painted(path: &str, key: &str) -> usize {
    let plaintext = luksmith(&["export", path, "-d", key]);
    assert_eq!((plaintext.status, plaintext.stderr.as_str()), (0, ""));
    let painted = plaintext.stdout.iter().skip(4096).take(24 * 4096);
    assert!(painted.eq(&paint(5, 24 * 4096)));
    plaintext.stdout.len()
}

#[test]
fn quickstart_does_what_it_says() {
    let scratch = Scratch::new();
    let folder = text(&scratch.path(""));
    let answer = luksmith(&["quickstart", "--keep", &folder]);
    let told = answer.text();
    for part in [
        "for data, made in",
        "tag does not match",
        "only the changed sector",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let entry = std::fs::read_dir(&folder).expect("a folder").next();
    let disk = text(&entry.expect("a file").expect("an entry").path());
    let verify = luksmith_with(&["verify", &disk], b"correct horse battery staple");
    verify.fails(1, "8 bad sectors");
}

/// It removed whatever had the name of its file.
#[cfg(unix)]
#[test]
fn quickstart_leaves_a_file_alone_that_it_did_not_make() {
    let scratch = Scratch::new();
    let script = "echo mine > $TMPDIR/luksmith-quickstart-$$.img; exec \"$0\" quickstart";
    let output = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_luksmith")])
        .env("TMPDIR", scratch.path(""))
        .output()
        .expect("a shell");
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let entry = std::fs::read_dir(scratch.path(""))
        .expect("a folder")
        .next();
    let entry = entry.expect("the file is still there").expect("an entry");
    assert_eq!(std::fs::read(entry.path()).expect("a file"), b"mine\n");
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let scratch = Scratch::new();
    let path = text(&scratch.path("disk"));
    let sized =
        |size: &str, options: &[&str]| format(&path, &[&["--size", size], options].concat());
    sized("64K", &[]).fails(1, "the header needs 290816 bytes with its keyslot areas");
    sized("1M", &[]).fails(1, "needs at least 1052672");
    sized("16M", &[]).fails(1, "needs at least 16781312");
    sized("2M", &["--type", "luks1"]).fails(1, "needs at least 2097664");
    sized("64K", &["--type", "luks1"]).fails(1, "the header needs 2068480 bytes");
    assert!(!std::path::Path::new(&path).exists());
    assert_eq!(sized("16388K", &[]).text(), "");
}

#[test]
fn a_detached_header_does_not_make_the_data_free_to_overwrite() {
    // Tags and wiping went over a file system without a question, if the header was elsewhere.
    let scratch = Scratch::new();
    let mut disk = vec![0; 6 << 20];
    // The mark of ext2 and its successors.
    disk[1080..1082].copy_from_slice(&[0x53, 0xef]);
    let (path, header) = (scratch.file("disk", &disk), text(&scratch.path("header")));
    for tags in [&[][..], &["--integrity", "hmac-sha256"]] {
        let options = [&["--header", &header], tags].concat();
        format(&path, &options).fails(1, "ext4 file system, which would be lost; give -q");
        assert!(bytes(&path) == disk);
        assert!(!std::path::Path::new(&header).exists());
    }
    let tags = ["--header", &header, "--integrity", "hmac-sha256", "-q"];
    assert_eq!(format(&path, &tags).text(), "");
}
