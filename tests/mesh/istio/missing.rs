use std::time::{Duration, Instant};

use serde_json::json;
use support::envoy::Test;
use support::http1::{Http1, PATIENCE};
use support::messages::{message, unsigned};
use support::tap::Behaviour;

use super::control_plane::{Istio, Pull};
use crate::proxy::{Module, ask, for_host, modules, passed, rejected};

/// Other hosts of the gateway go on as if nothing were missing.
async fn assert_others_go_on(t: &Test<'_>) {
    t.upstream(Behaviour::Answer(200));
    let other = for_host(unsigned("GET", "/menu"), "shop.example.com");
    assert_eq!(ask(t, "webhooks", &other).await, passed());
}

/// Until a signed request passes.
async fn wait_until_open(t: &Test<'_>) {
    let start = Instant::now();
    while ask(t, "webhooks", &message()).await != passed() {
        assert!(start.elapsed() < PATIENCE, "the route stays closed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_module_that_cannot_be_pulled_closes_its_host_with_403_and_no_other() {
    let mut istio = Istio::overlay("shared-gateway");
    istio.pull = Pull::Fails;
    let mut mesh = istio.start();
    mesh.envoy.run(async |t| {
        assert_others_go_on(t).await;
        let before = t.received_count();
        let answer = t.send_to("webhooks", &message()).await;
        assert_eq!(
            (answer.status, answer.text()),
            (403, "RBAC: access denied".into())
        );
        assert_eq!(t.received_count(), before);
    });
    // The registry is back, and istiod has pushed again.
    mesh.istio.pull = Pull::Succeeds;
    mesh.push();
    mesh.envoy.run(async |t| {
        assert_others_go_on(t).await;
        wait_until_open(t).await;
    });
}

/// How many VMs Envoy has. With the last one, its metrics go.
fn vms(t: &Test<'_>) -> usize {
    let text = t.envoy.admin("/stats?filter=wasm.*active");
    let numbers = text
        .lines()
        .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
    numbers.sum()
}

#[test]
fn an_upgrade_that_cannot_be_pulled_closes_the_host_and_forgets_what_was_accepted() {
    let mut mesh = Istio::overlay("shared-gateway").start();
    let first = message();
    mesh.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        assert_eq!(ask(t, "webhooks", &first).await, passed());
        assert!(vms(t) > 0);
    });
    mesh.istio.pull = Pull::Fails;
    mesh.push();
    mesh.envoy.run(async |t| {
        let start = Instant::now();
        while ask(t, "webhooks", &unsigned("GET", "/x")).await != (403, String::new()) {
            assert!(start.elapsed() < PATIENCE, "the host stays open");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_others_go_on(t).await;
        while vms(t) > 0 {
            assert!(start.elapsed() < PATIENCE, "a VM is left");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    mesh.istio.pull = Pull::Succeeds;
    mesh.push();
    mesh.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        wait_until_open(t).await;
        // Envoy drops the memory of a `vm_id` with the last VM that has it, and the denial has none. docs/mesh.md warns
        // of it.
        assert_eq!(ask(t, "webhooks", &first).await, passed());
    });
}

#[test]
fn without_the_type_of_the_agents_denial_the_host_answers_500() {
    let mut istio = Istio::overlay("shared-gateway");
    istio.pull = Pull::Fails;
    let path = "/spec/configPatches/1/patch/value/config_discovery/type_urls";
    let types = istio
        .filter()
        .pointer_mut(path)
        .expect("types")
        .as_array_mut();
    assert!(
        types
            .expect("a list")
            .pop()
            .expect("RBAC")
            .to_string()
            .contains("RBAC")
    );
    let mesh = istio.start();
    mesh.envoy.run(async |t| {
        assert_others_go_on(t).await;
        assert_eq!(ask(t, "webhooks", &message()).await, (500, String::new()));
    });
}

#[test]
fn a_native_file_that_is_missing_closes_its_host_with_500_and_no_other() {
    if !Module::Native.is_tested() {
        return;
    }
    let mut istio = Istio::overlay("native/shared-gateway");
    istio.pull = Pull::Fails;
    let mesh = istio.start();
    mesh.envoy.run_without_filter(async |t| {
        assert_others_go_on(t).await;
        assert_eq!(ask(t, "webhooks", &message()).await, (500, String::new()));
        assert!(
            t.envoy
                .full_log()
                .contains("/nowhere/libtwilio_webhook_filter.so")
        );
    });
}

#[test]
fn a_secret_that_is_missing_closes_the_host_and_no_other() {
    for &module in modules() {
        let mut istio = Istio::overlay(&Istio::name(module, "shared-gateway"));
        istio.forget_secret();
        let mesh = istio.start();
        mesh.envoy.run_without_filter(async |t| {
            assert_others_go_on(t).await;
            assert_eq!(ask(t, "webhooks", &message()).await, (500, String::new()));
            // Without WEBHOOK_URL there is no webhook at all, and the line says what was expected.
            let log = t.envoy.full_log();
            assert!(log.contains("WEBHOOK_URL"), "{log}");
        });
    }
}

#[test]
fn a_token_that_is_missing_closes_the_webhook_and_says_so() {
    let mut istio = Istio::overlay("shared-gateway");
    istio.forget_key("TWILIO_AUTH_TOKEN");
    let mesh = istio.start();
    mesh.envoy.run(async |t| {
        assert_others_go_on(t).await;
        let outcome = ask(t, "webhooks", &message()).await;
        assert_eq!(outcome, rejected(500, "not_configured"));
    });
}

#[test]
fn a_wrong_configuration_leaves_the_last_good_one() {
    for &module in modules() {
        let mut mesh = Istio::overlay(&Istio::name(module, "shared-gateway")).start();
        mesh.envoy.run(async |t| {
            t.upstream(Behaviour::Answer(200));
            assert_eq!(ask(t, "webhooks", &message()).await, passed());
        });
        mesh.istio.configure(json!({"max_bytes": 1}));
        mesh.push();
        let start = Instant::now();
        while !mesh.envoy.full_log().contains("config update rejected") {
            assert!(start.elapsed() < PATIENCE, "the update is not rejected");
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = mesh.envoy.full_log();
        assert!(log.contains("max_bytes: unknown field"), "{log}");
        mesh.envoy.run_without_filter(async |t| {
            t.upstream(Behaviour::Answer(200));
            for _ in 0..4 {
                assert_eq!(ask(t, "webhooks", &message()).await, passed());
            }
        });
    }
}

#[test]
fn without_the_setting_that_holds_headers_nothing_reaches_the_upstream() {
    // What an Istio before 1.28 would make of the plain message, from which it drops what it does not know.
    let mut istio = Istio::overlay("shared-gateway");
    assert_eq!(istio.module, Module::Wasm);
    let path = "/spec/configPatches/0/patch/value/typed_config/value/config";
    let config = istio.filter().pointer_mut(path).expect("a plugin");
    let removed = config
        .as_object_mut()
        .expect("an object")
        .remove("allow_on_headers_stop_iteration");
    assert_eq!(removed, Some(json!(true)));
    let mesh = istio.start();
    mesh.envoy.run(async |t| {
        assert_others_go_on(t).await;
        let before = t.received_count();
        // The route's timeout does not run while the request is incomplete; a client's does.
        let mut client = Http1::connect(t.envoy.address(), t.address).await;
        client.write(&message().bytes()).await;
        assert!(!client.hears_within(Duration::from_secs(1)).await);
        client.reset();
        t.log_lines(1, |line| {
            line.to_string().contains("allow_on_headers_stop_iteration")
        })
        .await;
        assert_eq!(t.received_count(), before);
    });
}
