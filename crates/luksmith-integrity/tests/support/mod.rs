//! The devices of testvectors/integrity, put together again.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop where it stands"
)]

use std::{fs, io::Read as _, path::PathBuf, sync::Arc};

use luksmith_hash::{Hash, HashName};
use luksmith_integrity::{DigestName, JournalCipher, JournalMac, OpenOptions};

/// One row of the manifest.
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) digest: DigestName,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) image: Vec<u8>,
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) plaintext_sha256: String,
}

impl Golden {
    /// Gives the options with which the device opens: its journal's MAC and cipher.
    pub(crate) fn options(&self) -> OpenOptions {
        if !self.name.contains("crypt-mac") {
            return OpenOptions::new();
        }
        let hmac = DigestName::parse("hmac-sha256").unwrap();
        OpenOptions::new()
            .journal_mac(Arc::new(JournalMac::new(hmac, Some(&[0x22; 32])).unwrap()))
            .journal_cipher(Arc::new(
                JournalCipher::new("ctr-aes", &[0x11; 32]).unwrap(),
            ))
    }
}

/// Gives every device of the manifest.
pub(crate) fn all() -> Vec<Golden> {
    let manifest = fs::read_to_string(folder().join("manifest.txt")).unwrap();
    manifest
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(row)
        .collect()
}

/// Gives one device by its name.
pub(crate) fn one(name: &str) -> Golden {
    all()
        .into_iter()
        .find(|golden| golden.name == name)
        .unwrap()
}

fn row(line: &str) -> Golden {
    let fields: Vec<&str> = line.split(" | ").collect();
    let [
        name,
        digest,
        key,
        _,
        image_sha256,
        data_sha256,
        plaintext_sha256,
    ] = fields[..]
    else {
        panic!("a row has seven fields: {line}");
    };
    let image = rebuild(name);
    assert_eq!(
        sha256(&image),
        image_sha256,
        "{name} was put together wrongly"
    );
    let data = (data_sha256 != "-").then(|| {
        let data = rebuild(&format!("{name}-data"));
        assert_eq!(
            sha256(&data),
            data_sha256,
            "{name} was put together wrongly"
        );
        data
    });
    Golden {
        name: name.to_owned(),
        digest: DigestName::parse(digest).unwrap(),
        key: (key != "-").then(|| hex(key)),
        image,
        data,
        plaintext_sha256: plaintext_sha256.to_owned(),
    }
}

fn rebuild(stem: &str) -> Vec<u8> {
    let packed = fs::read(folder().join(format!("{stem}.img.zst"))).unwrap();
    let mut image = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(packed.as_slice())
        .unwrap()
        .read_to_end(&mut image)
        .unwrap();
    let pattern = pattern();
    let runs = fs::read_to_string(folder().join(format!("{stem}.runs"))).unwrap();
    for run in runs.lines() {
        let numbers: Vec<usize> = run.split(' ').map(|n| n.parse().unwrap()).collect();
        let [first, source, count, bytes] = numbers[..] else {
            panic!("a run has four numbers: {run}");
        };
        for i in 0..count {
            let (to, from) = ((first + i) * 512, (source + i) * 512);
            image[to..to + bytes].copy_from_slice(&pattern[from..from + bytes]);
        }
    }
    image
}

fn pattern() -> Vec<u8> {
    (0..700 * 4096 / 32)
        .flat_map(|i| digest(format!("golden:{i}").as_bytes()))
        .collect()
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    Hash::digest(HashName::Sha256, &[bytes], &mut out).unwrap();
    out
}

/// Gives the SHA-256 of `bytes` in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testvectors/integrity")
}
