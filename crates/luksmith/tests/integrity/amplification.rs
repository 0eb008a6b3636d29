//! Bytes that reach the disk for the same writes, by the kernel and by us.

use std::path::Path;
use std::sync::Arc;

use luksmith::block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorSize};
use luksmith::integrity::{Devices, DigestName, HashedDevice, Mode, OpenOptions};
use luksmith_testkit::{CountingDevice, Oracle, Prng};

use super::PATIENCE;

/// Bytes of the device, whose journal has one section, and of one write.
const SIZE: usize = 32 << 20;
const BLOCK: usize = 4096;
/// Single writes of the random workload, and after how many of them a flush comes.
const WRITES: usize = 128;
const FLUSH_EVERY: usize = 16;
/// Blocks of the sequential workload, with one flush at the end.
const SEQUENTIAL: usize = 2048;

/// Bytes written for one workload in one mode.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) data: u64,
    pub(crate) kernel: u64,
    pub(crate) ours: u64,
}

const MODES: [(Mode, &str, &str); 3] = [
    (Mode::Journal, "journal", "--journal-commit-time 600000"),
    (
        Mode::Bitmap,
        "bitmap",
        "--integrity-bitmap-mode --bitmap-flush-time 600000",
    ),
    (Mode::Direct, "direct", "--integrity-no-journal"),
];

fn places() -> Vec<usize> {
    let mut prng = Prng::new(11);
    (0..WRITES).map(|_| prng.index(6000)).collect()
}

/// Has both do the same work on copies of one device.
pub(crate) fn measure(oracle: &Oracle, folder: &Path) -> Result<Vec<Measured>, String> {
    let disk = folder.join("disk");
    let text = |error: std::io::Error| error.to_string();
    std::fs::write(&disk, vec![0; SIZE]).map_err(text)?;
    let oracle = oracle.clone().with_limit(PATIENCE);
    let report = oracle
        .boot(&script(), &[&disk])
        .map_err(|error| error.to_string())?;
    let image = std::fs::read(&disk).map_err(text)?;
    let mut measured = Vec::new();
    for (mode, name, _) in MODES {
        for work in ["sequential", "random"] {
            let mark = format!("@written {name} {work} ");
            let mut lines = report
                .text
                .lines()
                .filter_map(|line| line.strip_prefix(&mark));
            let sectors = lines.next().and_then(|sectors| sectors.parse::<u64>().ok());
            let sectors = sectors.ok_or_else(|| format!("no {mark}in {}", report.text))?;
            let blocks = if work == "random" { WRITES } else { SEQUENTIAL };
            measured.push(Measured {
                name: format!("{name} mode, {work}"),
                data: (blocks * BLOCK) as u64,
                kernel: sectors * 512,
                ours: ours(&image, mode, work)?,
            });
        }
    }
    Ok(measured)
}

/// Opening, the work, and closing are counted together: what waits is written then.
fn script() -> String {
    let mut script = String::from(
        "echo 3 > /proc/sys/kernel/printk
         modprobe crc32c 2>/dev/null
         integritysetup format -q --integrity crc32c --sector-size 4096 /disk/0 || exit 3
         disk=$(basename $(readlink -f /disk/0))
         written() { set -- $(cat /sys/block/$disk/stat); echo $7; }
         put() { /usr/bin/dd if=/dev/urandom of=/dev/mapper/x bs=4096 seek=$1 count=$2 \
           oflag=direct \
           conv=notrunc$3 2>/tmp/said || { cat /tmp/said; exit 5; }; }\n",
    );
    for (_, name, words) in MODES {
        for work in ["sequential", "random"] {
            script += &format!(
                "before=$(written)
                 integritysetup open --integrity crc32c {words} /disk/0 x || exit 4\n"
            );
            if work == "sequential" {
                script += &format!("put 0 {SEQUENTIAL} ,fsync\n");
            } else {
                for (index, place) in places().into_iter().enumerate() {
                    let flush = if (index + 1) % FLUSH_EVERY == 0 {
                        ",fsync"
                    } else {
                        ""
                    };
                    script += &format!("put {place} 1 {flush}\n");
                }
            }
            script += &format!(
                "integritysetup close x || exit 6
                 echo \"@written {name} {work} $(($(written) - before))\"\n"
            );
        }
    }
    script
}

fn ours(image: &[u8], mode: Mode, work: &str) -> Result<u64, String> {
    let disk = MemDevice::from_bytes(image, SectorSize::S512);
    let disk = Arc::new(CountingDevice::new(disk));
    let digest = DigestName::parse("crc32c").map_err(|error| error.to_string())?;
    // The journal fits, as the kernel has it all in memory.
    let options = OpenOptions::new()
        .mode(mode)
        .journal_buffer(ByteLen::new(16 << 20));
    let devices = Devices::interleaved(Arc::clone(&disk));
    let device = HashedDevice::open(devices, options, digest, None);
    let device = device.map_err(|error| error.to_string())?;
    let failed = |error: luksmith::block::Error| error.to_string();
    let mut prng = Prng::new(12);
    // New data have new tags.
    let mut put = |block: usize| {
        let at = ByteOffset::new((block * BLOCK) as u64);
        device.write_at(at, &prng.bytes(BLOCK)).map_err(failed)
    };
    if work == "sequential" {
        for block in 0..SEQUENTIAL {
            put(block)?;
        }
        device.flush().map_err(failed)?;
    } else {
        for (index, place) in places().into_iter().enumerate() {
            put(place)?;
            if (index + 1) % FLUSH_EVERY == 0 {
                device.flush().map_err(failed)?;
            }
        }
    }
    device.close().map_err(failed)?;
    Ok(disk.take().written_bytes)
}
