//! The page: targets and verdicts, what is below its floor and why, plots, and every case.

use std::fmt::Write as _;

use super::plot::Plot;
use super::record::{Record, Series, median};
use super::{RECORDS, Target};

/// What a page is made of.
pub(crate) struct Page<'a> {
    pub(crate) record: &'a Record,
    /// The same kernels built for this CPU alone.
    pub(crate) native: Option<&'a Record>,
    pub(crate) targets: &'a [Target],
    pub(crate) notes: &'a str,
    /// Of the file of the record.
    pub(crate) name: &'a str,
    pub(crate) plots: Vec<&'static Plot>,
}

/// A backend, and the next simpler one that the same machine could use.
struct Step {
    simple: &'static str,
    wide: &'static str,
    /// Functions where `simple` is another thing than its name says.
    but: Option<&'static str>,
}

const fn step(simple: &'static str, wide: &'static str) -> Step {
    Step {
        simple,
        wide,
        but: None,
    }
}

const STEPS: [Step; 14] = [
    step("luksmith/portable", "luksmith/aesni"),
    step("luksmith/portable", "luksmith/aarch64"),
    step("luksmith/aesni", "luksmith/vaes256"),
    step("luksmith/vaes256", "luksmith/vaes512"),
    // CRC-32C has nothing for 256-bit vectors.
    step("luksmith/aesni", "luksmith/vaes512"),
    // Where there is no SHA-NI, which RustCrypto uses by itself, and with it our portable backend.
    step("sha2/without-sha", "luksmith/avx2"),
    Step {
        but: Some("sha256"),
        ..step("luksmith/portable", "luksmith/avx2")
    },
    step("luksmith/portable", "luksmith/shani"),
    step("luksmith/avx2", "luksmith/shani"),
    step("luksmith/shani", "luksmith/avx512"),
    step("luksmith/avx2", "luksmith/avx512"),
    // Cipher and hash together.
    step("luksmith/portable+portable", "luksmith/aesni+shani"),
    step("luksmith/aesni+shani", "luksmith/vaes256+shani"),
    step("luksmith/vaes256+shani", "luksmith/vaes512+avx512"),
];
/// Requests from this size on are held against the next simpler backend.
const SMALLEST: f64 = 4096.0;
/// What counts as slower: beyond what two runs of the same code differ by.
const SLOWER: f64 = 0.97;

impl Page<'_> {
    pub(crate) fn render(&self) -> String {
        let mut page = String::from(
            "# Benchmarks\n\n\
             Written by `cargo xtask bench-report` from one run of `benches/compare`; the rows and \
             their targets stand in `benches/compare/targets.csv`.\n\n\
             ## What was measured on\n\n| | |\n|---|---|\n",
        );
        let _ = writeln!(page, "| record | `{RECORDS}/{}` |", self.name);
        for (key, value) in &self.record.facts {
            let _ = writeln!(page, "| {key} | {value} |");
        }
        page.push_str(METHOD);
        self.targets(&mut page);
        self.below(&mut page);
        self.backends(&mut page);
        self.flavours(&mut page);
        page.push_str("\n## Plots\n\n");
        for Plot { file, title, .. } in &self.plots {
            let _ = writeln!(page, "![{title}](benchmarks/{file})\n");
        }
        page.push_str("## All cases\n\nMedian, the spread between the quartiles, and the number of rounds.\n\n");
        page.push_str(
            "| case | contender | GB/s | cycles/byte | spread | rounds |\n|---|---|---|---|---|---|\n",
        );
        for one in &self.record.series {
            if one.competes() {
                page.push_str(&case_line(one));
            }
        }
        page
    }

    fn targets(&self, page: &mut String) {
        page.push_str(
            "\n## Targets\n\n| row | what | against | floor | edge | measured | reaches |\n\
             |---|---|---|---|---|---|---|\n",
        );
        for target in self.targets {
            let bound =
                |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| v.to_string());
            let (value, verdict) = match target.measure(self.record) {
                Some(value) => (format!("{value:.3}"), target.verdict(value)),
                None => ("not in this record".to_owned(), "-"),
            };
            let (row, what, theirs) = (&target.row, &target.what, &target.theirs);
            let (floor, edge) = (bound(target.floor), bound(target.edge));
            let _ = writeln!(
                page,
                "| {row} | {what} | {theirs} | {floor} | {edge} | {value} | {verdict} |"
            );
        }
    }

    /// The rows below their floor, and those that were not measured, with the reason on record.
    fn below(&self, page: &mut String) {
        page.push_str("\n## Below the floor, or not measured\n\n");
        let mut none = true;
        for target in self.targets {
            let value = target.measure(self.record);
            let missing = match value {
                Some(value) if target.verdict(value) != super::BELOW => continue,
                Some(value) => {
                    let floor = target.floor.unwrap_or(value);
                    format!("{:.1} % below", (1.0 - value / floor) * 100.0)
                }
                None => "not in this record".to_owned(),
            };
            none = false;
            let reason = self.note(target).unwrap_or("no reason is on record");
            let _ = writeln!(
                page,
                "- **{}** {}: {missing}. {reason}",
                target.row, target.what
            );
        }
        if none {
            page.push_str("None.\n");
        }
    }

    /// What `notes` says about a row on CPUs of this family.
    fn note(&self, target: &Target) -> Option<&str> {
        let family = self.record.fact("cpu family").unwrap_or_default();
        self.notes.lines().find_map(|line| {
            let mut fields = line.splitn(4, ';').map(str::trim);
            let (cpu, row, what) = (fields.next()?, fields.next()?, fields.next()?);
            let fits = family.starts_with(cpu) && row == target.row && target.what.contains(what);
            fits.then(|| fields.next())?
        })
    }

    /// Every backend of every function beside the next simpler one.
    fn backends(&self, page: &mut String) {
        page.push_str(
            "\n## No backend is slower than the next simpler one\n\nFor every function with more \
             than one backend, over its requests of 4 KiB or more: the least ratio of a backend to \
             the next simpler one. Less than 0.97 counts as slower. What is not there: cipher and \
             hash together with AES-NI and AVX2, for a CPU without SHA-NI.\n\n\
             | function | comparisons | least ratio | of | to | where | verdict |\n\
             |---|---|---|---|---|---|---|\n",
        );
        let mut functions: Vec<(String, Vec<Comparison<'_>>)> = Vec::new();
        for one in comparisons(self.record) {
            let name = function(one.case);
            match functions.iter_mut().find(|(known, _)| *known == name) {
                Some((_, list)) => list.push(one),
                None => functions.push((name, vec![one])),
            }
        }
        for (name, list) in &functions {
            let least = list.iter().min_by(|a, b| a.ratio.total_cmp(&b.ratio));
            let Some(least) = least else { continue };
            let verdict = if least.ratio < SLOWER {
                "**slower**"
            } else {
                "holds"
            };
            let (ratio, count) = (least.ratio, list.len());
            let Comparison {
                wide, simple, case, ..
            } = least;
            let _ = writeln!(
                page,
                "| {name} | {count} | {ratio:.3} | {wide} | {simple} | {case} | {verdict} |"
            );
        }
        exceptions(functions.iter().flat_map(|(_, list)| list), page);
    }

    /// The same rows with the kernels built for this CPU.
    fn flavours(&self, page: &mut String) {
        let Some(native) = self.native else { return };
        let flags = native.fact("rustflags").unwrap_or_default();
        let _ = writeln!(
            page,
            "\n## Built with `{flags}`\n\n| row | what | default | this flavour | reaches |\n\
             |---|---|---|---|---|"
        );
        for target in self.targets {
            if let (Some(usual), Some(value)) =
                (target.measure(self.record), target.measure(native))
            {
                let (row, what, verdict) = (&target.row, &target.what, target.verdict(value));
                let _ = writeln!(
                    page,
                    "| {row} | {what} | {usual:.3} | {value:.3} | {verdict} |"
                );
            }
        }
        let is_below = |target: &Target, record| {
            let value = target.measure(record);
            value.is_some_and(|value| target.verdict(value) == super::BELOW)
        };
        for target in self.targets {
            if is_below(target, native) && !is_below(target, self.record) {
                let reason = self.note(target).unwrap_or("no reason is on record");
                let _ = writeln!(page, "\n**{}** {}: {reason}", target.row, target.what);
            }
        }
        page.push_str(
            "\nWith these flags the compiler may use AVX-512 in every kernel: what is said to be \
             without it, or with AVX2, is so in the default build alone, and narrower backends \
             gain on each other unevenly.\n",
        );
        page.push_str(
            "\nEvery backend was held against the next simpler one in this flavour too, with the \
             requests that it was measured with.\n",
        );
        let all: Vec<_> = comparisons(native).collect();
        exceptions(all.iter(), page);
    }
}

/// One request by a backend and by the next simpler one.
struct Comparison<'a> {
    case: &'a str,
    wide: &'static str,
    simple: &'static str,
    /// How many times faster the wider one is.
    ratio: f64,
}

/// All of [`STEPS`] in all cases that have both sides.
fn comparisons(record: &Record) -> impl Iterator<Item = Comparison<'_>> {
    let step = move |Step { simple, wide, but }: &'static Step| {
        record.series.iter().filter_map(move |one| {
            let case = one.case.as_str();
            let is_other = but.is_some_and(|but| case.contains(but));
            let small = one.bytes < SMALLEST && !case.starts_with("kdf/");
            if one.contender != *wide || small || is_other || case.contains("/without-") {
                return None;
            }
            let other = record.find(case, simple)?;
            Some(Comparison {
                case,
                wide,
                simple,
                ratio: one.times_faster_than(other),
            })
        })
    };
    STEPS.iter().flat_map(step)
}

/// Lists the comparisons in which the wider backend is slower.
fn exceptions<'a>(all: impl Iterator<Item = &'a Comparison<'a>>, page: &mut String) {
    page.push_str("\nExceptions: ");
    let slower: Vec<String> = all
        .filter(|one| one.ratio < SLOWER)
        .map(|one| {
            let Comparison {
                wide,
                simple,
                case,
                ratio,
            } = one;
            format!("\n- {case}: {wide} is {ratio:.3} of {simple}")
        })
        .collect();
    page.push_str(&if slower.is_empty() {
        "none.\n".to_owned()
    } else {
        format!("\n{}\n", slower.concat())
    });
}

/// What a case does, without the sizes that it does it at.
fn function(case: &str) -> String {
    let is_size = |part: &&str| {
        let rest = ["sector", "run", "key"]
            .iter()
            .find_map(|kind| part.strip_prefix(kind));
        rest.is_some_and(|rest| rest.chars().all(|digit| digit.is_ascii_digit()))
    };
    let parts: Vec<&str> = case.split('/').filter(|part| !is_size(part)).collect();
    parts.join("/")
}

fn case_line(one: &Series) -> String {
    let Series {
        case, contender, ..
    } = one;
    let (spread, rounds) = (one.spread() * 100.0, one.ns.len());
    if case.starts_with("amplification/") {
        let ratio = median(&one.ns);
        return format!("| {case} | {contender} | {ratio:.3} bytes per byte | | | {rounds} |\n");
    }
    if one.bytes < 2.0 || case.ends_with("per-iteration") {
        let micros = median(&one.ns) / 1e3;
        return format!(
            "| {case} | {contender} | {micros:.3} us each | | {spread:.1} % | {rounds} |\n"
        );
    }
    let (rate, cycles) = (1.0 / median(&one.ns), median(&one.cycles));
    if case.starts_with("machine/") && !case.contains("copy") {
        return format!(
            "| {case} | | | {cycles:.3} per instruction | {spread:.1} % | {rounds} |\n"
        );
    }
    if one.cycles.is_empty() {
        return format!("| {case} | {contender} | {rate:.2} | | {spread:.1} % | {rounds} |\n");
    }
    format!("| {case} | {contender} | {rate:.2} | {cycles:.4} | {spread:.1} % | {rounds} |\n")
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
6. The limit of AES-XTS follows from the rate of AES instructions, which is measured in every round
   beside the contenders: the rounds of the data, and those of one tweak per sector. The limit of
   hashing in lanes counts 1696 vector instructions per block of 16 lanes at the rate of additions,
   which most ports take; that of cipher and hash together adds 20 for each 64 bytes. Neither knows
   how long the instructions wait for each other.
7. Argon2 is timed with its memory asked for, used, wiped where the library does so, and given
   back. In a virtual machine what counts is whether the host has given that memory: the first touch
   of some that it has not can take longer than all else. So each contender runs with its memory at
   hand, touched and given back just before, in huge pages for those who ask for such (luksmith
   does, the others do not), and once more with the memory as it is found.
   `openssl/system` is the distribution's own library, loaded beside the newest one;
   `cryptsetup/newest` is Debian unstable's, beside the installed one.
8. T1 is two callers, each of which writes its half; the rows `split` are one caller whose requests
   a pool of two threads works on.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::parse_targets;

    const TEXT: &str = "# cpu family: family 26, model 2\nrow,case,contender,bytes,ns,cycles\n\
        X1,a/b/run8,luksmith/aesni,4096,1,4\nX1,a/b/run8,luksmith/vaes256,4096,2,8\n\
        X1,a/b/run8,luksmith/vaes512,4096,1,4\nX1,a/b/run8,theirs,4096,1,4\n\
        K,c/key32,luksmith/shani,4096,2,8\nK,c/key32,luksmith/avx512,4096,1,4\n";

    fn page(notes: &str) -> String {
        let record = Record::parse(TEXT).expect("a record");
        let targets = "head\nX1,one thing,a/b/run8,luksmith/vaes256,theirs,0.9,1\n\
                       X2,another,no/case,ours,theirs,1,2\n";
        let targets = parse_targets(targets).expect("targets");
        Page {
            record: &record,
            native: Some(&record),
            targets: &targets,
            notes,
            name: "name",
            plots: Vec::new(),
        }
        .render()
    }

    #[test]
    fn a_row_below_its_floor_stands_with_its_reason() {
        let text = page("family 26; X1; thing; the unit is busy\nfamily 6; X2; an; another CPU\n");
        assert!(text.contains("44.4 % below. the unit is busy"), "{text}");
        assert!(
            text.contains("**X2** another: not in this record. no reason is on record"),
            "{text}"
        );
    }

    #[test]
    fn a_backend_that_is_slower_than_a_simpler_one_is_named() {
        let text = page("");
        let slower = "| a/b | 3 | 0.500 | luksmith/vaes256 | luksmith/aesni | a/b/run8 | \
                      **slower** |";
        assert!(text.contains(slower), "{text}");
        let holds = "| c | 1 | 2.000 | luksmith/avx512 | luksmith/shani | c/key32 | holds |";
        assert!(text.contains(holds), "{text}");
        let listed = "Exceptions: \n\n- a/b/run8: luksmith/vaes256 is 0.500 of luksmith/aesni\n";
        // In the record of the other flavour too, which is the same here.
        assert_eq!(text.matches(listed).count(), 2, "{text}");
    }
}
