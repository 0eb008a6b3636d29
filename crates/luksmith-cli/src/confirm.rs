//! Questions before something is destroyed.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::{
    context::Context,
    failure::{Failure, Kind, one_line},
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
    let question = question(warning);
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

/// The warning may name what a header says, which must not rewrite what is asked.
fn question(warning: &str) -> String {
    let warning = one_line(warning);
    format!("\nWARNING: {warning}.\nAre you sure? (Type 'YES' in capital letters): ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The UUID of a hostile backup took the warning off the terminal and hid what follows it.
    #[test]
    fn a_header_does_not_rewrite_the_question() {
        let uuid = "\x1b[1A\x1b[2K\rharmless\x1b[8m\n\u{202e}";
        let asked = question(&format!("the backup belongs to another volume, {uuid}"));
        let wanted = "\nWARNING: the backup belongs to another volume, \\u{1b}[1A\\u{1b}[2K\\rharmless\
                      \\u{1b}[8m\\n\\u{202e}.\nAre you sure? (Type 'YES' in capital letters): ";
        assert_eq!(asked, wanted);
    }
}
