//! Remnants of copying in a text: white space, quotes, a byte order mark, the name of a
//! variable in place of its value.
//!
//! They are invisible, and make every signature fail. So they are rejected, with a message
//! that says what was found and never shows the text, which may be a secret.

/// Where a text comes from, which decides the advice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The JSON.
    Json,
    /// An environment variable.
    Environment,
}

/// The characters that a text may consist of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// Visible ASCII except quotes, as in tokens and keys.
    Ascii,
    /// Letters of any language as well, as in names and passwords.
    Any,
}

/// What a token or key is expected to be.
pub(crate) const A_KEY: &str = "a secret of visible ASCII characters without quotes";

/// Returns what copying has left in a text, as the end of a sentence that begins with "it".
pub(crate) fn remnant(text: &str, place: Place, alphabet: Alphabet) -> Option<&'static str> {
    let trimmed = trim(text, is_blank);
    let bare = trim(text, is_blank_or_quote);
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
    let (first, last) = (trimmed.chars().next(), trimmed.chars().next_back());
    if first.is_some_and(is_quote) && last.is_some_and(is_quote) {
        return Some(match place {
            Place::Json => "has quotes around it, besides those of JSON",
            Place::Environment => "has quotes around it: docker --env-file keeps them",
        });
    }
    if text.ends_with(['\n', '\r']) {
        return Some("ends in a line end");
    }
    if text.len() > trimmed.len() {
        return Some(if text.starts_with(trimmed) {
            "ends in white space"
        } else {
            "begins with white space"
        });
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

/// Returns whether a character is white space or invisible. They are listed, so that the
/// JSON Schema can list the same.
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

/// Returns whether a character is a quote, including those of word processors.
pub(crate) fn is_quote(character: char) -> bool {
    matches!(character, '"' | '\'' | '`' | '\u{2018}'..='\u{201F}')
}

fn is_blank_or_quote(character: char) -> bool {
    is_blank(character) || is_quote(character)
}

/// Returns the text without such characters around it.
// Not inlined, nor is `has`: that saves a kilobyte of the module.
#[inline(never)]
pub(crate) fn trim(text: &str, is_around: fn(char) -> bool) -> &str {
    text.trim_matches(is_around)
}

/// Returns whether the text has such a character anywhere.
#[inline(never)]
pub(crate) fn has(text: &str, is_there: fn(char) -> bool) -> bool {
    text.chars().any(is_there)
}

/// Returns whether the text is a variable as shells, Compose, Kubernetes, Windows or templates
/// spell it: `$NAME`, `${NAME}`, `$(NAME)`, `%NAME%`, `{{ NAME }}`.
pub(crate) fn is_variable(text: &str) -> bool {
    let is_name = |text: &[u8]| {
        let may_stand = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(byte);
        !text.is_empty() && text.iter().all(may_stand)
    };
    let text = text.as_bytes();
    let dollars = text.iter().take_while(|byte| **byte == b'$').count();
    match text.get(dollars..).unwrap_or_default() {
        [b'{', .., b'}'] | [b'(', .., b')'] if dollars > 0 => true,
        name @ [b'A'..=b'Z' | b'a'..=b'z' | b'_', ..] if dollars > 0 => is_name(name),
        [b'{', b'{', .., b'}', b'}'] => dollars == 0,
        [b'%', name @ .., b'%'] => dollars == 0 && is_name(name),
        _ => false,
    }
}

/// Returns whether the text is a placeholder such as `<your-auth-token>`.
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
        // What copying leaves, separated by `|`; # is a token.
        for (texts, words) in [
            ("#\n|#\r\n", "ends in a line end"),
            ("# |#\u{A0}|#\u{200B}", "ends in white space"),
            ("\t#", "begins with white space"),
            ("# #|#\u{2060}#", "has white space in it"),
            (" \n", "is nothing but white space"),
            ("\u{FEFF}#", "byte order mark"),
            ("\"#\"", "docker --env-file keeps them"),
            ("'#'|`#`|\"#\"\n|\u{201C}#\u{201D}", "has quotes around it"),
            ("#\"", "has a quote in it"),
            ("#\0#|#\u{1B}#|#\u{7F}#", "has a control character in it"),
            ("#\u{FFFD}#", "not UTF-8"),
            ("#ödé|••••••••", "not ASCII"),
            ("$TOKEN|$$TOKEN|$env:TOKEN|${TOKEN}", "variable that was"),
            ("\"${TOKEN}\"|${TOKEN:-none}\n|$(TOKEN)", "not expanded"),
            ("${{ secrets.TOKEN }}|%TOKEN%", "variable that was not"),
            ("{{ .Values.token }}|{{token}}", "variable that was not"),
            ("<your auth token>", "placeholder"),
        ] {
            for text in texts.replace('#', "8f1c0de5").split('|') {
                let said = of_a_token(text);
                assert!(said.contains(words), "{text:?}: {said:?}");
            }
        }
    }

    #[test]
    fn a_token_is_taken_as_it_is() {
        let tokens = "8f1c0de5a7b94c2299d0aa1122334455 x AXy-_== a$b $ $5 p%q %% a{{b < <>";
        for text in tokens.split(' ') {
            assert_eq!(of_a_token(text), "", "{text}");
        }
    }

    #[test]
    fn a_password_may_have_letters_of_any_language_and_no_white_space() {
        let of_a_password = |text| remnant(text, Place::Json, Alphabet::Any).unwrap_or_default();
        assert_eq!(of_a_password("pässwörd"), "");
        assert_eq!(of_a_password("pässwörd\u{3000}"), "ends in white space");
        let said = of_a_password("$PASSWORD");
        assert!(said.ends_with("not expanded: use {\"env\": \"NAME\"}"));
    }
}
