//! Round keys of AES as the vector kernels want them.

use alloc::boxed::Box;

use core::hint::black_box;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Round keys of AES-128: one per round and one before the first.
pub(crate) const AES128: usize = 11;
/// Round keys of AES-256.
pub(crate) const AES256: usize = 15;

/// One key's round keys in the order of use, `N` of them.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(64))]
pub(crate) struct RoundKeys<const N: usize>(pub(crate) [[u8; 16]; N]);

impl<const N: usize> RoundKeys<N> {
    /// All zero: memory to expand into, so that no copy of the keys stays behind on the stack.
    pub(crate) const fn zeroed() -> Self {
        Self([[0; 16]; N])
    }
}

/// The round keys of one XTS key.
#[derive(ZeroizeOnDrop)]
pub(crate) struct XtsSchedule<const N: usize> {
    pub(crate) encrypt: RoundKeys<N>,
    pub(crate) decrypt: RoundKeys<N>,
    pub(crate) tweak: RoundKeys<N>,
}

impl<const N: usize> XtsSchedule<N> {
    /// Memory to expand into.
    pub(crate) fn zeroed() -> Box<Self> {
        let [encrypt, decrypt, tweak] = [const { RoundKeys::zeroed() }; 3];
        Box::new(Self {
            encrypt,
            decrypt,
            tweak,
        })
    }
}

/// The expanded round keys of one XTS key of either size.
pub(crate) enum XtsSchedules {
    Aes128(Box<XtsSchedule<AES128>>),
    Aes256(Box<XtsSchedule<AES256>>),
}

/// Overwrites what a kernel kept in memory and was derived from a key.
#[inline]
pub(crate) fn wipe<T: Copy>(kept: &mut T, zero: T) {
    *kept = zero;
    // The compiler must assume that someone reads the zeros here, so the stores stay.
    black_box(kept);
}
