//! Another URL or query was signed.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

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
