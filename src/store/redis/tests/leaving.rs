//! Senders who leave before they have an answer, and what Redis is told on a timer.

use super::*;
use crate::store::port::Decision;
use crate::store::redis::gone_queue::GONE_IN_A_ROW;
use crate::store::redis::settlement_queue::MAX_SENT;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

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
    let asked = |world: &Redis| claim_of(world, 7);
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

/// Sends a request's headers, and leaves.
pub(super) fn leave(world: &Redis, request: &Request) {
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
