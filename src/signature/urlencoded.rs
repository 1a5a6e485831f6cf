//! The encoding of `application/x-www-form-urlencoded`: names, values, and their bytes.

use crate::signature::word::{repeated, zero_bytes};

/// Splits a piece into name and value, both still encoded.
pub(crate) fn split_at_first_equals(piece: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = piece.splitn(2, |byte| *byte == b'=');
    (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    )
}

/// A decoder that collects decoded bytes.
///
/// Special characters are some ten bytes apart, so that calling a function to copy each run
/// costs more than the copy. Instead, eight bytes are inspected and copied at once, and those
/// behind a special character are overwritten by what it decodes to. That takes half the time
/// of a search for the next special character and a copy up to it.
pub(super) struct Decoder {
    /// Eight bytes longer than what is decoded into it.
    pub(super) bytes: Vec<u8>,
    /// The number of bytes that are decoded.
    pub(super) end: usize,
    /// Whether a `%` or `=` stays as it is.
    pub(super) has_stray: bool,
}

impl Decoder {
    /// Returns a decoder with room for `encoded` bytes; decoding never makes them more.
    pub(super) fn new(encoded: usize) -> Decoder {
        Decoder {
            bytes: vec![0; encoded.saturating_add(8)],
            end: 0,
            has_stray: false,
        }
    }

    /// Copies what needs no decoding and returns the rest, which starts with a special
    /// character or is shorter than eight bytes.
    pub(super) fn copy_plain<'a>(&mut self, encoded: &'a [u8]) -> &'a [u8] {
        let mut rest = encoded;
        while let Some(chunk) = rest.first_chunk() {
            let plain = plain_bytes(u64::from_le_bytes(*chunk));
            let to = self.bytes.get_mut(self.end..);
            if let Some(to) = to.and_then(|to| to.first_chunk_mut()) {
                *to = *chunk;
            }
            self.end += plain;
            rest = rest.get(plain..).unwrap_or_default();
            if plain < 8 {
                break;
            }
        }
        rest
    }

    /// Decodes what starts with `first`, and the escapes that follow, and returns the rest: a letter
    /// beyond ASCII is two to four escapes in a row.
    pub(super) fn decode<'a>(&mut self, first: u8, after: &'a [u8]) -> &'a [u8] {
        let mut rest = self.decode_one(first, after);
        while let Some((b'%', after)) = rest.split_first() {
            rest = self.decode_one(b'%', after);
        }
        rest
    }

    #[inline(always)]
    fn decode_one<'a>(&mut self, first: u8, after: &'a [u8]) -> &'a [u8] {
        let (byte, rest) = match (first, after) {
            (b'+', rest) => (b' ', rest),
            (b'%', [high, low, rest @ ..])
                if let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low)) =>
            {
                (high << 4 | low, rest)
            }
            (other, rest) => {
                self.has_stray |= matches!(other, b'%' | b'=');
                (other, rest)
            }
        };
        if let Some(slot) = self.bytes.get_mut(self.end) {
            *slot = byte;
        }
        self.end += 1;
        rest
    }

    /// Returns the decoded bytes.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.truncate(self.end);
        self.bytes
    }
}

/// Returns how many of a word's bytes, from the lowest, precede the first `&`, `=`, `+` or `%`.
///
/// `$` and `'` stop it, too, which costs nothing but time: they differ from `%` and `&` in the
/// lowest two bits only, so that one comparison finds all four.
fn plain_bytes(word: u64) -> usize {
    let special = zero_bytes(word ^ repeated(b'='))
        | zero_bytes(word ^ repeated(b'+'))
        | zero_bytes((word | repeated(3)) ^ repeated(b'\''));
    (special.trailing_zeros() / 8) as usize
}

/// Returns the value of a hex digit of either case.
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
    let mut decoder = Decoder::new(encoded.len());
    let mut rest = decoder.copy_plain(encoded);
    while let Some((first, after)) = rest.split_first() {
        rest = decoder.decode(*first, after);
        rest = decoder.copy_plain(rest);
    }
    decoder.finish()
}
