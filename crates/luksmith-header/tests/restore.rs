//! A restore writes the header that was checked, also where the backup changes meanwhile.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::device;
use luksmith_block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorSize};
use luksmith_header::{Header, Limits, RestorePlan, luks1, luks2};
use luksmith_testkit::{Prng, mangled::Base, paint};

/// A backup in a file that somebody else writes: from a certain read on it is another one.
struct Changing {
    first: MemDevice,
    second: MemDevice,
    reads_left: AtomicUsize,
}

impl Changing {
    fn new(first: &[u8], second: &[u8], after: usize) -> Self {
        Self {
            first: device(first),
            second: device(second),
            reads_left: AtomicUsize::new(after),
        }
    }

    fn change(&self) {
        self.reads_left.store(0, Ordering::Relaxed);
    }
}

impl BlockDevice for Changing {
    fn size(&self) -> ByteLen {
        self.first.size()
    }
    fn sector_size(&self) -> SectorSize {
        self.first.sector_size()
    }
    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), luksmith_block::Error> {
        let left = self.reads_left.load(Ordering::Relaxed);
        self.reads_left
            .store(left.saturating_sub(1), Ordering::Relaxed);
        match left {
            0 => self.second.read_at(at, buf),
            _ => self.first.read_at(at, buf),
        }
    }
    fn write_at(&self, _: ByteOffset, _: &[u8]) -> Result<(), luksmith_block::Error> {
        Err(luksmith_block::Error::ReadOnly)
    }
    fn flush(&self) -> Result<(), luksmith_block::Error> {
        Ok(())
    }
}

const OTHER: &str = "00000000-1111-4222-8333-444444444444";

/// The header of `image` with another UUID.
fn other(image: &[u8]) -> Vec<u8> {
    let disk = device(image);
    match Header::read(&disk, &Limits::default()).unwrap() {
        Header::Luks1(mut header) => {
            header.set_uuid(OTHER).unwrap();
            luks1::write(&disk, &header).unwrap();
        }
        Header::Luks2(mut header) => {
            header.set_uuid(OTHER).unwrap();
            luks2::write(&disk, &mut header, &mut Prng::new(1)).unwrap();
        }
        _ => panic!("a version"),
    }
    disk.to_vec()
}

fn read(disk: &MemDevice) -> Header {
    Header::read(disk, &Limits::default()).unwrap()
}

/// The UUID that was asked about was one, that of the restored header another: the header was read
/// again after somebody had said yes.
#[test]
fn the_header_that_was_checked_is_written_whatever_the_backup_says_later() {
    for base in [Base::Luks1, Base::Luks2, Base::Luks2Large] {
        let first = base.image();
        let mut second = other(&first);
        let header = read(&device(&first));
        let front = match &header {
            Header::Luks2(header) => 2 * usize::try_from(header.binary().hdr_size()).unwrap(),
            _ => 1024,
        };
        let len = usize::try_from(header.total_len().get()).unwrap();
        second[front..].fill(0x5a);
        let backup = Changing::new(&first, &second, usize::MAX);
        let before = paint(7, first.len() + 4096);
        let target = device(&before);
        let plan = RestorePlan::check(&backup, &target, &Limits::default()).unwrap();
        backup.change();
        plan.restore(&backup, &target).unwrap();
        let after = target.to_vec();
        assert!(after[..front] == first[..front], "{base:?}: the header");
        assert!(
            after[front..len] == second[front..len],
            "{base:?}: the areas"
        );
        assert!(after[len..] == before[len..], "{base:?}: the data");
        assert_eq!(read(&target).uuid(), header.uuid());
    }
}

/// Even while it is checked: one reading decides.
#[test]
fn a_backup_that_changes_while_it_is_checked_gives_the_header_that_the_plan_tells() {
    let large = Base::Luks2Large.image();
    let bases = [Base::Luks1, Base::Luks2].map(|base| {
        let mut image = base.image();
        image.resize(image.len().max(large.len()), 0);
        image
    });
    let mut checked = 0;
    for first in [&bases[0], &bases[1], &large] {
        for second in [&bases[0], &bases[1], &large] {
            let second = other(second);
            for after in 0..40 {
                let backup = Changing::new(first, &second, after);
                let target = MemDevice::new(ByteLen::of(&large), SectorSize::S512).unwrap();
                let Ok(plan) = RestorePlan::check(&backup, &target, &Limits::default()) else {
                    continue;
                };
                checked += 1;
                backup.change();
                plan.restore(&backup, &target).unwrap();
                let there = read(&target);
                assert_eq!(there.uuid(), plan.backup.uuid(), "{after}");
                assert_eq!(there.total_len(), plan.len, "{after}");
            }
        }
    }
    assert!(checked > 200, "{checked} of 360");
}
