//! Exact boundaries and single cases. `tests/model` checks limiters against a plain list of
//! moments, for random requests, floods, clocks and interleavings.

use super::bucket::MAGIC;
use super::*;
use crate::cas_map::memory::MemoryMap;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const MINUTE: u64 = 60_000;

/// One limiter, of a window of a minute, and its store. Times are milliseconds after the
/// start.
struct Fixture {
    limiter: Limiter,
    store: MemoryMap,
}

/// With room for twelve keys in one bucket.
fn limit(requests: u32) -> Fixture {
    with_capacity(requests, 12)
}

fn with_capacity(requests: u32, capacity: usize) -> Fixture {
    let window = Millis(MINUTE);
    Fixture {
        limiter: Limiter::new("test", Limit { requests, window }, capacity),
        store: MemoryMap::new(),
    }
}

fn at(millis: u64) -> Timestamp {
    Timestamp(1_800_000_000_000).after(Millis(millis))
}

/// As evenly as the keyed hash spreads addresses.
fn spread(key: u64) -> u64 {
    key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Fixture {
    /// Counts a request. Returns how long the key has to wait, if it is limited.
    fn wait(&self, key: u64, millis: u64) -> Option<u64> {
        let (store, key) = (&self.store, spread(key));
        let counted = self.limiter.check_and_count(store, key, at(millis));
        match counted.expect("the memory store does not fail") {
            CheckResult::Permitted(_) => None,
            CheckResult::Limited(Millis(wait)) => Some(wait),
        }
    }

    fn passes(&self, key: u64, millis: u64) -> bool {
        self.wait(key, millis).is_none()
    }

    /// Returns how many requests of a key pass at one moment.
    fn passes_in_a_row(&self, key: u64, millis: u64) -> usize {
        (0..100).take_while(|_| self.passes(key, millis)).count()
    }

    /// Returns how long a key has to wait, without counting anything.
    fn check(&self, key: u64, millis: u64) -> Option<u64> {
        let wait = self.limiter.check(&self.store, spread(key), at(millis));
        Some(wait.expect("the memory store does not fail")?.0)
    }

    fn undo(&self, key: u64, counted_at: u64, millis: u64) {
        let permit = self.limiter.permit_at(at(counted_at));
        let (store, key) = (&self.store, spread(key));
        let undone = self.limiter.undo(store, key, permit, at(millis));
        undone.expect("the memory store does not fail");
    }

    fn value(&self, key: u64) -> Vec<u8> {
        let value = self.store.get(&self.limiter.bucket_key(spread(key)));
        value.expect("stored").expect("stored").value
    }
}

#[test]
fn sixty_pass_and_the_sixty_first_waits_until_the_first_is_a_window_old() {
    let fixture = with_capacity(60, 100);
    for request in 0..60 {
        assert!(fixture.passes(1, request), "{request}");
    }
    assert_eq!(fixture.wait(1, 60), Some(59_940));
    assert!(fixture.passes(2, 60), "another key");
    assert!(!fixture.passes(1, 59_999));
    assert!(fixture.passes(1, 60_000));
    assert!(!fixture.passes(1, 60_000));
    assert!(fixture.passes(1, 60_001));
}

#[test]
fn a_key_that_waits_as_long_as_told_passes_and_a_millisecond_earlier_it_does_not() {
    for requests in [1, 5, 64, 65, 1000, 100_000] {
        let fixture = limit(requests);
        let mut now = 0;
        for _ in 0..requests {
            assert!(fixture.passes(1, now));
            now += u64::from(requests < 2000);
        }
        let wait = fixture.wait(1, now).expect("one too many");
        assert!(!fixture.passes(1, now + wait - 1), "{requests}");
        assert!(fixture.passes(1, now + wait), "{requests}");
    }
}

#[test]
fn new_keys_pass_while_a_flood_is_within_capacity_times_limit() {
    let fixture = with_capacity(60, 1024);
    for other in 0..20_000 {
        fixture.wait(1000 + other, other);
    }
    let limited = (0..1000).filter(|key| !fixture.passes(*key, 20_000));
    assert_eq!(limited.count(), 0);
}

#[test]
fn what_is_undone_does_not_count() {
    let fixture = limit(2);
    assert!(fixture.passes(1, 0) && fixture.passes(1, 1));
    fixture.undo(1, 1, 2);
    fixture.undo(2, 1, 2);
    assert!(fixture.passes(1, 3));
    assert!(!fixture.passes(1, 4));
}

#[test]
fn checking_counts_nothing() {
    let fixture = limit(1);
    for _ in 0..3 {
        assert_eq!(fixture.check(1, 0), None);
    }
    assert!(fixture.passes(1, 0));
    assert_eq!(fixture.check(1, 0), Some(MINUTE));
}

#[test]
fn a_limiter_says_where_and_how_finely_it_counts() {
    for (requests, capacity, resolution, slots, keys) in [
        (64, 1_000, 1, 12, 250),
        (65, 1_000, 1_000, 12, 250),
        (1, 5, 1, 5, 1),
        (1, 16, 1, 16, 1),
        (1, 17, 1, 12, 5),
        (60, 16_384, 1, 12, 4_096),
    ] {
        let fixture = with_capacity(requests, capacity);
        assert!(fixture.passes(1, 0));
        let Fixture { limiter, store } = &fixture;
        assert_eq!(limiter.resolution(), Millis(resolution));
        assert_eq!((limiter.slots(), limiter.keys()), (slots, keys));
        assert_eq!(store.key_names(), [limiter.bucket_key(spread(1))]);
        assert_eq!((store.keys(), store.writes()), (1, 1));
        assert_eq!(store.bytes(), 6 * 8, "two words, and four of an entry");
    }
}

#[test]
fn while_there_is_room_no_key_counts_for_another() {
    let fixture = limit(2);
    for key in 1..=12 {
        assert_eq!(fixture.passes_in_a_row(key, key), 2, "{key}");
    }
    for key in 1..=12 {
        assert_eq!(fixture.wait(key, 20), Some(MINUTE - 20 + key));
        assert_eq!(fixture.check(key, 20), Some(MINUTE - 20 + key));
    }
}

#[test]
fn a_key_that_comes_back_leaves_the_counts_of_all_others() {
    // The entry that is written anew is the first, in the middle, the last.
    for again in 1..=3 {
        let fixture = limit(3);
        assert!((1..=3).all(|key| fixture.passes(key, 0)));
        assert!(fixture.passes(again, 1));
        for key in 1..=3 {
            let left = if key == again { 1 } else { 2 };
            assert_eq!(fixture.passes_in_a_row(key, 2), left, "{key}");
        }
    }
}

#[test]
fn a_full_bucket_evicts_the_key_with_the_fewest_requests_and_new_keys_inherit_only_those() {
    let fixture = limit(4);
    // The first has done most, and that before all others.
    assert!((0..3).all(|_| fixture.passes(1, 0)));
    assert!((2..=12).all(|key| fixture.passes(key, key)));
    // Nothing was evicted before it: it has all its requests.
    assert_eq!(fixture.passes_in_a_row(13, 20), 4);
    // Before the next, a key of a single request was: it may be that one.
    assert_eq!(fixture.passes_in_a_row(14, 21), 3);
    // A key with a slot has what it had, whatever was evicted since.
    assert_eq!(fixture.passes_in_a_row(1, 22), 1);
    assert_eq!(fixture.passes_in_a_row(12, 23), 3);
    // What was inherited counts for a window after it was done, and not longer.
    assert!(!fixture.passes(14, 60_001));
    assert!(fixture.passes(14, 60_010));
}

#[test]
fn a_clock_that_is_up_to_a_window_ahead_is_right_and_one_further_ahead_is_corrected() {
    for (ahead, wait) in [(5, 60_005), (60_000, 120_000), (60_001, 60_000)] {
        let fixture = limit(1);
        assert!(fixture.passes(1, ahead));
        assert_eq!(fixture.check(1, 0), Some(wait), "{ahead}");
        assert_eq!(fixture.wait(1, 0), Some(wait), "{ahead}");
        assert!(!fixture.passes(1, wait - 1));
        assert!(fixture.passes(1, wait));
    }
}

#[test]
fn what_a_clock_far_ahead_has_counted_is_corrected_once_and_the_wait_ends() {
    // For a key with a slot, and for one that has inherited what was evicted.
    for (keys, key) in [(1, 1), (13, 14)] {
        let fixture = limit(1);
        assert!((1..=keys).all(|other| fixture.passes(other, 3_600_000 + other)));
        assert_eq!(fixture.wait(key, 0), Some(MINUTE));
        assert_eq!(fixture.wait(key, 30_000), Some(30_000));
        assert!(fixture.passes(key, MINUTE));
    }
}

#[test]
fn a_value_that_is_not_the_tables_own_to_the_byte_lets_nothing_through_for_one_window() {
    let genuine = {
        let fixture = limit(2);
        assert!(fixture.passes(1, 0));
        fixture.value(1)
    };
    let mut other_magic = genuine.clone();
    other_magic[0] ^= 1;
    for value in [
        &other_magic[..],
        &[&genuine[..], b"abc"].concat(),
        &genuine[..40],
        &[MAGIC.to_le_bytes(), [9; 8]].concat(),
        &[0xFF; 64],
        b"12345678",
        b"x",
        b"",
    ] {
        let fixture = limit(2);
        let key = fixture.limiter.bucket_key(spread(1));
        assert!(fixture.store.host_set(&key, value, 0));
        assert!(!fixture.passes(1, 1), "{value:?}");
        assert_eq!(fixture.value(1).len(), 3 * 8, "{value:?}");
        assert!(!fixture.passes(1, 60_000), "{value:?}");
        assert!(fixture.passes(1, 60_001), "{value:?}");

        assert!(fixture.store.host_set(&key, &genuine, 0));
        assert!(fixture.passes(1, 1));
    }
}
