//! How upstreams read a path, the most lenient ones included.

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
}

impl Reading {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Reading> {
        (0..32).map(|bits: u32| Reading {
            decodes: bits & 3,
            resolves_early: bits & 4 != 0,
            late_query: bits & 8 != 0,
            nul_ends: bits & 16 != 0,
        })
    }

    /// The segments that this upstream sees, in lower case.
    pub fn segments(self, path: &[u8]) -> Vec<Vec<u8>> {
        let mut path = path.to_vec();
        for _ in 0..self.decodes {
            if self.resolves_early {
                path = [b"/", &resolved(&path).join(&b'/')[..]].concat();
            }
            path = decoded(&path);
        }
        if self.late_query {
            path = cut(&path, b"?#");
        }
        if self.nul_ends {
            path = cut(&path, b"\0");
        }
        resolved(&path)
    }
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

/// Slashes of both kinds merged, path parameters dropped, dot segments resolved, lower case.
fn resolved(path: &[u8]) -> Vec<Vec<u8>> {
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in path.split(|byte| matches!(byte, b'/' | b'\\')) {
        match &cut(segment, b";")[..] {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            name => segments.push(name.to_ascii_lowercase()),
        }
    }
    segments
}
