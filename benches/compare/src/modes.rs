//! Requests of 4 KiB through volumes of each mode of integrity, beside a volume without tags.

use std::sync::Arc;

use luksmith::block::{BlockDevice, ByteOffset, SectorSize};
use luksmith::integrity::{self, Devices, DigestName, FormatRequest, HashedDevice};

use crate::harness::Samples;
use crate::paired::{Clock, Shape, Side, sample, side};
use crate::scratch::Scratch;
use crate::volume::{COMMIT, DEVICE, memory, options, volume};
use crate::xts::Pages;

/// Bytes of a request: one sector.
const REQUEST: usize = 4096;
/// Bytes of a sample, a part of the volume of its own.
const BYTES: usize = 16 << 20;
const KEY: &[u8] = b"32 bytes of a generator, or so it";

/// How a volume keeps tags.
#[derive(Clone, Copy)]
pub enum Mode {
    NoTags,
    Direct,
    Bitmap,
    Journal,
}

impl Mode {
    pub const ALL: [Self; 4] = [Self::NoTags, Self::Direct, Self::Bitmap, Self::Journal];

    pub fn name(self) -> &'static str {
        match self {
            Self::NoTags => "no tags",
            Self::Direct => "direct",
            Self::Bitmap => "bitmap",
            Self::Journal => "journal",
        }
    }

    /// A volume of this mode. LUKS2 has none for bitmaps: that one is a volume without tags on a
    /// device of dm-integrity with a keyed hash, which is how the two are used together.
    pub fn format(self, device: impl BlockDevice + 'static) -> Box<dyn BlockDevice> {
        Box::new(match self {
            Self::NoTags => volume(device, &options(false)),
            Self::Direct => volume(device, &options(true).without_journal()),
            Self::Journal => volume(device, &options(true)),
            Self::Bitmap => volume(bitmap(Arc::new(device)), &options(false)),
        })
    }
}

fn bitmap<D: BlockDevice>(device: Arc<D>) -> HashedDevice<Arc<D>> {
    let digest = DigestName::parse("hmac(sha256)").expect("a digest");
    let request = FormatRequest::new(digest.digest_bytes(), SectorSize::S4096).expect("a shape");
    let devices = || Devices::interleaved(Arc::clone(&device));
    integrity::format(&devices(), &request, None, None).expect("a device");
    let options = integrity::OpenOptions::new()
        .mode(integrity::Mode::Bitmap)
        .flags(integrity::FlagPolicy::Standalone);
    HashedDevice::open(devices(), options, digest, Some(KEY)).expect("it opens")
}

/// Where the requests of a sample go.
#[derive(Clone, Copy)]
enum Order {
    Sequential,
    Random,
}

impl Order {
    fn place(self, request: usize) -> ByteOffset {
        let count = BYTES / REQUEST;
        let request = match self {
            Self::Sequential => request,
            Self::Random => {
                // Odd factors and shifts give each place once, and none near the one before.
                let mixed = request * 2531 % count;
                let mixed = (mixed ^ (mixed >> 5)) * 1229 % count;
                mixed ^ (mixed >> 7)
            }
        };
        ByteOffset::new((request * REQUEST) as u64)
    }
}

/// All requests of a sample, with a flush every 8 MiB and at the end.
fn write<'a>(device: &'a dyn BlockDevice, order: Order) -> impl FnMut() + 'a {
    let mut data = Pages::pattern(REQUEST);
    let mut round = 0_u64;
    move || {
        for request in 0..BYTES / REQUEST {
            // New data each time, as a file system would write.
            round += 1;
            data.bytes()[..8].copy_from_slice(&round.to_le_bytes());
            let written = device.write_at(order.place(request), data.bytes());
            written.expect("a write");
            if ((request + 1) * REQUEST).is_multiple_of(COMMIT) {
                device.flush().expect("a flush");
            }
        }
    }
}

fn read<'a>(device: &'a dyn BlockDevice, order: Order) -> impl FnMut() + 'a {
    let mut data = Pages::pattern(REQUEST);
    move || {
        for request in 0..BYTES / REQUEST {
            let read = device.read_at(order.place(request), data.bytes());
            read.expect("a read");
        }
    }
}

/// Both directions and orders over volumes that lie on `medium`.
fn compare(medium: &str, volumes: &[(Mode, Box<dyn BlockDevice>)]) -> Vec<Samples> {
    type Work = for<'a> fn(&'a dyn BlockDevice, Order) -> Box<dyn FnMut() + 'a>;
    let directions: [(&str, Work); 2] = [
        ("write", |device, order| Box::new(write(device, order))),
        ("read", |device, order| Box::new(read(device, order))),
    ];
    let mut samples = Vec::new();
    for (direction, work) in directions {
        for (name, order) in [("sequential", Order::Sequential), ("random", Order::Random)] {
            let shape = Shape {
                row: "modes",
                name: format!("modes/{medium}/{direction}/{name}/4KiB"),
                bytes: BYTES,
                calls: 1,
                clock: Clock::AllCpu,
            };
            let sides: Vec<Side<'_>> = volumes
                .iter()
                .map(|(mode, volume)| side(mode.name(), work(volume.as_ref(), order)))
                .collect();
            samples.extend(sample(&shape, sides));
        }
    }
    samples
}

/// All cases of this file whose name holds `filter`.
pub fn run(filter: &str) -> Vec<Samples> {
    let mut samples = Vec::new();
    if "modes/memory".contains(filter) {
        let volumes = Mode::ALL.map(|mode| (mode, mode.format(memory())));
        samples.extend(compare("memory", &volumes));
    }
    if "modes/file".contains(filter) {
        let Some(folder) = Scratch::on_tmpfs() else {
            println!("modes: there is no tmpfs here");
            return samples;
        };
        let volumes = Mode::ALL.map(|mode| (mode, mode.format(folder.device(mode.name(), DEVICE))));
        samples.extend(compare("file", &volumes));
    }
    for case in samples.chunk_by(|a, b| a.case == b.case) {
        crate::harness::print(case);
    }
    samples
}
