//! Groups of options that several actions share.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use luksmith::{
    NullCipher, NullCipherKeyslots, OpenOptions,
    header::{Header, Limits},
};

use crate::{failure::Failure, size::parse_size};

/// The device, and its header where that is apart.
#[derive(Args, Clone, Debug)]
pub(crate) struct DeviceArgs {
    /// File or block device
    pub(crate) device: PathBuf,

    /// File or device that holds the header, if it is not on DEVICE
    #[arg(long, value_name = "FILE")]
    pub(crate) header: Option<PathBuf>,
}

impl DeviceArgs {
    /// Gives the path of what holds the header.
    pub(crate) fn header_path(&self) -> &Path {
        self.header.as_deref().unwrap_or(&self.device)
    }
}

/// What a header may cost.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Largest Argon2 memory of a keyslot [default: 1G]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    limit_argon2_memory: Option<u64>,

    /// Most Argon2 work of all keyslots tried: time cost times memory [default: 64G]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    limit_argon2_work: Option<u64>,

    /// Most Argon2 lanes of a keyslot [default: 16]
    #[arg(long, value_name = "N")]
    limit_argon2_lanes: Option<u32>,

    /// Most PBKDF2 iterations of all keyslots tried [default: 50000000]
    #[arg(long, value_name = "N", visible_alias = "limit-kdf-cost")]
    limit_pbkdf2_iterations: Option<u64>,

    /// Largest LUKS2 header copy [default: 4M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    limit_header_size: Option<u64>,

    /// Opens a volume even if its cipher, or a keyslot's, does not encrypt
    #[arg(long)]
    accept_null_cipher: bool,
}

impl LimitArgs {
    /// Sets what may be opened, and at which cost.
    pub(crate) fn apply(&self, options: OpenOptions) -> Result<OpenOptions, Failure> {
        let options = options.limits(self.limits()?);
        Ok(if self.accept_null_cipher {
            options
                .null_cipher(NullCipher::AcceptPlaintext)
                .null_cipher_keyslots(NullCipherKeyslots::AcceptUnencryptedKeys)
        } else {
            options
        })
    }

    /// Gives the limits that hold.
    pub(crate) fn limits(&self) -> Result<Limits, Failure> {
        let mut limits = Limits::default();
        if let Some(bytes) = self.limit_argon2_memory {
            limits.argon2_memory_kib = u32::try_from(bytes / 1024).map_err(|_| {
                Failure::caller("--limit-argon2-memory: 4096G is the most that a header can name")
            })?;
        }
        if let Some(bytes) = self.limit_argon2_work {
            limits.argon2_work_kib = bytes / 1024;
        }
        if let Some(lanes) = self.limit_argon2_lanes {
            limits.argon2_lanes = lanes;
        }
        if let Some(iterations) = self.limit_pbkdf2_iterations {
            limits.pbkdf2_iterations = iterations;
        }
        if let Some(bytes) = self.limit_header_size {
            limits.header_bytes = bytes;
        }
        Ok(limits)
    }
}

/// Which version of LUKS is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LuksType {
    /// Either
    Luks,
    /// LUKS1
    Luks1,
    /// LUKS2
    Luks2,
}

impl LuksType {
    /// Tells whether a header is of this type.
    pub(crate) fn accepts(self, header: &Header) -> bool {
        match self {
            Self::Luks => true,
            Self::Luks1 => header.version() == 1,
            Self::Luks2 => header.version() == 2,
        }
    }

    /// Fails unless a header is of this type.
    pub(crate) fn check(self, header: &Header, path: &Path) -> Result<(), Failure> {
        if self.accepts(header) {
            return Ok(());
        }
        let wanted = if self == Self::Luks1 { 1 } else { 2 };
        let found = header.version();
        let message = format!("this is LUKS{found}, --type asks for LUKS{wanted}");
        Err(Failure::new(crate::failure::Kind::NOT_LUKS, message).at(path))
    }
}

/// `--type`, where it only narrows what is accepted.
#[derive(Args, Clone, Debug)]
pub(crate) struct TypeArgs {
    /// Accepts only this version
    #[arg(
        short = 'M',
        long = "type",
        value_enum,
        default_value = "luks",
        hide_default_value = true
    )]
    pub(crate) luks_type: LuksType,
}
