//! What well-known tokens say: their fields, read from the object that stands in the header.
//!
//! A token is a note of some program; nothing in it is judged when a header is read. These views
//! take
//! what they know and name what is missing; the object itself stays as it is.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use base64ct::{Base64, Encoding};

use crate::{
    Error, Fault,
    json::{Object, Value},
    luks2::node::{Node, ObjectNode},
};

/// A token whose type is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenView {
    /// `luks2-keyring`: the passphrase is in a kernel keyring.
    Keyring(KeyringToken),
    /// `systemd-tpm2`: the passphrase is sealed by a TPM.
    Tpm2(Tpm2Token),
    /// `systemd-fido2`: the passphrase comes from a security key.
    Fido2(Fido2Token),
    /// `systemd-recovery`: a recovery key was printed.
    Recovery,
    /// `clevis`: the passphrase is in an encrypted JSON message.
    Clevis(ClevisToken),
    /// Any other type.
    Unknown,
}

/// The fields of a `luks2-keyring` token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyringToken {
    /// Description of the key in the keyring.
    pub key_description: String,
}

/// The fields of a `systemd-tpm2` token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tpm2Token {
    /// The sealed object, as the TPM gave it.
    pub blob: Vec<u8>,
    /// Platform registers that the policy covers.
    pub pcrs: Vec<u32>,
    /// Bank of those registers, `sha256` for example.
    pub pcr_bank: Option<String>,
    /// Algorithm of the primary key, `ecc` for example.
    pub primary_alg: Option<String>,
    /// Hash of the policy.
    pub policy_hash: Vec<u8>,
    /// Whether a PIN is asked for.
    pub pin: bool,
    /// Salt of the PIN.
    pub salt: Option<Vec<u8>>,
    /// The storage root key, serialised.
    pub srk: Option<Vec<u8>>,
}

/// The fields of a `systemd-fido2` token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fido2Token {
    /// Identifier of the credential.
    pub credential: Vec<u8>,
    /// Salt that is given to the security key.
    pub salt: Vec<u8>,
    /// Relying party.
    pub relying_party: String,
    /// Whether the client's PIN is asked for.
    pub pin_required: bool,
    /// Whether a touch is asked for.
    pub presence_required: bool,
    /// Whether the user is verified.
    pub verification_required: bool,
}

/// The fields of a `clevis` token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClevisToken {
    /// The encrypted message in its JSON form, as it stands.
    pub jwe: Object,
}

impl TokenView {
    /// Reads the token object that stands under `id`.
    ///
    /// # Errors
    /// [`Error::Field`] for a field of a known type that is missing or cannot be read.
    pub fn read(id: u32, token: &Object) -> Result<Self, Error> {
        // The path starts where the token stands in the header.
        let kind = token
            .get("type")
            .and_then(Value::as_c_str)
            .unwrap_or_default();
        let top = ObjectNode::top(token);
        let view = match kind {
            "luks2-keyring" => keyring(&top).map(Self::Keyring),
            "systemd-tpm2" => tpm2(&top).map(Self::Tpm2),
            "systemd-fido2" => fido2(&top).map(Self::Fido2),
            "systemd-recovery" => Ok(Self::Recovery),
            "clevis" => clevis(&top).map(Self::Clevis),
            _ => Ok(Self::Unknown),
        };
        view.map_err(|error| error.below(&["tokens", &id.to_string()]))
    }
}

impl KeyringToken {
    /// Makes the object of a new token for these keyslots, in the order in which cryptsetup writes
    /// its
    /// members.
    #[must_use]
    pub fn to_object(key_description: &str, keyslots: &[u32]) -> Object {
        let ids = keyslots
            .iter()
            .map(|id| Value::string(id.to_string()))
            .collect();
        [
            ("type", Value::string("luks2-keyring")),
            ("keyslots", Value::Array(ids)),
            ("key_description", Value::string(key_description)),
        ]
        .into_iter()
        .collect()
    }
}

/// A keyring token that is used has exactly its three members.
fn keyring(token: &ObjectNode<'_, '_>) -> Result<KeyringToken, Error> {
    let key_description = token.member("key_description")?.word()?.to_string();
    if token.len() != 3 {
        return token.fail(Fault::Members {
            found: token.len(),
            expected: 3,
        });
    }
    Ok(KeyringToken { key_description })
}

fn tpm2(token: &ObjectNode<'_, '_>) -> Result<Tpm2Token, Error> {
    Ok(Tpm2Token {
        blob: base64(&token.member("tpm2-blob")?)?,
        pcrs: match token.optional("tpm2-pcrs") {
            Some(list) => list
                .elements()?
                .map(|element| element.unsigned32())
                .collect::<Result<_, _>>()?,
            None => Vec::new(),
        },
        pcr_bank: optional_text(token, "tpm2-pcr-bank")?,
        primary_alg: optional_text(token, "tpm2-primary-alg")?,
        policy_hash: hex(&token.member("tpm2-policy-hash")?)?,
        pin: optional_bool(token, "tpm2-pin")?,
        salt: optional_base64(token, "tpm2_salt")?,
        srk: optional_base64(token, "tpm2_srk")?,
    })
}

fn fido2(token: &ObjectNode<'_, '_>) -> Result<Fido2Token, Error> {
    Ok(Fido2Token {
        credential: base64(&token.member("fido2-credential")?)?,
        salt: base64(&token.member("fido2-salt")?)?,
        relying_party: token.member("fido2-rp")?.word()?.to_string(),
        pin_required: optional_bool(token, "fido2-clientPin-required")?,
        presence_required: optional_bool(token, "fido2-up-required")?,
        verification_required: optional_bool(token, "fido2-uv-required")?,
    })
}

fn clevis(token: &ObjectNode<'_, '_>) -> Result<ClevisToken, Error> {
    let jwe = token.member("jwe")?;
    Ok(ClevisToken {
        jwe: jwe.object()?.object().clone(),
    })
}

fn base64(node: &Node<'_, '_>) -> Result<Vec<u8>, Error> {
    match Base64::decode_vec(node.text()?) {
        Ok(bytes) => Ok(bytes),
        Err(_) => node.fail(Fault::Base64),
    }
}

fn optional_base64(token: &ObjectNode<'_, '_>, key: &str) -> Result<Option<Vec<u8>>, Error> {
    token.optional(key).map(|node| base64(&node)).transpose()
}

fn optional_text(token: &ObjectNode<'_, '_>, key: &str) -> Result<Option<String>, Error> {
    let node = token.optional(key);
    node.map(|node| node.text().map(ToString::to_string))
        .transpose()
}

fn optional_bool(token: &ObjectNode<'_, '_>, key: &str) -> Result<bool, Error> {
    match token.optional(key) {
        None => Ok(false),
        Some(node) => match node.value() {
            Value::Bool(flag) => Ok(*flag),
            other => node.fail(Fault::Type {
                expected: "a boolean",
                found: other.kind(),
            }),
        },
    }
}

fn hex(node: &Node<'_, '_>) -> Result<Vec<u8>, Error> {
    let text = node.text()?;
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect();
    match digits {
        Some(digits) if digits.len().is_multiple_of(2) => Ok(digits
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[high, low]| (high << 4) | low)
            .collect()),
        _ => node.fail(Fault::Hex),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{ParseLimits, parse_object};

    fn read(text: &str) -> Result<TokenView, Error> {
        let (token, _) = parse_object(text.as_bytes(), &ParseLimits::default()).unwrap();
        TokenView::read(3, &token)
    }

    #[test]
    fn the_fields_of_known_tokens_are_read() {
        assert_eq!(
            read(r#"{"type":"luks2-keyring","keyslots":["1"],"key_description":"a:b"}"#),
            Ok(TokenView::Keyring(KeyringToken {
                key_description: "a:b".into()
            }))
        );
        assert_eq!(
            read(
                r#"{"type":"systemd-tpm2","keyslots":["1"],"tpm2-blob":"AAEC","tpm2-pcrs":[7,11],
                "tpm2-pcr-bank":"sha256","tpm2-primary-alg":"ecc","tpm2-policy-hash":"00ff",
                "tpm2-pin":true,"tpm2_srk":"AA==","later":1}"#
            ),
            Ok(TokenView::Tpm2(Tpm2Token {
                blob: [0, 1, 2].into(),
                pcrs: [7, 11].into(),
                pcr_bank: Some("sha256".into()),
                primary_alg: Some("ecc".into()),
                policy_hash: [0, 255].into(),
                pin: true,
                salt: None,
                srk: Some([0].into()),
            }))
        );
        assert_eq!(
            read(
                r#"{"type":"systemd-fido2","keyslots":["2"],"fido2-credential":"AA==",
                "fido2-salt":"AQ==","fido2-rp":"io.systemd.cryptsetup",
                "fido2-clientPin-required":true,"fido2-up-required":true,
                "fido2-uv-required":false}"#
            ),
            Ok(TokenView::Fido2(Fido2Token {
                credential: [0].into(),
                salt: [1].into(),
                relying_party: "io.systemd.cryptsetup".into(),
                pin_required: true,
                presence_required: true,
                verification_required: false,
            }))
        );
        let clevis = read(r#"{"type":"clevis","keyslots":["1"],"jwe":{"protected":"e30"}}"#);
        assert!(matches!(clevis, Ok(TokenView::Clevis(token)) if token.jwe.len() == 1));
        assert_eq!(
            read(r#"{"type":"systemd-recovery","keyslots":[]}"#),
            Ok(TokenView::Recovery)
        );
        assert_eq!(
            read(r#"{"type":"other","keyslots":[]}"#),
            Ok(TokenView::Unknown)
        );
    }

    #[test]
    fn what_is_missing_is_named_with_its_place_in_the_header() {
        let message = |text| read(text).unwrap_err().to_string();
        assert_eq!(
            message(r#"{"type":"clevis","keyslots":[]}"#),
            "tokens.3.jwe: the field is missing"
        );
        assert_eq!(
            message(r#"{"type":"systemd-tpm2","keyslots":[],"tpm2-blob":"*"}"#),
            "tokens.3.tpm2-blob: the string is not base64 with padding"
        );
        assert_eq!(
            message(r#"{"type":"systemd-tpm2","tpm2-blob":"","tpm2-policy-hash":"0g"}"#),
            "tokens.3.tpm2-policy-hash: the string is not pairs of hexadecimal digits"
        );
        assert_eq!(
            message(r#"{"type":"luks2-keyring","keyslots":[],"key_description":"x","y":1}"#),
            "tokens.3: 4 members, this type has exactly 3"
        );
        assert_eq!(
            message(r#"{"type":"luks2-keyring","keyslots":[],"key_description":""}"#),
            "tokens.3.key_description: the string is empty"
        );
    }

    #[test]
    fn a_new_keyring_token_reads_back() {
        let token = KeyringToken::to_object("user:key", &[0, 2]);
        assert_eq!(
            token.to_compact(),
            r#"{"type":"luks2-keyring","keyslots":["0","2"],"key_description":"user:key"}"#
        );
        assert!(matches!(
            TokenView::read(0, &token),
            Ok(TokenView::Keyring(_))
        ));
    }
}
