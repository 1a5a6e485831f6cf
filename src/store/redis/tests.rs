//! The path of requests whose nonces and limits live in Redis, reply by reply.

/// Calls whose connections break.
mod broken_connections;
/// Whoever looks whether Redis is back.
mod circuit_try;
/// What the metrics say.
mod counts;
/// A configuration that ends.
mod ended;

use std::rc::Rc;

use crate::cas_map::CasMap;
use crate::cas_map::memory::MemoryMap;
use crate::pipeline::filter::Filter;
use crate::pipeline::rejection::Rejection;
use crate::pipeline::step::Step;
use crate::pipeline::tests::{NOW, Request, World, after, form, settings};
use crate::pipeline::verdict::{Outcome, Verdict};
use crate::signature::key::Nonce;
use crate::store::StoreSettings;
use crate::store::local::store::LocalStore;
use crate::store::port::{
    CallError, ClaimRequest, Decision, HashKey, HttpCall, HttpResponse, Progress, Query, Report,
    Store, StoreCall, UpstreamOutcome,
};
use crate::store::redis::circuit_breaker::BETWEEN_TRIES;
use crate::store::redis::correlation::Correlation;
use crate::store::redis::gone_queue::GONE_IN_A_ROW;
use crate::store::redis::script_reply::{Failure, ScriptReply};
use crate::store::redis::settlement_queue::MAX_SENT;
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
            let store = RedisStore::new(redis, local, [9; 16], |label| keyring.derive(label));
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
            // What is asked again, whole or because the answer was another's, is one question.
            let number = words.last().cloned();
            let reply = match &last {
                Some((asked, reply)) if *asked == number => *reply,
                _ => reply(&words),
            };
            last = Some((number, reply));
            answer(&words, reply)
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
fn answer(
    words: &[String],
    reply: Result<ScriptReply, Failure>,
) -> Result<HttpResponse, CallError> {
    let correlation = words.last().expect("the question's number");
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
        Err(Failure::Misdelivered) => format!("\"{} passed\"", Correlation(7)),
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
            format!("\"{correlation} {line}\"")
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
/// By the second limit that was asked for.
const SECOND_LIMITED: ScriptReply = ScriptReply::Limited {
    which: 1,
    wait: Millis(5000),
};
const KEPT: ScriptReply = ScriptReply::Kept {
    left: Millis(600_000),
};

const FAILURES: [Failure; 6] = [
    Failure::NotSent,
    Failure::NoAnswer,
    Failure::Status(403),
    Failure::Malformed,
    Failure::Misdelivered,
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
fn told(world: &Redis) -> Vec<UpstreamOutcome> {
    let settlements = world.shared.queue.send(NOW);
    world.shared.queue.arrived();
    settlements
        .iter()
        .map(|settlement| settlement.outcome)
        .collect()
}

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
            for (number, words) in asked.iter_mut().enumerate() {
                let attempt = words.remove(words.len() - 2);
                assert_eq!(attempt, if number == 0 { "first" } else { "another" });
            }
            assert!(asked.iter().all(|words| *words == asked[0]), "{asked:?}");
            assert_eq!(asked.len(), strangers + 1);
            let report = world.report();
            assert_eq!(report.calls_misdelivered, strangers as u64);
            assert_eq!(report.call_failures, 0, "Redis is not dead");
        }
    }
}

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
    let limited = [Ok(SECOND_LIMITED)];
    assert_eq!(ended(&world, &forged, &limited), "rate_limited");
    let genuine = [Ok(CLAIMED)];
    assert_eq!(ended(&world, &form("a=1"), &genuine), "accepted");
    // One more rejection is asked for again, since it has to be looked for its own.
    assert_eq!(ended(&world, &forged, &limited), "rate_limited");
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
    let (first, call) = world.world.send_until_called(&form("a=1"));
    for _ in 0..5 {
        assert_eq!(ended(&world, &form("a=1"), &[]), "duplicate");
    }
    let answered = world
        .world
        .filter
        .on_answer(first, answer(&words(&call), Ok(CLAIMED)), NOW);
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
        .0
        .on_client_gone(NOW);
    assert_eq!(world.report().nonces, 0, "nothing stays in the table");
    assert_eq!(told(&world), [UpstreamOutcome::Failed]);
    assert_eq!(ended(&world, &form("a=1"), &[Ok(CLAIMED)]), "accepted");
}

/// Any of several attempts may arrive yet.
#[test]
fn what_was_asked_more_than_once_is_settled_as_what_may_arrive_again() {
    let again = |world: &Redis| -> Vec<bool> {
        let told = world.shared.queue.send(NOW);
        world.shared.queue.arrived();
        told.iter().map(|told| told.may_arrive_again).collect()
    };
    let next = |call: StoreCall| {
        let reply = answer(&words(&call.http), Err(Failure::Misdelivered));
        match call.pending.resume(reply, NOW) {
            Progress::Call(call) => call,
            _ => panic!("not asked again"),
        }
    };
    let asked = |world: &Redis| {
        let claim = ClaimRequest {
            nonce: Nonce([1; 32]),
            id: 7,
            signed_until: None,
        };
        let query = Query {
            webhook: 0,
            deferred: Vec::new(),
            limits: Vec::new(),
            claim: Some(claim),
        };
        match world.world.filter.store().admit(query, NOW) {
            Progress::Call(call) => call,
            _ => panic!("not asked"),
        }
    };
    let world = world("reject", NO_LIMITS);
    let call = next(asked(&world));
    let reply = answer(&words(&call.http), Ok(CLAIMED));
    let Progress::Done(Decision::Admitted(Some(claim))) = call.pending.resume(reply, NOW) else {
        panic!("not admitted");
    };
    let store = world.world.filter.store();
    let _ = store.settle(0, &claim, UpstreamOutcome::ClientGone, NOW);
    assert_eq!(
        again(&world),
        [true],
        "it is admitted, and another attempt on its way"
    );

    let world = self::world("reject", NO_LIMITS);
    asked(&world).pending.abandon(NOW);
    assert_eq!(again(&world), [false], "one attempt");
    next(asked(&world)).pending.abandon(NOW);
    assert_eq!(again(&world), [true], "its sender has left");
    for reply in [ScriptReply::Pending, ScriptReply::Full, KEPT] {
        let call = next(asked(&world));
        let reply = answer(&words(&call.http), Ok(reply));
        let decided = call.pending.resume(reply, NOW);
        assert!(!matches!(decided, Progress::Done(Decision::Admitted(_))));
        assert_eq!(again(&world), [true], "it is not admitted");
    }
    let other = self::world("reject", NO_LIMITS);
    let not_sent = next(asked(&other))
        .pending
        .resume(Err(CallError::NotSent), NOW);
    assert!(matches!(not_sent, Progress::Done(Decision::Unavailable)));
    assert_eq!(again(&other), [true], "the first attempt was sent");
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
    let answers = [Ok(CLAIMED)];
    assert_eq!(ended(&world, &request.at(after(5)), &answers), "accepted");
}

#[test]
fn a_limit_of_rejections_is_asked_for_where_there_is_a_rejection() {
    let world = world(
        "reject",
        r#", "rate_limits": [{"key": "client_ip", "count": "rejected", "requests": 1, "window": "5s"}]"#,
    );
    let forged = form("a=1").signed("wrong", "https://orders.example.com/hook", "a=1");
    let passes = [Ok(ScriptReply::Passed)];
    assert_eq!(ended(&world, &forged, &passes), "invalid_signature");
    assert_eq!(
        ended(&world, &forged, &[Ok(SECOND_LIMITED)]),
        "rate_limited"
    );
    // One that passes is counted by nobody.
    let genuine = form("a=1").at(after(6));
    assert_eq!(ended(&world, &genuine, &[Ok(CLAIMED)]), "accepted");
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

/// How a question is put: how many early limits, how many others, how many of both count,
/// and whether there is a claim.
fn put(words: &[String]) -> (usize, usize, usize, bool) {
    let keys: usize = words[2].parse().expect("a number");
    let arguments = &words[3 + keys..];
    let [early, limits] = [0, 1].map(|index| arguments[index].parse::<usize>().expect("a number"));
    let takes = arguments.iter().filter(|word| *word == "take").count();
    (early, limits - early, takes, keys > limits)
}

/// Sends a request to which Redis replies so, and says how it ended and how it was put.
fn put_by(
    world: &Redis,
    request: &Request,
    reply: ScriptReply,
) -> (&'static str, Vec<(usize, usize, usize, bool)>) {
    let mut questions = Vec::new();
    let verdict = world.send_with(request, &mut |words| {
        questions.push(put(words));
        Ok(reply)
    });
    (verdict.outcome.name(), questions)
}

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

/// Limits on all requests of an address, and on its rejections.
const BOTH: &str = r#", "rate_limits": [
    {"key": "client_ip", "requests": 9, "window": "5s"},
    {"key": "client_ip", "count": "rejected", "requests": 9, "window": "5s"}]"#;

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

/// Sends a request's headers, and leaves.
fn leave(world: &Redis, request: &Request) {
    match world.world.send_headers(request) {
        Step::AwaitBody(awaiting) => world.world.filter.on_client_gone(awaiting),
        _ => panic!("decided at its headers"),
    }
}

/// Asks what is to be asked on a timer, to which Redis replies so; the words of each question.
fn tick(world: &Redis, reply: Result<ScriptReply, Failure>) -> Vec<Vec<String>> {
    let mut questions = Vec::new();
    let mut call = world.world.filter.store().flush(NOW);
    while let Some(next) = call {
        let words = words(&next.http);
        call = match next.pending.resume(answer(&words, reply), NOW) {
            Progress::Call(call) => Some(call),
            _ => None,
        };
        questions.push(words);
    }
    questions
}

/// The same, where all of them are about admissions.
fn flush(world: &Redis, reply: Result<ScriptReply, Failure>) -> Vec<(usize, usize, usize, bool)> {
    tick(world, reply).iter().map(|words| put(words)).collect()
}

#[test]
fn however_many_settlements_wait_one_tick_tells_them_all() {
    let world = world("reject", NO_LIMITS);
    let count = 5 * MAX_SENT + 3;
    for number in 0..count {
        let request = form(&format!("a={number}"));
        let verdict = world.send_with(&request, &mut |_| Ok(CLAIMED));
        world.settle(&verdict, UpstreamOutcome::Processed);
    }
    let settled = Ok(ScriptReply::Settled);
    // The last ones do not fill a call, and wait for more.
    assert_eq!(tick(&world, settled).len(), 5);
    assert_eq!(tick(&world, settled).len(), 1);
    assert_eq!(tick(&world, settled).len(), 0);
    assert_eq!(world.report().settlements_lost, 0);
}

#[test]
fn who_leaves_before_anything_is_asked_is_counted_on_the_timer() {
    let world = world("reject", BOTH);
    assert_eq!(flush(&world, Ok(ScriptReply::Passed)), []);
    for _ in 0..GONE_IN_A_ROW + 3 {
        leave(&world, &form("a=1"));
    }
    let counted = flush(&world, Ok(ScriptReply::Passed));
    assert_eq!(counted, [(2, 0, 1, false); GONE_IN_A_ROW]);
    // One that is told to be over its limit is known to be, and so are all after it.
    assert_eq!(flush(&world, Ok(LIMITED)).len(), 1);
    assert_eq!(flush(&world, Ok(ScriptReply::Passed)), []);
    let verdict = send(&world, &form("a=1"), &[]).0;
    assert_eq!(verdict.outcome.name(), "rate_limited");
    // Nobody counts who leaves where no limit does.
    let unlimited = self::world("reject", NO_LIMITS);
    leave(&unlimited, &form("a=1"));
    assert_eq!(flush(&unlimited, Ok(ScriptReply::Passed)), []);
}

#[test]
fn who_leaves_while_redis_is_dead_is_counted_here_where_that_is_asked_for() {
    let limits = r#", "rate_limits": [{"key": "client_ip", "requests": 1, "window": "60s"}]"#;
    for on_error in ["reject", "local"] {
        let world = world(on_error, limits);
        leave(&world, &form("a=1"));
        for _ in 0..3 {
            world.shared.record_failure(Failure::NoAnswer, NOW);
        }
        assert_eq!(flush(&world, Ok(ScriptReply::Passed)), []);
        assert_eq!(world.report().fallbacks, 0, "there is no claim");
        let Step::Decided(verdict) = world.world.send_headers(&form("a=1")) else {
            panic!("not decided");
        };
        let name = if on_error == "local" {
            "rate_limited"
        } else {
            "store_unavailable"
        };
        assert_eq!(verdict.outcome.name(), name);
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
