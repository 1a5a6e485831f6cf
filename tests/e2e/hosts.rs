use serde_json::{Value, json};

use support::envoy::{Setup, listener, new_address, plugin, plugin_config};
use support::filter_host::{FilterHost, filter_host};
use support::filter_store::{FilterStore, filter_store};
use support::http1::{Http1, PATIENCE};
use support::messages::message;
use support::process::{in_time, repository};
use support::tap::Behaviour;
use support::{assert_passed, stat};

/// Built with the feature `trap`: a header `x-trap`, of a request or of the upstream's answer, makes it panic. What a
/// fault does to a WebAssembly module is in tests/endurance/traps.rs.
const MODULE: &str = "target/trap/release/libtwilio_webhook_filter.so";

#[test]
fn the_store_that_this_run_is_for_is_the_one_that_is_asked() {
    Setup::changed(json!({})).run(async |t| {
        for _ in 0..5 {
            t.passes(&message()).await;
        }
        let asked = stat(t.envoy.admin, "twilio_webhook.store_callouts");
        match filter_store() {
            FilterStore::Memory => assert_eq!(asked, 0),
            FilterStore::Redis => assert!(asked >= 5, "{asked}"),
        }
    });
}

#[test]
fn a_panic_rejects_that_request_and_leaves_envoy_and_all_others_alone() {
    if filter_host() != FilterHost::Native {
        return;
    }
    assert!(
        repository().join(MODULE).is_file(),
        "{MODULE} does not exist: scripts/test end-to-end-native builds it"
    );
    let setup = Setup::with(&plugin()).workers(1).edit(|config| {
        plugin_config(listener(config))["vm_config"]["code"]["local"]["filename"] = json!(MODULE);
    });
    let envoy = setup.start();
    in_time(
        PATIENCE,
        Box::pin(async {
            envoy.tap.behave(Behaviour::Answer(200));
            let mut other = Http1::connect(envoy.address(), new_address()).await;
            let mut client = Http1::connect(envoy.address(), new_address()).await;
            for _ in 0..3 {
                // One that is open while another panics.
                let open = message();
                let bytes = open.bytes();
                let (first, last) = bytes.split_at(bytes.len() - 1);
                other.write(first).await;
                client
                    .rejects(&message().header("x-trap", "now"), "internal")
                    .await;
                other.write(last).await;
                assert_passed(&other.response().await);
                // What the fault left behind does not keep the same request from passing later.
                client.passes(&message()).await;
            }
            let log = envoy.full_log();
            let faults = log.lines().filter(|line| line.contains("a fault at src/"));
            assert_eq!(faults.count(), 3, "{log}");
        }),
    );
}

#[test]
fn the_shipped_files_of_both_hosts_say_the_same() {
    let read = |name: &str| -> Value {
        let text = std::fs::read_to_string(repository().join(name)).expect("a file");
        yaml_serde::from_str(&text).expect("YAML")
    };
    let mut wasm = read("envoy/envoy.yaml");
    FilterHost::Native.translate(&mut wasm);
    assert_eq!(wasm, read("envoy/native/envoy.yaml"));
}

#[test]
fn the_page_about_hosts_names_what_is_translated() {
    let page = std::fs::read_to_string(repository().join("docs/hosts.md")).expect("a file");
    let code = |text: &str| format!("`{text}`");
    let differences: [fn(FilterHost) -> String; 3] = [
        |host| host.module_name().to_owned(),
        |host| host.log_marker().to_owned(),
        |host| format!("%FILTER_STATE({}:PLAIN)%", host.verdict_key()),
    ];
    for difference in differences {
        let [wasm, native] =
            [FilterHost::Wasm, FilterHost::Native].map(|host| code(&difference(host)));
        let says = |line: &str| {
            let mut cells = line.split('|').skip(2);
            let mut has = |text: &str| cells.next().is_some_and(|cell| cell.contains(text));
            has(&wasm) && has(&native)
        };
        assert!(page.lines().any(says), "{wasm} | {native}");
    }
}
