//! Whole plaintexts out of a volume and into it.

mod sink;

use std::io::Read;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Control, Error as BlockError, Operation, SECTOR_BYTES,
    SectorNumber,
};
use zeroize::Zeroizing;

use crate::{Error, Volume};
pub use sink::{ExportSink, PositionSink, SparseFile, Stream};

/// Bytes that are read or written at once.
const CHUNK: usize = 1 << 20;

/// Bytes that one thread of an export takes at once: read, decrypted and written while they are in
/// the second-level cache.
const SHARE: usize = 256 << 10;

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
        let by_position = match options.on_error {
            OnError::Stop => sink.by_position(len).map_err(writing)?,
            OnError::Zero => None,
        };
        if let Some(target) = by_position {
            let range = start..start + len;
            match self.export_by_position(target, range, control) {
                Ok(zeros) => (report.bytes, report.zero_bytes) = (len, zeros),
                Err((whole, error)) => {
                    // The error of the volume is the one to tell of.
                    let _ = sink.cut(whole);
                    return Err(error);
                }
            }
        } else {
            self.export_in_order(sink, start..start + len, options, control, &mut report)?;
        }
        sink.finish().map_err(|source| Error::Stream {
            what: "finishing the plaintext",
            source,
        })?;
        Ok(report)
    }

    fn export_in_order(
        &self,
        sink: &mut dyn ExportSink,
        range: Range<u64>,
        options: &ExportOptions,
        control: &Control,
        report: &mut ExportReport,
    ) -> Result<(), Error> {
        let mut buffer = Zeroizing::new(vec![0; CHUNK]);
        let mut at = range.start;
        while at < range.end {
            let count = ByteLen::new(range.end - at)
                .to_usize()
                .map_or(CHUNK, |n| n.min(CHUNK));
            let (chunk, _) = buffer.split_at_mut(count);
            match self.read_at(ByteOffset::new(at), chunk) {
                Ok(()) => {}
                Err(error) if options.on_error == OnError::Stop || is_callers(&error) => {
                    return Err(error.into());
                }
                Err(_) => self.read_what_can_be_read(at, chunk, report),
            }
            for (zero, run) in runs(chunk, self.sector_size().bytes()) {
                let len = ByteLen::of(run).get();
                report.bytes += len;
                if zero {
                    report.zero_bytes += len;
                    sink.zeros(len).map_err(writing)?;
                } else {
                    sink.data(run).map_err(writing)?;
                }
            }
            at += ByteLen::of(chunk).get();
            control.advance(ByteLen::of(chunk).get())?;
        }
        Ok(())
    }

    /// Has every worker of the volume read, decrypt and write shares of the range, and gives the
    /// number of bytes that were zero. Of several errors the one at the lowest position is given,
    /// with the number of bytes that are in place before it.
    fn export_by_position(
        &self,
        target: &dyn PositionSink,
        range: Range<u64>,
        control: &Control,
    ) -> Result<u64, (u64, Error)> {
        let next = AtomicU64::new(range.start);
        let zeros = AtomicU64::new(0);
        let failed: Mutex<Option<(u64, Error)>> = Mutex::new(None);
        let (over, panicked) = (AtomicBool::new(false), AtomicBool::new(false));
        let job = || {
            let mut buffer = Zeroizing::new(vec![0; SHARE]);
            let guard = NoteIfDropped([&over, &panicked]);
            while !over.load(Ordering::Acquire) {
                let at = next.fetch_add(SHARE as u64, Ordering::Relaxed);
                if at >= range.end {
                    break;
                }
                let count = ByteLen::new(range.end - at)
                    .to_usize()
                    .map_or(SHARE, |n| n.min(SHARE));
                let (share, _) = buffer.split_at_mut(count);
                let done = self.export_share(target, at, at - range.start, share);
                let done = done.and_then(|zeros| {
                    control.advance(ByteLen::of(share).get())?;
                    Ok(zeros)
                });
                match done {
                    Ok(count) => {
                        zeros.fetch_add(count, Ordering::Relaxed);
                    }
                    Err(error) => {
                        over.store(true, Ordering::Release);
                        // Each holder only replaces the value.
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        if failed.as_ref().is_none_or(|(lowest, _)| at < *lowest) {
                            *failed = Some((at, error));
                        }
                    }
                }
            }
            std::mem::forget(guard);
        };
        self.workers().run(&job);
        if panicked.into_inner() {
            // Reached only if an executor kept a panic to itself; nobody knows where it was.
            let operation = Operation::Read;
            return Err((0, BlockError::FailStop { operation }.into()));
        }
        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        match failed {
            Some((at, error)) => Err((at - range.start, error)),
            None => Ok(zeros.into_inner()),
        }
    }

    /// Reads one share at `at` and puts it to position `to`; gives the number of zero bytes.
    fn export_share(
        &self,
        target: &dyn PositionSink,
        at: u64,
        to: u64,
        share: &mut [u8],
    ) -> Result<u64, Error> {
        self.read_whole(ByteOffset::new(at), share)?;
        let (mut to, mut zeros) = (to, 0);
        for (zero, run) in runs(share, self.sector_size().bytes()) {
            let len = ByteLen::of(run).get();
            if zero {
                zeros += len;
                target.zeros_at(to, len).map_err(writing)?;
            } else {
                target.data_at(to, run).map_err(writing)?;
            }
            to += len;
        }
        Ok(zeros)
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
}

/// Sets flags when it is dropped: by a panic, else it is forgotten.
struct NoteIfDropped<'a>([&'a AtomicBool; 2]);

impl Drop for NoteIfDropped<'_> {
    fn drop(&mut self) {
        for flag in self.0 {
            flag.store(true, Ordering::Release);
        }
    }
}

fn writing(source: std::io::Error) -> Error {
    Error::Stream {
        what: "writing the plaintext",
        source,
    }
}

/// Cuts a chunk where sectors that are zero meet others; the flag says which a run is.
fn runs(chunk: &[u8], sector_bytes: usize) -> impl Iterator<Item = (bool, &[u8])> {
    let mut rest = chunk;
    core::iter::from_fn(move || {
        let mut sectors = rest.chunks(sector_bytes);
        let first = sectors.next()?;
        let zero = is_zero(first);
        let more = sectors.take_while(|sector| is_zero(sector) == zero);
        let len = first.len() + more.map(<[u8]>::len).sum::<usize>();
        let (run, after) = rest.split_at(len);
        rest = after;
        Some((zero, run))
    })
}

/// Tells whether an error is about the request, so that trying its sectors one by one cannot help.
fn is_callers(error: &BlockError) -> bool {
    matches!(
        error,
        BlockError::PastEnd { .. } | BlockError::Misaligned { .. } | BlockError::Cancelled
    )
}

fn is_zero(bytes: &[u8]) -> bool {
    // Few sectors begin with this many zeros and are not zero.
    let mut pieces = bytes.chunks(256);
    pieces.all(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0)
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
