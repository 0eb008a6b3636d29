//! From the key options to the volume key.

use std::path::Path;

use luksmith::{
    block::{BlockDevice, Control},
    header::{Budget, Header, Limits},
    keyslot::{
        Effort, Error, Threads,
        unlock::{Scope, Unlock, UnlockOptions, Unlocked, unlock},
    },
};

use crate::{context::Context, failure::Failure, keys::KeyArgs};

/// Unlocks a header, asking a person as often as `--tries` says.
///
/// `scope` says whose key is wanted when no keyslot is named.
pub(crate) fn unlock_header(
    device: &dyn BlockDevice,
    header: &Header,
    path: &Path,
    keys: &KeyArgs,
    scope: Scope,
    limits: &Limits,
    context: &Context,
) -> Result<Unlocked, Failure> {
    let mut options = UnlockOptions::new().scope(scope);
    if let Some(number) = keys.key_slot {
        options = options.keyslot(number).scope(Scope::AnyKey);
    }
    let attempt = |with: Unlock<'_>| {
        let mut effort = Effort {
            budget: &mut Budget::new(*limits),
            control: &Control::new(),
            threads: Threads::default(),
        };
        let result = unlock(device, header, with, &options, &mut effort);
        tell(&result, context);
        result
    };
    if let Some(key) = keys.volume_key()? {
        return attempt(Unlock::VolumeKey(&key)).map_err(|error| Failure::from(error).at(path));
    }
    let mut tries_left = if keys.asks_a_person() {
        keys.tries.max(1)
    } else {
        1
    };
    loop {
        let passphrase = keys.passphrase(&path.display().to_string(), context)?;
        tries_left -= 1;
        match attempt(Unlock::Passphrase(&passphrase)) {
            Err(error @ Error::NoKeyslotOpened { .. }) if tries_left > 0 => {
                eprintln!("luksmith: {}: {error}", path.display());
            }
            result => return result.map_err(|error| Failure::from(error).at(path)),
        }
    }
}

/// Tells what became of each keyslot, to whoever wants to know.
fn tell(result: &Result<Unlocked, Error>, context: &Context) {
    let report = match result {
        Ok(unlocked) => &unlocked.report,
        Err(Error::NoKeyslotOpened { report } | Error::NoDigestMatched { report }) => report,
        Err(_) => return,
    };
    for attempt in report.attempts() {
        context.debug(|| format!("{}: {}", attempt.subject, attempt.outcome));
    }
    if let Ok(Unlocked {
        keyslot: Some(keyslot),
        ..
    }) = result
        && context.verbose
    {
        eprintln!("Key slot {keyslot} unlocked.");
    }
}
