//! From bytes to JSON: one that has no field twice, or words for what was pasted instead.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::core::config::reader::{Problems, below, shown};
use crate::core::copied::{is_blank, is_quote, is_variable};

/// The JSON of a configuration; an empty one is `{}`. `None` after noting what is wrong.
///
/// A field that occurs twice is a problem by its path, since one of the two would be
/// dropped without a word.
pub(super) fn read(bytes: &[u8], problems: &Problems) -> Option<Value> {
    if bytes.trim_ascii().is_empty() {
        return Some(Value::Object(Map::new()));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let mut path = String::new();
    let reading = Reading {
        path: &mut path,
        problems,
    };
    let read = reading
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    match read {
        Ok(Value::Object(fields)) if fields.contains_key("@type") => {
            problems.note(
                "configuration",
                "expected the JSON itself, found its wrapper in Envoy's configuration (\"@type\"): \
                 what belongs here is its \"value\"",
            );
            None
        }
        Ok(Value::String(_)) => {
            problems.note(
                "configuration",
                "expected an object, found a text: the JSON has one layer of quotes too many",
            );
            None
        }
        Ok(document) => Some(document),
        Err(error) => {
            refuse(bytes, &error, problems);
            None
        }
    }
}

fn refuse(bytes: &[u8], error: &serde_json::Error, problems: &Problems) {
    if let Some(what) = of_another_kind(bytes) {
        problems.expected("configuration", what);
        return;
    }
    // serde_json's own words: they name what it was looking for, never what it found.
    let mut words = error.to_string();
    if let Some(place) = words.rfind(" at line ") {
        words.truncate(place);
    }
    let (line, column) = (error.line(), error.column());
    let hint = hint(bytes, line, column);
    problems.expected(
        "configuration",
        format_args!("JSON, which it is not at line {line} column {column}: {words}{hint}"),
    );
}

/// What is no JSON text at all.
fn of_another_kind(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        return Some("JSON without a byte order mark in front of it: save it as UTF-8 without BOM");
    }
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Some(
            "JSON in UTF-8, found a byte order mark of UTF-16: save it as UTF-8 without BOM",
        );
    }
    if is_struct(bytes) {
        return Some(
            "JSON text, found the bytes of a google.protobuf.Struct: use \
             google.protobuf.StringValue with JSON text in its \"value\"",
        );
    }
    let is_text = |byte: &u8| *byte >= b' ' || byte.is_ascii_whitespace();
    if !bytes.trim_ascii_start().starts_with(b"{") && !bytes.iter().all(is_text) {
        return Some(
            "JSON text, found bytes that are no text, such as another protobuf message's: use \
             google.protobuf.StringValue with JSON text in its \"value\"",
        );
    }
    None
}

/// Whether these are the bytes of a `google.protobuf.Struct`: nothing but entries of
/// field 1, each with a name in its field 1 and a value in its field 2.
fn is_struct(mut bytes: &[u8]) -> bool {
    const FIRST: u8 = 0x0A;
    const SECOND: u8 = 0x12;
    while !bytes.is_empty() {
        let Some((entry, rest)) = field(bytes, FIRST) else {
            return false;
        };
        let Some((name, value)) = field(entry, FIRST) else {
            return false;
        };
        let ends_with_its_value = field(value, SECOND).is_some_and(|(_, rest)| rest.is_empty());
        if std::str::from_utf8(name).is_err() || !ends_with_its_value {
            return false;
        }
        bytes = rest;
    }
    true
}

/// The content of a length-delimited field with this tag, and what is behind it.
fn field(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes.strip_prefix(&[tag])?;
    let mut length = 0_usize;
    for shift in [0, 7, 14, 21] {
        let (byte, behind) = rest.split_first()?;
        rest = behind;
        length |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return rest.split_at_checked(length);
        }
    }
    None
}

/// What it may be in place of JSON, with what to do.
fn hint(bytes: &[u8], line: usize, column: usize) -> &'static str {
    let text = String::from_utf8_lossy(bytes);
    let whole = text.trim();
    if is_variable(whole) || whole.starts_with("{{") || whole.starts_with("${") {
        return "; it is a variable or a template that was not expanded";
    }
    // "{" and what follows it, in base64.
    let in_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=\r\n".contains(&byte);
    if whole.len() > 8 && whole.starts_with('e') && whole.bytes().all(in_base64) {
        return "; it looks like base64, which has to be decoded first";
    }
    // The place is where reading ended: just behind the character that does not fit.
    let here = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let from = here.as_bytes().get(column.saturating_sub(1)..);
    let rest = String::from_utf8_lossy(from.unwrap_or_default());
    match rest.chars().next() {
        Some(character) if is_quote(character) && character != '"' => {
            return "; JSON has straight double quotes and no others";
        }
        Some('/' | '#') => return "; JSON has no comments",
        Some(character) if is_blank(character) && !character.is_ascii() => {
            return "; there is white space that is not ASCII";
        }
        _ => {}
    }
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let first = whole.lines().next().unwrap_or_default();
    let key = first.bytes().take_while(|byte| name(byte)).count();
    let after_key = first.as_bytes().get(key).copied();
    if first.starts_with("- ") || first.starts_with("---") || key > 0 && after_key == Some(b':') {
        return "; it looks like YAML, which has to be turned into JSON";
    }
    ""
}

/// Reads a value, and notes each name that an object has twice.
struct Reading<'a> {
    /// Where the value stands.
    path: &'a mut String,
    problems: &'a Problems,
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        let length = self.path.len();
        loop {
            self.path.push_str(&format!("[{}]", values.len()));
            let item = Reading {
                path: &mut *self.path,
                problems: self.problems,
            };
            let value = list.next_element_seed(item)?;
            self.path.truncate(length);
            match value {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        let outer = self.path.clone();
        while let Some(name) = object.next_key::<String>()? {
            *self.path = below(&outer, &shown(&name));
            let field = Reading {
                path: &mut *self.path,
                problems: self.problems,
            };
            let value = object.next_value_seed(field)?;
            if fields.contains_key(&name) {
                self.problems.note(
                    &*self.path,
                    "this field occurs twice, and only one of them could count",
                );
            }
            fields.insert(name, value);
            self.path.clone_from(&outer);
        }
        Ok(Value::Object(fields))
    }
}
