//! `export`, `import`, `verify`, `dm-table`: the data of a volume.

use luksmith_testkit::{paint, sha256_hex, test_image, test_images, unhex};

#[cfg(target_os = "linux")]
use crate::support::luksmith_limited;
use crate::support::{Answer, Scratch, bytes, luksmith, luksmith_with, text};

/// `luksmith ACTION --volume-key-file KEY` for the image of this name.
struct Volume {
    scratch: Scratch,
    disk: String,
    key: String,
}

impl Volume {
    /// What exports it to a file.
    fn export<'a>(&'a self, out: &'a str) -> [&'a str; 5] {
        ["export", &self.disk, out, "--volume-key-file", &self.key]
    }

    fn new(name: &str) -> Self {
        let scratch = Scratch::new();
        Self {
            disk: scratch.image(name),
            key: scratch.file("volume-key", &test_image(name).volume_key),
            scratch,
        }
    }

    fn out(&self) -> String {
        text(&self.scratch.path("out"))
    }
}

#[test]
fn every_volume_exports_to_the_plaintext_that_the_kernel_read() {
    let scratch = Scratch::new();
    for image in test_images() {
        if image.kind == "integrity" {
            continue;
        }
        let disk = scratch.file("disk", &image.file("image"));
        let out = text(&scratch.path("out"));
        let passphrase = scratch.file("passphrase", image.passphrase.as_bytes());
        let volume_key = scratch.file("volume-key", &image.volume_key);
        let mut arguments = vec!["export", &disk, &out];
        if image.passphrase.is_empty() {
            luksmith_with(&arguments, b"any").fails(1, "no keyslot opened: there is none to try");
            arguments.extend(["--volume-key-file", &volume_key]);
        } else {
            arguments.extend(["--key-file", &passphrase]);
        }
        let header = image
            .has("header")
            .then(|| scratch.file("header", &image.file("header")));
        if let Some(header) = &header {
            arguments.extend(["--header", header]);
        }
        if image.options.contains("null") {
            luksmith(&arguments).fails(1, "has to be asked for by name");
            arguments.push("--accept-null-cipher");
        }
        if image.name.contains("reencrypt") {
            luksmith(&arguments).fails(1, "finish the re-encryption first");
            continue;
        }
        assert_eq!(luksmith(&arguments).text(), "", "{}", image.name);
        let plaintext = bytes(&out);
        assert_eq!(plaintext.len() as u64, image.size, "{}", image.name);
        assert_eq!(
            sha256_hex(&plaintext),
            image.plaintext_sha256,
            "{}",
            image.name
        );
        let unchanged = image.file("image") == bytes(&disk);
        assert!(unchanged, "{}: export changed the file", image.name);
    }
}

#[test]
fn a_part_is_exported_to_standard_output() {
    let volume = Volume::new("luks2-default");
    let key = ["--volume-key-file", &volume.key];
    let whole = luksmith(&[&["export", &volume.disk][..], &key].concat());
    assert_eq!((whole.status, whole.stderr.as_str()), (0, ""));
    assert_eq!(
        sha256_hex(&whole.stdout),
        test_image("luks2-default").plaintext_sha256
    );
    let part = [
        "export",
        &volume.disk,
        "-",
        "--offset",
        "4K",
        "--length",
        "8192",
    ];
    let part = luksmith(&[&part[..], &key].concat());
    assert_eq!(
        (part.status, part.stdout.as_slice()),
        (0, &whole.stdout[4096..12288])
    );
    let past = ["export", &volume.disk, "--offset", "1T"];
    luksmith(&[&past[..], &key].concat()).fails(1, "past the end of the device");
    let odd = ["export", &volume.disk, "--offset", "100"];
    luksmith(&[&odd[..], &key].concat()).fails(1, "not whole sectors");
}

#[test]
fn what_is_imported_is_what_is_exported_and_the_rest_stays() {
    for name in ["luks1-default", "luks2-default", "luks2-hmac-sha256"] {
        let volume = Volume::new(name);
        let (disk, key) = (&volume.disk, &volume.key);
        let header = bytes(disk)[..8192].to_vec();
        let before = luksmith(&["export", disk, "--volume-key-file", key]).stdout;
        // A start and a length that are no whole sectors.
        let data = paint(777, 70_001);
        let input = volume.scratch.file("input", &data);
        let arguments = [
            "import",
            disk,
            &input,
            "--offset",
            "12345",
            "--volume-key-file",
            key,
        ];
        assert_eq!(luksmith(&arguments).text(), "");
        let piped = ["import", disk, "--volume-key-file", key];
        assert_eq!(luksmith_with(&piped, b"from a pipe").text(), "");
        let after = luksmith(&["export", disk, "--volume-key-file", key]).stdout;
        let mut expected = before;
        expected[12345..12345 + 70_001].copy_from_slice(&data);
        expected[..11].copy_from_slice(b"from a pipe");
        assert!(after == expected, "{name}");
        assert!(bytes(disk)[..8192] == header, "{name}: the header changed");
    }
}

#[test]
fn an_import_that_does_not_fit_writes_nothing() {
    let volume = Volume::new("luks2-default");
    let before = bytes(&volume.disk);
    let large = volume.scratch.file("large", &vec![1; 262_145]);
    let key = ["--volume-key-file", &volume.key];
    let run = |arguments: &[&str]| luksmith(&[&["import", &volume.disk], arguments, &key].concat());
    run(&[&large]).fails(1, "do not fit a volume of 256 KiB; nothing was written");
    run(&["--offset", "1T"]).fails(1, "do not fit");
    run(&["/no/such/file"]).fails(1, "No such file");
    luksmith_with(&["import", &volume.disk], b"key or data?").fails(1, "both the key and the data");
    luksmith_with(&["import", &volume.disk, &large], b"wrong").fails(2, "not the right key");
    assert!(bytes(&volume.disk) == before);
}

#[test]
fn a_wrong_key_or_a_used_file_keeps_the_output_as_it_was() {
    let volume = Volume::new("luks2-default");
    let out = volume.scratch.file("out", b"precious");
    luksmith_with(&["export", &volume.disk, &out], b"wrong").fails(2, "not the right key");
    assert_eq!(bytes(&out), b"precious");
    let key = ["--volume-key-file", &volume.key];
    let itself = ["export", &volume.disk, &volume.disk];
    let before = bytes(&volume.disk);
    luksmith(&[&itself[..], &key].concat()).fails(5, "this file is in use");
    assert!(bytes(&volume.disk) == before);
    let folder = text(&volume.scratch.path("missing/out"));
    luksmith(&[&["export", &volume.disk, &folder][..], &key].concat()).fails(1, "No such file");
}

#[cfg(target_os = "linux")]
#[test]
fn zeros_become_holes_unless_they_must_not() {
    use std::os::unix::fs::MetadataExt;

    let volume = Volume::new("luks2-default");
    let key = ["--volume-key-file", &volume.key];
    let zeros = volume.scratch.file("zeros", &vec![0; 262_144]);
    let import = ["import", &volume.disk, &zeros];
    assert_eq!(luksmith(&[&import[..], &key].concat()).text(), "");
    let out = volume.out();
    let export = [&["export", &volume.disk, &out][..], &key].concat();
    assert_eq!(luksmith(&export).text(), "");
    let sparse = std::fs::metadata(&out).expect("a file");
    assert_eq!(
        luksmith(&[&export[..], &["--no-sparse"]].concat()).text(),
        ""
    );
    let full = std::fs::metadata(&out).expect("a file");
    assert_eq!((sparse.len(), full.len()), (262_144, 262_144));
    assert!(
        sparse.blocks() < full.blocks(),
        "{} {}",
        sparse.blocks(),
        full.blocks()
    );
    assert_eq!(sparse.mode() & 0o777, 0o600, "plaintext is for its owner");
}

/// Flips a byte in the ciphertext of the volume's first sector, wherever it lies.
fn tamper(volume: &Volume) {
    let mut disk = bytes(&volume.disk);
    let marked = volume.scratch.file("mark", &[0xff; 4096]);
    let import = [
        "import",
        &volume.disk,
        &marked,
        "--volume-key-file",
        &volume.key,
    ];
    assert_eq!(luksmith(&import).text(), "");
    let now = bytes(&volume.disk);
    // The journal and the tags change too; the data lie behind both.
    let last = now
        .iter()
        .zip(&disk)
        .rposition(|(a, b)| a != b)
        .expect("a change");
    disk = now;
    if let Some(byte) = disk.get_mut(last) {
        *byte ^= 1;
    }
    std::fs::write(&volume.disk, disk).expect("a writable file");
}

#[test]
fn a_changed_byte_is_found_and_named() {
    let volume = Volume::new("luks2-hmac-sha256");
    let key = ["--volume-key-file", &volume.key];
    let verify = [&["verify", &volume.disk][..], &key].concat();
    let clean = luksmith(&verify);
    assert!(
        clean.text().contains("every tag matches"),
        "{}",
        clean.text()
    );
    tamper(&volume);

    let found = luksmith(&verify);
    found.fails(1, "8 bad sectors of 512 bytes");
    let listed = String::from_utf8(found.stdout).expect("text");
    assert!(
        listed.contains("sectors 0 to 7: tag does not match\n"),
        "{listed}"
    );
    let json = luksmith(&[&verify[..], &["--json"]].concat());
    let result: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(result["clean"], false);
    assert_eq!(
        result["tampered"]["ranges"],
        serde_json::json!([{"first": 0, "count": 8}])
    );
    // A part says nothing about the rest.
    let rest = luksmith(&[&verify[..], &["--offset", "4K"]].concat());
    assert!(
        rest.text().contains("340 KiB verified, every tag matches"),
        "{}",
        rest.text()
    );
    let part = ["--offset", "0", "--length", "8K"];
    luksmith(&[&verify[..], &part].concat()).fails(1, "8 bad sectors");
    let odd = luksmith(&[&verify[..], &["--offset", "100"]].concat());
    odd.fails(1, "not whole sectors");

    let out = volume.out();
    let export = [&["export", &volume.disk, &out][..], &key].concat();
    let stopped = luksmith(&export);
    stopped.fails(1, "tag does not match the data");
    assert!(
        stopped.stderr.contains("is not complete"),
        "{}",
        stopped.stderr
    );
    let json = luksmith(&[&export[..], &["--json"]].concat());
    assert!(
        json.stderr.contains("\"kind\":\"tampered\""),
        "{}",
        json.stderr
    );
    let zeroed = luksmith(&[&export[..], &["--on-error", "zero"]].concat());
    assert_eq!(zeroed.status, 1);
    assert!(
        zeroed
            .stderr
            .starts_with("sectors 0 to 7: tag does not match\n")
    );
    let plaintext = bytes(&out);
    assert_eq!(plaintext.len() as u64, test_image("luks2-hmac-sha256").size);
    assert_eq!(plaintext[..4096], [0; 4096]);
}

#[test]
fn verify_needs_tags() {
    let volume = Volume::new("luks2-default");
    let verify = ["verify", &volume.disk, "--volume-key-file", &volume.key];
    luksmith(&verify).fails(1, "has no tags");
}

/// It went over another volume without a word.
#[test]
fn an_export_overwrites_what_has_a_mark_only_if_that_is_meant() {
    let (volume, other) = (Volume::new("luks2-default"), Volume::new("luks1-default"));
    let before = bytes(&other.disk);
    for more in [&[][..], &["--no-sparse"]] {
        let export = ["export", &volume.disk, &other.disk];
        let key = ["--volume-key-file", &volume.key];
        luksmith(&[&export[..], &key, more].concat()).fails(1, "holds a LUKS1 header");
        assert!(bytes(&other.disk) == before);
    }
    // Only LUKS counted as a volume, and only where no other mark stood before its second header.
    let integrity = test_image("integrity-crc32c").file("image");
    let mut bitlocker = paint(5, 1 << 20);
    bitlocker[3..11].copy_from_slice(b"-FVE-FS-");
    bitlocker[510..512].copy_from_slice(&[0x55, 0xaa]);
    let mut repairable = test_image("luks2-default").file("image");
    repairable[..4096].fill(0);
    repairable[1080..1082].copy_from_slice(&[0x53, 0xef]);
    for (kept, name) in [
        (integrity, "holds a dm-integrity device"),
        (bitlocker, "holds a BitLocker volume"),
        (
            repairable,
            "holds the secondary header of a LUKS2 volume, behind an ext2",
        ),
    ] {
        let out = volume.scratch.file("kept", &kept);
        luksmith(&volume.export(&out)).fails(1, name);
        assert!(bytes(&out) == kept);
    }
    // A plain file is overwritten, as any copy would, also one with the mark of ext2.
    let out = volume.out();
    let mut plain = paint(3, 1 << 20);
    plain[1080..1082].copy_from_slice(&[0x53, 0xef]);
    std::fs::write(&out, plain).expect("a file");
    for out in [&out, &other.disk] {
        let export = ["-q", "export", &volume.disk, out];
        let export = &export[usize::from(out != &other.disk)..];
        let key = ["--volume-key-file", &volume.key];
        assert_eq!(luksmith(&[export, &key[..]].concat()).text(), "");
        let whole = test_image("luks2-default").plaintext_sha256;
        assert_eq!(sha256_hex(&bytes(out)), whole);
    }
    let own = ["-q", "export", &volume.disk, &volume.disk];
    let own = [&own[..], &["--volume-key-file", &volume.key]].concat();
    luksmith(&own).fails(5, "in use");
}

#[test]
fn the_device_mapper_lines_are_those_that_the_kernel_was_given() {
    for name in ["luks2-default", "luks2-hmac-sha256", "luks1-default"] {
        let volume = Volume::new(name);
        let known = test_image(name);
        let line = [
            "dm-table",
            &volume.disk,
            "v",
            "--volume-key-file",
            &volume.key,
            "--showkeys",
        ];
        let answer = luksmith(&line);
        let lines: Vec<&str> = answer.text().lines().collect();
        let crypt = lines.last().expect("a line");
        assert!(crypt.starts_with("v: 0 "), "{crypt}");
        let words: Vec<&str> = crypt.split(' ').collect();
        assert_eq!(unhex(words[5]), known.volume_key, "{name}");
        assert_eq!(lines.len(), if name.contains("hmac") { 2 } else { 1 });
        let hidden = luksmith(&line[..5]);
        assert!(
            !hidden.text().contains(words[5]),
            "a key without --showkeys"
        );
    }
}

#[test]
fn progress_is_json_for_programs_and_silent_otherwise() {
    let volume = Volume::new("luks2-default");
    let out = volume.out();
    let export = volume.export(&out);
    assert_eq!(luksmith(&export).text(), "");
    let answer = luksmith(&[&export[..], &["--progress-json"]].concat());
    let last = answer.text().lines().last().expect("a line");
    let object: serde_json::Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(object["device"], volume.disk.as_str());
    assert_eq!(object["device_bytes"], "262144");
    assert_eq!(object["device_size"], "262144");
    for name in ["speed", "eta_ms", "time_ms"] {
        assert!(object[name].is_string(), "{name} in {object}");
    }
}

/// An image with a journal that waits.
struct Waiting {
    volume: Volume,
    disk: Vec<u8>,
    /// First byte of the journal's only section.
    section: usize,
}

impl Waiting {
    fn new() -> Self {
        let volume = Volume::new("luks2-hmac-dirty");
        let disk = bytes(&volume.disk);
        let magic = disk.windows(8).position(|bytes| bytes == b"integrt\0");
        let section = magic.expect("a superblock") + 4096;
        Self {
            volume,
            disk,
            section,
        }
    }

    /// Runs an action on the image with these bytes flipped or replaced; nothing may be written.
    fn run(&self, spoil: impl Fn(&mut [u8]), action: &str, more: &[&str]) -> Answer {
        let mut disk = self.disk.clone();
        spoil(&mut disk);
        std::fs::write(&self.volume.disk, &disk).expect("a file");
        let key = ["--volume-key-file", &self.volume.key];
        let answer = luksmith(&[&[action, &self.volume.disk][..], more, &key].concat());
        assert!(bytes(&self.volume.disk) == disk, "{action} wrote");
        answer
    }
}

/// Whoever has the disk writes the journal too. What does not verify is never applied: actions that
/// write stop before they do, and those that read show what verifies.
#[test]
fn a_hostile_journal_is_named_and_never_applied() {
    const ENTRY: usize = 3;
    let waiting = Waiting::new();
    let small = waiting.volume.scratch.file("small", &[7; 4096]);
    let out = waiting.volume.out();
    // The data of an entry, and its tag.
    let data = waiting.section + (8 + ENTRY * 8) * 512 + 100;
    let tag = waiting.section + ENTRY * 512 + 8 + 64 + 5;
    for at in [data, tag] {
        let spoil = |disk: &mut [u8]| disk[at] ^= 1;
        for (action, more) in [("import", &[small.as_str()][..]), ("resize", &[])] {
            let answer = waiting.run(spoil, action, &[more, &["--json"]].concat());
            assert_eq!(answer.status, 1, "{answer:?}");
            assert!(
                answer.stderr.contains("\"kind\":\"tampered\""),
                "{}",
                answer.stderr
            );
            assert!(
                answer
                    .stderr
                    .contains("journal section 0, entry 3: the tag does not match"),
                "{}",
                answer.stderr
            );
        }
        let verify = waiting.run(spoil, "verify", &["--json"]);
        assert_eq!(verify.status, 1, "{verify:?}");
        let found: serde_json::Value = serde_json::from_slice(&verify.stdout).expect("JSON");
        assert_eq!(found["tampered"]["sectors"], 8);
        let export = waiting.run(spoil, "export", &[&out, "--on-error", "zero"]);
        assert_eq!(export.status, 1, "{export:?}");
        assert!(
            export
                .stderr
                .contains("sectors 352 to 359: tag does not match")
        );
        assert_eq!(
            bytes(&out).len() as u64,
            test_image("luks2-hmac-dirty").size
        );
    }
}

/// The message told of a mode that the command did not have.
#[test]
fn a_volume_with_a_ruined_journal_is_read_without_it() {
    let waiting = Waiting::new();
    let out = waiting.volume.out();
    let noise = |disk: &mut [u8]| {
        let journal = &mut disk[waiting.section..][..264 * 512];
        journal.copy_from_slice(&paint(1, 264 * 512));
    };
    let small = waiting.volume.scratch.file("small", &[7; 4096]);
    for (action, more) in [("export", &out), ("import", &small)] {
        waiting
            .run(noise, action, &[more])
            .fails(1, "no commit id of this place");
    }
    let recovery = "--integrity-recovery-mode";
    let advice = waiting.run(noise, "verify", &[]);
    advice.fails(1, "--integrity-recovery-mode reads without it");
    let verify = waiting.run(noise, "verify", &[recovery]);
    assert!(verify.text().contains("every tag matches"));
    let export = waiting.run(noise, "export", &[&out, recovery]);
    assert_eq!(export.text(), "");
    // The six blocks that waited had been written in place too before the power went.
    let found = sha256_hex(&bytes(&out));
    assert_eq!(found, test_image("luks2-hmac-dirty").plaintext_sha256);
}

/// It used to claim that a part was written which the failure took with it.
#[cfg(target_os = "linux")]
#[test]
fn a_medium_that_fails_in_an_import_is_no_tampering_and_reopening_works() {
    let scratch = Scratch::new();
    let key = scratch.file("key", b"pass");
    let (disk, data) = (text(&scratch.path("disk")), paint(9, 4 << 20));
    let input = scratch.file("input", &data);
    let format = [
        "luksFormat",
        &disk,
        "--size=8M",
        "--luks2-metadata-size=16k",
        "--luks2-keyslots-size=512k",
        "--offset=2048",
        "--integrity=hmac-sha256",
        "--pbkdf=pbkdf2",
        "--pbkdf-force-iterations=1000",
        "-d",
        &key,
    ];
    assert_eq!(luksmith(&format).text(), "");
    let import = ["import", &disk, &input, "-d", &key, "--json"];
    let failed = luksmith_limited(4 << 20, &import);
    assert_eq!(failed.status, 1, "{failed:?}");
    for part in [
        "\"kind\":\"device\"",
        "write at byte",
        "File too large",
        "is not known",
    ] {
        assert!(failed.stderr.contains(part), "{part}: {}", failed.stderr);
    }
    let verify = luksmith(&["verify", &disk, "-d", &key]);
    assert!(
        verify.text().contains("every tag matches"),
        "{}",
        verify.text()
    );
    assert_eq!(luksmith(&import[..5]).text(), "");
    let exported = luksmith(&["export", &disk, "-d", &key]).stdout;
    assert!(exported.starts_with(&data));
    // A failing output is no failing volume.
    let full = luksmith(&["export", &disk, "/dev/full", "-d", &key, "--json"]);
    assert_eq!(full.status, 1, "{full:?}");
    for part in [
        "\"kind\":\"device\"",
        "writing the plaintext failed",
        "No space left",
    ] {
        assert!(full.stderr.contains(part), "{part}: {}", full.stderr);
    }
}
