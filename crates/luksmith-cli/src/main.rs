//! The `luksmith` command: LUKS volumes in userspace, with the habits of cryptsetup.

// They panic where nobody takes what they print: `context::print` and `context::tell` do not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod actions;
mod backup_file;
mod changing;
mod cli;
mod confirm;
mod context;
mod damage;
mod devices;
mod failure;
mod kdf_options;
mod keys;
mod options;
mod progress;
mod size;
mod unlocking;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Expanded keys and plaintext are not on pages of their own. Where the system cannot do it,
    // there is nothing to be done about it here.
    let _ = luksmith::exclude_from_core_dumps();
    let arguments: Vec<_> = std::env::args_os().collect();
    let (context, result) = cli::run(&arguments);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(&context);
            ExitCode::from(failure.status())
        }
    }
}
