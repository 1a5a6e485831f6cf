//! How upstreams read a path, the most lenient ones included.

/// One webhook, one family of webhooks, and as much exempt around them as can be.
pub const CONFIGURATION: &str = r#"{
    "accounts": [{"auth_tokens": ["12345"]}],
    "webhooks": [{"path": "/Api/hook", "url": "https://h.example/Api/hook"}, {"path": "/in/*"}],
    "public_base_url": "https://h.example",
    "exempt_paths": ["/*", "/Api/*", "/healthz", "/public/*"],
    "rate_limits": []
}"#;

/// Pieces of paths that lead to a webhook by a detour.
#[rustfmt::skip]
pub const PIECES: [&str; 56] = [
    "/", "//", "/api", "/Api/hook", "api", "hook", "/in/x", "in", "/public", "/public/", "/healthz",
    "..", "/..", "/../", "/.", "/./", "\\", "%5c", "%5C", "%2f", "%2F", "%252f", "%25252f",
    "%2e%2e", ".%2e", "%252e%252e", ";", ";a=b", "%3b", "%253B", "%00", "%2500", "%3f", "?", "%23",
    "#", "%68ook", "%2568ook", "HOOK", "%41pi", "%", "%2", "+", "%20", "x", "%c0%ae", "%ff",
    "%252525", "%3B", "%3F", "/api/hook", "Api",
    ".", "~", ".json", "%c2%a0",
];

/// One way of many to read a path.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// How often escapes are decoded.
    decodes: u32,
    /// Whether dot segments are resolved before each decoding, and not only after the last.
    resolves_early: bool,
    /// Whether the query is cut off only after decoding, so that `%3F` begins one.
    late_query: bool,
    /// Whether a NUL ends the path.
    nul_ends: bool,
    /// Whether white space around segments and dots at their ends do not count.
    trims: bool,
}

impl Reading {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Reading> {
        (0..64).map(|bits: u32| Reading {
            decodes: bits & 3,
            resolves_early: bits & 4 != 0,
            late_query: bits & 8 != 0,
            nul_ends: bits & 16 != 0,
            trims: bits & 32 != 0,
        })
    }

    /// Whether this upstream may take a path for one of the [`CONFIGURATION`]'s webhooks: the webhook itself, something behind it, or bytes that are no text.
    pub fn leads_to_a_webhook(self, path: &[u8]) -> bool {
        let segments = self.segments(path);
        let read = [b"/", &segments.join(&b'/')[..]].concat();
        read.starts_with(b"/api/hook")
            || segments.first().is_some_and(|first| is_in(first))
            || std::str::from_utf8(&read).is_err()
    }

    /// The segments that this upstream sees, in lower case.
    fn segments(self, path: &[u8]) -> Vec<Vec<u8>> {
        let mut path = path.to_vec();
        for _ in 0..self.decodes {
            if self.resolves_early {
                path = [b"/", &self.resolved(&path).join(&b'/')[..]].concat();
            }
            path = decoded(&path);
        }
        if self.late_query {
            path = cut(&path, b"?#");
        }
        if self.nul_ends {
            path = cut(&path, b"\0");
        }
        self.resolved(&path)
    }

    /// Slashes of both kinds merged, path parameters dropped, dot segments resolved, lower case.
    fn resolved(self, path: &[u8]) -> Vec<Vec<u8>> {
        let mut segments: Vec<Vec<u8>> = Vec::new();
        for segment in path.split(|byte| matches!(byte, b'/' | b'\\')) {
            let mut name = cut(segment, b";");
            if self.trims {
                name = trimmed(&name);
            }
            match &name[..] {
                b"" | b"." => {}
                b".." => {
                    segments.pop();
                }
                name => segments.push(name.to_ascii_lowercase()),
            }
        }
        segments
    }
}

/// Whether a segment is `in`, perhaps with something behind it that is no more of a name: a format, a blank. An escape that
/// this upstream does not decode is of the name.
fn is_in(segment: &[u8]) -> bool {
    let is_of_a_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_%".contains(byte);
    let rest = segment.strip_prefix(b"in");
    rest.is_some_and(|rest| !rest.first().is_some_and(is_of_a_name))
}

/// A segment without white space around it, and without dots at its end, unless it is nothing else.
fn trimmed(segment: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(segment) else {
        return segment.to_vec();
    };
    let text = text.trim();
    let name = match text {
        "." | ".." => text,
        text => text.trim_end_matches(['.', ' ']),
    };
    name.as_bytes().to_vec()
}

fn cut(text: &[u8], at: &[u8]) -> Vec<u8> {
    text.split(|byte| at.contains(byte))
        .next()
        .unwrap_or_default()
        .to_vec()
}

/// Escapes only: in a path a plus is a plus.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let escaped = crate::contract::escape_at(text, at);
        out.push(escaped.unwrap_or(text[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    out
}
