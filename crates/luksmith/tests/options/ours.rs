//! What the library is asked to do with a set: to make it, and to take cryptsetup's.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use luksmith::block::{BlockDevice, ByteLen, ByteOffset, Control, Error, FileOptions, SectorSize};
use luksmith::header::luks2::HeaderSize;
use luksmith::header::{Budget, Header, Limits, Priority};
use luksmith::keyslot::change::{Changer, KeyslotPlan};
use luksmith::keyslot::unlock::UnlockOptions;
use luksmith::keyslot::{Effort, Kdf, SystemRandom};
use luksmith::{
    CandidateKey, FormatOptions, HeaderPlace, Init, KdfChoice, NewKeys, OpenOptions, Passphrase,
    Threads, Unlock, Volume, open, test_key,
};

use super::set::{Key, OptionSet};
use super::theirs::OUR_KEY;

/// Bytes of each pattern that is written into a volume.
pub(crate) const PART: usize = 65536;
/// What we write at byte 0.
pub(crate) const FIRST: usize = 1;
/// What the kernel writes at byte `3 * PART`.
pub(crate) const SECOND: usize = 7;

/// A pattern that shows swapped sectors.
pub(crate) fn pattern(seed: usize) -> Vec<u8> {
    (0..251).cycle().skip(seed).take(PART).collect()
}

/// The files of a volume.
#[derive(Clone, Debug)]
pub(crate) struct Files<'a> {
    pub(crate) data: &'a Path,
    pub(crate) header: Option<&'a Path>,
}

impl Files<'_> {
    fn header(&self) -> &Path {
        self.header.unwrap_or(self.data)
    }
}

/// Opens a file that another thread's new process may hold for a moment: what a fork copies, its
/// lock too, stays until the program is loaded.
fn unlocked<T>(open: impl Fn() -> Result<T, Error>) -> Result<T, String> {
    for _ in 0..500 {
        match open() {
            Err(Error::Busy) => thread::sleep(Duration::from_millis(10)),
            other => return other.map_err(text),
        }
    }
    Err("the file stays locked".into())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Makes a set and writes the first pattern into it.
pub(crate) fn format(set: &OptionSet, files: &Files<'_>) -> Result<(), String> {
    let create =
        |path: &Path, len| unlocked(|| FileOptions::writer().create(path, ByteLen::new(len)));
    let mut options = options(set)?;
    if let (Some(path), Some(len)) = (files.header, set.header_len) {
        let header = create(path, len)?;
        options = options.header(HeaderPlace::Detached(Arc::new(header)));
    }
    let file = create(files.data, set.data_len)?;
    let key = CandidateKey::new(&set.volume_key).map_err(text)?;
    let passphrase = Passphrase::new(&set.keys[0].text).map_err(text)?;
    let keys = NewKeys::passphrase(&passphrase).with_volume_key(key);
    let volume = luksmith::format(file, keys, &options).map_err(text)?;
    volume
        .write_at(ByteOffset::ZERO, &pattern(FIRST))
        .map_err(text)?;
    volume.close().map_err(text)?;
    // The header's file is locked as long as the options have it.
    drop(options);
    for key in &set.keys[1..] {
        add(set, files, key)?;
    }
    Ok(())
}

fn options(set: &OptionSet) -> Result<FormatOptions, String> {
    let mut options = match set.is_luks2() {
        true => FormatOptions::luks2(),
        false => FormatOptions::luks1(),
    };
    let key = &set.keys[0];
    options = options
        .cipher(set.cipher.name)
        .cipher_key_bytes(set.cipher.key_bytes)
        .hash(set.hash)
        .uuid(&set.uuid)
        .label(&set.label)
        .subsystem(&set.subsystem)
        .kdf(KdfChoice::Stated(key.kdf))
        .keyslot(key.keyslot)
        .init(Init::None);
    if let Some((_, name, _)) = set.cipher.integrity {
        options = options.integrity(name);
    }
    if let Some(size) = set.sector_size {
        options = options.sector_size(SectorSize::from_bytes(size).ok_or("a sector size")?);
    }
    if let Some(size) = set.header_size {
        options = options.header_size(HeaderSize::from_bytes(size).ok_or("a header size")?);
    }
    if let Some(len) = set.keyslots_len {
        options = options.keyslots_len(ByteLen::new(len));
    }
    if let Some(offset) = set.offset {
        options = options.data_offset(ByteLen::new(offset));
    }
    if let Some(alignment) = set.alignment {
        options = options.alignment(ByteLen::new(alignment));
    }
    if let Some((cipher, bytes)) = key.cipher {
        options = options.keyslot_cipher(cipher, bytes);
    }
    Ok(options)
}

fn change<T>(
    files: &Files<'_>,
    work: impl FnOnce(&mut Changer<'_, dyn BlockDevice, SystemRandom>) -> Result<T, String>,
) -> Result<T, String> {
    let file = unlocked(|| FileOptions::writer().open(files.header()))?;
    let device: &dyn BlockDevice = &file;
    let mut header = Header::read(device, &Limits::default()).map_err(text)?;
    let mut random = SystemRandom;
    let effort = Effort {
        budget: &mut Budget::new(Limits::default()),
        control: &Control::new(),
        threads: Threads::default(),
    };
    work(&mut Changer::new(device, &mut header, &mut random, effort))
}

fn add(set: &OptionSet, files: &Files<'_>, key: &Key) -> Result<(), String> {
    let first = Passphrase::new(&set.keys[0].text).map_err(text)?;
    let new = Passphrase::new(&key.text).map_err(text)?;
    let mut plan = KeyslotPlan::new(key.kdf)
        .keyslot(key.keyslot)
        .af_hash(key.hash);
    if let Some((cipher, bytes)) = key.cipher {
        plan = plan.cipher(cipher, bytes);
    }
    change(files, |changer| {
        let added = match key.unbound {
            Some(bytes) => {
                let added = changer.add_unbound(bytes, 1000, &new, &plan);
                added.map_err(text)?.0
            }
            None => {
                let unlocked = changer.unlock(Unlock::Passphrase(&first), &UnlockOptions::new());
                changer
                    .add(&unlocked.map_err(text)?, &new, &plan)
                    .map_err(text)?
            }
        };
        if added != key.keyslot {
            return Err(format!("keyslot {added}, not {}", key.keyslot));
        }
        match key.priority {
            Priority::Normal => Ok(()),
            priority => changer.set_priority(added, priority).map_err(text),
        }
    })
}

/// Opens by a passphrase, and tells which keyslot did it.
fn opens(files: &Files<'_>, key: &[u8], keyslot: Option<u32>) -> Result<Option<u32>, String> {
    let mut options = OpenOptions::new();
    if let Some(keyslot) = keyslot {
        options = options.keyslot(keyslot);
    }
    let file = unlocked(|| FileOptions::reader().open(files.header()))?;
    let passphrase = Passphrase::new(key).map_err(text)?;
    let test = test_key(file, Unlock::Passphrase(&passphrase), &options);
    test.map(|test| test.unlocked.keyslot).map_err(text)
}

/// Opens by every key, by `added` too, and by no other.
pub(crate) fn accept(
    set: &OptionSet,
    files: &Files<'_>,
    added: Option<&[u8]>,
) -> Result<(), String> {
    for key in &set.keys {
        let keyslot = Some(key.keyslot);
        let opened = opens(files, &key.text, keyslot).map_err(|e| format!("{keyslot:?}: {e}"))?;
        if opened != keyslot {
            return Err(format!("{keyslot:?} opened as {opened:?}"));
        }
        match (opens(files, &key.text, None), key.is_tried()) {
            (Ok(opened), true) if opened == keyslot => {}
            (Err(_), false) => {}
            (other, _) => return Err(format!("{keyslot:?} without its number: {other:?}")),
        }
    }
    if let Some(added) = added {
        // The lowest number that is free, as everywhere.
        let free = (0..).find(|id| set.keys.iter().all(|key| key.keyslot != *id));
        let opened = opens(files, added, None)?;
        if opened != free {
            return Err(format!("the added key is in {opened:?}, not in {free:?}"));
        }
    }
    match opens(files, b"nobody's", None) {
        Ok(keyslot) => Err(format!("a wrong key opened {keyslot:?}")),
        Err(_) => Ok(()),
    }
}

/// Adds a key to what cryptsetup made.
pub(crate) fn add_ours(set: &OptionSet, files: &Files<'_>) -> Result<(), String> {
    let first = Passphrase::new(&set.keys[0].text).map_err(text)?;
    let new = Passphrase::new(OUR_KEY).map_err(text)?;
    let plan = KeyslotPlan::new(Kdf::Pbkdf2 {
        hash: set.hash,
        iterations: 1000,
    });
    change(files, |changer| {
        let unlocked = changer.unlock(Unlock::Passphrase(&first), &UnlockOptions::new());
        changer
            .add(&unlocked.map_err(text)?, &new, &plan)
            .map_err(text)?;
        Ok(())
    })
}

/// Opens the volume itself.
fn volume(set: &OptionSet, files: &Files<'_>) -> Result<Volume, String> {
    let mut options = OpenOptions::new();
    if let Some(path) = files.header {
        options = options.detached_header(unlocked(|| FileOptions::reader().open(path))?);
    }
    let file = unlocked(|| FileOptions::writer().open(files.data))?;
    let passphrase = Passphrase::new(&set.keys[0].text).map_err(text)?;
    open(file, Unlock::Passphrase(&passphrase), &options).map_err(text)
}

/// Compares a pattern with what is in the volume.
pub(crate) fn reads(
    set: &OptionSet,
    files: &Files<'_>,
    at: usize,
    seed: usize,
) -> Result<(), String> {
    let volume = volume(set, files)?;
    let mut found = vec![0; PART];
    let at = ByteOffset::new(at as u64);
    volume.read_at(at, &mut found).map_err(text)?;
    volume.close().map_err(text)?;
    match found == pattern(seed) {
        true => Ok(()),
        false => Err(format!("byte {at} of the volume has not what was written")),
    }
}
