//! Actions of cryptsetup that only make sense with the kernel's device-mapper.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use crate::failure::{Failure, Kind};

#[derive(Subcommand, Debug)]
pub(crate) enum KernelOnly {
    /// (kernel only)
    #[command(hide = true, aliases = ["luksClose", "remove", "plainClose"])]
    Close(Ignored),
    /// (kernel only)
    #[command(hide = true)]
    Status(Ignored),
    /// (kernel only)
    #[command(hide = true, name = "luksSuspend")]
    LuksSuspend(Ignored),
    /// (kernel only)
    #[command(hide = true, name = "luksResume")]
    LuksResume(Ignored),
    /// (kernel only)
    #[command(hide = true)]
    Refresh(Ignored),
    /// (not supported yet)
    #[command(hide = true)]
    Reencrypt(Ignored),
    /// (other formats)
    #[command(hide = true, name = "tcryptDump", aliases = ["bitlkDump", "fvault2Dump"])]
    OtherFormat(Ignored),
}

/// Whatever stands behind the action.
#[derive(Args, Debug)]
pub(crate) struct Ignored {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _rest: Vec<OsString>,
}

impl KernelOnly {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let message = match self {
            Self::Close(_) => {
                "close: there is no mapping to close; a volume is open here only while an action \
                 runs"
            }
            Self::Status(_) => {
                "status: there are no mappings here; use `luksDump` or `check` on the device"
            }
            Self::LuksSuspend(_) | Self::LuksResume(_) => {
                "luksSuspend and luksResume act on the kernel's mappings; here keys are wiped when \
                 an action ends"
            }
            Self::Refresh(_) => {
                "refresh acts on the kernel's mappings; here options are given with each action"
            }
            Self::Reencrypt(_) => {
                "reencrypt is not supported yet; `check` shows whether one is under way, cryptsetup \
                 finishes it"
            }
            Self::OtherFormat(_) => {
                "only LUKS1 and LUKS2 are supported; use cryptsetup for other formats"
            }
        };
        Err(Failure::new(Kind::UNSUPPORTED, message))
    }
}
