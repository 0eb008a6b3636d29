//! Changing the metadata. A change is made to a copy of the tree, the rules are asked, and only
//! then
//! does it become the metadata: what breaks a rule changes nothing.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use base64ct::{Base64, Encoding};
use luksmith_block::{ByteLen, ByteOffset};

use super::{Metadata, Requirement, node::canonical_id};
use crate::{
    Error,
    json::{Object, Value},
    objects::{Argon2Variant, Priority},
};

/// Keyslots and tokens that can be created: ids 0 to 31.
pub const MAX_CREATED: u32 = 32;
/// Digests that can be created: ids 0 to 7.
pub const MAX_CREATED_DIGESTS: u32 = 8;
/// Stripes of every keyslot.
pub const STRIPES: u64 = 4000;

/// How a new keyslot derives its area key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NewKdf {
    /// PBKDF2 with HMAC.
    Pbkdf2 {
        /// Name of the hash.
        hash: String,
        /// Iterations.
        iterations: u32,
        /// Salt.
        salt: [u8; 32],
    },
    /// Argon2.
    Argon2 {
        /// The variant.
        variant: Argon2Variant,
        /// Time cost.
        passes: u32,
        /// Memory cost in KiB.
        memory_kib: u32,
        /// Lanes.
        lanes: u32,
        /// Salt.
        salt: [u8; 32],
    },
}

impl NewKdf {
    fn to_value(&self) -> Value {
        let (kind, members) = match self {
            Self::Pbkdf2 {
                hash,
                iterations,
                salt,
            } => (
                "pbkdf2",
                [
                    ("hash", Value::string(hash)),
                    ("iterations", number(*iterations)),
                    ("salt", base64(salt)),
                ]
                .to_vec(),
            ),
            Self::Argon2 {
                variant,
                passes,
                memory_kib,
                lanes,
                salt,
            } => (
                match variant {
                    Argon2Variant::I => "argon2i",
                    Argon2Variant::Id => "argon2id",
                },
                [
                    ("time", number(*passes)),
                    ("memory", number(*memory_kib)),
                    ("cpus", number(*lanes)),
                    ("salt", base64(salt)),
                ]
                .to_vec(),
            ),
        };
        let start = [("type", Value::string(kind))];
        Value::Object(start.into_iter().chain(members).collect())
    }
}

/// A keyslot to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKeyslot {
    /// Length of the key it will hold, in bytes.
    pub key_bytes: u32,
    /// Name of the hash of the anti-forensic split.
    pub af_hash: String,
    /// Start of its area, as [`Draft::find_area`] gives it.
    pub area_offset: ByteOffset,
    /// Length of its area.
    pub area_len: ByteLen,
    /// Cipher of its area.
    pub encryption: String,
    /// Length of the area key in bytes.
    pub area_key_bytes: u32,
    /// Passphrase to area key.
    pub kdf: NewKdf,
}

impl NewKeyslot {
    /// The members in the order in which cryptsetup writes them.
    fn to_value(&self) -> Value {
        object([
            ("type", Value::string("luks2")),
            ("key_size", number(self.key_bytes)),
            (
                "af",
                object([
                    ("type", Value::string("luks1")),
                    ("stripes", Value::integer(STRIPES)),
                    ("hash", Value::string(&self.af_hash)),
                ]),
            ),
            (
                "area",
                object([
                    ("type", Value::string("raw")),
                    ("offset", decimal(self.area_offset.get())),
                    ("size", decimal(self.area_len.get())),
                    ("encryption", Value::string(&self.encryption)),
                    ("key_size", number(self.area_key_bytes)),
                ]),
            ),
            ("kdf", self.kdf.to_value()),
        ])
    }
}

/// A digest to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDigest {
    /// Name of the hash.
    pub hash: String,
    /// Iterations.
    pub iterations: u32,
    /// Salt.
    pub salt: [u8; 32],
    /// What PBKDF2 gives for the key.
    pub digest: Vec<u8>,
    /// Ids of the segments that the key opens.
    pub segments: Vec<u32>,
}

impl NewDigest {
    pub(super) fn to_value(&self) -> Value {
        object([
            ("type", Value::string("pbkdf2")),
            ("keyslots", Value::Array(Vec::new())),
            (
                "segments",
                Value::Array(self.segments.iter().map(id_value).collect()),
            ),
            ("hash", Value::string(&self.hash)),
            ("iterations", number(self.iterations)),
            ("salt", base64(&self.salt)),
            ("digest", base64(&self.digest)),
        ])
    }
}

pub(super) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().collect())
}

pub(super) fn number(value: u32) -> Value {
    Value::integer(u64::from(value))
}

pub(super) fn decimal(value: u64) -> Value {
    Value::string(value.to_string())
}

fn base64(bytes: &[u8]) -> Value {
    Value::string(Base64::encode_string(bytes))
}

fn id_value(id: &u32) -> Value {
    Value::string(id.to_string())
}

impl Metadata {
    /// Changes the metadata, or leaves them as they are if the change fails or breaks a rule.
    ///
    /// # Errors
    /// What `change` gives, and [`Error::Field`] for a rule that the result breaks.
    pub fn edit<T>(
        &mut self,
        change: impl FnOnce(&mut Draft) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut draft = Draft {
            tree: self.tree().clone(),
            area_start: self.keyslots_offset().get(),
            area_end: self.total_len().get(),
        };
        let answer = change(&mut draft)?;
        *self = Self::from_tree(draft.tree, self.hdr_len().get())?;
        Ok(answer)
    }

    /// Drops digests that have neither keyslots nor segments.
    pub(super) fn drop_idle_digests(&mut self) -> Result<(), Error> {
        let is_empty = |digest: &Value, list| {
            digest
                .as_object()
                .and_then(|digest| digest.get(list))
                .and_then(Value::as_array)
                .is_some_and(<[Value]>::is_empty)
        };
        let is_idle = |digest: &Value| is_empty(digest, "keyslots") && is_empty(digest, "segments");
        self.edit(|draft| {
            if let Some(digests) = draft.section("digests") {
                digests.retain(|_, digest| !is_idle(digest));
            }
            Ok(())
        })
    }
}

/// Metadata under change: between two steps a rule may be broken.
#[derive(Debug)]
pub struct Draft {
    tree: Object,
    area_start: u64,
    area_end: u64,
}

impl Draft {
    /// Gives the tree, for changes that have no method here.
    pub fn tree(&mut self) -> &mut Object {
        &mut self.tree
    }

    fn section(&mut self, name: &str) -> Option<&mut Object> {
        self.tree.get_mut(name).and_then(Value::as_object_mut)
    }

    fn entry(&mut self, what: Kind, id: u32) -> Result<&mut Object, Error> {
        self.section(what.section())
            .and_then(|section| section.get_mut(&id.to_string()))
            .and_then(Value::as_object_mut)
            .ok_or(Error::NoSuchObject {
                what: what.name(),
                id,
            })
    }

    fn is_taken(&self, what: Kind, id: u32) -> bool {
        self.tree
            .get(what.section())
            .and_then(Value::as_object)
            .is_some_and(|section| section.get(&id.to_string()).is_some())
    }

    /// Gives the lowest id that no keyslot has.
    ///
    /// # Errors
    /// [`Error::NoFreeObject`].
    pub fn free_keyslot(&self) -> Result<u32, Error> {
        self.free(Kind::Keyslot)
    }

    /// Gives the lowest id that no token has.
    ///
    /// # Errors
    /// [`Error::NoFreeObject`].
    pub fn free_token(&self) -> Result<u32, Error> {
        self.free(Kind::Token)
    }

    fn free(&self, what: Kind) -> Result<u32, Error> {
        let count = what.max();
        (0..count)
            .find(|id| !self.is_taken(what, *id))
            .ok_or(Error::NoFreeObject {
                what: what.name(),
                count,
            })
    }

    fn insert(&mut self, what: Kind, id: u32, value: Value) -> Result<(), Error> {
        let max = what.max().saturating_sub(1);
        if id > max {
            let what = what.name();
            return Err(Error::ObjectId { what, id, max });
        }
        if self.is_taken(what, id) {
            return Err(Error::ObjectInUse {
                what: what.name(),
                id,
            });
        }
        if let Some(section) = self.section(what.section()) {
            section.set(id.to_string(), value);
        }
        Ok(())
    }

    /// Finds room for the area of a key of `key_bytes` bytes: the first gap of the keyslot area
    /// that
    /// is large enough.
    ///
    /// # Errors
    /// [`Error::NoAreaSpace`].
    ///
    /// # Format
    /// docs/formats/luks2.md, "Keyslot areas".
    pub fn find_area(&self, key_bytes: u32) -> Result<(ByteOffset, ByteLen), Error> {
        let needed = area_bytes(key_bytes);
        let mut areas = self.areas();
        areas.sort_unstable();
        let mut cursor = self.area_start;
        for (offset, size) in areas {
            if cursor.checked_add(needed).is_some_and(|end| end <= offset) {
                break;
            }
            cursor = offset.saturating_add(size);
        }
        match cursor.checked_add(needed) {
            Some(end) if end <= self.area_end => {
                Ok((ByteOffset::new(cursor), ByteLen::new(needed)))
            }
            _ => Err(Error::NoAreaSpace { needed }),
        }
    }

    /// Gives offset and length of every area. The rules have seen that they are numbers.
    fn areas(&self) -> Vec<(u64, u64)> {
        let slots = self.tree.get("keyslots").and_then(Value::as_object);
        let number = |area: &Object, key| {
            area.get(key)
                .and_then(Value::as_c_str)
                .and_then(super::node::strict_decimal)
        };
        slots
            .into_iter()
            .flatten()
            .filter_map(|slot| slot.value().as_object()?.get("area")?.as_object())
            .filter_map(|area| Some((number(area, "offset")?, number(area, "size")?)))
            .collect()
    }

    /// Adds a keyslot that holds the key of a digest.
    ///
    /// # Errors
    /// [`Error::ObjectId`], [`Error::ObjectInUse`], [`Error::NoSuchObject`] for the digest.
    pub fn add_keyslot(&mut self, id: u32, slot: &NewKeyslot, digest: u32) -> Result<(), Error> {
        self.insert(Kind::Keyslot, id, slot.to_value())?;
        let digest = self.entry(Kind::Digest, digest)?;
        push_reference(digest, "keyslots", id);
        Ok(())
    }

    /// Gives a keyslot new parameters at its place and under its id; its members keep their order.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`].
    pub fn replace_keyslot(&mut self, id: u32, slot: &NewKeyslot) -> Result<(), Error> {
        let object = self.entry(Kind::Keyslot, id)?;
        object.set("key_size", number(slot.key_bytes));
        if let Some(af) = object.get_mut("af").and_then(Value::as_object_mut) {
            af.set("hash", Value::string(&slot.af_hash));
        }
        if let Some(area) = object.get_mut("area").and_then(Value::as_object_mut) {
            area.set("offset", decimal(slot.area_offset.get()));
            area.set("size", decimal(slot.area_len.get()));
            area.set("encryption", Value::string(&slot.encryption));
            area.set("key_size", number(slot.area_key_bytes));
        }
        object.set("kdf", slot.kdf.to_value());
        Ok(())
    }

    /// Removes a keyslot, and its id from digests and tokens.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`].
    pub fn remove_keyslot(&mut self, id: u32) -> Result<(), Error> {
        self.entry(Kind::Keyslot, id)?;
        for section in ["digests", "tokens"] {
            self.drop_references(section, "keyslots", id);
        }
        if let Some(keyslots) = self.section("keyslots") {
            keyslots.remove(&id.to_string());
        }
        Ok(())
    }

    /// Exchanges two keyslots: each gets the other's id, digests and tokens keep naming ids.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`].
    pub fn swap_keyslots(&mut self, first: u32, second: u32) -> Result<(), Error> {
        let one = self.entry(Kind::Keyslot, first)?.clone();
        let two = core::mem::replace(self.entry(Kind::Keyslot, second)?, one);
        *self.entry(Kind::Keyslot, first)? = two;
        Ok(())
    }

    /// Sets when a keyslot is tried. Normal is not stored.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`].
    pub fn set_priority(&mut self, id: u32, priority: Priority) -> Result<(), Error> {
        let slot = self.entry(Kind::Keyslot, id)?;
        match priority {
            Priority::Normal => {
                slot.remove("priority");
            }
            Priority::Ignore => {
                slot.set("priority", Value::integer(0));
            }
            Priority::Prefer => {
                slot.set("priority", Value::integer(2));
            }
            Priority::Other(_) => {
                return Err(Error::Option {
                    option: "priority",
                    value: u64::from(id),
                    rule: "a keyslot can be ignored, normal or preferred",
                });
            }
        }
        Ok(())
    }

    /// Adds a digest and gives its id, the lowest one free.
    ///
    /// # Errors
    /// [`Error::NoFreeObject`].
    pub fn add_digest(&mut self, digest: &NewDigest) -> Result<u32, Error> {
        let id = self.free(Kind::Digest)?;
        self.insert(Kind::Digest, id, digest.to_value())?;
        Ok(id)
    }

    /// Makes a digest open exactly these segments.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`].
    pub fn bind_segments(&mut self, digest: u32, segments: &[u32]) -> Result<(), Error> {
        let digest = self.entry(Kind::Digest, digest)?;
        let list = segments.iter().map(id_value).collect();
        digest.set("segments", Value::Array(list));
        Ok(())
    }

    /// Puts a keyslot into a digest, and out of all others.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`].
    pub fn move_keyslot(&mut self, id: u32, digest: u32) -> Result<(), Error> {
        self.entry(Kind::Keyslot, id)?;
        self.entry(Kind::Digest, digest)?;
        self.drop_references("digests", "keyslots", id);
        push_reference(self.entry(Kind::Digest, digest)?, "keyslots", id);
        Ok(())
    }

    /// Adds a token. The object has a `type`, and a `keyslots` array.
    ///
    /// # Errors
    /// [`Error::ObjectId`], [`Error::ObjectInUse`].
    pub fn add_token(&mut self, id: u32, token: Object) -> Result<(), Error> {
        self.insert(Kind::Token, id, Value::Object(token))
    }

    /// Puts another token in the place of one.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`].
    pub fn replace_token(&mut self, id: u32, token: Object) -> Result<(), Error> {
        *self.entry(Kind::Token, id)? = token;
        Ok(())
    }

    /// Removes a token.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`].
    pub fn remove_token(&mut self, id: u32) -> Result<(), Error> {
        self.entry(Kind::Token, id)?;
        if let Some(tokens) = self.section("tokens") {
            tokens.remove(&id.to_string());
        }
        Ok(())
    }

    /// Adds a keyslot to a token's list, if it is not there.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`].
    pub fn assign_token(&mut self, token: u32, keyslot: u32) -> Result<(), Error> {
        self.entry(Kind::Keyslot, keyslot)?;
        push_reference(self.entry(Kind::Token, token)?, "keyslots", keyslot);
        Ok(())
    }

    /// Takes a keyslot out of a token's list.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`].
    pub fn unassign_token(&mut self, token: u32, keyslot: u32) -> Result<(), Error> {
        drop_reference(self.entry(Kind::Token, token)?, "keyslots", keyslot);
        Ok(())
    }

    /// Sets the flags of the volume; none takes the list away.
    ///
    /// Flags that are not known here can be among them: those that stood there are not lost unless
    /// the caller leaves them out.
    pub fn set_flags(&mut self, flags: &[String]) {
        let list = flags.iter().map(Value::string).collect();
        self.set_config("flags", Value::Array(list), flags.is_empty());
    }

    /// Sets what a reader must understand; nothing takes the list away.
    pub fn set_requirements(&mut self, requirements: &[Requirement]) {
        let words: Vec<Value> = requirements
            .iter()
            .map(|requirement| Value::string(requirement.to_word()))
            .collect();
        let is_empty = words.is_empty();
        let Some(config) = self.section("config") else {
            return;
        };
        match config
            .get_mut("requirements")
            .and_then(Value::as_object_mut)
        {
            Some(known) if is_empty => {
                known.remove("mandatory");
                if known.is_empty() {
                    config.remove("requirements");
                }
            }
            Some(known) => {
                known.set("mandatory", Value::Array(words));
            }
            None if is_empty => {}
            None => {
                config.set("requirements", object([("mandatory", Value::Array(words))]));
            }
        }
    }

    fn set_config(&mut self, key: &str, value: Value, remove: bool) {
        if let Some(config) = self.section("config") {
            if remove {
                config.remove(key);
            } else {
                config.set(key, value);
            }
        }
    }

    fn drop_references(&mut self, section: &str, list: &str, id: u32) {
        let Some(section) = self.section(section) else {
            return;
        };
        let keys: Vec<String> = section
            .iter()
            .map(|member| member.key().to_string())
            .collect();
        for key in keys {
            if let Some(object) = section.get_mut(&key).and_then(Value::as_object_mut) {
                drop_reference(object, list, id);
            }
        }
    }
}

fn push_reference(object: &mut Object, list: &str, id: u32) {
    if let Some(list) = object.get_mut(list).and_then(Value::as_array_mut)
        && !list.iter().any(|value| names(value, id))
    {
        list.push(id_value(&id));
    }
}

fn drop_reference(object: &mut Object, list: &str, id: u32) {
    if let Some(list) = object.get_mut(list).and_then(Value::as_array_mut) {
        list.retain(|value| !names(value, id));
    }
}

fn names(value: &Value, id: u32) -> bool {
    value.as_c_str().and_then(canonical_id) == Some(id)
}

/// Gives the length of the area for a key of this many bytes: 4000 stripes, whole 4096-byte blocks.
#[must_use]
pub fn area_bytes(key_bytes: u32) -> u64 {
    // 2^32 * 4000 fits 64 bits.
    u64::from(key_bytes)
        .saturating_mul(STRIPES)
        .next_multiple_of(4096)
}

/// Objects that have ids.
#[derive(Clone, Copy)]
enum Kind {
    Keyslot,
    Token,
    Digest,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Keyslot => "keyslot",
            Self::Token => "token",
            Self::Digest => "digest",
        }
    }

    const fn section(self) -> &'static str {
        match self {
            Self::Keyslot => "keyslots",
            Self::Token => "tokens",
            Self::Digest => "digests",
        }
    }

    const fn max(self) -> u32 {
        match self {
            Self::Keyslot | Self::Token => MAX_CREATED,
            Self::Digest => MAX_CREATED_DIGESTS,
        }
    }
}
