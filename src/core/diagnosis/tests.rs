//! Each mistake is made, and the hint has to name it.

use super::*;
use crate::core::request::state::tests::{NOW, Request, URL, World, form};
use sha2::{Digest, Sha256};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const BODY: &str = "AccountSid=AC00000000000000000000000000000001&Body=2+tacos&From=%2B15550001\
                    &FromCity=&FromCountry=&FromState=&FromZip=&MessageSid=SM1&ProfileName=Ana\
                    &To=%2B15550002&ToCity=&ToCountry=&ToState=&ToZip=";

fn world() -> World {
    World::new(r#"{"rate_limits": []}"#)
}

/// The hint where the URL that was signed is another one.
fn signed_url(url: &str, path: &str) -> String {
    world().hint(
        &form(BODY)
            .to(path)
            .signed("token", url, BODY)
            .with(":authority", "mesh.internal:8080"),
    )
}

/// The hint where another body was signed than the one that arrives.
fn arrives_as(signed: &str, arrives: &str) -> String {
    world().hint(&form(signed).body(arrives))
}

#[test]
fn another_scheme_host_port_or_path_is_named() {
    for (url, expected) in [
        (
            "http://orders.example.com/hook",
            "the scheme that was signed is http, not https",
        ),
        (
            "https://mesh.internal/hook",
            "the host that was signed is mesh.internal",
        ),
        (
            "https://www.orders.example.com/hook",
            "the host that was signed is www.orders.example.com",
        ),
        (
            "https://orders.example.com:8080/hook",
            "the URL that was signed has the port 8080",
        ),
        (
            "https://orders.example.com:8443/hook",
            "the URL that was signed has the port 8443",
        ),
        ("https://orders.example.com/hook/", "has a slash at its end"),
        (
            "https://orders.example.com/hook?",
            "the URL that was signed ends in a question mark",
        ),
    ] {
        let hint = signed_url(url, "/hook");
        assert!(hint.contains(expected), "{url}: {hint}");
    }
}

#[test]
fn several_wrong_parts_of_a_url_are_all_named() {
    let hint = signed_url("http://mesh.internal:8080/hook/", "/hook");
    for expected in [
        "scheme that was signed is http",
        "mesh.internal",
        "port 8080",
        "slash",
    ] {
        assert!(hint.contains(expected), "{hint}");
    }
}

#[test]
fn a_path_that_was_rewritten_is_named() {
    let json = r#"{"rate_limits": [], "webhooks": [
        {"path": "/hook", "url": "https://orders.example.com/public/hook"}]}"#;
    let as_received = form(BODY).signed("token", "https://orders.example.com/hook", BODY);
    let hint = World::new(json).hint(&as_received);
    assert!(hint.contains("the one that arrived here"), "{hint}");
    let in_header = form(BODY)
        .signed("token", "https://orders.example.com/v1/hook", BODY)
        .with("x-envoy-original-path", "/v1/hook");
    let hint = world().hint(&in_header);
    assert!(hint.contains("rewritten on the way"), "{hint}");
    let prefix = form(BODY)
        .signed("token", "https://orders.example.com/shop/hook", BODY)
        .with("x-forwarded-prefix", "/shop/");
    let hint = world().hint(&prefix);
    assert!(hint.contains("took a prefix off"), "{hint}");
}

#[test]
fn a_query_in_another_order_or_escaping_is_named() {
    for (signed, arrives, expected) in [
        ("b=2&a=1&c=3", "a=1&b=2&c=3", "in another order"),
        ("c=3&a=1&b=2", "a=1&b=2&c=3", "in another order"),
        ("x=it's:@", "x=it%27s%3A%40", "escaped in another way"),
        ("x=it%27s", "x=it's", "escaped in another way"),
        ("x=a+b", "x=a%20b", "escaped in another way"),
        ("x=%c3%a9", "x=%C3%A9", "escaped in another way"),
        ("x=1", "x=1&y=", "lacks the parameters without a value"),
    ] {
        let hint = signed_url(&format!("{URL}?{signed}"), &format!("/hook?{arrives}"));
        assert!(hint.contains(expected), "{signed} {arrives}: {hint}");
    }
    let hint = signed_url(URL, "/hook?utm=1");
    assert!(hint.contains("has no query"), "{hint}");
}

#[test]
fn what_a_proxy_does_to_parameters_is_named() {
    let without_empty: Vec<_> = BODY
        .split('&')
        .filter(|piece| !piece.ends_with('='))
        .collect();
    let lower_case_names: Vec<_> = BODY
        .split('&')
        .filter_map(|piece| piece.split_once('='))
        .map(|(name, value)| format!("{}={value}", name.to_lowercase()))
        .collect();
    let cases = [
        (
            BODY.to_owned(),
            without_empty.join("&"),
            "empty values were dropped",
        ),
        (
            BODY.to_owned(),
            BODY.replace("&ToZip=", ""),
            "empty values were dropped",
        ),
        (
            BODY.to_owned(),
            lower_case_names.join("&"),
            "names of the parameters were changed",
        ),
        (
            BODY.replace("tacos", "tacos+"),
            BODY.to_owned(),
            "white space around a value was cut off",
        ),
        (
            BODY.replace("tacos", "tacos%0A"),
            BODY.to_owned(),
            "white space around a value was cut off",
        ),
        (
            BODY.to_owned(),
            BODY.replace("%2B", "+"),
            "was not escaped and became a space",
        ),
        (
            BODY.replace("%2B", "whatsapp%3A%2B"),
            BODY.replace("%2B", "whatsapp%3A+"),
            "was not escaped and became a space",
        ),
        (
            BODY.to_owned(),
            BODY.replace("%2B", "%252B"),
            "encoded a second time",
        ),
        (
            BODY.replace("tacos", "t%0Aacos"),
            BODY.replace("tacos", "t%0D%0Aacos"),
            "line ends",
        ),
        (
            BODY.replace("Ana", "Jos%C3%A9"),
            BODY.replace("Ana", "Jos%E9"),
            "is Latin-1 now",
        ),
        (
            BODY.replace("Ana", "Jos%C3%A9"),
            BODY.replace("Ana", "Jos%C3%83%C2%A9"),
            "taken for Latin-1",
        ),
    ];
    for (signed, arrives, expected) in cases {
        let request = form("")
            .body(&arrives)
            .with("x-twilio-signature", &genuine(&signed));
        let hint = world().hint(&request);
        assert!(hint.contains(expected), "{expected}: {hint}");
    }
}

/// The signature of a body, by the filter's own form code: the tests' own knows few escapes.
fn genuine(body: &str) -> String {
    use base64::Engine;
    use hmac::{Hmac, KeyInit, Mac};
    let mut signed = URL.as_bytes().to_vec();
    Form::parse(body.as_bytes()).write_signed(&mut signed);
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(b"token").expect("any key");
    mac.update(&signed);
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}

#[test]
fn what_a_test_client_does_wrong_is_named() {
    let empty = "b=2&a=1";
    for (message, expected) in [
        (URL.to_owned(), "over the URL alone"),
        (format!("{URL}{empty}"), "the raw body"),
        (format!("{URL}b2a1"), "not sorted by name"),
    ] {
        let request = form(empty).signed("token", &message, "");
        let hint = world().hint(&request);
        assert!(hint.contains(expected), "{expected}: {hint}");
    }
    let hint = arrives_as("x=+a", "x=a");
    assert!(hint.contains("white space"), "{hint}");
}

#[test]
fn an_unknown_key_or_account_is_named() {
    let old = form(BODY).signed("an old token", URL, BODY);
    assert!(
        world()
            .hint(&old)
            .contains("another account's or an old one")
    );
    let other = BODY.replace(
        "AC00000000000000000000000000000001",
        "AC00000000000000000000000000000009",
    );
    let other = form(&other).signed("theirs", URL, &other);
    assert!(
        world()
            .hint(&other)
            .contains("an account that is not configured")
    );
    let shared = form(BODY).with(
        "x-twilio-signature",
        "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    );
    assert!(
        world()
            .hint(&shared)
            .contains("a signature by a shared key")
    );
}

#[test]
fn a_key_that_the_request_does_not_select_is_named() {
    let world =
        World::new(r#"{"rate_limits": [], "shared_keys": [{"id": "wsk", "secret": "token"}]}"#);
    use base64::Engine;
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<Sha256>::new_from_slice(b"token").expect("any key");
    mac.update(format!("{URL}a1").as_bytes());
    let signature = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    let request = form("a=1").with("x-twilio-signature", &signature);
    let hint = world.hint(&request);
    assert!(
        hint.contains("the key shared_keys[0].secret, which the request does not select"),
        "{hint}"
    );
    let settings = "key=wsk,algorithm=HMAC_SHA256";
    let selected = request.with("x-twilio-webhooks-signature-settings", settings);
    assert_eq!(world.verdict(&selected), "accepted");
}

fn json(signed: &str, arrives: &str) -> Request {
    let hash: String = Sha256::digest(signed)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let path = format!("/hook?bodySHA256={hash}");
    let url = format!("https://orders.example.com{path}");
    let request = form("").to(&path).signed("token", &url, "");
    request
        .with("content-type", "application/json")
        .body(arrives)
}

#[test]
fn json_written_anew_is_named() {
    let compact = r#"{"a":"x: y, z \\\" ","b":[1,2]}"#;
    let spaced = r#"{"a": "x: y, z \\\" ", "b": [1, 2]}"#;
    for (signed, arrives) in [
        (compact, spaced),
        (spaced, compact),
        (compact, " {\"a\" : \"x: y, z \\\\\\\" \",\n \"b\":[1,2]}"),
    ] {
        let hint = world().hint(&json(signed, arrives));
        assert!(hint.contains("parsed and written anew"), "{hint}");
    }
    let hint = world().hint(&json(compact, "{}"));
    assert!(hint.contains("it is not the one whose hash"), "{hint}");
}

#[test]
fn json_without_its_hash_is_explained() {
    let unsigned = form("")
        .signed("token", URL, "")
        .with("content-type", "application/json");
    let hint = world().hint(&unsigned.clone().body("{}"));
    assert!(hint.contains("does not send bodySHA256"), "{hint}");
    let dropped = json("{}", "{}").to("/hook");
    let hint = world().hint(&dropped);
    assert!(hint.contains("dropped or changed the query"), "{hint}");
    let retyped = form("a=1").with("content-type", "text/plain");
    let hint = world().hint(&retyped);
    assert!(hint.contains("changed its content-type"), "{hint}");
}

#[test]
fn a_missing_header_is_explained() {
    let request = form("a=1").without("x-twilio-signature");
    assert!(world().hint(&request).contains("either it is not Twilio's"));
    let request = request.with("user-agent", "TwilioProxy/1.1");
    assert!(
        world()
            .hint(&request)
            .contains("may strip X-Twilio-Signature")
    );
}

#[test]
fn a_clock_that_is_wrong_is_told_from_a_late_request() {
    let world = world();
    let late = |age: u64| form(&format!("Timestamp={}", NOW.0 / 1000 - age));
    let hint = |age: u64| world.send(&late(age)).facts.hint.unwrap_or_default();
    assert_eq!(hint(312), "it is 312 s old");
    hint(315);
    let third = hint(310);
    assert!(
        third.contains("the last 3 requests with a timestamp were all 310 to 315 s old"),
        "{third}"
    );
    assert_eq!(world.verdict(&late(1)), "accepted");
    assert_eq!(hint(312), "it is 312 s old");
}

#[test]
fn a_flood_is_diagnosed_only_now_and_then() {
    let world = world();
    let forged = form(BODY).signed("wrong", URL, BODY);
    let hints = (0..50).filter_map(|_| world.send(&forged).facts.hint);
    assert_eq!(hints.count(), 2);
}

#[test]
fn a_hint_shows_no_value_and_no_secret() {
    let world = world();
    for request in [
        form(BODY).signed("wrong", URL, BODY),
        form(BODY).signed("token", "http://orders.example.com/hook", BODY),
        form(BODY).body(&BODY.replace("%2B", "+")),
        json("{\"secret-value\":1}", "{\"secret-value\": 1}"),
    ] {
        let hint = world.hint(&request);
        assert!(!hint.is_empty());
        for secret in ["token\"", "tacos", "1555", "Ana", "secret-value", "SM1"] {
            assert!(!hint.contains(secret), "{hint}");
        }
    }
}

#[test]
fn a_diagnosis_is_bounded() {
    let many: Vec<String> = (0..300)
        .map(|number| format!("p{number}={number}"))
        .collect();
    let body = many.join("&");
    let path = format!("/hook?{body}");
    let forged = form(&body).to(&path).signed("wrong", URL, "");
    assert!(!world().hint(&forged).is_empty());
    let long = "a=".to_owned() + &"x".repeat(60_000);
    let forged = form(&long).signed("wrong", URL, "");
    assert!(world().hint(&forged).contains("too long"));
}
