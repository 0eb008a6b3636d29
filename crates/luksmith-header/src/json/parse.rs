//! JSON text to the ordered tree, strict RFC 8259, bounded in depth and in elements.

use alloc::{string::String, vec::Vec};
use core::fmt;

use super::tree::{Number, Object, Value};

/// Deepest level of a value below the top object, which is level 0.
///
/// # Format
/// Measured with cryptsetup: docs/formats/luks2.md, "JSON text".
pub const MAX_DEPTH: usize = 31;

/// What a text may cost to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseLimits {
    /// Most values in the whole text, containers and their members counted alike.
    pub elements: usize,
}

impl Default for ParseLimits {
    fn default() -> Self {
        Self { elements: 65536 }
    }
}

/// Where a text stops being JSON, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("JSON byte {at}: {fault}")]
pub struct SyntaxError {
    /// Position of the first byte that does not fit, from the start of the text.
    pub at: usize,
    /// What is wrong there.
    pub fault: SyntaxFault,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyntaxFault {
    /// The text ends inside a value.
    Unfinished,
    /// A byte that may not stand here.
    Unexpected {
        /// The byte.
        byte: u8,
        /// What would have fitted.
        expected: &'static str,
    },
    /// A number with a leading zero.
    LeadingZero,
    /// A character below a space stands raw in a string.
    RawControl {
        /// The byte.
        byte: u8,
    },
    /// A backslash before something that is no escape.
    Escape,
    /// A string is not UTF-8.
    NotUtf8,
    /// A key holds a zero character.
    ZeroInKey,
    /// A value lies deeper than [`MAX_DEPTH`].
    TooDeep,
    /// There are more values than the limit allows.
    TooManyElements {
        /// The limit.
        limit: usize,
    },
}

impl fmt::Display for SyntaxFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfinished => f.write_str("the text ends inside a value"),
            Self::Unexpected { byte, expected } => {
                write!(f, "found byte 0x{byte:02x} where {expected} must stand")
            }
            Self::LeadingZero => f.write_str("a number starts with a needless zero"),
            Self::RawControl { byte } => {
                write!(f, "control byte 0x{byte:02x} stands unescaped in a string")
            }
            Self::Escape => f.write_str("unknown escape in a string"),
            Self::NotUtf8 => f.write_str("a string is not UTF-8"),
            Self::ZeroInKey => f.write_str("a key holds a zero character"),
            Self::TooDeep => write!(f, "a value lies more than {MAX_DEPTH} levels deep"),
            Self::TooManyElements { limit } => write!(
                f,
                "more than {limit} values; raise Limits::json_elements to read it"
            ),
        }
    }
}

/// Reads one object from the start of `text`; its first byte must be the opening brace.
///
/// Gives the object and the number of bytes it takes. Of a key that stands twice, the last value
/// wins at the first place.
///
/// # Errors
/// [`SyntaxError`] with the position of the first byte that does not fit.
pub fn parse_object(text: &[u8], limits: &ParseLimits) -> Result<(Object, usize), SyntaxError> {
    let mut reader = Reader {
        text,
        at: 0,
        limit: limits.elements,
        left: limits.elements,
    };
    reader.expect(b'{', "the opening brace of the top object")?;
    reader.count()?;
    let object = reader.object(0)?;
    Ok((object, reader.at))
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    limit: usize,
    left: usize,
}

impl Reader<'_> {
    fn fail<T>(&self, fault: SyntaxFault) -> Result<T, SyntaxError> {
        Err(SyntaxError { at: self.at, fault })
    }

    fn peek(&self) -> Result<u8, SyntaxError> {
        match self.text.get(self.at) {
            Some(&byte) => Ok(byte),
            None => self.fail(SyntaxFault::Unfinished),
        }
    }

    fn skip_one(&mut self) {
        // `at` stays within the text, whose length fits usize.
        self.at = self.at.saturating_add(1);
    }

    fn expect(&mut self, wanted: u8, expected: &'static str) -> Result<(), SyntaxError> {
        let byte = self.peek()?;
        if byte != wanted {
            return self.fail(SyntaxFault::Unexpected { byte, expected });
        }
        self.skip_one();
        Ok(())
    }

    fn skip_white_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.skip_one();
        }
    }

    fn count(&mut self) -> Result<(), SyntaxError> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => self.fail(SyntaxFault::TooManyElements { limit: self.limit }),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        if depth > MAX_DEPTH {
            return self.fail(SyntaxFault::TooDeep);
        }
        self.count()?;
        match self.peek()? {
            b'{' => {
                self.skip_one();
                Ok(Value::Object(self.object(depth)?))
            }
            b'[' => {
                self.skip_one();
                Ok(Value::Array(self.array(depth)?))
            }
            b'"' => {
                self.skip_one();
                Ok(Value::String(self.string()?))
            }
            b't' => self.word(b"true", Value::Bool(true)),
            b'f' => self.word(b"false", Value::Bool(false)),
            b'n' => self.word(b"null", Value::Null),
            b'-' | b'0'..=b'9' => self.number(),
            byte => self.fail(SyntaxFault::Unexpected {
                byte,
                expected: "a value",
            }),
        }
    }

    /// Reads the rest of an object whose brace has been taken.
    fn object(&mut self, depth: usize) -> Result<Object, SyntaxError> {
        let mut object = Object::new();
        self.skip_white_space();
        if self.peek()? == b'}' {
            self.skip_one();
            return Ok(object);
        }
        loop {
            self.expect(b'"', "a quoted key")?;
            let key = self.string()?;
            if key.contains('\0') {
                return self.fail(SyntaxFault::ZeroInKey);
            }
            self.skip_white_space();
            self.expect(b':', "a colon")?;
            self.skip_white_space();
            let value = self.value(depth.saturating_add(1))?;
            object.set(key, value);
            self.skip_white_space();
            match self.peek()? {
                b',' => self.skip_one(),
                b'}' => {
                    self.skip_one();
                    return Ok(object);
                }
                byte => {
                    return self.fail(SyntaxFault::Unexpected {
                        byte,
                        expected: "a comma or a closing brace",
                    });
                }
            }
            self.skip_white_space();
        }
    }

    /// Reads the rest of an array whose bracket has been taken.
    fn array(&mut self, depth: usize) -> Result<Vec<Value>, SyntaxError> {
        let mut values = Vec::new();
        self.skip_white_space();
        if self.peek()? == b']' {
            self.skip_one();
            return Ok(values);
        }
        loop {
            values.push(self.value(depth.saturating_add(1))?);
            self.skip_white_space();
            match self.peek()? {
                b',' => self.skip_one(),
                b']' => {
                    self.skip_one();
                    return Ok(values);
                }
                byte => {
                    return self.fail(SyntaxFault::Unexpected {
                        byte,
                        expected: "a comma or a closing bracket",
                    });
                }
            }
            self.skip_white_space();
        }
    }

    fn word(&mut self, word: &'static [u8], value: Value) -> Result<Value, SyntaxError> {
        for &letter in word {
            self.expect(letter, "true, false or null")?;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, SyntaxError> {
        let start = self.at;
        if self.peek()? == b'-' {
            self.skip_one();
        }
        let zero = self.peek()? == b'0';
        let digits = self.digits()?;
        if zero && digits > 1 {
            return self.fail(SyntaxFault::LeadingZero);
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.skip_one();
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.skip_one();
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.skip_one();
            }
            self.digits()?;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        match core::str::from_utf8(text) {
            Ok(text) => Ok(Value::Number(Number::from_checked_text(text))),
            Err(_) => self.fail(SyntaxFault::NotUtf8),
        }
    }

    /// Skips one or more digits and gives their number.
    fn digits(&mut self) -> Result<usize, SyntaxError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.text.get(self.at) {
            self.skip_one();
        }
        if self.at == start {
            let byte = self.peek()?;
            return self.fail(SyntaxFault::Unexpected {
                byte,
                expected: "a digit",
            });
        }
        Ok(self.at.saturating_sub(start))
    }

    /// Reads the rest of a string whose quote has been taken.
    fn string(&mut self) -> Result<String, SyntaxError> {
        let mut text = String::new();
        loop {
            let start = self.at;
            while let Some(&byte) = self.text.get(self.at) {
                if byte == b'"' || byte == b'\\' || byte < b' ' {
                    break;
                }
                self.skip_one();
            }
            let plain = self.text.get(start..self.at).unwrap_or_default();
            match core::str::from_utf8(plain) {
                Ok(plain) => text.push_str(plain),
                Err(error) => {
                    return Err(SyntaxError {
                        at: start.saturating_add(error.valid_up_to()),
                        fault: SyntaxFault::NotUtf8,
                    });
                }
            }
            match self.peek()? {
                b'"' => {
                    self.skip_one();
                    return Ok(text);
                }
                b'\\' => {
                    let character = self.escape()?;
                    text.push(character);
                }
                byte => return self.fail(SyntaxFault::RawControl { byte }),
            }
        }
    }

    /// Reads an escape from its backslash on.
    fn escape(&mut self) -> Result<char, SyntaxError> {
        let start = self.at;
        self.skip_one();
        let letter = self.peek()?;
        self.skip_one();
        match letter {
            b'"' => Ok('"'),
            b'\\' => Ok('\\'),
            b'/' => Ok('/'),
            b'b' => Ok('\u{8}'),
            b'f' => Ok('\u{c}'),
            b'n' => Ok('\n'),
            b'r' => Ok('\r'),
            b't' => Ok('\t'),
            b'u' => self.unicode_escape(),
            _ => Err(SyntaxError {
                at: start,
                fault: SyntaxFault::Escape,
            }),
        }
    }

    /// Reads the digits of a `\u` escape, and the second half of a surrogate pair. A half that
    /// stands alone becomes U+FFFD, as in cryptsetup.
    fn unicode_escape(&mut self) -> Result<char, SyntaxError> {
        let first = self.four_hex_digits()?;
        if !(0xd800..=0xdbff).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let back = self.at;
        if self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(b"\\u"))
        {
            self.at = self.at.saturating_add(2);
            let second = self.four_hex_digits()?;
            if (0xdc00..=0xdfff).contains(&second) {
                // Both halves are in range, so the sum lies between 0x10000 and 0x10ffff.
                let code = 0x1_0000_u32.saturating_add(((first & 0x3ff) << 10) | (second & 0x3ff));
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn four_hex_digits(&mut self) -> Result<u32, SyntaxError> {
        let mut value = 0_u32;
        for _ in 0..4 {
            let digit = char::from(self.peek()?).to_digit(16);
            match digit {
                Some(digit) => value = (value << 4) | digit,
                None => return self.fail(SyntaxFault::Escape),
            }
            self.skip_one();
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString};

    use super::*;

    fn fault(text: &str) -> (usize, SyntaxFault) {
        let error = parse_object(text.as_bytes(), &ParseLimits::default()).unwrap_err();
        (error.at, error.fault)
    }

    fn compact(text: &str) -> String {
        parse_object(text.as_bytes(), &ParseLimits::default())
            .unwrap()
            .0
            .to_compact()
    }

    #[test]
    fn the_extensions_of_cryptsetups_parser_are_refused_at_their_byte() {
        let unexpected = |byte, expected| SyntaxFault::Unexpected { byte, expected };
        assert_eq!(
            fault("[1]"),
            (0, unexpected(b'[', "the opening brace of the top object"))
        );
        assert_eq!(
            fault(" {}"),
            (0, unexpected(b' ', "the opening brace of the top object"))
        );
        assert_eq!(fault("{/* */}"), (1, unexpected(b'/', "a quoted key")));
        assert_eq!(fault("{\"a\":1,}"), (7, unexpected(b'}', "a quoted key")));
        assert_eq!(fault("{\"a\":[1,]}"), (8, unexpected(b']', "a value")));
        assert_eq!(fault("{'a':1}"), (1, unexpected(b'\'', "a quoted key")));
        assert_eq!(fault("{\"a\":True}"), (5, unexpected(b'T', "a value")));
        assert_eq!(
            fault("{\"a\":nan}"),
            (6, unexpected(b'a', "true, false or null"))
        );
        assert_eq!(fault("{\"a\":+1}"), (5, unexpected(b'+', "a value")));
        assert_eq!(fault("{\"a\":007}"), (8, SyntaxFault::LeadingZero));
        assert_eq!(fault("{\"a\":12.}"), (8, unexpected(b'}', "a digit")));
        assert_eq!(fault("{\"a\":12e+}"), (9, unexpected(b'}', "a digit")));
        assert_eq!(fault("{\"a\":-}"), (6, unexpected(b'}', "a digit")));
        assert_eq!(
            fault("{\"a\":\"\n\"}"),
            (6, SyntaxFault::RawControl { byte: b'\n' })
        );
        assert_eq!(fault("{\"a\":\"\\x41\"}"), (6, SyntaxFault::Escape));
        assert_eq!(fault("{\"a\":\"\\u12\"}"), (10, SyntaxFault::Escape));
        assert_eq!(fault("{\"a\\u0000b\":1}"), (11, SyntaxFault::ZeroInKey));
        assert_eq!(fault("{\"a\" 1}"), (5, unexpected(b'1', "a colon")));
        assert_eq!(
            fault("{\"a\":1 \"b\":2}"),
            (7, unexpected(b'"', "a comma or a closing brace"))
        );
        assert_eq!(fault("{\"a\":1"), (6, SyntaxFault::Unfinished));
        assert_eq!(fault("{\"a\":\u{c}1}"), (5, unexpected(0x0c, "a value")));
    }

    #[test]
    fn a_string_that_is_not_utf8_is_refused_at_its_byte() {
        let error = parse_object(b"{\"a\":\"x\xff\"}", &ParseLimits::default()).unwrap_err();
        assert_eq!((error.at, error.fault), (7, SyntaxFault::NotUtf8));
    }

    #[test]
    fn escapes_become_their_characters() {
        assert_eq!(
            compact(r#"{"a":"\ud83d\ude00 \ud83d \ude00 \ud83dA \ud83d\u0041"}"#),
            "{\"a\":\"\u{1f600} \u{fffd} \u{fffd} \u{fffd}A \u{fffd}A\"}"
        );
        assert_eq!(
            compact(r#"{"a":"\udbff\udfff\ud800\udc00"}"#),
            "{\"a\":\"\u{10ffff}\u{10000}\"}"
        );
        assert_eq!(compact(r#"{"a":"\u0000"}"#), r#"{"a":"\u0000"}"#);
    }

    #[test]
    fn values_down_to_level_31_are_read_and_no_deeper() {
        let nest = |arrays: usize, inner: &str| {
            format!(
                "{{\"a\":{}{inner}{}}}",
                "[".repeat(arrays),
                "]".repeat(arrays)
            )
        };
        assert!(parse_object(nest(31, "").as_bytes(), &ParseLimits::default()).is_ok());
        assert!(parse_object(nest(30, "1").as_bytes(), &ParseLimits::default()).is_ok());
        assert_eq!(fault(&nest(32, "")).1, SyntaxFault::TooDeep);
        assert_eq!(fault(&nest(31, "1")).1, SyntaxFault::TooDeep);
        assert_eq!(fault(&"{\"a\":".repeat(100_000)).1, SyntaxFault::TooDeep);
    }

    #[test]
    fn one_value_past_the_limit_is_refused() {
        let limits = ParseLimits { elements: 4 };
        assert!(parse_object(b"{\"a\":[1,2]}", &limits).is_ok());
        let error = parse_object(b"{\"a\":[1,2,3]}", &limits).unwrap_err();
        assert_eq!(error.fault, SyntaxFault::TooManyElements { limit: 4 });
        assert_eq!(
            error.to_string(),
            "JSON byte 10: more than 4 values; raise Limits::json_elements to read it"
        );
    }

    #[test]
    fn the_length_taken_ends_at_the_closing_brace() {
        let (_, used) = parse_object(b"{ } x", &ParseLimits::default()).unwrap();
        assert_eq!(used, 3);
    }
}
