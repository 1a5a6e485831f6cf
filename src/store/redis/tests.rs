//! The path of requests whose nonces and limits live in Redis, reply by reply.

use std::rc::Rc;

use crate::cas_map::CasMap;
use crate::cas_map::memory::MemoryMap;
use crate::pipeline::filter::Filter;
use crate::pipeline::rejection::Rejection;
use crate::pipeline::step::Step;
use crate::pipeline::tests::{NOW, Request, World, after, form, settings};
use crate::pipeline::verdict::{Outcome, Verdict};
use crate::store::StoreSettings;
use crate::store::local::store::LocalStore;
use crate::store::port::{
    CallError, HashKey, HttpCall, HttpResponse, Report, Store, UpstreamOutcome,
};
use crate::store::redis::circuit_breaker::BETWEEN_TRIES;
use crate::store::redis::script_reply::{Failure, ScriptReply};
use crate::store::redis::settlement_queue::Verb;
use crate::store::redis::shared::Shared;
use crate::store::redis::store::RedisStore;
use crate::time::Millis;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A filter whose store is in Redis, and what its worker knows of that.
struct Redis {
    world: World,
    shared: Rc<Shared>,
}

impl Redis {
    fn new(json: &str) -> Redis {
        let mut settings = settings(json);
        let StoreSettings::Redis(redis) = std::mem::take(&mut settings.store) else {
            panic!("no store in Redis: {json}");
        };
        let memory = Rc::new(MemoryMap::new());
        let map: Rc<dyn CasMap> = Rc::clone(&memory) as _;
        let mut shared = None;
        let filter = Filter::with_store(settings, Rc::clone(&map), |tables, keyring| {
            let local = LocalStore::new(tables, map, HashKey([7; 16]));
            let store = RedisStore::new(redis, local, |label| keyring.derive(label));
            shared = Some(store.shared());
            Ok::<Box<dyn Store>, ()>(Box::new(store))
        });
        Redis {
            world: World::with_filter(&memory, filter.expect("a store")),
            shared: shared.expect("a store"),
        }
    }

    /// Sends a request to which Redis replies like this, call by call.
    fn send_with(
        &self,
        request: &Request,
        reply: &mut dyn FnMut(&[String]) -> Result<ScriptReply, Failure>,
    ) -> Verdict {
        let mut last = None;
        self.world.send_answering(request, &mut |call| {
            let words = words(call);
            // A script that is not known is sent again, whole: that is one question.
            let is_again = words.first().is_some_and(|verb| verb == "EVAL");
            let reply = match last.filter(|_| is_again) {
                Some(last) => last,
                None => reply(&words),
            };
            last = Some(reply);
            answer(reply)
        })
    }

    fn report(&self) -> Report {
        self.world.filter.store().take_report()
    }

    fn settle(&self, verdict: &Verdict, outcome: UpstreamOutcome) {
        self.world.settle(verdict, outcome);
    }
}

/// The words of the command that a call sends to Webdis.
fn words(call: &HttpCall) -> Vec<String> {
    let body = String::from_utf8(call.body.clone()).expect("ASCII");
    let word = |word: &str| {
        let decoded = crate::signature::urlencoded::decode(word.as_bytes());
        String::from_utf8(decoded).expect("UTF-8")
    };
    body.split('/').map(word).collect()
}

/// What Webdis answers.
fn answer(reply: Result<ScriptReply, Failure>) -> Result<HttpResponse, CallError> {
    let line = match reply {
        Err(Failure::CircuitOpen) => panic!("nobody answers what was not sent"),
        Err(Failure::NotSent) => return Err(CallError::NotSent),
        Err(Failure::NoAnswer) => return Err(CallError::NoResponse),
        Err(Failure::Status(status)) => {
            return Ok(HttpResponse {
                status,
                body: Some(Vec::new()),
            });
        }
        Err(Failure::Malformed) => "1".to_owned(),
        Err(Failure::UnknownScript) => r#"[false, "NOSCRIPT No matching script"]"#.to_owned(),
        Ok(reply) => {
            let line = match reply {
                ScriptReply::Passed => "passed".to_owned(),
                ScriptReply::Claimed {
                    evicted,
                    evicted_age,
                } => format!("claimed {evicted} {}", evicted_age.0),
                ScriptReply::Limited { which, wait } => format!("limited {which} {}", wait.0),
                ScriptReply::Kept { left } => format!("kept {}", left.0),
                ScriptReply::Pending => "pending".to_owned(),
                ScriptReply::NeverAnswered { left } => format!("never_answered {}", left.0),
                ScriptReply::Full => "full".to_owned(),
                ScriptReply::Void => "void".to_owned(),
                ScriptReply::Settled => "settled".to_owned(),
            };
            format!("{line:?}")
        }
    };
    Ok(HttpResponse {
        status: 200,
        body: Some(format!(r#"{{"EVALSHA": {line}}}"#).into_bytes()),
    })
}

const CLAIMED: ScriptReply = ScriptReply::Claimed {
    evicted: 0,
    evicted_age: Millis(0),
};
const LIMITED: ScriptReply = ScriptReply::Limited {
    which: 0,
    wait: Millis(5000),
};
const KEPT: ScriptReply = ScriptReply::Kept {
    left: Millis(600_000),
};

const FAILURES: [Failure; 5] = [
    Failure::NotSent,
    Failure::NoAnswer,
    Failure::Status(403),
    Failure::Malformed,
    Failure::UnknownScript,
];

const NEVER_ANSWERED: ScriptReply = ScriptReply::NeverAnswered {
    left: Millis(600_000),
};

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

/// A filter with Redis, and these fields besides.
fn world(on_error: &str, more: &str) -> Redis {
    Redis::new(&format!(
        r#"{{"store": {{"type": "redis", "cluster": "c", "api": "webdis", "on_error": "{on_error}"}} {more}}}"#
    ))
}

const NO_LIMITS: &str = r#", "rate_limits": []"#;

/// Sends a request to which Redis answers like this, question by question, and says how
/// it ended and how many questions there were.
fn send(
    world: &Redis,
    request: &Request,
    answers: &[Result<ScriptReply, Failure>],
) -> (Verdict, usize) {
    let mut asked = 0;
    let verdict = world.send_with(request, &mut |_| {
        asked += 1;
        *answers.get(asked - 1).expect("no more questions than that")
    });
    (verdict, asked)
}

fn ended(
    world: &Redis,
    request: &Request,
    answers: &[Result<ScriptReply, Failure>],
) -> &'static str {
    let (verdict, asked) = send(world, request, answers);
    assert_eq!(asked, answers.len(), "questions");
    verdict.outcome.name()
}

/// What Redis is to be told, and is now taken to know.
fn told(world: &Redis) -> Vec<Verb> {
    let settlements = world.shared.queue.send(NOW);
    world.shared.queue.arrived();
    settlements
        .iter()
        .map(|settlement| settlement.verb)
        .collect()
}

#[test]
fn a_message_asks_once_at_its_headers_and_once_at_its_end() {
    let world = world("reject", "");
    let (verdict, asked) = send(
        &world,
        &form("a=1"),
        &[Ok(ScriptReply::Passed), Ok(CLAIMED)],
    );
    assert_eq!((verdict.outcome.name(), asked), ("accepted", 2));
    assert_eq!(world.report().fallbacks, 0);
    world.settle(&verdict, UpstreamOutcome::Processed);
    assert_eq!(told(&world), [Verb::Keep]);
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
        assert_eq!(
            passes,
            reply == ScriptReply::Passed,
            "{reply:?} at the headers"
        );

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
            reply == ScriptReply::Passed,
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
        // Redis may have the claim, or get it yet; without this the retry would be rejected.
        let expected: &[Verb] = if failure.may_have_run() {
            &[Verb::Release]
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
        assert!(world.report().fallbacks > 0);
        world.settle(&verdict, UpstreamOutcome::Processed);
        assert_eq!(told(&world), [Verb::Keep], "{failure:?}");
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

/// How a request is rejected to which Redis answers so.
fn rejection(
    world: &Redis,
    request: &Request,
    answers: &[Result<ScriptReply, Failure>],
) -> Rejection {
    match send(world, request, answers).0.outcome {
        Outcome::Rejected(rejection) => rejection,
        outcome => panic!("it must not pass: {outcome:?}"),
    }
}

/// Finding 6, where the first delivery is at another Envoy.
#[test]
fn what_is_on_its_way_elsewhere_is_acknowledged_only_when_it_was_taken_there() {
    let acknowledging = r#", "rate_limits": [], "replay": {"on_duplicate": "acknowledge"}"#;
    let world = world("reject", acknowledging);
    let request = form("a=1");
    for _ in 0..2 {
        let rejection = rejection(&world, &request, &[Ok(ScriptReply::Pending)]);
        assert_eq!(rejection.retry_after, Some(Millis::seconds(1)));
        assert!(!rejection.acknowledge);
    }
    assert!(rejection(&world, &request, &[Ok(KEPT)]).acknowledge);
    assert!(rejection(&world, &request, &[]).acknowledge, "from then on");
    for answers in [&[Ok(NEVER_ANSWERED)][..], &[]] {
        let rejection = rejection(&world, &form("a=2"), answers);
        assert!(!rejection.acknowledge && rejection.retry_after.is_none());
    }
    // The same for what is on its way from here.
    let (first, _) = send(&world, &form("a=3"), &[Ok(CLAIMED)]);
    let undecided = rejection(&world, &form("a=3"), &[]);
    assert!(!undecided.acknowledge && undecided.retry_after.is_some());
    world.settle(&first, UpstreamOutcome::Processed);
    assert!(rejection(&world, &form("a=3"), &[]).acknowledge);
}

#[test]
fn the_hint_on_a_duplicate_of_another_envoys_says_how_old_that_is() {
    let world = world("reject", NO_LIMITS);
    let hint = |request: &Request, answers: &[Result<ScriptReply, Failure>]| {
        let (verdict, _) = send(&world, request, answers);
        verdict.hint().expect("a hint").to_owned()
    };
    let left = Millis(86_400_000 - 12_000);
    let asked = hint(&form("a=1"), &[Ok(ScriptReply::Kept { left })]);
    assert!(asked.contains("accepted 12 s ago"), "{asked}");
    let known = hint(&form("a=1").at(after(8)), &[]);
    assert!(known.contains("accepted 20 s ago"), "{known}");
    let pending = hint(&form("a=2"), &[Ok(ScriptReply::Pending)]);
    assert!(pending.contains("still on its way"), "{pending}");
    let longer_than_kept = ScriptReply::Kept {
        left: Millis(u64::MAX),
    };
    let odd = hint(&form("a=3"), &[Ok(longer_than_kept)]);
    assert!(odd.contains("accepted 0 s ago"), "{odd}");
}

/// Finding 3.
#[test]
fn a_repeat_is_asked_to_be_counted_by_address_and_webhook_alone() {
    let rules = ["client_ip", "account", "webhook", "param:From"].map(|key| {
        format!(r#"{{"key": "{key}", "count": "rejected", "requests": 9, "window": "5s"}}"#)
    });
    let world = world(
        "reject",
        &format!(r#", "rate_limits": [{}]"#, rules.join(",")),
    );
    for (request, takes) in [
        (form("From=1"), 2),
        (form("From=1&Timestamp=1"), 2),
        (form("From=1&Timestamp=1900000000"), 2),
        (form("From=1&AccountSid=ACother"), 4),
        (form("From=1&Timestamp=soon"), 4),
    ] {
        let mut last = None;
        let verdict = world.send_with(&request, &mut |words| {
            last = Some(words.iter().filter(|word| *word == "take").count());
            let is_claim = words.iter().any(|word| word == "reject");
            Ok(if is_claim { KEPT } else { ScriptReply::Passed })
        });
        assert!(
            matches!(verdict.outcome, Outcome::Rejected(_)),
            "{verdict:?}"
        );
        assert_eq!(last, Some(takes), "{verdict:?}");
    }
}

/// Finding 10: what a rejected request is told must not reject the next one at its headers,
/// which is all that it may have in common with a flood.
#[test]
fn a_limit_that_is_used_up_by_what_was_inherited_is_asked_for_at_the_headers_all_the_same() {
    let world = world(
        "reject",
        r#", "rate_limits": [{"key": "client_ip", "count": "rejected", "requests": 1, "window": "60s"}]"#,
    );
    let forged = form("a=1").signed("wrong", "https://orders.example.com/hook", "a=1");
    let limited = [Ok(ScriptReply::Passed), Ok(LIMITED)];
    assert_eq!(ended(&world, &forged, &limited), "rate_limited");
    let genuine = [Ok(ScriptReply::Passed), Ok(CLAIMED)];
    assert_eq!(ended(&world, &form("a=1"), &genuine), "accepted");
    // That one more rejection is not asked for again, that is known here.
    assert_eq!(
        ended(&world, &forged, &[Ok(ScriptReply::Passed)]),
        "rate_limited"
    );
    // Its own rejections are another matter.
    assert_eq!(ended(&world, &form("a=2"), &[Ok(LIMITED)]), "rate_limited");
    assert_eq!(ended(&world, &form("a=2"), &[]), "rate_limited");
}

/// Finding 5.
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

/// Finding 11: without credentials the key was public, and whoever knows it can choose
/// addresses that share their counters with another's.
#[test]
fn without_credentials_the_key_of_the_counters_is_made_from_what_signs() {
    let key = |tokens: &str, store: &str| {
        let json = format!(
            r#"{{"accounts": [{{"account_sid": "ACa", "auth_tokens": [{tokens}]}}],
                "store": {{"type": "redis", "cluster": "c", "api": "webdis" {store}}}}}"#
        );
        let world = Redis::new(&json);
        world.world.filter.store().hash_key().0
    };
    let own = key(r#""one""#, "");
    assert_eq!(own, key(r#""one""#, ""), "at every Envoy");
    assert_ne!(own, key(r#""two""#, ""), "and at no other");
    assert_ne!(own, key(r#""one", "two""#, ""), "a rotation begins anew");
    let both = key(r#""one", "two""#, "");
    assert_eq!(both, key(r#""two", "one""#, ""), "in any order");
    assert_ne!(own, key(r#""one""#, r#", "key_prefix": "other""#));
    // With credentials it is theirs, whatever the tokens are.
    let password = r#", "username": "u", "password": "p""#;
    let with_password = key(r#""one""#, password);
    assert_eq!(with_password, key(r#""two""#, password));
    assert_ne!(with_password, own);
    let other = r#", "username": "u", "password": "q""#;
    assert_ne!(with_password, key(r#""one""#, other));
}

#[test]
fn a_request_on_its_way_elsewhere_may_come_here_if_it_fails_there() {
    let world = world("reject", NO_LIMITS);
    assert_eq!(
        ended(&world, &form("a=1"), &[Ok(ScriptReply::Pending)]),
        "duplicate"
    );
    assert_eq!(ended(&world, &form("a=1"), &[Ok(CLAIMED)]), "accepted");
}

#[test]
fn copies_of_a_request_that_is_being_asked_for_are_not_asked_for() {
    let world = world("reject", NO_LIMITS);
    let first = world.world.send_until_called(&form("a=1"));
    for _ in 0..5 {
        assert_eq!(ended(&world, &form("a=1"), &[]), "duplicate");
    }
    let answered = world
        .world
        .filter
        .on_answer(first, answer(Ok(CLAIMED)), NOW);
    let Step::Decided(verdict) = answered else {
        panic!("not decided");
    };
    assert_eq!(verdict.outcome.name(), "accepted");
}

#[test]
fn a_sender_who_leaves_while_redis_is_asked_blocks_nothing() {
    let world = world("reject", NO_LIMITS);
    world
        .world
        .send_until_called(&form("a=1"))
        .on_client_gone(NOW);
    assert_eq!(world.report().nonces, 0, "nothing stays in the table");
    assert_eq!(told(&world), [Verb::Release]);
    assert_eq!(ended(&world, &form("a=1"), &[Ok(CLAIMED)]), "accepted");
}

#[test]
fn what_is_rejected_leaves_no_claim_here() {
    for reply in [LIMITED, ScriptReply::Full] {
        let world = world(
            "reject",
            r#", "rate_limits": [{"key": "account", "count": "authenticated", "requests": 9, "window": "5s"}]"#,
        );
        let (verdict, _) = send(&world, &form("a=1"), &[Ok(reply)]);
        assert_ne!(verdict.outcome.name(), "accepted");
        assert_eq!(world.report().nonces, 0, "{reply:?}");
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
        Outcome::Rejected(rejection) => rejection.limited.map(|limited| limited.wait),
        _ => None,
    };
    assert_eq!(wait(&verdict), Some(Millis(5000)));
    for _ in 0..100 {
        let (verdict, asked) = send(&world, &request.clone().at(after(4)), &[]);
        assert_eq!((wait(&verdict), asked), (Some(Millis(1000)), 0));
    }
    let answers = [Ok(ScriptReply::Passed), Ok(CLAIMED)];
    assert_eq!(ended(&world, &request.at(after(5)), &answers), "accepted");
}

#[test]
fn a_limit_of_rejections_is_asked_for_where_there_is_a_rejection() {
    let world = world(
        "reject",
        r#", "rate_limits": [{"key": "client_ip", "count": "rejected", "requests": 1, "window": "5s"}]"#,
    );
    let forged = form("a=1").signed("wrong", "https://orders.example.com/hook", "a=1");
    let passes = [Ok(ScriptReply::Passed), Ok(ScriptReply::Passed)];
    assert_eq!(ended(&world, &forged, &passes), "invalid_signature");
    let limits = [Ok(ScriptReply::Passed), Ok(LIMITED)];
    assert_eq!(ended(&world, &forged, &limits), "rate_limited");
    let fails = [Ok(ScriptReply::Passed), Err(Failure::NoAnswer)];
    let later = forged.at(after(6));
    assert_eq!(
        ended(&world, &later, &fails),
        "invalid_signature",
        "it is rejected as it is"
    );
    // One that passes is counted by nobody.
    let genuine = form("a=1").at(after(6));
    let answers = [Ok(ScriptReply::Passed), Ok(CLAIMED)];
    assert_eq!(ended(&world, &genuine, &answers), "accepted");
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
