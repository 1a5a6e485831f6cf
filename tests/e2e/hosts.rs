use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::envoy::{Setup, listener, new_address, plugin, plugin_config};
use support::filter_host::{FilterHost, differences, filter_host, only};
use support::filter_store::{FilterStore, filter_store};
use support::http1::{Http1, PATIENCE};
use support::messages::{TOKEN, message};
use support::process::{in_time, repository, until};
use support::tap::Behaviour;
use support::{assert_passed, assert_rejected, stat};

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
    if !only(FilterHost::Native, "A fault") {
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

/// What differs, and the tests that fail if it is otherwise.
const TABLE: [(&str, &[&str]); 21] = [
    (
        "Envoy's configuration",
        &["the_shipped_files_of_both_hosts_say_the_same"],
    ),
    ("Module", &["the_page_about_hosts_names_what_is_translated"]),
    (
        "Who shares nonces and counters",
        &["configurations_share_nonces_by_a_name_and_others_have_their_own"],
    ),
    (
        "The filter's configuration",
        &["a_protobuf_struct_is_rejected_in_words_unless_envoy_hands_it_over_as_json"],
    ),
    (
        "Variables of the environment",
        &["a_variable_of_the_process_is_the_filters_own_in_a_native_module_only"],
    ),
    (
        "Setting to be shown bodies",
        &["an_envoy_that_never_shows_a_body_leaves_a_line_that_says_so"],
    ),
    (
        "Lines in Envoy's log contain",
        &["the_page_about_hosts_names_what_is_translated"],
    ),
    (
        "First line of a configuration",
        &["the_first_line_of_a_configuration_says_what_runs_once_for_all_workers"],
    ),
    (
        "Verdict in the access log",
        &["the_access_log_has_the_verdict_of_each_request"],
    ),
    (
        "Verdict as dynamic metadata",
        &["the_access_log_has_the_verdict_of_each_request"],
    ),
    (
        "Labels of metrics",
        &["without_stats_tags_only_a_native_module_has_labels"],
    ),
    (
        "Metrics in `/stats`",
        &["without_stats_tags_only_a_native_module_has_labels"],
    ),
    (
        "Metrics in Prometheus' text",
        &["without_the_runtime_flag_a_native_modules_metrics_have_a_longer_name"],
    ),
    (
        "Label `host` of `twilio_webhook_build_info`",
        &["each_metric_is_documented_and_each_documented_one_exists"],
    ),
    (
        "A fault",
        &[
            "a_panic_rejects_that_request_and_leaves_envoy_and_all_others_alone",
            "the_request_after_a_fault_passes_and_nonces_and_counters_are_still_there",
            "requests_that_are_held_at_a_fault_never_reach_the_upstream_unchecked",
        ],
    ),
    (
        "Metrics of faults",
        &["each_metric_is_documented_and_each_documented_one_exists"],
    ),
    (
        "What is counted",
        &["what_is_counted_is_in_envoys_metrics_at_once_or_soon"],
    ),
    (
        "Trace of calls",
        &["each_request_stays_within_its_budget_of_calls_of_the_host"],
    ),
    (
        "Another build of the module",
        &["another_build_is_loaded_by_an_update_and_a_native_one_has_nonces_of_its_own"],
    ),
    (
        "Redis: a client that hangs up",
        &["many_senders_that_hang_up_leave_no_memory_and_no_connections_behind"],
    ),
    (
        "Redis: a response that is held while Redis is told",
        &["a_long_answer_that_is_held_until_the_claim_is_given_up_hangs_nobody"],
    ),
];

#[test]
fn what_is_counted_is_in_envoys_metrics_at_once_or_soon() {
    Setup::changed(json!({})).run(async |t| {
        t.passes(&message()).await;
        let accepted = || stat(t.envoy.admin, "twilio_webhook.*accepted");
        match filter_host() {
            FilterHost::Wasm => assert_eq!(accepted(), 1),
            // Twenty times what the page says, since this machine may be busy.
            FilterHost::Native => {
                let start = Instant::now();
                until("a native module's count", async || {
                    (accepted() == 1).then_some(())
                })
                .await;
                assert!(start.elapsed() < Duration::from_secs(1));
            }
        }
    });
}

fn sources(folder: &Path, found: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&std::fs::read_to_string(path).expect("a source"));
        }
    }
}

#[test]
fn each_row_of_the_page_about_hosts_has_tests_that_exist() {
    let rows: BTreeSet<_> = differences().into_keys().collect();
    let tested: BTreeSet<_> = TABLE.iter().map(|(row, _)| (*row).to_owned()).collect();
    assert_eq!(rows, tested);
    let mut code = String::new();
    for suite in ["e2e", "operators", "endurance", "replicas"] {
        sources(&repository().join("tests").join(suite), &mut code);
    }
    for test in TABLE.iter().flat_map(|(_, tests)| *tests) {
        let test = format!("#[test]\nfn {test}()");
        assert!(code.contains(&test), "{test}");
    }
}

#[test]
fn the_page_about_hosts_names_what_is_translated() {
    let page = differences();
    let row = |row: &str| page.get(row).unwrap_or_else(|| panic!("no row {row}"));
    for (column, host) in [FilterHost::Wasm, FilterHost::Native]
        .into_iter()
        .enumerate()
    {
        let verdict = format!("%FILTER_STATE({}:PLAIN)%", host.verdict_key());
        for (name, text) in [
            ("Envoy's configuration", host.shipped_file()),
            ("Module", host.module_name()),
            ("Lines in Envoy's log contain", host.log_marker()),
            ("Verdict in the access log", &verdict),
            ("Metrics in `/stats`", host.stat_prefix()),
            ("Label `host` of `twilio_webhook_build_info`", host.name()),
        ] {
            let cell = &row(name)[column];
            assert!(
                cell.contains(&format!("`{text}`")),
                "{name}: {text} in {cell}"
            );
        }
    }
}

/// The second listener is the first with another port, and another memory if `id` is another.
fn second_listener(config: &mut Value, name: &str, id: &str) {
    let mut second = listener(config).clone();
    second["name"] = json!(name);
    plugin_config(&mut second)["vm_config"]["vm_id"] = json!(id);
    let listeners = config["static_resources"]["listeners"].as_array_mut();
    listeners.expect("a list").push(second);
}

#[test]
fn configurations_share_nonces_by_a_name_and_others_have_their_own() {
    let setup = Setup::with(&plugin()).edit(|config| {
        second_listener(config, "same", "twilio_webhook_filter");
        second_listener(config, "other", "another");
    });
    let envoy = setup.start();
    envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let request = message();
        t.passes(&request).await;
        for (name, passes) in [("same", false), ("other", true), ("other", false)] {
            let address = t.envoy.listeners[name];
            let mut client = Http1::connect(address, new_address()).await;
            let answer = client.send(&request).await;
            if passes {
                assert_passed(&answer);
            } else {
                assert_rejected(&answer, "duplicate");
            }
        }
    });
}

#[test]
fn a_variable_of_the_process_is_the_filters_own_in_a_native_module_only() {
    let mut plugin = plugin();
    plugin["accounts"][0]["auth_tokens"] = json!([{"env": "ORDERS_TOKEN"}]);
    let setup = Setup::with(&plugin).env("ORDERS_TOKEN", TOKEN);
    match filter_host() {
        FilterHost::Wasm => {
            let log = setup.rejected().expect("a configuration without a token");
            assert!(
                log.contains("expected a secret in the environment variable ORDERS_TOKEN"),
                "{log}"
            );
        }
        FilterHost::Native => setup.start().run(async |t| {
            t.passes(&message()).await;
        }),
    }
}

#[test]
fn the_first_line_of_a_configuration_says_what_runs_once_for_all_workers() {
    // A warning comes behind it.
    let mut plugin = plugin();
    plugin["mode"] = json!("monitor");
    Setup::with(&plugin).workers(4).start().run(async |t| {
        t.passes(&message()).await;
        let column = usize::from(filter_host() == FilterHost::Native);
        let cell = &differences()["First line of a configuration"][column];
        let says = cell
            .trim_matches('`')
            .replace('…', env!("CARGO_PKG_VERSION"));
        let log = t.envoy.full_log();
        let ours = |line: &&str| line.contains("twilio_webhook_filter: twilio_webhook ");
        let lines: Vec<_> = log.lines().filter(ours).collect();
        assert!(lines[0].ends_with(&says), "{lines:#?}");
        assert!(lines[0].contains("[info]"), "{lines:#?}");
        assert_eq!(lines.len(), 2, "{lines:#?}");
    });
}

#[test]
fn without_stats_tags_only_a_native_module_has_labels() {
    let setup = Setup::with(&plugin()).edit(|config| {
        let config = config.as_object_mut().expect("an object");
        assert!(config.remove("stats_config").is_some());
    });
    setup.start().run(async |t| {
        t.passes(&message()).await;
        let stats = t.envoy.admin("/stats?filter=twilio_webhook");
        let prefix = filter_host().stat_prefix();
        let ours = stats.lines().filter(|line| line.contains(".nonces_in_use"));
        let ours: Vec<_> = ours.collect();
        assert_eq!(ours.len(), 1, "{stats}");
        assert!(ours[0].starts_with(prefix), "{stats}");
        let text = t.envoy.admin("/stats/prometheus");
        let version = env!("CARGO_PKG_VERSION");
        let labelled =
            format!("twilio_webhook_build_info{{version=\"{version}\",host=\"native\"}} 1");
        let named = format!(
            "twilio_webhook_build_info_version_{}_host_wasm{{}} 1",
            version.replace('.', "_")
        );
        let expected = match filter_host() {
            FilterHost::Wasm => named,
            FilterHost::Native => labelled,
        };
        assert!(
            text.lines().any(|line| line == expected),
            "{expected}: {text}"
        );
    });
}

#[test]
fn without_the_runtime_flag_a_native_modules_metrics_have_a_longer_name() {
    if !only(FilterHost::Native, "Metrics in Prometheus' text") {
        return;
    }
    for (flag, name) in [
        (true, "\ntwilio_webhook_requests{"),
        (
            false,
            "\nenvoy_dynamicmodulescustom_twilio_webhook_requests{",
        ),
    ] {
        let setup = Setup::with(&plugin()).edit_for_host(move |config| {
            let config = config.as_object_mut().expect("an object");
            if !flag {
                assert!(config.remove("layered_runtime").is_some());
            }
        });
        let text = setup.start().admin("/stats/prometheus");
        assert!(text.contains(name), "{name}: {text}");
    }
}
