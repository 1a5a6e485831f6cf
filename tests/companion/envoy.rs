//! What the filter writes to Envoy's log, and what `explain` says of the same request.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::decide::ENVIRONMENT;
use support::envoy::{Setup, listener, plugin_config};
use support::messages::now;

use crate::agreement::{explained, failures, raw};
use crate::command::{file, run};

/// How many of the generated failures are sent to a real Envoy.
const SAMPLE: usize = 100;

/// Longer than Envoy takes to write a line.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn for_100_failures_in_a_real_envoy_explain_says_what_its_log_says() {
    let directory = tempfile::tempdir().expect("a directory");
    // Envoy takes its own headers away from clients, so that the filter never sees them.
    let sample: Vec<_> = failures(SAMPLE * 2)
        .into_iter()
        .filter(|(case, _)| {
            !case
                .headers
                .iter()
                .any(|(name, _)| name.starts_with("x-envoy-"))
        })
        .take(SAMPLE)
        .collect();
    assert_eq!(sample.len(), SAMPLE);
    let listeners = directory.path().join("listeners.json");
    let (file_name, plugins) = (
        listeners.clone(),
        sample
            .iter()
            .map(|(case, _)| case.configuration())
            .collect::<Vec<_>>(),
    );
    let setup = Setup::shipped().edit(move |config| {
        let shipped = listener(config).clone();
        let all = plugins.iter().enumerate().map(|(index, plugin)| {
            let mut own = shipped.clone();
            own["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
            own["name"] = json!(format!("failure-{index}"));
            let config = plugin_config(&mut own);
            config["name"] = json!(format!("failure-{index}"));
            config["root_id"] = json!(format!("failure-{index}"));
            config["configuration"]["value"] = json!(plugin);
            let variables: serde_json::Map<_, _> = ENVIRONMENT
                .iter()
                .map(|(name, value)| ((*name).to_owned(), json!(value)))
                .collect();
            config["vm_config"]["environment_variables"] = json!({"key_values": variables});
            own
        });
        let all: Vec<Value> = all.collect();
        std::fs::write(&file_name, json!({"resources": all}).to_string()).expect("a file");
        config["static_resources"]["listeners"] = json!([]);
        config["node"] = json!({"id": "companion", "cluster": "companion"});
        config["dynamic_resources"] = json!({"lds_config": {
            "path_config_source": {"path": file_name},
            "resource_api_version": "V3",
        }});
    });
    let envoy = setup.start();
    let at = now().as_secs().to_string();
    for (index, (_, request)) in sample.iter().enumerate() {
        let address = envoy.listeners[&format!("failure-{index}")];
        support::exchange(address, &raw(request));
    }
    let mut differ = Vec::new();
    for (index, (case, request)) in sample.iter().enumerate() {
        let name = format!("wasm log failure-{index} ");
        let start = Instant::now();
        let line = loop {
            let log = envoy.full_log();
            let found = log
                .lines()
                .find(|line| line.contains(&name) && line.contains("\"verdict\""));
            match found.map(str::to_owned) {
                Some(line) => break line,
                None if start.elapsed() > PATIENCE => panic!("{index}: no line of {case:?}"),
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        let (_, json) = line.split_once(": {").expect("a line of the filter");
        let line: Value = serde_json::from_str(&format!("{{{json}")).expect("JSON");
        let in_envoy = (
            line["verdict"].as_str().expect("a verdict").to_owned(),
            line["hint"].as_str().map(str::to_owned),
        );
        let config = file(
            directory.path(),
            "config.json",
            case.configuration().as_bytes(),
        );
        let capture = file(directory.path(), "request.http", &raw(request));
        let arguments = [
            "explain", "--json", "--config", &config, "--at", &at, &capture,
        ];
        let found = explained(&run(&arguments, &ENVIRONMENT).json());
        if found != [in_envoy.clone()] {
            differ.push(format!(
                "{index}: Envoy {in_envoy:?}, explain {found:?}: {case:?}"
            ));
        }
    }
    assert!(
        differ.is_empty(),
        "{} differ:\n{}",
        differ.len(),
        differ.join("\n")
    );
}
