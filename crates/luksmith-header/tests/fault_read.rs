//! A medium with bad places: one copy of a LUKS2 header that cannot be read does not hide the
//! other, and is never overwritten unasked.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::ops::Range;

use common::device;
use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, IoFailure, MemDevice, Operation, SectorSize,
};
use luksmith_header::{
    Error, Header, Limits, RestorePlan, backup,
    luks2::{self, Pair, RepairPlan, Side},
    repaired_backup,
};
use luksmith_testkit::{FaultDevice, FaultPlan, Prng, mangled::Base};

/// A device with one bad place: reading any byte of it fails, writing heals it, as disks do.
struct BadPlace {
    medium: MemDevice,
    bad: std::sync::Mutex<Range<u64>>,
}

impl BadPlace {
    fn new(image: &[u8], bad: Range<u64>) -> Self {
        Self {
            medium: device(image),
            bad: std::sync::Mutex::new(bad),
        }
    }

    fn touches(&self, at: ByteOffset, len: usize) -> bool {
        let bad = self.bad.lock().unwrap();
        at.get() < bad.end && at.get() + len as u64 > bad.start
    }
}

fn failure(at: u64) -> luksmith_block::Error {
    luksmith_block::Error::Io {
        operation: Operation::Read,
        at: ByteOffset::new(at),
        failure: IoFailure::Os(5),
    }
}

impl BlockDevice for BadPlace {
    fn size(&self) -> ByteLen {
        self.medium.size()
    }
    fn sector_size(&self) -> SectorSize {
        self.medium.sector_size()
    }
    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), luksmith_block::Error> {
        if self.touches(at, buf.len()) {
            return Err(failure(at.get()));
        }
        self.medium.read_at(at, buf)
    }
    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), luksmith_block::Error> {
        if self.touches(at, data.len()) {
            *self.bad.lock().unwrap() = 0..0;
        }
        self.medium.write_at(at, data)
    }
    fn flush(&self) -> Result<(), luksmith_block::Error> {
        Ok(())
    }
}

/// Each part of each copy, with the place that a read of it names.
const PLACES: [(Side, Range<u64>, u64); 5] = [
    (Side::Primary, 0..512, 0),
    (Side::Primary, 1024..1536, 0),
    (Side::Primary, 8192..8704, 4096),
    (Side::Secondary, 16384..16896, 16384),
    (Side::Secondary, 24576..25088, 20480),
];

fn header(device: &dyn BlockDevice) -> luks2::Header {
    match Header::read(device, &Limits::default()).unwrap() {
        Header::Luks2(header) => header,
        other => panic!("{other:?}"),
    }
}

/// A bad sector in one header copy made the volume unreadable, although the other copy was good.
#[test]
fn a_copy_that_cannot_be_read_does_not_hide_the_other() {
    let image = Base::Luks2.image();
    let good = header(&device(&image));
    assert_eq!(good.other_copy_fault(), None);
    for (side, bad, at) in PLACES {
        let disk = BadPlace::new(&image, bad);
        let read = header(&disk);
        assert_ne!(read.binary().side(), side);
        assert_eq!(read.metadata(), good.metadata());
        let source = failure(at);
        assert_eq!(read.other_copy_fault(), Some(&Error::Device { source }));
        assert!(disk.medium.to_vec() == image, "reading wrote");
    }
}

/// Whichever single read fails, the header is the one that is on the device.
#[test]
fn no_single_failing_read_keeps_the_header_from_being_read() {
    for base in [Base::Luks2, Base::Luks2Large] {
        let image = base.image();
        let disk = FaultDevice::new(device(&image));
        let good = header(&disk);
        let reads = disk.operations();
        assert!(reads >= 5, "{reads} reads");
        for number in 0..reads {
            disk.set_plan(Some(FaultPlan::nth(number)));
            let read = header(&disk);
            assert_eq!(read.metadata(), good.metadata(), "read {number} fails");
        }
    }
}

#[test]
fn a_copy_that_cannot_be_read_is_not_overwritten_before_somebody_says_so() {
    let image = Base::Luks2.image();
    for (side, bad, _) in PLACES {
        let disk = BadPlace::new(&image, bad);
        let mut changed = header(&disk);
        changed.set_label("changed").unwrap();
        let refused = Error::UnreadableCopy { side, used: 7 };
        assert_eq!(changed.check_updatable(), Err(refused.clone()));
        let written = luks2::write(&disk, &mut changed, &mut Prng::new(1));
        assert_eq!(written, Err(refused));
        assert!(disk.medium.to_vec() == image, "the refused update wrote");

        let pair = Pair::read(&disk, &Limits::default()).unwrap();
        let plan = pair.repair(&disk, &mut Prng::new(2)).unwrap();
        let RepairPlan {
            side: done,
            seqid,
            claimed_newer,
            unreadable,
            ..
        } = plan.unwrap();
        assert_eq!((done, seqid, claimed_newer), (side, 7, None));
        assert!(unreadable);
        let mut whole = header(&disk);
        assert_eq!(whole.other_copy_fault(), None);
        whole.set_label("changed").unwrap();
        luks2::write(&disk, &mut whole, &mut Prng::new(3)).unwrap();
        assert_eq!(header(&disk).binary().label(), "changed");
    }
}

#[test]
fn a_backup_of_a_header_with_an_unreadable_copy_holds_two_good_ones() {
    let image = Base::Luks2.image();
    for (_, bad, _) in PLACES {
        let disk = BadPlace::new(&image, bad);
        let mut file = Vec::new();
        backup(&disk, &Limits::default(), &mut |at, bytes| {
            assert_eq!(at.get(), file.len() as u64);
            file.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
        let copy = device(&file);
        let pair = Pair::read(&copy, &Limits::default()).unwrap();
        assert!(pair.both_are_current());
        assert!(RestorePlan::check(&copy, &device(&image), &Limits::default()).is_ok());
        // Not when half of the target is overwritten already.
        let refused = RestorePlan::check(&disk, &device(&image), &Limits::default());
        assert!(matches!(refused, Err(Error::Device { .. })));
    }
}

/// The repair wrote over a file system that somebody had made on the device, without naming it.
#[test]
fn a_plan_names_what_took_the_primarys_place_and_a_whole_header_is_had_elsewhere() {
    let found = "an ext2, ext3 or ext4 file system";
    let good = Base::Luks2.image();
    let mut image = good.clone();
    image[..512].fill(0);
    image[1080..1082].copy_from_slice(&[0x53, 0xef]);
    let disk = device(&image);
    let read = Header::read(&disk, &Limits::default());
    assert_eq!(read, Err(Error::Overwritten { found }));
    let plan = |disk: &MemDevice| Pair::read(disk, &Limits::default()).unwrap().repair_plan();
    let plan_of_both = plan(&disk).unwrap().unwrap();
    assert_eq!(plan_of_both.side, Side::Primary);
    assert_eq!(plan_of_both.foreign, Some(found));

    let mut file = Vec::new();
    let mut sink = |at: ByteOffset, bytes: &[u8]| {
        assert_eq!(at.get(), file.len() as u64);
        file.extend_from_slice(bytes);
        Ok(())
    };
    repaired_backup(&disk, &Limits::default(), &mut sink).unwrap();
    assert!(disk.to_vec() == image, "the device was written");
    let copy = device(&file);
    assert_eq!(plan(&copy), Ok(None));
    assert_eq!(header(&copy).metadata(), header(&device(&good)).metadata());
    // A bad secondary: nothing else is overwritten.
    let mut image = good;
    image[16384..16896].fill(0);
    let plan = plan(&device(&image)).unwrap().unwrap();
    assert_eq!((plan.side, plan.foreign), (Side::Secondary, None));
}

#[test]
fn if_nothing_can_be_read_the_device_is_to_blame() {
    let image = Base::Luks2.image();
    let everything = BadPlace::new(&image, 0..u64::MAX);
    let source = failure(0);
    let read = Header::read(&everything, &Limits::default());
    assert_eq!(read, Err(Error::Device { source }));
    // A LUKS1 header has no second copy, whether the place is bad for good or was for a moment.
    let once = FaultDevice::with_plan(device(&Base::Luks1.image()), FaultPlan::nth(0));
    let read = Header::read(&once, &Limits::default());
    assert_eq!(read, Err(Error::Device { source }));
    let disk = BadPlace::new(&Base::Luks1.image(), 0..512);
    let read = Header::read(&disk, &Limits::default());
    assert_eq!(read, Err(Error::Device { source }));
    // No header in sight, and one place where it could be cannot be seen.
    let mut gone = image.clone();
    gone[..425_984].fill(0);
    let disk = BadPlace::new(&gone, 16384..16896);
    let read = Header::read(&disk, &Limits::default());
    let source = failure(16384);
    assert_eq!(read, Err(Error::Device { source }));
    // One copy is damaged and the other cannot be read: both reasons.
    let mut damaged = image;
    damaged[4096] ^= 1;
    let disk = BadPlace::new(&damaged, 16384..16896);
    let Err(Error::NoUsableCopy { primary, secondary }) = Header::read(&disk, &Limits::default())
    else {
        panic!("there is no good copy");
    };
    assert!(matches!(*primary, Error::Checksum { .. }));
    assert_eq!(*secondary, Error::Device { source });
}

#[test]
fn a_bad_place_in_the_keyslot_area_does_not_matter_to_the_search_for_a_secondary() {
    let mut image = Base::Luks2.image();
    image[..4096].fill(0);
    let disk = BadPlace::new(&image, 131_072..131_584);
    assert_eq!(header(&disk).binary().side(), Side::Secondary);
    assert_eq!(header(&disk).check_updatable(), Ok(()));
}
