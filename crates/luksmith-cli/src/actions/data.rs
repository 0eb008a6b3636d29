//! `export` and `import`: plaintext out of a volume and into it.

use std::{
    fs::{self, File, FileType, OpenOptions, TryLockError},
    io::{self, IsTerminal, Read, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use luksmith::{
    ExportOptions, ExportSink, Found, OnError, SparseFile, Stream,
    block::{BlockDevice, ByteOffset, FileDevice, FileOptions},
    header::SignatureKind,
};

use crate::{
    confirm::{Unasked, confirm},
    context::Context,
    damage, devices,
    failure::{Failure, Kind},
    keys::KeyArgs,
    options::{DeviceArgs, LimitArgs, PartArgs, RecoveryArgs},
    progress::{Work, watched},
    size::{human, parse_size},
    unlocking::{Access, Request, TokenArgs},
};

#[derive(Args, Debug)]
pub(crate) struct Export {
    #[command(flatten)]
    device: DeviceArgs,

    /// File to write; standard output without it or with `-`
    out: Option<PathBuf>,

    #[command(flatten)]
    part: PartArgs,
    #[command(flatten)]
    recovery: RecoveryArgs,

    /// Writes zeros instead of leaving holes
    #[arg(long)]
    no_sparse: bool,

    /// What to do with sectors that cannot be read or do not verify
    #[arg(long, value_enum, default_value = "stop")]
    on_error: OnErrorArg,

    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    tokens: TokenArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// What an export does with sectors that cannot be read or do not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OnErrorArg {
    /// Stop there
    Stop,
    /// Write zeros in their place, and list them at the end
    Zero,
}

impl OnErrorArg {
    pub(super) const fn choice(self) -> OnError {
        match self {
            Self::Stop => OnError::Stop,
            Self::Zero => OnError::Zero,
        }
    }
}

impl Export {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let out = self.out.as_deref().filter(|path| *path != Path::new("-"));
        if out.is_none() && io::stdout().is_terminal() {
            return Err(Failure::caller(
                "plaintext is not written to a terminal; name a file or use a pipe",
            ));
        }
        let request = Request {
            device: &self.device,
            keys: &self.keys,
            limits: &self.limits,
            tokens: Some(&self.tokens),
        };
        let volume = request.open(Access::Read, context, |options| {
            self.recovery.apply(options)
        })?;
        let options = ExportOptions::new()
            .part(self.part.part())
            .on_error(self.on_error.choice());
        let path = &self.device.device;
        let inside = self.part.check(&volume);
        inside.map_err(|failure| failure.at(path))?;
        // Only now: a wrong key must not empty a file.
        let mut sink = sink(out, self.no_sparse, context)?;
        let work = Work {
            name: "export",
            device: &path.display().to_string(),
            uses_stdout: out.is_none(),
        };
        let report = watched(context, work, |control| {
            volume.export(sink.as_mut(), &options, control)
        })?;
        let report = report.map_err(|error| not_complete(error, out).at(path))?;
        volume
            .close()
            .map_err(|error| Failure::from(error).at(path))?;
        damage::replaced(&report).map_err(|failure| failure.at(path))
    }
}

/// Tells why an export failed, and what it left behind.
pub(super) fn not_complete(error: luksmith::Error, out: Option<&Path>) -> Failure {
    let failure = Failure::from(error);
    match out {
        Some(out) => failure.hint(format!("{} is not complete", out.display())),
        None => failure,
    }
}

/// Opens what an export writes to: a file, or standard output for `None`. What is there already is
/// overwritten only if that is meant.
pub(super) fn sink(
    out: Option<&Path>,
    no_sparse: bool,
    context: &Context,
) -> Result<Box<dyn ExportSink>, Failure> {
    let Some(path) = out else {
        return Ok(Box::new(Pipe(Stream(io::stdout()))));
    };
    let failed = |error: &io::Error| match error.kind() {
        // The volume's own file is locked too, by this action.
        io::ErrorKind::ResourceBusy => Failure::new(
            Kind::BUSY,
            "this file is in use, by this action or another program; name another one",
        )
        .at(path),
        _ => Failure::new(Kind::DEVICE, error.to_string()).at(path),
    };
    if fs::metadata(path).is_ok_and(|metadata| is_block_device(metadata.file_type())) {
        // Held until the end: nobody mounts it meanwhile.
        let claim = devices::writer(path)?;
        confirm_loss(path, &claim, context)?;
        let file = OpenOptions::new().write(true).open(path);
        return Ok(Box::new(Whole {
            stream: Stream(file.map_err(|error| failed(&error))?),
            _claim: Some(claim),
        }));
    }
    let file = locked(path).map_err(|error| failed(&error))?;
    let kind = file.metadata().map_err(|error| failed(&error))?.file_type();
    if !kind.is_file() {
        return Ok(Box::new(Stream(file)));
    }
    let old = FileOptions::reader().without_lock().open(path);
    let old = old.map_err(|error| Failure::from(error).at(path))?;
    confirm_loss(path, &old, context)?;
    if no_sparse {
        file.set_len(0).map_err(|error| failed(&error))?;
        return Ok(Box::new(Whole {
            stream: Stream(file),
            _claim: None,
        }));
    }
    let file = SparseFile::new(file).map_err(|error| failed(&error))?;
    Ok(Box::new(file))
}

/// Opens a file that nobody else uses, or makes it. What it holds is still there.
fn locked(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let file = options.open(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
        Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => Err(error),
        _ => Ok(file),
    }
}

#[cfg(unix)]
fn is_block_device(kind: FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_block_device(&kind)
}

#[cfg(not(unix))]
const fn is_block_device(_: FileType) -> bool {
    false
}

/// Asks before a volume, or a block device that has a mark, is overwritten.
fn confirm_loss(path: &Path, old: &FileDevice, context: &Context) -> Result<(), Failure> {
    let found = luksmith::what_is_there(old);
    let found = found.map_err(|error| Failure::from(error).at(path))?;
    // A plain file with a file system in it is most often an earlier export, and the same goes for
    // the other things that volumes hold; a volume never is, LUKS or not.
    let is_replaceable = |found: &Found| {
        use SignatureKind::{FileSystem, PartitionTable, Swap};
        matches!(found.kind(), FileSystem | PartitionTable | Swap)
    };
    let found = found.filter(|found| old.is_block_device() || !is_replaceable(found));
    let Some(found) = found else {
        return Ok(());
    };
    let path = path.display();
    let warning = format!("{path} holds {found}, which this overwrites irrevocably");
    confirm(&warning, Unasked::Refused, context)
}

/// A file without holes, or a block device; durable at the end.
struct Whole {
    stream: Stream<File>,
    _claim: Option<FileDevice>,
}

impl ExportSink for Whole {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.data(bytes)
    }

    fn zeros(&mut self, len: u64) -> io::Result<()> {
        self.stream.zeros(len)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.stream.0.sync_all()
    }
}

/// Standard output. Its line buffer is of no use for data.
struct Pipe(Stream<io::Stdout>);

impl ExportSink for Pipe {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.data(bytes)
    }

    fn zeros(&mut self, len: u64) -> io::Result<()> {
        self.0.zeros(len)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.0.flush()
    }
}

#[derive(Args, Debug)]
pub(crate) struct Import {
    #[command(flatten)]
    device: DeviceArgs,

    /// File to read; standard input without it or with `-`
    input: Option<PathBuf>,

    /// Starts at this byte of the volume
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "0", hide_default_value = true)]
    offset: u64,

    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    tokens: TokenArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl Import {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let input = self.input.as_deref().filter(|path| *path != Path::new("-"));
        if input.is_none() && self.keys.uses_standard_input() {
            return Err(Failure::caller(
                "standard input cannot give both the key and the data; use --key-file or name the \
                 file to import",
            ));
        }
        let (mut source, len) = source(input)?;
        let request = Request {
            device: &self.device,
            keys: &self.keys,
            limits: &self.limits,
            tokens: Some(&self.tokens),
        };
        let volume = request.open(Access::Write, context, |options| options)?;
        let path = &self.device.device;
        let fits = check_fits(&volume, self.offset, len);
        fits.map_err(|failure| failure.at(path))?;
        let work = Work {
            name: "import",
            device: &path.display().to_string(),
            uses_stdout: false,
        };
        let at = ByteOffset::new(self.offset);
        let done = watched(context, work, |control| {
            let result = volume.import(&mut source, at, control);
            (result, control.progress().done)
        })?;
        let (result, written) = done;
        // In any case what was written is made durable, so that the message is true.
        let closed = volume.close();
        imported(result, closed, written).map_err(|failure| failure.at(path))
    }
}

/// Tells how an import ended, and of one that failed how much of the data it wrote.
pub(super) fn imported(
    result: Result<u64, luksmith::Error>,
    closed: Result<(), impl Into<luksmith::Error>>,
    written: u64,
) -> Result<(), Failure> {
    let Err(error) = result else {
        return Ok(closed.map_err(Into::into)?);
    };
    Err(Failure::from(error).hint(match closed {
        Ok(()) => format!("the first {written} bytes of the data were written"),
        Err(_) => "how much of the data was written is not known".to_owned(),
    }))
}

/// Opens what is imported, a file or standard input for `None`; gives its length, if it has one.
pub(super) fn source(input: Option<&Path>) -> Result<(Box<dyn Read>, Option<u64>), Failure> {
    let Some(path) = input else {
        return Ok((Box::new(io::stdin()), None));
    };
    let opened = File::open(path).and_then(|file| {
        let metadata = file.metadata()?;
        Ok((file, metadata.is_file().then_some(metadata.len())))
    });
    let (file, len) =
        opened.map_err(|error| Failure::new(Kind::DEVICE, error.to_string()).at(path))?;
    Ok((Box::new(file), len))
}

/// Refuses data that do not fit from byte `offset` on, before anything is written.
pub(super) fn check_fits(
    device: &dyn BlockDevice,
    offset: u64,
    len: Option<u64>,
) -> Result<(), Failure> {
    let size = device.size().get();
    let room = size.checked_sub(offset);
    if room.is_some() && len.is_none_or(|len| Some(len) <= room) {
        return Ok(());
    }
    Err(Failure::caller(format!(
        "{} at byte {offset} do not fit a volume of {}; nothing was written",
        len.map_or_else(|| "data".to_owned(), human),
        human(size),
    )))
}
