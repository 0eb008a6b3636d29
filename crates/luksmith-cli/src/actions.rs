//! The actions, one file per group.

mod benchmark;
mod check;
mod data;
mod dm_table;
mod dump;
mod identify;
mod kernel;
mod manual;
mod open;
mod verify;

use clap::Subcommand;

use crate::{context::Context, failure::Failure};

#[derive(Subcommand, Debug)]
pub(crate) enum Action {
    /// Shows what a LUKS header says
    #[command(name = "luksDump")]
    LuksDump(dump::LuksDump),

    /// Tells by its exit status whether a device has a LUKS header
    #[command(name = "isLuks")]
    IsLuks(identify::IsLuks),

    /// Prints the UUID of a LUKS header
    #[command(name = "luksUUID")]
    LuksUuid(identify::LuksUuid),

    /// Tells whether a key opens a volume (--test-passphrase)
    #[command(visible_alias = "luksOpen")]
    Open(open::Open),

    /// Writes the plaintext of a volume to a file or standard output
    Export(data::Export),

    /// Writes a file or standard input into a volume
    Import(data::Import),

    /// Checks every tag of an authenticated volume
    Verify(verify::Verify),

    /// Prints the device-mapper lines for the kernel's view of a volume
    #[command(name = "dm-table")]
    DmTable(dm_table::DmTable),

    /// Checks both header copies, and all that can be checked without a key
    Check(check::Check),

    /// Measures key derivation, ciphers and tags on this machine
    Benchmark(benchmark::Benchmark),

    /// Prints completions for a shell
    Completions(manual::Completions),

    /// Writes the man pages into a folder
    Man(manual::Man),

    /// What only the kernel's device-mapper can do
    #[command(flatten)]
    Kernel(kernel::KernelOnly),
}

impl Action {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::LuksDump(action) => action.run(),
            Self::IsLuks(action) => action.run(),
            Self::LuksUuid(action) => action.run(),
            Self::Open(action) => action.run(context),
            Self::Export(action) => action.run(context),
            Self::Import(action) => action.run(context),
            Self::Verify(action) => action.run(context),
            Self::DmTable(action) => action.run(context),
            Self::Check(action) => action.run(context),
            Self::Benchmark(action) => action.run(context),
            Self::Completions(action) => action.run(),
            Self::Man(action) => action.run(),
            Self::Kernel(action) => action.run(),
        }
    }
}
