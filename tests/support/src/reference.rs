//! What is signed, written down once more, as plainly as it can be, and with the misreadings of the two libraries
//! beside it. It decides nothing about a request: the table of exceptions uses it to say exactly what a
//! disagreement comes from.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::signing::{base64, hmac_sha1, hmac_sha256};

/// Who reads the parameters of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// As the contract has it: bytes, sorted as bytes.
    Contract,
    /// `node:querystring`, sorted as JavaScript sorts.
    Node,
    /// `urllib.parse.parse_qs`.
    Python,
}

/// What is signed after the URL: the parameters of the form, if there is one.
pub fn parameters(reader: Reader, form: Option<&[u8]>) -> Vec<u8> {
    let pairs = form.map(|body| sorted(reader, body)).unwrap_or_default();
    let joined = pairs
        .into_iter()
        .map(|(name, value)| [name, value].concat());
    joined.collect::<Vec<_>>().concat()
}

/// The value of `X-Twilio-Signature`: HMAC-SHA1 for an auth token, HMAC-SHA256 for a shared key.
pub fn signature(sha256: bool, secret: &str, url: &str, parameters: &[u8]) -> String {
    let message = [url.as_bytes(), parameters].concat();
    if sha256 {
        base64(&hmac_sha256(secret.as_bytes(), &message))
    } else {
        base64(&hmac_sha1(secret.as_bytes(), &message))
    }
}

type Pair = (Vec<u8>, Vec<u8>);

/// Distinct pairs, by name and then by value.
fn sorted(reader: Reader, body: &[u8]) -> Vec<Pair> {
    // The libraries get text: whatever of the body is not UTF-8 is lost before they begin.
    let lossy = String::from_utf8_lossy(body).into_owned();
    let body = match reader {
        Reader::Contract => body,
        Reader::Node | Reader::Python => lossy.as_bytes(),
    };
    let distinct: BTreeSet<Pair> = pairs(body)
        .map(|(name, value)| (decode(reader, name), decode(reader, value)))
        .collect();
    let mut pairs: Vec<Pair> = distinct.into_iter().collect();
    if reader == Reader::Node {
        pairs.sort_by(|left, right| {
            utf16_order(&left.0, &right.0).then_with(|| utf16_order(&left.1, &right.1))
        });
    }
    pairs
}

/// JavaScript compares strings by their UTF-16 code units, and so puts U+10000 before U+E000.
fn utf16_order(left: &[u8], right: &[u8]) -> Ordering {
    let units =
        |text: &[u8]| -> Vec<u16> { String::from_utf8_lossy(text).encode_utf16().collect() };
    units(left).cmp(&units(right))
}

/// Names and values, still escaped.
pub fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pieces = text
        .split(|byte| *byte == b'&')
        .filter(|piece| !piece.is_empty());
    pieces.map(|piece| match piece.iter().position(|byte| *byte == b'=') {
        Some(equals) => (&piece[..equals], &piece[equals + 1..]),
        None => (piece, &[][..]),
    })
}

pub fn decode(reader: Reader, escaped: &[u8]) -> Vec<u8> {
    let spaces: Vec<u8> = escaped
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    let decoded = unescape(&spaces);
    match reader {
        Reader::Contract => decoded,
        Reader::Python => String::from_utf8_lossy(&decoded).into_owned().into_bytes(),
        Reader::Node => {
            let text = String::from_utf8_lossy(&spaces);
            let has_escape = (0..spaces.len()).any(|at| escape_at(&spaces, at).is_some());
            let is_well_formed = std::str::from_utf8(&decoded).is_ok();
            if !has_escape {
                text.into_owned().into_bytes()
            } else if is_well_formed && !has_broken_escape(&spaces) {
                decoded
            } else {
                // What `decodeURIComponent` does not take goes to `querystring.unescapeBuffer`.
                let bytes = unescape_buffer(&text);
                String::from_utf8_lossy(&bytes).into_owned().into_bytes()
            }
        }
    }
}

/// Decodes the valid escapes.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let decoded = escape_at(text, at);
        out.push(decoded.unwrap_or(*byte));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    out
}

/// The same of a text in UTF-16, of which each unit that is not escaped becomes a byte: its lower one.
fn unescape_buffer(text: &str) -> Vec<u8> {
    let units: Vec<u16> = text.encode_utf16().collect();
    // An escape is of ASCII characters only, so anything else may stand for the others while looking for one.
    let ascii: Vec<u8> = units
        .iter()
        .map(|unit| u8::try_from(*unit).unwrap_or(0xFF))
        .collect();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(unit) = units.get(at) {
        let decoded = escape_at(&ascii, at);
        out.push(decoded.unwrap_or(*unit as u8));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    out
}

fn escape_at(text: &[u8], at: usize) -> Option<u8> {
    let digits = text.get(at..at + 3)?.strip_prefix(b"%")?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// A `%` that is not followed by two hexadecimal digits.
pub fn has_broken_escape(text: &[u8]) -> bool {
    (0..text.len()).any(|at| text[at] == b'%' && escape_at(text, at).is_none())
}

/// A URL in its parts; put together they are the URL again.
#[derive(Clone, Debug)]
pub struct Parts {
    pub scheme: String,
    /// With the `@`, or empty.
    pub userinfo: String,
    pub host: String,
    pub port: Option<String>,
    pub path: String,
    pub query: Option<String>,
}

impl Parts {
    pub fn of(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").expect("an absolute URL");
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query.to_owned())),
            None => (rest, None),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (userinfo, host) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let after_brackets = host.rfind(']').unwrap_or(0);
        let (host, port) = match host[after_brackets..].find(':') {
            Some(colon) => (
                &host[..after_brackets + colon],
                Some(host[after_brackets + colon + 1..].to_owned()),
            ),
            None => (host, None),
        };
        Self {
            scheme: scheme.to_owned(),
            userinfo: userinfo.to_owned(),
            host: host.to_owned(),
            port,
            path: path.to_owned(),
            query,
        }
    }

    pub fn url(&self) -> String {
        let Self {
            scheme,
            userinfo,
            host,
            path,
            ..
        } = self;
        let port = self
            .port
            .as_ref()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let query = self
            .query
            .as_ref()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        format!("{scheme}://{userinfo}{host}{port}{path}{query}")
    }

    pub fn with_port(&self, port: Option<&str>) -> Self {
        Self {
            port: port.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The port that is meant where none is written.
    pub fn default_port(&self) -> &'static str {
        match self.scheme.to_ascii_lowercase().as_str() {
            "https" | "wss" => "443",
            _ => "80",
        }
    }
}
