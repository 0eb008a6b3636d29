//! A device that loses power: what was not flushed is written, dropped, torn or scrambled.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Capabilities, Error, Operation, SectorSize,
};

use crate::{
    Prng,
    image::{Image, PIECE_BYTES, Piece},
};

/// What may happen to unflushed 512-byte pieces when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fates {
    /// Each piece is what it was before or one of the versions written since: the contract of
    /// [`BlockDevice`].
    OldOrNew,
    /// As `OldOrNew`, or the first half of one version and the second of another.
    Torn,
    /// As `Torn`, or noise. Only detection can be promised.
    Scrambled,
}

/// How crash images are chosen.
#[derive(Clone, Copy, Debug)]
pub struct CrashOptions {
    /// What may happen to a piece.
    pub fates: Fates,
    /// Every combination is made when there are at most this many.
    pub exhaustive_up_to: u64,
    /// Random combinations that are made when there are more; all-old and all-new come first.
    pub random: u64,
    /// Seed of the random choices.
    pub seed: u64,
}

impl Default for CrashOptions {
    fn default() -> Self {
        Self {
            fates: Fates::OldOrNew,
            exhaustive_up_to: 64,
            random: 16,
            seed: 1,
        }
    }
}

/// One request that reached the device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Bytes were written.
    Write {
        /// Where.
        at: ByteOffset,
        /// What.
        data: Arc<[u8]>,
    },
    /// A range was made to read as zeros, by zeroing or discarding it.
    Zero {
        /// Where.
        at: ByteOffset,
        /// How many bytes.
        len: ByteLen,
    },
    /// All that was acknowledged became durable.
    Flush,
    /// The test said where it is: see [`CrashDevice::mark`].
    Mark(u64),
}

/// A device that keeps unflushed writes apart, so that a test can cut the power at any point.
///
/// Reads see every write. [`crash`](Self::crash) gives what the medium may hold if the power went
/// now; with [`recording`](Self::recording) every request of a finished run becomes a crash point.
#[derive(Debug)]
pub struct CrashDevice {
    state: Mutex<State>,
    size: ByteLen,
    sector_size: SectorSize,
    discard: bool,
}

#[derive(Debug)]
struct State {
    start: Image,
    durable: Image,
    current: Image,
    pending: Pending,
    events: Option<Vec<Event>>,
}

/// Versions of each piece since the last flush, oldest first.
#[derive(Clone, Debug, Default)]
struct Pending(BTreeMap<u64, Vec<Piece>>);

impl CrashDevice {
    /// Starts from `image`, with nothing pending, and records every request.
    #[must_use]
    pub fn new(image: Image, sector_size: SectorSize) -> Self {
        let unit = sector_size.byte_len().get();
        Self {
            size: ByteLen::new(image.size().get() / unit * unit),
            state: Mutex::new(State {
                start: image.clone(),
                durable: image.clone(),
                current: image,
                pending: Pending::default(),
                events: Some(Vec::new()),
            }),
            sector_size,
            discard: true,
        }
    }

    /// Starts from a copy of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8], sector_size: SectorSize) -> Self {
        Self::new(Image::from_bytes(bytes), sector_size)
    }

    /// Keeps no record of requests, for long runs that only use [`crash`](Self::crash).
    #[must_use]
    pub fn without_recording(self) -> Self {
        self.state().events = None;
        self
    }

    /// Makes discards fail as unsupported.
    #[must_use]
    pub fn without_discard(mut self) -> Self {
        self.discard = false;
        self
    }

    /// Writes a note of the test into the record, such as "operation 7 was acknowledged".
    pub fn mark(&self, note: u64) {
        self.state().record(|| Event::Mark(note));
    }

    /// Gives the record of the run so far.
    ///
    /// # Panics
    /// If the device was made [`without_recording`](Self::without_recording).
    #[must_use]
    pub fn recording(&self) -> Recording {
        let state = self.state();
        Recording {
            start: state.start.clone(),
            events: state.events.clone().expect("this device records"),
            sector_size: self.sector_size,
        }
    }

    /// Gives what the medium may hold if the power went now, one choice out of many.
    #[must_use]
    pub fn crash(&self, prng: &mut Prng, fates: Fates) -> Image {
        let state = self.state();
        let mut image = state.durable.clone();
        state.pending.random(&mut image, prng, fates);
        image
    }

    /// Gives what reads see now.
    #[must_use]
    pub fn current(&self) -> Image {
        self.state().current.clone()
    }

    /// Gives what is certain to survive.
    #[must_use]
    pub fn durable(&self) -> Image {
        self.state().durable.clone()
    }

    /// Gives how many 512-byte pieces are not durable.
    #[must_use]
    pub fn pending_pieces(&self) -> usize {
        self.state().pending.0.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn zero(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        self.check_range(at, len)?;
        let mut state = self.state();
        for sector in sectors(at, len) {
            state.put(sector, [0; PIECE_BYTES]);
        }
        state.record(|| Event::Zero { at, len });
        Ok(())
    }
}

impl State {
    fn put(&mut self, sector: u64, piece: Piece) {
        self.current.set_piece(sector, piece);
        self.pending.0.entry(sector).or_default().push(piece);
    }

    fn flush(&mut self) {
        // Dropped first, so that settling need not copy what both share.
        self.current = Image::zeros(0);
        self.pending.settle(&mut self.durable);
        self.current = self.durable.clone();
    }

    fn record(&mut self, event: impl FnOnce() -> Event) {
        if let Some(events) = &mut self.events {
            events.push(event());
        }
    }
}

impl BlockDevice for CrashDevice {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn sector_size(&self) -> SectorSize {
        self.sector_size
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
        let len = ByteLen::of(buf);
        self.check_range(at, len)?;
        let state = self.state();
        for (sector, piece) in sectors(at, len).zip(buf.chunks_mut(PIECE_BYTES)) {
            state.current.read_piece(sector, piece);
        }
        Ok(())
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        let len = ByteLen::of(data);
        self.check_range(at, len)?;
        let mut state = self.state();
        for (sector, piece) in sectors(at, len).zip(data.as_chunks().0) {
            state.put(sector, *piece);
        }
        state.record(|| Event::Write {
            at,
            data: data.into(),
        });
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        let mut state = self.state();
        state.flush();
        state.record(|| Event::Flush);
        Ok(())
    }

    fn write_zeroes(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        self.zero(at, len)
    }

    fn discard(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        if !self.discard {
            return Err(Error::Unsupported {
                operation: Operation::Discard,
            });
        }
        self.zero(at, len)
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.discard = self.discard;
        capabilities.zeroes_after_discard = self.discard;
        capabilities
    }
}

/// The requests of one run, and the contents it started from.
#[derive(Clone, Debug)]
pub struct Recording {
    start: Image,
    events: Vec<Event>,
    sector_size: SectorSize,
}

/// The power went after `after` events (the last of which may not have reached the medium).
#[derive(Clone, Debug)]
pub struct CrashPoint {
    /// How many events of the recording had been issued.
    pub after: usize,
    durable: Image,
    pending: Pending,
}

impl Recording {
    /// Gives all requests, in the order in which the device took them.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Gives the device's unit of requests.
    #[must_use]
    pub fn sector_size(&self) -> SectorSize {
        self.sector_size
    }

    /// Gives the notes made before the crash point `after`, in order.
    pub fn marks_before(&self, after: usize) -> impl Iterator<Item = u64> {
        self.events
            .iter()
            .take(after)
            .filter_map(|event| match event {
                Event::Mark(note) => Some(*note),
                _ => None,
            })
    }

    /// Gives every crash point: before the first event and after each write, zeroing and flush.
    pub fn points(&self) -> impl Iterator<Item = CrashPoint> {
        let mut point = CrashPoint {
            after: 0,
            durable: self.start.clone(),
            pending: Pending::default(),
        };
        point.durable.settle();
        let later = self.events.iter().filter_map(move |event| {
            point.after += 1;
            point.apply(event);
            (!matches!(event, Event::Mark(_))).then(|| point.clone())
        });
        let first = CrashPoint {
            after: 0,
            durable: self.start.clone(),
            pending: Pending::default(),
        };
        std::iter::once(first).chain(later)
    }

    /// Calls `check` with every crash point and each of its images; gives the number of images.
    ///
    /// A panic inside `check` is preceded by a line that names the point and the seed.
    pub fn for_each_crash(
        &self,
        options: &CrashOptions,
        mut check: impl FnMut(&CrashPoint, Image),
    ) -> u64 {
        let mut count = 0;
        for point in self.points() {
            for (index, image) in point.images(options).enumerate() {
                let place = Place {
                    after: point.after,
                    event: point.after.checked_sub(1).map(|i| &self.events[i]),
                    index,
                    seed: options.seed,
                };
                check(&point, image);
                std::mem::forget(place);
                count += 1;
            }
        }
        count
    }
}

/// Prints where a check failed.
struct Place<'a> {
    after: usize,
    event: Option<&'a Event>,
    index: usize,
    seed: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let what = match self.event {
            None => "the start".to_owned(),
            Some(Event::Write { at, data }) => format!("a write of {} at {at}", data.len()),
            Some(Event::Zero { at, len }) => format!("zeroing {len} at {at}"),
            Some(Event::Flush) => "a flush".to_owned(),
            Some(Event::Mark(note)) => format!("mark {note}"),
        };
        eprintln!(
            "crash point {} (after {what}), image {}, seed {}: the check failed",
            self.after, self.index, self.seed
        );
    }
}

impl CrashPoint {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Write { at, data } => {
                let pieces = sectors(*at, ByteLen::of(data)).zip(data.as_chunks().0);
                for (sector, piece) in pieces {
                    self.pending.0.entry(sector).or_default().push(*piece);
                }
            }
            Event::Zero { at, len } => {
                for sector in sectors(*at, *len) {
                    let versions = self.pending.0.entry(sector).or_default();
                    versions.push([0; PIECE_BYTES]);
                }
            }
            Event::Flush => self.pending.settle(&mut self.durable),
            Event::Mark(_) => {}
        }
    }

    /// Gives how many pieces may be old or new at this point.
    #[must_use]
    pub fn pending_pieces(&self) -> usize {
        self.pending.0.len()
    }

    /// Gives what the medium may hold: every combination when few, chosen ones when many.
    pub fn images(&self, options: &CrashOptions) -> impl Iterator<Item = Image> {
        let combinations = self.pending.combinations(options.fates);
        let exhaustive = combinations.is_some_and(|count| count <= options.exhaustive_up_to);
        let count = match combinations {
            Some(count) if exhaustive => count,
            _ => options.random + 2,
        };
        let mut prng = Prng::new(options.seed ^ ((self.after as u64) << 32));
        let fates = options.fates;
        (0..count).map(move |index| {
            let mut image = self.durable.clone();
            match index {
                _ if exhaustive => self.pending.numbered(&mut image, index, fates, &mut prng),
                0 => {}
                1 => self.pending.newest(&mut image),
                _ => self.pending.random(&mut image, &mut prng, fates),
            }
            image
        })
    }
}

impl Pending {
    /// Makes everything durable.
    fn settle(&mut self, durable: &mut Image) {
        self.newest(durable);
        self.0.clear();
        durable.settle();
    }

    fn newest(&self, image: &mut Image) {
        for (&sector, versions) in &self.0 {
            if let Some(newest) = versions.last() {
                image.set_piece(sector, *newest);
            }
        }
    }

    /// Gives the number of combinations, `None` if it does not fit.
    fn combinations(&self, fates: Fates) -> Option<u64> {
        let mut product = 1u64;
        for versions in self.0.values() {
            product = product.checked_mul(choices(versions, fates))?;
        }
        Some(product)
    }

    fn numbered(&self, image: &mut Image, mut index: u64, fates: Fates, prng: &mut Prng) {
        for (&sector, versions) in &self.0 {
            let choices = choices(versions, fates);
            settle_piece(image, sector, versions, index % choices, prng);
            index /= choices;
        }
    }

    fn random(&self, image: &mut Image, prng: &mut Prng, fates: Fates) {
        // Whole requests tend to reach the medium or not: besides independent pieces, half of the
        // images take mostly new or mostly old ones.
        let lean = prng.below(4);
        for (&sector, versions) in &self.0 {
            let newest = versions.len() as u64;
            let choice = match lean {
                0 if prng.chance(7, 8) => newest,
                1 if prng.chance(7, 8) => 0,
                _ => prng.below(choices(versions, fates)),
            };
            settle_piece(image, sector, versions, choice, prng);
        }
    }
}

/// Old, each version, and by `fates` a torn and a scrambled one.
fn choices(versions: &[Piece], fates: Fates) -> u64 {
    let extra = match fates {
        Fates::OldOrNew => 0,
        Fates::Torn => 1,
        Fates::Scrambled => 2,
    };
    1 + versions.len() as u64 + extra
}

fn settle_piece(image: &mut Image, sector: u64, versions: &[Piece], choice: u64, prng: &mut Prng) {
    let count = versions.len();
    match usize::try_from(choice).unwrap_or(usize::MAX) {
        0 => {}
        version if version <= count => image.set_piece(sector, versions[version - 1]),
        extra if extra == count + 1 => {
            let mut torn = versions[count - 1];
            let old = image.piece(sector);
            let (half, _) = torn.split_at_mut(PIECE_BYTES / 2);
            half.copy_from_slice(&old[..PIECE_BYTES / 2]);
            image.set_piece(sector, torn);
        }
        _ => {
            let mut noise = [0; PIECE_BYTES];
            prng.fill(&mut noise);
            image.set_piece(sector, noise);
        }
    }
}

fn sectors(at: ByteOffset, len: ByteLen) -> std::ops::Range<u64> {
    let piece = PIECE_BYTES as u64;
    at.get() / piece..(at.get() + len.get()) / piece
}

#[cfg(test)]
mod tests;
