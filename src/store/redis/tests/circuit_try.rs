//! A circuit that is open, and whoever looks whether Redis is back.

use super::*;
use crate::store::redis::circuit_breaker::BETWEEN_TRIES;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A worker that has given up, at [`NOW`].
fn given_up() -> Redis {
    let world = world("reject", NO_LIMITS);
    for _ in 0..3 {
        world.shared.record_failure(Failure::NoAnswer, NOW);
    }
    assert!(world.shared.circuit.is_open());
    world
}

/// Finding: whoever asked, and left, kept the circuit open for another second. A few clients that
/// reset their requests kept it open for ever.
#[test]
fn a_sender_who_leaves_with_the_try_gives_it_back() {
    let world = given_up();
    let due = NOW.after(BETWEEN_TRIES);
    for number in 0..5 {
        let request = form(&format!("a={number}")).at(due);
        let (asked, _) = world.world.send_until_called(&request);
        // One try at a time.
        assert_eq!(
            ended(&world, &form("b=1").at(due), &[]),
            "store_unavailable"
        );
        asked.on_client_gone(due);
    }
    assert_eq!(
        ended(&world, &form("b=1").at(due), &[Ok(CLAIMED)]),
        "accepted"
    );
    assert!(!world.shared.circuit.is_open());
    assert_eq!(world.report().open_circuits, 0);
}

#[test]
fn a_sender_who_leaves_without_the_try_gives_none_back() {
    let world = world("reject", NO_LIMITS);
    let (asked, _) = world.world.send_until_called(&form("a=1"));
    for _ in 0..3 {
        world.shared.record_failure(Failure::NoAnswer, NOW);
    }
    asked.on_client_gone(NOW);
    assert_eq!(ended(&world, &form("b=1"), &[]), "store_unavailable");
}

#[test]
fn the_timer_looks_whether_redis_is_back_where_nobody_else_does() {
    let settled = Ok(ScriptReply::Settled);
    let world = given_up();
    let flush = |now| world.world.filter.store().flush(now);
    assert!(flush(NOW).is_none(), "it has just failed");
    for tries in 1..=3 {
        let due = NOW.after(Millis(BETWEEN_TRIES.0 * tries));
        let call = flush(due).expect("a try");
        assert!(flush(due).is_none(), "one at a time");
        let failed = call.pending.resume(Err(CallError::NoResponse), due);
        assert!(matches!(failed, Progress::Done(_)), "it is not asked again");
        assert!(world.shared.circuit.is_open());
    }
    let due = NOW.after(Millis(BETWEEN_TRIES.0 * 4));
    let call = flush(due).expect("a try");
    let reply = answer(&words(&call.http), settled);
    assert!(matches!(call.pending.resume(reply, due), Progress::Done(_)));
    assert!(!world.shared.circuit.is_open());
    assert!(
        flush(due).is_none(),
        "nothing to be told, and nothing to look for"
    );
    let report = world.report();
    assert_eq!((report.open_circuits, report.settlements_lost), (0, 0));
}
