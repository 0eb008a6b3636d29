//! Profiles: what the fields of a header may be, read from JSON text.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use crate::{
    Error, Fault,
    json::{ParseLimits, parse_object},
    luks2::node::{Node, ObjectNode},
};

/// The values that a field may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed<T> {
    pub(super) values: Vec<T>,
}

impl<T: PartialEq> Allowed<T> {
    /// Tells whether `value` is one of them.
    #[must_use]
    pub fn contains(&self, value: &T) -> bool {
        self.values.contains(value)
    }

    /// Gives them, in the order of the profile.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.values
    }
}

impl<T: fmt::Display> fmt::Display for Allowed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.values.is_empty() {
            return f.write_str("nothing");
        }
        for (position, value) in self.values.iter().enumerate() {
            if position > 0 {
                f.write_str(" or ")?;
            }
            value.fmt(f)?;
        }
        Ok(())
    }
}

/// A number's lowest and highest value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The lowest.
    pub min: u64,
    /// The highest.
    pub max: u64,
}

impl Range {
    /// Tells whether `value` is in it.
    #[must_use]
    pub const fn contains(&self, value: u64) -> bool {
        self.min <= value && value <= self.max
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            self.min.fmt(f)
        } else {
            write!(f, "{} to {}", self.min, self.max)
        }
    }
}

/// One way in which a keyslot may derive its key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KdfRule {
    /// PBKDF2.
    Pbkdf2 {
        /// Names of hashes.
        hash: Allowed<String>,
        /// Iterations.
        iterations: Range,
    },
    /// Argon2i or Argon2id.
    Argon2 {
        /// `argon2i` or `argon2id`.
        kind: String,
        /// Time cost.
        passes: Range,
        /// Memory cost in KiB.
        memory_kib: Range,
        /// Lanes.
        lanes: Range,
    },
}

/// What the fields of a header may be.
///
/// # Format
/// docs/formats/policy.md.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub(super) name: String,
    pub(super) luks: u64,
    pub(super) checksum: Allowed<String>,
    pub(super) keyslots: Range,
    pub(super) key_bytes_plain: u64,
    pub(super) key_bytes_authenticated: u64,
    pub(super) area_encryption: Allowed<String>,
    pub(super) area_key_bytes: Range,
    pub(super) af_hash: Allowed<String>,
    pub(super) kdf: Vec<KdfRule>,
    pub(super) offset_attached: Allowed<u64>,
    pub(super) offset_detached: Allowed<u64>,
    pub(super) encryption: Allowed<String>,
    pub(super) sector_size: Allowed<u64>,
    /// `none` stands for data that are not authenticated.
    pub(super) integrity: Allowed<String>,
    pub(super) digest_hash: Allowed<String>,
    pub(super) digest_iterations: Range,
    pub(super) flags: Allowed<String>,
    pub(super) requirements: Allowed<String>,
    pub(super) tokens: Allowed<String>,
}

/// Names and texts of the profiles that come with the crate.
const BUILT_IN: [(&str, &str); 8] = [
    ("emptydir", include_str!("profiles/emptydir.json")),
    ("secure-mount", include_str!("profiles/secure-mount.json")),
    (
        "secure-mount-plain",
        include_str!("profiles/secure-mount-plain.json"),
    ),
    ("constellation", include_str!("profiles/constellation.json")),
    ("contrast", include_str!("profiles/contrast.json")),
    ("mkcw", include_str!("profiles/mkcw.json")),
    ("mkcw-luks2", include_str!("profiles/mkcw-luks2.json")),
    (
        "mkcw-protected",
        include_str!("profiles/mkcw-protected.json"),
    ),
];

impl Profile {
    /// Gives the names of the profiles that come with the crate.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// Gives the text of a profile that comes with the crate, to start one's own from.
    #[must_use]
    pub fn built_in_text(name: &str) -> Option<&'static str> {
        BUILT_IN
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, text)| *text)
    }

    /// Gives a profile that comes with the crate.
    #[must_use]
    pub fn built_in(name: &str) -> Option<Self> {
        let text = Self::built_in_text(name)?;
        Some(Self::parse(text).expect("a test parses every built-in profile"))
    }

    /// Gives the profile's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a profile. Every member must be there and no other may be: a profile that leaves out a
    /// field by a typing mistake would check less than it says.
    ///
    /// # Errors
    /// [`Error::ProfileText`] for what is not JSON, [`Error::Profile`] for a field that is
    /// missing, of
    /// a wrong type or unknown.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let limits = ParseLimits { elements: 4096 };
        let (tree, used) = parse_object(text.as_bytes(), &limits)
            .map_err(|source| Error::ProfileText { source })?;
        let rest = text.get(used..).unwrap_or_default();
        let top = ObjectNode::top(&tree);
        if !rest.trim_ascii().is_empty() {
            return top.fail(Fault::UnknownMember).map_err(as_profile);
        }
        Self::read(&top).map_err(as_profile)
    }

    fn read(top: &ObjectNode<'_, '_>) -> Result<Self, Error> {
        only(top, &TOP)?;
        let slots = top.member("keyslots")?;
        let slots = slots.object()?;
        only(&slots, &KEYSLOTS)?;
        let segment = top.member("segment")?;
        let segment = segment.object()?;
        only(&segment, &SEGMENT)?;
        let digest = top.member("digest")?;
        let digest = digest.object()?;
        only(&digest, &["hash", "iterations"])?;
        Ok(Self {
            name: top.member("name")?.word()?.to_string(),
            luks: version(&top.member("luks")?)?,
            checksum: words(&top.member("checksum")?)?,
            keyslots: range(&slots.member("count")?)?,
            key_bytes_plain: range(&slots.member("key_bytes")?)?.max,
            key_bytes_authenticated: range(&slots.member("key_bytes_with_integrity")?)?.max,
            area_encryption: words(&slots.member("area_encryption")?)?,
            area_key_bytes: range(&slots.member("area_key_bytes")?)?,
            af_hash: words(&slots.member("af_hash")?)?,
            kdf: slots
                .member("kdf")?
                .elements()?
                .map(|rule| kdf_rule(&rule))
                .collect::<Result<_, _>>()?,
            offset_attached: numbers(&segment.member("offset")?)?,
            offset_detached: numbers(&segment.member("offset_detached")?)?,
            encryption: words(&segment.member("encryption")?)?,
            sector_size: numbers(&segment.member("sector_size")?)?,
            integrity: words(&segment.member("integrity")?)?,
            digest_hash: words(&digest.member("hash")?)?,
            digest_iterations: range(&digest.member("iterations")?)?,
            flags: words(&top.member("flags")?)?,
            requirements: words(&top.member("requirements")?)?,
            tokens: words(&top.member("tokens")?)?,
        })
    }
}

/// Members of a profile.
const TOP: [&str; 9] = [
    "name",
    "luks",
    "checksum",
    "keyslots",
    "segment",
    "digest",
    "flags",
    "requirements",
    "tokens",
];

/// Members of `keyslots`.
const KEYSLOTS: [&str; 7] = [
    "count",
    "key_bytes",
    "key_bytes_with_integrity",
    "area_encryption",
    "area_key_bytes",
    "af_hash",
    "kdf",
];

/// Members of `segment`.
const SEGMENT: [&str; 5] = [
    "offset",
    "offset_detached",
    "encryption",
    "sector_size",
    "integrity",
];

fn version(node: &Node<'_, '_>) -> Result<u64, Error> {
    let version = node.unsigned64()?;
    if (1..=2).contains(&version) {
        return Ok(version);
    }
    node.fail(Fault::Word {
        found: crate::Quoted::new(&version.to_string()),
        expected: "1 or 2",
    })
}

/// Says of a broken rule that it is the profile's, not the header's.
fn as_profile(error: Error) -> Error {
    match error {
        Error::Field { path, fault } => Error::Profile { path, fault },
        other => other,
    }
}

fn only(object: &ObjectNode<'_, '_>, known: &[&str]) -> Result<(), Error> {
    for (key, node) in object.members() {
        if !known.contains(&key) {
            return node.fail(Fault::UnknownMember);
        }
    }
    Ok(())
}

fn words(node: &Node<'_, '_>) -> Result<Allowed<String>, Error> {
    let values = node.strings()?.iter().map(ToString::to_string).collect();
    Ok(Allowed { values })
}

fn numbers(node: &Node<'_, '_>) -> Result<Allowed<u64>, Error> {
    let values = node
        .elements()?
        .map(|element| Ok(range(&element)?.min))
        .collect::<Result<_, Error>>()?;
    Ok(Allowed { values })
}

/// Reads a number, or an array of the lowest and the highest.
fn range(node: &Node<'_, '_>) -> Result<Range, Error> {
    if node.value().as_array().is_none() {
        let value = node.unsigned64()?;
        return Ok(Range {
            min: value,
            max: value,
        });
    }
    let bounds = node
        .elements()?
        .map(|element| element.unsigned64())
        .collect::<Result<Vec<_>, _>>()?;
    match *bounds {
        [min, max] if min <= max => Ok(Range { min, max }),
        _ => node.fail(Fault::Range),
    }
}

fn kdf_rule(node: &Node<'_, '_>) -> Result<KdfRule, Error> {
    let rule = node.object()?;
    let kind = rule.member("type")?;
    match kind.word()? {
        "pbkdf2" => {
            only(&rule, &["type", "hash", "iterations"])?;
            Ok(KdfRule::Pbkdf2 {
                hash: words(&rule.member("hash")?)?,
                iterations: range(&rule.member("iterations")?)?,
            })
        }
        name @ ("argon2i" | "argon2id") => {
            only(&rule, &["type", "time", "memory_kib", "cpus"])?;
            Ok(KdfRule::Argon2 {
                kind: name.to_string(),
                passes: range(&rule.member("time")?)?,
                memory_kib: range(&rule.member("memory_kib")?)?,
                lanes: range(&rule.member("cpus")?)?,
            })
        }
        other => kind.fail(Fault::Word {
            found: crate::Quoted::new(other),
            expected: "\"pbkdf2\", \"argon2i\" or \"argon2id\"",
        }),
    }
}
