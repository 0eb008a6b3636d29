//! Rules about data: fuzz corpora and test vectors.

use super::Tree;
use crate::Result;

const REPLAY: &str = "crates/luksmith-testkit/tests/corpus.rs";

/// Every fuzz target has inputs, and a test that replays them.
pub(super) fn fuzz_targets_have_corpus_and_replay(tree: &mut Tree) -> Result<()> {
    let mut findings = Vec::new();
    let targets: Vec<&str> = tree
        .files
        .iter()
        .filter_map(|file| file.strip_prefix("fuzz/fuzz_targets/")?.strip_suffix(".rs"))
        .collect();
    for target in &targets {
        let corpus = format!("fuzz/corpus/{target}/");
        if !tree.files.iter().any(|file| file.starts_with(&corpus)) {
            findings.push(format!("fuzz target {target} has nothing in {corpus}"));
        }
        if !tree.text(REPLAY).contains(&format!("\"{target}\"")) {
            findings.push(format!("fuzz target {target} is not replayed by {REPLAY}"));
        }
    }
    for file in &tree.files {
        let folder = file
            .strip_prefix("fuzz/corpus/")
            .and_then(|rest| rest.split('/').next());
        if folder.is_some_and(|folder| !targets.contains(&folder)) {
            findings.push(format!("{file} belongs to no fuzz target"));
        }
    }
    tree.add(findings);
    Ok(())
}

/// Every file under testvectors says what made it, or stands in the record of its folder that does.
pub(super) fn vectors_have_an_origin(tree: &mut Tree) -> Result<()> {
    const RECORDS: [&str; 3] = ["ORIGIN.md", "manifest.json", "manifest.txt"];
    let mut findings = Vec::new();
    for file in tree
        .files
        .iter()
        .filter(|file| file.starts_with("testvectors/"))
    {
        let (folder, name) = file.rsplit_once('/').unwrap_or_default();
        if RECORDS.contains(&name) || name == "README.md" {
            continue;
        }
        // A text says itself, in its first lines, what made it.
        if tree
            .text(file)
            .lines()
            .take(3)
            .any(|line| line.starts_with("# Made with "))
        {
            continue;
        }
        // A record names the vector, which may have several files.
        let plain = name.split('.').next().unwrap_or(name);
        let mut records = RECORDS
            .iter()
            .map(|record| tree.text(&format!("{folder}/{record}")));
        if !records.any(|text| text.contains(plain)) {
            findings.push(format!(
                "{file}: not named in {folder}/ORIGIN.md or a manifest"
            ));
        }
    }
    tree.add(findings);
    Ok(())
}
