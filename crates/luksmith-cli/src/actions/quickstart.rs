//! `quickstart`: the main job on a temporary file, each step with what it really did.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use luksmith::{
    CandidateKey, FormatOptions, Init, KdfChoice, NewKeys, OpenOptions, Part, Passphrase, Unlock,
    Volume,
    block::{self, BlockDevice, ByteLen, ByteOffset, Control, FileDevice, FileOptions},
    keyslot::cost::Method,
};

use crate::{
    context::{Context, print},
    failure::{Failure, Kind},
    size::human,
};

/// Size of the file; most of it is a hole.
const SIZE: u64 = 64 << 20;

/// Where the text goes in the volume: the fourth sector of 4096 bytes.
const PLACE: ByteOffset = ByteOffset::new(3 * 4096);

const PASSPHRASE: &str = "correct horse battery staple";

const TEXT: &str = "This text lies encrypted and authenticated in an ordinary file.";

#[derive(Args, Debug)]
pub(crate) struct Quickstart {
    /// Works in this folder, which must exist, and leaves the volume there
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

/// The file of the demonstration, gone at its end unless it is to be kept.
struct Demo {
    path: PathBuf,
    keep: bool,
}

impl Drop for Demo {
    fn drop(&mut self) {
        if !self.keep {
            // A file in the folder for temporary files harms nobody.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Quickstart {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let folder = self.keep.clone().unwrap_or_else(std::env::temp_dir);
        let name = format!("luksmith-quickstart-{}.img", std::process::id());
        let path = folder.join(name);
        // A file of somebody else's with this name fails here, before there is anything to remove.
        let device = FileOptions::writer().create(&path, ByteLen::new(SIZE));
        let device = device.map_err(|error| Failure::from(error).at(&path))?;
        let demo = Demo {
            path,
            keep: self.keep.is_some(),
        };
        let path = demo.path.as_path();
        context.debug(|| format!("working on {}", path.display()));
        let steps = || -> Result<(), Failure> {
            format(path, device)?;
            let key = write(path)?;
            read(path)?;
            tamper(path, &key)?;
            detect(path, &key)
        };
        steps().map_err(|failure| failure.at(path))?;
        self.farewell(path)
    }

    fn farewell(&self, path: &Path) -> Result<(), Failure> {
        let file = match &self.keep {
            Some(_) => format!(
                "The volume is {} (passphrase: {PASSPHRASE}).\n",
                path.display()
            ),
            None => {
                "The file is removed again; --keep FOLDER leaves one to play with.\n".to_owned()
            }
        };
        print(&format!(
            "\nNeither root nor a kernel module was used; cryptsetup and the Linux kernel open the \
             same volume.\nNot detected this way: an older state of a sector that is put back \
             together with its older tag.\n{file}"
        ))
    }
}

fn say(number: u32, what: &str, command: &str) -> Result<(), Failure> {
    print(&format!("\n{number}. {what}\n   $ luksmith {command}\n"))
}

fn result(text: &str) -> Result<(), Failure> {
    print(&format!("   {text}\n"))
}

fn failed(error: luksmith::Error) -> Failure {
    error.into()
}

fn passphrase() -> Result<Passphrase, Failure> {
    Ok(Passphrase::new(PASSPHRASE.as_bytes())?)
}

fn format(path: &Path, device: FileDevice) -> Result<(), Failure> {
    say(
        1,
        "A new volume in a sparse file, encrypted and authenticated.",
        "luksFormat --size 64M --integrity hmac-sha256 --iter-time 500 disk.img",
    )?;
    let started = Instant::now();
    let options = FormatOptions::luks2()
        .integrity("hmac(sha256)")
        .init(Init::Tags)
        .kdf(KdfChoice::Measured(
            Method::default(),
            Duration::from_millis(500),
        ));
    let passphrase = passphrase()?;
    let volume =
        luksmith::format(device, NewKeys::passphrase(&passphrase), &options).map_err(failed)?;
    let (cipher, size) = (volume.cipher().to_owned(), volume.size().get());
    let integrity = volume.integrity().unwrap_or_default();
    volume.close().map_err(failed)?;
    result(&format!(
        "{cipher} with {integrity}, {} for data, made in {:.1} s.{}",
        human(size),
        started.elapsed().as_secs_f64(),
        allocated(path)
    ))
}

/// Says how much of the sparse file takes room on the disk, where the system tells.
fn allocated(path: &Path) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if let Ok(metadata) = fs::metadata(path) {
            let bytes = metadata.blocks().saturating_mul(512);
            return format!(
                " The file of {} takes {} on the disk.",
                human(metadata.len()),
                human(bytes)
            );
        }
    }
    let _ = path;
    String::new()
}

fn open(path: &Path, unlock: Unlock<'_>, options: &OpenOptions) -> Result<Volume, Failure> {
    let device: FileDevice = FileOptions::writer().open(path)?;
    luksmith::open(device, unlock, options).map_err(failed)
}

/// The later steps use the volume key itself: deriving it each time would only take time.
fn write(path: &Path) -> Result<CandidateKey, Failure> {
    say(
        2,
        "A text goes in.",
        "import disk.img text.txt --offset 12288",
    )?;
    let started = Instant::now();
    let passphrase = passphrase()?;
    let options = OpenOptions::new().keep_volume_key();
    let volume = open(path, Unlock::Passphrase(&passphrase), &options)?;
    let opened = started.elapsed();
    let Some(key) = volume.volume_key() else {
        return Err(Failure::caller("the volume key was not kept"));
    };
    let key = CandidateKey::new(key.expose())?;
    let bytes = volume.bytes();
    bytes.write_at(PLACE, TEXT.as_bytes())?;
    volume.close().map_err(failed)?;
    result(&format!(
        "Unlocking took {:.1} s, which is meant to be slow for whoever guesses passphrases.",
        opened.as_secs_f64()
    ))?;
    let file = fs::read(path).map_err(|error| Failure::new(Kind::DEVICE, error.to_string()))?;
    if find(&file, TEXT.as_bytes()).is_some() {
        return Err(Failure::new(
            Kind::DAMAGED,
            "the text lies readable in the file",
        ));
    }
    result("The text is written and durable; it is nowhere in the file in readable form.")?;
    Ok(key)
}

fn read(path: &Path) -> Result<(), Failure> {
    say(
        3,
        "It comes out again.",
        "export disk.img --offset 12288 --length 4096",
    )?;
    let passphrase = passphrase()?;
    let options = OpenOptions::new().read_only();
    let volume = open(path, Unlock::Passphrase(&passphrase), &options)?;
    let mut text = vec![0; TEXT.len()];
    volume.bytes().read_at(PLACE, &mut text)?;
    volume.close().map_err(failed)?;
    let text = String::from_utf8_lossy(&text);
    if text != TEXT {
        return Err(Failure::new(Kind::DAMAGED, "another text came out"));
    }
    result(&format!("\"{text}\""))
}

fn tamper(path: &Path, key: &CandidateKey) -> Result<(), Failure> {
    print("\n4. Somebody who has no key flips one bit of the text's ciphertext.\n")?;
    // Where it lies is seen from what changes in the file when the sector is written otherwise.
    let contents = || fs::read(path).map_err(|error| Failure::new(Kind::DEVICE, error.to_string()));
    let volume = open(path, Unlock::VolumeKey(key), &OpenOptions::new())?;
    let mut sector = vec![0; 4096];
    volume.read_at(PLACE, &mut sector)?;
    let other: Vec<u8> = sector.iter().map(|byte| !byte).collect();
    volume.write_at(PLACE, &other)?;
    volume.close().map_err(failed)?;
    let other = contents()?;
    let volume = open(path, Unlock::VolumeKey(key), &OpenOptions::new())?;
    volume.write_at(PLACE, &sector)?;
    volume.close().map_err(failed)?;
    // The journal and the tags come before the data: the last change is in the sector itself.
    let mut file = contents()?;
    let place = file.iter().zip(&other).rposition(|(a, b)| a != b);
    let byte = place.and_then(|place| file.get_mut(place));
    let (Some(place), Some(byte)) = (place, byte) else {
        return Err(Failure::new(
            Kind::DAMAGED,
            "writing a sector changed nothing",
        ));
    };
    let was = *byte;
    *byte ^= 1;
    let now = *byte;
    let device = FileOptions::writer().open(path)?;
    let start = place / 512 * 512;
    let piece = file
        .get(start..start.saturating_add(512))
        .unwrap_or_default();
    device.write_through(ByteOffset::new(start as u64), piece)?;
    result(&format!(
        "Byte {place} of the file was {was:#04x} and is {now:#04x} now."
    ))
}

fn detect(path: &Path, key: &CandidateKey) -> Result<(), Failure> {
    say(
        5,
        "Reading it is an error, not other data.",
        "export disk.img --offset 12288 --length 4096",
    )?;
    let volume = open(
        path,
        Unlock::VolumeKey(key),
        &OpenOptions::new().read_only(),
    )?;
    let mut sector = vec![0; 4096];
    match volume.read_at(PLACE, &mut sector) {
        Err(error @ block::Error::TagMismatch { .. }) => result(&format!("luksmith: {error}"))?,
        Err(error) => return Err(error.into()),
        Ok(()) => return Err(Failure::new(Kind::DAMAGED, "the change was not noticed")),
    }
    say(6, "All sectors are checked at once.", "verify disk.img")?;
    let started = Instant::now();
    let report = volume.verify(Part::ALL, &Control::new()).map_err(failed)?;
    volume.close().map_err(failed)?;
    for (first, count) in report.tampered.ranges() {
        let last = first.get() + count - 1;
        result(&format!("sectors {first} to {last}: tag does not match"))?;
    }
    if report.tampered.sectors() != 8 || !report.unreadable.is_empty() {
        return Err(Failure::new(
            Kind::DAMAGED,
            "other sectors than the changed one were found",
        ));
    }
    result(&format!(
        "{} verified in {:.2} s; only the changed sector of 4096 bytes is bad.",
        human(report.bytes),
        started.elapsed().as_secs_f64()
    ))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
