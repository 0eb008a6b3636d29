//! Images made by cryptsetup, and headers patched with a right checksum.

#![expect(
    clippy::indexing_slicing,
    reason = "a test that indexes out of bounds should stop there"
)]

use std::{fs, io::Read as _, path::PathBuf};

use luksmith_block::{BlockDevice, Control, MemDevice, SectorSize};
use luksmith_hash::{Hash, HashName};
use luksmith_header::{Budget, Header, Limits};
use luksmith_keyslot::{
    Effort, Error, Passphrase, Threads,
    change::Changer,
    unlock::{Unlock, UnlockOptions, Unlocked, unlock},
};
use luksmith_testkit::{Prng, unhex};

/// A row of the list: image, passphrase, volume key.
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) passphrase: Passphrase,
    pub(crate) key: Vec<u8>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testvectors/keyslots")
}

/// Every image of the list.
pub(crate) fn golden() -> Vec<Golden> {
    let list = fs::read_to_string(folder().join("list.txt")).expect("the list is there");
    list.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            Golden {
                name: fields[0].to_string(),
                passphrase: Passphrase::new(fields[1].as_bytes()).expect("not empty"),
                key: unhex(fields[2]),
            }
        })
        .collect()
}

/// The bytes of an image of the list.
pub(crate) fn image(name: &str) -> Vec<u8> {
    let packed = fs::read(folder().join(format!("{name}.zst"))).expect("the image is there");
    let mut reader =
        ruzstd::decoding::StreamingDecoder::new(packed.as_slice()).expect("the image is zstd");
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("the image unpacks");
    bytes
}

pub(crate) fn device(bytes: &[u8]) -> MemDevice {
    MemDevice::from_bytes(bytes, SectorSize::S512)
}

pub(crate) fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.as_bytes()).expect("not empty")
}

pub(crate) fn run<D: BlockDevice>(
    device: &D,
    with: Unlock<'_>,
    options: &UnlockOptions,
) -> Result<Unlocked, Error> {
    run_with_limits(device, with, options, Limits::default())
}

pub(crate) fn run_with_limits<D: BlockDevice>(
    device: &D,
    with: Unlock<'_>,
    options: &UnlockOptions,
    limits: Limits,
) -> Result<Unlocked, Error> {
    let header = Header::read(device, &Limits::default())?;
    let mut effort = Effort {
        budget: &mut Budget::new(limits),
        control: &Control::new(),
        threads: Threads::default(),
    };
    unlock(device, &header, with, options, &mut effort)
}

/// Runs a change by random numbers of a seed, and gives what came of it with the header in memory
/// afterwards.
pub(crate) fn with_changer<D: BlockDevice, T>(
    device: &D,
    seed: u64,
    change: impl FnOnce(&mut Changer<'_, D, Prng>) -> T,
) -> (T, Header) {
    let mut header = Header::read(device, &Limits::default()).expect("the header is good");
    let mut random = Prng::new(seed);
    let mut budget = Budget::new(Limits::default());
    let control = Control::new();
    let effort = Effort {
        budget: &mut budget,
        control: &control,
        threads: Threads::default(),
    };
    let answer = change(&mut Changer::new(device, &mut header, &mut random, effort));
    (answer, header)
}

/// Replaces text in the metadata of both copies of a LUKS2 header of 16 KiB and sets the checksums
/// right. Panics if the text is not there exactly `times` times.
pub(crate) fn patch(bytes: &mut [u8], from: &str, to: &str, times: usize) {
    const COPY: usize = 16384;
    for start in [0, COPY] {
        let copy = &mut bytes[start..start + COPY];
        let end = copy[4096..].iter().position(|&byte| byte == 0);
        let end = 4096 + end.expect("the text ends with a zero");
        let text = String::from_utf8(copy[4096..end].to_vec()).expect("the text is UTF-8");
        assert_eq!(text.matches(from).count(), times, "{from} in {text}");
        let text = text.replace(from, to);
        copy[4096..].fill(0);
        copy[4096..4096 + text.len()].copy_from_slice(text.as_bytes());
        copy[0x1c0..0x200].fill(0);
        let mut digest = [0; 32];
        Hash::digest(HashName::Sha256, &[copy], &mut digest).expect("32 bytes");
        copy[0x1c0..0x1e0].copy_from_slice(&digest);
    }
}
