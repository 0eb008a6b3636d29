//! Text to [`CipherSpec`].
//!
//! Two spellings exist: `cipher-mode-iv`, and `capi:` followed by the name that the kernel's crypto
//! interface uses, `-` and the IV.

use alloc::string::String;

use luksmith_hash::HashName;

use super::{Algorithm, BlockCipher, ChaChaRounds, CipherSpec, IvKind, MAX_SPEC_BYTES};
use crate::Error;

pub(super) fn segment(text: &str) -> Result<CipherSpec, Error> {
    parse(text, Case::Matters)
}

pub(super) fn area(text: &str) -> Result<CipherSpec, Error> {
    parse(text, Case::Folds)
}

/// Whether IV names in capital letters are the same IVs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Matters,
    Folds,
}

fn parse(text: &str, case: Case) -> Result<CipherSpec, Error> {
    if text.is_empty() || text.len() > MAX_SPEC_BYTES || !text.bytes().all(|b| b.is_ascii_graphic())
    {
        return Err(malformed(text));
    }
    let (algorithm, iv) = match text.strip_prefix("capi:") {
        Some(inner) => capi(text, inner, case)?,
        None => dashed(text, case)?,
    };
    CipherSpec::new(algorithm, iv).map_err(|error| match error {
        // The reader looks for what the header says, not for its canonical form.
        Error::Combination { why, .. } => Error::Combination {
            spec: text.into(),
            why,
        },
        other => other,
    })
}

fn malformed(text: &str) -> Error {
    Error::Malformed {
        spec: shortened(text),
    }
}

/// Keeps what a message shows of a text that a header chose.
fn shortened(text: &str) -> String {
    text.chars().take(MAX_SPEC_BYTES).collect()
}

fn dashed(text: &str, case: Case) -> Result<(Algorithm, Option<IvKind>), Error> {
    let mut parts = text.splitn(3, '-');
    let name = parts.next().unwrap_or_default();
    let (second, third) = (parts.next(), parts.next());
    if name.is_empty() || second == Some("") || third == Some("") {
        return Err(malformed(text));
    }
    if name == "null" || name.starts_with("cipher_null") {
        return null(second, third, case);
    }
    if let Some((_, keys)) = name.split_once(':') {
        return Err(Error::MultiKey {
            spec: text.into(),
            keys: keys.into(),
        });
    }
    // The AEAD ciphers have no mode: their second part is the IV.
    if let Some(algorithm) = modeless(name) {
        let Some(iv_text) = second else {
            return Err(malformed(text));
        };
        if third.is_some() {
            return Err(malformed(text));
        }
        return Ok((algorithm, Some(iv(iv_text, case)?)));
    }
    match (second, third) {
        // The oldest spelling: a cipher alone, or with "plain", means cbc with the IV plain.
        (None, _) | (Some("plain"), None) => {
            Ok((Algorithm::Cbc(block_cipher(name)?), Some(IvKind::Plain)))
        }
        (Some(mode_text), None) => Ok((mode(name, mode_text)?, None)),
        // The kernel takes an IV name after ecb and does not look at it.
        (Some("ecb"), Some(iv_text)) => {
            iv(iv_text, case)?;
            Ok((mode(name, "ecb")?, None))
        }
        (Some(mode_text), Some(iv_text)) => Ok((mode(name, mode_text)?, Some(iv(iv_text, case)?))),
    }
}

fn null(
    mode: Option<&str>,
    iv_text: Option<&str>,
    case: Case,
) -> Result<(Algorithm, Option<IvKind>), Error> {
    match mode {
        None | Some("ecb" | "cbc" | "plain") => {}
        Some(other) => {
            return Err(Error::UnknownMode {
                name: shortened(other),
            });
        }
    }
    if let Some(text) = iv_text {
        iv(text, case)?;
    }
    Ok((Algorithm::Null, None))
}

fn modeless(name: &str) -> Option<Algorithm> {
    match name {
        "aegis128" => Some(Algorithm::Aegis128),
        "chacha20" => Some(Algorithm::ChaCha20),
        _ => None,
    }
}

fn block_cipher(name: &str) -> Result<BlockCipher, Error> {
    BlockCipher::from_name(name).ok_or_else(|| Error::UnknownCipher {
        name: shortened(name),
    })
}

fn mode(cipher: &str, mode: &str) -> Result<Algorithm, Error> {
    if mode == "adiantum" {
        return match cipher {
            "xchacha12,aes" => Ok(Algorithm::Adiantum(ChaChaRounds::Twelve)),
            "xchacha20,aes" => Ok(Algorithm::Adiantum(ChaChaRounds::Twenty)),
            _ => Err(Error::UnknownCipher {
                name: shortened(cipher),
            }),
        };
    }
    let block = block_cipher(cipher)?;
    match (mode, block) {
        ("xts", _) => Ok(Algorithm::Xts(block)),
        ("cbc", _) => Ok(Algorithm::Cbc(block)),
        ("ecb", _) => Ok(Algorithm::Ecb(block)),
        ("ctr", _) => Ok(Algorithm::Ctr(block)),
        ("gcm", BlockCipher::Aes) => Ok(Algorithm::Gcm),
        ("ccm", BlockCipher::Aes) => Ok(Algorithm::Ccm),
        _ => Err(Error::UnknownMode {
            name: shortened(mode),
        }),
    }
}

fn iv(text: &str, case: Case) -> Result<IvKind, Error> {
    let (name, option) = match text.split_once(':') {
        Some((name, option)) => (name, Some(option)),
        None => (text, None),
    };
    let folded = match case {
        Case::Matters => String::from(name),
        Case::Folds => name.to_ascii_lowercase(),
    };
    let kind = match (folded.as_str(), option) {
        ("essiv", Some(hash)) if !hash.is_empty() => IvKind::Essiv(HashName::parse(hash)?),
        ("plain", None) => IvKind::Plain,
        ("plain64", None) => IvKind::Plain64,
        ("plain64be", None) => IvKind::Plain64Be,
        ("null", None) => IvKind::Null,
        ("benbi", None) => IvKind::Benbi,
        ("eboiv", None) => IvKind::Eboiv,
        ("random", None) => IvKind::Random,
        ("lmk" | "tcw" | "elephant", _) => {
            return Err(Error::RefusedIv {
                name: shortened(text),
            });
        }
        _ => {
            return Err(Error::UnknownIv {
                name: shortened(text),
            });
        }
    };
    Ok(kind)
}

fn capi(text: &str, inner: &str, case: Case) -> Result<(Algorithm, Option<IvKind>), Error> {
    let (name, iv_text) = split_outside_parentheses(inner).ok_or_else(|| malformed(text))?;
    let algorithm = kernel_algorithm(name)?;
    let iv = match algorithm {
        Algorithm::Ecb(_) | Algorithm::Null => {
            if let Some(text) = iv_text {
                iv(text, case)?;
            }
            None
        }
        _ => Some(iv(iv_text.ok_or_else(|| malformed(text))?, case)?),
    };
    Ok((algorithm, iv))
}

/// Cuts at the first `-` that is not between parentheses, or `None` if those do not match.
fn split_outside_parentheses(text: &str) -> Option<(&str, Option<&str>)> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1)?,
            b'-' if depth == 0 => return Some((text.get(..at)?, Some(text.get(at + 1..)?))),
            _ => {}
        }
    }
    (depth == 0).then_some((text, None))
}

fn kernel_algorithm(name: &str) -> Result<Algorithm, Error> {
    match name {
        "rfc4309(ccm(aes))" => return Ok(Algorithm::Ccm),
        "rfc7539(chacha20,poly1305)" => return Ok(Algorithm::ChaCha20),
        "aegis128" => return Ok(Algorithm::Aegis128),
        "cipher_null" | "ecb(cipher_null)" | "cbc(cipher_null)" => return Ok(Algorithm::Null),
        _ => {}
    }
    let unknown = || Error::UnknownCipher {
        name: shortened(name),
    };
    let (outer, rest) = name.split_once('(').ok_or_else(unknown)?;
    let arguments = rest.strip_suffix(')').ok_or_else(unknown)?;
    match outer {
        // `ccm(aes)` without RFC 4309's key has another nonce; dm-crypt's tables never name it.
        "ccm" => Err(unknown()),
        _ => mode(arguments, outer),
    }
}
