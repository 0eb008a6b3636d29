//! What a volume has done since it was opened.

use std::sync::atomic::{AtomicU64, Ordering};

use luksmith_block::Error;

/// Counts of one volume since it was opened. Requests that failed are counted as failures alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Reads that succeeded.
    pub reads: u64,
    /// Bytes that they gave.
    pub read_bytes: u64,
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Bytes that they took.
    pub written_bytes: u64,
    /// Flushes that succeeded.
    pub flushes: u64,
    /// Discards that succeeded.
    pub discards: u64,
    /// Requests that found sectors whose tags did not match.
    pub tampered_requests: u64,
    /// Sectors of 512 bytes found in such requests.
    pub tampered_sectors: u64,
    /// Requests that failed otherwise.
    pub failures: u64,
}

/// The counters behind [`Stats`]. Each is exact; together they are no snapshot.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
    flushes: AtomicU64,
    discards: AtomicU64,
    tampered_requests: AtomicU64,
    tampered_sectors: AtomicU64,
    failures: AtomicU64,
}

/// What a request was.
#[derive(Clone, Copy)]
pub(crate) enum Request {
    Read(u64),
    Write(u64),
    Flush,
    Discard,
}

impl Counters {
    /// Counts a request by its result, and passes the result on.
    pub(crate) fn note(&self, request: Request, result: Result<(), Error>) -> Result<(), Error> {
        let add = |counter: &AtomicU64, count| counter.fetch_add(count, Ordering::Relaxed);
        match (&result, request) {
            (Ok(()), Request::Read(bytes)) => {
                add(&self.reads, 1);
                add(&self.read_bytes, bytes);
            }
            (Ok(()), Request::Write(bytes)) => {
                add(&self.writes, 1);
                add(&self.written_bytes, bytes);
            }
            (Ok(()), Request::Flush) => {
                add(&self.flushes, 1);
            }
            (Ok(()), Request::Discard) => {
                add(&self.discards, 1);
            }
            (Err(Error::TagMismatch { count, .. }), _) => {
                add(&self.tampered_requests, 1);
                add(&self.tampered_sectors, *count);
            }
            (Err(error), _) if error.is_tampering() => {
                add(&self.tampered_requests, 1);
            }
            (Err(_), _) => {
                add(&self.failures, 1);
            }
        }
        result
    }

    pub(crate) fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            reads: get(&self.reads),
            read_bytes: get(&self.read_bytes),
            writes: get(&self.writes),
            written_bytes: get(&self.written_bytes),
            flushes: get(&self.flushes),
            discards: get(&self.discards),
            tampered_requests: get(&self.tampered_requests),
            tampered_sectors: get(&self.tampered_sectors),
            failures: get(&self.failures),
        }
    }
}
