//! cryptsetup, on files: it sees in a header what we see, and what we wrote does not disturb it.

mod support;

use std::{fs, path::Path, process::Output};

use luksmith::header::{Header, json};
use luksmith_testkit::{Oracle, interop, sha256_hex};
use support::{OnDisk, luks_images};

/// Runs cryptsetup without a terminal and without the device-mapper.
fn cryptsetup(oracle: &Oracle, arguments: &[&str], paths: &[&Path]) -> Output {
    let mut command = oracle.program("cryptsetup").expect("cryptsetup");
    command.args(arguments).args(paths);
    command.output().expect("cryptsetup runs")
}

#[test]
fn the_json_that_cryptsetup_dumps_is_the_tree_that_we_hold() {
    let Some(oracle) = interop::oracle() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut compared = 0;
    for image in luks_images() {
        let case = OnDisk::unpack(image, folder.path());
        let name = &case.image.name;
        let holder = case.header.as_ref().unwrap_or(&case.path);
        let before = sha256_hex(&fs::read(holder).expect("the image"));
        let volume = case
            .open()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let header = volume.header().clone();
        // cryptsetup would wait for the lock that we hold on the file.
        volume.close().expect("a clean close");
        if let Header::Luks2(header) = header {
            let arguments = ["luksDump", "--dump-json-metadata"];
            let output = cryptsetup(&oracle, &arguments, &[holder]);
            assert!(output.status.success(), "{name}: {output:?}");
            let limits = json::ParseLimits::default();
            let (theirs, _) = json::parse_object(&output.stdout, &limits).expect("their JSON");
            let ours = header.metadata().tree();
            assert_eq!(&theirs, ours, "{name}");
            compared += 1;
        }
        let after = sha256_hex(&fs::read(holder).expect("the image"));
        assert_eq!(before, after, "{name}: opening wrote something");
    }
    assert!(compared >= 30, "only {compared} LUKS2 headers");
    println!(
        "{compared} headers with {}",
        oracle.version("cryptsetup-bin").expect("a version")
    );
}

#[test]
fn cryptsetup_still_accepts_the_passphrase_after_we_wrote() {
    let Some(oracle) = interop::oracle() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = folder.path().join("key");
    let mut accepted = 0;
    for image in luks_images() {
        if image.passphrase.is_empty() {
            continue;
        }
        fs::write(&key, &image.passphrase).expect("a key file");
        let case = OnDisk::unpack(image, folder.path());
        let name = &case.image.name;
        let volume = case
            .open()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let stream = volume.bytes();
        let at = luksmith::block::ByteOffset::new(4097);
        stream.write_at(at, b"not a whole sector").expect("a write");
        stream.flush().expect("a flush");
        drop(stream);
        volume.close().expect("a clean close");
        let holder = case.header.as_ref().unwrap_or(&case.path);
        let arguments = ["open", "--test-passphrase", "-q", "--key-file"];
        let output = cryptsetup(&oracle, &arguments, &[&key, holder]);
        // Ciphers that its library lacks it asks the kernel for, which this machine may not allow;
        // in the oracle, interop_kernel opens these too.
        let error = String::from_utf8_lossy(&output.stderr);
        let lacks = ["for keyslot encryption", "Cannot initialize device-mapper"];
        if lacks.iter().any(|text| error.contains(text)) {
            println!("{name}: not covered without the kernel's ciphers");
            continue;
        }
        assert!(output.status.success(), "{name}: {output:?}");
        accepted += 1;
    }
    assert!(accepted >= 25, "only {accepted} volumes");
}
