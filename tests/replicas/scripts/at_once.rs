use std::collections::{BTreeMap, HashMap};

use twilio_webhook_filter::{
    Claim, Keyspace, LimitCheck, Limiter, Millis, Nonce, NonceTable, OnFull, ScriptReply,
    Settlement, Timestamp, UpstreamOutcome,
};

use super::{
    CLAIMED, Caller, Claims, MARKS, WINDOW, due, keyspace, limits, nonce_rules, nonces, now,
};
use ScriptReply::{Claimed, Full, Kept, Limited, NeverAnswered, Passed, Pending, Settled, Void};
use support::random::{Chance, spread};
use support::redis::Redis;
use support::stores::limiter;

/// The same in two places: by one call in one, by one call after the other in the other.
struct Twice {
    caller: Caller,
    limits: Vec<Limiter>,
    table: NonceTable,
    at_once: Keyspace,
    apart: Keyspace,
}

impl Twice {
    fn call(
        &mut self,
        keyspace: &Keyspace,
        [early, late]: [&[LimitCheck]; 2],
        claim: Option<&Claim>,
        now: Timestamp,
    ) -> ScriptReply {
        let checks = early.iter().chain(late);
        let limits: Vec<_> = checks
            .map(|check| (*check, &self.limits[check.rule]))
            .collect();
        let claim = claim.zip(Some(self.table.rules()));
        let call = keyspace.decide(early.len(), &limits, claim, now);
        self.caller.call_at(&call, now)
    }

    /// As it was before limits could be deferred.
    fn call_apart(
        &mut self,
        [early, late]: [&[LimitCheck]; 2],
        claim: Option<&Claim>,
        now: Timestamp,
    ) -> ScriptReply {
        let apart = Keyspace::new("apart");
        if !early.is_empty() {
            let reply = self.call(&apart, [&[], early], None, now);
            if reply != Passed {
                return reply;
            }
        }
        match self.call(&apart, [&[], late], claim, now) {
            Limited { which, wait } => Limited {
                which: which + early.len(),
                wait,
            },
            reply => reply,
        }
    }
}

/// All that Redis has with this prefix, the prefix aside.
fn contents(redis: &Redis, keyspace: &Keyspace) -> BTreeMap<String, String> {
    let keys = redis.keys().into_iter();
    let own = keys.filter_map(|key| {
        let name = key.strip_prefix(keyspace.prefix())?.to_owned();
        let value = if name.starts_with("i:") {
            let count = redis.command(&["ZCARD", &key]).number();
            count.to_string()
        } else {
            redis.command(&["GET", &key]).text()
        };
        let is_counter = name.starts_with("l:");
        let value = if is_counter {
            let value: serde_json::Value = serde_json::from_str(&value).expect("JSON");
            value.to_string()
        } else {
            value
        };
        Some((name, value))
    });
    own.collect()
}

#[test]
fn limits_and_claim_asked_for_at_once_are_decided_as_one_after_the_other() {
    let redis = Redis::start();
    let named = |name: &str, requests, capacity| limiter(name, requests, WINDOW, capacity);
    let mut twice = Twice {
        caller: Caller::new(&redis),
        // The second and the third have few places; the fourth rejects seldom.
        limits: vec![
            named("one", 3, 8),
            named("two", 4, 4),
            named("three", 2, 1),
            named("four", 60, 8),
        ],
        table: NonceTable::new(nonce_rules(6, OnFull::Reject)),
        at_once: keyspace(),
        apart: Keyspace::new("apart"),
    };
    let chance = Chance::seeded(11);
    let mut now = now();
    let mut seen: HashMap<_, u32> = HashMap::new();
    for step in 0..4000_u64 {
        now = now.after(Millis(chance.below(400)));
        let checks = |most: u64| -> Vec<LimitCheck> {
            let checks = 0..chance.below(most + 1);
            checks
                .map(|_| LimitCheck {
                    // Also the same limit twice, early and late, looked at and taken from.
                    rule: chance.below(4) as usize,
                    key_hash: spread(chance.below(5)),
                    counts: chance.below(3) > 0,
                })
                .collect()
        };
        let (early, late) = (checks(3), checks(2));
        let (nonce, id) = (Nonce([chance.below(9) as u8; 32]), step);
        let claim = twice.table.prepare(nonce, id, None, now);
        let claim = (chance.below(3) > 0).then_some(&claim);
        let at_once = Keyspace::new("twf");
        let once = twice.call(&at_once, [&early, &late], claim, now);
        let apart = twice.call_apart([&early, &late], claim, now);
        // For how long a nonce is kept goes by the machine's clock.
        let without_time = |reply| match reply {
            Kept { .. } => Kept { left: Millis(0) },
            NeverAnswered { .. } => NeverAnswered { left: Millis(0) },
            reply => reply,
        };
        assert_eq!(without_time(once), without_time(apart), "step {step}");
        let kind = match once {
            Limited { which, .. } if which < early.len() => "limited early",
            Limited { .. } if early.is_empty() => "limited late",
            Limited { .. } => "limited late, after early limits",
            Passed => "passed",
            Claimed { .. } => "claimed",
            Full => "full",
            Pending | Kept { .. } if early.is_empty() => "duplicate",
            Pending | Kept { .. } => "duplicate, after early limits",
            other => panic!("step {step}: {other:?}"),
        };
        *seen.entry(kind).or_default() += 1;
        if let (Claimed { .. }, Some(claim)) = (once, claim) {
            let outcome = match chance.below(3) {
                0 => UpstreamOutcome::Processed,
                _ => UpstreamOutcome::Failed,
            };
            let settlement = Settlement::new(claim, twice.table.rules(), outcome, now);
            if chance.below(4) > 0 {
                for keyspace in [&twice.at_once, &twice.apart] {
                    let call = keyspace.settle(&[settlement], now);
                    assert_eq!(twice.caller.call_at(&call, now), Settled);
                }
            }
        }
        if step % 20 == 0 {
            let [once, apart] =
                [&twice.at_once, &twice.apart].map(|keyspace| contents(&redis, keyspace));
            assert_eq!(once, apart, "step {step}");
        }
        if chance.below(200) == 0 {
            redis.command(&["FLUSHALL"]);
        }
    }
    println!("{seen:?}");
    assert_eq!(seen.len(), 8, "{seen:?}");
    assert!(seen.values().all(|times| *times > 20), "{seen:?}");
}

#[test]
fn early_limits_have_counted_what_is_a_repeat_given_up_or_rejected_by_another_limit() {
    let redis = Redis::start();
    let mut caller = Caller::new(&redis);
    let limit = |name: &str, requests| limiter(name, requests, WINDOW, 8);
    let (early, late) = (limit("early", 6), limit("late", 1));
    let table = NonceTable::new(nonce_rules(1, OnFull::Reject));
    let now = now();
    let mut ask = |nonce, id, with_late: bool| {
        let limits = [&early, &late];
        let limits = if with_late { &limits } else { &limits[..1] };
        caller.call_early(limits, &table, (nonce, id), now)
    };
    redis.command(&["ZADD", MARKS, "1", "99"]);
    assert_eq!(ask(9, 0x99, true), Void);
    assert_eq!(ask(1, 1, true), CLAIMED);
    assert_eq!(ask(1, 2, true), Pending);
    let limited = |which| Limited {
        which,
        wait: wait_until(now),
    };
    assert_eq!(ask(2, 3, true), limited(1));
    assert_eq!(ask(2, 4, false), Full);
    assert_eq!(ask(1, 5, true), Pending);
    // Six were counted: now it is the early limit that answers, also a repeat.
    for nonce in [1, 2] {
        assert_eq!(ask(nonce, 6, true), limited(0));
    }
    assert_eq!(nonces(&redis), 1);
}

#[test]
fn a_claim_that_is_asked_for_once_more_is_granted_again_and_counted_once() {
    let redis = Redis::start();
    let mut caller = Caller::new(&redis);
    let limit = |name: &str| limiter(name, 2, WINDOW, 8);
    let (early, late) = (limit("early"), limit("late"));
    let table = NonceTable::new(nonce_rules(1, OnFull::Reject));
    let now = now();
    let mut ask = |nonce, id| caller.call_early(&[&early, &late], &table, (nonce, id), now);
    for _ in 0..5 {
        assert_eq!(ask(1, 0x11), CLAIMED);
    }
    // Somebody else's number is another request's, and it alone is the second.
    assert_eq!(ask(1, 0x1), Pending);
    let limited = Limited {
        which: 0,
        wait: wait_until(now),
    };
    assert_eq!(ask(1, 0x111), limited);
    assert_eq!(ask(1, 0x11), CLAIMED, "whatever the limits say by now");
}

/// How long what was counted now has to wait: moments are rounded up to the resolution.
fn wait_until(now: Timestamp) -> Millis {
    let resolution = limits(6, 8)[0].resolution().0;
    Millis(now.0.div_ceil(resolution) * resolution + WINDOW.0 - now.0)
}

#[test]
fn a_repeat_is_counted_by_no_limit_and_what_is_limited_or_full_claims_nothing() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(3, OnFull::Reject));
    let limit = due(1, true);
    assert_eq!(claims.claim_and_count(1, 1, &limit), CLAIMED);
    for id in 2..9 {
        assert_eq!(claims.claim_and_count(1, id, &limit), Pending);
    }
    assert_eq!(claims.claim_and_count(2, 1, &limit), CLAIMED);
    assert!(matches!(
        claims.claim_and_count(3, 1, &limit),
        Limited { which: 0, .. }
    ));
    assert_eq!(nonces(&redis), 2);
    assert_eq!(claims.claim_and_count(3, 1, &due(2, true)), CLAIMED);
    for id in 1..9 {
        assert_eq!(claims.claim_and_count(4, id, &due(3, true)), Full);
    }
    // Nothing was counted of those.
    claims.settle(3, 1, UpstreamOutcome::Failed);
    assert_eq!(claims.claim_and_count(4, 1, &due(3, true)), CLAIMED);
}
