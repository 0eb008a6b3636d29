//! What cryptsetup is asked to do with a set: to make it, and to take ours.

use std::fs;
use std::path::Path;

use luksmith::header::Priority;
use luksmith::keyslot::{Argon2Variant, Kdf};
use luksmith_testkit::Oracle;

use super::set::{Key, OptionSet};

/// A call of cryptsetup and the exit statuses that it may have.
pub(crate) struct Call {
    words: Vec<String>,
    statuses: &'static [i32],
}

const DONE: &[i32] = &[0];
/// No key fits. Before 2.8 a keyslot that was left out in the end made it 1.
const REFUSED: &[i32] = &[1, 2];

/// Where a volume and its keys are, as cryptsetup is told.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) data: String,
    pub(crate) header: Option<String>,
    /// Key files are this, and their number.
    pub(crate) keys: String,
}

impl Place {
    fn key(&self, name: impl std::fmt::Display) -> String {
        format!("{}{name}", self.keys)
    }

    /// The device that has the header.
    fn header(&self) -> String {
        self.header.clone().unwrap_or_else(|| self.data.clone())
    }
}

/// The key that cryptsetup adds to what we made.
pub(crate) const THEIR_KEY: &[u8] = b"added by cryptsetup";
/// The key that we add to what cryptsetup made.
pub(crate) const OUR_KEY: &[u8] = b"added by luksmith";
const WRONG_KEY: &[u8] = b"nobody's";

/// The key files of a set: name and content.
pub(crate) fn key_files(set: &OptionSet) -> Vec<(String, Vec<u8>)> {
    let numbered = set.keys.iter().enumerate();
    let mut files: Vec<_> = numbered
        .map(|(index, key)| (index.to_string(), key.text.clone()))
        .collect();
    files.push(("volume".into(), set.volume_key.clone()));
    files.push(("theirs".into(), THEIR_KEY.into()));
    files.push(("ours".into(), OUR_KEY.into()));
    files.push(("wrong".into(), WRONG_KEY.into()));
    files
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(String::from).into()
}

fn succeeds(words: Vec<String>) -> Call {
    Call {
        words,
        statuses: DONE,
    }
}

/// The calls that make a set.
pub(crate) fn format(set: &OptionSet, place: &Place) -> Vec<Call> {
    let mut calls = vec![succeeds(first(set, place))];
    for (index, key) in set.keys.iter().enumerate().skip(1) {
        calls.push(succeeds(add(key, place, index)));
        let word = match key.priority {
            Priority::Ignore => "ignore",
            Priority::Prefer => "prefer",
            _ => continue,
        };
        let mut config = words(["config", "-q", "--priority", word, "--key-slot"]);
        config.extend([key.keyslot.to_string(), place.header()]);
        calls.push(succeeds(config));
    }
    calls
}

fn first(set: &OptionSet, place: &Place) -> Vec<String> {
    let kind = if set.is_luks2() { "luks2" } else { "luks1" };
    let mut call = words([
        "luksFormat",
        "-q",
        "--type",
        kind,
        "--cipher",
        set.cipher.name,
    ]);
    let mut option = |name: &str, value: String| call.push(format!("--{name}={value}"));
    option("key-size", (set.cipher.key_bytes * 8).to_string());
    option("hash", set.hash.as_str().into());
    option("uuid", set.uuid.clone());
    option("volume-key-file", place.key("volume"));
    for (name, value) in [
        ("sector-size", set.sector_size),
        ("luks2-metadata-size", set.header_size),
        ("luks2-keyslots-size", set.keyslots_len),
        ("offset", set.offset.map(|bytes| bytes / 512)),
        ("align-payload", set.alignment.map(|bytes| bytes / 512)),
    ] {
        if let Some(value) = value {
            option(name, value.to_string());
        }
    }
    for (name, value) in [("label", &set.label), ("subsystem", &set.subsystem)] {
        if !value.is_empty() {
            option(name, value.clone());
        }
    }
    if let Some((name, ..)) = set.cipher.integrity {
        option("integrity", name.into());
        call.push("--integrity-no-wipe".into());
    }
    if let Some(header) = &place.header {
        call.push(format!("--header={header}"));
    }
    if let Some(key) = set.keys.first() {
        call.extend(keyslot(key));
    }
    call.extend([place.data.clone(), place.key(0)]);
    call
}

/// The options of a keyslot.
fn keyslot(key: &Key) -> Vec<String> {
    let mut call = vec![format!("--key-slot={}", key.keyslot)];
    let kind = match key.kdf {
        Kdf::Pbkdf2 { iterations, .. } => {
            call.push(format!("--pbkdf-force-iterations={iterations}"));
            "pbkdf2"
        }
        Kdf::Argon2 { variant, cost } => {
            call.push(format!("--pbkdf-force-iterations={}", cost.passes));
            call.push(format!("--pbkdf-memory={}", cost.memory_kib));
            call.push(format!("--pbkdf-parallel={}", cost.lanes));
            match variant {
                Argon2Variant::I => "argon2i",
                Argon2Variant::Id => "argon2id",
            }
        }
        _ => unreachable!("a set has one of these"),
    };
    call.push(format!("--pbkdf={kind}"));
    if let Some((cipher, bytes)) = key.cipher {
        call.push(format!("--keyslot-cipher={cipher}"));
        call.push(format!("--keyslot-key-size={}", bytes * 8));
    }
    call
}

fn add(key: &Key, place: &Place, index: usize) -> Vec<String> {
    let mut call = words(["luksAddKey", "-q", "--hash", key.hash.as_str()]);
    call.extend(keyslot(key));
    match key.unbound {
        Some(bytes) => {
            call.push("--unbound".into());
            call.push(format!("--key-size={}", bytes * 8));
        }
        None => call.push(format!("--key-file={}", place.key(0))),
    }
    call.extend([place.header(), place.key(index)]);
    call
}

/// The calls that show whether cryptsetup takes what is there, and goes on with it.
pub(crate) fn accept(set: &OptionSet, place: &Place) -> Vec<Call> {
    let header = place.header();
    let mut calls = vec![succeeds(words(["luksDump", &header]))];
    let open = |key: String, slot: Option<u32>, statuses| {
        let mut words = words(["open", "--test-passphrase", "--key-file", &key, &header]);
        words.extend(slot.map(|slot| format!("--key-slot={slot}")));
        Call { words, statuses }
    };
    for (index, key) in set.keys.iter().enumerate() {
        calls.push(open(place.key(index), Some(key.keyslot), DONE));
        let statuses = if key.is_tried() { DONE } else { REFUSED };
        calls.push(open(place.key(index), None, statuses));
    }
    calls.push(open(place.key("wrong"), None, REFUSED));
    let first = place.key(0);
    let mut add = words(["luksAddKey", "-q", "--pbkdf", "pbkdf2"]);
    add.extend(words([
        "--pbkdf-force-iterations",
        "1000",
        "--key-file",
        &first,
    ]));
    add.extend([header.clone(), place.key("theirs")]);
    calls.push(succeeds(add));
    calls.push(open(place.key("theirs"), None, DONE));
    calls
}

/// The call that shows that the key which we added opens what cryptsetup made.
pub(crate) fn open_by_ours(place: &Place) -> Vec<Call> {
    let mut call = words(["open", "--test-passphrase", "--key-file"]);
    call.extend([place.key("ours"), place.header()]);
    vec![succeeds(call)]
}

/// The call that maps a volume.
pub(crate) fn map(place: &Place, name: &str) -> Call {
    let mut call = words(["open", "-q", "--key-file"]);
    call.push(place.key(0));
    if let Some(header) = &place.header {
        call.push(format!("--header={header}"));
    }
    call.extend([place.data.clone(), name.into()]);
    succeeds(call)
}

/// Makes the calls on this machine.
pub(crate) fn run(oracle: &Oracle, calls: &[Call]) -> Result<(), String> {
    for call in calls {
        let mut command = oracle
            .program("cryptsetup")
            .map_err(|error| error.to_string())?;
        let output = command
            .args(&call.words)
            .output()
            .map_err(|error| error.to_string())?;
        let status = output.status.code();
        if !status.is_some_and(|status| call.statuses.contains(&status)) {
            return Err(format!(
                "cryptsetup {}: {} and not {:?}: {}",
                call.words.join(" "),
                output.status,
                call.statuses,
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
    }
    Ok(())
}

/// Writes the key files of a set.
pub(crate) fn write_keys(set: &OptionSet, place: &Place) -> Result<(), String> {
    for (name, content) in key_files(set) {
        fs::write(Path::new(&place.key(name)), content).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Writes the key files of a set as commands for the oracle.
pub(crate) fn keys_script(set: &OptionSet, place: &Place) -> String {
    let octal = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("\\{b:03o}")).collect() };
    let files = key_files(set).into_iter();
    files
        .map(|(name, bytes)| format!("printf '{}' > {}\n", octal(&bytes), place.key(name)))
        .collect()
}

/// Writes the calls as commands for the oracle, which prints `@bad` and the name for a wrong end.
pub(crate) fn script(name: &str, calls: &[Call]) -> String {
    let quote = |word: &String| format!("'{word}'");
    let mut text = String::new();
    for (number, call) in calls.iter().enumerate() {
        let words: Vec<String> = call.words.iter().map(quote).collect();
        let statuses: Vec<String> = call.statuses.iter().map(i32::to_string).collect();
        text += &format!(
            "cryptsetup {} > /tmp/said 2>&1; s=$?\n\
             case $s in {}) ;; *) echo \"@bad {name} call {number} {}: status $s\"; cat /tmp/said;; esac\n",
            words.join(" "),
            statuses.join("|"),
            call.words.first().map_or("", String::as_str),
        );
    }
    text
}
