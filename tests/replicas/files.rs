use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use support::envoy::{listener, plugin_config};
use support::process::repository;
use support::redis::read;
use support::redis::shipped;

/// With `<<` followed, as Compose does it.
fn compose() -> Value {
    let mut compose: Value = yaml_serde::from_str(&read("docker-compose.yml")).expect("YAML");
    for service in compose["services"]
        .as_object_mut()
        .expect("services")
        .values_mut()
    {
        if let Some(Value::Object(mut merged)) = service.get("<<").cloned() {
            merged.extend(service.as_object().expect("a service").clone());
            merged.remove("<<");
            *service = Value::Object(merged);
        }
    }
    compose
}

#[test]
fn the_configuration_for_several_envoys_is_that_for_one_and_a_store() {
    let file = repository().join("envoy/envoy.yaml");
    let text = std::fs::read_to_string(file).expect("envoy.yaml");
    let one: Value = yaml_serde::from_str(&text).expect("YAML");
    let mut several = shipped();
    let clusters = several["static_resources"]["clusters"]
        .as_array_mut()
        .expect("clusters");
    let store = clusters.pop().expect("a cluster");
    assert_eq!(store["name"], "redis_over_http");
    let config = plugin_config(listener(&mut several));
    let keys = &mut config["vm_config"]["environment_variables"]["host_env_keys"];
    let keys = keys.as_array_mut().expect("a list");
    assert!(keys.contains(&json!("WEBDIS_PASSWORD")));
    keys.retain(|key| key != "WEBDIS_PASSWORD");
    let text = config["configuration"]["value"]
        .as_str()
        .expect("a text")
        .to_owned();
    let mut plugin: Value = serde_json::from_str(&text).expect("JSON");
    let store = plugin.as_object_mut().expect("an object").remove("store");
    assert_eq!(store.expect("a store")["cluster"], "redis_over_http");
    let mut one = one;
    let other = plugin_config(listener(&mut one))["configuration"]["value"].take();
    let other: Value = serde_json::from_str(other.as_str().expect("a text")).expect("JSON");
    assert_eq!(plugin, other);
    plugin_config(listener(&mut several))["configuration"]["value"].take();
    assert_eq!(several, one);
}

#[test]
fn webdis_is_closed_but_for_two_commands_and_speaks_to_loopback() {
    let webdis: Value = serde_json::from_str(&read("webdis.json")).expect("JSON");
    assert_eq!(webdis["http_host"], "127.0.0.1");
    assert_eq!(webdis["redis_host"], "127.0.0.1");
    assert_eq!(
        (&webdis["websockets"], &webdis["daemonize"]),
        (&json!(false), &json!(false))
    );
    // The order counts: what comes later overrides.
    let acl = json!([
        {"disabled": ["*"]},
        {"http_basic_auth": "$WEBDIS_CREDENTIALS", "enabled": ["EVALSHA", "EVAL"]},
    ]);
    assert_eq!(webdis["acl"], acl);
    let store = shipped();
    let cluster = &store["static_resources"]["clusters"][1];
    let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    assert_eq!(
        endpoint["address"]["socket_address"]["port_value"],
        webdis["http_port"]
    );
}

#[test]
fn redis_forgets_nothing_early_and_nothing_at_a_restart() {
    let text = read("redis.conf");
    let lines: BTreeSet<_> = text.lines().collect();
    for line in [
        "bind 127.0.0.1",
        "maxmemory-policy noeviction",
        "appendonly yes",
        "databases 1",
    ] {
        assert!(lines.contains(line), "{line}");
    }
    // Each directive once: Redis takes the last, a reader the first.
    let names: Vec<_> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let distinct: BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), distinct.len());
}

#[test]
fn compose_mounts_what_is_there_and_pins_what_it_fetches() {
    let compose = compose();
    let directory = repository().join("envoy/redis");
    let services = compose["services"].as_object().expect("services");
    for (name, service) in services {
        if let Some(image) = service["image"].as_str() {
            let tag = image
                .rsplit_once(':')
                .map(|(_, tag)| tag)
                .unwrap_or_default();
            let digits = tag
                .trim_start_matches('v')
                .starts_with(|first: char| first.is_ascii_digit());
            assert!(
                digits && tag.matches('.').count() >= 2,
                "{name}: {image} has no whole version"
            );
        }
        if let Some(context) = service["build"].as_str() {
            let dockerfile = directory.join(context).join("Dockerfile");
            assert!(dockerfile.is_file(), "{name}: {}", dockerfile.display());
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let volume = volume.as_str().expect("a text");
            let source = volume.split(':').next().expect("a source");
            if source.starts_with('.') {
                let built = source.contains("target/");
                assert!(
                    built || directory.join(source).exists(),
                    "{name}: no {source}"
                );
                assert!(volume.ends_with(":ro"), "{name}: {volume} can be written");
            } else {
                assert!(
                    compose["volumes"].get(source).is_some(),
                    "{name}: no volume {source}"
                );
            }
        }
        for network in service["networks"].as_array().into_iter().flatten() {
            let network = network.as_str().expect("a text");
            assert!(
                compose["networks"].get(network).is_some(),
                "{name}: no network {network}"
            );
        }
        for other in service["depends_on"]
            .as_object()
            .into_iter()
            .flat_map(|map| map.keys())
        {
            assert!(services.contains_key(other), "{name}: no service {other}");
        }
    }
}

#[test]
fn compose_publishes_the_webhooks_and_nothing_of_the_store() {
    let compose = compose();
    for (name, service) in compose["services"].as_object().expect("services") {
        let ports = service["ports"].as_array().cloned().unwrap_or_default();
        assert_eq!(
            ports.is_empty(),
            !name.starts_with("envoy"),
            "{name}: {ports:?}"
        );
    }
}

/// What a service's shell does to its configuration before it starts, done here to the same files.
#[test]
fn what_compose_makes_of_each_configuration_is_what_it_has_to_be() {
    let compose = compose();
    let made = |service: &str, file: &str, variables: &[(&str, &str)]| {
        let command = compose["services"][service]["command"]
            .as_array()
            .expect("a command");
        let script = command.last().and_then(Value::as_str).expect("a script");
        // `$$` is how Compose spells `$`.
        let script = script.replace("$$", "$");
        let sed = script.split(['|', '>', ';', '&']).next().map(|_| {
            let start = script.find("sed ").expect("it uses sed");
            let end = start + script[start..].find(" /etc/").expect("on a file");
            script[start..end].to_owned()
        });
        let mut command = std::process::Command::new("sh");
        command
            .arg("-c")
            .arg(format!("{} \"$0\"", sed.expect("a command")))
            .arg(repository().join("envoy/redis").join(file));
        for (name, value) in variables {
            command.env(name, value);
        }
        let output = command.output().expect("sh starts");
        assert!(output.status.success(), "{script}");
        String::from_utf8(output.stdout).expect("text")
    };
    let redis = made("redis", "redis.conf", &[("REDIS_PASSWORD", "0a1b")]);
    assert!(
        redis.contains("\nuser default on >0a1b resetchannels"),
        "{redis}"
    );
    let webdis = made("webdis", "webdis.json", &[]);
    let webdis: Value = serde_json::from_str(&webdis).expect("JSON");
    assert_eq!(webdis["http_host"], "0.0.0.0");
    // Filled in by Webdis itself, which must find them.
    let environment = &compose["services"]["webdis"]["environment"];
    for name in ["REDIS_PASSWORD", "WEBDIS_CREDENTIALS"] {
        assert!(environment.get(name).is_some(), "{name}");
    }
    let envoy = made("envoy-1", "envoy.yaml", &[]);
    let envoy: Value = yaml_serde::from_str(&envoy).expect("YAML");
    let address = |index: &Value| {
        index["socket_address"]["address"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(address(&envoy["admin"]["address"]), "127.0.0.1");
    assert_eq!(
        address(&envoy["static_resources"]["listeners"][0]["address"]),
        "0.0.0.0"
    );
    for (number, name) in [(0, "upstream"), (1, "store")] {
        let cluster = &envoy["static_resources"]["clusters"][number];
        assert_eq!(cluster["type"], "STRICT_DNS");
        let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        assert_eq!(address(&endpoint["address"]), name);
    }
    for variable in ["WEBDIS_PASSWORD", "TWILIO_AUTH_TOKEN", "WEBHOOK_URL"] {
        for service in ["envoy-1", "envoy-2"] {
            let environment = &compose["services"][service]["environment"];
            assert!(environment.get(variable).is_some(), "{service}: {variable}");
        }
    }
    assert!(Path::new(&repository().join("envoy/redis/README.md")).is_file());
}
