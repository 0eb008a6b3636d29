//! Where random bytes come from.

use alloc::boxed::Box;
use alloc::sync::Arc;

/// A generator gave no bytes; nothing may be written with what it left in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the random generator gave no bytes")]
pub struct RandomError;

/// A source of unpredictable bytes that many threads may use at once.
///
/// Keys, salts and nonces come from here. Tests that need the same bytes every time give their
/// own source; everyone else gives [`SystemRandom`].
pub trait RandomSource: Send + Sync {
    /// Fills all of `bytes`.
    ///
    /// # Errors
    /// [`RandomError`] if the generator failed; `bytes` must not be used then.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError>;
}

/// The operating system's generator.
///
/// ```
/// use luksmith_crypt::{RandomSource, SystemRandom};
///
/// let (mut a, mut b) = ([0; 32], [0; 32]);
/// SystemRandom.fill(&mut a)?;
/// SystemRandom.fill(&mut b)?;
/// assert_ne!(a, b);
/// # Ok::<(), luksmith_crypt::RandomError>(())
/// ```
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

#[cfg(feature = "std")]
impl RandomSource for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(bytes).map_err(|_| RandomError)
    }
}

macro_rules! forward {
    ($($pointer:ty),+) => {$(
        impl<R: RandomSource + ?Sized> RandomSource for $pointer {
            fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
                (**self).fill(bytes)
            }
        }
    )+};
}

forward!(&R, Box<R>, Arc<R>);
