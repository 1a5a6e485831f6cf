use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kinds::{Captured, LIMIT};
use crate::ledger::Ledger;
use crate::memory::Memory;
use crate::sender::{STORE_FAILED, Sender};
use crate::setup::{add_limited_webhook, in_front_of};
use crate::upstream::Upstream;
use support::envoy::{Envoy, Setup, plugin};
use support::filter_host::{FilterHost, filter_host};
use support::random::Random;
use support::redis::{self, Redis, Webdis};
use support::{simple_get, stat};

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is {text:?}, which is no number")),
        Err(_) => default,
    }
}

fn configuration() -> Value {
    let mut plugin = plugin();
    plugin["rate_limits"] = json!([]);
    // Short, and small, so that the tables are as full as they get within the first minute.
    plugin["replay"] = json!({"window": "10s", "keep": "30s"});
    plugin["rate_limit_capacity"] = json!(2048);
    plugin["log"] = json!({"max_per_second": 10});
    add_limited_webhook(&mut plugin);
    plugin
}

/// Envoy's own count, by verdict.
fn verdicts(envoy: &Envoy) -> BTreeMap<String, u64> {
    let mut verdicts = BTreeMap::new();
    let text = envoy.admin("/stats?format=prometheus");
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("twilio_webhook_requests{") else {
            continue;
        };
        let verdict = rest.split_once("verdict=\"").expect("a verdict").1;
        let verdict = verdict.split('"').next().expect("its end");
        let count: u64 = rest
            .rsplit(' ')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a count");
        if count > 0 {
            *verdicts.entry(verdict.to_owned()).or_default() += count;
        }
    }
    verdicts
}

fn active(envoy: &Envoy) -> bool {
    let path = "/stats?filter=http.webhooks.downstream_rq_active";
    let text = simple_get(envoy.admin, path).expect("an answer").text();
    !text.trim().ends_with(": 0")
}

/// Sends everything for as long as it was told.
fn send(envoys: &[Envoy], upstream: &Upstream, memory: &mut [Memory], length: Duration) -> Ledger {
    let captured = Captured::default();
    let whole = Mutex::new(Ledger::default());
    let to: Vec<_> = envoys.iter().map(Envoy::address).collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..number("SOAK_CLIENTS", 24) {
            let (captured, whole, to) = (&captured, &whole, &to);
            scope.spawn(move || {
                let random = Random::new(start.elapsed().as_nanos() as u64, client);
                let mut sender = Sender::new(random, to, captured, upstream);
                while start.elapsed() < length {
                    sender.step();
                }
                whole.lock().expect("a ledger").add(sender.ledger);
            });
        }
        let mut told = 0;
        while start.elapsed() < length {
            std::thread::sleep(Duration::from_millis(500));
            for memory in &mut *memory {
                memory.sample(start.elapsed());
            }
            let minute = start.elapsed().as_secs() / 60;
            if minute > told {
                told = minute;
                let resident: Vec<_> = memory.iter().map(|memory| memory.last() as u64).collect();
                println!(
                    "minute {minute}: {} passed, resident {resident:?} KiB",
                    upstream.received()
                );
            }
        }
    });
    whole.into_inner().expect("a ledger")
}

fn soak(store: &str, envoys: &[Envoy], upstream: &Upstream, mut memory: Vec<Memory>) {
    let length = Duration::from_secs(number("SOAK_SECONDS", 15));
    let start = Instant::now();
    let ledger = send(envoys, upstream, &mut memory, length);
    let took = start.elapsed();
    let since = Instant::now();
    while envoys.iter().any(active) {
        assert!(
            since.elapsed() < Duration::from_secs(30),
            "Envoy still has requests on their way, 30 s after the last one was sent"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    ledger.print();
    println!(
        "\n| resident, KiB | at first | after the first minute | at last | at most | slope a minute |\n|---|---|---|---|---|---|"
    );
    for memory in &memory {
        memory.check(took);
    }
    check_store(&ledger, envoys);
    check_counts(&ledger, envoys, upstream);
    println!(
        "\nrow | {} | {store} | {:.0} s | {} requests | {:.0} a second",
        filter_host().name(),
        took.as_secs_f64(),
        ledger.sent(),
        ledger.sent() as f64 / took.as_secs_f64(),
    );
}

/// The store has hardly failed, and was told all of what became of requests.
fn check_store(ledger: &Ledger, envoys: &[Envoy]) {
    let sum = |name: &str| -> u64 {
        let name = format!("twilio_webhook.{name}$");
        envoys.iter().map(|envoy| stat(envoy.admin, &name)).sum()
    };
    let calls = sum("store_callouts");
    println!(
        "\nthe store: {calls} calls, {} of them given to others, {} failed",
        sum("store_callouts_misdelivered"),
        sum("store_callout_failures"),
    );
    let verdicts = ledger.verdicts();
    let failed = verdicts.get(STORE_FAILED).copied().unwrap_or_default();
    // Shared data never does.
    assert!(
        failed <= calls / 50,
        "{failed} requests failed by the store"
    );
    assert_eq!(sum("store_settlements_lost"), 0, "settlements lost");
}

/// Each request is in every count once, and no nonce is accepted twice or lost.
fn check_counts(ledger: &Ledger, envoys: &[Envoy], upstream: &Upstream) {
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    let mut arrived = 0;
    for envoy in envoys {
        for (verdict, count) in verdicts(envoy) {
            *counted.entry(verdict).or_default() += count;
        }
        arrived += stat(envoy.admin, "^http.webhooks.downstream_rq_total$");
        envoy.assert_alive(0);
    }
    assert_eq!(arrived, ledger.sent(), "what arrived at Envoy");
    let mut seen = ledger.verdicts();
    // Of those that left, only Envoy knows what became of them: accepted, or a duplicate where the retry was sooner.
    let left = ledger.left.len() as u64;
    let [untold, overtaken] = ["accepted", "duplicate"].map(|verdict| {
        let seen = seen.get_mut(verdict).expect("some");
        let untold = counted[verdict].saturating_sub(*seen);
        *seen += untold;
        untold
    });
    assert!(
        untold + overtaken <= left,
        "{untold} accepted, {overtaken} duplicates, and {left} left"
    );
    assert_eq!(counted, seen, "Envoy's count is the clients'");

    // Of those that left, some did so before Envoy had a connection to the upstream.
    let passed = seen["accepted"] + seen["exempt"];
    let received = upstream.received();
    assert!(
        (passed - untold..=passed).contains(&received),
        "the upstream saw {received}, and {passed} passed, of which {untold} left"
    );
    println!(
        "of {left} that left after all of it, {untold} were accepted, {} of these before the upstream had them, and \
         {overtaken} were overtaken by the retry",
        passed - received
    );
    assert_eq!(upstream.unverified(), seen["exempt"]);

    let nonces = upstream.nonces();
    let known = |nonce| ledger.accepted.contains_key(nonce) || ledger.left.contains(nonce);
    assert!(nonces.keys().all(known), "a nonce that nobody has sent");
    for (nonce, count) in &ledger.accepted {
        assert_eq!(*count, 1, "{nonce:x} was accepted twice");
        let taken = nonces.get(nonce).map_or(0, |deliveries| deliveries.taken);
        let most = if ledger.left.contains(nonce) { 2 } else { 1 };
        assert!(
            (1..=most).contains(&taken),
            "{nonce:x}: {taken} at the upstream"
        );
    }
    for nonce in &ledger.left {
        assert!(nonces.contains_key(nonce), "{nonce:x} is lost");
    }
    let flood = |verdict: &str| {
        let key = ("flood", verdict.to_owned());
        ledger.seen.get(&key).copied().unwrap_or_default()
    };
    let all = flood("accepted") + flood("rate_limited");
    // Exactly the limit passes. But where the store has failed, it may have counted what did not.
    let failed = seen.get(STORE_FAILED).copied().unwrap_or_default();
    let most = all.min(LIMIT);
    let accepted = flood("accepted");
    assert!(
        (most.saturating_sub(failed)..=most).contains(&accepted),
        "{accepted} of {most}"
    );
}

#[test]
fn under_everything_at_once_each_request_is_counted_once_and_none_is_accepted_twice_or_lost() {
    let upstream = Upstream::start();
    let envoy = in_front_of(upstream.address, Setup::with(&configuration())).start();
    let memory = vec![Memory::of("Envoy", envoy.pid())];
    soak("shared data", &[envoy], &upstream, memory);
}

#[test]
fn with_redis_and_two_envoys_each_request_is_counted_once_and_none_is_accepted_twice_or_lost() {
    let upstream = Upstream::start();
    let redis = Redis::start();
    let webdis = Webdis::start(redis.address());
    let mut plugin = configuration();
    plugin["store"] = redis::store();
    let envoys = [(); 2].map(|()| {
        let setup = redis::asking(Setup::with(&plugin), webdis.address());
        in_front_of(upstream.address, setup).start()
    });
    let mut memory = vec![
        Memory::of("Redis", redis.pid()),
        // Webdis 0.1.9 leaks the question of whoever leaves before its answer. In a native module a call ends with its
        // stream.
        Memory::of("Webdis", webdis.pid()).may_rise(filter_host() == FilterHost::Native),
    ];
    memory.extend(envoys.iter().map(|envoy| Memory::of("Envoy", envoy.pid())));
    soak("Redis, two Envoys", &envoys, &upstream, memory);
}
