//! Images made by the real programs, with what is known of each.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use luksmith_block::{MemDevice, SectorSize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// One row of a manifest of images.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TestImage {
    /// The image's name.
    pub name: String,
    /// `luks1`, `luks2` or `integrity`.
    pub kind: String,
    /// Options of the command that formatted it.
    pub options: String,
    /// Options of the command that opened it.
    pub open_options: String,
    /// The passphrase of the first keyslot.
    pub passphrase: String,
    /// The volume key, empty where there is none.
    pub volume_key: Vec<u8>,
    /// The key of a keyed standalone integrity device.
    pub integrity_key: Option<Vec<u8>>,
    /// Size of the plaintext in bytes.
    pub size: u64,
    /// SHA-256 of the whole plaintext as the kernel read it, in hex.
    pub plaintext_sha256: String,
    /// Whether it was closed cleanly.
    pub clean: bool,
    /// Remarks: further passphrases, keys of a journal.
    pub note: String,
    /// Where `paint` was written: first block of 4096 bytes and number of blocks.
    pub writes: Vec<(u64, u64)>,
    /// The device-mapper lines of the open volume.
    pub table: String,
    folder: PathBuf,
    files: BTreeMap<String, String>,
    hashes: BTreeMap<String, String>,
}

/// Reads the manifest of `testvectors/images`, or of the folder that the variable
/// `LUKSMITH_IMAGES` names.
///
/// # Panics
/// If there is no manifest, or it is not as expected: a test without its images must not pass.
#[must_use]
pub fn test_images() -> Vec<TestImage> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testvectors/images");
    let folder = std::env::var_os("LUKSMITH_IMAGES").map_or(beside, PathBuf::from);
    test_images_in(&folder)
}

/// Gives the test image of this name.
///
/// # Panics
/// As [`test_images`], or if none has this name.
#[must_use]
pub fn test_image(name: &str) -> TestImage {
    let found = test_images().into_iter().find(|image| image.name == name);
    found.unwrap_or_else(|| panic!("there is no test image {name}"))
}

/// Reads the manifest of a folder.
///
/// # Panics
/// As [`test_images`].
#[must_use]
pub fn test_images_in(folder: &Path) -> Vec<TestImage> {
    let path = folder.join("manifest.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let manifest: Value = serde_json::from_str(&text).expect("a manifest is JSON");
    let rows = manifest["images"].as_array().expect("a list of images");
    assert!(!rows.is_empty(), "{path:?} lists no image");
    rows.iter().map(|row| image(folder, row)).collect()
}

fn image(folder: &Path, row: &Value) -> TestImage {
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let by_role = |key: &str| -> BTreeMap<String, String> {
        let entries = row[key].as_object().into_iter().flatten();
        let name = |value: &Value| value.as_str().expect("a name or a hash").to_owned();
        entries
            .map(|(role, value)| (role.clone(), name(value)))
            .collect()
    };
    let writes = row["writes"].as_array().into_iter().flatten();
    TestImage {
        name: text("name"),
        kind: text("kind"),
        options: text("options"),
        open_options: text("open_options"),
        passphrase: text("passphrase"),
        volume_key: unhex(&text("volume_key")),
        integrity_key: row["integrity_key"].as_str().map(unhex),
        size: row["size"].as_u64().expect("the size of the plaintext"),
        plaintext_sha256: text("plaintext_sha256"),
        clean: row["clean"].as_bool().expect("how it was closed"),
        note: text("note"),
        folder: folder.to_owned(),
        writes: writes
            .map(|pair| (pair[0].as_u64(), pair[1].as_u64()))
            .map(|(first, count)| (first.expect("a block"), count.expect("a count")))
            .collect(),
        table: text("table"),
        files: by_role("files"),
        hashes: by_role("files_sha256"),
    }
}

impl TestImage {
    /// Unpacks the file of a role: `image`, or `header` and `data` where they are apart.
    ///
    /// # Panics
    /// If there is none, it cannot be unpacked, or it is not the one that was recorded.
    #[must_use]
    pub fn file(&self, role: &str) -> Vec<u8> {
        let name = self.files.get(role);
        let name = name.unwrap_or_else(|| panic!("{} has no file {role}", self.name));
        let bytes = unpack(&self.folder.join(format!("{name}.zst")));
        let recorded = &self.hashes[role];
        assert_eq!(sha256_hex(&bytes), *recorded, "SHA-256 of {name}");
        bytes
    }

    /// Tells whether there is a file of this role.
    #[must_use]
    pub fn has(&self, role: &str) -> bool {
        self.files.contains_key(role)
    }

    /// Unpacks the file of a role into a device in memory.
    ///
    /// # Panics
    /// As [`file`](Self::file).
    #[must_use]
    pub fn device(&self, role: &str) -> MemDevice {
        MemDevice::from_bytes(&self.file(role), SectorSize::S512)
    }
}

/// Gives a SHA-256 digest in hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Unpacks a zstd file.
///
/// # Panics
/// If it cannot be read or unpacked.
#[must_use]
pub fn unpack(path: &Path) -> Vec<u8> {
    let packed = fs::File::open(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut reader = ruzstd::decoding::StreamingDecoder::new(packed)
        .unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut bytes = Vec::new();
    reader
        .read_to_end(&mut bytes)
        .unwrap_or_else(|error| panic!("{path:?}: {error}"));
    bytes
}

/// Reads hexadecimal digits.
///
/// # Panics
/// If there are other characters or an odd number of digits.
#[must_use]
pub fn unhex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "odd number of digits");
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_byte_by_byte() {
        assert_eq!(unhex("00ff7Fa0"), [0, 255, 127, 160]);
        assert_eq!(unhex(""), [0u8; 0]);
    }

    #[test]
    fn rows_of_a_manifest_become_images() {
        let row: Value = serde_json::from_str(
            r#"{"name": "a", "kind": "luks2", "options": "", "passphrase": "p", "size": 4096,
                "volume_key": "0102", "plaintext_sha256": "00", "clean": true,
                "writes": [[0, 40], [150, 16]],
                "files": {"image": "a.img", "header": "a-header.img"}}"#,
        )
        .unwrap();
        let image = image(Path::new("folder"), &row);
        assert_eq!(image.volume_key, [1, 2]);
        assert_eq!(image.integrity_key, None);
        assert_eq!(image.writes, [(0, 40), (150, 16)]);
        assert!(image.has("header") && !image.has("data"));
    }
}
