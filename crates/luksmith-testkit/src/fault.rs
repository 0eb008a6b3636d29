//! A device that fails at a chosen operation.

use std::sync::{Mutex, MutexGuard, PoisonError};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Capabilities, Error, IoFailure, Operation, SectorSize,
};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The operation fails and nothing of it happens.
    Fails,
    /// The first half of the operation's sectors happens, then it fails. As `Fails` for a flush.
    FailsHalfWay,
    /// The operation reports success and nothing of it happens: a read leaves zeros, a flush makes
    /// nothing durable.
    Lies,
}

/// Which operations count and may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Among {
    /// Every operation.
    All,
    /// Operations of one kind; [`Operation::Write`] includes zeroing.
    Only(Operation),
}

/// When to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    /// What counts.
    pub among: Among,
    /// The number, counted from 0, of the first operation that fails.
    pub from: u64,
    /// How many fail in a row; `u64::MAX` for a device that is gone for good.
    pub count: u64,
    /// What goes wrong.
    pub fault: Fault,
}

impl FaultPlan {
    /// Fails one operation out of all.
    #[must_use]
    pub const fn nth(from: u64) -> Self {
        Self {
            among: Among::All,
            from,
            count: 1,
            fault: Fault::Fails,
        }
    }
}

/// A device that passes everything on to another one, except what its plan says.
///
/// To fail every operation of a piece of work once, run it on a device without a plan, ask
/// [`operations`](Self::operations) for the count, and run it again with `nth(0)`, `nth(1)`, ...
#[derive(Debug)]
pub struct FaultDevice<D> {
    device: D,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    plan: Option<FaultPlan>,
    seen: u64,
    all: u64,
}

/// The error that failing operations give: the system's "input/output error".
pub const FAULT_FAILURE: IoFailure = IoFailure::Os(5);

impl<D: BlockDevice> FaultDevice<D> {
    /// Wraps a device; nothing fails until a plan is set.
    pub fn new(device: D) -> Self {
        let state = Mutex::new(State {
            plan: None,
            seen: 0,
            all: 0,
        });
        Self { device, state }
    }

    /// Wraps a device with a plan.
    pub fn with_plan(device: D, plan: FaultPlan) -> Self {
        let faulty = Self::new(device);
        faulty.set_plan(Some(plan));
        faulty
    }

    /// Sets or removes the plan; its count begins now.
    pub fn set_plan(&self, plan: Option<FaultPlan>) {
        let mut state = self.state();
        state.plan = plan;
        state.seen = 0;
    }

    /// Gives how many operations the device was asked for, failed ones included.
    pub fn operations(&self) -> u64 {
        self.state().all
    }

    /// Gives the device below.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Gives the device below back.
    pub fn into_inner(self) -> D {
        self.device
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation and tells what goes wrong with it.
    fn next(&self, operation: Operation) -> Option<Fault> {
        let mut state = self.state();
        state.all += 1;
        let plan = state.plan?;
        match plan.among {
            Among::Only(only) if only != operation => return None,
            _ => {}
        }
        let number = state.seen;
        state.seen += 1;
        let failing = number >= plan.from && number - plan.from < plan.count;
        failing.then_some(plan.fault)
    }

    fn change(
        &self,
        operation: Operation,
        at: ByteOffset,
        len: ByteLen,
        act: impl Fn(ByteLen) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failure = Error::Io {
            operation,
            at,
            failure: FAULT_FAILURE,
        };
        match self.next(operation) {
            None => act(len),
            Some(Fault::Fails) => Err(failure),
            Some(Fault::FailsHalfWay) => {
                act(self.half(len))?;
                Err(failure)
            }
            Some(Fault::Lies) => self.device.check_range(at, len),
        }
    }

    fn half(&self, len: ByteLen) -> ByteLen {
        let unit = self.device.sector_size().byte_len().get();
        ByteLen::new(len.get() / 2 / unit * unit)
    }
}

impl<D: BlockDevice> BlockDevice for FaultDevice<D> {
    fn size(&self) -> ByteLen {
        self.device.size()
    }

    fn sector_size(&self) -> SectorSize {
        self.device.sector_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
        let len = ByteLen::of(buf);
        match self.next(Operation::Read) {
            None => return self.device.read_at(at, buf),
            Some(Fault::Lies) => {
                self.device.check_range(at, len)?;
                buf.fill(0);
                return Ok(());
            }
            Some(Fault::FailsHalfWay) => {
                let half = self.half(len).to_usize().unwrap_or(0);
                self.device.read_at(at, &mut buf[..half])?;
            }
            Some(Fault::Fails) => {}
        }
        Err(Error::Io {
            operation: Operation::Read,
            at,
            failure: FAULT_FAILURE,
        })
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        self.change(Operation::Write, at, ByteLen::of(data), |len| {
            let len = len.to_usize().unwrap_or(0);
            self.device.write_at(at, &data[..len])
        })
    }

    fn flush(&self) -> Result<(), Error> {
        match self.next(Operation::Flush) {
            None => self.device.flush(),
            Some(Fault::Lies) => Ok(()),
            Some(Fault::Fails | Fault::FailsHalfWay) => Err(Error::System {
                operation: Operation::Flush,
                failure: FAULT_FAILURE,
            }),
        }
    }

    fn write_zeroes(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        self.change(Operation::Write, at, len, |len| {
            self.device.write_zeroes(at, len)
        })
    }

    fn discard(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        self.change(Operation::Discard, at, len, |len| {
            self.device.discard(at, len)
        })
    }

    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }
}

#[cfg(test)]
mod tests {
    use luksmith_block::MemDevice;

    use super::*;

    fn failure(operation: Operation) -> Result<(), Error> {
        Err(Error::Io {
            operation,
            at: ByteOffset::ZERO,
            failure: FAULT_FAILURE,
        })
    }

    fn device() -> FaultDevice<MemDevice> {
        FaultDevice::new(MemDevice::from_bytes(&[1; 2048], SectorSize::S512))
    }

    #[test]
    fn exactly_the_planned_operation_fails() {
        let device = device();
        let mut buf = [0; 512];
        device.set_plan(Some(FaultPlan::nth(1)));
        assert_eq!(device.read_at(ByteOffset::ZERO, &mut buf), Ok(()));
        let write = device.write_at(ByteOffset::ZERO, &[2; 512]);
        assert_eq!(write, failure(Operation::Write));
        assert_eq!(device.write_at(ByteOffset::ZERO, &[3; 512]), Ok(()));
        assert_eq!(device.operations(), 3);
        assert_eq!(device.device().to_vec()[..512], [3; 512]);
    }

    #[test]
    fn a_fault_half_way_writes_the_first_half() {
        let device = device();
        device.set_plan(Some(FaultPlan {
            fault: Fault::FailsHalfWay,
            among: Among::Only(Operation::Write),
            from: 0,
            count: u64::MAX,
        }));
        let write = device.write_at(ByteOffset::ZERO, &[2; 2048]);
        assert_eq!(write, failure(Operation::Write));
        assert_eq!(device.flush(), Ok(()));
        let bytes = device.device().to_vec();
        assert_eq!((bytes[1023], bytes[1024]), (2, 1));
        assert!(
            device
                .write_zeroes(ByteOffset::ZERO, ByteLen::new(512))
                .is_err()
        );
    }

    #[test]
    fn a_lie_is_a_success_that_changes_nothing() {
        let device = device();
        device.set_plan(Some(FaultPlan {
            fault: Fault::Lies,
            ..FaultPlan::nth(0)
        }));
        assert_eq!(device.write_at(ByteOffset::ZERO, &[2; 512]), Ok(()));
        assert_eq!(device.device().to_vec(), [1; 2048]);
    }
}
