//! AES-CCM as RFC 4309 uses it.
//!
//! # Format
//! NIST SP 800-38C with nonces of 11 bytes (salt, then IV), a length field of four bytes and tags
//! of 16. Of a sector's associated data only its number is authenticated: the IV is the nonce.

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::TAG_BYTES;
use super::sealer::Sealer;
use crate::block::{Block, Cipher16};

/// Bytes of the length field; 15 less the nonce's 11.
const LENGTH_BYTES: u8 = 4;

/// Associated data are there, tags have 16 bytes, and the length field's size.
const MAC_FLAGS: u8 = 1 << 6 | 7 << 3 | (LENGTH_BYTES - 1);

pub(super) struct Ccm<C> {
    cipher: C,
    salt: [u8; 3],
}

impl<C> Drop for Ccm<C> {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
}

impl<C: Cipher16> Ccm<C> {
    pub(super) fn new(cipher: C, salt: [u8; 3]) -> Self {
        Self { cipher, salt }
    }

    /// A block of flags, nonce and `last`, which is a counter or a length.
    fn block(&self, flags: u8, nonce: &[u8], last: u32) -> Block {
        let mut block = [0; 16];
        let bytes = core::iter::once(&flags)
            .chain(&self.salt)
            .chain(nonce.iter().take(8));
        for (to, from) in block.iter_mut().zip(bytes) {
            *to = *from;
        }
        if let Some(end) = block.last_chunk_mut() {
            *end = last.to_be_bytes();
        }
        block.into()
    }

    /// CBC-MAC over the first block, the associated data and `plain`, whole blocks.
    fn mac(&self, nonce: &[u8], ad: &[u8], plain: &[u8]) -> Block {
        let len = u32::try_from(plain.len()).expect("a sector is below 2^32 bytes");
        let mut mac = self.block(MAC_FLAGS, nonce, len);
        self.cipher.encrypt_block(&mut mac);
        // The associated data: their length in two bytes, then they, then zeros.
        let sector = ad.iter().take(8);
        for (byte, from) in mac.iter_mut().zip([0, 8].iter().chain(sector)) {
            *byte ^= from;
        }
        self.cipher.encrypt_block(&mut mac);
        for block in plain.as_chunks::<16>().0 {
            for (byte, from) in mac.iter_mut().zip(block) {
                *byte ^= from;
            }
            self.cipher.encrypt_block(&mut mac);
        }
        mac
    }

    /// Adds the key stream from counter 1 on; counter 0 hides the tag.
    fn stream(&self, nonce: &[u8], data: &mut [u8]) {
        for (counter, block) in (1..).zip(data.as_chunks_mut::<16>().0) {
            let mut stream = self.block(LENGTH_BYTES - 1, nonce, counter);
            self.cipher.encrypt_block(&mut stream);
            for (byte, key) in block.iter_mut().zip(&stream) {
                *byte ^= key;
            }
        }
    }

    fn tag(&self, nonce: &[u8], ad: &[u8], plain: &[u8]) -> [u8; TAG_BYTES] {
        let mut tag = self.mac(nonce, ad, plain);
        let mut hide = self.block(LENGTH_BYTES - 1, nonce, 0);
        self.cipher.encrypt_block(&mut hide);
        for (byte, key) in tag.iter_mut().zip(&hide) {
            *byte ^= key;
        }
        tag.into()
    }
}

impl<C: Cipher16> Sealer for Ccm<C> {
    fn seal(&self, nonce: &[u8], ad: &[u8], data: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag = self.tag(nonce, ad, data);
        self.stream(nonce, data);
        tag
    }

    fn open(&self, nonce: &[u8], ad: &[u8], data: &mut [u8], tag: &[u8; TAG_BYTES]) -> bool {
        self.stream(nonce, data);
        let right: bool = self.tag(nonce, ad, data).ct_eq(tag).into();
        if !right {
            data.zeroize();
        }
        right
    }
}
