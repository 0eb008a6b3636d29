//! AES-GCM over the `aes-gcm` crate: the path for every CPU and every size, and what the others
//! are compared with.

use aes::Aes192;
use aes::cipher::consts::U12;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};
use alloc::boxed::Box;
use zeroize::ZeroizeOnDrop;

use super::{NONCE_BYTES, TAG_BYTES};
use crate::buffers::Buffers;

type Aes192Gcm = AesGcm<Aes192, U12>;

/// The expanded keys, which wipe themselves.
pub(crate) enum PortableGcm {
    Aes128(Box<Aes128Gcm>),
    Aes192(Box<Aes192Gcm>),
    Aes256(Box<Aes256Gcm>),
}

/// Does not compile where a cipher would leave its round keys behind.
const _: () = {
    const fn wiped<C: ZeroizeOnDrop>() {}
    wiped::<Aes128Gcm>();
    wiped::<Aes192Gcm>();
    wiped::<Aes256Gcm>();
};

impl PortableGcm {
    /// Expands a key of 16, 24 or 32 bytes; `None` for other lengths.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        Some(match key.len() {
            16 => Self::Aes128(Box::new(Aes128Gcm::new_from_slice(key).ok()?)),
            24 => Self::Aes192(Box::new(Aes192Gcm::new_from_slice(key).ok()?)),
            _ => Self::Aes256(Box::new(Aes256Gcm::new_from_slice(key).ok()?)),
        })
    }

    pub(crate) fn key_bits(&self) -> u16 {
        match self {
            Self::Aes128(_) => 128,
            Self::Aes192(_) => 192,
            Self::Aes256(_) => 256,
        }
    }

    /// Encrypts one sector and gives its tag.
    pub(crate) fn seal(
        &self,
        nonce: &[u8; NONCE_BYTES],
        ad: &[u8],
        sector: Buffers<'_>,
    ) -> [u8; TAG_BYTES] {
        let sector = sector.into_inout();
        let tag = match self {
            Self::Aes128(gcm) => gcm.encrypt_inout_detached(nonce.into(), ad, sector),
            Self::Aes192(gcm) => gcm.encrypt_inout_detached(nonce.into(), ad, sector),
            Self::Aes256(gcm) => gcm.encrypt_inout_detached(nonce.into(), ad, sector),
        };
        tag.expect("a sector is far below the 64 GiB that GCM takes")
            .into()
    }

    /// Tells whether the tag of one sector is right, and decrypts it if so.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        ad: &[u8],
        sector: Buffers<'_>,
        tag: &[u8; TAG_BYTES],
    ) -> bool {
        let sector = sector.into_inout();
        let opened = match self {
            Self::Aes128(gcm) => gcm.decrypt_inout_detached(nonce.into(), ad, sector, tag.into()),
            Self::Aes192(gcm) => gcm.decrypt_inout_detached(nonce.into(), ad, sector, tag.into()),
            Self::Aes256(gcm) => gcm.decrypt_inout_detached(nonce.into(), ad, sector, tag.into()),
        };
        opened.is_ok()
    }
}
