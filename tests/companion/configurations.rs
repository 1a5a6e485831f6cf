//! `check-config`: what is shipped is good, and each mistake is named.

use serde_json::{Value, json};
use support::repository;

use crate::command::{file, run};

const ENVIRONMENT: [(&str, &str); 2] = [
    ("TWILIO_AUTH_TOKEN", "5ce117c0de5ce117c0de5ce117c0de00"),
    (
        "WEBHOOK_URL",
        "https://orders.example.com/api/v1/whatsapp/webhook",
    ),
];

/// The shipped envoy.yaml with a change.
fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let text = std::fs::read_to_string(repository().join("envoy/envoy.yaml")).expect("a file");
    let mut value: Value = yaml_serde::from_str(&text).expect("YAML");
    change(&mut value);
    value
}

fn manager(value: &mut Value) -> &mut Value {
    &mut value["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
}

fn plugin(value: &mut Value) -> &mut Value {
    &mut manager(value)["http_filters"][0]["typed_config"]["config"]
}

fn check(value: &Value) -> (i32, Vec<String>) {
    let folder = tempfile::tempdir().expect("a directory");
    let path = file(folder.path(), "envoy.json", value.to_string().as_bytes());
    let ran = run(&["check-config", "--json", &path], &ENVIRONMENT);
    let findings = ran.json()["configurations"][0]["findings"].clone();
    let text = |finding: &Value| {
        let part = |name: &str| finding[name].as_str().expect("a text").to_owned();
        format!("{} {}: {}", part("level"), part("place"), part("what"))
    };
    let findings = findings.as_array().expect("findings").iter().map(text);
    (ran.status, findings.collect())
}

#[test]
fn the_shipped_files_have_no_error() {
    for name in [
        "envoy/envoy.yaml",
        "envoy/native/envoy.yaml",
        "envoy/redis/envoy.yaml",
    ] {
        let path = repository().join(name);
        let ran = run(
            &["check-config", path.to_str().expect("UTF-8")],
            &ENVIRONMENT,
        );
        assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
        assert!(!ran.out.contains("  error"), "{}", ran.out);
        assert!(ran.err.is_empty(), "{}", ran.err);
    }
}

#[test]
fn each_mistake_around_the_filter_is_named() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str, i32); 17] = [
        (
            |v| plugin(v)["allow_on_headers_stop_iteration"] = json!(false),
            "error allow_on_headers_stop_iteration",
            1,
        ),
        (
            |v| {
                drop(
                    plugin(v)
                        .as_object_mut()
                        .expect("o")
                        .remove("failure_policy"),
                )
            },
            "warning failure_policy: is missing",
            0,
        ),
        (
            |v| plugin(v)["failure_policy"] = json!("FAIL_OPEN"),
            "error failure_policy: FAIL_OPEN",
            1,
        ),
        (
            |v| plugin(v)["vm_config"]["vm_id"] = json!(""),
            "warning vm_config.vm_id",
            0,
        ),
        (
            |v| manager(v)["normalize_path"] = json!(true),
            "warning normalize_path",
            0,
        ),
        (
            |v| manager(v)["merge_slashes"] = json!(true),
            "warning merge_slashes",
            0,
        ),
        (
            |v| manager(v)["use_remote_address"] = json!(false),
            "warning use_remote_address",
            0,
        ),
        (
            |v| {
                manager(v)["http_filters"]
                    .as_array_mut()
                    .expect("a list")
                    .reverse()
            },
            "error http_filters: the filter stands behind the router",
            1,
        ),
        (
            |v| {
                manager(v)["http_filters"].as_array_mut().expect("a list").insert(0, json!({
            "name": "rewriter", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"}}))
            },
            "warning http_filters: the filter stands behind rewriter (Lua)",
            0,
        ),
        (
            |v| {
                v["static_resources"]["listeners"][0]["per_connection_buffer_limit_bytes"] =
                    json!(32768)
            },
            "error per_connection_buffer_limit_bytes: 32768 is below max_body_bytes (65536)",
            1,
        ),
        (
            |v| manager(v)["http2_protocol_options"]["initial_stream_window_size"] = json!(65535),
            "warning http2_protocol_options.initial_stream_window_size",
            0,
        ),
        (
            |v| {
                manager(v)["route_config"]["virtual_hosts"][0]["retry_policy"] =
                    json!({"retry_on": "5xx"})
            },
            "warning the route of /api/v1/whatsapp/webhook: retry_policy",
            0,
        ),
        (
            |v| plugin(v)["configuration"]["value"] = json!("{\"max_body_bytes\": 1000}"),
            "warning max_body_bytes: 1000 is below Twilio's own traffic",
            0,
        ),
        (
            |v| plugin(v)["configuration"]["value"] = json!("{\"mode\": \"monitor\"}"),
            "warning mode: monitor",
            0,
        ),
        (
            |v| plugin(v)["configuration"]["value"] = json!("{\"modee\": 1}"),
            "error modee:",
            1,
        ),
        (
            |v| {
                plugin(v)["configuration"] =
                    json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": {}})
            },
            "error configuration: configuration: expected \"@type\"",
            1,
        ),
        (
            |v| plugin(v)["vm_config"]["environment_variables"] = json!({"key_values": {"TWILIO_AUTH_TOKEN": "5ce117c0de5ce117c0de5ce117c0de00", "WEBHOOK_URL": "https://h.example/p"}}),
            "warning environment_variables.key_values.TWILIO_AUTH_TOKEN",
            0,
        ),
    ];
    for (change, words, status) in cases {
        let (found_status, findings) = check(&changed(change));
        assert!(
            findings.iter().any(|finding| finding.starts_with(words)),
            "{words}: {findings:#?}"
        );
        assert_eq!(found_status, status, "{words}: {findings:#?}");
    }
}

#[test]
fn manifests_of_meshes_are_read_at_any_depth() {
    let filter = r#"
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: twilio-webhook-filter}
spec:
  configPatches:
  - applyTo: EXTENSION_CONFIG
    patch:
      operation: ADD
      value:
        name: twilio-webhook-filter
        typed_config:
          "@type": type.googleapis.com/udpa.type.v1.TypedStruct
          type_url: type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
          value:
            config:
              name: twilio_webhook_filter
              failure_policy: FAIL_RELOAD
              vm_config:
                vm_id: twilio_webhook_filter
                environment_variables: {host_env_keys: [TWILIO_AUTH_TOKEN, WEBHOOK_URL]}
              configuration: {"@type": type.googleapis.com/google.protobuf.StringValue, value: '{}'}
"#;
    let policy = r#"
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata: {name: twilio-webhook-filter}
spec:
  wasm:
  - name: twilio_webhook_filter
    rootID: twilio_webhook_filter
    code: {type: Image, image: {url: REGISTRY/twilio-webhook-filter}}
    config: {public_base_url: "https://orders.example.com", webhooks: [{path: /hook, metods: [POST]}]}
    env: {hostKeys: [TWILIO_AUTH_TOKEN]}
---
apiVersion: v1
kind: Service
"#;
    let config_map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"envoy.yaml":
        std::fs::read_to_string(repository().join("envoy/envoy.yaml")).expect("a file")}});
    let folder = tempfile::tempdir().expect("a directory");
    for (text, status, words) in [
        (filter.to_owned(), 1, "allow_on_headers_stop_iteration"),
        (
            filter.replace(
                "failure_policy:",
                "allow_on_headers_stop_iteration: true\n              failure_policy:",
            ),
            0,
            "is not set here",
        ),
        (policy.to_owned(), 1, "webhooks[0].metods"),
        (config_map.to_string(), 0, "a wasm plugin of Envoy"),
    ] {
        let path = file(folder.path(), "manifest.yaml", text.as_bytes());
        let ran = run(&["check-config", &path], &[]);
        assert_eq!(ran.status, status, "{}{}", ran.out, ran.err);
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    let path = file(
        folder.path(),
        "other.yaml",
        b"apiVersion: v1\nkind: Service\n",
    );
    let ran = run(&["check-config", &path], &[]);
    assert_eq!(ran.status, 2);
    assert!(
        ran.err.contains("expected a configuration of the filter"),
        "{}",
        ran.err
    );
}
