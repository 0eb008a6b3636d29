//! Every LUKS image that the real programs made opens, and its plaintext is what the kernel read.
#![cfg(all(feature = "all-ciphers", feature = "all-hashes"))]

use luksmith::block::{BlockDevice, ByteLen, Control};
use luksmith::{
    CandidateKey, DmKey, ErrorKind, ExportOptions, NullCipher, NullCipherKeyslots, OpenOptions,
    Part, Passphrase, Stream, Unlock, Volume, open,
};
use luksmith_testkit::{TestImage, sha256_hex, test_image, test_images};

fn images() -> Vec<TestImage> {
    let images = test_images();
    let images: Vec<_> = images
        .into_iter()
        .filter(|image| image.kind.starts_with("luks") && image.name != "luks2-reencrypt")
        .collect();
    assert!(images.len() >= 30, "only {} LUKS images", images.len());
    images
}

fn is_null(image: &TestImage) -> bool {
    image.table.contains("cipher_null")
}

fn writable(image: &TestImage) -> OpenOptions {
    let mut options = OpenOptions::new();
    if image.has("header") {
        options = options.detached_header(image.device("header"));
    }
    if is_null(image) {
        options = options
            .null_cipher(NullCipher::AcceptPlaintext)
            .null_cipher_keyslots(NullCipherKeyslots::AcceptUnencryptedKeys);
    }
    options
}

fn options(image: &TestImage) -> OpenOptions {
    writable(image).read_only().keep_volume_key()
}

/// The passphrase of an image that has a keyslot.
fn passphrase(image: &TestImage) -> Option<Passphrase> {
    if image.name == "luks2-no-keyslot" {
        return None;
    }
    let passphrase = match image.passphrase.as_bytes() {
        [] => Passphrase::empty(),
        bytes => Passphrase::new(bytes),
    };
    Some(passphrase.expect("a passphrase"))
}

fn plaintext(volume: &Volume) -> Vec<u8> {
    let mut plaintext = Vec::new();
    let report = volume
        .export(
            &mut Stream(&mut plaintext),
            &ExportOptions::new(),
            &Control::new(),
        )
        .expect("the export");
    assert_eq!(ByteLen::new(report.bytes), ByteLen::of(&plaintext));
    plaintext
}

#[test]
fn every_image_exports_to_the_kernels_plaintext_by_passphrase_and_by_volume_key() {
    for image in images() {
        let name = &image.name;
        let passphrase = passphrase(&image);
        let key = CandidateKey::new(&image.volume_key).unwrap();
        let by_passphrase = passphrase.as_ref().map(Unlock::Passphrase);
        for unlock in by_passphrase.into_iter().chain([Unlock::VolumeKey(&key)]) {
            let volume = open(image.device("image"), unlock, &options(&image))
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(volume.size(), ByteLen::new(image.size), "{name}");
            assert_eq!(
                sha256_hex(&plaintext(&volume)),
                image.plaintext_sha256,
                "{name}"
            );
            let held = volume.volume_key().expect("the key was to be kept");
            assert_eq!(held.expose(), image.volume_key, "{name}");
            if volume.is_authenticated() {
                let report = volume.verify(Part::ALL, &Control::new()).unwrap();
                assert!(report.is_clean(), "{name}: {report:?}");
                assert_eq!(report.bytes, image.size, "{name}");
            }
            volume.close().unwrap();
        }
    }
}

#[test]
fn opening_and_reading_writes_nothing() {
    for image in images() {
        let device = std::sync::Arc::new(image.device("image"));
        let key = CandidateKey::new(&image.volume_key).unwrap();
        let unlock = Unlock::VolumeKey(&key);
        let volume = open(device.clone(), unlock, &writable(&image)).unwrap();
        plaintext(&volume);
        volume.close().unwrap();
        assert!(device.to_vec() == image.file("image"), "{}", image.name);
    }
}

#[test]
fn a_wrong_passphrase_or_key_is_told_as_such() {
    let wrong = Passphrase::new(b"wrong").unwrap();
    for image in images() {
        let by_passphrase = open(
            image.device("image"),
            Unlock::Passphrase(&wrong),
            &options(&image),
        );
        let kind = by_passphrase.map(drop).map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::WrongKey), "{}", image.name);
        let mut key = image.volume_key.clone();
        key[0] ^= 1;
        let key = CandidateKey::new(&key).unwrap();
        let by_key = open(
            image.device("image"),
            Unlock::VolumeKey(&key),
            &options(&image),
        );
        let kind = by_key.map(drop).map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::WrongKey), "{}", image.name);
    }
}

#[test]
fn a_volume_in_the_middle_of_a_reencryption_is_refused_by_name() {
    let image = test_image("luks2-reencrypt");
    let passphrase = passphrase(&image).expect("a passphrase");
    let error = open(
        image.device("image"),
        Unlock::Passphrase(&passphrase),
        &OpenOptions::new(),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the header requires \"online-reencrypt-v2\", which is not supported; finish the \
         re-encryption first"
    );
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// A table as the kernel reports it, with device numbers and the target's own defaults left out.
fn reported(table: &str, name: &str) -> Vec<String> {
    let mut lines: Vec<String> = table
        .split(';')
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            line.split_once(": ")
                .expect("a name and a table")
                .1
                .to_owned()
        })
        .collect();
    assert!(!lines.is_empty(), "{name}");
    // Ours come in the order in which they are loaded.
    lines.reverse();
    lines
}

#[test]
fn tables_are_those_that_the_kernel_had() {
    for image in images() {
        let key = CandidateKey::new(&image.volume_key).unwrap();
        let volume = open(
            image.device("image"),
            Unlock::VolumeKey(&key),
            &options(&image),
        )
        .unwrap();
        let tables = volume
            .dm_tables(&image.name, "DEV", DmKey::Keyring)
            .expect("words");
        let expected = reported(&image.table, &image.name);
        assert_eq!(tables.len(), expected.len(), "{}", image.name);
        for (ours, theirs) in tables.iter().zip(expected) {
            let ours: Vec<&str> = ours.line().split(' ').collect();
            let theirs: Vec<&str> = theirs.split_whitespace().collect();
            // Start, length, target.
            assert_eq!(ours[..3], theirs[..3], "{}", image.name);
            if ours[2] == "crypt" {
                // Cipher; key left out; IV offset; device left out; start; options.
                assert_eq!(ours[3], theirs[3], "{}", image.name);
                assert_eq!(ours[5], theirs[5], "{}", image.name);
                assert_eq!(ours[7..], theirs[7..], "{}", image.name);
            } else {
                // Device left out; start, tag size, mode; the kernel lists more options than it
                // needs.
                assert_eq!(ours[4..7], theirs[4..7], "{}", image.name);
                for option in &ours[8..] {
                    assert!(theirs.contains(option), "{}: {option}", image.name);
                }
            }
        }
    }
}
