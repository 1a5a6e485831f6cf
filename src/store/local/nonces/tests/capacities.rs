//! How many records a table holds, and what becomes of them where that changes.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn a_full_table_rejects_until_a_record_is_no_longer_pinned() {
    let fixture = with_capacity(3);
    for number in 0..3 {
        fixture.accept(number, number);
    }
    assert!(fixture.is_full(9, 300));
    let (_, change) = fixture.claim_and_change(9, 301);
    let expected = Change {
        entries: 0,
        evicted: 1,
        evicted_age: Millis::seconds(301),
        released: None,
    };
    assert_eq!(change, expected);
    for number in 1..3 {
        assert!(fixture.prior(number, 301).is_some());
    }
}

#[test]
fn a_table_holds_its_capacity_in_no_more_keys_than_it_says() {
    for capacity in [1, 64, 65, 1000, 16_384, 65_536] {
        let fixture = with_capacity(capacity);
        for number in 0..capacity as u64 {
            assert_eq!(fixture.claim_and_change(number, 0).1.entries, 1);
        }
        assert!(fixture.store.keys() as u64 <= fixture.table.keys());
    }
}

#[test]
fn a_table_has_one_bucket_or_a_fixed_number_and_slots_by_its_capacity() {
    for (capacity, keys, slots) in [
        (1, 16_385, 1),
        (64, 16_385, 64),
        (65, 16_384, 7),
        (6_553, 16_384, 7),
        (6_554, 16_384, 8),
        (65_536, 16_384, 16),
        (65_537, 16_384, 17),
        (4_194_304, 16_384, 646),
    ] {
        let table = with_capacity(capacity).table;
        assert_eq!((table.keys(), table.buckets.slots()), (keys, slots));
    }
}

#[test]
fn a_changed_capacity_forgets_nothing_and_tables_of_any_capacity_share_their_records() {
    for capacities in [
        &[1000, 65, 5000, 70_000][..],
        &[3, 1, 64, 20],
        &[64, 1000, 3, 70_000, 20],
    ] {
        let store = MemoryMap::new();
        for (index, accepting) in (0..).zip(capacities) {
            let table = with_capacity(*accepting).table;
            let claimed = claim(&table, &store, nonce(index), START);
            assert!(matches!(claimed, Claimed::Yes(..)), "{accepting}");
            for rejecting in capacities {
                let table = with_capacity(*rejecting).table;
                for seconds in [0, 1000, DAY] {
                    let prior = table.find_prior(&store, nonce(index), after(seconds));
                    assert_eq!(prior, Ok(Some(age(seconds))), "{accepting}, {rejecting}");
                    let again = claim(&table, &store, nonce(index), after(seconds));
                    assert!(matches!(again, Claimed::Duplicate(_)), "{again:?}");
                }
            }
        }
    }
}

/// `tests/model/capacities.rs` has tables of any capacities side by side.
#[test]
fn a_table_that_was_full_has_room_as_soon_as_its_capacity_is_changed() {
    // All in one bucket, however many there are.
    let crowded = |number: u64| {
        let mut crowded = nonce(number);
        crowded.0[8..16].fill(0);
        crowded
    };
    for (before, then) in [(2, 50), (50, 2), (100, 65_536), (65_536, 100)] {
        let store = MemoryMap::new();
        for (capacity, from) in [(before, 0), (then, 1000)] {
            let table = with_capacity(capacity).table;
            let slots = table.buckets.slots() as u64;
            for number in from..=from + slots {
                let claimed = claim(&table, &store, crowded(number), START);
                let is_full = matches!(claimed, Claimed::Full);
                assert_eq!(is_full, number == from + slots, "{number}: {claimed:?}");
            }
        }
    }
}
