use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const HEX: &str = "0123456789abcdef0123456789abcdef";

fn world(json: &str) -> World {
    World::new(json)
}

fn hash_of(body: &str) -> String {
    Nonce(sha256(&[body.as_bytes()])).to_hex()
}

/// A webhook of this URL, without limits.
fn at(url: &str) -> World {
    let json = format!(r#"{{"rate_limits": [], "webhooks": [{{"url": "{url}"}}]}}"#);
    world(&json)
}

#[test]
fn finding_2_text_in_a_message_does_not_become_the_hash_of_a_body() {
    let json = "{\"order\": 1000}";
    let text = format!("&bodySHA256={}&z=", hash_of(json));
    // The message as Twilio sends it; its text is last in what is signed.
    let url = "https://orders.example.com/hook?shop=1";
    let message = format!("Zz={}", text.replace('&', "%26").replace('=', "%3D"));
    let genuine = form(&message)
        .to("/hook?shop=1")
        .signed("token", url, &message);
    let as_json = form("")
        .signed("token", &format!("{url}Zz{text}"), "")
        .to(&format!("/hook?shop=1Zz{text}"))
        .with("content-type", "application/json")
        .body(json);
    let world = at(url);
    world.expect(&as_json, "unsigned_body");
    world.expect(&genuine, "accepted");
    // Where Twilio puts it, it counts.
    let signed = format!("{url}&bodySHA256={}", hash_of(json));
    let genuine = form("")
        .signed("token", &signed, "")
        .to(&format!("/hook?shop=1&bodySHA256={}", hash_of(json)))
        .with("content-type", "application/json")
        .body(json);
    world.expect(&genuine, "accepted");
}

#[test]
fn finding_2b_a_message_inside_of_a_message_is_malformed() {
    let inner = format!("2+tacosFromwhatsapp%3A%2B1555MessageSidSM{HEX}ToWx");
    let body = format!("AccountSid={SID}&Body={inner}&MessageSid=SM{HEX}");
    let original = form(&body);
    let world = at(URL);
    world.expect(&original, "malformed_body");
    let moved = format!(
        "AccountSid={SID}&Body=2+tacos&From=whatsapp%3A%2B1555&MessageSid=SM{HEX}&To=Wx\
         MessageSidSM{HEX}"
    );
    world.expect(&original.body(&moved), "malformed_body");
    let ordinary = form(&format!("AccountSid={SID}&Body=2+tacos&MessageSid=SM{HEX}"));
    world.expect(&ordinary, "accepted");
}

#[test]
fn finding_2b_an_identifier_that_is_longer_under_a_wrong_signature_is_just_that() {
    let body = format!("AccountSid={SID}&Body=x&MessageSid=SM{HEX}");
    let longer = format!("{body}x");
    let world = at(URL);
    world.expect(&form(&body).body(&longer), "invalid_signature");
    world.expect(&form(&longer), "malformed_body");
}

#[test]
fn finding_7_only_spellings_that_every_framework_reads_alike_are_taken() {
    let strict = at(URL);
    let lenient = world(r#"{"rate_limits": [], "form": "lenient"}"#);
    let original = form("Body=a%3Bb%25zz+c%3Dd%C3%A9&Name=");
    for (spelling, what) in [
        ("Body=a;b%25zz+c%3Dd%C3%A9&Name=", "\";\""),
        ("Body=a%3Bb%zz+c%3Dd%C3%A9&Name=", "two hex digits"),
        ("Body=a%3Bb%25zz c%3Dd%C3%A9&Name=", "space"),
        ("Body=a%3Bb%25zz+c=d%C3%A9&Name=", "second \"=\""),
        ("Body=a%3Bb%25zz+c%3Dd\u{e9}&Name=", "beyond ASCII"),
        ("Body=a%3Bb%25zz+c%3Dd%C3%A9&Name", "without \"=\""),
        ("Name&Body=a%3Bb%25zz+c%3Dd%C3%A9", "without \"=\""),
        ("&Body=a%3Bb%25zz+c%3Dd%C3%A9&Name=", "empty parameter"),
        ("Body=a%3Bb%25zz+c%3Dd%C3%A9&&Name=", "empty parameter"),
        ("Body=a%3Bb%25zz+c%3Dd%C3%A9&Name=&", "empty parameter"),
    ] {
        let respelled = original.clone().body(spelling);
        let verdict = strict.send(&respelled);
        assert_eq!(verdict.outcome.name(), "malformed_body", "{spelling}");
        let Outcome::Rejected(rejection) = &verdict.outcome else {
            panic!("{spelling} passes");
        };
        let hint = verdict.hint().unwrap_or_default();
        assert!(hint.contains(what), "{spelling}: {hint}");
        let said = rejection.detail.as_deref().unwrap_or_default();
        assert!(said.contains(what) && said.ends_with('.'), "{said}");
        assert!(!hint.contains("zz") && !hint.contains("Name"), "{hint}");
        // The same request, which the signature reads as it was signed.
        let read = lenient.verdict(&respelled);
        assert!(
            ["accepted", "duplicate"].contains(&read),
            "{spelling}: {read}"
        );
    }
    strict.expect(&original, "accepted");
    let twice = original.body("Body=a%3Bb%25zz+c%3Dd%C3%A9&Name=&Name=");
    // A pair that occurs twice counts once.
    strict.expect(&twice, "duplicate");
}

#[test]
fn finding_7_a_control_character_is_no_part_of_a_form() {
    for body in ["a=1\n", "a=1\r\n&b=2", "a=\t", "a=\u{0}", "a=\u{7f}"] {
        let verdict = at(URL).send(&form("a=1").body(body));
        assert_eq!(verdict.outcome.name(), "malformed_body", "{body:?}");
    }
}

#[test]
fn finding_7_no_form_has_more_parameters_than_configured_in_either_reading() {
    let body = |pieces: usize| vec!["a=1"; pieces].join("&");
    for reading in ["strict", "lenient"] {
        let json = format!(r#"{{"rate_limits": [], "form": "{reading}", "max_parameters": 3}}"#);
        let world = world(&json);
        world.expect(&form("a=1").body(&body(4)), "malformed_body");
        let hint = world.hint(&form("a=1").body(&body(4)));
        assert!(hint.contains("more than 3 parameters"), "{hint}");
        world.expect(&form("a=1").body(&body(3)), "accepted");
    }
    let world = at(URL);
    world.expect(&form("a=1").body(&body(501)), "malformed_body");
    world.expect(&form("a=1").body(&body(500)), "accepted");
}

#[test]
fn finding_8_a_get_has_no_form_and_a_form_has_the_configured_query() {
    let get = world(
        r#"{"rate_limits": [], "webhooks": [{"url": "https://orders.example.com/hook",
            "methods": ["GET", "HEAD", "DELETE", "POST"]}]}"#,
    );
    let url = "https://orders.example.com/hook?amount=1000";
    let genuine = form("").to("/hook?amount=1000").signed("token", url, "");
    for method in ["GET", "HEAD", "DELETE"] {
        let moved = genuine
            .clone()
            .to("/hook?amount=1")
            .method(method)
            .body("000=");
        get.expect(&moved, "unsigned_body");
    }
    let configured = at("https://orders.example.com/hook?shop=1");
    let url = "https://orders.example.com/hook?shop=1&amount=1";
    let moved = form("000=")
        .to("/hook?shop=1&amount=1")
        .signed("token", url, "000=");
    configured.expect(&moved, "invalid_signature");
}

#[test]
fn finding_9_what_an_upstream_may_take_for_a_webhook_is_not_exempt() {
    let world = world(
        r#"{"rate_limits": [], "exempt_paths": ["/*", "/hook/status"], "webhooks": [
            {"url": "https://orders.example.com/hook"}]}"#,
    );
    for path in [
        "/hook/x",
        "/hook.json",
        "/hook%20",
        "/hook~",
        "/hook%ff",
        "/hook/%c0%ae",
        "/HOOK;x",
        "/x/..%2fhook",
        "/hooks",
        "/a%ff",
    ] {
        world.expect(&form("").to(path), "unknown_webhook");
    }
    for path in ["/hook/status", "/status", "/ho", "/xhook", "/%C3%A9"] {
        world.expect(&form("").to(path), "exempt");
    }
}

#[test]
fn finding_14_a_long_target_is_not_looked_at() {
    let world = world(r#"{"rate_limits": [], "max_target_bytes": 100, "exempt_paths": ["/e/*"]}"#);
    let long = |path: &str, length: usize| {
        let query = "q".repeat(length - path.len() - 1);
        form("").to(&format!("{path}?{query}"))
    };
    world.expect(&long("/hook", 101), "target_too_long");
    world.expect(&long("/hook", 100), "invalid_signature");
    world.expect(&long("/hook", 101).method("PUT"), "method_not_allowed");
    world.expect(&long("/e/x", 101), "exempt");
    let path = format!("/e/{}", "x".repeat(98));
    world.expect(&form("").to(&path), "target_too_long");
}

#[test]
fn the_work_for_one_request_is_bounded_whatever_its_keys_and_its_length() {
    let tokens: Vec<_> = (0..64).map(|number| format!("\"token{number}\"")).collect();
    let json = format!(
        r#"{{"rate_limits": [], "max_body_bytes": 65536, "accounts": [{{"auth_tokens": [{}]}}]}}"#,
        tokens.join(",")
    );
    let world = world(&json);
    let long = format!("a={}", "x".repeat(65_000));
    let by = |number: u32, body: &str| {
        let request = form(body).signed(&format!("token{number}"), URL, body);
        world.verdict(&request)
    };
    assert_eq!(by(1, &long), "accepted");
    assert_eq!(
        by(2, &long),
        "invalid_signature",
        "the third key is one too many"
    );
    assert_eq!(by(63, "a=1"), "accepted");
}

#[test]
fn a_callback_by_get_passes_with_any_hash_where_nothing_with_a_body_is_taken() {
    let webhook = |methods: &str| {
        world(&format!(
            r#"{{"rate_limits": [], "webhooks": [{{"url": "{URL}", "methods": [{methods}]}}]}}"#
        ))
    };
    let query = format!("bodySHA256={HEX}{HEX}&bodySHA256={HEX}{HEX}&Status=x");
    let url = format!("{URL}?{query}");
    let path = format!("/hook?{query}");
    let callback = form("").to(&path).signed("token", &url, "").method("GET");
    webhook("\"GET\"").expect(&callback, "accepted");
    let verdict = webhook("\"GET\", \"POST\"").verdict(&callback);
    assert_eq!(verdict, "body_hash_mismatch");
}

#[test]
fn user_and_password_of_a_configured_url_may_be_signed_or_not() {
    let world = at("https://twilio:secret@orders.example.com/hook");
    world.expect(&form("a=1"), "accepted");
    let with = form("a=2").signed(
        "token",
        "https://twilio:secret@orders.example.com/hook",
        "a=2",
    );
    world.expect(&with, "accepted");
    let other = form("a=3").signed("token", "https://x:y@orders.example.com/hook", "a=3");
    world.expect(&other, "invalid_signature");
}

#[test]
fn a_handshake_may_be_signed_with_its_query_as_a_form() {
    let world = world(
        r#"{"rate_limits": [], "webhooks": [
            {"url": "wss://orders.example.com/hook", "methods": ["GET"]}]}"#,
    );
    let handshake = |signed: &str| {
        form("")
            .to("/hook?token=x&foo=bar")
            .method("GET")
            .with("connection", "Upgrade")
            .with("upgrade", "websocket")
            .signed("token", "wss://orders.example.com/hook", signed)
    };
    world.expect(&handshake("token=x&foo=bar"), "accepted");
    world.expect(&handshake("token=x&foo=baz"), "invalid_signature");
}

#[test]
fn a_path_that_is_nearly_a_webhooks_is_named_in_the_hint() {
    let world = at("https://orders.example.com/Api/hook");
    for (path, expected) in [
        ("/Api/hook/", "by a slash at its end"),
        ("/api/hook", "in capital and small letters"),
        ("//Api/hook", "in its spelling"),
        ("/Api%2Fhook", "in its spelling"),
        ("/prod/Api/hook", "by a prefix that the request has"),
        ("/hook", "by a prefix that the request lacks"),
        ("/Api/hook/1", "by what the request has behind it"),
    ] {
        let verdict = world.send(&form("").to(path));
        let hint = verdict.hint().unwrap_or_default();
        assert!(hint.contains(expected), "{path}: {hint}");
        let target = verdict.record.target.expect("what was asked for");
        assert_eq!(
            (target.method.as_str(), target.path.as_str()),
            ("POST", path)
        );
    }
    for path in ["/", "/other", "/Api"] {
        let verdict = world.send(&form("").to(path));
        assert_eq!(verdict.hint(), None, "{path}");
    }
}

#[test]
fn a_get_in_the_place_of_a_post_is_explained_by_a_redirect() {
    let verdict = at(URL).send(&form("").to("/hook?From=%2B1555").method("GET"));
    assert_eq!(verdict.outcome.name(), "method_not_allowed");
    assert!(verdict.hint().unwrap_or_default().contains("redirect"));
    let target = verdict.record.target.expect("what was asked for");
    assert_eq!(target.path, "/hook", "the query may hold personal data");
}

#[test]
fn a_signature_header_that_is_there_twice_or_spelled_otherwise_is_explained() {
    let signature = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
    for (value, expected) in [
        (format!("{signature},{signature}"), "twice"),
        (
            "0123456789abcdef0123456789abcdef01234567".into(),
            "hexadecimal",
        ),
        (signature.replace('/', "_"), "base64 of URLs"),
        (format!("\"{signature}\""), "quotes"),
    ] {
        let verdict = at(URL).send(&form("a=1").with("x-twilio-signature", &value));
        assert_eq!(verdict.outcome.name(), "malformed_signature", "{value}");
        let hint = verdict.hint().unwrap_or_default();
        assert!(hint.contains(expected), "{value}: {hint}");
    }
}

#[test]
fn a_webhook_takes_bodies_if_any_of_its_methods_does() {
    let takes = |methods: &str| {
        let json = format!(r#"{{"webhooks": [{{"url": "{URL}", "methods": [{methods}]}}]}}"#);
        let world = world(&json);
        let webhook = world.filter.webhooks().first().expect("one");
        webhook.settings.takes_bodies()
    };
    assert!(!takes("\"GET\", \"HEAD\", \"DELETE\""));
    for method in ["POST", "PUT", "PATCH"] {
        assert!(takes(&format!("\"GET\", \"{method}\"")));
    }
}
