//! From bytes to JSON without repeated fields, or words for what was pasted instead.

use serde_json::{Map, Value};

use crate::config::reader::shown::shown;
use crate::config::reader::{Problems, below};
use crate::copied::is_variable;

/// Parses the JSON of a configuration, `{}` if it is empty; `None` after adding the mistakes.
///
/// A field that occurs twice is a mistake, since one of the two would be dropped silently.
pub(super) fn read(bytes: &[u8], problems: &Problems) -> Option<Value> {
    if bytes.trim_ascii().is_empty() {
        return Some(Value::Object(Map::new()));
    }
    let document = match serde_json::from_slice(bytes) {
        Ok(document) => document,
        Err(error) => {
            reject(bytes, &error, problems);
            return None;
        }
    };
    let wrapped = match &document {
        Value::Object(fields) if fields.contains_key("@type") => {
            "the JSON itself, found its wrapper in Envoy's configuration (\"@type\"): what belongs \
             here is its \"value\""
        }
        Value::String(_) => "an object, found a text: the JSON has one layer of quotes too many",
        _ => {
            note_repeated_fields(bytes, problems);
            return Some(document);
        }
    };
    problems.expected("configuration", wrapped);
    None
}

/// An object or list that is still open.
struct Level {
    path: String,
    is_object: bool,
    /// The names of an object so far.
    names: Vec<String>,
    /// The number of commas so far.
    commas: usize,
    /// Whether a name comes next.
    wants_name: bool,
}

/// Adds each field that occurs twice to the mistakes. The JSON is valid; of two fields with one
/// name, serde_json silently keeps the last.
fn note_repeated_fields(bytes: &[u8], problems: &Problems) {
    let mut levels: Vec<Level> = Vec::new();
    let mut rest = bytes;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'{' | b'[' => {
                let path = match levels.last() {
                    Some(level) => match level.names.last() {
                        Some(name) => below(&level.path, &shown(name)),
                        None => format!("{}[{}]", level.path, level.commas),
                    },
                    None => String::new(),
                };
                levels.push(Level {
                    path,
                    is_object: *byte == b'{',
                    names: Vec::new(),
                    commas: 0,
                    wants_name: *byte == b'{',
                });
            }
            b'}' | b']' => drop(levels.pop()),
            b'"' => {
                let length = end_of_text(rest);
                let (text, behind) = rest.split_at_checked(length).unwrap_or_default();
                rest = behind;
                if let Some(level) = levels.last_mut()
                    && level.wants_name
                {
                    level.wants_name = false;
                    let name = unescaped(text);
                    if level.names.contains(&name) {
                        problems.note(
                            below(&level.path, &shown(&name)),
                            "this field occurs twice, and only one of them could count",
                        );
                    }
                    level.names.push(name);
                }
            }
            b',' => {
                if let Some(level) = levels.last_mut() {
                    level.commas += 1;
                    level.wants_name = level.is_object;
                }
            }
            _ => {}
        }
    }
}

/// Returns the length of a text up to and including its closing quote.
fn end_of_text(bytes: &[u8]) -> usize {
    let mut is_escaped = false;
    let ends = |byte: &u8| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    };
    bytes.iter().position(ends).map_or(bytes.len(), |at| at + 1)
}

/// Decodes a name, given what follows its opening quote.
fn unescaped(text: &[u8]) -> String {
    match serde_json::from_slice(&[b"\"", text].concat()) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}

/// Adds the mistake that the bytes are no JSON, with a guess at what they are.
#[cold]
fn reject(bytes: &[u8], error: &serde_json::Error, problems: &Problems) {
    if let Some(what) = of_another_kind(bytes) {
        problems.expected("configuration", what);
        return;
    }
    // serde_json's own words: they name what it was looking for, never what it found.
    let words = error.to_string();
    let words = words.split_once(" at line ").map_or("", |(words, _)| words);
    let (line, column) = (error.line(), error.column());
    let hint = hint(bytes, line, column);
    problems.expected(
        "configuration",
        format_args!("JSON, which it is not at line {line} column {column}: {words}{hint}"),
    );
}

/// Returns what the bytes are, if they are not even text.
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

/// Returns whether these are the bytes of a `google.protobuf.Struct`: only entries of field 1,
/// each with a name in its field 1 and a value in its field 2.
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

/// Returns the content of a length-delimited field with this tag, and what follows it.
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

/// Guesses what was pasted in place of JSON, and says what to do.
fn hint(bytes: &[u8], line: usize, column: usize) -> &'static str {
    let whole = bytes.trim_ascii();
    let is_template = whole.starts_with(b"{{") || whole.starts_with(b"$");
    if is_template || std::str::from_utf8(whole).is_ok_and(is_variable) {
        return "; it is a variable or a template that was not expanded";
    }
    // "{" and what follows it, in base64.
    let in_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=\r\n".contains(byte);
    if whole.len() > 8 && whole.starts_with(b"e") && whole.iter().all(in_base64) {
        return "; it looks like base64, which has to be decoded first";
    }
    // Parsing stopped at the byte that does not fit.
    let here = bytes
        .split(|byte| *byte == b'\n')
        .nth(line.saturating_sub(1));
    let from = here.and_then(|here| here.get(column.saturating_sub(1)..));
    match from.unwrap_or_default() {
        [b'\'' | b'`', ..] | [0xE2, 0x80, 0x98..=0x9F, ..] => {
            return "; JSON has straight double quotes and no others";
        }
        [b'/' | b'#', ..] => return "; JSON has no comments",
        [0xC2, 0xA0, ..] | [0xE2, 0x80 | 0x81, ..] | [0xEF, 0xBB, 0xBF, ..] => {
            return "; there is white space that is not ASCII";
        }
        _ => {}
    }
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let key = whole.iter().take_while(|byte| is_name(byte)).count();
    let is_key = key > 0 && whole.get(key) == Some(&b':');
    if is_key || whole.starts_with(b"- ") || whole.starts_with(b"---") {
        return "; it looks like YAML, which has to be turned into JSON";
    }
    ""
}
