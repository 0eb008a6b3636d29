//! Changes of a header: the device locked, the header read, the library asked.

use std::path::Path;

use luksmith::{
    block::{Control, FileDevice},
    header::{Budget, Header},
    keyslot::{
        Effort, Error, Passphrase, SystemRandom, Threads,
        change::Changer,
        unlock::{Unlock, UnlockOptions, Unlocked},
    },
};

use crate::{
    context::Context,
    devices,
    failure::Failure,
    keys::{KeyArgs, PassphraseArgs},
    options::{DeviceArgs, LimitArgs},
    unlocking,
};

/// What changes the keyslots of a file or block device.
pub(crate) type FileChanger<'a> = Changer<'a, FileDevice, SystemRandom>;

/// Opens the header to change it, and lets `action` do so.
pub(crate) fn change<T>(
    names: &DeviceArgs,
    limits: &LimitArgs,
    action: impl FnOnce(&mut FileChanger<'_>, &Path) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let path = names.header_path();
    let device = devices::writer(path)?;
    let mut header = devices::header(names, &device, limits)?;
    let mut budget = Budget::new(limits.limits()?);
    let effort = Effort {
        budget: &mut budget,
        control: &Control::new(),
        threads: Threads::default(),
    };
    let mut random = SystemRandom;
    let mut changer = Changer::new(&device, &mut header, &mut random, effort);
    action(&mut changer, path)
}

/// Opens the header to change its metadata, and writes it if `action` succeeds.
pub(crate) fn edit(
    names: &DeviceArgs,
    limits: &LimitArgs,
    action: impl FnOnce(&mut Header) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let path = names.header_path();
    let device = devices::writer(path)?;
    let mut header = devices::header(names, &device, limits)?;
    action(&mut header).map_err(|failure| failure.at(path))?;
    let written = match &mut header {
        Header::Luks1(header) => luksmith::header::luks1::write(&device, header),
        Header::Luks2(header) => luksmith::header::luks2::write(&device, header, &mut SystemRandom),
        _ => Ok(()),
    };
    written.map_err(|error| Failure::from(error).at(path))
}

/// Unlocks the header with the options' key, asking a person as often as `--tries` says.
pub(crate) fn unlock(
    changer: &mut FileChanger<'_>,
    path: &Path,
    keys: &KeyArgs,
    prompt: &str,
    options: &UnlockOptions,
    context: &Context,
) -> Result<Unlocked, Failure> {
    let refused = |error: Error| Failure::from(error).at(path);
    if let Some(key) = keys.volume_key()? {
        let unlocked = changer.unlock(Unlock::VolumeKey(&key), options);
        return unlocked.map_err(refused);
    }
    with_passphrase(path, &keys.passphrase, prompt, context, |passphrase| {
        changer.unlock(Unlock::Passphrase(passphrase), options)
    })
}

/// Gets a passphrase and does something with it, again while a person mistypes.
pub(crate) fn with_passphrase<T>(
    path: &Path,
    keys: &PassphraseArgs,
    prompt: &str,
    context: &Context,
    mut action: impl FnMut(&Passphrase) -> Result<T, Error>,
) -> Result<T, Failure> {
    let mut tries_left = keys.tries();
    loop {
        let passphrase = keys.read(prompt, context)?;
        tries_left -= 1;
        match action(&passphrase) {
            Err(error @ Error::NoKeyslotOpened { .. }) if tries_left > 0 => {
                Failure::from(error).at(path).warn(context);
            }
            Err(error) => {
                if let Error::NoKeyslotOpened { report } = &error {
                    unlocking::tell_attempts(report, context);
                }
                return Err(Failure::from(error).at(path));
            }
            Ok(result) => return Ok(result),
        }
    }
}
