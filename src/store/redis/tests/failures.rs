//! What happens to requests while Redis cannot be asked, or does not answer as it should.

use super::*;
use crate::store::redis::circuit_breaker::BETWEEN_TRIES;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const FAILURES: [Failure; 6] = [
    Failure::NotSent,
    Failure::NoAnswer,
    Failure::Status(403),
    Failure::Malformed,
    Failure::Misdelivered,
    Failure::UnknownScript,
];

#[test]
fn no_failure_lets_a_request_through_where_none_is_to_be_accepted_on_a_doubt() {
    for (limits, failure) in ["", NO_LIMITS]
        .into_iter()
        .flat_map(|limits| FAILURES.map(|failure| (limits, failure)))
    {
        let world = world("reject", limits);
        assert_eq!(
            ended(&world, &form("a=1"), &[Err(failure)]),
            "store_unavailable",
            "{failure:?}"
        );
        // Redis may have the claim, or get it yet; without this the retry would be rejected.
        // (A script that is not known is asked for twice, and each answer could be another's.)
        let may_have_run = failure.may_have_run() || failure == Failure::UnknownScript;
        let expected: &[UpstreamOutcome] = if may_have_run {
            &[UpstreamOutcome::Failed]
        } else {
            &[]
        };
        assert_eq!(told(&world), expected, "{failure:?}");
        // The retry finds no claim here, either.
        assert_eq!(ended(&world, &form("a=1"), &[Ok(CLAIMED)]), "accepted");
    }
}

#[test]
fn where_shared_data_is_to_decide_it_does_and_redis_is_told_later() {
    for failure in FAILURES {
        let world = world(
            "local",
            r#", "rate_limits": [
            {"key": "client_ip", "requests": 2, "window": "60s"}]"#,
        );
        let request = form("a=1");
        let (verdict, _) = send(&world, &request, &[Err(failure), Err(failure)]);
        assert_eq!(verdict.outcome.name(), "accepted", "{failure:?}");
        assert!(world.report().fallbacks > 0);
        world.settle(&verdict, UpstreamOutcome::Processed);
        assert_eq!(told(&world), [UpstreamOutcome::Processed], "{failure:?}");
        world.shared.record_success();
        let repeat = ended(&world, &request, &[Err(failure)]);
        assert_eq!(repeat, "duplicate", "{failure:?}");
        world.shared.record_success();
        let third = ended(&world, &form("a=2"), &[Err(failure)]);
        assert_eq!(
            third, "rate_limited",
            "this Envoy's own counters: {failure:?}"
        );
    }
}

#[test]
fn a_rejection_that_cannot_be_counted_stays_one_unless_a_limit_was_to_be_asked_before() {
    let by_account = r#", "rate_limits": [{"key": "account", "count": "rejected", "requests": 9, "window": "5s"}]"#;
    let other_account = form("AccountSid=ACother");
    for (limits, name) in [(by_account, "account_mismatch"), ("", "store_unavailable")] {
        let rejecting = world("reject", limits);
        for failure in FAILURES {
            rejecting.shared.record_success();
            assert_eq!(ended(&rejecting, &other_account, &[Err(failure)]), name);
        }
        let local = world("local", limits);
        let answers = [Err(Failure::NoAnswer)];
        assert_eq!(ended(&local, &other_account, &answers), "account_mismatch");
    }
}

#[test]
fn while_redis_is_not_asked_early_limits_are_decided_at_the_headers() {
    let limits = r#", "rate_limits": [{"key": "client_ip", "requests": 1, "window": "60s"}]"#;
    for (on_error, second) in [("reject", "store_unavailable"), ("local", "rate_limited")] {
        let world = world(on_error, limits);
        for _ in 0..3 {
            world.shared.record_failure(Failure::NoAnswer, NOW);
        }
        let mut names = Vec::new();
        for body in ["a=1", "a=2"] {
            match world.world.send_headers(&form(body)) {
                Step::Decided(verdict) => names.push(verdict.outcome.name()),
                Step::AwaitBody(_) => names.push("awaits its body"),
                Step::AwaitStore(..) => panic!("it is asked"),
            }
        }
        let first = if on_error == "local" {
            "awaits its body"
        } else {
            second
        };
        assert_eq!(names, [first, second]);
        // The one that looks whether Redis is back asks at its end, for all.
        let due = NOW.after(BETWEEN_TRIES);
        let probe = put_by(&world, &form("a=3").at(due), CLAIMED);
        assert_eq!(probe, ("accepted", vec![(1, 0, 1, true)]));
    }
}

#[test]
fn a_dead_store_is_asked_now_and_then() {
    let world = world("reject", NO_LIMITS);
    let mut asked = 0;
    for number in 0..1000_u64 {
        // Ten seconds in all, and nothing else.
        let now = NOW.after(Millis(number * 10));
        let request = form(&format!("a={number}")).at(now);
        let verdict = world.send_with(&request, &mut |_| {
            asked += 1;
            Err(Failure::NoAnswer)
        });
        assert_eq!(verdict.outcome.name(), "store_unavailable");
    }
    assert!((9..=14).contains(&asked), "{asked}");
    let back = NOW.after(Millis(10_000)).after(BETWEEN_TRIES);
    for body in ["b=1", "b=2"] {
        assert_eq!(
            ended(&world, &form(body).at(back), &[Ok(CLAIMED)]),
            "accepted"
        );
    }
}

#[test]
fn a_table_here_that_is_full_does_not_reject_what_redis_has_room_for() {
    let full = |on_error: &str| {
        let world = world(
            on_error,
            r#", "rate_limits": [], "replay": {"capacity": 1}"#,
        );
        assert_eq!(ended(&world, &form("a=1"), &[Ok(CLAIMED)]), "accepted");
        world
    };
    let world = full("reject");
    let (verdict, _) = send(&world, &form("a=2"), &[Ok(CLAIMED)]);
    assert_eq!(verdict.outcome.name(), "accepted");
    world.settle(&verdict, UpstreamOutcome::Processed);
    // If this Envoy has to decide by itself, it has no room.
    let world = full("local");
    assert_eq!(
        ended(&world, &form("a=2"), &[Err(Failure::NoAnswer)]),
        "store_full"
    );
}
