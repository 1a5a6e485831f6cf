use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use super::load::{ON_THEIR_WAY, under_load};
use super::{CALM, address, plugin, setup};
use crate::client::Client;
use crate::upstream::{Upstream, Way};
use support::envoy::{listener, plugin_config};
use support::filter_host::{FilterHost, filter_host};
use support::live::Live;
use support::process::repository;
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
    let outcome = under_load(fault, &[to], &upstream, |load| {
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
    assert!(outcome.held <= ON_THEIR_WAY, "{outcome:?}");
}
