//! The typed objects of a tree that the rules have accepted.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use base64ct::{Base64, Encoding};
use luksmith_block::{ByteLen, ByteOffset};

use super::node::{Node, ObjectNode, canonical_id};
use crate::{
    Error, Fault,
    json::{Object, Value},
    objects::{
        AntiForensic, Area, Argon2Variant, Blob, CryptParameters, Digest, Integrity, Kdf, Keyslot,
        KeyslotKind, OpalParameters, Priority, Segment, SegmentKind, Token,
    },
};

/// Decodes base64 as cryptsetup does: white space and zero bytes anywhere are skipped, padding is
/// needed, nothing may follow it.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let packed: String = text
        .chars()
        .filter(|character| !matches!(character, ' ' | '\t' | '\r' | '\n' | '\0'))
        .collect();
    Base64::decode_vec(&packed).ok()
}

fn blob(node: &Node<'_, '_>) -> Blob {
    let bytes = match node.value() {
        Value::String(text) => base64(text).ok_or(Fault::Base64),
        other => Err(Fault::Type {
            expected: "a string",
            found: other.kind(),
        }),
    };
    Blob::new(bytes, node.path())
}

fn ids(names: &[&str]) -> Vec<u32> {
    let mut ids: Vec<u32> = names.iter().filter_map(|name| canonical_id(name)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

pub(super) fn keyslots(tree: &Object) -> Result<Vec<Keyslot>, Error> {
    let top = ObjectNode::top(tree);
    let section = top.member("keyslots")?;
    let section = section.object()?;
    let mut keyslots = Vec::new();
    for (key, node) in section.members() {
        let slot = node.object()?;
        let type_name = slot.member("type")?.word()?;
        let area = slot.member("area")?;
        let area = area.object()?;
        keyslots.push(Keyslot {
            key: key.to_string(),
            id: canonical_id(key),
            type_name: type_name.to_string(),
            key_bytes: slot.member("key_size")?.unsigned32()?,
            priority: priority(slot.object().get("priority")),
            area: Area {
                kind: area.member("type")?.word()?.to_string(),
                offset: ByteOffset::new(area.member("offset")?.strict_decimal()?),
                len: ByteLen::new(area.member("size")?.strict_decimal()?),
                encryption: optional_text(&area, "encryption"),
                key_bytes: optional_number(&area, "key_size"),
            },
            kind: match type_name {
                "luks2" => luks2_kind(&slot)?,
                "reencrypt" => KeyslotKind::Reencrypt {
                    mode: slot.member("mode")?.word()?.to_string(),
                    direction: slot.member("direction")?.word()?.to_string(),
                },
                _ => KeyslotKind::Unknown,
            },
        });
    }
    Ok(keyslots)
}

fn luks2_kind(slot: &ObjectNode<'_, '_>) -> Result<KeyslotKind, Error> {
    let kdf = slot.member("kdf")?;
    let kdf = kdf.object()?;
    let af = slot.member("af")?;
    let af = af.object()?;
    let variant = match kdf.member("type")?.word()? {
        "argon2i" => Some(Argon2Variant::I),
        "argon2id" => Some(Argon2Variant::Id),
        _ => None,
    };
    let kdf = match (kdf.member("type")?.word()?, variant) {
        ("pbkdf2", _) => Kdf::Pbkdf2 {
            hash: kdf.member("hash")?.word()?.to_string(),
            iterations: kdf.member("iterations")?.unchecked32()?,
            salt: blob(&kdf.member("salt")?),
        },
        (_, Some(variant)) => Kdf::Argon2 {
            variant,
            passes: kdf.member("time")?.unchecked32()?,
            memory_kib: kdf.member("memory")?.unchecked32()?,
            lanes: kdf.member("cpus")?.unchecked32()?,
            salt: blob(&kdf.member("salt")?),
        },
        (kind, None) => Kdf::Unknown {
            kind: kind.to_string(),
        },
    };
    Ok(KeyslotKind::Luks2 {
        kdf,
        af: AntiForensic {
            hash: af.member("hash")?.word()?.to_string(),
            stripes: af.member("stripes")?.unchecked32()?,
        },
    })
}

/// Reads a priority of any type, as C would convert it to an integer.
fn priority(value: Option<&Value>) -> Priority {
    let number = match value {
        None => return Priority::Normal,
        Some(Value::Bool(flag)) => i32::from(*flag),
        Some(Value::Number(number)) => integer_part(number.text()),
        Some(Value::String(text)) => text_to_integer(text),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) => 0,
    };
    match number {
        0 => Priority::Ignore,
        1 => Priority::Normal,
        2 => Priority::Prefer,
        other => Priority::Other(other),
    }
}

/// Gives the integer part of a number's text, for small numbers; what has an exponent or is large
/// is no priority anyway.
fn integer_part(text: &str) -> i32 {
    let whole = text.split('.').next().unwrap_or_default();
    if text.contains(['e', 'E']) {
        return i32::MAX;
    }
    whole.parse().unwrap_or(i32::MAX)
}

/// Reads the number that a string starts with, white space and sign before it allowed; 0 if none.
fn text_to_integer(text: &str) -> i32 {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(digits.len());
    let digits = digits.get(..end).unwrap_or_default();
    if digits.is_empty() {
        return 0;
    }
    let mut number = String::from(sign);
    number.push_str(digits);
    number.parse().unwrap_or(i32::MAX)
}

fn optional_text(object: &ObjectNode<'_, '_>, key: &str) -> Option<String> {
    let node = object.optional(key)?;
    node.text().ok().map(ToString::to_string)
}

fn optional_number(object: &ObjectNode<'_, '_>, key: &str) -> Option<u32> {
    object.optional(key)?.unchecked32().ok()
}

pub(super) fn digests(tree: &Object) -> Result<Vec<Digest>, Error> {
    let top = ObjectNode::top(tree);
    let section = top.member("digests")?;
    let section = section.object()?;
    let mut digests = Vec::new();
    for (key, node) in section.members() {
        let digest = node.object()?;
        digests.push(Digest {
            key: key.to_string(),
            id: canonical_id(key),
            type_name: digest.member("type")?.word()?.to_string(),
            keyslots: ids(&digest.member("keyslots")?.strings()?),
            segments: ids(&digest.member("segments")?.strings()?),
            hash: optional_text(&digest, "hash"),
            iterations: optional_number(&digest, "iterations"),
            salt: digest.optional("salt").map(|node| blob(&node)),
            digest: digest.optional("digest").map(|node| blob(&node)),
            path: digest.path(),
        });
    }
    Ok(digests)
}

pub(super) fn segments(tree: &Object) -> Result<Vec<Segment>, Error> {
    let top = ObjectNode::top(tree);
    let section = top.member("segments")?;
    let section = section.object()?;
    let mut segments = Vec::new();
    for (key, node) in section.members() {
        let segment = node.object()?;
        let type_name = segment.member("type")?.word()?;
        let kind = match type_name {
            "crypt" => SegmentKind::Crypt,
            "linear" => SegmentKind::Linear,
            "hw-opal" => SegmentKind::HwOpal,
            "hw-opal-crypt" => SegmentKind::HwOpalCrypt,
            _ => SegmentKind::Unknown,
        };
        segments.push(Segment {
            // The rules asked for ids from 0 up in canonical form.
            id: canonical_id(key).unwrap_or(u32::MAX),
            kind,
            type_name: type_name.to_string(),
            offset: ByteOffset::new(segment.member("offset")?.strict_decimal()?),
            len: segment.member("size")?.size()?.map(ByteLen::new),
            crypt: match kind {
                SegmentKind::Crypt | SegmentKind::HwOpalCrypt => Some(crypt(&segment)?),
                _ => None,
            },
            opal: match kind {
                SegmentKind::HwOpal | SegmentKind::HwOpalCrypt => Some(opal(&segment)?),
                _ => None,
            },
            flags: match segment.optional("flags") {
                Some(flags) => owned(&flags.strings()?),
                None => Vec::new(),
            },
        });
    }
    segments.sort_by_key(|segment| segment.id);
    Ok(segments)
}

fn crypt(segment: &ObjectNode<'_, '_>) -> Result<CryptParameters, Error> {
    let integrity = match segment.optional("integrity") {
        None => None,
        Some(node) => {
            let integrity = node.object()?;
            Some(Integrity {
                kind: integrity.member("type")?.word()?.to_string(),
                journal_encryption: integrity.member("journal_encryption")?.word()?.to_string(),
                journal_integrity: integrity.member("journal_integrity")?.word()?.to_string(),
                key_bytes: optional_number(&integrity, "key_size"),
            })
        }
    };
    Ok(CryptParameters {
        iv_tweak: segment.member("iv_tweak")?.strict_decimal()?,
        encryption: segment.member("encryption")?.word()?.to_string(),
        sector_size: segment.member("sector_size")?.unsigned32()?,
        integrity,
    })
}

fn opal(segment: &ObjectNode<'_, '_>) -> Result<OpalParameters, Error> {
    Ok(OpalParameters {
        segment_number: segment.member("opal_segment_number")?.unchecked32()?,
        key_bytes: segment.member("opal_key_size")?.unchecked32()?,
        len: ByteLen::new(segment.member("opal_segment_size")?.strict_decimal()?),
    })
}

pub(super) fn tokens(tree: &Object) -> Result<Vec<Token>, Error> {
    let top = ObjectNode::top(tree);
    let section = top.member("tokens")?;
    let section = section.object()?;
    let mut tokens = Vec::new();
    for (key, node) in section.members() {
        let token = node.object()?;
        tokens.push(Token {
            key: key.to_string(),
            id: canonical_id(key),
            type_name: token.member("type")?.word()?.to_string(),
            keyslots: ids(&token.member("keyslots")?.strings()?),
        });
    }
    Ok(tokens)
}

/// What `config` says.
pub(super) struct ConfigView {
    pub(super) keyslots_bytes: u64,
    pub(super) flags: Vec<String>,
    pub(super) requirements: Vec<String>,
}

pub(super) fn config(tree: &Object) -> Result<ConfigView, Error> {
    let top = ObjectNode::top(tree);
    let section = top.member("config")?;
    let config = section.object()?;
    let flags = match config.optional("flags") {
        Some(flags) => owned(&flags.strings()?),
        None => Vec::new(),
    };
    let requirements = match config.optional("requirements") {
        Some(node) => match node.object()?.optional("mandatory") {
            Some(list) => owned(&list.strings()?),
            None => Vec::new(),
        },
        None => Vec::new(),
    };
    Ok(ConfigView {
        keyslots_bytes: config.member("keyslots_size")?.loose_decimal()?,
        flags,
        requirements,
    })
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_skips_white_space_and_wants_padding() {
        assert_eq!(base64("AAEC"), Some(alloc::vec![0, 1, 2]));
        assert_eq!(base64(" A A\nE\0C\t\r"), Some(alloc::vec![0, 1, 2]));
        assert_eq!(base64("AA=="), Some(alloc::vec![0]));
        for refused in ["AA", "AA=", "AB==", "AA==A", "A*==", "AA==="] {
            assert_eq!(base64(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn priorities_of_any_type_convert_as_in_c() {
        let of = |value| priority(Some(&value));
        assert_eq!(priority(None), Priority::Normal);
        assert_eq!(of(Value::string("2")), Priority::Prefer);
        assert_eq!(of(Value::string("x")), Priority::Ignore);
        assert_eq!(of(Value::string(" -3x")), Priority::Other(-3));
        assert_eq!(of(Value::Null), Priority::Ignore);
        assert_eq!(of(Value::Bool(true)), Priority::Normal);
        assert_eq!(of(Value::integer(7)), Priority::Other(7));
        let fraction =
            crate::json::parse_object(b"{\"p\":2.9}", &crate::json::ParseLimits::default());
        assert_eq!(
            of(fraction.unwrap().0.get("p").unwrap().clone()),
            Priority::Prefer
        );
    }
}
