use super::bucket::MAGIC;
use super::*;
use crate::cas_map::memory::MemoryMap;
use crate::time::Millis;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const START: Timestamp = Timestamp(1_800_000_000_000);

fn table(capacity: usize, on_full: OnFull) -> NonceTable {
    NonceTable::new(NonceRules {
        window: Millis::seconds(300),
        keep: Millis::seconds(86_400),
        max_pinned: Millis::seconds(330),
        capacity,
        on_full,
    })
}

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

struct Fixture {
    store: MemoryMap,
    table: NonceTable,
}

impl Fixture {
    fn new(capacity: usize, on_full: OnFull) -> Fixture {
        Fixture {
            store: MemoryMap::new(),
            table: table(capacity, on_full),
        }
    }

    fn with_window(window: Millis) -> Fixture {
        let rules = NonceRules {
            window,
            ..table(1000, OnFull::Reject).rules
        };
        Fixture {
            store: MemoryMap::new(),
            table: NonceTable::new(rules),
        }
    }

    fn try_claim(&self, number: u64, now: Timestamp) -> Claimed {
        let claimed = self
            .table
            .claim(&self.store, nonce(number), now.0 ^ number, None, now);
        claimed.expect("the memory store does not fail")
    }

    /// What is known of the first delivery.
    fn first(&self, number: u64, now: Timestamp) -> Option<PriorDelivery> {
        let known = self.table.find_prior(&self.store, nonce(number), now);
        let known = known.expect("the memory store does not fail");
        match self.try_claim(number, now) {
            Claimed::Duplicate(first) => assert_eq!(Some(first), known),
            other => panic!("not rejected: {other:?}"),
        }
        known
    }

    fn knows(&self, number: u64, now: Timestamp) -> bool {
        let known = self.table.find_prior(&self.store, nonce(number), now);
        known.expect("the memory store does not fail").is_some()
    }

    /// Claims it, and its sender leaves before there is an answer.
    fn hang_up(&self, number: u64, now: Timestamp) {
        let claim = self.claim(number, now);
        let abandoned = self.table.abandon(&self.store, &claim, now);
        abandoned.expect("abandoned");
    }

    fn awaiting_outcome(mut self) -> Fixture {
        self.table = self.table.awaiting_outcome(true);
        self
    }

    fn claim(&self, number: u64, now: Timestamp) -> Claim {
        match self.try_claim(number, now) {
            Claimed::Yes(claim, _) => claim,
            other => panic!("{other:?}"),
        }
    }

    fn accept(&self, number: u64, now: Timestamp) {
        let claim = self.claim(number, now);
        self.table.complete(&self.store, &claim, now).expect("kept");
    }
}

#[test]
fn a_nonce_is_claimed_once_while_it_is_on_its_way_and_after() {
    let fixture = Fixture::new(1000, OnFull::Reject);
    let claim = fixture.claim(1, START);
    assert!(matches!(
        fixture.try_claim(1, after(1)),
        Claimed::Duplicate(_)
    ));
    fixture
        .table
        .complete(&fixture.store, &claim, after(2))
        .expect("kept");
    for seconds in [3, 299, 302, 86_000] {
        assert!(matches!(
            fixture.try_claim(1, after(seconds)),
            Claimed::Duplicate(_)
        ));
        assert!(fixture.knows(1, after(seconds)), "{seconds}");
    }
    fixture.accept(1, after(86_401));
}

#[test]
fn a_released_nonce_can_be_claimed_again_at_once() {
    let fixture = Fixture::new(1000, OnFull::Reject);
    let claim = fixture.claim(1, START);
    fixture
        .table
        .release(&fixture.store, &claim, START)
        .expect("released");
    assert!(!fixture.knows(1, START));
    fixture.accept(1, START);
}

#[test]
fn only_its_own_claim_is_released() {
    let fixture = Fixture::new(1000, OnFull::Reject);
    let first = fixture.claim(1, START);
    fixture
        .table
        .release(&fixture.store, &first, START)
        .expect("released");
    let _second = fixture.claim(1, after(1));
    fixture
        .table
        .release(&fixture.store, &first, after(2))
        .expect("nothing to release");
    assert!(matches!(
        fixture.try_claim(1, after(3)),
        Claimed::Duplicate(_)
    ));
}

#[test]
fn a_nonce_that_was_settled_is_not_released_any_more() {
    let fixture = Fixture::with_window(Millis::seconds(30));
    let claim = fixture.claim(1, START);
    fixture
        .table
        .complete(&fixture.store, &claim, START)
        .expect("kept");
    fixture
        .table
        .release(&fixture.store, &claim, START)
        .expect("nothing to release");
    assert!(matches!(
        fixture.try_claim(1, after(1)),
        Claimed::Duplicate(_)
    ));
}

#[test]
fn the_usual_answer_writes_nothing_where_the_window_is_long_enough() {
    let fixture = Fixture::new(1000, OnFull::Reject);
    let claim = fixture.claim(1, START);
    assert!(claim.is_completed());
    let before = fixture.store.writes();
    fixture
        .table
        .complete(&fixture.store, &claim, after(5))
        .expect("kept");
    assert_eq!(fixture.store.writes(), before);
    // Any other answer finds it.
    fixture
        .table
        .release(&fixture.store, &claim, after(5))
        .expect("released");
    fixture.accept(1, after(6));
}

#[test]
fn a_short_window_starts_with_the_answer() {
    let fixture = Fixture::with_window(Millis::seconds(30));
    let claim = fixture.claim(1, START);
    assert!(!claim.is_completed());
    assert!(matches!(
        fixture.try_claim(1, after(60)),
        Claimed::Duplicate(_)
    ));
    fixture
        .table
        .complete(&fixture.store, &claim, after(50))
        .expect("kept");
    assert!(matches!(
        fixture.try_claim(1, after(80)),
        Claimed::Duplicate(_)
    ));
}

#[test]
fn a_claim_of_a_dead_worker_blocks_like_any_other() {
    // It may have reached the upstream.
    let fixture = Fixture::new(1000, OnFull::Reject);
    let _never_settled = fixture.claim(1, START);
    for seconds in [300, 301, 86_400] {
        let claimed = fixture.try_claim(1, after(seconds));
        assert!(matches!(claimed, Claimed::Duplicate(_)), "{seconds}");
    }
    fixture.accept(1, after(86_401));
    let fixture = Fixture::with_window(Millis::seconds(30));
    let _never_settled = fixture.claim(1, START);
    assert!(matches!(
        fixture.try_claim(1, after(60)),
        Claimed::Duplicate(_)
    ));
    fixture.accept(1, after(61));
}

#[test]
fn a_sender_who_hangs_up_can_repeat_only_a_few_times() {
    let fixture = Fixture::new(1000, OnFull::Reject);
    for _ in 0..=MAX_ABANDONED {
        let claim = fixture.claim(1, START);
        fixture
            .table
            .abandon(&fixture.store, &claim, START)
            .expect("abandoned");
    }
    assert!(matches!(fixture.try_claim(1, START), Claimed::Duplicate(_)));
}

#[test]
fn a_failing_upstream_does_not_reset_the_count_of_hang_ups() {
    let fixture = Fixture::new(1000, OnFull::Reject);
    for _ in 0..=MAX_ABANDONED {
        let claim = fixture.claim(1, START);
        fixture
            .table
            .release(&fixture.store, &claim, START)
            .expect("released");
        let claim = fixture.claim(1, START);
        fixture
            .table
            .abandon(&fixture.store, &claim, START)
            .expect("abandoned");
    }
    assert!(matches!(fixture.try_claim(1, START), Claimed::Duplicate(_)));
}

/// Finding 4: the count was forgotten after the window, and three more passed in each.
#[test]
fn hang_ups_are_counted_for_as_long_as_the_request_would_be_kept_and_not_anew_in_each_window() {
    let day = 86_400;
    for [first, second, third, fourth, then] in [
        [0, 301, 602, 903, 1204],
        [0, day, 2 * day, 3 * day, 4 * day],
    ] {
        let fixture = Fixture::new(1000, OnFull::Reject);
        for seconds in [first, second, third, fourth] {
            fixture.hang_up(1, after(seconds));
        }
        for seconds in [fourth, then] {
            let known = fixture.first(1, after(seconds));
            assert_eq!(known, Some(PriorDelivery::NeverAnswered), "{seconds}");
        }
        // And no longer.
        fixture.accept(1, after(fourth + day + 1));
    }
}

#[test]
fn a_failure_long_after_a_hang_up_does_not_start_the_count_again() {
    for awaits_outcome in [false, true] {
        let mut fixture = Fixture::new(1000, OnFull::Reject);
        fixture.table = fixture.table.awaiting_outcome(awaits_outcome);
        for delivery in 0..=u64::from(MAX_ABANDONED) {
            let now = after(delivery * 10_000);
            fixture.hang_up(1, now);
            if delivery < u64::from(MAX_ABANDONED) {
                let failed = fixture.claim(1, now.after(Millis::seconds(5_000)));
                let released = fixture.table.release(&fixture.store, &failed, now);
                released.expect("released");
            }
        }
        assert_eq!(
            fixture.first(1, after(40_000)),
            Some(PriorDelivery::NeverAnswered)
        );
    }
}

/// As long as it must be remembered, a request whose sender left keeps its place as one
/// that was accepted does: whoever fills the table does not make its count begin anew.
/// After that it goes as they do, and is counted as they are.
#[test]
fn the_count_of_hang_ups_goes_from_a_full_table_as_a_kept_request_does_and_no_sooner() {
    let fixture = Fixture::new(2, OnFull::Reject);
    fixture.hang_up(1, START);
    fixture.accept(2, after(1));
    assert!(matches!(fixture.try_claim(3, after(300)), Claimed::Full));
    let Claimed::Yes(_, change) = fixture.try_claim(3, after(301)) else {
        panic!("there is room");
    };
    assert_eq!(
        (change.evicted, change.evicted_age),
        (1, Millis::seconds(301)),
        "the one that was given up went, and was counted"
    );
    assert!(fixture.knows(2, after(301)));
}

/// A VM that dies leaves a claim that nobody settles. Nobody knows whether the upstream has
/// the request, as where the sender left; so as often, and no more often, it may come again.
#[test]
fn a_claim_that_lapses_counts_as_a_hang_up() {
    for (fixture, lapses) in [
        (Fixture::with_window(Millis::seconds(30)), 61),
        (Fixture::new(1000, OnFull::Reject).awaiting_outcome(), 301),
    ] {
        let mut now = START;
        for _ in 0..=MAX_ABANDONED {
            let _never_settled = fixture.claim(1, now);
            let last = now.after(Millis::seconds(lapses - 1));
            assert_eq!(fixture.first(1, last), Some(PriorDelivery::InFlight));
            now = now.after(Millis::seconds(lapses));
        }
        assert_eq!(fixture.first(1, now), Some(PriorDelivery::NeverAnswered));
    }
}

#[test]
fn a_hang_up_after_the_claim_has_lapsed_counts_once() {
    let fixture = Fixture::with_window(Millis::seconds(30));
    for delivery in 0..=u64::from(MAX_ABANDONED) {
        let now = after(delivery * 1000);
        let claim = fixture.claim(1, now);
        // Others write the bucket meanwhile, which drops what has expired.
        let lapsed = now.after(Millis::seconds(100));
        for other in 0..200 {
            fixture.accept(1000 + 1000 * delivery + other, lapsed);
        }
        let abandoned = fixture.table.abandon(&fixture.store, &claim, lapsed);
        abandoned.expect("abandoned");
    }
    assert_eq!(
        fixture.first(1, after(9000)),
        Some(PriorDelivery::NeverAnswered)
    );
}

/// Finding 6: who says that a request was taken has to know it.
#[test]
fn where_answers_are_awaited_a_claim_is_on_its_way_until_its_answer_and_kept_after_it() {
    let fixture = Fixture::new(1000, OnFull::Reject).awaiting_outcome();
    let claim = fixture.claim(1, START);
    assert!(!claim.is_completed());
    assert_eq!(fixture.first(1, after(59)), Some(PriorDelivery::InFlight));
    assert_eq!(fixture.first(1, after(299)), Some(PriorDelivery::InFlight));
    let before = fixture.store.writes();
    fixture
        .table
        .complete(&fixture.store, &claim, after(200))
        .expect("kept");
    assert_eq!(fixture.store.writes(), before + 1, "one write, for that");
    let age = Millis::seconds(300);
    assert_eq!(
        fixture.first(1, after(300)),
        Some(PriorDelivery::Accepted(age))
    );

    let failed = fixture.claim(2, START);
    assert_eq!(fixture.first(2, after(1)), Some(PriorDelivery::InFlight));
    fixture
        .table
        .release(&fixture.store, &failed, after(2))
        .expect("released");
    fixture.accept(2, after(2));
}

/// A worker that has the new configuration already, and one that has not.
#[test]
fn what_was_claimed_as_kept_is_not_known_to_be_taken_for_a_while_where_answers_are_awaited() {
    let mut fixture = Fixture::new(1000, OnFull::Reject);
    let _kept_in_advance = fixture.claim(1, START);
    fixture = fixture.awaiting_outcome();
    assert_eq!(fixture.first(1, after(59)), Some(PriorDelivery::InFlight));
    let age = Millis::seconds(60);
    assert_eq!(
        fixture.first(1, after(60)),
        Some(PriorDelivery::Accepted(age))
    );
}

#[test]
fn a_duplicate_tells_how_old_the_first_is() {
    let fixture = Fixture::new(1000, OnFull::Reject);
    fixture.accept(1, START);
    for seconds in [0, 12, 301, 86_400] {
        let age = Millis::seconds(seconds);
        assert_eq!(
            fixture.first(1, after(seconds)),
            Some(PriorDelivery::Accepted(age))
        );
    }
    let short = Fixture::with_window(Millis::seconds(30));
    let claim = short.claim(1, START);
    assert_eq!(short.first(1, after(10)), Some(PriorDelivery::InFlight));
    short
        .table
        .complete(&short.store, &claim, after(20))
        .expect("kept");
    let age = Millis::seconds(25);
    assert_eq!(
        short.first(1, after(25)),
        Some(PriorDelivery::Accepted(age))
    );
}

/// The mutant that survived: whichever is later, the window or the timestamp, counts.
#[test]
fn a_nonce_outlasts_its_window_and_its_timestamp() {
    for (until, last) in [(330, 330), (300, 300), (100, 300), (0, 300)] {
        for keep in [0, 10] {
            let mut fixture = Fixture::new(1, OnFull::Reject);
            fixture.table = NonceTable::new(NonceRules {
                keep: Millis::seconds(keep),
                ..fixture.table.rules
            });
            let until = Some(after(until));
            let claimed = fixture
                .table
                .claim(&fixture.store, nonce(1), 1, until, START);
            assert!(matches!(claimed, Ok(Claimed::Yes(..))));
            assert!(fixture.first(1, after(last)).is_some(), "{until:?}");
            assert!(matches!(fixture.try_claim(2, after(last)), Claimed::Full));
            fixture.accept(1, after(last + 1));
        }
    }
}

#[test]
fn a_full_table_rejects_until_something_need_not_be_remembered() {
    let fixture = Fixture::new(3, OnFull::Reject);
    for number in 0..3 {
        fixture.accept(number, after(number));
    }
    assert!(matches!(fixture.try_claim(9, after(300)), Claimed::Full));
    // 301 s: the first must no longer be remembered, the others must.
    let Claimed::Yes(claim, change) = fixture.try_claim(9, after(301)) else {
        panic!("there is room");
    };
    assert_eq!(
        change,
        Change {
            entries: 0,
            evicted: 1,
            evicted_age: Millis::seconds(301),
        }
    );
    fixture
        .table
        .complete(&fixture.store, &claim, after(301))
        .expect("kept");
    for number in 1..3 {
        assert!(matches!(
            fixture.try_claim(number, after(301)),
            Claimed::Duplicate(_)
        ));
    }
}

#[test]
fn a_capacity_of_one_holds_one() {
    let fixture = Fixture::new(1, OnFull::Reject);
    fixture.accept(1, START);
    assert!(matches!(fixture.try_claim(2, START), Claimed::Full));
    assert!(matches!(fixture.try_claim(1, START), Claimed::Duplicate(_)));
    fixture.accept(2, after(301));
}

#[test]
fn evict_oldest_makes_room_by_the_oldest() {
    let fixture = Fixture::new(2, OnFull::EvictOldest);
    for number in 0..3 {
        fixture.accept(number, after(number));
    }
    assert!(!fixture.knows(0, after(3)));
    assert!(fixture.knows(1, after(3)));
    assert!(fixture.knows(2, after(3)));
}

#[test]
fn a_signed_timestamp_is_remembered_until_it_is_stale() {
    let fixture = Fixture::new(1, OnFull::Reject);
    let until = after(330);
    let claimed = fixture
        .table
        .claim(&fixture.store, nonce(1), 1, Some(until), START);
    let Ok(Claimed::Yes(claim, _)) = claimed else {
        panic!("{claimed:?}");
    };
    fixture
        .table
        .complete(&fixture.store, &claim, START)
        .expect("kept");
    assert!(matches!(fixture.try_claim(2, after(330)), Claimed::Full));
    fixture.accept(2, after(331));
}

#[test]
fn a_damaged_bucket_rejects_until_what_it_lost_no_longer_matters() {
    for damage in [
        &b""[..],
        b"x",
        b"12345678",
        &MAGIC.to_le_bytes(),
        &[0xFF; 64],
    ] {
        let fixture = Fixture::new(3, OnFull::Reject);
        fixture.accept(1, START);
        let keys = fixture.store.key_names();
        assert!(fixture.store.host_set(&keys[0], damage, 0));
        assert!(
            matches!(fixture.try_claim(1, after(1)), Claimed::Damaged),
            "{damage:?}"
        );
        assert!(matches!(fixture.try_claim(1, after(330)), Claimed::Damaged));
        fixture.accept(1, after(332));
    }
}

#[test]
fn a_clock_that_goes_back_makes_nothing_acceptable_again() {
    let fixture = Fixture::new(10, OnFull::Reject);
    fixture.accept(1, after(1000));
    for seconds in [0, 500, 999, 1001] {
        assert!(matches!(
            fixture.try_claim(1, after(seconds)),
            Claimed::Duplicate(_)
        ));
    }
}

#[test]
fn entries_from_a_clock_that_was_ahead_fill_the_table_for_no_longer_than_others() {
    let fixture = Fixture::new(2, OnFull::Reject);
    fixture.accept(1, after(1_000_000));
    fixture.accept(2, after(1_000_000));
    assert!(matches!(fixture.try_claim(1, START), Claimed::Duplicate(_)));
    assert!(matches!(fixture.try_claim(3, START), Claimed::Full));
    assert!(matches!(fixture.try_claim(3, after(330)), Claimed::Full));
    fixture.accept(3, after(331));
}

#[test]
fn a_table_takes_what_it_promises_and_never_has_more_keys_than_buckets() {
    let fixture = Fixture::new(4096, OnFull::Reject);
    let taken =
        (0..4096).filter(|number| matches!(fixture.try_claim(*number, START), Claimed::Yes(..)));
    assert_eq!(taken.count(), 4096);
    assert!(fixture.store.keys() as u64 <= fixture.table.keys());
}

#[test]
fn the_end_of_time_does_not_overflow() {
    let fixture = Fixture::new(2, OnFull::Reject);
    let late = Timestamp(u64::MAX - 1);
    let _claim = fixture.claim(1, Timestamp((1 << 48) - 1000));
    assert!(matches!(
        fixture.try_claim(1, Timestamp((1 << 48) - 999)),
        Claimed::Duplicate(_)
    ));
    let _ = fixture.try_claim(2, late);
}

impl Fixture {
    /// The table of a worker that is configured with this capacity at this moment.
    fn joined(&self, capacity: usize, now: Timestamp) -> NonceTable {
        let mut table = table(capacity, OnFull::Reject);
        let generation = capacity as u64;
        let counts = [table.own_keys()];
        table
            .join(&self.store, generation, &counts, now)
            .expect("the memory store does not fail");
        table
    }
}

fn claim(table: &NonceTable, store: &MemoryMap, number: u64, id: u64, now: Timestamp) -> Claimed {
    let claimed = table.claim(store, nonce(number), id, None, now);
    claimed.expect("the memory store does not fail")
}

#[test]
fn what_was_accepted_under_another_capacity_is_still_rejected() {
    let fixture = Fixture::new(1, OnFull::Reject);
    let store = &fixture.store;
    let small = fixture.joined(100, START);
    let Claimed::Yes(accepted, _) = claim(&small, store, 1, 1, START) else {
        panic!("the first");
    };
    small.complete(store, &accepted, START).expect("kept");
    for capacity in [5000, 10, 100, 70_000] {
        let changed = fixture.joined(capacity, after(10));
        for seconds in [10, 1000, 86_399] {
            let repeat = claim(&changed, store, 1, 2, after(seconds));
            assert!(
                matches!(repeat, Claimed::Duplicate(_)),
                "{capacity} {seconds} {repeat:?}"
            );
            let known = changed.find_prior(store, nonce(1), after(seconds));
            let age = Millis::seconds(seconds);
            assert_eq!(known, Ok(Some(PriorDelivery::Accepted(age))));
        }
    }
}

#[test]
fn workers_with_the_old_and_the_new_capacity_accept_a_request_once() {
    for (first, second) in [(100, 5000), (5000, 100)] {
        let fixture = Fixture::new(1, OnFull::Reject);
        let store = &fixture.store;
        let old = fixture.joined(first, START);
        let new = fixture.joined(second, after(1));
        let newest = fixture.joined(20, after(2));
        let workers = [&old, &new, &newest];
        for number in 0..60 {
            let order = [number % 3, (number + 1) % 3, (number / 3) % 3];
            let accepted = order.iter().filter(|worker| {
                let id = 10 * number + **worker;
                let worker = workers[usize::try_from(**worker).expect("small")];
                matches!(claim(worker, store, number, id, after(3)), Claimed::Yes(..))
            });
            assert_eq!(accepted.count(), 1, "{first} to {second}, {number}");
        }
    }
}

#[test]
fn a_release_frees_a_nonce_under_every_capacity() {
    let fixture = Fixture::new(1, OnFull::Reject);
    let store = &fixture.store;
    let old = fixture.joined(100, START);
    let new = fixture.joined(5000, after(1));
    let Claimed::Yes(failed, _) = claim(&new, store, 1, 1, after(2)) else {
        panic!("the first");
    };
    assert!(matches!(
        claim(&old, store, 1, 2, after(2)),
        Claimed::Duplicate(_)
    ));
    new.release(store, &failed, after(3)).expect("released");
    assert!(matches!(
        claim(&old, store, 1, 3, after(3)),
        Claimed::Yes(..)
    ));
}

#[test]
fn a_table_that_was_full_can_be_made_larger() {
    let fixture = Fixture::new(1, OnFull::Reject);
    let store = &fixture.store;
    let small = fixture.joined(2, START);
    for number in 0..2 {
        assert!(matches!(
            claim(&small, store, number, number, START),
            Claimed::Yes(..)
        ));
    }
    assert!(matches!(claim(&small, store, 9, 9, START), Claimed::Full));
    // The same single bucket: more slots count at once.
    let larger = fixture.joined(50, after(1));
    assert!(matches!(
        claim(&larger, store, 9, 9, after(1)),
        Claimed::Yes(..)
    ));
}

#[test]
fn a_table_that_was_full_has_room_as_soon_as_it_is_made_larger() {
    let fixture = Fixture::new(1, OnFull::Reject);
    let store = &fixture.store;
    let small = fixture.joined(100, START);
    let full = (0..1000)
        .filter(|number| matches!(claim(&small, store, *number, *number, START), Claimed::Full));
    assert!(full.count() > 500);
    let larger = fixture.joined(5000, after(1));
    for number in 2000..4000 {
        let claimed = claim(&larger, store, number, number, after(1));
        assert!(matches!(claimed, Claimed::Yes(..)), "{number}: {claimed:?}");
    }
}

#[test]
fn webhooks_of_different_capacities_share_what_is_remembered_and_not_their_room() {
    let store = MemoryMap::new();
    let mut tables = [table(5000, OnFull::Reject), table(5, OnFull::Reject)];
    let counts = [tables[0].own_keys(), tables[1].own_keys()];
    for _ in 0..2 {
        for table in &mut tables {
            table.join(&store, 1, &counts, START).expect("joined");
        }
    }
    let [large, small] = &tables;
    for number in 0..1000 {
        let claimed = claim(large, &store, number, number, START);
        assert!(matches!(claimed, Claimed::Yes(..)), "{number}: {claimed:?}");
        let elsewhere = claim(small, &store, number, 5000 + number, START);
        assert!(
            matches!(elsewhere, Claimed::Duplicate(_)),
            "{number}: {elsewhere:?}"
        );
    }
    for number in 2000..2005 {
        let claimed = claim(small, &store, number, number, START);
        assert!(matches!(claimed, Claimed::Yes(..)), "{number}: {claimed:?}");
    }
    assert!(matches!(
        claim(small, &store, 2005, 2005, START),
        Claimed::Full
    ));
}

#[test]
fn a_damaged_directory_starts_anew() {
    let fixture = Fixture::new(1, OnFull::Reject);
    let key = Buckets::directory_key(NAME);
    for damage in [&b"x"[..], b"", &[0xFF; 24]] {
        assert!(fixture.store.host_set(&key, damage, 0));
        let table = fixture.joined(100, START);
        assert_eq!(table.layouts.len(), 1);
    }
}

#[test]
fn the_directory_is_bounded() {
    let fixture = Fixture::new(1, OnFull::Reject);
    for capacity in (100..10_000).step_by(100) {
        let table = fixture.joined(capacity, START);
        assert!(table.layouts.len() <= 8 && table.layouts.iter().any(Layout::is_own));
    }
}

/// A millisecond after the last at which a claim blocks that nobody has settled.
fn lapsed() -> Timestamp {
    START.after(IN_FLIGHT).after(Millis(1))
}

/// The first claim has lapsed, and what a second one has come to is up to the test.
fn with_a_lapsed_claim() -> (Fixture, Claim, Claim) {
    let fixture = Fixture::with_window(Millis::seconds(5));
    let first = fixture.claim(1, START);
    let second = fixture.claim(1, lapsed());
    (fixture, first, second)
}

#[test]
fn an_answer_after_its_claim_has_lapsed_and_another_was_released_keeps_the_nonce() {
    let (fixture, first, second) = with_a_lapsed_claim();
    let Fixture { table, store } = &fixture;
    // It has been left by its senders once, which is remembered.
    table.release(store, &second, lapsed()).expect("released");
    assert!(!fixture.knows(1, lapsed()));
    table.complete(store, &first, lapsed()).expect("kept");
    for seconds in [0, 5, 60, 86_000] {
        let now = lapsed().after(Millis::seconds(seconds));
        assert!(
            matches!(fixture.try_claim(1, now), Claimed::Duplicate(_)),
            "{seconds}"
        );
    }
    let forgotten = lapsed().after(Millis::seconds(86_400)).after(Millis(1));
    assert!(matches!(fixture.try_claim(1, forgotten), Claimed::Yes(..)));
}

#[test]
fn a_failure_after_its_claim_has_lapsed_keeps_nothing() {
    type End = fn(&NonceTable, &MemoryMap, &Claim, Timestamp) -> Result<Change, CasError>;
    let ends: [End; 2] = [NonceTable::release, NonceTable::abandon];
    for end in ends {
        let (fixture, first, second) = with_a_lapsed_claim();
        let Fixture { table, store } = &fixture;
        table.release(store, &second, lapsed()).expect("released");
        end(table, store, &first, lapsed()).expect("ended");
        assert!(matches!(fixture.try_claim(1, lapsed()), Claimed::Yes(..)));
    }
}

#[test]
fn an_answer_after_its_claim_has_lapsed_leaves_another_claim_alone() {
    let (fixture, first, second) = with_a_lapsed_claim();
    let Fixture { table, store } = &fixture;
    let change = table.complete(store, &first, lapsed()).expect("kept");
    assert_eq!(change, Change::default());
    table.release(store, &second, lapsed()).expect("released");
    assert!(matches!(fixture.try_claim(1, lapsed()), Claimed::Yes(..)));
}

/// One nonce and no more, with a window shorter than an answer may take.
fn with_room_for_one(window: u64) -> Fixture {
    let rules = NonceRules {
        window: Millis::seconds(window),
        ..table(1, OnFull::Reject).rules
    };
    Fixture {
        store: MemoryMap::new(),
        table: NonceTable::new(rules),
    }
}

#[test]
fn what_was_answered_late_must_be_remembered_for_a_window_from_then_on() {
    let fixture = with_room_for_one(50);
    let claim = fixture.claim(1, START);
    fixture
        .table
        .complete(&fixture.store, &claim, after(40))
        .expect("kept");
    for seconds in [41, 61, 90] {
        assert!(
            matches!(fixture.try_claim(2, after(seconds)), Claimed::Full),
            "{seconds}"
        );
    }
    assert!(matches!(fixture.try_claim(2, after(91)), Claimed::Yes(..)));
}

#[test]
fn what_is_learned_from_another_envoy_is_remembered_for_as_long_as_there_and_as_settled() {
    let fixture = with_room_for_one(300);
    let claim = fixture.claim(1, START);
    let learn = |fixture: &Fixture, claim: &Claim, is_taken, seconds| {
        let left = Millis::seconds(seconds);
        let learned = fixture
            .table
            .record_remote(&fixture.store, claim, is_taken, left, START);
        learned.expect("learned");
    };
    learn(&fixture, &claim, true, 10);
    assert!(matches!(fixture.try_claim(2, after(10)), Claimed::Full));
    assert!(matches!(fixture.try_claim(2, after(11)), Claimed::Yes(..)));

    for (is_taken, expected) in [
        (true, PriorDelivery::Accepted(Millis::seconds(1))),
        (false, PriorDelivery::NeverAnswered),
    ] {
        let fixture = Fixture::new(1000, OnFull::Reject).awaiting_outcome();
        let claim = fixture.claim(1, START);
        assert_eq!(fixture.first(1, after(1)), Some(PriorDelivery::InFlight));
        learn(&fixture, &claim, is_taken, 86_400);
        assert_eq!(fixture.first(1, after(1)), Some(expected));
    }
}

#[test]
fn a_delivery_after_as_many_hang_ups_as_may_be_is_taken_for_one_that_was_answered() {
    let fixture = Fixture::new(1000, OnFull::Reject);
    for _ in 0..MAX_ABANDONED {
        fixture.hang_up(1, START);
    }
    fixture.accept(1, START);
    assert_eq!(
        fixture.first(1, after(1)),
        Some(PriorDelivery::Accepted(Millis::seconds(1)))
    );
}

#[test]
fn hang_ups_are_forgotten_when_they_are_no_longer_kept() {
    let fixture = Fixture::new(1000, OnFull::Reject);
    for _ in 0..MAX_ABANDONED {
        fixture.hang_up(1, START);
    }
    let later = after(86_400).after(Millis(1));
    for _ in 0..MAX_ABANDONED {
        fixture.hang_up(1, later);
    }
    fixture.hang_up(1, later);
    assert!(matches!(
        fixture.try_claim(1, later),
        Claimed::Duplicate(PriorDelivery::NeverAnswered)
    ));
}

#[test]
fn a_bucket_that_is_not_the_tables_own_to_the_byte_rejects_until_nothing_that_it_lost_matters() {
    let fixture = Fixture::new(1000, OnFull::Reject);
    fixture.accept(1, START);
    let [name] = &fixture.store.key_names()[..] else {
        panic!("one bucket");
    };
    let genuine = fixture
        .store
        .get(name)
        .expect("stored")
        .expect("stored")
        .value;
    assert_eq!(genuine.len(), 16 + 32);
    let mut other_magic = genuine.clone();
    other_magic[0] ^= 1;
    let mut no_state = genuine.clone();
    // The state's lowest bits, in whichever byte: there is none with both of them set.
    let indices: Vec<usize> = (16..48).collect();
    let damaged_states = indices.iter().filter(|index| {
        let mut value = genuine.clone();
        value[**index] |= 3;
        Bucket::read(value).is_none()
    });
    assert_eq!(
        damaged_states.clone().count(),
        1,
        "one byte holds the state"
    );
    for index in damaged_states {
        no_state[*index] |= 3;
    }
    for value in [other_magic, no_state, [&genuine[..], b"abc"].concat()] {
        assert!(fixture.store.host_set(name, &value, 0));
        assert!(matches!(fixture.try_claim(1, START), Claimed::Damaged));
        let ends = after(330);
        assert!(matches!(
            fixture.try_claim(1, ends.before(Millis(1))),
            Claimed::Damaged
        ));
        assert!(matches!(fixture.try_claim(1, ends), Claimed::Yes(..)));
    }
}

#[test]
fn a_claim_is_one_entry_more_and_its_table_knows_how_many_keys_it_may_have() {
    let fixture = Fixture::new(65_536, OnFull::Reject);
    let Claimed::Yes(_, change) = fixture.try_claim(1, START) else {
        panic!("not claimed");
    };
    assert_eq!(change.entries, 1);
    assert_eq!(fixture.table.own_keys(), fixture.table.keys());
    assert!(fixture.table.own_keys() > 1_000);
}

fn earlier(table: &NonceTable) -> &Layout {
    let mut layouts = table.layouts.iter();
    layouts
        .find(|layout| !layout.is_own())
        .expect("an earlier layout")
}

#[test]
fn an_earlier_layout_is_claimed_in_for_the_change_over_and_asked_until_all_in_it_has_expired() {
    let fixture = Fixture::new(1, OnFull::Reject);
    fixture.joined(5_000, START);
    let writes = fixture.store.writes();
    let table = fixture.joined(100, START);
    assert_eq!(fixture.store.writes(), writes + 1);
    for (seconds, expected) in [
        (0, Use::Claim),
        (900, Use::Claim),
        (901, Use::Check),
        (900 + 86_400, Use::Check),
        (901 + 86_400, Use::None),
    ] {
        let layout = earlier(&table);
        assert!(layout.used_at(after(seconds)) == expected, "{seconds}");
        let may_hold = expected != Use::None;
        assert_eq!(
            layout.may_hold_a_claim_at(after(seconds)),
            may_hold,
            "{seconds}"
        );
    }
    // Who joins with a capacity that is known already has nothing to write.
    fixture.joined(100, START);
    assert_eq!(fixture.store.writes(), writes + 1);
}

#[test]
fn a_capacity_that_another_webhook_has_now_and_an_older_configuration_had_is_claimed_in() {
    let store = MemoryMap::new();
    let mut old = table(5_000, OnFull::Reject);
    let count = old.own_keys();
    old.join(&store, 1, &[count], START).expect("joined");
    let mut new = table(5, OnFull::Reject);
    let counts = [count, new.own_keys()];
    new.join(&store, 2, &counts, START).expect("joined");
    assert!(earlier(&new).used_at(START) == Use::Claim);
    assert!(
        earlier(&new).used_at(after(1_000_000)) == Use::Check,
        "for as long as it is used"
    );
}

#[test]
fn a_directory_with_a_line_that_cannot_be_starts_anew() {
    let fixture = Fixture::new(1, OnFull::Reject);
    fixture.joined(5_000, START);
    let key = Buckets::directory_key(NAME);
    let genuine = fixture
        .store
        .get(&key)
        .expect("stored")
        .expect("stored")
        .value;
    let (magic, line) = genuine.split_at(8);
    assert_eq!(line.len(), 24);
    let zero = |index: usize| {
        let mut line = line.to_vec();
        line[index..index + 8].fill(0);
        line
    };
    let layouts = |lines: &[u8]| {
        assert!(fixture.store.host_set(&key, &[magic, lines].concat(), 0));
        fixture.joined(100, START).layouts.len()
    };
    assert_eq!(layouts(line), 2);
    assert_eq!(layouts(&zero(0)), 1, "no buckets");
    assert_eq!(layouts(&zero(8)), 1, "no slots");
    let mut many: Vec<Vec<u8>> = (1..=9).map(|_| line.to_vec()).collect();
    for (count, line) in (1..).zip(&mut many) {
        line[0] = count;
    }
    assert_eq!(layouts(&many[..7].concat()), 8);
    assert_eq!(layouts(&many.concat()), 1, "more than are ever written");
}

#[test]
fn a_claim_says_whose_it_is_and_until_when_it_must_be_remembered() {
    let table = table(100, OnFull::Reject);
    let claim = table.prepare(nonce(1), 77, None, START);
    assert_eq!((claim.id(), claim.pinned_until()), (77, after(300)));
    let claim = table.prepare(nonce(1), 78, Some(after(330)), START);
    assert_eq!((claim.id(), claim.pinned_until()), (78, after(330)));
}

#[test]
fn what_is_released_is_one_entry_less_and_what_is_learned_ends_as_it_does_elsewhere() {
    let fixture = Fixture::new(1000, OnFull::Reject);
    let Fixture { table, store } = &fixture;
    let released = table.release(store, &fixture.claim(1, START), START);
    assert_eq!(released.expect("released").entries, -1);

    let claim = fixture.claim(1, START);
    let left = Millis::seconds(10);
    table
        .record_remote(store, &claim, true, left, START)
        .expect("learned");
    assert!(matches!(
        fixture.try_claim(1, after(10)),
        Claimed::Duplicate(_)
    ));
    assert!(matches!(fixture.try_claim(1, after(11)), Claimed::Yes(..)));
}

#[test]
fn where_nothing_is_kept_beyond_the_window_the_age_counts_from_the_answer() {
    let rules = NonceRules {
        window: Millis::seconds(50),
        keep: Millis::seconds(10),
        ..table(1000, OnFull::Reject).rules
    };
    let fixture = Fixture {
        store: MemoryMap::new(),
        table: NonceTable::new(rules),
    };
    let claim = fixture.claim(1, START);
    fixture
        .table
        .complete(&fixture.store, &claim, after(40))
        .expect("kept");
    assert_eq!(
        fixture.first(1, after(90)),
        Some(PriorDelivery::Accepted(Millis::seconds(50)))
    );
    assert!(!fixture.knows(1, after(91)));
}
