//! The journal MAC: over the sector fields of each journal section, and over the superblock.

use core::fmt;

use zeroize::ZeroizeOnDrop;

use crate::{
    DigestName, Error,
    digest::{Digester, wiped},
};

/// Bytes of the section MAC, whatever the digest: cut or padded with zeros.
pub(crate) const SECTION_MAC_BYTES: usize = 64;

/// The journal MAC's algorithm and key.
pub struct JournalMac(Digester);

const _: () = wiped::<Digester>();
impl ZeroizeOnDrop for JournalMac {}

impl JournalMac {
    /// Takes an algorithm and, for an HMAC, its key of 1 to 4096 bytes.
    ///
    /// # Errors
    /// [`Error::DigestKeyMissing`], [`Error::DigestKeyUnexpected`], [`Error::DigestKeyLength`].
    pub fn new(name: DigestName, key: Option<&[u8]>) -> Result<Self, Error> {
        Digester::new(name, key).map(Self)
    }

    /// Gives the algorithm.
    #[must_use]
    pub fn name(&self) -> DigestName {
        self.0.name()
    }

    pub(crate) fn digest_bytes(&self) -> usize {
        self.name().digest_bytes()
    }

    /// Makes the superblock's MAC; `out` has the digest's length.
    pub(crate) fn superblock(&self, protected: &[u8], out: &mut [u8]) {
        let digest = self.0.digest(&[protected]);
        for (to, from) in out.iter_mut().zip(digest) {
            *to = from;
        }
    }

    /// Makes the MAC of a section from its entries' sector fields, back to back.
    pub(crate) fn section(
        &self,
        salt: Option<&[u8; 16]>,
        section: u32,
        sector_fields: &[u8],
    ) -> [u8; SECTION_MAC_BYTES] {
        let number = u64::from(section).to_le_bytes();
        match salt {
            Some(salt) => self.0.digest(&[salt, &number, sector_fields]),
            None => self.0.digest(&[sector_fields]),
        }
    }
}

impl fmt::Debug for JournalMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JournalMac({})", self.name())
    }
}
