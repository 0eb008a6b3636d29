//! The `luksmith` command: LUKS volumes in userspace, with the habits of cryptsetup.

mod actions;
mod backup_file;
mod changing;
mod cli;
mod confirm;
mod context;
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
