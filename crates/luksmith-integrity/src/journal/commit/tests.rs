use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::pool::Pool;

/// Sections of one commit: place, number, and the sectors of the entries.
type Committed = Vec<(u32, usize, Vec<u64>)>;

/// Remembers what the ring asked for, and may do something in the middle of it.
#[derive(Default)]
struct Fake<'a> {
    commits: StdMutex<Vec<Committed>>,
    written: StdMutex<Vec<Vec<(u64, u8)>>>,
    during_commit: Option<&'a dyn Fn()>,
    commit_error: Option<Error>,
    write_back_error: StdMutex<Option<Error>>,
}

impl Store for Fake<'_> {
    fn commit(&self, batch: &[Sealed]) -> Result<(), Error> {
        if let Some(action) = self.during_commit {
            action();
        }
        if let Some(error) = self.commit_error {
            return Err(error);
        }
        let batch = batch.iter().map(|sealed| {
            let sectors = sealed.entries.iter().map(|placed| placed.sector).collect();
            (sealed.section, sealed.sequence.index(), sectors)
        });
        self.commits.lock().unwrap().push(batch.collect());
        Ok(())
    }

    fn write_back(&self, blocks: &[Placed]) -> Result<(), Error> {
        if let Some(error) = self.write_back_error.lock().unwrap().take() {
            return Err(error);
        }
        let blocks = blocks
            .iter()
            .map(|placed| (placed.sector, placed.run.data(placed.block)[0]));
        self.written.lock().unwrap().push(blocks.collect());
        Ok(())
    }
}

impl Fake<'_> {
    fn committed(&self) -> Vec<Committed> {
        core::mem::take(&mut *self.commits.lock().unwrap())
    }

    fn written_back(&self) -> Vec<Vec<(u64, u8)>> {
        core::mem::take(&mut *self.written.lock().unwrap())
    }
}

/// A ring of sections of two entries, blocks of 8 sectors.
fn ring(sections: u32, in_use: usize, watermark: u8) -> Ring {
    let shape = RingShape {
        sections,
        entries: 2,
        in_use,
        watermark,
        sectors_per_block: 8,
    };
    let next = Resume {
        section: 0,
        sequence: Sequence::ALL[1],
    };
    Ring::new(shape, next, false)
}

/// Blocks that all hold `value`.
fn run(value: u8, blocks: usize) -> Run {
    let pool = Pool::new(1 << 20);
    let filled = || {
        let mut buffer = pool.take(blocks);
        buffer.as_mut_slice().fill(value);
        buffer
    };
    Run {
        data: filled(),
        tuples: filled(),
        blocks,
        hole: false,
    }
}

fn newest(ring: &Ring) -> Vec<(u64, u8)> {
    let found = ring.newest(0..u64::MAX).unwrap();
    found
        .iter()
        .map(|p| (p.sector, p.run.data(p.block)[0]))
        .collect()
}

#[test]
fn a_flush_writes_whole_sections_once_and_nothing_when_there_is_nothing() {
    let (ring, store) = (ring(4, 4, 100), Fake::default());
    ring.append(&store, 0, run(1, 3)).unwrap();
    assert_eq!(store.committed(), Vec::<Vec<_>>::new());
    ring.commit(&store).unwrap();
    assert_eq!(store.committed(), [[(0, 1, vec![0, 8]), (1, 1, vec![16])]]);
    ring.commit(&store).unwrap();
    assert_eq!(store.committed(), Vec::<Vec<_>>::new());
    // The section that was not full is closed: the next entry goes to the next one.
    ring.append(&store, 80, run(2, 1)).unwrap();
    ring.commit(&store).unwrap();
    assert_eq!(store.committed(), [[(2, 1, vec![80])]]);
    assert_eq!(store.written_back(), Vec::<Vec<_>>::new());
}

#[test]
fn laps_change_the_number_at_the_end_of_the_ring() {
    let (ring, store) = (ring(3, 3, 100), Fake::default());
    for step in 0..5 {
        ring.append(&store, step * 8, run(1, 1)).unwrap();
        ring.commit(&store).unwrap();
    }
    let order: Vec<_> = store.committed().concat();
    let places: Vec<_> = order
        .iter()
        .map(|(section, number, _)| (*section, *number))
        .collect();
    assert_eq!(places, [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2)]);
}

#[test]
fn a_full_ring_is_committed_and_written_back_newest_block_once() {
    let (ring, store) = (ring(2, 2, 100), Fake::default());
    for value in 1..=4 {
        ring.append(&store, 8 * u64::from(value % 2), run(value, 1))
            .unwrap();
    }
    // No entry is free: with the watermark at 100 per cent that is when it happens.
    assert_eq!(store.committed().concat().len(), 2);
    assert_eq!(store.written_back(), [[(0, 4), (8, 3)]]);
    assert_eq!(newest(&ring), []);
}

#[test]
fn readers_see_the_newest_entry_until_it_is_in_place() {
    let (ring, store) = (ring(4, 4, 100), Fake::default());
    ring.append(&store, 0, run(1, 2)).unwrap();
    ring.append(&store, 8, run(2, 1)).unwrap();
    assert_eq!(newest(&ring), [(0, 1), (8, 2)]);
    assert_eq!(ring.newest(8..9).unwrap().len(), 1);
    assert_eq!(ring.newest(16..99).unwrap().len(), 0);
    ring.drain(&store).unwrap();
    assert_eq!(newest(&ring), []);
    assert_eq!(store.written_back(), [[(0, 1), (8, 2)]]);
}

#[test]
fn an_uncommitted_newer_entry_does_not_keep_the_committed_one_from_its_place() {
    let ring = ring(4, 4, 100);
    let quiet = Fake::default();
    ring.append(&quiet, 0, run(1, 1)).unwrap();
    // While the first value is being committed, a second one is written.
    let append = || ring.append(&quiet, 0, run(2, 1)).unwrap();
    let store = Fake {
        during_commit: Some(&append),
        ..Fake::default()
    };
    let state = ring.state().unwrap();
    let all = state.next_id;
    let state = ring.commit_up_to(&store, state, all).unwrap();
    drop(ring.write_back(&store, state).unwrap());
    // Should the power go now, the journal's section with the first value may be gone.
    assert_eq!(store.written_back(), [[(0, 1)]]);
    assert_eq!(newest(&ring), [(0, 2)]);
}

#[test]
fn an_entry_taken_during_a_commit_is_not_durable_with_it() {
    let ring = ring(4, 4, 100);
    let quiet = Fake::default();
    ring.append(&quiet, 0, run(1, 1)).unwrap();
    let append = || ring.append(&quiet, 8, run(2, 1)).unwrap();
    let store = Fake {
        during_commit: Some(&append),
        ..Fake::default()
    };
    ring.commit(&store).unwrap();
    assert_eq!(store.committed(), [[(0, 1, vec![0])]]);
    ring.commit(&quiet).unwrap();
    assert_eq!(quiet.committed(), [[(1, 1, vec![8])]]);
}

#[test]
fn after_a_failed_commit_nothing_is_accepted_and_everything_can_be_read() {
    let ring = ring(4, 4, 100);
    let failing = Fake {
        commit_error: Some(Error::ReadOnly),
        ..Fake::default()
    };
    ring.append(&failing, 0, run(1, 1)).unwrap();
    assert_eq!(ring.commit(&failing), Err(Error::ReadOnly));
    let stopped = Err(Error::FailStop {
        operation: Operation::Write,
    });
    assert_eq!(ring.commit(&Fake::default()), stopped);
    assert_eq!(ring.append(&Fake::default(), 8, run(2, 1)), stopped);
    assert_eq!(newest(&ring), [(0, 1)]);
}

#[test]
fn a_failed_write_back_keeps_the_section_and_can_be_tried_again() {
    let (ring, store) = (ring(4, 4, 100), Fake::default());
    ring.append(&store, 0, run(1, 1)).unwrap();
    *store.write_back_error.lock().unwrap() = Some(Error::ReadOnly);
    assert_eq!(ring.drain(&store), Err(Error::ReadOnly));
    assert_eq!(newest(&ring), [(0, 1)]);
    ring.drain(&store).unwrap();
    assert_eq!(store.written_back(), [[(0, 1)]]);
}

#[test]
fn a_panic_in_the_store_stops_the_ring_instead_of_hanging_it() {
    let ring = ring(4, 4, 100);
    let panics = || panic!("as a broken device would");
    let store = Fake {
        during_commit: Some(&panics),
        ..Fake::default()
    };
    ring.append(&store, 0, run(1, 1)).unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ring.commit(&store)));
    assert!(caught.is_err());
    assert_eq!(
        ring.commit(&Fake::default()),
        Err(Error::FailStop {
            operation: Operation::Write
        })
    );
    assert_eq!(newest(&ring), [(0, 1)]);
}

#[test]
fn a_ring_that_was_emptied_goes_on_one_number_later() {
    let (ring, store) = (ring(3, 3, 100), Fake::default());
    ring.append(&store, 0, run(1, 1)).unwrap();
    ring.reset(&store, |_| Ok(()), || ()).unwrap();
    let (next, touched) = ring.position().unwrap();
    assert_eq!(
        (next.section, next.sequence.index(), touched),
        (1, 2, false)
    );
    // A ring that nobody wrote to is left alone.
    ring.reset(&store, |_| Err(Error::ReadOnly), || ()).unwrap();
}

#[test]
fn nobody_takes_an_entry_during_a_change_past_the_journal() {
    // Of a ring that was written and of one that was not.
    for written in [true, false] {
        let (ring, store) = (ring(3, 3, 100), Fake::default());
        if written {
            ring.append(&store, 0, run(1, 1)).unwrap();
        }
        thread::scope(|scope| {
            let change = || {
                let other = scope.spawn(|| ring.append(&Fake::default(), 7, run(1, 1)));
                thread::sleep(Duration::from_millis(50));
                assert!(newest(&ring).is_empty(), "an entry was taken");
                other
            };
            let other = ring.reset(&store, |_| Ok(()), change).unwrap();
            other.join().unwrap().unwrap();
        });
        assert_eq!(newest(&ring), [(7, 1)]);
    }
}

#[test]
fn writers_that_do_not_pause_do_not_keep_the_ring_from_being_emptied() {
    let (ring, store) = (ring(4, 4, 50), Fake::default());
    let (ring, emptied) = (&ring, &AtomicBool::new(false));
    thread::scope(|scope| {
        for first in [0, 1000] {
            scope.spawn(move || {
                let begin = Instant::now();
                while !emptied.load(Ordering::Relaxed) {
                    ring.append(&Fake::default(), first, run(1, 3)).unwrap();
                    assert!(begin.elapsed() < Duration::from_secs(60), "never emptied");
                }
            });
        }
        for _ in 0..20 {
            ring.reset(&store, |_| Ok(()), || ()).unwrap();
        }
        emptied.store(true, Ordering::Relaxed);
    });
}

/// A journal of one section was written when half full, and again for the other half.
#[test]
fn the_watermark_has_full_sections_written_and_no_others() {
    let (one, store) = (ring(1, 1, 50), Fake::default());
    one.append(&store, 0, run(1, 1)).unwrap();
    assert_eq!(store.committed(), Vec::<Vec<_>>::new());
    one.append(&store, 8, run(1, 1)).unwrap();
    assert_eq!(store.committed(), [[(0, 1, vec![0, 8])]]);
    assert_eq!(store.written_back(), [[(0, 1), (8, 1)]]);
    // Runs that always end within a section have the full ones written all the same.
    let (four, store) = (ring(4, 4, 50), Fake::default());
    four.append(&store, 0, run(1, 1)).unwrap();
    four.append(&store, 8, run(2, 2)).unwrap();
    four.append(&store, 24, run(3, 2)).unwrap();
    assert_eq!(store.written_back().concat().len(), 4);
    assert_eq!(newest(&four), [(32, 3)]);
    // The section that another thread began stays open, and is as old as it was.
    let (four, store) = (ring(4, 4, 50), Fake::default());
    four.append(&store, 0, run(1, 2)).unwrap();
    four.append(&store, 16, run(2, 1)).unwrap();
    four.make_room(&store).unwrap();
    assert_eq!(store.committed(), [[(0, 1, vec![0, 8])]]);
    assert_eq!(store.written_back(), [[(0, 1), (8, 1)]]);
    assert_eq!(newest(&four), [(16, 2)]);
    four.commit_if_older_than(&store, Duration::ZERO).unwrap();
    assert_eq!(store.committed(), [[(1, 1, vec![16])]]);
    // Nothing waits, so nothing is old.
    assert_eq!(four.state().unwrap().waiting_since, None);
}

#[test]
fn the_watermark_is_rounded_as_the_kernel_rounds_it() {
    let threshold = |entries, in_use, watermark| {
        let shape = RingShape {
            sections: 99,
            entries,
            in_use,
            watermark,
            sectors_per_block: 1,
        };
        shape.threshold()
    };
    assert_eq!(threshold(48, 1, 50), 24);
    assert_eq!(threshold(7, 1, 50), 4);
    assert_eq!(threshold(48, 3, 100), 0);
    assert_eq!(threshold(48, 3, 0), 144);
    assert_eq!(threshold(10, 1, 66), 3);
}

/// A panic that leaves the state behind while a commit is under way ended that commit without
/// telling those who waited for it.
#[test]
fn those_who_wait_for_a_commit_are_told_also_when_the_state_is_lost() {
    let ring = Arc::new(ring(4, 4, 100));
    let (began, begun) = mpsc::channel();
    let lose = {
        let ring = Arc::clone(&ring);
        move || {
            began.send(()).unwrap();
            // Until the other commit waits for this one.
            thread::sleep(Duration::from_millis(200));
            let ring = Arc::clone(&ring);
            let lost = thread::spawn(move || {
                let _state = ring.state.lock().unwrap();
                panic!("as asked");
            });
            assert!(lost.join().is_err());
        }
    };
    let first = thread::spawn({
        let ring = Arc::clone(&ring);
        move || {
            let store = Fake {
                during_commit: Some(&lose),
                ..Fake::default()
            };
            ring.append(&store, 0, run(1, 1)).unwrap();
            ring.commit(&store)
        }
    });
    begun.recv().unwrap();
    let (told, tell) = mpsc::channel();
    thread::spawn(move || told.send(ring.commit(&Fake::default())));
    let stopped = Err(Error::FailStop {
        operation: Operation::Write,
    });
    assert_eq!(first.join().unwrap(), stopped);
    assert_eq!(tell.recv_timeout(Duration::from_secs(20)), Ok(stopped));
}
