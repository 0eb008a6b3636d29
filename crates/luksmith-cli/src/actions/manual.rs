//! Completions and man pages, made from the definition of the command line.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use crate::{
    cli,
    context::print,
    failure::{Failure, Kind},
};

#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut cli::command(), "luksmith", &mut script);
        print(&String::from_utf8_lossy(&script))
    }
}

#[derive(Args, Debug)]
pub(crate) struct Man {
    /// An existing folder; luksmith.1 and luksmith-ACTION.1 are written there
    #[arg(default_value = ".")]
    folder: PathBuf,
}

impl Man {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        clap_mangen::generate_to(cli::command(), &self.folder)
            .map_err(|error| Failure::new(Kind::DEVICE, error.to_string()).at(&self.folder))
    }
}
