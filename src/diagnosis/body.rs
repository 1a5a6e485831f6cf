//! The body: JSON that was parsed and rewritten on the way, and bodies or hashes that are missing.

use crate::diagnosis::parameters::MAX_PARAMETERS;
use crate::diagnosis::spellings::replaced;
use crate::diagnosis::work::{Search, Work};
use crate::signature::body_hash::{is_body_hash, parse_hash};
use crate::signature::form::Form;
use crate::signature::key::sha256;
use crate::signature::urlencoded::{decode, split_at_first_equals};

/// The hashes of the body in a query.
#[derive(Default)]
struct Hashes<'a> {
    count: usize,
    /// The value of the last one as received.
    value: &'a [u8],
    /// The query up to the end of the last one.
    up_to: &'a [u8],
    /// The query in front of the last one.
    in_front: &'a [u8],
    /// The query after the last one, with the `&`.
    behind: &'a [u8],
}

impl<'a> Hashes<'a> {
    fn of(query: &'a [u8]) -> Hashes<'a> {
        let mut hashes = Hashes::default();
        let mut start = 0;
        for piece in query.split(|byte| *byte == b'&') {
            let end = start + piece.len();
            if is_body_hash(piece) {
                hashes.count += 1;
                hashes.value = split_at_first_equals(piece).1;
                hashes.up_to = query.get(..end).unwrap_or_default();
                hashes.in_front = query.get(..start).unwrap_or_default();
                hashes.behind = query.get(end..).unwrap_or_default();
            }
            start = end + 1;
        }
        hashes
    }
}

const TWICE: &str = "the query holds two hashes, more than one bodySHA256: which of them is the body's \
                     cannot be told";

/// Explains a body that is not the one whose hash the signed URL holds.
pub(super) fn explain_mismatch(query: &[u8], method: &[u8], body: &[u8]) -> String {
    let mut work = Work::new();
    if !work.take_text(8 * query.len()) {
        return "the query is too long for a diagnosis".into();
    }
    let hashes = Hashes::of(query);
    if body.is_empty() {
        return no_body(method, hashes.count > 1);
    }
    if hashes.count > 1 {
        return TWICE.into();
    }
    let Some(signed) = parsed(hashes.value) else {
        return "the query holds no usable bodySHA256".into();
    };
    for (writing, difference) in WRITINGS {
        if !work.take_text(4 * body.len()) {
            break;
        }
        let written = writing(body);
        if written == body {
            continue;
        }
        if !work.take_sha256(written.len()) {
            break;
        }
        if sha256(&[&written]) == signed {
            return format!("the body was parsed and written anew on the way: it has {difference}");
        }
    }
    let changed = "the body was changed on the way: it is not the one whose hash is in the signed \
                   URL";
    match work.is_used_up() {
        true => format!("{changed} (it is too long to try how)"),
        false => changed.into(),
    }
}

fn no_body(method: &[u8], twice: bool) -> String {
    let twice = if twice { ", twice: two hashes" } else { "" };
    let by_get = match method {
        b"GET" | b"HEAD" => {
            ". Twilio's GET callbacks come so: leave POST, PUT and PATCH out of the methods of \
             this webhook, and they pass"
        }
        _ => ": something on the way has dropped the body",
    };
    format!(
        "there is no body, and the signed URL holds the hash of one (bodySHA256{twice}){by_get}"
    )
}

/// Explains a body that the signature does not cover.
pub(super) fn explain_unsigned(
    search: &mut Search<'_>,
    urls: &[Vec<u8>],
    query: Option<&[u8]>,
    method: &[u8],
    body: &[u8],
) -> String {
    let too_long = "URL and body are too long for a diagnosis";
    let received = query.unwrap_or_default();
    if !search.work.take_text(8 * received.len()) {
        return too_long.into();
    }
    let hashes = Hashes::of(received);
    let is_signed = urls.iter().any(|url| search.fits(&[url]));
    let has_no_body = matches!(method, b"GET" | b"HEAD" | b"DELETE");
    if is_signed {
        return match hashes.count {
            _ if has_no_body && !body.is_empty() => {
                "the URL is signed, and by this method Twilio sends no body: something on the way \
                 has added one, or changed the method"
            }
            0 => {
                "the URL is signed, the body is not: this Twilio product does not send \
                 bodySHA256, and its bodies cannot be verified"
            }
            1 if !hashes.behind.is_empty() => {
                "the signed URL holds bodySHA256, but not as its last parameter, where Twilio \
                 puts it: so it says nothing of the body"
            }
            1 if parsed(hashes.value).is_none() => {
                "the URL is signed, and its bodySHA256 is no hash"
            }
            1 => {
                "the URL is signed, and holds the hash of a body, but the content-type is one of \
                 a form, or stands there twice: something on the way changed it"
            }
            _ => TWICE,
        }
        .into();
    }
    if hashes.count > 0 && !hashes.behind.is_empty() {
        // Each URL ends in the received query.
        for url in urls {
            let Some(before) = url.strip_suffix(received) else {
                continue;
            };
            if search.fits(&[before, hashes.up_to]) {
                return "the query that was signed ends with bodySHA256: something on the way has \
                        added to it"
                    .into();
            }
            let (moved, hash) = (hashes.behind, hashes.up_to.get(hashes.in_front.len()..));
            let moved = moved.strip_prefix(b"&").unwrap_or(moved);
            let hash = hash.unwrap_or_default();
            if search.fits(&[before, hashes.in_front, moved, b"&", hash]) {
                return "the query that was signed is in another order, with bodySHA256 at its \
                        end: something on the way has sorted it"
                    .into();
            }
        }
    }
    if hashes.count > 1 {
        return TWICE.into();
    }
    // Parsing and sorting a form.
    let pieces = body.iter().filter(|byte| **byte == b'&').count();
    let is_small = search.work.take(2 * body.len()) && search.work.take_copies(pieces, 0);
    if is_small && pieces <= MAX_PARAMETERS {
        let mut signed = Vec::new();
        Form::parse(body).write_signed(&mut signed);
        if urls.iter().any(|url| search.fits(&[url, &signed])) {
            return match has_no_body {
                true => "it is signed as a form: something on the way changed its method",
                false => "it is signed as a form: something on the way changed its content-type",
            }
            .into();
        }
    }
    if search.work.is_used_up() {
        return too_long.into();
    }
    match hashes.count {
        0 => {
            "there is no usable bodySHA256 in the query: a proxy may have dropped or changed the \
             query that Twilio sent"
        }
        _ => {
            "there is a bodySHA256 in the query, and the URL is not signed like this: a proxy may \
             have changed the query that Twilio sent"
        }
    }
    .into()
}

fn parsed(value: &[u8]) -> Option<[u8; 32]> {
    parse_hash(&decode(value.get(..value.len().min(3 * 64))?))
}

/// A function that rewrites the same JSON.
type Writing = fn(&[u8]) -> Vec<u8>;

const SPACE: &str = "white space that was not in the JSON when it was signed";
const OTHER_SPACE: &str = "other white space than the JSON had when it was signed";
const SPACE_AROUND: &str = "white space around it that was not signed";
const NO_LINE_END: &str = "no line end, which it had when it was signed";
const LINE_ENDS: &str = "line ends that were changed from LF to CR LF";
const ESCAPES: &str = "escapes that were not in the JSON when it was signed";
const ESCAPES_AND_SPACE: &str =
    "escapes and white space that were not in the JSON when it was signed";
const NO_ESCAPES: &str = "no escapes, which the JSON had when it was signed";

/// Ways to rewrite JSON, the likeliest first, and how the received body differs if one matches.
const WRITINGS: [(Writing, &str); 12] = [
    (compact, SPACE),
    (|body| rewritten(body, " ", " "), OTHER_SPACE),
    (|body| [body, b"\n"].concat(), NO_LINE_END),
    (|body| body.trim_ascii().to_vec(), SPACE_AROUND),
    (|body| rewritten(body, "", " "), OTHER_SPACE),
    (|body| replaced(body, b"\r\n", b"\n"), LINE_ENDS),
    (slashes_unescaped, ESCAPES),
    (|body| compact(&slashes_unescaped(body)), ESCAPES_AND_SPACE),
    (unescaped, ESCAPES),
    (|body| compact(&unescaped(body)), ESCAPES_AND_SPACE),
    (|body| [&compact(body), &b"\n"[..]].concat(), OTHER_SPACE),
    (|body| compact(&escaped(body)), NO_ESCAPES),
];

/// Rewrites JSON without white space between its tokens.
fn compact(json: &[u8]) -> Vec<u8> {
    rewritten(json, "", "")
}

/// Rewrites JSON with `/` for `\/`.
fn slashes_unescaped(json: &[u8]) -> Vec<u8> {
    replaced(json, b"\\/", b"/")
}

/// Rewrites JSON with other white space between its tokens.
fn rewritten(json: &[u8], after_comma: &str, after_colon: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut in_text = false;
    let mut escaped = false;
    for byte in json {
        if in_text {
            out.push(*byte);
            in_text = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b',' => {
                out.push(b',');
                out.extend_from_slice(after_comma.as_bytes());
            }
            b':' => {
                out.push(b':');
                out.extend_from_slice(after_colon.as_bytes());
            }
            byte => {
                in_text = *byte == b'"';
                out.push(*byte);
            }
        }
    }
    out
}

/// Rewrites JSON with UTF-8 for escapes such as `\u00e9`.
fn unescaped(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut rest = json;
    let mut high = None;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let (b'\\', Some((next, after))) = (*first, rest.split_first()) else {
            out.push(*first);
            continue;
        };
        rest = after;
        let digits = after.get(..4).filter(|_| *next == b'u');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let unit = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let Some(unit) = unit.filter(|unit| *unit >= 0x80) else {
            out.extend_from_slice(&[b'\\', *next]);
            continue;
        };
        rest = rest.get(4..).unwrap_or_default();
        let units = match high.take() {
            Some(high) => vec![high, unit],
            None => vec![unit],
        };
        if units.len() == 1 && (0xD800..0xDC00).contains(&unit) {
            high = Some(unit);
            continue;
        }
        out.extend_from_slice(String::from_utf16_lossy(&units).as_bytes());
    }
    out
}

/// Rewrites JSON with escapes such as `\u00e9` for characters beyond ASCII.
fn escaped(json: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(json) else {
        return json.to_vec();
    };
    let mut out = String::with_capacity(json.len());
    let mut units = [0; 2];
    for char in text.chars() {
        if char.is_ascii() {
            out.push(char);
            continue;
        }
        for unit in char.encode_utf16(&mut units) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out.into_bytes()
}
