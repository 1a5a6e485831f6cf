use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;
use crate::kinds::{self, Captured, LIMIT, LIMITED, Order};
use crate::upstream::{ASK, Upstream};
use support::envoy::{Envoy, Setup, connection_manager, listener, plugin};
use support::random::Random;
use support::redis::{self, Redis, Webdis};
use support::resident::resident;
use support::{rule, simple_get};

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is {text:?}, which is no number")),
        Err(_) => default,
    }
}

/// What one client, or all of them, have seen.
#[derive(Default)]
struct Ledger {
    /// By what was sent, and the verdict that came back.
    seen: BTreeMap<(&'static str, String), u64>,
    /// How often each nonce was answered 200.
    accepted: HashMap<u64, u64>,
    /// Those who have left in the middle of a body.
    left: u64,
}

impl Ledger {
    fn count(&mut self, kind: &'static str, verdict: &str) {
        *self.seen.entry((kind, verdict.to_owned())).or_default() += 1;
    }

    fn verdicts(&self) -> BTreeMap<String, u64> {
        let mut verdicts = BTreeMap::new();
        for ((_, verdict), count) in &self.seen {
            *verdicts.entry(verdict.clone()).or_default() += count;
        }
        verdicts
    }

    fn add(&mut self, other: Self) {
        for (key, count) in other.seen {
            *self.seen.entry(key).or_default() += count;
        }
        for (nonce, count) in other.accepted {
            *self.accepted.entry(nonce).or_default() += count;
        }
        self.left += other.left;
    }
}

/// One client: a request after the other, of all kinds.
struct Sender<'a> {
    random: Random,
    clients: Vec<Client>,
    captured: &'a Captured,
    ledger: Ledger,
}

impl Sender<'_> {
    fn send(&mut self, bytes: &[u8]) -> (u16, String) {
        let which = self.random.below(self.clients.len());
        let answer = self.clients[which].send(bytes);
        let answer = answer.unwrap_or_else(|error| panic!("no answer: {error}"));
        (answer.status, answer.reason)
    }

    fn took(&mut self, kind: &'static str, order: &Order, answer: (u16, String)) {
        assert_eq!(answer, (200, String::new()), "{kind}");
        self.ledger.count(kind, "accepted");
        *self.ledger.accepted.entry(order.nonce).or_default() += 1;
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..30 => self.accepted("accepted", &kinds::message()),
            30..34 => self.accepted("status callback by GET", &kinds::status()),
            34..38 => self.accepted("JSON", &kinds::json()),
            38..42 => self.slow(),
            42..52 => self.repeated(),
            52..55 => self.twins(),
            55..63 => self.flood(),
            63..67 => self.leaves(),
            67..69 => self.websocket(),
            69..72 => self.failed("fail", 500),
            72..74 => self.failed("reset", 503),
            74..77 => self.exempt(),
            _ => self.rejected(),
        }
    }

    fn accepted(&mut self, kind: &'static str, order: &Order) {
        let answer = self.send(&order.request.bytes());
        self.took(kind, order, answer);
        let draw = self.random.below(usize::MAX);
        self.captured.add(order.clone(), draw);
    }

    /// Chunked, and piece by piece.
    fn slow(&mut self) {
        let order = kinds::message();
        let which = self.random.below(self.clients.len());
        for chunk in order.request.chunks(200) {
            self.clients[which].write(&chunk).expect("Envoy reads");
            std::thread::sleep(Duration::from_millis(10));
        }
        let answer = self.clients[which].answer().expect("an answer");
        self.took("slow body, chunked", &order, (answer.status, answer.reason));
    }

    fn repeated(&mut self) {
        let draw = self.random.below(usize::MAX);
        if let Some(order) = self.captured.any(draw) {
            let answer = self.send(&order.request.bytes());
            assert_eq!(answer, (409, "duplicate".to_owned()), "a repeat");
            self.ledger.count("repeated", "duplicate");
        }
    }

    /// The same on two connections at once.
    fn twins(&mut self) {
        let order = kinds::message();
        let bytes = order.request.bytes();
        let to = self.random.below(self.clients.len());
        let mut other = Client::new(self.clients[to].to());
        let first = self.random.below(self.clients.len());
        self.clients[first].write(&bytes).expect("Envoy reads");
        other.write(&bytes).expect("Envoy reads");
        let answers = [self.clients[first].answer(), other.answer()];
        let mut answers = answers.map(|answer| {
            let answer = answer.expect("an answer");
            (answer.status, answer.reason)
        });
        answers.sort();
        let [passed, duplicate] = answers;
        self.took("twice at once", &order, passed);
        assert_eq!(duplicate, (409, "duplicate".to_owned()));
        self.ledger.count("twice at once", "duplicate");
    }

    fn flood(&mut self) {
        let order = kinds::flood();
        match self.send(&order.request.bytes()) {
            (429, reason) => self.ledger.count("flood", &reason),
            answer => self.took("flood", &order, answer),
        }
    }

    /// In the middle of the body.
    fn leaves(&mut self) {
        let bytes = kinds::message().request.bytes();
        let to = self.random.below(self.clients.len());
        let mut client = Client::new(self.clients[to].to());
        client
            .write(&bytes[..bytes.len() - 100])
            .expect("Envoy reads");
        self.ledger.left += 1;
    }

    fn websocket(&mut self) {
        let order = kinds::handshake();
        let to = self.random.below(self.clients.len());
        let mut client = Client::new(self.clients[to].to());
        let answer = client.send(&order.request.bytes()).expect("an answer");
        assert_eq!(answer.status, 101, "{answer:?}");
        client.write(b"hello").expect("Envoy reads");
        let echo = client.read_exactly(5).expect("an echo");
        assert_eq!(echo, b"hello");
        self.ledger.count("WebSocket", "accepted");
        *self.ledger.accepted.entry(order.nonce).or_default() += 1;
    }

    /// The upstream fails at first; the retry must be accepted.
    fn failed(&mut self, how: &'static str, status: u16) {
        let order = kinds::message();
        let bytes = order.request.clone().header(ASK, how).bytes();
        let answer = self.send(&bytes);
        assert_eq!(answer, (status, String::new()), "{how}");
        self.ledger.count("the upstream fails", "accepted");
        for _ in 0..200 {
            match self.send(&bytes) {
                // With Redis: it is told a moment later.
                (409, reason) => self.ledger.count("retry", &reason),
                answer => return self.took("retry", &order, answer),
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("lost: the retry after {how} is never accepted");
    }

    fn exempt(&mut self) {
        let request = support::messages::unsigned("GET", "/public/menu");
        let answer = self.send(&request.bytes());
        assert_eq!(answer, (200, String::new()), "exempt");
        self.ledger.count("exempt", "exempt");
    }

    fn rejected(&mut self) {
        let (reason, status, request) = kinds::rejected(self.random.below(usize::MAX));
        let answer = self.send(&request.bytes());
        assert_eq!(answer, (status, reason.to_owned()), "{reason}");
        self.ledger.count("to be rejected", reason);
    }
}

fn configuration() -> Value {
    let mut plugin = plugin();
    plugin["rate_limits"] = json!([]);
    // Short, so that the table is as full as it gets within a minute.
    plugin["replay"] = json!({"window": "10s", "keep": "60s"});
    plugin["log"] = json!({"max_per_second": 10});
    let limits = json!([rule("client_ip", "all", LIMIT as u32, "36000s")]);
    let webhooks = plugin["webhooks"].as_array_mut().expect("webhooks");
    webhooks.push(json!({"path": LIMITED, "rate_limits": limits}));
    plugin
}

fn edited(setup: Setup, upstream: SocketAddr) -> Setup {
    setup.workers(4).edit(move |config| {
        Upstream::put_into(config, upstream);
        let manager = connection_manager(listener(config));
        manager["xff_num_trusted_hops"] = json!(1);
        // A line for each request would fill the disk.
        manager["access_log"] = json!([]);
    })
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

/// By which memory rises in a minute, in KiB, of what was measured after the first minute (or the first half).
fn slope(samples: &[(f64, f64)], length: f64) -> f64 {
    let from = 60_f64.min(length / 2.0);
    let late: Vec<_> = samples.iter().filter(|sample| sample.0 >= from).collect();
    let count = late.len().max(1) as f64;
    let (x, y) = (
        late.iter().map(|s| s.0).sum::<f64>() / count,
        late.iter().map(|s| s.1).sum::<f64>() / count,
    );
    let above: f64 = late.iter().map(|s| (s.0 - x) * (s.1 - y)).sum();
    let below: f64 = late.iter().map(|s| (s.0 - x).powi(2)).sum();
    above / below.max(f64::EPSILON) * 60.0 / 1024.0
}

fn soak(envoys: &[Envoy], upstream: &Upstream) {
    let length = Duration::from_secs(number("SOAK_SECONDS", 15));
    let captured = Captured::default();
    let whole = Mutex::new(Ledger::default());
    let start = Instant::now();
    let mut samples: Vec<Vec<(f64, f64)>> = vec![Vec::new(); envoys.len()];
    std::thread::scope(|scope| {
        for client in 0..number("SOAK_CLIENTS", 24) {
            let (captured, whole) = (&captured, &whole);
            scope.spawn(move || {
                let to = envoys.iter().map(|envoy| Client::new(envoy.address()));
                let mut sender = Sender {
                    random: Random::new(start.elapsed().as_nanos() as u64, client),
                    clients: to.collect(),
                    captured,
                    ledger: Ledger::default(),
                };
                while start.elapsed() < length {
                    sender.step();
                }
                whole.lock().expect("a ledger").add(sender.ledger);
            });
        }
        while start.elapsed() < length {
            std::thread::sleep(Duration::from_millis(500));
            for (samples, envoy) in samples.iter_mut().zip(envoys) {
                samples.push((start.elapsed().as_secs_f64(), resident(envoy) as f64));
            }
        }
    });
    let took = start.elapsed().as_secs_f64();
    while envoys.iter().any(active) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let ledger = whole.into_inner().expect("a ledger");
    let sent = ledger.seen.values().sum::<u64>() + ledger.left;
    println!("| sent | verdict | requests |\n|---|---|---|");
    for ((kind, verdict), count) in &ledger.seen {
        println!("| {kind} | {verdict} | {count} |");
    }
    println!(
        "| left in the middle of the body | none | {} |",
        ledger.left
    );
    println!(
        "{sent} requests in {took:.1} s: {:.0} a second",
        sent as f64 / took
    );
    for samples in &samples {
        let kib = |sample: Option<&(f64, f64)>| sample.map_or(0.0, |sample| sample.1 / 1024.0);
        let slope = slope(samples, took);
        let (first, last) = (kib(samples.first()), kib(samples.last()));
        println!("resident: {first:.0} KiB, then {last:.0} KiB; slope {slope:.0} KiB a minute");
        if took >= 180.0 {
            assert!(slope < 1024.0, "memory rises by {slope:.0} KiB a minute");
        }
    }

    let mut counted = BTreeMap::new();
    for envoy in envoys {
        for (verdict, count) in verdicts(envoy) {
            *counted.entry(verdict).or_default() += count;
        }
        envoy.assert_alive(0);
    }
    let seen = ledger.verdicts();
    assert_eq!(counted, seen, "Envoy's count is the clients'");
    let passed = seen["accepted"] + seen["exempt"];
    assert_eq!(upstream.received(), passed, "what the upstream saw");
    assert_eq!(upstream.unverified(), seen["exempt"]);
    let nonces = upstream.nonces();
    assert_eq!(
        nonces.len(),
        ledger.accepted.len(),
        "nonces at the upstream"
    );
    for (nonce, count) in &ledger.accepted {
        assert_eq!(*count, 1, "{nonce:x} was accepted twice");
        let taken = nonces.get(nonce).map(|deliveries| deliveries.taken);
        assert_eq!(taken, Some(1), "{nonce:x} at the upstream");
    }
    let flood = |verdict: &str| {
        let key = ("flood", verdict.to_owned());
        ledger.seen.get(&key).copied().unwrap_or_default()
    };
    let all = flood("accepted") + flood("rate_limited");
    assert_eq!(
        flood("accepted"),
        all.min(LIMIT),
        "exactly the limit passes"
    );
}

#[test]
fn under_everything_at_once_each_request_is_counted_once_and_none_is_accepted_twice_or_lost() {
    let upstream = Upstream::start();
    let setup = edited(Setup::with(&configuration()), upstream.address);
    soak(&[setup.start()], &upstream);
}

#[test]
fn with_redis_and_two_envoys_each_request_is_counted_once_and_none_is_accepted_twice_or_lost() {
    let upstream = Upstream::start();
    let redis = Redis::start();
    let webdis = Webdis::start(redis.address());
    let mut plugin = configuration();
    plugin["store"] = redis::store();
    let envoys = [(); 2].map(|()| {
        edited(
            redis::asking(Setup::with(&plugin), webdis.address()),
            upstream.address,
        )
        .start()
    });
    soak(&envoys, &upstream);
}
