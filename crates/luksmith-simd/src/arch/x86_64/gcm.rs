//! An expanded AES-GCM key for the x86-64 backends.

use alloc::boxed::Box;

use super::aesni::AesNi;
use super::gcm_schedule::{GcmSchedule, MAX_AD_BLOCKS, MAX_STEPS, STEP};
use super::vaes256::Vaes256;
use super::vaes512::Vaes512;
use super::{aesni_gcm, vaes256_gcm, vaes512_gcm};
use crate::Backend;
use crate::arch::round_keys::{AES128, AES256};
use crate::buffers::Buffers;
use crate::gcm::{GcmRun, TAG_BYTES};
use crate::xts::key::Direction;

/// An AES-GCM key expanded for vectors. The schedules wipe themselves.
pub(crate) struct VectorGcm {
    kernel: Kernel,
    schedule: Schedule,
}

/// The kernel, on a CPU that has what it takes.
#[derive(Clone, Copy)]
enum Kernel {
    AesNi(AesNi),
    Vaes256(Vaes256),
    Vaes512(Vaes512),
}

enum Schedule {
    Aes128(Box<GcmSchedule<AES128>>),
    Aes256(Box<GcmSchedule<AES256>>),
}

impl VectorGcm {
    /// Expands a key, or gives `None` where `backend` has no kernel of its own for it.
    pub(crate) fn new(backend: Backend, key: &[u8]) -> Option<Self> {
        let aes = AesNi::detect()?;
        let kernel = match backend {
            Backend::AesNi => Kernel::AesNi(aes),
            Backend::Vaes256 => Kernel::Vaes256(Vaes256::detect()?),
            Backend::Vaes512 => Kernel::Vaes512(Vaes512::detect()?),
            _ => return None,
        };
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
        Some(Self { kernel, schedule })
    }

    /// Tells whether the kernels take sectors of this shape.
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
        match (&self.schedule, direction) {
            (Schedule::Aes128(keys), Direction::Encrypt) => {
                self.kernel
                    .crypt::<_, false>(keys, run, first, buffers, tags);
            }
            (Schedule::Aes128(keys), Direction::Decrypt) => {
                self.kernel
                    .crypt::<_, true>(keys, run, first, buffers, tags);
            }
            (Schedule::Aes256(keys), Direction::Encrypt) => {
                self.kernel
                    .crypt::<_, false>(keys, run, first, buffers, tags);
            }
            (Schedule::Aes256(keys), Direction::Decrypt) => {
                self.kernel
                    .crypt::<_, true>(keys, run, first, buffers, tags);
            }
        }
    }
}

impl Kernel {
    fn crypt<const N: usize, const DECRYPT: bool>(
        self,
        keys: &GcmSchedule<N>,
        run: GcmRun<'_>,
        first: usize,
        buffers: Buffers<'_>,
        tags: &mut [[u8; TAG_BYTES]],
    ) {
        match self {
            Self::AesNi(cpu) => {
                aesni_gcm::crypt::<N, DECRYPT>(cpu, keys, run, first, buffers, tags);
            }
            Self::Vaes256(cpu) => {
                vaes256_gcm::crypt::<N, DECRYPT>(cpu, keys, run, first, buffers, tags);
            }
            Self::Vaes512(cpu) => {
                vaes512_gcm::crypt::<N, DECRYPT>(cpu, keys, run, first, buffers, tags);
            }
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    /// Else kernels that are never chosen would be as right as any.
    #[test]
    fn the_kernels_take_the_shapes_that_they_are_for_and_no_others() {
        for backend in [Backend::AesNi, Backend::Vaes256, Backend::Vaes512] {
            if !backend.is_available() {
                continue; // named by the tests of `coverage`
            }
            for key in [&[7; 16][..], &[7; 32]] {
                let key = VectorGcm::new(backend, key).expect("kernels of its own");
                for sector_bytes in (STEP..=4096).step_by(STEP) {
                    for ad_bytes in [0, 20, 48] {
                        assert!(
                            key.takes(sector_bytes, ad_bytes),
                            "{sector_bytes} {ad_bytes}"
                        );
                    }
                    assert!(!key.takes(sector_bytes, 49));
                }
                for sector_bytes in [16, 128, 4096 + STEP] {
                    assert!(!key.takes(sector_bytes, 20), "{sector_bytes}");
                }
            }
        }
    }
}
