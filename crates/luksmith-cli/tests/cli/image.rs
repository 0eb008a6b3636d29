//! `image build`: plaintext in, encrypted image out.

use luksmith_testkit::paint;

use crate::support::{Answer, Scratch, WEAK, bytes, luksmith, luksmith_with, text};

const WORKLOAD: &str = r#"{"workload_id":"w","tee":"snp","cpus":4}"#;

fn build(options: &[&str], input: &[u8]) -> Answer {
    let quietly = ["image", "build", "-q"];
    luksmith_with(&[&quietly[..], &WEAK[..], options].concat(), input)
}

#[test]
fn an_image_of_either_format_holds_its_plaintext() {
    let scratch = Scratch::new();
    let key = scratch.file("key", b"pass");
    // Not a whole number of sectors.
    let plain = paint(7, (1 << 20) + 700);
    let input = scratch.file("plain", &plain);
    for format in ["luks1", "luks2"] {
        let out = text(&scratch.path(format));
        let answer = build(&["--format", format, "-d", &key, &input, &out], b"");
        assert_eq!(answer.text(), "");
        let padded = [&plain[..], &[0; 1024 - 700]].concat();
        let exported = luksmith(&["export", &out, "-d", &key]);
        assert!(
            exported.status == 0 && exported.stdout == padded,
            "{format}"
        );
        // The same through a pipe, with the length said.
        let size = plain.len().to_string();
        let options = ["--format", format, "-d", &key, "--size", &size, "-", "-"];
        let piped = build(&options, &plain);
        assert_eq!((piped.status, piped.stderr.as_str()), (0, ""));
        assert_eq!(piped.stdout.len(), bytes(&out).len());
        let piped = scratch.file("piped", &piped.stdout);
        assert!(
            luksmith(&["export", &piped, "-d", &key]).stdout == padded,
            "{format}"
        );
    }
}

#[test]
fn a_workload_image_ends_in_its_description() {
    let scratch = Scratch::new();
    let (key, input) = (
        scratch.file("key", b"pass"),
        scratch.file("plain", &paint(1, 8192)),
    );
    let workload = scratch.file("workload", WORKLOAD.as_bytes());
    let out = text(&scratch.path("out"));
    let options = [
        "--format",
        "luks1",
        "-d",
        &key,
        "--workload",
        &workload,
        &input,
        &out,
    ];
    assert_eq!(build(&options, b"").text(), "");
    let image = bytes(&out);
    // Header and areas up to sector 4040, two pages of data, one page with the footer.
    assert_eq!(
        image.len(),
        (4040 * 512 + 8192 + 4096_usize).next_multiple_of(4096)
    );
    let tail = [
        WORKLOAD.as_bytes(),
        b"KRUN",
        &(WORKLOAD.len() as u64).to_le_bytes(),
    ]
    .concat();
    assert!(image.ends_with(&tail));
    assert!(
        luksmith(&["luksDump", &out])
            .text()
            .contains("Payload offset:\t4040\n")
    );
    let exported = luksmith(&["export", &out, "-d", &key, "--length", "8192"]);
    assert!(exported.status == 0 && exported.stdout == paint(1, 8192));
}

#[test]
fn an_image_without_tags_says_so() {
    let scratch = Scratch::new();
    let (key, input) = (
        scratch.file("key", b"pass"),
        scratch.file("plain", &paint(1, 512)),
    );
    let out = text(&scratch.path("out"));
    let options = ["image", "build", "--format", "luks1", "-d", &key];
    let answer = luksmith(&[&options[..], &WEAK, &[&input, &out]].concat());
    assert_eq!((answer.status, answer.stdout.len()), (0, 0));
    assert_eq!(answer.stderr.lines().count(), 1);
    assert!(answer.stderr.starts_with("note: this image has no tags"));
}

#[test]
fn a_failure_leaves_no_image_and_what_is_there_is_kept() {
    let scratch = Scratch::new();
    let (key, input) = (
        scratch.file("key", b"pass"),
        scratch.file("plain", &paint(1, 8192)),
    );
    let out = text(&scratch.path("out"));
    let run = |options: &[&str]| {
        build(
            &[&["-d", &key, &input, &out, "--format"], options].concat(),
            b"",
        )
    };
    run(&["luks1", "--size", "1M"]).fails(1, "8192");
    run(&["luks1", "--size", "4K"]).fails(1, "4096");
    run(&["luks3"]).fails(1, "luks3");
    run(&["luks2", "--integrity", "hmac-sha256"]).fails(1, "--integrity: an image in one pass");
    run(&["luks1", "--keyslot-cipher", "aes-xts-plain64"]).fails(1, "LUKS1 does not have this");
    let workload = scratch.file("workload", WORKLOAD.as_bytes());
    run(&["luks2", "--workload", &workload]).fails(1, "give --format luks1");
    let wrong = scratch.file("wrong", b"{} {}");
    run(&["luks1", "--workload", &wrong]).fails(1, "no JSON object");
    build(&["--format", "luks1", "--from-tar", "x.tar", &out], b"").fails(1, "not offered");
    build(
        &["--format", "luks1", "--size", "8K", "-", &out],
        &paint(1, 8192),
    )
    .fails(1, "the key has to come from");
    build(&["--format", "luks1", "-d", &key, "-", &out], b"").fails(1, "--size is needed");
    // An image of nothing was made, and could never be opened.
    run(&["luks1", "--size", "0"]).fails(1, "at least one sector of data");
    let nothing = scratch.file("nothing", b"");
    for format in ["luks1", "luks2"] {
        let options = ["-d", &key, "--format", format, &nothing, &out];
        build(&options, b"").fails(1, "at least one sector of data");
    }
    assert!(!std::path::Path::new(&out).exists());
    let there = scratch.file("out", b"mine");
    run(&["luks1"]).fails(1, "exists already");
    assert_eq!(bytes(&there), b"mine");
}
