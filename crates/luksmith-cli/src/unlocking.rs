//! From the key options to an unlocked header or an open volume.

use std::{path::Path, sync::Arc};

use clap::Args;
use luksmith::{
    Error, ErrorKind, KeyTest, KeyringTokens, OpenOptions, Unlock, Volume, Workers,
    block::FileDevice,
    keyslot::{Error as KeyError, unlock::Report},
};

use crate::{
    context::{self, Context},
    devices,
    failure::Failure,
    keys::KeyArgs,
    options::{DeviceArgs, LimitArgs},
};

/// Whether a volume is opened to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Which tokens of the header may unlock.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Tokens")]
pub(crate) struct TokenArgs {
    /// Unlocks through this token, or else with the passphrase
    #[arg(long, value_name = "N")]
    token_id: Option<u32>,

    /// Unlocks through tokens of this type, or else with the passphrase
    #[arg(long, value_name = "TYPE")]
    token_type: Option<String>,

    /// Unlocks through a token or not at all
    #[arg(long)]
    token_only: bool,
}

impl TokenArgs {
    /// Tells whether tokens were asked for.
    fn are_meant(&self) -> bool {
        self.token_only || self.token_id.is_some() || self.token_type.is_some()
    }

    fn choose(&self, options: OpenOptions) -> OpenOptions {
        let options = match self.token_id {
            Some(id) => options.token(id),
            None => options,
        };
        match &self.token_type {
            Some(name) => options.token_type(name),
            None => options,
        }
    }
}

/// Device, keys and limits of an action on a volume.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) device: &'a DeviceArgs,
    pub(crate) keys: &'a KeyArgs,
    pub(crate) limits: &'a LimitArgs,
    /// Which tokens unlock, where the action knows tokens.
    pub(crate) tokens: Option<&'a TokenArgs>,
}

/// What unlocks: a key of the user's, or whatever the tokens lead to.
enum Way<'a> {
    Key(Unlock<'a>),
    Tokens(&'a TokenArgs),
}

impl Request<'_> {
    /// Opens the volume. `adjust` sets what is special to the action.
    pub(crate) fn open(
        &self,
        access: Access,
        context: &Context,
        adjust: impl Fn(OpenOptions) -> OpenOptions,
    ) -> Result<Volume, Failure> {
        let path = &self.device.device;
        let device = Arc::new(match access {
            Access::Read => devices::reader(path)?,
            Access::Write => devices::writer(path)?,
        });
        self.open_on(&device, access, context, adjust)
    }

    /// As [`open`](Self::open), on a device that was opened before. Nothing but the volume holds it
    /// in the end.
    pub(crate) fn open_on(
        &self,
        device: &Arc<FileDevice>,
        access: Access,
        context: &Context,
        adjust: impl Fn(OpenOptions) -> OpenOptions,
    ) -> Result<Volume, Failure> {
        let path = &self.device.device;
        let mut options = self.options()?.workers(Workers::all());
        if access == Access::Read {
            options = options.read_only();
        }
        let options = adjust(options);
        self.with_key(path, context, |way| {
            let device = Arc::clone(device);
            let volume = match way {
                Way::Key(unlock) => luksmith::open(device, unlock, &options)?,
                Way::Tokens(tokens) => {
                    let options = tokens.choose(options.clone());
                    luksmith::open_with_tokens(device, &mut [&mut KeyringTokens], &options)?
                }
            };
            devices::warn_of_fault(self.device.header_path(), volume.header(), context);
            Ok((volume.keyslot(), volume))
        })
    }

    /// Tells whether a key fits, without opening the volume.
    pub(crate) fn test_key(&self, context: &Context) -> Result<KeyTest, Failure> {
        let path = self.device.header_path();
        let device: Arc<FileDevice> = Arc::new(devices::reader(path)?);
        let mut options = self
            .limits
            .apply(OpenOptions::new(), self.device.is_detached())?;
        if let Some(number) = self.keys.key_slot {
            options = options.keyslot(number);
        }
        self.with_key(path, context, |way| {
            let device = Arc::clone(&device);
            let test = match way {
                Way::Key(unlock) => luksmith::test_key(device, unlock, &options)?,
                Way::Tokens(tokens) => {
                    let options = tokens.choose(options.clone());
                    luksmith::test_tokens(device, &mut [&mut KeyringTokens], &options)?
                }
            };
            devices::warn_of_fault(path, &test.header, context);
            tell_attempts(&test.unlocked.report, context);
            Ok((test.unlocked.keyslot, test))
        })
    }

    fn options(&self) -> Result<OpenOptions, Failure> {
        let mut options = self
            .limits
            .apply(OpenOptions::new(), self.device.is_detached())?;
        if let Some(header) = &self.device.header {
            options = options.detached_header(devices::reader(header)?);
        }
        if let Some(number) = self.keys.key_slot {
            options = options.keyslot(number);
        }
        Ok(options)
    }

    /// Gets the key and tries it, asking a person as often as `--tries` says. Tokens come first, if
    /// they are asked for or no key is named, as with cryptsetup.
    fn with_key<T>(
        &self,
        path: &Path,
        context: &Context,
        attempt: impl Fn(Way<'_>) -> Result<(Option<u32>, T), Error>,
    ) -> Result<T, Failure> {
        let opened = |(keyslot, result): (Option<u32>, T)| {
            if let Some(keyslot) = keyslot.filter(|_| context.verbose) {
                context::tell(&format!("Key slot {keyslot} unlocked."));
            }
            result
        };
        let refused = |error: Error| {
            if let Some(report) = report_of(&error) {
                tell_attempts(report, context);
            }
            Failure::from(error).at(path)
        };
        if let Some(key) = self.keys.volume_key()? {
            return attempt(Way::Key(Unlock::VolumeKey(&key)))
                .map(opened)
                .map_err(refused);
        }
        let is_tried = |tokens: &&TokenArgs| tokens.are_meant() || !self.keys.is_named();
        if let Some(tokens) = self.tokens.filter(is_tried) {
            match attempt(Way::Tokens(tokens)) {
                Err(error) if !tokens.token_only && is_about_tokens(&error) => {
                    if tokens.are_meant() {
                        Failure::from(error).at(path).warn(context);
                    } else {
                        context.debug(|| error.to_string());
                    }
                }
                result => return result.map(opened).map_err(refused),
            }
        }
        let prompt = format!("Enter passphrase for {}: ", path.display());
        let mut tries_left = self.keys.passphrase.tries();
        loop {
            let passphrase = self.keys.passphrase.read(&prompt, context)?;
            tries_left -= 1;
            match attempt(Way::Key(Unlock::Passphrase(&passphrase))) {
                Err(error) if tries_left > 0 && error.kind() == ErrorKind::WrongKey => {
                    Failure::from(error).at(path).warn(context);
                }
                result => return result.map(opened).map_err(refused),
            }
        }
    }
}

/// Tells whether a passphrase may do what tokens did not.
fn is_about_tokens(error: &Error) -> bool {
    matches!(error, Error::NoUsableToken | Error::NoTokenOpened { .. })
}

fn report_of(error: &Error) -> Option<&Report> {
    match error {
        Error::Keyslot {
            source: KeyError::NoKeyslotOpened { report } | KeyError::NoDigestMatched { report },
        } => Some(report),
        _ => None,
    }
}

/// Tells what became of each keyslot, to whoever wants to know.
pub(crate) fn tell_attempts(report: &Report, context: &Context) {
    for attempt in report.attempts() {
        context.debug(|| format!("{}: {}", attempt.subject, attempt.outcome));
    }
}
