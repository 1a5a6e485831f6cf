//! A form body as the signature sees it.
//!
//! ```text
//! body      = [ piece *( "&" piece ) ]
//! piece     = name [ "=" value ]          ; only the first "=" splits
//! name      = *octet                      ; any octet but "&" and "="
//! value     = *octet                      ; any octet but "&"
//! ```
//!
//! That is how a signature reads it; [`spelling`] says what a strict webhook accepts.
//!
//! Names and values are the decoded *bytes*: `+` is a space, `%` and two hex
//! digits are a byte, an invalid escape stays as it is, and nothing has to be
//! UTF-8. Twilio signs each name followed by its value, names sorted bytewise,
//! the distinct values of a repeated name sorted too.
//! <https://www.twilio.com/docs/usage/security#validating-requests>
//!
//! [`spelling`]: super::spelling

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt;

use crate::signature::spelling::{MalformedForm, first_flaw, has_forbidden_byte, too_many};
use crate::signature::urlencoded::Decoder;
use crate::sort::sort_by;

/// The spellings of a form body that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormReading {
    /// Those that every framework reads alike.
    Strict,
    /// All of them.
    Lenient,
}

/// The parameters of a form (or a query), decoded and sorted.
pub struct Form {
    /// Each parameter's name followed by its value, in the order of arrival.
    decoded: Vec<u8>,
    /// The distinct parameters, sorted by name, then by value.
    parameters: Vec<Parameter>,
}

/// The position of a parameter in `decoded`.
#[derive(Clone, Copy)]
struct Parameter {
    /// The first eight bytes of the name, padded with zeros, as a number: most names differ in
    /// them, and comparing numbers makes sorting cheap.
    first_of_name: u64,
    start: u32,
    name_end: u32,
    end: u32,
}

impl Form {
    /// Parses a body or query as the signature reads it, to which no bytes are malformed.
    pub fn parse(body: &[u8]) -> Form {
        Form::parse_pieces(body, usize::MAX).form
    }

    /// Parses a body in the spelling that a webhook accepts, of at most `max_parameters` pieces.
    ///
    /// # Errors
    /// The first flaw of the body.
    pub fn read(
        body: &[u8],
        reading: FormReading,
        max_parameters: usize,
    ) -> Result<Form, MalformedForm> {
        let parsed = Form::parse_pieces(body, max_parameters);
        if !parsed.is_complete {
            return Err(too_many(body, max_parameters));
        }
        if reading == FormReading::Strict
            && (!parsed.is_regular || has_forbidden_byte(body))
            && let Some(flaw) = first_flaw(body)
        {
            return Err(flaw);
        }
        Ok(parsed.form)
    }

    /// Parses at most `max_pieces`; the rest is ignored.
    fn parse_pieces(body: &[u8], max_pieces: usize) -> Parsed {
        if body.is_empty() {
            // The usual query is empty, and shall allocate nothing.
            return Parsed {
                form: Form {
                    decoded: Vec::new(),
                    parameters: Vec::new(),
                },
                is_regular: true,
                is_complete: true,
            };
        }
        let mut decoder = Decoder::new(body.len());
        let mut parameters = Vec::with_capacity(EXPECTED_PARAMETERS);
        let mut start = 0;
        let mut name_end = None;
        let mut is_regular = true;
        let mut left = max_pieces;
        let mut rest = body;
        loop {
            rest = decoder.copy_plain(rest);
            let Some((special, after)) = rest.split_first() else {
                break;
            };
            match special {
                b'&' => {
                    is_regular &= name_end.is_some();
                    parameters.extend(Parameter::new(&decoder, start, name_end));
                    start = decoder.end;
                    name_end = None;
                    rest = after;
                    left = left.saturating_sub(1);
                    if left == 0 {
                        break;
                    }
                }
                b'=' if name_end.is_none() => {
                    name_end = Some(decoder.end);
                    rest = after;
                }
                special => rest = decoder.decode(*special, after),
            }
        }
        is_regular &= name_end.is_some() && !decoder.has_stray;
        parameters.extend(Parameter::new(&decoder, start, name_end));
        let decoded = decoder.finish();
        sort_by(&mut parameters, |left: &Parameter, right| {
            left.is_less(right, &decoded)
        });
        parameters.dedup_by(|later, earlier| {
            later.first_of_name == earlier.first_of_name
                && later.compare_all(earlier, &decoded).is_eq()
        });
        Parsed {
            form: Form {
                decoded,
                parameters,
            },
            is_regular,
            is_complete: left > 0,
        }
    }

    /// Appends what Twilio signs of this form: sorted names and values without separators.
    pub fn write_signed(&self, out: &mut Vec<u8>) {
        for parameter in &self.parameters {
            out.extend_from_slice(parameter.both(&self.decoded));
        }
    }

    /// Returns the offsets at which each name and value begin and the value ends, in a string of
    /// `length` bytes that ends with what is signed of this form.
    pub(crate) fn offsets_at_end_of(&self, length: usize) -> impl Iterator<Item = [usize; 3]> {
        let own: u32 = self.parameters.iter().map(|one| one.end - one.start).sum();
        let mut at = length.saturating_sub(own as usize);
        self.parameters.iter().map(move |parameter| {
            let name = at;
            let value = name + (parameter.name_end - parameter.start) as usize;
            at = name + (parameter.end - parameter.start) as usize;
            [name, value, at]
        })
    }

    /// Returns whether nothing of it is signed, as of `=&=`.
    pub fn signs_nothing(&self) -> bool {
        self.decoded.is_empty()
    }

    /// Returns the distinct values of a parameter, sorted.
    pub fn values<'form>(&'form self, name: &'form [u8]) -> impl Iterator<Item = &'form [u8]> {
        let wanted = first_of(name);
        let first = self
            .parameters
            .partition_point(|parameter| parameter.first_of_name < wanted);
        let from_there = self.parameters.get(first..).unwrap_or_default().iter();
        from_there
            .take_while(move |parameter| parameter.first_of_name == wanted)
            .filter(move |parameter| parameter.name(&self.decoded) == name)
            .map(|parameter| parameter.value(&self.decoded))
    }

    /// Returns every parameter as name and value, in the order of arrival.
    pub fn pairs_as_sent(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        // A heap sorts with a tenth of the code of a sort, and only a diagnosis comes here.
        let starts = self.parameters.iter().map(|parameter| parameter.start);
        let order: BinaryHeap<_> = starts.zip(0_usize..).collect();
        let indices = order.into_sorted_vec().into_iter();
        let sorted = indices.filter_map(|(_, index)| self.parameters.get(index));
        sorted.map(|parameter| self.pair(parameter))
    }

    /// Returns every parameter as name and value, sorted.
    pub fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.parameters.iter().map(|parameter| self.pair(parameter))
    }

    fn pair(&self, parameter: &Parameter) -> (&[u8], &[u8]) {
        (
            parameter.name(&self.decoded),
            parameter.value(&self.decoded),
        )
    }
}

/// The parameters of a body, and what is known of its spelling.
struct Parsed {
    form: Form,
    /// Whether each piece has exactly one `=`, and each `%` two digits.
    is_regular: bool,
    /// Whether all pieces were parsed.
    is_complete: bool,
}

/// Shows the number of parameters only: names and values are personal data.
impl fmt::Debug for Form {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Form({} parameters)", self.parameters.len())
    }
}

/// The initial capacity of the list: a WhatsApp message has about 20 parameters.
const EXPECTED_PARAMETERS: usize = 32;

impl Parameter {
    /// Returns the parameter from `start` to the decoder's end; `None` for an empty piece (`&&`).
    /// A piece without `=` is a name.
    fn new(decoder: &Decoder, start: usize, name_end: Option<usize>) -> Option<Parameter> {
        if decoder.end == start && name_end.is_none() {
            return None;
        }
        let name_end = name_end.unwrap_or(decoder.end);
        let name = decoder.bytes.get(start..name_end).unwrap_or_default();
        Some(Parameter {
            first_of_name: first_of(name),
            start: offset(start),
            name_end: offset(name_end),
            end: offset(decoder.end),
        })
    }

    /// Returns whether it comes first: by name, then by value, both bytewise.
    fn is_less(&self, other: &Parameter, decoded: &[u8]) -> bool {
        // These compare as the names do, where they differ: a name that ends before the
        // difference is smaller, and so is the zero in its place.
        match self.first_of_name == other.first_of_name {
            true => self.compare_all(other, decoded).is_lt(),
            false => self.first_of_name < other.first_of_name,
        }
    }

    /// Compares whole names and values. Not inlined, so that sorting is a loop over numbers.
    #[inline(never)]
    fn compare_all(&self, other: &Parameter, decoded: &[u8]) -> Ordering {
        let names = self.name(decoded).cmp(other.name(decoded));
        names.then_with(|| self.value(decoded).cmp(other.value(decoded)))
    }

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

/// Returns the first eight bytes of a name, padded with zeros.
fn first_of(name: &[u8]) -> u64 {
    if let Some(first) = name.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(name) {
        *to = *from;
    }
    u64::from_be_bytes(first)
}

fn slice(bytes: &[u8], start: u32, end: u32) -> &[u8] {
    bytes.get(start as usize..end as usize).unwrap_or_default()
}

/// Narrows an offset: bodies are limited to `max_body_bytes`, far below 4 GiB, and decoding never
/// makes them longer.
fn offset(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
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
    fn what_is_signed_of_a_form_is_as_documented() {
        let cases: [(&[u8], &[u8]); 16] = [
            // Names are sorted bytewise, and not together with their values.
            (
                b"ReasonX=x&Reason=Participant&b=1&B=2",
                b"B2ReasonParticipantReasonXxb1",
            ),
            (
                b"MessageSid2=5&MessageSid=4&MessageS=3",
                b"MessageS3MessageSid4MessageSid25",
            ),
            (b"Message=2&Messag=1&%00=0&=x", b"x\x000Messag1Message2"),
            (b"a%00=2&a=1&a%00%00=3", b"a1a\x002a\0\x003"),
            // Distinct values of a repeated name are sorted, and equal ones count once.
            (b"MediaUrl=b&MediaUrl=a&MediaUrl=b", b"MediaUrlaMediaUrlb"),
            // Empty values and names count, empty pieces do not.
            (b"ToCity=&FromZip=&x&=y", b"yFromZipToCityx"),
            (b"&&a=1&&", b"a1"),
            (b"", b""),
            // Only the first equals sign splits, and semicolons do not.
            (b"a=b=c;d=e", b"ab=c;d=e"),
            // Escapes are decoded to bytes, whatever they spell.
            (b"a=%F0%9f%8C%ae+%2B%26%3d", b"a\xF0\x9F\x8C\xAE +&="),
            (b"a=%00%ff", b"a\x00\xFF"),
            (b"%41%3D=1", b"A=1"),
            // An invalid escape stays as it is.
            (b"a=%", b"a%"),
            (b"a=%4", b"a%4"),
            (b"a=%zz%4%%41%+", b"a%zz%4%A% "),
            // As do bytes that are not UTF-8.
            (b"\xC3=\x28\xFF", b"\xC3\x28\xFF"),
        ];
        for (body, expected) in cases {
            assert_eq!(signed(body), expected, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn special_characters_are_found_wherever_they_stand() {
        // Every position in and across words of eight bytes, beside every other byte.
        for byte in 0..=255_u8 {
            for index in 0..20 {
                let mut value = vec![byte; 20];
                if matches!(byte, b'&' | b'+' | b'%') {
                    value = vec![b'x'; 20];
                }
                value[index] = b'+';
                let mut expected = value.clone();
                expected[index] = b' ';
                let body = [b"n=", value.as_slice()].concat();
                assert_eq!(signed(&body), [b"n", expected.as_slice()].concat());
            }
        }
    }

    #[test]
    fn pairs_are_told_sorted_or_in_the_order_of_arrival_each_once() {
        let form = Form::parse(b"b=2&a=1&c&b=1&a=1&=x");
        let text = |(name, value): (&[u8], &[u8])| {
            let text = [name, b"=", value].concat();
            String::from_utf8(text).expect("ASCII")
        };
        let sorted: Vec<_> = form.pairs().map(text).collect();
        assert_eq!(sorted, ["=x", "a=1", "b=1", "b=2", "c="]);
        let as_sent: Vec<_> = form.pairs_as_sent().map(text).collect();
        assert_eq!(as_sent.len(), 5);
        // Of equal pairs either may be kept.
        let indices =
            ["b=2", "c=", "b=1", "=x"].map(|pair| as_sent.iter().position(|own| own == pair));
        assert!(indices.is_sorted() && indices[0].is_some(), "{as_sent:?}");
    }

    #[test]
    fn no_parameter_shows_in_debug_output() {
        let shown = format!("{:?}", Form::parse(b"Body=tacos&From=%2B15550100"));
        assert_eq!(shown, "Form(2 parameters)");
    }

    #[test]
    fn values_are_found_by_name() {
        let form = Form::parse(b"b=2&a=1&b=1&bb=3&b=2");
        assert_eq!(form.values(b"b").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(form.values(b"missing").count(), 0);
        assert_eq!(form.pairs().count(), 4);
    }
}
