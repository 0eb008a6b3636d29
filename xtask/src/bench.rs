//! `bench-report`: docs/benchmarks.md and its plots, from the record of one run.

mod plot;
mod record;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::root;
use crate::{Failure, Result};
use record::{Record, Series, median};

/// Where the targets stand: one line per row of the table that performance is held against.
const TARGETS: &str = "benches/compare/targets.csv";
/// Where records are kept.
const RECORDS: &str = "benches/records";
/// The page that is written.
const PAGE: &str = "docs/benchmarks.md";
/// The folder of its plots.
const PLOTS: &str = "docs/benchmarks";

/// One comparison and what is asked of it.
struct Target {
    row: String,
    what: String,
    case: String,
    ours: String,
    theirs: String,
    /// The ratio of cycles to a limit, instead of the ratio of times inside each round.
    is_share: bool,
    floor: Option<f64>,
    edge: Option<f64>,
}

/// Writes the page and the plots from the record named, or from the newest one.
pub(crate) fn report(arguments: &[String]) -> Result<()> {
    let path = match arguments {
        [] => newest_record()?,
        [path] => PathBuf::from(path),
        _ => return Err(Failure::new("bench-report takes one record at most")),
    };
    let record = Record::parse(&read(&path)?)?;
    let targets = parse_targets(&read(&root().join(TARGETS))?)?;
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let plots = root().join(PLOTS);
    fs::create_dir_all(&plots).map_err(|error| Failure::at(&plots, &error))?;
    for (file, svg) in plot::all(&record) {
        let path = plots.join(file);
        fs::write(&path, svg).map_err(|error| Failure::at(&path, &error))?;
    }
    let page = root().join(PAGE);
    fs::write(&page, render(&record, &targets, &name)).map_err(|error| Failure::at(&page, &error))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| Failure::at(path, &error))
}

fn newest_record() -> Result<PathBuf> {
    let folder = root().join(RECORDS);
    let entries = fs::read_dir(&folder).map_err(|error| Failure::at(&folder, &error))?;
    let records = entries.filter_map(|entry| Some(entry.ok()?.path()));
    // Names start with the date, so the last one is the newest.
    records
        .filter(|path| path.extension().is_some_and(|extension| extension == "csv"))
        .max()
        .ok_or_else(|| Failure::new(format!("{RECORDS} holds no record; run benches/compare")))
}

fn parse_targets(text: &str) -> Result<Vec<Target>> {
    let number = |text: &str| -> Result<Option<f64>> {
        if text.is_empty() {
            return Ok(None);
        }
        let bad = |_| Failure::new(format!("{TARGETS}: {text:?} is no number"));
        text.parse().map(Some).map_err(bad)
    };
    let mut targets = Vec::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [row, what, case, ours, theirs, measure, floor, edge] = fields[..] else {
            return Err(Failure::new(format!(
                "{TARGETS}: a line has not eight fields: {line}"
            )));
        };
        targets.push(Target {
            row: row.to_owned(),
            what: what.to_owned(),
            case: case.to_owned(),
            ours: ours.to_owned(),
            theirs: theirs.to_owned(),
            is_share: measure == "share",
            floor: number(floor)?,
            edge: number(edge)?,
        });
    }
    Ok(targets)
}

impl Target {
    /// The measured value, or nothing where the record lacks one side.
    fn measure(&self, record: &Record) -> Option<f64> {
        let ours = record.find(&self.case, &self.ours)?;
        let theirs = record.find(&self.case, &self.theirs)?;
        Some(if self.is_share {
            median(&theirs.cycles) / median(&ours.cycles)
        } else {
            ours.times_faster_than(theirs)
        })
    }

    fn verdict(&self, value: f64) -> &'static str {
        let reached = |bound: Option<f64>| bound.is_some_and(|bound| value >= bound - 0.005);
        if reached(self.edge) {
            "edge"
        } else if reached(self.floor) {
            "floor"
        } else if self.floor.is_some() {
            "**below**"
        } else {
            "-"
        }
    }
}

fn render(record: &Record, targets: &[Target], name: &str) -> String {
    let mut page = String::from(
        "# Benchmarks\n\n\
         Written by `cargo xtask bench-report` from one run of `benches/compare`; the rows and \
         their targets stand in `benches/compare/targets.csv`.\n\n\
         ## What was measured on\n\n| | |\n|---|---|\n",
    );
    let _ = writeln!(page, "| record | `{RECORDS}/{name}` |");
    for (key, value) in &record.facts {
        let _ = writeln!(page, "| {key} | {value} |");
    }
    page.push_str(METHOD);
    page.push_str("\n## Targets\n\n| row | what | against | floor | edge | measured | reaches |\n");
    page.push_str("|---|---|---|---|---|---|---|\n");
    for target in targets {
        let bound = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v}"));
        let (value, verdict) = match target.measure(record) {
            Some(value) => (format!("{value:.3}"), target.verdict(value)),
            None => ("not in this record".to_owned(), "-"),
        };
        let Target {
            row,
            what,
            theirs,
            floor,
            edge,
            ..
        } = target;
        let (floor, edge) = (bound(*floor), bound(*edge));
        let _ = writeln!(
            page,
            "| {row} | {what} | {theirs} | {floor} | {edge} | {value} | {verdict} |"
        );
    }
    page.push_str("\n## Plots\n\n");
    for (file, title) in plot::TITLES {
        let _ = writeln!(page, "![{title}](benchmarks/{file})\n");
    }
    page.push_str("## All cases\n\nMedian, and the spread between the quartiles.\n\n");
    page.push_str("| case | contender | GB/s | cycles/byte | spread |\n|---|---|---|---|---|\n");
    for one in &record.series {
        if one.contender.starts_with("limit/") {
            continue;
        }
        page.push_str(&case_line(one));
    }
    page
}

fn case_line(one: &Series) -> String {
    let Series {
        case, contender, ..
    } = one;
    let spread = one.spread() * 100.0;
    if one.bytes < 2.0 || case.ends_with("per-iteration") {
        let micros = median(&one.ns) / 1e3;
        return format!("| {case} | {contender} | {micros:.3} us each | | {spread:.1} % |\n");
    }
    let (rate, cycles) = (1.0 / median(&one.ns), median(&one.cycles));
    if case.starts_with("machine/") && !case.contains("copy") {
        return format!("| {case} | | | {cycles:.3} per instruction | {spread:.1} % |\n");
    }
    format!("| {case} | {contender} | {rate:.2} | {cycles:.4} | {spread:.1} % |\n")
}

/// How a number of this page was taken.
const METHOD: &str = "
## How these numbers are taken

1. Every contender's result is compared with the others' before anything is timed.
2. All contenders run in one process, pinned to one core, and take turns: one sample of about a
   millisecond each, then the next round. A ratio is taken inside each round; the median of the
   rounds is reported. A change of clock, or a neighbour, hits both sides.
3. A sample during which another process took the core is repeated; one untimed call before each
   sample brings its data back into the cache.
4. Equal work: the IV or nonce is set for every sector on both sides, expanded keys are kept on
   both sides, associated data is part of the work.
5. Cycles come from a chain of dependent additions right before and after each sample.
6. The limit of AES-XTS follows from the rate of AES instructions that the same run measured: the
   rounds of the data, and those of one tweak per sector.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let text = "# cpu: one\nrow,case,contender,bytes,ns,cycles\n\
                    X,a/b,ours,64,1 2 1,4 8 4\nX,a/b,theirs,64,2 4 3,8 16 12\n\
                    X,a/b,limit/x,64,1,3\n";
        Record::parse(text).expect("a record")
    }

    fn target(theirs: &str, measure: &str, floor: &str) -> Target {
        let line = format!("head\nX,what,a/b,ours,{theirs},{measure},{floor},2.5\n");
        parse_targets(&line).expect("a target").remove(0)
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds() {
        let target = target("theirs", "ratio", "1.5");
        let value = target.measure(&record()).expect("both sides are there");
        assert!((value - 2.0).abs() < 1e-9, "{value}");
        assert_eq!(target.verdict(value), "floor");
        assert_eq!(target.verdict(2.5), "edge");
        assert_eq!(target.verdict(1.4), "**below**");
    }

    #[test]
    fn a_share_compares_cycles_with_the_limit() {
        let value = target("limit/x", "share", "0.9")
            .measure(&record())
            .expect("both are there");
        assert!((value - 0.75).abs() < 1e-9, "{value}");
    }

    #[test]
    fn a_side_that_was_not_measured_gives_no_value() {
        assert_eq!(target("nobody", "ratio", "1").measure(&record()), None);
    }

    #[test]
    fn every_target_of_the_project_parses() {
        let text = read(&root().join(TARGETS)).expect("the targets are there");
        assert!(parse_targets(&text).expect("they parse").len() > 30);
    }
}
