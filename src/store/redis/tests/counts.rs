//! What the metrics say of the store: each thing once, and what has happened.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Limits on all requests, on what is signed, and on rejections.
const ALL_KINDS: &str = r#", "rate_limits": [
    {"key": "client_ip", "requests": 9, "window": "5s"},
    {"key": "account", "count": "authenticated", "requests": 9, "window": "5s"},
    {"key": "client_ip", "count": "rejected", "requests": 9, "window": "5s"}]"#;

#[test]
fn a_request_that_is_decided_here_counts_once_as_that() {
    let world = world("local", ALL_KINDS);
    for _ in 0..3 {
        world.shared.record_failure(Failure::NoAnswer, NOW);
    }
    assert_eq!(ended(&world, &form("a=1"), &[]), "accepted");
    assert_eq!(world.report().fallbacks, 1);
    let forged = form("a=1").signed("wrong", "https://orders.example.com/hook", "a=1");
    assert_eq!(ended(&world, &forged, &[]), "invalid_signature");
    assert_eq!(world.report().fallbacks, 0, "nobody would accept it");
}

#[test]
fn what_redis_alone_has_claimed_counts_as_released_when_it_is() {
    let world = world(
        "reject",
        r#", "rate_limits": [], "replay": {"capacity": 1}"#,
    );
    let claims = ["a=1", "a=2", "a=3"].map(|body| {
        match send(&world, &form(body), &[Ok(CLAIMED)]).0.outcome {
            Outcome::Accepted(accepted) => accepted.claim.expect("a claim"),
            outcome => panic!("not accepted: {outcome:?}"),
        }
    });
    let released = |claim: usize, outcome| {
        let store = world.world.filter.store();
        let call = store.settle(0, &claims[claim], outcome, NOW);
        if let Some(call) = call {
            let reply = answer(&words(&call.http), Ok(ScriptReply::Settled));
            let _ = call.pending.resume(reply, NOW);
        }
        world.report().released
    };
    assert_eq!(released(1, UpstreamOutcome::ClientGone), 1, "not here");
    assert_eq!(released(2, UpstreamOutcome::Processed), 0);
    assert_eq!(released(0, UpstreamOutcome::Failed), 1);
}
