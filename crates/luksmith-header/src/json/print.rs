//! JSON text in the two forms that cryptsetup writes.

use alloc::string::String;
use core::fmt::{self, Write};

use super::tree::{Object, Value};

/// How containers are broken over lines.
#[derive(Clone, Copy)]
enum Form {
    /// No white space at all: the form on disk.
    Compact,
    /// Two spaces per level, nothing after the colon: the form of a dump.
    Pretty,
}

impl Object {
    /// Gives the text without any white space, as it stands on disk.
    #[must_use]
    pub fn to_compact(&self) -> String {
        self.render(Form::Compact)
    }

    /// Gives the text with two spaces of indent per level, as a dump prints it, without a newline
    /// at the end.
    #[must_use]
    pub fn to_pretty(&self) -> String {
        self.render(Form::Pretty)
    }

    fn render(&self, form: Form) -> String {
        let mut out = String::new();
        write_object(&mut out, self, form, 0).expect("a String takes every write");
        out
    }
}

impl Value {
    /// Gives the text without any white space.
    #[must_use]
    pub fn to_compact(&self) -> String {
        let mut out = String::new();
        write_value(&mut out, self, Form::Compact, 0).expect("a String takes every write");
        out
    }

    /// Gives the text with two spaces of indent per level, without a newline at the end.
    #[must_use]
    pub fn to_pretty(&self) -> String {
        let mut out = String::new();
        write_value(&mut out, self, Form::Pretty, 0).expect("a String takes every write");
        out
    }
}

fn write_value(out: &mut String, value: &Value, form: Form, level: usize) -> fmt::Result {
    match value {
        Value::Null => out.write_str("null"),
        Value::Bool(true) => out.write_str("true"),
        Value::Bool(false) => out.write_str("false"),
        Value::Number(number) => out.write_str(number.text()),
        Value::String(text) => write_string(out, text),
        Value::Array(values) => {
            out.write_char('[')?;
            for (position, element) in values.iter().enumerate() {
                break_line(out, form, position, level.saturating_add(1))?;
                write_value(out, element, form, level.saturating_add(1))?;
            }
            end_lines(out, form, values.len(), level)?;
            out.write_char(']')
        }
        Value::Object(object) => write_object(out, object, form, level),
    }
}

fn write_object(out: &mut String, object: &Object, form: Form, level: usize) -> fmt::Result {
    out.write_char('{')?;
    for (position, member) in object.iter().enumerate() {
        break_line(out, form, position, level.saturating_add(1))?;
        write_string(out, member.key())?;
        out.write_char(':')?;
        write_value(out, member.value(), form, level.saturating_add(1))?;
    }
    end_lines(out, form, object.len(), level)?;
    out.write_char('}')
}

fn break_line(out: &mut String, form: Form, position: usize, level: usize) -> fmt::Result {
    if position > 0 {
        out.write_char(',')?;
    }
    match form {
        Form::Compact => Ok(()),
        Form::Pretty => new_line(out, level),
    }
}

fn end_lines(out: &mut String, form: Form, members: usize, level: usize) -> fmt::Result {
    match form {
        Form::Pretty if members > 0 => new_line(out, level),
        _ => Ok(()),
    }
}

fn new_line(out: &mut String, level: usize) -> fmt::Result {
    out.write_char('\n')?;
    (0..level).try_for_each(|_| out.write_str("  "))
}

/// Escapes what cryptsetup escapes: the quote, the backslash and everything below a space. A slash,
/// DEL and all that is not ASCII stand raw.
fn write_string(out: &mut String, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => out.write_str("\\\""),
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            '\u{8}' => out.write_str("\\b"),
            '\u{c}' => out.write_str("\\f"),
            control if control < ' ' => write!(out, "\\u{:04x}", u32::from(control)),
            other => out.write_char(other),
        }?;
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::super::{ParseLimits, parse_object};

    #[test]
    fn the_compact_form_has_no_white_space_and_escapes_only_what_it_must() {
        let text = concat!(
            r#"{ "a/b" : [ 1 , 2.50 , -3e5 , null , true ] ,"#,
            r#" "\u00e9\n\u0001\u007f\/\"" : { } , "e": [] }"#
        );
        let (object, _) = parse_object(text.as_bytes(), &ParseLimits::default()).unwrap();
        assert_eq!(
            object.to_compact(),
            "{\"a/b\":[1,2.50,-3e5,null,true],\"\u{e9}\\n\\u0001\u{7f}/\\\"\":{},\"e\":[]}"
        );
    }

    #[test]
    fn the_pretty_form_indents_by_two_and_keeps_empty_containers_short() {
        let (object, _) = parse_object(
            br#"{"a":{"0":{"k":[1,[]]}},"t":{}}"#,
            &ParseLimits::default(),
        )
        .unwrap();
        assert_eq!(
            object.to_pretty(),
            "{\n  \"a\":{\n    \"0\":{\n      \"k\":[\n        1,\n        []\n      ]\n    \
             }\n  },\n  \"t\":{}\n}"
        );
    }
}
