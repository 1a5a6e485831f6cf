//! No spelling of a webhook's path gets around the check by way of an exempt path.

use proptest::prelude::*;
use support::decide::{Driver, NOW, Sent};
use twilio_webhook_filter::{Outcome, PathPattern};

use crate::generators::{cases, telling_bytes};

/// One webhook, one family of webhooks, and as much exempt around them as can be.
const CONFIGURATION: &str = r#"{
    "accounts": [{"auth_tokens": ["12345"]}],
    "webhooks": [{"path": "/api/hook", "url": "https://h.example/api/hook"}, {"path": "/in/*"}],
    "public_base_url": "https://h.example",
    "exempt_paths": ["/*", "/api/*", "/healthz", "/public/*"],
    "rate_limits": []
}"#;

/// What becomes of a request for this path.
fn is_exempt(driver: &Driver, path: &[u8]) -> bool {
    let headers: [(&[u8], &[u8]); 2] = [(b":method", b"POST"), (b":path", path)];
    let sent = Sent {
        headers: &headers,
        client: "192.0.2.1:1",
        body: b"",
    };
    matches!(driver.decide(sent, 1, NOW).outcome, Outcome::Exempt)
}

/// One way of many in which an upstream may read a path.
#[derive(Clone, Copy, Debug)]
struct Leniency {
    /// How often it decodes escapes.
    decodes: u32,
    /// Whether dot segments are resolved before the last decoding, and not only after it.
    resolves_early: bool,
    /// Whether it cuts the query off only after decoding, so that `%3F` begins one.
    late_query: bool,
    /// Whether a NUL ends the path.
    nul_ends: bool,
}

impl Leniency {
    fn all() -> impl Iterator<Item = Leniency> {
        (0..32).map(|bits: u32| Leniency {
            decodes: bits & 3,
            resolves_early: bits & 4 != 0,
            late_query: bits & 8 != 0,
            nul_ends: bits & 16 != 0,
        })
    }

    fn reads(self, path: &[u8]) -> String {
        // Latin-1, so that every byte is a character and none is lost.
        let mut text: String = path.iter().map(|byte| char::from(*byte)).collect();
        for _ in 0..self.decodes {
            if self.resolves_early {
                text = resolved(&text);
            }
            text = decoded(&text);
        }
        if self.late_query {
            text = text.split(['?', '#']).next().unwrap_or_default().to_owned();
        }
        if self.nul_ends {
            text = text.split('\0').next().unwrap_or_default().to_owned();
        }
        resolved(&text)
    }
}

fn decoded(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(percent) = rest.find('%') {
        out.push_str(&rest[..percent]);
        rest = &rest[percent + 1..];
        let digits = rest
            .get(..2)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits {
            Some(digits) => {
                let byte = u8::from_str_radix(digits, 16).expect("two hex digits");
                out.push(char::from(byte));
                rest = &rest[2..];
            }
            None => out.push('%'),
        }
    }
    out + rest
}

/// Slashes of both kinds merged, path parameters dropped, dot segments resolved, lower case.
fn resolved(text: &str) -> String {
    let mut segments = Vec::new();
    for segment in text.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name.to_ascii_lowercase()),
        }
    }
    format!("/{}", segments.join("/"))
}

/// Frameworks cut off an extension, a blank at the end, or all that they do not know.
fn is_a_webhooks(read: &str) -> bool {
    read.starts_with("/api/hook") || read == "/in" || read.starts_with("/in/")
}

/// Pieces of paths that lead to a webhook by a detour, more often than chance would.
fn detour() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "/",
        "//",
        "/api",
        "/api/hook",
        "api",
        "hook",
        "/in/x",
        "in",
        "/public",
        "/public/",
        "/healthz",
        "..",
        "/..",
        "/../",
        "/.",
        "/./",
        "\\",
        "%5c",
        "%5C",
        "%2f",
        "%2F",
        "%252f",
        "%25252f",
        "%2e%2e",
        ".%2e",
        "%252e%252e",
        ";",
        ";a=b",
        "%3b",
        "%3B",
        "%00",
        "%2500",
        "%3f",
        "%3F",
        "?",
        "%23",
        "#",
        "%68ook",
        "%2568ook",
        "HOOK",
        "Api",
        "%41pi",
        "%",
        "%2",
        "+",
        "%20",
        "x",
        "%c0%af",
    ]);
    let pieces = prop::collection::vec(piece, 1..9);
    pieces.prop_map(|pieces| {
        let path = pieces.concat();
        if path.starts_with('/') {
            path
        } else {
            format!("/{path}")
        }
        .into_bytes()
    })
}

fn driver() -> Driver {
    Driver::without_environment(CONFIGURATION)
}

#[test]
fn what_no_upstream_could_take_for_a_webhook_is_exempt() {
    let driver = driver();
    for path in [
        "/",
        "/healthz",
        "/public/a.css",
        "/api/other",
        "/api/hoo",
        "/xapi/hook",
        "/inn",
        "/favicon.ico",
    ] {
        assert!(is_exempt(&driver, path.as_bytes()), "{path}");
    }
}

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn no_path_that_any_upstream_could_take_for_a_webhook_is_exempt(path in detour()) {
        let driver = driver();
        let target = &path[..];
        if is_exempt(&driver, target) {
            // The query, if there is one, is cut off by whoever reads paths at all.
            let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
            for leniency in Leniency::all() {
                let read = leniency.reads(path);
                let shown = String::from_utf8_lossy(target);
                prop_assert!(!is_a_webhooks(&read), "{shown} is {read} to {leniency:?}");
            }
        }
    }

    #[test]
    fn any_bytes_have_a_route(path in telling_bytes(60)) {
        let driver = driver();
        let _ = is_exempt(&driver, &path);
    }

    #[test]
    fn an_exact_pattern_matches_its_own_bytes_and_no_others(
        text in "/[a-zA-Z/.%;~]{0,12}",
        path in prop_oneof![telling_bytes(12), Just(b"/a".to_vec())],
    ) {
        if let Ok(pattern) = PathPattern::parse(&text) && !pattern.is_prefix() {
            prop_assert!(pattern.matches(text.as_bytes()));
            prop_assert_eq!(pattern.matches(&path), path == text.as_bytes());
            prop_assert_eq!(pattern.as_configured(), text);
        }
    }
}
