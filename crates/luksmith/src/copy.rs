//! Whole plaintexts out of a volume and into it.

mod sink;

use std::io::Read;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use luksmith_block::{
    BlockDevice, ByteDevice, ByteLen, ByteOffset, Control, Error as BlockError, Operation,
    SECTOR_BYTES, SectorNumber,
};
use zeroize::Zeroizing;

use crate::workers::Stopped;
use crate::{Error, Part, Volume, Workers};
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
    part: Part,
    on_error: OnError,
}

impl ExportOptions {
    /// Starts with the whole volume, stopping at the first error.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Exports a part; otherwise everything.
    #[must_use]
    pub const fn part(mut self, part: Part) -> Self {
        self.part = part;
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
    /// As [`export_device`].
    pub fn export(
        &self,
        sink: &mut dyn ExportSink,
        options: &ExportOptions,
        control: &Control,
    ) -> Result<ExportReport, Error> {
        let source = Source {
            device: self,
            share: &|at, share| self.read_whole(at, share),
        };
        source.export(sink, options, self.workers(), control)
    }

    /// Writes `source`, to its end, into the volume from byte `start` on, and flushes.
    ///
    /// A source that ends between sectors keeps the rest of the last sector as it was. `control`
    /// sees bytes done.
    ///
    /// # Errors
    /// As [`import_device`].
    pub fn import(
        &self,
        source: &mut dyn Read,
        start: ByteOffset,
        control: &Control,
    ) -> Result<u64, Error> {
        import(&self.bytes(), source, start, control)
    }
}

/// Writes what a device holds to `sink`, as [`Volume::export`] does: for devices that are no
/// volumes, as a dm-integrity device on its own
/// ([`HashedDevice`](luksmith_integrity::HashedDevice)).
///
/// # Errors
/// [`Error::Device`] for what cannot be read or does not verify, unless
/// [`OnError::Zero`] is chosen; [`Error::Stream`] from the sink; a range that does not start
/// and end between sectors.
pub fn export_device(
    device: &dyn BlockDevice,
    sink: &mut dyn ExportSink,
    options: &ExportOptions,
    workers: &Workers,
    control: &Control,
) -> Result<ExportReport, Error> {
    let source = Source {
        device,
        share: &|at, share| device.read_at(at, share),
    };
    source.export(sink, options, workers, control)
}

/// Writes `source`, to its end, into a device, as [`Volume::import`] does.
///
/// # Errors
/// [`Error::Stream`] from the source; [`Error::Device`], also if the source has more bytes than
/// there is room for: what fits is written then.
pub fn import_device(
    device: &dyn BlockDevice,
    source: &mut dyn Read,
    start: ByteOffset,
    control: &Control,
) -> Result<u64, Error> {
    import(&ByteDevice::new(device), source, start, control)
}

type ReadShare<'a> = dyn Fn(ByteOffset, &mut [u8]) -> Result<(), BlockError> + Sync + 'a;

/// Where an export comes from.
struct Source<'a> {
    device: &'a dyn BlockDevice,
    /// Reads a share on the thread that asks.
    share: &'a ReadShare<'a>,
}

impl Source<'_> {
    fn export(
        &self,
        sink: &mut dyn ExportSink,
        options: &ExportOptions,
        workers: &Workers,
        control: &Control,
    ) -> Result<ExportReport, Error> {
        let range = options.part.of(self.device)?;
        let len = range.end - range.start;
        control.begin(len);
        let mut report = ExportReport::default();
        let by_position = match options.on_error {
            OnError::Stop => sink.by_position(len).map_err(writing)?,
            OnError::Zero => None,
        };
        if let Some(target) = by_position {
            match self.export_by_position(target, range.clone(), workers, control) {
                Ok(zeros) => (report.bytes, report.zero_bytes) = (len, zeros),
                Err(stopped) => {
                    // The error of the volume is the one to tell of.
                    let _ = sink.cut(stopped.at - range.start);
                    return Err(stopped.cause);
                }
            }
        } else {
            self.export_in_order(sink, range, options, control, &mut report)?;
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
            match self.device.read_at(ByteOffset::new(at), chunk) {
                Ok(()) => {}
                Err(error) if options.on_error == OnError::Stop => return Err(error.into()),
                Err(_) => self.read_what_can_be_read(at, chunk, report)?,
            }
            for (zero, run) in runs(chunk, self.device.sector_size().bytes()) {
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

    /// Has every worker read, decrypt and write shares of the range, and gives the number of bytes
    /// that were zero.
    fn export_by_position(
        &self,
        target: &dyn PositionSink,
        range: Range<u64>,
        workers: &Workers,
        control: &Control,
    ) -> Result<u64, Stopped> {
        let zeros = AtomicU64::new(0);
        let start = range.start;
        let buffer = || Zeroizing::new(vec![0; SHARE]);
        let work = |buffer: &mut Zeroizing<Vec<u8>>, range: Range<u64>| {
            let count = ByteLen::new(range.end - range.start).to_usize();
            let (share, _) = buffer.split_at_mut(count.unwrap_or(SHARE));
            let found = self.export_share(target, range.start, range.start - start, share)?;
            control.advance(ByteLen::of(share).get())?;
            zeros.fetch_add(found, Ordering::Relaxed);
            Ok(())
        };
        workers
            .share_out(range, SHARE as u64, Operation::Read, buffer, work)
            .map(|()| zeros.into_inner())
    }

    /// Reads one share at `at` and puts it to position `to`; gives the number of zero bytes.
    fn export_share(
        &self,
        target: &dyn PositionSink,
        at: u64,
        to: u64,
        share: &mut [u8],
    ) -> Result<u64, Error> {
        (self.share)(ByteOffset::new(at), share)?;
        let (mut to, mut zeros) = (to, 0);
        for (zero, run) in runs(share, self.device.sector_size().bytes()) {
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

    /// Reads a chunk sector by sector, with zeros for those that fail.
    fn read_what_can_be_read(
        &self,
        at: u64,
        chunk: &mut [u8],
        report: &mut ExportReport,
    ) -> Result<(), Error> {
        let size = self.device.sector_size();
        for (index, sector) in chunk.chunks_exact_mut(size.bytes()).enumerate() {
            let at = at + (index * size.bytes()) as u64;
            let Some(damage) = Damage::of(self.device.read_at(ByteOffset::new(at), sector))? else {
                continue;
            };
            sector.fill(0);
            let bad = match damage {
                Damage::Tampered => &mut report.tampered,
                Damage::Unreadable => &mut report.unreadable,
            };
            bad.push(SectorNumber::new(at / SECTOR_BYTES), size.sectors().get());
        }
        Ok(())
    }
}

/// What is wrong with a sector.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    Tampered,
    Unreadable,
}

impl Damage {
    /// Sorts the answer to a request for one sector. An error that says nothing about the sector
    /// itself (the device has stopped, the request was wrong) is passed on.
    pub(crate) fn of(result: Result<(), BlockError>) -> Result<Option<Self>, Error> {
        match result {
            Ok(()) => Ok(None),
            Err(error) if error.is_tampering() => Ok(Some(Self::Tampered)),
            Err(BlockError::Io { .. }) => Ok(Some(Self::Unreadable)),
            Err(error) => Err(error.into()),
        }
    }
}

fn import<D: BlockDevice>(
    bytes: &ByteDevice<D>,
    source: &mut dyn Read,
    start: ByteOffset,
    control: &Control,
) -> Result<u64, Error> {
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
            size: bytes.size(),
        };
        let at = start.get().checked_add(done).ok_or_else(past_end)?;
        bytes.write_at(ByteOffset::new(at), chunk)?;
        done += ByteLen::of(chunk).get();
        control.advance(ByteLen::of(chunk).get())?;
        if count < CHUNK {
            break;
        }
    }
    bytes.flush()?;
    Ok(done)
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
