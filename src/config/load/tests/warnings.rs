//! Warnings of what is valid but probably a mistake.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn a_limit_that_unauthenticated_clients_can_exhaust_is_warned_of() {
    let variables = [("TWILIO_AUTH_TOKEN", TOKEN)];
    for (key, count, warned) in [
        ("webhook", "all", true),
        ("webhook", "rejected", true),
        ("webhook", "authenticated", false),
        ("client_ip", "all", false),
        ("account", "rejected", false),
    ] {
        let rule =
            format!(r#"[{{"key": "{key}", "count": "{count}", "requests": 1, "window": "1s"}}]"#);
        let global = warnings(&format!(r#"{{"rate_limits": {rule}}}"#), &variables);
        let own = warnings(
            &format!(r#"{{"webhooks": [{{"url": "https://h/a", "rate_limits": {rule}}}]}}"#),
            &variables,
        );
        assert_eq!(
            global.len(),
            usize::from(warned),
            "{key} {count}: {global:?}"
        );
        assert!(
            global
                .iter()
                .all(|warning| warning.starts_with("rate_limits[0]: "))
        );
        assert_eq!(own.len(), usize::from(warned), "{key} {count}: {own:?}");
        assert!(
            own.iter()
                .all(|warning| warning.starts_with("webhooks[0].rate_limits[0]: "))
        );
    }
    // The count that holds where none is configured.
    let json = r#"{"rate_limits": [{"key": "webhook", "requests": 1, "window": "1s"}]}"#;
    assert_eq!(warnings(json, &variables).len(), 1);
}

#[test]
fn an_exempt_prefix_around_a_webhook_is_warned_of() {
    let variables = [("TWILIO_AUTH_TOKEN", TOKEN)];
    for (exempt, warned) in [
        ("/*", true),
        ("/api/*", true),
        ("/API//v1/*", true),
        ("/api/v1/whatsapp/webhook/*", true),
        ("/api/v2/*", false),
        ("/api/v1/whatsapp/webhook2/*", false),
        ("/healthz", false),
    ] {
        let json = format!(r#"{{"exempt_paths": ["/ok", "{exempt}"]}}"#);
        let found = warnings(&json, &variables);
        assert_eq!(found.len(), usize::from(warned), "{exempt}: {found:?}");
        assert!(
            found
                .iter()
                .all(|warning| warning.starts_with("exempt_paths[1]: ")),
            "{found:?}"
        );
    }
    let json = r#"{"public_base_url": "https://h", "webhooks": [{"path": "/hooks/in/*"}],
                   "exempt_paths": ["/hooks/*", "/hooks/in/out/*"]}"#;
    let found = warnings(json, &variables);
    assert!(
        matches!(found.as_slice(), [one] if one.starts_with("exempt_paths[0]: ")),
        "{found:?}"
    );
}

#[test]
fn a_store_without_credentials_is_warned_of() {
    let variables = [("TWILIO_AUTH_TOKEN", TOKEN)];
    let redis = |more: &str| format!(r#"{{"store": {{"type": "redis", "cluster": "c", {more}}}}}"#);
    let found = warnings(&redis(r#""api": "webdis""#), &variables);
    assert!(
        matches!(found.as_slice(), [one] if one.starts_with("store: ")),
        "{found:?}"
    );
    for more in [
        r#""api": "webdis", "username": "u", "password": "p""#,
        r#""api": "upstash", "token": "t""#,
    ] {
        assert!(warnings(&redis(more), &variables).is_empty(), "{more}");
    }
}
