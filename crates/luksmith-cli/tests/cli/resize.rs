//! `resize` and `integrity resize`, where a file is not as large as what is in it, and where they
//! are refused.

use luksmith_testkit::{paint, sha256_hex, unhex};

use crate::support::{Answer, Scratch, WEAK, bytes, luksmith, luksmith_with, text};

/// A volume in a file, with a keyslot that opens at once.
struct Volume {
    _scratch: Scratch,
    disk: String,
    key: String,
}

impl Volume {
    fn new(size: &str, options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let (disk, key) = (text(&scratch.path("disk")), scratch.file("key", b"pass"));
        let small = ["--size", size, "--luks2-keyslots-size", "512K"];
        let format = [&["luksFormat", &disk, "-d", &key], options, &small, &WEAK].concat();
        assert_eq!(luksmith(&format).text(), "");
        Self {
            _scratch: scratch,
            disk,
            key,
        }
    }

    fn run(&self, action: &str, options: &[&str]) -> Answer {
        luksmith(&[&[action, &self.disk, "-d", &self.key], options].concat())
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a slip here fails the test that makes it"
    )]
    /// Gives a segment of the header the size that it has, instead of the rest of the device.
    fn fix_size(&self) {
        let len = self.run("export", &[]).stdout.len();
        let mut image = bytes(&self.disk);
        let (copies, _) = image.split_at_mut(2 * 16384);
        for copy in copies.chunks_mut(16384) {
            let (binary, json) = copy.split_at_mut(4096);
            let end = json.iter().position(|byte| *byte == 0).expect("an end");
            let old = std::str::from_utf8(&json[..end]).expect("text");
            assert!(old.contains("\"size\":\"dynamic\""), "{old}");
            let new = old.replace("\"size\":\"dynamic\"", &format!("\"size\":\"{len}\""));
            json.fill(0);
            json[..new.len()].copy_from_slice(new.as_bytes());
            binary[0x1c0..0x200].fill(0);
            let digest = unhex(&sha256_hex(copy));
            copy[0x1c0..0x1e0].copy_from_slice(&digest);
        }
        std::fs::write(&self.disk, image).expect("a file");
        assert_eq!(self.run("export", &[]).stdout.len(), len);
    }
}

const HMAC: [&str; 2] = ["--integrity", "hmac-sha256"];

/// Makes a file as large again as it was before it was cut, with what it held: as if the cut had
/// failed.
fn uncut(disk: &str, before: &[u8]) {
    let mut image = bytes(disk);
    image.extend(before.iter().skip(image.len()));
    std::fs::write(disk, image).expect("a file");
}

/// It got the tags of zeros, so that all of it was errors, and the exit status was 0.
#[test]
fn what_is_left_of_a_larger_volume_is_written_over_when_it_grows_again() {
    for size in ["8M", "9M"] {
        let volume = Volume::new("8M", &[&HMAC[..], &["--init", "wipe"]].concat());
        let before = bytes(&volume.disk);
        assert_eq!(volume.run("resize", &["--size", "4M", "-q"]).status, 0);
        uncut(&volume.disk, &before);
        let small = volume.run("export", &[]).stdout.len();
        assert!(small < 4 << 20);
        assert!(
            volume
                .run("resize", &["--size", size])
                .text()
                .contains("for data.")
        );
        let verified = volume.run("verify", &[]);
        assert!(
            verified.text().contains("every tag matches"),
            "{verified:?}"
        );
        let data = volume.run("export", &[]).stdout;
        assert!(data.len() > 6 << 20, "{}", data.len());
        assert!(data.iter().all(|byte| *byte == 0));
    }
}

#[test]
fn what_is_left_of_a_larger_device_is_written_over_when_it_grows_again() {
    let scratch = Scratch::new();
    for size in ["4M", "5M"] {
        let disk = scratch.file("disk", &paint(1, 4 << 20));
        let run = |verb: &str, options: &[&str]| {
            luksmith(&[&["integrity", verb, &disk], options].concat())
        };
        assert_eq!(run("format", &["-q", "--no-wipe"]).text(), "");
        let before = bytes(&disk);
        assert_eq!(run("resize", &["--size", "2M", "-q"]).status, 0);
        uncut(&disk, &before);
        assert_eq!(run("resize", &["--size", size]).status, 0);
        let data = run("export", &["--on-error", "zero"]);
        let sectors: Vec<_> = data.stderr.lines().collect();
        // What was never written before the small end, and nothing behind it.
        let [old, _] = sectors.as_slice() else {
            panic!("{sectors:?}");
        };
        let end = old.split(' ').nth(3).and_then(|end| end.strip_suffix(':'));
        let end: u64 = end.expect("a range").parse().expect("a number");
        assert!(end < 2 << 11, "{old}");
        assert!(data.stdout.len() > 3 << 20);
    }
}

/// Each of them left the file larger, and a fixed size without tags was even success.
#[test]
fn what_cannot_grow_is_refused_and_the_file_keeps_its_size() {
    let gcm = ["--cipher", "aes-gcm-random", "--integrity", "aead"];
    let (plain, hmac) = (Volume::new("4M", &[]), Volume::new("4M", &HMAC));
    let gcm = Volume::new("4M", &gcm);
    let refused = |volume: &Volume, options: &[&str], message: &str| {
        let before = bytes(&volume.disk);
        let answer = volume.run("resize", options);
        answer.fails(1, message);
        let named = answer.stderr.matches(&volume.disk).count();
        assert_eq!(named, 1, "{}", answer.stderr);
        assert!(bytes(&volume.disk) == before, "{message}");
    };
    refused(&gcm, &["--size", "6M", "--init", "tags"], "tags");
    for init in ["tags", "wipe", "none"] {
        let options = ["--size", "6M", "--init", init];
        refused(&plain, &options, "--init is for volumes with tags");
        refused(&plain, &["--init", init], "--init is for volumes with tags");
    }
    for volume in [&plain, &hmac] {
        volume.fix_size();
        refused(volume, &["--size", "6M"], "segment 0 has a fixed size of");
        refused(volume, &[], "segment 0 has a fixed size of");
        refused(
            volume,
            &["--size", "3M", "-q"],
            "segment 0 has a fixed size of",
        );
    }
}

/// Its loader looks for the description at the end of the file alone.
#[test]
fn a_workload_image_keeps_its_size() {
    let scratch = Scratch::new();
    let key = scratch.file("key", b"pass");
    let plain = scratch.file("plain", &paint(1, 8192));
    let workload = scratch.file("workload", br#"{"workload_id":"w","tee":"snp","cpus":4}"#);
    let image = text(&scratch.path("image"));
    let build = [
        "image",
        "build",
        "-q",
        "--format",
        "luks1",
        "-d",
        &key,
        "--workload",
    ];
    let build = [&build[..], &[&workload, &plain, &image], &WEAK].concat();
    assert_eq!(luksmith(&build).text(), "");
    let mut whole = bytes(&image);
    for is_whole in [true, false] {
        for size in ["2076672", "4M"] {
            let resize = ["resize", &image, "-q", "-d", &key, "--size", size];
            luksmith(&resize).fails(1, "ends in the description of a workload (KRUN)");
            assert!(bytes(&image) == whole, "--size {size}, whole: {is_whole}");
        }
        // A length that cannot be makes it no less a description.
        *whole.last_mut().expect("an image") = 0xff;
        std::fs::write(&image, &whole).expect("a file");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_that_failed_before_its_file_was_cut_may_be_shrunk_again() {
    use crate::support::luksmith_limited;

    let volume = Volume::new("4M", &HMAC);
    let resize = [
        "resize",
        &volume.disk,
        "-d",
        &volume.key,
        "-q",
        "--size",
        "3M",
    ];
    let failed = luksmith_limited(64 << 10, &resize);
    failed.fails(1, "may be smaller already, the file is not: do it again");
    assert_eq!(bytes(&volume.disk).len(), 4 << 20);
    assert_eq!(luksmith(&resize).status, 0);
    assert_eq!(bytes(&volume.disk).len(), 3 << 20);
    let scratch = Scratch::new();
    let disk = scratch.file("disk", &vec![0; 2 << 20]);
    assert_eq!(luksmith(&["integrity", "format", &disk]).text(), "");
    let resize = ["integrity", "resize", &disk, "-q", "--size", "1M"];
    let failed = luksmith_limited(0, &resize);
    failed.fails(1, "may be smaller already, the file is not: do it again");
    assert_eq!(luksmith(&resize).status, 0);
}

/// They were taken, and nothing of them was done; with a part, the whole device was made authentic.
#[test]
fn options_that_an_integrity_action_would_ignore_are_refused() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", &paint(0, 2 << 20));
    let run = |verb: &str, options: &[&str]| {
        luksmith_with(&[&["integrity", verb, &disk], options].concat(), b"")
    };
    assert_eq!(run("format", &["-q", "--no-wipe"]).text(), "");
    let before = bytes(&disk);
    for reset in ["--integrity-recalculate", "--integrity-recalculate-reset"] {
        for part in [["--offset", "4096"], ["--length", "4096"]] {
            let options = [&[reset][..], &part].concat();
            let message = format!("{}: tags are made anew for the whole device", part[0]);
            run("check", &options).fails(1, &message);
        }
        run("export", &[reset]).fails(1, "--integrity-recalculate says nothing to");
    }
    let out = text(&scratch.path("out"));
    let takers: [(&[&str], &[&str]); 7] = [
        (&["--offset", "4096"], &["check", "export", "import"]),
        (&["--length", "4096"], &["check", "export", "import"]),
        (&["--on-error", "stop"], &["export"]),
        (&["--size", "6M"], &["resize"]),
        (&["--wipe"], &["resize"]),
        (&["--no-wipe"], &["format"]),
        (&[&out], &["export", "import"]),
    ];
    for (options, takers) in takers {
        for verb in ["format", "dump", "check", "export", "import", "resize"] {
            if takers.contains(&verb) {
                continue;
            }
            let name = if options[0] == out {
                "FILE"
            } else {
                options[0]
            };
            let message = format!("{disk}: {name} says nothing to `integrity {verb}`");
            run(verb, &[options, &["-q"]].concat()).fails(1, &message);
        }
    }
    let wipe = ["--size", "1M", "--wipe", "-q"];
    run("resize", &wipe).fails(1, "--wipe is for what a larger device has more");
    let recovery = ["--size", "4M", "--integrity-recovery-mode"];
    run("resize", &recovery).fails(1, "read-only");
    assert!(bytes(&disk) == before, "a refused action wrote");
}
