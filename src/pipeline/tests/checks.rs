//! What each check rejects, and in which order they come.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn the_checks_come_in_the_order_of_the_contract() {
    // Each request has every later fault, too; the earliest is the one that is told.
    let world = World::new(r#"{"max_body_bytes": 50, "rate_limits": []}"#);
    let mut request = form("Timestamp=1&AccountSid=ACother")
        .body(&"x".repeat(51))
        .with("content-type", "text/plain")
        .with("x-twilio-signature", "forged")
        .with("x-twilio-request-timestamp", "never")
        .to("/other")
        .method("PUT");
    world.expect(&request, "unknown_webhook");
    request = request.to("/hook");
    world.expect(&request, "method_not_allowed");
    request = request.method("POST");
    let unsigned = request.clone().without("x-twilio-signature");
    world.expect(&unsigned, "missing_signature");
    world.expect(&request, "malformed_signature");
    request = request.signed("wrong token", URL, "");
    world.expect(&request, "malformed_timestamp");
    request = request.with("x-twilio-request-timestamp", "1");
    world.expect(&request, "stale_timestamp");
    request = request.without("x-twilio-request-timestamp");
    world.expect(&request, "body_too_large");
    request = request.body("Timestamp=1&AccountSid=ACother");
    world.expect(&request, "unsigned_body");
    request = request.with("content-type", FORM);
    world.expect(&request, "invalid_signature");
    request = request.signed("token", URL, "Timestamp=1&AccountSid=ACother");
    world.expect(&request, "account_mismatch");
    request = form("Timestamp=1");
    world.expect(&request, "stale_timestamp");
    request = form("Timestamp=1800000000");
    world.expect(&request, "accepted");
    world.expect(&request, "duplicate");
}

#[test]
fn without_a_key_nothing_passes_and_the_limit_comes_first() {
    let json = r#"{"accounts": [], "rate_limits": [
        {"key": "client_ip", "requests": 1, "window": "60s"}]}"#;
    let world = World::new(json);
    world.expect(&form("a=1"), "not_configured");
    world.expect(&form("a=1"), "rate_limited");
}

#[test]
fn signed_timestamps_are_found_in_form_and_query() {
    let world = taking(&["GET", "POST"]);
    let query = |timestamp: &str| {
        let request = signed_target(&format!("/hook?Timestamp={timestamp}"));
        request.method("GET").without("content-type")
    };
    world.expect(&query("1800000000"), "accepted");
    world.expect(&query("1799999699"), "stale_timestamp");
    world.expect(&query("1800000031"), "future_timestamp");
    world.expect(&query("soon"), "malformed_timestamp");
    let twice = "Timestamp=1800000000&Timestamp=1";
    // Every one has to be fresh.
    world.expect(&form(twice), "stale_timestamp");
}

#[test]
fn a_required_timestamp_has_to_be_signed() {
    let world = World::new(r#"{"rate_limits": [], "timestamp": {"required": true}}"#);
    let unsigned = form("a=1").with("x-twilio-request-timestamp", "1800000000");
    world.expect(&unsigned, "missing_timestamp");
    world.expect(&form("Timestamp=1800000000"), "accepted");
}

#[test]
fn a_hash_in_the_url_covers_a_json_body() {
    let world = World::new(r#"{"rate_limits": []}"#);
    let hash = Nonce(sha256(&[b"[1]"])).to_hex();
    let request = signed_target(&format!("/hook?bodySHA256={hash}"));
    world.expect(&request.clone().json("[]"), "body_hash_mismatch");
    world.expect(&request.clone().json("[1]"), "accepted");
    world.expect(&signed_target("/hook").json("[1]"), "unsigned_body");
    for (nothing, as_form) in [
        ("", "body_hash_mismatch"),
        ("&", "malformed_body"),
        ("=&=", "unsigned_body"),
    ] {
        world.expect(&request.clone().json(nothing), "body_hash_mismatch");
        world.expect(&request.clone().body(nothing), as_form);
    }
    let forged = request.signed("wrong", URL, "").json("[]");
    // Forgers learn nothing of hashes.
    world.expect(&forged, "invalid_signature");
}

#[test]
fn a_websocket_is_decided_by_its_headers_and_signed_as_wss() {
    let world = taking(&["GET"]);
    let handshake = |url: &str| handshake(url, "");
    world.expect(&handshake("wss://orders.example.com/hook"), "accepted");
    world.expect(&handshake("wss://orders.example.com/hook/"), "accepted");
    world.expect(&handshake(URL), "invalid_signature");
    let with_body = handshake("wss://orders.example.com/hook").with("content-length", "5");
    world.expect(&with_body, "malformed_body");
}

#[test]
fn an_exact_path_comes_before_a_prefix_and_a_longer_prefix_before_a_shorter() {
    let world = World::new(
        r#"{"public_base_url": "https://h", "webhooks": [
        {"path": "/a/*"}, {"path": "/a/b/*"}, {"path": "/a/b/c"}]}"#,
    );
    for (path, webhook) in [("/a/x", 0), ("/a/b/x", 1), ("/a/b/c", 2)] {
        let found = world.send(&form("").to(path)).record.webhook;
        assert_eq!(found.map(|found| found.index), Some(webhook), "{path}");
    }
}

#[test]
fn the_original_path_is_signed_only_where_it_is_trusted() {
    let request = form("a=1")
        .to("/hook")
        .signed("token", "https://orders.example.com/public/hook", "a=1")
        .with("x-envoy-original-path", "/public/hook");
    for (trusted, verdict) in [("true", "accepted"), ("false", "invalid_signature")] {
        let world = World::new(&format!(
            r#"{{"trust_original_path": {trusted}, "public_base_url": "https://orders.example.com",
                 "webhooks": [{{"path": "/hook"}}]}}"#
        ));
        world.expect(&request, verdict);
    }
}

#[test]
fn a_key_of_one_account_does_not_speak_for_another() {
    let world = limited("account", "rejected");
    world.expect(&of("a", "AccountSid=ACa"), "accepted");
    world.expect(&of("b", "AccountSid=ACb"), "accepted");
    world.expect(&of("a", "AccountSid=ACb"), "account_mismatch");
    let both = of("a", "AccountSid=ACa&AccountSid=ACb");
    world.expect(&both, "account_mismatch");
    assert_eq!(account(&world.send(&of("b", "x=1"))), Some("ACb"));
}
