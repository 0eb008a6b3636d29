//! The documents under docs/formats say what the code says.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{env, fs, path::PathBuf};

use luksmith_header::{layout, policy::Profile};
use luksmith_testkit::mangled::record_path;

fn document(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/formats/{name}.md"))
}

/// Puts the tables from the code between their marks.
fn renewed(text: &str) -> String {
    let mut text = text.to_string();
    for table in layout::ALL {
        let start = format!("<!-- table: {} -->\n", table.title);
        let Some(at) = text.find(&start) else {
            continue;
        };
        let from = at + start.len();
        let to = from + text.get(from..).unwrap().find("<!-- end -->").unwrap();
        text.replace_range(from..to, &table.to_markdown());
    }
    text
}

#[test]
fn the_tables_of_the_documents_are_those_of_the_code() {
    let mut tables = 0;
    for name in ["luks1", "luks2"] {
        let path = document(name);
        let text = fs::read_to_string(&path).unwrap();
        tables += text.matches("<!-- table: ").count();
        let renewed = renewed(&text);
        if env::var("LUKSMITH_RECORD").is_ok_and(|what| what == "formats") {
            fs::write(&path, &renewed).unwrap();
            continue;
        }
        assert!(
            text == renewed,
            "{name}: LUKSMITH_RECORD=formats cargo test -p luksmith-header renews the tables"
        );
    }
    assert_eq!(
        tables,
        layout::ALL.len(),
        "each table stands in one document"
    );
}

#[test]
fn every_reason_for_another_verdict_stands_in_the_document() {
    let text = fs::read_to_string(document("luks2")).unwrap();
    let list = fs::read_to_string(record_path().with_file_name("differences.txt")).unwrap();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let reason = line.rsplit('\t').next().unwrap();
        assert!(text.contains(&format!("| {reason} |")), "{reason}");
    }
}

#[test]
fn every_built_in_profile_is_described() {
    let text = fs::read_to_string(document("policy")).unwrap();
    for name in Profile::built_in_names() {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}
