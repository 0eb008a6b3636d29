//! What holds for every action.

use std::io::{self, Write};

use clap::Args;

use crate::failure::{Failure, Kind};

/// Options of every action.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Context {
    /// Tells more: causes of an error, what was tried
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,

    /// Tells each step; never a secret
    #[arg(long, global = true)]
    pub(crate) debug: bool,

    /// Asks nothing
    #[arg(short = 'q', long = "batch-mode", global = true)]
    pub(crate) batch: bool,

    /// Gives results and errors as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Prints progress as lines of JSON
    #[arg(long, global = true)]
    pub(crate) progress_json: bool,

    /// Seconds between two reports of progress
    #[arg(long, value_name = "SECONDS", global = true)]
    pub(crate) progress_frequency: Option<u64>,
}

impl Context {
    /// Tells a step to whoever asked for `--debug`.
    pub(crate) fn debug(&self, step: impl FnOnce() -> String) {
        if self.debug {
            eprintln!("# {}", step());
        }
    }
}

/// Writes a result to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever read enough has closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new(
            Kind::DEVICE,
            format!("standard output: {error}"),
        )),
        Ok(()) => Ok(()),
    }
}
