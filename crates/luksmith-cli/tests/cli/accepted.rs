//! No action takes an option about keys and passes over it: for each option that `--help` lists,
//! something shows that the action looks at it. What is asked of headers: `policy.rs`.

use crate::support::{Answer, Scratch, bytes, luksmith, luksmith_with, options_of, text};

/// Headings under which every option is probed.
const HEADINGS: [&str; 4] = ["Keys", "New key", "New keyslot", "Tokens"];
/// Options for somebody at a terminal, which no test has.
const AT_A_TERMINAL: [&str; 2] = ["--tries", "--force-password"];
/// What makes an action look at its keys. A name in braces is a file.
const ACTIONS: [(&str, &[&str]); 14] = [
    ("luksFormat", &["--size", "20M", "{new}"]),
    ("luksDump", &["--dump-volume-key", "{disk}"]),
    ("open", &["--test-passphrase", "{disk}"]),
    ("luksAddKey", &["{disk}"]),
    ("luksRemoveKey", &["{disk}"]),
    ("luksChangeKey", &["{disk}"]),
    ("luksKillSlot", &["{disk}", "5"]),
    ("luksConvertKey", &["{disk}"]),
    ("export", &["{disk}", "{new}"]),
    ("import", &["{disk}", "{plain}"]),
    ("image", &["build", "--format", "luks2", "{plain}", "{new}"]),
    ("resize", &["{disk}"]),
    ("verify", &["{disk}"]),
    ("dm-table", &["{disk}", "name"]),
];
const NO_FILE: &str = "No such file or directory";
const NO_TOKEN: &str = "no token of this volume can be used";
const COST: &str = "is outside what a new keyslot may have";
const ARGON2: [&str; 4] = ["--pbkdf", "argon2id", "--pbkdf-force-iterations", "4"];
const PBKDF2: [&str; 4] = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];

/// What shows that an option was looked at.
struct Probe {
    option: &'static str,
    arguments: Vec<&'static str>,
    /// One of these is told.
    told: &'static [&'static str],
}

fn probes() -> Vec<Probe> {
    let probe = |option, arguments: &[&'static str], told| Probe {
        option,
        arguments: [&[option], arguments].concat(),
        told,
    };
    let memory = [&["1"], &ARGON2[..]].concat();
    let lanes = [&["99", "--pbkdf-memory", "64"], &ARGON2[..]].concat();
    // Told before anything is measured.
    let measured = ["7", "--pbkdf", "pbkdf2", "--debug"];
    let no_area = ["--keyslot-cipher", "aes-xts-plain64", "--keyslot-key-size"];
    let measured = [&measured[..], &no_area, &["7"]].concat();
    vec![
        probe("--key-file", &["{missing}"], &[NO_FILE]),
        probe("--keyfile-offset", &["99"], &["the key cannot be read"]),
        probe("--keyfile-size", &["99"], &["of the 99 bytes"]),
        probe("--key-fd", &["0"], &["nothing is left in it"]),
        probe("--key-command", &["false"], &["it ended with"]),
        probe("--volume-key-file", &["{missing}"], &[NO_FILE]),
        probe("--key-slot", &["99"], &["keyslot 99", "keyslot id 99"]),
        probe("--token-id", &["99"], &[NO_TOKEN]),
        probe("--token-type", &["x"], &[NO_TOKEN]),
        probe("--token-only", &[], &[NO_TOKEN]),
        probe("--new-keyfile", &["{missing}"], &[NO_FILE]),
        probe("--new-keyfile-offset", &["99"], &["the key cannot be read"]),
        probe("--new-keyfile-size", &["99"], &["of the 99 bytes"]),
        probe(
            "--pbkdf",
            &["pbkdf2", "--pbkdf-memory", "64"],
            &["not for PBKDF2"],
        ),
        probe(
            "--pbkdf-force-iterations",
            &["1", "--pbkdf", "pbkdf2"],
            &[COST],
        ),
        probe("--pbkdf-memory", &memory, &[COST]),
        probe("--pbkdf-parallel", &lanes, &[COST]),
        probe("--iter-time", &measured, &["7ms"]),
        probe("--hash", &["nope"], &["--hash nope"]),
        probe("--keyslot-cipher", &["nope-nope"], &["\"nope\""]),
        probe(
            "--keyslot-key-size",
            &["7", "--keyslot-cipher", "aes-xts-plain64"],
            &["--keyslot-key-size 7"],
        ),
    ]
}

/// A volume with keyslots 0 and 5, and room for more.
fn volume() -> Vec<u8> {
    let scratch = Scratch::new();
    let disk = text(&scratch.path("disk"));
    let format = ["luksFormat", "--size", "6M", "--luks2-keyslots-size", "2M"];
    let format = [&format[..], &PBKDF2, &[&disk]].concat();
    assert_eq!(luksmith_with(&format, b"old").text(), "");
    let add = [&["luksAddKey", "-S", "5", &disk], &PBKDF2[..]].concat();
    assert_eq!(luksmith_with(&add, b"old\nother").text(), "");
    bytes(&disk)
}

fn run(action: &str, probe: &Probe, is_new: bool, volume: &[u8]) -> Answer {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", volume);
    scratch.file("plain", &[7; 4096]);
    let (_, base) = ACTIONS
        .iter()
        .find(|(name, _)| *name == action)
        .expect("a known action");
    let is_cost = probe
        .arguments
        .iter()
        .any(|word| word.starts_with("--pbkdf"));
    let weak: &[&str] = if is_new && !is_cost { &PBKDF2 } else { &[] };
    let all = [base, weak, probe.arguments.as_slice()].concat();
    let words = all.into_iter().map(|word| match word {
        "{disk}" => disk.clone(),
        "{missing}" => text(&scratch.path("no-folder/missing")),
        word if word.starts_with('{') => text(&scratch.path(word.trim_matches(['{', '}']))),
        word => word.to_owned(),
    });
    let words: Vec<String> = std::iter::once(action.to_owned()).chain(words).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let input = match probe.option {
        "--key-fd" => "",
        _ => "old\nnew\n",
    };
    luksmith_with(&words, input.as_bytes())
}

#[test]
fn every_option_about_keys_is_looked_at_by_every_action_that_takes_it() {
    let probes = probes();
    let volume = volume();
    let mut seen = 0;
    for (action, options) in options_of() {
        let is_new = options.iter().any(|offered| offered.name == "--pbkdf");
        for offered in options {
            if !HEADINGS.contains(&offered.heading.as_str()) {
                continue;
            }
            let name = offered.name.as_str();
            if AT_A_TERMINAL.contains(&name) {
                continue;
            }
            let probe = probes.iter().find(|probe| probe.option == name);
            let probe = probe.unwrap_or_else(|| panic!("no probe for {action} {name}"));
            let answer = run(&action, probe, is_new, &volume);
            let is_told = probe.told.iter().any(|text| answer.stderr.contains(text));
            assert!(is_told, "{action} {:?}: {answer:?}", probe.arguments);
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen} options");
}

#[test]
fn every_key_of_a_standalone_device_is_looked_at_by_every_action_on_its_data() {
    let scratch = Scratch::new();
    let device = scratch.file("device", &[0; 1 << 20]);
    let key = scratch.file("key", &[1; 32]);
    let plain = scratch.file("plain", &[7; 4096]);
    let missing = text(&scratch.path("no-folder/missing"));
    let hmac = ["-I", "hmac-sha256", "--integrity-key-file"];
    let mac = ["--journal-integrity", "hmac-sha256"];
    let mac = [&mac[..], &["--journal-integrity-key-file"]].concat();
    let cipher = ["--journal-crypt", "ctr-aes", "--journal-crypt-key-file"];
    let mut probes: Vec<(Vec<&str>, &str)> = Vec::new();
    for (named, size) in [
        (&hmac[..], "--integrity-key-size"),
        (&mac, "--journal-integrity-key-size"),
        (&cipher, "--journal-crypt-key-size"),
    ] {
        probes.push(([named, &[&missing]].concat(), NO_FILE));
        probes.push(([named, &[&key, size, "99"]].concat(), "has 32 bytes"));
    }
    let journal = [
        "--journal-integrity",
        "nope",
        "--journal-integrity-key-file",
    ];
    probes.push(([&journal[..], &[&key]].concat(), "nope"));
    let journal = ["--journal-crypt", "nope", "--journal-crypt-key-file"];
    let cipher = "no such journal cipher";
    probes.push(([&journal[..], &[&key]].concat(), cipher));
    probes.push((vec!["-I", "nope"], "nope"));
    let formats = [
        (&["format"][..], true),
        (&["check"], false),
        (&["export"], false),
        (&["import"], false),
        (&["resize"], false),
    ];
    for (verb, is_new) in formats {
        for (options, told) in &probes {
            let file: &[&str] = if verb == ["import"] { &[&plain] } else { &[] };
            if !is_new {
                let made = ["integrity", "format", "-q", "--no-wipe", &device];
                assert_eq!(luksmith(&made).text(), "");
            }
            let all = [&["integrity"], verb, &[&device], file, options].concat();
            luksmith(&all).fails(1, told);
        }
    }
}
