//! Text from headers, made harmless for messages.

use alloc::string::String;
use core::fmt::{self, Write};

/// Most characters of one hostile text that a message shows.
const SHOWN: usize = 80;

/// Text from a header: control characters escaped, cut where it gets long.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quoted {
    text: String,
}

impl Quoted {
    /// Takes text of any kind and length.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut shown = String::new();
        push_escaped(&mut shown, text);
        Self { text: shown }
    }

    /// Gives the escaped text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn push_escaped(to: &mut String, text: &str) {
    for (position, character) in text.chars().enumerate() {
        if position == SHOWN {
            to.push_str("...");
            return;
        }
        if character.is_control() || matches!(character, '"' | '\\') {
            to.extend(character.escape_default());
        } else {
            to.push(character);
        }
    }
}

/// The place of a value in the metadata: `keyslots.0.kdf.salt`, `digests.1.segments[0]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct JsonPath {
    text: String,
}

impl JsonPath {
    /// Starts at the top object.
    #[must_use]
    pub const fn top() -> Self {
        Self {
            text: String::new(),
        }
    }

    /// Goes down to the member `key`.
    #[must_use]
    pub fn member(mut self, key: &str) -> Self {
        if !self.text.is_empty() {
            self.text.push('.');
        }
        if key.is_empty() {
            self.text.push_str("\"\"");
        } else {
            push_escaped(&mut self.text, key);
        }
        self
    }

    /// Goes down to the element at `position`.
    #[must_use]
    pub fn index(mut self, position: usize) -> Self {
        write!(self.text, "[{position}]").expect("a String takes every write");
        self
    }

    /// Goes down by a path that starts here.
    pub(crate) fn join(mut self, below: &Self) -> Self {
        if !self.text.is_empty() && !below.text.is_empty() {
            self.text.push('.');
        }
        self.text.push_str(&below.text);
        self
    }

    /// Gives the path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.text.as_str() {
            "" => "metadata",
            path => path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_escaped_and_cut() {
        let path = JsonPath::top().member("keyslots").member("a\n\"b").index(3);
        assert_eq!(path.as_str(), "keyslots.a\\n\\\"b[3]");
        assert_eq!(Quoted::new(&"x".repeat(5000)).as_str().len(), SHOWN + 3);
        assert_eq!(JsonPath::top().member("").as_str(), "\"\"");
    }
}
