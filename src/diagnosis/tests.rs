//! Each test makes a mistake, and expects the hint to name it.

mod body;
mod keys;
mod parameters;
mod urls;

use crate::pipeline::tests::world::{NOW, Request, URL, World, after, form, handshake};
use crate::signature::form::Form;
use crate::signature::url::Target;
use crate::tests::{assert_says, rows, sign, sign_by};
use hmac::Hmac;
use sha2::{Digest, Sha256};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const BODY: &str = "AccountSid=AC00000000000000000000000000000001&Body=2+tacos&From=%2B15550001\
                    &FromCity=&FromCountry=&FromState=&FromZip=&MessageSid=SM1&ProfileName=Ana\
                    &To=%2B15550002&ToCity=&ToCountry=&ToState=&ToZip=";

fn world() -> World {
    World::new(r#"{"rate_limits": []}"#)
}

/// Expects a hint with these words.
#[track_caller]
fn expect(request: &Request, words: &str) -> String {
    let hint = world().hint(request);
    assert_says(&hint, words);
    hint
}

/// A message whose signature is for this URL.
fn signed_for(url: &str) -> Request {
    form(BODY).signed("token", url, BODY)
}

/// Expects a hint where the URL that was signed is another one.
#[track_caller]
fn expect_of_url(url: &str, path: &str, words: &str) -> String {
    let request = signed_for(url).to(path);
    expect(&request.with(":authority", "mesh.internal:8080"), words)
}

/// Expects a hint where another body was signed than the one that arrives.
#[track_caller]
fn expect_of_body(signed: &str, arrives: &str, words: &str) -> String {
    // Signed by the filter's own form code: the tests' own knows few escapes.
    let mut message = URL.as_bytes().to_vec();
    Form::parse(signed.as_bytes()).write_signed(&mut message);
    let request = form("").body(arrives);
    expect(
        &request.with("x-twilio-signature", &sign("token", &message)),
        words,
    )
}

/// A request with JSON instead of a form.
fn with_json(request: Request, body: &str) -> Request {
    request.with("content-type", "application/json").body(body)
}

fn json(signed: &str, arrives: &str) -> Request {
    let hash = Sha256::digest(signed);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = format!("/hook?bodySHA256={hash}");
    let url = format!("https://orders.example.com{path}");
    with_json(form("").to(&path).signed("token", &url, ""), arrives)
}

#[test]
fn a_missing_header_is_explained() {
    let request = form("a=1").without("x-twilio-signature");
    expect(&request, "either it is not Twilio's");
    let request = request.with("user-agent", "TwilioProxy/1.1");
    expect(&request, "may strip X-Twilio-Signature");
    // Of Media Streams.
    let request = request.with("user-agent", "Twilio.TmeWs/1.0");
    expect(&request, "may strip X-Twilio-Signature");
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
    for request in [
        form(BODY).signed("wrong", URL, BODY),
        signed_for("http://orders.example.com/hook"),
        form(BODY).body(&BODY.replace("%2B", "+")),
        json("{\"secret-value\":1}", "{\"secret-value\": 1}"),
    ] {
        let hint = world().hint(&request);
        assert!(!hint.is_empty());
        for secret in ["token\"", "tacos", "1555", "Ana", "secret-value", "SM1"] {
            assert!(!hint.contains(secret), "{hint}");
        }
    }
}

#[test]
fn a_diagnosis_is_bounded() {
    let many = (0..300).map(|number| format!("p{number}={number}"));
    let body = many.collect::<Vec<_>>().join("&");
    let path = format!("/hook?{body}");
    let forged = form(&body).to(&path).signed("wrong", URL, "");
    assert!(!world().hint(&forged).is_empty());
    let long = "a=".to_owned() + &"x".repeat(60_000);
    expect(&form(&long).signed("wrong", URL, ""), "too long");
}

const LAST_RESORT: &str = "nothing that is known to go wrong makes it fit";

/// The hint on a request by GET, for a webhook at this URL.
fn by_get(token: &str, configured: &str, signed: &str, arrives: &str) -> String {
    let path = Target::new(arrives.as_bytes(), false).path;
    let path = std::str::from_utf8(path).expect("ASCII");
    let world = World::new(&format!(
        r#"{{"rate_limits": [], "webhooks": [
            {{"path": "{path}", "url": "{configured}", "methods": ["GET"]}}]}}"#
    ));
    let request = form("").method("GET").without("content-type").to(arrives);
    world.hint(&request.signed(token, signed, ""))
}

#[test]
fn what_is_signed_is_limited_and_not_what_was_sent() {
    // 20 kB of JSON, of which the URL alone is signed.
    let path = format!("/hook?bodySHA256={}", "ab".repeat(32));
    let url = format!("http://orders.example.com{path}");
    let request = form("").to(&path).signed("token", &url, "");
    let long = format!("[{}]", "1,".repeat(10_000));
    expect(
        &with_json(request, &long),
        "the scheme that was signed is http",
    );
    // A long text, every byte of it escaped.
    let sent = format!("Body={}", "%E0%A4%A8".repeat(1500));
    let signed = format!("http://orders.example.com/hookBody{}", "न".repeat(1500));
    let signature = sign("token", signed.as_bytes());
    let request = form("").body(&sent).with("x-twilio-signature", &signature);
    expect(&request, "the scheme that was signed is http");
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
    let hint = expect(&request, LAST_RESORT);
    assert!(!hint.contains(unsigned), "{hint}");
    let by_prefix = World::new(
        r#"{"rate_limits": [], "public_base_url": "https://orders.example.com",
            "webhooks": [{"path": "/hooks/*"}]}"#,
    );
    let hint = by_prefix.hint(&request.to(&format!("/hooks/{unsigned}")));
    assert_says(&hint, "followed by the path that arrived");
    assert!(!hint.contains(unsigned), "{hint}");
}
