//! `integrity check`, `export` and `import`: the data of a standalone device.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::Path,
};

use luksmith::{
    ExportSink, SparseFile, Stream,
    block::{BlockDevice, ByteDevice, ByteLen, ByteOffset, Error as BlockError},
};

use super::Integrity;
use crate::{
    context::{Context, print},
    failure::{Failure, Kind},
    progress::watched,
    size::human,
};

/// Bytes that are read or written at once.
const STEP: usize = 1 << 20;

impl Integrity {
    pub(super) fn check(&self, context: &Context) -> Result<(), Failure> {
        if self.integrity_recalculate || self.integrity_recalculate_reset {
            return self.recalculate(context);
        }
        let device = self.open(false)?;
        let name = self.device.display().to_string();
        let work = self.work("check", &name, false);
        let bad = watched(context, work, |control| {
            let size = device.size().get();
            control.begin(size);
            let mut bad = Bad::default();
            let mut buffer = vec![0; STEP];
            let mut at = 0;
            while at < size {
                let len = (size - at).min(STEP as u64);
                let (part, _) = buffer.split_at_mut(usize::try_from(len).unwrap_or(STEP));
                if device.read_at(ByteOffset::new(at), part).is_err() {
                    bad.look_closer(&device, at, part)?;
                }
                control.advance(len)?;
                at += len;
            }
            Ok::<Bad, BlockError>(bad)
        })??;
        device.close()?;
        for (first, last, what) in &bad.runs {
            print(&format!("sectors {first} to {last}: {what}\n"))?;
        }
        if bad.runs.is_empty() {
            return print("every tag matches\n");
        }
        let message = format!("{} bad sectors of 512 bytes", bad.sectors);
        Err(Failure::new(Kind::DAMAGED, message))
    }

    pub(super) fn export(&self, context: &Context) -> Result<(), Failure> {
        let out = self.file.as_deref().filter(|path| *path != Path::new("-"));
        if out.is_none() && io::stdout().is_terminal() {
            return Err(Failure::caller(
                "data is not written to a terminal; name a file or use a pipe",
            ));
        }
        let device = self.open(false)?;
        let mut sink: Box<dyn ExportSink> = match out {
            None => Box::new(Stream(io::stdout())),
            Some(path) => {
                let options = &mut File::options();
                let opened = options.write(true).create(true).truncate(false).open(path);
                let sink = opened.and_then(SparseFile::new);
                Box::new(sink.map_err(|error| {
                    Failure::new(Kind::DEVICE, format!("{}: {error}", path.display()))
                })?)
            }
        };
        let name = self.device.display().to_string();
        let work = self.work("export", &name, out.is_none());
        let sunk = |result: io::Result<()>| {
            result.map_err(|error| Failure::new(Kind::DEVICE, format!("writing: {error}")))
        };
        watched(context, work, |control| {
            let size = device.size().get();
            control.begin(size);
            let mut buffer = vec![0; STEP];
            let mut at = 0;
            while at < size {
                let len = (size - at).min(STEP as u64);
                let (part, _) = buffer.split_at_mut(usize::try_from(len).unwrap_or(STEP));
                device.read_at(ByteOffset::new(at), part)?;
                for block in part.chunks(4096) {
                    let zero = block.iter().all(|&byte| byte == 0);
                    sunk(if zero {
                        sink.zeros(block.len() as u64)
                    } else {
                        sink.data(block)
                    })?;
                }
                control.advance(len)?;
                at += len;
            }
            sunk(sink.finish())
        })??;
        Ok(device.close()?)
    }

    pub(super) fn import(&self, context: &Context) -> Result<(), Failure> {
        let input = self.file.as_deref().filter(|path| *path != Path::new("-"));
        let mut source: Box<dyn Read> = match input {
            None => Box::new(io::stdin()),
            Some(path) => Box::new(File::open(path).map_err(|error| {
                Failure::new(Kind::DEVICE, format!("{}: {error}", path.display()))
            })?),
        };
        let device = self.open(true)?;
        let room = device.size().get();
        let len = input.and_then(|path| std::fs::metadata(path).ok());
        if let Some(len) = len.filter(|file| file.is_file() && file.len() > room) {
            return Err(Failure::caller(format!(
                "{} do not fit a device of {}; nothing was written",
                human(len.len()),
                human(room)
            )));
        }
        let name = self.device.display().to_string();
        let bytes = ByteDevice::new(&device);
        watched(context, self.work("import", &name, false), |control| {
            let mut buffer = vec![0; STEP];
            let mut at = 0;
            loop {
                let count = read_full(&mut source, &mut buffer)
                    .map_err(|error| Failure::new(Kind::DEVICE, format!("reading: {error}")))?;
                let (part, _) = buffer.split_at(count);
                bytes.write_at(ByteOffset::new(at), part)?;
                at += ByteLen::of(part).get();
                control.advance(ByteLen::of(part).get())?;
                if count < STEP {
                    return Ok::<(), Failure>(bytes.flush()?);
                }
            }
        })??;
        Ok(device.close()?)
    }
}

/// Reads until the buffer is full or the source ends.
fn read_full(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match source.read(room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Runs of bad sectors: first, last, why. A device of nothing else lists the first ones only.
#[derive(Default)]
struct Bad {
    runs: Vec<(u64, u64, &'static str)>,
    sectors: u64,
}

/// Runs that are listed at most.
const LISTED: usize = 65536;

impl Bad {
    /// Reads a part that is bad as a whole block by block.
    fn look_closer(
        &mut self,
        device: &dyn BlockDevice,
        start: u64,
        part: &mut [u8],
    ) -> Result<(), BlockError> {
        let unit = device.sector_size().bytes();
        for (index, block) in part.chunks_mut(unit).enumerate() {
            let at = start + (index * unit) as u64;
            let what = match device.read_at(ByteOffset::new(at), block) {
                Ok(()) => continue,
                Err(error) if error.is_tampering() => "tag does not match",
                Err(BlockError::Io { .. }) => "cannot be read",
                Err(other) => return Err(other),
            };
            let first = at / 512;
            let last = first + (unit / 512) as u64 - 1;
            self.sectors += last + 1 - first;
            let listed = self.runs.len();
            match self.runs.last_mut() {
                Some((_, end, why)) if *end + 1 == first && *why == what => *end = last,
                _ if listed < LISTED => self.runs.push((first, last, what)),
                _ => {}
            }
        }
        Ok(())
    }
}
