//! What reaches the device for what is written: bytes below per byte above, counted.
//!
//! `cargo test -p luksmith-integrity --test amplification -- --nocapture` prints the table of
//! docs/benchmarks.md.

use std::sync::Arc;

use luksmith_block::{BlockDevice, ByteLen, ByteOffset, SectorSize, SparseMemDevice};
use luksmith_integrity::{
    Devices, DigestName, FormatRequest, HashedDevice, Mode, OpenOptions, format, random_salt,
};
use luksmith_testkit::CountingDevice;

const KEY: [u8; 32] = [0x33; 32];
const BLOCK: u64 = 4096;

type Disk = Arc<CountingDevice<SparseMemDevice>>;

/// A device of 1 GiB with 4096-byte blocks and tags of 32 bytes, as `integritysetup` formats it.
fn disk() -> Disk {
    let device = SparseMemDevice::new(ByteLen::new(1 << 30), SectorSize::S512);
    let disk = Arc::new(CountingDevice::new(device));
    let request = FormatRequest::new(32, SectorSize::S4096)
        .expect("a tag size that exists")
        .salt(Some(random_salt().expect("a generator")));
    format(&Devices::interleaved(&disk), &request, None, None).expect("room enough");
    disk
}

fn open(disk: &Disk, mode: Mode) -> HashedDevice<Disk> {
    let digest = DigestName::parse("hmac-sha256").expect("a digest that is known");
    let devices = Devices::interleaved(Arc::clone(disk));
    HashedDevice::open(devices, OpenOptions::new().mode(mode), digest, Some(&KEY))
        .expect("formatted")
}

/// Writes these blocks one by one, then flushes.
fn write(device: &HashedDevice<Disk>, blocks: impl Iterator<Item = u64>) {
    for block in blocks {
        device
            .write_at(ByteOffset::new(block * BLOCK), &[7; 4096])
            .expect("no faults here");
    }
    device.flush().expect("no faults here");
}

/// Sectors of 512 bytes that reached the device: by opening, 8 MiB one block after the other, 1 MiB
/// in blocks far from each other, closing.
struct Written {
    opening: u64,
    sequential: u64,
    random: u64,
    closing: u64,
}

impl Written {
    fn all(&self) -> u64 {
        self.opening + self.sequential + self.random + self.closing
    }
}

fn measure(mode: Mode) -> Written {
    let disk = disk();
    let taken = || disk.take().written_bytes / 512;
    taken();
    let device = open(&disk, mode);
    // The kernel activates when it opens.
    device.unchecked().apply_journal().expect("nothing waits");
    let opening = taken();
    write(&device, 0..2048);
    let sequential = taken();
    // Far from each other: every block has its own page of tags.
    write(&device, (0..255).map(|k| (k * 7919 * 13 + 5000) % 240_000));
    write(&device, 100..101);
    let random = taken();
    device.close().expect("no faults here");
    Written {
        opening,
        sequential,
        random,
        closing: taken(),
    }
}

/// What Linux 7.2 wrote for the same requests on a device of the same geometry, from
/// /sys/block/*/stat: by opening, sequential, random, closing.
const LINUX: [(Mode, [u64; 4]); 3] = [
    (Mode::Journal, [0, 34_216, 2_376, 25_104]),
    (Mode::Bitmap, [16, 16_560, 9_048, 16_376]),
    (Mode::Direct, [0, 16_512, 8_656, 0]),
];

#[test]
fn no_mode_writes_more_than_linux_does_for_the_same_requests() {
    println!(
        "mode     sectors written: opening, 8 MiB sequential, 1 MiB random, closing; per byte"
    );
    for (mode, linux) in LINUX {
        let ours = measure(mode);
        let per_byte = |sectors: u64, mib: u64| {
            let hundredths = sectors * 512 * 100 / (mib << 20);
            format!("{}.{:02}", hundredths / 100, hundredths % 100)
        };
        println!(
            "{mode:?}: {} {} {} {}; sequential {}, random {}; Linux {linux:?}",
            ours.opening,
            ours.sequential,
            ours.random,
            ours.closing,
            per_byte(ours.sequential, 8),
            per_byte(ours.random, 1),
        );
        let [opening, sequential, random, closing] = linux;
        assert!(ours.sequential <= sequential, "{mode:?}, sequential");
        assert!(
            ours.all() <= opening + sequential + random + closing,
            "{mode:?}, all"
        );
    }
}
