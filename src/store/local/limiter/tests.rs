use super::*;
use crate::cas_map::CasMap;
use crate::cas_map::memory::MemoryMap;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const START: Timestamp = Timestamp(1_800_000_000_000);

fn limiter(requests: u32, seconds: u64, capacity: usize) -> Limiter {
    let window = Millis::seconds(seconds);
    Limiter::new("test", Limit { requests, window }, capacity)
}

fn at(millis: u64) -> Timestamp {
    START.after(Millis(millis))
}

fn take(limiter: &Limiter, store: &MemoryMap, key_hash: u64, now: Timestamp) -> CheckResult {
    limiter
        .check_and_count(store, spread(key_hash), now)
        .expect("the memory store does not fail")
}

/// As evenly as the keyed hash spreads addresses.
fn spread(key_hash: u64) -> u64 {
    key_hash.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn passes(limiter: &Limiter, store: &MemoryMap, key_hash: u64, now: Timestamp) -> bool {
    matches!(
        take(limiter, store, key_hash, now),
        CheckResult::Permitted(_)
    )
}

#[test]
fn sixty_pass_and_the_sixty_first_does_not() {
    let (limiter, store) = (limiter(60, 60, 100), MemoryMap::new());
    for request in 0..60 {
        assert!(passes(&limiter, &store, 1, at(request)), "{request}");
    }
    assert_eq!(
        take(&limiter, &store, 1, at(60)),
        CheckResult::Limited(Millis(59_940))
    );
    assert!(passes(&limiter, &store, 2, at(60)), "another key");
    assert!(!passes(&limiter, &store, 1, at(59_999)));
    assert!(passes(&limiter, &store, 1, at(60_000)));
    assert!(!passes(&limiter, &store, 1, at(60_000)));
    assert!(passes(&limiter, &store, 1, at(60_001)));
}

#[test]
fn who_waits_as_long_as_told_passes_and_a_millisecond_less_does_not() {
    for requests in [1, 5, 64, 65, 1000, 100_000] {
        let (limiter, store) = (limiter(requests, 7, 10), MemoryMap::new());
        let mut now = START;
        for _ in 0..requests {
            assert!(passes(&limiter, &store, 1, now));
            now = now.after(Millis(u64::from(requests < 2000)));
        }
        let CheckResult::Limited(wait) = take(&limiter, &store, 1, now) else {
            panic!("one too many");
        };
        assert!(
            !passes(&limiter, &store, 1, now.after(Millis(wait.0 - 1))),
            "{requests}"
        );
        assert!(passes(&limiter, &store, 1, now.after(wait)), "{requests}");
    }
}

#[test]
fn in_no_window_more_than_the_limit_passes() {
    // Bursts that a fixed window would let through twice, at every phase.
    for (requests, capacity) in [(3, 1), (60, 1), (70, 1), (200, 4)] {
        let (limiter, store) = (limiter(requests, 1, capacity), MemoryMap::new());
        let mut passed = Vec::new();
        let mut random = 12345_u64;
        let mut now = START;
        for _ in 0..20_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            now = now.after(Millis((random >> 33) % 9));
            if passes(&limiter, &store, 1, now) {
                passed.push(now);
            }
        }
        let limit = requests as usize;
        for pair in passed.windows(limit + 1) {
            let span = pair[limit].since(pair[0]);
            assert!(span >= Millis(1000), "{requests}: {span:?}");
        }
        assert!(
            passed.len() > limit * 10,
            "the limiter lets hardly anything through"
        );
    }
}

#[test]
fn a_flood_of_other_keys_does_not_reset_a_counter() {
    let (limiter, store) = (limiter(5, 60, 64), MemoryMap::new());
    for key_hash in [1, 2] {
        for request in 0..5 - (key_hash - 1) {
            assert!(passes(&limiter, &store, key_hash, at(request)));
        }
    }
    for other in 0..100_000 {
        take(&limiter, &store, 1000 + other, at(100 + other / 10));
    }
    assert!(
        !passes(&limiter, &store, 1, at(20_000)),
        "it was limited and must be still"
    );
    let more = (0..5)
        .filter(|_| passes(&limiter, &store, 2, at(20_000)))
        .count();
    assert!(more <= 1, "it had one left, and {more} passed");
    assert!(store.keys() as u64 <= limiter.keys());
    assert!(
        passes(&limiter, &store, 1, at(80_001)),
        "a window later it is free"
    );
}

#[test]
fn newcomers_pass_while_the_flood_is_within_capacity_times_limit() {
    let (limiter, store) = (limiter(60, 60, 1024), MemoryMap::new());
    for other in 0..20_000 {
        take(&limiter, &store, 1000 + other, at(other));
    }
    let rejected = (0..1000).filter(|key_hash| !passes(&limiter, &store, *key_hash, at(20_000)));
    assert_eq!(rejected.count(), 0);
}

#[test]
fn a_flood_costs_no_memory() {
    let (limiter, store) = (limiter(60, 60, 256), MemoryMap::new());
    for other in 0..50_000 {
        take(&limiter, &store, other, at(other));
    }
    let most = limiter.keys() as usize * (16 + 64 * 8 + 16 * (24 + 8 * 60));
    assert!(store.bytes() <= most, "{} of {most}", store.bytes());
}

#[test]
fn what_is_withdrawn_does_not_count() {
    let (limiter, store) = (limiter(2, 60, 10), MemoryMap::new());
    assert!(passes(&limiter, &store, 1, at(0)));
    let CheckResult::Permitted(pass) = take(&limiter, &store, 1, at(1)) else {
        panic!("the second passes");
    };
    limiter
        .undo(&store, spread(1), pass, at(2))
        .expect("withdrawn");
    assert!(passes(&limiter, &store, 1, at(3)));
    assert!(!passes(&limiter, &store, 1, at(4)));
}

#[test]
fn peeking_counts_nothing() {
    let (limiter, store) = (limiter(1, 60, 10), MemoryMap::new());
    for _ in 0..3 {
        assert_eq!(limiter.check(&store, spread(1), START), Ok(None));
    }
    assert!(passes(&limiter, &store, 1, START));
    assert_eq!(
        limiter.check(&store, spread(1), START),
        Ok(Some(Millis(60_000)))
    );
}

#[test]
fn a_clock_that_goes_back_frees_nobody_and_locks_nobody_out_for_long() {
    let (limiter, store) = (limiter(2, 60, 10), MemoryMap::new());
    let ahead = at(1_000_000_000);
    assert!(passes(&limiter, &store, 1, ahead));
    assert!(passes(&limiter, &store, 1, ahead));
    assert!(!passes(&limiter, &store, 1, START));
    let CheckResult::Limited(wait) = take(&limiter, &store, 1, START) else {
        panic!("it is limited");
    };
    assert!(wait <= Millis(60_000), "{wait:?}");
}

#[test]
fn a_damaged_bucket_lets_nothing_through_for_one_window() {
    for damage in [
        &b""[..],
        b"x",
        b"12345678",
        &[0xFF; 64],
        &[MAGIC.to_le_bytes(), [9; 8]].concat(),
    ] {
        let (limiter, store) = (limiter(2, 60, 10), MemoryMap::new());
        assert!(passes(&limiter, &store, 1, START));
        assert!(store.host_set(&store.key_names()[0], damage, 0));
        assert!(!passes(&limiter, &store, 1, at(1)), "{damage:?}");
        assert!(!passes(&limiter, &store, 1, at(60_000)), "{damage:?}");
        assert!(passes(&limiter, &store, 1, at(60_001)), "{damage:?}");
    }
}

fn peek(limiter: &Limiter, store: &MemoryMap, key_hash: u64, now: Timestamp) -> Option<Millis> {
    limiter.check(store, spread(key_hash), now).expect("peeked")
}

/// How often a key passes at one moment.
fn passes_in_a_row(limiter: &Limiter, store: &MemoryMap, key_hash: u64, now: Timestamp) -> usize {
    let mut tries = 0..100;
    tries
        .by_ref()
        .take_while(|_| passes(limiter, store, key_hash, now))
        .count()
}

#[test]
fn a_limiter_says_where_and_how_finely_it_counts() {
    let (exact, coarse) = (limiter(64, 60, 1_000), limiter(65, 60, 1_000));
    assert_eq!(exact.resolution(), Millis(1));
    assert_eq!(coarse.resolution(), Millis(1_000));
    assert_eq!((exact.slots(), limiter(1, 60, 5).slots()), (12, 5));
    let store = MemoryMap::new();
    assert!(passes(&exact, &store, 1, START));
    assert_eq!(store.key_names(), [exact.bucket_key(spread(1))]);
    assert_eq!((store.keys(), store.writes()), (1, 1));
    assert_eq!(store.bytes(), 6 * 8, "two words, and four of an entry");
}

#[test]
fn while_there_is_room_no_key_counts_for_another() {
    let (limiter, store) = (limiter(2, 60, 12), MemoryMap::new());
    for key_hash in 1..=12 {
        assert_eq!(
            passes_in_a_row(&limiter, &store, key_hash, at(key_hash)),
            2,
            "{key_hash}"
        );
    }
    for key_hash in 1..=12 {
        assert!(!passes(&limiter, &store, key_hash, at(20)), "{key_hash}");
        assert_eq!(
            peek(&limiter, &store, key_hash, at(20)),
            Some(Millis(60_000 - 20 + key_hash))
        );
    }
}

#[test]
fn who_comes_back_keeps_the_counts_of_all_others() {
    // The entry that is written anew is the first, in the middle, the last.
    for again in 1..=3 {
        let (limiter, store) = (limiter(3, 60, 12), MemoryMap::new());
        for key_hash in 1..=3 {
            assert!(passes(&limiter, &store, key_hash, START));
        }
        assert!(passes(&limiter, &store, again, at(1)));
        for key_hash in 1..=3 {
            let left = if key_hash == again { 1 } else { 2 };
            assert_eq!(
                passes_in_a_row(&limiter, &store, key_hash, at(2)),
                left,
                "{key_hash}"
            );
        }
    }
}

#[test]
fn a_full_bucket_evicts_who_has_done_least_and_newcomers_inherit_no_more_than_that() {
    let (limiter, store) = (limiter(4, 60, 12), MemoryMap::new());
    // The first has done most, and that before all others.
    assert_eq!(
        (0..3)
            .filter(|_| passes(&limiter, &store, 1, START))
            .count(),
        3
    );
    for key_hash in 2..=12 {
        assert!(passes(&limiter, &store, key_hash, at(key_hash)));
    }
    // Nothing was evicted before it: it has all its requests.
    assert_eq!(passes_in_a_row(&limiter, &store, 13, at(20)), 4);
    // For the one before, one of a single request was: a newcomer may be that one.
    assert_eq!(passes_in_a_row(&limiter, &store, 14, at(21)), 3);
    // Whoever has a slot has what it had, whatever was evicted since.
    assert_eq!(passes_in_a_row(&limiter, &store, 1, at(22)), 1);
    assert_eq!(passes_in_a_row(&limiter, &store, 12, at(23)), 3);
    // What was inherited counts for a window after it was done, and not longer.
    assert!(!passes(&limiter, &store, 14, at(60_001)));
    assert!(passes(&limiter, &store, 14, at(60_010)));
}

#[test]
fn a_clock_that_is_a_little_ahead_frees_nobody_early() {
    let (limiter, store) = (limiter(1, 60, 12), MemoryMap::new());
    assert!(passes(&limiter, &store, 1, at(5)));
    assert_eq!(
        take(&limiter, &store, 1, at(0)),
        CheckResult::Limited(Millis(60_005))
    );
    assert!(!passes(&limiter, &store, 1, at(60_004)));
    assert!(passes(&limiter, &store, 1, at(60_005)));
}

#[test]
fn a_clock_is_believed_up_to_a_window_ahead() {
    for (ahead, wait) in [(60_000, 120_000), (60_001, 60_000)] {
        let (limiter, store) = (limiter(1, 60, 12), MemoryMap::new());
        assert!(passes(&limiter, &store, 1, at(ahead)));
        assert_eq!(
            peek(&limiter, &store, 1, START),
            Some(Millis(wait)),
            "{ahead}"
        );
    }
}

#[test]
fn what_a_clock_far_ahead_has_counted_is_corrected_once_and_the_wait_ends() {
    // For a key with a slot, and for one that knows only what was evicted.
    for key_hash in [1, 13] {
        let (limiter, store) = (limiter(1, 60, 12), MemoryMap::new());
        let count = if key_hash == 1 { 1 } else { 13 };
        for other in 1..=count {
            assert!(passes(&limiter, &store, other, at(3_600_000 + other)));
        }
        let key_hash = if key_hash == 1 { 1 } else { 14 };
        assert_eq!(
            take(&limiter, &store, key_hash, START),
            CheckResult::Limited(Millis(60_000))
        );
        assert_eq!(
            take(&limiter, &store, key_hash, at(30_000)),
            CheckResult::Limited(Millis(30_000))
        );
        assert!(passes(&limiter, &store, key_hash, at(60_000)));
    }
}

#[test]
fn a_value_that_is_not_the_tables_own_to_the_byte_lets_nothing_through() {
    let (limiter, store) = (limiter(2, 60, 12), MemoryMap::new());
    assert!(passes(&limiter, &store, 1, START));
    let key = limiter.bucket_key(spread(1));
    let genuine = store.get(&key).expect("stored").expect("stored").value;
    let mut other_magic = genuine.clone();
    other_magic[0] ^= 1;
    for value in [
        other_magic,
        [&genuine[..], b"abc"].concat(),
        genuine[..40].to_vec(),
    ] {
        assert!(store.host_set(&key, &value, 0));
        assert!(!passes(&limiter, &store, 1, at(1)));
        assert_eq!(
            store
                .get(&key)
                .expect("stored")
                .expect("stored")
                .value
                .len(),
            3 * 8
        );
    }
    assert!(store.host_set(&key, &genuine, 0));
    assert!(passes(&limiter, &store, 1, at(1)));
}
