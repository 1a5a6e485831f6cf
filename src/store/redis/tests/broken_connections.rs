//! Calls whose connections break, and that are made once more.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Every way in which a broken connection looks: before an answer's headers, and after them.
const BROKEN: [Failure; 2] = [Failure::Status(503), Failure::NoAnswer];

/// Sends a request whose calls are answered so, one after the other, and says how it ended and
/// what was asked.
fn send_calls(
    world: &Redis,
    request: &Request,
    answers: &[Result<ScriptReply, Failure>],
) -> (&'static str, Vec<Vec<String>>) {
    let mut asked = Vec::new();
    let verdict = world.world.send_answering(request, &mut |call| {
        let words = words(call);
        asked.push(words.clone());
        let reply = answers.get(asked.len() - 1).expect("no more calls");
        answer(&words, *reply)
    });
    assert_eq!(asked.len(), answers.len(), "calls");
    (verdict.outcome.name(), asked)
}

#[test]
fn a_claim_whose_connection_broke_is_asked_for_once_more_under_the_same_number() {
    for failure in BROKEN {
        for (own, outcome) in [(CLAIMED, "accepted"), (KEPT, "duplicate")] {
            let world = world("reject", NO_LIMITS);
            let (ended, asked) = send_calls(&world, &form("a=1"), &[Err(failure), Ok(own)]);
            assert_eq!(ended, outcome);
            assert_eq!(asked[0], asked[1]);
            let report = world.report();
            assert_eq!((report.calls_retried, report.call_failures), (1, 0));
        }
    }
}

#[test]
fn a_redis_that_is_dead_costs_two_calls_and_one_failure() {
    for failure in BROKEN {
        let world = world("reject", NO_LIMITS);
        let (ended, _) = send_calls(&world, &form("a=1"), &[Err(failure), Err(failure)]);
        assert_eq!(ended, "store_unavailable");
        let report = world.report();
        assert_eq!((report.calls_retried, report.call_failures), (1, 1));
        assert_eq!(told(&world), [UpstreamOutcome::Failed], "Redis may have it");
    }
}

#[test]
fn other_failures_are_not_asked_again() {
    for failure in [
        Failure::NotSent,
        Failure::Status(500),
        Failure::Status(504),
        Failure::Status(403),
        Failure::Malformed,
    ] {
        let world = world("reject", NO_LIMITS);
        let (ended, _) = send_calls(&world, &form("a=1"), &[Err(failure)]);
        assert_eq!(ended, "store_unavailable", "{failure:?}");
        assert_eq!(world.report().calls_retried, 0);
    }
}

#[test]
fn what_would_count_twice_is_not_asked_again() {
    let limits_only = world(
        "reject",
        r#", "replay": "off", "rate_limits": [{"key": "client_ip", "requests": 9, "window": "5s"}]"#,
    );
    for failure in BROKEN {
        let (ended, _) = send_calls(&limits_only, &form("a=1"), &[Err(failure)]);
        assert_eq!(ended, "store_unavailable");
    }
}

/// Goes on with a call that broke after so many of the timeout's 500 milliseconds.
fn broken_after(call: StoreCall, millis: u64) -> Progress {
    let reply = answer(&words(&call.http), Err(Failure::Status(503)));
    call.pending.resume(reply, NOW.after(Millis(millis)))
}

#[test]
fn late_in_its_time_nothing_is_asked_again() {
    let world = world("reject", NO_LIMITS);
    let timeout = world.shared.settings.timeout;
    for (millis, is_asked_again) in [(timeout.0 / 2 - 1, true), (timeout.0 / 2, false)] {
        match broken_after(claim_of(&world, millis), millis) {
            Progress::Call(again) => {
                assert!(is_asked_again, "{millis}");
                assert_eq!(again.http.timeout, Millis(timeout.0 - millis));
                again.pending.abandon(NOW);
            }
            _ => assert!(!is_asked_again, "{millis}"),
        }
    }
}

#[test]
fn a_release_is_asked_for_once_more_and_a_flush_is_not() {
    let world = world("reject", NO_LIMITS);
    let request = form("a=1");
    let verdict = send(&world, &request, &[Ok(CLAIMED)]).0;
    let Outcome::Accepted(accepted) = &verdict.outcome else {
        panic!("not accepted");
    };
    let claim = accepted.claim.expect("a claim");
    let store = world.world.filter.store();
    let call = store.settle(0, &claim, UpstreamOutcome::Failed, NOW);
    let Progress::Call(again) = broken_after(call.expect("a release"), 1) else {
        panic!("not asked again");
    };
    assert!(matches!(broken_after(again, 2), Progress::Done(_)));
    assert_eq!(world.report().calls_retried, 1);
    // It is queued then.
    let flush = store.flush(NOW).expect("a flush");
    assert!(matches!(broken_after(flush, 1), Progress::Done(_)));
    assert_eq!(world.report().calls_retried, 0);
    assert_eq!(
        told(&world),
        [UpstreamOutcome::Failed],
        "it is still queued"
    );
}
