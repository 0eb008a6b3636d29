//! An expanded XTS key for the x86-64 backends.

use super::aesni::{self, AesNi};
use super::sha256_avx512::beside::Beside;
use super::vaes256::{self, Vaes256};
use super::vaes512::{self, Vaes512};
use crate::arch::round_keys::{AES128, AES256, XtsSchedule, XtsSchedules};
use crate::buffers::Buffers;
use crate::sha2::lanes;
use crate::xts::key::Direction;
use crate::xts::tweak::Counted;
use crate::xts::tweak::Ivs;
use crate::{Backend, Run, TagKey, XtsKey};

/// Which kernels serve a key, with the proof that the CPU has their instructions.
#[derive(Clone, Copy)]
enum Tier {
    AesNi(AesNi),
    Vaes256(Vaes256),
    Vaes512(Vaes512),
}

/// An XTS key expanded for one of the x86-64 backends. The schedules wipe themselves.
pub(crate) struct X86Xts {
    tier: Tier,
    schedule: XtsSchedules,
}

impl X86Xts {
    /// Expands a key for `backend`, or gives `None` if the CPU lacks its instructions.
    pub(crate) fn aes128(backend: Backend, data: &[u8; 16], tweak: &[u8; 16]) -> Option<Self> {
        let (tier, cpu) = tier(backend)?;
        let mut keys = XtsSchedule::<AES128>::zeroed();
        keys.encrypt.expand(cpu, data);
        keys.tweak.expand(cpu, tweak);
        let keys_ref = &mut *keys;
        keys_ref.decrypt.invert(cpu, &keys_ref.encrypt);
        Some(Self {
            tier,
            schedule: XtsSchedules::Aes128(keys),
        })
    }

    /// Expands a key for `backend`, or gives `None` if the CPU lacks its instructions.
    pub(crate) fn aes256(backend: Backend, data: &[u8; 32], tweak: &[u8; 32]) -> Option<Self> {
        let (tier, cpu) = tier(backend)?;
        let mut keys = XtsSchedule::<AES256>::zeroed();
        keys.encrypt.expand(cpu, data);
        keys.tweak.expand(cpu, tweak);
        let keys_ref = &mut *keys;
        keys_ref.decrypt.invert(cpu, &keys_ref.encrypt);
        Some(Self {
            tier,
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
        match &self.schedule {
            XtsSchedules::Aes128(keys) => {
                crypt(self.tier, keys, direction, ivs, sector_bytes, buffers)
            }
            XtsSchedules::Aes256(keys) => {
                crypt(self.tier, keys, direction, ivs, sector_bytes, buffers)
            }
        }
    }
}

/// Encrypts a batch of 16 sectors and writes their tags, in a kernel that does both together.
///
/// The message of a sector is its prefix, sector number and IV, and its ciphertext. Does nothing
/// and gives `false` where there is no such kernel for these keys, or this shape.
pub(crate) fn seal_together(
    xts: &XtsKey,
    tag: &TagKey,
    run: Run,
    prefixes: &[u8],
    mut buffers: Buffers<'_>,
    tags: &mut [u8],
) -> bool {
    let mut seal = || {
        let keys = xts.vectors()?;
        let Tier::Vaes512(cipher) = keys.tier else {
            return None;
        };
        let (inner, outer, kernels) = tag.parts_256()?;
        let hash = kernels.sixteen_256()?;
        let prefixes = prefixes.as_chunks().0.try_into().ok()?;
        let keyed_bytes = if outer.is_some() { 64 } else { 0 };
        let columns = buffers.columns(run.sector_bytes)?;
        let ivs = Counted {
            first: run.first,
            step: run.step,
        };
        let beside = Beside::new(cipher, hash);
        let mut state = match &keys.schedule {
            XtsSchedules::Aes128(keys) => {
                beside.seal(keys, ivs, inner, keyed_bytes, prefixes, &columns)
            }
            XtsSchedules::Aes256(keys) => {
                beside.seal(keys, ivs, inner, keyed_bytes, prefixes, &columns)
            }
        }?;
        lanes::write_tags(hash, &mut state, outer, tags);
        Some(())
    };
    seal().is_some()
}

fn tier(backend: Backend) -> Option<(Tier, AesNi)> {
    let tier = match backend {
        Backend::AesNi => Tier::AesNi(AesNi::detect()?),
        Backend::Vaes256 => Tier::Vaes256(Vaes256::detect()?),
        Backend::Vaes512 => Tier::Vaes512(Vaes512::detect()?),
        _ => return None,
    };
    Some((tier, AesNi::detect()?))
}

fn crypt<const N: usize>(
    tier: Tier,
    keys: &XtsSchedule<N>,
    direction: Direction,
    ivs: impl Ivs,
    sector_bytes: usize,
    buffers: Buffers<'_>,
) {
    match (tier, direction) {
        (Tier::AesNi(cpu), Direction::Encrypt) => {
            aesni::xts::<N, false>(cpu, keys, ivs, sector_bytes, buffers);
        }
        (Tier::AesNi(cpu), Direction::Decrypt) => {
            aesni::xts::<N, true>(cpu, keys, ivs, sector_bytes, buffers);
        }
        (Tier::Vaes256(cpu), Direction::Encrypt) => {
            vaes256::xts::<N, false>(cpu, keys, ivs, sector_bytes, buffers);
        }
        (Tier::Vaes256(cpu), Direction::Decrypt) => {
            vaes256::xts::<N, true>(cpu, keys, ivs, sector_bytes, buffers);
        }
        (Tier::Vaes512(cpu), Direction::Encrypt) => {
            vaes512::xts::<N, false>(cpu, keys, ivs, sector_bytes, buffers);
        }
        (Tier::Vaes512(cpu), Direction::Decrypt) => {
            vaes512::xts::<N, true>(cpu, keys, ivs, sector_bytes, buffers);
        }
    }
}
