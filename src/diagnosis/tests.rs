//! Each test makes a mistake, and expects the hint to name it.

mod body;
mod keys;
mod parameters;
mod urls;

use crate::pipeline::tests::{NOW, Request, URL, World, form};
use crate::signature::form::Form;
use crate::signature::url::Target;
use crate::time::Millis;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const BODY: &str = "AccountSid=AC00000000000000000000000000000001&Body=2+tacos&From=%2B15550001\
                    &FromCity=&FromCountry=&FromState=&FromZip=&MessageSid=SM1&ProfileName=Ana\
                    &To=%2B15550002&ToCity=&ToCountry=&ToState=&ToZip=";

#[track_caller]
fn assert_says(hint: &str, words: &str) {
    assert!(hint.contains(words), "{hint}\nlacks {words}");
}

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

/// The signature of a body, by the filter's own form code: the tests' own knows few escapes.
fn genuine(body: &str) -> String {
    let mut signed = URL.as_bytes().to_vec();
    Form::parse(body.as_bytes()).write_signed(&mut signed);
    signature::<Hmac<Sha1>>(&signed)
}

fn signature<M: Mac + KeyInit>(message: &[u8]) -> String {
    let mut mac = <M as KeyInit>::new_from_slice(b"token").expect("any key");
    mac.update(message);
    STANDARD.encode(mac.finalize().into_bytes())
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
fn a_missing_header_is_explained() {
    let request = form("a=1").without("x-twilio-signature");
    assert_says(&world().hint(&request), "either it is not Twilio's");
    let request = request.with("user-agent", "TwilioProxy/1.1");
    assert_says(&world().hint(&request), "may strip X-Twilio-Signature");
}

#[test]
fn a_flood_is_diagnosed_only_now_and_then() {
    let world = world();
    let forged = form(BODY).signed("wrong", URL, BODY);
    let hints = (0..50).filter_map(|_| world.send(&forged).hint().map(str::to_owned));
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
    assert_says(&world().hint(&forged), "too long");
}

const LAST_RESORT: &str = "nothing that is known to go wrong makes it fit";

/// The hint on a request by GET, for a webhook at this URL.
fn by_get(configured: &str, signed: &str, arrives: &str) -> String {
    let path = Target::new(arrives.as_bytes(), false).path;
    let path = std::str::from_utf8(path).expect("ASCII");
    let world = World::new(&format!(
        r#"{{"rate_limits": [], "webhooks": [
            {{"path": "{path}", "url": "{configured}", "methods": ["GET"]}}]}}"#
    ));
    let request = form("").method("GET").without("content-type").to(arrives);
    world.hint(&request.signed("token", signed, ""))
}

#[test]
fn what_is_signed_is_limited_and_not_what_was_sent() {
    // 20 kB of JSON, of which the URL alone is signed.
    let hash = "ab".repeat(32);
    let json = form("")
        .to(&format!("/hook?bodySHA256={hash}"))
        .signed(
            "token",
            &format!("http://orders.example.com/hook?bodySHA256={hash}"),
            "",
        )
        .with("content-type", "application/json")
        .body(&format!("[{}]", "1,".repeat(10_000)));
    assert_says(&world().hint(&json), "the scheme that was signed is http");
    // A long text, every byte of it escaped.
    let sent = format!("Body={}", "%E0%A4%A8".repeat(1500));
    let http = "http://orders.example.com/hook";
    let signature = signature::<Hmac<Sha1>>(format!("{http}Body{}", "न".repeat(1500)).as_bytes());
    let request = form("").body(&sent).with("x-twilio-signature", &signature);
    let hint = world().hint(&request);
    assert_says(&hint, "the scheme that was signed is http");
}

#[test]
fn the_agent_of_media_streams_is_twilios_too() {
    let request = form("a=1").without("x-twilio-signature");
    let request = request.with("user-agent", "Twilio.TmeWs/1.0");
    assert_says(&world().hint(&request), "may strip X-Twilio-Signature");
}

#[test]
fn a_hint_shows_nothing_that_is_not_signed() {
    let unsigned = "EVIL";
    let request = form(&format!("{BODY}&{unsigned}1=1"))
        .signed("wrong", URL, BODY)
        .to(&format!("/hook?{unsigned}2={unsigned}3"))
        .with(":authority", &format!("{unsigned}4.example.com"))
        .with("x-forwarded-host", &format!("{unsigned}5.example.com"))
        .with("x-replaced-path", &format!("/{unsigned}6"))
        .with("x-forwarded-prefix", &format!("/{unsigned}7"));
    let hint = world().hint(&request);
    assert!(
        hint.contains(LAST_RESORT) && !hint.contains(unsigned),
        "{hint}"
    );
    let by_prefix = World::new(
        r#"{"rate_limits": [], "public_base_url": "https://orders.example.com",
            "webhooks": [{"path": "/hooks/*"}]}"#,
    );
    let hint = by_prefix.hint(&request.to(&format!("/hooks/{unsigned}")));
    assert!(
        hint.contains("followed by the path that arrived") && !hint.contains(unsigned),
        "{hint}"
    );
}
