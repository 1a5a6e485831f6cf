//! Has a boundary between two parameters been moved?
//!
//! The string that is signed has no separators, so whoever captures a request may cut it
//! into other names and values than Twilio did: text that a customer has typed becomes a
//! parameter, and what stood there before hides in a value or a name. But the identifiers
//! of account, message and call are in nearly every request, and in this string they are
//! easily seen: `AccountSid`, then `AC` and 32 hex digits. Where such a text does not
//! stand at the end of a name and the start of its value, somebody has cut the string in
//! another place.
//!
//! (Names may be longer: `ParentCallSid` and `OriginalRepliedMessageSid` are Twilio's own.)

use crate::core::signature::form::Form;

/// The end of a parameter's name, and how its value begins.
const IDENTIFIERS: [(&[u8], [u8; 2]); 6] = [
    (b"AccountSid", *b"AC"),
    // `SmsMessageSid` ends in it, too.
    (b"MessageSid", *b"SM"),
    (b"MessageSid", *b"MM"),
    (b"SmsSid", *b"SM"),
    (b"SmsSid", *b"MM"),
    (b"CallSid", *b"CA"),
];

/// How many hex digits follow.
const DIGITS: usize = 32;

/// Whether an identifier stands in the signed string where no parameter has it. `form` has
/// the parameters with which the string ends.
pub(crate) fn are_moved(signed: &[u8], form: Option<&Form>) -> bool {
    let mut parameters = form.map(|form| form.places_from_the_end(signed.len()));
    let mut place = None;
    occurrences(signed).any(|at| {
        // Both go forward through the string.
        while place.is_none_or(|(_, value)| value < at) {
            place = parameters.as_mut().and_then(Iterator::next);
            if place.is_none() {
                break;
            }
        }
        let (before, behind) = signed.split_at_checked(at).unwrap_or_default();
        let is_identifier = |(name, start): &(&[u8], [u8; 2])| {
            let belongs = match place {
                // The name has to be as long as that, or it is not the one that it ends with.
                Some((from, value)) => value == at && value - from >= name.len(),
                None => false,
            };
            before.ends_with(name) && behind.starts_with(start) && !belongs
        };
        IDENTIFIERS.iter().any(is_identifier) && has_digits(behind)
    })
}

/// Where something begins that `Sid` stands in front of.
fn occurrences(signed: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = signed.get(from..)?;
            let at = from + find_capital_s(rest)?;
            from = at + 1;
            if signed
                .get(from..)
                .is_some_and(|rest| rest.starts_with(b"id"))
            {
                return Some(at + 3);
            }
        }
    })
}

/// The first `S`: sixteen bytes are looked at together.
fn find_capital_s(bytes: &[u8]) -> Option<usize> {
    const S: u64 = u64::from_le_bytes([b'S'; 8]);
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    // The high bit of each byte that is zero, exact up to the first one.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (chunks, _) = bytes.as_chunks::<8>();
    let mut skipped = 0;
    for pair in chunks.chunks_exact(2) {
        let [first, second] = pair else { break };
        let first = zeros(u64::from_le_bytes(*first) ^ S);
        let second = zeros(u64::from_le_bytes(*second) ^ S);
        if first | second != 0 {
            let within = if first != 0 {
                first.trailing_zeros() / 8
            } else {
                8 + second.trailing_zeros() / 8
            };
            return Some(skipped + within as usize);
        }
        skipped += 16;
    }
    let rest = bytes.get(skipped..)?;
    let within = rest.iter().position(|byte| *byte == b'S')?;
    Some(skipped + within)
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
        are_moved(&signed, Some(&form))
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
    fn a_name_that_only_begins_in_the_value_before_it_does_not_have_the_identifier() {
        // "…Account" is the end of a value, and "Sid" the name behind it.
        let body = format!("Body=xAccount&Sid=AC{HEX}");
        assert!(is_moved(URL, &body));
        assert!(!is_moved(URL, &format!("Body=x&AccountSid=AC{HEX}")));
    }

    #[test]
    fn a_capital_s_is_found_wherever_it_stands() {
        for length in 0..50 {
            for place in 0..length {
                let mut bytes = vec![b'R'; length];
                bytes[place] = b'S';
                assert_eq!(find_capital_s(&bytes), Some(place));
                if place + 1 < length {
                    bytes[place + 1] = b'S';
                    assert_eq!(find_capital_s(&bytes), Some(place));
                }
            }
            assert_eq!(find_capital_s(&vec![0xD3; length]), None);
        }
    }
}
