//! Who makes the pages of an arena come, when, and of which size.

use std::{
    fmt,
    num::NonZeroUsize,
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use super::HUGE_PAGE;
use super::mapping;

/// The CPU time from which on a huge page comes from memory that a virtual machine's host has not
/// given yet. Measured in one: 0.1 to 0.2 ms from memory that it has given, else 3 to 10 ms.
/// Small pages come from what was in use a moment ago: to ask for 512 of them takes 0.65 ms, to
/// give them back 0.2 ms.
const HUGE_PAGE_COST: Duration = Duration::from_micros(1500);

/// Asks the system for the pages of an [`Arena`](super::Arena) before they are used, in steps of
/// 2 MiB, each by the thread that gets there first.
///
/// Who fills the area says how far it is; see [`reach`](Self::reach). A thread that has nothing
/// else to do may run ahead.
pub struct Supply<'a>(pub(super) Steps<&'a mapping::Pages>);

impl Supply<'_> {
    /// Makes the pages come of the step in which byte `at` of the area is, if they are not there.
    ///
    /// To be called before a step is written to for the first time, and any number of times later:
    /// then it costs next to nothing. A step that nobody names comes page by page as it is used.
    pub fn reach(&self, at: usize) {
        self.0.reach(at);
    }
}

impl fmt::Debug for Supply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supply").finish_non_exhaustive()
    }
}

/// What is asked of the system.
pub(super) trait Give: Sync {
    /// Makes the pages of a range come.
    fn populate(&self, range: Range<usize>);
    /// Takes back the request for huge pages; those that are there already stay.
    fn use_small_pages(&self);
    /// CPU time of the calling thread.
    fn cpu_time(&self) -> Duration;
}

impl Give for &mapping::Pages {
    fn populate(&self, range: Range<usize>) {
        mapping::Pages::populate(self, range);
    }

    fn use_small_pages(&self) {
        mapping::Pages::use_small_pages(self);
    }

    fn cpu_time(&self) -> Duration {
        mapping::thread_cpu_time()
    }
}

/// Nobody has asked for a step.
const WAITING: u8 = 0;
/// A thread is asking for it.
const BEGUN: u8 = 1;
/// It is there, or the system has said no.
const DONE: u8 = 2;

/// The steps of an area that is filled from several equally spaced places at the same time.
pub(super) struct Steps<G> {
    give: G,
    len: usize,
    /// State of each step, by its place in the area.
    states: Vec<AtomicU8>,
    /// Steps from one front to the next.
    of_front: usize,
    /// How many steps were taken from the order in which they are filled.
    taken: AtomicUsize,
    /// The area is filled, or will not be.
    ended: AtomicBool,
    /// Pages are huge if the system has them at hand.
    is_huge: AtomicBool,
}

impl<G: Give> Steps<G> {
    /// Nothing of the `len` bytes is there yet. They are filled from `fronts` places; the system
    /// was asked for huge pages or not.
    pub(super) fn new(give: G, len: usize, fronts: NonZeroUsize, is_huge: bool) -> Self {
        let all = len.div_ceil(HUGE_PAGE);
        Self {
            give,
            len,
            states: (0..all).map(|_| AtomicU8::new(WAITING)).collect(),
            of_front: all.div_ceil(fronts.get()).max(1),
            taken: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            is_huge: AtomicBool::new(is_huge),
        }
    }

    /// Asks for the steps in the order in which they are filled, until all were asked for or the
    /// end comes.
    pub(super) fn run_ahead(&self) {
        loop {
            if self.ended.load(Ordering::Relaxed) || !self.take_next() {
                return;
            }
        }
    }

    /// Lets the thread that runs ahead stop.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    fn reach(&self, at: usize) {
        let step = at / HUGE_PAGE;
        let Some(state) = self.states.get(step) else {
            return;
        };
        if state.load(Ordering::Relaxed) == DONE || self.take(step) {
            return;
        }
        // Another thread is at it. To use the pages now would be to ask for them once more, one by
        // one; to ask for those after them saves time later.
        while state.load(Ordering::Relaxed) != DONE {
            if !self.take_next() {
                thread::yield_now();
            }
        }
    }

    /// Asks for the first step in order that nobody has begun, if there is one.
    fn take_next(&self) -> bool {
        // Looked at first, so that the number does not grow for ever.
        while self.in_order(self.taken.load(Ordering::Relaxed)).is_some() {
            let number = self.taken.fetch_add(1, Ordering::Relaxed);
            if self.in_order(number).is_some_and(|step| self.take(step)) {
                return true;
            }
        }
        false
    }

    /// The step that is the `number`th to be filled: the first of every front, the second of every
    /// front. The last front may have fewer than the others, and no step stands for what it lacks.
    fn in_order(&self, number: usize) -> Option<usize> {
        let all = self.states.len();
        let fronts = all.div_ceil(self.of_front);
        let full = fronts * (all - fronts.saturating_sub(1) * self.of_front);
        let (row, front) = if number < full {
            (number / fronts, number % fronts)
        } else {
            let rest = number - full;
            let fronts = fronts.checked_sub(1).filter(|fronts| *fronts > 0)?;
            (full / (fronts + 1) + rest / fronts, rest % fronts)
        };
        (row < self.of_front).then(|| front * self.of_front + row)
    }

    /// Asks for a step if nobody has begun with it; tells whether that was so.
    fn take(&self, step: usize) -> bool {
        let Some(state) = self.states.get(step) else {
            return false;
        };
        let (relaxed, from) = (Ordering::Relaxed, WAITING);
        if state
            .compare_exchange(from, BEGUN, relaxed, relaxed)
            .is_err()
        {
            return false;
        }
        self.populate(step * HUGE_PAGE..self.len.min((step + 1) * HUGE_PAGE));
        state.store(DONE, Ordering::Relaxed);
        true
    }

    /// Asks for a range, in huge pages until one costs too much: those after it would too. Memory
    /// that does comes in stretches of hundreds of huge pages, so to try again later costs as much
    /// as it saves.
    fn populate(&self, range: Range<usize>) {
        let before = self.give.cpu_time();
        self.give.populate(range);
        let cost = self.give.cpu_time().saturating_sub(before);
        if cost > HUGE_PAGE_COST && self.is_huge.swap(false, Ordering::Relaxed) {
            self.give.use_small_pages();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Notes what is asked for; each step costs what the list says, and nothing past its end.
    #[derive(Default)]
    struct Noted {
        costs: Vec<Duration>,
        asked: Mutex<Vec<Option<usize>>>,
        now: Mutex<Duration>,
    }

    impl Noted {
        fn asked(&self) -> Vec<Option<usize>> {
            self.asked.lock().unwrap().clone()
        }
    }

    impl Give for &Noted {
        fn populate(&self, range: Range<usize>) {
            let mut asked = self.asked.lock().unwrap();
            let steps = asked.iter().flatten().count();
            *self.now.lock().unwrap() += self.costs.get(steps).copied().unwrap_or_default();
            asked.push(Some(range.start / HUGE_PAGE));
        }

        fn use_small_pages(&self) {
            self.asked.lock().unwrap().push(None);
        }

        fn cpu_time(&self) -> Duration {
            *self.now.lock().unwrap()
        }
    }

    fn fronts(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).unwrap()
    }

    #[test]
    fn pages_are_asked_for_once_each_from_all_fronts_at_a_time() {
        for count in 1..=5 {
            for all in 0..=13 {
                let noted = Noted::default();
                let len = all * HUGE_PAGE;
                let steps = Steps::new(&noted, len, fronts(count), true);
                steps.run_ahead();
                let mut seen: Vec<_> = noted.asked().into_iter().flatten().collect();
                seen.sort_unstable();
                let want: Vec<_> = (0..all).collect();
                assert_eq!(seen, want, "{all} steps, {count} fronts");
            }
        }
        let order = |len, count| {
            let noted = Noted::default();
            Steps::new(&noted, len, fronts(count), true).run_ahead();
            noted.asked().into_iter().flatten().collect::<Vec<_>>()
        };
        assert_eq!(order(8 * HUGE_PAGE, 4), [0, 2, 4, 6, 1, 3, 5, 7]);
        assert_eq!(order(3 * HUGE_PAGE + 1, 1), [0, 1, 2, 3]);
        assert_eq!(order(7 * HUGE_PAGE, 3), [0, 3, 6, 1, 4, 2, 5]);
    }

    #[test]
    fn a_step_that_is_reached_comes_then_and_no_second_time() {
        let noted = Noted::default();
        let steps = Steps::new(&noted, 4 * HUGE_PAGE, fronts(2), true);
        for at in [2 * HUGE_PAGE, 3 * HUGE_PAGE - 1, 0, 4 * HUGE_PAGE] {
            steps.reach(at);
        }
        assert_eq!(noted.asked(), [Some(2), Some(0)]);
        steps.run_ahead();
        assert_eq!(noted.asked(), [Some(2), Some(0), Some(1), Some(3)]);
    }

    #[test]
    fn who_reaches_a_step_that_another_thread_is_at_asks_for_those_after_it() {
        let noted = Noted::default();
        let steps = Steps::new(&noted, 4 * HUGE_PAGE, fronts(1), true);
        steps.states[1].store(BEGUN, Ordering::Relaxed);
        thread::scope(|scope| {
            scope.spawn(|| steps.reach(HUGE_PAGE));
            // Hangs if it does not.
            while noted.asked().len() < 3 {
                thread::yield_now();
            }
            steps.states[1].store(DONE, Ordering::Relaxed);
        });
        assert_eq!(noted.asked(), [Some(0), Some(2), Some(3)]);
    }

    #[test]
    fn nothing_is_asked_for_after_the_end() {
        let noted = Noted::default();
        let steps = Steps::new(&noted, 4 * HUGE_PAGE, fronts(1), true);
        steps.end();
        steps.run_ahead();
        assert_eq!(noted.asked(), []);
    }

    #[test]
    fn huge_pages_are_given_up_once_when_one_costs_too_much() {
        let (fair, slow) = (HUGE_PAGE_COST, HUGE_PAGE_COST + Duration::from_nanos(1));
        let noted = Noted {
            costs: vec![fair, fair, slow, fair, slow],
            ..Noted::default()
        };
        Steps::new(&noted, 5 * HUGE_PAGE, fronts(1), true).run_ahead();
        let want = [Some(0), Some(1), Some(2), None, Some(3), Some(4)];
        assert_eq!(noted.asked(), want);
    }
}
