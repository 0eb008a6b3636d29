//! Rules about the crates: who may use whom, lints, locks, decisions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Tree;
use crate::{
    Failure, Result,
    command::{cargo, output},
};

const DESIGN: &str = "docs/design.md";
/// May use anything and is no part of what is published.
const TOOLS: [&str; 3] = ["luksmith-testkit", "luksmith-bench", "xtask"];
/// Crates with `unsafe`, whose lints differ in that one line.
const WITH_UNSAFE: [&str; 2] = ["luksmith-simd", "luksmith-sys"];

/// The table of layers in docs/design.md says exactly what the manifests say may be.
pub(super) fn table_matches_the_manifests(tree: &mut Tree) -> Result<()> {
    let table = table(tree.text(DESIGN), "<!-- layers:");
    let mut layer_of = BTreeMap::new();
    let mut allowed = BTreeMap::new();
    for row in &table {
        if let [layer, name, uses] = row.as_slice() {
            layer_of.insert(name.clone(), layer.clone());
            let uses: BTreeSet<String> =
                uses.split(',').map(|name| name.trim().to_owned()).collect();
            allowed.insert(name.clone(), uses);
        }
    }
    let mut findings = Vec::new();
    for (name, uses) in &allowed {
        for used in uses.iter().filter(|used| !used.is_empty()) {
            match layer_of.get(used) {
                Some(layer) if Some(layer) <= layer_of.get(name) => {}
                _ => findings.push(format!("{DESIGN}: {name} -> {used} does not point down")),
            }
        }
    }
    let members = members()?;
    for (name, uses) in &members {
        if TOOLS.contains(&name.as_str()) {
            continue;
        }
        let Some(row) = allowed.get(name) else {
            findings.push(format!("{name} has no row in the table of {DESIGN}"));
            continue;
        };
        for (used, kind) in uses.iter().filter(|(used, _)| members.contains_key(used)) {
            let for_tests = kind == "dev";
            if !row.contains(used) && !(for_tests && (used == "luksmith-testkit" || used == name)) {
                findings.push(format!(
                    "{name} uses {used}, which its row in {DESIGN} lacks"
                ));
            }
        }
    }
    for name in allowed.keys().filter(|name| !members.contains_key(*name)) {
        findings.push(format!("{DESIGN} has a row for {name}, which is no crate"));
    }
    tree.add(findings);
    Ok(())
}

/// Gives the crates of the workspace, each with what it depends on and as what.
fn members() -> Result<BTreeMap<String, Vec<(String, String)>>> {
    let text = output(&mut cargo([
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    let metadata: Value =
        serde_json::from_str(&text).map_err(|error| Failure::new(format!("metadata: {error}")))?;
    let list = |value: &Value, name: &str| {
        let list = value.get(name).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let word = |value: &Value, name: &str| {
        let word = value.get(name).and_then(Value::as_str);
        word.unwrap_or_default().to_owned()
    };
    Ok(list(&metadata, "packages")
        .iter()
        .map(|package| {
            let uses = list(package, "dependencies")
                .iter()
                .map(|used| (word(used, "name"), word(used, "kind")))
                .collect();
            (word(package, "name"), uses)
        })
        .collect())
}

/// Every crate takes the workspace's lints, but those with `unsafe`, which deny it and allow it by
/// the file.
pub(super) fn lints_are_inherited(tree: &mut Tree) -> Result<()> {
    let mut findings = Vec::new();
    for (file, text) in &tree.texts {
        let Some(folder) = file.strip_suffix("/Cargo.toml") else {
            continue;
        };
        let own_workspace = text.contains("\n[workspace]") || text.starts_with("[workspace]");
        let inherits = text.contains("[lints]\nworkspace = true");
        let has_unsafe = WITH_UNSAFE.iter().any(|name| folder.ends_with(name));
        if has_unsafe && !text.contains("unsafe_code = \"deny\"") {
            findings.push(format!(
                "{file}: a crate with unsafe has `unsafe_code = \"deny\"`"
            ));
        } else if !has_unsafe && !own_workspace && !inherits {
            findings.push(format!("{file}: the workspace's lints are not inherited"));
        }
    }
    tree.add(findings);
    Ok(())
}

/// A crate that uses a lock stands in the table of locks.
pub(super) fn locks_are_listed(tree: &mut Tree) -> Result<()> {
    let rows = table(tree.text(DESIGN), "<!-- locks:");
    let listed: BTreeSet<&str> = rows
        .iter()
        .filter_map(|row| row.get(1).map(String::as_str))
        .collect();
    let mut findings = Vec::new();
    for (file, text) in tree.rust() {
        let mut parts = file.split('/');
        let (Some("crates"), Some(name), Some("src")) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if TOOLS.contains(&name) || file.ends_with("tests.rs") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let locks = ["Mutex<", "RwLock<", "Condvar"];
        let has = lines
            .into_iter()
            .any(|line| locks.iter().any(|lock| line.contains(lock)));
        if has && !listed.contains(name) {
            findings.push(format!(
                "{file} has a lock; {name} is not in the locks of {DESIGN}"
            ));
        }
    }
    tree.add(findings);
    Ok(())
}

/// Decision records count up from 1 and are all linked from the design.
pub(super) fn decisions_are_numbered(tree: &mut Tree) -> Result<()> {
    let names = tree
        .files
        .iter()
        .filter_map(|file| file.strip_prefix("docs/decisions/"));
    let mut findings = Vec::new();
    for (number, name) in (1..).zip(names) {
        if !name.starts_with(&format!("{number:04}-")) {
            findings.push(format!(
                "docs/decisions/{name}: expected number {number:04}"
            ));
        }
        if !tree.text(DESIGN).contains(name) {
            findings.push(format!("docs/decisions/{name} is not listed in {DESIGN}"));
        }
    }
    tree.add(findings);
    Ok(())
}

/// Gives the rows of the table that follows a mark, without its head.
fn table(text: &str, mark: &str) -> Vec<Vec<String>> {
    let Some((_, rest)) = text.split_once(mark) else {
        return Vec::new();
    };
    rest.lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_without_its_head_and_up_to_its_end() {
        let text = "<!-- locks: x -->\n| a | b |\n|---|---|\n| 1 | two |\n| 3 | |\n\n| no |\n";
        assert_eq!(table(text, "<!-- locks:"), [["1", "two"], ["3", ""]]);
        assert!(table(text, "<!-- layers:").is_empty());
    }
}
