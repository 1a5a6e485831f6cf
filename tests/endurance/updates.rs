use std::net::TcpStream;

use serde_json::{Value, json};

use support::burst::{
    CONNECTIONS, WORKERS, assert_arrived_once, assert_one_passed, burst, identical, spread,
};
use support::envoy::{Setup, Test, new_address, plugin_with};
use support::http1;
use support::live::{Live, has_version};
use support::messages::message;
use support::rule;
use support::tap::Behaviour;

fn start(plugin: &Value) -> Live {
    Live::start(plugin, |plugin| Setup::with(plugin).workers(WORKERS))
}

fn limits(requests: u32) -> Value {
    plugin_with(json!({"rate_limits": [rule("client_ip", "all", requests, "600s")]}))
}

#[test]
fn an_update_keeps_nonces_and_the_counters_of_rules_that_stay_as_they_are() {
    let live = start(&limits(5));
    live.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let accepted: Vec<_> = (0..4).map(|_| message()).collect();
        for request in &accepted {
            t.passes(request).await;
        }
        // Something else changes.
        let mut other = limits(5);
        other["max_body_bytes"] = json!(50_000);
        live.update(&other).await;
        for request in &accepted {
            t.rejects_from(new_address(), request, "duplicate").await;
        }
        t.passes(&message()).await;
        t.rejects(&message(), "rate_limited").await;

        // The rule changes: it counts from nothing.
        live.update(&limits(6)).await;
        for _ in 0..6 {
            t.passes(&message()).await;
        }
        t.rejects(&message(), "rate_limited").await;
        for request in &accepted {
            t.rejects_from(new_address(), request, "duplicate").await;
        }

        // And back: what the rule had counted, it still has.
        live.update(&limits(5)).await;
        t.rejects(&message(), "rate_limited").await;
    });
}

fn capacity(capacity: u32) -> Value {
    plugin_with(json!({"rate_limits": [], "replay": {"capacity": capacity}}))
}

#[test]
fn a_larger_or_smaller_capacity_forgets_nothing() {
    // Tables of up to 64 have a single bucket, and leave copies in those of the others.
    for capacities in [[1000, 40_000, 300, 64, 65_536], [64, 20, 3000, 30, 64]] {
        let live = start(&capacity(capacities[0]));
        live.envoy.run(async |t| {
            t.upstream(Behaviour::Answer(200));
            let mut accepted = Vec::new();
            for next in capacities.into_iter().skip(1) {
                for _ in 0..5 {
                    let request = message();
                    t.passes(&request).await;
                    accepted.push(request);
                }
                live.update(&capacity(next)).await;
                for request in &accepted {
                    t.rejects(request, "duplicate").await;
                }
                assert_arrived_once(t, &accepted);
            }
        });
    }
}

#[test]
fn a_table_that_was_full_has_room_as_soon_as_its_capacity_is_changed() {
    let live = start(&capacity(3));
    live.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for _ in 0..3 {
            t.passes(&message()).await;
        }
        t.rejects(&message(), "store_full").await;
        live.update(&capacity(10)).await;
        t.passes(&message()).await;
    });
}

#[test]
fn while_workers_with_another_capacity_overlap_one_of_16_identical_requests_passes() {
    const ROUNDS: usize = 20;
    const HALF: usize = CONNECTIONS / 2;
    let live = start(&capacity(1000));
    for (before, next) in [(0, 40_000), (1, 300)] {
        live.envoy.run(async |t| {
            t.upstream(Behaviour::Answer(200));
            // What is connected before the update stays with the configuration before it.
            let mut old = Vec::new();
            for _ in 0..ROUNDS {
                old.push(open(t, HALF).await);
            }
            let mut witness = t.http1().await;
            live.update(&capacity(next)).await;
            let mut requests = Vec::new();
            for mut connections in old {
                connections.extend(open(t, HALF).await);
                let request = message();
                let answers = burst(connections, &[vec![request.clone(); CONNECTIONS]]);
                assert_one_passed(&answers[0]);
                requests.push(request);
            }
            assert!(has_version(&mut witness, before).await, "no overlap");
            assert_arrived_once(t, &requests);
        });
    }
}

async fn open(t: &Test<'_>, count: usize) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..count {
        let stream = http1::connect(t.envoy.address(), t.address).await;
        open.push(support::burst::blocking(stream));
    }
    open
}

#[test]
fn while_updates_come_one_of_16_identical_requests_passes() {
    let live = start(&capacity(1000));
    live.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let mut capacities = [40_000, 300, 20_000, 1000].into_iter().cycle();
        let (mut updates, mut sent) = (0, Vec::new());
        // However fast the requests are through, some updates come among them.
        while updates < 3 {
            let connections = spread(t.envoy, t.address).await;
            let (requests, rounds) = identical(50, CONNECTIONS);
            let bursts = tokio::task::spawn_blocking(move || burst(connections, &rounds));
            while !bursts.is_finished() {
                live.update(&capacity(capacities.next().expect("endless")))
                    .await;
                updates += 1;
            }
            for answers in bursts.await.expect("answers") {
                assert_one_passed(&answers);
            }
            sent.extend(requests);
        }
        assert_arrived_once(t, &sent);
    });
}
