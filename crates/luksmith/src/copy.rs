//! Whole plaintexts out of a volume and into it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Control, Error as BlockError, SECTOR_BYTES, SectorNumber,
};
use zeroize::Zeroizing;

use crate::{Error, Volume};

/// Bytes that are read or written at once.
const CHUNK: usize = 1 << 20;

/// Ranges that a [`BadRanges`] lists at most.
const LISTED: usize = 65536;

/// What to do with sectors that cannot be read or do not verify.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Stop with the error.
    #[default]
    Stop,
    /// Put zeros in their place and go on.
    Zero,
}

/// What of a volume is exported, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExportOptions {
    start: ByteOffset,
    len: Option<ByteLen>,
    on_error: OnError,
}

impl ExportOptions {
    /// Starts with the whole volume, stopping at the first error.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts at this byte.
    #[must_use]
    pub const fn start(mut self, start: ByteOffset) -> Self {
        self.start = start;
        self
    }

    /// Exports this many bytes; otherwise all to the end.
    #[must_use]
    pub const fn len(mut self, len: ByteLen) -> Self {
        self.len = Some(len);
        self
    }

    /// Says what to do with sectors that cannot be read or do not verify.
    #[must_use]
    pub const fn on_error(mut self, choice: OnError) -> Self {
        self.on_error = choice;
        self
    }
}

/// Runs of bad sectors, in ascending order, neighbours joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadRanges {
    ranges: Vec<(SectorNumber, u64)>,
    sectors: u64,
    unlisted: u64,
}

impl BadRanges {
    /// Gives first sector and number of 512-byte sectors of each run, the first 65536 of them.
    #[must_use]
    pub fn ranges(&self) -> &[(SectorNumber, u64)] {
        &self.ranges
    }

    /// Gives the number of 512-byte sectors in all runs.
    #[must_use]
    pub const fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Gives the number of runs that are counted but not listed.
    #[must_use]
    pub const fn unlisted(&self) -> u64 {
        self.unlisted
    }

    /// Tells whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.sectors == 0
    }

    /// Counts runs that nobody kept.
    pub(crate) fn count_unlisted(&mut self, runs: u64, sectors: u64) {
        self.unlisted += runs;
        self.sectors += sectors;
    }

    /// Adds a run that lies behind all others.
    pub(crate) fn push(&mut self, first: SectorNumber, sectors: u64) {
        self.sectors += sectors;
        if let Some((last, len)) = self.ranges.last_mut()
            && last.get() + *len == first.get()
        {
            *len += sectors;
        } else if self.ranges.len() < LISTED {
            self.ranges.push((first, sectors));
        } else {
            self.unlisted += 1;
        }
    }
}

/// What an export did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportReport {
    /// Bytes given to the sink, zeros included.
    pub bytes: u64,
    /// Bytes given to it as zeros.
    pub zero_bytes: u64,
    /// Sectors whose tags did not match.
    pub tampered: BadRanges,
    /// Sectors that the device could not read.
    pub unreadable: BadRanges,
}

/// Where an export goes, from its first byte to its last.
pub trait ExportSink {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// What the system says.
    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()>;

    /// Takes `len` zeros.
    ///
    /// # Errors
    /// What the system says.
    fn zeros(&mut self, len: u64) -> std::io::Result<()>;

    /// There is no more; makes everything durable where that means something.
    ///
    /// # Errors
    /// What the system says.
    fn finish(&mut self) -> std::io::Result<()>;
}

/// A sink that writes every byte: standard output, a pipe.
#[derive(Debug)]
pub struct Stream<W>(pub W);

impl<W: Write> ExportSink for Stream<W> {
    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes)
    }

    fn zeros(&mut self, len: u64) -> std::io::Result<()> {
        std::io::copy(&mut std::io::repeat(0).take(len), &mut self.0).map(drop)
    }

    fn finish(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// A sink that leaves holes in a file where the plaintext is zero.
///
/// The file is empty at first: what it held before would show through the holes.
#[derive(Debug)]
pub struct SparseFile {
    file: File,
    len: u64,
}

impl SparseFile {
    /// Empties `file` and writes to it.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(file: File) -> std::io::Result<Self> {
        file.set_len(0)?;
        let mut sink = Self { file, len: 0 };
        sink.file.seek(SeekFrom::Start(0))?;
        Ok(sink)
    }
}

impl ExportSink for SparseFile {
    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.len += ByteLen::of(bytes).get();
        Ok(())
    }

    fn zeros(&mut self, len: u64) -> std::io::Result<()> {
        self.len += len;
        self.file.seek(SeekFrom::Start(self.len)).map(drop)
    }

    fn finish(&mut self) -> std::io::Result<()> {
        self.file.set_len(self.len)?;
        self.file.sync_all()
    }
}

impl Volume {
    /// Writes plaintext to `sink`; zeros are told apart, in runs of the volume's sectors.
    ///
    /// `control` sees bytes done and to do.
    ///
    /// # Errors
    /// [`Error::Device`] for what cannot be read or does not verify, unless
    /// [`OnError::Zero`] is chosen; [`Error::Stream`] from the sink; a range that does not start
    /// and end between sectors.
    pub fn export(
        &self,
        sink: &mut dyn ExportSink,
        options: &ExportOptions,
        control: &Control,
    ) -> Result<ExportReport, Error> {
        let start = options.start.get();
        let left = self.size().get().saturating_sub(start);
        let len = options.len.map_or(left, ByteLen::get);
        self.check_range(options.start, ByteLen::new(len))?;
        control.begin(len);
        let mut report = ExportReport::default();
        let mut buffer = Zeroizing::new(vec![0; CHUNK]);
        let mut at = start;
        let end = start + len;
        while at < end {
            let count = ByteLen::new(end - at)
                .to_usize()
                .map_or(CHUNK, |n| n.min(CHUNK));
            let (chunk, _) = buffer.split_at_mut(count);
            match self.read_at(ByteOffset::new(at), chunk) {
                Ok(()) => {}
                Err(error) if options.on_error == OnError::Stop || is_callers(&error) => {
                    return Err(error.into());
                }
                Err(_) => self.read_what_can_be_read(at, chunk, &mut report),
            }
            self.emit(sink, chunk, &mut report)
                .map_err(|source| Error::Stream {
                    what: "writing the plaintext",
                    source,
                })?;
            at += ByteLen::of(chunk).get();
            control.advance(ByteLen::of(chunk).get())?;
        }
        sink.finish().map_err(|source| Error::Stream {
            what: "finishing the plaintext",
            source,
        })?;
        Ok(report)
    }

    /// Writes `source`, to its end, into the volume from byte `start` on, and flushes.
    ///
    /// A source that ends between sectors keeps the rest of the last sector as it was. `control`
    /// sees bytes done.
    ///
    /// # Errors
    /// [`Error::Stream`] from the source; [`Error::Device`], also if the source has more bytes than
    /// there is room for: what fits is written then.
    pub fn import(
        &self,
        source: &mut dyn Read,
        start: ByteOffset,
        control: &Control,
    ) -> Result<u64, Error> {
        let bytes = self.bytes();
        let mut buffer = Zeroizing::new(vec![0; CHUNK]);
        let mut done = 0;
        control.begin(0);
        loop {
            let count = read_full(source, &mut buffer).map_err(|source| Error::Stream {
                what: "reading the plaintext",
                source,
            })?;
            let (chunk, _) = buffer.split_at(count);
            let past_end = || BlockError::PastEnd {
                at: start,
                len: ByteLen::new(u64::MAX),
                size: self.size(),
            };
            let at = start.get().checked_add(done).ok_or_else(past_end)?;
            bytes.write_at(ByteOffset::new(at), chunk)?;
            done += ByteLen::of(chunk).get();
            control.advance(ByteLen::of(chunk).get())?;
            if count < CHUNK {
                break;
            }
        }
        self.flush()?;
        Ok(done)
    }

    /// Reads a chunk sector by sector, with zeros for those that fail.
    fn read_what_can_be_read(&self, at: u64, chunk: &mut [u8], report: &mut ExportReport) {
        let size = self.sector_size();
        for (index, sector) in chunk.chunks_exact_mut(size.bytes()).enumerate() {
            let at = at + (index * size.bytes()) as u64;
            let Err(error) = self.read_at(ByteOffset::new(at), sector) else {
                continue;
            };
            sector.fill(0);
            let bad = if error.is_tampering() {
                &mut report.tampered
            } else {
                &mut report.unreadable
            };
            bad.push(SectorNumber::new(at / SECTOR_BYTES), size.sectors().get());
        }
    }

    /// Hands a chunk to the sink, zero sectors as zeros, neighbours of one kind together.
    fn emit(
        &self,
        sink: &mut dyn ExportSink,
        chunk: &[u8],
        report: &mut ExportReport,
    ) -> std::io::Result<()> {
        let sector = self.sector_size().bytes();
        let same_kind = |a: &&[u8], b: &&[u8]| is_zero(a) == is_zero(b);
        let sectors: Vec<&[u8]> = chunk.chunks(sector).collect();
        let mut rest = chunk;
        for run in sectors.chunk_by(same_kind) {
            let (bytes, after) = rest.split_at(run.iter().map(|sector| sector.len()).sum());
            rest = after;
            let len = ByteLen::of(bytes).get();
            report.bytes += len;
            if run.first().is_some_and(|sector| is_zero(sector)) {
                report.zero_bytes += len;
                sink.zeros(len)?;
            } else {
                sink.data(bytes)?;
            }
        }
        Ok(())
    }
}

/// Tells whether an error is about the request, so that trying its sectors one by one cannot help.
fn is_callers(error: &BlockError) -> bool {
    matches!(
        error,
        BlockError::PastEnd { .. } | BlockError::Misaligned { .. } | BlockError::Cancelled
    )
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |all, byte| all | byte) == 0
}

/// Reads until the buffer is full or the source ends.
pub(crate) fn read_full(source: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match source.read(room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
