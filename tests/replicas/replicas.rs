use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fault_proxy::{FaultProxy, Way};
use crate::servers::{self, Redis, WEBDIS_PASSWORD, Webdis};
pub(crate) use crate::servers::{cluster, shipped, store};
use support::envoy::{Envoy, Setup, listener, new_address, plugin_config, plugin_with};
use support::http1::{Http1, PATIENCE};
use support::messages::message;
use support::process::in_time;
use support::simple_get;
use support::tap::Behaviour;
use support::wire::{Request, Response};

/// No test takes longer, whatever happens.
const LIMIT: Duration = Duration::from_secs(400);

/// [`store`] with some fields replaced.
pub(crate) fn store_with(changes: Value) -> Value {
    let mut store = store();
    for (name, value) in changes.as_object().expect("an object") {
        store[name] = value.clone();
    }
    store
}

/// The plugin's configuration: no rate limits and [`store`], then what is given.
pub(crate) fn plugin(changes: Value) -> Value {
    let mut plugin = plugin_with(json!({"rate_limits": [], "store": store()}));
    for (name, value) in changes.as_object().expect("an object") {
        plugin[name] = value.clone();
    }
    plugin
}

/// An Envoy whose store is at `address`, be it Webdis or what stands in for Upstash.
pub(crate) fn setup(plugin: &Value, address: SocketAddr) -> Setup {
    servers::setup(plugin, address)
        .env("UPSTASH_TOKEN", crate::upstash::TOKEN)
        .edit(|config| {
            let keys = &mut plugin_config(listener(config))["vm_config"]["environment_variables"]
                ["host_env_keys"];
            let keys = keys.as_array_mut().expect("a list of variables");
            keys.push(json!("UPSTASH_TOKEN"));
        })
}

/// Envoys, and what they share. Fields are dropped in this order.
pub(crate) struct Replicas {
    pub(crate) envoys: Vec<Envoy>,
    pub(crate) proxy: FaultProxy,
    pub(crate) webdis: Webdis,
    pub(crate) redis: Redis,
}

impl Replicas {
    /// Two Envoys with several workers each.
    pub(crate) fn start(plugin: &Value) -> Self {
        Self::of(2, |setup| setup.workers(2), plugin)
    }

    pub(crate) fn of(count: usize, change: impl Fn(Setup) -> Setup + Sync, plugin: &Value) -> Self {
        Self::with_redis(Redis::start(), count, change, plugin)
    }

    pub(crate) fn with_redis(
        redis: Redis,
        count: usize,
        change: impl Fn(Setup) -> Setup + Sync,
        plugin: &Value,
    ) -> Self {
        let webdis = Webdis::start(redis.address());
        let proxy = FaultProxy::start(webdis.address());
        let one = || {
            let envoy = change(setup(plugin, proxy.address)).start();
            envoy.tap.behave(Behaviour::Answer(200));
            envoy
        };
        // At the same time: each is busy translating the module for a while.
        let envoys = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..count).map(|_| scope.spawn(one)).collect();
            let started = starting
                .into_iter()
                .map(|envoy| envoy.join().expect("an Envoy"));
            started.collect()
        });
        Self {
            envoys,
            proxy,
            webdis,
            redis,
        }
    }

    /// One more with the same store and empty shared data: a process that was started later.
    pub(crate) fn another(&self, plugin: &Value) -> Envoy {
        let envoy = setup(plugin, self.proxy.address).start();
        envoy.tap.behave(Behaviour::Answer(200));
        envoy
    }

    /// Runs a test, and looks afterwards whether every filter is the one that was started, and has told no secret.
    /// On failure the logs are shown.
    pub(crate) fn run(&self, test: impl AsyncFnOnce(&Self)) {
        let test = || in_time(LIMIT, Box::pin(test(self)));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            test();
            self.envoys.iter().for_each(assert_well);
        }));
        if let Err(panic) = outcome {
            for (number, envoy) in self.envoys.iter().enumerate() {
                let log = envoy.full_log();
                let lines: Vec<_> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(15)..].join("\n");
                eprintln!("--- the end of the log of Envoy {number}\n{tail}");
                for line in stats(envoy, "twilio_webhook.store").lines() {
                    eprintln!("{line}");
                }
            }
            resume_unwind(panic);
        }
    }

    pub(crate) async fn send(&self, envoy: usize, request: &Request) -> Response {
        send(&self.envoys[envoy], request).await
    }

    /// How many requests have reached an upstream.
    pub(crate) fn accepted(&self) -> usize {
        self.envoys.iter().map(|envoy| envoy.tap.count()).sum()
    }

    /// Waits until the Envoys remember together again, by themselves: what one accepts, the next rejects.
    pub(crate) async fn recovered(&self) {
        let envoys = self.envoys.len();
        for number in 0..envoys {
            let start = Instant::now();
            // More than one: a worker that has had no request since has its own view of the store.
            let mut passed = 0;
            while passed < 10 {
                let request = message();
                let here = self.send(number, &request).await.status;
                let there = self.send((number + 1) % envoys, &request).await.status;
                passed = if (here, there) == (200, 409) || (envoys, here) == (1, 200) {
                    passed + 1
                } else {
                    0
                };
                assert!(
                    start.elapsed() < PATIENCE,
                    "Envoys {number} and next do not recover: {here}, then {there}"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Lets the store work again, whatever was done to it.
    pub(crate) async fn heal(&self) {
        self.proxy.set(Way::Open);
        self.recovered().await;
    }
}

/// The filter has not crashed (its VM would be replaced, and nobody would notice), and tells no secret.
pub(crate) fn assert_well(envoy: &Envoy) {
    envoy.assert_alive(0);
    envoy.assert_discreet(0);
    let log = envoy.full_log();
    for secret in [
        WEBDIS_PASSWORD,
        crate::upstash::TOKEN,
        servers::REDIS_PASSWORD,
    ] {
        assert!(
            !log.contains(secret),
            "the log tells a password of the store"
        );
    }
}

/// From an address of its own.
pub(crate) async fn send(envoy: &Envoy, request: &Request) -> Response {
    Http1::connect(envoy.address(), new_address())
        .await
        .send(request)
        .await
}

/// Envoy's stats whose names fit the pattern.
pub(crate) fn stats(envoy: &Envoy, pattern: &str) -> String {
    simple_get(envoy.admin, &format!("/stats?filter={pattern}"))
        .map_or_else(|error| error.to_string(), |answer| answer.text())
}

/// One of the filter's counters or gauges, over all its labels.
pub(crate) fn metric(envoy: &Envoy, name: &str) -> u64 {
    let text = stats(envoy, &format!("twilio_webhook.{name}"));
    let values = text.lines().filter_map(|line| line.rsplit(' ').next());
    values.filter_map(|value| value.parse::<u64>().ok()).sum()
}
