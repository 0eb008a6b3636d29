//! PBKDF2 (RFC 8018) with HMAC over any hash of this crate.

use core::num::NonZeroU32;

use sha2::{
    Digest,
    digest::{FixedOutput, Output, Update, common::BlockSizeUser},
};
use zeroize::Zeroize as _;

use crate::{Error, HashName, hash::with_types, hmac::Keyed};

/// Fills `out` with PBKDF2-HMAC of `password` and `salt`.
///
/// Runs `iterations` MACs for every started digest length of `out`; bound the iterations before
/// they come from a header.
///
/// # Errors
/// [`Error::Pbkdf2Length`].
pub fn pbkdf2(
    name: HashName,
    password: &[u8],
    salt: &[u8],
    iterations: NonZeroU32,
    out: &mut [u8],
) -> Result<(), Error> {
    let blocks = out.len().div_ceil(name.digest_bytes());
    if u32::try_from(blocks).is_err() {
        return Err(Error::Pbkdf2Length {
            name: name.as_str(),
            requested: out.len(),
        });
    }
    macro_rules! dispatch {
        ($($(#[$cfg:meta])? $variant:ident: $type:ty, $wiped:ty;)+) => {
            match name {
                $($(#[$cfg])? HashName::$variant => {
                    fill::<$type>(password, salt, iterations, out);
                })+
            }
        };
    }
    with_types!(dispatch);
    Ok(())
}

/// `out` spans at most 2^32 - 1 digests.
fn fill<D>(password: &[u8], salt: &[u8], iterations: NonZeroU32, out: &mut [u8])
where
    D: Digest + FixedOutput + Update + BlockSizeUser + Clone,
{
    let keyed = Keyed::<D>::new(password);
    let mut mac = Output::<D>::default();
    let mut sum = Output::<D>::default();
    for (number, piece) in (1_u32..).zip(out.chunks_mut(<D as Digest>::output_size())) {
        keyed.mac_into(&[salt, &number.to_be_bytes()], &mut mac);
        sum.copy_from_slice(&mac);
        for _ in 1..iterations.get() {
            let message = mac.clone();
            keyed.mac_into(&[&message], &mut mac);
            sum.iter_mut().zip(&mac).for_each(|(s, &m)| *s ^= m);
        }
        piece.iter_mut().zip(&sum).for_each(|(p, &s)| *p = s);
    }
    mac.as_mut_slice().zeroize();
    sum.as_mut_slice().zeroize();
}
