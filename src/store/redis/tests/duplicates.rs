//! Repeats: of what Redis knows, of what is on its way elsewhere, and of what is known here.

use super::*;
use crate::pipeline::rejection::Rejection;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

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

/// Returns how a request is rejected to which Redis answers so.
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

/// The first delivery is at another Envoy.
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
