//! What becomes of a claim: by each outcome, and by none.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn a_released_nonce_can_be_claimed_again_at_once_and_only_its_own_claim_is_released() {
    let fixture = with_capacity(1000);
    let first = fixture.claim(1, 0);
    assert_eq!(fixture.release(&first, 0).entries, -1);
    assert_eq!(fixture.prior(1, 0), None);
    let _second = fixture.claim(1, 1);
    assert_eq!(fixture.release(&first, 2), Change::default());
    assert_eq!(fixture.prior(1, 3), Some(age(2)));
}

#[test]
fn a_nonce_that_was_completed_is_not_released_any_more() {
    let fixture = with_window(30);
    let claim = fixture.claim(1, 0);
    fixture.complete(&claim, 0);
    assert_eq!(fixture.release(&claim, 0), Change::default());
    assert_eq!(fixture.prior(1, 1), Some(age(1)));
}

#[test]
fn a_claim_is_completed_in_advance_where_the_window_is_long_enough() {
    for (fixture, is_completed) in [
        (with_window(60), true),
        (with_window(59), false),
        (awaiting_outcome(), false),
    ] {
        let claim = fixture.claim(1, 0);
        assert_eq!(claim.is_completed(), is_completed);
        let before = fixture.store.writes();
        fixture.complete(&claim, 5);
        let writes = fixture.store.writes() - before;
        assert_eq!(writes, u32::from(!is_completed));
    }
    // Any other outcome finds it.
    let fixture = with_capacity(1000);
    fixture.release(&fixture.claim(1, 0), 5);
    fixture.accept(1, 6);
}

#[test]
fn a_short_window_starts_with_the_outcome() {
    let fixture = with_window(30);
    let claim = fixture.claim(1, 0);
    assert_eq!(fixture.prior(1, 60), Some(PriorDelivery::InFlight));
    fixture.complete(&claim, 50);
    assert_eq!(fixture.prior(1, 80), Some(age(80)));

    let fixture = of(NonceRules {
        window: Millis::seconds(50),
        ..rules(1)
    });
    let claim = fixture.claim(1, 0);
    fixture.complete(&claim, 40);
    for seconds in [41, 61, 90] {
        assert!(fixture.is_full(2, seconds), "{seconds}");
    }
    fixture.accept(2, 91);
}

/// Who says that a request was taken has to know it.
#[test]
fn where_the_outcome_is_awaited_a_repeat_is_told_of_it_and_not_before() {
    let fixture = awaiting_outcome();
    let claim = fixture.claim(1, 0);
    assert_eq!(fixture.prior(1, 299), Some(PriorDelivery::InFlight));
    fixture.complete(&claim, 299);
    assert_eq!(fixture.prior(1, 300), Some(age(300)));

    let failed = fixture.claim(2, 0);
    assert_eq!(fixture.prior(2, 1), Some(PriorDelivery::InFlight));
    fixture.release(&failed, 2);
    fixture.accept(2, 2);
}

/// A worker that has the new configuration already, and one that has not.
#[test]
fn a_claim_completed_in_advance_is_in_flight_for_a_while_where_the_outcome_is_awaited() {
    let Fixture { store, table } = with_capacity(1000);
    claim(&table, &store, nonce(1), START);
    let table = table.awaiting_outcome(true);
    let fixture = Fixture { store, table };
    assert_eq!(fixture.prior(1, 59), Some(PriorDelivery::InFlight));
    assert_eq!(fixture.prior(1, 60), Some(age(60)));
}

/// Nobody knows whether the upstream has the request.
#[test]
fn a_claim_of_a_dead_worker_stays_where_it_was_completed_in_advance_and_lapses_elsewhere() {
    let fixture = with_capacity(1000);
    let _never_settled = fixture.claim(1, 0);
    assert_eq!(fixture.prior(1, DAY), Some(age(DAY)));
    for (fixture, lapses) in [(with_window(30), 61), (awaiting_outcome(), 301)] {
        for delivery in 0..=u64::from(MAX_ABANDONED) {
            let now = delivery * lapses;
            let _never_settled = fixture.claim(1, now);
            let prior = fixture.prior(1, now + lapses - 1);
            assert_eq!(prior, Some(PriorDelivery::InFlight), "{delivery}");
        }
        let prior = fixture.prior(1, 4 * lapses);
        assert_eq!(prior, Some(PriorDelivery::NeverAnswered), "it counts");
    }
}

/// Once the count was lost after the window, and three more passed in each.
#[test]
fn abandoned_deliveries_are_counted_for_as_long_as_the_request_is_retained() {
    for gap in [0, 301, 10_000, DAY] {
        let fixture = with_capacity(1000);
        for delivery in 0..=u64::from(MAX_ABANDONED) {
            fixture.hang_up(1, delivery * gap);
            if delivery < u64::from(MAX_ABANDONED) {
                // A failure in between does not reset the count.
                let failed = fixture.claim(1, delivery * gap + gap / 2);
                fixture.release(&failed, delivery * gap + gap / 2);
            }
        }
        let last = 3 * gap;
        for seconds in [last, last + DAY] {
            let prior = fixture.prior(1, seconds);
            assert_eq!(prior, Some(PriorDelivery::NeverAnswered), "{seconds}");
        }
        // Then all of them are permitted anew.
        for _ in 0..=MAX_ABANDONED {
            fixture.hang_up(1, last + DAY + 1);
        }
        let prior = fixture.prior(1, last + DAY + 1);
        assert_eq!(prior, Some(PriorDelivery::NeverAnswered));
    }
}

#[test]
fn the_last_delivery_that_is_permitted_can_be_accepted() {
    let fixture = with_capacity(1000);
    for _ in 0..MAX_ABANDONED {
        fixture.hang_up(1, 0);
    }
    fixture.accept(1, 0);
    assert_eq!(fixture.prior(1, 1), Some(age(1)));
}

/// An attacker who fills the table does not reset the count: the record of an abandoned
/// request is pinned, evicted and counted like that of an accepted one.
#[test]
fn an_abandoned_request_is_evicted_from_a_full_table_like_an_accepted_one() {
    let fixture = with_capacity(2);
    fixture.hang_up(1, 0);
    fixture.accept(2, 1);
    assert!(fixture.is_full(3, 300));
    let (_, change) = fixture.claim_and_change(3, 301);
    let age = Millis::seconds(301);
    assert_eq!((change.evicted, change.evicted_age), (1, age));
    assert!(fixture.prior(2, 301).is_some());
}

#[test]
fn abandoning_a_claim_after_it_has_lapsed_counts_once() {
    let fixture = with_window(30);
    for delivery in 0..=u64::from(MAX_ABANDONED) {
        let now = delivery * 1000;
        let claim = fixture.claim(1, now);
        // Another request writes the bucket meanwhile, which drops what has expired.
        let mut neighbour = nonce(1000 + delivery);
        neighbour.0[8..16].copy_from_slice(&nonce(1).0[8..16]);
        let written = fixture.try_claim_of(neighbour, now + 100);
        assert!(matches!(written, Claimed::Yes(..)));
        fixture.abandon(&claim, now + 100);
    }
    assert_eq!(fixture.prior(1, 9000), Some(PriorDelivery::NeverAnswered));
}

#[test]
fn an_outcome_after_the_claim_has_lapsed_completes_the_nonce_unless_another_has_claimed_it() {
    type End = fn(&NonceTable, &MemoryMap, &Claim, Timestamp) -> Result<Change>;
    let ends: [(End, bool); 3] = [
        (NonceTable::complete, true),
        (NonceTable::release, false),
        (NonceTable::abandon, false),
    ];
    for (end, completes) in ends {
        let fixture = with_window(5);
        let Fixture { table, store } = &fixture;
        let first = fixture.claim(1, 0);
        let second = fixture.claim(1, 61);
        let change = end(table, store, &first, after(61)).expect("ended");
        assert_eq!(change, Change::default(), "the second has it now");
        // It was abandoned once, as far as anybody knows, and its count stays.
        assert_eq!(fixture.release(&second, 61).entries, 0);
        assert_eq!(fixture.prior(1, 61), None);
        end(table, store, &first, after(61)).expect("ended");
        for seconds in [61, 66, 121, 61 + DAY] {
            assert_eq!(fixture.prior(1, seconds).is_some(), completes, "{seconds}");
        }
        fixture.accept(1, 62 + DAY);
    }
}

#[test]
fn only_what_lets_a_retry_pass_counts_as_released() {
    let fixture = with_window(30);
    let released = |change: Change| change.released;
    let taken = fixture.claim(1, 0);
    assert_eq!(released(fixture.complete(&taken, 0)), Some(false));
    assert_eq!(released(fixture.release(&taken, 0)), None, "it is settled");
    let failed = fixture.claim(2, 0);
    assert_eq!(released(fixture.release(&failed, 0)), Some(true));
    assert_eq!(released(fixture.release(&failed, 0)), None);
    for _ in 0..MAX_ABANDONED {
        let left = fixture.claim(3, 0);
        assert_eq!(released(fixture.abandon(&left, 0)), Some(true));
    }
    let left = fixture.claim(3, 0);
    assert_eq!(
        released(fixture.abandon(&left, 0)),
        Some(false),
        "one too many"
    );
}
