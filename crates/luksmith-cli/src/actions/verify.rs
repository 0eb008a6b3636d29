//! `verify`: every tag of an authenticated volume.

use clap::Args;

use crate::{
    context::Context,
    damage,
    failure::Failure,
    keys::KeyArgs,
    options::{DeviceArgs, LimitArgs, PartArgs, RecoveryArgs},
    progress::{Work, watched},
    unlocking::{Access, Request, TokenArgs},
};

/// What no verification of tags says.
const NOT_FOUND: &str = "A sector put back to an older state together with its older tag is not \
                         found this way.\n";

#[derive(Args, Debug)]
pub(crate) struct Verify {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    part: PartArgs,
    #[command(flatten)]
    recovery: RecoveryArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    tokens: TokenArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl Verify {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let request = Request {
            device: &self.device,
            keys: &self.keys,
            limits: &self.limits,
            tokens: Some(&self.tokens),
        };
        let volume = request.open(Access::Read, context, |options| {
            self.recovery.apply(options)
        })?;
        let path = &self.device.device;
        let work = Work {
            name: "verify",
            device: &path.display().to_string(),
            uses_stdout: context.json,
        };
        let report = watched(context, work, |control| {
            volume.verify(self.part.part(), control)
        })?;
        let report = report.map_err(|error| Failure::from(error).at(path))?;
        damage::verified(&report, false, NOT_FOUND, context).map_err(|failure| failure.at(path))
    }
}
