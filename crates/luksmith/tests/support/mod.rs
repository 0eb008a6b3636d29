//! Images of the real programs as files, so that the real programs can have them back.
#![allow(
    dead_code,
    reason = "each test that includes this uses another part of it"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use luksmith::block::{BlockDevice, ByteOffset, FileOptions};
use luksmith::{
    CandidateKey, Error, NullCipher, NullCipherKeyslots, OpenOptions, Passphrase, Unlock, Volume,
    open,
};
use luksmith_testkit::{TestImage, test_images};

/// The LUKS images that can be mapped, which the one in re-encryption cannot.
pub(crate) fn luks_images() -> Vec<TestImage> {
    test_images()
        .into_iter()
        .filter(|image| image.kind.starts_with("luks") && image.name != "luks2-reencrypt")
        .collect()
}

/// An image unpacked into a folder.
pub(crate) struct OnDisk {
    pub(crate) image: TestImage,
    pub(crate) path: PathBuf,
    pub(crate) header: Option<PathBuf>,
}

impl OnDisk {
    pub(crate) fn unpack(image: TestImage, folder: &Path) -> Self {
        let place = |role: &str| {
            let path = folder.join(format!("{}-{role}", image.name));
            fs::write(&path, image.file(role)).expect("room for an image");
            path
        };
        let path = place("image");
        let header = image.has("header").then(|| place("header"));
        Self {
            image,
            path,
            header,
        }
    }

    /// Opens the file for reading and writing, by its passphrase where it has one.
    pub(crate) fn open(&self) -> Result<Volume, Error> {
        let mut options = OpenOptions::new();
        if let Some(header) = &self.header {
            options = options.detached_header(FileOptions::reader().open(header)?);
        }
        if self.image.table.contains("cipher_null") {
            options = options
                .null_cipher(NullCipher::AcceptPlaintext)
                .null_cipher_keyslots(NullCipherKeyslots::AcceptUnencryptedKeys);
        }
        let file = FileOptions::writer().open(&self.path)?;
        if self.image.passphrase.is_empty() {
            let key = CandidateKey::new(&self.image.volume_key)?;
            return open(file, Unlock::VolumeKey(&key), &options);
        }
        let passphrase = Passphrase::new(self.image.passphrase.as_bytes())?;
        open(file, Unlock::Passphrase(&passphrase), &options)
    }
}

/// Reads a whole volume.
pub(crate) fn plaintext(volume: &Volume) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(volume.size().get()).expect("a small volume")];
    volume
        .read_at(ByteOffset::ZERO, &mut bytes)
        .expect("a readable volume");
    bytes
}
