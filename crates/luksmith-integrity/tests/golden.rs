//! Devices that integritysetup and the kernel made, read and replayed.

mod support;

use std::sync::Arc;

use luksmith_block::{BlockDevice, ByteOffset, Error as DeviceError, MemDevice, SectorSize};
use luksmith_integrity::{Devices, HashedDevice, Mode, OpenOptions};
use support::Golden;

type Disk = Arc<MemDevice>;

fn disk(bytes: &[u8]) -> Disk {
    Arc::new(MemDevice::from_bytes(bytes, SectorSize::S512))
}

struct Disks {
    image: Disk,
    data: Option<Disk>,
}

impl Disks {
    fn of(golden: &Golden) -> Self {
        Self {
            image: disk(&golden.image),
            data: golden.data.as_deref().map(disk),
        }
    }

    fn devices(&self) -> Devices<Disk> {
        match &self.data {
            Some(data) => Devices::split(Arc::clone(data), Arc::clone(&self.image)),
            None => Devices::interleaved(Arc::clone(&self.image)),
        }
    }

    fn is_untouched(&self, golden: &Golden) -> bool {
        self.image.to_vec() == golden.image
            && self.data.as_ref().map(|data| data.to_vec()) == golden.data
    }
}

fn open(golden: &Golden, disks: &Disks, options: OpenOptions) -> HashedDevice<Disk> {
    HashedDevice::open(
        disks.devices(),
        options,
        golden.digest,
        golden.key.as_deref(),
    )
    .unwrap_or_else(|error| panic!("{}: {error}", golden.name))
}

fn plaintext(golden: &Golden, device: &HashedDevice<Disk>) -> String {
    let mut bytes = vec![0; device.size().to_usize().expect("small images")];
    device
        .read_at(ByteOffset::ZERO, &mut bytes)
        .unwrap_or_else(|error| panic!("{}: {error}", golden.name));
    support::sha256(&bytes)
}

#[test]
fn every_golden_device_reads_as_the_kernel_read_it_and_is_not_written() {
    for golden in support::all() {
        for mode in [Mode::Journal, Mode::Direct] {
            let disks = Disks::of(&golden);
            let device = open(&golden, &disks, golden.options().mode(mode).read_only(true));
            assert_eq!(
                plaintext(&golden, &device),
                golden.plaintext_sha256,
                "{}",
                golden.name
            );
            let block = vec![0; device.sector_size().bytes()];
            assert_eq!(
                device.write_at(ByteOffset::ZERO, &block),
                Err(DeviceError::ReadOnly)
            );
            device.close().expect("there is nothing to be done");
            assert!(disks.is_untouched(&golden), "{}", golden.name);
        }
    }
}

#[test]
fn applying_a_dirty_journal_changes_nothing_that_is_read() {
    for golden in support::all() {
        if golden.name == "integrity-bitmap-dirty" {
            continue;
        }
        for mode in [Mode::Journal, Mode::Direct] {
            let disks = Disks::of(&golden);
            let device = open(&golden, &disks, golden.options().mode(mode));
            let waiting = device.unchecked().blocks_in_journal().expect("no panic");
            let expected = match golden.name.as_str() {
                "integrity-journal-crypt-mac" | "integrity-crc32c-dirty" => 16,
                "integrity-journal-wrapped-dirty" => 115,
                _ => 0,
            };
            assert_eq!(waiting, expected, "{}", golden.name);
            assert_eq!(
                plaintext(&golden, &device),
                golden.plaintext_sha256,
                "{}",
                golden.name
            );
            assert!(disks.is_untouched(&golden), "{}", golden.name);
            device.unchecked().apply_journal().expect("a whole journal");
            assert_eq!(
                plaintext(&golden, &device),
                golden.plaintext_sha256,
                "{}",
                golden.name
            );
            drop(device);
            // Without the journal everything is in place now.
            let device = open(&golden, &disks, golden.options().mode(Mode::Recovery));
            assert_eq!(
                plaintext(&golden, &device),
                golden.plaintext_sha256,
                "{}",
                golden.name
            );
        }
    }
}
