//! Checking every tag of a volume.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Control, Error as BlockError, SECTOR_BYTES, SectorNumber,
};
use luksmith_keyslot::Threads;

use crate::{BadRanges, Error, Volume};

/// Bytes that one thread takes at once.
const CHUNK: u64 = 4 << 20;

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
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Damage {
    Tampered,
    Unreadable,
}

impl Volume {
    /// Checks every tag, on several threads. Nothing is decrypted, nothing written.
    ///
    /// `control` sees bytes done and to do.
    ///
    /// # Errors
    /// [`Error::NothingToVerify`] without tags; [`Error::Device`] if cancelled. Damage is no error:
    /// it is in the report.
    pub fn verify(&self, threads: Threads, control: &Control) -> Result<VerifyReport, Error> {
        if !self.is_authenticated() {
            return Err(Error::NothingToVerify);
        }
        let size = self.size().get();
        control.begin(size);
        let next = AtomicU64::new(0);
        let found = Mutex::new(Found::default());
        let checked = AtomicU64::new(0);
        let work = || -> Result<(), Error> {
            loop {
                let start = next.fetch_add(CHUNK, Ordering::Relaxed);
                if start >= size {
                    return Ok(());
                }
                let range = start..size.min(start + CHUNK);
                let mut bad = Vec::new();
                for part in self.stack().initialised(range.clone()) {
                    checked.fetch_add(part.end - part.start, Ordering::Relaxed);
                    self.verify_chunk(part, &mut bad)?;
                }
                lock(&found).add(&bad);
                control.advance(range.end - range.start)?;
            }
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads.get()).map(|_| scope.spawn(work)).collect();
            let mut result = work();
            for other in others {
                // A panic in a worker goes on in the caller.
                let theirs = other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                result = result.and(theirs);
            }
            result
        })?;
        let mut found = found.into_inner().unwrap_or_else(|held| held.into_inner());
        found.runs.sort_unstable_by_key(|run| run.first);
        Ok(Self::report(checked.into_inner(), &found))
    }

    fn report(checked: u64, found: &Found) -> VerifyReport {
        let mut report = VerifyReport {
            bytes: checked,
            ..VerifyReport::default()
        };
        for run in &found.runs {
            let bad = match run.damage {
                Damage::Tampered => &mut report.tampered,
                Damage::Unreadable => &mut report.unreadable,
            };
            bad.push(SectorNumber::new(run.first), run.sectors);
        }
        let [tampered, unreadable] = found.dropped;
        report.tampered.count_unlisted(tampered.0, tampered.1);
        report.unreadable.count_unlisted(unreadable.0, unreadable.1);
        report
    }

    /// Checks a chunk, sector by sector if it is not right as a whole.
    fn verify_chunk(&self, range: Range<u64>, bad: &mut Vec<Bad>) -> Result<(), Error> {
        let Some(device) = self.stack().authenticated_device() else {
            return Err(Error::NothingToVerify);
        };
        let verify = |at: u64, len: u64| device.verify_at(ByteOffset::new(at), ByteLen::new(len));
        if verify(range.start, range.end - range.start).is_ok() {
            return Ok(());
        }
        let sector = self.sector_size().byte_len().get();
        let mut at = range.start;
        while at < range.end {
            let damage = match verify(at, sector) {
                Ok(()) => None,
                Err(error) if error.is_tampering() => Some(Damage::Tampered),
                Err(BlockError::Io { .. }) => Some(Damage::Unreadable),
                // No statement about this sector: the volume cannot be read any more.
                Err(error) => return Err(error.into()),
            };
            if let Some(damage) = damage {
                let (first, sectors) = (at / SECTOR_BYTES, sector / SECTOR_BYTES);
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
            at += sector;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Each holder only appends a whole list.
    mutex.lock().unwrap_or_else(|held| held.into_inner())
}
