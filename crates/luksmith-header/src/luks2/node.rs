//! Typed access to one value of the tree, with its path for messages: the ways in which cryptsetup
//! looks at strings and numbers.

use alloc::{string::ToString, vec::Vec};

use crate::{
    Error,
    error::{Fault, JsonPath, Quoted},
    json::{Object, Value},
};

/// Where a value stands, as a chain on the stack: no path is built unless an error needs it.
#[derive(Clone, Copy)]
enum Place<'p> {
    Top,
    Member(&'p Place<'p>, &'p str),
    Element(&'p Place<'p>, usize),
}

impl Place<'_> {
    fn path(&self) -> JsonPath {
        match self {
            Self::Top => JsonPath::top(),
            Self::Member(parent, key) => parent.path().member(key),
            Self::Element(parent, position) => parent.path().index(*position),
        }
    }
}

/// A value of the tree (`'t`) and its place (`'p`).
#[derive(Clone, Copy)]
pub(crate) struct Node<'t, 'p> {
    value: &'t Value,
    place: Place<'p>,
}

/// An object of the tree and its place.
#[derive(Clone, Copy)]
pub(crate) struct ObjectNode<'t, 'p> {
    object: &'t Object,
    place: Place<'p>,
}

impl<'t, 'p> Node<'t, 'p> {
    pub(crate) fn path(&self) -> JsonPath {
        self.place.path()
    }

    pub(crate) fn fail<T>(&self, fault: Fault) -> Result<T, Error> {
        Err(Error::Field {
            path: self.path(),
            fault,
        })
    }

    fn wrong_type<T>(&self, expected: &'static str) -> Result<T, Error> {
        self.fail(Fault::Type {
            expected,
            found: self.value.kind(),
        })
    }

    pub(crate) fn object(&self) -> Result<ObjectNode<'t, 'p>, Error> {
        match self.value.as_object() {
            Some(object) => Ok(ObjectNode {
                object,
                place: self.place,
            }),
            None => self.wrong_type("an object"),
        }
    }

    /// Gives the elements of an array.
    pub(crate) fn elements<'s>(&'s self) -> Result<impl Iterator<Item = Node<'t, 's>>, Error> {
        match self.value.as_array() {
            Some(values) => Ok(values
                .iter()
                .enumerate()
                .map(move |(position, value)| Node {
                    value,
                    place: Place::Element(&self.place, position),
                })),
            None => self.wrong_type("an array"),
        }
    }

    /// Gives the strings of an array of nothing else, each up to its first zero character.
    pub(crate) fn strings(&self) -> Result<Vec<&'t str>, Error> {
        self.elements()?.map(|element| element.text()).collect()
    }

    /// Gives a string up to its first zero character.
    pub(crate) fn text(&self) -> Result<&'t str, Error> {
        match self.value.as_c_str() {
            Some(text) => Ok(text),
            None => self.wrong_type("a string"),
        }
    }

    /// Gives a string that is not empty, up to its first zero character.
    pub(crate) fn word(&self) -> Result<&'t str, Error> {
        let text = self.text()?;
        if text.is_empty() {
            return self.fail(Fault::Empty);
        }
        Ok(text)
    }

    /// Gives a number of 64 bits from a string of digits only.
    pub(crate) fn strict_decimal(&self) -> Result<u64, Error> {
        let text = self.word()?;
        match strict_decimal(text) {
            Some(number) => Ok(number),
            None => self.fail(Fault::Decimal {
                found: Quoted::new(text),
            }),
        }
    }

    /// Gives a number of 64 bits from a string, as `strtoull` reads it.
    pub(crate) fn loose_decimal(&self) -> Result<u64, Error> {
        let text = self.word()?;
        match loose_decimal(text) {
            Some(number) => Ok(number),
            None => self.fail(Fault::Decimal {
                found: Quoted::new(text),
            }),
        }
    }

    /// Gives a size: `None` for the word "dynamic", else a strict decimal.
    pub(crate) fn size(&self) -> Result<Option<u64>, Error> {
        if self.word()? == "dynamic" {
            return Ok(None);
        }
        self.strict_decimal().map(Some)
    }

    /// Gives an integer that fits 32 bits without sign.
    pub(crate) fn unsigned32(&self) -> Result<u32, Error> {
        match self.value.as_integer() {
            Some(number) => match number.as_u32() {
                Some(value) => Ok(value),
                None => self.fail(Fault::Unsigned32 {
                    found: Quoted::new(number.text()),
                }),
            },
            None => self.wrong_type("an integer"),
        }
    }

    /// Gives an integer that fits 64 bits without sign.
    pub(crate) fn unsigned64(&self) -> Result<u64, Error> {
        let number = self
            .value
            .as_integer()
            .and_then(crate::json::Number::saturated);
        match number.map(u64::try_from) {
            Some(Ok(value)) => Ok(value),
            _ => self.wrong_type("an integer from 0 up"),
        }
    }

    /// Gives an integer of a field that is not range-checked, as cryptsetup uses it.
    pub(crate) fn unchecked32(&self) -> Result<u32, Error> {
        match self
            .value
            .as_integer()
            .and_then(crate::json::Number::as_unchecked_u32)
        {
            Some(value) => Ok(value),
            None => self.wrong_type("an integer"),
        }
    }

    pub(crate) fn value(&self) -> &'t Value {
        self.value
    }

    /// Checks that the number is a multiple.
    pub(crate) fn multiple(&self, found: u64, of: u64) -> Result<(), Error> {
        if found.is_multiple_of(of) {
            Ok(())
        } else {
            self.fail(Fault::Multiple { found, of })
        }
    }
}

impl<'t, 'p> ObjectNode<'t, 'p> {
    pub(crate) fn top(object: &'t Object) -> Self {
        Self {
            object,
            place: Place::Top,
        }
    }

    pub(crate) fn object(&self) -> &'t Object {
        self.object
    }

    pub(crate) fn path(&self) -> JsonPath {
        self.place.path()
    }

    pub(crate) fn fail<T>(&self, fault: Fault) -> Result<T, Error> {
        Err(Error::Field {
            path: self.path(),
            fault,
        })
    }

    /// Gives a member that must be there.
    pub(crate) fn member<'s>(&'s self, key: &'s str) -> Result<Node<'t, 's>, Error> {
        match self.optional(key) {
            Some(node) => Ok(node),
            None => Err(Error::Field {
                path: self.path().member(key),
                fault: Fault::Missing,
            }),
        }
    }

    /// Gives a member that may be missing.
    pub(crate) fn optional<'s>(&'s self, key: &'s str) -> Option<Node<'t, 's>> {
        self.object.get(key).map(|value| Node {
            value,
            place: Place::Member(&self.place, key),
        })
    }

    /// Gives all members, with their keys.
    pub(crate) fn members<'s>(&'s self) -> impl Iterator<Item = (&'t str, Node<'t, 's>)>
    where
        't: 's,
    {
        self.object.iter().map(|member| {
            let node = Node {
                value: member.value(),
                place: Place::Member(&self.place, member.key()),
            };
            (member.key(), node)
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.object.len()
    }
}

/// Reads digits only, any number of leading zeros.
pub(crate) fn strict_decimal(text: &str) -> Option<u64> {
    let digits_only = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits_only { text.parse().ok() } else { None }
}

/// Reads as `strtoull` with base 10 does, the whole text: white space, a sign, digits; a minus
/// wraps around.
pub(crate) fn loose_decimal(text: &str) -> Option<u64> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    if let Some(digits) = text.strip_prefix('-') {
        return strict_decimal(digits).map(u64::wrapping_neg);
    }
    strict_decimal(text.strip_prefix('+').unwrap_or(text))
}

/// Gives what `atoi` makes of a key of digits: saturated to 64 bits, then cut to 32.
pub(crate) fn atoi(key: &str) -> i32 {
    let saturated = match strict_decimal(key) {
        Some(value) => i64::try_from(value).unwrap_or(i64::MAX),
        None if key.is_empty() => 0,
        None => i64::MAX,
    };
    let [.., a, b, c, d] = saturated.to_be_bytes();
    i32::from_be_bytes([a, b, c, d])
}

/// Gives the id that a key spells in canonical form: no leading zeros, below 2^31.
pub(crate) fn canonical_id(key: &str) -> Option<u32> {
    let id: u32 = strict_decimal(key)?.try_into().ok()?;
    (i32::try_from(id).is_ok() && id.to_string() == key).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_in_the_two_measured_ways() {
        assert_eq!(strict_decimal("00012288"), Some(12288));
        assert_eq!(strict_decimal("18446744073709551615"), Some(u64::MAX));
        assert_eq!(strict_decimal("18446744073709551616"), None);
        for refused in ["", "+1", "-1", " 1", "1 ", "0x10"] {
            assert_eq!(strict_decimal(refused), None, "{refused:?}");
        }
        assert_eq!(loose_decimal(" \t\u{b}+12288"), Some(12288));
        assert_eq!(loose_decimal("-1"), Some(u64::MAX));
        assert_eq!(loose_decimal("-18446744073709539328"), Some(12288));
        for refused in ["", " ", "-", "+-1", "1 ", "- 1", "18446744073709551616"] {
            assert_eq!(loose_decimal(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn keys_become_ids_as_in_c() {
        assert_eq!(atoi(""), 0);
        assert_eq!(atoi("007"), 7);
        assert_eq!(atoi("4294967296"), 0);
        assert_eq!(atoi("4294967295"), -1);
        assert_eq!(atoi("99999999999999999999"), -1);
        assert_eq!(canonical_id("0"), Some(0));
        assert_eq!(canonical_id("00"), None);
        assert_eq!(canonical_id(""), None);
        assert_eq!(canonical_id("2147483647"), Some(2_147_483_647));
        assert_eq!(canonical_id("2147483648"), None);
    }
}
