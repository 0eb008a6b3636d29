//! Rules about source text: lengths, characters, words, derived `Debug` on secrets.

use super::Tree;
use crate::Result;

const FILE_LINES: usize = 800;
const FUNCTION_LINES: usize = 70;
const LINE_CHARACTERS: usize = 100;
const LINE_WITH_TEXT_CHARACTERS: usize = 130;
/// A line that starts so says that what follows is a table, which may be long.
const TABLE: &str = "// A table:";

/// Files, functions and lines have a limit.
pub(super) fn lengths(tree: &mut Tree) -> Result<()> {
    let mut findings = Vec::new();
    for (file, text) in tree.rust() {
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE_LINES && !lines.iter().any(|line| line.starts_with(TABLE)) {
            findings.push(format!(
                "{file}: {} lines, the limit is {FILE_LINES}",
                lines.len()
            ));
        }
        for (number, line) in (1..).zip(&lines) {
            // A sentence in quotes is not broken for the sake of a number; code and comments are.
            let limit = match line.contains('"') {
                true => LINE_WITH_TEXT_CHARACTERS,
                false => LINE_CHARACTERS,
            };
            if line.chars().count() > limit {
                findings.push(format!("{file}:{number}: longer than {limit}"));
            }
        }
        // In tests a long function is a list of cases: a table.
        if file.contains("/tests/") || file.ends_with("tests.rs") {
            continue;
        }
        for (number, name, length) in functions(&lines) {
            if length > FUNCTION_LINES {
                findings.push(format!(
                    "{file}:{number}: fn {name} has {length} lines, the limit is {FUNCTION_LINES}"
                ));
            }
        }
    }
    tree.add(findings);
    Ok(())
}

/// Finds functions in formatted source: number of the first line, name, number of lines.
///
/// Formatting puts the closing brace of a function at the indentation of its first line.
fn functions<'a>(lines: &[&'a str]) -> Vec<(usize, &'a str, usize)> {
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        if at > 0
            && lines
                .get(at - 1)
                .is_some_and(|line| line.trim_start().starts_with(TABLE))
        {
            continue;
        }
        let indentation = line.len() - line.trim_start().len();
        let closing = format!("{:indentation$}}}", "");
        let rest = lines.iter().skip(at);
        // A declaration without a body ends with its first semicolon at this depth.
        let end = rest.clone().position(|line| *line == closing);
        let declaration = rest.clone().position(|line| line.ends_with(';'));
        let body = rest.clone().position(|line| line.ends_with('{'));
        match (end, body, declaration) {
            (Some(end), Some(body), semicolon) if semicolon.is_none_or(|at| at > body) => {
                found.push((at + 1, name, end + 1));
            }
            _ => {}
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let mut words = line.trim_start();
    if words.starts_with("//") {
        return None;
    }
    loop {
        let (word, rest) = words.split_once(' ')?;
        match word {
            "fn" => return rest.split(['(', '<']).next(),
            "const" | "async" | "unsafe" | "extern" | "\"C\"" => words = rest,
            _ if word.starts_with("pub") || word == "crate)" => words = rest,
            _ => return None,
        }
    }
}

/// Source is ASCII.
pub(super) fn ascii(tree: &mut Tree) -> Result<()> {
    let mut findings = Vec::new();
    for (file, text) in &tree.texts {
        if !file.ends_with(".rs") && !file.ends_with(".toml") && !file.ends_with(".sh") {
            continue;
        }
        for (number, line) in (1..).zip(text.lines()) {
            if !line.is_ascii() {
                findings.push(format!("{file}:{number}: not ASCII"));
            }
        }
    }
    tree.add(findings);
    Ok(())
}

/// What must not stand in committed text, and why. Spelled in two parts, so that this file passes.
const FORBIDDEN: [(&str, &str, &str); 13] = [
    ("TO", "DO", "an open end"),
    ("FIX", "ME", "an open end"),
    ("todo", "!(", "an open end"),
    ("unimple", "mented!(", "an open end"),
    ("#[ign", "ore", "a test that never runs"),
    ("/wor", "k/", "a path of one machine"),
    ("/tm", "p/lead", "a path of one machine"),
    ("/tm", "p/wt", "a path of one machine"),
    ("/ro", "ot/", "a path of one machine"),
    ("/ho", "me/", "a path of one machine"),
    ("deb.", "debian.org", "a package host; use the machine's"),
    ("static.", "crates.io", "a package host; use the machine's"),
    ("index.", "crates.io", "a package host; use the machine's"),
];

/// File names that hold no idea.
const NAMELESS: [&str; 4] = ["utils", "common", "misc", "types"];

/// No open ends, no paths of one machine, no bare exceptions, no nameless files.
pub(super) fn words(tree: &mut Tree) -> Result<()> {
    let mut findings = Vec::new();
    for (file, text) in &tree.texts {
        let shell = !file.ends_with(".rs");
        for (number, line) in (1..).zip(text.lines()) {
            for (first, second, why) in FORBIDDEN {
                let word = format!("{first}{second}");
                // Open ends are words; `#[...]` means something in Rust only.
                if line.contains(&word) && !(shell && word.starts_with('#')) {
                    findings.push(format!("{file}:{number}: `{word}`: {why}"));
                }
            }
        }
    }
    for file in tree.files.iter().filter(|file| file.ends_with(".rs")) {
        let stem = file
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs");
        if NAMELESS.contains(&stem) {
            findings.push(format!("{file}: a file is named for the thing it holds"));
        }
    }
    tree.add(findings);
    Ok(())
}

/// What holds a secret prints nothing of it, so its `Debug` is written by hand.
pub(super) fn secrets_have_no_derived_debug(tree: &mut Tree) -> Result<()> {
    let mut findings = Vec::new();
    for (file, text) in tree.rust() {
        if !file.ends_with("/secret.rs") && !file.contains("/secret/") {
            continue;
        }
        for (number, line) in (1..).zip(text.lines()) {
            let derive = line.trim_start().starts_with("#[derive(");
            let words = ["Debug", "Clone", "PartialEq", "Serialize"];
            if derive && words.iter().any(|word| line.contains(word)) {
                findings.push(format!(
                    "{file}:{number}: derived on a secret: {}",
                    line.trim()
                ));
            }
        }
    }
    tree.add(findings);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured_from_signature_to_closing_brace() {
        let source = "\
impl A {
    pub(crate) const fn one(
        a: u8,
    ) -> u8 {
        a
    }
}

fn two() {
}
trait B {
    fn three(&self);
    fn four(&self) {
    }
}";
        let lines: Vec<&str> = source.lines().collect();
        assert_eq!(
            functions(&lines),
            [(2, "one", 5), (9, "two", 2), (13, "four", 2)]
        );
    }
}
