//! What we write, a real kernel reads, and the reverse: on every kind of volume it can make.
#![expect(
    clippy::indexing_slicing,
    reason = "a slip here fails the test that makes it"
)]

mod support;

use std::path::Path;

use luksmith::block::{BlockDevice, ByteOffset};
use luksmith_testkit::{Prng, interop, sha256_hex};
use support::{OnDisk, luks_images, plaintext};

/// Disks that one boot takes.
const DISKS: usize = 20;
/// What the kernel writes into each volume.
const MESSAGE: &[u8] = b"written by the kernel";
/// Where it does so.
const PLACE: usize = 24576;

/// Volumes that older kernels and programs than those which made the images cannot open.
fn is_new(name: &str) -> bool {
    ["luks2-hmac-keysize", "luks2-aegis128"].contains(&name)
}

#[test]
fn the_kernel_reads_what_we_write_and_we_read_what_it_writes() {
    let Some(oracle) = interop::oracle() else {
        return;
    };
    let version = oracle.version("cryptsetup-bin").expect("a version");
    let old = version.contains(":2.6.");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut cases: Vec<OnDisk> = luks_images()
        .into_iter()
        .filter(|image| !(old && is_new(&image.name)))
        .map(|image| OnDisk::unpack(image, folder.path()))
        .collect();
    assert!(cases.len() >= 40, "only {} images", cases.len());
    let mut checked = 0;
    while !cases.is_empty() {
        let mut disks = 0;
        let fits = cases.iter().take_while(|case| {
            disks += 1 + usize::from(case.header.is_some());
            disks <= DISKS
        });
        let batch: Vec<OnDisk> = cases.drain(..fits.count()).collect();
        checked += batch.len();
        both_ways(&oracle, &batch);
    }
    println!("{checked} volumes with {}", version.trim());
}

/// One boot: we have written before, the kernel reads and writes, we read after.
fn both_ways(oracle: &luksmith_testkit::Oracle, batch: &[OnDisk]) {
    let expected: Vec<Vec<u8>> = batch.iter().map(rewrite).collect();
    let mut disks: Vec<&Path> = Vec::new();
    let mut script = String::from("echo 3 > /proc/sys/kernel/printk\n");
    for case in batch {
        script += &commands(case, disks.len());
        disks.push(&case.path);
        disks.extend(case.header.as_deref());
    }
    let report = oracle.boot(&script, &disks).expect("the oracle boots");
    for (case, expected) in batch.iter().zip(expected) {
        let name = &case.image.name;
        let line = format!("{name} {}\n", sha256_hex(&expected));
        assert!(
            report.text.contains(&line),
            "{name}: the kernel did not read what we wrote, {line}{}",
            report.text
        );
        let mut expected = expected;
        expected[PLACE..PLACE + MESSAGE.len()].copy_from_slice(MESSAGE);
        let volume = case
            .open()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            plaintext(&volume) == expected,
            "{name}: we do not read what the kernel wrote"
        );
        volume.close().expect("a clean close");
    }
}

/// Writes at several places through the library and gives the whole plaintext after it.
fn rewrite(case: &OnDisk) -> Vec<u8> {
    let name = &case.image.name;
    let volume = case
        .open()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut expected = plaintext(&volume);
    assert_eq!(
        sha256_hex(&expected),
        case.image.plaintext_sha256,
        "{name}: not what the kernel left"
    );
    let mut random = Prng::new(ByteOffset::ZERO.get() + expected.len() as u64);
    let end = expected.len() - expected.len() % 4096;
    // The first blocks, a run across the middle, single blocks, and the last block.
    for (first, blocks) in [(0, 2), (end / 4096 / 2, 9), (13, 1), (end / 4096 - 1, 1)] {
        let range = first * 4096..(first + blocks) * 4096;
        random.fill(&mut expected[range.clone()]);
        let at = ByteOffset::new(range.start as u64);
        volume
            .write_at(at, &expected[range])
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    volume.flush().expect("a flush");
    volume.close().expect("a clean close");
    expected
}

fn commands(case: &OnDisk, disk: usize) -> String {
    let name = &case.image.name;
    let header = case
        .header
        .as_ref()
        .map_or_else(String::new, |_| format!("--header /disk/{}", disk + 1));
    let (secret, option) = match case.image.passphrase.as_str() {
        // Without keyslots it cannot know how long the key is.
        "" => (
            octal(&case.image.volume_key),
            format!(
                "--key-size {} --volume-key-file",
                case.image.volume_key.len() * 8
            ),
        ),
        text => (text.to_owned(), "--key-file".to_owned()),
    };
    let message = String::from_utf8_lossy(MESSAGE);
    format!(
        "printf '{secret}' > /tmp/key
        if cryptsetup open -q {option} /tmp/key {header} {open} /disk/{disk} volume; then
          echo \"{name} $(sha256sum /dev/mapper/volume | cut -d' ' -f1)\"
          printf '{message}' | dd of=/dev/mapper/volume bs=1 seek={PLACE} conv=notrunc,fsync \
            2>/dev/null
          cryptsetup close volume
        else
          echo '{name} does not open'
        fi
        ",
        open = case.image.open_options,
    )
}

/// Writes bytes down for `printf`.
fn octal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:03o}")).collect()
}

#[test]
fn the_list_of_images_covers_each_kind_of_volume() {
    let images = luks_images();
    for word in [
        "aes-xts-plain64",
        "aes-cbc-essiv:sha256",
        "capi:xts(aes)-plain64",
        "xchacha20,aes-adiantum-plain64",
        "serpent",
        "hmac(sha256)",
        "hmac(sha512)",
        "gcm(aes)",
        "rfc7539",
        "aegis128",
        "sector_size:4096",
    ] {
        let has = |table: &str| table.contains(word);
        assert!(images.iter().any(|image| has(&image.table)), "{word}");
    }
    assert!(images.iter().any(|image| image.kind == "luks1"));
}
