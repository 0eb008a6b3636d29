//! `integrity`: standalone dm-integrity devices, with the options of integritysetup.

use std::{
    fs::OpenOptions,
    io, iter,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, ValueEnum};
use luksmith::{
    WorkerPool, Workers,
    block::{
        BlockDevice, ByteLen, Control, Error as BlockError, FileDevice, SectorCount, SectorSize,
    },
    integrity::{
        DeviceSizes, Devices, DigestName, DiscardMarker, Error, FormatRequest, HashedDevice,
        Interleave, JournalCipher, JournalMac, Mode, OpenOptions as IntegrityOptions,
        Recalculation, random_salt, recalculate,
    },
    new_room_at, wipe_device,
};
use zeroize::Zeroizing;

use crate::{
    actions::{
        data::OnErrorArg,
        resize::{confirm_cut, cut, cut_back, file_size, holds_zeros, not_cut, not_grown},
    },
    confirm::{Unasked, confirm},
    context::{Context, print},
    devices,
    failure::{Failure, Kind},
    options::PartArgs,
    progress::{Work, watched},
    size::{human, parse_size},
};

mod data;
mod dump;

/// What to do with an integrity device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Verb {
    /// Makes a new device
    Format,
    /// Shows what the superblock says
    Dump,
    /// Checks every tag
    Check,
    /// Writes the data to FILE or standard output
    Export,
    /// Writes FILE or standard input into the device
    Import,
    /// Takes the room that the device has now, or grows and shrinks with its file (--size)
    Resize,
}

impl Verb {
    const fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Dump => "dump",
            Self::Check => "check",
            Self::Export => "export",
            Self::Import => "import",
            Self::Resize => "resize",
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct Integrity {
    /// What to do
    verb: Verb,

    /// File or block device; it holds the tags, and the data unless --data-device is given
    device: PathBuf,

    /// File of export and import; `-` or nothing is standard output or input
    file: Option<PathBuf>,

    /// Device with the data, if it is another one
    #[arg(long, value_name = "FILE")]
    data_device: Option<PathBuf>,

    /// Digest of the tags: crc32, crc32c, xxhash64, sha1, sha256, hmac-sha256 and so on
    #[arg(short = 'I', long, value_name = "NAME", default_value = "crc32c")]
    integrity: String,

    /// Bytes of a tag [default: the digest's]; what other actions than format demand
    #[arg(short = 't', long, value_name = "BYTES")]
    tag_size: Option<usize>,

    /// Bytes that have one tag [default: 512]; what other actions than format demand
    #[arg(short = 's', long, value_name = "BYTES")]
    sector_size: Option<u64>,

    /// Size of the journal in bytes
    #[arg(short = 'j', long, value_name = "SIZE", value_parser = parse_size)]
    journal_size: Option<u64>,

    /// Largest journal that is opened [default: 4G]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    limit_journal: Option<u64>,

    /// Sectors of data between two runs of tags
    #[arg(long, value_name = "SECTORS")]
    interleave_sectors: Option<u32>,

    /// Sectors of one buffer of tags
    #[arg(long, value_name = "SECTORS")]
    buffer_sectors: Option<u32>,

    /// File with the key of an HMAC
    #[arg(long, value_name = "FILE")]
    integrity_key_file: Option<PathBuf>,

    /// Bytes of that key
    #[arg(long, value_name = "BYTES", requires = "integrity_key_file")]
    integrity_key_size: Option<usize>,

    /// Writes in place, with a bitmap of what may not match
    #[arg(short = 'B', long)]
    integrity_bitmap_mode: bool,

    /// Writes in place, without a journal
    #[arg(short = 'D', long, conflicts_with = "integrity_bitmap_mode")]
    integrity_no_journal: bool,

    /// Reads without journal and without checks
    #[arg(short = 'R', long)]
    integrity_recovery_mode: bool,

    /// Makes tags for what is there, where the device says that they are due (check)
    #[arg(long)]
    integrity_recalculate: bool,

    /// Makes all tags anew for what is there (check)
    #[arg(long)]
    integrity_recalculate_reset: bool,

    /// Allows that for tags with a key: whatever is there becomes authentic
    #[arg(long)]
    integrity_legacy_recalculate: bool,

    /// Pads tags as Linux before 5.5 did
    #[arg(long)]
    integrity_legacy_padding: bool,

    /// Leaves the salt out, as old tools did; without it a superblock of theirs is refused that has
    /// no MAC although the journal has one with a key
    #[arg(long)]
    integrity_legacy_hmac: bool,

    /// Digest of the journal's MAC, as hmac-sha256
    #[arg(
        long,
        value_name = "NAME",
        requires = "journal_integrity_key_file",
        conflicts_with = "integrity_bitmap_mode"
    )]
    journal_integrity: Option<String>,

    /// File with the key of the journal's MAC
    #[arg(long, value_name = "FILE", requires = "journal_integrity")]
    journal_integrity_key_file: Option<PathBuf>,

    /// Bytes of that key
    #[arg(long, value_name = "BYTES", requires = "journal_integrity_key_file")]
    journal_integrity_key_size: Option<usize>,

    /// Cipher of the journal: ctr-aes, cbc-aes, chacha20
    #[arg(
        long,
        value_name = "NAME",
        requires = "journal_crypt_key_file",
        conflicts_with = "integrity_bitmap_mode"
    )]
    journal_crypt: Option<String>,

    /// File with the key of that cipher
    #[arg(long, value_name = "FILE", requires = "journal_crypt")]
    journal_crypt_key_file: Option<PathBuf>,

    /// Bytes of that key
    #[arg(long, value_name = "BYTES", requires = "journal_crypt_key_file")]
    journal_crypt_key_size: Option<usize>,

    /// Takes marks of discarded blocks for their tags, as Linux does on a device with discards;
    /// with an HMAC, only marks that its key made
    #[arg(long)]
    allow_discards: bool,

    /// Leaves data and tags as they are: sectors are errors until they are written
    #[arg(long)]
    no_wipe: bool,

    /// Writes zeros to what resize adds, as it does by itself unless --size adds all of it to the
    /// file: zeros get tags alone then
    #[arg(long)]
    wipe: bool,

    /// Size that resize gives the file: cut to it, or grown first
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: Option<u64>,

    /// What export does with sectors that cannot be read or do not verify [default: stop]
    #[arg(long, value_enum)]
    on_error: Option<OnErrorArg>,

    #[command(flatten)]
    part: PartArgs,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        luksmith::Error::from(error).into()
    }
}

impl Integrity {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let is_asked_for = self.refuse_what_would_be_ignored();
        let result = is_asked_for.and_then(|()| match self.verb {
            Verb::Format => self.format(context),
            Verb::Dump => self.dump(),
            Verb::Check => self.check(context),
            Verb::Export => self.export(context),
            Verb::Import => self.import(context),
            Verb::Resize => self.resize(context),
        });
        result.map_err(|failure| failure.at(&self.device))
    }

    /// Refuses options that this action would pass over, as if it had done what they say.
    fn refuse_what_would_be_ignored(&self) -> Result<(), Failure> {
        let verb = self.verb;
        let recalculates = self.integrity_recalculate || self.integrity_recalculate_reset;
        let is_format = verb == Verb::Format;
        let is_copy = matches!(verb, Verb::Export | Verb::Import);
        let takes_part = is_copy || verb == Verb::Check && !recalculates;
        let ignored = [
            ("FILE", self.file.is_some() && !is_copy),
            ("--offset", self.part.offset != 0 && !takes_part),
            ("--length", self.part.length.is_some() && !takes_part),
            (
                "--on-error",
                self.on_error.is_some() && verb != Verb::Export,
            ),
            ("--size", self.size.is_some() && verb != Verb::Resize),
            ("--wipe", self.wipe && verb != Verb::Resize),
            ("--no-wipe", self.no_wipe && !is_format),
            ("--journal-size", self.journal_size.is_some() && !is_format),
            (
                "--interleave-sectors",
                self.interleave_sectors.is_some() && !is_format,
            ),
            (
                "--integrity-legacy-recalculate",
                self.integrity_legacy_recalculate && !recalculates,
            ),
            (
                "--integrity-recalculate",
                recalculates && verb != Verb::Check,
            ),
        ];
        match ignored.iter().find(|(_, is_ignored)| *is_ignored) {
            None => Ok(()),
            Some((option, _)) if recalculates && verb == Verb::Check => Err(Failure::caller(
                format!("{option}: tags are made anew for the whole device, not for a part"),
            )),
            Some((option, _)) => Err(Failure::caller(format!(
                "{option} says nothing to `integrity {}`",
                verb.name()
            ))),
        }
    }

    fn digest(&self) -> Result<DigestName, Failure> {
        DigestName::parse(&self.integrity)
            .map_err(|error| Failure::caller(format!("--integrity {}: {error}", self.integrity)))
    }

    fn key(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let file = self.integrity_key_file.as_deref();
        file.map(|path| read_key(path, self.integrity_key_size))
            .transpose()
    }

    fn open_devices(&self, writable: bool) -> Result<Devices<Arc<FileDevice>>, Failure> {
        let open = |path: &Path| match writable {
            true => devices::writer(path).map(Arc::new),
            false => devices::reader(path).map(Arc::new),
        };
        let meta = open(&self.device)?;
        Ok(match &self.data_device {
            Some(path) => Devices::split(open(path)?, meta),
            None => Devices::interleaved(meta),
        })
    }

    fn journal_mac(&self) -> Result<Option<Arc<JournalMac>>, Failure> {
        let (Some(name), Some(path)) = (&self.journal_integrity, &self.journal_integrity_key_file)
        else {
            return Ok(None);
        };
        let digest = DigestName::parse(name)
            .map_err(|error| Failure::caller(format!("--journal-integrity {name}: {error}")))?;
        let key = read_key(path, self.journal_integrity_key_size)?;
        Ok(Some(Arc::new(JournalMac::new(digest, Some(&key))?)))
    }

    fn journal_cipher(&self) -> Result<Option<Arc<JournalCipher>>, Failure> {
        let (Some(name), Some(path)) = (&self.journal_crypt, &self.journal_crypt_key_file) else {
            return Ok(None);
        };
        let key = read_key(path, self.journal_crypt_key_size)?;
        Ok(Some(Arc::new(JournalCipher::new(name, &key)?)))
    }

    fn mode(&self) -> Mode {
        if self.integrity_recovery_mode {
            Mode::Recovery
        } else if self.integrity_bitmap_mode {
            Mode::Bitmap
        } else if self.integrity_no_journal {
            Mode::Direct
        } else {
            Mode::Journal
        }
    }

    fn sector_size(&self) -> Result<Option<SectorSize>, Failure> {
        let known = |bytes| {
            SectorSize::from_bytes(bytes).ok_or_else(|| {
                Failure::caller(format!(
                    "--sector-size {bytes}: 512, 1024, 2048 and 4096 are possible"
                ))
            })
        };
        self.sector_size.map(known).transpose()
    }

    fn open_options(&self) -> Result<IntegrityOptions, Failure> {
        let mut options = IntegrityOptions::new()
            .mode(self.mode())
            .legacy_hmac(self.integrity_legacy_hmac);
        if let Some(bytes) = self.limit_journal {
            options = options.journal_limit(ByteLen::new(bytes));
        }
        if let Some(bytes) = self.tag_size {
            options = options.expect_tag_bytes(bytes);
        }
        if let Some(block) = self.sector_size()? {
            options = options.expect_block_size(block);
        }
        if let Some(mac) = self.journal_mac()? {
            options = options.journal_mac(mac);
        }
        if let Some(cipher) = self.journal_cipher()? {
            options = options.journal_cipher(cipher);
        }
        if let Some(sectors) = self.buffer_sectors {
            options = options.buffer_sectors(sectors);
        }
        if self.allow_discards {
            options = options.discards(match self.digest()?.is_keyed() {
                true => DiscardMarker::Keyed,
                false => DiscardMarker::Filler,
            });
        }
        Ok(options)
    }

    fn open(&self, writable: bool) -> Result<HashedDevice<Arc<FileDevice>>, Failure> {
        self.open_on(self.open_devices(writable)?, writable)
    }

    fn open_on(
        &self,
        devices: Devices<Arc<FileDevice>>,
        writable: bool,
    ) -> Result<HashedDevice<Arc<FileDevice>>, Failure> {
        let options = self.open_options()?.read_only(!writable);
        let key = self.key()?;
        let key = key.as_ref().map(|key| key.as_slice());
        Ok(HashedDevice::open(devices, options, self.digest()?, key)?)
    }

    fn work<'a>(&self, name: &'a str, device: &'a str, uses_stdout: bool) -> Work<'a> {
        Work {
            name,
            device,
            uses_stdout,
        }
    }

    fn format(&self, context: &Context) -> Result<(), Failure> {
        let digest = self.digest()?;
        let key = self.key()?;
        let sector_size = self.sector_size()?.unwrap_or(SectorSize::S512);
        let tag_bytes = self.tag_size.unwrap_or_else(|| digest.digest_bytes());
        let mac = self.journal_mac()?;
        let cipher = self.journal_cipher()?;
        let mut request = FormatRequest::new(tag_bytes, sector_size)?
            .journal_mac(mac.is_some())
            .legacy_padding(self.integrity_legacy_padding);
        if !self.integrity_legacy_hmac {
            request = request.salt(Some(random_salt()?));
        }
        if let Some(bytes) = self.journal_size {
            request = request.journal_sectors(SectorCount::new(bytes / 512));
        }
        if let Some(sectors) = self.interleave_sectors {
            request = request.interleave(Interleave::Sectors(sectors));
        }
        if let Some(sectors) = self.buffer_sectors {
            request = request.buffer_sectors(sectors);
        }
        let devices = self.open_devices(true)?;
        let places = [Some(&self.device), self.data_device.as_ref()];
        let names: Vec<_> = places.into_iter().flatten().collect();
        let names: Vec<_> = names
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let warning = format!(
            "this will overwrite data on {} irrevocably",
            names.join(" and ")
        );
        self.refuse_what_is_there(&devices, context)?;
        confirm(&warning, Unasked::GoesOn, context)?;
        // A digest that does not go with its key or tag size is found before anything is written.
        let salt = None;
        let key = key.as_ref().map(|key| key.as_slice());
        luksmith::integrity::TagMaker::new(digest, key, salt, tag_bytes, sector_size)?;
        luksmith::integrity::format(&devices, &request, mac, cipher)?;
        if self.no_wipe {
            return Ok(());
        }
        // Whoever asks for a journal has said how large it may be.
        let options = self
            .open_options()?
            .mode(Mode::Direct)
            .journal_limit(ByteLen::new(u64::MAX));
        let device = HashedDevice::open(devices, options, digest, key)?;
        self.wipe(device, context)
    }

    /// A device that holds something is overwritten only if that is meant.
    fn refuse_what_is_there(
        &self,
        devices: &Devices<Arc<FileDevice>>,
        context: &Context,
    ) -> Result<(), Failure> {
        if context.batch || io::IsTerminal::is_terminal(&io::stdin()) {
            return Ok(());
        }
        let other = self.data_device.as_ref();
        let other = other.map(|path| (path, devices.data()));
        for (path, device) in iter::once((&self.device, devices.meta())).chain(other) {
            if let Some(found) = luksmith::what_is_there(device)? {
                return Err(Failure::new(
                    Kind::ALREADY_FORMATTED,
                    format!("there is {found}; give -q to overwrite it"),
                )
                .at(path));
            }
        }
        Ok(())
    }

    fn wipe(
        &self,
        device: HashedDevice<Arc<FileDevice>>,
        context: &Context,
    ) -> Result<(), Failure> {
        let name = self.device.display().to_string();
        let work = self.work("wipe", &name, false);
        let wiped = watched(context, work, |control| {
            wipe_device(&device, &Workers::all(), control)
        })?;
        wiped.map_err(|error| {
            Failure::from(error).hint("the device is formatted, but not all sectors have tags")
        })?;
        Ok(device.close()?)
    }

    fn resize(&self, context: &Context) -> Result<(), Failure> {
        let Some(size) = self.size else {
            // Nobody says what is in the room that the device has had for some time.
            return self.grow(self.open(true)?, true, context);
        };
        if self.data_device.is_some() {
            return Err(Failure::new(
                Kind::UNSUPPORTED,
                "--size is for one file with data and tags; grow --data-device with another tool \
                 and resize without it",
            ));
        }
        let file = devices::writer(&self.device)?;
        let before = file_size(&file)?;
        if size < before {
            return self.shrink(Arc::new(file), size, context);
        }
        let before = ByteLen::new(before);
        let file = Arc::new(file.resized(ByteLen::new(size))?);
        let opened = self
            .open_on(Devices::interleaved(Arc::clone(&file)), true)
            .and_then(|device| match device.capabilities().read_only {
                true => Err(BlockError::ReadOnly.into()),
                false => Ok(device),
            });
        match opened {
            Ok(device) => {
                let room = new_room_at(device.layout(), device.superblock());
                let wipe = self.wipe || !holds_zeros(room, Some(before));
                self.grow(device, wipe, context)
            }
            // Nothing uses the new end yet.
            Err(failure) => Err(cut_back(failure, file, before)),
        }
    }

    fn grow(
        &self,
        device: HashedDevice<Arc<FileDevice>>,
        wipe: bool,
        context: &Context,
    ) -> Result<(), Failure> {
        let name = self.device.display().to_string();
        let grown = watched(context, self.work("resize", &name, false), |control| {
            device.grow(wipe, control)
        })?;
        tell_size(grown.map_err(not_grown)?)
    }

    /// Makes the device smaller, then the file.
    fn shrink(&self, file: Arc<FileDevice>, size: u64, context: &Context) -> Result<(), Failure> {
        if self.wipe {
            let message = "--wipe is for what a larger device has more";
            return Err(Failure::caller(message));
        }
        let device = self.open_on(Devices::interleaved(Arc::clone(&file)), true)?;
        confirm_cut(&self.device, size, context)?;
        let shrunk = device.shrink(DeviceSizes {
            data: ByteLen::new(size).whole_sectors(),
            meta: None,
        });
        let smaller = shrunk.map_err(|error| not_cut(error.into()))?;
        cut(file, ByteLen::new(size)).map_err(|error| {
            Failure::from(error).hint("the device is smaller, its file is not: do it again")
        })?;
        tell_size(smaller)
    }

    fn recalculate(&self, context: &Context) -> Result<(), Failure> {
        let what = if self.integrity_recalculate_reset {
            Recalculation::Whole
        } else {
            Recalculation::Due
        };
        let devices = self.open_devices(true)?;
        let threads = Arc::new(WorkerPool::new(Workers::all().count()));
        let options = self.open_options()?.executor(threads);
        let key = self.key()?;
        let key = key.as_ref().map(|key| key.as_slice());
        let digest = self.digest()?;
        let bless = self.integrity_legacy_recalculate;
        let name = self.device.display().to_string();
        let done = watched(
            context,
            self.work("recalculate", &name, false),
            |control: &Arc<Control>| {
                recalculate(devices, options, digest, key, what, bless, control)
            },
        )??;
        print(&format!("{done} sectors of 512 bytes have new tags.\n"))
    }
}

fn tell_size(sectors: SectorCount) -> Result<(), Failure> {
    let bytes = sectors.get().saturating_mul(512);
    print(&format!(
        "{sectors} sectors of 512 bytes, {}.\n",
        human(bytes)
    ))
}

/// Reads a key, all of a file or its first bytes.
fn read_key(path: &Path, size: Option<usize>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    const MAX_KEY_BYTES: usize = 4096;

    let limit = size.unwrap_or(MAX_KEY_BYTES + 1);
    if limit > MAX_KEY_BYTES + 1 {
        return Err(Failure::caller(format!(
            "a key has at most {MAX_KEY_BYTES} bytes"
        )));
    }
    // Room for everything from the start: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * MAX_KEY_BYTES));
    let read = OpenOptions::new().read(true).open(path).and_then(|file| {
        io::Read::read_to_end(&mut io::Read::take(file, limit as u64), &mut bytes)
    });
    let count = read.map_err(|error| Failure::caller(format!("{}: {error}", path.display())))?;
    match size {
        Some(size) if count < size => Err(Failure::caller(format!(
            "{}: the key has {count} bytes, {size} are asked for",
            path.display()
        ))),
        None if count > MAX_KEY_BYTES => Err(Failure::caller(format!(
            "{}: a key has at most {MAX_KEY_BYTES} bytes",
            path.display()
        ))),
        _ => Ok(bytes),
    }
}
