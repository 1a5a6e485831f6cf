use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const HEX: &str = "0123456789abcdef0123456789abcdef";

/// A webhook of this URL, without limits.
fn at(url: &str) -> World {
    World::new(&format!(
        r#"{{"rate_limits": [], "webhooks": [{{"url": "{url}"}}]}}"#
    ))
}

#[test]
fn finding_2_text_in_a_message_does_not_become_the_hash_of_a_body() {
    let json = "{\"order\": 1000}";
    let hash = Nonce(sha256(&[json.as_bytes()])).to_hex();
    let text = format!("&bodySHA256={hash}&z=");
    // The message as Twilio sends it; its text is last in what is signed.
    let url = "https://orders.example.com/hook?shop=1";
    let message = format!("Zz={}", text.replace('&', "%26").replace('=', "%3D"));
    let genuine = form(&message).to("/hook?shop=1");
    let genuine = genuine.signed("token", url, &message);
    let as_json = signed_target(&format!("/hook?shop=1Zz{text}")).json(json);
    let world = at(url);
    world.expect(&as_json, "unsigned_body");
    world.expect(&genuine, "accepted");
    // Where Twilio puts it, it counts.
    let genuine = signed_target(&format!("/hook?shop=1&bodySHA256={hash}"));
    world.expect(&genuine.json(json), "accepted");
}

#[test]
fn a_form_made_of_the_end_of_a_json_requests_url_does_not_take_its_place() {
    let json = "{\"order\": 1000}";
    let hash = Nonce(sha256(&[json.as_bytes()])).to_hex();
    for (configured, query) in [
        ("https://orders.example.com/hook?shop=1", "?shop=1&"),
        ("https://orders.example.com/hook", "?"),
    ] {
        let world = at(configured);
        let signed = format!("/hook{query}bodySHA256={hash}");
        for cut in "/hook".len()..signed.len() {
            let (target, moved) = signed.split_at(cut);
            let moved = moved.replace('&', "%26").replace('=', "%3D");
            for body in [format!("{moved}="), format!("={moved}")] {
                let request = signed_target(&signed).to(target).body(&body);
                let verdict = world.verdict(&request);
                let expected = match configured.split_once("/hook") {
                    Some((_, "")) => &["malformed_body"][..],
                    // Where the query is not the configured one, no string is looked at.
                    _ => &["malformed_body", "invalid_signature"],
                };
                assert!(expected.contains(&verdict), "{target} {body}: {verdict}");
            }
        }
        world.expect(&signed_target(&signed).json(json), "accepted");
    }
}

#[test]
fn a_form_comes_to_the_configured_query_without_a_hash() {
    let url = "https://orders.example.com/hook?shop=1";
    let hash = HEX.repeat(2);
    for query in [
        format!("shop=1&bodySHA256={hash}"),
        format!("bodySHA256={hash}&shop=1"),
        "shop=1&body%53HA256=".to_owned(),
    ] {
        let target = format!("/hook?{query}");
        let signed = format!("https://orders.example.com{target}");
        let request = form("a=1").to(&target).signed("token", &signed, "a=1");
        at(url).expect(&request, "invalid_signature");
    }
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
    let lenient = World::new(r#"{"rate_limits": [], "form": "lenient"}"#);
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
        let hint = strict.expect_hint(&respelled, "malformed_body", what);
        let said = rejection(&strict, &respelled).detail.expect("a sentence");
        assert!(said.contains(what) && said.ends_with('.'), "{said}");
        assert!(!hint.contains("zz") && !hint.contains("Name"), "{hint}");
        // The same request, which the signature reads as it was signed.
        let read = lenient.verdict(&respelled);
        let is_read = ["accepted", "duplicate"].contains(&read);
        assert!(is_read, "{spelling}: {read}");
    }
    strict.expect(&original, "accepted");
    let twice = original.body("Body=a%3Bb%25zz+c%3Dd%C3%A9&Name=&Name=");
    // A pair that occurs twice counts once.
    strict.expect(&twice, "duplicate");
}

#[test]
fn finding_7_a_control_character_is_no_part_of_a_form() {
    for body in ["a=1\n", "a=1\r\n&b=2", "a=\t", "a=\u{0}", "a=\u{7f}"] {
        at(URL).expect(&form("a=1").body(body), "malformed_body");
    }
}

#[test]
fn finding_7_no_form_has_more_parameters_than_configured_in_either_reading() {
    let body = |pieces: usize| vec!["a=1"; pieces].join("&");
    for reading in ["strict", "lenient"] {
        let json = format!(r#"{{"rate_limits": [], "form": "{reading}", "max_parameters": 3}}"#);
        let world = World::new(&json);
        let four = form("a=1").body(&body(4));
        let words = "more than 3 parameters, the first surplus one at byte 12";
        let hint = world.expect_hint(&four, "malformed_body", words);
        assert!(hint.ends_with("at byte 12"), "{hint}");
        world.expect(&form("a=1").body(&body(3)), "accepted");
    }
    let world = at(URL);
    world.expect(&form("a=1").body(&body(501)), "malformed_body");
    world.expect(&form("a=1").body(&body(500)), "accepted");
}

#[test]
fn finding_8_a_get_has_no_form_and_a_form_has_the_configured_query() {
    let get = taking(&["GET", "HEAD", "DELETE", "POST"]);
    let moved = signed_target("/hook?amount=1000").to("/hook?amount=1");
    let moved = moved.body("000=");
    for method in ["GET", "HEAD", "DELETE"] {
        get.expect(&moved.clone().method(method), "unsigned_body");
    }
    let configured = at("https://orders.example.com/hook?shop=1");
    let url = "https://orders.example.com/hook?shop=1&amount=1";
    let moved = form("000=").to("/hook?shop=1&amount=1");
    let moved = moved.signed("token", url, "000=");
    configured.expect(&moved, "invalid_signature");
}

#[test]
fn finding_9_what_an_upstream_may_take_for_a_webhook_is_not_exempt() {
    let world = World::new(r#"{"rate_limits": [], "exempt_paths": ["/*", "/hook/status"]}"#);
    let paths = "/HOOK /hook/ //hook /./hook /%68ook /x/../hook /hook;x=1 /hook/x /hook.json \
        /hook%20 /hook~ /hook%ff /hook/%c0%ae /HOOK;x /x/..%2fhook /hooks /a%ff";
    for path in paths.split(' ') {
        world.expect(&form("").to(path), "unknown_webhook");
    }
    let exempt = "/hook/status /status /ho /xhook /%C3%A9 /static/a.css?x=/hook";
    for path in exempt.split(' ') {
        world.expect(&form("").to(path), "exempt");
    }
}

#[test]
fn what_an_upstream_may_take_for_a_path_below_a_webhook_is_not_exempt() {
    let world = World::new(
        r#"{"rate_limits": [], "exempt_paths": ["/*", "/hooks.json"],
            "public_base_url": "https://orders.example.com", "webhooks": [{"path": "/api/hooks/*"}]}"#,
    );
    let paths = "/api/hooks /API//hooks/a /api/hooks%20/a /api/hooks./a /api/hooks.json \
        /api/hooks~/a /api/hooks%C2%A0/a /api/hooks:a /api%20/hooks/a /%20api./hooks/a \
        /x/..%20/api/hooks/a";
    for path in paths.split(' ') {
        world.expect(&form("").to(path), "unknown_webhook");
    }
    let exempt =
        "/api/hooks-2/a /api/hooks2 /api/hooks_old /api/hook /hooks.json /hooks./a /a./b%20c";
    for path in exempt.split(' ') {
        world.expect(&form("").to(path), "exempt");
    }
}

#[test]
fn finding_14_a_long_target_is_not_looked_at() {
    let world =
        World::new(r#"{"rate_limits": [], "max_target_bytes": 100, "exempt_paths": ["/e/*"]}"#);
    let long = |path: &str, length: usize| {
        let query = "q".repeat(length - path.len() - 1);
        form("").to(&format!("{path}?{query}"))
    };
    world.expect(&long("/hook", 101), "target_too_long");
    world.expect(&long("/hook", 100), "invalid_signature");
    world.expect(&long("/hook", 101).method("PUT"), "method_not_allowed");
    world.expect(&long("/e/x", 101), "exempt");
    let path = |length: usize| format!("/e/{}", "x".repeat(length - 3));
    world.expect(&form("").to(&path(100)), "exempt");
    world.expect(&form("").to(&path(101)), "target_too_long");
}

#[test]
fn a_long_target_is_not_looked_at_in_the_header_of_an_envoy_in_front_either() {
    let with = |trusted: bool, length: usize| {
        let world = World::new(&format!(
            r#"{{"rate_limits": [], "max_target_bytes": 100, "trust_original_path": {trusted}}}"#
        ));
        let original = format!("/hook?{}", "q".repeat(length - 6));
        let request = form("").with("x-envoy-original-path", &original);
        world.verdict(&request)
    };
    assert_eq!(with(true, 101), "target_too_long");
    assert_eq!(with(true, 100), "invalid_signature");
    // Not believed, it is not looked at.
    assert_eq!(with(false, 101), "accepted");
}

#[test]
fn the_work_for_one_request_is_bounded_whatever_its_keys_and_its_length() {
    let tokens: Vec<_> = (0..64).map(|number| format!("\"token{number}\"")).collect();
    let json = format!(
        r#"{{"rate_limits": [], "max_body_bytes": 65536, "accounts": [{{"auth_tokens": [{}]}}]}}"#,
        tokens.join(",")
    );
    let world = World::new(&json);
    let long = format!("a={}", "x".repeat(65_000));
    let by = |number: u32, body: &str| {
        let request = form(body).signed(&format!("token{number}"), URL, body);
        world.verdict(&request)
    };
    assert_eq!(by(1, &long), "accepted");
    // Any of eight keys may have signed; the ninth is one too many.
    assert_eq!(by(7, &long), "accepted");
    assert_eq!(by(8, &long), "invalid_signature");
    assert_eq!(by(63, "a=1"), "accepted");
}

#[test]
fn a_callback_by_get_passes_with_any_hash_where_nothing_with_a_body_is_taken() {
    let query = format!("bodySHA256={HEX}{HEX}&bodySHA256={HEX}{HEX}&Status=x");
    let callback = signed_target(&format!("/hook?{query}")).method("GET");
    taking(&["GET"]).expect(&callback, "accepted");
    taking(&["GET", "POST"]).expect(&callback, "body_hash_mismatch");
}

#[test]
fn user_and_password_of_a_configured_url_may_be_signed_or_not() {
    let url = "https://twilio:secret@orders.example.com/hook";
    let world = at(url);
    world.expect(&form("a=1"), "accepted");
    world.expect(&form("a=2").signed("token", url, "a=2"), "accepted");
    let other = form("a=3").signed("token", "https://x:y@orders.example.com/hook", "a=3");
    world.expect(&other, "invalid_signature");
}

#[test]
fn a_handshake_may_be_signed_with_its_query_as_a_form() {
    let url = "wss://orders.example.com/hook";
    let json =
        format!(r#"{{"rate_limits": [], "webhooks": [{{"url": "{url}", "methods": ["GET"]}}]}}"#);
    let world = World::new(&json);
    let handshake = |signed: &str| handshake(url, signed).to("/hook?token=x&foo=bar");
    world.expect(&handshake("token=x&foo=bar"), "accepted");
    world.expect(&handshake("token=x&foo=baz"), "invalid_signature");
}

#[test]
fn a_path_that_is_nearly_a_webhooks_is_named_in_the_hint() {
    let world = at("https://orders.example.com/Api/hook");
    for (path, words) in [
        ("/Api/hook/", "by a slash at its end"),
        ("/api/hook", "in capital and small letters"),
        ("//Api/hook", "in its spelling"),
        ("/Api%2Fhook", "in its spelling"),
        ("/prod/Api/hook", "by a prefix that the request has"),
        ("/hook", "by a prefix that the request lacks"),
        ("/Api/hook/1", "by what the request has behind it"),
        ("/", ""),
        ("/other", ""),
        ("/Api", ""),
    ] {
        world.expect_hint(&form("").to(path), "unknown_webhook", words);
    }
}

#[test]
fn a_rejected_request_is_recorded_with_its_method_and_its_path_without_the_query() {
    for (path, method) in [
        ("/other?From=%2B1555", "POST"),
        ("/hook?From=%2B1555", "GET"),
    ] {
        let verdict = at(URL).send(&form("").to(path).method(method));
        let target = verdict.record.target.expect("what was asked for");
        let (path, _) = path.split_once('?').expect("a query");
        assert_eq!(
            (target.method.as_str(), target.path.as_str()),
            (method, path)
        );
    }
}

#[test]
fn a_webhook_takes_bodies_if_any_of_its_methods_does() {
    let takes = |methods: &[&str]| {
        let world = taking(methods);
        let webhook = world.filter.webhooks().first().expect("one");
        webhook.settings.takes_bodies()
    };
    assert!(!takes(&["GET", "HEAD", "DELETE"]));
    for method in ["POST", "PUT", "PATCH"] {
        assert!(takes(&["GET", method]));
    }
}

/// Counters were those of a place in the configuration: with the webhooks in another order, or while
/// Envoys with both configurations shared a store, one webhook counted for another.
#[test]
fn a_limit_by_webhook_counts_for_the_same_webhook_wherever_it_stands_in_the_configuration() {
    let of = |paths: [&str; 2]| {
        let webhooks =
            paths.map(|path| format!(r#"{{"url": "https://orders.example.com{path}"}}"#));
        format!(
            r#"{{"rate_limits": [{{"key": "webhook", "requests": 1, "window": "60s"}}],
                "webhooks": [{}]}}"#,
            webhooks.join(",")
        )
    };
    let memory = Rc::new(MemoryMap::new());
    let request = |path: &str, body: &str| {
        let url = format!("https://orders.example.com{path}");
        form(body).to(path).signed("token", &url, body)
    };
    let before = World::on(&memory, &of(["/orders", "/status"]));
    before.expect(&request("/orders", "a=1"), "accepted");
    let after = World::on(&memory, &of(["/status", "/orders"]));
    after.expect(&request("/orders", "a=2"), "rate_limited");
    after.expect(&request("/status", "a=1"), "accepted");
}
