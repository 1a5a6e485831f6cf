//! Other spellings of a path, a query, a text.

use crate::signature::urlencoded::hex_digit;

/// The characters of a query that are not escaped, since that would change its meaning.
const DELIMITERS: &[u8] = b"&=%+";

/// Spells a query as forms and Twilio do: all but `-._*` is escaped, and a space is a plus.
pub(super) fn as_a_form(query: &[u8]) -> Vec<u8> {
    let upper = hex_case(query, u8::to_ascii_uppercase);
    let escaped = escaped(&upper, b"&=%+*");
    replaced(&replaced(&escaped, b"~", b"%7E"), b"%20", b"+")
}

/// Returns the spellings of a query that other software uses, the likeliest first, without the
/// query's own.
pub(super) fn of_query(query: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Spellings::new(query);
    let blank_escaped = |text: &[u8]| replaced(text, b"+", b"%20");
    let blank_plus = |text: &[u8]| replaced(text, b"%20", b"+");
    let as_a_form = as_a_form(query);
    let upper = hex_case(query, u8::to_ascii_uppercase);
    // RFC 3986 leaves `~` alone and not `*`.
    let all_escaped = blank_escaped(&escaped(&upper, DELIMITERS));
    all.add(as_a_form.clone());
    all.add(all_escaped.clone());
    // What changes one thing.
    all.add(blank_plus(query));
    all.add(blank_escaped(query));
    all.add(upper);
    all.add(escaped(query, DELIMITERS));
    all.add(blank_escaped(&as_a_form));
    all.add(replaced(query, b"+", b"%2B"));
    all.add(hex_case(query, u8::to_ascii_lowercase));
    // Escaped as little as possible, and as by JavaScript.
    let unescaped = unescaped(query, b"&=%+#");
    let marks = marks_unescaped(query);
    for text in [&unescaped, &marks] {
        all.add(text.clone());
        all.add(blank_plus(text));
        all.add(blank_escaped(text));
    }
    all.add(hex_case(&all_escaped, u8::to_ascii_lowercase));
    all.0.remove(0);
    all.0
}

/// Returns other spellings of a path, in which slashes are not escaped, without its own.
pub(super) fn of_path(path: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Spellings::new(path);
    all.add(unescaped(path, b"/%?#+"));
    all.add(unescaped(path, b"/%?#"));
    // Letters beyond ASCII, signed as they were typed.
    all.add(unescape(path, &|byte| !byte.is_ascii()));
    all.add(escaped(path, b"/%+"));
    all.add(escaped(path, b"/%"));
    all.add(replaced(path, b"+", b"%2B"));
    all.add(replaced(path, b"~", b"%7E"));
    all.add(replaced(path, b"+", b"%20"));
    all.add(replaced(path, b"%20", b"+"));
    all.add(hex_case(path, u8::to_ascii_lowercase));
    all.add(hex_case(path, u8::to_ascii_uppercase));
    all.0.remove(0);
    all.0
}

/// Distinct spellings.
struct Spellings(Vec<Vec<u8>>);

impl Spellings {
    fn new(own: &[u8]) -> Spellings {
        Spellings(vec![own.to_vec()])
    }

    #[inline(never)]
    fn add(&mut self, spelling: Vec<u8>) {
        if !self.0.contains(&spelling) {
            self.0.push(spelling);
        }
    }
}

/// Merges consecutive slashes.
pub(super) fn without_double_slashes(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for byte in path {
        if !(*byte == b'/' && out.last() == Some(&b'/')) {
            out.push(*byte);
        }
    }
    out
}

/// Which of the first slashes of a path are doubled, by bits: one of five, then several of four.
pub(super) const DOUBLED_SLASHES: [u8; 16] =
    [1, 2, 4, 8, 16, 3, 5, 6, 9, 10, 12, 7, 11, 13, 14, 15];

/// Returns the path with some of its slashes doubled; `None` if there are not as many.
pub(super) fn with_double_slashes(path: &[u8], which: u8) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len() + 4);
    let mut left = which;
    for byte in path {
        out.push(*byte);
        if *byte == b'/' {
            if left & 1 == 1 {
                out.push(b'/');
            }
            left >>= 1;
        }
    }
    (left == 0).then_some(out)
}

/// Decodes escapes of visible characters, except those in `but`.
fn unescaped(text: &[u8], but: &[u8]) -> Vec<u8> {
    unescape(text, &|byte| {
        byte.is_ascii_graphic() && !but.contains(&byte)
    })
}

/// Decodes escapes of the characters that JavaScript's `encodeURIComponent` leaves alone.
fn marks_unescaped(text: &[u8]) -> Vec<u8> {
    unescape(text, &|byte| b"!'()*~".contains(&byte))
}

#[inline(never)]
fn unescape(text: &[u8], is_undone: &dyn Fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if let (b'%', [high, low, after @ ..]) = (*first, rest)
            && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
            && let byte = high << 4 | low
            && is_undone(byte)
        {
            out.push(byte);
            rest = after;
        } else {
            out.push(*first);
        }
    }
    out
}

/// Escapes every character that is not unreserved, except those in `but`.
fn escaped(text: &[u8], but: &[u8]) -> Vec<u8> {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || but.contains(byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out
}

#[inline(never)]
fn hex_case(text: &[u8], change: fn(&u8) -> u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut digits = 0;
    for byte in text {
        match byte {
            b'%' => {
                digits = 2;
                out.push(*byte);
            }
            byte if digits > 0 => {
                digits -= 1;
                out.push(change(byte));
            }
            byte => out.push(*byte),
        }
    }
    out
}

/// Replaces every occurrence.
pub(super) fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = behind;
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}
