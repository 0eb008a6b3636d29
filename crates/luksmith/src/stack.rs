//! The layers between a device and its plaintext.

use std::ops::Range;
use std::sync::Arc;

use luksmith_block::{BlockDevice, ByteLen, ByteOffset, SectorNumber, Window};
use luksmith_crypt::{
    AeadCipher, AuthSpec, AuthenticatedDevice, CryptDevice, SectorCipher, SystemRandom,
};
use luksmith_integrity::{Devices, IntegrityDevice, OpenOptions as IntegrityOptions};
use luksmith_keyslot::VolumeKey;

use crate::Error;
use crate::lazy::LazyDevice;
use crate::options::{JournalTrust, OpenOptions};
use crate::plan::{Construction, Plan};

pub(crate) type Shared = Arc<dyn BlockDevice>;

/// From the top: encryption, then a part of the device; or encryption, then integrity.
pub(crate) enum Stack {
    Plain(CryptDevice<Window<Shared>>),
    Authenticated(Box<Authenticated>),
    /// What was never written reads as zeros, for the life of this process.
    Lazy(Box<LazyDevice<Authenticated>>),
}

pub(crate) type Authenticated = AuthenticatedDevice<IntegrityDevice<Shared>>;

impl Stack {
    pub(crate) fn build(
        device: Shared,
        plan: &Plan,
        key: &VolumeKey,
        options: &OpenOptions,
    ) -> Result<Self, Error> {
        check_size(&device, plan)?;
        let size = plan.sector_size;
        let cipher = match &plan.construction {
            Construction::Null => SectorCipher::null(size),
            Construction::Plain(spec) => SectorCipher::new(spec, key.expose(), size)
                .map_err(|source| plan.cipher_error(source))?,
            Construction::Authenticated(spec) => {
                return Self::authenticated(device, plan, spec, key, options);
            }
        };
        let start = ByteOffset::new(plan.offset);
        let window = match plan.len {
            Some(len) => Window::new(device, start, len)?,
            None => Window::from_start(device, start)?,
        };
        let crypt = CryptDevice::new(window, cipher).map_err(|source| plan.cipher_error(source))?;
        Ok(Self::Plain(crypt))
    }

    fn authenticated(
        device: Shared,
        plan: &Plan,
        spec: &AuthSpec,
        key: &VolumeKey,
        options: &OpenOptions,
    ) -> Result<Self, Error> {
        let cipher = AeadCipher::new(spec, key.expose(), plan.sector_size)
            .map(Arc::new)
            .map_err(|source| plan.cipher_error(source))?;
        // A cipher whose nonce is the sector number is never written with.
        let read_only = options.read_only || spec.reuses_nonces();
        let mut below = IntegrityOptions::new()
            .start(SectorNumber::new(
                plan.offset / luksmith_block::SECTOR_BYTES,
            ))
            .mode(options.journal.mode(plan.no_journal))
            .read_only(read_only)
            .expect_tag_bytes(spec.tuple_bytes())
            .expect_block_size(plan.sector_size);
        if let Some(limit) = options.journal_limit {
            below = below.journal_limit(limit);
        }
        if options.journal_trust == JournalTrust::Verify {
            below = below.check_journal(Arc::clone(&cipher) as _);
        }
        let integrity = IntegrityDevice::open(Devices::interleaved(device), below)?;
        let provided = integrity
            .superblock()
            .provided_data_sectors()
            .byte_len()?
            .get();
        if let Some(len) = plan.len
            && len.get() != provided
        {
            return Err(Error::SegmentSize {
                segment: plan.segment,
                segment_bytes: len.get(),
                provided_bytes: provided,
            });
        }
        let volume = AuthenticatedDevice::new(integrity, cipher, SystemRandom)
            .map_err(|source| plan.cipher_error(source))?;
        Ok(Self::Authenticated(Box::new(volume)))
    }

    /// Gives the plaintext.
    pub(crate) fn device(&self) -> &dyn BlockDevice {
        match self {
            Self::Plain(device) => device,
            Self::Authenticated(device) => device.as_ref(),
            Self::Lazy(device) => device.as_ref(),
        }
    }

    /// Has sectors that were never written read as zeros. Without tags they read as noise anyway.
    pub(crate) fn lazy(self) -> Result<Self, Error> {
        Ok(match self {
            Self::Authenticated(device) => Self::Lazy(Box::new(LazyDevice::new(*device)?)),
            other => other,
        })
    }

    /// Gives the authenticated device, if the volume has tags.
    pub(crate) fn authenticated_device(&self) -> Option<&Authenticated> {
        match self {
            Self::Plain(_) => None,
            Self::Authenticated(device) => Some(device),
            Self::Lazy(device) => Some(device.inner()),
        }
    }

    /// Gives the parts of a range, in bytes, that hold something.
    pub(crate) fn initialised(&self, range: Range<u64>) -> Vec<Range<u64>> {
        match self {
            Self::Lazy(device) => device.written(range).collect(),
            _ => std::iter::once(range).collect(),
        }
    }

    /// Commits and writes back; the keys are wiped.
    pub(crate) fn close(self) -> Result<(), luksmith_block::Error> {
        match self {
            Self::Plain(device) => device.flush(),
            Self::Authenticated(device) => device.into_inner().close(),
            Self::Lazy(device) => device.into_inner().into_inner().close(),
        }
    }
}

fn check_size(device: &Shared, plan: &Plan) -> Result<(), Error> {
    let size = device.size();
    let needed = plan.len.map_or(plan.sector_size.byte_len(), |len| {
        ByteLen::new(len.get().max(1))
    });
    match plan.offset.checked_add(needed.get()) {
        // With integrity, a length in the header counts data, and the superblock is checked later.
        Some(end)
            if end <= size.get() || matches!(plan.construction, Construction::Authenticated(_)) =>
        {
            Ok(())
        }
        _ => Err(Error::DeviceTooSmall {
            segment: plan.segment,
            offset: plan.offset,
            needed: needed.get(),
            size,
        }),
    }
}
