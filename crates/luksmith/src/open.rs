//! Opening a volume.

use std::sync::Arc;

use luksmith_block::{BlockDevice, ReadOnly};
use luksmith_header::{Budget, Header};
use luksmith_keyslot::Effort;
use luksmith_keyslot::unlock::{Scope, Unlock, UnlockOptions, Unlocked, unlock};

use crate::options::OpenOptions;
use crate::plan::{Construction, Plan};
use crate::stack::Stack;
use crate::volume::Opened;
use crate::{Error, Volume};

/// Opens the volume on `device`.
///
/// The header is read once, held against the policy and the limits, and never read again. Nothing
/// is written by opening: a journal that was left behind is read as an overlay, and applied before
/// the first write.
///
/// 1. Header: both copies, the better valid one.
/// 2. Policy, requirements, the one segment, cipher and integrity, lengths of keys.
/// 3. Key derivation, keyslots, digest: the volume key, exactly as long as needed.
/// 4. The layers: part of the device, integrity, encryption.
///
/// # Errors
/// See [`Error::kind`]. Before any key is derived: [`Error::Header`], [`Error::Policy`],
/// [`Error::Requirement`], [`Error::SegmentCount`], [`Error::SegmentType`], [`Error::SegmentFlag`],
/// [`Error::IvTweak`], [`Error::SegmentSectorSize`], [`Error::SegmentOffset`],
/// [`Error::IntegrityJournal`], [`Error::IntegrityRequired`], [`Error::Cipher`]. Then
/// [`Error::Keyslot`], [`Error::DeviceTooSmall`], [`Error::SegmentSize`], [`Error::Integrity`],
/// [`Error::Device`].
pub fn open(
    device: impl BlockDevice + 'static,
    unlock: Unlock<'_>,
    options: &OpenOptions,
) -> Result<Volume, Error> {
    let device: Arc<dyn BlockDevice> = if options.read_only {
        Arc::new(ReadOnly::new(device))
    } else {
        Arc::new(device)
    };
    let header_device = options.header.as_ref().unwrap_or(&device);
    let header = read_header(header_device, options)?;
    let plan = Plan::of(&header, options)?;
    let budget = &mut Budget::new(options.limits);
    map(
        &device,
        header_device,
        (&header, &plan),
        unlock,
        options,
        budget,
    )
}

/// Unlocks a header that was understood, and builds the layers.
pub(crate) fn map(
    device: &Arc<dyn BlockDevice>,
    header_device: &Arc<dyn BlockDevice>,
    (header, plan): (&Header, &Plan),
    unlock: Unlock<'_>,
    options: &OpenOptions,
    budget: &mut Budget,
) -> Result<Volume, Error> {
    let unlocked = unlock_volume(header_device, (header, plan), unlock, options, budget)?;
    plan.check_key_len(unlocked.key.len())?;
    let stack = Stack::build(Arc::clone(device), plan, &unlocked.key, options)?;
    let opened = Opened {
        key: unlocked.key,
        keyslot: unlocked.keyslot,
        digest: unlocked.digest,
    };
    Ok(Volume::new(
        header.clone(),
        plan.clone(),
        stack,
        opened,
        options,
    ))
}

/// What a key opens, without opening the volume.
#[derive(Debug)]
#[non_exhaustive]
pub struct KeyTest {
    /// The header, as it was read.
    pub header: Header,
    /// The key, the keyslot that held it, the digest that proved it, and what became of the others.
    pub unlocked: Unlocked,
}

/// Tells whether a key opens the volume, or any keyslot that [`OpenOptions::keyslot`] names.
///
/// Segments and requirements are not looked at, so this works in the middle of a re-encryption too.
///
/// # Errors
/// [`Error::Header`], [`Error::Policy`], [`Error::Keyslot`].
pub fn test_key(
    device: impl BlockDevice + 'static,
    unlock_with: Unlock<'_>,
    options: &OpenOptions,
) -> Result<KeyTest, Error> {
    let device: Arc<dyn BlockDevice> = Arc::new(ReadOnly::new(device));
    let header_device = options.header.as_ref().unwrap_or(&device);
    let header = read_header(header_device, options)?;
    let scope = match options.keyslot {
        // A keyslot asked for by its number may be unbound: its key is for another use.
        Some(_) => Scope::AnyKey,
        None => Scope::Volume,
    };
    let unlocked = derive(
        header_device,
        &header,
        unlock_with,
        unlock_options(options).scope(scope),
        options,
        &mut Budget::new(options.limits),
    )?;
    Ok(KeyTest { header, unlocked })
}

pub(crate) fn read_header(
    device: &Arc<dyn BlockDevice>,
    options: &OpenOptions,
) -> Result<Header, Error> {
    let header = Header::read(device.as_ref(), &options.limits)?;
    if let Some(policy) = &options.policy {
        policy
            .judge(&header)
            .map_err(|violation| Error::Policy { violation })?;
    }
    Ok(header)
}

pub(crate) fn unlock_options(options: &OpenOptions) -> UnlockOptions {
    let unlocking = UnlockOptions::new().null_cipher_keyslots(options.null_cipher_keyslots);
    match options.keyslot {
        Some(keyslot) => unlocking.keyslot(keyslot),
        None => unlocking,
    }
}

fn unlock_volume(
    device: &Arc<dyn BlockDevice>,
    (header, plan): (&Header, &Plan),
    unlock_with: Unlock<'_>,
    options: &OpenOptions,
    budget: &mut Budget,
) -> Result<Unlocked, Error> {
    let mut unlocking = unlock_options(options).scope(Scope::Segment(plan.segment));
    if let Unlock::VolumeKey(key) = &unlock_with
        && !matches!(plan.construction, Construction::Null)
    {
        plan.check_key_len(key.len())?;
        unlocking = unlocking.key_bytes(u32::try_from(key.len()).unwrap_or(u32::MAX));
    }
    derive(device, header, unlock_with, unlocking, options, budget)
}

pub(crate) fn derive(
    device: &Arc<dyn BlockDevice>,
    header: &Header,
    unlock_with: Unlock<'_>,
    unlocking: UnlockOptions,
    options: &OpenOptions,
    budget: &mut Budget,
) -> Result<Unlocked, Error> {
    let mut effort = Effort {
        budget,
        control: &options.control,
        threads: options.threads,
    };
    Ok(unlock(
        device.as_ref(),
        header,
        unlock_with,
        &unlocking,
        &mut effort,
    )?)
}
