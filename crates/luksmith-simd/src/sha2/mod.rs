//! Tags of many equally long messages: SHA-256, SHA-512, and their HMACs, one message per sector.
//!
//! Every message of a call has the same length, a short prefix (sector number, IV) and then the
//! sector's data, so kernels that hash 16 messages at once need neither queues nor early exits.

mod backend;
// What the kernels of `arch` are made of; other targets have none yet.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
pub(crate) mod constants;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
pub(crate) mod lanes;
pub(crate) mod layout;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
pub(crate) mod pairs;
pub(crate) mod portable;
mod tagkey;

pub use backend::HashBackend;

pub(crate) use tagkey::{Differing, PASS, check_length, check_shape, pass};
pub use tagkey::{TagHash, TagKey};
pub(crate) use tagkey::{hmac_finish_256, hmac_finish_512, hmac_states_256, hmac_states_512};

/// Longest prefix that a message may have in front of its sector, in bytes.
pub const MAX_PREFIX_BYTES: usize = 64;

/// Initial state of SHA-256 (FIPS 180-4, section 5.3.3).
pub(crate) const SHA256_INIT: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Initial state of SHA-512 (FIPS 180-4, section 5.3.5).
pub(crate) const SHA512_INIT: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "painted test patterns stay below 256"
)]
mod tests;
