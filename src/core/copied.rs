//! What copying leaves around a text: white space, quotes, a byte order mark, the name
//! of a variable in place of its value.
//!
//! Nobody sees it, every signature fails by it. So it is refused, in words that say what
//! it is and that never show the text, which may be a secret.

/// Where a text was found, which decides what to do about it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the JSON.
    Json,
    /// In an environment variable.
    Environment,
}

/// Which characters a text may consist of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// Visible ASCII but quotes: tokens and keys.
    Ascii,
    /// Letters of any language, too: names and passwords that somebody made up.
    Any,
}

/// What copying has left of or around a text, as the end of a sentence that begins with "it".
///
/// Once in the module; it is only asked at configuration.
#[inline(never)]
pub(crate) fn remnant(text: &str, place: Place, alphabet: Alphabet) -> Option<&'static str> {
    let trimmed = text.trim_matches(is_blank);
    let bare = trimmed.trim_matches(|character| is_blank(character) || is_quote(character));
    if trimmed.is_empty() {
        return Some("is nothing but white space");
    }
    if is_variable(bare) {
        return Some(match place {
            Place::Json => {
                "is the name of a variable that was not expanded: use {\"env\": \"NAME\"}"
            }
            Place::Environment => {
                "is the name of a variable that was not expanded: write the value itself"
            }
        });
    }
    if is_placeholder(bare) {
        return Some("is a placeholder in <…>: write the value itself");
    }
    if text.starts_with(BYTE_ORDER_MARK) {
        return Some("begins with a byte order mark");
    }
    if trimmed.len() > bare.len() && trimmed.starts_with(is_quote) && trimmed.ends_with(is_quote) {
        return Some(match place {
            Place::Json => "has quotes around it, besides those of JSON",
            Place::Environment => "has quotes around it: docker --env-file keeps them",
        });
    }
    if text.ends_with(['\n', '\r']) {
        return Some("ends in a line end");
    }
    if text.ends_with(is_blank) {
        return Some("ends in white space");
    }
    if text.starts_with(is_blank) {
        return Some("begins with white space");
    }
    text.chars().find_map(|character| match character {
        _ if is_blank(character) => Some("has white space in it"),
        _ if is_quote(character) => Some("has a quote in it"),
        '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}' => Some("has a control character in it"),
        char::REPLACEMENT_CHARACTER => Some("has bytes in it that are not UTF-8"),
        _ if alphabet == Alphabet::Ascii && !character.is_ascii() => {
            Some("has a character in it that is not ASCII")
        }
        _ => None,
    })
}

const BYTE_ORDER_MARK: char = '\u{FEFF}';

/// White space, and what looks like it or like nothing. Listed, so that the JSON Schema
/// can list the same.
pub(crate) fn is_blank(character: char) -> bool {
    matches!(
        character,
        '\t'..='\r'
            | ' '
            | '\u{85}'
            | '\u{A0}'
            | '\u{AD}'
            | '\u{1680}'
            | '\u{180E}'
            | '\u{2000}'..='\u{200F}'
            | '\u{2028}'..='\u{202F}'
            | '\u{205F}'..='\u{2064}'
            | '\u{3000}'
            | BYTE_ORDER_MARK
    )
}

/// Quotes, those of word processors among them.
pub(crate) fn is_quote(character: char) -> bool {
    matches!(character, '"' | '\'' | '`' | '\u{2018}'..='\u{201F}')
}

/// `$NAME`, `${NAME}`, `$(NAME)`, `%NAME%`, `{{ NAME }}`, as shells, Compose, Kubernetes,
/// Windows and templates spell a variable.
pub(crate) fn is_variable(text: &str) -> bool {
    let is_name = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-')
            })
    };
    let after_dollars = text.trim_start_matches('$');
    if after_dollars.len() < text.len() {
        let begins_a_name = |character: char| character.is_ascii_alphabetic() || character == '_';
        return after_dollars.starts_with('{') && after_dollars.ends_with('}')
            || after_dollars.starts_with('(') && after_dollars.ends_with(')')
            || after_dollars.starts_with(begins_a_name) && is_name(after_dollars);
    }
    let between_percents = text
        .strip_prefix('%')
        .and_then(|rest| rest.strip_suffix('%'));
    text.starts_with("{{") && text.ends_with("}}") || between_percents.is_some_and(is_name)
}

/// `<your-auth-token>`.
fn is_placeholder(text: &str) -> bool {
    text.len() > 2 && text.starts_with('<') && text.ends_with('>')
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn of_a_token(text: &str) -> &'static str {
        remnant(text, Place::Environment, Alphabet::Ascii).unwrap_or_default()
    }

    #[test]
    fn what_copying_leaves_around_a_token_is_said_in_words() {
        for (text, words) in [
            ("8f1c0de5\n", "ends in a line end"),
            ("8f1c0de5\r\n", "ends in a line end"),
            ("8f1c0de5 ", "ends in white space"),
            ("8f1c0de5\u{A0}", "ends in white space"),
            ("8f1c0de5\u{200B}", "ends in white space"),
            ("\t8f1c0de5", "begins with white space"),
            ("8f1c 0de5", "has white space in it"),
            ("8f1c\u{2060}0de5", "has white space in it"),
            (" \n", "is nothing but white space"),
            ("\u{FEFF}8f1c0de5", "byte order mark"),
            ("\"8f1c0de5\"", "docker --env-file keeps them"),
            ("'8f1c0de5'", "has quotes around it"),
            ("`8f1c0de5`", "has quotes around it"),
            ("\"8f1c0de5\"\n", "has quotes around it"),
            ("\u{201C}8f1c0de5\u{201D}", "has quotes around it"),
            ("8f1c0de5\"", "has a quote in it"),
            ("8f1c\u{0}0de5", "has a control character in it"),
            ("8f1c\u{1B}0de5", "has a control character in it"),
            ("8f1c\u{7F}0de5", "has a control character in it"),
            ("8f1c\u{FFFD}0de5", "not UTF-8"),
            ("8f1cödé", "not ASCII"),
            ("••••••••", "not ASCII"),
            ("$TOKEN", "variable that was not expanded"),
            ("$$TOKEN", "variable that was not expanded"),
            ("$env:TOKEN", "variable that was not expanded"),
            ("${TOKEN}", "variable that was not expanded"),
            ("\"${TOKEN}\"", "variable that was not expanded"),
            ("${TOKEN:-none}\n", "variable that was not expanded"),
            ("${{ secrets.TOKEN }}", "variable that was not expanded"),
            ("$(TOKEN)", "variable that was not expanded"),
            ("%TOKEN%", "variable that was not expanded"),
            ("{{ .Values.token }}", "variable that was not expanded"),
            ("{{token}}", "variable that was not expanded"),
            ("<your auth token>", "placeholder"),
        ] {
            let said = of_a_token(text);
            assert!(said.contains(words), "{text:?}: {said:?}");
        }
    }

    #[test]
    fn a_token_is_taken_as_it_is() {
        for text in [
            "8f1c0de5a7b94c2299d0aa1122334455",
            "x",
            "AXy-_==",
            "a$b",
            "$",
            "$5",
            "p%q",
            "%%",
            "a{{b",
            "<",
            "<>",
        ] {
            assert_eq!(of_a_token(text), "", "{text}");
        }
    }

    #[test]
    fn a_password_may_have_letters_of_any_language_and_no_white_space() {
        let of_a_password = |text| remnant(text, Place::Json, Alphabet::Any).unwrap_or_default();
        assert_eq!(of_a_password("pässwörd"), "");
        assert_eq!(of_a_password("pässwörd\u{3000}"), "ends in white space");
        assert_eq!(
            of_a_password("$PASSWORD"),
            "is the name of a variable that was not expanded: use {\"env\": \"NAME\"}"
        );
    }
}
