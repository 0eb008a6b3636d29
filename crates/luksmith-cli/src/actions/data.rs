//! `export` and `import`: plaintext out of a volume and into it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, IsTerminal, Read, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use luksmith::{
    BadRanges, ExportOptions, ExportReport, ExportSink, OnError, SparseFile, Stream,
    block::{BlockDevice, ByteLen, ByteOffset},
};

use crate::{
    context::Context,
    failure::{Failure, Kind},
    keys::KeyArgs,
    options::{DeviceArgs, LimitArgs},
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

    /// Starts at this byte of the volume, where one of its sectors begins
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "0", hide_default_value = true)]
    offset: u64,

    /// Ends after this many bytes, whole sectors of the volume
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    length: Option<u64>,

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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnErrorArg {
    /// Stop there
    Stop,
    /// Write zeros in their place, and list them at the end
    Zero,
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
        let volume = request.open(Access::Read, context, |options| options)?;
        let mut options = ExportOptions::new()
            .start(ByteOffset::new(self.offset))
            .on_error(match self.on_error {
                OnErrorArg::Stop => OnError::Stop,
                OnErrorArg::Zero => OnError::Zero,
            });
        if let Some(length) = self.length {
            options = options.len(ByteLen::new(length));
        }
        let length = ByteLen::new(self.length.unwrap_or(0));
        let path = &self.device.device;
        volume
            .check_range(ByteOffset::new(self.offset), length)
            .map_err(|error| Failure::from(luksmith::Error::from(error)).at(path))?;
        // Only now: a wrong key must not empty a file.
        let mut sink = self.sink(out)?;
        let work = Work {
            name: "export",
            device: &path.display().to_string(),
            uses_stdout: out.is_none(),
        };
        let report = watched(context, work, |control| {
            volume.export(sink.as_mut(), &options, control)
        })?;
        let report = report.map_err(|error| {
            let failure = Failure::from(error).at(path);
            match out {
                Some(out) => failure.hint(format!("{} is not complete", out.display())),
                None => failure,
            }
        })?;
        volume
            .close()
            .map_err(|error| Failure::from(error).at(path))?;
        told(&report).map_err(|failure| failure.at(path))
    }

    fn sink(&self, out: Option<&Path>) -> Result<Box<dyn ExportSink>, Failure> {
        let Some(path) = out else {
            return Ok(Box::new(Pipe(Stream(io::stdout()))));
        };
        let open = || -> io::Result<Box<dyn ExportSink>> {
            let mut options = OpenOptions::new();
            // Emptied below, once nobody else is found to use it.
            options.read(true).write(true).create(true).truncate(false);
            #[cfg(unix)]
            {
                use std::os::unix::fs::OpenOptionsExt;
                options.mode(0o600);
            }
            let file = options.open(path)?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::ResourceBusy.into()),
                Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                    return Err(error);
                }
                _ => {}
            }
            if !file.metadata()?.is_file() {
                return Ok(Box::new(Stream(file)));
            }
            if self.no_sparse {
                file.set_len(0)?;
                return Ok(Box::new(Whole(Stream(file))));
            }
            Ok(Box::new(SparseFile::new(file)?))
        };
        open().map_err(|error| {
            match error.kind() {
                // The volume's own file is locked too, by this action.
                io::ErrorKind::ResourceBusy => Failure::new(
                    Kind::BUSY,
                    "this file is in use, by this action or another program; name another one",
                ),
                _ => Failure::new(Kind::DEVICE, error.to_string()),
            }
            .at(path)
        })
    }
}

/// A file without holes, durable at the end.
struct Whole(Stream<File>);

impl ExportSink for Whole {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.data(bytes)
    }

    fn zeros(&mut self, len: u64) -> io::Result<()> {
        self.0.zeros(len)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.0.sync_all()
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

/// Lists what was replaced by zeros.
fn told(report: &ExportReport) -> Result<(), Failure> {
    if report.tampered.is_empty() && report.unreadable.is_empty() {
        return Ok(());
    }
    list("tag does not match", &report.tampered);
    list("cannot be read", &report.unreadable);
    let sectors = report.tampered.sectors() + report.unreadable.sectors();
    Err(Failure::new(
        Kind::DAMAGED,
        format!("{sectors} sectors of 512 bytes were replaced by zeros"),
    ))
}

fn list(what: &str, bad: &BadRanges) {
    for (first, count) in bad.ranges() {
        eprintln!("sectors {first} to {}: {what}", first.get() + count - 1);
    }
    if bad.unlisted() > 0 {
        eprintln!("and {} more ranges: {what}", bad.unlisted());
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
        let (mut source, len): (Box<dyn Read>, Option<u64>) = match input {
            None => (Box::new(io::stdin()), None),
            Some(path) => {
                let opened = File::open(path).and_then(|file| {
                    let metadata = file.metadata()?;
                    Ok((file, metadata.is_file().then_some(metadata.len())))
                });
                let (file, len) = opened
                    .map_err(|error| Failure::new(Kind::DEVICE, error.to_string()).at(path))?;
                (Box::new(file), len)
            }
        };
        let request = Request {
            device: &self.device,
            keys: &self.keys,
            limits: &self.limits,
            tokens: Some(&self.tokens),
        };
        let volume = request.open(Access::Write, context, |options| options)?;
        let path = &self.device.device;
        let room = volume.size().get().checked_sub(self.offset);
        if room.is_none() || len.is_some_and(|len| Some(len) > room) {
            return Err(Failure::caller(format!(
                "{} at byte {} do not fit a volume of {}; nothing was written",
                len.map_or_else(|| "data".to_owned(), human),
                self.offset,
                human(volume.size().get()),
            ))
            .at(path));
        }
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
        // In any case what was written becomes durable, so that the message below is true.
        let closed = volume.close();
        result.map_err(|error| {
            Failure::from(error).at(path).hint(format!(
                "the first {written} bytes of the data were written"
            ))
        })?;
        closed.map_err(|error| Failure::from(error).at(path))
    }
}
