//! No spelling of a webhook's path gets around the check by way of an exempt path.

use proptest::prelude::*;
use support::decide::{Driver, NOW, Sent};
use support::lenient::{CONFIGURATION, PIECES, Reading};
use twilio_webhook_filter::{Outcome, PathPattern};

use crate::generators::{cases, telling_bytes};

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

/// Pieces of paths that lead to a webhook by a detour, more often than chance would.
fn detour() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(&PIECES[..]);
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
            let reading = Reading::all().find(|reading| reading.leads_to_a_webhook(path));
            prop_assert!(reading.is_none(), "{} to {reading:?}", target.escape_ascii());
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
