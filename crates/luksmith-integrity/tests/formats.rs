//! The tables of docs/formats/integrity.md are those of the code.
//!
//! `LUKSMITH_RECORD=formats cargo test -p luksmith-integrity --test formats` writes them anew.

use std::{env, fmt::Write as _, fs, path::Path};

use luksmith_block::SectorSize;
use luksmith_integrity::{Flags, SectionShape, superblock};

fn superblock_table() -> String {
    let mut table = String::from("| offset | size | field | meaning |\n|---|---|---|---|\n");
    for field in superblock::FIELDS {
        let (offset, bytes) = (field.offset, field.bytes);
        let _ = writeln!(
            table,
            "| {offset} | {bytes} | {} | {} |",
            field.name, field.meaning
        );
    }
    table
}

fn flags_table() -> String {
    let mut table = String::from("| flag | value | meaning |\n|---|---|---|\n");
    for (flag, name, meaning) in Flags::ALL {
        let _ = writeln!(table, "| {name} | {:#04x} | {meaning} |", flag.bits());
    }
    table
}

fn sections_table() -> String {
    let tags = [4, 8, 16, 20, 28, 32, 48, 64];
    let mut table = String::from("| block |");
    for tag in tags {
        let _ = write!(table, " t = {tag} |");
    }
    table.push_str("\n|---|---|---|---|---|---|---|---|---|\n");
    for block in SectorSize::ALL {
        let _ = write!(table, "| {block} |");
        for tag in tags {
            let shape = SectionShape::of(tag, block, false);
            let (entry, at_once) = (shape.entry_bytes, shape.entries_per_sector);
            let (entries, sectors) = (shape.entries, shape.sectors);
            let _ = write!(table, " {entry}/{at_once}/{entries}/{sectors} |");
        }
        table.push('\n');
    }
    table
}

/// Puts each table between its marks.
fn renewed(document: &str) -> String {
    let mut text = document.to_owned();
    for (name, table) in [
        ("superblock", superblock_table()),
        ("flags", flags_table()),
        ("sections", sections_table()),
    ] {
        let mark = format!("<!-- table: {name} -->\n");
        let (before, rest) = text.split_once(&mark).expect("the table's mark");
        let (_, after) = rest.split_once("<!-- end -->").expect("the table's end");
        text = format!("{before}{mark}{table}<!-- end -->{after}");
    }
    text
}

#[test]
fn the_tables_of_the_format_document_are_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats/integrity.md");
    let document = fs::read_to_string(&path).expect("the document");
    let renewed = renewed(&document);
    if env::var("LUKSMITH_RECORD").is_ok_and(|what| what == "formats") {
        fs::write(&path, &renewed).expect("the document");
    } else {
        assert!(
            document == renewed,
            "a table is stale; LUKSMITH_RECORD=formats renews it"
        );
    }
}
