//! Whole headers: backup, restore, conversion between versions.

use std::path::PathBuf;

use clap::Args;
use luksmith::{
    header::{RestorePlan, backup},
    keyslot::change::{FileBackup, HeaderBackup, restore_header},
};

use crate::{
    backup_file, changing,
    confirm::{Unasked, confirm},
    context::{Context, tell},
    devices,
    failure::Failure,
    options::{DeviceArgs, LimitArgs, LuksType},
};

#[derive(Args, Debug)]
pub(crate) struct HeaderBackupAction {
    #[command(flatten)]
    device: DeviceArgs,

    /// The file to be made; it must not be there yet
    #[arg(long, value_name = "FILE")]
    header_backup_file: PathBuf,

    #[command(flatten)]
    limits: LimitArgs,
}

impl HeaderBackupAction {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let path = self.device.header_path();
        let device = devices::reader(path)?;
        let limits = self.limits.limits()?;
        // Before the file is made: what is no header leaves no file behind.
        let header = devices::header(&self.device, &device, &self.limits)?;
        devices::warn_of_fault(path, &header, context);
        let mut file = backup_file::create(&self.header_backup_file)?;
        let copied = backup(&device, &limits, &mut |_, bytes| Ok(file.write(bytes)?));
        copied.map_err(|error| Failure::from(error).at(path))?;
        let finished = file.finish();
        finished.map_err(|error| Failure::from(error).at(&self.header_backup_file))
    }
}

/// Where the header that is replaced is kept.
#[derive(Args, Clone, Debug)]
struct OldHeaderArgs {
    /// Keeps the header as it was in FILE; otherwise a file beside the header is kept until all is
    /// done
    #[arg(long, value_name = "FILE")]
    old_header_file: Option<PathBuf>,
}

impl OldHeaderArgs {
    /// Runs a change that could lose the header if it were cut off.
    fn with(
        &self,
        path: &std::path::Path,
        uuid: &str,
        action: impl FnOnce(&mut FileBackup) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut file = match &self.old_header_file {
            Some(path) => backup_file::create(path)?,
            None => backup_file::create_beside(path, uuid)?,
        };
        let result = action(&mut file);
        let kept = file.path().display().to_string();
        match &result {
            // The keyslots in it are as good as those on the device: not left lying around.
            Ok(()) if self.old_header_file.is_none() => backup_file::remove(file)?,
            // What is not whole goes; nothing was changed then.
            Err(_) if !file.is_finished() => {}
            Ok(()) => {}
            Err(_) => {
                tell(&format!(
                    "The header as it was is in {kept}; luksHeaderRestore brings it back."
                ));
            }
        }
        result
    }
}

#[derive(Args, Debug)]
pub(crate) struct HeaderRestore {
    #[command(flatten)]
    device: DeviceArgs,

    /// The backup
    #[arg(long, value_name = "FILE")]
    header_backup_file: PathBuf,

    #[command(flatten)]
    old: OldHeaderArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl HeaderRestore {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let path = self.device.header_path();
        let file = devices::reader(&self.header_backup_file)?;
        let device = devices::writer(path)?;
        let limits = self.limits.limits()?;
        let plan = RestorePlan::check(&file, &device, &limits)
            .map_err(|error| Failure::from(error).at(path))?;
        // What is asked of the header is asked of the one that will be there.
        let judged = self
            .limits
            .judge(self.device.is_detached())?
            .check(&plan.backup);
        judged.map_err(|failure| failure.at(&self.header_backup_file))?;
        let name = path.display();
        let warning = match &plan.target {
            None => format!(
                "{name} holds no LUKS header; its first {} bytes are overwritten",
                plan.len
            ),
            Some(target) if target.version() != plan.backup.version() => format!(
                "{name} holds a LUKS{} header, the backup a LUKS{} one",
                target.version(),
                plan.backup.version()
            ),
            Some(_) if plan.uuid_differs() => format!(
                "the backup belongs to another volume, {}; all keyslots of {name} are replaced",
                plan.backup.uuid()
            ),
            Some(_) => format!("all keyslots of {name} are replaced by those of the backup"),
        };
        // Replacing what the backup was made of is what was asked for; anything else is asked
        // twice.
        let expected = plan.target.as_ref().is_some_and(|target| {
            target.version() == plan.backup.version() && !plan.uuid_differs()
        });
        let unasked = if expected {
            Unasked::GoesOn
        } else {
            Unasked::Refused
        };
        confirm(&warning, unasked, context)?;
        self.old.with(path, &plan.backup.uuid(), |old| {
            restore_header(&plan, &file, &device, &limits, old)
                .map_err(|error| Failure::from(error).at(path))?;
            Ok(())
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct Convert {
    #[command(flatten)]
    device: DeviceArgs,

    /// The version wanted
    #[arg(short = 'M', long = "type", value_enum)]
    luks_type: LuksType,

    #[command(flatten)]
    old: OldHeaderArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl Convert {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let to_luks2 = match self.luks_type {
            LuksType::Luks1 => false,
            LuksType::Luks2 => true,
            LuksType::Luks => {
                return Err(Failure::caller("--type has to be luks1 or luks2"));
            }
        };
        changing::change(&self.device, &self.limits, |changer, path| {
            let warning = format!(
                "the header of {} is converted to LUKS{}",
                path.display(),
                if to_luks2 { 2 } else { 1 }
            );
            confirm(&warning, Unasked::GoesOn, context)?;
            let uuid = changer.header().uuid();
            self.old.with(path, &uuid, |old| {
                let result = if to_luks2 {
                    changer.convert_to_luks2(old)
                } else {
                    changer.convert_to_luks1(old)
                };
                result.map_err(|error| Failure::from(error).at(path))
            })
        })
    }
}
