//! The project's own tools, so that nothing else is installed: `cargo xtask help`.

mod asm;
mod bench;
mod campaign;
mod ci;
mod command;
mod failure;
mod fuzz;
mod oracle;
mod tidy;
mod vectors;

use std::process::ExitCode;

use failure::{Failure, Result};

const HELP: &str = "\
cargo xtask COMMAND

  asm              inner loops of the kernels: no calls, spills as recorded; --write
  bench-report [F] docs/benchmarks.md and its plots, from the newest record or from F; --run takes a
                   record of both build flavours first, on a machine that does nothing else
  campaign NAME    a long run of a test, recorded in docs/campaigns: verdicts, format, integrity,
                   kills, crashes; --sets N, --seed N (1), --suite NAME (sid)
  ci [STEP...]     the gate: every step, or those named; --list names them
  fuzz [TARGET...] builds the fuzz targets and runs each; --seconds N for all together (60)
  oracle           prepares a kernel and a userland for interop tests; --suite NAME, --force
  vectors [WORD..] makes testvectors/images anew, or those named; --suite NAME (sid)
  tidy             the house rules that a machine can check; --write renews generated docs
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", arguments),
    };
    match command {
        "asm" => asm::check(rest),
        "bench-report" => bench::report(rest),
        "campaign" => campaign::run(rest),
        "ci" => ci::run(rest),
        "fuzz" => fuzz::run(rest),
        "oracle" => oracle::run(rest),
        "tidy" => tidy::run(rest),
        "vectors" => vectors::run(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(Failure::new(format!(
            "there is no command {other}; `cargo xtask help` lists them"
        ))),
    }
}
