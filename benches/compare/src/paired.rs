//! Cases whose sides are whole volumes: a sample of each side in each round, by CPU or wall time.

use crate::harness::{self, Samples};

/// Which clock counts.
#[derive(Clone, Copy)]
pub enum Clock {
    /// Of this thread.
    Cpu,
    /// Of all threads together.
    AllCpu,
    Wall,
}

/// One side; a call handles `Shape::bytes`.
pub struct Side<'a> {
    pub name: &'static str,
    work: Box<dyn FnMut() + 'a>,
}

pub fn side<'a>(name: &'static str, work: impl FnMut() + 'a) -> Side<'a> {
    Side {
        name,
        work: Box::new(work),
    }
}

/// What a case measures and how.
pub struct Shape {
    pub row: &'static str,
    pub name: String,
    pub bytes: usize,
    /// Calls of one sample.
    pub calls: usize,
    pub clock: Clock,
}

/// One sample of each side in each round.
pub fn sample(shape: &Shape, mut sides: Vec<Side<'_>>) -> Vec<Samples> {
    let mut results: Vec<Samples> = sides.iter().map(|side| series(shape, side.name)).collect();
    for _ in 0..harness::ROUNDS {
        for (side, result) in sides.iter_mut().zip(&mut results) {
            let (ns, ghz) = undisturbed(shape, side);
            let per_byte = ns / (shape.calls * shape.bytes) as f64;
            result.ns.push(per_byte);
            result.cycles.push(per_byte * ghz);
        }
    }
    results
}

/// One sample and the clock around it, repeated while another process took a core meanwhile.
fn undisturbed(shape: &Shape, side: &mut Side<'_>) -> (f64, f64) {
    let mut sample = (0.0, 1.0);
    for _ in 0..harness::RETRIES {
        (side.work)();
        let switches = harness::involuntary_switches();
        let before = harness::clock_ghz();
        let start = now(shape.clock);
        for _ in 0..shape.calls {
            (side.work)();
        }
        let ns = now(shape.clock) - start;
        sample = (ns, f64::midpoint(before, harness::clock_ghz()));
        if harness::involuntary_switches() == switches {
            break;
        }
    }
    sample
}

pub fn series(shape: &Shape, contender: &str) -> Samples {
    Samples {
        row: shape.row.to_owned(),
        case: shape.name.clone(),
        contender: contender.to_owned(),
        bytes: shape.bytes,
        ns: Vec::new(),
        cycles: Vec::new(),
    }
}

/// Nanoseconds since some moment.
fn now(clock: Clock) -> f64 {
    let id = match clock {
        Clock::Cpu => libc::CLOCK_THREAD_CPUTIME_ID,
        Clock::AllCpu => libc::CLOCK_PROCESS_CPUTIME_ID,
        Clock::Wall => libc::CLOCK_MONOTONIC,
    };
    // SAFETY: clock_gettime fills in the struct that it is given; all-zero is a valid value of it.
    unsafe {
        let mut time: libc::timespec = core::mem::zeroed();
        libc::clock_gettime(id, &raw mut time);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    }
}
