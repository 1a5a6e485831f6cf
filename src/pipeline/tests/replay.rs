//! What is a repeat, for how long, and what becomes of it.

use super::*;
use crate::reason::Reason;
use crate::tests::assert_says;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn a_signed_message_is_accepted_once() {
    let world = World::new("{}");
    let request = form("Body=2+tacos&AccountSid=AC00000000000000000000000000000001");
    let verdict = world.send(&request);
    assert_eq!(account(&verdict), Some(SID));
    world.settle(&verdict, UpstreamOutcome::Processed);
    for seconds in [0, 1, 300, 86_399] {
        world.expect(&request.clone().at(after(seconds)), "duplicate");
    }
}

#[test]
fn respellings_of_an_accepted_request_are_repeats() {
    let world = World::new(r#"{"rate_limits": [], "form": "lenient"}"#);
    let original = form("A=1+2&B=x&From=%2B1&ToCity=");
    world.expect_processed(&original);
    let bodies = "B=x&A=1+2&From=%2B1&ToCity= A=1%202&B=x&From=%2B1&ToCity= \
        %41=1+2&B=x&From=%2B1&ToCity A=1+2&A=1+2&B=x&From=%2B1&ToCity= A=1+2&Bx=&From=%2B1&ToCity=";
    for respelled in bodies.split(' ') {
        world.expect(&original.clone().body(respelled), "duplicate");
    }
    for header in ["i-twilio-idempotency-token", "x-twilio-request-timestamp"] {
        let changed = original.clone().with(header, "1800000000");
        world.expect(&changed, "duplicate");
    }
    let url = "https://orders.example.com:443/hook";
    let with_port = original.signed("token", url, "A=1+2&B=x&From=%2B1&ToCity=");
    // Another MAC is another request.
    world.expect(&with_port, "accepted");
}

#[test]
fn a_timestamp_hidden_in_its_neighbour_opens_nothing() {
    let world = World::new(r#"{"rate_limits": []}"#);
    let original = form("Body=hi&Timestamp=1800000000&Zone=x");
    world.expect_processed(&original);
    let hidden = original.body("Body=hiTimestamp1800000000&Zone=x");
    for seconds in [1, 400, 80_000] {
        world.expect(&hidden.clone().at(after(seconds)), "duplicate");
    }
}

#[test]
fn a_released_request_passes_again() {
    let world = World::new("{}");
    let request = form("a=1");
    for answer in [
        UpstreamOutcome::Failed,
        UpstreamOutcome::Failed,
        UpstreamOutcome::ClientGone,
        UpstreamOutcome::Processed,
    ] {
        let verdict = world.send(&request);
        assert_eq!(verdict.outcome.name(), "accepted");
        // While it is on its way.
        world.expect(&request, "duplicate");
        world.settle(&verdict, answer);
    }
    world.expect(&request, "duplicate");
}

#[test]
fn an_acknowledged_repeat_is_not_passed_on() {
    let world = World::new(ACKNOWLEDGING);
    world.expect_processed(&form("a=1"));
    for seconds in [0, 1, 80_000] {
        let rejection = rejection(&world, &form("a=1").at(after(seconds)));
        assert!(rejection.acknowledge && rejection.reason == Reason::Duplicate);
        assert_eq!(rejection.retry_after, None);
    }
}

const ACKNOWLEDGING: &str = r#"{"rate_limits": [], "replay": {"on_duplicate": "acknowledge"}}"#;

/// Once it was acknowledged, then the first failed, and nobody sent it again.
#[test]
fn a_repeat_is_not_acknowledged_while_the_first_is_undecided() {
    let world = World::new(ACKNOWLEDGING);
    let request = form("a=1");
    for (answer, then) in [
        (UpstreamOutcome::Failed, "accepted"),
        (UpstreamOutcome::ClientGone, "accepted"),
        (UpstreamOutcome::Processed, "duplicate"),
    ] {
        let first = world.send(&request);
        assert_eq!(first.outcome.name(), "accepted");
        for _ in 0..3 {
            let rejection = rejection(&world, &request);
            assert_eq!(rejection.reason, Reason::Duplicate);
            assert!(!rejection.acknowledge, "nobody knows that yet");
            assert_eq!(rejection.retry_after, Some(Millis::seconds(1)));
            assert!(!rejection.is_counted(), "the sender does nothing wrong");
        }
        world.settle(&first, answer);
        if then == "duplicate" {
            assert!(rejection(&world, &request).acknowledge);
        }
    }
}

#[test]
fn what_its_senders_left_too_often_is_not_acknowledged_either() {
    let world = World::new(ACKNOWLEDGING);
    for _ in 0..4 {
        let verdict = world.send(&form("a=1"));
        world.settle(&verdict, UpstreamOutcome::ClientGone);
    }
    let rejection = rejection(&world, &form("a=1"));
    assert_eq!(rejection.reason, Reason::Duplicate);
    assert!(!rejection.acknowledge && rejection.retry_after.is_none());
}

#[test]
fn where_repeats_are_rejected_nothing_is_written_for_the_answer_and_no_retry_is_asked_for() {
    let world = World::new(r#"{"rate_limits": []}"#);
    let first = world.send(&form("a=1"));
    let before = world.memory.writes();
    let rejection = rejection(&world, &form("a=1"));
    assert!(!rejection.acknowledge && rejection.retry_after.is_none());
    world.settle(&first, UpstreamOutcome::Processed);
    assert_eq!(world.memory.writes(), before);
}

/// All calls have one handshake.
#[test]
fn a_handshake_claims_no_nonce_unless_that_is_asked_for() {
    let configured = |replay: &str, limits: &str| {
        World::new(&format!(
            r#"{{"replay": {{{replay}}}, "rate_limits": [{limits}],
                "webhooks": [{{"url": "https://orders.example.com/hook", "methods": ["GET", "POST"]}}]}}"#
        ))
    };
    let handshake = handshake("wss://orders.example.com/hook", "");
    let world = configured("", "");
    for _ in 0..5 {
        let verdict = world.send(&handshake);
        let Outcome::Accepted(accepted) = &verdict.outcome else {
            panic!("{verdict:?}");
        };
        assert!(accepted.claim.is_none(), "there is nothing to settle");
        assert_eq!(verdict.record.nonce, Some(accepted.nonce));
    }
    let claims = |name: &String| name.contains("nonces");
    assert!(!world.memory.key_names().iter().any(claims));
    // What is no handshake is claimed as ever.
    world.expect(&form("a=1"), "accepted");
    world.expect(&form("a=1"), "duplicate");

    let world = configured(r#""handshakes": true"#, "");
    world.expect(&handshake, "accepted");
    world.expect(&handshake, "duplicate");

    // It is counted all the same.
    for key in ["account", "client_ip"] {
        let limit = format!(
            r#"{{"key": "{key}", "count": "authenticated", "requests": 2, "window": "60s"}}"#
        );
        let world = configured("", &limit);
        world.expect_times(2, &handshake, "accepted");
        world.expect(&handshake, "rate_limited");
        world.expect(&handshake.clone().at(after(61)), "accepted");
    }
}

/// A captured message is no handshake, whatever headers it gets.
#[test]
fn a_repeat_in_the_guise_of_a_handshake_is_not_accepted() {
    let world = taking(&["GET", "POST"]);
    // A handshake is a GET, signed as `wss`.
    for (method, rejected) in [("GET", "invalid_signature"), ("POST", "duplicate")] {
        let captured = form("").method(method).without("content-type");
        let first = world.verdict(&captured);
        assert!(["accepted", "duplicate"].contains(&first));
        world.expect(&captured.upgraded(), rejected);
    }
}

/// A nonce outlasts its timestamp.
#[test]
fn there_is_no_moment_at_which_a_fresh_timestamp_is_accepted_again() {
    for replay in [
        r#"{"window": "1s", "keep": "0s"}"#,
        r#"{"window": "100s", "keep": "0s"}"#,
        r#"{"window": "100s", "keep": "0s", "on_duplicate": "acknowledge"}"#,
    ] {
        // From as far ahead as may be, and with an older one beside it, in either order.
        for body in [
            "Timestamp=1800000030",
            "Timestamp=1800000030&Timestamp=1799999990",
            "Timestamp=1800000000&Timestamp=1800000030",
        ] {
            let world = World::new(&format!(r#"{{"rate_limits": [], "replay": {replay}}}"#));
            world.expect_processed(&form(body));
            for seconds in [1, 2, 101, 200, 329, 330, 331] {
                let verdict = world.verdict(&form(body).at(after(seconds)));
                let rejected = ["duplicate", "stale_timestamp"].contains(&verdict);
                assert!(rejected, "{replay} {body} {seconds}: {verdict}");
            }
        }
        let world = World::new(&format!(r#"{{"rate_limits": [], "replay": {replay}}}"#));
        world.expect_processed(&form("Timestamp=1800000030"));
        let last = form("Timestamp=1800000030").at(after(330));
        world.expect(&last, "duplicate");
    }
}

/// What stays a duplicate says since when, and what can be done about it.
#[test]
fn the_hint_on_a_duplicate_says_how_old_the_first_is_and_what_to_set() {
    let limit = r#", "rate_limits": [
        {"key": "account", "count": "authenticated", "requests": 99, "window": "60s"}]"#;
    for limits in [r#", "rate_limits": []"#, limit] {
        let hint = |world: &World, seconds: u64, words: &str| {
            world.expect_hint(&form("a=1").at(after(seconds)), "duplicate", words)
        };
        let world = World::new(&format!(r#"{{"mode": "enforce" {limits}}}"#));
        world.expect(&form("a=1"), "accepted");
        for (seconds, said) in [
            (0, "accepted 0 s ago"),
            (12, "accepted 12 s ago"),
            (119, "accepted 119 s ago"),
            (120, "accepted 2 minutes ago"),
            (7199, "accepted 119 minutes ago"),
            (7200, "accepted 2 hours ago"),
            (86_399, "accepted 23 hours ago"),
        ] {
            assert_says(&hint(&world, seconds, said), "set replay: \"off\"");
        }
        let world = World::new(&format!(
            r#"{{"replay": {{"on_duplicate": "acknowledge"}} {limits}}}"#
        ));
        let first = world.send(&form("a=1"));
        hint(&world, 3, "still on its way");
        world.settle(&first, UpstreamOutcome::Processed);
        hint(&world, 12, "accepted 12 s ago");
    }
}

#[test]
fn with_replay_off_repeats_pass_and_still_have_a_nonce() {
    let world = World::new(r#"{"replay": "off"}"#);
    let mut nonces = (0..2).map(|_| world.send(&form("a=1")).record.nonce);
    let first = nonces.next().flatten();
    assert!(first.is_some() && first == nonces.next().flatten());
}

#[test]
fn forged_requests_take_no_room_and_burn_no_nonce() {
    let world = World::new(r#"{"rate_limits": [], "replay": {"capacity": 2}}"#);
    let before = world.memory.keys();
    for number in 0..100 {
        let body = format!("a={number}");
        let forged = form(&body).signed("wrong", URL, &body);
        world.expect(&forged, "invalid_signature");
    }
    assert_eq!(world.memory.keys(), before);
    world.expect(&form("a=1"), "accepted");
    world.expect(&form("a=2"), "accepted");
    world.expect(&form("a=3"), "store_full");
}

#[test]
fn webhooks_with_windows_of_their_own_do_not_forget_each_others_requests() {
    let world = World::new(
        r#"{"rate_limits": [], "replay": {"capacity": 4, "window": "600s"},
            "webhooks": [{"url": "https://orders.example.com/hook"},
                         {"url": "https://orders.example.com/short", "replay": {"window": "1s"}}]}"#,
    );
    for number in 0..4 {
        world.expect_processed(&form(&format!("x={number}")));
    }
    world.expect(&form("x=4"), "store_full");
    for number in 0..4 {
        let body = format!("x={number}");
        let short = form(&body).to("/short").at(after(2 * number + 2));
        let short = short.signed("token", "https://orders.example.com/short", &body);
        world.expect(&short, "store_full");
        world.expect(&form(&body).at(after(2 * number + 2)), "duplicate");
    }
}
