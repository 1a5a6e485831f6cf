use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::envoy::{Envoy, Setup, Test};
use support::messages::{
    ACCOUNT, ORIGIN, TOKEN, WEBHOOK, forged, form, message, pairs, unsigned, whatsapp,
};
use support::process::repository;
use support::redis::{Redis, WEBDIS_PASSWORD, Webdis};
use support::wire::{Request, Response};

/// Which of the two modules an overlay is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    Wasm,
    Native,
}

/// The modules to test: both, or with `MESH_MODULES=wasm` the one that every Envoy of a mesh can load.
pub(crate) fn modules() -> &'static [Module] {
    match std::env::var("MESH_MODULES").as_deref() {
        Err(_) => &[Module::Wasm, Module::Native],
        Ok("wasm") => &[Module::Wasm],
        Ok(other) => panic!("MESH_MODULES is wasm or not set, not {other}"),
    }
}

impl Module {
    /// Whether it is one to test; for tests of one module only.
    pub(crate) fn is_tested(self) -> bool {
        modules().contains(&self)
    }

    /// The file that was built.
    pub(crate) fn file(self) -> PathBuf {
        let name = match self {
            Self::Wasm => "target/wasm32-wasip1/release/twilio_webhook_filter.wasm",
            Self::Native => "target/release/libtwilio_webhook_filter.so",
        };
        let file = repository().join(name);
        assert!(file.is_file(), "{name} is missing: scripts/test build mesh");
        file
    }
}

/// What the Secret of docs/mesh.md holds.
fn secret(key: &str) -> Option<String> {
    match key {
        "TWILIO_AUTH_TOKEN" => Some(TOKEN.to_owned()),
        "TWILIO_ACCOUNT_SID" => Some(ACCOUNT.to_owned()),
        "WEBHOOK_URL" => Some(format!("{ORIGIN}{WEBHOOK}")),
        "WEBDIS_PASSWORD" => Some(WEBDIS_PASSWORD.to_owned()),
        "TWILIO_AUTH_TOKEN_NEXT" => None,
        other => panic!("docs/mesh.md puts no {other} into the Secret"),
    }
}

/// The environment of a container whose `env` this is, with the Secret there. `starts_without`: whether the container
/// must start where the Secret is not there.
pub(crate) fn environment(env: &Value, starts_without: bool) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for variable in env.as_array().expect("a list of variables") {
        let name = variable["name"].as_str().expect("a name").to_owned();
        let reference = &variable["valueFrom"]["secretKeyRef"];
        if reference.is_null() {
            continue;
        }
        assert_eq!(reference["name"], "twilio-webhook", "{name}");
        // Most installations have neither of these.
        let rare = ["TWILIO_AUTH_TOKEN_NEXT", "WEBDIS_PASSWORD"].contains(&name.as_str());
        assert_eq!(
            reference["optional"] == true,
            starts_without || rare,
            "{name}"
        );
        if let Some(value) = secret(reference["key"].as_str().expect("a key")) {
            environment.insert(name, value);
        }
    }
    environment
}

/// What a control plane has made: the configuration of one proxy.
#[derive(Default)]
pub(crate) struct Generated {
    pub(crate) listeners: Vec<Value>,
    /// Names of clusters that lead to the service behind.
    pub(crate) services: Vec<String>,
    pub(crate) clusters: Vec<Value>,
    /// Parts of the bootstrap.
    pub(crate) bootstrap: Value,
    pub(crate) environment: BTreeMap<String, String>,
}

impl Generated {
    /// A proxy with this configuration, ready.
    pub(crate) fn start(self) -> Envoy {
        self.setup().start()
    }

    /// The log of a proxy that must not start with it.
    pub(crate) fn rejected(self) -> String {
        self.setup()
            .rejected()
            .unwrap_or_else(|what| panic!("{what}"))
    }

    fn setup(self) -> Setup {
        let mut setup = Setup::shipped()
            .without_env("TWILIO_AUTH_TOKEN")
            .without_env("TWILIO_ACCOUNT_SID");
        for (name, value) in &self.environment {
            setup = setup.env(name, value);
        }
        setup.edit(move |config| self.replace(config))
    }

    fn replace(self, config: &mut Value) {
        let service = &config["static_resources"]["clusters"][0];
        let mut clusters = self.clusters;
        for name in self.services {
            let mut cluster = service.clone();
            cluster["name"] = json!(name);
            cluster["load_assignment"]["cluster_name"] = json!(name);
            clusters.push(cluster);
        }
        let admin = config["admin"].take();
        *config = json!({
            "admin": admin,
            "node": {"id": "proxy", "cluster": "proxy"},
            "static_resources": {"listeners": self.listeners, "clusters": clusters},
        });
        for (name, value) in self.bootstrap.as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
    }
}

/// Redis with the Webdis in front of it that the filter calls.
pub(crate) struct Store {
    pub(crate) redis: Redis,
    pub(crate) webdis: Webdis,
}

impl Store {
    pub(crate) fn start() -> Self {
        let redis = Redis::start();
        let webdis = Webdis::start(redis.address());
        Self { redis, webdis }
    }
}

/// A cluster that a filter calls, at an address of this machine.
pub(crate) fn at(name: &str, address: SocketAddr) -> Value {
    let address = json!({"address": address.ip().to_string(), "port_value": address.port()});
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"socket_address": address}}},
        ]}]},
    })
}

/// Filters that read the body, each in its way: all of it, and chunk by chunk.
pub(crate) fn readers() -> Vec<Value> {
    let lua = |name: &str, code: &str| {
        json!({"name": name, "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": code},
        }})
    };
    vec![
        lua(
            "chunks",
            "function envoy_on_request(h) local n = 0 for c in h:bodyChunks() do n = n + c:length() end end",
        ),
        lua(
            "whole",
            "function envoy_on_request(h) local b = h:body() h:headers():add('x-length', b and b:length() or 0) end",
        ),
    ]
}

/// A signed message with a body of at least `size` bytes.
pub(crate) fn large(size: usize) -> Request {
    let text: String = (0..size)
        .map(|index| char::from(b'a' + (index % 23) as u8))
        .collect();
    let sid = support::messages::sid("SM");
    form(
        WEBHOOK,
        &pairs([
            ("MessageSid", &sid),
            ("AccountSid", ACCOUNT),
            ("Body", &text),
        ]),
    )
}

/// The same request to another host of the gateway.
pub(crate) fn for_host(request: Request, host: &str) -> Request {
    request.with("host", host)
}

/// Status and reason of an answer; the reason is empty where it is not the filter's.
pub(crate) fn outcome(response: &Response) -> (u16, String) {
    (response.status, response.reason())
}

/// Sends a request and returns status and reason.
pub(crate) async fn ask(t: &Test<'_>, listener: &str, request: &Request) -> (u16, String) {
    outcome(&t.send_to(listener, request).await)
}

/// The outcome of a request that the upstream has answered with 200.
pub(crate) fn passed() -> (u16, String) {
    (200, String::new())
}

/// The outcome of a request that the filter has rejected.
pub(crate) fn rejected(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

/// Between the pieces of a body.
pub(crate) const PAUSE: Duration = Duration::from_millis(2);

/// Envoy shows this line among its metrics; a native module's counts are there a little later.
pub(crate) fn assert_shows(envoy: &Envoy, line: &str, place: &str) {
    let start = Instant::now();
    loop {
        let text = envoy.admin("/stats/prometheus");
        if text.lines().any(|one| one == line) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(2), "{place}: {text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A webhook that works: signed once, and nobody else.
pub(crate) async fn assert_webhook_is_checked(t: &Test<'_>) {
    let good = message();
    assert_eq!(ask(t, "webhooks", &good).await, passed());
    let received = t.received_one();
    assert_eq!(received.header("x-twilio-webhook-verified"), Some("true"));
    assert_eq!(received.body, good.body);
    assert_eq!(ask(t, "webhooks", &good).await, rejected(409, "duplicate"));
    let cases = [
        (forged(&whatsapp()), "invalid_signature"),
        (
            unsigned("POST", WEBHOOK).body("Body=2"),
            "missing_signature",
        ),
        (
            form(WEBHOOK, &whatsapp()).body("Body=other"),
            "invalid_signature",
        ),
    ];
    for (request, reason) in cases {
        assert_eq!(ask(t, "webhooks", &request).await, rejected(403, reason));
    }
    assert_eq!(t.received_count(), 1, "{}", t.received_text());
}
