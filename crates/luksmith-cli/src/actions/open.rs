//! `open`: here a volume stays open only while an action runs, so what is left is the test of a key.

use std::path::PathBuf;

use clap::Args;
use luksmith::keyslot::unlock::Scope;

use crate::{
    context::Context,
    devices,
    failure::{Failure, Kind},
    keys::KeyArgs,
    options::{DeviceArgs, LimitArgs, TypeArgs},
    unlocking::unlock_header,
};

#[derive(Args, Debug)]
pub(crate) struct Open {
    #[command(flatten)]
    device: DeviceArgs,

    /// A name for the kernel's mapping; not used here
    name: Option<PathBuf>,

    /// Only tells by the exit status whether the key fits
    #[arg(long)]
    test_passphrase: bool,

    /// Unlocks through this token
    #[arg(long, value_name = "N")]
    token_id: Option<u32>,

    /// Unlocks through tokens of this type
    #[arg(long, value_name = "TYPE")]
    token_type: Option<String>,

    /// Asks for no passphrase if no token unlocks
    #[arg(long)]
    token_only: bool,

    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    luks_type: TypeArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl Open {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        if !self.test_passphrase {
            return Err(Failure::new(
                Kind::Unsupported,
                "open makes no kernel mapping here; use `export` and `import` for the data, or give \
                 --test-passphrase",
            ));
        }
        if self.token_only || self.token_id.is_some() || self.token_type.is_some() {
            return Err(Failure::new(
                Kind::Unsupported,
                "tokens need the kernel's keyring or hardware, which this command does not use; \
                 give the key with --key-file, --key-fd or --key-command",
            ));
        }
        let path = self.device.header_path();
        let device = devices::reader(path)?;
        let limits = self.limits.limits()?;
        let header = devices::header(path, &device, &limits)?;
        self.luks_type.luks_type.check(&header, path)?;
        let scope = Scope::Volume;
        unlock_header(&device, &header, path, &self.keys, scope, &limits, context)?;
        Ok(())
    }
}
