//! Power loss at any point: random work on a device that loses what was not flushed.
//!
//! Every request of a run is a crash point. After the crash, and after another one during recovery,
//! what `flush` acknowledged is there; in journal mode every block is old or new and matches its
//! tag; in direct mode only blocks written since the last flush may mismatch; in bitmap mode such
//! blocks may hold anything, once marked regions were recalculated.
//!
//! `LUKSMITH_CRASHES` sets how many crash images are looked at (20,000 unless set), `LUKSMITH_SEED`
//! the first seed. Seeds that failed are printed.

#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::Arc,
    time::Duration,
};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Control, Error, SectorCount, SectorSize, TaggedDevice,
};
use luksmith_integrity::{
    Devices, DigestName, DiscardMarker, Error as IntegrityError, FormatRequest, HashedDevice,
    Interleave, Mode, OpenOptions, Recalculation, TagMaker, format, recalculate,
};
use luksmith_testkit::{CrashDevice, CrashOptions, Fates, Image, Prng, Recording};

const DIGEST: DigestName = DigestName::Crc32c;

/// How one run is made.
#[derive(Clone, Copy, Debug)]
struct Case {
    #[expect(dead_code, reason = "printed with the case when it fails")]
    seed: u64,
    block: SectorSize,
    sections: u64,
    watermark: u8,
    journal_buffer: u64,
}

/// What a block held, newest last: the operation that wrote it. Operation 0 is the format.
type History = Vec<Vec<u64>>;

/// What the test knows about a moment of the run.
struct Known {
    history: History,
    /// For each session's start, the mode it was opened in.
    modes: Vec<(u64, Mode)>,
    /// Operations that discarded: their blocks hold zeros.
    discards: BTreeSet<u64>,
}

/// What stands for a block of zeros among the operations found.
const ZEROS: u64 = u64::MAX;

/// Opens; what bitmap mode left behind is recalculated first.
fn open<D: BlockDevice>(device: Arc<D>, options: OpenOptions) -> HashedDevice<Arc<D>> {
    let devices = || Devices::interleaved(Arc::clone(&device));
    match HashedDevice::open(devices(), options.clone(), DIGEST, None) {
        Err(IntegrityError::BitmapDirty) => {
            let control = Control::new();
            let due = Recalculation::Due;
            recalculate(
                devices(),
                options.clone(),
                DIGEST,
                None,
                due,
                false,
                &control,
            )
            .expect("no faults here");
            HashedDevice::open(devices(), options, DIGEST, None)
        }
        opened => opened,
    }
    .expect("a device that was formatted")
}

fn options(case: &Case, mode: Mode) -> OpenOptions {
    OpenOptions::new()
        .mode(mode)
        .watermark(case.watermark)
        .journal_buffer(ByteLen::new(case.journal_buffer))
        .tag_cache(ByteLen::new(0))
        .sectors_per_bit(16)
}

/// Gives the contents of block `index` as operation `operation` wrote it: no two sectors are alike.
fn contents(block: SectorSize, index: usize, operation: u64) -> Vec<u8> {
    let index = u64::try_from(index).expect("a small device");
    (0..u64::try_from(block.bytes() / 16).expect("at most 4096"))
        .flat_map(|word| [operation, index << 32 | word])
        .flat_map(u64::to_le_bytes)
        .collect()
}

/// Tells which operation wrote these contents.
fn operation(block: SectorSize, index: usize, bytes: &[u8]) -> Option<u64> {
    if bytes.iter().all(|byte| *byte == 0) && index > 0 {
        return Some(ZEROS);
    }
    let operation = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
    (operation < 1 << 20 && contents(block, index, operation) == bytes).then_some(operation)
}

/// Formats a small device: tags of 255 bytes make sections of eight entries.
fn formatted(case: &Case) -> Vec<u8> {
    let spb = case.block.sectors().get();
    let section = 8 + 8 * spb;
    let sectors = 8 + section * case.sections + 7 * (8 + 8 * spb.max(2)) + 5;
    let len = usize::try_from(sectors * 512).expect("a small device");
    let device = Arc::new(CrashDevice::from_bytes(&vec![0; len], SectorSize::S512));
    let request = FormatRequest::new(255, case.block)
        .expect("a tag size that exists")
        .journal_sectors(SectorCount::new(section * case.sections))
        .interleave(Interleave::Sectors(8 * u32::try_from(spb).expect("1 to 8")));
    let (superblock, _) =
        format(&Devices::interleaved(&device), &request, None, None).expect("room enough");
    assert_eq!(u64::from(superblock.journal_sections()), case.sections);
    let hashed = open(Arc::clone(&device), options(case, Mode::Direct));
    for index in 0..blocks(&hashed) {
        write(&hashed, index, 1, 0);
    }
    hashed.close().expect("no faults here");
    device.current().to_vec()
}

fn blocks<D: BlockDevice>(device: &HashedDevice<D>) -> usize {
    let block = device.sector_size().byte_len().get();
    usize::try_from(device.size().get() / block).expect("a small device")
}

fn write<D: BlockDevice>(device: &HashedDevice<D>, first: usize, count: usize, operation: u64) {
    let block = device.sector_size();
    let data: Vec<u8> = (first..first + count)
        .flat_map(|index| contents(block, index, operation))
        .collect();
    device
        .write_at(at(block, first), &data)
        .expect("no faults here");
}

/// Discards as a layer above does that makes tags for zeros.
fn discard<D: BlockDevice>(device: &HashedDevice<D>, first: usize, count: usize) {
    let block = device.sector_size();
    let tag_bytes = usize::from(device.layout().tag_bytes());
    let maker = TagMaker::new(DIGEST, None, None, tag_bytes, block).expect("what was formatted");
    let sector = at(block, first).sector().expect("whole blocks");
    device
        .unchecked()
        .discard_tagged(sector, count, &mut |first, tuples| {
            let zeros = vec![0; tuples.len() / tag_bytes * block.bytes()];
            maker.tags(first, &zeros, tuples).expect("one for each");
        })
        .expect("no faults here");
}

fn at(block: SectorSize, index: usize) -> ByteOffset {
    ByteOffset::new(u64::try_from(index * block.bytes()).expect("a small device"))
}

fn any_mode(prng: &mut Prng) -> Mode {
    match prng.below(4) {
        0 => Mode::Direct,
        1 => Mode::Bitmap,
        _ => Mode::Journal,
    }
}

/// Marks: operation `n` begins at `2n`, and all up to `n` is durable at `2n + 1`.
fn work(case: &Case, prng: &mut Prng) -> (Recording, Known) {
    let device = Arc::new(CrashDevice::from_bytes(&formatted(case), SectorSize::S512));
    let mut known = Known {
        history: Vec::new(),
        modes: Vec::new(),
        discards: BTreeSet::new(),
    };
    let mut next = 1;
    for _ in 0..prng.below(3) + 1 {
        let mode = any_mode(prng);
        known.modes.push((next, mode));
        device.mark(2 * next);
        next += 1;
        let hashed = open(Arc::clone(&device), options(case, mode));
        known.history.resize(blocks(&hashed), vec![0]);
        for _ in 0..prng.below(14) + 2 {
            if prng.chance(1, 4) {
                if prng.chance(1, 3) {
                    hashed
                        .commit_if_older_than(Duration::ZERO)
                        .expect("no faults here");
                } else {
                    hashed.flush().expect("no faults here");
                }
                device.mark(2 * (next - 1) + 1);
                continue;
            }
            let first = prng.index(blocks(&hashed));
            let count = (prng.index(6) + 1).min(blocks(&hashed) - first);
            device.mark(2 * next);
            for history in &mut known.history[first..first + count] {
                history.push(next);
            }
            // Block 0 is not discarded: as zeros it looks like what the format wrote.
            if first > 0 && prng.chance(1, 5) {
                known.discards.insert(next);
                discard(&hashed, first, count);
            } else {
                write(&hashed, first, count, next);
            }
            next += 1;
        }
        if prng.chance(1, 2) {
            hashed.close().expect("no faults here");
        } else {
            drop(hashed);
        }
        device.mark(2 * (next - 1) + 1);
    }
    (device.recording(), known)
}

/// What has to hold after a crash: which operations had begun, which were durable, in which mode.
struct Expected<'a> {
    case: &'a Case,
    known: &'a Known,
    begun: u64,
    durable: u64,
    mode: Mode,
}

impl<'a> Expected<'a> {
    fn at(case: &'a Case, known: &'a Known, recording: &Recording, after: usize) -> Self {
        let mut begun = 0;
        let mut durable = 0;
        for mark in recording.marks_before(after) {
            if mark % 2 == 0 {
                begun = mark / 2;
            } else {
                durable = mark / 2;
            }
        }
        let sessions = known.modes.iter().rev();
        let mode = sessions
            .copied()
            .find(|(start, _)| *start <= begun)
            .map_or(Mode::Direct, |(_, mode)| mode);
        Self {
            case,
            known,
            begun,
            durable,
            mode,
        }
    }

    /// Tells whether a block may hold what was found.
    fn allows(&self, allowed: &[u64], found: u64) -> bool {
        let discarded = |operation| self.known.discards.contains(operation);
        let zeros = found == ZEROS && allowed.iter().any(discarded);
        zeros || (allowed.contains(&found) && !discarded(&found))
    }

    /// Reads every block; gives what was found for the next recovery to compare with.
    fn check<D: BlockDevice>(&self, device: &HashedDevice<D>) -> Vec<Option<u64>> {
        let block = self.case.block;
        let mut all = vec![0; blocks(device) * block.bytes()];
        let whole = device.read_at(ByteOffset::ZERO, &mut all).is_ok();
        all.chunks_exact_mut(block.bytes())
            .enumerate()
            .map(|(index, bytes)| {
                let history = self.known.history.get(index).map_or(&[0][..], |h| h);
                let newest_durable = history
                    .iter()
                    .rev()
                    .find(|&&op| op <= self.durable)
                    .expect("operation 0 is durable");
                let allowed: Vec<u64> = history
                    .iter()
                    .copied()
                    .filter(|op| op >= newest_durable && *op <= self.begun)
                    .collect();
                let read = if whole {
                    Ok(())
                } else {
                    device.read_at(at(block, index), bytes)
                };
                match read {
                    Ok(()) => {
                        let found = operation(block, index, bytes);
                        let torn = self.mode == Mode::Bitmap && allowed.len() > 1;
                        assert!(
                            torn || found.is_some_and(|found| self.allows(&allowed, found)),
                            "block {index} holds {found:?}, allowed are {allowed:?}; {:?}",
                            self.case
                        );
                        found
                    }
                    Err(Error::TagMismatch { .. }) => {
                        assert!(
                            self.mode == Mode::Direct && allowed.len() > 1,
                            "block {index} mismatches in {:?}, allowed are {allowed:?}; {:?}",
                            self.mode,
                            self.case
                        );
                        None
                    }
                    Err(error) => panic!("block {index}: {error}; {:?}", self.case),
                }
            })
            .collect()
    }
}

/// Opens what a crash left, read-only and for writing, crashes during recovery, and works on.
fn recover(expected: &Expected<'_>, image: Image, prng: &mut Prng, tally: &mut Tally) -> u64 {
    let case = expected.case;
    let before = {
        let device = Arc::new(image.to_mem(SectorSize::S512));
        let read_only = options(case, Mode::Journal).read_only(true);
        expected.check(&open(device, read_only))
    };
    tally.count(&format!("crashes in mode {:?}", expected.mode), 1);
    if before.contains(&None) {
        let what = "with blocks that mismatch or are torn, where that is allowed";
        tally.count(&format!("of these in mode {:?}, {what}", expected.mode), 1);
    }
    let mode = any_mode(prng);
    if !prng.chance(1, 64) {
        let device = open(
            Arc::new(image.to_mem(SectorSize::S512)),
            options(case, mode),
        );
        if device.unchecked().blocks_in_journal().expect("no panic") > 0 {
            tally.count("journals that were replayed", 1);
        }
        device.unchecked().apply_journal().expect("no faults here");
        assert_eq!(expected.check(&device), before, "{case:?}");
        return 1;
    }
    // Crash during the recovery too; what was there before it is there after the second one.
    let device = Arc::new(CrashDevice::new(image, SectorSize::S512));
    let hashed = open(Arc::clone(&device), options(case, mode));
    hashed.unchecked().apply_journal().expect("no faults here");
    drop(hashed);
    let crash_options = CrashOptions {
        fates: Fates::OldOrNew,
        exhaustive_up_to: 4,
        random: 2,
        seed: prng.next_u64(),
    };
    let again = device
        .recording()
        .for_each_crash(&crash_options, |_, image| {
            let device = open(
                Arc::new(image.to_mem(SectorSize::S512)),
                options(case, mode),
            );
            assert_eq!(expected.check(&device), before, "{case:?}");
            device.unchecked().apply_journal().expect("no faults here");
            write(&device, 0, 1, 1 << 19);
            assert_eq!(expected.check_others(&device), before[1..], "{case:?}");
            device.close().expect("no faults here");
        });
    tally.count("crashes during a recovery", again);
    1 + again
}

/// What the crashes were, for a record of a long run.
#[derive(Default)]
struct Tally(BTreeMap<String, u64>);

impl Tally {
    fn count(&mut self, what: &str, times: u64) {
        *self.0.entry(what.to_owned()).or_default() += times;
    }
}

impl Expected<'_> {
    /// As `check`, for all blocks but the first.
    fn check_others<D: BlockDevice>(&self, device: &HashedDevice<D>) -> Vec<Option<u64>> {
        let block = self.case.block;
        let mut bytes = vec![0; block.bytes()];
        (1..blocks(device))
            .map(|index| {
                let read = device.read_at(at(block, index), &mut bytes);
                read.ok().and_then(|()| operation(block, index, &bytes))
            })
            .collect()
    }
}

fn run(seed: u64, tally: &mut Tally) -> u64 {
    let mut prng = Prng::new(seed);
    let block = if prng.chance(3, 4) {
        SectorSize::S512
    } else {
        SectorSize::S1024
    };
    let sections = prng.below(5) + 1;
    let section_bytes = (8 + 8 * block.sectors().get()) * 512;
    let case = Case {
        seed,
        block,
        sections,
        watermark: [0, 50, 100][prng.index(3)],
        journal_buffer: (prng.below(sections) + 1) * section_bytes,
    };
    let (recording, known) = work(&case, &mut prng);
    let crash_options = CrashOptions {
        fates: Fates::OldOrNew,
        exhaustive_up_to: 2,
        random: 1,
        seed: prng.next_u64(),
    };
    // Many runs say more than many crashes of one.
    let mut count = 0;
    recording.for_each_crash(&crash_options, |point, image| {
        if prng.chance(1, 3) {
            let expected = Expected::at(&case, &known, &recording, point.after);
            count += recover(&expected, image, &mut prng, tally);
        }
    });
    count
}

#[test]
fn after_power_loss_at_any_point_flushed_data_is_there_and_blocks_are_old_or_new() {
    let number = |name: &str, fallback: u64| {
        env::var(name).map_or(fallback, |text| text.parse().expect("a number"))
    };
    let wanted = number("LUKSMITH_CRASHES", 20_000);
    let mut seed = number("LUKSMITH_SEED", 1);
    let (first, mut crashes, mut shown) = (seed, 0, 0);
    let mut tally = Tally::default();
    while crashes < wanted {
        crashes += run(seed, &mut tally);
        seed += 1;
        if crashes >= shown + 50_000 {
            shown = crashes;
            println!("{crashes} crashes, seeds up to {seed}");
        }
    }
    println!("record: seeds {first}..{seed}");
    println!("record: crashes {crashes}");
    for (what, count) in &tally.0 {
        println!("record: {what} {count}");
    }
    println!("record: failures 0");
    // Where a kind never comes up, the rest proves little.
    for what in ["crashes during a recovery", "journals that were replayed"] {
        assert!(tally.0.contains_key(what), "no {what}");
    }
}

/// A device with an internal hash over what is left of a power loss, with discards.
fn discarding<D: BlockDevice>(device: Arc<D>) -> HashedDevice<Arc<D>> {
    let options = OpenOptions::new()
        .mode(Mode::Journal)
        .discards(DiscardMarker::Filler);
    HashedDevice::open(Devices::interleaved(device), options, DIGEST, None).expect("formatted")
}

#[test]
fn a_discard_that_was_flushed_is_not_undone_by_the_journal_after_power_loss() {
    let case = Case {
        seed: 0,
        block: SectorSize::S512,
        sections: 3,
        watermark: 50,
        journal_buffer: 1 << 20,
    };
    // The entries of this session, or of one before it, whose journal is continued, with or without
    // an entry of this one.
    for (reopened, again) in [(false, false), (true, false), (true, true)] {
        let start = formatted(&case);
        let device = Arc::new(CrashDevice::from_bytes(&start, SectorSize::S512));
        let mut hashed = discarding(Arc::clone(&device));
        write(&hashed, 2, 3, 1);
        hashed.flush().expect("no faults here");
        if reopened {
            std::mem::forget(hashed);
            hashed = discarding(Arc::clone(&device));
        }
        if again {
            write(&hashed, 7, 1, 1);
        }
        let block = ByteLen::new(512);
        hashed
            .discard(at(case.block, 3), block)
            .expect("no faults here");
        write(&hashed, 4, 1, 2);
        hashed.flush().expect("no faults here");
        device.mark(1);
        write(&hashed, 9, 1, 2);
        hashed.flush().expect("no faults here");
        std::mem::forget(hashed);
        let recording = device.recording();
        let crash_options = CrashOptions {
            fates: Fates::OldOrNew,
            exhaustive_up_to: 4,
            random: 2,
            seed: 1,
        };
        let mut flushed = 0;
        recording.for_each_crash(&crash_options, |point, image| {
            let hashed = discarding(Arc::new(image.to_mem(SectorSize::S512)));
            hashed.unchecked().apply_journal().expect("no faults here");
            let mut bytes = [1; 512];
            let mut found = |index| {
                let read = hashed.read_at(at(case.block, index), &mut bytes);
                read.expect("each block is old or new");
                operation(case.block, index, &bytes)
            };
            let found = [2, 3, 4].map(&mut found);
            assert!(found.iter().all(Option::is_some), "{found:?}");
            if recording.marks_before(point.after).any(|mark| mark == 1) {
                assert_eq!(found, [Some(1), Some(ZEROS), Some(2)], "{reopened} {again}");
                flushed += 1;
            }
        });
        assert!(flushed > 0);
    }
}
