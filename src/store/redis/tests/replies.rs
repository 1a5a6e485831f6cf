//! What each reply of Redis does to a request.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const REPLIES: [ScriptReply; 10] = [
    ScriptReply::Passed,
    CLAIMED,
    LIMITED,
    ScriptReply::Limited {
        which: 7,
        wait: Millis(5000),
    },
    KEPT,
    ScriptReply::Pending,
    NEVER_ANSWERED,
    ScriptReply::Full,
    ScriptReply::Void,
    ScriptReply::Settled,
];

#[test]
fn a_message_asks_once_at_its_end() {
    let world = world("reject", "");
    let (verdict, asked) = send(&world, &form("a=1"), &[Ok(CLAIMED)]);
    assert_eq!((verdict.outcome.name(), asked), ("accepted", 1));
    assert_eq!(world.report().fallbacks, 0);
    world.settle(&verdict, UpstreamOutcome::Processed);
    assert_eq!(told(&world), [UpstreamOutcome::Processed]);
}

#[test]
fn only_the_answer_that_fits_lets_a_request_through() {
    for reply in REPLIES {
        for limits in ["", NO_LIMITS] {
            let with_claim = world("reject", limits);
            let verdict = with_claim.send_with(&form("a=1"), &mut |_| Ok(reply));
            let passes = verdict.outcome.name() == "accepted";
            assert_eq!(passes, reply == CLAIMED, "{reply:?}, {limits}");
            // What does not fit leaves in doubt what Redis has.
            let is_in_doubt = verdict.outcome.name() == "store_unavailable";
            let expected: &[_] = if is_in_doubt {
                &[UpstreamOutcome::Failed]
            } else {
                &[]
            };
            assert_eq!(told(&with_claim), expected, "{reply:?}, {limits}");
        }
        for count in ["authenticated", "all"] {
            let without_replay = format!(
                r#", "replay": "off", "rate_limits": [
                    {{"key": "client_ip", "count": "{count}", "requests": 1, "window": "1s"}}]"#
            );
            let limits_only = world("reject", &without_replay);
            let verdict = limits_only.send_with(&form("a=1"), &mut |_| Ok(reply));
            let passes = verdict.outcome.name() == "accepted";
            assert_eq!(passes, reply == ScriptReply::Passed, "{reply:?}, {count}");
        }
    }
}

/// The question whose answer went to somebody else is asked again, under the same number, until its own comes.
#[test]
fn an_answer_to_another_question_lets_nothing_through_and_its_own_still_counts() {
    for (own, outcome) in [(CLAIMED, "accepted"), (KEPT, "duplicate")] {
        for strangers in 0..=2 {
            let world = world("reject", NO_LIMITS);
            let mut asked = Vec::new();
            let verdict = world.world.send_answering(&form("a=1"), &mut |call| {
                let words = words(call);
                let is_own = asked.len() == strangers;
                asked.push(words.clone());
                answer(
                    &words,
                    if is_own {
                        Ok(own)
                    } else {
                        Err(Failure::Misdelivered)
                    },
                )
            });
            assert_eq!(verdict.outcome.name(), outcome);
            assert!(asked.iter().all(|words| *words == asked[0]), "{asked:?}");
            assert_eq!(asked.len(), strangers + 1);
            let report = world.report();
            assert_eq!(report.calls_misdelivered, strangers as u64);
            assert_eq!(report.call_failures, 0, "Redis is not dead");
        }
    }
}

/// All calls have one handshake.
#[test]
fn a_handshake_asks_redis_for_no_claim() {
    let fields = |replay: &str| {
        format!(
            r#", "rate_limits": [{{"key": "account", "count": "authenticated", "requests": 9, "window": "5s"}}],
               "replay": {{{replay}}},
               "webhooks": [{{"url": "https://orders.example.com/hook", "methods": ["GET"]}}]"#
        )
    };
    let handshake = form("")
        .method("GET")
        .without("content-type")
        .signed("token", "wss://orders.example.com/hook", "")
        .with("connection", "Upgrade")
        .with("upgrade", "websocket");
    let unclaimed = world("reject", &fields(""));
    for _ in 0..3 {
        let (verdict, _) = send(&unclaimed, &handshake, &[Ok(ScriptReply::Passed)]);
        assert_eq!(verdict.outcome.name(), "accepted");
    }
    let claimed = world("reject", &fields(r#""handshakes": true"#));
    assert_eq!(ended(&claimed, &handshake, &[Ok(CLAIMED)]), "accepted");
    assert_eq!(ended(&claimed, &handshake, &[]), "duplicate");
}

#[test]
fn what_redis_evicted_is_counted() {
    let world = world("reject", NO_LIMITS);
    let reply = ScriptReply::Claimed {
        evicted: 3,
        evicted_age: Millis(7000),
    };
    let (verdict, _) = send(&world, &form("a=1"), &[Ok(reply)]);
    assert_eq!(verdict.outcome.name(), "accepted");
    let report = world.report();
    assert_eq!((report.evicted, report.evicted_age), (3, Millis(7000)));
}
