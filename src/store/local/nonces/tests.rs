//! Exact boundaries and single cases. `tests/model` checks the table against a plain map,
//! for random operations, capacities and interleavings.

use super::bucket::MAGIC;
use super::*;
use crate::cas_map::memory::MemoryMap;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const START: Timestamp = Timestamp(1_800_000_000_000);
const DAY: u64 = 86_400;

/// One table and its store. Times are seconds after [`START`].
struct Fixture {
    store: MemoryMap,
    table: NonceTable,
}

fn rules(capacity: usize) -> NonceRules {
    NonceRules {
        window: Millis::seconds(300),
        keep: Millis::seconds(DAY),
        max_pinned: Millis::seconds(330),
        capacity,
        on_full: OnFull::Reject,
    }
}

fn of(rules: NonceRules) -> Fixture {
    Fixture {
        store: MemoryMap::new(),
        table: NonceTable::new(rules),
    }
}

fn with_capacity(capacity: usize) -> Fixture {
    of(rules(capacity))
}

fn with_window(seconds: u64) -> Fixture {
    of(NonceRules {
        window: Millis::seconds(seconds),
        ..rules(1000)
    })
}

fn awaiting_outcome() -> Fixture {
    let Fixture { store, table } = with_capacity(1000);
    let table = table.awaiting_outcome(true);
    Fixture { store, table }
}

/// Evenly spread, as the hash of a MAC is.
fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 32];
    let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8..16].copy_from_slice(&spread.to_be_bytes());
    Nonce(bytes)
}

fn after(seconds: u64) -> Timestamp {
    START.after(Millis::seconds(seconds))
}

fn age(seconds: u64) -> PriorDelivery {
    PriorDelivery::Accepted(Millis::seconds(seconds))
}

fn claim(table: &NonceTable, store: &MemoryMap, nonce: Nonce, now: Timestamp) -> Claimed {
    let id = now.0 ^ fingerprint(nonce);
    let claimed = table.claim(store, nonce, id, None, now);
    claimed.expect("the memory store does not fail")
}

impl Fixture {
    fn try_claim(&self, number: u64, seconds: u64) -> Claimed {
        self.try_claim_of(nonce(number), seconds)
    }

    fn try_claim_of(&self, nonce: Nonce, seconds: u64) -> Claimed {
        claim(&self.table, &self.store, nonce, after(seconds))
    }

    fn claim(&self, number: u64, seconds: u64) -> Claim {
        self.claim_and_change(number, seconds).0
    }

    fn claim_and_change(&self, number: u64, seconds: u64) -> (Claim, Change) {
        match self.try_claim(number, seconds) {
            Claimed::Yes(claim, change) => (claim, change),
            other => panic!("{number} at {seconds}: {other:?}"),
        }
    }

    fn complete(&self, claim: &Claim, seconds: u64) -> Change {
        let change = self.table.complete(&self.store, claim, after(seconds));
        change.expect("completed")
    }

    fn release(&self, claim: &Claim, seconds: u64) -> Change {
        let change = self.table.release(&self.store, claim, after(seconds));
        change.expect("released")
    }

    fn abandon(&self, claim: &Claim, seconds: u64) -> Change {
        let change = self.table.abandon(&self.store, claim, after(seconds));
        change.expect("abandoned")
    }

    fn record_remote(&self, claim: &Claim, is_taken: bool, left: u64) {
        let (store, left) = (&self.store, Millis::seconds(left));
        let change = self
            .table
            .record_remote(store, claim, is_taken, left, START);
        change.expect("recorded");
    }

    fn accept(&self, number: u64, seconds: u64) {
        self.complete(&self.claim(number, seconds), seconds);
    }

    /// Claims it, and its sender leaves before there is an answer.
    fn hang_up(&self, number: u64, seconds: u64) {
        self.abandon(&self.claim(number, seconds), seconds);
    }

    /// Returns what a repeat is told, which is the same by looking and by claiming; `None` if
    /// looking finds nothing.
    fn prior(&self, number: u64, seconds: u64) -> Option<PriorDelivery> {
        let now = after(seconds);
        let prior = self.table.find_prior(&self.store, nonce(number), now);
        let prior = prior.expect("the memory store does not fail");
        if let Some(prior) = prior {
            match self.try_claim(number, seconds) {
                Claimed::Duplicate(told) => assert_eq!(told, prior),
                other => panic!("{number} at {seconds} is not rejected: {other:?}"),
            }
        }
        prior
    }

    fn is_full(&self, number: u64, seconds: u64) -> bool {
        matches!(self.try_claim(number, seconds), Claimed::Full)
    }

    fn is_damaged(&self, number: u64, seconds: u64) -> bool {
        matches!(self.try_claim(number, seconds), Claimed::Damaged)
    }
}

#[test]
fn an_accepted_nonce_is_a_repeat_for_as_long_as_it_is_retained_and_tells_its_age() {
    let fixture = with_capacity(1000);
    let claim = fixture.claim(1, 0);
    assert_eq!(fixture.prior(1, 1), Some(age(1)));
    fixture.complete(&claim, 2);
    for seconds in [2, 299, 301, DAY] {
        assert_eq!(fixture.prior(1, seconds), Some(age(seconds)));
    }
    assert_eq!(fixture.prior(1, DAY + 1), None);
    fixture.accept(1, DAY + 1);
}

#[test]
fn the_window_counts_where_it_is_longer_than_the_retention() {
    let fixture = of(NonceRules {
        window: Millis::seconds(50),
        keep: Millis::seconds(10),
        ..rules(1000)
    });
    let claim = fixture.claim(1, 0);
    fixture.complete(&claim, 40);
    assert_eq!(fixture.prior(1, 90), Some(age(50)));
    assert_eq!(fixture.prior(1, 91), None);
}

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
fn a_claim_names_its_request_and_until_when_its_record_is_pinned() {
    let table = with_capacity(100).table;
    for (until, pinned) in [(None, 300), (Some(330), 330), (Some(100), 300)] {
        let claim = table.prepare(nonce(1), 77, until.map(after), START);
        assert_eq!((claim.id(), claim.pinned_until()), (77, after(pinned)));
        assert_eq!(claim.nonce(), nonce(1));
    }
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

/// Whichever is later, the window or the timestamp, counts.
#[test]
fn a_record_is_pinned_for_its_window_and_until_its_timestamp_is_stale() {
    for (until, last) in [(330, 330), (300, 300), (100, 300), (0, 300)] {
        for keep in [0, 10, DAY] {
            let fixture = of(NonceRules {
                keep: Millis::seconds(keep),
                ..rules(1)
            });
            let Fixture { table, store } = &fixture;
            let claimed = table.claim(store, nonce(1), 1, Some(after(until)), START);
            assert!(matches!(claimed, Ok(Claimed::Yes(..))));
            assert!(fixture.prior(1, last).is_some(), "{until}");
            assert!(fixture.is_full(2, last), "{until}");
            fixture.accept(2, last + 1);
        }
    }
}

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
fn what_another_envoy_has_is_retained_for_as_long_as_there_and_as_settled() {
    let fixture = with_capacity(1);
    fixture.record_remote(&fixture.claim(1, 0), true, 10);
    assert!(fixture.is_full(2, 10));
    fixture.accept(2, 11);
    for (is_taken, expected) in [(true, age(1)), (false, PriorDelivery::NeverAnswered)] {
        let fixture = awaiting_outcome();
        let claim = fixture.claim(1, 0);
        fixture.record_remote(&claim, is_taken, DAY);
        assert_eq!(fixture.prior(1, 1), Some(expected));
    }
    let fixture = with_capacity(1000);
    fixture.record_remote(&fixture.claim(1, 0), true, 10);
    assert!(fixture.prior(1, 10).is_some());
    fixture.accept(1, 11);
}

#[test]
fn a_value_that_is_not_the_tables_own_to_the_byte_rejects_until_nothing_that_it_lost_matters() {
    let fixture = with_capacity(1000);
    fixture.accept(1, 0);
    let name = &fixture.store.key_names()[0];
    let genuine = fixture.store.get(name).expect("stored").expect("stored");
    let genuine = genuine.value;
    assert_eq!(genuine.len(), 16 + 32);
    let changed = |index: usize, bits: u8| {
        let mut value = genuine.clone();
        value[index] |= bits;
        value
    };
    // The state's lowest bits, in whichever byte: there is none with both of them set.
    let no_state: Vec<_> = (16..48)
        .map(|index| changed(index, 3))
        .filter(|value| Bucket::read(value.clone()).is_none())
        .collect();
    assert_eq!(no_state.len(), 1, "one byte holds the state");
    for value in [
        no_state[0].clone(),
        changed(0, 0x80),
        [&genuine[..], b"abc"].concat(),
        genuine[..8].to_vec(),
        MAGIC.to_le_bytes().to_vec(),
        vec![0xFF; 64],
        b"x".to_vec(),
        vec![],
    ] {
        assert!(fixture.store.host_set(name, &value, 0));
        assert!(fixture.is_damaged(1, 0), "{value:?}");
        assert!(fixture.is_damaged(1, 329), "{value:?}");
        fixture.accept(1, 330);
    }
}

#[test]
fn a_clock_that_goes_back_makes_nothing_acceptable_again() {
    let fixture = with_capacity(10);
    fixture.accept(1, 1000);
    for seconds in [0, 500, 999, 1001] {
        assert!(fixture.prior(1, seconds).is_some(), "{seconds}");
    }
}

/// Two tables of different shares in one bucket: the smaller one is full, and a clock was ahead.
#[test]
fn a_full_bucket_whose_clocks_are_put_right_loses_nothing_and_forgets_no_hang_up() {
    let rules = |capacity| NonceRules {
        keep: Millis::seconds(400),
        ..rules(capacity)
    };
    let larger = of(rules(3));
    let smaller = NonceTable::new(rules(2)).awaiting_outcome(true);
    let mut stored = larger.claim_and_change(9, 0).1.entries;
    let (left, change) = larger.claim_and_change(1, 390);
    stored += change.entries + larger.abandon(&left, 390).entries;
    let taken =
        [5, 6].map(
            |number| match claim(&smaller, &larger.store, nonce(number), after(395)) {
                Claimed::Yes(taken, change) => (taken, change),
                other => panic!("{number}: {other:?}"),
            },
        );
    for (taken, change) in taken {
        let ahead = smaller.complete(&larger.store, &taken, after(900));
        stored += change.entries + ahead.expect("completed").entries;
    }
    // The record of 9 has expired, and that of 1 is in nobody's way.
    let full = claim(&smaller, &larger.store, nonce(1), after(401));
    assert!(matches!(full, Claimed::Full), "{full:?}");
    let value = larger.store.get(&larger.table.key(nonce(1)));
    let value = value.expect("the memory store does not fail");
    let bucket = Bucket::read(value.expect("a bucket").value).expect("undamaged");
    assert_eq!(bucket.len() as i64, stored, "what the gauge shows");
    let corrected = bucket.find(fingerprint(nonce(5))).expect("it stays");
    assert_eq!(corrected.pinned_until, after(401 + 330));
    for seconds in [402, 403, 404] {
        larger.hang_up(1, seconds);
    }
    assert_eq!(larger.prior(1, 405), Some(PriorDelivery::NeverAnswered));
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

#[test]
fn records_from_a_clock_that_was_ahead_fill_the_table_for_no_longer_than_others() {
    let fixture = with_capacity(2);
    fixture.accept(1, 1_000_000);
    fixture.accept(2, 1_000_000);
    assert!(fixture.prior(1, 0).is_some());
    assert!(fixture.is_full(3, 0) && fixture.is_full(3, 330));
    fixture.accept(3, 331);
}

#[test]
fn the_end_of_time_does_not_overflow() {
    let Fixture { store, table } = with_capacity(2);
    let late = (1 << 48) - 1000;
    let _claim = claim(&table, &store, nonce(1), Timestamp(late));
    let again = claim(&table, &store, nonce(1), Timestamp(late + 1));
    assert!(matches!(again, Claimed::Duplicate(_)));
    let _ = claim(&table, &store, nonce(2), Timestamp(u64::MAX - 1));
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
