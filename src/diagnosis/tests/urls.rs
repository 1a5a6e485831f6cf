//! Another URL or query was signed.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn another_scheme_host_port_or_path_is_named() {
    let cases = "
        http://orders.example.com/hook => the scheme that was signed is http, not https
        https://mesh.internal/hook => the host that was signed is mesh.internal
        https://www.orders.example.com/hook => the host that was signed is www.orders.example.com
        https://orders.example.com:8080/hook => the URL that was signed has the port 8080
        https://orders.example.com:8443/hook => the URL that was signed has the port 8443
        https://orders.example.com/hook/ => has a slash at its end
        https://orders.example.com/hook? => the URL that was signed ends in a question mark
    ";
    for [url, expected] in rows(cases) {
        expect_of_url(url, "/hook", expected);
    }
}

#[test]
fn several_wrong_parts_of_a_url_are_all_named() {
    for expected in [
        "scheme that was signed is http",
        "mesh.internal",
        "port 8080",
        "slash",
    ] {
        expect_of_url("http://mesh.internal:8080/hook/", "/hook", expected);
    }
}

#[test]
fn a_path_that_was_rewritten_is_named() {
    let json = r#"{"rate_limits": [], "webhooks": [
        {"path": "/hook", "url": "https://orders.example.com/public/hook"}]}"#;
    let as_received = signed_for("https://orders.example.com/hook");
    let hint = World::new(json).hint(&as_received);
    assert_says(&hint, "the one that arrived here");
    let prefix = signed_for("https://orders.example.com/shop/hook");
    let prefix = prefix.with("x-forwarded-prefix", "/shop/");
    expect(&prefix, "took a prefix off");
}

#[test]
fn a_query_in_another_order_or_escaping_is_named() {
    let cases = "
        b=2&a=1&c=3 => a=1&b=2&c=3 => in another order
        c=3&a=1&b=2 => a=1&b=2&c=3 => in another order
        x=it's:@ => x=it%27s%3A%40 => escaped in another way
        x=it%27s => x=it's => escaped in another way
        x=a+b => x=a%20b => escaped in another way
        x=%c3%a9 => x=%C3%A9 => escaped in another way
        x=%2B49 => x=+49 => escaped in another way
        x=1 => x=1&y= => lacks the parameters without a value
        zone=b&Retry=1&RetryMessage=Couldn%27t+find+it => Retry=1&RetryMessage=Couldn%27t%20find%20it&zone=b => in another order and escaped in another way
        d=%28x%29&a=1&c=2&b=it%27s => a=1&b=it's&c=2&d=(x) => in another order and escaped in another way
        b=2+3&a=it%27s => a=it%27s&b=2%203 => in another order and escaped in another way
    ";
    for [signed, arrives, expected] in rows(cases) {
        expect_of_url(
            &format!("{URL}?{signed}"),
            &format!("/hook?{arrives}"),
            expected,
        );
    }
    expect_of_url(URL, "/hook?utm=1", "has no query");
}

#[test]
fn the_configured_query_that_did_not_arrive_is_named() {
    let own = "https://orders.example.com/s?call_id=8753c945";
    let lost = "the query of the configured url was signed, and the request came without it";
    assert_says(&by_get("token", own, own, "/s"), lost);
    assert_says(
        &by_get("token", own, own, "/s?other=1"),
        "came with another one",
    );
    let world = World::new(&format!(
        r#"{{"rate_limits": [], "webhooks": [{{"path": "/s", "url": "{own}", "methods": ["GET"]}}]}}"#
    ));
    let handshake = handshake(&own.replace("https", "wss"), "").to("/s");
    assert_says(
        &world.hint(&handshake),
        "the query of the configured url was signed",
    );
}

#[test]
fn of_a_long_query_in_another_order_and_escaping_it_is_said_that_the_query_may_be_it() {
    let piece = |number: u32| format!("p{}=a+b", number * 7 % 17);
    let signed: Vec<String> = (0..17).map(piece).collect();
    let mut arrives = signed.clone();
    arrives.sort();
    let arrives = arrives.join("&").replace('+', "%20");
    let url = "https://orders.example.com/s";
    let signed = format!("{url}?{}", signed.join("&"));
    let hint = by_get("token", url, &signed, &format!("/s?{arrives}"));
    assert_says(&hint, LAST_RESORT);
    let words = "another query than the one that arrived, in order, escaping or parameters";
    assert_says(&hint, words);
    assert!(!hint.contains("a+b") && !hint.contains("p3"), "{hint}");
}

#[test]
fn a_parameter_added_to_the_query_is_named_by_its_place() {
    let cases = "
        a=1&b=2 => a=1&b=2&gclid=x => ends before the last 1 of its 3 parameters
        a=1 => a=1&utm_source=x&utm_medium=y => ends before the last 2 of its 3 parameters
        a=1&b=2 => gclid=x&a=1&b=2 => number 1 of 3
    ";
    for [signed, arrives, expected] in rows(cases) {
        let (url, path) = (format!("{URL}?{signed}"), format!("/hook?{arrives}"));
        let hint = expect_of_url(&url, &path, expected);
        assert!(!hint.contains("gclid") && !hint.contains("utm"), "{hint}");
    }
}

#[test]
fn a_path_in_any_header_that_proxies_use_is_found() {
    let cases = "
        x-envoy-original-path => /twilio/sms
        x-replaced-path => /twilio/sms
        x-forwarded-path => /twilio/sms
        x-original-url => /twilio/sms
        x-original-url => https://front.example.com/twilio/sms?x=1
        x-rewrite-url => /twilio/sms?x=1
    ";
    for [name, value] in rows(cases) {
        let request = signed_for("https://orders.example.com/twilio/sms").with(name, value);
        let hint = expect(&request, "the path was rewritten on the way");
        assert_says(&hint, name);
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
        (
            "//hook//a///b",
            "/hook/a//b",
            "slashes in the path were merged",
        ),
        (
            "//hook//a//b",
            "/hook/a/b",
            "slashes in the path were merged",
        ),
        ("/hook/a/", "/hook//a/", "spelled without double slashes"),
    ] {
        let request = signed_for(&format!("https://orders.example.com{signed}"));
        assert_says(&world.hint(&request.to(arrives)), expected);
    }
}

#[test]
fn every_host_that_a_header_lists_is_tried() {
    let signed = signed_for("https://agent.example.com/hook").with(":authority", "10.0.3.7:8000");
    let cases = r#"
        x-forwarded-host => agent.example.com, alb-internal.example.net
        x-forwarded-host => cdn.example.net,alb.internal:8080 ,agent.example.com
        forwarded => for=192.0.2.1;host=agent.example.com;proto=https
        forwarded => for=10.0.0.1, for=192.0.2.1; Host="agent.example.com"
    "#;
    for [name, value] in rows(cases) {
        let request = signed.clone().with(name, value);
        expect(&request, "the host that was signed is agent.example.com");
    }
}

#[test]
fn an_account_in_the_query_that_is_not_configured_is_named() {
    let query = "MessageSid=SM1&AccountSid=AC77777777777777777777777777777777";
    let url = "https://orders.example.com/s";
    let hint = by_get(
        "subaccount's",
        url,
        &format!("{url}?{query}"),
        &format!("/s?{query}"),
    );
    assert_says(&hint, "an account that is not configured");
    assert!(!hint.contains("AC7777"), "{hint}");
}
