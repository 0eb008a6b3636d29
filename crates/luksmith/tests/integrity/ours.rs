//! The library's part: it formats, reads, replays, recalculates, works and loses power.

use std::fmt::Display;
use std::sync::Arc;

use luksmith::block::{
    BlockDevice, ByteLen, ByteOffset, Control, Error as BlockError, SectorNumber, SectorSize,
    TaggedDevice,
};
use luksmith::integrity::{
    Devices, Error as IntegrityError, Flags, HashedDevice, IntegrityDevice, Mode,
    OpenOptions as IntegrityOptions, Recalculation, Superblock, format, recalculate,
};
use luksmith::keyslot::Kdf;
use luksmith::{
    CandidateKey, FormatOptions, Init, Journal, KdfChoice, NewKeys, OpenOptions, Overwrite,
    Passphrase, Unlock, Volume, open as open_volume,
};
use luksmith_testkit::{CrashDevice, CrashOptions, Event, Fates, Image, Prng, Recording};

use super::model::{Model, View};
use super::set::{Hashed, Kind, Set};

/// The passphrase of every volume.
pub(crate) const PASSPHRASE: &str = "pass";

/// Contents of the one or two disks of a device.
#[derive(Clone, Debug)]
pub(crate) struct Images {
    pub(crate) main: Vec<u8>,
    pub(crate) data: Option<Vec<u8>>,
}

type Disk = Arc<CrashDevice>;

/// The same as devices.
struct Disks {
    main: Disk,
    data: Option<Disk>,
}

impl Disks {
    fn new(images: &Images) -> Self {
        let disk = |bytes: &Vec<u8>| Arc::new(CrashDevice::from_bytes(bytes, SectorSize::S512));
        Self {
            main: disk(&images.main),
            data: images.data.as_ref().map(disk),
        }
    }

    fn devices(&self) -> Devices<Disk> {
        match &self.data {
            Some(data) => Devices::split(Arc::clone(data), Arc::clone(&self.main)),
            None => Devices::interleaved(Arc::clone(&self.main)),
        }
    }

    fn images(&self, look: impl Fn(&CrashDevice) -> Image) -> Images {
        Images {
            main: look(&self.main).to_vec(),
            data: self.data.as_ref().map(|data| look(data).to_vec()),
        }
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// Reads the superblock of a device.
pub(crate) fn superblock(set: &Set, images: &Images) -> Result<Superblock, String> {
    let at = usize::try_from(set.start() * 512).expect("a small device");
    Superblock::parse(&images.main[at..at + 4096]).map_err(text)
}

/// Formats over `base`; a device with an internal hash gets `salt`, unless it is of the old kind.
pub(crate) fn formatted(set: &Set, base: &Images, salt: [u8; 16]) -> Result<Images, String> {
    let disks = Disks::new(base);
    match &set.kind {
        Kind::Hashed(hashed) => {
            let salt = (!hashed.legacy_hmac).then_some(salt);
            let request = set.request().salt(salt);
            format(&disks.devices(), &request, hashed.mac(), hashed.cipher()).map_err(text)?;
        }
        Kind::Volume(volume) => {
            let key = CandidateKey::new(&volume.key).map_err(text)?;
            let passphrase = Passphrase::new(PASSPHRASE.as_bytes()).map_err(text)?;
            let hash = luksmith::hash::HashName::Sha256;
            let mut options = FormatOptions::luks2()
                .cipher(volume.auth.cipher)
                .cipher_key_bytes(volume.auth.cipher_key)
                .integrity(volume.auth.kind)
                .sector_size(set.block)
                .data_offset(ByteLen::new(set.start() * 512))
                .keyslots_len(ByteLen::new(512 << 10))
                .kdf(KdfChoice::Stated(Kdf::Pbkdf2 {
                    hash,
                    iterations: 1000,
                }))
                .init(Init::None)
                .overwrite(Overwrite::Allow);
            if let Some(bytes) = volume.auth.mac_key {
                options = options.integrity_key_bytes(bytes);
            }
            if set.legacy_padding {
                options = options.legacy_padding();
            }
            if volume.no_journal {
                options = options.without_journal();
            }
            let keys = NewKeys::passphrase(&passphrase).with_volume_key(key);
            let volume = luksmith::format(Arc::clone(&disks.main), keys, &options);
            volume.and_then(Volume::close).map_err(text)?;
        }
    }
    Ok(disks.images(CrashDevice::current))
}

/// An open device.
enum Opened {
    Hashed(Box<HashedDevice<Disk>>),
    Volume(Box<Volume>),
}

impl Opened {
    fn device(&self) -> &dyn BlockDevice {
        match self {
            Self::Hashed(device) => device.as_ref(),
            Self::Volume(volume) => volume.as_ref(),
        }
    }

    fn close(self) -> Result<(), String> {
        match self {
            Self::Hashed(device) => device.close().map_err(text),
            Self::Volume(volume) => volume.close().map_err(text),
        }
    }
}

fn hashed_options(set: &Set, hashed: &Hashed, mode: Mode) -> IntegrityOptions {
    let mut options = IntegrityOptions::new()
        .mode(mode)
        .watermark(set.watermark)
        .journal_buffer(ByteLen::new(200_000))
        .sectors_per_bit(hashed.sectors_per_bit)
        .discards(hashed.discards)
        .expect_block_size(set.block)
        .expect_tag_bytes(set.tag_bytes())
        .legacy_hmac(hashed.legacy_hmac);
    if let Some(mac) = hashed.mac() {
        options = options.journal_mac(mac);
    }
    if let Some(cipher) = hashed.cipher() {
        options = options.journal_cipher(cipher);
    }
    if let Some(sectors) = hashed.buffer_sectors {
        options = options.buffer_sectors(sectors);
    }
    options
}

/// Does what a dirty bitmap or an unfinished recalculation asks for.
fn recalculated(
    set: &Set,
    hashed: &Hashed,
    disks: &Disks,
    mode: Mode,
    control: &Control,
) -> Result<(), IntegrityError> {
    let options = hashed_options(set, hashed, mode);
    let (digest, key) = (hashed.digest(), hashed.key.as_deref());
    let due = Recalculation::Due;
    recalculate(disks.devices(), options, digest, key, due, true, control).map(drop)
}

fn open(set: &Set, disks: &Disks, mode: Mode) -> Result<Opened, String> {
    match &set.kind {
        Kind::Hashed(hashed) => {
            let attempt = || {
                let options = hashed_options(set, hashed, mode);
                let (digest, key) = (hashed.digest(), hashed.key.as_deref());
                HashedDevice::open(disks.devices(), options, digest, key)
            };
            let opened = match attempt() {
                Err(IntegrityError::BitmapDirty) => {
                    recalculated(set, hashed, disks, mode, &Control::new()).map_err(text)?;
                    attempt()
                }
                opened => opened,
            };
            opened
                .map(|device| Opened::Hashed(Box::new(device)))
                .map_err(text)
        }
        Kind::Volume(volume) => {
            let key = CandidateKey::new(&volume.key).map_err(text)?;
            let journal = match mode {
                Mode::Direct => Journal::Bypass,
                _ => Journal::Use,
            };
            let options = OpenOptions::new().journal(journal);
            let unlock = Unlock::VolumeKey(&key);
            let opened = open_volume(Arc::clone(&disks.main), unlock, &options);
            opened
                .map(|volume| Opened::Volume(Box::new(volume)))
                .map_err(text)
        }
    }
}

/// Reads a device as it is, without a write. A bitmap that was left behind is worked off on a copy,
/// and so is a recalculation: with a key, what is due is an error before that.
pub(crate) fn view(set: &Set, images: &Images) -> Result<View, String> {
    let disks = Disks::new(images);
    let opened = match &set.kind {
        Kind::Hashed(hashed) => {
            let superblock = superblock(set, images)?;
            let is_due = superblock.flags().contains(Flags::DIRTY_BITMAP)
                || hashed.key.is_some() && is_unfinished(&superblock);
            let options = match is_due {
                true => {
                    recalculated(set, hashed, &disks, Mode::Direct, &Control::new())
                        .map_err(text)?;
                    hashed_options(set, hashed, Mode::Journal)
                }
                false => hashed_options(set, hashed, Mode::Journal).read_only(true),
            };
            let (digest, key) = (hashed.digest(), hashed.key.as_deref());
            let opened = HashedDevice::open(disks.devices(), options, digest, key);
            Opened::Hashed(Box::new(opened.map_err(text)?))
        }
        Kind::Volume(_) => {
            let passphrase = Passphrase::new(PASSPHRASE.as_bytes()).map_err(text)?;
            let options = OpenOptions::new().read_only();
            let unlock = Unlock::Passphrase(&passphrase);
            let opened = open_volume(Arc::clone(&disks.main), unlock, &options);
            Opened::Volume(Box::new(opened.map_err(text)?))
        }
    };
    let mut view = read(set, opened.device(), set.span())?;
    if let Opened::Hashed(device) = &opened
        && set.discards()
    {
        look_below_marks(set, device, &mut view)?;
    }
    Ok(view)
}

/// Takes down what lies below marks of discarded blocks.
fn look_below_marks(set: &Set, device: &HashedDevice<Disk>, view: &mut View) -> Result<(), String> {
    let (block, mut tag) = (set.block.bytes(), vec![0; set.tag_bytes()]);
    let mut below = vec![0; block];
    for (index, seen) in view.bytes.chunks_exact(block).enumerate() {
        let first = SectorNumber::new((index * block / 512) as u64);
        let device = device.unchecked();
        device
            .read_tagged(first, &mut below, &mut tag)
            .map_err(text)?;
        if !view.bad.contains(&index) && below != seen {
            view.below.insert(index, below.clone());
        }
    }
    Ok(())
}

/// Tells whether a recalculation was begun and is not through.
pub(crate) fn is_unfinished(superblock: &Superblock) -> bool {
    superblock.flags().contains(Flags::RECALCULATING)
        && superblock.recalc_sector().get() < superblock.provided_data_sectors().get()
}

/// Reads the first `sectors`, block by block where tags do not match.
fn read(set: &Set, device: &dyn BlockDevice, sectors: u64) -> Result<View, String> {
    let block = set.block.bytes();
    let len = usize::try_from(sectors * 512).expect("a small device");
    let mut view = View {
        bytes: vec![0; len],
        ..View::default()
    };
    let at = |byte: usize| ByteOffset::new(byte as u64);
    for (number, chunk) in view.bytes.chunks_mut(65536).enumerate() {
        let start = number * 65536;
        match device.read_at(at(start), chunk) {
            Ok(()) => continue,
            Err(BlockError::TagMismatch { .. }) => {}
            Err(error) => return Err(text(error)),
        }
        for (index, bytes) in chunk.chunks_mut(block).enumerate() {
            match device.read_at(at(start + index * block), bytes) {
                Ok(()) => {}
                Err(BlockError::TagMismatch { .. }) => {
                    bytes.fill(0);
                    view.bad.insert(start / block + index);
                }
                Err(error) => return Err(text(error)),
            }
        }
    }
    Ok(view)
}

/// Reads every block there is; one that mismatches is an error.
pub(crate) fn verify(set: &Set, images: &Images) -> Result<(), String> {
    let disks = Disks::new(images);
    let opened = open(set, &disks, Mode::Journal)?;
    let sectors = opened.device().size().get() / 512;
    let view = read(set, opened.device(), sectors)?;
    match view.bad.first() {
        None => Ok(()),
        Some(first) => Err(format!(
            "{} blocks mismatch, the first is {first}",
            view.bad.len()
        )),
    }
}

/// Applies the journal as opening in `mode` and writing would.
pub(crate) fn replayed(set: &Set, images: &Images, mode: Mode) -> Result<Images, String> {
    let disks = Disks::new(images);
    match &set.kind {
        Kind::Hashed(hashed) => {
            let options = hashed_options(set, hashed, mode);
            let (digest, key) = (hashed.digest(), hashed.key.as_deref());
            let device = HashedDevice::open(disks.devices(), options, digest, key);
            device
                .map_err(text)?
                .unchecked()
                .apply_journal()
                .map_err(text)?;
        }
        Kind::Volume(_) => {
            let options = IntegrityOptions::new()
                .mode(mode)
                .start(SectorNumber::new(set.start()));
            let device = IntegrityDevice::open(disks.devices(), options).map_err(text)?;
            device.apply_journal().map_err(text)?;
        }
    }
    Ok(disks.images(CrashDevice::current))
}

/// How far we go on with a recalculation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    TheEnd,
    Cancelled,
    /// The power goes at any request.
    Cut,
}

/// Goes on with a recalculation.
pub(crate) fn continue_recalculation(
    set: &Set,
    images: &Images,
    until: Until,
    prng: &mut Prng,
) -> Result<Images, String> {
    let hashed = set.hashed().ok_or("a volume has no recalculation")?;
    let disks = Disks::new(images);
    let control = Control::new();
    if until == Until::Cancelled {
        control.cancel();
    }
    match recalculated(set, hashed, &disks, Mode::Direct, &control) {
        Ok(()) => {}
        Err(IntegrityError::Device {
            source: BlockError::Cancelled,
        }) if until == Until::Cancelled => {}
        Err(error) => return Err(text(error)),
    }
    if until != Until::Cut {
        return Ok(disks.images(CrashDevice::current));
    }
    let recording = disks.main.recording();
    let count = recording.events().len();
    let (_, image) = crash(&recording, 1 + prng.index(count), prng)?;
    Ok(Images {
        main: image,
        data: None,
    })
}

/// Takes the power away after so many events of a record.
fn crash(
    recording: &Recording,
    after: usize,
    prng: &mut Prng,
) -> Result<(Vec<u64>, Vec<u8>), String> {
    let point = recording.points().take_while(|point| point.after <= after);
    let point = point.last().ok_or("no crash point")?;
    let options = CrashOptions {
        fates: Fates::OldOrNew,
        exhaustive_up_to: 0,
        random: 4,
        seed: prng.next_u64(),
    };
    let image = point
        .images(&options)
        .nth(prng.index(6))
        .ok_or("no crash image")?;
    Ok((recording.marks_before(after).collect(), image.to_vec()))
}

/// One step of a workload.
enum Step {
    Open(Mode),
    Write { first: usize, data: Vec<u8> },
    Discard { first: usize, count: usize },
    Flush,
    Close,
}

/// What a workload left behind.
pub(crate) struct Worked {
    pub(crate) images: Images,
    pub(crate) model: Model,
    /// The mode of the last session.
    pub(crate) mode: Mode,
    /// Whether that session was cut off, and what it was doing then.
    pub(crate) is_crashed: bool,
    pub(crate) doing: &'static str,
}

/// Writes the whole span of a fresh device.
pub(crate) fn filled(set: &Set, images: &Images, prng: &mut Prng) -> Result<Images, String> {
    let disks = Disks::new(images);
    let opened = open(set, &disks, set.any_mode(prng))?;
    let data = prng.bytes(usize::try_from(set.span() * 512).expect("a small device"));
    let write = opened.device().write_at(ByteOffset::ZERO, &data);
    write.map_err(text)?;
    opened.close()?;
    Ok(disks.images(CrashDevice::current))
}

/// Works on a device in one or more sessions, and may lose power at any request. Gives some of the
/// devices that may be left.
pub(crate) fn work(set: &Set, base: &Images, prng: &mut Prng) -> Result<Vec<Worked>, String> {
    let before = view(set, base)?;
    let disks = Disks::new(base);
    let mut steps: Vec<Step> = Vec::new();
    let sessions = 1 + prng.below(2);
    let mut last = None;
    for session in 0..sessions {
        let mode = set.any_mode(prng);
        step(&disks, &mut steps, Step::Open(mode), || Ok(()))?;
        let opened = open(set, &disks, mode)?;
        let mut todo = prng.index(24) + 4;
        if session == 0 {
            // Blocks that were lost are written first, so that no mode has to carry them along.
            for first in before.bad.iter().copied() {
                let data = prng.bytes(set.block.bytes());
                write(set, &disks, &mut steps, &opened, first, data)?;
            }
        }
        while todo > 0 {
            todo -= 1;
            if prng.chance(1, 4) {
                step(&disks, &mut steps, Step::Flush, || {
                    opened.device().flush().map_err(text)
                })?;
                continue;
            }
            let first = prng.index(set.blocks());
            let most = if prng.chance(1, 6) { 300 } else { 12 };
            let count = (prng.index(most) + 1).min(set.blocks() - first);
            if set.discards() && prng.chance(1, 4) {
                let block = set.block.bytes() as u64;
                let (at, len) = (first as u64 * block, count as u64 * block);
                step(&disks, &mut steps, Step::Discard { first, count }, || {
                    let device = opened.device();
                    let discarded = device.discard(ByteOffset::new(at), ByteLen::new(len));
                    discarded.map_err(text)
                })?;
                continue;
            }
            let data = prng.bytes(count * set.block.bytes());
            write(set, &disks, &mut steps, &opened, first, data)?;
        }
        if session + 1 == sessions {
            last = Some(opened);
        } else {
            close(&disks, &mut steps, opened)?;
        }
    }
    let opened = last.ok_or("no session")?;
    finish(set, &disks, steps, opened, before, prng)
}

fn write(
    set: &Set,
    disks: &Disks,
    steps: &mut Vec<Step>,
    opened: &Opened,
    first: usize,
    data: Vec<u8>,
) -> Result<(), String> {
    let at = ByteOffset::new((first * set.block.bytes()) as u64);
    let device = opened.device();
    let written = data.clone();
    step(disks, steps, Step::Write { first, data }, || {
        device.write_at(at, &written).map_err(text)
    })
}

/// Does a step between its two marks: `2n` when it begins, `2n + 1` when it was acknowledged.
fn step(
    disks: &Disks,
    steps: &mut Vec<Step>,
    step: Step,
    act: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let number = steps.len() as u64;
    // A flush that has not begun to be acknowledged promises nothing.
    steps.push(step);
    disks.main.mark(2 * number);
    act()?;
    disks.main.mark(2 * number + 1);
    Ok(())
}

fn close(disks: &Disks, steps: &mut Vec<Step>, opened: Opened) -> Result<(), String> {
    step(disks, steps, Step::Close, || opened.close())
}

fn finish(
    set: &Set,
    disks: &Disks,
    mut steps: Vec<Step>,
    opened: Opened,
    before: View,
    prng: &mut Prng,
) -> Result<Vec<Worked>, String> {
    let model = Model::new(set, before);
    let closes = prng.chance(1, 2);
    if closes {
        close(disks, &mut steps, opened)?;
    }
    let all: Vec<u64> = (0..2 * steps.len() as u64).collect();
    let worked = |images, marks: &[u64], is_crashed, doing| {
        let (model, mode) = expected(model.clone(), &steps, marks);
        Worked {
            images,
            model,
            mode,
            is_crashed,
            doing,
        }
    };
    if closes && prng.chance(1, 3) {
        let images = disks.images(CrashDevice::current);
        return Ok(vec![worked(images, &all, false, "nothing")]);
    }
    if disks.data.is_some() {
        // Two disks have no common record: both lose power between two steps.
        let mut other = Prng::new(prng.next_u64());
        let images = Images {
            main: disks.main.crash(prng, Fates::OldOrNew).to_vec(),
            data: disks
                .data
                .as_ref()
                .map(|data| data.crash(&mut other, Fates::OldOrNew).to_vec()),
        };
        return Ok(vec![worked(images, &all, true, "idle")]);
    }
    let recording = disks.main.recording();
    let groups = points_by_step(&recording, &steps);
    if groups.is_empty() {
        // Nothing of it came as far as the disk.
        let images = disks.images(CrashDevice::current);
        return Ok(vec![worked(images, &all, true, "idle")]);
    }
    let rare: Vec<&Points> = groups.iter().filter(|group| group.is_rare()).collect();
    let mut crashed = Vec::new();
    for _ in 0..1 + prng.below(2) {
        let group = match rare.is_empty() || prng.chance(1, 2) {
            true => &groups[prng.index(groups.len())],
            false => rare[prng.index(rare.len())],
        };
        let after = group.after[prng.index(group.after.len())];
        let (marks, main) = crash(&recording, after, prng)?;
        let images = Images { main, data: None };
        crashed.push(worked(images, &marks, true, group.doing));
    }
    Ok(crashed)
}

/// Crash points in one step.
struct Points {
    doing: &'static str,
    after: Vec<usize>,
}

impl Points {
    /// Tells whether there are few of the kind, and what they do is not like the rest.
    fn is_rare(&self) -> bool {
        matches!(self.doing, "opening" | "closing")
    }
}

/// Gives the crash points of each step that has any. The first requests behind an opening belong to
/// it: the journal is applied only then.
fn points_by_step(recording: &Recording, steps: &[Step]) -> Vec<Points> {
    let mut groups: Vec<Points> = Vec::new();
    let mut doing = "opening";
    for (index, event) in recording.events().iter().enumerate() {
        let last = groups.last_mut().filter(|group| group.doing == doing);
        match (event, last) {
            (Event::Mark(mark), _) => {
                let step = &steps[usize::try_from(mark / 2).expect("few steps")];
                let is_applied = groups.last().is_none_or(|group| !group.after.is_empty());
                match step {
                    _ if mark % 2 == 1 && !matches!(step, Step::Open(_)) => continue,
                    Step::Open(_) => doing = "opening",
                    _ if doing == "opening" && !is_applied => continue,
                    Step::Write { .. } => doing = "writing",
                    Step::Discard { .. } => doing = "discarding",
                    Step::Flush => doing = "flushing",
                    Step::Close => doing = "closing",
                }
                let after = Vec::new();
                groups.push(Points { doing, after });
            }
            (_, Some(group)) => group.after.push(index + 1),
            (_, None) => groups.push(Points {
                doing,
                after: vec![index + 1],
            }),
        }
    }
    groups.retain(|group| !group.after.is_empty());
    groups
}

/// What must hold when so many marks had been made, and the mode of the last session.
fn expected(mut model: Model, steps: &[Step], marks: &[u64]) -> (Model, Mode) {
    let mut mode = Mode::Journal;
    for mark in marks {
        let index = usize::try_from(mark / 2).expect("few steps");
        match (&steps[index], mark % 2) {
            (Step::Open(opened), 0) => mode = *opened,
            (Step::Write { first, data }, 0) => model.write(*first, data),
            (Step::Discard { first, count }, 0) => model.discard(*first, *count),
            (Step::Flush | Step::Close, 1) => model.flush(),
            _ => {}
        }
    }
    (model, mode)
}
