//! Warnings of what is valid but probably a mistake.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Expects so many warnings, each of this field.
#[track_caller]
fn assert_warnings(json: &str, field: &str, count: usize) {
    let found = warnings(json, &[("TWILIO_AUTH_TOKEN", TOKEN)]);
    assert_eq!(found.len(), count, "{json}: {found:?}");
    let is_of_field = |warning: &String| warning.starts_with(&format!("{field}: "));
    assert!(found.iter().all(is_of_field), "{json}: {found:?}");
}

#[test]
fn a_limit_that_unauthenticated_clients_can_exhaust_is_warned_of() {
    for (key, count, warned) in [
        ("webhook", "all", 1),
        ("webhook", "rejected", 1),
        ("webhook", "authenticated", 0),
        ("client_ip", "all", 0),
        ("account", "rejected", 0),
    ] {
        let rule =
            format!(r#"[{{"key": "{key}", "count": "{count}", "requests": 1, "window": "1s"}}]"#);
        let global = format!(r#"{{"rate_limits": {rule}}}"#);
        assert_warnings(&global, "rate_limits[0]", warned);
        let own = format!(r#"{{"webhooks": [{{"url": "https://h/a", "rate_limits": {rule}}}]}}"#);
        assert_warnings(&own, "webhooks[0].rate_limits[0]", warned);
    }
    // The count that holds where none is configured.
    let json = r#"{"rate_limits": [{"key": "webhook", "requests": 1, "window": "1s"}]}"#;
    assert_warnings(json, "rate_limits[0]", 1);
}

#[test]
fn an_exempt_prefix_around_a_webhook_is_warned_of() {
    for (exempt, warned) in [
        ("/*", 1),
        ("/api/*", 1),
        ("/API//v1/*", 1),
        ("/api/v1/whatsapp/webhook/*", 1),
        ("/api/v2/*", 0),
        ("/api/v1/whatsapp/webhook2/*", 0),
        ("/healthz", 0),
    ] {
        let json = format!(r#"{{"exempt_paths": ["/ok", "{exempt}"]}}"#);
        assert_warnings(&json, "exempt_paths[1]", warned);
    }
    let json = r#"{"public_base_url": "https://h", "webhooks": [{"path": "/hooks/in/*"}],
                   "exempt_paths": ["/hooks/*", "/hooks/in/out/*"]}"#;
    assert_warnings(json, "exempt_paths[0]", 1);
}

#[test]
fn a_store_without_credentials_is_warned_of() {
    for (more, warned) in [
        (r#""api": "webdis""#, 1),
        (r#""api": "webdis", "username": "u", "password": "p""#, 0),
        (r#""api": "upstash", "token": "t""#, 0),
    ] {
        let json = format!(r#"{{"store": {{"type": "redis", "cluster": "c", {more}}}}}"#);
        assert_warnings(&json, "store", warned);
    }
}

#[test]
fn an_account_sid_that_twilio_has_not_is_warned_of() {
    let twice = format!("AC{TOKEN}{TOKEN}");
    let good = format!("AC{TOKEN}");
    for (sid, warned) in [("AC", 1), ("ACxyz", 1), (&twice[..], 1), (&good[..], 0)] {
        let json =
            format!(r#"{{"accounts": [{{"account_sid": "{sid}", "auth_tokens": ["{TOKEN}"]}}]}}"#);
        assert_warnings(&json, "accounts[0].account_sid", warned);
        let variables = [("TWILIO_AUTH_TOKEN", TOKEN), ("TWILIO_ACCOUNT_SID", sid)];
        let found = warnings("{}", &variables);
        assert_eq!(found.len(), warned, "{sid}: {found:?}");
        assert!(
            found
                .iter()
                .all(|one| one.starts_with("TWILIO_ACCOUNT_SID: "))
        );
    }
}

#[test]
fn a_required_timestamp_that_no_parameter_may_hold_is_warned_of() {
    for (timestamp, warned) in [
        (r#"{"required": true, "params": []}"#, 1),
        (r#"{"required": true, "params": [], "header": null}"#, 1),
        (r#"{"required": true}"#, 0),
        (r#"{"required": false, "params": []}"#, 0),
        (r#"{"params": []}"#, 0),
    ] {
        assert_warnings(
            &format!(r#"{{"timestamp": {timestamp}}}"#),
            "timestamp",
            warned,
        );
        let own =
            format!(r#"{{"webhooks": [{{"url": "https://h/a", "timestamp": {timestamp}}}]}}"#);
        assert_warnings(&own, "webhooks[0].timestamp", warned);
    }
    let json = r#"{"timestamp": {"params": []},
                   "webhooks": [{"url": "https://h/a", "timestamp": {"required": true}}]}"#;
    assert_warnings(json, "webhooks[0].timestamp", 1);
}
