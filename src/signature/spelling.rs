//! The spelling of forms that every framework reads alike.
//!
//! ```text
//! body      = piece *( "&" piece )        ; max_parameters at the most
//! piece     = name "=" value
//! name      = *( plain / "+" / escape )
//! value     = *( plain / "+" / escape )
//! plain     = %x21-7E                     ; but "&" "=" "+" "%" ";"
//! escape    = "%" 2HEXDIG
//! ```
//!
//! Frameworks differ in how they read any other spelling, under one signature: a `;` separates
//! parameters in some, and drops the one that contains it in Go; a name without `=` has no value,
//! an empty one, or is an error; bytes above 0x7F are of one character set or another. Twilio
//! sends nothing of the kind.

use std::fmt;

use crate::signature::urlencoded::hex_digit;
use crate::signature::word::{repeated, zero_bytes};

/// What is malformed in a form, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedForm {
    /// What is malformed.
    pub what: Flaw,
    /// Its offset in the body, in bytes: of what is wrong or surplus, or where something is missing.
    pub offset: usize,
}

/// A spelling that frameworks read differently, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// An empty piece between two `&`, which some frameworks count as a parameter.
    EmptyPiece,
    /// A name without `=`, which has an empty value, no value, or is an error.
    NoEquals,
    /// A second `=`, which belongs to the value or ends it.
    SecondEquals,
    /// A `;`, which separates parameters, or drops the one that contains it.
    Semicolon,
    /// A space that is not written as `+` or `%20`.
    Blank,
    /// A byte below 0x20, or 0x7F.
    ControlByte,
    /// A byte above 0x7F that is not escaped, so that its character set is unknown.
    ByteAboveAscii,
    /// A `%` without two hex digits.
    BrokenEscape,
    /// More than this number of parameters, where frameworks stop reading or fail.
    TooManyParameters(usize),
}

impl fmt::Display for MalformedForm {
    /// Shows none of the form's text, which is personal data.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            Flaw::EmptyPiece => "an empty parameter (&& or & at an end)",
            Flaw::NoEquals => "a parameter without \"=\"",
            Flaw::SecondEquals => "a second \"=\" in a parameter, to be written as %3D",
            Flaw::Semicolon => "a \";\", to be written as %3B",
            Flaw::Blank => "a space, to be written as + or %20",
            Flaw::ControlByte => {
                "a control character (a line end, for instance) that is not escaped"
            }
            Flaw::ByteAboveAscii => "a character beyond ASCII that is not escaped",
            Flaw::BrokenEscape => "a \"%\" without two hex digits, to be written as %25",
            Flaw::TooManyParameters(max) => {
                return write!(
                    formatter,
                    "the form has more than {max} parameters, the first surplus one at byte {}",
                    self.offset
                );
            }
        };
        write!(formatter, "the form has {what}, at byte {}", self.offset)
    }
}

/// Returns whether the body has a forbidden byte, except for those that parsing it finds. It
/// inspects eight bytes at once.
pub(super) fn has_forbidden_byte(body: &[u8]) -> bool {
    let (words, rest) = body.as_chunks::<8>();
    let found = words.iter().fold(0, |found, word| {
        found | forbidden(u64::from_le_bytes(*word))
    });
    let is_forbidden = |byte: &u8| !byte.is_ascii_graphic() || *byte == b';';
    found != 0 || rest.iter().any(is_forbidden)
}

/// Returns a number other than zero if any of eight bytes is below 0x21, above 0x7E, or a `;`.
const fn forbidden(word: u64) -> u64 {
    let too_small = word.wrapping_sub(repeated(0x21));
    let too_large = word.wrapping_add(repeated(1));
    let semicolon = zero_bytes(word ^ repeated(b';'));
    (too_small | too_large | word | semicolon) & repeated(0x80)
}

/// Returns the flaw of a body with more pieces than this number.
#[cold]
pub(super) fn too_many(body: &[u8], max_pieces: usize) -> MalformedForm {
    let separators = body.iter().enumerate().filter(|(_, byte)| **byte == b'&');
    let last = separators
        .map(|(at, _)| at)
        .nth(max_pieces.saturating_sub(1));
    MalformedForm {
        what: Flaw::TooManyParameters(max_pieces),
        offset: last.map_or(0, |at| at + 1),
    }
}

/// Returns the first flaw of a body.
#[cold]
pub(super) fn first_flaw(body: &[u8]) -> Option<MalformedForm> {
    let mut start = 0;
    for piece in body.split(|byte| *byte == b'&') {
        let flaw = match flaw_of_piece(piece) {
            None if piece.is_empty() => Some((Flaw::EmptyPiece, 0)),
            None if !piece.contains(&b'=') => Some((Flaw::NoEquals, piece.len())),
            flaw => flaw,
        };
        if let Some((what, within)) = flaw {
            let offset = start + within;
            return Some(MalformedForm { what, offset });
        }
        start += piece.len() + 1;
    }
    None
}

fn flaw_of_piece(piece: &[u8]) -> Option<(Flaw, usize)> {
    let mut has_equals = false;
    let mut rest = piece;
    while let Some((byte, after)) = rest.split_first() {
        let is_escape = || match after {
            [high, low, ..] => hex_digit(*high).and(hex_digit(*low)).is_some(),
            _ => false,
        };
        let flaw = match byte {
            b'=' if has_equals => Some(Flaw::SecondEquals),
            b';' => Some(Flaw::Semicolon),
            b' ' => Some(Flaw::Blank),
            0..=0x1F | 0x7F => Some(Flaw::ControlByte),
            0x80.. => Some(Flaw::ByteAboveAscii),
            b'%' if !is_escape() => Some(Flaw::BrokenEscape),
            _ => None,
        };
        if let Some(flaw) = flaw {
            return Some((flaw, piece.len() - rest.len()));
        }
        has_equals |= *byte == b'=';
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn forbidden_bytes_are_found_in_any_number_and_do_not_cancel_out() {
        for [first, second] in [*b"  ", *b";;", [0xFF, 0xFF], [0x7F, b' '], [0, 0x80]] {
            for between in 1..=24 {
                let mut body = vec![b'a'; 32];
                body[3] = first;
                body[3 + between] = second;
                assert!(has_forbidden_byte(&body), "{body:?}");
            }
        }
    }

    #[test]
    fn a_forbidden_byte_is_found_wherever_it_stands() {
        for byte in 0..=255_u8 {
            let is_forbidden = !byte.is_ascii_graphic() || byte == b';';
            for length in 1..20 {
                for index in 0..length {
                    for filler in [b'a', b'!', b'~', b':', b'<'] {
                        let mut body = vec![filler; length];
                        body[index] = byte;
                        assert_eq!(has_forbidden_byte(&body), is_forbidden, "{body:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_offset_is_that_of_the_first_flaw() {
        for (body, what, offset) in [
            ("&a=1", Flaw::EmptyPiece, 0),
            ("a=1&", Flaw::EmptyPiece, 4),
            ("a=1&&b=2", Flaw::EmptyPiece, 4),
            ("a=1&b", Flaw::NoEquals, 5),
            ("abc&c=2", Flaw::NoEquals, 3),
            ("a=1&b=2=3", Flaw::SecondEquals, 7),
            ("a=1;b", Flaw::Semicolon, 3),
            ("a=1 ;", Flaw::Blank, 3),
            ("a=1\n", Flaw::ControlByte, 3),
            ("a=\u{7f}", Flaw::ControlByte, 2),
            ("a=\u{e9}", Flaw::ByteAboveAscii, 2),
            ("a=%4", Flaw::BrokenEscape, 2),
            ("a=%41%zz", Flaw::BrokenEscape, 5),
        ] {
            let flaw = first_flaw(body.as_bytes()).expect(body);
            assert_eq!((flaw.what, flaw.offset), (what, offset), "{body}");
        }
        for body in ["=", "a=", "=b", "a=1&a=1", "a=%254"] {
            assert_eq!(first_flaw(body.as_bytes()), None, "{body}");
        }
    }
}
