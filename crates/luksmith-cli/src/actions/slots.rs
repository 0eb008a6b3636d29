//! Keyslots: add, remove, change, kill, convert, erase.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use luksmith::{
    block::Control,
    header::{Header, Keyslot, KeyslotKind, Priority},
    keyslot::{
        change::{FileBackup, HeaderBackup, LastKeyslot},
        cost,
        unlock::{Scope, UnlockOptions},
    },
};

use crate::{
    backup_file,
    changing::{self, FileChanger},
    confirm::{Unasked, confirm},
    context::{Context, tell},
    failure::Failure,
    kdf_options::KdfArgs,
    keys::{KeyArgs, NewKeyArgs, PassphraseArgs, key_of},
    options::{DeviceArgs, LimitArgs},
};

/// When a keyslot is tried.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PriorityArg {
    /// Before the others
    Prefer,
    /// In its turn
    Normal,
    /// Only when named by --key-slot
    Ignore,
}

impl From<PriorityArg> for Priority {
    fn from(priority: PriorityArg) -> Self {
        match priority {
            PriorityArg::Prefer => Self::Prefer,
            PriorityArg::Normal => Self::Normal,
            PriorityArg::Ignore => Self::Ignore,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct AddKey {
    #[command(flatten)]
    device: DeviceArgs,

    /// File with the new key; without it the new passphrase is asked for
    new_key: Option<PathBuf>,

    /// Number of the new keyslot; --key-slot then names the one to unlock with
    #[arg(long, value_name = "N")]
    new_key_slot: Option<u32>,

    /// Makes a key that opens no segment, or takes another than the volume's from
    /// --volume-key-file (LUKS2)
    #[arg(long, requires = "key_size")]
    unbound: bool,

    /// Size of the unbound key in bits
    #[arg(short = 's', long, value_name = "BITS", requires = "unbound")]
    key_size: Option<u32>,

    /// When the new keyslot is tried (LUKS2)
    #[arg(long, value_enum)]
    priority: Option<PriorityArg>,

    #[command(flatten)]
    new: NewKeyArgs,
    #[command(flatten)]
    kdf: KdfArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl AddKey {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        // As with cryptsetup, --key-slot means the new one unless that is named by itself.
        let (existing, wanted) = match self.new_key_slot {
            Some(new) => (self.keys.key_slot, Some(new)),
            None => (None, self.keys.key_slot),
        };
        let new_prompt = "Enter new passphrase for key slot: ";
        changing::change(&self.device, &self.limits, |changer, path| {
            let at = |error| Failure::from(error).at(path);
            if self.unbound {
                self.keys
                    .passphrase
                    .refuse("--unbound makes a new key, which no other one unlocks")?;
                let bits = self.key_size.unwrap_or(0);
                if bits == 0 || !bits.is_multiple_of(8) {
                    return Err(Failure::caller(format!(
                        "--key-size {bits} is no whole number of bytes"
                    )));
                }
                let len = usize::try_from(bits / 8).unwrap_or(usize::MAX);
                let key = self.keys.volume_key_file.as_deref();
                let key = key.map(|path| key_of(path, len)).transpose()?;
                let new = self
                    .new
                    .passphrase(self.new_key.as_deref(), new_prompt, context)?;
                let plan = self.plan(changer.header(), wanted, context)?;
                let hash = self.kdf.hash_or(luksmith::hash::HashName::Sha256)?;
                // As cryptsetup has it: costs that are not measured are not measured here either.
                let iterations = match self.kdf.pbkdf_force_iterations {
                    Some(_) => cost::MIN_PBKDF2_ITERATIONS,
                    None => cost::measure_digest(hash, &Control::new())?,
                };
                let number = match key {
                    Some(key) => changer.add_unbound_key(key, iterations, &new, &plan),
                    None => {
                        let made = changer.add_unbound(bits / 8, iterations, &new, &plan);
                        made.map(|(number, _)| number)
                    }
                };
                let number = number.map_err(at)?;
                say(context, || format!("Key slot {number} created."));
                return Ok(());
            }
            let options = unlock_options(existing, Scope::Volume, &self.limits);
            let prompt = "Enter any existing passphrase: ";
            let unlocked = changing::unlock(changer, path, &self.keys, prompt, &options, context)?;
            let new = self
                .new
                .passphrase(self.new_key.as_deref(), new_prompt, context)?;
            let plan = self.plan(changer.header(), wanted, context)?;
            let number = changer.add(&unlocked, &new, &plan).map_err(at)?;
            say(context, || format!("Key slot {number} created."));
            Ok(())
        })
    }

    fn plan(
        &self,
        header: &Header,
        wanted: Option<u32>,
        context: &Context,
    ) -> Result<luksmith::keyslot::change::KeyslotPlan, Failure> {
        let mut plan = self.kdf.plan(header, context)?;
        if let Some(number) = wanted {
            plan = plan.keyslot(number);
        }
        if let Some(priority) = self.priority {
            plan = plan.priority(priority.into());
        }
        Ok(plan)
    }
}

fn unlock_options(keyslot: Option<u32>, scope: Scope, limits: &LimitArgs) -> UnlockOptions {
    let options = limits.unlocking(UnlockOptions::new().scope(scope));
    match keyslot {
        Some(number) => options.keyslot(number),
        None => options,
    }
}

fn say(context: &Context, what: impl FnOnce() -> String) {
    if context.verbose {
        tell(&what());
    }
}

/// Whether the last keyslot of the volume may go: only if the user says so.
fn last(changer: &FileChanger<'_>, goes: u32, context: &Context) -> Result<LastKeyslot, Failure> {
    if !changer.is_last(goes) {
        return Ok(LastKeyslot::Keep);
    }
    let warning = "this is the last keyslot: without a copy of the header or of the volume key, the \
                   data are lost for good";
    confirm(warning, Unasked::Refused, context)?;
    Ok(LastKeyslot::DestroyAccess)
}

#[derive(Args, Debug)]
pub(crate) struct RemoveKey {
    #[command(flatten)]
    device: DeviceArgs,

    /// File with the key to be removed; without it the passphrase is asked for
    key: Option<PathBuf>,

    /// Uses only this keyslot
    #[arg(short = 'S', long, value_name = "N", help_heading = "Keys")]
    key_slot: Option<u32>,

    #[command(flatten)]
    keys: PassphraseArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl RemoveKey {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let keys = self.keys.or_file(self.key.as_deref())?;
        changing::change(&self.device, &self.limits, |changer, path| {
            let options = unlock_options(self.key_slot, Scope::AnyKey, &self.limits);
            let prompt = "Enter passphrase to be deleted: ";
            let found = changing::with_passphrase(path, &keys, prompt, context, |passphrase| {
                changer.unlock(luksmith::Unlock::Passphrase(passphrase), &options)
            })?;
            // A passphrase opens a keyslot, so there is one.
            let number = found.keyslot.unwrap_or_default();
            let last = last(changer, number, context)?;
            let removed = changer.remove(number, last);
            removed.map_err(|error| Failure::from(error).at(path))?;
            say(context, || format!("Key slot {number} removed."));
            Ok(())
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct KillSlot {
    #[command(flatten)]
    device: DeviceArgs,

    /// Number of the keyslot
    slot: u32,

    #[command(flatten)]
    keys: PassphraseArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl KillSlot {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        changing::change(&self.device, &self.limits, |changer, path| {
            let slots = changer.header().keyslots();
            if !slots.iter().any(|slot| slot.id == Some(self.slot)) {
                let message = format!("there is no keyslot {}", self.slot);
                return Err(Failure::caller(message).at(path));
            }
            let last = last(changer, self.slot, context)?;
            let others = changer.volume_keyslots();
            // Whoever kills a keyslot shows that another one will still open the volume. With -q a
            // key that is named is still held against the others, as cryptsetup does it.
            let is_other = |slot: &Keyslot| {
                let is_known = matches!(slot.kind, KeyslotKind::Luks2 { .. });
                let id = slot.id.filter(|id| *id != self.slot && is_known);
                id.is_some_and(|id| others.contains(&id))
            };
            if slots.iter().any(is_other) && (!context.batch || self.keys.is_named()) {
                self.prove_another(changer, path, context)?;
            }
            let removed = changer.remove(self.slot, last);
            removed.map_err(|error| Failure::from(error).at(path))?;
            say(context, || format!("Key slot {} removed.", self.slot));
            Ok(())
        })
    }

    fn prove_another(
        &self,
        changer: &mut FileChanger<'_>,
        path: &Path,
        context: &Context,
    ) -> Result<(), Failure> {
        let prompt = "Enter any remaining passphrase: ";
        changing::with_passphrase(path, &self.keys, prompt, context, |passphrase| {
            // One search, so that all of them together cost no more than one opening may.
            let options = unlock_options(None, Scope::Volume, &self.limits).all_but(self.slot);
            let unlocked = changer.unlock(luksmith::Unlock::Passphrase(passphrase), &options);
            unlocked.map(drop)
        })
    }
}

/// A change that may need a backup of the header.
#[derive(Args, Clone, Debug)]
struct BackupArgs {
    /// Where the old header is kept if there is no room to change it safely in place
    #[arg(long, value_name = "FILE")]
    header_backup_file: Option<PathBuf>,
}

impl BackupArgs {
    /// Runs a change with the backup file, if one is named; there is none if it was not needed.
    fn with<T>(
        &self,
        action: impl FnOnce(&mut Option<FileBackup>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut file = match &self.header_backup_file {
            Some(path) => Some(backup_file::create_when_needed(path)?),
            None => None,
        };
        let result = action(&mut file);
        let Some(file) = file else { return result };
        let path = file.path().display().to_string();
        if !file.is_finished() {
            // It was not needed, or is not whole: nothing was changed then.
            return result;
        }
        if result.is_ok() {
            tell(&format!("The header as it was is in {path}."));
        } else {
            tell(&format!(
                "The header as it was is in {path}; luksHeaderRestore brings it back."
            ));
        }
        result
    }
}

/// Lends the file to the library.
fn lent(file: &mut Option<FileBackup>) -> Option<&mut dyn HeaderBackup> {
    file.as_mut().map(|file| file as &mut dyn HeaderBackup)
}

#[derive(Args, Debug)]
pub(crate) struct ChangeKey {
    #[command(flatten)]
    device: DeviceArgs,

    /// File with the new key; without it the new passphrase is asked for
    new_key: Option<PathBuf>,

    #[command(flatten)]
    backup: BackupArgs,
    #[command(flatten)]
    new: NewKeyArgs,
    #[command(flatten)]
    kdf: KdfArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl ChangeKey {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        changing::change(&self.device, &self.limits, |changer, path| {
            let options = unlock_options(self.keys.key_slot, Scope::AnyKey, &self.limits);
            let prompt = "Enter passphrase to be changed: ";
            let unlocked = changing::unlock(changer, path, &self.keys, prompt, &options, context)?;
            let number = unlocked.keyslot.or(self.keys.key_slot);
            let Some(number) = number else {
                return Err(Failure::caller(
                    "with the volume key, --key-slot has to name the keyslot to be changed",
                ));
            };
            let new_prompt = "Enter new passphrase: ";
            let new = self
                .new
                .passphrase(self.new_key.as_deref(), new_prompt, context)?;
            let plan = self.kdf.plan(changer.header(), context)?;
            self.backup.with(|file| {
                let changed = changer.change(number, &unlocked, &new, &plan, lent(file));
                changed.map_err(|error| Failure::from(error).at(path))
            })?;
            say(context, || format!("Key slot {number} changed."));
            Ok(())
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct ConvertKey {
    #[command(flatten)]
    device: DeviceArgs,

    #[command(flatten)]
    backup: BackupArgs,
    #[command(flatten)]
    kdf: KdfArgs,
    #[command(flatten)]
    keys: PassphraseArgs,

    /// Uses only this keyslot
    #[arg(short = 'S', long, value_name = "N", help_heading = "Keys")]
    key_slot: Option<u32>,

    #[command(flatten)]
    limits: LimitArgs,
}

impl ConvertKey {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        changing::change(&self.device, &self.limits, |changer, path| {
            let plan = self.kdf.plan(changer.header(), context)?;
            let prompt = "Enter passphrase for keyslot to be converted: ";
            let options = unlock_options(self.key_slot, Scope::AnyKey, &self.limits);
            self.backup.with(|file| {
                changing::with_passphrase(path, &self.keys, prompt, context, |passphrase| {
                    let unlock = luksmith::Unlock::Passphrase(passphrase);
                    let unlocked = changer.unlock(unlock, &options)?;
                    // A passphrase opens a keyslot, so there is one.
                    let number = unlocked.keyslot.unwrap_or_default();
                    changer.change(number, &unlocked, passphrase, &plan, lent(file))
                })
            })
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct Erase {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl Erase {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        changing::change(&self.device, &self.limits, |changer, path| {
            let warning = format!(
                "this removes every keyslot of {}; without a copy of the header or of the volume \
                 key, the data are lost for good",
                path.display()
            );
            confirm(&warning, Unasked::Refused, context)?;
            let erased = changer.erase();
            let erased = erased.map_err(|error| Failure::from(error).at(path))?;
            say(context, || format!("{} key slots removed.", erased.len()));
            Ok(())
        })
    }
}
