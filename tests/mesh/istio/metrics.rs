use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::http1::PATIENCE;
use support::messages::{forged, message, unsigned, whatsapp};
use support::process::{Process, free_port, repository, tool};
use support::simple_get;
use support::tap::Behaviour;

use super::control_plane::{Istio, Mesh};
use crate::manifests::file;
use crate::proxy::{ask, assert_shows, modules};

/// One accepted request, two forged, one to no webhook.
fn some_requests(mesh: &Mesh) {
    mesh.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let requests = [
            message(),
            forged(&whatsapp()),
            forged(&whatsapp()),
            unsigned("GET", "/x"),
        ];
        for request in requests {
            ask(t, "webhooks", &request).await;
        }
    });
}

const ACCEPTED: &str =
    r#"twilio_webhook_requests{verdict="accepted",webhook="api-v1-whatsapp-webhook"} 1"#;

#[test]
fn metrics_have_their_labels_on_every_kind_of_proxy() {
    for &module in modules() {
        for place in ["shared-gateway", "gateway", "sidecar", "waypoint"] {
            let mesh = Istio::overlay(&Istio::name(module, place)).start();
            some_requests(&mesh);
            assert_shows(&mesh.envoy, ACCEPTED, &format!("{module:?} {place}"));
        }
    }
}

#[test]
fn the_labels_are_those_of_the_envoy_without_a_mesh() {
    let tags = file("envoy.yaml")["stats_config"]["stats_tags"].clone();
    let manifests = crate::manifests::Manifests::render("istio/base");
    let text = manifests.one("ConfigMap")["data"]["custom_bootstrap.json"].clone();
    let bootstrap: Value = serde_json::from_str(text.as_str().expect("a text")).expect("JSON");
    assert_eq!(bootstrap, json!({"stats_config": {"stats_tags": tags}}));
}

/// Prometheus, which scrapes one proxy with the relabelling of `prometheus-relabel.yml`.
struct Prometheus {
    address: SocketAddr,
    _process: Process,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    fn start(proxy: SocketAddr) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut job = file("istio/prometheus-relabel.yml");
        job["job_name"] = json!("proxies");
        job["metrics_path"] = json!("/stats/prometheus");
        job["static_configs"] = json!([{"targets": [proxy.to_string()]}]);
        let config = json!({"global": {"scrape_interval": "500ms"}, "scrape_configs": [job]});
        let path = directory.path().join("prometheus.json");
        std::fs::write(&path, config.to_string()).expect("a file");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let binary =
            tool("PROMETHEUS_BIN", "target/tools/prometheus").unwrap_or_else(|e| panic!("{e}"));
        let mut command = Command::new(binary);
        command
            .current_dir(repository())
            .arg(format!("--config.file={}", path.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"));
        let log = |name: &str| directory.path().join(name);
        let process = Process::start(&mut command, &log("out"), &log("err"), directory.path());
        Self {
            address,
            _process: process,
            _directory: directory,
        }
    }

    /// The series of a selector (percent-encoded), once there are any.
    fn query(&self, selector: &str) -> Vec<Value> {
        let start = Instant::now();
        loop {
            if let Ok(answer) = simple_get(self.address, &format!("/api/v1/query?query={selector}"))
                && answer.status == 200
                && let Some(series) = answer.json()["data"]["result"].as_array()
                && !series.is_empty()
            {
                return series.clone();
            }
            assert!(start.elapsed() < PATIENCE, "no {selector}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn without_the_bootstrap_prometheus_makes_the_labels() {
    let mut istio = Istio::overlay("shared-gateway");
    istio.forget_bootstrap();
    let mesh = istio.start();
    some_requests(&mesh);
    let prometheus = Prometheus::start(mesh.envoy.admin);
    for (verdict, webhook, count) in [
        ("accepted", "api_v1_whatsapp_webhook", "1"),
        ("invalid_signature", "api_v1_whatsapp_webhook", "2"),
        ("unknown_webhook", "none", "1"),
    ] {
        let selector =
            format!("twilio_webhook_requests%7Bverdict=%22{verdict}%22,webhook=%22{webhook}%22%7D");
        let series = prometheus.query(&selector);
        assert_eq!(series.len(), 1, "{series:?}");
        assert_eq!(series[0]["value"][1], count, "{verdict}");
    }
    let keys = prometheus.query("twilio_webhook_signatures%7Bkey=%22twilio_auth_token%22%7D");
    assert_eq!(keys[0]["value"][1], "1");
    // And no series keeps a label in its name.
    let all = prometheus.query(
        "count(%7B__name__=~%22twilio_webhook_.*_(verdict|webhook|key)_.*%22%7D)%20or%20vector(0)",
    );
    assert_eq!(all[0]["value"][1], "0");
}
