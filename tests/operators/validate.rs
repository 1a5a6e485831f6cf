//! `envoy --mode validate`, which is what a pipeline runs before it hands a configuration to an Envoy.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::view::read;
use support::envoy::{listener, plugin_config};
use support::filter_host::filter_host;
use support::messages::{ACCOUNT, TOKEN};
use support::process::{repository, tool};

/// Runs it over a file, with the three variables set and these on top.
fn validate(file: &str, variables: &[(&str, &str)]) -> Output {
    let envoy = tool("ENVOY_BIN", "target/tools/envoy").unwrap_or_else(|error| panic!("{error}"));
    Command::new(envoy)
        .current_dir(repository())
        .env_clear()
        .env("TWILIO_AUTH_TOKEN", TOKEN)
        .env("TWILIO_ACCOUNT_SID", ACCOUNT)
        .env(
            "WEBHOOK_URL",
            "https://orders.example.com/api/v1/whatsapp/webhook",
        )
        .envs(variables.iter().copied())
        .args([
            "--mode",
            "validate",
            "--log-level",
            "info",
            "--config-path",
            file,
        ])
        .output()
        .expect("Envoy runs")
}

/// The shipped file with another plugin configuration, and what Envoy says of it.
fn validate_plugin(plugin: &Value) -> Output {
    let mut config: Value = yaml_serde::from_str(&read("envoy/envoy.yaml")).expect("YAML");
    plugin_config(listener(&mut config))["configuration"]["value"] = json!(plugin.to_string());
    filter_host().translate(&mut config);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("envoy.json");
    std::fs::write(&file, config.to_string()).expect("a file");
    validate(file.to_str().expect("UTF-8"), &[])
}

#[test]
fn the_shipped_configuration_is_valid_for_envoy() {
    let output = validate(filter_host().shipped_file(), &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        !said.contains("deprecated") && !said.contains("[warning]"),
        "{said}"
    );
}

#[test]
fn a_wrong_configuration_is_found_by_envoy_before_it_runs_and_every_field_is_named() {
    let rule = json!({"key": "client", "requests": 0, "window": "1m"});
    for (plugin, fields) in [
        (json!({"moed": "enforce"}), vec!["moed: unknown field"]),
        (
            json!({"mode": "enforced", "log": {"accepted": "yes"}, "replay": {"window": 300}}),
            vec![
                "mode: expected",
                "log.accepted: expected",
                "replay.window: expected",
            ],
        ),
        (
            json!({"rate_limits": [rule]}),
            vec![
                "rate_limits[0].key:",
                "rate_limits[0].requests:",
                "rate_limits[0].window:",
            ],
        ),
        (
            json!({"webhooks": [{"path": "/a", "url": "orders.example.com/a"}]}),
            vec!["webhooks[0].url: expected an absolute URL"],
        ),
        (
            json!({"accounts": [{"account_sid": ACCOUNT, "auth_tokens": [{"env": "TWILIO_AUTH_TOKEN_OLD"}]}]}),
            vec![
                "accounts[0].auth_tokens[0]: expected a secret in the environment variable TWILIO_AUTH_TOKEN_OLD",
            ],
        ),
    ] {
        let output = validate_plugin(&plugin);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "Envoy takes {plugin}");
        let complaints: Vec<_> = said
            .lines()
            .filter(|line| line.contains("twilio_webhook configuration rejected"))
            .collect();
        assert_eq!(complaints.len(), 1, "{plugin}: {said}");
        for field in fields {
            assert!(
                complaints[0].contains(field),
                "{field} is not named for {plugin}: {complaints:?}"
            );
        }
        assert!(!said.contains(TOKEN), "{said}");
    }
}

#[test]
fn a_wrong_variable_is_found_by_envoy_before_it_runs() {
    let output = validate(
        filter_host().shipped_file(),
        &[("WEBHOOK_URL", "orders.example.com")],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("WEBHOOK_URL: expected an absolute URL"),
        "{said}"
    );
}
