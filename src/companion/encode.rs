//! How Twilio spells a form or a query: as browsers do.

/// Appends a text in the spelling of a form: a space is `+`, and all but letters, digits and
/// `-_.*` is escaped.
pub fn encode_into(out: &mut String, text: &[u8]) {
    for byte in text {
        match byte {
            b' ' => out.push('+'),
            b'-' | b'_' | b'.' | b'*' => out.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(*byte)),
            byte => {
                out.push('%');
                for nibble in [byte >> 4, byte & 0xF] {
                    let digit = char::from_digit(nibble.into(), 16).unwrap_or('0');
                    out.push(digit.to_ascii_uppercase());
                }
            }
        }
    }
}

/// Returns parameters in the spelling of a form.
pub fn form<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (name, value) in parameters {
        if !out.is_empty() {
            out.push('&');
        }
        encode_into(&mut out, name.as_bytes());
        out.push('=');
        encode_into(&mut out, value.as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_form_is_spelled_as_twilio_spells_it() {
        let pairs = [
            ("Body", "2 tacos & más"),
            ("From", "whatsapp:+1"),
            ("a.b", ""),
        ];
        let expected = "Body=2+tacos+%26+m%C3%A1s&From=whatsapp%3A%2B1&a.b=";
        assert_eq!(form(pairs), expected);
    }
}
