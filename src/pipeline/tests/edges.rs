//! Edges and hints to the letter: each of these fails if one operator, condition or answer of the code is another.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn hint(world: &World, request: &Request) -> String {
    let verdict = world.send(request);
    verdict.hint().unwrap_or_default().to_owned()
}

#[test]
fn a_path_as_long_as_a_target_may_be_is_looked_at() {
    let world = World::new(r#"{"rate_limits": [], "max_target_bytes": 100}"#);
    let path = |length: usize| format!("/{}", "x".repeat(length - 1));
    world.expect(&form("").to(&path(100)), "unknown_webhook");
    world.expect(&form("").to(&path(101)), "target_too_long");
}

#[test]
fn a_path_is_compared_with_those_of_webhooks_up_to_512_bytes() {
    let world = World::new("{}");
    let path = |length: usize| format!("/{}/hook", "x".repeat(length - 6));
    assert!(hint(&world, &form("").to(&path(512))).contains("by a prefix"));
    assert_eq!(hint(&world, &form("").to(&path(513))), "");
}

#[test]
fn a_handshake_needs_no_body_and_any_other_request_needs_one() {
    let json = format!(r#"{{"webhooks": [{{"url": "{URL}", "methods": ["GET", "POST"]}}]}}"#);
    let world = World::new(&json);
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
    let world = |methods: &str| {
        World::new(&format!(
            r#"{{"webhooks": [{{"url": "{URL}", "methods": [{methods}]}}]}}"#
        ))
    };
    for (methods, sent, expected) in [
        ("\"POST\"", "GET", "redirect"),
        ("\"PUT\"", "GET", ""),
        ("\"GET\"", "POST", "add POST to methods"),
        ("\"PUT\"", "POST", ""),
        ("\"POST\", \"GET\"", "PUT", ""),
    ] {
        let world = world(methods);
        let request = form("a=1").method(sent);
        world.expect(&request, "method_not_allowed");
        let hint = hint(&world, &request);
        assert!(hint.contains(expected), "{sent} at {methods}: {hint}");
        assert_eq!(hint.is_empty(), expected.is_empty(), "{sent} at {methods}");
    }
}

#[test]
fn what_is_wrong_with_a_signature_header_is_said_only_where_it_is_known() {
    let world = World::new(r#"{"rate_limits": []}"#);
    let hex = "0123456789abcdef0123456789ABCDEF01234567";
    let signature = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
    for (value, expected) in [
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
        (signature.replace('=', ""), ""),
    ] {
        let request = form("a=1").with("x-twilio-signature", &value);
        world.expect(&request, "malformed_signature");
        let hint = hint(&world, &request);
        assert!(hint.contains(expected), "{value}: {hint}");
        assert_eq!(hint.is_empty(), expected.is_empty(), "{value}: {hint}");
    }
    let twice = form("a=1").and("x-twilio-signature", signature);
    assert!(hint(&world, &twice).contains("there twice"));
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
        let hint = hint(&world, &unsigned.clone().with("user-agent", agent));
        assert!(hint.starts_with(expected), "{agent}: {hint}");
    }
}

#[test]
fn a_stale_timestamp_is_explained_by_its_age_in_the_header_and_in_a_parameter() {
    let world = World::new(r#"{"rate_limits": []}"#);
    let seconds = NOW.0 / 1_000;
    let in_header = form("a=1").with("x-twilio-request-timestamp", &(seconds - 301).to_string());
    let in_parameter = form(&format!("Timestamp={}", seconds - 3_600));
    for (request, age) in [(in_header, "301"), (in_parameter, "3600")] {
        world.expect(&request, "stale_timestamp");
        let hint = hint(&world, &request);
        assert!(hint.contains(age), "{hint}");
    }
    // What lies ahead has no age.
    let ahead = form(&format!("Timestamp={}", seconds + 31));
    world.expect(&ahead, "future_timestamp");
    assert_eq!(hint(&world, &ahead), "");
}

#[test]
fn a_moved_boundary_and_a_wrong_signature_are_explained() {
    let world = World::new("{}");
    let sid = "SM0123456789abcdef0123456789abcdef";
    let moved = form(&format!("Body=MessageSid{sid}"));
    world.expect(&moved, "malformed_body");
    assert!(hint(&world, &moved).contains("somebody has cut"));
    let forged = form("a=1").signed("other", URL, "a=1");
    world.expect(&forged, "invalid_signature");
    assert_ne!(world.hint(&forged), "");
}

#[test]
fn a_filter_with_another_capacity_rejects_what_one_before_it_has_accepted() {
    let memory = Rc::new(MemoryMap::new());
    let world = |capacity: usize| {
        let json = format!(r#"{{"replay": {{"capacity": {capacity}}}, "rate_limits": []}}"#);
        let shared: Rc<dyn CasMap> = Rc::clone(&memory) as _;
        let filter = Filter::new(settings(&json), shared, [7; 16]);
        World::with_filter(&memory, filter.expect("memory"))
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
    let sent = |number: u32, seconds: u64| {
        let request = form(&format!("a={number}"));
        world.verdict(&request.at(after(seconds)))
    };
    let first = [sent(1, 0), sent(2, 0), sent(3, 0)];
    assert_eq!(first, ["accepted", "accepted", "rate_limited"]);
    assert_eq!([sent(3, 2), sent(4, 2)], ["accepted", "rate_limited"]);
}
