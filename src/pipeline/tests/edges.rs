//! Edges and hints to the letter: each of these fails if one operator, condition or answer of the code is another.

use super::*;
use crate::pipeline::step::Step;
use crate::request::client_address::ClientAddress;
use crate::request::headers::Headers;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn a_path_is_compared_with_those_of_webhooks_up_to_512_bytes() {
    let world = World::new("{}");
    let path = |length: usize| format!("/{}/hook", "x".repeat(length - 6));
    for (length, words) in [(512, "by a prefix"), (513, "")] {
        world.expect_hint(&form("").to(&path(length)), "unknown_webhook", words);
    }
}

#[test]
fn a_handshake_needs_no_body_and_any_other_request_needs_one() {
    let world = taking(&["GET", "POST"]);
    let signature = signature("token", URL, "");
    let held = |method: &[u8], upgrade: &[u8]| {
        let headers: [(&[u8], &[u8]); 5] = [
            (b":method", method),
            (b":path", b"/hook"),
            (b"x-twilio-signature", signature.as_bytes()),
            (b"connection", b"upgrade"),
            (b"upgrade", upgrade),
        ];
        let client = ClientAddress::from_source_address(b"192.0.2.1:1");
        match world.filter.on_headers(Headers::new(&headers), client, NOW) {
            Step::AwaitBody(awaiting) => awaiting.needs_body(),
            _ => panic!("not held"),
        }
    };
    assert!(!held(b"GET", b"websocket"));
    assert!(held(b"GET", b"h2c"));
    assert!(held(b"POST", b"websocket"));
}

#[test]
fn a_method_that_is_not_taken_is_explained_where_twilio_uses_the_other_one() {
    for (methods, sent, words) in [
        (&["POST"][..], "GET", "redirect"),
        (&["PUT"], "GET", ""),
        (&["GET"], "POST", "add POST to methods"),
        (&["PUT"], "POST", ""),
        (&["POST", "GET"], "PUT", ""),
    ] {
        taking(methods).expect_hint(&form("a=1").method(sent), "method_not_allowed", words);
    }
}

#[test]
fn what_is_wrong_with_a_signature_header_is_said_only_where_it_is_known() {
    let world = World::new(r#"{"rate_limits": []}"#);
    let hex = "0123456789abcdef0123456789ABCDEF01234567";
    let signature = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
    for (value, words) in [
        (hex.to_owned(), "hexadecimal"),
        (format!("{hex}{}", &hex[..24]), "hexadecimal"),
        // One digit more, and one that is none.
        (format!("{hex}0"), ""),
        (hex.replace('7', "g"), ""),
        (signature.replace('/', "-"), "base64 of URLs"),
        (signature.replace('/', "_"), "base64 of URLs"),
        (format!(" {signature}"), "quotes or white space"),
        (format!("{signature}\t"), "quotes or white space"),
        (format!("'{signature}'"), "quotes or white space"),
        (format!("\"{signature}\""), "quotes or white space"),
        (signature.replace('=', ""), ""),
        (format!("{signature},{signature}"), "twice"),
    ] {
        let request = form("a=1").with("x-twilio-signature", &value);
        world.expect_hint(&request, "malformed_signature", words);
    }
    let twice = form("a=1").and("x-twilio-signature", signature);
    world.expect_hint(&twice, "malformed_signature", "there twice");
}

#[test]
fn a_missing_signature_is_explained_by_who_has_sent_the_request() {
    let world = World::new("{}");
    let unsigned = form("a=1").without("x-twilio-signature");
    for (agent, expected) in [
        ("TwilioProxy/1.1", "it looks like Twilio's"),
        ("Twilio.TmeWs/1.0", "it looks like Twilio's"),
        ("curl/8.5.0 TwilioProxy/1.1", "either it is not Twilio's"),
    ] {
        let hint = world.hint_now(&unsigned.clone().with("user-agent", agent));
        assert!(hint.starts_with(expected), "{agent}: {hint}");
    }
}

#[test]
fn a_stale_timestamp_is_explained_by_its_age_in_the_header_and_in_a_parameter() {
    let world = World::new(r#"{"rate_limits": []}"#);
    let seconds = NOW.0 / 1_000;
    let in_header = form("a=1").with("x-twilio-request-timestamp", &(seconds - 301).to_string());
    world.expect_hint(&in_header, "stale_timestamp", "301");
    let in_parameter = form(&format!("Timestamp={}", seconds - 3_600));
    world.expect_hint(&in_parameter, "stale_timestamp", "3600");
    // What is not signed says nothing of this host's clock, however often it comes.
    for _ in 0..5 {
        world.expect_hint(&in_header, "stale_timestamp", "it is 301 s old");
    }
    // What lies ahead has no age.
    let ahead = form(&format!("Timestamp={}", seconds + 31));
    world.expect_hint(&ahead, "future_timestamp", "");
}

#[test]
fn a_moved_boundary_and_a_wrong_signature_are_explained() {
    let world = World::new("{}");
    let moved = form("Body=MessageSidSM0123456789abcdef0123456789abcdef");
    world.expect_hint(&moved, "malformed_body", "somebody has cut");
    let forged = form("a=1").signed("other", URL, "a=1");
    world.expect(&forged, "invalid_signature");
    assert_ne!(world.hint(&forged), "");
}

#[test]
fn a_filter_with_another_capacity_rejects_what_one_before_it_has_accepted() {
    let memory = Rc::new(MemoryMap::new());
    let world = |capacity: usize| {
        let json = format!(r#"{{"replay": {{"capacity": {capacity}}}, "rate_limits": []}}"#);
        World::on(&memory, &json)
    };
    world(65_536).expect(&form("a=1"), "accepted");
    world(1_000).expect(&form("a=1"), "duplicate");
}

#[test]
fn two_limits_of_one_kind_count_apart() {
    let world = World::new(
        r#"{"rate_limits": [{"key": "client_ip", "requests": 2, "window": "1s"},
                            {"key": "client_ip", "requests": 3, "window": "60s"}]}"#,
    );
    for (number, seconds, verdict) in [
        (1, 0, "accepted"),
        (2, 0, "accepted"),
        (3, 0, "rate_limited"),
        (3, 2, "accepted"),
        (4, 2, "rate_limited"),
    ] {
        let request = form(&format!("a={number}"));
        world.expect(&request.at(after(seconds)), verdict);
    }
}
