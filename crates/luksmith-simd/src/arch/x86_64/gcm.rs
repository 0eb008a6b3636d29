//! An expanded AES-GCM key for the x86-64 backends.

use alloc::boxed::Box;

use super::aesni::AesNi;
use super::vaes512::Vaes512;
use super::vaes512_gcm::{self, GcmSchedule, MAX_AD_BLOCKS, MAX_STEPS, STEP};
use crate::Backend;
use crate::arch::round_keys::{AES128, AES256};
use crate::buffers::Buffers;
use crate::gcm::{GcmRun, TAG_BYTES};
use crate::xts::key::Direction;

/// An AES-GCM key expanded for VAES on 512-bit vectors. The schedules wipe themselves.
pub(crate) struct VectorGcm {
    cpu: Vaes512,
    schedule: Schedule,
}

enum Schedule {
    Aes128(Box<GcmSchedule<AES128>>),
    Aes256(Box<GcmSchedule<AES256>>),
}

impl VectorGcm {
    /// Expands a key, or gives `None` where `backend` has no kernel of its own for it.
    pub(crate) fn new(backend: Backend, key: &[u8]) -> Option<Self> {
        if backend != Backend::Vaes512 {
            return None;
        }
        let (cpu, aes) = (Vaes512::detect()?, AesNi::detect()?);
        let schedule = if let Ok(key) = key.try_into() {
            let mut schedule = GcmSchedule::<AES128>::zeroed();
            schedule.keys.expand(aes, key);
            schedule.derive(aes);
            Schedule::Aes128(schedule)
        } else if let Ok(key) = key.try_into() {
            let mut schedule = GcmSchedule::<AES256>::zeroed();
            schedule.keys.expand(aes, key);
            schedule.derive(aes);
            Schedule::Aes256(schedule)
        } else {
            return None;
        };
        Some(Self { cpu, schedule })
    }

    /// Tells whether the kernel takes sectors of this shape.
    pub(crate) fn takes(&self, sector_bytes: usize, ad_bytes: usize) -> bool {
        sector_bytes.is_multiple_of(STEP)
            && sector_bytes <= MAX_STEPS * STEP
            && ad_bytes <= MAX_AD_BLOCKS * 16
    }

    /// Runs over as many sectors as there are `tags`, the first of which is number `first` of
    /// `run`, and writes the tags that they have.
    pub(crate) fn crypt(
        &self,
        direction: Direction,
        run: GcmRun<'_>,
        first: usize,
        buffers: Buffers<'_>,
        tags: &mut [[u8; TAG_BYTES]],
    ) {
        let cpu = self.cpu;
        match (&self.schedule, direction) {
            (Schedule::Aes128(keys), Direction::Encrypt) => {
                vaes512_gcm::crypt::<_, false>(cpu, keys, run, first, buffers, tags);
            }
            (Schedule::Aes128(keys), Direction::Decrypt) => {
                vaes512_gcm::crypt::<_, true>(cpu, keys, run, first, buffers, tags);
            }
            (Schedule::Aes256(keys), Direction::Encrypt) => {
                vaes512_gcm::crypt::<_, false>(cpu, keys, run, first, buffers, tags);
            }
            (Schedule::Aes256(keys), Direction::Decrypt) => {
                vaes512_gcm::crypt::<_, true>(cpu, keys, run, first, buffers, tags);
            }
        }
    }
}
