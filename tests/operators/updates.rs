//! Updates of a running Envoy: the listener comes from a file that Envoy watches (LDS).

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::view::{Metrics, wait_for};
use support::envoy::{Envoy, Setup, listener, new_address, plugin_config, plugin_with};
use support::filter_host::{FilterHost, filter_host, only};
use support::messages::{message, unsigned};
use support::process::{free_port, until};
use support::rule;
use support::tap::Behaviour;

/// An Envoy whose listener can be changed.
pub(crate) struct Updated {
    pub(crate) envoy: Envoy,
    directory: TempDir,
}

impl Updated {
    /// Starts it with the listener in a file.
    pub(crate) fn start(setup: Setup) -> Updated {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("listener.json");
        let raw = directory.path().join("shipped.json");
        let port = free_port();
        let setup = setup.edit(move |config| {
            let listener = listener(config);
            listener["address"]["socket_address"]["port_value"] = json!(port);
            std::fs::write(&raw, listener.to_string()).expect("a file");
            std::fs::write(&file, resource(listener.clone())).expect("a file");
            config["static_resources"]["listeners"] = json!([]);
            // Envoy wants to be called something by whoever updates it.
            config["node"] = json!({"id": "webhooks", "cluster": "webhooks"});
            config["dynamic_resources"] = json!({"lds_config": {
                "path_config_source": {"path": file},
                "resource_api_version": "V3",
            }});
        });
        Updated {
            envoy: setup.start(),
            directory,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn counter(&self, name: &str) -> f64 {
        Metrics::of(&self.envoy).sum(&format!("envoy_listener_manager_lds_{name}"), &[])
    }

    /// Replaces the plugin's configuration, and waits until Envoy has taken or rejected it.
    fn update(&self, plugin: &Value) -> &'static str {
        self.change(|listener| {
            plugin_config(listener)["configuration"]["value"] = json!(plugin.to_string());
        })
    }

    /// Changes the listener as it is written for WebAssembly, and waits likewise.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Value)) -> &'static str {
        let text = std::fs::read_to_string(self.file("shipped.json")).expect("the listener");
        let mut listener: Value = serde_json::from_str(&text).expect("JSON");
        change(&mut listener);
        std::fs::write(self.file("shipped.json"), listener.to_string()).expect("a file");
        let before = (
            self.counter("update_success"),
            self.counter("update_rejected"),
        );
        // Envoy looks when a file is moved there, so that it never reads half of one.
        let next = self.directory.path().join("next.json");
        std::fs::write(&next, resource(listener)).expect("a file");
        std::fs::rename(&next, self.file("listener.json")).expect("a rename");
        wait_for("the update", || {
            let taken = self.counter("update_success") > before.0;
            let rejected = self.counter("update_rejected") > before.1;
            match (taken, rejected) {
                (_, true) => Some("rejected"),
                (true, _) => Some("taken"),
                _ => None,
            }
        })
    }
}

fn resource(mut listener: Value) -> String {
    filter_host().translate(&mut listener);
    listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    json!({"resources": [listener]}).to_string()
}

#[test]
fn a_wrong_update_is_rejected_and_the_old_configuration_goes_on() {
    let plugin = plugin_with(json!({"rate_limits": [rule("client_ip", "all", 3, "600s")]}));
    let updated = Updated::start(Setup::with(&plugin));
    let envoy = &updated.envoy;
    let (good, address) = (message(), new_address());
    envoy.run(async |t| t.passes_from(address, &good).await);
    let from = envoy.full_log().len();
    // Envoy calls a rejected configuration a crash of the VM, so this stands outside of `run`, which looks for those.
    let wrong = plugin_with(json!({"rate_limits": [], "log": {"accepted": "yes"}, "moed": "off"}));
    assert_eq!(updated.update(&wrong), "rejected");
    let log = envoy.full_log()[from..].to_owned();
    let said: Vec<_> = log
        .lines()
        .filter(|line| line.contains("configuration rejected"))
        .collect();
    assert_eq!(said.len(), 1, "{log}");
    for field in ["log.accepted: expected", "moed: unknown field"] {
        assert!(said[0].contains(field), "{log}");
    }
    envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        // The old nonces, the old limits with what was counted, and no other mode.
        t.rejects_from(address, &good, "duplicate").await;
        t.passes_from(address, &message()).await;
        t.rejects_from(address, &message(), "rate_limited").await;
    });
}

#[test]
fn a_right_update_is_taken_and_nonces_and_unchanged_limits_survive_it() {
    let changed = |requests: u32| {
        json!({"url": "https://orders.example.com/changed", "rate_limits":
                                         [rule("webhook", "all", requests, "600s")]})
    };
    let plugin = |changes: Value, requests: u32| {
        let mut plugin = plugin_with(json!({"rate_limits": [rule("client_ip", "all", 4, "600s")]}));
        plugin["webhooks"]
            .as_array_mut()
            .expect("a list")
            .push(changed(requests));
        for (name, value) in changes.as_object().expect("an object") {
            plugin[name] = value.clone();
        }
        plugin
    };
    let updated = Updated::start(Setup::with(&plugin(json!({}), 2)));
    let envoy = &updated.envoy;
    let (address, good) = (new_address(), message());
    let to_changed = || unsigned("POST", "/changed");
    envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        t.passes_from(address, &good).await;
        t.passes_from(address, &message()).await;
        for _ in 0..2 {
            t.rejects(&to_changed(), "missing_signature").await;
        }
        t.rejects(&to_changed(), "rate_limited").await;
        t.rejects(&unsigned("GET", "/livez"), "unknown_webhook")
            .await;
    });
    let counted = Metrics::of(envoy).verdict("accepted");
    let update = plugin(
        json!({"exempt_paths": ["/livez"], "replay": {"capacity": 1000}}),
        3,
    );
    assert_eq!(updated.update(&update), "taken");
    envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        // Workers take it one after another.
        wait_for_update(async || t.send(&unsigned("GET", "/livez")).await.status == 200).await;
        // The nonce is remembered, though the capacity is another one.
        t.rejects_from(address, &good, "duplicate").await;
        // The limit that did not change goes on counting: this is the fourth of four.
        t.passes_from(address, &message()).await;
        t.rejects_from(address, &message(), "rate_limited").await;
        // The one that changed begins anew.
        for _ in 0..3 {
            t.rejects(&to_changed(), "missing_signature").await;
        }
        t.rejects(&to_changed(), "rate_limited").await;
    });
    assert_eq!(
        Metrics::of(envoy).verdict("accepted"),
        counted + 1.0,
        "metrics go on counting"
    );
}

#[test]
fn another_build_is_loaded_by_an_update_and_a_native_one_has_nonces_of_its_own() {
    let updated = Updated::start(Setup::with(&plugin_with(json!({"rate_limits": []}))));
    let (envoy, request) = (&updated.envoy, message());
    envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        t.passes(&request).await;
    });
    let mut module = std::fs::read(filter_host().module()).expect("the module");
    if filter_host() == FilterHost::Wasm {
        // A section called "x" with nothing in it.
        module.extend([0, 2, 1, b'x']);
    }
    let file = updated.file("another-build");
    std::fs::write(&file, module).expect("a file");
    let plugin = plugin_with(json!({"rate_limits": [], "exempt_paths": ["/livez"]}));
    let taken = updated.change(|listener| {
        let config = plugin_config(listener);
        config["vm_config"]["code"]["local"]["filename"] = json!(file);
        config["configuration"]["value"] = json!(plugin.to_string());
    });
    assert_eq!(taken, "taken");
    envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        wait_for_update(async || t.send(&unsigned("GET", "/livez")).await.status == 200).await;
        if only(FilterHost::Wasm, "Another build of the module") {
            t.rejects(&request, "duplicate").await;
        } else {
            t.passes(&request).await;
        }
        t.rejects(&request, "duplicate").await;
    });
}

/// Until ten requests in a row see it: each is a connection of its own, on whichever worker takes it.
async fn wait_for_update(seen: impl AsyncFn() -> bool) {
    let mut in_a_row = 0;
    until("the update is taken", async || {
        in_a_row = if seen().await { in_a_row + 1 } else { 0 };
        (in_a_row == 10).then_some(())
    })
    .await;
}
