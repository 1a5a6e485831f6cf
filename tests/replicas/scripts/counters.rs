use std::collections::{HashMap, HashSet, VecDeque};

use twilio_webhook_filter::{LimitCheck, MemoryMap, Millis, ScriptReply, Timestamp};

use super::{Caller, START, WINDOW, decide, due, limits};
use ScriptReply::{Limited, Passed};
use support::random::{Chance, spread};
use support::redis::Redis;
use support::stores::{self, limiter};

fn wait(reply: ScriptReply) -> Option<Millis> {
    match reply {
        Passed => None,
        Limited { which: 0, wait } => Some(wait),
        other => panic!("{other:?}"),
    }
}

#[test]
fn counters_in_redis_answer_as_the_filters_own_do() {
    let redis = Redis::start();
    let mut caller = Caller::new(&redis);
    for (requests, keys) in [(1, 3), (3, 5), (60, 4), (64, 2), (65, 3), (1000, 2)] {
        redis.command(&["FLUSHALL"]);
        let capacity = 8;
        let limits = limits(requests, capacity);
        let (limiter, store) = (
            limiter("model", requests, WINDOW, capacity),
            MemoryMap::new(),
        );
        let chance = Chance::seeded(u64::from(requests));
        let (mut now, mut rejected) = (START, 0);
        let pace = 1 + 2 * WINDOW.0 / (3 * u64::from(requests) * keys);
        for step in 0..1500.max(2 * requests * keys as u32) {
            now = now.after(Millis(chance.below(pace + 1)));
            let key_hash = chance.below(keys);
            let counts = chance.below(5) > 0;
            let own = if counts {
                let taken = limiter.check_and_count(&store, spread(key_hash), now);
                stores::wait(taken.expect("taken"))
            } else {
                limiter
                    .check(&store, spread(key_hash), now)
                    .expect("peeked")
            };
            let call = decide(&limits, &due(key_hash, counts), None, now);
            let theirs = wait(caller.call_at(&call, now));
            assert_eq!(
                theirs, own,
                "limit {requests}, step {step}, whom {key_hash}, {counts}"
            );
            rejected += u32::from(own.is_some());
        }
        assert!(
            rejected > 50,
            "limit {requests}: the limit was hit {rejected} times"
        );
    }
}

#[test]
fn a_flood_from_ever_new_addresses_costs_redis_no_memory_and_resets_no_counter() {
    let redis = Redis::start();
    let mut caller = Caller::new(&redis);
    for (requests, capacity) in [(1, 1), (3, 2), (5, 16), (20, 8), (3, 40)] {
        redis.command(&["FLUSHALL"]);
        let limits = limits(requests, capacity);
        let chance = Chance::seeded(u64::from(requests) << 8 | capacity as u64);
        let mut passed: HashMap<u64, VecDeque<Timestamp>> = HashMap::new();
        let (mut now, mut most, mut rejected) = (START, 0, 0);
        for step in 0..2500_u64 {
            now = now.after(Millis(
                chance.below(1 + WINDOW.0 / (3 * u64::from(requests))),
            ));
            // Half of it comes from two, the other half from ever new ones.
            let key_hash = if chance.below(2) == 0 {
                chance.below(2)
            } else {
                1000 + step
            };
            let call = decide(&limits, &due(key_hash, true), None, now);
            if wait(caller.call_at(&call, now)).is_some() {
                rejected += 1;
                continue;
            }
            let moments = passed.entry(key_hash).or_default();
            moments.push_back(now);
            while moments
                .front()
                .is_some_and(|first| first.after(WINDOW) <= now)
            {
                moments.pop_front();
            }
            assert!(
                moments.len() <= requests as usize,
                "step {step}: {} of {requests} in a window",
                moments.len()
            );
            most = most.max(moments.len());
        }
        assert_eq!(most, requests as usize, "the limit was reached");
        assert!(rejected > 0);
        let keys: HashSet<_> = redis
            .keys()
            .into_iter()
            .filter(|key| key != "clock")
            .collect();
        assert!(
            keys.len() <= capacity.div_ceil(4) + 1,
            "{capacity}: {} keys",
            keys.len()
        );
        for key in keys {
            let value = redis.command(&["GET", &key]).text();
            assert!(
                value.len() < 6000,
                "{key} has {} bytes: {value}",
                value.len()
            );
        }
    }
}

/// Once a flood from one /48 rejected all who have no slot. What Redis tells who only
/// looks is what the filter's own limiter tells, and what taking says of the flood, too.
#[test]
fn in_redis_as_here_looking_rejects_nobody_for_what_others_have_done() {
    let redis = Redis::start();
    let mut caller = Caller::new(&redis);
    for (requests, capacity) in [(1, 1), (2, 4), (5, 8)] {
        redis.command(&["FLUSHALL"]);
        let limits = limits(requests, capacity);
        let (limiter, store) = (
            limiter("model", requests, WINDOW, capacity),
            MemoryMap::new(),
        );
        let chance = Chance::seeded(u64::from(requests) << 8 | capacity as u64);
        let (mut now, mut own, mut inherited) = (START, 0, 0);
        for step in 0..1500 {
            now = now.after(Millis(chance.below(20)));
            let key_hash = if chance.below(3) == 0 { 1 } else { 1000 + step };
            let mut ask = |counts| {
                let call = decide(&limits, &due(key_hash, counts), None, now);
                wait(caller.call_at(&call, now))
            };
            let (looked, taken) = (ask(false), ask(true));
            let here = limiter
                .check(&store, spread(key_hash), now)
                .expect("peeked");
            assert_eq!(looked, here, "limit {requests}, step {step}, {key_hash}");
            assert!(looked.is_none() || looked == taken);
            let taken_here = limiter.check_and_count(&store, spread(key_hash), now);
            let taken_here = stores::wait(taken_here.expect("taken"));
            let case = format!("limit {requests}, step {step}, {key_hash}");
            assert_eq!(taken, taken_here, "{case}");
            if key_hash != 1 {
                assert_eq!(looked, None, "it has sent nothing before");
            }
            own += u32::from(looked.is_some());
            inherited += u32::from(looked.is_none() && taken.is_some());
        }
        assert!(inherited > 100, "limit {requests}: {own}, {inherited}");
    }
}

#[test]
fn a_clock_put_back_locks_nobody_out_for_longer_than_a_window() {
    let redis = Redis::start();
    let mut caller = Caller::new(&redis);
    let limits = limits(2, 8);
    let mut wait_at = |now: Timestamp| {
        let call = decide(&limits, &due(1, true), None, now);
        wait(caller.call_at(&call, now))
    };
    let ahead = START.after(Millis::seconds(86_400));
    assert_eq!([wait_at(ahead), wait_at(ahead)], [None, None]);
    assert_eq!(
        wait_at(START),
        Some(WINDOW),
        "what was counted counts from now on"
    );
    assert_eq!(
        wait_at(START.after(Millis(9_999))),
        Some(Millis(1)),
        "and not anew each time"
    );
    assert_eq!(wait_at(START.after(WINDOW)), None);
}

#[test]
fn a_damaged_counter_lets_nothing_through_for_a_window() {
    let redis = Redis::start();
    let mut caller = Caller::new(&redis);
    let limits = limits(2, 8);
    let call = decide(&limits, &due(1, true), None, START);
    let key = call.keys[0].clone();
    for damaged in [
        "",
        "x",
        "[]",
        "{}",
        "null",
        "1e999",
        "{\"residue\":1,\"entries\":{}}",
        "{\"residue\":[1],\"entries\":{}}",
        "{\"residue\":{},\"entries\":[[1,2,3]]}",
        "{\"residue\":{},\"entries\":[[\"a\",2]]}",
        "{\"residue\":{},\"entries\":[[\"a\",2,0,{}]]}",
        "{\"residue\":[\"a\",\"b\"],\"entries\":{}}",
        "{\"residue\":{},\"entries\":[[\"a\",1,0,5,null]]}",
    ] {
        redis.command(&["SET", &key, damaged]);
        assert_eq!(
            wait(caller.call_at(&call, START)),
            Some(WINDOW),
            "{damaged:?}"
        );
        let later = START.after(Millis(4_000));
        assert_eq!(
            wait(caller.call_at(&call, later)),
            Some(Millis(6_000)),
            "{damaged:?}"
        );
        assert_eq!(
            wait(caller.call_at(&call, START.after(WINDOW))),
            None,
            "{damaged:?}"
        );
    }
}

#[test]
fn a_request_is_counted_by_all_limits_or_by_none() {
    let redis = Redis::start();
    let mut caller = Caller::new(&redis);
    let limit = |name: &str, requests| limiter(name, requests, WINDOW, 8);
    let limits = [limit("first", 3), limit("second", 1)];
    let due = |rule, key_hash| LimitCheck {
        rule,
        key_hash,
        counts: true,
    };
    let mut ask = |due: &[LimitCheck]| caller.call_at(&decide(&limits, due, None, START), START);
    assert_eq!(ask(&[due(0, 1), due(1, 9)]), Passed);
    for _ in 0..5 {
        let limited = Limited {
            which: 1,
            wait: WINDOW,
        };
        assert_eq!(ask(&[due(0, 1), due(1, 9)]), limited);
    }
    // The first limit has counted one of six.
    assert_eq!(ask(&[due(0, 1)]), Passed);
    assert_eq!(ask(&[due(0, 1)]), Passed);
    assert!(matches!(ask(&[due(0, 1)]), Limited { which: 0, .. }));
    // A rule that stands there twice counts twice, as it does in shared data.
    assert_eq!(ask(&[due(0, 2), due(0, 2)]), Passed);
    assert!(matches!(
        ask(&[due(0, 2), due(0, 2)]),
        Limited { which: 1, .. }
    ));
    assert_eq!(ask(&[due(0, 2)]), Passed);
}
