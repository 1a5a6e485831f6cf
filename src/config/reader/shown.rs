//! What mistakes may show of a name: a secret may stand in its place.

use std::borrow::Cow;

/// Returns the name of an unknown field, if it can be shown: it may be a secret in the wrong
/// place, or contain a line end.
pub(in crate::config) fn shown(name: &str) -> Cow<'_, str> {
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

/// Returns the name of a variable, unless it may be the secret itself.
pub(super) fn shown_variable(name: &str) -> &str {
    let is_usual = name
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if is_usual && !looks_secret(name) {
        name
    } else {
        "that is named here"
    }
}
