//! HMAC (RFC 2104) over any hash of this crate.
//!
//! Written here and not taken from a crate because the padded key must not stay behind: both
//! padded blocks are wiped once the two keyed states have taken them in.

use core::fmt;

use sha2::{
    Digest,
    digest::{FixedOutput, Output, Update, common::BlockSizeUser},
};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use crate::{
    Error, HashName, MAX_DIGEST_BYTES,
    hash::{exactly, with_types, write_digest},
};

/// Bytes of the longest block of a hash here (SHA3-224).
const MAX_BLOCK_BYTES: usize = 144;

/// The two states that a key leaves behind: inner and outer hash after their padded key block.
#[derive(Clone)]
pub(crate) struct Keyed<D> {
    inner: D,
    outer: D,
}

impl<D: Digest + FixedOutput + Update + BlockSizeUser + Clone> Keyed<D> {
    pub(crate) fn new(key: &[u8]) -> Self {
        let mut store = Zeroizing::new([0_u8; MAX_BLOCK_BYTES]);
        let block = store
            .get_mut(..D::block_size())
            .expect("no block is longer than MAX_BLOCK_BYTES, a test holds the sizes");
        if key.len() > block.len() {
            let mut hashed = <D as Digest>::digest(key);
            block.iter_mut().zip(&hashed).for_each(|(b, &h)| *b = h);
            hashed.as_mut_slice().zeroize();
        } else {
            block.iter_mut().zip(key).for_each(|(b, &k)| *b = k);
        }
        block.iter_mut().for_each(|b| *b ^= 0x36);
        let inner = D::new_with_prefix(&*block);
        block.iter_mut().for_each(|b| *b ^= 0x36 ^ 0x5c);
        let outer = D::new_with_prefix(&*block);
        Self { inner, outer }
    }

    /// Gives the MAC of `parts`, one after the other.
    pub(crate) fn mac_into(&self, parts: &[&[u8]], out: &mut Output<D>) {
        let mut run = self.clone();
        for part in parts {
            Update::update(&mut run.inner, part);
        }
        FixedOutput::finalize_into(run.inner, out);
        Update::update(&mut run.outer, out);
        FixedOutput::finalize_into(run.outer, out);
    }

    fn update(&mut self, data: &[u8]) {
        Update::update(&mut self.inner, data);
    }

    fn finish(mut self, out: &mut [u8]) {
        let mut inner = Output::<D>::default();
        FixedOutput::finalize_into(self.inner, &mut inner);
        Update::update(&mut self.outer, &inner);
        inner.as_mut_slice().zeroize();
        write_digest(self.outer, out);
    }
}

/// A key made ready for HMAC: any number of MACs can be made with it. Wiped on drop.
///
/// ```
/// use luksmith_hash::{HashName, HmacKey};
///
/// let key = HmacKey::new(HashName::Sha256, b"key");
/// let mut tag = [0; 32];
/// key.mac(&[b"sector", b"data"], &mut tag)?;
/// key.verify(&[b"sectordata"], &tag)?;
/// # Ok::<(), luksmith_hash::Error>(())
/// ```
pub struct HmacKey(State);

/// A MAC in the making. Wiped on drop.
pub struct Hmac(State);

macro_rules! hmac_state {
    ($($(#[$cfg:meta])? $variant:ident: $type:ty, $wiped:ty;)+) => {
        #[derive(Clone)]
        enum State {
            $($(#[$cfg])? $variant(Keyed<$type>),)+
        }

        impl State {
            const fn name(&self) -> HashName {
                match self {
                    $($(#[$cfg])? Self::$variant(_) => HashName::$variant,)+
                }
            }
        }

        impl HmacKey {
            /// Makes `key`, of any length, ready. A key longer than the hash's block is hashed
            /// first, a shorter one padded with zeros: a key and the same key with zeros behind
            /// it, up to a block, make the same MACs.
            #[must_use]
            pub fn new(name: HashName, key: &[u8]) -> Self {
                Self(match name {
                    $($(#[$cfg])? HashName::$variant => State::$variant(Keyed::new(key)),)+
                })
            }

            /// Writes the MAC of `parts`, one after the other, to `out`, which has exactly
            /// [`HashName::digest_bytes`] bytes.
            ///
            /// # Errors
            /// [`Error::DigestLength`].
            pub fn mac(&self, parts: &[&[u8]], out: &mut [u8]) -> Result<(), Error> {
                let out = exactly(self.name(), out)?;
                match &self.0 {
                    $($(#[$cfg])? State::$variant(keyed) => {
                        let out: &mut Output<$type> = out
                            .try_into()
                            .expect("`exactly` saw the digest's length");
                        keyed.mac_into(parts, out);
                    })+
                }
                Ok(())
            }
        }

        impl Hmac {
            /// Takes in more of the message.
            pub fn update(&mut self, data: &[u8]) {
                match &mut self.0 {
                    $($(#[$cfg])? State::$variant(keyed) => keyed.update(data),)+
                }
            }

            /// Writes the MAC to `out`, which has exactly [`HashName::digest_bytes`] bytes.
            ///
            /// # Errors
            /// [`Error::DigestLength`].
            pub fn finish(self, out: &mut [u8]) -> Result<(), Error> {
                let out = exactly(self.0.name(), out)?;
                match self.0 {
                    $($(#[$cfg])? State::$variant(keyed) => keyed.finish(out),)+
                }
                Ok(())
            }
        }
    };
}

with_types!(hmac_state);

impl HmacKey {
    /// Tells which hash this key is for.
    #[must_use]
    pub const fn name(&self) -> HashName {
        self.0.name()
    }

    /// Starts a MAC whose message comes in pieces.
    #[must_use]
    pub fn begin(&self) -> Hmac {
        Hmac(self.0.clone())
    }

    /// Checks in constant time that `expected` is the MAC of `parts`, whole.
    ///
    /// # Errors
    /// [`Error::MacMismatch`], [`Error::DigestLength`].
    pub fn verify(&self, parts: &[&[u8]], expected: &[u8]) -> Result<(), Error> {
        let name = self.name();
        let mut store = Zeroizing::new([0; MAX_DIGEST_BYTES]);
        let mac = store
            .get_mut(..name.digest_bytes())
            .expect("no digest is longer than MAX_DIGEST_BYTES, a test holds the sizes");
        if expected.len() != mac.len() {
            return Err(Error::DigestLength {
                name: name.as_str(),
                found: expected.len(),
                expected: mac.len(),
            });
        }
        self.mac(parts, mac)?;
        if bool::from(mac.ct_eq(expected)) {
            Ok(())
        } else {
            Err(Error::MacMismatch)
        }
    }
}

// `hash.rs` asserts that each state wipes itself, and these hold nothing else.
impl ZeroizeOnDrop for HmacKey {}
impl ZeroizeOnDrop for Hmac {}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HmacKey({})", self.name())
    }
}

impl fmt::Debug for Hmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hmac({})", self.0.name())
    }
}
