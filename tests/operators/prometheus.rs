//! A real Prometheus scrapes Envoy with the rules of the repository: every expression of dashboard and alerts gets
//! data, and what it counts is what was sent.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::metrics::{dashboard_queries, rule_queries, rules, selectors};
use crate::updates::Updated;
use crate::view::{Metrics, assert_discreet, read, wait_for};
use support::envoy::{Setup, new_address};
use support::filter_host::{FilterHost, only};
use support::messages::{escape, forged, form, message, set, unsigned, whatsapp};
use support::process::{Process, free_port, repository, tool};
use support::tap::Behaviour;
use support::wire::Request;
use support::{rule, simple_get};

fn promtool(arguments: &[&str]) {
    let binary =
        tool("PROMTOOL_BIN", "target/tools/promtool").unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(binary)
        .current_dir(repository())
        .args(arguments)
        .output()
        .expect("promtool runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "promtool {arguments:?}\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn promtool_finds_rules_and_configuration_right() {
    promtool(&["check", "rules", "envoy/observability/alerts.yml"]);
    promtool(&["check", "config", "envoy/observability/prometheus.yml"]);
}

#[test]
fn each_alert_fires_in_its_story_and_none_in_a_quiet_day() {
    const STORIES: &str = "tests/operators/alerts.test.yml";
    promtool(&["test", "rules", STORIES]);
    let stories: Value = yaml_serde::from_str(&read(STORIES)).expect("YAML");
    let stories = stories["tests"].as_array().expect("stories");
    let firing = |story: &Value| -> Vec<String> {
        let samples = &story["promql_expr_test"][0]["exp_samples"];
        let samples = samples.as_array().expect("samples").iter();
        samples.map(|sample| sample["labels"].to_string()).collect()
    };
    assert!(
        stories.iter().any(|story| firing(story).is_empty()),
        "no quiet day"
    );
    for rule in rules() {
        let Some(alert) = rule["alert"].as_str() else {
            continue;
        };
        let label = format!("\\\"{alert}\\\"");
        let fires = stories
            .iter()
            .flat_map(firing)
            .any(|labels| labels.contains(&label));
        assert!(fires, "no story in which {alert} fires");
    }
}

/// A Prometheus on loopback that scrapes one Envoy all the time.
struct Prometheus {
    _process: Process,
    address: SocketAddr,
    _directory: TempDir,
}

impl Prometheus {
    fn start(envoy: SocketAddr) -> Prometheus {
        let binary = tool("PROMETHEUS_BIN", "target/tools/prometheus")
            .unwrap_or_else(|error| panic!("{error}"));
        let directory = tempfile::tempdir().expect("a directory");
        let mut config: Value =
            yaml_serde::from_str(&read("envoy/observability/prometheus.yml")).expect("YAML");
        config["global"] = json!({"scrape_interval": "500ms", "evaluation_interval": "500ms"});
        config["scrape_configs"][0]["static_configs"][0]["targets"] = json!([envoy.to_string()]);
        config["rule_files"] = json!([repository().join("envoy/observability/alerts.yml")]);
        let file = directory.path().join("prometheus.json");
        std::fs::write(&file, config.to_string()).expect("a file");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut command = Command::new(binary);
        command
            .current_dir(directory.path())
            .env_clear()
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .args(["--storage.tsdb.retention.time=1h", "--log.level=warn"]);
        let log = directory.path().join("prometheus.log");
        let process = Process::start(
            &mut command,
            &directory.path().join("out"),
            &log,
            directory.path(),
        );
        let mut prometheus = Prometheus {
            _process: process,
            address,
            _directory: directory,
        };
        wait_for("Prometheus", || {
            if let Some(status) = prometheus._process.ended() {
                panic!(
                    "{status}: {}",
                    std::fs::read_to_string(&log).unwrap_or_default()
                );
            }
            simple_get(address, "/-/ready")
                .is_ok_and(|answer| answer.status == 200)
                .then_some(())
        });
        prometheus
    }

    fn get(&self, path: &str) -> Value {
        let answer = simple_get(self.address, path)
            .expect("Prometheus answers")
            .json();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// The samples that an expression has now: labels and value.
    fn query(&self, expression: &str) -> Vec<(Value, f64)> {
        let data = self.get(&format!("/api/v1/query?query={}", escape(expression)));
        let samples = data["result"]
            .as_array()
            .unwrap_or_else(|| panic!("a vector: {expression}"));
        let value = |sample: &Value| {
            let value = sample["value"][1]
                .as_str()
                .and_then(|text| text.parse().ok());
            (sample["metric"].clone(), value.expect("a number"))
        };
        samples.iter().map(value).collect()
    }

    fn by_verdict(&self) -> BTreeMap<String, usize> {
        let counts = self.query("sum by (verdict) (twilio_webhook_requests) > 0");
        let verdict = |labels: &Value| labels["verdict"].as_str().expect("a label").to_owned();
        counts
            .iter()
            .map(|(labels, count)| (verdict(labels), *count as usize))
            .collect()
    }
}

#[test]
fn a_real_prometheus_has_data_for_every_query_of_dashboard_and_alerts() {
    let setup = Setup::changed(json!({"rate_limits": [rule("client_ip", "all", 6, "600s")]})).edit(
        |config| {
            // How often Envoy brings its histograms up to date.
            config["stats_flush_interval"] = json!("0.5s");
        },
    );
    let updated = Updated::start(setup);
    let envoy = &updated.envoy;
    // A histogram is there after its first value, and a rate is a difference: one request before the first scrape.
    let mut expected = BTreeMap::from([("accepted".to_owned(), 1)]);
    envoy.run(async |t| t.passes_from(new_address(), &message()).await);
    wait_for("the histogram of the upstream", || {
        let shown = Metrics::of(envoy).types;
        shown
            .contains_key("envoy_cluster_upstream_rq_time")
            .then_some(())
    });
    let prometheus = Prometheus::start(envoy.admin);
    wait_for("a scrape of the histogram", || {
        (!prometheus
            .query("envoy_cluster_upstream_rq_time_count")
            .is_empty())
        .then_some(())
    });
    envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let good = message();
        let mut traffic: Vec<(Request, &str)> = vec![
            (good.clone(), "accepted"),
            (good, "duplicate"),
            (forged(&whatsapp()), "invalid_signature"),
            (unsigned("POST", "/strict"), "missing_signature"),
            (form("/strict", &whatsapp()), "missing_timestamp"),
            (
                message().with("x-twilio-signature", "x"),
                "malformed_signature",
            ),
            (
                message().header("x-twilio-request-timestamp", "1"),
                "stale_timestamp",
            ),
            (
                message().with("content-type", "text/plain"),
                "unsigned_body",
            ),
            (
                form("/strict", &set(whatsapp(), "Body", &"x".repeat(70_000))),
                "body_too_large",
            ),
            (unsigned("GET", "/nowhere"), "unknown_webhook"),
            (unsigned("DELETE", "/strict"), "method_not_allowed"),
            (unsigned("GET", "/healthz"), "exempt"),
        ];
        traffic.extend((0..5).map(|_| (message(), "accepted")));
        for (request, verdict) in traffic {
            t.send_from(new_address(), &request).await;
            *expected.entry(verdict.to_owned()).or_default() += 1;
        }
        // One address uses up its limit; one request finds the service failing.
        for number in 0..8 {
            t.send(&unsigned("POST", "/strict")).await;
            let verdict = if number < 6 {
                "missing_signature"
            } else {
                "rate_limited"
            };
            *expected.entry(verdict.to_owned()).or_default() += 1;
        }
        t.upstream(Behaviour::Answer(503));
        t.send_from(new_address(), &message()).await;
        *expected.entry("accepted".to_owned()).or_default() += 1;
    });
    wait_for("all that was sent, counted by Prometheus", || {
        (prometheus.by_verdict() == expected).then_some(())
    });
    wait_for("the histograms", || {
        let counts = prometheus.query("sum(envoy_cluster_upstream_rq_time_count)");
        counts.iter().any(|(_, count)| *count >= 9.0).then_some(())
    });
    // Every expression of the dashboard has a value, and one that is a number.
    let has_machines = only(FilterHost::Wasm, "Metrics of faults");
    for query in dashboard_queries() {
        if query.text.contains("envoy_wasm_") && !has_machines {
            continue;
        }
        let samples = wait_for(&format!("data for {query:?}"), || {
            let samples = prometheus.query(&query.text);
            // Where nobody asks Redis, nobody knows how long that takes.
            let needs_none = query.text.contains("store_callout_microseconds");
            let is_data = |(_, value): &(Value, f64)| value.is_finite() || needs_none;
            samples.iter().any(is_data).then_some(samples)
        });
        assert!(
            samples
                .iter()
                .all(|(_, value)| *value >= 0.0 || value.is_nan()),
            "{query:?}: {samples:?}"
        );
    }
    // An alert has data only when it fires; so what it looks at must have some.
    for query in rule_queries() {
        prometheus.query(&query.text);
        for selector in selectors(&query.text) {
            if selector.name.starts_with("envoy_wasm_") && !has_machines {
                continue;
            }
            let text = format!("{}{{{}}}", selector.name, selector.labels);
            assert!(
                !prometheus.query(&text).is_empty(),
                "no data for {text} in {query:?}"
            );
        }
    }
    let one = |expression: &str| -> f64 {
        let samples = prometheus.query(expression);
        assert_eq!(samples.len(), 1, "{expression}: {samples:?}");
        samples[0].1
    };
    // Eight were accepted, and one of them was given up.
    assert_eq!(one("twilio_webhook_nonces_in_use"), 7.0);
    assert_eq!(one("twilio_webhook_nonces_released"), 1.0);
    assert_eq!(one("twilio_webhook_store_errors"), 0.0);
    if has_machines {
        assert_eq!(one("envoy_wasm_twilio_webhook_filter_vm_reload"), 0.0);
    }
    assert_eq!(one("twilio_webhook:nonces_capacity"), 65_536.0);
    let signatures = one(r#"twilio_webhook_signatures{key="twilio_auth_token"}"#);
    assert!(
        signatures >= 9.0,
        "the accepted ones and the repeat: {signatures}"
    );
    // The rules are evaluated, every one of them without an error.
    let rules = wait_for("the evaluation of all rules", || {
        let groups = prometheus.get("/api/v1/rules")["groups"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let rules = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        let rules: Vec<Value> = rules.collect();
        rules
            .iter()
            .all(|rule| rule["health"] != "unknown")
            .then_some(rules)
    });
    assert_eq!(rules.len(), rule_queries().len());
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let targets = prometheus.get("/api/v1/targets")["activeTargets"].clone();
    assert_eq!(targets[0]["health"], "up", "{targets}");
    assert_discreet(envoy, &[]);
}
