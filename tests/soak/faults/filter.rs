use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use super::load::{ON_THEIR_WAY, under_load};
use super::outcome::Outcome;
use super::{CALM, address, plugin, setup};
use crate::client::Client;
use crate::upstream::{Upstream, Way};
use support::envoy::{Setup, listener, plugin_config};
use support::filter_host::{FilterHost, filter_host};
use support::live::Live;
use support::messages::unsigned;
use support::process::repository;
use support::redis::{self, Redis, Webdis};
use support::stat;

#[test]
fn live_updates_lose_nothing_and_let_nothing_pass_twice() {
    let (upstream, to) = (Upstream::start(), address());
    let live = Live::start(&plugin(), |plugin| setup(plugin, &upstream, to));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let outcome = under_load("six live updates", &[to], &upstream, |load| {
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

/// Another build of the module than the one that the tests use: it has a fault on demand.
fn module_with_trap() -> &'static str {
    let module = match filter_host() {
        FilterHost::Wasm => "target/trap/wasm32-wasip1/release/twilio_webhook_filter.wasm",
        FilterHost::Native => "target/trap/release/libtwilio_webhook_filter.so",
    };
    assert!(
        repository().join(module).is_file(),
        "{module} does not exist: scripts/test faults builds it"
    );
    module
}

fn asking_for_a_fault() -> Vec<u8> {
    let fault = unsigned("POST", "/anything").header("x-trap", "now");
    fault.bytes()
}

/// Exchanges the module's file for that of another build under load, and back.
fn exchange(fault: &str, plugin: &Value, started: impl Fn(Setup) -> Setup) -> Outcome {
    let other = module_with_trap();
    let (upstream, to) = (Upstream::start(), address());
    let live = Live::start(plugin, |plugin| started(setup(plugin, &upstream, to)));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let outcome = under_load(fault, &[to], &upstream, |load| {
        load.begins();
        for module in [other, filter_host().module_name(), other] {
            runtime.block_on(live.exchange(plugin, module));
            sleep(CALM);
        }
        load.ends();
    });
    // Only the other build knows this header: to the first, it is a request like any.
    let answer = Client::new(to).send(&asking_for_a_fault());
    assert!(answer.expect("an answer").status >= 500, "the other build");
    outcome
}

#[test]
fn another_build_of_the_module_loses_nothing_and_only_natively_begins_with_no_nonces() {
    let outcome = exchange("module exchanged three times", &plugin(), |setup| setup);
    match filter_host() {
        FilterHost::Wasm => outcome.assert_nothing_lost_or_twice(),
        FilterHost::Native => outcome.assert_forgotten(),
    }
}

#[test]
fn with_redis_another_build_of_the_module_loses_nothing_and_lets_nothing_pass_twice() {
    let redis = Redis::start();
    let webdis = Webdis::start(redis.address());
    let mut plugin = plugin();
    plugin["store"] = redis::store();
    let outcome = exchange("module exchanged three times, Redis", &plugin, |setup| {
        redis::asking(setup, webdis.address())
    });
    outcome.assert_nothing_lost_or_twice();
}

#[test]
fn faults_in_the_filter_lose_nothing_that_is_not_under_way_and_let_nothing_pass_twice() {
    let module = module_with_trap();
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
    let outcome = under_load(fault, &[to], &upstream, |load| {
        // With an order of each client on its way to the upstream.
        upstream.behave(Way::Hang);
        sleep(Duration::from_millis(200));
        load.now();
        let answer = Client::new(to)
            .send(&asking_for_a_fault())
            .expect("an answer");
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
    assert!(outcome.held <= ON_THEIR_WAY, "{outcome:?}");
}
