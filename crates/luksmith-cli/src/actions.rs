//! The actions, one file per group.

mod benchmark;
mod check;
mod data;
mod dm_table;
mod dump;
mod format;
mod identify;
mod image;
mod integrity;
mod kernel;
mod manual;
mod open;
mod quickstart;
mod repair;
mod resize;
mod settings;
mod slots;
mod token;
mod verify;
mod whole;

use clap::Subcommand;

use crate::{context::Context, failure::Failure};

#[derive(Subcommand, Debug)]
pub(crate) enum Action {
    /// Makes a new volume
    #[command(name = "luksFormat", visible_alias = "format")]
    Format(Box<format::Format>),

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

    /// Adds a keyslot
    #[command(name = "luksAddKey")]
    AddKey(slots::AddKey),

    /// Removes the keyslot that a passphrase opens
    #[command(name = "luksRemoveKey")]
    RemoveKey(slots::RemoveKey),

    /// Changes the passphrase of a keyslot
    #[command(name = "luksChangeKey")]
    ChangeKey(slots::ChangeKey),

    /// Removes a keyslot by its number
    #[command(name = "luksKillSlot")]
    KillSlot(slots::KillSlot),

    /// Gives a keyslot another key derivation or cipher
    #[command(name = "luksConvertKey")]
    ConvertKey(slots::ConvertKey),

    /// Removes every keyslot
    #[command(visible_alias = "luksErase")]
    Erase(slots::Erase),

    /// Copies the header and its keyslots into a file
    #[command(name = "luksHeaderBackup")]
    HeaderBackup(whole::HeaderBackupAction),

    /// Puts a header from a file back
    #[command(name = "luksHeaderRestore")]
    HeaderRestore(whole::HeaderRestore),

    /// Makes a LUKS2 header of a LUKS1 header, or the reverse
    Convert(whole::Convert),

    /// Makes both copies of a LUKS2 header good again
    Repair(repair::Repair),

    /// Sets label, subsystem, and priorities of keyslots
    Config(settings::Config),

    /// Adds, removes, imports, exports and unassigns tokens
    Token(token::Token),

    /// Writes the plaintext of a volume to a file or standard output
    Export(data::Export),

    /// Writes a file or standard input into a volume
    Import(data::Import),

    /// Encrypted disk images in one pass: build
    Image(image::Image),

    /// Lets a volume take the room that its device has, or gives some up with the end of its file
    Resize(resize::Resize),

    /// Checks every tag of an authenticated volume
    Verify(verify::Verify),

    /// Prints the device-mapper lines for the kernel's view of a volume
    #[command(name = "dm-table")]
    DmTable(dm_table::DmTable),

    /// Checks both header copies, and all that can be checked without a key
    Check(check::Check),

    /// Standalone dm-integrity devices: format, dump, check, export, import, resize
    Integrity(Box<integrity::Integrity>),

    /// Measures key derivation, ciphers and tags on this machine
    Benchmark(benchmark::Benchmark),

    /// Shows the main job on a temporary file, step by step
    Quickstart(quickstart::Quickstart),

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
            Self::Format(action) => action.run(context),
            Self::LuksDump(action) => action.run(context),
            Self::IsLuks(action) => action.run(),
            Self::LuksUuid(action) => action.run(context),
            Self::Open(action) => action.run(context),
            Self::AddKey(action) => action.run(context),
            Self::RemoveKey(action) => action.run(context),
            Self::ChangeKey(action) => action.run(context),
            Self::KillSlot(action) => action.run(context),
            Self::ConvertKey(action) => action.run(context),
            Self::Erase(action) => action.run(context),
            Self::HeaderBackup(action) => action.run(context),
            Self::HeaderRestore(action) => action.run(context),
            Self::Convert(action) => action.run(context),
            Self::Repair(action) => action.run(context),
            Self::Config(action) => action.run(),
            Self::Token(action) => action.run(),
            Self::Export(action) => action.run(context),
            Self::Import(action) => action.run(context),
            Self::Image(action) => action.run(context),
            Self::Resize(action) => action.run(context),
            Self::Verify(action) => action.run(context),
            Self::DmTable(action) => action.run(context),
            Self::Check(action) => action.run(context),
            Self::Integrity(action) => action.run(context),
            Self::Benchmark(action) => action.run(context),
            Self::Quickstart(action) => action.run(context),
            Self::Completions(action) => action.run(),
            Self::Man(action) => action.run(),
            Self::Kernel(action) => action.run(),
        }
    }
}
