//! `bench-report`: docs/benchmarks.md and its plots, from the record of one run.

mod page;
mod plot;
mod record;
mod run;

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::root;
use crate::{Failure, Result};
use record::Record;

/// Where the targets stand: one line per row of the table that performance is held against.
const TARGETS: &str = "benches/compare/targets.csv";
/// Where records are kept.
const RECORDS: &str = "benches/records";
/// The page that is written.
const PAGE: &str = "docs/benchmarks.md";
/// Why a row is below its floor: the beginning of the CPU's family, the row, a word of what, and
/// the reason, with `;` between.
const NOTES: &str = "benches/compare/notes.txt";
/// What the name of a record of the other flavour ends with.
const NATIVE: &str = "-native";
/// The folder of its plots.
const PLOTS: &str = "docs/benchmarks";

/// The verdict on a row below its floor.
const BELOW: &str = "**below**";

/// One comparison and what is asked of it.
struct Target {
    row: String,
    what: String,
    case: String,
    ours: String,
    theirs: String,
    floor: Option<f64>,
    edge: Option<f64>,
}

/// Writes the page and the plots from the record named, or from the newest one; with `--run` from
/// a new one that it takes first.
pub(crate) fn report(arguments: &[String]) -> Result<()> {
    let path = match arguments {
        [] => newest_record()?,
        [flag] if flag == "--run" => run::both_flavours()?,
        [path] => PathBuf::from(path),
        _ => return Err(Failure::new("bench-report takes `--run` or one record")),
    };
    let record = Record::parse(&read(&path)?)?;
    let native = native_of(&path);
    let native = if native.is_file() {
        Some(Record::parse(&read(&native)?)?)
    } else {
        None
    };
    let targets = parse_targets(&read(&root().join(TARGETS))?)?;
    let notes = read(&root().join(NOTES))?;
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let folder = root().join(PLOTS);
    fs::create_dir_all(&folder).map_err(|error| Failure::at(&folder, &error))?;
    let plots = plot::all(&record);
    for (plot, svg) in &plots {
        let path = folder.join(plot.file);
        fs::write(&path, svg).map_err(|error| Failure::at(&path, &error))?;
    }
    let page = page::Page {
        record: &record,
        native: native.as_ref(),
        targets: &targets,
        notes: &notes,
        name: &name,
        plots: plots.iter().map(|(plot, _)| *plot).collect(),
    };
    let path = root().join(PAGE);
    fs::write(&path, page.render()).map_err(|error| Failure::at(&path, &error))
}

/// Where the record of the same run, built for this CPU, is.
fn native_of(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}{NATIVE}.csv"))
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
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".csv") && !name.ends_with(&format!("{NATIVE}.csv"))
        })
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
        let [row, what, case, ours, theirs, floor, edge] = fields[..] else {
            return Err(Failure::new(format!(
                "{TARGETS}: a line has not seven fields: {line}"
            )));
        };
        targets.push(Target {
            row: row.to_owned(),
            what: what.to_owned(),
            case: case.to_owned(),
            ours: ours.to_owned(),
            theirs: theirs.to_owned(),
            floor: number(floor)?,
            edge: number(edge)?,
        });
    }
    Ok(targets)
}

impl Target {
    /// How many times faster ours is, or nothing where the record lacks one side. Against a limit
    /// this is the share of it.
    fn measure(&self, record: &Record) -> Option<f64> {
        let ours = record.find(&self.case, &self.ours)?;
        let theirs = record.find(&self.case, &self.theirs)?;
        Some(ours.times_faster_than(theirs))
    }

    fn verdict(&self, value: f64) -> &'static str {
        let reached = |bound: Option<f64>| bound.is_some_and(|bound| value >= bound);
        if reached(self.edge) {
            "edge"
        } else if reached(self.floor) {
            "floor"
        } else if self.floor.is_some() {
            BELOW
        } else {
            "-"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let text = "# cpu: one\nrow,case,contender,bytes,ns,cycles\n\
                    X,a/b,ours,64,1 2 1,4 8 4\nX,a/b,theirs,64,2 4 3,8 16 12\n\
                    X,a/b,limit/x,64,0.5 1.5 0.75,3\n";
        Record::parse(text).expect("a record")
    }

    fn target(theirs: &str, floor: &str) -> Target {
        let line = format!("head\nX,what,a/b,ours,{theirs},{floor},2.5\n");
        parse_targets(&line).expect("a target").remove(0)
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds() {
        let target = target("theirs", "1.5");
        let value = target.measure(&record()).expect("both sides are there");
        assert!((value - 2.0).abs() < 1e-9, "{value}");
        assert_eq!(target.verdict(value), "floor");
        assert_eq!(target.verdict(2.5), "edge");
        assert_eq!(target.verdict(1.4), BELOW);
    }

    #[test]
    fn a_share_is_taken_of_the_limit_in_the_same_round() {
        let value = target("limit/x", "0.9")
            .measure(&record())
            .expect("both are there");
        assert!((value - 0.75).abs() < 1e-9, "{value}");
    }

    #[test]
    fn a_side_that_was_not_measured_gives_no_value() {
        assert_eq!(target("nobody", "1").measure(&record()), None);
    }

    #[test]
    fn every_target_of_the_project_parses() {
        let text = read(&root().join(TARGETS)).expect("the targets are there");
        assert!(parse_targets(&text).expect("they parse").len() > 30);
    }
}
