//! Every variant of every error has its rendered message in the crate's `tests/messages.txt`.

use super::Tree;
use crate::Result;

/// Compares the texts of `#[error("...")]` with the lines of `messages.txt`.
pub(super) fn every_variant_has_one(tree: &mut Tree) -> Result<()> {
    let mut findings = Vec::new();
    for (file, text) in tree.rust() {
        let Some((name, _)) = file
            .strip_prefix("crates/")
            .and_then(|rest| rest.split_once("/src/"))
        else {
            continue;
        };
        let templates = templates(text);
        if templates.is_empty() {
            continue;
        }
        let list = format!("crates/{name}/tests/messages.txt");
        let lines: Vec<&str> = tree.text(&list).lines().collect();
        for template in templates {
            if !lines.iter().any(|line| matches(&template, line)) {
                findings.push(format!(
                    "{file}: no line of {list} has: {}",
                    template.join("...")
                ));
            }
        }
    }
    tree.add(findings);
    Ok(())
}

/// Gives the fixed parts of each message, in order.
fn templates(source: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for piece in source.split("#[error(").skip(1) {
        // Anything but a string says that another error's message is shown.
        if let Some(literal) = piece.trim_start().strip_prefix('"') {
            found.push(fixed_parts(literal));
        }
    }
    found
}

/// Reads a string literal up to its closing quote and leaves out what is formatted into it.
fn fixed_parts(literal: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let push = |parts: &mut Vec<String>, character: char| {
        if let Some(last) = parts.last_mut() {
            last.push(character);
        }
    };
    let mut characters = literal.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => match characters.next() {
                // A line that goes on: what indents the next one does not count.
                Some('\n') => while characters.next_if(|next| next.is_whitespace()).is_some() {},
                Some('n') => push(&mut parts, '\n'),
                Some(escaped) => push(&mut parts, escaped),
                None => break,
            },
            '{' | '}' if characters.next_if_eq(&character).is_some() => push(&mut parts, character),
            '{' => {
                for skipped in characters.by_ref() {
                    if skipped == '}' {
                        break;
                    }
                }
                parts.push(String::new());
            }
            other => push(&mut parts, other),
        }
    }
    parts
}

fn matches(parts: &[String], line: &str) -> bool {
    let mut rest = line;
    for part in parts {
        match rest.split_once(part.as_str()) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_its_fixed_parts_in_order() {
        let source = r#"
#[error(
    "keyslot {slot} has {len:?} \
     bytes {{raw}}"
)]
#[error(transparent)]"#;
        assert_eq!(
            templates(source),
            [["keyslot ", " has ", " bytes {raw}"].map(str::to_owned)]
        );
        let parts = &templates(source)[0];
        assert!(matches(parts, "Slot: keyslot 7 has 12 bytes {raw}"));
        assert!(!matches(parts, "keyslot 7 had 12 bytes {raw}"));
    }
}
