//! `open`: here a volume stays open only while an action runs, so what is left is the test of a
//! key.

use std::path::PathBuf;

use clap::Args;

use crate::{
    context::Context,
    failure::{Failure, Kind},
    keys::KeyArgs,
    options::{DeviceArgs, LimitArgs, TypeArgs},
    unlocking::{Request, TokenArgs},
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

    // Before what has a heading of its own.
    #[command(flatten)]
    luks_type: TypeArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    tokens: TokenArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl Open {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        if !self.test_passphrase {
            return Err(Failure::new(
                Kind::UNSUPPORTED,
                "open makes no kernel mapping here; use `export` and `import` for the data, or give \
                 --test-passphrase",
            ));
        }
        let request = Request {
            device: &self.device,
            keys: &self.keys,
            limits: &self.limits,
            tokens: Some(&self.tokens),
        };
        let test = request.test_key(context)?;
        let path = self.device.header_path();
        self.luks_type.luks_type.check(&test.header, path)
    }
}
