//! What is signed, written down once more, as plainly as it can be, and with the misreadings of the two libraries
//! beside it. It decides nothing about a request: the table of exceptions uses it to say exactly what a
//! disagreement comes from.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Who reads the parameters of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// As the contract has it: bytes, sorted as bytes.
    Contract,
    /// `node:querystring`, sorted as JavaScript sorts.
    Node,
    /// `urllib.parse.parse_qs`.
    Python,
}

/// What is signed after the URL: the parameters of the form, if there is one.
pub(crate) fn parameters(reader: Reader, form: Option<&[u8]>) -> Vec<u8> {
    let pairs = form.map(|body| sorted(reader, body)).unwrap_or_default();
    let joined = pairs
        .into_iter()
        .map(|(name, value)| [name, value].concat());
    joined.collect::<Vec<_>>().concat()
}

/// The value of `X-Twilio-Signature`: HMAC-SHA1 for an auth token, HMAC-SHA256 for a shared key.
pub(crate) fn signature(sha256: bool, secret: &str, url: &str, parameters: &[u8]) -> String {
    let secret = secret.as_bytes();
    if sha256 {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length of key");
        mac.update(url.as_bytes());
        mac.update(parameters);
        STANDARD.encode(mac.finalize().into_bytes())
    } else {
        let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("any length of key");
        mac.update(url.as_bytes());
        mac.update(parameters);
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
pub(crate) fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pieces = text
        .split(|byte| *byte == b'&')
        .filter(|piece| !piece.is_empty());
    pieces.map(|piece| match piece.iter().position(|byte| *byte == b'=') {
        Some(equals) => (&piece[..equals], &piece[equals + 1..]),
        None => (piece, &[][..]),
    })
}

pub(crate) fn decode(reader: Reader, escaped: &[u8]) -> Vec<u8> {
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
pub(crate) fn has_broken_escape(text: &[u8]) -> bool {
    (0..text.len()).any(|at| text[at] == b'%' && escape_at(text, at).is_none())
}

/// A URL in its parts; put together they are the URL again.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) scheme: String,
    /// With the `@`, or empty.
    pub(crate) userinfo: String,
    pub(crate) host: String,
    pub(crate) port: Option<String>,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
}

impl Parts {
    pub(crate) fn of(url: &str) -> Self {
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

    pub(crate) fn url(&self) -> String {
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

    pub(crate) fn with_port(&self, port: Option<&str>) -> Self {
        Self {
            port: port.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The port that is meant where none is written.
    pub(crate) fn default_port(&self) -> &'static str {
        match self.scheme.to_ascii_lowercase().as_str() {
            "https" | "wss" => "443",
            _ => "80",
        }
    }
}
