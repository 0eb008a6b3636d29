//! `integrity`: standalone devices.

use std::sync::Arc;

use luksmith::block::{BlockDevice, ByteLen, ByteOffset, SectorSize, SparseMemDevice};
use luksmith::integrity::{Devices, DigestName, DiscardMarker, HashedDevice, OpenOptions};
use luksmith_testkit::{TestImage, paint, sha256_hex, test_image, test_images};

use crate::support::{Answer, Scratch, bytes, luksmith, luksmith_with, text};

/// The options that open an image: digest, keys, mode.
fn options(image: &TestImage, scratch: &Scratch) -> Vec<String> {
    let mut words = image.options.split_whitespace();
    let digest = words.find(|word| *word == "--integrity").and(words.next());
    let mut options = vec![
        "--integrity".to_owned(),
        digest.unwrap_or("crc32c").to_owned(),
    ];
    let mut add = |list: &[&str]| options.extend(list.iter().map(|word| (*word).to_owned()));
    if let Some(key) = &image.integrity_key {
        let file = scratch.file("integrity-key", key);
        add(&["--integrity-key-file", &file]);
    }
    if image.name.contains("journal-keys") {
        let cipher = scratch.file("journal-cipher", &[0x11; 32]);
        let mac = scratch.file("journal-mac", &[0x22; 32]);
        add(&[
            "--journal-crypt",
            "ctr-aes",
            "--journal-crypt-key-file",
            &cipher,
        ]);
        add(&[
            "--journal-integrity",
            "hmac-sha256",
            "--journal-integrity-key-file",
            &mac,
        ]);
    }
    for mode in ["--integrity-bitmap-mode", "--integrity-no-journal"] {
        if image.open_options.contains(mode) {
            add(&[mode]);
        }
    }
    if image.has("data") {
        let data = scratch.file("data", &image.file("data"));
        add(&["--data-device", &data]);
    }
    options
}

fn run(verb: &str, device: &str, arguments: &[&str]) -> Answer {
    luksmith(&[&["integrity", verb, device], arguments].concat())
}

/// Tells whether a check found every tag right.
fn all_match(check: &Answer) -> bool {
    check.text().contains(" verified, every tag matches.\n")
}

#[test]
fn every_device_exports_to_the_data_that_the_kernel_read() {
    let images = test_images();
    for image in images.iter().filter(|image| image.kind == "integrity") {
        let scratch = Scratch::new();
        let disk = scratch.file("disk", &image.file("image"));
        let out = text(&scratch.path("out"));
        let options = options(image, &scratch);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let export = run(
            "export",
            &disk,
            &[&[out.as_str()], options.as_slice()].concat(),
        );
        assert_eq!(export.text(), "", "{}", image.name);
        let data = bytes(&out);
        assert_eq!(data.len() as u64, image.size, "{}", image.name);
        assert_eq!(sha256_hex(&data), image.plaintext_sha256, "{}", image.name);
        let check = run("check", &disk, &options);
        assert!(check.text().contains(" verified, every tag "), "{check:?}");
        assert!(
            bytes(&disk) == image.file("image"),
            "{}: a read action wrote",
            image.name
        );
    }
}

#[test]
fn a_dump_is_the_one_that_integritysetup_prints() {
    let scratch = Scratch::new();
    let disk = scratch.image("integrity-hmac-sha256");
    let dump = run("dump", &disk, &[]);
    let sectors = test_image("integrity-hmac-sha256").size / 512;
    let expected = format!(
        "INTEGRITY header information for {disk}.\nversion: 5\ntag size: 32 [bytes]\nsector size: \
         4096 [bytes]\ndata size: {sectors} [512-byte units] ({} [bytes])\njournal sections: 1\n\
         log2 interleave sectors: 15\nlog2 blocks per bitmap: 12\nflags: fix_padding fix_hmac \n",
        sectors * 512
    );
    assert_eq!(dump.text(), expected);
}

#[test]
fn a_new_device_keeps_data_and_finds_changes() {
    let scratch = Scratch::new();
    let key = scratch.file("key", &[9; 40]);
    let keyed = [
        "-I",
        "hmac-sha256",
        "--integrity-key-file",
        &key,
        "--integrity-key-size",
        "32",
    ];
    for (name, options) in [
        ("plain", &["-I", "crc32c"][..]),
        ("sha256", &["-I", "sha256", "-t", "16", "-s", "4096"][..]),
        ("keyed", &keyed[..]),
        ("bitmap", &["-I", "crc32c", "-B"][..]),
        ("direct", &["-I", "xxhash64", "-D", "-s", "4096"][..]),
    ] {
        let disk = scratch.file(name, &vec![0; 4 << 20]);
        let journal: &[&str] = match name {
            "sha256" => &["-j", "200000"],
            _ => &[],
        };
        let format = run("format", &disk, &[options, journal].concat());
        assert_eq!(format.text(), "", "{name}");
        assert!(all_match(&run("check", &disk, options)), "{name}");
        let data = paint(3, 1_000_003);
        let input = scratch.file("input", &data);
        let import = run("import", &disk, &[&[input.as_str()], options].concat());
        assert_eq!(import.text(), "", "{name}");
        let export = run("export", &disk, options).stdout;
        assert!(export.iter().take(data.len()).eq(&data), "{name}");
        assert!(
            export.iter().skip(data.len()).all(|byte| *byte == 0),
            "{name}"
        );

        let mut tampered = bytes(&disk);
        let last = tampered
            .iter()
            .rposition(|byte| *byte == data[data.len() - 1]);
        let last = last.expect("the data are there");
        tampered[last] ^= 1;
        std::fs::write(&disk, &tampered).expect("a writable file");
        let check = run("check", &disk, options);
        assert_eq!(check.status, 1, "{name}: {check:?}");
        assert!(String::from_utf8_lossy(&check.stdout).contains("tag does not match"));
        tell_damage_apart(&scratch, &disk, options, &data);
    }
}

/// Checks, on a device with one bad block behind good ones, what each action says of it: which
/// sectors, to people and programs, and what was lost.
#[expect(
    clippy::indexing_slicing,
    reason = "a slip here fails the test that makes it"
)]
fn tell_damage_apart(scratch: &Scratch, disk: &str, options: &[&str], data: &[u8]) {
    let json = run("check", disk, &[options, &["--json"]].concat());
    assert_eq!(json.status, 1, "{json:?}");
    let found: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(
        (&found["clean"], &found["unreadable"]["sectors"]),
        (&false.into(), &0.into())
    );
    let range = &found["tampered"]["ranges"][0];
    let (first, count) = (&range["first"], &range["count"]);
    let (first, count) = (first.as_u64().expect("one"), count.as_u64().expect("one"));
    assert_eq!(found["tampered"]["sectors"], count);
    let (start, end) = (first * 512, (first + count) * 512);
    let part = ["--offset", "0", "--length", &start.to_string()];
    assert!(all_match(&run("check", disk, &[options, &part].concat())));
    let part = ["--offset", &start.to_string()];
    run("check", disk, &[options, &part].concat()).fails(1, "bad sectors of 512 bytes");
    let past = ["--offset", "1T"];
    run("check", disk, &[options, &past].concat()).fails(1, "past the end of the device");
    let recovery = [options, &["--integrity-recovery-mode"]].concat();
    run("check", disk, &recovery).fails(1, "it checks nothing");

    let out = text(&scratch.path("out"));
    let stopped = run("export", disk, &[&[out.as_str()], options].concat());
    stopped.fails(1, "tag does not match the data");
    assert!(
        stopped.stderr.contains("out is not complete"),
        "{}",
        stopped.stderr
    );
    let zero = ["--on-error", "zero"];
    let zeroed = run("export", disk, &[&[out.as_str()], options, &zero].concat());
    assert_eq!(zeroed.status, 1, "{zeroed:?}");
    let listed = format!(
        "sectors {first} to {}: tag does not match\n",
        first + count - 1
    );
    assert!(zeroed.stderr.starts_with(&listed), "{}", zeroed.stderr);
    let exported = bytes(&out);
    let place = |byte: u64| usize::try_from(byte).expect("small");
    let (start, end) = (place(start), place(end));
    assert!(exported[..start] == data[..start]);
    assert!(exported[start..end].iter().all(|byte| *byte == 0));
}

#[test]
fn a_device_grows_with_its_file_and_shrinks_with_it() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", &vec![0; 2 << 20]);
    assert_eq!(run("format", &disk, &[]).text(), "");
    let data = paint(1, 100_000);
    let input = scratch.file("input", &data);
    assert_eq!(run("import", &disk, &[&input]).text(), "");
    let size = |disk: &str| run("export", disk, &[]).stdout.len();
    let before = size(&disk);
    // Another tool made the file larger, and old data are in its new part.
    let larger = [bytes(&disk), paint(7, 4 << 20)].concat();
    std::fs::write(&disk, larger).expect("a larger file");
    assert!(
        run("resize", &disk, &[])
            .text()
            .contains("sectors of 512 bytes")
    );
    assert!(size(&disk) > before + (3 << 20));
    assert!(all_match(&run("check", &disk, &[])));
    let exported = run("export", &disk, &[]).stdout;
    assert!(exported.iter().skip(before).all(|byte| *byte == 0));
    run("resize", &disk, &["--size", "3M"]).fails(1, "is given up");
    assert_eq!(bytes(&disk).len(), 6 << 20);
    assert_eq!(run("resize", &disk, &["--size", "3M", "-q"]).status, 0);
    assert_eq!(bytes(&disk).len(), 3 << 20);
    let cut = bytes(&disk);
    // It used to leave the file larger.
    run("resize", &disk, &["--size", "9M", "-I", "nope"]).fails(1, "no such digest");
    run("resize", &disk, &["--size", "20K", "-q"]).fails(1, "too small");
    run(
        "resize",
        &disk,
        &["--size", "2M", "-q", "--data-device", &disk],
    )
    .fails(1, "one file");
    assert!(bytes(&disk) == cut, "a refused resize wrote");
    let holds = || {
        let exported = run("export", &disk, &[]);
        assert!(exported.stdout.iter().take(100_000).eq(&data));
        assert!(all_match(&run("check", &disk, &[])));
    };
    holds();
    assert_eq!(run("resize", &disk, &["--size", "5M"]).status, 0);
    assert_eq!(bytes(&disk).len(), 5 << 20);
    assert!(size(&disk) > 4 << 20);
    holds();
}

#[test]
fn tags_are_made_anew_only_where_that_is_allowed() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", &paint(0, 2 << 20));
    assert_eq!(run("format", &disk, &["-q", "--no-wipe"]).text(), "");
    assert_eq!(run("check", &disk, &[]).status, 1);
    let reset = run("check", &disk, &["--integrity-recalculate-reset"]);
    assert!(reset.text().contains("have new tags"), "{}", reset.text());
    assert!(all_match(&run("check", &disk, &[])));
    let key = scratch.file("key", &[1; 32]);
    let keyed = ["-I", "hmac-sha256", "--integrity-key-file", &key];
    assert_eq!(
        run(
            "format",
            &disk,
            &[&keyed[..], &["-q", "--no-wipe"]].concat()
        )
        .text(),
        ""
    );
    let reset = [&keyed[..], &["--integrity-recalculate-reset"]].concat();
    run("check", &disk, &reset).fails(1, "hmac(sha256)");
}

/// Only one of two devices was looked at, and only its first bytes.
#[test]
fn a_format_looks_at_both_devices_and_at_all_headers() {
    let scratch = Scratch::new();
    let volume = scratch.image("luks2-default");
    let meta = scratch.file("meta", &vec![0; 1 << 20]);
    let before = bytes(&volume);
    run("format", &meta, &["--data-device", &volume]).fails(1, "there is a LUKS2 header");
    assert!(bytes(&volume) == before && bytes(&meta) == vec![0; 1 << 20]);
    let mut damaged = before;
    damaged.get_mut(..4096).expect("a header").fill(0);
    let damaged = scratch.file("damaged", &damaged);
    run("format", &damaged, &[]).fails(1, "there is the secondary header of a LUKS2 volume");
}

#[test]
fn wrong_devices_and_options_are_refused_by_name() {
    let scratch = Scratch::new();
    let zeros = scratch.file("zeros", &vec![0; 1 << 20]);
    let noise = scratch.file("noise", &paint(0, 1 << 20));
    let missing = text(&scratch.path("missing"));
    for verb in ["dump", "check", "export"] {
        assert_eq!(run(verb, &zeros, &[]).status, 1, "{verb}");
        assert_eq!(run(verb, &noise, &[]).status, 1, "{verb}");
        let absent = run(verb, &missing, &[]);
        absent.fails(4, "No such file");
        assert_eq!(
            absent.stderr.matches(&missing).count(),
            1,
            "{}",
            absent.stderr
        );
    }
    run("format", &zeros, &["-I", "nope"]).fails(1, "--integrity nope: no such digest");
    run("format", &zeros, &["-I", "hmac-sha256"]).fails(1, "key");
    run("format", &zeros, &["-s", "100"]).fails(1, "512, 1024, 2048 and 4096");
    run("format", &zeros, &["-t", "0"]).fails(1, "0");
    assert!(bytes(&zeros) == vec![0; 1 << 20], "a refused format wrote");
    assert_eq!(run("format", &zeros, &[]).text(), "");
    run("format", &zeros, &[]).fails(1, "there is a dm-integrity device; give -q");
    let large = scratch.file("large", &paint(0, 2 << 20));
    run("import", &zeros, &[&large]).fails(1, "do not fit a volume of");
    run("import", &zeros, &["--length", "1K", &large]).fails(1, "all of the file is imported");
    run("export", &zeros, &["-I", "sha256"]).fails(1, "");
    luksmith_with(&["integrity", "nope", &zeros], b"").fails(1, "invalid value 'nope'");
}

/// Programs were told of a clean device, and not that a part of it was not looked at.
#[test]
fn a_check_tells_programs_too_whether_it_left_something_out() {
    let scratch = Scratch::new();
    for (name, unchecked) in [
        ("integrity-crc32c", false),
        ("integrity-bitmap-dirty", true),
    ] {
        let image = test_image(name);
        let disk = scratch.file("disk", &image.file("image"));
        let options = options(&image, &scratch);
        let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
        let check = run("check", &disk, &options);
        assert_eq!(all_match(&check), !unchecked, "{name}: {check:?}");
        let looked_at = " verified, every tag that was looked at matches.\n";
        assert_eq!(check.text().contains(looked_at), unchecked, "{name}");
        assert_eq!(check.text().contains("were not looked at"), unchecked);
        options.push("--json");
        let found = run("check", &disk, &options);
        let found: serde_json::Value = serde_json::from_str(found.text()).expect("JSON");
        assert_eq!(
            (&found["clean"], &found["unchecked"]),
            (&true.into(), &unchecked.into()),
            "{name}"
        );
    }
}

/// Devices with discarded blocks could not be read at all if they were marked by a key, and had
/// bad sectors otherwise.
#[test]
fn marks_of_discarded_blocks_count_only_where_that_is_asked_for() {
    let scratch = Scratch::new();
    let key = scratch.file("key", &[9; 32]);
    let keyed = ["-I", "hmac-sha256", "--integrity-key-file", &key];
    for (options, marker, without) in [
        (
            &["-I", "crc32c"][..],
            DiscardMarker::Filler,
            "8 bad sectors",
        ),
        (&keyed, DiscardMarker::Keyed, "--allow-discards opens it"),
    ] {
        let disk = scratch.file("disk", &vec![0; 4 << 20]);
        assert_eq!(run("format", &disk, options).text(), "");
        let memory = SparseMemDevice::new(ByteLen::new(4 << 20), SectorSize::S512);
        let memory = Arc::new(memory);
        let formatted = memory.write_at(ByteOffset::ZERO, &bytes(&disk));
        formatted.expect("as large");
        let digest = DigestName::parse(options[1]).expect("a digest");
        let device = HashedDevice::open(
            Devices::interleaved(Arc::clone(&memory)),
            OpenOptions::new().discards(marker),
            digest,
            digest.is_keyed().then_some(&[9; 32]),
        );
        let device = device.expect("formatted");
        let sectors = (ByteOffset::new(16 * 512), ByteLen::new(8 * 512));
        device.discard(sectors.0, sectors.1).expect("in memory");
        device.close().expect("in memory");
        let mut discarded = vec![0; 4 << 20];
        let read = memory.read_at(ByteOffset::ZERO, &mut discarded);
        read.expect("in memory");
        std::fs::write(&disk, discarded).expect("a file");
        run("check", &disk, options).fails(1, without);
        let allowed = [options, &["--allow-discards"]].concat();
        assert!(all_match(&run("check", &disk, &allowed)));
        assert_eq!(run("export", &disk, &allowed).status, 0);
    }
}

/// Sizes given to any other action than `format` were passed over, and a superblock decided alone
/// how much of a keyed tag counts.
#[test]
fn sizes_of_tags_and_blocks_are_demands_to_every_action() {
    let scratch = Scratch::new();
    let key = scratch.file("key", &[9; 32]);
    let disk = scratch.file("disk", &vec![0; 2 << 20]);
    let keyed = ["-I", "hmac-sha256", "--integrity-key-file", &key];
    let sizes = ["-t", "4", "-s", "4096"];
    let made = run("format", &disk, &[&keyed[..], &sizes].concat());
    assert_eq!(made.text(), "");
    let before = bytes(&disk);
    let input = scratch.file("input", &[1; 4096]);
    let out = text(&scratch.path("out"));
    for (verb, file) in [
        ("dump", None),
        ("check", None),
        ("export", Some(&out)),
        ("import", Some(&input)),
        ("resize", None),
    ] {
        let file: Vec<&str> = file.into_iter().map(String::as_str).collect();
        let with = |options: &[&str]| run(verb, &disk, &[&file[..], &keyed, options].concat());
        with(&["-t", "32"]).fails(1, "tags have 4 bytes, 32 were expected");
        with(&["-t", "4", "-s", "512"]).fails(1, "blocks have 4096 bytes, 512 were expected");
        if verb != "dump" {
            let hint = "give --tag-size 4 if the device was made so";
            with(&["-s", "4096"]).fails(1, hint);
        }
        assert!(bytes(&disk) == before, "{verb}");
        assert_eq!(with(&sizes).status, 0, "{verb}");
        std::fs::write(&disk, &before).expect("a writable file");
    }
}

#[test]
fn a_superblock_without_the_mac_that_is_due_is_opened_only_as_an_old_one() {
    let scratch = Scratch::new();
    let key = scratch.file("key", &[9; 32]);
    let disk = scratch.file("disk", &vec![0; 2 << 20]);
    let keys = [
        "--journal-integrity",
        "hmac-sha256",
        "--journal-integrity-key-file",
        &key,
    ];
    let old = [&keys[..], &["--integrity-legacy-hmac"]].concat();
    assert_eq!(run("format", &disk, &old).text(), "");
    run("check", &disk, &keys).fails(1, "give --integrity-legacy-hmac if the latter is so");
    assert!(all_match(&run("check", &disk, &old)));
}

/// `--journal-integrity-key-file` alone made a device whose journal nobody authenticates.
#[test]
fn an_option_of_the_journal_that_would_have_no_effect_is_refused() {
    let scratch = Scratch::new();
    let device = scratch.file("device", &[0; 1 << 20]);
    let key = scratch.file("key", &[1; 32]);
    let mac = ["--journal-integrity-key-file", &key];
    let cipher = ["--journal-crypt-key-file", &key];
    let hmac = [&["--journal-integrity", "hmac-sha256"], &mac[..]].concat();
    let ctr = [&["--journal-crypt", "ctr-aes"], &cipher[..]].concat();
    let refused: [(&[&str], &str); 8] = [
        (&mac, "--journal-integrity <NAME>"),
        (&cipher, "--journal-crypt <NAME>"),
        (
            &["--journal-integrity-key-size", "32"],
            "--journal-integrity-key-file <FILE>",
        ),
        (
            &["--journal-crypt-key-size", "32"],
            "--journal-crypt-key-file <FILE>",
        ),
        (
            &["--journal-integrity", "hmac-sha256"],
            "--journal-integrity-key-file <FILE>",
        ),
        (
            &["--journal-crypt", "ctr-aes"],
            "--journal-crypt-key-file <FILE>",
        ),
        (&[&hmac[..], &["-B"]].concat(), "--integrity-bitmap-mode"),
        (&[&ctr[..], &["-B"]].concat(), "--integrity-bitmap-mode"),
    ];
    for verb in ["format", "check"] {
        for (options, named) in refused {
            run(verb, &device, options).fails(1, named);
        }
    }
    assert_eq!(bytes(&device), [0; 1 << 20]);
    let made = run(
        "format",
        &device,
        &[&hmac[..], &ctr, &["-q", "--no-wipe"]].concat(),
    );
    assert_eq!(made.text(), "");
    let ignored: [(&str, &[&str], &str); 4] = [
        ("check", &["--journal-size", "64K"], "--journal-size"),
        (
            "import",
            &["--interleave-sectors", "8"],
            "--interleave-sectors",
        ),
        (
            "check",
            &["--integrity-legacy-recalculate"],
            "--integrity-legacy-recalculate",
        ),
        (
            "format",
            &["--integrity-recalculate"],
            "--integrity-recalculate",
        ),
    ];
    for (verb, options, named) in ignored {
        let message = format!("{named} says nothing to `integrity {verb}`");
        run(verb, &device, options).fails(1, &message);
    }
}

/// The message named a limit that nobody could meet here.
#[test]
fn a_journal_past_the_limit_is_opened_where_the_limit_is_raised() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", &vec![0; 2 << 20]);
    assert_eq!(run("format", &disk, &["-j", "200000"]).text(), "");
    let refused = run("check", &disk, &["--limit-journal", "180223"]);
    refused.fails(1, "the limit is 180223; raise --limit-journal");
    assert!(all_match(&run(
        "check",
        &disk,
        &["--limit-journal", "180224"]
    )));
}
