//! Checking every tag of a volume.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Control, Error as BlockError, Operation, SECTOR_BYTES,
    SectorNumber,
};
use zeroize::Zeroizing;

use crate::copy::Damage;
use crate::{BadRanges, Error, Part, Volume, Workers};

/// Bytes that one thread takes at once: they stay in its second-level cache from the device to the
/// hash.
const SHARE: u64 = 256 << 10;

/// What a verification found.
///
/// A sector that was put back to an older state together with its older tag verifies: finding that
/// takes a freshness value kept outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Bytes whose tags were checked: all, but of a volume with lazy initialisation those written.
    pub bytes: u64,
    /// Sectors whose tags did not match.
    pub tampered: BadRanges,
    /// Sectors that the device could not read.
    pub unreadable: BadRanges,
}

impl VerifyReport {
    /// Tells whether every sector was read and every tag matched.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.tampered.is_empty() && self.unreadable.is_empty()
    }
}

/// Runs of bad sectors that are kept at most, whatever a device does: 6 MiB.
const KEPT: usize = 1 << 18;

/// A run of bad sectors.
#[derive(Clone, Copy)]
struct Bad {
    first: u64,
    sectors: u64,
    damage: Damage,
}

/// What all threads found.
#[derive(Default)]
struct Found {
    runs: Vec<Bad>,
    /// Runs beyond those kept, and their sectors, tampered and unreadable.
    dropped: [(u64, u64); 2],
}

impl Found {
    fn add(&mut self, runs: &[Bad]) {
        for run in runs {
            if self.runs.len() < KEPT {
                self.runs.push(*run);
                continue;
            }
            let [tampered, unreadable] = &mut self.dropped;
            let (count, sectors) = match run.damage {
                Damage::Tampered => tampered,
                Damage::Unreadable => unreadable,
            };
            *count += 1;
            *sectors += run.sectors;
        }
    }

    /// Gives the report on `checked` bytes. The runs are in ascending order.
    fn report(&self, checked: u64) -> VerifyReport {
        let mut report = VerifyReport {
            bytes: checked,
            ..VerifyReport::default()
        };
        for run in &self.runs {
            let bad = match run.damage {
                Damage::Tampered => &mut report.tampered,
                Damage::Unreadable => &mut report.unreadable,
            };
            bad.push(SectorNumber::new(run.first), run.sectors);
        }
        let [tampered, unreadable] = self.dropped;
        report.tampered.count_unlisted(tampered.0, tampered.1);
        report.unreadable.count_unlisted(unreadable.0, unreadable.1);
        report
    }
}

impl Volume {
    /// Checks every tag, or those of a part, by all [workers](crate::OpenOptions::workers) of the
    /// volume. Nothing is decrypted, nothing written.
    ///
    /// `control` sees bytes done and to do.
    ///
    /// # Errors
    /// [`Error::NothingToVerify`] without tags; [`Error::Device`] if cancelled, or for a part that
    /// does not start and end between sectors. Damage is no error: it is in the report.
    pub fn verify(&self, part: Part, control: &Control) -> Result<VerifyReport, Error> {
        let device = match self.stack().authenticated_device() {
            Some(device) if self.is_authenticated() => device,
            _ => return Err(Error::NothingToVerify),
        };
        let job = Job {
            device: self,
            part,
            workers: self.workers(),
            control,
        };
        let initialised = |range| self.stack().initialised(range);
        let check = |(): &mut (), at, len| device.verify_at(ByteOffset::new(at), ByteLen::new(len));
        job.run(initialised, || (), check)
    }
}

/// Checks every tag of a device that checks what it reads, or those of a part, as
/// [`Volume::verify`] does: for devices that are no volumes, as a dm-integrity device on its own
/// ([`HashedDevice`](luksmith_integrity::HashedDevice)). Each worker has a buffer of 256 KiB, which
/// is wiped.
///
/// Whether the device checks anything is not known here: one in
/// [`Mode::Recovery`](luksmith_integrity::Mode::Recovery) reads without looking at tags, and is
/// always found clean.
///
/// # Errors
/// As [`Volume::verify`].
pub fn verify_device(
    device: &dyn BlockDevice,
    part: Part,
    workers: &Workers,
    control: &Control,
) -> Result<VerifyReport, Error> {
    let job = Job {
        device,
        part,
        workers,
        control,
    };
    // All of a share at once: a vector that grows leaves copies behind.
    let buffer = || {
        Zeroizing::new(Vec::with_capacity(
            ByteLen::new(SHARE).to_usize().unwrap_or(0),
        ))
    };
    let check = |buffer: &mut Zeroizing<Vec<u8>>, at, len| {
        buffer.resize(ByteLen::new(len).to_usize().unwrap_or_default(), 0);
        device.read_at(ByteOffset::new(at), buffer)
    };
    job.run(|range| vec![range], buffer, check)
}

/// What is verified, and by whom.
struct Job<'a> {
    device: &'a dyn BlockDevice,
    part: Part,
    workers: &'a Workers,
    control: &'a Control,
}

impl Job<'_> {
    /// Has `check` look at the parts that `initialised` names of each share: whole, and sector by
    /// sector if it is not right as a whole.
    fn run<T>(
        &self,
        initialised: impl Fn(Range<u64>) -> Vec<Range<u64>> + Sync,
        tools: impl Fn() -> T + Sync,
        check: impl Fn(&mut T, u64, u64) -> Result<(), BlockError> + Sync,
    ) -> Result<VerifyReport, Error> {
        let range = self.part.of(self.device)?;
        let sector = self.device.sector_size().byte_len().get();
        self.control.begin(range.end - range.start);
        let found = Mutex::new(Found::default());
        let checked = AtomicU64::new(0);
        let work = |tools: &mut T, share: Range<u64>| -> Result<(), Error> {
            let len = share.end - share.start;
            let mut bad = Vec::new();
            for part in initialised(share) {
                checked.fetch_add(part.end - part.start, Ordering::Relaxed);
                if check(tools, part.start, part.end - part.start).is_ok() {
                    continue;
                }
                let mut at = part.start;
                while at < part.end {
                    if let Some(damage) = Damage::of(check(tools, at, sector))? {
                        note(&mut bad, at, sector, damage);
                    }
                    at += sector;
                }
            }
            lock(&found).add(&bad);
            Ok(self.control.advance(len)?)
        };
        let done = self
            .workers
            .share_out(range, SHARE, Operation::Read, tools, work);
        done.map_err(|stopped| stopped.cause)?;
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.runs.sort_unstable_by_key(|run| run.first);
        Ok(found.report(checked.into_inner()))
    }
}

/// Adds a sector at byte `at`, which lies behind all others, to the runs of one share.
fn note(bad: &mut Vec<Bad>, at: u64, sector_bytes: u64, damage: Damage) {
    let (first, sectors) = (at / SECTOR_BYTES, sector_bytes / SECTOR_BYTES);
    match bad.last_mut() {
        Some(last) if last.damage == damage && last.first + last.sectors == first => {
            last.sectors += sectors;
        }
        _ => bad.push(Bad {
            first,
            sectors,
            damage,
        }),
    }
}

fn lock(mutex: &Mutex<Found>) -> MutexGuard<'_, Found> {
    // Each holder only appends a whole list.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
