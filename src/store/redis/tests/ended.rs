//! A configuration that ends, and the one that tells what it had not told yet.

use super::leaving::leave;
use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn what_a_configuration_has_not_told_when_it_ends_another_takes_but_no_request_that_left() {
    let (ended, heir) = (world("reject", BOTH), world("reject", BOTH));
    let stores = [&ended, &heir].map(|world| world.world.filter.store());
    assert!(stores[0].hand_over().is_none(), "nothing is to be told");
    for body in ["a=1", "a=2"] {
        let verdict = send(&ended, &form(body), &[Ok(CLAIMED)]).0;
        ended.settle(&verdict, UpstreamOutcome::Processed);
    }
    leave(&ended, &form("a=3"));
    // What is on its way when it ends is not heard of any more.
    let call = stores[0].flush(NOW).expect("a call");
    let verdict = send(&ended, &form("a=4"), &[Ok(CLAIMED)]).0;
    ended.settle(&verdict, UpstreamOutcome::ClientGone);
    call.pending.abandon(NOW);
    let mut untold = stores[0].hand_over().expect("what is to be told");
    assert_eq!(untold.settlements, 3);
    untold.is_inherited = true;
    stores[1].take_over(untold);
    let outcomes = [
        UpstreamOutcome::Processed,
        UpstreamOutcome::Processed,
        UpstreamOutcome::ClientGone,
    ];
    assert_eq!(told(&heir), outcomes);
    assert!(stores[1].flush(NOW).is_none(), "its limits may be others");
    assert!(stores[0].hand_over().is_none());
}

#[test]
fn only_stores_of_the_same_cluster_and_prefix_have_the_same_place() {
    let of = |cluster: &str, prefix: &str| {
        Redis::new(&format!(
            r#"{{"store": {{"type": "redis", "cluster": "{cluster}", "key_prefix": "{prefix}", "api": "webdis"}}}}"#
        ))
    };
    let worlds = [of("a", "bc"), of("a", "bc"), of("ab", "c"), of("a", "d")];
    let places = worlds
        .each_ref()
        .map(|world| world.world.filter.store().place());
    assert!(places.iter().all(Option::is_some));
    assert_eq!(places[0], places[1]);
    assert!(places[0] != places[2] && places[0] != places[3]);
    assert_eq!(World::new("{}").filter.store().place(), None);
}

#[test]
fn a_circuit_that_is_open_when_its_worker_ends_is_taken_back_once() {
    let world = world("reject", NO_LIMITS);
    let closed = |times: usize| {
        (0..times).for_each(|_| world.world.filter.store().close());
        world.report().open_circuits
    };
    assert_eq!(closed(1), 0);
    for _ in 0..3 {
        world.shared.record_failure(Failure::NoAnswer, NOW);
    }
    assert_eq!(world.report().open_circuits, 1);
    assert_eq!(closed(2), -1);
}
