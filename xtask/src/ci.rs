//! The gate: every step that a change has to pass, with times and what was not covered.

mod steps;

use std::time::Instant;

use crate::{Failure, Result};

/// What a step could not check on this machine, one line each.
#[derive(Default)]
pub(crate) struct Uncovered(Vec<String>);

impl Uncovered {
    /// Notes a gap. When `LUKSMITH_REQUIRE` has `tools`, a missing program is a failure instead.
    pub(crate) fn missing_program(&mut self, what: &str) -> Result<()> {
        let required = std::env::var("LUKSMITH_REQUIRE").unwrap_or_default();
        if required.split(',').any(|word| word == "tools") {
            return Err(Failure::new(format!("{what}; .ci/run installs it")));
        }
        self.note(what);
        Ok(())
    }

    /// Notes what cannot be covered here, such as instructions that this CPU lacks.
    pub(crate) fn note(&mut self, what: &str) {
        println!("not covered: {what}");
        self.0.push(what.to_owned());
    }
}

/// One step of the gate.
pub(crate) struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&mut Uncovered) -> Result<()>,
}

/// Runs the steps named in `arguments`, or all of them, and reports.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if arguments.iter().any(|word| word == "--list") {
        for step in steps::ALL {
            println!("{:<12} {}", step.name, step.about);
        }
        return Ok(());
    }
    for word in arguments {
        if !steps::ALL.iter().any(|step| step.name == word) {
            return Err(Failure::new(format!(
                "there is no step {word}; `cargo xtask ci --list` names them"
            )));
        }
    }
    let chosen = |step: &&Step| arguments.is_empty() || arguments.iter().any(|w| w == step.name);
    let start = Instant::now();
    let mut uncovered = Uncovered::default();
    let mut rows = Vec::new();
    for step in steps::ALL.iter().filter(chosen) {
        println!("\n=== {}: {}", step.name, step.about);
        let begin = Instant::now();
        let outcome = (step.run)(&mut uncovered);
        if let Err(failure) = &outcome {
            println!("FAILED {}: {failure}", step.name);
        }
        rows.push((step.name, begin.elapsed().as_secs(), outcome));
    }
    report(&rows, &uncovered, start.elapsed().as_secs())
}

fn report(
    rows: &[(&'static str, u64, Result<()>)],
    uncovered: &Uncovered,
    seconds: u64,
) -> Result<()> {
    println!("\n=== summary");
    let mut failed = Vec::new();
    for (name, seconds, outcome) in rows {
        match outcome {
            Ok(()) => println!("ok      {seconds:>5} s  {name}"),
            Err(failure) => {
                println!("FAILED  {seconds:>5} s  {name}: {failure}");
                failed.push(*name);
            }
        }
    }
    for line in &uncovered.0 {
        println!("not covered: {line}");
    }
    println!("{} steps, {seconds} s", rows.len());
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "{} of {} steps failed: {}",
            failed.len(),
            rows.len(),
            failed.join(", ")
        )))
    }
}
