//! `export`, `import`, `verify`, `dm-table`: the data of a volume.

use luksmith_testkit::{paint, sha256_hex, test_images, unhex};

use crate::support::{Scratch, bytes, image, luksmith, luksmith_with, text};

/// `luksmith ACTION --volume-key-file KEY` for the image of this name.
struct Volume {
    scratch: Scratch,
    disk: String,
    key: String,
}

impl Volume {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new();
        Self {
            disk: scratch.image(name),
            key: scratch.file("volume-key", &image(name).volume_key),
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
        image("luks2-default").plaintext_sha256
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
    assert_eq!(plaintext.len() as u64, image("luks2-hmac-sha256").size);
    assert_eq!(plaintext[..4096], [0; 4096]);
}

#[test]
fn verify_needs_tags() {
    let volume = Volume::new("luks2-default");
    let verify = ["verify", &volume.disk, "--volume-key-file", &volume.key];
    luksmith(&verify).fails(1, "has no tags");
}

#[test]
fn the_device_mapper_lines_are_those_that_the_kernel_was_given() {
    for name in ["luks2-default", "luks2-hmac-sha256", "luks1-default"] {
        let volume = Volume::new(name);
        let known = image(name);
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
    let export = [
        "export",
        &volume.disk,
        &out,
        "--volume-key-file",
        &volume.key,
    ];
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
