//! Boots with many small devices on one disk, and what becomes of them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use luksmith::block::{BlockDevice as _, ByteOffset, SectorSize};
use luksmith_testkit::{CrashDevice, Fates, LoggedRequest, Oracle, Prng, parse_write_log};

use super::ours::Images;
use super::script::{Names, PREPARE};

/// Printed when all that is waited for was done.
pub(crate) const DONE: &str = "@done";
/// How often a machine that fails is started again.
const ATTEMPTS: u32 = 3;
/// The file that takes the log.
const LOG: &str = "log";
/// Bytes of a chunk that stays a hole when it is zeros.
const CHUNK: usize = 65536;

/// A device for one boot.
pub(crate) struct Guest {
    pub(crate) names: Names,
    pub(crate) images: Images,
    /// Bytes that are read from it, if any are.
    pub(crate) out: usize,
}

/// What a boot left behind, by guest.
pub(crate) struct Left {
    pub(crate) text: String,
    pub(crate) images: Vec<Images>,
    pub(crate) out: Vec<Vec<u8>>,
    /// What reached the disk.
    pub(crate) log: Log,
    /// Machines that failed before one did what it was told.
    pub(crate) failed: u32,
}

/// The place of each guest's parts on the disks, in bytes.
#[derive(Clone, Debug)]
struct Place {
    main: usize,
    data: usize,
    out: usize,
}

/// All requests that reached the disk with the devices, marks of the script among them.
#[derive(Debug, Default)]
pub(crate) struct Log {
    requests: Vec<LoggedRequest>,
    places: Vec<Place>,
}

/// Where the power goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// Requests that reached the disk.
    after: usize,
    /// The act that had begun. Those before it were done.
    pub(crate) act: usize,
}

/// Boots with all guests, and keeps a log of what reaches their disk.
///
/// A machine that does not come as far as [`DONE`] says nothing about any device: it is started
/// again with the same disks, and an error here is not a verdict.
pub(crate) fn boot(
    oracle: &Oracle,
    folder: &Path,
    pattern: &[u8],
    guests: &[Guest],
    body: &str,
) -> Result<Left, String> {
    let (places, script) = place(guests, body);
    let paths: Vec<PathBuf> = ["pattern", "devices", "out"]
        .iter()
        .map(|name| folder.join(name))
        .collect();
    let disks: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let log = folder.join(LOG);
    let mut why = String::new();
    for failed in 0..ATTEMPTS {
        write_disks(&paths, pattern, guests, &places).map_err(|error| error.to_string())?;
        match oracle.boot_with_log(&script, &disks, Some((1, &log))) {
            Ok(report) if report.text.contains(DONE) => {
                let left = read_disks(&paths, guests, &places);
                return Ok(Left {
                    text: report.text,
                    failed,
                    ..left.map_err(|error| error.to_string())?
                });
            }
            Ok(report) => why = format!("it stopped early; printed:\n{}", report.text),
            Err(problem) => why = problem.to_string(),
        }
        println!("machine failed, attempt {}: {why}", failed + 1);
    }
    Err(format!("the machine failed {ATTEMPTS} times: {why}"))
}

/// Lays the guests out and says so in the script.
fn place(guests: &[Guest], body: &str) -> (Vec<Place>, String) {
    let mut script = PREPARE.to_owned();
    // The marks come first.
    let (mut devices, mut outs) = (CHUNK, 0);
    let mut places = Vec::new();
    let mut part = |name: String, disk: u32, next: &mut usize, len: usize| {
        let at = *next;
        if len > 0 {
            script += &format!("part {name} {disk} {} {}\n", at / 512, len / 512);
        }
        *next = (at + len).next_multiple_of(CHUNK);
        at
    };
    for guest in guests {
        let names = &guest.names;
        let data = guest.images.data.as_ref().map_or(0, Vec::len);
        places.push(Place {
            main: part(names.main(), 1, &mut devices, guest.images.main.len()),
            data: part(names.data(), 1, &mut devices, data),
            out: part(names.out(), 2, &mut outs, guest.out),
        });
    }
    (places, script + body)
}

fn write_disks(
    paths: &[PathBuf],
    pattern: &[u8],
    guests: &[Guest],
    places: &[Place],
) -> std::io::Result<()> {
    fs::write(&paths[0], pattern)?;
    let end = |at: usize, len: usize| (at + len).next_multiple_of(CHUNK) as u64;
    let mut disk = File::create(&paths[1])?;
    let mut len = CHUNK as u64;
    let mut out_len = CHUNK as u64;
    for (guest, place) in guests.iter().zip(places) {
        let mut put = |at: usize, bytes: &[u8]| {
            len = len.max(end(at, bytes.len()));
            write_sparse(&mut disk, at, bytes)
        };
        put(place.main, &guest.images.main)?;
        if let Some(data) = &guest.images.data {
            put(place.data, data)?;
        }
        out_len = out_len.max(end(place.out, guest.out));
    }
    disk.set_len(len)?;
    File::create(&paths[2])?.set_len(out_len)
}

fn write_sparse(disk: &mut File, at: usize, bytes: &[u8]) -> std::io::Result<()> {
    for (number, chunk) in bytes.chunks(CHUNK).enumerate() {
        if chunk.iter().any(|byte| *byte != 0) {
            disk.seek(SeekFrom::Start((at + number * CHUNK) as u64))?;
            disk.write_all(chunk)?;
        }
    }
    Ok(())
}

fn read_disks(paths: &[PathBuf], guests: &[Guest], places: &[Place]) -> std::io::Result<Left> {
    let (devices, outs) = (fs::read(&paths[1])?, fs::read(&paths[2])?);
    let requests = parse_write_log(&fs::read(paths[1].with_file_name(LOG))?);
    let pairs = guests.iter().zip(places);
    let images = pairs.clone().map(|(guest, place)| Images {
        main: devices[place.main..place.main + guest.images.main.len()].to_vec(),
        data: guest
            .images
            .data
            .as_ref()
            .map(|data| devices[place.data..place.data + data.len()].to_vec()),
    });
    Ok(Left {
        text: String::new(),
        images: images.collect(),
        out: pairs
            .map(|(guest, place)| outs[place.out..place.out + guest.out].to_vec())
            .collect(),
        log: Log {
            requests,
            places: places.to_vec(),
        },
        failed: 0,
    })
}

impl Log {
    /// Gives the marks of a set: how many requests had reached the disk, and the acts done.
    fn marks(&self, number: u32) -> Vec<(usize, usize)> {
        let mark = format!("@mark {number} ");
        let acts = self
            .requests
            .iter()
            .enumerate()
            .filter_map(|(index, request)| {
                let text = request.data.strip_prefix(mark.as_bytes())?;
                let line = text.split(|byte| *byte == b'\n').next()?;
                let act = str::from_utf8(line).ok()?.parse().ok()?;
                (request.at == 0).then_some((index, act))
            });
        acts.collect()
    }

    /// Chooses an act of a set, and a request to its device while it lasted, as the last one.
    pub(crate) fn any_point(
        &self,
        guest: usize,
        of: &Guest,
        number: u32,
        prng: &mut Prng,
    ) -> Result<Point, String> {
        let marks = self.marks(number);
        let touches = |index: &usize| self.touches(guest, of, *index);
        let points: Vec<Vec<Point>> = marks
            .windows(2)
            .map(|pair| {
                let act = pair[1].1;
                let requests = (pair[0].0..pair[1].0).filter(touches);
                let points = requests.map(|index| Point {
                    after: index + 1,
                    act,
                });
                points.collect()
            })
            .filter(|points: &Vec<Point>| !points.is_empty())
            .collect();
        if points.is_empty() {
            return Err(format!(
                "no request of an act in the log, marks are {marks:?}"
            ));
        }
        let points = &points[prng.index(points.len())];
        Ok(points[prng.index(points.len())])
    }

    /// Chooses any request to a device as the last one; none if there was none.
    pub(crate) fn any_request(&self, guest: usize, of: &Guest, prng: &mut Prng) -> Option<Point> {
        let touches = |index: &usize| self.touches(guest, of, *index);
        let requests: Vec<usize> = (0..self.requests.len()).filter(touches).collect();
        (!requests.is_empty()).then(|| Point {
            after: requests[prng.index(requests.len())] + 1,
            act: 0,
        })
    }

    fn touches(&self, guest: usize, of: &Guest, index: usize) -> bool {
        let pieces = self.places[guest].pieces(&of.images, &self.requests[index]);
        pieces.into_iter().any(|(_, data)| !data.is_empty())
    }

    /// Gives what a device may hold if the power went at a point: `of` is how it began.
    pub(crate) fn crash(&self, guest: usize, of: &Guest, point: Point, prng: &mut Prng) -> Images {
        let Images { main, data } = &of.images;
        let mut whole = main.clone();
        whole.extend_from_slice(data.as_deref().unwrap_or_default());
        let disk = CrashDevice::from_bytes(&whole, SectorSize::S512).without_recording();
        const FAULTLESS: &str = "a memory device";
        for request in &self.requests[..point.after] {
            if request.flushes_before && disk.pending_pieces() > 0 {
                disk.flush().expect(FAULTLESS);
            }
            for (at, bytes) in self.places[guest].pieces(&of.images, request) {
                let at = ByteOffset::new(at as u64);
                disk.write_at(at, bytes).expect(FAULTLESS);
            }
            if request.is_durable && disk.pending_pieces() > 0 {
                disk.flush().expect(FAULTLESS);
            }
        }
        let mut main_bytes = disk.crash(prng, Fates::OldOrNew).to_vec();
        let data_bytes = main_bytes.split_off(main.len());
        Images {
            main: main_bytes,
            data: data.is_some().then_some(data_bytes),
        }
    }

    /// Gives the whole device as the disk took it, to compare with what it holds.
    pub(crate) fn all(&self, guest: usize, of: &Guest) -> Images {
        let mut images = of.images.clone();
        let len = images.main.len();
        for request in &self.requests {
            for (at, bytes) in self.places[guest].pieces(&of.images, request) {
                let part = match images.data.as_mut() {
                    Some(data) if at >= len => &mut data[at - len..],
                    _ => &mut images.main[at..],
                };
                part[..bytes.len()].copy_from_slice(bytes);
            }
        }
        images
    }
}

impl Place {
    /// Gives what a request wrote to the two parts of a device, by its byte in both together.
    fn pieces<'a>(&self, of: &Images, request: &'a LoggedRequest) -> [(usize, &'a [u8]); 2] {
        let main = of.main.len();
        let piece = |from: usize, len: usize, before: usize| {
            let (start, end) = (request.at, request.at + request.data.len());
            let (first, last) = (start.max(from), end.min(from + len));
            match first < last {
                true => (
                    before + first - from,
                    &request.data[first - start..last - start],
                ),
                false => (before, &[][..]),
            }
        };
        let data = of.data.as_ref().map_or(0, Vec::len);
        [piece(self.main, main, 0), piece(self.data, data, main)]
    }
}

/// Gives what the script complained about in what concerns one set.
pub(crate) fn complaints(text: &str, number: u32) -> Result<(), String> {
    let mark = format!("@bad {number} ");
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&mark));
    let first = lines.next();
    first.map_or(Ok(()), |first| {
        let said: Vec<&str> = lines.take_while(|line| !line.starts_with('@')).collect();
        Err(format!("{first}: {}", said.join(" ")))
    })
}

/// Gives the value that the script printed under a name for one set.
pub(crate) fn value<'a>(text: &'a str, name: &str, number: u32) -> Result<&'a str, String> {
    let mark = format!("@{name} {number} ");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(&mark));
    lines
        .next()
        .ok_or_else(|| format!("the script printed no {name}"))
}

/// Gives the blocks that the kernel could not read.
pub(crate) fn failed_blocks(text: &str, number: u32) -> Result<BTreeSet<usize>, String> {
    let mark = format!("@failed {number} ");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&mark));
    lines
        .map(|line| {
            let counts = line
                .split_once(' ')
                .and_then(|(counts, _)| counts.split_once('+'));
            let (whole, partial) = counts.ok_or_else(|| line.to_owned())?;
            let count = |text: &str| text.parse::<usize>().map_err(|_| line.to_owned());
            Ok(count(whole)? + count(partial)?)
        })
        .collect()
}
