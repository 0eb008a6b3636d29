//! Which SHA-2 kernels a key uses on x86-64, and which of them for how many sectors.

use super::cpu::{Features, features};
use super::{pbkdf2_sha512, sha512_avx2, sha512_avx512};
use super::{sha256_avx2, sha256_avx512, sha256_avx512vl, sha256_shani};
use crate::pbkdf2::{self, Chain, Pads};
use crate::sha2::layout::Layout;
use crate::sha2::{HashBackend, lanes, pairs, pass, portable};

/// Tells whether the machine has the instructions of a hash backend other than portable.
pub(crate) fn has_hash(backend: HashBackend) -> bool {
    let avx512 = Features::AVX512F
        .and(Features::AVX512BW)
        .and(Features::AVX512DQ)
        .and(Features::AVX512VL)
        .and(Features::AVX2);
    match backend {
        HashBackend::Portable => true,
        HashBackend::Avx2 => features().has(Features::AVX2),
        HashBackend::ShaNi => sha256_shani::ShaNi::detect().is_some(),
        HashBackend::Avx512 => features().has(avx512),
    }
}

/// The kernels of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernels {
    shani: Option<sha256_shani::ShaNi>,
    eight_256: Option<Eight>,
    sixteen_256: Option<sha256_avx512::Avx512>,
    four_512: Option<sha512_avx2::Avx2>,
    eight_512: Option<sha512_avx512::Avx512>,
    chain_512: Option<pbkdf2_sha512::OneChain>,
}

/// Eight lanes of SHA-256.
#[derive(Clone, Copy, Debug)]
enum Eight {
    Avx2(sha256_avx2::Avx2),
    Avx512Vl(sha256_avx512vl::Avx512Vl),
}

impl Kernels {
    /// The kernels of `backend`, as far as this machine has them.
    pub(crate) fn new(backend: HashBackend) -> Self {
        let none = Self {
            shani: None,
            eight_256: None,
            sixteen_256: None,
            four_512: None,
            eight_512: None,
            chain_512: None,
        };
        match backend {
            HashBackend::Portable => none,
            HashBackend::Avx2 => Self {
                eight_256: sha256_avx2::Avx2::detect().map(Eight::Avx2),
                four_512: sha512_avx2::Avx2::detect(),
                ..none
            },
            HashBackend::ShaNi => Self {
                shani: sha256_shani::ShaNi::detect(),
                four_512: sha512_avx2::Avx2::detect(),
                ..none
            },
            HashBackend::Avx512 => Self {
                shani: sha256_shani::ShaNi::detect(),
                eight_256: sha256_avx512vl::Avx512Vl::detect().map(Eight::Avx512Vl),
                sixteen_256: sha256_avx512::Avx512::detect(),
                four_512: None,
                eight_512: sha512_avx512::Avx512::detect(),
                chain_512: pbkdf2_sha512::OneChain::detect(),
            },
        }
    }

    /// The kernel of 16 lanes of SHA-256.
    pub(crate) fn sixteen_256(self) -> Option<sha256_avx512::Avx512> {
        self.sixteen_256
    }

    /// Writes one full SHA-256 digest or HMAC per sector to `out`.
    pub(crate) fn tags_256(
        self,
        inner: &[u32; 8],
        outer: Option<&[u32; 8]>,
        layout: &Layout<64>,
        prefixes: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) {
        let sectors = data.len() / layout.sector_bytes;
        let mut start = 0;
        while start < sectors {
            let left = sectors - start;
            let taken = self.step_256(left, layout);
            let end = start + taken;
            let prefixes = &prefixes[start * layout.prefix_bytes..end * layout.prefix_bytes];
            let data = &data[start * layout.sector_bytes..end * layout.sector_bytes];
            let out = &mut out[start * 32..end * 32];
            match (taken, self.sixteen_256, self.eight_256, self.shani) {
                (16, Some(kernel), ..) if layout.of_columns() => {
                    kernel.tags_of_columns::<1>(inner, outer, layout, prefixes, data, out);
                }
                (32, Some(kernel), ..) => {
                    kernel.tags_of_columns::<2>(inner, outer, layout, prefixes, data, out);
                }
                (9.., Some(kernel), ..) => {
                    lanes::tags(kernel, inner, outer, layout, prefixes, data, out);
                }
                (3.., _, Some(Eight::Avx512Vl(kernel)), _) => {
                    lanes::tags(kernel, inner, outer, layout, prefixes, data, out);
                }
                (3.., _, Some(Eight::Avx2(kernel)), _) => {
                    lanes::tags(kernel, inner, outer, layout, prefixes, data, out);
                }
                (2, _, _, Some(kernel)) => {
                    let compress =
                        |states: &mut _, blocks: [&_; 2]| kernel.compress_pair(states, blocks);
                    pairs::tags_256(compress, inner, outer, layout, prefixes, data, out);
                }
                (.., Some(kernel)) => {
                    let compress = |state: &mut _, blocks: &_| kernel.compress(state, blocks);
                    portable::tags_256(compress, inner, outer, layout, prefixes, data, out);
                }
                (.., None) => {
                    let compress = portable::compress_256;
                    portable::tags_256(compress, inner, outer, layout, prefixes, data, out);
                }
            }
            start = end;
        }
    }

    /// How many of the `left` sectors the next kernel takes: 32 of whole columns two sets of
    /// sixteen lanes, 9 to 16 sixteen lanes, 3 to 8 eight lanes, 2 a pair, 1 a single message.
    ///
    /// Lanes cost the same full or idle. Thousands of cycles for 4096-byte sectors, on a Zen 5 and
    /// on an Intel core with AVX-512: single 8.8 and 8.9, pair 11.8 and 14, eight lanes 43 and
    /// 41.5, sixteen 49 and 58.5. The steps below are within 4 % of the best on both.
    fn step_256(self, left: usize, layout: &Layout<64>) -> usize {
        match (left, self.sixteen_256, self.eight_256, self.shani) {
            (32.., Some(_), ..) if layout.of_columns() => pass(left, layout.sector_bytes),
            (10.., Some(_), ..) => left.min(16),
            (7.., _, Some(_), Some(_)) => left.min(8),
            (3.., _, Some(_), None) => left.min(8),
            (2.., _, _, Some(_)) => 2,
            _ => 1,
        }
    }

    /// Advances PBKDF2-HMAC-SHA256 chains by `n` iterations.
    pub(crate) fn pbkdf2_256(self, pads: &Pads<u32>, chains: &mut [Chain<u32>], n: u32) {
        match self.shani {
            Some(kernel) => kernel.pbkdf2(pads, chains, n),
            None => pbkdf2::advance_256(pads, chains, n),
        }
    }

    /// Advances PBKDF2-HMAC-SHA512 chains by `n` iterations.
    pub(crate) fn pbkdf2_512(self, pads: &Pads<u64>, chains: &mut [Chain<u64>], n: u32) {
        match (chains.len(), self.eight_512, self.four_512, self.chain_512) {
            (2.., Some(kernel), ..) => pbkdf2_sha512::advance_lanes(kernel, pads, chains, n),
            (3.., _, Some(kernel), _) => pbkdf2_sha512::advance_lanes(kernel, pads, chains, n),
            (.., Some(kernel)) => kernel.advance(pads, chains, n),
            _ => pbkdf2::advance_512(pads, chains, n),
        }
    }

    /// Writes one full SHA-512 digest or HMAC per sector to `out`.
    pub(crate) fn tags_512(
        self,
        inner: &[u64; 8],
        outer: Option<&[u64; 8]>,
        layout: &Layout<128>,
        prefixes: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) {
        let sectors = data.len() / layout.sector_bytes;
        let mut start = 0;
        while start < sectors {
            let left = sectors - start;
            let taken = self.step_512(left);
            let end = start + taken;
            let prefixes = &prefixes[start * layout.prefix_bytes..end * layout.prefix_bytes];
            let data = &data[start * layout.sector_bytes..end * layout.sector_bytes];
            let out = &mut out[start * 64..end * 64];
            match (taken, self.eight_512, self.four_512) {
                (2.., Some(kernel), _) => {
                    lanes::tags(kernel, inner, outer, layout, prefixes, data, out);
                }
                (2.., _, Some(kernel)) => {
                    lanes::tags(kernel, inner, outer, layout, prefixes, data, out);
                }
                _ => {
                    let compress = portable::compress_512;
                    portable::tags_512(compress, inner, outer, layout, prefixes, data, out);
                }
            }
            start = end;
        }
    }

    /// How many of the `left` sectors the next kernel takes: 2 to 8 eight lanes, 3 or 4 four lanes,
    /// 1 a single message.
    ///
    /// Thousands of cycles for 4096-byte sectors on a Zen 5 core: single 21.6, four lanes 46,
    /// eight 29.7.
    fn step_512(self, left: usize) -> usize {
        match (left, self.eight_512, self.four_512) {
            (2.., Some(_), _) => left.min(8),
            (3.., _, Some(_)) => left.min(4),
            _ => 1,
        }
    }
}
