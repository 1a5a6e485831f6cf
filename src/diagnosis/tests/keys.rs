//! Keys and accounts; the hint if nothing matches.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A signature that is as long as one by a shared key.
const SHA256: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// The header that selects a shared key.
const SETTINGS: &str = "x-twilio-webhooks-signature-settings";

#[test]
fn an_unknown_key_or_account_is_named() {
    let old = form(BODY).signed("an old token", URL, BODY);
    expect(&old, "another account's or an old one");
    let other = BODY.replace("0000001&Body", "0000009&Body");
    let other = form(&other).signed("theirs", URL, &other);
    expect(&other, "an account that is not configured");
    let shared = form(BODY).with("x-twilio-signature", SHA256);
    expect(&shared, "a signature by a shared key");
}

#[test]
fn a_key_that_the_request_does_not_select_is_named() {
    let world =
        World::new(r#"{"rate_limits": [], "shared_keys": [{"id": "wsk", "secret": "token"}]}"#);
    let signature = sign_by::<Hmac<Sha256>>("token", format!("{URL}a1").as_bytes());
    let request = form("a=1").with("x-twilio-signature", &signature);
    let words = "the key shared_keys[0].secret, which the request does not select";
    assert_says(&world.hint(&request), words);
    let selected = request.with(SETTINGS, "key=wsk,algorithm=HMAC_SHA256");
    world.expect(&selected, "accepted");
}

#[test]
fn a_clock_that_is_wrong_is_told_from_a_late_request() {
    let world = world();
    let late = |age: u64| form(&format!("Timestamp={}", NOW.0 / 1000 - age));
    let hint = |age: u64| world.hint_now(&late(age));
    assert_eq!(hint(312), "it is 312 s old");
    hint(315);
    let words = "the last 3 requests with a timestamp were all 310 to 315 s old";
    assert_says(&hint(310), words);
    world.expect(&late(1), "accepted");
    assert_eq!(hint(312), "it is 312 s old");
}

#[test]
fn the_hint_of_last_resort_says_what_was_tried_and_blames_no_token() {
    let json = r#"{"rate_limits": [], "webhooks": [
        {"path": "/", "url": "https://us-central1-shop.example.net/"}]}"#;
    let forgotten = signed_for("https://us-central1-shop.example.net/in").to("/");
    let hint = World::new(json).hint(&forgotten);
    for expected in [
        LAST_RESORT,
        "https://us-central1-shop.example.net/ without a query",
        "a form of 14 parameters",
        "the key TWILIO_AUTH_TOKEN",
        "the URL at Twilio is another one (a path",
        "a parameter was added, dropped or changed",
    ] {
        assert_says(&hint, expected);
    }
    assert!(!hint.contains("most likely the auth token"), "{hint}");
    let index = |part: &str| hint.find(part).unwrap_or_else(|| panic!("{part}: {hint}"));
    assert!(index("the URL at Twilio") < index("the token is another account's"));
}

#[test]
fn a_key_that_has_verified_another_request_lately_is_called_right_and_not_blamed() {
    let world = world();
    let strange = signed_for("https://elsewhere.example/in");
    assert_says(&world.hint(&strange), "the token is another account's");
    world.expect(&form("a=1").at(after(60)), "accepted");
    let hint = |seconds| world.hint_now(&strange.clone().at(after(seconds)));
    let soon = hint(100);
    let words = "the key is right: TWILIO_AUTH_TOKEN has verified another request 40 s ago";
    assert_says(&soon, words);
    assert!(!soon.contains("the token is"), "{soon}");
    assert_says(&hint(60 + 3601), "the token is another account's");
}

#[test]
fn the_shared_key_that_is_asked_for_is_named() {
    let world =
        World::new(r#"{"rate_limits": [], "shared_keys": [{"id": "WK0123", "secret": "s"}]}"#);
    let by_sha256 = form(BODY).with("x-twilio-signature", SHA256);
    let by_s = form(BODY).signed("s", URL, BODY);
    for (request, settings, expected) in [
        (
            &by_sha256,
            "key=WK9999,algorithm=HMAC_SHA256",
            "selects the shared key WK9999, which is not configured (shared_keys)",
        ),
        (
            &by_s,
            "key=WK0123,algorithm=HMAC_SHA1",
            "selects the shared key WK0123, which is configured, and its signature is one by an \
             auth token (HMAC-SHA1)",
        ),
        (&by_sha256, "", "does not say by which"),
        (
            &by_s,
            "key=WK9999",
            "asks for the shared key WK9999, which is not configured",
        ),
        (
            &by_sha256,
            "key=\u{1b}[31m",
            "with an id that is too long or not printable",
        ),
    ] {
        let hint = world.hint(&request.clone().with(SETTINGS, settings));
        assert_says(&hint, expected);
        assert!(!hint.contains("most likely the auth token"), "{hint}");
    }
}
