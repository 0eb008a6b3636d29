//! A cipher together with the integrity of a LUKS2 segment.

use alloc::string::String;
use core::fmt;
use core::fmt::Write as _;

use luksmith_hash::HashName;

use super::{Algorithm, CipherSpec, IvKind, MAX_SPEC_BYTES};
use crate::Error;

/// The `integrity.type` of a LUKS2 segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Integrity {
    /// `none`: a stored random IV and no tag. The data are not authenticated.
    None,
    /// `aead`: the cipher makes the tag.
    Aead,
    /// `poly1305`: ChaCha20-Poly1305.
    Poly1305,
    /// `hmac(hash)`: encrypt, then HMAC.
    Hmac(HashName),
}

impl Integrity {
    /// Parses the text of a LUKS2 segment.
    ///
    /// # Errors
    /// [`Error::UnknownIntegrity`]; [`Error::Hash`] for a hash inside `hmac()`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "none" => return Ok(Self::None),
            "aead" => return Ok(Self::Aead),
            "poly1305" => return Ok(Self::Poly1305),
            _ => {}
        }
        match text
            .strip_prefix("hmac(")
            .and_then(|rest| rest.strip_suffix(')'))
        {
            Some(hash) => Ok(Self::Hmac(HashName::parse(hash)?)),
            None => Err(Error::UnknownIntegrity {
                name: text.chars().take(MAX_SPEC_BYTES).collect(),
            }),
        }
    }
}

impl fmt::Display for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Aead => f.write_str("aead"),
            Self::Poly1305 => f.write_str("poly1305"),
            Self::Hmac(hash) => write!(f, "hmac({hash})"),
        }
    }
}

/// Smallest HMAC key that an `integrity.key_size` may ask for, in bytes.
const MIN_MAC_KEY_BYTES: usize = 16;
/// Largest: longer keys are hashed down first and cannot be meant.
const MAX_MAC_KEY_BYTES: usize = 512;

/// A cipher and an integrity type that belong together.
///
/// ```
/// use luksmith_crypt::{AuthSpec, CipherSpec, Integrity};
///
/// let spec = AuthSpec::new(
///     CipherSpec::parse("aes-xts-plain64")?,
///     Integrity::parse("hmac(sha256)")?,
///     None,
/// )?;
/// assert_eq!(spec.tuple_bytes(), 32);
/// assert!(spec.check_key_len(96).is_ok());
/// assert_eq!(
///     spec.kernel_string(),
///     "capi:authenc(hmac(sha256),xts(aes))-plain64"
/// );
/// # Ok::<(), luksmith_crypt::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AuthSpec {
    cipher: CipherSpec,
    integrity: Integrity,
    mac_key_bytes: usize,
}

impl AuthSpec {
    /// Joins a cipher and an integrity type.
    ///
    /// `mac_key_bytes` is the segment's `integrity.key_size`; `None` means the hash's digest size.
    ///
    /// # Errors
    /// [`Error::Combination`] if they do not go together, [`Error::MacKeySize`].
    pub fn new(
        cipher: CipherSpec,
        integrity: Integrity,
        mac_key_bytes: Option<usize>,
    ) -> Result<Self, Error> {
        if let Some(why) = conflict(&cipher, &integrity) {
            let mut spec = cipher.text();
            // Writing to a string cannot fail.
            let _ = write!(spec, " with integrity {integrity}");
            return Err(Error::Combination { spec, why });
        }
        let mac_key_bytes = match (&integrity, mac_key_bytes) {
            (Integrity::Hmac(hash), None) => hash.digest_bytes(),
            (Integrity::Hmac(_), Some(bytes))
                if (MIN_MAC_KEY_BYTES..=MAX_MAC_KEY_BYTES).contains(&bytes) =>
            {
                bytes
            }
            (_, None) => 0,
            (_, Some(found)) => return Err(Error::MacKeySize { found }),
        };
        Ok(Self {
            cipher,
            integrity,
            mac_key_bytes,
        })
    }

    /// Gives the cipher.
    #[must_use]
    pub const fn cipher(&self) -> &CipherSpec {
        &self.cipher
    }

    /// Gives the integrity type.
    #[must_use]
    pub const fn integrity(&self) -> &Integrity {
        &self.integrity
    }

    /// Gives the bytes of the volume key that are the HMAC's, 0 without one.
    #[must_use]
    pub const fn mac_key_bytes(&self) -> usize {
        self.mac_key_bytes
    }

    /// Gives the bytes of the tag.
    #[must_use]
    pub const fn tag_bytes(&self) -> usize {
        match &self.integrity {
            Integrity::None => 0,
            Integrity::Aead | Integrity::Poly1305 => 16,
            Integrity::Hmac(hash) => hash.digest_bytes(),
        }
    }

    /// Gives the bytes of IV stored beside each sector: the IV's size for a random one, else 0.
    #[must_use]
    pub fn stored_iv_bytes(&self) -> usize {
        match self.cipher.iv() {
            Some(IvKind::Random) => self.cipher.algorithm().iv_bytes(),
            _ => 0,
        }
    }

    /// Gives the bytes that each sector needs beside its data: tag, then stored IV.
    #[must_use]
    pub fn tuple_bytes(&self) -> usize {
        self.tag_bytes() + self.stored_iv_bytes()
    }

    /// Tells whether overwriting a sector uses its nonce again, which gives away the
    /// authentication key: such a volume can be read, and must never be written.
    #[must_use]
    pub fn reuses_nonces(&self) -> bool {
        self.cipher.algorithm().is_aead() && self.stored_iv_bytes() == 0
    }

    /// Tells whether a changed sector is noticed.
    #[must_use]
    pub const fn authenticates(&self) -> bool {
        !matches!(self.integrity, Integrity::None)
    }

    /// Checks the length of a volume key: exactly a key of the cipher plus the HMAC's.
    ///
    /// # Errors
    /// [`Error::VolumeKeyLength`].
    pub fn check_key_len(&self, len: usize) -> Result<(), Error> {
        let cipher_len = len.checked_sub(self.mac_key_bytes);
        if cipher_len.is_some_and(|len| self.cipher.key_lengths().contains(&len)) {
            return Ok(());
        }
        Err(Error::VolumeKeyLength {
            spec: self.cipher.text(),
            found: len,
            accepted: self.cipher.key_lengths(),
            mac: self.mac_key_bytes,
        })
    }

    /// Gives the cipher string of a device-mapper table for this.
    ///
    /// # Format
    /// docs/formats/luks2.md, "Authenticated segments".
    #[must_use]
    pub fn kernel_string(&self) -> String {
        let mut text = String::from("capi:");
        // Writing to a string cannot fail.
        let _ = self.write_kernel_string(&mut text);
        text
    }

    fn write_kernel_string(&self, out: &mut String) -> fmt::Result {
        let algorithm = self.cipher.algorithm();
        match &self.integrity {
            Integrity::Hmac(hash) => {
                write!(out, "authenc(hmac({hash}),")?;
                algorithm.write_kernel_name(out)?;
                out.write_char(')')?;
            }
            _ => algorithm.write_kernel_name(out)?,
        }
        match self.cipher.iv() {
            Some(iv) => write!(out, "-{iv}"),
            None => Ok(()),
        }
    }
}

fn conflict(cipher: &CipherSpec, integrity: &Integrity) -> Option<&'static str> {
    let algorithm = cipher.algorithm();
    let random = cipher.iv() == Some(IvKind::Random);
    match integrity {
        Integrity::Aead => match algorithm {
            Algorithm::Gcm | Algorithm::Ccm | Algorithm::Aegis128 => aead_iv(cipher),
            Algorithm::ChaCha20 => Some("ChaCha20 takes the integrity type poly1305"),
            _ => Some("the integrity type aead needs gcm, ccm or aegis128"),
        },
        Integrity::Poly1305 => match algorithm {
            Algorithm::ChaCha20 => aead_iv(cipher),
            _ => Some("the integrity type poly1305 needs chacha20"),
        },
        Integrity::Hmac(_) => match algorithm {
            Algorithm::Xts(_) | Algorithm::Cbc(_) => match cipher.iv() {
                Some(IvKind::Eboiv) => Some("the IV eboiv is not defined with tags"),
                _ => None,
            },
            Algorithm::Ctr(_) => None,
            _ => Some("an hmac goes with xts, cbc or ctr"),
        },
        Integrity::None => match algorithm {
            Algorithm::Xts(_) | Algorithm::Cbc(_) | Algorithm::Ctr(_) if random => None,
            _ => Some("the integrity type none needs xts, cbc or ctr with a random IV"),
        },
    }
}

/// Which IVs an AEAD cipher takes.
fn aead_iv(cipher: &CipherSpec) -> Option<&'static str> {
    match cipher.iv() {
        Some(IvKind::Random | IvKind::Plain | IvKind::Plain64 | IvKind::Plain64Be) => None,
        _ => Some("this cipher takes a random IV, plain, plain64 or plain64be"),
    }
}
