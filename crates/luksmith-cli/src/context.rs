//! What holds for every action.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
};

use clap::Args;

use crate::failure::{Failure, Kind, one_line, with_options};

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
            tell(&format!("# {}", one_line(&with_options(step()))));
        }
    }
}

/// Writes lines to standard error. Where nobody takes them, the exit status still says how it went.
pub(crate) fn tell(lines: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", lines.trim_end_matches('\n'));
}

/// Writes a result to standard output. A terminal gets no control characters that a header, which
/// may be anybody's, has in its texts.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let text = match out.is_terminal() {
        true => for_a_terminal(text),
        false => Cow::Borrowed(text),
    };
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

/// Escapes control characters, but for the ends of lines and tabs.
fn for_a_terminal(text: &str) -> Cow<'_, str> {
    let is_odd = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(is_odd) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_odd(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_does_not_command_the_terminal() {
        let hostile = "Label: \t\x1b]0;x\x07\u{9b}2J\u{7f}\r caf\u{e9}\n";
        let shown = "Label: \t\\u{1b}]0;x\\u{7}\\u{9b}2J\\u{7f}\\r caf\u{e9}\n";
        assert_eq!(for_a_terminal(hostile), shown);
    }
}
