//! What holds for every action.

use std::io::{self, IsTerminal, Write};

use clap::Args;

use crate::failure::{Failure, Kind, commands, one_line, with_options};

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

/// Writes lines to standard error, without what else than lines their text may do to a terminal.
/// Where nobody takes them, the exit status still says how it went.
pub(crate) fn tell(lines: &str) {
    let mut out = io::stderr().lock();
    let shown = for_a_terminal(&mut out, lines.trim_end_matches('\n'));
    let _ = shown.and_then(|()| writeln!(out));
}

/// Writes an object to standard error for a program, which may still show it to somebody.
pub(crate) fn tell_json(object: &serde_json::Value) {
    let _ = writeln!(io::stderr().lock(), "{}", escaped_json(&object.to_string()));
}

/// Escapes what a terminal would not show of a JSON text, as JSON has it: the text says the same.
pub(crate) fn escaped_json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        // Ends of lines and tabs stand between values, all others in strings, and below 2^16.
        if commands(c) && c != '\n' && c != '\t' {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// As [`print`], of a JSON text, which stays one on a terminal too.
pub(crate) fn print_json(text: &str) -> Result<(), Failure> {
    match io::stdout().is_terminal() {
        true => print(&escaped_json(text)),
        false => print(text),
    }
}

/// Writes a result to standard output. A terminal gets no control characters that a header, which
/// may be anybody's, has in its texts.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = match out.is_terminal() {
        true => for_a_terminal(&mut out, text),
        false => out.write_all(text.as_bytes()),
    };
    match written.and_then(|()| out.flush()) {
        // Whoever read enough has closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new(
            Kind::DEVICE,
            format!("standard output: {error}"),
        )),
        Ok(()) => Ok(()),
    }
}

/// Escapes what a terminal would not show, but for the ends of lines and tabs. In pieces: a key may
/// be in the text, which is not copied here.
fn for_a_terminal(out: &mut impl Write, text: &str) -> io::Result<()> {
    let is_odd = |c: char| commands(c) && c != '\n' && c != '\t';
    for piece in text.split_inclusive(is_odd) {
        match piece.chars().next_back().filter(|last| is_odd(*last)) {
            Some(last) => {
                out.write_all(piece.trim_end_matches(last).as_bytes())?;
                write!(out, "{}", last.escape_default())?;
            }
            None => out.write_all(piece.as_bytes())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_does_not_command_the_terminal() {
        let hostile = "Label: \t\x1b]0;x\x07\u{9b}2J\u{7f}\r caf\u{e9}\u{202e}\n";
        let shown = "Label: \t\\u{1b}]0;x\\u{7}\\u{9b}2J\\u{7f}\\r caf\u{e9}\\u{202e}\n";
        let mut out = Vec::new();
        for_a_terminal(&mut out, hostile).expect("a vector");
        assert_eq!(String::from_utf8(out).as_deref(), Ok(shown));
    }

    #[test]
    fn an_object_says_the_same_when_its_texts_command_no_terminal() {
        let text = "\x1b[2J\u{7f}\u{9b}\u{202e}caf\u{e9}\n";
        let object = serde_json::json!({ "message": text });
        let line = escaped_json(&object.to_string());
        let wanted = "{\"message\":\"\\u001b[2J\\u007f\\u009b\\u202ecaf\u{e9}\\n\"}";
        assert_eq!(line, wanted);
        assert_eq!(line.parse::<serde_json::Value>().expect("JSON"), object);
        let pretty = format!("{object:#}\n");
        let shown = escaped_json(&pretty);
        assert_eq!(shown.lines().count(), 3, "{shown}");
        assert_eq!(shown.parse::<serde_json::Value>().expect("JSON"), object);
    }
}
