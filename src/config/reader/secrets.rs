//! Secrets of a configuration: where they are read from, and what they consist of.

use serde_json::Value;

use crate::config::reader::shown::shown_variable;
use crate::config::reader::{Environment, Node};
use crate::copied::{A_KEY, Alphabet, Place, is_variable, remnant};
use crate::secret::Secret;

impl Node<'_> {
    /// Reads a secret, which is a text or `{"env": "NAME"}`, and its label: the path or variable
    /// that it comes from.
    pub(in crate::config) fn secret(
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
}

/// The kinds of secrets, which differ in what they consist of.
#[derive(Clone, Copy)]
pub(in crate::config) struct SecretKind {
    what: &'static str,
    alphabet: Alphabet,
}

impl SecretKind {
    /// An auth token or a shared key.
    pub(in crate::config) const KEY: SecretKind = SecretKind {
        what: A_KEY,
        alphabet: Alphabet::Ascii,
    };
    /// A token that becomes part of a header as it is.
    pub(in crate::config) const BEARER: SecretKind = SecretKind {
        what: "a token of visible ASCII characters, here or in its environment variable",
        alphabet: Alphabet::Ascii,
    };
    /// A name or password.
    pub(in crate::config) const PASSWORD: SecretKind = SecretKind {
        what: "a secret without white space, quotes and control characters",
        alphabet: Alphabet::Any,
    };
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
