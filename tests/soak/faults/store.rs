use std::net::SocketAddr;
use std::thread::sleep;

use serde_json::json;

use super::cut::Cut;
use super::load::under_load;
use super::outcome::Outcome;
use super::{CALM, address, plugin, setup};
use crate::upstream::Upstream;
use support::envoy::Envoy;
use support::redis::{self, Redis, Webdis};

/// Two Envoys with one Redis; each connection to it, and to Webdis, can be cut.
struct Shared {
    redis: Redis,
    to_redis: Cut,
    webdis: Webdis,
    to_webdis: Cut,
    upstream: Upstream,
    envoys: [Envoy; 2],
}

impl Shared {
    fn start() -> Self {
        let upstream = Upstream::start();
        let redis = Redis::start();
        let to_redis = Cut::start(redis.address());
        let webdis = Webdis::start(to_redis.address);
        let to_webdis = Cut::start(webdis.address());
        let mut plugin = plugin();
        plugin["store"] = redis::store();
        // As it is shipped, but for `timeout`, which is 0.1 s there: this machine is busy.
        plugin["store"]["timeout"] = json!("0.5s");
        let envoys = [(); 2].map(|()| {
            let setup = setup(&plugin, &upstream, address());
            redis::asking(setup, to_webdis.address).start()
        });
        Self {
            redis,
            to_redis,
            webdis,
            to_webdis,
            upstream,
            envoys,
        }
    }

    /// Breaks something for a while.
    fn breaks(&self, fault: &str, begin: impl Fn(&Self), end: impl Fn(&Self)) -> Outcome {
        let to: Vec<SocketAddr> = self.envoys.iter().map(Envoy::address).collect();
        let outcome = under_load(fault, &to, &self.upstream, |load| {
            load.begins();
            begin(self);
            // Longer than a store's timeout, and than a circuit stays open.
            sleep(CALM * 2);
            end(self);
            load.ends();
            // Each worker looks once a second whether the store is there again.
            sleep(CALM);
        });
        assert!(outcome.failed > 0, "nobody noticed: {outcome:?}");
        outcome
    }
}

#[test]
fn a_redis_killed_and_started_again_loses_nothing_and_lets_nothing_pass_twice() {
    let shared = Shared::start();
    let outcome = shared.breaks(
        "Redis killed and started again",
        |shared| shared.redis.kill(),
        |shared| shared.redis.start_again(),
    );
    outcome.assert_nothing_lost_or_twice();
}

#[test]
fn a_redis_that_hangs_loses_nothing_and_lets_nothing_pass_twice() {
    let shared = Shared::start();
    let outcome = shared.breaks(
        "Redis hung",
        |shared| shared.redis.freeze(),
        |shared| shared.redis.thaw(),
    );
    outcome.assert_nothing_lost_or_twice();
}

#[test]
fn a_full_redis_loses_nothing_and_lets_nothing_pass_twice() {
    let shared = Shared::start();
    let outcome = shared.breaks(
        "Redis full",
        |shared| shared.redis.limit_memory("1"),
        |shared| shared.redis.limit_memory("256mb"),
    );
    outcome.assert_nothing_lost_or_twice();
}

#[test]
fn a_redis_that_webdis_cannot_reach_loses_nothing_and_lets_nothing_pass_twice() {
    let shared = Shared::start();
    let outcome = shared.breaks(
        "Redis cut off from Webdis",
        |shared| shared.to_redis.cut(),
        |shared| shared.to_redis.mend(),
    );
    outcome.assert_nothing_lost_or_twice();
}

#[test]
fn a_webdis_that_envoy_cannot_reach_loses_nothing_and_lets_nothing_pass_twice() {
    let shared = Shared::start();
    let outcome = shared.breaks(
        "Webdis cut off from Envoy",
        |shared| shared.to_webdis.cut(),
        |shared| shared.to_webdis.mend(),
    );
    outcome.assert_nothing_lost_or_twice();
}

#[test]
fn a_webdis_killed_and_started_again_loses_nothing_and_lets_nothing_pass_twice() {
    let shared = Shared::start();
    let outcome = shared.breaks(
        "Webdis killed and started again",
        |shared| shared.webdis.kill(),
        |shared| shared.webdis.start_again(),
    );
    outcome.assert_nothing_lost_or_twice();
}

#[test]
fn a_webdis_that_hangs_loses_nothing_and_lets_nothing_pass_twice() {
    let shared = Shared::start();
    let outcome = shared.breaks(
        "Webdis hung",
        |shared| shared.webdis.freeze(),
        |shared| shared.webdis.thaw(),
    );
    outcome.assert_nothing_lost_or_twice();
}
