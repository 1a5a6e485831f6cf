//! A form body as the signature sees it.
//!
//! ```text
//! body      = [ piece *( "&" piece ) ]
//! piece     = name [ "=" value ]          ; only the first "=" splits
//! name      = *octet                      ; any octet but "&" and "="
//! value     = *octet                      ; any octet but "&"
//! ```
//!
//! Names and values are the decoded *bytes*: `+` is a space, `%` and two hex
//! digits are a byte, an invalid escape stays as it is, and nothing has to be
//! UTF-8. Twilio signs each name followed by its value, names sorted bytewise,
//! the distinct values of a repeated name sorted too.
//! <https://www.twilio.com/docs/usage/security#validating-requests>

use std::fmt;

/// The parameters of a form (or a query), decoded and sorted.
pub struct Form {
    /// Each parameter's name, directly followed by its value: just what is signed,
    /// in the order of arrival.
    decoded: Vec<u8>,
    /// Sorted by name, then by value; the same pair only once.
    parameters: Vec<Parameter>,
}

/// Where in `decoded` a parameter lies.
#[derive(Clone, Copy)]
struct Parameter {
    start: u32,
    name_end: u32,
    end: u32,
}

impl Form {
    /// Takes a body or a query apart. Nothing is malformed: whatever the bytes are,
    /// they mean something to the signature.
    pub fn parse(body: &[u8]) -> Form {
        let mut decoded = Vec::with_capacity(body.len());
        let mut parameters = Vec::with_capacity(EXPECTED_PARAMETERS);
        for piece in body.split(|byte| *byte == b'&') {
            if piece.is_empty() {
                continue;
            }
            let start = offset(&decoded);
            let (name, value) = split_at_first_equals(piece);
            decode_into(&mut decoded, name);
            let name_end = offset(&decoded);
            decode_into(&mut decoded, value);
            let end = offset(&decoded);
            parameters.push(Parameter {
                start,
                name_end,
                end,
            });
        }
        parameters.sort_unstable_by(|left, right| {
            let name = left.name(&decoded).cmp(right.name(&decoded));
            name.then_with(|| left.value(&decoded).cmp(right.value(&decoded)))
        });
        parameters.dedup_by(|later, earlier| {
            later.name(&decoded) == earlier.name(&decoded)
                && later.value(&decoded) == earlier.value(&decoded)
        });
        Form {
            decoded,
            parameters,
        }
    }

    /// Appends what Twilio signs of this form: names and values, sorted, nothing between them.
    pub fn write_signed(&self, out: &mut Vec<u8>) {
        for parameter in &self.parameters {
            out.extend_from_slice(parameter.both(&self.decoded));
        }
    }

    /// The distinct values of a parameter, sorted.
    pub fn values<'form>(&'form self, name: &'form [u8]) -> impl Iterator<Item = &'form [u8]> {
        let first = self
            .parameters
            .partition_point(|parameter| parameter.name(&self.decoded) < name);
        self.parameters
            .iter()
            .skip(first)
            .take_while(move |parameter| parameter.name(&self.decoded) == name)
            .map(|parameter| parameter.value(&self.decoded))
    }

    /// Every parameter as name and value, in the order of arrival.
    pub fn pairs_as_sent(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut order = self.parameters.clone();
        order.sort_unstable_by_key(|parameter| parameter.start);
        order.into_iter().map(|parameter| {
            (
                parameter.name(&self.decoded),
                parameter.value(&self.decoded),
            )
        })
    }

    /// Every parameter as name and value, sorted.
    pub fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.parameters.iter().map(|parameter| {
            (
                parameter.name(&self.decoded),
                parameter.value(&self.decoded),
            )
        })
    }
}

/// Shows how many there are, not what they are: that is personal data.
impl fmt::Debug for Form {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Form({} parameters)", self.parameters.len())
    }
}

/// A WhatsApp message has about 20 parameters; a longer form grows the list as it goes.
const EXPECTED_PARAMETERS: usize = 32;

impl Parameter {
    fn name(self, decoded: &[u8]) -> &[u8] {
        slice(decoded, self.start, self.name_end)
    }

    fn value(self, decoded: &[u8]) -> &[u8] {
        slice(decoded, self.name_end, self.end)
    }

    fn both(self, decoded: &[u8]) -> &[u8] {
        slice(decoded, self.start, self.end)
    }
}

fn slice(bytes: &[u8], start: u32, end: u32) -> &[u8] {
    bytes.get(start as usize..end as usize).unwrap_or_default()
}

/// Bodies are held to `max_body_bytes`, far below 4 GiB, and decoding never makes them longer.
fn offset(decoded: &[u8]) -> u32 {
    u32::try_from(decoded.len()).unwrap_or(u32::MAX)
}

/// Name and value of a piece, still encoded.
pub(crate) fn split_at_first_equals(piece: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = piece.splitn(2, |byte| *byte == b'=');
    (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    )
}

/// Appends `encoded` with `+` as a space and valid escapes as their bytes.
fn decode_into(out: &mut Vec<u8>, encoded: &[u8]) {
    let mut rest = encoded;
    while let Some(special) = rest.iter().position(|byte| matches!(byte, b'+' | b'%')) {
        let (plain, tail) = rest.split_at(special);
        out.extend_from_slice(plain);
        rest = match tail {
            [b'%', high, low, after @ ..] => match (hex_digit(*high), hex_digit(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    after
                }
                _ => {
                    out.push(b'%');
                    tail.get(1..).unwrap_or_default()
                }
            },
            [b'+', after @ ..] => {
                out.push(b' ');
                after
            }
            [other, after @ ..] => {
                out.push(*other);
                after
            }
            [] => &[],
        };
    }
    out.extend_from_slice(rest);
}

/// The value of a hex digit of either case.
pub(crate) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Decodes one name or value on its own.
pub(crate) fn decode(encoded: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded.len());
    decode_into(&mut out, encoded);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn signed(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Form::parse(body).write_signed(&mut out);
        out
    }

    #[test]
    fn names_are_sorted_bytewise_and_not_together_with_their_values() {
        assert_eq!(
            signed(b"ReasonConferenceEnded=x&Reason=Participant&b=1&B=2"),
            b"B2ReasonParticipantReasonConferenceEndedxb1"
        );
    }

    #[test]
    fn distinct_values_of_a_repeated_name_are_sorted_and_equal_ones_count_once() {
        assert_eq!(
            signed(b"MediaUrl=b&MediaUrl=a&MediaUrl=b"),
            b"MediaUrlaMediaUrlb"
        );
    }

    #[test]
    fn empty_values_and_names_count() {
        assert_eq!(signed(b"ToCity=&FromZip=&x&=y"), b"yFromZipToCityx");
        assert_eq!(signed(b"&&a=1&&"), b"a1");
        assert_eq!(signed(b""), b"");
    }

    #[test]
    fn only_the_first_equals_sign_splits_and_semicolons_do_not() {
        assert_eq!(signed(b"a=b=c;d=e"), b"ab=c;d=e");
    }

    #[test]
    fn escapes_are_decoded_to_bytes_whatever_they_spell() {
        assert_eq!(
            signed(b"a=%F0%9f%8C%ae+%2B%26%3d%00%ff"),
            b"a\xF0\x9F\x8C\xAE +&=\x00\xFF"
        );
        assert_eq!(signed(b"%41%3D=1"), b"A=1");
    }

    #[test]
    fn an_invalid_escape_stays_as_it_is() {
        assert_eq!(signed(b"a=%"), b"a%");
        assert_eq!(signed(b"a=%4"), b"a%4");
        assert_eq!(signed(b"a=%zz%4%%41%+"), b"a%zz%4%A% ");
    }

    #[test]
    fn bytes_that_are_not_utf8_stay_as_they_are() {
        assert_eq!(signed(b"\xC3=\x28\xFF"), b"\xC3\x28\xFF");
    }

    #[test]
    fn values_are_found_by_name() {
        let form = Form::parse(b"b=2&a=1&b=1&bb=3&b=2");
        assert_eq!(form.values(b"b").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(form.values(b"missing").count(), 0);
        assert_eq!(form.pairs().count(), 4);
    }
}
