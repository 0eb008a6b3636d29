//! docs/unsafe.md: every use of `unsafe`, with the argument that stands beside it.

use std::fmt::Write as _;
use std::fs;

use super::Tree;
use crate::{Failure, Result, command::root};

const LIST: &str = "docs/unsafe.md";
const HEAD: &str = "\
# Uses of unsafe

Made from the sources by `cargo xtask tidy --write`; do not edit. Only these two crates may use
`unsafe`: `luksmith-simd` for vector instructions, `luksmith-sys` for system calls. Each row is one
place: the function it is in, what is unsafe, and the argument that stands beside it in the source.
";

/// The list is what the sources give now, and no other crate has an unsafe block.
pub(super) fn is_current(tree: &mut Tree) -> Result<()> {
    let mut findings = Vec::new();
    if tree.text(LIST) != render(tree) {
        findings.push(format!(
            "{LIST} is not current; `cargo xtask tidy --write` renews it"
        ));
    }
    for (file, text) in tree.rust() {
        if has_unsafe(file) || file.starts_with("xtask/") || file.starts_with("benches/compare/") {
            continue;
        }
        for (number, line) in (1..).zip(text.lines()) {
            if places(line) > 0 {
                findings.push(format!(
                    "{file}:{number}: unsafe outside luksmith-simd and -sys"
                ));
            }
        }
    }
    tree.add(findings);
    Ok(())
}

/// Renews the list.
pub(super) fn write(tree: &Tree) -> Result<()> {
    let path = root().join(LIST);
    fs::write(&path, render(tree)).map_err(|error| Failure::at(&path, &error))
}

fn has_unsafe(file: &str) -> bool {
    file.starts_with("crates/luksmith-simd/src/") || file.starts_with("crates/luksmith-sys/src/")
}

fn render(tree: &Tree) -> String {
    let mut text = HEAD.to_owned();
    for (file, source) in tree.rust().filter(|(file, _)| has_unsafe(file)) {
        let rows = rows(source);
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(
            text,
            "\n## {file}\n\n| in | what | why it is sound |\n|---|---|---|"
        );
        for (place, what, why) in rows {
            let _ = writeln!(text, "| {place} | {what} | {why} |");
        }
    }
    text
}

/// Gives where, what and why of each use of `unsafe`; equal neighbours are counted.
fn rows(source: &str) -> Vec<(String, String, String)> {
    let mut rows: Vec<(String, String, String, usize)> = Vec::new();
    let mut inside = "the file".to_owned();
    let mut comment: Vec<&str> = Vec::new();
    for line in source.lines() {
        let code = line.trim();
        if let Some(text) = code.strip_prefix("//") {
            comment.push(text.trim_start_matches(['/', '!']).trim());
            continue;
        }
        if let Some((_, rest)) = code.split_once("fn ")
            && !code.starts_with("let ")
        {
            inside = format!("`{}`", rest.split(['(', '<']).next().unwrap_or_default());
        }
        if places(line) > 0 {
            let what = if code.contains("unsafe fn") {
                "function"
            } else if code.contains("unsafe impl") {
                "implementation"
            } else {
                "block"
            };
            let why = argument(&comment);
            match rows.last_mut() {
                Some(last) if last.0 == inside && last.1 == what && last.2 == why => last.3 += 1,
                _ => rows.push((inside.clone(), what.to_owned(), why, 1)),
            }
        }
        // Attributes and the start of a statement stand between a comment and its block. What ends
        // in a comma may be the first half of a statement too, unless the block was in it.
        let is_done = code.ends_with(',') && places(line) > 0;
        if code.is_empty() || is_done || code.ends_with([';', '}', '{']) {
            comment.clear();
        }
    }
    rows.into_iter()
        .map(|(place, what, why, count)| match count {
            1 => (place, what, why),
            many => (place, format!("{many} {what}s"), why),
        })
        .collect()
}

/// Takes the words after `SAFETY:` or under `# Safety` from a comment.
fn argument(comment: &[&str]) -> String {
    let text = comment.join(" ");
    let after = ["SAFETY:", "# Safety"]
        .iter()
        .find_map(|mark| text.split_once(mark).map(|(_, after)| after));
    after.unwrap_or("").trim().replace('|', "\\|")
}

/// Counts uses of the keyword in a line of code.
fn places(line: &str) -> usize {
    let code = line.split("//").next().unwrap_or_default();
    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
        .iter()
        .map(|keyword| code.matches(keyword).count())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_listed_with_its_function_and_its_argument() {
        let source = "\
fn one() {
    // SAFETY: it is
    // so.
    let a = unsafe { b() };
    let c = 1;
    unsafe { d() };
}";
        let row = |why: &str| ("`one`".to_owned(), "block".to_owned(), why.to_owned());
        assert_eq!(rows(source), [row("it is so."), row("")]);
    }

    #[test]
    fn an_argument_ends_with_the_arm_that_it_is_for() {
        let source = "\
fn one() {
    match way {
        // SAFETY: it is so.
        Way::A => unsafe { a() },
        // SAFETY: as above.
        Way::B => unsafe { b() },
        Way::C => unsafe { c() },
    }
}";
        let row = |why: &str| ("`one`".to_owned(), "block".to_owned(), why.to_owned());
        assert_eq!(rows(source), [row("it is so."), row("as above."), row("")]);
    }
}
