//! The scripts in a real Redis, step by step, against models.

/// The counters, against the filter's own limiter.
mod counters;

/// Limits and a claim in one call.
mod at_once;

/// Claims and what becomes of them, against a table that a reader can check.
mod claims;

/// Claims that were given up, and arrive then.
mod marks;

/// A table that is full.
mod room;

use twilio_webhook_filter::{
    Claim, Correlation, Keyspace, LimitCheck, Limiter, Millis, Nonce, NonceRules, NonceTable,
    OnFull, ScriptCall, ScriptRef, ScriptReply, Scripts, Settlement, Timestamp, UpstreamOutcome,
};

use support::random::spread;
use support::redis::Redis;
use support::resp::Client;
use support::stores::{self, limiter};

/// The number of each call.
const OWN: Correlation = Correlation(0xfeed);

const WINDOW: Millis = Millis(10_000);
/// Far from where the clock stands: what a script decides, it must decide by the time that it is told.
const START: Timestamp = Timestamp(1_500_000_000_000);

fn keyspace() -> Keyspace {
    Keyspace::new("twf")
}

/// The call for these limits, and for a claim if there is one.
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

/// Calls Redis without HTTP in between.
struct Caller {
    client: Client,
    scripts: Scripts,
}

impl Caller {
    fn new(redis: &Redis) -> Self {
        Self {
            client: redis.client(),
            scripts: Scripts::new(),
        }
    }

    fn call(&mut self, call: &ScriptCall) -> ScriptReply {
        let numbers = call.numbers(OWN);
        let words = call.command(&self.scripts, ScriptRef::Source, &numbers);
        reply(&mut self.client, &words)
    }

    /// For one claim of a nonce, by its id, and limits of which the first is early.
    fn call_early(
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
        let call = keyspace().decide(1, &limits, claim, now);
        self.call_at(&call, now)
    }

    /// With a clock that says `now`, and values that do not expire by any other.
    fn call_at(&mut self, call: &ScriptCall, now: Timestamp) -> ScriptReply {
        let numbers = call.numbers(OWN);
        let mut words = call.command(&self.scripts, ScriptRef::Source, &numbers);
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

fn nonce_rules(capacity: usize, on_full: OnFull) -> NonceRules {
    NonceRules {
        on_full,
        ..stores::nonce_rules(capacity)
    }
}

/// One table of nonces in Redis. The time that it is told is the machine's.
struct Claims {
    caller: Caller,
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
            caller: Caller::new(redis),
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
        let claim = Some((&claim, self.table.rules()));
        let call = decide(&self.limits, due, claim, now());
        self.caller.call(&call)
    }

    fn settle(&mut self, nonce: u8, id: u64, answer: UpstreamOutcome) {
        let claim = self.prepare(nonce, id);
        let settlement = Settlement::new(&claim, self.table.rules(), answer, now());
        self.tell(&[settlement]);
    }

    fn tell(&mut self, settlements: &[Settlement]) {
        let call = keyspace().settle(settlements, now());
        assert_eq!(self.caller.call(&call), ScriptReply::Settled);
    }
}

const CLAIMED: ScriptReply = ScriptReply::Claimed {
    evicted: 0,
    evicted_age: Millis(0),
};

impl Claims {
    /// At a moment of the test's own; values expire by the machine's clock all the same.
    fn claim_at(&mut self, nonce: u8, id: u64, now: Timestamp) -> ScriptReply {
        let claim = self.table.prepare(Nonce([nonce; 32]), id, None, now);
        let claim = Some((&claim, self.table.rules()));
        let call = decide(&self.limits, &[], claim, now);
        self.caller.call_at(&call, now)
    }

    fn settle_at(&mut self, nonce: u8, id: u64, answer: UpstreamOutcome, now: Timestamp) {
        let claim = self.table.prepare(Nonce([nonce; 32]), id, None, now);
        let settlement = Settlement::new(&claim, self.table.rules(), answer, now);
        let call = keyspace().settle(&[settlement], now);
        assert_eq!(self.caller.call_at(&call, now), ScriptReply::Settled);
    }
}

/// The key of the claims that are void.
const MARKS: &str = "{twf:1}:v";

fn nonce_key(nonce: u8) -> String {
    format!("{{twf:1}}:n:{}", Nonce([nonce; 32]).to_hex())
}

/// For how long Redis remembers a nonce, and what.
fn remembered(redis: &Redis, nonce: u8) -> (String, i64) {
    let key = nonce_key(nonce);
    let value = redis.command(&["GET", &key]).text();
    (value, redis.command(&["PTTL", &key]).number())
}

fn remembered_or_none(redis: &Redis, nonce: u8) -> (Option<String>, i64) {
    let key = nonce_key(nonce);
    if redis.command(&["EXISTS", &key]).number() == 0 {
        return (None, 0);
    }
    let (value, left) = remembered(redis, nonce);
    (Some(value), left)
}

/// How many nonces there are.
fn nonces(redis: &Redis) -> usize {
    redis
        .keys()
        .iter()
        .filter(|key| key.contains(":n:"))
        .count()
}
