//! One worker's rate limits against lists of moments.

use std::collections::{HashMap, VecDeque};

use twilio_webhook_filter::{CasMap, Limiter, MAX_MOMENTS, MemoryMap, Millis, Timestamp};

use crate::support::{self, Chance, START, rounds, span, spread, wait};

const WINDOW: Millis = Millis(10_000);
const LIMITS: [u32; 5] = [1, 60, 64, 65, 1_000];
const CAPACITIES: [usize; 5] = [1, 2, 16, 17, 1_000];

fn limiter(requests: u32, capacity: usize) -> Limiter {
    support::limiter("model", requests, WINDOW, capacity)
}

/// How much later than exactly a limit may let the next one through.
fn slack(requests: u32) -> Millis {
    Millis(if requests <= MAX_MOMENTS {
        0
    } else {
        WINDOW.0.div_ceil(60)
    })
}

fn count(limiter: &Limiter, store: &MemoryMap, key_hash: u64, now: Timestamp) -> Option<Millis> {
    let checked = limiter
        .check(store, spread(key_hash), now)
        .expect("checked");
    let counted = limiter
        .check_and_count(store, spread(key_hash), now)
        .expect("counted");
    let wait = wait(counted);
    // A check tells what the key has done itself; counting, also what it has inherited. So
    // what a check tells holds for counting.
    assert!(checked.is_none() || checked == wait, "{checked:?} {wait:?}");
    wait
}

/// How long one has to wait for what it has done itself.
fn check(limiter: &Limiter, store: &MemoryMap, key_hash: u64, now: Timestamp) -> Option<Millis> {
    limiter
        .check(store, spread(key_hash), now)
        .expect("checked")
}

/// What passed, by key, as long as it counts.
#[derive(Default)]
struct Passed(HashMap<u64, VecDeque<Timestamp>>);

impl Passed {
    /// How many requests of a key passed within a window that ends now.
    fn within(&mut self, key_hash: u64, now: Timestamp) -> usize {
        let moments = self.0.entry(key_hash).or_default();
        while moments
            .front()
            .is_some_and(|first| first.after(WINDOW) <= now)
        {
            moments.pop_front();
        }
        moments.len()
    }

    fn record(&mut self, key_hash: u64, now: Timestamp) {
        self.0.entry(key_hash).or_default().push_back(now);
    }
}

#[test]
fn in_no_window_more_than_the_limit_passes_whatever_the_flood() {
    for requests in LIMITS {
        for capacity in CAPACITIES {
            let (limiter, store) = (limiter(requests, capacity), MemoryMap::new());
            let chance = Chance::seeded(u64::from(requests) << 32 | capacity as u64);
            let (mut passed, mut now, mut rejected) = (Passed::default(), START, 0_u64);
            let mut limited = 0;
            let favourites = 1 + (capacity as u64 / 4).min(2);
            // As fast as it takes to hit the limits of the favourites.
            let pace = 1 + 2 * WINDOW.0 / (3 * u64::from(requests) * favourites);
            for step in 0..40_000 * rounds() {
                now = now.after(span(chance.below(pace + 1)));
                // Half of it comes from a few, the other half from ever new ones.
                let key_hash = if chance.once_in(2) {
                    chance.below(favourites)
                } else {
                    1_000 + step
                };
                // A check rejects no key for what others have done.
                if check(&limiter, &store, key_hash, now).is_some() {
                    let own = passed.within(key_hash, now) as u64;
                    // Moments are rounded up, so some that are past may still count.
                    let is_exact = slack(requests) == Millis(0);
                    assert!(!is_exact || own >= requests.into(), "{requests}/{capacity}");
                    limited += 1;
                }
                match count(&limiter, &store, key_hash, now) {
                    None => {
                        let before = passed.within(key_hash, now);
                        assert!(
                            before < requests as usize,
                            "{requests}/{capacity}: {key_hash}"
                        );
                        passed.record(key_hash, now);
                    }
                    Some(_) => rejected += 1,
                }
                if step % 4_096 == 0 {
                    passed
                        .0
                        .retain(|_, moments| moments.back().is_some_and(|m| m.after(WINDOW) > now));
                }
            }
            assert!(
                rejected > 100,
                "{requests}/{capacity} rejected only {rejected}"
            );
            // In a small table a key is evicted before it has done that much itself.
            assert!(limited > 0 || capacity < 16, "{requests}/{capacity}");
            assert!(limited <= rejected, "{requests}/{capacity}: {limited}");
            // Twice the moments of a key for the inherited floor, and as many for each slot.
            let moments = requests.min(MAX_MOMENTS) as usize + 1;
            let slots = if capacity <= 16 {
                capacity
            } else {
                limiter.keys() as usize * 16
            };
            let max = limiter.keys() as usize * (16 + 16 * moments) + slots * (24 + 8 * moments);
            assert!(
                store.bytes() <= max,
                "{requests}/{capacity}: {} > {max}",
                store.bytes()
            );
            assert!(store.keys() as u64 <= limiter.keys());
        }
    }
}

/// How many passed within a window and a little more.
fn counted_with_slack(
    all: &HashMap<u64, VecDeque<Timestamp>>,
    key_hash: u64,
    now: Timestamp,
    slack: Millis,
) -> usize {
    let counts = |moment: &&Timestamp| moment.after(WINDOW).after(slack) > now;
    all[&key_hash].iter().rev().take_while(counts).count()
}

/// With fewer keys than there is room for, the table is the list of moments: it lets
/// through just what the list does, and the wait it tells is the list's.
#[test]
fn with_room_to_spare_the_limiter_is_the_list_of_moments() {
    for requests in LIMITS {
        for capacity in CAPACITIES {
            let (limiter, store) = (limiter(requests, capacity), MemoryMap::new());
            let chance = Chance::seeded(u64::from(requests) << 32 | capacity as u64);
            let (mut passed, mut now) = (Passed::default(), START);
            let mut all: HashMap<u64, VecDeque<Timestamp>> = HashMap::new();
            // A table of one bucket holds just its capacity, one of several at least half of it.
            let keys = if capacity <= 16 {
                capacity as u64
            } else {
                (capacity as u64).div_ceil(3)
            };
            let pace = 1 + 2 * WINDOW.0 / (u64::from(requests) * keys);
            for _ in 0..40_000 * rounds() {
                now = now.after(span(chance.below(pace + 1)));
                let key_hash = chance.below(keys);
                let checked = check(&limiter, &store, key_hash, now);
                let wait = count(&limiter, &store, key_hash, now);
                assert_eq!(checked, wait, "nothing is inherited");
                let count = passed.within(key_hash, now);
                let full = count >= requests as usize;
                if slack(requests) == Millis(0) {
                    let first = passed.0[&key_hash].front().copied();
                    let expected = full.then(|| first.expect("full").after(WINDOW).since(now));
                    assert_eq!(wait, expected, "{requests}/{capacity}: {key_hash}");
                } else if full {
                    assert!(wait.is_some(), "{requests}/{capacity}: {key_hash}");
                } else if wait.is_some() {
                    // Moments are rounded up, so some that are past may still count.
                    let counted = counted_with_slack(&all, key_hash, now, slack(requests));
                    assert!(
                        counted >= requests as usize,
                        "{requests}/{capacity}: {key_hash}"
                    );
                }
                if wait.is_none() {
                    passed.record(key_hash, now);
                    all.entry(key_hash).or_default().push_back(now);
                }
            }
        }
    }
}

/// A key that waits as long as told passes, and a millisecond earlier it does not.
#[test]
fn the_wait_is_the_truth_whoever_else_comes_meanwhile() {
    for requests in LIMITS {
        for capacity in CAPACITIES {
            let (limiter, store) = (limiter(requests, capacity), MemoryMap::new());
            let chance = Chance::seeded(u64::from(requests) * 31 + capacity as u64);
            let mut now = START;
            for _ in 0..20 {
                let wait = loop {
                    now = now.after(span(chance.below(WINDOW.0 / u64::from(requests) / 2 + 2)));
                    if let Some(wait) = count(&limiter, &store, 1, now) {
                        break wait;
                    }
                };
                assert!(
                    wait <= Millis(WINDOW.0 + slack(requests).0),
                    "{requests}: {wait:?}"
                );
                let (before, then) = (now.after(span(wait.0 - 1)), now.after(wait));
                assert_eq!(
                    count(&limiter, &store, 1, before),
                    Some(span(1)),
                    "{requests}"
                );
                assert_eq!(
                    count(&limiter, &store, 1, then),
                    None,
                    "{requests}/{capacity}"
                );
                now = then;
            }
        }
    }
}

/// With the clock going anywhere, and with flood and favourites, against a list that is
/// put right at every step: what lies ahead of the clock is taken to be now, and what is
/// a window old has gone for good.
#[test]
fn no_jump_of_the_clock_lets_more_than_the_limit_through() {
    for requests in [1, 5, 60, 65] {
        for capacity in CAPACITIES {
            let (limiter, store) = (limiter(requests, capacity), MemoryMap::new());
            let chance = Chance::seeded(u64::from(requests) << 32 | capacity as u64);
            let mut passed: HashMap<u64, Vec<Timestamp>> = HashMap::new();
            let mut now = START;
            for step in 0..20_000 * rounds() {
                now = match chance.below(200) {
                    0 => now.before(span(chance.below(3 * WINDOW.0))),
                    1 => now.after(span(chance.below(3 * WINDOW.0))),
                    2 => now.before(span(chance.below(5))),
                    _ => now.after(span(chance.below(1 + WINDOW.0 / u64::from(requests) / 2))),
                };
                for moments in passed.values_mut() {
                    moments
                        .iter_mut()
                        .for_each(|moment| *moment = (*moment).min(now));
                    moments.retain(|moment| moment.after(WINDOW) > now);
                }
                passed.retain(|_, moments| !moments.is_empty());
                let key_hash = if chance.once_in(3) {
                    1_000 + step
                } else {
                    chance.below(2)
                };
                if count(&limiter, &store, key_hash, now).is_none() {
                    let moments = passed.entry(key_hash).or_default();
                    assert!(
                        moments.len() < requests as usize,
                        "{requests}/{capacity}: {key_hash}"
                    );
                    moments.push(now);
                }
            }
        }
    }
}

/// A clock that was ahead, once put right, costs nobody more than a window.
#[test]
fn who_waits_as_long_as_told_passes_also_after_the_clock_was_put_back() {
    for requests in [1, 60, 65] {
        for ahead in [1, 1_000, WINDOW.0, 1_000_000_000] {
            let (limiter, store) = (limiter(requests, 10), MemoryMap::new());
            let wrong = START.after(span(ahead));
            for _ in 0..requests {
                assert_eq!(count(&limiter, &store, 1, wrong), None);
            }
            let wait = count(&limiter, &store, 1, START).expect("it is used up");
            let then = START.after(wait);
            assert!(wait.0 <= 2 * WINDOW.0 + slack(requests).0, "{wait:?}");
            assert_eq!(
                count(&limiter, &store, 1, then),
                None,
                "{requests}, {ahead} ahead"
            );
        }
    }
}

/// Workers read their clocks one after the other: the one that is a moment behind must
/// not make what another has counted any older.
#[test]
fn a_worker_that_is_a_moment_behind_frees_nobody_early() {
    let (limiter, store) = (limiter(2, 10), MemoryMap::new());
    let behind = START.before(span(40));
    assert_eq!(count(&limiter, &store, 1, START), None);
    // Another key in the same bucket, by a worker that read its clock before.
    assert_eq!(count(&limiter, &store, 2, behind), None);
    assert_eq!(count(&limiter, &store, 1, START), None);
    let early = behind.after(WINDOW);
    assert!(
        count(&limiter, &store, 1, early).is_some(),
        "40 ms too early"
    );
    assert_eq!(count(&limiter, &store, 1, START.after(WINDOW)), None);
}

/// A damaged bucket counts as used up, for one window and not longer. What a key has done
/// itself is lost with it: so a check, as rules that count rejections make it, finds nothing
/// against it, and counting does.
#[test]
fn a_damaged_bucket_is_used_up_for_one_window_and_says_so() {
    for requests in [2, 65] {
        let (limiter, store) = (limiter(requests, 10), MemoryMap::new());
        assert_eq!(count(&limiter, &store, 1, START), None);
        assert!(store.host_set(&store.key_names()[0], b"damaged", 0));
        let counted = limiter.check_and_count(&store, spread(1), START);
        let wait = wait(counted.expect("counted")).expect("a damaged bucket lets nothing through");
        let early = START.after(span(wait.0 - 1));
        assert!(count(&limiter, &store, 1, early).is_some(), "{requests}");
        assert_eq!(
            count(&limiter, &store, 1, START.after(wait)),
            None,
            "{requests}"
        );

        assert!(store.host_set(&store.key_names()[0], b"damaged", 0));
        assert_eq!(check(&limiter, &store, 1, START), None, "{requests}");
        assert!(count(&limiter, &store, 1, START).is_some(), "{requests}");
        assert_eq!(check(&limiter, &store, 1, START), None, "{requests}");
    }
}

/// Found by the fuzz target `buckets`: a look at the first run alone to see whether
/// a clock was ahead takes the runs to be in order, and what is damaged need not be.
#[test]
fn a_bucket_whose_moments_are_in_disorder_locks_nobody_out_for_longer_than_any_other() {
    let run = |at: Timestamp, events: u64| at.0 << 16 | events;
    let far = START.after(span(1_000_000_000));
    let inherited_floor = [2, run(START, 1), run(far, 60)];
    let own = [0, spread(1), run(START, 2), 0, run(START, 1), run(far, 60)];
    for words in [&inherited_floor[..], &own] {
        let (limiter, store) = (limiter(60, 10), MemoryMap::new());
        assert_eq!(count(&limiter, &store, 1, START), None);
        let name = &store.key_names()[0];
        let genuine = store.get(name).expect("a store").expect("a bucket");
        let words = words.iter().flat_map(|word| word.to_le_bytes());
        let value: Vec<u8> = genuine.value.into_iter().take(8).chain(words).collect();
        assert!(store.host_set(name, &value, 0));
        let wait = count(&limiter, &store, 1, START).expect("it is used up");
        assert!(wait.0 <= 2 * WINDOW.0, "{wait:?}");
        assert_eq!(count(&limiter, &store, 1, START.after(wait)), None);
    }
}
