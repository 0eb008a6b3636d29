//! What reaches the device for what is written: bytes below per byte above, counted.
//!
//! `cargo test -p luksmith-integrity --test amplification -- --nocapture` prints the table of
//! docs/benchmarks.md.

#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Operation, SectorCount, SectorSize, SparseMemDevice,
};
use luksmith_integrity::{
    DeviceSizes, Devices, DigestName, FormatRequest, HashedDevice, Layout, Mode, OpenOptions,
    format, random_salt,
};
use luksmith_testkit::{CountingDevice, HookDevice, Prng};

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

/// What a write of the engine is for, by where it goes.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Superblock,
    Journal,
    Tags,
    Data,
}

/// Counts the sectors written by what they are for.
struct ByKind {
    layout: Layout,
    sectors: [AtomicU64; 4],
}

impl ByKind {
    fn kind(&self, sector: u64) -> Kind {
        let init = self.layout.init_sectors().get();
        let run = self.layout.run_sectors().get();
        match sector.checked_sub(init) {
            None if sector < 8 => Kind::Superblock,
            None => Kind::Journal,
            Some(behind) if behind % (run + 32_768) < run => Kind::Tags,
            Some(_) => Kind::Data,
        }
    }

    fn count(&self, at: ByteOffset, len: ByteLen) {
        let first = at.get() / 512;
        for sector in first..first + len.get() / 512 {
            self.sectors[self.kind(sector) as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sectors of superblock, journal, tags and data since the last call.
    fn take(&self) -> [u64; 4] {
        self.sectors
            .each_ref()
            .map(|count| count.swap(0, Ordering::Relaxed))
    }
}

/// A device of 32 MiB with 4096-byte blocks and crc32c tags: its journal is one section of 392
/// sectors with 48 entries, and 1024 tags fit a page.
fn small_disk() -> (Arc<ByKind>, Arc<impl BlockDevice>) {
    let request = FormatRequest::new(4, SectorSize::S4096)
        .expect("a tag size that exists")
        .salt(Some(random_salt().expect("a generator")));
    let sizes = DeviceSizes {
        data: SectorCount::new(65_536),
        meta: None,
    };
    let (_, layout) = request.plan(sizes).expect("room enough");
    assert_eq!(layout.section().sectors, 392);
    assert_eq!(layout.journal_sections(), 1);
    let by_kind = Arc::new(ByKind {
        layout,
        sectors: Default::default(),
    });
    let counted = Arc::clone(&by_kind);
    let disk = Arc::new(HookDevice::new(
        SparseMemDevice::new(ByteLen::new(32 << 20), SectorSize::S512),
        move |operation, at, len| {
            if operation == Operation::Write {
                counted.count(at, len);
            }
            Ok(())
        },
    ));
    format(
        &Devices::interleaved(Arc::clone(&disk)),
        &request,
        None,
        None,
    )
    .expect("room enough");
    by_kind.take();
    (by_kind, disk)
}

/// What one workload wrote, by kind, until its last flush and by closing.
struct Work {
    name: &'static str,
    working: [u64; 4],
    closing: [u64; 4],
}

/// The three workloads, each opened and closed on its own, on one device.
fn small_workloads(mode: Mode) -> Vec<Work> {
    let (by_kind, disk) = small_disk();
    let data = |seed| Prng::new(seed).bytes(200 * 4096);
    let mut works = Vec::new();
    for (name, seed) in [("sequential", 1), ("the same again", 1), ("random", 2)] {
        let crc32c = DigestName::Crc32c;
        let options = OpenOptions::new().mode(mode);
        let devices = Devices::interleaved(Arc::clone(&disk));
        let device = HashedDevice::open(devices, options, crc32c, None).expect("formatted");
        for (index, bytes) in (0_u64..).zip(data(seed).chunks(4096)) {
            let place = if name == "random" {
                (index / 16 * 1511 + index % 16 * 397) % 6000
            } else {
                index
            };
            if name == "random" && index == 64 {
                break;
            }
            let at = ByteOffset::new(place * BLOCK);
            device.write_at(at, bytes).expect("no faults here");
            if name == "random" && index % 16 == 15 {
                device.flush().expect("no faults here");
            }
        }
        device.flush().expect("no faults here");
        let working = by_kind.take();
        device.close().expect("no faults here");
        works.push(Work {
            name,
            working,
            closing: by_kind.take(),
        });
    }
    works
}

/// Sectors that Linux 7.2 wrote for these workloads until the last flush, and by closing.
const LINUX_SMALL: [(Mode, [(u64, u64); 3]); 3] = [
    (Mode::Journal, [(4800, 392), (5128, 392), (2280, 392)]),
    (Mode::Bitmap, [(1632, 400), (1624, 400), (744, 400)]),
    (Mode::Direct, [(1608, 0), (1600, 0), (712, 0)]),
];

/// With a journal of one section, 3.12 bytes were written for each byte of a sequential workload:
/// it was written when half full, and again for the other half.
#[test]
fn with_a_small_journal_no_mode_writes_more_than_linux_does() {
    for (mode, linux) in LINUX_SMALL {
        for (work, (working, closing)) in small_workloads(mode).iter().zip(linux) {
            let Work { name, .. } = work;
            println!(
                "{mode:?}, {name}: superblock, journal, tags, data {:?}, closing {:?}; \
                 Linux {working}, closing {closing}",
                work.working, work.closing,
            );
            let ours: u64 = work.working.iter().sum();
            let all = ours + work.closing.iter().sum::<u64>();
            assert!(all <= working + closing, "{mode:?}, {name}: {all}");
        }
    }
}
