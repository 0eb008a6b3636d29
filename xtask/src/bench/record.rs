//! Records of `benches/compare`.

use crate::{Failure, Result};

/// One run: what it was taken on, and its samples.
pub(crate) struct Record {
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) series: Vec<Series>,
}

/// The samples of one contender of one case.
pub(crate) struct Series {
    pub(crate) case: String,
    pub(crate) contender: String,
    /// Bytes, or operations, per call.
    pub(crate) bytes: f64,
    /// Nanoseconds per byte, round by round.
    pub(crate) ns: Vec<f64>,
    /// Cycles per byte, round by round; empty where the clock says nothing.
    pub(crate) cycles: Vec<f64>,
}

impl Record {
    /// Reads the text of a record.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut record = Self {
            facts: Vec::new(),
            series: Vec::new(),
        };
        for line in text.lines() {
            if let Some(fact) = line.strip_prefix("# ") {
                let (key, value) = fact.split_once(": ").unwrap_or((fact, ""));
                record.facts.push((key.to_owned(), value.trim().to_owned()));
            } else if !line.starts_with("row,") {
                record.series.push(Series::parse(line)?);
            }
        }
        record.check_rounds()?;
        Ok(record)
    }

    /// Ratios are taken inside a round, so every contender of a case has to have them all.
    fn check_rounds(&self) -> Result<()> {
        for one in &self.series {
            let Series {
                case, contender, ..
            } = one;
            let mut others = self.series.iter().filter(|other| other.case == *case);
            if let Some(other) = others.find(|other| other.ns.len() != one.ns.len()) {
                let (rounds, others, other) = (one.ns.len(), other.ns.len(), &other.contender);
                return Err(Failure::new(format!(
                    "{case}: {contender} has {rounds} rounds, {other} has {others}"
                )));
            }
        }
        Ok(())
    }

    /// What the head of the record says about `key`.
    pub(crate) fn fact(&self, key: &str) -> Option<&str> {
        let found = self.facts.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// The samples of a contender, or nothing where it did not run.
    pub(crate) fn find(&self, case: &str, contender: &str) -> Option<&Series> {
        self.series
            .iter()
            .find(|one| one.case == case && one.contender == contender)
    }
}

impl Series {
    fn parse(line: &str) -> Result<Self> {
        let bad = || Failure::new(format!("not a line of a record: {line}"));
        let fields: Vec<&str> = line.split(',').collect();
        let [_, case, contender, bytes, ns, cycles] = fields[..] else {
            return Err(bad());
        };
        let numbers = |text: &str| -> Result<Vec<f64>> {
            text.split_whitespace()
                .map(|value| value.parse().map_err(|_| bad()))
                .collect()
        };
        let ns = numbers(ns)?;
        if ns.is_empty() {
            return Err(bad());
        }
        Ok(Self {
            case: case.to_owned(),
            contender: contender.to_owned(),
            bytes: bytes.parse().map_err(|_| bad())?,
            ns,
            cycles: numbers(cycles)?,
        })
    }

    /// Tells whether this is a side of the comparison, not what the machine does or allows.
    pub(crate) fn competes(&self) -> bool {
        let special = ["limit/", "machine/"];
        !special.iter().any(|kind| self.contender.starts_with(kind))
    }

    /// Tells whether this was kept from instructions that the machine has.
    pub(crate) fn is_masked(&self) -> bool {
        let is_without = |name: &str| name.contains("/without-");
        is_without(&self.case) || is_without(&self.contender)
    }

    /// The median of the ratios inside each round.
    pub(crate) fn times_faster_than(&self, other: &Self) -> f64 {
        let ratios: Vec<f64> = self
            .ns
            .iter()
            .zip(&other.ns)
            .map(|(ours, theirs)| theirs / ours)
            .collect();
        median(&ratios)
    }

    /// The distance of the quartiles, as a share of the lower one.
    pub(crate) fn spread(&self) -> f64 {
        quantile(&self.ns, 3) / quantile(&self.ns, 1) - 1.0
    }
}

/// The middle of the values; 0 for none.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 2)
}

/// The value at a number of quarters of the way through the sorted values.
fn quantile(values: &[f64], quarters: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(sorted.len().saturating_sub(1) * quarters / 4)
        .copied()
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_back_its_facts_and_samples() {
        let text = "# cpu: a: b\nrow,case,contender,bytes,ns,cycles\nX1,c,us,512,3 1 2,30 10 20\n";
        let record = Record::parse(text).expect("a record");
        assert_eq!(record.facts, [("cpu".to_owned(), "a: b".to_owned())]);
        let one = record.find("c", "us").expect("the only series");
        assert_eq!((median(&one.ns), median(&one.cycles)), (2.0, 20.0));
        assert!(record.find("c", "them").is_none());
    }

    #[test]
    fn a_case_whose_contenders_have_other_rounds_is_refused() {
        let text = |ns: &str| format!("X1,a/b,us,1,1 2,\nX1,a/b,them,1,{ns},\n");
        assert!(Record::parse(&text("3 4")).is_ok());
        let refused = Record::parse(&text("3")).err().expect("a round is lost");
        assert_eq!(refused.to_string(), "a/b: us has 2 rounds, them has 1");
    }

    #[test]
    fn a_line_without_samples_is_refused() {
        for line in ["X1,c,us,512,,", "X1,c,us,512,one,", "X1,c,us,512"] {
            assert!(Record::parse(line).is_err(), "{line}");
        }
    }
}
