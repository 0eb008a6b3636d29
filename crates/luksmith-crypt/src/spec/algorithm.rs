//! The ciphers and modes that exist, their names and their key lengths.

use core::fmt;

/// A block cipher with 16-byte blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlockCipher {
    /// FIPS 197.
    Aes,
    /// Serpent, AES candidate.
    Serpent,
    /// Twofish, AES candidate.
    Twofish,
    /// RFC 3713.
    Camellia,
    /// RFC 5794.
    Aria,
    /// GB/T 32907.
    Sm4,
    /// RFC 7801.
    Kuznyechik,
}

impl BlockCipher {
    /// Every block cipher.
    pub const ALL: [Self; 7] = [
        Self::Aes,
        Self::Serpent,
        Self::Twofish,
        Self::Camellia,
        Self::Aria,
        Self::Sm4,
        Self::Kuznyechik,
    ];

    /// Gives the name that headers use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes => "aes",
            Self::Serpent => "serpent",
            Self::Twofish => "twofish",
            Self::Camellia => "camellia",
            Self::Aria => "aria",
            Self::Sm4 => "sm4",
            Self::Kuznyechik => "kuznyechik",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name() == name)
    }

    /// Gives the key lengths in bytes, ascending.
    #[must_use]
    pub const fn key_lengths(self) -> &'static [usize] {
        match self {
            Self::Sm4 => &[16],
            Self::Kuznyechik => &[32],
            _ => &[16, 24, 32],
        }
    }
}

/// How many rounds Adiantum's stream cipher has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChaChaRounds {
    /// XChaCha12.
    Twelve,
    /// XChaCha20.
    Twenty,
}

/// A cipher together with its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// XTS, IEEE 1619.
    Xts(BlockCipher),
    /// Cipher block chaining, SP 800-38A.
    Cbc(BlockCipher),
    /// Electronic code book, SP 800-38A: equal blocks give equal ciphertext.
    Ecb(BlockCipher),
    /// Counter mode, SP 800-38A, 128-bit counter; with random IVs and tags only.
    Ctr(BlockCipher),
    /// Adiantum over XChaCha and AES-256.
    Adiantum(ChaChaRounds),
    /// AES-GCM, SP 800-38D.
    Gcm,
    /// AES-CCM as RFC 4309 keys it: the last three key bytes are a salt.
    Ccm,
    /// ChaCha20, which LUKS2 uses with Poly1305 only (RFC 8439).
    ChaCha20,
    /// AEGIS-128.
    Aegis128,
    /// No encryption.
    Null,
}

impl Algorithm {
    /// Gives the key lengths in bytes, ascending; `[0]` for the null cipher.
    #[must_use]
    pub const fn key_lengths(self) -> &'static [usize] {
        match self {
            Self::Xts(BlockCipher::Sm4) => &[32],
            Self::Xts(BlockCipher::Kuznyechik) => &[64],
            Self::Xts(_) => &[32, 48, 64],
            Self::Cbc(cipher) | Self::Ecb(cipher) | Self::Ctr(cipher) => cipher.key_lengths(),
            Self::Adiantum(_) | Self::ChaCha20 => &[32],
            Self::Gcm => &[16, 24, 32],
            Self::Ccm => &[19, 27, 35],
            Self::Aegis128 => &[16],
            Self::Null => &[0],
        }
    }

    /// Gives the bytes of IV that a sector needs, 0 where there is none.
    #[must_use]
    pub const fn iv_bytes(self) -> usize {
        match self {
            Self::Xts(_) | Self::Cbc(_) | Self::Ctr(_) | Self::Aegis128 => 16,
            Self::Adiantum(_) => 32,
            Self::Gcm | Self::ChaCha20 => 12,
            Self::Ccm => 8,
            Self::Ecb(_) | Self::Null => 0,
        }
    }

    /// Tells whether encryption and authentication are one operation.
    #[must_use]
    pub const fn is_aead(self) -> bool {
        matches!(
            self,
            Self::Gcm | Self::Ccm | Self::ChaCha20 | Self::Aegis128
        )
    }

    /// Gives the block cipher that the mode runs, where it is a mode of one.
    #[must_use]
    pub const fn block_cipher(self) -> Option<BlockCipher> {
        match self {
            Self::Xts(cipher) | Self::Cbc(cipher) | Self::Ecb(cipher) | Self::Ctr(cipher) => {
                Some(cipher)
            }
            _ => None,
        }
    }

    /// Writes the name that the kernel's crypto interface uses, such as `xts(aes)`.
    pub(super) fn write_kernel_name(self, f: &mut dyn fmt::Write) -> fmt::Result {
        match self {
            Self::Xts(c) => write!(f, "xts({})", c.name()),
            Self::Cbc(c) => write!(f, "cbc({})", c.name()),
            Self::Ecb(c) => write!(f, "ecb({})", c.name()),
            Self::Ctr(c) => write!(f, "ctr({})", c.name()),
            Self::Adiantum(ChaChaRounds::Twelve) => f.write_str("adiantum(xchacha12,aes)"),
            Self::Adiantum(ChaChaRounds::Twenty) => f.write_str("adiantum(xchacha20,aes)"),
            Self::Gcm => f.write_str("gcm(aes)"),
            Self::Ccm => f.write_str("rfc4309(ccm(aes))"),
            Self::ChaCha20 => f.write_str("rfc7539(chacha20,poly1305)"),
            Self::Aegis128 => f.write_str("aegis128"),
            Self::Null => f.write_str("ecb(cipher_null)"),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xts(c) => write!(f, "{}-xts", c.name()),
            Self::Cbc(c) => write!(f, "{}-cbc", c.name()),
            Self::Ecb(c) => write!(f, "{}-ecb", c.name()),
            Self::Ctr(c) => write!(f, "{}-ctr", c.name()),
            Self::Adiantum(ChaChaRounds::Twelve) => f.write_str("xchacha12,aes-adiantum"),
            Self::Adiantum(ChaChaRounds::Twenty) => f.write_str("xchacha20,aes-adiantum"),
            Self::Gcm => f.write_str("aes-gcm"),
            Self::Ccm => f.write_str("aes-ccm"),
            Self::ChaCha20 => f.write_str("chacha20"),
            Self::Aegis128 => f.write_str("aegis128"),
            Self::Null => f.write_str("cipher_null-ecb"),
        }
    }
}
