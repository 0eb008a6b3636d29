//! Devices below that fail: the error comes out, nothing panics, what was durable stays readable,
//! and reopening works.

#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

mod faulty;
mod places;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use luksmith_block::{BlockDevice, Error, MemDevice, Operation};
use luksmith_integrity::{Devices, DigestName, HashedDevice, Mode, OpenOptions};
use luksmith_testkit::{Among, Fault, FaultDevice, FaultPlan, HookDevice};

use faulty::{BLOCKS, disk, open};
use places::at;

type Faulty = Arc<FaultDevice<Arc<MemDevice>>>;

/// What a block may be whose write was cut off.
#[derive(Clone, Copy, PartialEq)]
enum Torn {
    /// Old or new.
    Never,
    /// That, or one that mismatches.
    Mismatches,
    /// Anything, as the region is marked and nobody checks it.
    Unchecked,
}

/// What each block may hold: values that were written, the last durable one first.
struct Known(Vec<Vec<u8>>);

impl Known {
    fn new() -> Self {
        Self(vec![vec![1]; BLOCKS])
    }

    fn write<D: BlockDevice>(
        &mut self,
        device: &HashedDevice<D>,
        first: usize,
        blocks: usize,
        value: u8,
    ) -> Result<(), Error> {
        for known in &mut self.0[first..first + blocks] {
            known.push(value);
        }
        device.write_at(at(first), &vec![value; blocks * 512])
    }

    fn flush<D: BlockDevice>(&mut self, device: &HashedDevice<D>) -> Result<(), Error> {
        device.flush()?;
        for known in &mut self.0 {
            *known = known.last().map(|&last| vec![last]).expect("never empty");
        }
        Ok(())
    }

    /// Checks every block; `torn` says what those may be that were being written.
    fn check<D: BlockDevice>(&self, device: &HashedDevice<D>, torn: Torn) {
        for (block, known) in self.0.iter().enumerate() {
            let mut data = [0; 512];
            match device.read_at(at(block), &mut data) {
                Ok(()) if torn == Torn::Unchecked && known.len() > 1 => {}
                Ok(()) => assert!(
                    known.contains(&data[0]) && data.iter().all(|byte| *byte == data[0]),
                    "block {block} holds {}, known are {known:?}",
                    data[0]
                ),
                Err(Error::TagMismatch { .. }) => {
                    let may_be = torn != Torn::Never && known.len() > 1;
                    assert!(may_be, "block {block} mismatches");
                }
                Err(error) => panic!("block {block}: {error}"),
            }
        }
    }
}

/// Writes enough to commit, write back and wrap; stops at the first error.
fn work<D: BlockDevice>(device: &HashedDevice<D>, known: &mut Known) -> Result<(), Error> {
    for step in 0..10_u8 {
        let first = usize::from(step) * 7 % (BLOCKS - 6);
        known.write(device, first, 5, 10 + step)?;
        if step % 3 == 2 {
            known.flush(device)?;
        }
    }
    known.flush(device)
}

/// Gives how many operations the work takes where nothing fails.
fn operations(mode: Mode, among: Among) -> u64 {
    let counted = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&counted);
    let device = HookDevice::new(disk(), move |operation, _, _| {
        if among == Among::All || among == Among::Only(operation) {
            count.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    });
    let device = open(device, mode);
    counted.store(0, Ordering::SeqCst);
    work(&device, &mut Known::new()).expect("no faults here");
    let operations = counted.load(Ordering::SeqCst);
    assert!(operations > 3, "{mode:?}: {operations}");
    operations
}

/// Runs the work with the `n`th operation failing as `plan` says, for every `n`: each one is told.
fn fail_each(mode: Mode, fault: Fault, among: Among) {
    for n in 0..operations(mode, among) {
        let disk = disk();
        let faulty: Faulty = Arc::new(FaultDevice::new(Arc::clone(&disk)));
        let device = open(Arc::clone(&faulty), mode);
        faulty.set_plan(Some(FaultPlan {
            among,
            from: n,
            count: 1,
            fault,
        }));
        let mut known = Known::new();
        let result = work(&device, &mut known);
        faulty.set_plan(None);
        assert!(result.is_err(), "{mode:?}, {fault:?}: {n} failed unseen");
        let torn = match mode {
            Mode::Journal => Torn::Never,
            _ => Torn::Mismatches,
        };
        // Verified reads go on, whatever failed.
        known.check(&device, torn);
        if among == Among::Only(Operation::Flush) {
            let stopped = device.write_at(at(0), &[9; 512]);
            assert!(
                matches!(stopped, Err(Error::FailStop { .. })),
                "{mode:?}, flush {n} failed, then a write gave {stopped:?}"
            );
            assert!(matches!(device.flush(), Err(Error::FailStop { .. })));
        }
        drop(device);
        // A device that was in use in bitmap mode is read as it is: unkeyed, so marked blocks pass.
        let options = OpenOptions::new().mode(mode).read_only(true);
        let devices = Devices::interleaved(Arc::clone(&disk));
        let again = HashedDevice::open(devices, options, DigestName::Crc32c, None)
            .expect("reopening works");
        let torn = match mode {
            Mode::Bitmap => Torn::Unchecked,
            _ => torn,
        };
        known.check(&again, torn);
    }
}

#[test]
fn in_journal_mode_any_failing_operation_is_reported_and_survived() {
    for fault in [Fault::Fails, Fault::FailsHalfWay] {
        fail_each(Mode::Journal, fault, Among::All);
    }
}

#[test]
fn in_direct_mode_any_failing_operation_is_reported_and_survived() {
    for fault in [Fault::Fails, Fault::FailsHalfWay] {
        fail_each(Mode::Direct, fault, Among::All);
    }
}

#[test]
fn in_bitmap_mode_any_failing_operation_is_reported_and_survived() {
    fail_each(Mode::Bitmap, Fault::Fails, Among::All);
}

#[test]
fn after_a_failed_flush_no_write_is_accepted() {
    for mode in [Mode::Journal, Mode::Direct, Mode::Bitmap] {
        fail_each(mode, Fault::Fails, Among::Only(Operation::Flush));
    }
}

#[test]
fn a_failed_data_write_in_direct_mode_fails_that_request_alone() {
    let disk = disk();
    let faulty: Faulty = Arc::new(FaultDevice::new(Arc::clone(&disk)));
    let device = open(Arc::clone(&faulty), Mode::Direct);
    device.write_at(at(0), &[2; 512]).expect("no faults here");
    faulty.set_plan(Some(FaultPlan {
        among: Among::Only(Operation::Write),
        from: 0,
        count: 1,
        fault: Fault::Fails,
    }));
    assert!(matches!(
        device.write_at(at(3), &[3; 512]),
        Err(Error::Io { .. })
    ));
    device
        .write_at(at(4), &[4; 512])
        .expect("the next one works");
    device.flush().expect("no faults here");
    let mut data = [0; 5 * 512];
    device
        .read_at(at(0), &mut data)
        .expect("the old data is still there");
    assert_eq!(
        [0, 1, 2, 3, 4].map(|block| data[block * 512]),
        [2, 1, 1, 1, 4]
    );
}

#[test]
fn a_failed_data_read_fails_that_request_alone() {
    let disk = disk();
    let faulty: Faulty = Arc::new(FaultDevice::new(Arc::clone(&disk)));
    let device = open(Arc::clone(&faulty), Mode::Journal);
    faulty.set_plan(Some(FaultPlan::nth(0)));
    let mut data = [0; 512];
    assert!(matches!(
        device.read_at(at(5), &mut data),
        Err(Error::Io { .. })
    ));
    device
        .read_at(at(5), &mut data)
        .expect("the next one works");
    device
        .write_at(at(5), &[7; 512])
        .expect("writes are accepted");
}
