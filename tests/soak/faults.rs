//! Faults under load: orders that are sent again until they pass, as Twilio does, while something breaks.
//!
//! Each test prints its row of the table in docs/soak.md. `scripts/soak --faults` runs them one after the other.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::kinds::{self, Order};
use crate::upstream::{Upstream, Way};
use support::envoy::{Envoy, Setup, connection_manager, listener, plugin_config, plugin_with};
use support::filter_host::{FilterHost, filter_host};
use support::http1::PATIENCE;
use support::live::Live;
use support::messages::{TOKEN, WEBHOOK, now};
use support::process::{free_port, repository};
use support::redis::{self, Redis, Webdis};
use support::stat;

/// Connections that send orders at the same time.
const CLIENTS: u64 = 8;
/// How long each sends before the fault, and after it.
const CALM: Duration = Duration::from_millis(1000);
/// How long the last orders are sent again when no new ones come.
const LAST: Duration = Duration::from_secs(4);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Orders under way, and what became of them.
struct Load<'a> {
    to: SocketAddr,
    upstream: &'a Upstream,
    stopped: AtomicBool,
    /// When each was accepted.
    accepted: Mutex<Vec<(Instant, Order)>>,
    /// Requests that were answered neither 2xx nor 409, or not at all.
    failures: AtomicU64,
    /// Orders that the upstream took although the sender was not told so. It is told 409 when it sends them again.
    untold: AtomicU64,
    /// Orders that were still answered 409 in the end although the upstream has not taken them.
    held: AtomicU64,
    lost: AtomicU64,
    begin: Mutex<Option<Instant>>,
    end: Mutex<Option<Instant>>,
}

impl Load<'_> {
    /// The fault begins now.
    fn begins(&self) {
        *lock(&self.begin) = Some(Instant::now());
    }

    /// The fault is over now.
    fn ends(&self) {
        *lock(&self.end) = Some(Instant::now());
    }

    /// The fault is one moment.
    fn now(&self) {
        self.begins();
        self.ends();
    }

    fn send(&self, number: u64) {
        let mut client = Client::new(self.to);
        for round in number.. {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            let order = kinds::message();
            if !self.order(&mut client, &order) {
                continue;
            }
            if round % 5 == 0 {
                // Whatever the answer: the upstream counts.
                let _ = client.send(&order.request.bytes());
            }
            if round % 8 == 0 {
                client.close();
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// Sends an order until the upstream has taken it. Returns whether that was so.
    fn order(&self, client: &mut Client, order: &Order) -> bool {
        let bytes = order.request.bytes();
        let mut given_up = None;
        loop {
            let is_held = match client.send(&bytes) {
                Ok(Answer { status: 200, .. }) => break,
                Ok(Answer { status: 409, .. }) if self.upstream.has_taken(order.nonce) => {
                    self.untold.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                Ok(Answer { status: 409, .. }) => true,
                Ok(Answer {
                    status: 400..500,
                    reason,
                }) => panic!("an order is rejected: {reason}"),
                Ok(_) | Err(_) => {
                    self.failures.fetch_add(1, Ordering::SeqCst);
                    false
                }
            };
            if self.stopped.load(Ordering::SeqCst)
                && given_up.get_or_insert_with(Instant::now).elapsed() > LAST
            {
                let what = if is_held { &self.held } else { &self.lost };
                what.fetch_add(1, Ordering::SeqCst);
                return false;
            }
            sleep(Duration::from_millis(20));
        }
        lock(&self.accepted).push((Instant::now(), order.clone()));
        true
    }
}

/// What a fault has done.
#[derive(Debug)]
struct Outcome {
    held: u64,
    lost: u64,
    /// Orders that the upstream was given again although it had taken them.
    twice: u64,
    /// How many of the orders from before the fault passed again after it, of [`Outcome::tried`].
    replayed: usize,
    tried: usize,
}

impl Outcome {
    #[track_caller]
    fn assert_nothing_lost_or_twice(&self) {
        assert_eq!((self.lost, self.held), (0, 0), "lost: {self:?}");
        assert_eq!((self.twice, self.replayed), (0, 0), "twice: {self:?}");
        assert!(self.tried >= 20, "{self:?}");
    }

    /// What is documented of an Envoy that begins with an empty memory.
    #[track_caller]
    fn assert_forgotten(&self) {
        assert_eq!((self.lost, self.held), (0, 0), "lost: {self:?}");
        assert_eq!(self.replayed, self.tried, "remembered: {self:?}");
        assert!(self.tried >= 20, "{self:?}");
    }
}

/// Breaks something under load, and prints the row.
fn under_load(
    fault: &str,
    to: SocketAddr,
    upstream: &Upstream,
    act: impl FnOnce(&Load<'_>),
) -> Outcome {
    let load = Load {
        to,
        upstream,
        stopped: AtomicBool::new(false),
        accepted: Mutex::default(),
        failures: AtomicU64::new(0),
        untold: AtomicU64::new(0),
        held: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        begin: Mutex::default(),
        end: Mutex::default(),
    };
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let load = &load;
            scope.spawn(move || load.send(number));
        }
        // Lets the threads end if the fault cannot be made.
        let _stop = Stop(&load.stopped);
        sleep(CALM);
        act(&load);
        sleep(CALM);
    });
    let begin = lock(&load.begin).expect("the fault has begun");
    let end = lock(&load.end).expect("the fault is over");
    let mut accepted = std::mem::take(&mut *lock(&load.accepted));
    accepted.sort_by_key(|(at, _)| *at);
    let twice = upstream.again();
    let well = accepted.iter().find(|(at, _)| *at >= end);
    let well = well.expect("an order after the fault").0 - end;
    let around = accepted.windows(2).filter(|pair| pair[1].0 >= begin);
    let gap = around.map(|pair| pair[1].0 - pair[0].0).max();
    let gap = gap.expect("orders after the fault");

    let before = accepted.iter().filter(|(at, _)| *at < begin);
    let before: Vec<_> = before.map(|(_, order)| order).collect();
    let (mut replayed, mut tried) = (0, 0);
    let mut client = Client::new(to);
    for order in before.iter().rev().skip(CLIENTS as usize).take(50) {
        let answer = client.send(&order.request.bytes()).expect("an answer");
        assert!(matches!(answer.status, 200 | 409), "{answer:?}");
        replayed += usize::from(answer.status == 200);
        tried += 1;
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    let outcome = Outcome {
        held: count(&load.held),
        lost: count(&load.lost),
        twice,
        replayed,
        tried,
    };
    println!(
        "row | {host} | {fault} | orders {orders} | failed requests {failures} | untold {untold} | too late {late} | held {held} | \
         lost {lost} | twice {twice} | repeats from before {replayed} of {tried} | well after {well} ms | longest gap {gap} ms",
        host = filter_host().name(),
        orders = accepted.len(),
        failures = count(&load.failures),
        untold = count(&load.untold),
        late = upstream.late(),
        held = outcome.held,
        lost = outcome.lost,
        well = well.as_millis(),
        gap = gap.as_millis(),
    );
    outcome
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn plugin() -> Value {
    plugin_with(json!({"rate_limits": [], "log": {"max_per_second": 10}}))
}

/// An Envoy at a port that the next one can have, too.
fn setup(plugin: &Value, upstream: &Upstream, to: SocketAddr) -> Setup {
    let upstream = upstream.address;
    Setup::with(plugin).workers(2).edit(move |config| {
        Upstream::put_into(config, upstream);
        let listener = listener(config);
        listener["address"]["socket_address"]["port_value"] = json!(to.port());
        let manager = connection_manager(listener);
        manager["access_log"] = json!([]);
        // Shorter than an operator's, as are these tests.
        let routes = &mut manager["route_config"]["virtual_hosts"][0]["routes"];
        for route in routes.as_array_mut().expect("routes") {
            route["route"]["timeout"] = json!("1s");
        }
    })
}

fn address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

fn post(envoy: &Envoy, path: &str) {
    let request = format!("POST {path} HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\n\r\n");
    let answer = Client::new(envoy.admin).send(request.as_bytes());
    assert_eq!(answer.expect("an answer").status, 200, "{path}");
}

#[test]
fn an_upstream_killed_and_started_again_loses_nothing_and_takes_nothing_twice() {
    let (upstream, to) = (Upstream::start(), address());
    let _envoy = setup(&plugin(), &upstream, to).start();
    let outcome = under_load("upstream killed and started again", to, &upstream, |load| {
        load.begins();
        upstream.kill();
        sleep(CALM);
        upstream.start_again();
        load.ends();
    });
    outcome.assert_nothing_lost_or_twice();
}

#[test]
fn an_upstream_that_hangs_loses_nothing_and_takes_nothing_twice() {
    let (upstream, to) = (Upstream::start(), address());
    let _envoy = setup(&plugin(), &upstream, to).start();
    let outcome = under_load("upstream hung", to, &upstream, |load| {
        load.begins();
        upstream.behave(Way::Hang);
        sleep(CALM * 2);
        upstream.behave(Way::Answer);
        load.ends();
    });
    outcome.assert_nothing_lost_or_twice();
    assert!(upstream.late() > 0, "no request was given up");
}

#[test]
fn an_upstream_that_resets_half_loses_nothing_and_takes_nothing_twice() {
    let (upstream, to) = (Upstream::start(), address());
    let _envoy = setup(&plugin(), &upstream, to).start();
    let outcome = under_load(
        "upstream resets every other request",
        to,
        &upstream,
        |load| {
            load.begins();
            upstream.behave(Way::ResetHalf);
            sleep(CALM * 2);
            upstream.behave(Way::Answer);
            load.ends();
        },
    );
    outcome.assert_nothing_lost_or_twice();
}

/// Another with each call, and hardly that of somebody else's.
fn base_id() -> u16 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = u64::from(std::process::id()) * 8 + NEXT.fetch_add(1, Ordering::SeqCst);
    (number % 60_000) as u16
}

#[test]
fn an_envoy_that_is_drained_loses_nothing_and_the_next_one_knows_no_nonces() {
    let (upstream, to) = (Upstream::start(), address());
    // For the time that its listeners drain.
    let old = setup(&plugin(), &upstream, to)
        .hot_restart(base_id(), 0)
        .start();
    let mut new = None;
    let outcome = under_load("Envoy drained, then another one", to, &upstream, |load| {
        load.begins();
        post(&old, "/drain_listeners?graceful");
        sleep(Duration::from_millis(2500));
        drop(old);
        new = Some(setup(&plugin(), &upstream, to).start());
        load.ends();
    });
    outcome.assert_forgotten();
}

#[test]
fn a_hot_restart_loses_nothing_and_the_new_process_knows_no_nonces() {
    let (upstream, to) = (Upstream::start(), address());
    let id = base_id();
    let old = setup(&plugin(), &upstream, to).hot_restart(id, 0).start();
    let mut new = None;
    let outcome = under_load("Envoy hot-restarted", to, &upstream, |load| {
        load.begins();
        new = Some(setup(&plugin(), &upstream, to).hot_restart(id, 1).start());
        let start = Instant::now();
        while !old.has_ended() {
            assert!(start.elapsed() < PATIENCE, "the old process is still there");
            sleep(Duration::from_millis(20));
        }
        load.ends();
    });
    outcome.assert_forgotten();
}

#[test]
fn an_envoy_killed_and_started_anew_loses_no_order_but_its_nonces() {
    let (upstream, to) = (Upstream::start(), address());
    let old = setup(&plugin(), &upstream, to).start();
    let mut new = None;
    let outcome = under_load("Envoy killed and started anew", to, &upstream, |load| {
        load.begins();
        drop(old);
        new = Some(setup(&plugin(), &upstream, to).start());
        load.ends();
    });
    outcome.assert_forgotten();
}

#[test]
fn with_redis_an_envoy_killed_and_started_anew_still_knows_its_nonces() {
    let (upstream, to) = (Upstream::start(), address());
    let redis = Redis::start();
    let webdis = Webdis::start(redis.address());
    let mut plugin = plugin();
    plugin["store"] = redis::store();
    let start = || redis::asking(setup(&plugin, &upstream, to), webdis.address()).start();
    let old = start();
    let mut new = None;
    let outcome = under_load(
        "Envoy killed and started anew, Redis",
        to,
        &upstream,
        |load| {
            load.begins();
            drop(old);
            new = Some(start());
            load.ends();
        },
    );
    assert_eq!(
        (outcome.lost, outcome.twice, outcome.replayed),
        (0, 0, 0),
        "{outcome:?}"
    );
    // What was under way: nobody knows whether the upstream has it, and Redis keeps its claim for `replay.window`.
    assert!(outcome.held <= CLIENTS, "{outcome:?}");
}

#[test]
fn live_updates_lose_nothing_and_let_nothing_pass_twice() {
    let (upstream, to) = (Upstream::start(), address());
    let live = Live::start(&plugin(), |plugin| setup(plugin, &upstream, to));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let outcome = under_load("six live updates", to, &upstream, |load| {
        load.begins();
        for bytes in [50_000, 60_000].into_iter().cycle().take(6) {
            let mut plugin = plugin();
            plugin["max_body_bytes"] = json!(bytes);
            runtime.block_on(live.update(&plugin));
        }
        load.ends();
    });
    outcome.assert_nothing_lost_or_twice();
}

fn module_with_trap() -> &'static str {
    match filter_host() {
        FilterHost::Wasm => "target/trap/wasm32-wasip1/release/twilio_webhook_filter.wasm",
        FilterHost::Native => "target/trap/release/libtwilio_webhook_filter.so",
    }
}

#[test]
fn faults_in_the_filter_lose_nothing_that_is_not_under_way_and_let_nothing_pass_twice() {
    let module = module_with_trap();
    assert!(
        repository().join(module).is_file(),
        "{module} does not exist: scripts/test faults builds it"
    );
    let (upstream, to) = (Upstream::start(), address());
    let envoy = setup(&plugin(), &upstream, to).edit(move |config| {
        let config = plugin_config(listener(config));
        config["vm_config"]["code"]["local"]["filename"] = json!(module);
    });
    let envoy = envoy.start();
    let fault = match filter_host() {
        FilterHost::Wasm => "VM trapped",
        FilterHost::Native => "panic in the native module",
    };
    let outcome = under_load(fault, to, &upstream, |load| {
        let fault = support::messages::unsigned("POST", "/anything").header("x-trap", "now");
        // With an order of each client on its way to the upstream.
        upstream.behave(Way::Hang);
        sleep(Duration::from_millis(200));
        load.now();
        let answer = Client::new(to).send(&fault.bytes()).expect("an answer");
        assert!(answer.status >= 500, "{answer:?}");
        upstream.behave(Way::Answer);
        sleep(CALM);
    });
    assert_eq!(
        (outcome.lost, outcome.twice, outcome.replayed),
        (0, 0, 0),
        "{outcome:?}"
    );
    match filter_host() {
        FilterHost::Wasm => assert!(stat(envoy.admin, "vm_reload_success") >= 1),
        FilterHost::Native => assert_eq!(outcome.held, 0, "{outcome:?}"),
    }
    // What the VM had under way: nobody knows whether the upstream has it.
    assert!(outcome.held <= CLIENTS, "{outcome:?}");
}

/// A wall clock that is stepped while it runs: clock.c says how.
struct Clock(tempfile::TempDir);

impl Clock {
    fn new() -> Self {
        let clock = Self(tempfile::tempdir().expect("a directory"));
        clock.set(0);
        let source = repository().join("tests/soak/clock.c");
        let status = Command::new("cc")
            .args(["-O2", "-shared", "-fPIC", "-o"])
            .args([clock.library(), source])
            .status();
        assert!(status.expect("a C compiler").success(), "clock.c");
        clock
    }

    fn library(&self) -> PathBuf {
        self.0.path().join("clock.so")
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("clock")
    }

    /// By so many seconds from the right time, at once.
    fn set(&self, seconds: i64) {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.file());
        let written = file.and_then(|file| file.write_all_at(&seconds.to_ne_bytes(), 0));
        written.expect("a file");
    }

    fn given_to(&self, setup: Setup) -> Setup {
        let text = |path: PathBuf| path.display().to_string();
        setup
            .env("LD_PRELOAD", &text(self.library()))
            .env("CLOCK_FILE", &text(self.file()))
    }
}

/// What Envoy's clock makes of an order that says when it was sent: that was now.
fn verdict_on_now(to: SocketAddr) -> String {
    let now = now().as_secs().to_string();
    let request = kinds::message()
        .request
        .header("x-twilio-request-timestamp", now);
    Client::new(to)
        .send(&request.bytes())
        .expect("an answer")
        .reason
}

/// An Envoy whose clock is stepped to each of these, in seconds from the right time, one after the other.
fn step_clock(fault: &str, steps: &[(i64, &str)]) -> Outcome {
    let (upstream, to) = (Upstream::start(), address());
    let clock = Clock::new();
    let _envoy = clock.given_to(setup(&plugin(), &upstream, to)).start();
    assert_eq!(verdict_on_now(to), "", "the clock is right");
    under_load(fault, to, &upstream, |load| {
        load.begins();
        for (seconds, verdict) in steps {
            clock.set(*seconds);
            assert_eq!(verdict_on_now(to), *verdict, "Envoy's clock by {seconds} s");
            sleep(CALM);
        }
        load.ends();
    })
}

#[test]
fn a_clock_that_goes_an_hour_back_loses_nothing_and_lets_nothing_pass_twice() {
    step_clock("clock an hour back", &[(-3600, "future_timestamp")]).assert_nothing_lost_or_twice();
}

#[test]
fn a_clock_that_goes_a_minute_ahead_and_back_loses_nothing_and_lets_nothing_pass_twice() {
    let steps = [(60, ""), (0, "")];
    step_clock("clock a minute ahead, and back", &steps).assert_nothing_lost_or_twice();
}

#[test]
fn a_clock_that_goes_an_hour_ahead_loses_nothing_and_lets_nothing_pass_twice() {
    // While there is space, what was accepted is known for `replay.keep`, a day.
    step_clock("clock an hour ahead", &[(3600, "stale_timestamp")]).assert_nothing_lost_or_twice();
}

#[test]
fn a_clock_that_goes_a_week_ahead_loses_no_order_but_the_nonces_whose_time_has_come() {
    step_clock("clock a week ahead", &[(604_800, "stale_timestamp")]).assert_forgotten();
}

fn limit(envoy: &Envoy, resource: &str) {
    let pid = envoy.pid().to_string();
    let status = Command::new("prlimit")
        .args(["--pid", &pid, resource])
        .status();
    assert!(status.expect("prlimit").success(), "prlimit {resource}");
}

#[test]
fn an_envoy_short_of_file_descriptors_loses_nothing_and_lets_nothing_pass_twice() {
    let (upstream, to) = (Upstream::start(), address());
    let envoy = setup(&plugin(), &upstream, to).start();
    let outcome = under_load("file descriptors short", to, &upstream, |load| {
        load.begins();
        // Of those that it has open, some: nobody new gets in.
        limit(&envoy, "--nofile=20:4096");
        sleep(CALM * 2);
        limit(&envoy, "--nofile=4096:4096");
        load.ends();
    });
    outcome.assert_nothing_lost_or_twice();
}

#[test]
fn an_envoy_that_gets_no_more_memory_dies_and_the_next_one_loses_no_order() {
    let (upstream, to) = (Upstream::start(), address());
    let envoy = setup(&plugin(), &upstream, to).start();
    let mut new = None;
    let outcome = under_load(
        "no more memory: Envoy dies, then another one",
        to,
        &upstream,
        |load| {
            load.begins();
            // Less than it has: it keeps that, and gets nothing more.
            limit(&envoy, "--data=1000000:unlimited");
            // Bodies as large as they may be, so that it asks for more.
            let message = support::messages::whatsapp();
            let message = support::messages::set(message, "Body", &"x".repeat(60_000));
            let form = kinds::form(WEBHOOK, TOKEN, &message);
            let bytes = form.request.bytes();
            let mut large: Vec<_> = (0..1500).map(|_| Client::new(to)).collect();
            for client in &mut large {
                // All but the last byte, which is never sent.
                let _ = client.write(&bytes[..bytes.len() - 1]);
            }
            let start = Instant::now();
            while !envoy.has_ended() {
                assert!(start.elapsed() < PATIENCE, "Envoy is not short of memory");
                sleep(Duration::from_millis(5));
            }
            new = Some(setup(&plugin(), &upstream, to).start());
            load.ends();
        },
    );
    outcome.assert_forgotten();
}
