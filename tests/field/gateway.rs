//! The Envoy that cases share: each has a listener of its own in it, with a filter of its own.
//!
//! The listeners come from a file, as those of a control plane do: one that is rejected leaves the others alone. The
//! plugin is called what its case is called, so that Envoy's log tells whose line it is. All filters share a VM,
//! and what is accepted before in it, but for cases that repeat what others may send.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use support::envoy::{Envoy, Setup, connection_manager, listener, plugin_config, set_endpoint};
use support::field::cases::{self, Case};
use support::filter_host::{FilterHost, filter_host, only};
use support::tap::{Behaviour, Tap};
use support::upstream;

/// How many workers it has.
pub(crate) const WORKERS: u32 = 4;

/// How long Envoy waits for a request that it holds for ever, so that a test need not wait as long as in production.
const HELD: &str = "1s";

/// See the module. A native module has the environment of its Envoy, so that cases with another one have an Envoy of
/// their own.
pub(crate) struct Gateway {
    envoys: Vec<Started>,
    pub(crate) cases: Vec<Case>,
    /// The upstream of WebSockets.
    echo: Tap,
}

struct Started {
    environment: BTreeMap<String, String>,
    envoy: Envoy,
    _directory: TempDir,
}

/// Started with the first test that needs it.
pub(crate) fn gateway() -> &'static Gateway {
    static GATEWAY: LazyLock<Gateway> = LazyLock::new(Gateway::start);
    &GATEWAY
}

/// What of a case's environment is its Envoy's.
fn environment(case: &Case) -> BTreeMap<String, String> {
    match filter_host() {
        FilterHost::Wasm => BTreeMap::new(),
        FilterHost::Native => case.env.clone(),
    }
}

/// Whether a case holds for this host.
fn is_for_this_host(case: &Case) -> bool {
    let kind = case.envoy.configuration.as_ref();
    let kind = kind.and_then(|configuration| configuration["@type"].as_str());
    let is_struct = kind.is_some_and(|kind| kind.ends_with("google.protobuf.Struct"));
    (!is_struct || only(FilterHost::Wasm, "The filter's configuration"))
        && (case.envoy.allow_stop != Some(false)
            || only(FilterHost::Wasm, "Setting to be shown bodies"))
}

impl Gateway {
    fn start() -> Gateway {
        let cases: Vec<_> = cases::all().into_iter().filter(is_for_this_host).collect();
        let echo = Tap::start(upstream::address());
        echo.behave(Behaviour::Echo);
        let mut groups: BTreeMap<_, Vec<Case>> = BTreeMap::new();
        for case in &cases {
            let group = groups.entry(environment(case)).or_default();
            group.push(case.clone());
        }
        let envoys = groups.into_iter();
        let envoys = envoys.map(|(environment, cases)| start(environment, cases, echo.address));
        Gateway {
            envoys: envoys.collect(),
            cases,
            echo,
        }
    }

    fn envoy(&self, case: &Case) -> &Envoy {
        let environment = environment(case);
        let mut envoys = self.envoys.iter();
        let found = envoys.find(|started| started.environment == environment);
        &found.expect("an Envoy with its environment").envoy
    }

    /// All Envoys.
    pub(crate) fn envoys(&self) -> impl Iterator<Item = &Envoy> {
        self.envoys.iter().map(|started| &started.envoy)
    }

    /// Where a case's requests go; `None`: its configuration was rejected.
    pub(crate) fn address(&self, case: &Case) -> Option<SocketAddr> {
        self.envoy(case).listeners.get(&case.id).copied()
    }

    /// Whether a request with this in it has reached an upstream, whole or in part.
    pub(crate) fn upstream_has_seen(&self, mark: &str) -> bool {
        let taps = self.envoys().map(|envoy| &envoy.tap);
        let mut taps = taps.chain([&self.echo]);
        taps.any(|tap| tap.describe_since(0).contains(mark))
    }

    /// The lines of a case's plugin in Envoy's log.
    pub(crate) fn log(&self, case: &Case) -> Vec<String> {
        let name = match filter_host() {
            FilterHost::Wasm => format!("wasm log {} ", case.id),
            FilterHost::Native => format!(" {}: ", case.id),
        };
        let log = self.envoy(case).full_log();
        let lines = log
            .lines()
            .filter(|line| line.contains(filter_host().log_marker()) && line.contains(&name));
        lines.map(str::to_owned).collect()
    }

    /// Waits until there is what `found` finds.
    pub(crate) fn wait_for<T>(&self, time: Duration, found: impl Fn() -> Option<T>) -> Option<T> {
        let start = std::time::Instant::now();
        loop {
            let found = found();
            if found.is_some() || start.elapsed() > time {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn start(environment: BTreeMap<String, String>, cases: Vec<Case>, sockets: SocketAddr) -> Started {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("listeners.json");
    let mut setup = Setup::shipped().workers(WORKERS);
    if filter_host() == FilterHost::Native {
        for name in ["TWILIO_AUTH_TOKEN", "TWILIO_ACCOUNT_SID"] {
            setup = setup.without_env(name);
        }
    }
    for (name, value) in &environment {
        setup = setup.env(name, value);
    }
    let setup = setup.edit(move |config| {
        let shipped = listener(config).clone();
        let listeners = cases.iter().map(|case| for_case(shipped.clone(), case));
        let listeners: Vec<_> = listeners.collect();
        std::fs::write(&file, json!({"resources": listeners}).to_string()).expect("a file");
        config["static_resources"]["listeners"] = json!([]);
        add_cluster(config, sockets);
        // Envoy wants to be called something by whoever updates it.
        config["node"] = json!({"id": "webhooks", "cluster": "webhooks"});
        config["dynamic_resources"] = json!({"lds_config": {
            "path_config_source": {"path": file},
            "resource_api_version": "V3",
        }});
    });
    let envoy = setup.start();
    envoy.tap.behave(Behaviour::Answer(200));
    Started {
        environment,
        envoy,
        _directory: directory,
    }
}

/// The shipped listener as a case has it.
fn for_case(mut listener: Value, case: &Case) -> Value {
    listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    listener["name"] = json!(case.id);
    let manager = connection_manager(&mut listener);
    // WebSockets have an upstream that takes them.
    let routes = &mut manager["route_config"]["virtual_hosts"][0]["routes"];
    routes[0]["route"]["cluster"] = json!("sockets");
    if case.envoy.allow_stop == Some(false) {
        manager["request_timeout"] = json!(HELD);
    }
    let plugin = plugin_config(&mut listener);
    // In front of each line that the filter writes.
    plugin["name"] = json!(case.id);
    plugin["root_id"] = json!(case.id);
    plugin["configuration"] = match &case.envoy.configuration {
        Some(configuration) => configuration.clone(),
        None => json!({
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": case.plugin(),
        }),
    };
    if let Some(allowed) = case.envoy.allow_stop {
        plugin["allow_on_headers_stop_iteration"] = json!(allowed);
    }
    // A VM has one environment, and one memory. A native module's log has no other name than this.
    if case.alone || !case.env.is_empty() || filter_host() == FilterHost::Native {
        plugin["vm_config"]["vm_id"] = json!(case.id);
    }
    plugin["vm_config"]["environment_variables"] = json!({"key_values": case.env});
    filter_host().translate(&mut listener);
    listener
}

fn add_cluster(config: &mut Value, sockets: SocketAddr) {
    let clusters = &mut config["static_resources"]["clusters"];
    let mut cluster = clusters[0].clone();
    cluster["name"] = json!("sockets");
    cluster["load_assignment"]["cluster_name"] = json!("sockets");
    set_endpoint(&mut cluster, sockets);
    clusters.as_array_mut().expect("a list").push(cluster);
}
