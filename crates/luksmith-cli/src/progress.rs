//! Shows how long work goes on, and lets the user interrupt it.

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use luksmith::block::Control;

use crate::{
    context::{Context, escaped_json},
    failure::{Failure, Kind},
};

/// How often the watching thread looks.
const TICK: Duration = Duration::from_millis(100);

/// What the work is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work<'a> {
    /// One word for a person: `export`.
    pub(crate) name: &'a str,
    /// The device, for programs.
    pub(crate) device: &'a str,
    /// Whether the work itself writes to standard output.
    pub(crate) uses_stdout: bool,
}

/// Does long work in this thread while another one shows its progress. The first interrupt (Ctrl-C)
/// cancels the work at its next step, so that what was done is whole; the second one ends at once.
pub(crate) fn watched<T>(
    context: &Context,
    work: Work<'_>,
    action: impl FnOnce(&Arc<Control>) -> T,
) -> Result<T, Failure> {
    let control = Arc::new(Control::new());
    let interrupts = interrupts()?;
    let finished = AtomicBool::new(false);
    let mut reporter = Reporter::new(context, work);
    let result = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !finished.load(Ordering::Acquire) {
                if interrupts.load(Ordering::Relaxed) {
                    control.cancel();
                }
                reporter.report(&control);
                thread::park_timeout(TICK);
            }
            reporter.finish(&control);
        });
        // Also when the work panics, or the watcher would wait for ever.
        let done = Done {
            finished: &finished,
            watcher: watcher.thread().clone(),
        };
        let result = action(&control);
        drop(done);
        result
    });
    Ok(result)
}

struct Done<'a> {
    finished: &'a AtomicBool,
    watcher: thread::Thread,
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.finished.store(true, Ordering::Release);
        self.watcher.unpark();
    }
}

/// Gives the flag that an interrupt sets.
fn interrupts() -> Result<&'static AtomicBool, Failure> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

    if let Some(flag) = FLAG.get() {
        return Ok(flag);
    }
    let flag = Arc::clone(FLAG.get_or_init(Arc::default));
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .map_err(|error| Failure::new(Kind::DEVICE, format!("interrupts: {error}")))?;
    Ok(FLAG.get_or_init(Arc::default))
}

struct Reporter<'a> {
    work: Work<'a>,
    started: Instant,
    reported: Option<Instant>,
    every: Duration,
    json: bool,
    bar: Option<ProgressBar>,
}

impl<'a> Reporter<'a> {
    fn new(context: &Context, work: Work<'a>) -> Self {
        let shown = !context.progress_json && !context.batch && io::stderr().is_terminal();
        Self {
            work,
            started: Instant::now(),
            reported: None,
            every: Duration::from_secs(context.progress_frequency.unwrap_or(0)).max(TICK * 5),
            json: context.progress_json,
            bar: shown.then(|| {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                bar.with_message(work.name.to_owned())
            }),
        }
    }

    fn report(&mut self, control: &Control) {
        let progress = control.progress();
        if let Some(bar) = &self.bar {
            let style = if progress.total == 0 {
                "{msg} {bytes} at {bytes_per_sec}"
            } else {
                "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta} left"
            };
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style.progress_chars("=> "));
            }
            if progress.total > 0 {
                bar.set_length(progress.total);
            }
            bar.set_position(progress.done);
        }
        let due = self
            .reported
            .is_none_or(|last| last.elapsed() >= self.every);
        if self.json && due && progress.done > 0 {
            self.reported = Some(Instant::now());
            self.print_json(progress.done, progress.total);
        }
    }

    fn finish(&mut self, control: &Control) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let progress = control.progress();
        if self.json && progress.done > 0 {
            self.print_json(progress.done, progress.total);
        }
    }

    /// Prints the object that cryptsetup prints: numbers as text.
    fn print_json(&self, done: u64, total: u64) {
        let elapsed = self.started.elapsed();
        let speed = u128::from(done) * 1000 / elapsed.as_millis().max(1);
        let left = u128::from(total.saturating_sub(done));
        let line = serde_json::json!({
            "device": self.work.device,
            "device_bytes": done.to_string(),
            "device_size": total.to_string(),
            "speed": speed.to_string(),
            "eta_ms": (left * 1000 / speed.max(1)).to_string(),
            "time_ms": elapsed.as_millis().to_string(),
        });
        let line = escaped_json(&line.to_string());
        // Progress that nobody reads any more is no reason to stop.
        let _ = if self.work.uses_stdout {
            writeln!(io::stderr(), "{line}")
        } else {
            writeln!(io::stdout(), "{line}")
        };
    }
}
