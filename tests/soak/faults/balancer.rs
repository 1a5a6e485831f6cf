use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::load::under_load;
use super::process::{base_id, wait_for_end};
use super::{address, plugin, post, setup};
use crate::upstream::Upstream;
use support::envoy::{Envoy, Setup, cluster, connection_manager, listener};
use support::http1::PATIENCE;
use support::redis::{self, Redis, Webdis};
use support::stat;

/// Of the balancer, in the cluster of the Envoys behind it.
const HEALTHY: &str = "cluster.ordering_upstream.membership_healthy";

/// Two Envoys with one Redis, and a balancer in front of them that is an Envoy without the filter.
struct Fleet {
    upstream: Upstream,
    plugin: Value,
    webdis: Webdis,
    _redis: Redis,
}

impl Fleet {
    fn new() -> Self {
        let redis = Redis::start();
        let mut plugin = plugin();
        plugin["store"] = redis::store();
        Self {
            upstream: Upstream::start(),
            plugin,
            webdis: Webdis::start(redis.address()),
            _redis: redis,
        }
    }

    /// One that the balancer asks for its health, and that says it is not well once `/healthcheck/fail` was posted.
    fn member(&self, to: SocketAddr) -> Setup {
        let setup = setup(&self.plugin, &self.upstream, to).edit(|config| {
            let manager = connection_manager(listener(config));
            // The balancer appends its client, and is the peer.
            manager["xff_num_trusted_hops"] = json!(2);
            let filters = manager["http_filters"].as_array_mut();
            filters.expect("filters").insert(0, health_check());
        });
        redis::asking(setup, self.webdis.address())
    }

    fn balancer(&self, to: SocketAddr, members: [SocketAddr; 2]) -> Envoy {
        let setup = setup(&self.plugin, &self.upstream, to).edit(move |config| {
            let manager = connection_manager(listener(config));
            let filters = manager["http_filters"].as_array_mut().expect("filters");
            filters.retain(|filter| filter["name"] == "envoy.filters.http.router");
            let routes = &mut manager["route_config"]["virtual_hosts"][0]["routes"];
            for route in routes.as_array_mut().expect("routes") {
                route["route"]["timeout"] = json!("10s");
                // Only what has reached nobody.
                route["route"]["retry_policy"] = json!({
                    "retry_on": "connect-failure,refused-stream,reset-before-request",
                    "num_retries": 3,
                });
            }
            balance(cluster(config, "ordering_upstream"), members);
        });
        let balancer = setup.start();
        wait_for(&balancer, 2);
        balancer
    }
}

fn health_check() -> Value {
    json!({"name": "envoy.filters.http.health_check", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck",
        "pass_through_mode": false,
        "headers": [{"name": ":path", "string_match": {"exact": "/healthz"}}],
    }})
}

fn balance(cluster: &mut Value, members: [SocketAddr; 2]) {
    let endpoints = members.map(|member| {
        let address = json!({"address": member.ip().to_string(), "port_value": member.port()});
        json!({"endpoint": {"address": {"socket_address": address}}})
    });
    cluster["load_assignment"]["endpoints"] = json!([{"lb_endpoints": endpoints}]);
    cluster["health_checks"] = json!([{
        "timeout": "5s",
        "interval": "0.1s",
        // A minute by default, which is also the time to the second check.
        "no_traffic_interval": "0.1s",
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "http_health_check": {"path": "/healthz"},
    }]);
}

/// Waits until the balancer sends requests to so many.
fn wait_for(balancer: &Envoy, members: u64) {
    let start = Instant::now();
    while stat(balancer.admin, HEALTHY) != members {
        assert!(start.elapsed() < PATIENCE, "{members} members");
        sleep(Duration::from_millis(20));
    }
}

/// As docs/operations.md says: out of the balancer, what is under way to its end, what became of it to Redis, and then
/// the end.
fn take_out(member: &Envoy, balancer: &Envoy) {
    post(member, "/healthcheck/fail");
    wait_for(balancer, 1);
    let start = Instant::now();
    while stat(member.admin, "http.webhooks.downstream_rq_active") > 0 {
        assert!(start.elapsed() < PATIENCE, "requests are still under way");
        sleep(Duration::from_millis(20));
    }
    sleep(Duration::from_secs(1));
    post(member, "/quitquitquit");
    wait_for_end(member);
}

#[test]
fn envoys_behind_a_balancer_that_are_replaced_one_by_one_fail_no_request() {
    let fleet = Fleet::new();
    let (to, addresses) = (address(), [address(), address()]);
    let mut members = addresses.map(|address| fleet.member(address).start());
    let balancer = fleet.balancer(to, addresses);
    let outcome = under_load(
        "two Envoys behind a balancer drained and replaced one by one, Redis",
        &[to],
        &fleet.upstream,
        |load| {
            load.begins();
            for (member, address) in members.iter_mut().zip(addresses) {
                take_out(member, &balancer);
                *member = fleet.member(address).start();
                wait_for(&balancer, 2);
            }
            load.ends();
        },
    );
    outcome.assert_nothing_lost_or_twice();
    assert_eq!(outcome.failed, 0, "{outcome:?}");
}

#[test]
fn envoys_behind_a_balancer_that_are_hot_restarted_one_by_one_lose_nothing() {
    let fleet = Fleet::new();
    let (to, addresses) = (address(), [address(), address()]);
    let ids = [base_id(), base_id()];
    let start = |which: usize, epoch| {
        let member = fleet.member(addresses[which]);
        member.hot_restart(ids[which], epoch).start()
    };
    let mut members = [0, 1].map(|which| start(which, 0));
    let _balancer = fleet.balancer(to, addresses);
    let outcome = under_load(
        "two Envoys behind a balancer hot-restarted one by one, Redis",
        &[to],
        &fleet.upstream,
        |load| {
            load.begins();
            for (which, member) in members.iter_mut().enumerate() {
                let new = start(which, 1);
                wait_for_end(member);
                *member = new;
            }
            load.ends();
        },
    );
    outcome.assert_nothing_lost_or_twice();
}
