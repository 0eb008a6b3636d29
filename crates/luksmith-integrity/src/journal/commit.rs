//! The ring of sections in memory: taking entries, group commit, write-back.
//!
//! What must hold, and where it is made sure:
//!
//! 1. A block is found in the index from the moment its write is acknowledged until its data and
//!    tag are durable in place, so a reader that looks here first never sees less than was
//!    acknowledged.
//! 2. Sections are written whole, in ring order, each lap with its number; one commit at a time.
//! 3. A section is free again only after every committed entry in it that is not superseded by a
//!    newer *committed* entry is in place and flushed. An uncommitted newer entry does not count:
//!    it may be lost, and the section with the older one would be gone.
//! 4. Nothing is held while the store works, so readers and writers go on.
//!
//! The store does the input and output; this file only decides, so that a model checker can drive
//! it.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    time::{Duration, Instant},
};

use luksmith_block::{Error, Operation};

use super::{
    replay::Resume,
    section::{JournalEntry, Sequence},
};
use crate::{
    convert::{narrow, wide},
    pool::Buffer,
    sync::{Arc, Condvar, Mutex, MutexGuard, lock, wait},
};

/// Consecutive blocks with their tags, as one write brought them.
#[derive(Debug)]
pub(crate) struct Run {
    /// The data of all blocks; of a hole one block of zeros, which stands for all of them.
    pub(crate) data: Buffer,
    pub(crate) tuples: Buffer,
    pub(crate) blocks: usize,
    /// The blocks were discarded: in place they become a hole, not zeros that are written.
    pub(crate) hole: bool,
}

impl Run {
    /// Gives the data of one block.
    pub(crate) fn data(&self, block: usize) -> &[u8] {
        self.data_of(block, 1)
    }

    /// Gives the data of consecutive blocks; of a hole that of one.
    pub(crate) fn data_of(&self, first: usize, blocks: usize) -> &[u8] {
        if self.hole {
            return self.data.as_slice();
        }
        let len = self.data.as_slice().len() / self.blocks.max(1);
        let bytes = self.data.as_slice();
        bytes
            .get(first * len..(first + blocks) * len)
            .unwrap_or(&[])
    }

    /// Gives the tag of one block.
    pub(crate) fn tuple(&self, block: usize) -> &[u8] {
        nth(self.tuples.as_slice(), self.blocks, block)
    }
}

fn nth(bytes: &[u8], parts: usize, index: usize) -> &[u8] {
    let len = bytes.len() / parts.max(1);
    bytes.get(index * len..(index + 1) * len).unwrap_or(&[])
}

/// One block somewhere in the journal.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) sector: u64,
    pub(crate) run: Arc<Run>,
    pub(crate) block: usize,
}

impl Placed {
    /// Gives the block as the journal's entry for it.
    pub(crate) fn as_entry(&self) -> JournalEntry<'_> {
        JournalEntry {
            sector: self.sector,
            data: self.run.data(self.block),
            tuple: self.run.tuple(self.block),
        }
    }
}

/// A section that is to be written.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) section: u32,
    pub(crate) sequence: Sequence,
    pub(crate) entries: Arc<Vec<Placed>>,
}

/// What the ring needs done on the devices.
pub(crate) trait Store {
    /// Writes sections, in ring order, and makes them durable.
    ///
    /// # Errors
    /// What the device gives; the ring then refuses everything.
    fn commit(&self, batch: &[Sealed]) -> Result<(), Error>;

    /// Writes blocks in place, ascending and each only once, and makes them durable.
    ///
    /// # Errors
    /// What the device gives; the sections then stay in use.
    fn write_back(&self, blocks: &[Placed]) -> Result<(), Error>;
}

/// Dimensions of the ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingShape {
    /// Sections of the journal.
    pub(crate) sections: u32,
    /// Entries of one section.
    pub(crate) entries: usize,
    /// Sections that may be in use at once, at most `sections`.
    pub(crate) in_use: usize,
    /// Per cent of the entries in use at which they are written back.
    pub(crate) watermark: u8,
    /// Sectors of one block.
    pub(crate) sectors_per_block: u64,
}

impl RingShape {
    /// Gives the number of free entries at which write-back starts.
    fn threshold(&self) -> usize {
        let all = self.entries.saturating_mul(self.in_use);
        let free_per_cent = usize::from(100 - self.watermark.min(100));
        (all.saturating_mul(free_per_cent) + 50) / 100
    }
}

/// The journal of an open device.
#[derive(Debug)]
pub(crate) struct Ring {
    shape: RingShape,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Sections in use, oldest first: committed ones, those being committed, those being filled.
    live: VecDeque<Live>,
    /// Section that is filled next, and its number.
    next: Resume,
    /// The newest entry of each block, whether committed or not.
    index: BTreeMap<u64, Newest>,
    /// Number of the next entry since opening.
    next_id: u64,
    /// Entries below are durable.
    committed: u64,
    committing: bool,
    writing_back: bool,
    /// A commit failed, or a panic left a turn unfinished.
    failed: Option<Operation>,
    /// A section was written since opening.
    touched: bool,
    /// The journal on disk still has entries of an earlier session, which are in place.
    stale: bool,
    /// The journal is being emptied; no entry may be taken.
    resetting: bool,
    /// When the oldest entry that no commit has taken up was made.
    waiting_since: Option<Instant>,
}

#[derive(Debug)]
struct Live {
    section: u32,
    sequence: Sequence,
    entries: Arc<Vec<Placed>>,
    /// Number of the first entry.
    first_id: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Filling,
    Committing,
    Committed,
}

#[derive(Clone, Debug)]
struct Newest {
    id: u64,
    placed: Placed,
}

impl Ring {
    /// Makes the ring of a journal whose next commit goes to `next`. It is `stale` if it still has
    /// entries, which were applied.
    pub(crate) fn new(shape: RingShape, next: Resume, stale: bool) -> Self {
        Self {
            shape,
            state: Mutex::new(State {
                live: VecDeque::new(),
                next,
                index: BTreeMap::new(),
                next_id: 0,
                committed: 0,
                committing: false,
                writing_back: false,
                failed: None,
                touched: false,
                stale,
                resetting: false,
                waiting_since: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// Takes entries for consecutive blocks from `first` on. Acknowledged, not durable.
    ///
    /// Waits for, and helps with, commits and write-backs while the journal is full.
    ///
    /// # Errors
    /// [`Error::FailStop`] after a failed commit; what the store gives while making room. Blocks of
    /// the run may have been taken nevertheless.
    pub(crate) fn append<S: Store>(&self, store: &S, first: u64, run: Run) -> Result<(), Error> {
        let run = Arc::new(run);
        let mut block = 0;
        loop {
            let mut state = self.state()?;
            while block < run.blocks && state.has_room(&self.shape) {
                let sector = first + wide(block) * self.shape.sectors_per_block;
                state.take(
                    &self.shape,
                    Placed {
                        sector,
                        run: Arc::clone(&run),
                        block,
                    },
                );
                block += 1;
            }
            let idle = !state.committing && !state.writing_back;
            // A section is written whole, so one that still takes entries is not begun with: a
            // journal of one section would be written twice for what fits it once.
            let has_full = state.live.len() > 1 || !state.filling(&self.shape);
            let due = idle && has_full && state.free(&self.shape) <= self.shape.threshold();
            if block < run.blocks && state.resetting {
                // Nothing is taken until then, whatever room there is.
                drop(wait(&self.changed, state)?);
                continue;
            }
            drop(state);
            if block == run.blocks {
                return if due { self.make_room(store) } else { Ok(()) };
            }
            self.make_room(store)?;
        }
    }

    /// Makes every entry durable that was taken before the call.
    ///
    /// # Errors
    /// [`Error::FailStop`], and what the store gives.
    pub(crate) fn commit<S: Store>(&self, store: &S) -> Result<(), Error> {
        let mut state = self.state()?;
        let target = state.next_id;
        while state.committed < target {
            if state.committing {
                state = wait(&self.changed, state)?;
                state.check()?;
            } else {
                let all = state.next_id;
                state = self.commit_up_to(store, state, all)?;
            }
        }
        Ok(())
    }

    /// As [`commit`](Self::commit), if an entry has been waiting for `age`.
    ///
    /// # Errors
    /// As `commit`.
    pub(crate) fn commit_if_older_than<S: Store>(
        &self,
        store: &S,
        age: Duration,
    ) -> Result<(), Error> {
        let since = self.state()?.waiting_since;
        match since {
            Some(since) if since.elapsed() >= age => self.commit(store),
            _ => Ok(()),
        }
    }

    /// Commits everything and writes it in place, until nothing taken before the call is left here.
    ///
    /// # Errors
    /// [`Error::FailStop`], and what the store gives.
    pub(crate) fn drain<S: Store>(&self, store: &S) -> Result<(), Error> {
        let target = self.state()?.next_id;
        loop {
            self.commit(store)?;
            let state = self.state()?;
            if state
                .live
                .front()
                .is_none_or(|live| live.first_id >= target)
            {
                return Ok(());
            }
            if state.writing_back {
                drop(wait(&self.changed, state)?);
            } else {
                drop(self.write_back(store, state)?);
            }
        }
    }

    /// Drains the ring and, if the journal on disk has entries, lets `empty` initialise it; the
    /// section given is where the next commit would have gone. Then does `change`, and gives what
    /// that gives. Nobody takes an entry from the first drain until `change` is done, or writers
    /// that never pause would keep the ring from ever being empty.
    ///
    /// # Errors
    /// [`Error::FailStop`], what the store gives, and what `empty` gives.
    pub(crate) fn reset<S: Store, T>(
        &self,
        store: &S,
        empty: impl FnOnce(Resume) -> Result<(), Error>,
        change: impl FnOnce() -> T,
    ) -> Result<T, Error> {
        let mut state = self.state()?;
        while state.resetting {
            state = wait(&self.changed, state)?;
            state.check()?;
        }
        state.resetting = true;
        drop(state);
        let result = self.reset_alone(store, empty, change);
        // After a panic the state says so by itself, and nobody takes anything any more.
        if let Ok(mut state) = lock(&self.state) {
            state.resetting = false;
        }
        self.changed.notify_all();
        result
    }

    /// [`reset`](Self::reset) once nobody takes an entry.
    fn reset_alone<S: Store, T>(
        &self,
        store: &S,
        empty: impl FnOnce(Resume) -> Result<(), Error>,
        change: impl FnOnce() -> T,
    ) -> Result<T, Error> {
        let mut state = loop {
            self.drain(store)?;
            let mut state = self.state()?;
            while state.committing || state.writing_back {
                state = wait(&self.changed, state)?;
                state.check()?;
            }
            if state.live.is_empty() {
                break state;
            }
        };
        let next = (state.touched || state.stale).then_some(state.next);
        state.committing = true;
        drop(state);
        let turn = Turn {
            ring: self,
            done: false,
        };
        let result = next.map_or(Ok(()), empty).map(|()| change());
        let mut state = turn.end()?;
        state.committing = false;
        self.changed.notify_all();
        match result {
            Ok(changed) => {
                if next.is_some() {
                    // The ring was closed as one whole lap.
                    state.next.sequence = state.next.sequence.next();
                    state.touched = false;
                    state.stale = false;
                }
                Ok(changed)
            }
            Err(error) => {
                state.failed = Some(Operation::Write);
                Err(error)
            }
        }
    }

    /// Gives the newest entries of a range of sectors, ascending.
    ///
    /// # Errors
    /// [`Error::FailStop`] if a panic left the index behind.
    pub(crate) fn newest(&self, sectors: Range<u64>) -> Result<Vec<Placed>, Error> {
        // Not `self.state()`: after a failed commit what was acknowledged can still be read.
        let state = lock(&self.state)?;
        Ok(state
            .index
            .range(sectors)
            .map(|(_, newest)| newest.placed.clone())
            .collect())
    }

    /// Gives where the next commit would go, and whether anything was written since opening.
    ///
    /// # Errors
    /// [`Error::FailStop`].
    pub(crate) fn position(&self) -> Result<(Resume, bool), Error> {
        let state = self.state()?;
        Ok((state.next, state.touched))
    }

    /// Commits full sections and writes back, or waits for whoever is at it.
    ///
    /// A section that still takes entries stays open: it is written whole, so one that another
    /// thread has just begun would be written again with the rest of what fits it.
    fn make_room<S: Store>(&self, store: &S) -> Result<(), Error> {
        let state = self.state()?;
        if state.committing || state.writing_back {
            // Whoever is at it makes room, or its end is worth another look.
            drop(wait(&self.changed, state)?);
            return Ok(());
        }
        let target = state.full_up_to(&self.shape);
        let state = if state.committed < target {
            self.commit_up_to(store, state, target)?
        } else {
            state
        };
        if state.writing_back {
            return Ok(());
        }
        self.write_back(store, state).map(drop)
    }

    /// Commits the entries below `target`, where a section ends or the last one so far does. Nobody
    /// else is committing.
    fn commit_up_to<'a, S: Store>(
        &'a self,
        store: &S,
        mut state: MutexGuard<'a, State>,
        target: u64,
    ) -> Result<MutexGuard<'a, State>, Error> {
        let batch = state.close_sections(target);
        state.committing = true;
        drop(state);
        let turn = Turn {
            ring: self,
            done: false,
        };
        let result = store.commit(&batch);
        let mut state = turn.end()?;
        state.committing = false;
        self.changed.notify_all();
        match result {
            Ok(()) => {
                state.touched = true;
                state.committed = target;
                for live in &mut state.live {
                    if live.stage == Stage::Committing {
                        live.stage = Stage::Committed;
                    }
                }
                Ok(state)
            }
            Err(error) => {
                state.failed = Some(Operation::Write);
                Err(error)
            }
        }
    }

    /// Writes all committed sections back and frees them. Nobody else is writing back.
    fn write_back<'a, S: Store>(
        &'a self,
        store: &S,
        mut state: MutexGuard<'a, State>,
    ) -> Result<MutexGuard<'a, State>, Error> {
        let (sections, blocks) = state.committed_blocks();
        if sections == 0 {
            return Ok(state);
        }
        state.writing_back = true;
        drop(state);
        let turn = Turn {
            ring: self,
            done: false,
        };
        let result = store.write_back(&blocks);
        let mut state = turn.end()?;
        state.writing_back = false;
        self.changed.notify_all();
        result?;
        state.free_sections(sections);
        Ok(state)
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = lock(&self.state)?;
        state.check()?;
        Ok(state)
    }
}

/// The time during which one thread works with the store without the lock.
///
/// If the store panics, the ring refuses everything from then on, and nobody waits for ever.
struct Turn<'a> {
    ring: &'a Ring,
    done: bool,
}

impl<'a> Turn<'a> {
    fn end(mut self) -> Result<MutexGuard<'a, State>, Error> {
        // Should a panic have left the state behind, those who wait for this turn are still told.
        let state = lock(&self.ring.state)?;
        self.done = true;
        Ok(state)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.done {
            if let Ok(mut state) = self.ring.state.lock() {
                state.failed = Some(Operation::Write);
            }
            self.ring.changed.notify_all();
        }
    }
}

impl State {
    fn check(&self) -> Result<(), Error> {
        match self.failed {
            None => Ok(()),
            Some(operation) => Err(Error::FailStop { operation }),
        }
    }

    fn has_room(&self, shape: &RingShape) -> bool {
        !self.resetting && (self.filling(shape) || self.live.len() < shape.in_use)
    }

    /// Tells whether the newest section still takes entries.
    fn filling(&self, shape: &RingShape) -> bool {
        self.live
            .back()
            .is_some_and(|live| live.stage == Stage::Filling && live.entries.len() < shape.entries)
    }

    /// Gives the number of entries that could be taken without freeing a section.
    fn free(&self, shape: &RingShape) -> usize {
        let unused = shape.in_use.saturating_sub(self.live.len()) * shape.entries;
        let rest = match self.live.back() {
            Some(live) if live.stage == Stage::Filling => {
                shape.entries.saturating_sub(live.entries.len())
            }
            _ => 0,
        };
        unused + rest
    }

    /// Takes the next entry; there is room.
    fn take(&mut self, shape: &RingShape, placed: Placed) {
        let id = self.next_id;
        self.next_id += 1;
        self.waiting_since.get_or_insert_with(Instant::now);
        if !self.filling(shape) {
            self.live.push_back(Live {
                section: self.next.section,
                sequence: self.next.sequence,
                entries: Arc::new(Vec::with_capacity(shape.entries.min(32))),
                first_id: id,
                stage: Stage::Filling,
            });
            self.next = self.next.following(shape.sections);
        }
        self.index.insert(
            placed.sector,
            Newest {
                id,
                placed: placed.clone(),
            },
        );
        if let Some(live) = self.live.back_mut() {
            Arc::get_mut(&mut live.entries)
                .expect("nobody else has the entries of a section that is being filled")
                .push(placed);
        }
    }

    /// Gives the number of the first entry that is not in a full section.
    fn full_up_to(&self, shape: &RingShape) -> u64 {
        match self.live.back() {
            Some(live) if self.filling(shape) => live.first_id,
            _ => self.next_id,
        }
    }

    /// Closes every section whose entries are below `target` and gives them, oldest first.
    fn close_sections(&mut self, target: u64) -> Vec<Sealed> {
        if target == self.next_id {
            // Else entries stay open, and the oldest may be as old as this says.
            self.waiting_since = None;
        }
        let mut batch = Vec::new();
        for live in &mut self.live {
            if live.stage == Stage::Filling && live.first_id < target {
                live.stage = Stage::Committing;
                batch.push(Sealed {
                    section: live.section,
                    sequence: live.sequence,
                    entries: Arc::clone(&live.entries),
                });
            }
        }
        batch
    }

    /// Gives how many sections at the front are committed, and the newest of their entries for each
    /// block, ascending.
    fn committed_blocks(&self) -> (usize, Vec<Placed>) {
        let sections = self
            .live
            .iter()
            .take_while(|live| live.stage == Stage::Committed)
            .count();
        let committed = self.live.iter().take(sections);
        let mut newest: Vec<&Placed> = committed.flat_map(|live| live.entries.iter()).collect();
        // The sort keeps the order of equal ones: the newest comes first and stays.
        newest.reverse();
        newest.sort_by_key(|placed| placed.sector);
        newest.dedup_by_key(|placed| placed.sector);
        (sections, newest.into_iter().cloned().collect())
    }

    /// Frees sections at the front, whose blocks are in place.
    fn free_sections(&mut self, sections: usize) {
        for live in self.live.drain(..sections) {
            for (placed, id) in live.entries.iter().zip(live.first_id..) {
                // A newer entry of the same block stays.
                if self
                    .index
                    .get(&placed.sector)
                    .is_some_and(|newest| newest.id == id)
                {
                    self.index.remove(&placed.sector);
                }
            }
        }
    }
}

impl Resume {
    /// Gives the section behind this one, in the next lap past the end of the ring.
    fn following(self, sections: u32) -> Self {
        if self.section + 1 < sections {
            Self {
                section: self.section + 1,
                sequence: self.sequence,
            }
        } else {
            Self {
                section: 0,
                sequence: self.sequence.next(),
            }
        }
    }
}

/// Gives how many sections of so many bytes a buffer holds, at least one and at most all.
pub(crate) fn sections_in_use(sections: u32, section_bytes: u64, buffer_bytes: u64) -> usize {
    let fitting = buffer_bytes / section_bytes.max(1);
    narrow(fitting.clamp(1, u64::from(sections)))
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests;
