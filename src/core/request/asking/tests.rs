use super::*;
use crate::core::clock::Span;
use crate::core::redis::circuit::BETWEEN_TRIES;
use crate::core::redis::unsettled::Outcome as Told;
use crate::core::request::state::tests::{NOW, Request, World, after, form};
use crate::core::request::verdict::Verdict;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const CLAIMED: Reply = Reply::Claimed {
    evicted: 0,
    evicted_age: Span(0),
};
const LIMITED: Reply = Reply::Limited {
    which: 0,
    wait: Span(5000),
};
const KEPT: Reply = Reply::Kept {
    left: Span(600_000),
};

const FAILURES: [Failure; 6] = [
    Failure::CircuitOpen,
    Failure::NotSent,
    Failure::NoAnswer,
    Failure::Status(403),
    Failure::Malformed,
    Failure::UnknownScript,
];

const REPLIES: [Reply; 9] = [
    Reply::Passed,
    CLAIMED,
    LIMITED,
    Reply::Limited {
        which: 7,
        wait: Span(5000),
    },
    KEPT,
    Reply::Pending,
    Reply::Full,
    Reply::Void,
    Reply::Settled,
];

/// A filter with Redis, and these fields besides.
fn world(on_error: &str, more: &str) -> World {
    World::new(&format!(
        r#"{{"store": {{"type": "redis", "cluster": "c", "api": "webdis", "on_error": "{on_error}"}} {more}}}"#
    ))
}

const NO_LIMITS: &str = r#", "rate_limits": []"#;

/// Sends a request to which Redis answers like this, question by question, and says how
/// it ended and how many questions there were.
fn send(world: &World, request: &Request, answers: &[Result<Reply, Failure>]) -> (Verdict, usize) {
    let mut asked = 0;
    let verdict = world.send_with(request, &mut |_| {
        asked += 1;
        *answers.get(asked - 1).expect("no more questions than that")
    });
    (verdict, asked)
}

fn ended(world: &World, request: &Request, answers: &[Result<Reply, Failure>]) -> &'static str {
    let (verdict, asked) = send(world, request, answers);
    assert_eq!(asked, answers.len(), "questions");
    verdict.outcome.name()
}

/// What Redis is to be told, and is now taken to know.
fn told(world: &World) -> Vec<Told> {
    let settlements = world.redis().unsettled.send(NOW);
    world.redis().unsettled.arrived();
    settlements
        .iter()
        .map(|settlement| settlement.outcome)
        .collect()
}

#[test]
fn a_message_asks_once_at_its_headers_and_once_at_its_end() {
    let world = world("reject", "");
    let (verdict, asked) = send(&world, &form("a=1"), &[Ok(Reply::Passed), Ok(CLAIMED)]);
    assert_eq!((verdict.outcome.name(), asked), ("accepted", 2));
    assert!(!verdict.facts.decided_here);
    world.settle(&verdict, Answer::Taken);
    assert_eq!(told(&world), [Told::Keep]);
}

#[test]
fn only_the_answer_that_fits_lets_a_request_through() {
    for reply in REPLIES {
        let at_headers = world("reject", "");
        let mut first = true;
        let verdict = at_headers.send_with(&form("a=1"), &mut |_| {
            let answer = if first { reply } else { CLAIMED };
            first = false;
            Ok(answer)
        });
        let passes = verdict.outcome.name() == "accepted";
        assert_eq!(passes, reply == Reply::Passed, "{reply:?} at the headers");

        let at_the_end = world("reject", NO_LIMITS);
        let verdict = at_the_end.send_with(&form("a=1"), &mut |_| Ok(reply));
        let passes = verdict.outcome.name() == "accepted";
        assert_eq!(passes, reply == CLAIMED, "{reply:?} at the end");

        let without_replay = r#", "replay": "off", "rate_limits": [
            {"key": "account", "count": "authenticated", "requests": 1, "window": "1s"}]"#;
        let limits_only = world("reject", without_replay);
        let verdict = limits_only.send_with(&form("a=1"), &mut |_| Ok(reply));
        let passes = verdict.outcome.name() == "accepted";
        assert_eq!(
            passes,
            reply == Reply::Passed,
            "{reply:?} for limits at the end"
        );
    }
}

#[test]
fn no_failure_lets_a_request_through_where_none_is_to_be_accepted_on_a_doubt() {
    for failure in FAILURES {
        let early = world("reject", "");
        assert_eq!(
            ended(&early, &form("a=1"), &[Err(failure)]),
            "store_unavailable",
            "{failure:?}"
        );
        assert_eq!(told(&early), [], "nothing was claimed");

        let late = world("reject", NO_LIMITS);
        assert_eq!(
            ended(&late, &form("a=1"), &[Err(failure)]),
            "store_unavailable",
            "{failure:?}"
        );
        // Redis may have the claim, or get it yet; without this the retry would be refused.
        let expected: &[Told] = if failure.may_have_run() {
            &[Told::Release]
        } else {
            &[]
        };
        assert_eq!(told(&late), expected, "{failure:?}");
        // The retry finds no claim here, either.
        assert_eq!(ended(&late, &form("a=1"), &[Ok(CLAIMED)]), "accepted");
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
        assert!(verdict.facts.decided_here);
        world.settle(&verdict, Answer::Taken);
        assert_eq!(told(&world), [Told::Keep], "{failure:?}");
        world.redis().circuit.succeeded();
        let repeat = ended(&world, &request, &[Err(failure)]);
        assert_eq!(repeat, "duplicate", "{failure:?}");
        world.redis().circuit.succeeded();
        let third = ended(&world, &form("a=2"), &[Err(failure)]);
        assert_eq!(
            third, "rate_limited",
            "this Envoy's own counters: {failure:?}"
        );
    }
}

#[test]
fn a_repeat_that_redis_knows_is_known_here_from_then_on() {
    let world = world("reject", NO_LIMITS);
    let request = form("a=1");
    assert_eq!(ended(&world, &request, &[Ok(KEPT)]), "duplicate");
    assert_eq!(
        ended(&world, &request, &[]),
        "duplicate",
        "without a question"
    );
    let later = request.clone().at(after(599));
    assert_eq!(ended(&world, &later, &[]), "duplicate");
    // No longer than Redis knows it.
    let late = request.at(after(601));
    assert_eq!(ended(&world, &late, &[Ok(CLAIMED)]), "accepted");
    assert_eq!(told(&world), []);
}

#[test]
fn a_request_on_its_way_elsewhere_may_come_here_if_it_fails_there() {
    let world = world("reject", NO_LIMITS);
    assert_eq!(
        ended(&world, &form("a=1"), &[Ok(Reply::Pending)]),
        "duplicate"
    );
    assert_eq!(ended(&world, &form("a=1"), &[Ok(CLAIMED)]), "accepted");
}

#[test]
fn copies_of_a_request_that_is_being_asked_for_are_not_asked_for() {
    let world = world("reject", NO_LIMITS);
    let first = world.send_until_asked(&form("a=1"));
    for _ in 0..5 {
        assert_eq!(ended(&world, &form("a=1"), &[]), "duplicate");
    }
    let Next::Decided(verdict) = first.answered(Ok(CLAIMED), world.around(NOW)) else {
        panic!("not decided");
    };
    assert_eq!(verdict.outcome.name(), "accepted");
}

#[test]
fn a_sender_who_leaves_while_redis_is_asked_blocks_nothing() {
    let world = world("reject", NO_LIMITS);
    let change = world
        .send_until_asked(&form("a=1"))
        .abandon(world.around(NOW));
    assert_eq!(change.entries, 0, "nothing stays in the table");
    assert_eq!(told(&world), [Told::Release]);
    assert_eq!(ended(&world, &form("a=1"), &[Ok(CLAIMED)]), "accepted");
}

#[test]
fn what_is_refused_leaves_no_claim_here() {
    for reply in [LIMITED, Reply::Full] {
        let world = world(
            "reject",
            r#", "rate_limits": [{"key": "account", "count": "authenticated", "requests": 9, "window": "5s"}]"#,
        );
        let (verdict, _) = send(&world, &form("a=1"), &[Ok(reply)]);
        assert_eq!(verdict.facts.change.entries, 0, "{reply:?}");
        assert_eq!(told(&world), [], "Redis has no claim either");
        let again = form("a=1").at(after(6));
        assert_eq!(
            ended(&world, &again, &[Ok(CLAIMED)]),
            "accepted",
            "{reply:?}"
        );
    }
}

#[test]
fn who_is_over_the_limit_is_not_asked_for_until_his_time_has_come() {
    let world = world("reject", "");
    let request = form("a=1");
    let (verdict, _) = send(&world, &request, &[Ok(LIMITED)]);
    let wait = |verdict: &Verdict| match &verdict.outcome {
        crate::core::request::verdict::Outcome::Refused(refusal) => {
            refusal.limited.map(|limited| limited.wait)
        }
        _ => None,
    };
    assert_eq!(wait(&verdict), Some(Span(5000)));
    for _ in 0..100 {
        let (verdict, asked) = send(&world, &request.clone().at(after(4)), &[]);
        assert_eq!((wait(&verdict), asked), (Some(Span(1000)), 0));
    }
    let answers = [Ok(Reply::Passed), Ok(CLAIMED)];
    assert_eq!(ended(&world, &request.at(after(5)), &answers), "accepted");
}

#[test]
fn a_limit_of_refusals_is_asked_for_where_there_is_a_refusal() {
    let world = world(
        "reject",
        r#", "rate_limits": [{"key": "client_ip", "count": "rejected", "requests": 1, "window": "5s"}]"#,
    );
    let forged = form("a=1").signed("wrong", "https://orders.example.com/hook", "a=1");
    let passes = [Ok(Reply::Passed), Ok(Reply::Passed)];
    assert_eq!(ended(&world, &forged, &passes), "invalid_signature");
    let limits = [Ok(Reply::Passed), Ok(LIMITED)];
    assert_eq!(ended(&world, &forged, &limits), "rate_limited");
    let fails = [Ok(Reply::Passed), Err(Failure::NoAnswer)];
    let later = forged.at(after(6));
    assert_eq!(
        ended(&world, &later, &fails),
        "invalid_signature",
        "it is refused as it is"
    );
    // One that passes is counted by nobody.
    let genuine = form("a=1").at(after(6));
    let answers = [Ok(Reply::Passed), Ok(CLAIMED)];
    assert_eq!(ended(&world, &genuine, &answers), "accepted");
}

#[test]
fn a_dead_store_is_asked_now_and_then() {
    let world = world("reject", NO_LIMITS);
    let mut asked = 0;
    for number in 0..1000_u64 {
        // Ten seconds in all, and nothing else.
        let now = NOW.after(Span(number * 10));
        let request = form(&format!("a={number}")).at(now);
        let verdict = world.send_with(&request, &mut |_| {
            asked += 1;
            Err(Failure::NoAnswer)
        });
        assert_eq!(verdict.outcome.name(), "store_unavailable");
    }
    assert!((9..=14).contains(&asked), "{asked}");
    let back = NOW.after(Span(10_000)).after(BETWEEN_TRIES);
    for body in ["b=1", "b=2"] {
        assert_eq!(
            ended(&world, &form(body).at(back), &[Ok(CLAIMED)]),
            "accepted"
        );
    }
}

#[test]
fn what_redis_evicted_is_counted() {
    let world = world("reject", NO_LIMITS);
    let reply = Reply::Claimed {
        evicted: 3,
        evicted_age: Span(7000),
    };
    let (verdict, _) = send(&world, &form("a=1"), &[Ok(reply)]);
    let change = verdict.facts.change;
    assert_eq!((change.evicted, change.evicted_age), (3, Span(7000)));
}

#[test]
fn a_table_here_that_is_full_does_not_refuse_what_redis_has_room_for() {
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
    world.settle(&verdict, Answer::Taken);
    // If this Envoy has to decide by itself, it has no room.
    let world = full("local");
    assert_eq!(
        ended(&world, &form("a=2"), &[Err(Failure::NoAnswer)]),
        "store_full"
    );
}
