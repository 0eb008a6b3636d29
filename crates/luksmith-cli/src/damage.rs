//! Bad sectors, told to people and to programs.

use luksmith::{BadRanges, ExportReport, VerifyReport};
use serde_json::json;

use crate::{
    context::{Context, print, tell},
    failure::{Failure, Kind},
    size::human,
};

const TAMPERED: &str = "tag does not match";
const UNREADABLE: &str = "cannot be read";

/// Prints what a verification found; damage is a failure. `rest` is what it cannot say;
/// `is_unchecked` tells programs that a part of the tags was not looked at.
pub(crate) fn verified(
    report: &VerifyReport,
    is_unchecked: bool,
    rest: &str,
    context: &Context,
) -> Result<(), Failure> {
    if context.json {
        let result = json!({
            "bytes": report.bytes,
            "clean": report.is_clean(),
            "unchecked": is_unchecked,
            "tampered": as_json(&report.tampered),
            "unreadable": as_json(&report.unreadable),
        });
        print(&format!("{result:#}\n"))?;
    } else {
        let mut text = lines(TAMPERED, &report.tampered) + &lines(UNREADABLE, &report.unreadable);
        let clean = match (report.is_clean(), is_unchecked) {
            (true, false) => ", every tag matches",
            (true, true) => ", every tag that was looked at matches",
            (false, _) => "",
        };
        text.push_str(&format!("{} verified{clean}.\n{rest}", human(report.bytes)));
        print(&text)?;
    }
    match report.tampered.sectors() + report.unreadable.sectors() {
        0 => Ok(()),
        bad => Err(damaged(format!("{bad} bad sectors of 512 bytes"))),
    }
}

/// Lists what an export replaced by zeros; that is a failure.
pub(crate) fn replaced(report: &ExportReport) -> Result<(), Failure> {
    let listed = lines(TAMPERED, &report.tampered) + &lines(UNREADABLE, &report.unreadable);
    if !listed.is_empty() {
        tell(&listed);
    }
    match report.tampered.sectors() + report.unreadable.sectors() {
        0 => Ok(()),
        bad => Err(damaged(format!(
            "{bad} sectors of 512 bytes were replaced by zeros"
        ))),
    }
}

fn damaged(message: String) -> Failure {
    Failure::new(Kind::DAMAGED, message)
}

/// Gives a line for each run.
fn lines(what: &str, bad: &BadRanges) -> String {
    let mut text = String::new();
    for (first, count) in bad.ranges() {
        let last = first.get() + count - 1;
        text.push_str(&format!("sectors {first} to {last}: {what}\n"));
    }
    if bad.unlisted() > 0 {
        text.push_str(&format!("and {} more ranges: {what}\n", bad.unlisted()));
    }
    text
}

fn as_json(bad: &BadRanges) -> serde_json::Value {
    let listed: Vec<_> = bad
        .ranges()
        .iter()
        .map(|(first, count)| json!({ "first": first.get(), "count": count }))
        .collect();
    json!({ "sectors": bad.sectors(), "ranges": listed, "unlisted": bad.unlisted() })
}
