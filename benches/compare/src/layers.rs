//! What the layers above the kernels cost: opening volumes of many sizes, bytes written per byte of
//! data by each mode of integrity, and reading beside another crate that opens LUKS2.

use std::io::{Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use luksmith::block::{
    BlockDevice, ByteLen, ByteOffset, Error, FileOptions, MemDevice, SectorSize,
};
use luksmith::{FormatOptions, KdfChoice, NewKeys, OpenOptions, Passphrase, Unlock, Volume};

use crate::harness::{Samples, median};
use crate::modes::Mode;
use crate::scratch::Scratch;

const PASSPHRASE: &[u8] = b"32 bytes of a generator, or so it";
/// Bytes before the data.
const HEADER: u64 = 16 << 20;
/// Bytes that the measure of write amplification writes.
const WRITTEN: u64 = 64 << 20;

fn passphrase() -> Passphrase {
    Passphrase::new(PASSPHRASE).expect("a passphrase")
}

fn options() -> FormatOptions {
    FormatOptions::luks2()
        .kdf(KdfChoice::HighEntropy)
        .sector_size(SectorSize::S4096)
}

fn series(row: &str, case: String, contender: &str, bytes: usize, ns: Vec<f64>) -> Samples {
    let (mid, one) = (median(&ns), contender);
    println!("{row} {case}: {one} {mid:.3}");
    Samples {
        row: row.to_owned(),
        case,
        contender: contender.to_owned(),
        bytes,
        ns,
        cycles: Vec::new(),
    }
}

/// Nanoseconds of opening and closing a volume that derives a key in 1000 iterations, by its size.
fn open_by_size() -> Vec<Samples> {
    let mut samples = Vec::new();
    let folder = Scratch::temporary();
    for shift in [24, 28, 32, 36, 40] {
        let Some(file) = folder.sparse("image", (1 << shift) + HEADER) else {
            println!("open: no sparse file of 2^{shift} bytes here");
            continue;
        };
        let passphrase = passphrase();
        let device = FileOptions::writer().open(&file).expect("the file");
        let keys = NewKeys::passphrase(&passphrase);
        luksmith::format(device, keys, &options())
            .and_then(Volume::close)
            .expect("a volume");
        let mut ns = Vec::new();
        for _ in 0..crate::harness::ROUNDS {
            let start = Instant::now();
            let device = FileOptions::reader().open(&file).expect("the file");
            let unlock = Unlock::Passphrase(&passphrase);
            let volume = luksmith::open(device, unlock, &OpenOptions::new().read_only());
            volume.and_then(Volume::close).expect("it opens");
            ns.push(start.elapsed().as_nanos() as f64);
        }
        let case = format!("open/sparse/2^{shift}");
        samples.push(series("open", case, "luksmith", 1, ns));
    }
    samples
}

/// A device that counts the bytes written to it.
struct Counting {
    inner: MemDevice,
    written: Arc<AtomicU64>,
}

impl BlockDevice for Counting {
    fn size(&self) -> ByteLen {
        self.inner.size()
    }

    fn sector_size(&self) -> SectorSize {
        self.inner.sector_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
        self.inner.read_at(at, buf)
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        self.written.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.inner.write_at(at, data)
    }

    fn flush(&self) -> Result<(), Error> {
        self.inner.flush()
    }
}

/// Bytes written to the device for each byte of data, by mode of integrity and by size of request;
/// 64 MiB in order, or scattered, with a flush every 8 MiB.
fn write_amplification() -> Vec<Samples> {
    let mut samples = Vec::new();
    for mode in Mode::ALL {
        for (order, request) in [("sequential", 64 << 10), ("scattered", 4 << 10)] {
            let written = Arc::new(AtomicU64::new(0));
            let device = Arc::new(Counting {
                inner: MemDevice::new(ByteLen::new(256 << 20), SectorSize::S512).expect("memory"),
                written: Arc::clone(&written),
            });
            let volume = mode.format(device);
            volume.flush().expect("a flush");
            let before = written.load(Ordering::Relaxed);
            let data = vec![0x5a; request];
            let requests = WRITTEN / request as u64;
            for number in 0..requests {
                // An odd factor visits each place once, far from the one before.
                let place = match order {
                    "sequential" => number,
                    _ => number.wrapping_mul(7919) % requests,
                };
                let at = ByteOffset::new(place * request as u64);
                volume.write_at(at, &data).expect("a write");
                if ((number + 1) * request as u64).is_multiple_of(8 << 20) {
                    volume.flush().expect("a flush");
                }
            }
            // Closing writes back what a journal still holds.
            drop(volume);
            let bytes = written.load(Ordering::Relaxed) - before;
            let ratio = bytes as f64 / WRITTEN as f64;
            let case = format!("amplification/{order}/{request}");
            samples.push(series("amplification", case, mode.name(), 1, vec![ratio]));
        }
    }
    samples
}

/// An image in memory as the kind of reader that the other crate asks for, at no cost of its own.
#[derive(Clone)]
struct Image(Cursor<Arc<Vec<u8>>>);

impl Read for Image {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let bytes = self.0.get_ref();
        let from = usize::try_from(self.0.position()).unwrap_or(usize::MAX);
        let rest = bytes.get(from..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        self.0.set_position((from + count) as u64);
        Ok(count)
    }
}

impl Seek for Image {
    fn seek(&mut self, pos: SeekFrom) -> std::io::Result<u64> {
        let len = self.0.get_ref().len() as u64;
        let to = match pos {
            SeekFrom::Start(to) => Some(to),
            SeekFrom::End(by) => len.checked_add_signed(by),
            SeekFrom::Current(by) => self.0.position().checked_add_signed(by),
        };
        let to = to.ok_or_else(|| std::io::Error::other("before the start"))?;
        self.0.set_position(to);
        Ok(to)
    }
}

/// Opening a volume of 48 MiB and reading 31 in 512-byte sectors, beside the crate `luks2`, which
/// counts sectors from the start of the device and so cannot read the last 16 MiB.
fn beside_luks2() -> Vec<Samples> {
    let passphrase = passphrase();
    let device = Arc::new(
        MemDevice::new(ByteLen::new(64 << 20), SectorSize::S512).expect("memory for an image"),
    );
    let keys = NewKeys::passphrase(&passphrase);
    let small = options().sector_size(SectorSize::S512);
    let volume = luksmith::format(Arc::clone(&device), keys, &small).expect("a volume");
    let plain: Vec<u8> = (0..=250).cycle().take(31 << 20).collect();
    volume.write_at(ByteOffset::ZERO, &plain).expect("a write");
    volume.close().expect("it closes");
    let mut bytes = vec![0; 64 << 20];
    device
        .read_at(ByteOffset::ZERO, &mut bytes)
        .expect("a read");
    let image = Image(Cursor::new(Arc::new(bytes)));
    let mut buffer = vec![0; plain.len()];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..5 {
        let start = Instant::now();
        let unlock = Unlock::Passphrase(&passphrase);
        let volume = luksmith::open(Arc::clone(&device), unlock, &OpenOptions::new().read_only());
        let volume = volume.expect("it opens");
        for (request, to) in buffer.chunks_mut(64 << 10).enumerate() {
            let at = ByteOffset::new((request as u64) << 16);
            volume.read_at(at, to).expect("a read");
        }
        times[0].push(start.elapsed().as_nanos() as f64 / plain.len() as f64);
        assert!(buffer == plain, "luksmith reads something else");
        buffer.fill(0);
        let start = Instant::now();
        let mut theirs = luks2::LuksDevice::from_device(image.clone(), PASSPHRASE, 512)
            .unwrap_or_else(|error| panic!("luks2 opens it: {error}"));
        // It has no sector before the first seek.
        theirs.seek(SeekFrom::Start(0)).expect("luks2 seeks");
        theirs.read_exact(&mut buffer).expect("luks2 reads it");
        times[1].push(start.elapsed().as_nanos() as f64 / plain.len() as f64);
        assert!(buffer == plain, "luks2 reads something else");
        buffer.fill(0);
    }
    let [ours, theirs] = times;
    let case = || "read/open-and-read/aes256-xts/sector512".to_owned();
    vec![
        series("crates", case(), "luksmith", plain.len(), ours),
        series("crates", case(), "luks2", plain.len(), theirs),
    ]
}

/// Cases that run together, and what their names have in common.
type Part = (&'static str, fn() -> Vec<Samples>);

/// All cases of this file whose name holds `filter`.
pub fn run(filter: &str) -> Vec<Samples> {
    let parts: [Part; 3] = [
        ("open/sparse", open_by_size),
        ("amplification", write_amplification),
        ("read/open-and-read", beside_luks2),
    ];
    parts
        .into_iter()
        .filter(|(name, _)| name.contains(filter))
        .flat_map(|(_, part)| part())
        .collect()
}
