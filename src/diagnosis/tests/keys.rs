//! Keys and accounts; the hint if nothing matches.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn an_unknown_key_or_account_is_named() {
    let old = form(BODY).signed("an old token", URL, BODY);
    assert_says(&world().hint(&old), "another account's or an old one");
    let other = BODY.replace(
        "AC00000000000000000000000000000001",
        "AC00000000000000000000000000000009",
    );
    let other = form(&other).signed("theirs", URL, &other);
    assert_says(&world().hint(&other), "an account that is not configured");
    let shared = form(BODY).with(
        "x-twilio-signature",
        "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    );
    assert_says(&world().hint(&shared), "a signature by a shared key");
}

#[test]
fn a_key_that_the_request_does_not_select_is_named() {
    let world =
        World::new(r#"{"rate_limits": [], "shared_keys": [{"id": "wsk", "secret": "token"}]}"#);
    let signature = signature::<Hmac<Sha256>>(format!("{URL}a1").as_bytes());
    let request = form("a=1").with("x-twilio-signature", &signature);
    let hint = world.hint(&request);
    assert_says(
        &hint,
        "the key shared_keys[0].secret, which the request does not select",
    );
    let settings = "key=wsk,algorithm=HMAC_SHA256";
    let selected = request.with("x-twilio-webhooks-signature-settings", settings);
    world.expect(&selected, "accepted");
}

#[test]
fn a_clock_that_is_wrong_is_told_from_a_late_request() {
    let world = world();
    let late = |age: u64| form(&format!("Timestamp={}", NOW.0 / 1000 - age));
    let hint = |age: u64| {
        let verdict = world.send(&late(age));
        verdict.hint().unwrap_or_default().to_owned()
    };
    assert_eq!(hint(312), "it is 312 s old");
    hint(315);
    let third = hint(310);
    assert_says(
        &third,
        "the last 3 requests with a timestamp were all 310 to 315 s old",
    );
    world.expect(&late(1), "accepted");
    assert_eq!(hint(312), "it is 312 s old");
}

#[test]
fn the_hint_of_last_resort_says_what_was_tried_and_blames_no_token() {
    let json = r#"{"rate_limits": [], "webhooks": [
        {"path": "/", "url": "https://us-central1-shop.example.net/"}]}"#;
    let forgotten =
        form(BODY)
            .to("/")
            .signed("token", "https://us-central1-shop.example.net/in", BODY);
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
    let strange = form(BODY).signed("token", "https://elsewhere.example/in", BODY);
    assert_says(&world.hint(&strange), "the token is another account's");
    world.expect(&form("a=1").at(NOW.after(Millis::seconds(60))), "accepted");
    let at = |seconds| strange.clone().at(NOW.after(Millis::seconds(seconds)));
    let hint = |seconds| {
        world
            .send(&at(seconds))
            .hint()
            .unwrap_or_default()
            .to_owned()
    };
    let soon = hint(100);
    assert_says(
        &soon,
        "the key is right: TWILIO_AUTH_TOKEN has verified another request 40 s ago",
    );
    assert!(!soon.contains("the token is"), "{soon}");
    let late = hint(60 + 3601);
    assert_says(&late, "the token is another account's");
}

#[test]
fn the_shared_key_that_is_asked_for_is_named() {
    let world =
        World::new(r#"{"rate_limits": [], "shared_keys": [{"id": "WK0123", "secret": "s"}]}"#);
    let sha256 = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let header = "x-twilio-webhooks-signature-settings";
    let asks = |settings: &str| form(BODY).with(header, settings);
    for (request, expected) in [
        (
            asks("key=WK9999,algorithm=HMAC_SHA256").with("x-twilio-signature", sha256),
            "selects the shared key WK9999, which is not configured (shared_keys)",
        ),
        (
            asks("key=WK0123,algorithm=HMAC_SHA1").signed("s", URL, BODY),
            "selects the shared key WK0123, which is configured, and its signature is one by an \
             auth token (HMAC-SHA1)",
        ),
        (
            form(BODY).with("x-twilio-signature", sha256),
            "does not say by which",
        ),
        (
            asks("key=WK9999").signed("other", URL, BODY),
            "asks for the shared key WK9999, which is not configured",
        ),
        (
            asks("key=\u{1b}[31m").with("x-twilio-signature", sha256),
            "with an id that is too long or not printable",
        ),
    ] {
        let hint = world.hint(&request);
        assert_says(&hint, expected);
        assert!(!hint.contains("most likely the auth token"), "{hint}");
    }
}
