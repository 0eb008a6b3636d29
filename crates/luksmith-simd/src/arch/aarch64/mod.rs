//! 64-bit Arm: the AES instructions of the cryptographic extension.

mod neon;
mod schedule;

use crate::Backend;
use crate::arch::round_keys::{AES128, AES256, XtsSchedule, XtsSchedules};
use crate::buffers::Buffers;
use crate::xts::key::Direction;
use crate::xts::tweak::Ivs;
use neon::NeonAes;

/// Tells whether the machine has the instructions of an AES backend other than portable.
pub(crate) fn has_aes(backend: Backend) -> bool {
    backend == Backend::Aarch64 && NeonAes::detect().is_some()
}

/// A round on each of `blocks` blocks, rounded up to a multiple of 48; `None` where `backend` has
/// no instructions for it here.
pub(crate) fn aes_rounds(backend: Backend, blocks: usize) -> Option<()> {
    neon::rounds_alone(detect(backend)?, blocks);
    Some(())
}

/// An XTS key expanded for Arm's AES instructions. The schedules wipe themselves.
pub(crate) struct ArmXts {
    cpu: NeonAes,
    schedule: XtsSchedules,
}

impl ArmXts {
    /// Expands a key, or gives `None` if the CPU lacks the instructions of `backend`.
    pub(crate) fn aes128(backend: Backend, data: &[u8; 16], tweak: &[u8; 16]) -> Option<Self> {
        let cpu = detect(backend)?;
        let mut keys = XtsSchedule::<AES128>::zeroed();
        keys.encrypt.expand(cpu, data);
        keys.tweak.expand(cpu, tweak);
        let both = &mut *keys;
        both.decrypt.invert(cpu, &both.encrypt);
        Some(Self {
            cpu,
            schedule: XtsSchedules::Aes128(keys),
        })
    }

    /// Expands a key, or gives `None` if the CPU lacks the instructions of `backend`.
    pub(crate) fn aes256(backend: Backend, data: &[u8; 32], tweak: &[u8; 32]) -> Option<Self> {
        let cpu = detect(backend)?;
        let mut keys = XtsSchedule::<AES256>::zeroed();
        keys.encrypt.expand(cpu, data);
        keys.tweak.expand(cpu, tweak);
        let both = &mut *keys;
        both.decrypt.invert(cpu, &both.encrypt);
        Some(Self {
            cpu,
            schedule: XtsSchedules::Aes256(keys),
        })
    }

    /// Runs over whole sectors of `sector_bytes`, a multiple of 16.
    pub(crate) fn crypt(
        &self,
        direction: Direction,
        ivs: impl Ivs,
        sector_bytes: usize,
        buffers: Buffers<'_>,
    ) {
        match (&self.schedule, direction) {
            (XtsSchedules::Aes128(keys), Direction::Encrypt) => {
                neon::xts::<_, false>(self.cpu, keys, ivs, sector_bytes, buffers);
            }
            (XtsSchedules::Aes128(keys), Direction::Decrypt) => {
                neon::xts::<_, true>(self.cpu, keys, ivs, sector_bytes, buffers);
            }
            (XtsSchedules::Aes256(keys), Direction::Encrypt) => {
                neon::xts::<_, false>(self.cpu, keys, ivs, sector_bytes, buffers);
            }
            (XtsSchedules::Aes256(keys), Direction::Decrypt) => {
                neon::xts::<_, true>(self.cpu, keys, ivs, sector_bytes, buffers);
            }
        }
    }
}

fn detect(backend: Backend) -> Option<NeonAes> {
    if backend == Backend::Aarch64 {
        NeonAes::detect()
    } else {
        None
    }
}
