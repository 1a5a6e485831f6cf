//! Limits that count every request, which Redis answers with the question at its end.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Each way in which a request is rejected without a question, and its reason.
fn rejections() -> Vec<(Request, &'static str)> {
    let forged = form("a=1").signed("wrong", "https://orders.example.com/hook", "a=1");
    let stale = form("a=1").with("x-twilio-request-timestamp", "1");
    let unsigned = form("a=1").with("content-type", "text/plain");
    vec![
        (
            form("a=1").without("x-twilio-signature"),
            "missing_signature",
        ),
        (
            form("a=1").with("x-twilio-signature", "x"),
            "malformed_signature",
        ),
        (stale, "stale_timestamp"),
        (form(&"a".repeat(70_000)), "body_too_large"),
        (unsigned, "unsigned_body"),
        (form("a=1&&"), "malformed_body"),
        (forged, "invalid_signature"),
        (form("AccountSid=ACother"), "account_mismatch"),
        (form("Timestamp=1"), "stale_timestamp"),
    ]
}

#[test]
fn a_rejection_that_is_found_here_asks_once_and_an_early_limit_is_the_answer() {
    let question = (2, 1, 2, false);
    for (request, name) in rejections() {
        let passing = world("reject", BOTH);
        let ended = put_by(&passing, &request, ScriptReply::Passed);
        assert_eq!(ended, (name, vec![question]));
        for which in 0..3 {
            let limited = world("reject", BOTH);
            let reply = ScriptReply::Limited {
                which,
                wait: Millis(5000),
            };
            let ended = put_by(&limited, &request, reply);
            assert_eq!(ended, ("rate_limited", vec![question]), "{name}");
            assert_eq!(told(&limited), []);
        }
        // With a limit on all requests alone, that is what is asked.
        let passing = world("reject", "");
        let ended = put_by(&passing, &request, ScriptReply::Passed);
        assert_eq!(ended, (name, vec![(1, 0, 1, false)]));
    }
    // What is rejected before any limit is asked about nobody but those of rejections, which
    // do not count it.
    let put = form("a=1").method("PUT");
    let ended = put_by(&world("reject", BOTH), &put, ScriptReply::Passed);
    assert_eq!(ended, ("method_not_allowed", vec![]));
}

#[test]
fn what_no_limit_of_rejections_counts_is_counted_by_early_ones() {
    // Nobody has configured a key.
    let memory = Rc::new(MemoryMap::new());
    let json = br#"{"webhooks": [{"url": "https://orders.example.com/hook"}],
        "store": {"type": "redis", "cluster": "c", "api": "webdis"}}"#;
    let environment = |_: &str| None;
    let settings = crate::config::load::load(json, &environment).expect("settings");
    let filter = Filter::new(settings, Rc::clone(&memory) as _, [7; 16]).expect("memory");
    let unkeyed = World::with_filter(&memory, filter);
    let mut asked = 0;
    let verdict = unkeyed.send_answering(&form("a=1"), &mut |call| {
        asked += 1;
        answer(&words(call), Ok(ScriptReply::Passed))
    });
    assert_eq!((verdict.outcome.name(), asked), ("not_configured", 1));

    // A failure inside, between headers and body.
    let world = world("reject", BOTH);
    let Step::AwaitBody(awaiting) = world.world.send_headers(&form("a=1")) else {
        panic!("not deferred");
    };
    let step = world.world.filter.on_internal_error(awaiting, NOW);
    let Step::AwaitStore(_, call) = step else {
        panic!("not asked");
    };
    assert_eq!(put(&words(&call)), (2, 0, 1, false));
}

#[test]
fn a_repeat_that_is_known_here_asks_once_for_early_limits_and_those_of_rejections() {
    let world = world("reject", BOTH);
    let request = form("a=1");
    let first = put_by(&world, &request, CLAIMED);
    assert_eq!(first, ("accepted", vec![(2, 0, 1, true)]));
    let repeat = (2, 1, 2, false);
    let known = put_by(&world, &request, ScriptReply::Passed);
    assert_eq!(known, ("duplicate", vec![repeat]));
    let limited = put_by(&world, &request, LIMITED);
    assert_eq!(limited, ("rate_limited", vec![repeat]));
    assert_eq!(put_by(&world, &request, LIMITED), ("rate_limited", vec![]));
    let later = request.at(after(6));
    let known = put_by(&world, &later, ScriptReply::Passed);
    assert_eq!(known, ("duplicate", vec![repeat]), "it is still known");
}

#[test]
fn a_retry_that_may_have_been_lost_is_counted_by_early_limits_alone() {
    let acknowledging = format!(r#"{BOTH}, "replay": {{"on_duplicate": "acknowledge"}}"#);
    let world = world("reject", &acknowledging);
    let request = form("a=1");
    let first = send(&world, &request, &[Ok(CLAIMED)]).0;
    for outcome in [None, Some(UpstreamOutcome::Processed)] {
        if let Some(outcome) = outcome {
            world.settle(&first, outcome);
        }
        let repeat = put_by(&world, &request, ScriptReply::Passed);
        assert_eq!(repeat, ("duplicate", vec![(2, 0, 1, false)]));
    }
}

#[test]
fn a_repeat_that_redis_alone_knew_has_been_counted_by_early_limits_already() {
    let world = world("reject", BOTH);
    let mut questions = Vec::new();
    let verdict = world.send_with(&form("a=1"), &mut |words| {
        let question = put(words);
        questions.push(question);
        Ok(if question.3 {
            KEPT
        } else {
            ScriptReply::Passed
        })
    });
    assert_eq!(verdict.outcome.name(), "duplicate");
    assert_eq!(questions, [(2, 0, 1, true), (0, 1, 1, false)]);
}

#[test]
fn a_request_that_an_early_limit_rejects_leaves_no_claim_here() {
    let world = world("reject", BOTH);
    assert_eq!(ended(&world, &form("a=1"), &[Ok(LIMITED)]), "rate_limited");
    assert_eq!(world.report().nonces, 0);
    assert_eq!(told(&world), [], "Redis has no claim either");
    let later = form("a=1").at(after(6));
    assert_eq!(ended(&world, &later, &[Ok(CLAIMED)]), "accepted");
}

#[test]
fn who_is_known_to_be_over_an_early_limit_is_rejected_at_the_headers() {
    let world = world("reject", "");
    assert_eq!(ended(&world, &form("a=1"), &[Ok(LIMITED)]), "rate_limited");
    let Step::Decided(verdict) = world.world.send_headers(&form("a=2")) else {
        panic!("the body is awaited");
    };
    assert_eq!(verdict.outcome.name(), "rate_limited");
    // One of two requests under way may learn it from the other.
    let other = form("a=2").from("192.0.2.2:1");
    let Step::AwaitBody(awaiting) = world.world.send_headers(&other) else {
        panic!("not deferred");
    };
    let limited = ended(&world, &form("a=3").from("192.0.2.2:1"), &[Ok(LIMITED)]);
    assert_eq!(limited, "rate_limited");
    let step = world.world.filter.on_body(awaiting, b"a=2", 5000, NOW);
    let Step::Decided(verdict) = step else {
        panic!("it is asked");
    };
    assert_eq!(verdict.outcome.name(), "rate_limited");
    assert_eq!(world.report().nonces, 0, "and nothing was claimed");
}

/// Who may not pass in any case is still counted by the limits that count every request.
#[test]
fn a_limit_that_is_known_to_be_used_up_does_not_keep_early_ones_from_counting() {
    let late = r#"{"key": "account", "count": "authenticated", "requests": 9, "window": "5s"}"#;
    let early = r#"{"key": "client_ip", "requests": 9, "window": "5s"}"#;
    let both = world("reject", &format!(r#", "rate_limits": [{early}, {late}]"#));
    for body in ["a=1", "a=2"] {
        let limited = put_by(&both, &form(body), SECOND_LIMITED);
        assert_eq!(limited, ("rate_limited", vec![(1, 1, 2, true)]));
        assert_eq!(both.report().nonces, 0);
    }
    let alone = world("reject", &format!(r#", "rate_limits": [{late}]"#));
    let limited = put_by(&alone, &form("a=1"), LIMITED);
    assert_eq!(limited, ("rate_limited", vec![(0, 1, 1, true)]));
    let known = put_by(&alone, &form("a=2"), LIMITED);
    assert_eq!(known, ("rate_limited", vec![]));
    assert_eq!(alone.report().nonces, 0);
}
