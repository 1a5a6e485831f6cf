//! The request's path: what is exempt is no webhook to any upstream, and what nobody could take for one is exempt.
#![no_main]

use apart::draw::Draw;
use libfuzzer_sys::fuzz_target;
use support::contract::split_target;
use support::decide::{Driver, NOW, Sent};
use support::lenient::Reading;
use twilio_webhook_filter::{Outcome, PathPattern};

/// One webhook, one family of webhooks, and as much exempt around them as can be.
const CONFIGURATION: &str = r#"{
    "accounts": [{"auth_tokens": ["12345"]}],
    "webhooks": [{"path": "/Api/hook", "url": "https://h.example/Api/hook"}, {"path": "/in/*"}],
    "public_base_url": "https://h.example",
    "exempt_paths": ["/*", "/Api/*", "/healthz", "/public/*"],
    "rate_limits": []
}"#;

thread_local! {
    static DRIVER: Driver = Driver::without_environment(CONFIGURATION);
}

/// Pieces of paths that lead to a webhook by a detour.
const PIECES: [&str; 48] = [
    "/",
    "//",
    "/api",
    "/Api/hook",
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
    "%253B",
    "%00",
    "%2500",
    "%3f",
    "?",
    "%23",
    "#",
    "%68ook",
    "%2568ook",
    "HOOK",
    "%41pi",
    "%",
    "%2",
    "+",
    "%20",
    "x",
    "%c0%ae",
    "%ff",
    "%252525",
];

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let mut draw = Draw::new(bytes);
    let pieces: Vec<&str> = (0..draw.below(10)).map(|_| draw.one_of(&PIECES)).collect();
    check(&[b"/", pieces.concat().as_bytes()].concat());
    // A webhook's path with something in the middle.
    let webhook = draw.one_of(&["/Api/hook", "/in/x"]);
    let (before, behind) = webhook.split_at(draw.below(webhook.len() + 1));
    check(
        [before, draw.one_of(&PIECES), behind, draw.one_of(&PIECES)]
            .concat()
            .as_bytes(),
    );

    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(pattern) = PathPattern::parse(text)
    {
        assert_eq!(pattern.as_configured(), text);
        assert!(pattern.is_prefix() || pattern.matches(bytes));
    }
});

fn check(target: &[u8]) {
    let headers: [(&[u8], &[u8]); 2] = [(b":method", b"POST"), (b":path", target)];
    let sent = Sent {
        headers: &headers,
        client: "192.0.2.1:1",
        body: b"",
    };
    let outcome = DRIVER.with(|driver| driver.decide(sent, 1, NOW).outcome);
    let is_exempt = matches!(outcome, Outcome::Exempt);
    let (path, _) = split_target(target);
    let may_be_a_webhook = Reading::all().find(|reading| leads_to_a_webhook(*reading, path));
    let shown = target.escape_ascii();
    match may_be_a_webhook {
        Some(reading) => assert!(
            !is_exempt,
            "{shown} is exempt, and a webhook to {reading:?}"
        ),
        None if is_plain(path) => assert!(is_exempt, "{shown} is nobody's, and not exempt"),
        None => {}
    }
}

/// The webhook itself, something behind it, or bytes that are no text.
fn leads_to_a_webhook(reading: Reading, path: &[u8]) -> bool {
    let segments = reading.segments(path);
    let read = [b"/", &segments.join(&b'/')[..]].concat();
    read.starts_with(b"/api/hook")
        || segments.first().is_some_and(|first| first == b"in")
        || std::str::from_utf8(&read).is_err()
}

/// A path in which there is nothing to be read in two ways.
fn is_plain(path: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-_~".contains(byte);
    path.starts_with(b"/") && path.iter().all(is_plain)
}
