//! Paired measurement: contenders take turns, and the ratio is taken inside each round.
//!
//! A change of clock, or a neighbour, hits both sides of a ratio. How and why: docs/benchmarks.md,
//! "How these numbers are taken".

use std::hint::black_box;
use std::time::Instant;

/// One side of a comparison.
pub struct Contender<'a> {
    pub name: &'static str,
    /// Bytes per call of `work`; for key derivation iterations, for the machine instructions.
    pub bytes: usize,
    pub work: Box<dyn FnMut() + 'a>,
}

/// What several contenders do with equal work.
pub struct Case<'a> {
    /// The row of the table of targets, such as `X1`.
    pub row: &'static str,
    /// A path, such as `xts/encrypt/aes256/sector4096/run64k`.
    pub name: String,
    pub contenders: Vec<Contender<'a>>,
}

/// The samples of one contender, one per round.
pub struct Samples {
    pub row: String,
    pub case: String,
    pub contender: String,
    pub bytes: usize,
    /// Nanoseconds per byte.
    pub ns: Vec<f64>,
    /// Clock cycles per byte, from the clock measured around each sample.
    pub cycles: Vec<f64>,
}

/// The row of cases that compare many sizes of request.
pub const SIZES: &str = "sizes";
/// Rounds per case; every contender is sampled once in each.
pub const ROUNDS: usize = 31;
/// Length of a sample.
const SAMPLE_NS: f64 = 1.0e6;
/// The same where many sizes of request are compared: those cases are most of all.
const SIZES_NS: f64 = 0.4e6;
/// From this length on a sample is not repeated.
const LONG_NS: f64 = 8.0e6;
/// A sample that lost the CPU is repeated, at most so often.
pub const RETRIES: usize = 40;

/// Runs a case: rounds of one sample per contender.
pub fn run(case: &mut Case<'_>) -> Vec<Samples> {
    let length = if case.row == SIZES {
        SIZES_NS
    } else {
        SAMPLE_NS
    };
    let plans: Vec<Sample> = case
        .contenders
        .iter_mut()
        .map(|one| calibrate(one, length))
        .collect();
    let mut results: Vec<Samples> = case
        .contenders
        .iter()
        .map(|one| Samples {
            row: case.row.to_owned(),
            case: case.name.clone(),
            contender: one.name.to_owned(),
            bytes: one.bytes,
            ns: Vec::new(),
            cycles: Vec::new(),
        })
        .collect();
    for _ in 0..ROUNDS {
        for ((one, plan), result) in case.contenders.iter_mut().zip(&plans).zip(&mut results) {
            let (ns, ghz) = undisturbed(one, plan);
            let per_byte = ns / (plan.calls * one.bytes) as f64;
            result.ns.push(per_byte);
            result.cycles.push(per_byte * ghz);
        }
    }
    results
}

/// How a contender is sampled.
struct Sample {
    calls: usize,
    /// A long sample meets a switch every time, so it is not repeated for one.
    long: bool,
}

/// How many calls fill a sample: the best of a few tries, so that a disturbed one does not count.
fn calibrate(one: &mut Contender<'_>, length: f64) -> Sample {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        (one.work)();
        best = best.min(start.elapsed().as_nanos() as f64);
    }
    let calls = ((length / best.max(1.0)) as usize).max(1);
    Sample {
        calls,
        long: best > LONG_NS,
    }
}

/// One sample and the clock around it, repeated while another process took the CPU meanwhile.
fn undisturbed(one: &mut Contender<'_>, plan: &Sample) -> (f64, f64) {
    let mut sample = (0.0, 1.0);
    for _ in 0..RETRIES {
        // What it works on has left the cache since its last turn, and only its own has.
        (one.work)();
        let switches = involuntary_switches();
        let before = clock_ghz();
        let start = Instant::now();
        for _ in 0..plan.calls {
            (one.work)();
        }
        let ns = start.elapsed().as_nanos() as f64;
        let after = clock_ghz();
        sample = (ns, f64::midpoint(before, after));
        if involuntary_switches() == switches || plan.long {
            break;
        }
    }
    sample
}

/// How often another thread took a processor from this process, so far.
pub fn involuntary_switches() -> i64 {
    // SAFETY: getrusage fills in the struct that it is given; all-zero is a valid value of it.
    unsafe {
        let mut usage: libc::rusage = core::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage.ru_nivcsw
    }
}

/// The clock of this moment in cycles per nanosecond: a chain of dependent additions takes one
/// cycle each.
pub fn clock_ghz() -> f64 {
    const LOOPS: u64 = 400;
    const PER_LOOP: u64 = 100;
    let start = Instant::now();
    let mut value: u64 = black_box(1);
    let step: u64 = black_box(3);
    for _ in 0..LOOPS {
        // SAFETY: additions of registers; no memory, no stack.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            core::arch::asm!(".rept 100", "add {0}, {1}", ".endr", inout(reg) value, in(reg) step,
                options(pure, nomem, nostack));
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            core::arch::asm!(".rept 100", "add {0}, {0}, {1}", ".endr",
                inout(reg) value, in(reg) step, options(pure, nomem, nostack));
        }
    }
    black_box(value);
    (LOOPS * PER_LOOP) as f64 / start.elapsed().as_nanos() as f64
}

/// Keeps this process on one core.
pub fn pin(core: usize) {
    // SAFETY: the set is a plain value made here, and the call only reads it.
    unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// Lets this process run on every core again.
pub fn unpin() {
    // SAFETY: as in `pin`.
    unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        for core in 0..libc::CPU_SETSIZE as usize {
            libc::CPU_SET(core, &mut set);
        }
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// The middle of the values.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which the share `at` of the values lies.
pub fn quantile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = ((sorted.len() - 1) as f64 * at).round() as usize;
    sorted[index]
}

/// How many times faster `ours` is than `theirs`: the median of the ratios inside each round.
pub fn ratio(ours: &Samples, theirs: &Samples) -> f64 {
    let ratios: Vec<f64> = ours
        .ns
        .iter()
        .zip(&theirs.ns)
        .map(|(ours, theirs)| theirs / ours)
        .collect();
    median(&ratios)
}

/// What a limit allows in each round, from the rate that the machine had in that round.
///
/// `limit` gives the least per byte from what one instruction takes.
pub fn limit(
    contender: String,
    ours: &Samples,
    machine: &Samples,
    limit: impl Fn(f64) -> f64,
) -> Samples {
    Samples {
        row: "limit".to_owned(),
        case: ours.case.clone(),
        contender,
        bytes: ours.bytes,
        ns: machine.ns.iter().map(|one| limit(*one)).collect(),
        cycles: machine.cycles.iter().map(|one| limit(*one)).collect(),
    }
}

/// Prints one case: rates, and ratios to the first contender.
pub fn print(results: &[Samples]) {
    let Some(first) = results.first() else { return };
    println!("{} {}", first.row, first.case);
    for one in results {
        println!(
            "  {:24} {:7.2} GB/s {:.4} c/B  spread {:.1}%  x{:.3} of {}",
            one.contender,
            1.0 / median(&one.ns),
            median(&one.cycles),
            (quantile(&one.ns, 0.75) / quantile(&one.ns, 0.25) - 1.0) * 100.0,
            ratio(one, first),
            first.contender,
        );
    }
}
