//! Groups of options that several actions share.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use luksmith::{
    FormatOptions, Journal, NullCipher, NullCipherKeyslots, OpenOptions, Part, Violation,
    block::{BlockDevice, ByteLen, ByteOffset},
    header::{
        Header, Limits,
        policy::{Expectations, Policy, Profile},
    },
    keyslot::unlock::UnlockOptions,
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

    /// Tells whether the header is apart from the data.
    pub(crate) fn is_detached(&self) -> bool {
        self.header.is_some()
    }
}

/// Which part of the data an action is about.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct PartArgs {
    /// Starts at this byte of the data, where a sector begins
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "0", hide_default_value = true)]
    pub(crate) offset: u64,

    /// Ends after this many bytes, whole sectors
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) length: Option<u64>,
}

impl PartArgs {
    pub(crate) fn part(self) -> Part {
        let part = Part::starting_at(ByteOffset::new(self.offset));
        match self.length {
            Some(length) => part.len(ByteLen::new(length)),
            None => part,
        }
    }

    /// Fails if the part does not lie on the device, or not between its sectors.
    pub(crate) fn check(self, device: &dyn BlockDevice) -> Result<(), Failure> {
        let length = ByteLen::new(self.length.unwrap_or(0));
        Ok(device.check_range(ByteOffset::new(self.offset), length)?)
    }
}

/// `--integrity-recovery-mode`, of actions that only read.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct RecoveryArgs {
    /// Reads a volume with tags without its journal, where that is damaged beyond use
    #[arg(long)]
    integrity_recovery_mode: bool,
}

impl RecoveryArgs {
    pub(crate) fn apply(self, options: OpenOptions) -> OpenOptions {
        match self.integrity_recovery_mode {
            true => options.journal(Journal::Ignore),
            false => options,
        }
    }
}

/// What a header may cost.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Limits")]
pub(crate) struct CostArgs {
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
}

/// What a header must be.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Limits")]
pub(crate) struct PolicyArgs {
    /// Accepts only headers that match this profile, in every field that it names, before any key
    /// is derived or anything is written: the name of a built-in one, or a file
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
}

/// What the header of a volume may cost, and what it must be.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    #[command(flatten)]
    costs: CostArgs,
    #[command(flatten)]
    policy: PolicyArgs,

    /// Largest journal of a volume with tags that is opened [default: 4G]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    limit_journal: Option<u64>,

    /// Accepts only the volume of this UUID
    #[arg(long, value_name = "UUID")]
    expect_uuid: Option<String>,

    /// Accepts only volumes whose data are authenticated
    #[arg(long)]
    require_integrity: bool,

    /// Accepts a volume even if its cipher, or a keyslot's, does not encrypt
    #[arg(long)]
    accept_null_cipher: bool,
}

impl PolicyArgs {
    fn profile(&self) -> Result<Option<Profile>, Failure> {
        self.policy.as_deref().map(profile).transpose()
    }

    /// Sets what a new header is held against.
    pub(crate) fn apply(
        &self,
        options: FormatOptions,
        detached: bool,
    ) -> Result<FormatOptions, Failure> {
        let Some(profile) = self.profile()? else {
            return Ok(options);
        };
        let mut expected = Expectations::default();
        expected.detached = detached;
        Ok(options.pinned(Policy::pinned(profile), expected))
    }
}

impl CostArgs {
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

impl LimitArgs {
    /// Gives what headers are held against.
    pub(crate) fn judge(&self, detached: bool) -> Result<Judge, Failure> {
        let profile = self.policy.profile()?;
        let asked = profile.is_some() || self.expect_uuid.is_some() || self.require_integrity;
        let mut expected = Expectations::default();
        expected.uuid.clone_from(&self.expect_uuid);
        expected.detached = detached;
        expected.require_integrity = self.require_integrity;
        let policy = profile.map_or(Policy::permissive(), Policy::pinned);
        Ok(Judge {
            // Who asks for nothing is told of null ciphers by what meets them.
            policy: if self.accept_null_cipher || !asked {
                policy.with_null_cipher()
            } else {
                policy
            },
            expected,
            is_asked: asked,
        })
    }

    /// Sets which keyslots may unlock.
    pub(crate) fn unlocking(&self, options: UnlockOptions) -> UnlockOptions {
        match self.accept_null_cipher {
            true => options.null_cipher_keyslots(NullCipherKeyslots::AcceptUnencryptedKeys),
            false => options,
        }
    }

    /// Sets what may be opened, and at which cost.
    pub(crate) fn apply(
        &self,
        options: OpenOptions,
        detached: bool,
    ) -> Result<OpenOptions, Failure> {
        let mut options = options.limits(self.limits()?);
        if let Some(bytes) = self.limit_journal {
            options = options.journal_limit(ByteLen::new(bytes));
        }
        let judge = self.judge(detached)?;
        options = options.policy(move |header: &Header| judge.first_violation(header));
        Ok(if self.accept_null_cipher {
            options
                .null_cipher(NullCipher::AcceptPlaintext)
                .null_cipher_keyslots(NullCipherKeyslots::AcceptUnencryptedKeys)
        } else {
            options
        })
    }

    /// Gives what the header may cost.
    pub(crate) fn limits(&self) -> Result<Limits, Failure> {
        self.costs.limits()
    }
}

/// What headers are held against.
pub(crate) struct Judge {
    policy: Policy,
    expected: Expectations,
    is_asked: bool,
}

impl Judge {
    /// Tells whether an option asks for anything.
    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// Gives everything that is not as it should be, a line each.
    pub(crate) fn violations(&self, header: &Header) -> Vec<String> {
        let found = self.policy.violations(header, &self.expected);
        found
            .iter()
            .map(|violation| {
                format!(
                    "policy: {} is {}, {} is required",
                    violation.field, violation.found, violation.expected
                )
            })
            .collect()
    }

    /// Fails unless a header is as it should be.
    pub(crate) fn check(&self, header: &Header) -> Result<(), Failure> {
        let judged = self.first_violation(header);
        Ok(judged.map_err(|violation| luksmith::Error::Policy { violation })?)
    }

    fn first_violation(&self, header: &Header) -> Result<(), Violation> {
        match self.policy.violations(header, &self.expected).first() {
            None => Ok(()),
            Some(violation) => Err(Violation {
                field: violation.field.to_string(),
                found: violation.found.to_string(),
                expected: violation.expected.to_string(),
            }),
        }
    }
}

/// Gives a built-in profile, or the one in a file.
fn profile(name: &str) -> Result<Profile, Failure> {
    if let Some(profile) = Profile::built_in(name) {
        return Ok(profile);
    }
    let text = std::fs::read_to_string(name).map_err(|error| {
        let names: Vec<_> = Profile::built_in_names().collect();
        Failure::caller(format!(
            "--policy {name}: {error}; built in are {}",
            names.join(", ")
        ))
    })?;
    Profile::parse(&text).map_err(|error| Failure::from(error).at(Path::new(name)))
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
