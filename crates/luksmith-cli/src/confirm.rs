//! Questions before something is destroyed.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::{
    context::Context,
    failure::{Failure, Kind},
};

/// What holds where nobody can be asked: standard input is no terminal, and `-q` is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unasked {
    /// Scripts that work with cryptsetup go on.
    GoesOn,
    /// Too much is at stake.
    Refused,
}

/// Asks for `YES` unless `-q` is given.
pub(crate) fn confirm(warning: &str, unasked: Unasked, context: &Context) -> Result<(), Failure> {
    if context.batch {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return match unasked {
            Unasked::GoesOn => Ok(()),
            Unasked::Refused => Err(Failure::caller(format!(
                "{warning}; give -q if that is meant"
            ))),
        };
    }
    let question =
        format!("\nWARNING: {warning}.\nAre you sure? (Type 'YES' in capital letters): ");
    let mut answer = String::new();
    let read = io::stderr()
        .write_all(question.as_bytes())
        .and_then(|()| io::stdin().lock().read_line(&mut answer));
    read.map_err(|error| Failure::caller(format!("the question could not be asked: {error}")))?;
    match answer.trim_end() {
        "YES" => Ok(()),
        _ => Err(Failure::new(Kind::Cancelled, "nothing was changed")),
    }
}
