//! One batch: the kernel makes its devices and loses power; we look, replay and make ours; the
//! kernel gets copies of both.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use luksmith::integrity::{Flags, Mode};
use luksmith_testkit::{Oracle, Prng, paint, sha256_hex, unhex};

use super::machine::{self, Guest, Left, Log};
use super::model::{Model, View, same};
use super::ours::{self, Images, Until, Worked};
use super::script::{self, Act, Names, PATTERN};
use super::set::{End, Kind, Set};
use super::state::{MARKED, states};
use super::{Outcome, STATE, locked};

/// A set and what the kernel does with it first.
struct Case<'a> {
    set: &'a Set,
    acts: Vec<Act>,
    base: Images,
}

/// A device that the kernel gets after the first boot.
struct Second<'a> {
    set: &'a Set,
    /// Whose device it is.
    who: &'static str,
    images: Images,
    view: View,
    mode: Mode,
    /// A recalculation is due as soon as the kernel opens it.
    is_due: bool,
    /// It has a bitmap that marks something.
    is_marked: bool,
    /// What the kernel writes before it closes the device; `None` leaves it open at the end.
    acts: Option<Vec<Act>>,
}

/// Runs two boots for some sets. An error is that of a machine, and no verdict.
pub(super) fn run(
    oracle: &Oracle,
    folder: &Path,
    sets: &[Set],
    outcome: &Mutex<Outcome>,
) -> Result<(), String> {
    let start = Instant::now();
    let mut prng = sets.first().map_or(Prng::new(0), |set| set.prng("pattern"));
    let pattern = prng.bytes(PATTERN);
    let cases: Vec<Case<'_>> = sets.iter().map(Case::new).collect();
    let first = first_boot(oracle, folder, &pattern, &cases)?;
    let booted = start.elapsed().as_secs();
    locked(outcome).machines_failed += first.failed;
    let mut seconds = Vec::new();
    for (guest, case) in cases.iter().enumerate() {
        let looked = machine::complaints(&first.text, case.set.number)
            .and_then(|()| case.look(guest, &first, &pattern, outcome));
        match looked {
            Ok(devices) => seconds.extend(devices),
            Err(why) => locked(outcome).fail(format!("{}\n  {why}", case.set)),
        }
    }
    let looked = start.elapsed().as_secs();
    let second = second_boot(oracle, folder, &pattern, &seconds)?;
    let booted_again = start.elapsed().as_secs();
    locked(outcome).machines_failed += second.failed;
    for (number, device) in seconds.iter().enumerate() {
        let result = machine::complaints(&second.text, device.script_number(number))
            .and_then(|()| machine::failed_blocks(&second.text, device.script_number(number)))
            .and_then(|failed| {
                let read = device.kernels_view(&second.out[number], failed);
                device.check(&second.images[number], &read, &pattern)
            })
            .and_then(|mut what| {
                what.extend(device.cut_the_replay(number, &second.log, outcome)?);
                Ok(what)
            })
            .map(|what| count(device, what, outcome));
        if let Err(why) = result {
            let who = device.who;
            locked(outcome).fail(format!("{}\n  {who}: {why}", device.set));
        }
    }
    let mut outcome = locked(outcome);
    for set in sets {
        outcome.sets += 1;
        for feature in set.features() {
            *outcome.features.entry(feature).or_default() += 1;
        }
    }
    println!(
        "{} sets in all, these {} in {} s (boots {} and {}), {} failures",
        outcome.sets,
        sets.len(),
        start.elapsed().as_secs(),
        booted,
        booted_again - looked,
        outcome.failures.len()
    );
    outcome.print();
    Ok(())
}

/// Notes what was compared.
fn count(device: &Second<'_>, what: Vec<&'static str>, outcome: &Mutex<Outcome>) {
    let mut outcome = locked(outcome);
    for what in what {
        outcome.count(format!("{what}, {}", device.who));
    }
}

fn first_boot(
    oracle: &Oracle,
    folder: &Path,
    pattern: &[u8],
    cases: &[Case<'_>],
) -> Result<Left, String> {
    let mut body = String::new();
    for case in cases {
        body += &script::first_life(case.set, &case.names(), &case.acts);
    }
    body += &script::end();
    let guests: Vec<Guest> = cases.iter().map(Case::guest).collect();
    machine::boot(oracle, folder, pattern, &guests, &body)
}

fn second_boot(
    oracle: &Oracle,
    folder: &Path,
    pattern: &[u8],
    seconds: &[Second<'_>],
) -> Result<Left, String> {
    let mut body = String::new();
    let mut guests = Vec::new();
    for (number, device) in seconds.iter().enumerate() {
        let set = device.set;
        let names = device.names(number);
        body += &script::keys(set);
        body += &format!("N={}\n", device.script_number(number));
        body += &script::open(set, &names, device.mode);
        let (block, bytes) = (set.block.bytes(), device.view.bytes.len());
        body += &format!("dump {} {} {block} {bytes}\n", names.name, names.out());
        if device.is_due {
            body += &format!("settled {}\n", names.name);
        }
        if let Some(acts) = &device.acts {
            body.extend(acts.iter().map(|act| act.command(set, &names)));
            body += &script::close(set, &names);
        }
        guests.push(device.guest(number));
    }
    body += &script::end();
    machine::boot(oracle, folder, pattern, &guests, &body)
}

impl<'a> Case<'a> {
    fn new(set: &'a Set) -> Self {
        let mut prng = set.prng("kernel");
        let disk = |sectors: u64| {
            let len = usize::try_from(sectors * 512).expect("a small device");
            if set.painted {
                paint(0, len)
            } else {
                vec![0; len]
            }
        };
        Self {
            set,
            acts: Act::life(set, &mut prng),
            base: Images {
                main: disk(set.sectors),
                data: set
                    .hashed()
                    .and_then(|hashed| hashed.data_sectors)
                    .map(disk),
            },
        }
    }

    fn names(&self) -> Names {
        Names {
            name: format!("k{}", self.set.number),
            has_data: self.base.data.is_some(),
        }
    }

    fn guest(&self) -> Guest {
        Guest {
            names: self.names(),
            images: self.base.clone(),
            out: 0,
        }
    }

    /// Holds the kernel's device against what it was told to do, and makes what it gets next.
    fn look(
        &self,
        guest: usize,
        first: &Left,
        pattern: &[u8],
        outcome: &Mutex<Outcome>,
    ) -> Result<Vec<Second<'a>>, String> {
        let (set, text) = (self.set, &first.text);
        let ours = self.formatted(text, outcome)?;
        let mut prng = set.prng("ours");
        let whole = first.log.all(guest, &self.guest());
        let held = &first.images[guest];
        same("the log of writes beside the disk", &whole.main, &held.main)?;
        if set.end == End::CutWhileRecalculating {
            let (_, images) = self.cut(guest, first, &mut prng)?;
            return self.look_recalculating(&images, &mut prng, outcome);
        }
        let size = machine::value(text, "size", set.number)?;
        let planned = set.layout().provided_data_sectors().get().to_string();
        if size != planned {
            return Err(format!(
                "the kernel's device has {size} sectors, ours {planned}"
            ));
        }
        let done = self.acts.len();
        let (act, images) = match set.end {
            End::Cut => self.cut(guest, first, &mut prng)?,
            _ => (done + 1, held.clone()),
        };
        let at = |why| format!("the kernel's device, cut off in act {act}: {why}");
        let view = ours::view(set, &images).map_err(at)?;
        let (model, mode) = self.model(pattern, act);
        model.check(&view, mode).map_err(at)?;
        if let Some(act) = self.acts.get(act - 1) {
            let doing = act.name();
            locked(outcome).count(format!("power went while {doing}, kernel's"));
        }
        let mut seconds = self.worked(&images, ours, &mut prng, outcome)?;
        seconds.push(self.second("kernel's", images, view, &mut prng, outcome)?);
        Ok(seconds)
    }

    /// Takes the power away from the kernel's device. Gives the act that had begun.
    fn cut(&self, guest: usize, first: &Left, prng: &mut Prng) -> Result<(usize, Images), String> {
        let of = self.guest();
        let point = first.log.any_point(guest, &of, self.set.number, prng)?;
        Ok((point.act, first.log.crash(guest, &of, point, prng)))
    }

    /// Formats as the kernel did; the bytes must be the same.
    fn formatted(&self, text: &str, outcome: &Mutex<Outcome>) -> Result<Images, String> {
        let set = self.set;
        let theirs = unhex(machine::value(text, "superblock", set.number)?);
        let salt = theirs.get(48..64).and_then(|salt| salt.try_into().ok());
        let salt = salt.ok_or("a superblock that is cut off")?;
        let ours = ours::formatted(set, &self.base, salt)?;
        let at = usize::try_from(set.start() * 512).expect("a small device");
        same(
            "superblock after the format",
            &ours.main[at..at + 512],
            &theirs,
        )?;
        if !set.wipe && matches!(set.kind, Kind::Hashed(_)) {
            let sum = machine::value(text, "sum", set.number)?;
            if sum != sha256_hex(&ours.main) {
                return Err("the formatted devices differ".into());
            }
            locked(outcome).count("whole devices formatted alike");
        }
        locked(outcome).count("superblocks formatted alike");
        Ok(ours)
    }

    /// What the device must hold when an act had begun, and the mode it was open in. Acts count
    /// from 1; one behind the last means that all were done.
    fn model(&self, pattern: &[u8], begun: usize) -> (Model, Mode) {
        let set = self.set;
        let bytes = usize::try_from(set.span() * 512).expect("a small device");
        let filled = View {
            bytes: pattern[..bytes].to_vec(),
            ..View::default()
        };
        let mut model = Model::new(set, filled);
        let mut mode = set.mode;
        for (number, act) in (1..=begun).zip(&self.acts) {
            act.apply(set, pattern, &mut model, number < begun);
            if let Act::Open(opened) = act {
                mode = *opened;
            }
        }
        (model, mode)
    }

    /// What the kernel gets of a device whose view we know.
    fn second(
        &self,
        who: &'static str,
        images: Images,
        view: View,
        prng: &mut Prng,
        outcome: &Mutex<Outcome>,
    ) -> Result<Second<'a>, String> {
        let set = self.set;
        let superblock = ours::superblock(set, &images)?;
        let is_dirty = superblock.flags().contains(Flags::DIRTY_BITMAP);
        let states = states(set, &images)?;
        for state in &states {
            locked(outcome).count(format!("{STATE}{state}, {who}"));
        }
        Ok(Second {
            set,
            who,
            is_marked: states.contains(&MARKED),
            is_due: is_dirty || ours::is_unfinished(&superblock),
            images,
            view,
            mode: set.any_mode(prng),
            acts: prng.chance(1, 2).then(|| Act::some(set, prng, 4)),
        })
    }

    /// Works on the kernel's device or on one of ours, and loses power.
    fn worked(
        &self,
        theirs: &Images,
        ours: Images,
        prng: &mut Prng,
        outcome: &Mutex<Outcome>,
    ) -> Result<Vec<Second<'a>>, String> {
        let set = self.set;
        let (base, whose) = match prng.chance(1, 2) {
            true => (theirs.clone(), "the kernel's device"),
            false => (ours::filled(set, &ours, prng)?, "our device"),
        };
        let at = |why| format!("our work on {whose}: {why}");
        let mut seconds = Vec::new();
        for worked in ours::work(set, &base, prng).map_err(at)? {
            let Worked {
                images,
                model,
                mode,
                is_crashed,
                doing,
            } = worked;
            let view = ours::view(set, &images).map_err(at)?;
            model.check(&view, mode).map_err(at)?;
            let end = if is_crashed {
                "crash images"
            } else {
                "closed devices"
            };
            locked(outcome).count(format!("{end} of ours in mode {mode:?}, on {whose}"));
            if is_crashed {
                locked(outcome).count(format!("power went while {doing}, ours"));
            }
            seconds.push(self.second("ours", images, view, prng, outcome)?);
        }
        Ok(seconds)
    }

    /// The kernel's recalculation was cut off: both go on with it, we perhaps only for a while.
    fn look_recalculating(
        &self,
        images: &Images,
        prng: &mut Prng,
        outcome: &Mutex<Outcome>,
    ) -> Result<Vec<Second<'a>>, String> {
        let set = self.set;
        let superblock = ours::superblock(set, images)?;
        let size = superblock.provided_data_sectors().get();
        let state = match superblock.recalc_sector().get() {
            _ if !superblock.flags().contains(Flags::RECALCULATING) => "before it began",
            0 => "at its start",
            sector if sector < size => "in the middle",
            _ => "after its end",
        };
        locked(outcome).count(format!("recalculations of the kernel's cut off {state}"));
        if state == "before it began" {
            return Ok(Vec::new());
        }
        let until = [Until::TheEnd, Until::Cancelled, Until::Cut][prng.index(3)];
        let continued = ours::continue_recalculation(set, images, until, prng)?;
        if until == Until::TheEnd {
            ours::verify(set, &continued).map_err(|why| format!("recalculated by us: {why}"))?;
        }
        let theirs = ours::view(set, images)?;
        let view = ours::view(set, &continued)?;
        for (whose, view) in [("kernel's", &theirs), ("ours", &view)] {
            if let Some(block) = view.bad.first() {
                return Err(format!(
                    "{whose} recalculation passed block {block}, no tag"
                ));
            }
        }
        locked(outcome).count(format!(
            "recalculations of the kernel's that we go on with, {until:?}"
        ));
        Ok(vec![
            self.second("kernel's", images.clone(), theirs, prng, outcome)?,
            self.second("ours", continued, view, prng, outcome)?,
        ])
    }
}

impl Second<'_> {
    fn names(&self, number: usize) -> Names {
        Names {
            name: format!("s{number}"),
            has_data: self.images.data.is_some(),
        }
    }

    fn guest(&self, number: usize) -> Guest {
        Guest {
            names: self.names(number),
            images: self.images.clone(),
            out: self.view.bytes.len(),
        }
    }

    /// Takes the power away from the kernel while it replays and erases the journal. Whoever reads
    /// that reads the same.
    fn cut_the_replay(
        &self,
        number: usize,
        log: &Log,
        outcome: &Mutex<Outcome>,
    ) -> Result<Option<&'static str>, String> {
        let (set, guest) = (self.set, self.guest(number));
        let mut prng = set.prng("replay");
        let is_replay = self.acts.is_none() && !self.is_due;
        let Some(point) = log
            .any_request(number, &guest, &mut prng)
            .filter(|_| is_replay)
        else {
            return Ok(None);
        };
        let images = log.crash(number, &guest, point, &mut prng);
        for state in states(set, &images)? {
            locked(outcome).count(format!("{STATE}{state}, kernel's, cut off in its replay"));
        }
        let mut view = ours::view(set, &images)?;
        if self.mode == Mode::Bitmap {
            // Before the bitmap is there, what lies in its place may mark lost blocks.
            let block = set.block.bytes();
            for index in &self.view.bad {
                view.bytes[index * block..(index + 1) * block].fill(0);
                view.bad.insert(*index);
            }
        }
        let what = format!("the kernel's replay in mode {:?}, cut off", self.mode);
        same(&what, &self.view.kernels(), &view.kernels())?;
        if view.bad != self.view.bad {
            return Err(format!("{what}: {:?}, {:?}", self.view.bad, view.bad));
        }
        Ok(Some("replays of the kernel's that were cut off"))
    }

    /// The number under which the script complains about this device.
    fn script_number(&self, number: usize) -> u32 {
        u32::try_from(number).expect("few devices")
    }

    /// What the kernel read.
    fn kernels_view(&self, out: &[u8], bad: BTreeSet<usize>) -> View {
        let mut bytes = out.to_vec();
        let block = self.set.block.bytes();
        for index in &bad {
            bytes[index * block..(index + 1) * block].fill(0);
        }
        View {
            bytes,
            bad,
            ..View::default()
        }
    }

    /// Compares what the kernel read and left with what we read and leave; tells what was compared.
    fn check(
        &self,
        after: &Images,
        read: &View,
        pattern: &[u8],
    ) -> Result<Vec<&'static str>, String> {
        let set = self.set;
        let mode = self.mode;
        let mut checks = vec!["devices read alike"];
        let mut view = self.view.clone();
        if self.is_marked && mode != Mode::Bitmap {
            // The kernel recalculates all of it then, and blocks that were lost match again.
            for index in &self.view.bad - &read.bad {
                let range = index * set.block.bytes()..(index + 1) * set.block.bytes();
                view.bytes[range.clone()].copy_from_slice(&read.bytes[range]);
                view.bad.remove(&index);
                checks.push("lost blocks that the kernel's recalculation makes good");
            }
        }
        if read.bad != view.bad {
            return Err(format!(
                "blocks that mismatch in mode {mode:?}: {:?} for us, {:?} for the kernel",
                view.bad, read.bad
            ));
        }
        same(
            &format!("what the kernel reads in mode {mode:?}"),
            &view.kernels(),
            &read.bytes,
        )?;
        if !view.below.is_empty() {
            checks.push("devices with data below marks of discarded blocks");
        }
        if !view.bad.is_empty() {
            checks.push("devices with the same blocks that mismatch");
        }
        let Some(acts) = &self.acts else {
            if !self.is_due {
                let replayed = ours::replayed(set, &self.images, mode)?;
                let what = format!("the device after its replay in mode {mode:?}");
                same(&what, &replayed.main, &after.main)?;
                if let (Some(ours), Some(theirs)) = (&replayed.data, &after.data) {
                    same(&format!("{what}, the data"), ours, theirs)?;
                }
                checks.push("devices the same to the byte after a replay");
                if replayed.main != self.images.main {
                    checks.push("of these, changed by the replay");
                }
            }
            return Ok(checks);
        };
        let mut model = Model::new(set, view);
        for act in acts {
            act.apply(set, pattern, &mut model, true);
        }
        model.flush();
        let at = |why| format!("after the kernel wrote and closed: {why}");
        let view = ours::view(set, after).map_err(at)?;
        model.check(&view, Mode::Journal).map_err(at)?;
        checks.push("devices read after the kernel went on and closed");
        if set.end == End::CutWhileRecalculating {
            ours::verify(set, after).map_err(at)?;
            checks.push("recalculations finished by the kernel, every tag checked");
        }
        Ok(checks)
    }
}
