//! AEGIS-128, an AEAD cipher made of single AES rounds.

mod portable;

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::arch::VectorAegis;
use crate::{Backend, Error};

/// Bytes of a block, a key, a nonce and a tag.
pub(crate) const BLOCK: usize = 16;
/// The Fibonacci numbers modulo 256, first half and second.
pub(crate) const CONSTANTS: [[u8; BLOCK]; 2] = [
    [
        0x00, 0x01, 0x01, 0x02, 0x03, 0x05, 0x08, 0x0d, 0x15, 0x22, 0x37, 0x59, 0x90, 0xe9, 0x79,
        0x62,
    ],
    [
        0xdb, 0x3d, 0x18, 0x55, 0x6d, 0xc2, 0x2f, 0xf1, 0x20, 0x11, 0x31, 0x42, 0x73, 0xb5, 0x28,
        0xdd,
    ],
];

/// The block that goes in last: both lengths in bits.
pub(crate) fn lengths(ad: usize, message: usize) -> u128 {
    (ad as u128 * 8) | (message as u128 * 8) << 64
}

/// An AEGIS-128 key for one [`Backend`]: messages of whole blocks, tags of 128 bits.
///
/// [`Backend::AesNi`] and what is wider run on AES-NI; everything else on the rounds of the `aes`
/// crate, which uses AES instructions by itself, but not without going through memory.
///
/// # Format
/// H. Wu, B. Preneel, "AEGIS: a fast authenticated encryption algorithm", version 1.1, the variant
/// with five blocks of state. Pinned by bytes that the kernel wrote (luksmith-crypt's tests).
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Aegis128 {
    key: [u8; BLOCK],
    #[zeroize(skip)]
    vectors: Option<VectorAegis>,
}

impl Aegis128 {
    /// Takes a key for the best backend.
    #[must_use]
    pub fn new(key: [u8; 16]) -> Self {
        let vectors = VectorAegis::new(Backend::best());
        Self { key, vectors }
    }

    /// Takes a key for a backend chosen by hand; [`Aegis128::backend`] tells what serves it.
    ///
    /// # Errors
    /// [`Error::BackendUnavailable`] if this machine lacks the instructions.
    pub fn with_backend(key: [u8; 16], backend: Backend) -> Result<Self, Error> {
        if !backend.is_available() {
            return Err(Error::BackendUnavailable { backend });
        }
        let vectors = VectorAegis::new(backend);
        Ok(Self { key, vectors })
    }

    /// The backend that serves this key.
    #[must_use]
    pub fn backend(&self) -> Backend {
        match self.vectors {
            Some(_) => Backend::AesNi,
            None => Backend::Portable,
        }
    }

    /// Encrypts `data`, a multiple of 16 bytes, where it is, and gives the tag. `ad` may have any
    /// length. A nonce that is used twice with one key gives away both messages.
    ///
    /// # Errors
    /// [`Error::PartialSector`] if `data` is not made of whole blocks; nothing was written then.
    pub fn seal(&self, nonce: &[u8; 16], ad: &[u8], data: &mut [u8]) -> Result<[u8; 16], Error> {
        self.crypt::<false>(nonce, ad, data)
    }

    /// Verifies `tag` and decrypts `data` where it is; tells whether the tag was right. If it was
    /// not, all of `data` is zero.
    ///
    /// # Errors
    /// As [`Aegis128::seal`].
    pub fn open(
        &self,
        nonce: &[u8; 16],
        ad: &[u8],
        data: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<bool, Error> {
        let mut computed = self.crypt::<true>(nonce, ad, data)?;
        let right: bool = computed.ct_eq(tag).into();
        if !right {
            // The right tag of data that an attacker chose is what he must not learn.
            computed.zeroize();
            data.zeroize();
        }
        Ok(right)
    }

    fn crypt<const OPEN: bool>(
        &self,
        nonce: &[u8; BLOCK],
        ad: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; BLOCK], Error> {
        let bytes = data.len();
        let (blocks, []) = data.as_chunks_mut() else {
            return Err(Error::PartialSector {
                bytes,
                sector_bytes: BLOCK,
            });
        };
        Ok(match self.vectors {
            Some(vectors) => vectors.crypt::<OPEN>(&self.key, nonce, ad, blocks),
            None => portable::crypt::<OPEN>(&self.key, nonce, ad, blocks),
        })
    }
}

impl fmt::Debug for Aegis128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aegis128({})", self.backend())
    }
}

/// Associated data in blocks, the last one filled up with zeros.
pub(crate) fn padded(ad: &[u8]) -> impl Iterator<Item = [u8; BLOCK]> {
    let (blocks, rest) = ad.as_chunks();
    // Made before the loop, which has no copy of unknown length then.
    let last = (!rest.is_empty()).then(|| {
        let mut block = [0; BLOCK];
        for (to, from) in block.iter_mut().zip(rest) {
            *to = *from;
        }
        block
    });
    blocks.iter().copied().chain(last)
}
