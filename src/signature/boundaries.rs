//! Has a boundary between two parameters been moved?
//!
//! The string that is signed has no separators, so whoever captures a request may cut it
//! into other names and values than Twilio did: text that a customer has typed becomes a
//! parameter, and what stood there before hides in a value or a name. But the identifiers
//! of account, message and call are in nearly every request, and in this string they are
//! easily seen: `AccountSid`, then `AC` and 32 hex digits. Where such a text is not the end
//! of a name and all of its value, somebody has cut the string in another index.
//!
//! (Names may be longer, by letters: `ParentCallSid` and `OriginalRepliedMessageSid` are
//! Twilio's own, `ErrorCode30008MessageSid` is two of them with a value between.)

use crate::signature::form::Form;

/// The end of a parameter's name, how its value begins, and in which other way.
/// (`SmsMessageSid` ends in `MessageSid`. `MM` is a message with media.)
const IDENTIFIERS: [(&[u8], [u8; 2], [u8; 2]); 4] = [
    (b"MessageSid", *b"SM", *b"MM"),
    (b"SmsSid", *b"SM", *b"MM"),
    (b"AccountSid", *b"AC", *b"AC"),
    (b"CallSid", *b"CA", *b"CA"),
];

/// How many hex digits follow.
const DIGITS: usize = 32;

/// What the identifiers in a signed string say of where it was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boundaries {
    /// Each is the end of a name and all of its value.
    InPlace,
    /// Each begins a value whose name ends with it, and something else is there, too. A
    /// wrong signature is then as likely as a boundary that was moved.
    Doubtful,
    /// There is one that no parameter has.
    Moved,
}

/// Looks at the identifiers of a signed string. `form` has the parameters with which it ends.
///
/// Digits are looked for first, in blocks: of 32 in a row, one block is full.
pub(crate) fn boundaries(signed: &[u8], form: Option<&Form>) -> Boundaries {
    let mut found = Boundaries::InPlace;
    let mut parameters = form.map(|form| form.places_from_the_end(signed.len()));
    let mut index = [0; 3];
    let (blocks, _) = signed.as_chunks::<BLOCK>();
    for (block, from) in blocks.iter().zip((0..).step_by(BLOCK)) {
        if !are_hex(block) {
            continue;
        }
        let Some(at) = behind_sid(signed, first_digit(signed, from)) else {
            continue;
        };
        // Both go forward through the string.
        while index[1] < at {
            let Some(next) = parameters.as_mut().and_then(Iterator::next) else {
                break;
            };
            index = next;
        }
        match identifier(signed, at, index) {
            Boundaries::InPlace => {}
            Boundaries::Doubtful => found = Boundaries::Doubtful,
            Boundaries::Moved => return Boundaries::Moved,
        }
    }
    found
}

/// Half as many as there are digits.
const BLOCK: usize = DIGITS / 2;

/// Whether all of a block are hex digits.
fn are_hex(block: &[u8; BLOCK]) -> bool {
    // In most blocks these two are not.
    let [first, .., last] = block;
    if !first.is_ascii_hexdigit() || !last.is_ascii_hexdigit() {
        return false;
    }
    let (words, _) = block.as_chunks::<8>();
    words.iter().all(|word| {
        let word = u64::from_le_bytes(*word);
        let hex = between(word, b'0', b'9') | between(word | repeated(0x20), b'a', b'f');
        // Above 0x7F is no digit either.
        hex & !word & repeated(0x80) == repeated(0x80)
    })
}

/// The high bit of each byte within bounds, if no byte is above 0x7F.
const fn between(word: u64, first: u8, last: u8) -> u64 {
    let not_below = word.wrapping_add(repeated(0x80 - first));
    let above = word.wrapping_add(repeated(0x7F - last));
    not_below & !above
}

const fn repeated(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Where the row of hex digits begins that goes on at `from`, if not far before it.
fn first_digit(signed: &[u8], from: usize) -> usize {
    // As far as from the end of 32 digits to the `d` of `Sid`, and a byte that is no digit.
    const FURTHEST: usize = BLOCK + 4;
    let before = signed.get(..from).unwrap_or_default();
    let before = before.iter().rev().take(FURTHEST);
    from - before.take_while(|byte| byte.is_ascii_hexdigit()).count()
}

/// Where `Sid` ends, if it stands before a row of hex digits, with two letters between. `AC`
/// and `CA` are digits as well, as is the `d` of `Sid`.
fn behind_sid(signed: &[u8], first_digit: usize) -> Option<usize> {
    let ends_at = |at: &usize| signed.get(at.saturating_sub(3)..*at) == Some(b"Sid");
    let at = first_digit.checked_sub(2).filter(ends_at);
    at.or_else(|| Some(first_digit + 1).filter(ends_at))
}

/// Whether an identifier that begins at `at`, behind its `Sid`, is that of the parameter
/// whose name and value begin, and whose value ends, at `place`.
fn identifier(signed: &[u8], at: usize, index: [usize; 3]) -> Boundaries {
    let [from, value, end] = index;
    let (before, behind) = signed.split_at_checked(at).unwrap_or_default();
    let Some(start) = behind.first_chunk() else {
        return Boundaries::InPlace;
    };
    let is_one = |(name, usual, other): &&(&[u8], _, _)| {
        (start == usual || start == other) && before.ends_with(name)
    };
    let Some((name, ..)) = IDENTIFIERS.iter().find(is_one) else {
        return Boundaries::InPlace;
    };
    // The name has to be as long as that, or it is not the one that it ends with.
    let own = before.get(from..).filter(|_| value == at);
    let longer_by = own.and_then(|own| own.strip_suffix(*name));
    let Some(letters) = longer_by else {
        return if has_digits(behind) {
            Boundaries::Moved
        } else {
            Boundaries::InPlace
        };
    };
    // The value no longer than the identifier, and no shorter, or one of them is cut in two.
    let is_all = end.saturating_sub(value) == 2 + DIGITS;
    if is_all && letters.iter().all(u8::is_ascii_alphabetic) || !has_digits(behind) {
        Boundaries::InPlace
    } else {
        Boundaries::Doubtful
    }
}

fn has_digits(value: &[u8]) -> bool {
    let digits = value.get(2..2 + DIGITS);
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const URL: &str = "https://h.com/p";
    const HEX: &str = "0123456789abcdef0123456789ABCDEF";

    fn is_moved(url: &str, body: &str) -> bool {
        let form = Form::parse(body.as_bytes());
        let mut signed = url.as_bytes().to_vec();
        form.write_signed(&mut signed);
        boundaries(&signed, Some(&form)) != Boundaries::InPlace
    }

    fn are_moved(signed: &[u8], form: Option<&Form>) -> bool {
        boundaries(signed, form) == Boundaries::Moved
    }

    #[test]
    fn twilios_own_requests_have_each_identifier_where_it_belongs() {
        for body in [
            format!(
                "AccountSid=AC{HEX}&MessageSid=SM{HEX}&SmsSid=SM{HEX}&SmsMessageSid=SM{HEX}\
                 &OriginalRepliedMessageSid=SM{HEX}&Body=2+tacos&To=x&Zz=y"
            ),
            format!("AccountSid=AC{HEX}&MessageSid=MM{HEX}&SmsSid=MM{HEX}&Body="),
            format!(
                "AccountSid=AC{HEX}&CallSid=CA{HEX}&ParentCallSid=CA{HEX}&DialCallSid=CA{HEX}\
                 &RecordingUrl=https%3A%2F%2Fapi.twilio.com%2FAccounts%2FAC{HEX}"
            ),
            // Not one that has its 32 digits.
            "Body=what+is+AccountSidAC+and+MessageSidSM0123".to_owned(),
            format!("MessageSid=SM{HEX}&MessageSid=SM{HEX}"),
            String::new(),
        ] {
            assert!(!is_moved(URL, &body), "{body}");
        }
    }

    #[test]
    fn an_identifier_is_found_wherever_it_stands_and_only_with_all_of_its_digits() {
        // Digits are looked for in blocks of 16: each way in which they can lie in those.
        for padding in 0..32 {
            let padding = "x".repeat(padding);
            for identifier in ["MessageSidSM", "AccountSidAC", "CallSidCA"] {
                for behind in ["", "0", "abc", &HEX[..20], "Zz"] {
                    let body = format!("Body={padding}{identifier}{HEX}{behind}");
                    assert!(is_moved(URL, &body), "{body}");
                }
                let short = format!("Body={padding}{identifier}{}", &HEX[..31]);
                assert!(!is_moved(URL, &short), "{short}");
                assert!(!is_moved(URL, &format!("{short}g")), "{short}");
            }
        }
    }

    #[test]
    fn digits_of_either_case_are_digits_and_nothing_else_is() {
        for digit in 0..=255_u8 {
            for index in [0, 1, 7, 8, 15, 16, 31] {
                let mut signed = format!("{URL}BodyMessageSidSM{HEX}").into_bytes();
                let from = signed.len() - 32;
                signed[from + index] = digit;
                let expected = digit.is_ascii_hexdigit();
                assert_eq!(are_moved(&signed, None), expected, "{digit} at {index}");
            }
        }
    }

    #[test]
    fn an_identifier_inside_a_value_a_name_or_the_url_shows_that_a_boundary_was_moved() {
        for identifier in [
            "AccountSidAC",
            "MessageSidSM",
            "SmsSidSM",
            "SmsMessageSidSM",
            "CallSidCA",
            "MessageSidMM",
        ] {
            let text = format!("{identifier}{HEX}");
            for body in [
                format!("Body=2+tacos{text}"),
                format!("Body=x{text}&MessageSid=SM{HEX}&AccountSid=AC{HEX}"),
                format!("{text}="),
                format!("Zz{text}more=1"),
            ] {
                assert!(is_moved(URL, &body), "{body}");
            }
            assert!(is_moved(&format!("{URL}{text}"), "a=1"), "{text}");
            let alone = format!("{URL}{text}");
            assert!(are_moved(alone.as_bytes(), None), "{text}");
        }
    }

    #[test]
    fn an_identifier_that_is_cut_short_or_goes_on_shows_that_a_boundary_was_moved() {
        let digits = &HEX[6..];
        for body in [
            // The rest of the account's is another parameter.
            format!("AccountSid=A&C012345={digits}&ErrorCode=30008&To=x"),
            // The next parameter has become a part of its value.
            format!("MessageSid=SM{HEX}MessageStatusdelivered&To=x"),
            format!("AccountSid=AC{HEX}ApiVersion2010-04-01&Body=x"),
            // The parameter before it, name and value, has become a part of its name.
            format!("ErrorCode30008MessageSid=SM{HEX}&To=x"),
            format!("Body2+tacosMessageSid=SM{HEX}&To=x"),
        ] {
            assert!(is_moved(URL, &body), "{body}");
        }
    }

    #[test]
    fn a_name_that_only_begins_in_the_value_before_it_does_not_have_the_identifier() {
        // "…Account" is the end of a value, and "Sid" the name behind it.
        let body = format!("Body=xAccount&Sid=AC{HEX}");
        assert!(is_moved(URL, &body));
        assert!(!is_moved(URL, &format!("Body=x&AccountSid=AC{HEX}")));
    }

    #[test]
    fn the_first_of_a_row_of_digits_is_found_whatever_stands_before_it() {
        for before in [
            &b""[..],
            b"x",
            b"Si",
            b"\xff",
            b"\x80\xb0",
            b"SidS\xc3",
            b"0g",
        ] {
            for digits in 0..19 {
                let text = [before, &[b'd'; 19][..digits], b"F"].concat();
                let found = first_digit(&text, before.len() + digits);
                assert_eq!(found, before.len(), "{before:?} {digits}");
            }
        }
    }

    #[test]
    fn an_identifier_is_found_wherever_it_stands() {
        for before in 0..40 {
            for capitals in ["", "S", "SS", "SiSid"] {
                let text = format!("{}{capitals}CallSidCA{HEX}", "R".repeat(before));
                assert!(are_moved(text.as_bytes(), None), "{text}");
                let text = text.replace("CallSid", "CalSid");
                assert!(!are_moved(text.as_bytes(), None), "{text}");
            }
        }
    }
}
