//! The house rules that a machine can check.

mod data;
mod layers;
mod messages;
mod source;
mod unsafe_list;

use std::{collections::BTreeMap, path::Path, process::Command};

use crate::{
    Failure, Result,
    command::{output, read_text, root},
};

/// The files under version control, and what is wrong with them.
pub(crate) struct Tree {
    /// Paths below the root, sorted.
    files: Vec<String>,
    /// Text of the files that are text.
    texts: BTreeMap<String, String>,
    findings: Vec<String>,
}

impl Tree {
    fn read() -> Result<Self> {
        let listed = output(
            Command::new("git")
                .args(["ls-files", "--cached", "--others", "--exclude-standard"])
                .current_dir(root()),
        )?;
        let mut files: Vec<String> = listed.lines().map(str::to_owned).collect();
        files.sort_unstable();
        files.dedup();
        // Deleted and not committed yet.
        files.retain(|file| root().join(file).is_file());
        let is_text = |file: &&String| {
            let extension = Path::new(file).extension().unwrap_or_default();
            ["rs", "toml", "md", "txt", "json", "sh"]
                .iter()
                .any(|known| extension == *known)
                || file.starts_with(".ci/")
        };
        let mut texts = BTreeMap::new();
        for file in files.iter().filter(is_text) {
            texts.insert(file.clone(), read_text(&root().join(file))?);
        }
        Ok(Self {
            files,
            texts,
            findings: Vec::new(),
        })
    }

    /// Gives each Rust file with its text.
    fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts
            .iter()
            .filter(|(file, _)| file.ends_with(".rs"))
            .map(|(file, text)| (file.as_str(), text.as_str()))
    }

    fn text(&self, file: &str) -> &str {
        self.texts.get(file).map_or("", String::as_str)
    }

    fn add(&mut self, findings: impl IntoIterator<Item = String>) {
        self.findings.extend(findings);
    }
}

/// A rule and what it is called.
type Rule = (&'static str, fn(&mut Tree) -> Result<()>);

const RULES: [Rule; 12] = [
    ("layers", layers::table_matches_the_manifests),
    ("lints", layers::lints_are_inherited),
    ("locks", layers::locks_are_listed),
    ("decisions", layers::decisions_are_numbered),
    ("lengths", source::lengths),
    ("ascii", source::ascii),
    ("words", source::words),
    ("secrets", source::secrets_have_no_derived_debug),
    ("messages", messages::every_variant_has_one),
    ("fuzz", data::fuzz_targets_have_corpus_and_replay),
    ("vectors", data::vectors_have_an_origin),
    ("unsafe", unsafe_list::is_current),
];

/// Checks every rule; with `--write`, renews generated documents first.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if let Some(word) = arguments.iter().find(|word| *word != "--write") {
        return Err(Failure::new(format!(
            "tidy does not know {word}; it takes --write"
        )));
    }
    let mut tree = Tree::read()?;
    if !arguments.is_empty() {
        unsafe_list::write(&tree)?;
        tree = Tree::read()?;
    }
    for (name, rule) in RULES {
        let before = tree.findings.len();
        rule(&mut tree)?;
        for finding in tree.findings.iter().skip(before) {
            println!("{name}: {finding}");
        }
    }
    if tree.findings.is_empty() {
        println!(
            "tidy: {} rules over {} files",
            RULES.len(),
            tree.files.len()
        );
        Ok(())
    } else {
        Err(Failure::new(format!(
            "tidy: {} findings",
            tree.findings.len()
        )))
    }
}
