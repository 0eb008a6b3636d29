//! What a new keyslot is made of.

use alloc::string::String;

use luksmith_hash::HashName;
use luksmith_header::Priority;

use crate::{Error, Kdf, cost};

/// What a new keyslot is made of, apart from its secrets.
///
/// ```
/// use luksmith_hash::HashName;
/// use luksmith_keyslot::{Kdf, change::KeyslotPlan};
///
/// let kdf = Kdf::Pbkdf2 { hash: HashName::Sha256, iterations: 2_000_000 };
/// let plan = KeyslotPlan::new(kdf).keyslot(3);
/// # let _ = plan;
/// ```
#[derive(Clone, Debug)]
pub struct KeyslotPlan {
    pub(super) kdf: Kdf,
    pub(super) keyslot: Option<u32>,
    pub(super) cipher: Option<(String, u32)>,
    pub(super) af_hash: HashName,
    pub(super) priority: Priority,
}

impl KeyslotPlan {
    /// Plans a keyslot with this key derivation; everything else as cryptsetup chooses it: the
    /// lowest free number, the volume's cipher where it serves, the key derivation's hash for the
    /// stripes.
    #[must_use]
    pub fn new(kdf: Kdf) -> Self {
        Self {
            kdf,
            keyslot: None,
            cipher: None,
            af_hash: match kdf {
                Kdf::Pbkdf2 { hash, .. } => hash,
                Kdf::Argon2 { .. } => HashName::Sha256,
            },
            priority: Priority::Normal,
        }
    }

    /// Asks for this number.
    #[must_use]
    pub fn keyslot(mut self, keyslot: u32) -> Self {
        self.keyslot = Some(keyslot);
        self
    }

    /// Encrypts the area with this cipher (as `aes-xts-plain64`) and a key of so many bytes. LUKS2
    /// only.
    #[must_use]
    pub fn cipher(mut self, encryption: &str, key_bytes: u32) -> Self {
        self.cipher = Some((String::from(encryption), key_bytes));
        self
    }

    /// Splits the key with this hash. LUKS2 only.
    #[must_use]
    pub fn af_hash(mut self, hash: HashName) -> Self {
        self.af_hash = hash;
        self
    }

    /// Says when the keyslot is tried. A changed keyslot keeps its priority. LUKS2 only.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        cost::check_forced(self.kdf)?;
        Ok(())
    }
}
