//! JSON values that know their path, and the list of mistakes.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde_json::{Map, Value};

use crate::copied::{A_KEY, Alphabet, Place, is_variable, remnant};
use crate::secret::Secret;
use crate::time::Millis;

/// The mistakes of a configuration, each with the path of its field.
#[derive(Debug, Default)]
pub struct Problems {
    found: RefCell<Vec<String>>,
}

impl Problems {
    /// Adds `path: expected …`.
    pub fn expected(&self, path: impl fmt::Display, what: impl fmt::Display) {
        self.note(path, format_args!("expected {what}"));
    }

    /// Adds `path: what`.
    pub fn note(&self, path: impl fmt::Display, what: impl fmt::Display) {
        self.add(format_args!("{path}: {what}"));
    }

    #[cold]
    fn add(&self, problem: fmt::Arguments<'_>) {
        self.found.borrow_mut().push(problem.to_string());
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// Returns the mistakes one by one.
    pub fn each(&self) -> Vec<String> {
        self.found.borrow().clone()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.found.borrow().join("; "))
    }
}

/// The environment of the VM.
pub trait Environment {
    /// Returns the value of a variable, if it is set.
    fn variable(&self, name: &str) -> Option<String>;
}

impl<F: Fn(&str) -> Option<String>> Environment for F {
    fn variable(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// A value and its path. Methods that read it return `None` after adding the mistake.
#[derive(Clone)]
pub struct Node<'a> {
    value: &'a Value,
    path: String,
    problems: &'a Problems,
}

impl<'a> Node<'a> {
    /// Returns the node of the whole document.
    pub fn root(value: &'a Value, problems: &'a Problems) -> Node<'a> {
        Node {
            value,
            path: String::new(),
            problems,
        }
    }

    /// Returns the path, such as `webhooks[0].url`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns whether the value is `null`.
    pub fn is_null(&self) -> bool {
        self.value.is_null()
    }

    /// Returns whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.value.is_object()
    }

    /// Returns whether the value is this text.
    pub fn is_text(&self, text: &str) -> bool {
        self.value.as_str() == Some(text)
    }

    /// Adds the mistake that something else was expected here.
    pub fn expected<T>(&self, what: impl fmt::Display) -> Option<T> {
        self.note_expected(&what);
        None
    }

    #[cold]
    fn note_expected(&self, what: &dyn fmt::Display) {
        let path = if self.path.is_empty() {
            "configuration"
        } else {
            &self.path
        };
        self.problems
            .expected(path, format_args!("{what}, found {}", kind(self.value)));
    }

    /// Reads an object with no other fields than these, which are separated by `, `.
    pub fn object(&self, fields: &str) -> Option<Object<'a>> {
        let Value::Object(map) = self.value else {
            return self.expected(format_args!("an object with {fields}"));
        };
        let is_known = |name: &str| fields.split(", ").any(|field| field == name);
        for name in map.keys().filter(|name| !is_known(name)) {
            let what = format_args!("unknown field; the fields here are {fields}");
            self.problems.note(self.below(&shown(name)), what);
        }
        Some(Object {
            map,
            node: self.clone(),
        })
    }

    /// Reads a list.
    pub fn list(&self) -> Option<Vec<Node<'a>>> {
        let Value::Array(items) = self.value else {
            return self.expected("a list");
        };
        let node = |(index, value)| Node {
            value,
            path: format!("{}[{index}]", self.path),
            problems: self.problems,
        };
        Some(items.iter().enumerate().map(node).collect())
    }

    /// Reads a text that is not empty.
    pub fn text(&self, what: &str) -> Option<&'a str> {
        match self.value.as_str() {
            Some(text) if !text.is_empty() => Some(text),
            _ => self.expected(what),
        }
    }

    /// Reads a text of bytes that may stand in it.
    pub fn text_of(&self, what: &str, may_stand: fn(u8) -> bool) -> Option<&'a str> {
        let text = self.text(what)?;
        if !text.bytes().all(may_stand) {
            return self.expected(what);
        }
        Some(text)
    }

    /// Reads a text of visible ASCII without remnants of copying.
    pub fn plain_text(&self, what: &str) -> Option<&'a str> {
        let text = self.text(what)?;
        match remnant(text, Place::Json, Alphabet::Ascii) {
            None => Some(text),
            Some(left) => self.expected(format_args!("{what}: it {left}")),
        }
    }

    /// Reads `true` or `false`.
    pub fn flag(&self) -> Option<bool> {
        let flag = self.value.as_bool();
        flag.or_else(|| self.expected("true or false"))
    }

    /// Reads a whole number within bounds, also from a double: a protobuf `Struct` has no other
    /// numbers.
    pub fn number(&self, min: u64, max: u64) -> Option<u64> {
        let whole = |double: f64| {
            let fits = double.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&double);
            fits.then_some(double as u64)
        };
        let number = self.value.as_u64().or(self.value.as_f64().and_then(whole));
        match number {
            Some(number) if (min..=max).contains(&number) => Some(number),
            _ => self.expected(format_args!("a whole number from {min} to {max}")),
        }
    }

    /// Reads a duration as Envoy spells it: `"300s"`, `"0.25s"`.
    pub fn duration(&self, min: Millis, max: Millis) -> Option<Millis> {
        let span = self.value.as_str().and_then(parse_duration);
        let valid = span.filter(|span| (min..=max).contains(span));
        valid.or_else(|| {
            self.expected(format_args!(
                "a duration from {} to {} such as \"300s\" or \"0.25s\", in steps of 0.001s",
                Seconds(min),
                Seconds(max)
            ))
        })
    }

    /// Reads one of several words.
    pub fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let chosen = words.iter().find(|(word, _)| self.is_text(word));
        if let Some((_, chosen)) = chosen {
            return Some(*chosen);
        }
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        self.expected(format_args!("\"{}\"", words.join("\" or \"")))
    }

    /// Reads a secret, which is a text or `{"env": "NAME"}`, and its label: the path or variable
    /// that it comes from.
    pub(super) fn secret(
        &self,
        environment: &dyn Environment,
        kind: SecretKind,
    ) -> Option<(Secret, String)> {
        let (text, place, label) = match self.value {
            Value::Object(_) => {
                let field = self.object("env")?.required("env")?;
                let name = variable_name(&field)?;
                let called = shown_variable(name);
                match environment.variable(name) {
                    Some(text) if !text.is_empty() => (text, Place::Environment, name.to_owned()),
                    other => {
                        let what = match other {
                            Some(_) => "empty",
                            None => "not set for the VM (vm_config.environment_variables)",
                        };
                        return self.expected(format_args!(
                            "a secret in the environment variable {called}, which is {what}"
                        ));
                    }
                }
            }
            Value::String(text) if !text.is_empty() => {
                (text.clone(), Place::Json, self.path.clone())
            }
            _ => {
                return self.expected("a secret that is not empty: a text or {\"env\": \"NAME\"}");
            }
        };
        let Some(what) = remnant(&text, place, kind.alphabet) else {
            return Some((Secret::new(text), label));
        };
        let called = match place {
            Place::Json => "it",
            Place::Environment => &format!("the environment variable {}", shown_variable(&label)),
        };
        self.problems
            .expected(&self.path, format_args!("{}: {called} {what}", kind.what));
        None
    }

    fn below(&self, name: &str) -> String {
        below(&self.path, name)
    }
}

/// The kinds of secrets, which differ in what they consist of.
#[derive(Clone, Copy)]
pub(super) struct SecretKind {
    what: &'static str,
    alphabet: Alphabet,
}

impl SecretKind {
    /// An auth token or a shared key.
    pub(super) const KEY: SecretKind = SecretKind {
        what: A_KEY,
        alphabet: Alphabet::Ascii,
    };
    /// A token that becomes part of a header as it is.
    pub(super) const BEARER: SecretKind = SecretKind {
        what: "a token of visible ASCII characters, here or in its environment variable",
        alphabet: Alphabet::Ascii,
    };
    /// A name or password.
    pub(super) const PASSWORD: SecretKind = SecretKind {
        what: "a secret without white space, quotes and control characters",
        alphabet: Alphabet::Any,
    };
}

/// Returns the path of a field.
pub(super) fn below(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Returns the name of an unknown field, if it can be shown: it may be a secret in the wrong
/// place, or contain a line end.
pub(super) fn shown(name: &str) -> Cow<'_, str> {
    let is_printable = name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_printable || name.len() > 64 || looks_secret(name) {
        return "(a name that is not shown)".into();
    }
    name.into()
}

/// Returns whether the text has sixteen letters and digits in a row, with a digit among them.
fn looks_secret(text: &str) -> bool {
    text.split(|character: char| !character.is_ascii_alphanumeric())
        .any(|run| {
            let has_digit = run.bytes().any(|byte| byte.is_ascii_digit());
            run.len() >= 16 && has_digit
        })
}

/// Reads the name of a variable in `env`: what Kubernetes accepts for one.
fn variable_name<'a>(field: &Node<'a>) -> Option<&'a str> {
    let what = "the name of an environment variable";
    let name = field.text(what)?;
    let may_begin = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.');
    let may_stand = |byte: u8| may_begin(&byte) || byte.is_ascii_digit();
    if !name.as_bytes().first().is_some_and(may_begin) || !name.bytes().all(may_stand) {
        return match remnant(name, Place::Environment, Alphabet::Ascii) {
            Some(left) if !is_variable(name) => field.expected(format_args!("{what}: it {left}")),
            _ => field.expected(format_args!(
                "{what}, of letters, digits and _ alone, and not its value"
            )),
        };
    }
    Some(name)
}

/// Returns the name of a variable, unless it may be the secret itself.
fn shown_variable(name: &str) -> &str {
    let is_usual = name
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if is_usual && !looks_secret(name) {
        name
    } else {
        "that is named here"
    }
}

/// An object whose field names have been checked.
pub struct Object<'a> {
    map: &'a Map<String, Value>,
    node: Node<'a>,
}

impl<'a> Object<'a> {
    /// Returns a field, if it is there.
    pub fn field(&self, name: &str) -> Option<Node<'a>> {
        let value = self.map.get(name)?;
        Some(Node {
            value,
            path: self.node.below(name),
            problems: self.node.problems,
        })
    }

    /// Returns a field that is required.
    pub fn required(&self, name: &str) -> Option<Node<'a>> {
        let field = self.field(name);
        if field.is_none() {
            let path = self.node.below(name);
            self.node.problems.note(path, "this field is missing");
        }
        field
    }
}

/// Returns the type of a value, for an error message. The value may be a secret, so it is not shown.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(text) if text.is_empty() => "an empty text",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A duration as Envoy spells it.
struct Seconds(Millis);

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, millis) = (self.0.0 / 1000, self.0.0 % 1000);
        if millis == 0 {
            write!(formatter, "{whole}s")
        } else {
            write!(formatter, "{whole}.{millis:03}s")
        }
    }
}

/// Parses `digits [ "." 1*9digits ] "s"` in whole milliseconds.
fn parse_duration(text: &str) -> Option<Millis> {
    let number = text.strip_suffix('s')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let all_digits = |text: &str| {
        !text.is_empty() && text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !all_digits(whole) || !all_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanos: u64 = format!("{fraction:0<9}").parse().ok()?;
    if !nanos.is_multiple_of(1_000_000) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    Some(Millis(
        whole.checked_mul(1000)?.checked_add(nanos / 1_000_000)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn durations_are_spelled_as_in_envoys_configuration() {
        for (text, millis) in [("300s", 300_000), ("0.25s", 250), ("0s", 0)] {
            assert_eq!(parse_duration(text), Some(Millis(millis)), "{text}");
        }
        assert_eq!(parse_duration("1.500000000s"), Some(Millis(1500)));
        for text in [
            "", "s", "300", "-1s", "5m", "1.s", ".5s", "1e3s", "0.0001s", "1 s", "１s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers_may_come_as_doubles_and_nothing_else_may() {
        let number = |text: &str| {
            let value: Value = serde_json::from_str(text).expect(text);
            let problems = Problems::default();
            Node::root(&value, &problems).number(1, 100)
        };
        assert_eq!(number("7"), Some(7));
        assert_eq!(number("7.0"), Some(7));
        for text in ["7.5", "-7", "0", "101", "1e300", "\"7\"", "null", "true"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
