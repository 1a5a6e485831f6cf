//! `metrics.md` explains just what Envoy shows, and alerts and dashboard name nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use twilio_webhook_filter::Reason;

use crate::updates::Updated;
use crate::view::{Metrics, read, wait_for};
use support::envoy::{Setup, plugin_with};
use support::filter_host::{FilterHost, filter_host, only};
use support::messages::message;

/// A PromQL expression, and where it stands.
#[derive(Debug)]
#[allow(dead_code)] // The place is for messages.
pub(crate) struct Query {
    pub(crate) place: String,
    pub(crate) text: String,
}

/// The rules of `alerts.yml`.
pub(crate) fn rules() -> Vec<Value> {
    let file: Value = yaml_serde::from_str(&read("envoy/observability/alerts.yml")).expect("YAML");
    let groups = file["groups"].as_array().cloned().unwrap_or_default();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default())
        .collect()
}

/// The expressions of the rules.
pub(crate) fn rule_queries() -> Vec<Query> {
    let query = |rule: &Value| Query {
        place: rule["alert"]
            .as_str()
            .or(rule["record"].as_str())
            .expect("a name")
            .to_owned(),
        text: rule["expr"].as_str().expect("an expression").to_owned(),
    };
    rules().iter().map(query).collect()
}

/// The expressions of the dashboard, with its variables filled in.
pub(crate) fn dashboard_queries() -> Vec<Query> {
    let dashboard: Value =
        serde_json::from_str(&read("envoy/observability/dashboard.json")).expect("JSON");
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let mut text = target["expr"].as_str().expect("an expression").to_owned();
            for (variable, value) in [
                ("$__rate_interval", "10m"),
                ("$__range", "10m"),
                ("$webhook", ".*"),
                ("$instance", ".*"),
                ("$capacity", "65536"),
            ] {
                text = text.replace(variable, value);
            }
            assert!(
                !text.contains('$'),
                "a variable that nobody fills in: {text}"
            );
            queries.push(Query {
                place: panel["title"].as_str().expect("a title").to_owned(),
                text,
            });
        }
    }
    queries
}

/// `name{labels}` in an expression.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Selector {
    pub(crate) name: String,
    pub(crate) labels: String,
}

/// Every selector of a metric of the filter's or of Envoy's. Label names, which may begin with `envoy_` too, stand in
/// braces or after `by`.
pub(crate) fn selectors(expression: &str) -> Vec<Selector> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    let bytes = expression.as_bytes();
    let (mut found, mut at, mut by) = (Vec::new(), 0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'{' => at += expression[at..].find('}').expect("a closing brace") + 1,
            b'(' if by => at += expression[at..].find(')').expect("a closing parenthesis") + 1,
            byte if is_word(byte) => {
                let length = bytes[at..]
                    .iter()
                    .take_while(|byte| is_word(**byte))
                    .count();
                let word = &expression[at..at + length];
                at += length;
                by = ["by", "without", "on", "ignoring"].contains(&word);
                if ["twilio_webhook", "envoy_"]
                    .iter()
                    .any(|start| word.starts_with(start))
                {
                    let rest = &expression[at..];
                    let labels = match rest.strip_prefix('{') {
                        Some(rest) => rest.split('}').next().unwrap_or_default(),
                        None => "",
                    };
                    found.push(Selector {
                        name: word.to_owned(),
                        labels: labels.to_owned(),
                    });
                }
                continue;
            }
            byte => {
                by = by && byte == b' ';
                at += 1;
                continue;
            }
        }
        by = false;
    }
    found
}

/// What the headings of `metrics.md` are about.
fn documented() -> BTreeSet<String> {
    let page = read("envoy/observability/metrics.md");
    let headings = page.lines().filter_map(|line| line.strip_prefix("### `"));
    headings
        .map(|heading| heading.trim_end_matches('`').to_owned())
        .collect()
}

/// The metric that a sample belongs to: a histogram's have endings.
fn without_ending<'a>(name: &'a str, types: &BTreeMap<String, String>) -> &'a str {
    let endings = ["_bucket", "_sum", "_count"];
    let histogram = endings.iter().find_map(|ending| {
        let base = name.strip_suffix(ending)?;
        (types.get(base).map(String::as_str) == Some("histogram")).then_some(base)
    });
    histogram.unwrap_or(name)
}

#[test]
fn a_selector_is_found_wherever_it_stands_in_an_expression() {
    let found = selectors(
        r#"sum by (le, envoy_cluster_name) (rate(envoy_a_bucket{envoy_x="y"}[5m])) / on (z) twilio_webhook:b"#,
    );
    let names: Vec<_> = found
        .iter()
        .map(|selector| selector.name.as_str())
        .collect();
    assert_eq!(names, ["envoy_a_bucket", "twilio_webhook:b"]);
    assert_eq!(found[0].labels, r#"envoy_x="y""#);
}

#[test]
fn each_metric_is_documented_and_each_documented_one_exists() {
    let plugin = plugin_with(json!({"webhooks": [
        {"path": "/api/v1/whatsapp/webhook", "url": "https://orders.example.com/api/v1/whatsapp/webhook"},
        {"path": "/studio/*"},
    ]}));
    let updated = Updated::start(Setup::with(&plugin));
    let envoy = &updated.envoy;
    // Histograms are there after the first request.
    envoy.run(async |t| t.passes(&message()).await);
    let metrics = wait_for("the histogram of the upstream", || {
        let metrics = Metrics::of(envoy);
        metrics
            .types
            .contains_key("envoy_cluster_upstream_rq_time")
            .then_some(metrics)
    });
    let documented = documented();
    let own = metrics
        .types
        .keys()
        .filter(|name| name.starts_with("twilio_webhook"));
    for name in own {
        assert!(
            documented.contains(name),
            "metrics.md does not explain {name}"
        );
    }
    for name in &documented {
        if name.starts_with("envoy_wasm_") && !only(FilterHost::Wasm, "Metrics of faults") {
            assert!(!metrics.types.contains_key(name), "Envoy has {name}");
            continue;
        }
        let kind = metrics
            .types
            .get(name)
            .unwrap_or_else(|| panic!("Envoy has no {name}"));
        let page = read("envoy/observability/metrics.md");
        let (_, text) = page
            .split_once(&format!("### `{name}`\n\n"))
            .expect("a heading");
        let said = text
            .split(['.', ','])
            .next()
            .unwrap_or_default()
            .to_lowercase();
        assert_eq!(&said, kind, "the first word on {name}");
    }
    // One for what runs, whatever that is called.
    let runs = [
        ("host", filter_host().name()),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    assert_eq!(metrics.sum("twilio_webhook_build_info", &runs), 1.0);
    assert_eq!(metrics.sum("twilio_webhook_build_info", &[]), 1.0);
    // Every verdict, for every webhook, from the start.
    let shown = |label: &str| -> BTreeSet<String> {
        let of = metrics
            .samples
            .iter()
            .filter(|sample| sample.name == "twilio_webhook_requests");
        of.map(|sample| sample.labels[label].clone()).collect()
    };
    let page = read("envoy/observability/metrics.md");
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: BTreeSet<_> = rows
        .filter(|row| *row != "verdict")
        .map(str::to_owned)
        .collect();
    assert_eq!(rows, shown("verdict"));
    let labels = ["api-v1-whatsapp-webhook", "none", "studio-all"].map(str::to_owned);
    assert_eq!(shown("webhook"), BTreeSet::from(labels));
    let combinations = metrics
        .samples
        .iter()
        .filter(|sample| sample.name == "twilio_webhook_requests")
        .count();
    assert_eq!(combinations, rows.len() * 3);
    for sample in metrics
        .samples
        .iter()
        .filter(|sample| sample.name.starts_with("twilio_webhook"))
    {
        let names: Vec<_> = sample.labels.keys().map(String::as_str).collect();
        let expected: &[&str] = match sample.name.as_str() {
            "twilio_webhook_requests" => &["verdict", "webhook"],
            "twilio_webhook_signatures" => &["key"],
            "twilio_webhook_build_info" => &["host", "version"],
            "twilio_webhook_store_callout_microseconds_bucket" => &["le"],
            _ => &[],
        };
        assert_eq!(names, expected, "{sample:?}");
    }
}

#[test]
fn alerts_and_dashboard_name_only_documented_metrics_and_known_verdicts() {
    let documented = documented();
    let recorded: BTreeSet<_> = rules()
        .iter()
        .filter_map(|rule| rule["record"].as_str().map(str::to_owned))
        .collect();
    let histograms = documented
        .iter()
        .map(|name| (name.clone(), "histogram".to_owned()))
        .collect();
    let verdicts: BTreeSet<_> = Reason::ALL
        .iter()
        .map(|reason| reason.name())
        .chain(["accepted", "exempt", "unchecked"])
        .collect();
    let mut used = BTreeSet::new();
    for query in rule_queries().into_iter().chain(dashboard_queries()) {
        let selectors = selectors(&query.text);
        assert!(
            !selectors.is_empty() || query.text.starts_with("vector("),
            "{query:?}"
        );
        for Selector { name, labels } in selectors {
            let base = without_ending(&name, &histograms);
            assert!(
                documented.contains(base) || recorded.contains(base),
                "{base} in {query:?}"
            );
            used.insert(base.to_owned());
            for matcher in labels
                .split(',')
                .filter(|matcher| matcher.starts_with("verdict"))
            {
                let value = matcher.split('"').nth(1).expect("a value");
                for verdict in value.split('|') {
                    assert!(verdicts.contains(verdict), "{verdict} in {query:?}");
                }
            }
        }
    }
    let own: Vec<_> = documented
        .iter()
        .filter(|name| name.starts_with("twilio_webhook"))
        .collect();
    for name in own {
        assert!(
            used.contains(name),
            "neither alert nor dashboard looks at {name}"
        );
    }
    // What is scraped is what is used.
    let scraped: Value =
        yaml_serde::from_str(&read("envoy/observability/prometheus.yml")).expect("YAML");
    let kept = scraped["scrape_configs"][0]["metric_relabel_configs"][0]["regex"]
        .as_str()
        .expect("a pattern");
    assert!(!kept.contains(char::is_whitespace), "{kept:?}");
}

#[test]
fn operations_md_says_what_to_do_about_each_alert_and_each_reason() {
    let page = read("docs/operations.md");
    for rule in rules() {
        if let Some(alert) = rule["alert"].as_str() {
            assert!(
                page.contains(&format!("`{alert}`")),
                "docs/operations.md does not speak of {alert}"
            );
        }
    }
    for reason in Reason::ALL {
        let row = format!("| `{}`", reason.name());
        assert!(
            page.contains(&row),
            "docs/operations.md does not speak of {}",
            reason.name()
        );
    }
}
