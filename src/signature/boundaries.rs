//! Whether a boundary between two parameters was moved.
//!
//! The signed string has no separators, so an attacker who captures a request can split it into
//! other names and values than Twilio did: text that a customer typed becomes a parameter, and
//! the real parameters hide in a value or a name. But nearly every request has identifiers of
//! account, message and call, which are easy to recognise in the string: `AccountSid`, then `AC`
//! and 32 hex digits. If such a text is not the end of a name and its whole value, the string was
//! split differently.
//!
//! (Names may have letters in front: `ParentCallSid` and `OriginalRepliedMessageSid` are Twilio's
//! own; `ErrorCode30008MessageSid` is two of them with a value in between.)
//!
//! A body that is no form has no such identifiers, but what is signed ends in its hash. A form
//! whose string ends in one is the end of that URL, moved into a form.

use crate::signature::body_hash::parse_hash;
use crate::signature::form::Form;
use crate::signature::word::{bytes_between, repeated};

/// The end of a parameter's name, and the two ways in which its value begins.
/// (`SmsMessageSid` ends in `MessageSid`; `MM` is a message with media.)
const IDENTIFIERS: [(&[u8], [u8; 2], [u8; 2]); 4] = [
    (b"MessageSid", *b"SM", *b"MM"),
    (b"SmsSid", *b"SM", *b"MM"),
    (b"AccountSid", *b"AC", *b"AC"),
    (b"CallSid", *b"CA", *b"CA"),
];

/// The number of hex digits that follow.
const DIGITS: usize = 32;

/// What the identifiers in a signed string say about its boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boundaries {
    /// Each is the end of a name and its whole value.
    InPlace,
    /// One begins the value of the right name, but name or value have more. A wrong signature is
    /// then as likely as a moved boundary.
    Doubtful,
    /// One belongs to no parameter, or a form's string ends in the hash of another body.
    Moved,
}

/// Checks the identifiers of a signed string, which ends with the parameters of `form`.
///
/// It searches for digits first, in blocks: 32 in a row fill one block.
pub(crate) fn boundaries(signed: &[u8], form: Option<&Form>) -> Boundaries {
    if form.is_some() && is_of_hashed_body(signed) {
        return Boundaries::Moved;
    }
    let mut found = Boundaries::InPlace;
    let mut parameters = form.map(|form| form.offsets_at_end_of(signed.len()));
    let mut offsets = [0; 3];
    let (blocks, _) = signed.as_chunks::<BLOCK>();
    for (block, from) in blocks.iter().zip((0..).step_by(BLOCK)) {
        if !are_hex(block) {
            continue;
        }
        let Some(at) = behind_sid(signed, first_digit(signed, from)) else {
            continue;
        };
        // Both advance through the string.
        while offsets[1] < at {
            let Some(next) = parameters.as_mut().and_then(Iterator::next) else {
                break;
            };
            offsets = next;
        }
        match identifier(signed, at, offsets) {
            Boundaries::InPlace => {}
            Boundaries::Doubtful => found = Boundaries::Doubtful,
            Boundaries::Moved => return Boundaries::Moved,
        }
    }
    found
}

/// Returns whether a signed string ends as that of a body which is no form: `bodySHA256=` and 64
/// digits, the last parameter of a query.
fn is_of_hashed_body(signed: &[u8]) -> bool {
    let Some((before, digits)) = signed.split_last_chunk::<64>() else {
        return false;
    };
    let before = before.strip_suffix(b"bodySHA256=").and_then(<[u8]>::last);
    matches!(before, Some(b'?' | b'&')) && parse_hash(digits).is_some()
}

/// The size of a block: half the number of digits.
const BLOCK: usize = DIGITS / 2;

/// Returns whether a block has only hex digits.
fn are_hex(block: &[u8; BLOCK]) -> bool {
    // Most blocks fail here.
    let [first, .., last] = block;
    if !first.is_ascii_hexdigit() || !last.is_ascii_hexdigit() {
        return false;
    }
    let (words, _) = block.as_chunks::<8>();
    words.iter().all(|word| {
        let word = u64::from_le_bytes(*word);
        let hex =
            bytes_between(word, b'0', b'9') | bytes_between(word | repeated(0x20), b'a', b'f');
        // A byte above 0x7F is no digit either.
        hex & !word & repeated(0x80) == repeated(0x80)
    })
}

/// Returns where the row of hex digits around `from` begins, if not far before it.
fn first_digit(signed: &[u8], from: usize) -> usize {
    // The distance from the end of 32 digits to the `d` of `Sid`, and one byte more.
    const FURTHEST: usize = BLOCK + 4;
    let before = signed.get(..from).unwrap_or_default();
    let before = before.iter().rev().take(FURTHEST);
    from - before.take_while(|byte| byte.is_ascii_hexdigit()).count()
}

/// Returns where `Sid` ends, if it precedes a row of hex digits with two letters in between. `AC`
/// and `CA` are hex digits as well, as is the `d` of `Sid`.
fn behind_sid(signed: &[u8], first_digit: usize) -> Option<usize> {
    let ends_at = |at: &usize| signed.get(at.saturating_sub(3)..*at) == Some(b"Sid");
    let at = first_digit.checked_sub(2).filter(ends_at);
    at.or_else(|| Some(first_digit + 1).filter(ends_at))
}

/// Checks an identifier that begins at `at`, after its `Sid`, against the parameter whose name and
/// value begin, and whose value ends, at these offsets.
fn identifier(signed: &[u8], at: usize, [from, value, end]: [usize; 3]) -> Boundaries {
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
    // The parameter's own name must end here, with that of the identifier.
    let own = before.get(from..).filter(|_| value == at);
    let longer_by = own.and_then(|own| own.strip_suffix(*name));
    let Some(letters) = longer_by else {
        return match has_digits(behind) {
            true => Boundaries::Moved,
            false => Boundaries::InPlace,
        };
    };
    // The value must be exactly the identifier, or one of the two was split.
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
            "AccountSid=AC#&MessageSid=SM#&SmsSid=SM#&SmsMessageSid=SM#\
             &OriginalRepliedMessageSid=SM#&Body=2+tacos&To=x&Zz=y",
            "AccountSid=AC#&MessageSid=MM#&SmsSid=MM#&Body=",
            "AccountSid=AC#&CallSid=CA#&ParentCallSid=CA#&DialCallSid=CA#\
             &RecordingUrl=https%3A%2F%2Fapi.twilio.com%2FAccounts%2FAC#",
            // Not one that has its 32 digits.
            "Body=what+is+AccountSidAC+and+MessageSidSM0123",
            "MessageSid=SM#&MessageSid=SM#",
            "",
        ] {
            assert!(!is_moved(URL, &body.replace('#', HEX)), "{body}");
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
                // And behind capitals, with which most identifiers begin.
                for capitals in ["S", "SS", "SiSid"] {
                    let text = format!("{padding}{capitals}{identifier}{HEX}");
                    assert!(are_moved(text.as_bytes(), None), "{text}");
                    let misspelled = identifier.replacen(&identifier[1..2], "", 1);
                    let text = text.replace(identifier, &misspelled);
                    assert!(!are_moved(text.as_bytes(), None), "{text}");
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
        let identifiers =
            "AccountSidAC MessageSidSM SmsSidSM SmsMessageSidSM CallSidCA MessageSidMM";
        for identifier in identifiers.split(' ') {
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
    fn a_form_whose_string_ends_in_the_hash_of_a_body_is_the_url_of_another_request() {
        let hash = HEX.repeat(2);
        let signed = format!("{URL}?shop=1&bodySHA256={hash}");
        // Wherever the form begins.
        for cut in URL.len()..signed.len() {
            for equals in cut..=signed.len() {
                let escaped = |text: &str| text.replace('&', "%26").replace('=', "%3D");
                let name = escaped(&signed[cut..equals]);
                let body = format!("{name}={}", escaped(&signed[equals..]));
                assert!(is_moved(&signed[..cut], &body), "{body}");
            }
        }
        assert!(is_moved(URL, &format!("%3FbodySHA256%3D{hash}=")));
        // A JSON request is not; nor is a text that has a hash in it.
        assert!(!are_moved(signed.as_bytes(), None));
        for text in [
            format!("%26bodySHA256%3D{hash}0"),
            format!("%26bodySHA256%3D{}g", &hash[1..]),
            format!("%26bodySHA256%3D{}", &hash[1..]),
            format!("xbodySHA256%3D{hash}"),
            format!("%26bodysha256%3D{hash}"),
            format!("%26bodySHA256%3D{hash}&Zz="),
            hash,
        ] {
            assert!(!is_moved(URL, &format!("Body={text}")), "{text}");
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
        let befores: [&[u8]; 7] = [b"", b"x", b"Si", b"\xff", b"\x80\xb0", b"SidS\xc3", b"0g"];
        for before in befores {
            for digits in 0..19 {
                let text = [before, &[b'd'; 19][..digits], b"F"].concat();
                let found = first_digit(&text, before.len() + digits);
                assert_eq!(found, before.len(), "{before:?} {digits}");
            }
        }
    }
}
