//! The scripts in a real Redis, step by step, against models: the counters against the filter's own limiter, the claims
//! against a table that a reader can check.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use twilio_webhook_filter::{
    Claim, Correlation, Keyspace, LimitCheck, Limiter, MAX_ABANDONED, MemoryMap, Millis, Nonce,
    NonceRules, NonceTable, OnFull, ScriptCall, ScriptRef, ScriptReply, Scripts, Settlement,
    Timestamp, UpstreamOutcome,
};

use ScriptReply::{Claimed, Full, Kept, Limited, NeverAnswered, Passed, Pending, Settled, Void};

use support::random::{Chance, spread};
use support::redis::Redis;
use support::resp::Client;
use support::stores::{self, limiter};

/// The number of each question.
const OWN: Correlation = Correlation(0xfeed);

const WINDOW: Millis = Millis(10_000);
/// Far from where the clock stands: what a script decides, it must decide by the time that it is told.
const START: Timestamp = Timestamp(1_500_000_000_000);

fn keyspace() -> Keyspace {
    Keyspace::new("twf")
}

/// What asks for these limits, and for a claim if there is one.
fn decide(
    limits: &[Limiter],
    checks: &[LimitCheck],
    claim: Option<(&Claim, &NonceRules)>,
    now: Timestamp,
) -> ScriptCall {
    let limits: Vec<_> = checks
        .iter()
        .map(|check| (*check, &limits[check.rule]))
        .collect();
    keyspace().decide(0, &limits, claim, now)
}

/// Redis, asked without HTTP in between.
struct Asked {
    client: Client,
    scripts: Scripts,
}

impl Asked {
    fn new(redis: &Redis) -> Self {
        Self {
            client: redis.client(),
            scripts: Scripts::new(),
        }
    }

    fn ask(&mut self, question: &ScriptCall) -> ScriptReply {
        let numbers = question.numbers(OWN);
        let words = question.command(&self.scripts, ScriptRef::Source, &numbers);
        reply(&mut self.client, &words)
    }

    /// For one claim of a nonce, by its id, and limits of which the first is early.
    fn ask_early(
        &mut self,
        limits: &[&Limiter],
        table: &NonceTable,
        (nonce, id): (u8, u64),
        now: Timestamp,
    ) -> ScriptReply {
        let check = LimitCheck {
            rule: 0,
            key_hash: 1,
            counts: true,
        };
        let limits: Vec<_> = limits.iter().map(|limit| (check, *limit)).collect();
        let claim = table.prepare(Nonce([nonce; 32]), id, None, now);
        let claim = Some((&claim, table.rules()));
        let question = keyspace().decide(1, &limits, claim, now);
        self.ask_at(&question, now)
    }

    /// With a clock that says `now`, and values that do not expire by any other.
    fn ask_at(&mut self, question: &ScriptCall, now: Timestamp) -> ScriptReply {
        let numbers = question.numbers(OWN);
        let mut words = question.command(&self.scripts, ScriptRef::Source, &numbers);
        let source = words[1];
        assert!(source.contains("redis.call('TIME')"));
        // Read from a key: a text of its own for each moment would fill Redis with scripts.
        let source = source
            .replace(
                "redis.call('TIME')",
                "cjson.decode(redis.call('GET', 'clock'))",
            )
            .replace(", 'PX', bucket.window", "");
        words[1] = &source;
        let clock = format!("[\"{}\", \"{}\"]", now.0 / 1000, now.0 % 1000 * 1000);
        let set = self.client.command(&["SET", "clock", &clock]);
        set.expect("Redis answers");
        reply(&mut self.client, &words)
    }
}

fn reply(client: &mut Client, words: &[&str]) -> ScriptReply {
    let line = client.command(words).expect("Redis answers").text();
    ScriptReply::read(&line, OWN).unwrap_or_else(|failure| panic!("{line}: {failure:?}"))
}

// --- counters ------------------------------------------------------------------------------------

fn limits(requests: u32, capacity: usize) -> Vec<Limiter> {
    vec![limiter("limit", requests, WINDOW, capacity)]
}

fn due(key_hash: u64, counts: bool) -> [LimitCheck; 1] {
    [LimitCheck {
        rule: 0,
        key_hash: spread(key_hash),
        counts,
    }]
}

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
    let mut asked = Asked::new(&redis);
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
            let question = decide(&limits, &due(key_hash, counts), None, now);
            let theirs = wait(asked.ask_at(&question, now));
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
    let mut asked = Asked::new(&redis);
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
            let question = decide(&limits, &due(key_hash, true), None, now);
            if wait(asked.ask_at(&question, now)).is_some() {
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

/// Finding 10: a flood from one /48 rejected all who have no slot. What Redis tells who only
/// looks is what the filter's own limiter tells, and what taking says of the flood, too.
#[test]
fn in_redis_as_here_looking_rejects_nobody_for_what_others_have_done() {
    let redis = Redis::start();
    let mut asked = Asked::new(&redis);
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
                let question = decide(&limits, &due(key_hash, counts), None, now);
                wait(asked.ask_at(&question, now))
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
    let mut asked = Asked::new(&redis);
    let limits = limits(2, 8);
    let mut wait_at = |now: Timestamp| {
        let question = decide(&limits, &due(1, true), None, now);
        wait(asked.ask_at(&question, now))
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
    let mut asked = Asked::new(&redis);
    let limits = limits(2, 8);
    let question = decide(&limits, &due(1, true), None, START);
    let key = question.keys[0].clone();
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
            wait(asked.ask_at(&question, START)),
            Some(WINDOW),
            "{damaged:?}"
        );
        let later = START.after(Millis(4_000));
        assert_eq!(
            wait(asked.ask_at(&question, later)),
            Some(Millis(6_000)),
            "{damaged:?}"
        );
        assert_eq!(
            wait(asked.ask_at(&question, START.after(WINDOW))),
            None,
            "{damaged:?}"
        );
    }
}

#[test]
fn a_request_is_counted_by_all_limits_or_by_none() {
    let redis = Redis::start();
    let mut asked = Asked::new(&redis);
    let limit = |name: &str, requests| limiter(name, requests, WINDOW, 8);
    let limits = [limit("first", 3), limit("second", 1)];
    let due = |rule, key_hash| LimitCheck {
        rule,
        key_hash,
        counts: true,
    };
    let mut ask = |due: &[LimitCheck]| asked.ask_at(&decide(&limits, due, None, START), START);
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

/// The same in two places: asked for at once in one, by one question after the other in the other.
struct Twice {
    asked: Asked,
    limits: Vec<Limiter>,
    table: NonceTable,
    at_once: Keyspace,
    apart: Keyspace,
}

impl Twice {
    fn ask(
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
        let question = keyspace.decide(early.len(), &limits, claim, now);
        self.asked.ask_at(&question, now)
    }

    /// As it was asked before limits could be deferred.
    fn ask_apart(
        &mut self,
        [early, late]: [&[LimitCheck]; 2],
        claim: Option<&Claim>,
        now: Timestamp,
    ) -> ScriptReply {
        let apart = Keyspace::new("apart");
        if !early.is_empty() {
            let reply = self.ask(&apart, [&[], early], None, now);
            if reply != Passed {
                return reply;
            }
        }
        match self.ask(&apart, [&[], late], claim, now) {
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
        asked: Asked::new(&redis),
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
        let once = twice.ask(&at_once, [&early, &late], claim, now);
        let apart = twice.ask_apart([&early, &late], claim, now);
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
                    let question = keyspace.settle(&[settlement], now);
                    assert_eq!(twice.asked.ask_at(&question, now), Settled);
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
    let mut asked = Asked::new(&redis);
    let limit = |name: &str, requests| limiter(name, requests, WINDOW, 8);
    let (early, late) = (limit("early", 6), limit("late", 1));
    let table = NonceTable::new(nonce_rules(1, OnFull::Reject));
    let now = now();
    let mut ask = |nonce, id, with_late: bool| {
        let limits = [&early, &late];
        let limits = if with_late { &limits } else { &limits[..1] };
        asked.ask_early(limits, &table, (nonce, id), now)
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
    let mut asked = Asked::new(&redis);
    let limit = |name: &str| limiter(name, 2, WINDOW, 8);
    let (early, late) = (limit("early"), limit("late"));
    let table = NonceTable::new(nonce_rules(1, OnFull::Reject));
    let now = now();
    let mut ask = |nonce, id| asked.ask_early(&[&early, &late], &table, (nonce, id), now);
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

/// Any attempt may be the one that arrives last, and before it any number of the others.
#[test]
fn an_attempt_that_arrives_when_its_claim_is_settled_claims_nothing() {
    use UpstreamOutcome::{ClientGone, Failed, Processed};
    let outcomes = [Processed, Failed, ClientGone];
    for (in_time, outcome) in (0..=2).flat_map(|count| outcomes.map(|outcome| (count, outcome))) {
        let redis = Redis::start();
        let mut claims = Claims::new(&redis, nonce_rules(10, OnFull::Reject));
        let claim = claims.prepare(1, 0x11).asked_again();
        let rules = claims.table.rules().clone();
        let call = decide(&[], &[], Some((&claim, &rules)), now());
        for _ in 0..in_time {
            assert_eq!(claims.asked.ask(&call), CLAIMED);
        }
        claims.tell(&[Settlement::new(&claim, &rules, outcome, now())]);
        let before = remembered_or_none(&redis, 1).0;
        let late = claims.asked.ask(&call);
        assert_eq!(remembered_or_none(&redis, 1).0, before);
        // The sender's own retry is another request.
        let retry = claims.claim(1, 0x22);
        if outcome == Processed {
            assert!(
                matches!((late, retry), (Kept { .. }, Kept { .. })),
                "{late:?}, {retry:?}"
            );
        } else {
            assert_eq!((late, retry), (Void, CLAIMED), "{in_time}, {outcome:?}");
        }
    }
}

/// How long what was counted now has to wait: moments are rounded up to the resolution.
fn wait_until(now: Timestamp) -> Millis {
    let resolution = limits(6, 8)[0].resolution().0;
    Millis(now.0.div_ceil(resolution) * resolution + WINDOW.0 - now.0)
}

// --- claims --------------------------------------------------------------------------------------

fn nonce_rules(capacity: usize, on_full: OnFull) -> NonceRules {
    NonceRules {
        on_full,
        ..stores::nonce_rules(capacity)
    }
}

/// One table of nonces in Redis. The time that it is told is the machine's.
struct Claims {
    asked: Asked,
    table: NonceTable,
    limits: Vec<Limiter>,
}

fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_epoch.expect("after 1970").into()
}

impl Claims {
    fn new(redis: &Redis, rules: NonceRules) -> Self {
        Self {
            asked: Asked::new(redis),
            table: NonceTable::new(rules),
            limits: limits(2, 8),
        }
    }

    fn prepare(&self, nonce: u8, id: u64) -> Claim {
        self.table.prepare(Nonce([nonce; 32]), id, None, now())
    }

    fn claim(&mut self, nonce: u8, id: u64) -> ScriptReply {
        self.claim_and_count(nonce, id, &[])
    }

    fn claim_and_count(&mut self, nonce: u8, id: u64, due: &[LimitCheck]) -> ScriptReply {
        let claim = self.prepare(nonce, id);
        let asked = Some((&claim, self.table.rules()));
        let question = decide(&self.limits, due, asked, now());
        self.asked.ask(&question)
    }

    fn settle(&mut self, nonce: u8, id: u64, answer: UpstreamOutcome) {
        let claim = self.prepare(nonce, id);
        let settlement = Settlement::new(&claim, self.table.rules(), answer, now());
        self.tell(&[settlement]);
    }

    fn tell(&mut self, settlements: &[Settlement]) {
        let question = keyspace().settle(settlements, now());
        assert_eq!(self.asked.ask(&question), Settled);
    }
}

const CLAIMED: ScriptReply = Claimed {
    evicted: 0,
    evicted_age: Millis(0),
};

/// What Redis must know of a nonce.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    No,
    OnItsWay {
        id: u64,
        abandoned: u16,
    },
    Kept,
    Abandoned(u16),
    /// Its senders have left once too often.
    NeverAnswered,
}

#[test]
fn claims_follow_their_table_in_any_order_of_events() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(1000, OnFull::Reject));
    let chance = Chance::seeded(7);
    let mut known = [Known::No; 4];
    let mut void = HashSet::new();
    let (mut seen, mut voided) = (HashMap::new(), 0);
    for step in 0..6000 {
        let index = chance.below(4) as usize;
        let id = chance.below(3) + 10 * index as u64;
        // Once in a while everything is forgotten, or a table of kept ones only would be looked at.
        if chance.below(100) == 0 {
            redis.command(&["FLUSHALL"]);
            known = [Known::No; 4];
            void.clear();
        }
        let state = known[index];
        let is_own = matches!(state, Known::OnItsWay { id: own, .. } if own == id);
        let is_kept = matches!(state, Known::Kept | Known::NeverAnswered);
        // Most leave, or nobody would do so once too often.
        known[index] = match chance.below(10) {
            0..=2 => {
                let reply = claims.claim(index as u8, id);
                let expected = match state {
                    _ if void.contains(&id) => Void,
                    Known::No | Known::Abandoned(_) => CLAIMED,
                    // Asked once more.
                    Known::OnItsWay { .. } if is_own => CLAIMED,
                    Known::OnItsWay { .. } => Pending,
                    Known::Kept | Known::NeverAnswered => reply,
                };
                assert_eq!(reply, expected, "step {step}: {state:?}");
                voided += u32::from(reply == Void);
                match (reply, state) {
                    (CLAIMED, Known::OnItsWay { .. }) => state,
                    (CLAIMED, Known::Abandoned(abandoned)) => Known::OnItsWay { id, abandoned },
                    (CLAIMED, _) => Known::OnItsWay { id, abandoned: 0 },
                    (Kept { left }, Known::Kept)
                    | (NeverAnswered { left }, Known::NeverAnswered) => {
                        assert!((86_300_000..=86_400_000).contains(&left.0), "{left:?}");
                        state
                    }
                    (Pending | Void, _) => state,
                    other => panic!("step {step}: {other:?}"),
                }
            }
            3 => {
                claims.settle(index as u8, id, UpstreamOutcome::Processed);
                match state {
                    // An answer that comes after its claim has lapsed is an acceptance all the same.
                    Known::No | Known::Abandoned(_) => Known::Kept,
                    Known::OnItsWay { .. } if is_own => Known::Kept,
                    other => other,
                }
            }
            4 => {
                claims.settle(index as u8, id, UpstreamOutcome::Failed);
                match state {
                    Known::OnItsWay { abandoned: 0, .. } if is_own => Known::No,
                    Known::OnItsWay { abandoned, .. } if is_own => Known::Abandoned(abandoned),
                    other => {
                        // Given up before it arrived: it must not arrive any more.
                        if !is_kept {
                            void.insert(id);
                        }
                        other
                    }
                }
            }
            _ => {
                claims.settle(index as u8, id, UpstreamOutcome::ClientGone);
                match state {
                    Known::OnItsWay { abandoned, .. } if is_own && abandoned < MAX_ABANDONED => {
                        Known::Abandoned(abandoned + 1)
                    }
                    Known::OnItsWay { .. } if is_own => Known::NeverAnswered,
                    other => {
                        if !is_kept {
                            void.insert(id);
                        }
                        other
                    }
                }
            }
        };
        // Marks last for minutes; without this nothing could be claimed after a while.
        if void.len() > 3 {
            void.clear();
            redis.command(&["DEL", MARKS]);
        }
        *seen
            .entry(std::mem::discriminant(&known[index]))
            .or_insert(0) += 1;
    }
    assert!(
        seen.len() == 5 && seen.values().all(|times| *times > 20),
        "{seen:?}"
    );
    assert!(voided > 20, "{voided}");
    for key in redis.keys() {
        let left = redis.command(&["PTTL", &key]).number();
        assert!(left > 0, "{key} would stay for ever");
    }
}

impl Claims {
    /// At a moment of the test's own; values expire by the machine's clock all the same.
    fn claim_at(&mut self, nonce: u8, id: u64, now: Timestamp) -> ScriptReply {
        let claim = self.table.prepare(Nonce([nonce; 32]), id, None, now);
        let asked = Some((&claim, self.table.rules()));
        let question = decide(&self.limits, &[], asked, now);
        self.asked.ask_at(&question, now)
    }

    fn settle_at(&mut self, nonce: u8, id: u64, answer: UpstreamOutcome, now: Timestamp) {
        let claim = self.table.prepare(Nonce([nonce; 32]), id, None, now);
        let settlement = Settlement::new(&claim, self.table.rules(), answer, now);
        let question = keyspace().settle(&[settlement], now);
        assert_eq!(self.asked.ask_at(&question, now), Settled);
    }
}

/// For how long Redis remembers a nonce, and what.
fn remembered(redis: &Redis, nonce: u8) -> (String, i64) {
    let key = format!("{{twf:1}}:n:{}", Nonce([nonce; 32]).to_hex());
    let value = redis.command(&["GET", &key]).text();
    (value, redis.command(&["PTTL", &key]).number())
}

/// Finding 4: the count was forgotten after the window.
#[test]
fn hang_ups_are_counted_in_redis_for_as_long_as_the_request_would_be_kept() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(1000, OnFull::Reject));
    let mut now = START;
    let mut id = 0;
    for hung_up in 1..=MAX_ABANDONED + 1 {
        for answer in [UpstreamOutcome::Failed, UpstreamOutcome::ClientGone] {
            id += 1;
            assert_eq!(claims.claim_at(1, id, now), CLAIMED, "{hung_up}");
            claims.settle_at(1, id, answer, now);
            let (value, left) = remembered_or_none(&redis, 1);
            let before = hung_up - u16::from(answer == UpstreamOutcome::Failed);
            match before {
                0 => assert_eq!(value, None, "what failed is forgotten"),
                _ => assert!(left > 86_000_000, "{value:?}, for {left} ms"),
            }
        }
        now = now.after(Millis::seconds(301));
    }
    assert!(remembered(&redis, 1).0.starts_with("k:4@"));
    for _ in 0..2 {
        id += 1;
        let reply = claims.claim_at(1, id, now);
        assert!(matches!(reply, NeverAnswered { .. }), "{reply:?}");
    }
}

fn remembered_or_none(redis: &Redis, nonce: u8) -> (Option<String>, i64) {
    let key = format!("{{twf:1}}:n:{}", Nonce([nonce; 32]).to_hex());
    if redis.command(&["EXISTS", &key]).number() == 0 {
        return (None, 0);
    }
    let (value, left) = remembered(redis, nonce);
    (Some(value), left)
}

/// A VM that dies leaves a claim that nobody settles: then nobody knows whether the upstream
/// has the request, as where the sender left.
#[test]
fn a_claim_that_lapses_in_redis_counts_as_a_hang_up() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(1000, OnFull::Reject));
    let mut now = START;
    for id in 1..=u64::from(MAX_ABANDONED) + 1 {
        assert_eq!(claims.claim_at(1, id, now), CLAIMED);
        let last = now.after(Millis::seconds(300));
        assert_eq!(claims.claim_at(1, 99, last), Pending);
        now = last.after(Millis(1));
    }
    let reply = claims.claim_at(1, 100, now);
    assert!(matches!(reply, NeverAnswered { .. }), "{reply:?}");
    // Its own answer, if it comes yet, is what counts.
    claims.settle_at(
        1,
        u64::from(MAX_ABANDONED) + 1,
        UpstreamOutcome::Processed,
        now,
    );
    let reply = claims.claim_at(1, 101, now);
    assert!(matches!(reply, Kept { .. }), "{reply:?}");

    // One that has lapsed and was claimed again, and then was taken after all, was taken.
    assert_eq!(claims.claim_at(2, 1, START), CLAIMED);
    let later = START.after(Millis::seconds(301));
    assert_eq!(claims.claim_at(2, 2, later), CLAIMED);
    let latest = later.after(Millis::seconds(301));
    claims.settle_at(2, 1, UpstreamOutcome::Processed, latest);
    let reply = claims.claim_at(2, 3, latest);
    assert!(matches!(reply, Kept { .. }), "{reply:?}");
}

/// Envoys with the version before, which share the Redis during an update.
#[test]
fn what_the_version_before_has_written_is_understood() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(1000, OnFull::Reject));
    let key = format!("{{twf:1}}:n:{}", Nonce([1; 32]).to_hex());
    for (value, expected) in [
        ("k", None),
        ("k:4", None),
        ("p:5:0", Some(Pending)),
        ("a:2", Some(CLAIMED)),
    ] {
        redis.command(&["SET", &key, value, "PX", "300000"]);
        let reply = claims.claim(1, 9);
        match expected {
            Some(expected) => assert_eq!(reply, expected, "{value}"),
            None => assert!(
                matches!(reply, Kept { .. } | NeverAnswered { .. }),
                "{value}: {reply:?}"
            ),
        }
    }
}

#[test]
fn the_count_of_hang_ups_goes_from_a_full_table_in_redis_as_a_kept_request_does_and_no_sooner() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(2, OnFull::Reject));
    for (nonce, answer) in [
        (1, UpstreamOutcome::ClientGone),
        (2, UpstreamOutcome::Processed),
    ] {
        let now = START.after(Millis(nonce.into()));
        assert_eq!(claims.claim_at(nonce, 1, now), CLAIMED);
        claims.settle_at(nonce, 1, answer, now);
    }
    let last = START.after(Millis::seconds(300));
    assert_eq!(claims.claim_at(3, 1, last), Full);
    let later = last.after(Millis(1));
    let reply = claims.claim_at(3, 1, later);
    assert!(matches!(reply, Claimed { evicted: 1, .. }), "{reply:?}");
    assert!(matches!(claims.claim_at(2, 2, later), Kept { .. }));
}

#[test]
fn to_settle_twice_is_to_settle_once() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(1000, OnFull::Reject));
    for (nonce, answer) in [
        (1, UpstreamOutcome::Processed),
        (2, UpstreamOutcome::Failed),
        (3, UpstreamOutcome::ClientGone),
    ] {
        let own = 10 * u64::from(nonce);
        assert_eq!(claims.claim(nonce, own), CLAIMED);
        claims.settle(nonce, own, answer);
        let value = |redis: &Redis| {
            redis.command(&[
                "GET",
                &format!("{{twf:1}}:n:{}", Nonce([nonce; 32]).to_hex()),
            ])
        };
        let once = value(&redis);
        claims.settle(nonce, own, answer);
        assert_eq!(value(&redis), once, "{answer:?}");
        // Also when another has claimed it meanwhile.
        if answer != UpstreamOutcome::Processed {
            assert_eq!(claims.claim(nonce, own + 1), CLAIMED);
            claims.settle(nonce, own, answer);
            assert_eq!(claims.claim(nonce, own + 2), Pending, "{answer:?}");
        }
    }
}

#[test]
fn several_are_settled_at_once_each_in_its_own_way() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(1000, OnFull::Reject));
    let mut settlements = Vec::new();
    for nonce in 0..9 {
        assert_eq!(claims.claim(nonce, u64::from(nonce)), CLAIMED);
        let answer = [
            UpstreamOutcome::Processed,
            UpstreamOutcome::Failed,
            UpstreamOutcome::ClientGone,
        ][usize::from(nonce % 3)];
        let claim = claims.prepare(nonce, u64::from(nonce));
        settlements.push(Settlement::new(&claim, claims.table.rules(), answer, now()));
    }
    claims.tell(&settlements);
    for nonce in 0..9 {
        let reply = claims.claim(nonce, 100);
        let is_kept = matches!(reply, Kept { .. });
        assert_eq!(is_kept, nonce % 3 == 0, "{nonce}: {reply:?}");
    }
}

#[test]
fn a_table_that_is_full_of_what_must_stay_rejects_or_forgets_the_oldest() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(3, OnFull::Reject));
    for nonce in 0..3 {
        assert_eq!(claims.claim(nonce, 1), CLAIMED);
    }
    claims.settle(0, 1, UpstreamOutcome::Processed);
    assert_eq!(claims.claim(3, 1), Full);
    assert!(
        matches!(claims.claim(0, 2), Kept { .. }),
        "a repeat is told as one all the same"
    );
    // What is given up makes room.
    claims.settle(1, 1, UpstreamOutcome::Failed);
    assert_eq!(claims.claim(3, 1), CLAIMED);
    assert_eq!(claims.claim(4, 1), Full);

    redis.command(&["FLUSHALL"]);
    let mut claims = Claims::new(&redis, nonce_rules(3, OnFull::EvictOldest));
    for nonce in 0..3 {
        assert_eq!(claims.claim(nonce, 1), CLAIMED);
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    assert!(matches!(claims.claim(3, 1), Claimed { evicted: 1, .. }));
    assert_eq!(claims.claim(2, 2), Pending);
    assert!(
        matches!(claims.claim(0, 2), Claimed { evicted: 1, .. }),
        "the oldest went"
    );
    assert_eq!(nonces(&redis), 3);
}

/// How many nonces there are.
fn nonces(redis: &Redis) -> usize {
    redis
        .keys()
        .iter()
        .filter(|key| key.contains(":n:"))
        .count()
}

#[test]
fn what_is_kept_because_there_was_room_goes_when_there_is_none() {
    let redis = Redis::start();
    let short = NonceRules {
        window: Millis(20),
        ..nonce_rules(3, OnFull::Reject)
    };
    let mut claims = Claims::new(&redis, short);
    for nonce in 0..3 {
        assert_eq!(claims.claim(nonce, 1), CLAIMED);
        claims.settle(nonce, 1, UpstreamOutcome::Processed);
    }
    std::thread::sleep(std::time::Duration::from_millis(40));
    assert!(matches!(claims.claim(2, 2), Kept { .. }), "there was room");
    let Claimed {
        evicted,
        evicted_age,
    } = claims.claim(3, 1)
    else {
        panic!("not claimed");
    };
    assert_eq!(evicted, 1);
    assert!((20..60_000).contains(&evicted_age.0), "{evicted_age:?}");
    // Claims on their way are not what makes room.
    for nonce in 4..6 {
        assert!(matches!(claims.claim(nonce, 1), Claimed { evicted: 1, .. }));
    }
    assert_eq!(claims.claim(6, 1), Full);
    assert_eq!(nonces(&redis), 3);
}

#[test]
fn a_request_need_not_be_remembered_for_longer_than_it_must() {
    let redis = Redis::start();
    let short = NonceRules {
        window: Millis(30),
        keep: Millis(0),
        ..nonce_rules(10, OnFull::Reject)
    };
    let mut claims = Claims::new(&redis, short);
    assert_eq!(claims.claim(1, 1), CLAIMED);
    claims.settle(1, 1, UpstreamOutcome::Processed);
    assert!(matches!(claims.claim(1, 2), Kept { .. }));
    std::thread::sleep(std::time::Duration::from_millis(60));
    assert_eq!(claims.claim(1, 3), CLAIMED);
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

// --- what may go -----------------------------------------------------------------------------------

const MARKS: &str = "{twf:1}:v";

/// Whoever has one captured request can send it again and hang up as often as he likes.
#[test]
fn a_repeat_that_is_given_up_leaves_nothing_where_its_nonce_is_kept() {
    use UpstreamOutcome::{ClientGone, Failed, Processed};
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(10, OnFull::Reject));
    assert_eq!(claims.claim(1, 1), CLAIMED);
    claims.settle(1, 1, Processed);
    for id in 2..=u64::from(MAX_ABANDONED) + 2 {
        assert_eq!(claims.claim(2, id), CLAIMED);
        claims.settle(2, id, ClientGone);
    }
    let before: HashSet<_> = redis.keys().into_iter().collect();
    for (id, nonce) in (100..).zip([1, 2].repeat(20)) {
        for outcome in [Failed, ClientGone] {
            claims.settle(nonce, id, outcome);
        }
        let again = claims.prepare(nonce, id).asked_again();
        let rules = claims.table.rules();
        claims.tell(&[Settlement::new(&again, rules, Failed, now())]);
        let reply = claims.claim(nonce, id);
        assert!(
            matches!(reply, Kept { .. } | NeverAnswered { .. }),
            "{reply:?}"
        );
    }
    let after: HashSet<_> = redis.keys().into_iter().collect();
    assert_eq!(after, before);
}

/// Those whose nonces Redis does not know cannot be told from claims that are on their way yet.
#[test]
fn what_is_given_up_before_it_arrives_takes_a_bounded_amount_of_memory() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(10, OnFull::Reject));
    let rules = claims.table.rules().clone();
    let given_up = 11_000_u64;
    let ids: Vec<_> = (1..=given_up).collect();
    for batch in ids.chunks(32) {
        let settlements: Vec<_> = batch
            .iter()
            .map(|id| {
                let claim = claims.prepare(1, spread(*id));
                Settlement::new(&claim, &rules, UpstreamOutcome::Failed, now())
            })
            .collect();
        claims.tell(&settlements);
    }
    let bytes: i64 = redis
        .keys()
        .iter()
        .map(|key| {
            redis
                .command(&["MEMORY", "USAGE", key, "SAMPLES", "0"])
                .number()
        })
        .sum();
    println!("{bytes} bytes for {given_up} claims that were given up");
    assert!(redis.keys().len() < 5, "{} keys", redis.keys().len());
    assert!(bytes < 1_500_000, "{bytes} bytes");
    assert_eq!(redis.command(&["ZCARD", MARKS]).number(), 10_000);
    // The last ones are those that may arrive yet.
    for id in [given_up, given_up - 9_000] {
        assert_eq!(claims.claim(1, spread(id)), Void, "{id}");
    }
    assert_eq!(claims.claim(1, spread(1)), CLAIMED);
    let left = redis.command(&["PTTL", MARKS]).number();
    assert!((500_000..=600_000).contains(&left), "{left}");
}

/// The client of a request that this Envoy has let pass by itself leaves, and only then Redis gets the claim.
#[test]
fn a_claim_that_arrives_after_its_client_has_left_claims_nothing() {
    let redis = Redis::start();
    let mut claims = Claims::new(&redis, nonce_rules(10, OnFull::Reject));
    claims.settle(1, 1, UpstreamOutcome::ClientGone);
    assert_eq!(claims.claim(1, 1), Void);
    assert_eq!(claims.claim(1, 2), CLAIMED);
}

/// While Redis is away, Envoys accept by themselves, and Redis hears of it afterwards, whether it has room or not.
#[test]
fn what_is_above_the_capacity_and_need_not_stay_makes_room_at_once() {
    let redis = Redis::start();
    let short = NonceRules {
        window: Millis(20),
        ..nonce_rules(8, OnFull::Reject)
    };
    let mut claims = Claims::new(&redis, short);
    for nonce in 0..60 {
        claims.settle(nonce, 1, UpstreamOutcome::Processed);
    }
    std::thread::sleep(std::time::Duration::from_millis(40));
    let mut stored = nonces(&redis);
    for nonce in 100..105 {
        let reply = claims.claim(nonce, 1);
        assert!(matches!(reply, Claimed { .. }), "{nonce}: {reply:?}");
        let left = nonces(&redis);
        assert!(left + 13 < stored || left == 8, "{left} of {stored}");
        stored = left;
    }
    assert_eq!(stored, 8);
}

#[test]
fn the_index_outlives_the_nonces_of_every_webhook_that_shares_it() {
    let redis = Redis::start();
    let long = nonce_rules(10, OnFull::Reject);
    let short = NonceRules {
        window: Millis::seconds(1),
        keep: Millis(0),
        ..long.clone()
    };
    let (mut long, mut short) = (Claims::new(&redis, long), Claims::new(&redis, short));
    let left = || redis.command(&["PTTL", "{twf:1}:i:10"]).number();
    assert_eq!(long.claim(1, 1), CLAIMED);
    assert!(left() > 86_400_000, "{}", left());
    assert_eq!(short.claim(2, 2), CLAIMED);
    assert!(left() > 86_400_000, "after a claim: {}", left());
    long.settle(1, 1, UpstreamOutcome::Processed);
    short.settle(2, 2, UpstreamOutcome::Processed);
    assert!(left() > 86_400_000, "after an answer: {}", left());
}

/// A webhook's capacity was changed between two deliveries, and another one still has the capacity before.
#[test]
fn a_nonce_in_two_indices_goes_only_with_the_one_that_it_was_written_with() {
    use UpstreamOutcome::{ClientGone, Failed, Processed};
    for (on_full, settled) in [OnFull::Reject, OnFull::EvictOldest]
        .into_iter()
        .flat_map(|on_full| [Some(Processed), None].map(|settled| (on_full, settled)))
    {
        let redis = Redis::start();
        let mut before = Claims::new(&redis, nonce_rules(2, on_full));
        let mut after = Claims::new(&redis, nonce_rules(5, OnFull::Reject));
        assert_eq!(before.claim_at(1, 1, START), CLAIMED);
        before.settle_at(1, 1, ClientGone, START);
        let later = START.after(Millis::seconds(299));
        assert_eq!(after.claim_at(1, 2, later), CLAIMED);
        if let Some(outcome) = settled {
            after.settle_at(1, 2, outcome, later);
        }
        let latest = START.after(Millis::seconds(301));
        assert_eq!(before.claim_at(2, 3, latest), CLAIMED);
        // Room was made, and nothing evicted.
        assert_eq!(before.claim_at(3, 4, latest), CLAIMED);
        let repeat = after.claim_at(1, 5, latest);
        match settled {
            Some(_) => assert!(matches!(repeat, Kept { .. }), "{repeat:?}"),
            None => assert_eq!(repeat, Pending),
        }
        // What its own index evicts is gone.
        before.settle_at(2, 3, Failed, latest);
        before.settle_at(3, 4, Failed, latest);
        let much_later = latest.after(Millis::seconds(301));
        for nonce in 10..15 {
            let reply = after.claim_at(nonce, 9, much_later);
            assert!(matches!(reply, Claimed { .. }), "{reply:?}");
        }
        assert_eq!(nonces(&redis), 5);
    }
}

/// What has expired goes before what is kept because there was room, however old that is.
#[test]
fn nonces_that_have_expired_make_room_before_those_that_are_kept() {
    for (kept, expired) in [(1, 3), (20, 180)] {
        let redis = Redis::start();
        let long = NonceRules {
            window: Millis(20),
            ..nonce_rules(kept + expired, OnFull::Reject)
        };
        let short = NonceRules {
            keep: Millis(0),
            ..long.clone()
        };
        let (mut long, mut short) = (Claims::new(&redis, long), Claims::new(&redis, short));
        for nonce in 0..kept as u8 {
            long.settle(nonce, 1, UpstreamOutcome::Processed);
        }
        for nonce in 0..expired as u8 {
            short.settle(50 + nonce, 1, UpstreamOutcome::Processed);
        }
        std::thread::sleep(std::time::Duration::from_millis(60));
        let mut evicted = 0;
        for id in 0..expired as u64 * 3 / 4 {
            match long.claim(230 + (id % 20) as u8, id) {
                Claimed { evicted: more, .. } => evicted += more,
                other => panic!("{other:?}"),
            }
            // Written again under another index, it would be no new nonce.
            if id % 20 == 19 {
                for nonce in 230..250 {
                    redis.command(&["DEL", &nonce_key(nonce)]);
                }
            }
        }
        // Of many, not all are looked at.
        assert!(evicted <= kept as u64 / 4, "{evicted} of {kept}");
        if kept == 1 {
            let repeat = long.claim(0, 99);
            assert!(matches!(repeat, Kept { .. }), "{repeat:?}");
        }
    }
}

fn nonce_key(nonce: u8) -> String {
    format!("{{twf:1}}:n:{}", Nonce([nonce; 32]).to_hex())
}

#[test]
fn the_age_of_what_is_evicted_is_known_where_nonces_are_not_kept_beyond_their_window() {
    let redis = Redis::start();
    let pinned_only = NonceRules {
        keep: Millis(0),
        ..nonce_rules(1, OnFull::EvictOldest)
    };
    let mut claims = Claims::new(&redis, pinned_only);
    assert_eq!(claims.claim(1, 1), CLAIMED);
    std::thread::sleep(std::time::Duration::from_millis(50));
    match claims.claim(2, 2) {
        Claimed {
            evicted: 1,
            evicted_age,
        } => assert!((50..60_000).contains(&evicted_age.0), "{evicted_age:?}"),
        other => panic!("{other:?}"),
    }
}
