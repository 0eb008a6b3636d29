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
    let source = Source::read(device, options.read_only, options)?;
    let plan = Plan::of(source.header(), options)?;
    let budget = &mut Budget::new(options.limits);
    source.open(&plan, unlock, options, budget)
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
    let source = Source::read(device, true, options)?;
    let budget = &mut Budget::new(options.limits);
    let unlocked = source.test(options.keyslot, unlock_with, options, budget)?;
    Ok(source.tested(unlocked))
}

/// A header that was read and that the policy lets pass, and the devices it was read with.
pub(crate) struct Source {
    device: Arc<dyn BlockDevice>,
    header_device: Arc<dyn BlockDevice>,
    header: Header,
}

impl Source {
    /// Reads the header of `device`, which is written by nobody if `read_only`.
    pub(crate) fn read(
        device: impl BlockDevice + 'static,
        read_only: bool,
        options: &OpenOptions,
    ) -> Result<Self, Error> {
        let device: Arc<dyn BlockDevice> = if read_only {
            Arc::new(ReadOnly::new(device))
        } else {
            Arc::new(device)
        };
        let header_device = Arc::clone(options.header.as_ref().unwrap_or(&device));
        let header = Header::read(header_device.as_ref(), &options.limits)?;
        if let Some(policy) = &options.policy {
            policy
                .judge(&header)
                .map_err(|violation| Error::Policy { violation })?;
        }
        Ok(Self {
            device,
            header_device,
            header,
        })
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Unlocks the segment of `plan`, and builds the layers.
    pub(crate) fn open(
        &self,
        plan: &Plan,
        unlock_with: Unlock<'_>,
        options: &OpenOptions,
        budget: &mut Budget,
    ) -> Result<Volume, Error> {
        let mut unlocking = unlock_options(options).scope(Scope::Segment(plan.segment));
        if let Unlock::VolumeKey(key) = &unlock_with
            && !matches!(plan.construction, Construction::Null)
        {
            plan.check_key_len(key.len())?;
            unlocking = unlocking.key_bytes(u32::try_from(key.len()).unwrap_or(u32::MAX));
        }
        let unlocked = self.derive(unlock_with, unlocking, options, budget)?;
        plan.check_key_len(unlocked.key.len())?;
        let stack = Stack::build(Arc::clone(&self.device), plan, &unlocked.key, options)?;
        let opened = Opened {
            key: unlocked.key,
            keyslot: unlocked.keyslot,
            digest: unlocked.digest,
        };
        let (header, plan, size) = (self.header.clone(), plan.clone(), self.device.size());
        Ok(Volume::new(header, plan, stack, size, opened, options))
    }

    /// Unlocks the volume key, or whatever is in the keyslot that the caller `asked_for`: one that
    /// is named may be unbound, as its key is for another use.
    pub(crate) fn test(
        &self,
        asked_for: Option<u32>,
        unlock_with: Unlock<'_>,
        options: &OpenOptions,
        budget: &mut Budget,
    ) -> Result<Unlocked, Error> {
        let scope = match asked_for {
            Some(_) => Scope::AnyKey,
            None => Scope::Volume,
        };
        let unlocking = unlock_options(options).scope(scope);
        self.derive(unlock_with, unlocking, options, budget)
    }

    pub(crate) fn tested(self, unlocked: Unlocked) -> KeyTest {
        KeyTest {
            header: self.header,
            unlocked,
        }
    }

    fn derive(
        &self,
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
            self.header_device.as_ref(),
            &self.header,
            unlock_with,
            &unlocking,
            &mut effort,
        )?)
    }
}

fn unlock_options(options: &OpenOptions) -> UnlockOptions {
    let unlocking = UnlockOptions::new().null_cipher_keyslots(options.null_cipher_keyslots);
    match options.keyslot {
        Some(keyslot) => unlocking.keyslot(keyslot),
        None => unlocking,
    }
}
