//! The tree: values, numbers with their text, objects that keep the order of their members.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, with the text it was read from.
    Number(Number),
    /// A string. It may hold a zero character, see [`Value::as_c_str`].
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Object),
}

/// What sort of value a [`Value`] is, with a name to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number without fraction or exponent.
    Integer,
    /// A number with fraction or exponent.
    Fraction,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Integer => "an integer",
            Self::Fraction => "a number with fraction or exponent",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        })
    }
}

impl Value {
    /// Makes a string value.
    #[must_use]
    pub fn string(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// Makes an integer value.
    #[must_use]
    pub fn integer(value: u64) -> Self {
        Self::Number(Number::from(value))
    }

    /// Tells what sort of value this is.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::Null => ValueKind::Null,
            Self::Bool(_) => ValueKind::Bool,
            Self::Number(number) if number.is_integer() => ValueKind::Integer,
            Self::Number(_) => ValueKind::Fraction,
            Self::String(_) => ValueKind::String,
            Self::Array(_) => ValueKind::Array,
            Self::Object(_) => ValueKind::Object,
        }
    }

    /// Gives the object, if this is one.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Gives the object for changing, if this is one.
    #[must_use]
    pub fn as_object_mut(&mut self) -> Option<&mut Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Gives the elements, if this is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    /// Gives the elements for changing, if this is an array.
    #[must_use]
    pub fn as_array_mut(&mut self) -> Option<&mut Vec<Self>> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    /// Gives the whole string, if this is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Gives the string up to its first zero character, if this is a string: what a program
    /// written in C sees of it.
    #[must_use]
    pub fn as_c_str(&self) -> Option<&str> {
        let text = self.as_str()?;
        Some(text.split('\0').next().unwrap_or(text))
    }

    /// Gives the number, if this is an integer (no fraction, no exponent).
    #[must_use]
    pub fn as_integer(&self) -> Option<&Number> {
        match self {
            Self::Number(number) if number.is_integer() => Some(number),
            _ => None,
        }
    }
}

/// A JSON number: its text, so that rewriting does not change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    text: String,
}

impl Number {
    /// Takes text that the parser has seen to be a number.
    pub(super) fn from_checked_text(text: &str) -> Self {
        Self {
            text: text.to_string(),
        }
    }

    /// Gives the text as it stood.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Tells whether there is neither fraction nor exponent.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        !self.text.contains(['.', 'e', 'E'])
    }

    /// Gives an integer saturated to the range -2^63 to 2^64 - 1, as cryptsetup reads it; `None`
    /// for a number with fraction or exponent.
    #[must_use]
    pub fn saturated(&self) -> Option<i128> {
        if !self.is_integer() {
            return None;
        }
        let (negative, digits) = match self.text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, self.text.as_str()),
        };
        // The text holds digits only, so a failure to parse can only mean "too large".
        let magnitude = digits.parse::<u64>();
        Some(match (negative, magnitude) {
            (false, value) => i128::from(value.unwrap_or(u64::MAX)),
            (true, Ok(value)) => (-i128::from(value)).max(i128::from(i64::MIN)),
            (true, Err(_)) => i128::from(i64::MIN),
        })
    }

    /// Gives an integer that fits 32 bits without sign.
    #[must_use]
    pub fn as_u32(&self) -> Option<u32> {
        u32::try_from(self.saturated()?).ok()
    }

    /// Gives an integer as cryptsetup uses fields that it does not check: cut to the range of a
    /// signed 32-bit number, then taken without sign. So -4 is 4 294 967 292.
    #[must_use]
    pub fn as_unchecked_u32(&self) -> Option<u32> {
        let clamped = self
            .saturated()?
            .clamp(i128::from(i32::MIN), i128::from(i32::MAX));
        i32::try_from(clamped).ok().map(i32::cast_unsigned)
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self {
            text: value.to_string(),
        }
    }
}

/// One member of an [`Object`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub(super) key: String,
    pub(super) value: Value,
}

impl Member {
    /// Gives the key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Gives the value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }
}

/// Objects of more members than this are searched through an index.
const INDEX_FROM: usize = 16;

/// A JSON object that keeps the order of its members.
#[derive(Clone, Debug, Default)]
pub struct Object {
    members: Vec<Member>,
    /// Positions by key; empty while there are few members. Without it, a hostile object of many
    /// members would cost quadratic time.
    index: BTreeMap<String, usize>,
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

impl Eq for Object {}

impl Object {
    /// Makes an empty object.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            members: Vec::new(),
            index: BTreeMap::new(),
        }
    }

    /// Gives the number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Tells whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Gives the members in their order.
    pub fn iter(&self) -> core::slice::Iter<'_, Member> {
        self.members.iter()
    }

    fn position(&self, key: &str) -> Option<usize> {
        if self.index.is_empty() {
            self.members.iter().position(|member| member.key == key)
        } else {
            self.index.get(key).copied()
        }
    }

    /// Gives the value under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        let position = self.position(key)?;
        self.members.get(position).map(|member| &member.value)
    }

    /// Gives the value under `key` for changing.
    #[must_use]
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        let position = self.position(key)?;
        self.members
            .get_mut(position)
            .map(|member| &mut member.value)
    }

    /// Sets the value under `key`: in place if the key exists, else as the last member.
    ///
    /// Gives back the value that was there.
    pub fn set(&mut self, key: impl Into<String>, value: Value) -> Option<Value> {
        let key = key.into();
        if let Some(old) = self.get_mut(&key) {
            return Some(core::mem::replace(old, value));
        }
        if !self.index.is_empty() {
            self.index.insert(key.clone(), self.members.len());
        }
        self.members.push(Member { key, value });
        if self.index.is_empty() && self.members.len() > INDEX_FROM {
            self.rebuild_index();
        }
        None
    }

    /// Takes the member under `key` out; the order of the others stays.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let position = self.position(key)?;
        let member = self.members.remove(position);
        self.rebuild_index();
        Some(member.value)
    }

    /// Keeps only the members that `keep` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Value) -> bool) {
        self.members
            .retain(|member| keep(&member.key, &member.value));
        self.rebuild_index();
    }

    fn rebuild_index(&mut self) {
        self.index.clear();
        if self.members.len() > INDEX_FROM {
            self.index = self
                .members
                .iter()
                .enumerate()
                .map(|(position, member)| (member.key.clone(), position))
                .collect();
        }
    }
}

impl<'a> IntoIterator for &'a Object {
    type Item = &'a Member;
    type IntoIter = core::slice::Iter<'a, Member>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K: Into<String>> FromIterator<(K, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(members: I) -> Self {
        let mut object = Self::new();
        for (key, value) in members {
            object.set(key, value);
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_member_set_twice_keeps_its_first_place_and_its_last_value() {
        let mut object: Object = [("a", Value::integer(1)), ("b", Value::integer(2))]
            .into_iter()
            .collect();
        assert_eq!(object.set("a", Value::integer(3)), Some(Value::integer(1)));
        let keys: Vec<_> = object.iter().map(Member::key).collect();
        assert_eq!(keys, ["a", "b"]);
        assert_eq!(object.get("a"), Some(&Value::integer(3)));
    }

    #[test]
    fn the_index_follows_inserting_and_removing() {
        let mut object = Object::new();
        for i in 0..100_u64 {
            object.set(format!("k{i}"), Value::integer(i));
        }
        assert_eq!(object.remove("k50"), Some(Value::integer(50)));
        assert_eq!(object.get("k50"), None);
        assert_eq!(object.get("k99"), Some(&Value::integer(99)));
        object.retain(|_, value| value.as_integer().and_then(Number::as_u32) < Some(10));
        assert_eq!(object.len(), 10);
        object.set("k50", Value::Null);
        assert_eq!(object.get("k50"), Some(&Value::Null));
        assert_eq!(object.get("k9"), Some(&Value::integer(9)));
    }

    #[test]
    fn numbers_saturate_and_wrap_as_measured() {
        let number = Number::from_checked_text;
        assert_eq!(
            number("99999999999999999999").saturated(),
            Some(i128::from(u64::MAX))
        );
        assert_eq!(
            number("-99999999999999999999").saturated(),
            Some(i128::from(i64::MIN))
        );
        assert_eq!(number("-4").as_unchecked_u32(), Some(4_294_967_292));
        assert_eq!(
            number("1099511627776").as_unchecked_u32(),
            Some(2_147_483_647)
        );
        assert_eq!(number("4294967296").as_u32(), None);
        assert_eq!(number("1.0").saturated(), None);
    }
}
