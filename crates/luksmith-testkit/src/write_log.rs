//! A log of all that was written to a disk of the oracle's machine.
//!
//! It is as dm-log-writes and QEMU's blklogwrites keep it: measured on a log of QEMU 7.2. Numbers
//! are little-endian. Sector 0 has a magic number, a version, the number of entries and the bytes
//! of a sector, 8, 8, 8 and 4 bytes. Each entry begins a sector: its sector, sectors, flags and
//! length of its data, 8 bytes each. The data follow in the next sectors.

use luksmith_block::{BlockDevice, ByteOffset, Error};

const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// One request that reached the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRequest {
    /// Byte of the disk at which it begins.
    pub at: usize,
    /// Bytes written; none if it only flushed or discarded.
    pub data: Vec<u8>,
    /// What was acknowledged before it became durable first.
    pub flushes_before: bool,
    /// It was durable itself when it was acknowledged.
    pub is_durable: bool,
}

/// Takes a log apart: every request, in the order in which the disk took them.
///
/// Discards are left out: the oracle's disks ignore them.
///
/// # Panics
/// If the log is cut off.
#[must_use]
pub fn parse_write_log(log: &[u8]) -> Vec<LoggedRequest> {
    let wide = |at: usize| {
        let bytes = log[at..at + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(bytes)
    };
    let number = |at: usize| usize::try_from(wide(at)).expect("a small log");
    let count = number(16);
    let sector = number(24) & 0xffff_ffff;
    let mut at = sector;
    let mut requests = Vec::new();
    for _ in 0..count {
        let (first, sectors, flags) = (number(at), number(at + 8), wide(at + 16));
        at += sector;
        if flags & DISCARD != 0 {
            continue;
        }
        let data = log[at..at + sectors * sector].to_vec();
        at += data.len();
        requests.push(LoggedRequest {
            at: first * sector,
            data,
            flushes_before: flags & FLUSH != 0,
            is_durable: flags & FUA != 0,
        });
    }
    requests
}

impl LoggedRequest {
    /// Does to an image what was done to the disk.
    ///
    /// # Panics
    /// If the image ends before it.
    pub fn apply(&self, image: &mut [u8]) {
        image[self.at..self.at + self.data.len()].copy_from_slice(&self.data);
    }

    /// Does to a device what was done to the disk, flushes too.
    ///
    /// # Errors
    /// What the device gives.
    pub fn replay(&self, device: &dyn BlockDevice) -> Result<(), Error> {
        if self.flushes_before {
            device.flush()?;
        }
        if !self.data.is_empty() {
            device.write_at(ByteOffset::new(self.at as u64), &self.data)?;
        }
        if self.is_durable {
            device.flush()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sector: u64, sectors: u64, flags: u64, data: &[u8]) -> Vec<u8> {
        let numbers = [sector, sectors, flags, 0];
        let mut entry: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        entry.resize(512, 0);
        entry.extend_from_slice(data);
        entry
    }

    #[test]
    fn requests_are_read_in_order_and_discards_left_out() {
        let mut log = [0, 0, 3, 512].map(u64::to_le_bytes).concat();
        log.resize(512, 0);
        log.extend(entry(2, 1, FUA, &[7; 512]));
        log.extend(entry(1, 1, DISCARD, &[]));
        log.extend(entry(0, 0, FLUSH, &[]));
        let requests = parse_write_log(&log);
        assert_eq!(requests.len(), 2);
        let mut image = [0; 2048];
        requests[0].apply(&mut image);
        assert_eq!(
            (image[1023], image[1024], image[1535], image[1536]),
            (0, 7, 7, 0)
        );
        assert!(requests[0].is_durable && !requests[0].flushes_before);
        assert!(requests[1].flushes_before && requests[1].data.is_empty());
    }
}
