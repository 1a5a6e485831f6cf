//! Each test makes a mistake, and expects the hint to name it.

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
        assert_says(&hint, expected);
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
        assert_says(&hint, expected);
    }
}

#[test]
fn a_path_that_was_rewritten_is_named() {
    let json = r#"{"rate_limits": [], "webhooks": [
        {"path": "/hook", "url": "https://orders.example.com/public/hook"}]}"#;
    let as_received = form(BODY).signed("token", "https://orders.example.com/hook", BODY);
    let hint = World::new(json).hint(&as_received);
    assert_says(&hint, "the one that arrived here");
    let in_header = form(BODY)
        .signed("token", "https://orders.example.com/v1/hook", BODY)
        .with("x-envoy-original-path", "/v1/hook");
    let hint = world().hint(&in_header);
    assert_says(&hint, "rewritten on the way");
    let prefix = form(BODY)
        .signed("token", "https://orders.example.com/shop/hook", BODY)
        .with("x-forwarded-prefix", "/shop/");
    let hint = world().hint(&prefix);
    assert_says(&hint, "took a prefix off");
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
        assert_says(&hint, expected);
    }
    let hint = signed_url(URL, "/hook?utm=1");
    assert_says(&hint, "has no query");
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
        assert_says(&hint, expected);
    }
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
        assert_says(&hint, expected);
    }
    let hint = arrives_as("x=+a", "x=a");
    assert_says(&hint, "white space");
}

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
        assert_says(&hint, "parsed and written anew");
    }
    let hint = world().hint(&json(compact, "{}"));
    assert_says(&hint, "it is not the one whose hash");
}

#[test]
fn json_without_its_hash_is_explained() {
    let unsigned = form("")
        .signed("token", URL, "")
        .with("content-type", "application/json");
    let hint = world().hint(&unsigned.clone().body("{}"));
    assert_says(&hint, "does not send bodySHA256");
    let dropped = json("{}", "{}").to("/hook");
    let hint = world().hint(&dropped);
    assert_says(&hint, "dropped or changed the query");
    let retyped = form("a=1").with("content-type", "text/plain");
    let hint = world().hint(&retyped);
    assert_says(&hint, "changed its content-type");
}

#[test]
fn a_missing_header_is_explained() {
    let request = form("a=1").without("x-twilio-signature");
    assert_says(&world().hint(&request), "either it is not Twilio's");
    let request = request.with("user-agent", "TwilioProxy/1.1");
    assert_says(&world().hint(&request), "may strip X-Twilio-Signature");
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
    assert_eq!(world.verdict(&late(1)), "accepted");
    assert_eq!(hint(312), "it is 312 s old");
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
    assert_eq!(
        world.verdict(&form("a=1").at(NOW.after(Millis::seconds(60)))),
        "accepted"
    );
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
fn the_configured_query_that_did_not_arrive_is_named() {
    let own = "https://orders.example.com/s?call_id=8753c945";
    let hint = by_get(own, own, "/s");
    assert_says(
        &hint,
        "the query of the configured url was signed, and the request came without it",
    );
    let hint = by_get(own, own, "/s?other=1");
    assert_says(&hint, "came with another one");
    let world = World::new(&format!(
        r#"{{"rate_limits": [], "webhooks": [{{"path": "/s", "url": "{own}", "methods": ["GET"]}}]}}"#
    ));
    let handshake = form("")
        .method("GET")
        .to("/s")
        .without("content-type")
        .with("connection", "upgrade")
        .with("upgrade", "websocket");
    let hint = world.hint(&handshake.signed("token", &own.replace("https", "wss"), ""));
    assert_says(&hint, "the query of the configured url was signed");
}

#[test]
fn order_and_escaping_of_a_query_changed_together_are_named() {
    for (signed, arrives) in [
        (
            "zone=b&Retry=1&RetryMessage=Couldn%27t+find+it",
            "Retry=1&RetryMessage=Couldn%27t%20find%20it&zone=b",
        ),
        ("d=%28x%29&a=1&c=2&b=it%27s", "a=1&b=it's&c=2&d=(x)"),
        ("b=2+3&a=it%27s", "a=it%27s&b=2%203"),
    ] {
        let hint = signed_url(&format!("{URL}?{signed}"), &format!("/hook?{arrives}"));
        assert_says(&hint, "in another order and escaped in another way");
    }
}

#[test]
fn of_a_long_query_in_another_order_and_escaping_it_is_said_that_the_query_may_be_it() {
    let signed: Vec<String> = (0..17)
        .map(|number| format!("p{}=a+b", number * 7 % 17))
        .collect();
    let mut arrives = signed.clone();
    arrives.sort();
    let arrives = arrives.join("&").replace('+', "%20");
    let url = "https://orders.example.com/s";
    let hint = by_get(
        url,
        &format!("{url}?{}", signed.join("&")),
        &format!("/s?{arrives}"),
    );
    assert_says(&hint, LAST_RESORT);
    assert_says(
        &hint,
        "another query than the one that arrived, in order, escaping or parameters",
    );
    assert!(!hint.contains("a+b") && !hint.contains("p3"), "{hint}");
}

#[test]
fn a_parameter_added_to_the_query_is_named_by_its_place() {
    for (signed, arrives, expected) in [
        (
            "a=1&b=2",
            "a=1&b=2&gclid=x",
            "ends before the last 1 of its 3 parameters",
        ),
        (
            "a=1",
            "a=1&utm_source=x&utm_medium=y",
            "ends before the last 2 of its 3 parameters",
        ),
        ("a=1&b=2", "gclid=x&a=1&b=2", "number 1 of 3"),
        ("x=%2B49", "x=+49", "escaped in another way"),
    ] {
        let hint = signed_url(&format!("{URL}?{signed}"), &format!("/hook?{arrives}"));
        assert_says(&hint, expected);
        assert!(!hint.contains("gclid") && !hint.contains("utm"), "{hint}");
    }
}

#[test]
fn a_path_in_any_header_that_proxies_use_is_found() {
    for (name, value) in [
        ("x-replaced-path", "/twilio/sms"),
        ("x-forwarded-path", "/twilio/sms"),
        ("x-original-url", "/twilio/sms"),
        ("x-original-url", "https://front.example.com/twilio/sms?x=1"),
        ("x-rewrite-url", "/twilio/sms?x=1"),
    ] {
        let request = form(BODY)
            .signed("token", "https://orders.example.com/twilio/sms", BODY)
            .with(name, value);
        let hint = world().hint(&request);
        assert!(
            hint.contains("the path was rewritten on the way") && hint.contains(name),
            "{hint}"
        );
    }
}

#[test]
fn escapes_and_slashes_of_a_path_that_were_changed_on_the_way_are_named() {
    let world = World::new(
        r#"{"rate_limits": [], "public_base_url": "https://orders.example.com",
            "webhooks": [{"path": "/*"}]}"#,
    );
    for (signed, arrives, expected) in [
        ("/hook/a%40b", "/hook/a@b", "an escape in the path"),
        ("/hook/a@b", "/hook/a%40b", "an escape in the path"),
        ("/hook/a%2Bb", "/hook/a+b", "an escape in the path"),
        ("/hook/%c3%a9", "/hook/%C3%A9", "an escape in the path"),
        ("//hook/a", "/hook/a", "slashes in the path were merged"),
        ("/hook//a/b", "/hook/a/b", "slashes in the path were merged"),
        ("/hook/a/", "/hook//a/", "spelled without double slashes"),
    ] {
        let url = format!("https://orders.example.com{signed}");
        let hint = world.hint(&form(BODY).to(arrives).signed("token", &url, BODY));
        assert_says(&hint, expected);
    }
}

#[test]
fn every_host_that_a_header_lists_is_tried() {
    let signed = form(BODY).signed("token", "https://agent.example.com/hook", BODY);
    for (name, value) in [
        (
            "x-forwarded-host",
            "agent.example.com, alb-internal.example.net",
        ),
        (
            "x-forwarded-host",
            "cdn.example.net,alb.internal:8080 ,agent.example.com",
        ),
        (
            "forwarded",
            "for=192.0.2.1;host=agent.example.com;proto=https",
        ),
        (
            "forwarded",
            "for=10.0.0.1, for=192.0.2.1; Host=\"agent.example.com\"",
        ),
    ] {
        let request = signed
            .clone()
            .with(":authority", "10.0.3.7:8000")
            .with(name, value);
        let hint = world().hint(&request);
        assert_says(&hint, "the host that was signed is agent.example.com");
    }
}

#[test]
fn an_account_in_the_query_that_is_not_configured_is_named() {
    let query = "MessageSid=SM1&AccountSid=AC77777777777777777777777777777777";
    let world = World::new(
        r#"{"rate_limits": [], "webhooks": [
            {"path": "/s", "url": "https://orders.example.com/s", "methods": ["GET"]}]}"#,
    );
    let request = form("")
        .method("GET")
        .without("content-type")
        .to(&format!("/s?{query}"));
    let url = format!("https://orders.example.com/s?{query}");
    let hint = world.hint(&request.signed("subaccount's", &url, ""));
    assert_says(&hint, "an account that is not configured");
    assert!(!hint.contains("AC7777"), "{hint}");
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
fn a_parameter_that_was_added_or_dropped_is_named() {
    let hint = arrives_as(BODY, &format!("{BODY}&_waf_id=7"));
    assert_says(
        &hint,
        "a parameter was added on the way: number 15 of the 15",
    );
    assert!(!hint.contains("_waf_id"), "{hint}");
    let front = arrives_as(BODY, &format!("tenant=a&{BODY}"));
    assert_says(&front, "number 1 of the 15");
    let known = arrives_as("a=1&b=2", "Digits=5&a=1&b=2");
    assert_says(&known, "number 1 of the 3");
    let message = format!("{BODY}&SmsSid=SM1&ApiVersion=2010-04-01&NumMedia=0");
    for dropped in [
        "&SmsSid=SM1",
        "&ApiVersion=2010-04-01",
        "&NumMedia=0",
        "&MessageSid=SM1",
    ] {
        let hint = arrives_as(&message, &message.replace(dropped, ""));
        let (name, _) = dropped[1..].split_once('=').expect("a value");
        assert_says(
            &hint,
            &format!("a parameter was dropped on the way: {name}"),
        );
    }
}

#[test]
fn windows_1252_is_told_from_latin_1() {
    let cases = [
        (
            "dos+%F0%9F%8C%AE",
            "dos+%C3%B0%C5%B8%C5%92%C2%AE",
            "taken for Windows-1252",
        ),
        (
            "%E2%82%AC+3",
            "%80+3",
            "text that was UTF-8 is Windows-1252 now",
        ),
        (
            "%E2%80%9Cs%C3%AD%E2%80%9D",
            "%93s%ED%94",
            "text that was UTF-8 is Windows-1252 now",
        ),
    ];
    for (signed, arrives, expected) in cases {
        let body = |text: &str| BODY.replace("2+tacos", text);
        let request = form("")
            .body(&body(arrives))
            .with("x-twilio-signature", &genuine(&body(signed)));
        let hint = world().hint(&request);
        assert!(hint.contains(expected) && hint.contains("UTF-8"), "{hint}");
    }
}

#[test]
fn a_hash_without_its_body_or_in_the_wrong_place_is_explained() {
    let hash = "bodySHA256=".to_owned() + &"ab".repeat(32);
    let signed = |query: &str| {
        let url = format!("{URL}?{query}");
        form("")
            .signed("token", &url, "")
            .with("content-type", "application/json")
            .body("{}")
    };
    let to = |request: Request, query: &str| request.to(&format!("/hook?{query}"));
    let other = "bodySHA256=".to_owned() + &"cd".repeat(32);
    let twice = format!("{hash}&{other}");
    for (request, expected) in [
        (to(signed(&hash), &hash).body(""), "there is no body"),
        (to(signed(&twice), &twice), "more than one bodySHA256"),
        (
            to(signed(&hash), &format!("{hash}&gclid=7")),
            "something on the way has added to it",
        ),
        (
            to(signed(&format!("zone=7&{hash}")), &format!("{hash}&zone=7")),
            "in another order",
        ),
    ] {
        let hint = world().hint(&request);
        assert_says(&hint, expected);
    }
}

#[test]
fn json_whose_escapes_were_undone_or_added_is_named() {
    for (signed, arrives) in [
        (r#"{"a":"x/y"}"#, r#"{"a":"x\/y"}"#),
        (r#"{"a":"é🌮"}"#, r#"{"a": "\u00e9\ud83c\udf2e"}"#),
        (r#"{"a":"\u00e9\ud83c\udf2e"}"#, r#"{"a": "é🌮"}"#),
    ] {
        let hint = world().hint(&json(signed, arrives));
        assert_says(&hint, "parsed and written anew");
    }
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
