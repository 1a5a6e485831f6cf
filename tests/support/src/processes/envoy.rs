//! A real Envoy with the filter, configured by `envoy/envoy.yaml` and what a test changes in it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::filter_host::filter_host;
use super::filter_store::{FilterStore, filter_store, in_redis};
use super::http1::{Http1, PATIENCE};
use super::http2::{Framing, Http2};
use super::messages::{ACCOUNT, OTHER_ACCOUNT, OTHER_TOKENS, PHONE, TEXT, TOKEN};
use super::process::{Process, in_time, repository, tool, until};
use super::redis;
use super::tap::{Behaviour, Tap};
use super::wire::{Received, Request, Response};
use super::{answered, passed, rejected, simple_get, stat, upstream};
use crate::signing;

/// No test takes longer than this, whatever happens.
const LIMIT: Duration = Duration::from_secs(150);

/// The configuration that most tests use: several kinds of webhooks, two accounts, everything else as it is
/// by default.
pub fn plugin() -> Value {
    json!({
        "accounts": [
            {"account_sid": ACCOUNT, "auth_tokens": [{"env": "TWILIO_AUTH_TOKEN"}]},
            {"account_sid": OTHER_ACCOUNT, "auth_tokens": OTHER_TOKENS},
        ],
        "public_base_url": super::messages::ORIGIN,
        "webhooks": [
            {"path": super::messages::WEBHOOK,
             "url": format!("{}{}", super::messages::ORIGIN, super::messages::WEBHOOK)},
            {"path": "/voice/status", "methods": ["GET", "POST"]},
            {"path": "/voice/stream", "methods": ["GET"]},
            {"path": "/studio/*", "methods": ["GET", "POST", "PUT"]},
            {"path": "/strict", "timestamp": {"required": true}},
        ],
        "exempt_paths": ["/healthz", "/public/*"],
    })
}

/// [`plugin`] with some fields replaced.
pub fn plugin_with(changes: Value) -> Value {
    let mut plugin = plugin();
    let Value::Object(changes) = changes else {
        panic!("an object")
    };
    for (name, value) in changes {
        plugin[name] = value;
    }
    plugin
}

type Edit = Box<dyn FnOnce(&mut Value)>;

/// What a test wants different from the file.
pub struct Setup {
    plugin: Option<String>,
    environment: BTreeMap<String, String>,
    workers: u32,
    /// Which of several processes it is that hand over their sockets: the number that they share, and its own.
    hot_restart: Option<(u16, u16)>,
    /// For how long a configuration that was replaced stays for its connections.
    drain_seconds: Option<u32>,
    edits: Vec<Edit>,
    last_edits: Vec<Edit>,
}

impl Setup {
    /// The file as it is, but for ports; with the token in the environment.
    pub fn shipped() -> Self {
        let environment = [
            ("TWILIO_AUTH_TOKEN", TOKEN),
            ("TWILIO_ACCOUNT_SID", ACCOUNT),
        ];
        Self {
            plugin: None,
            environment: environment
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            workers: 2,
            hot_restart: None,
            drain_seconds: None,
            edits: Vec::new(),
            last_edits: Vec::new(),
        }
    }

    /// [`plugin`] with some fields replaced.
    pub fn changed(changes: Value) -> Self {
        Self::with(&plugin_with(changes))
    }

    pub fn with(plugin: &Value) -> Self {
        Self::with_text(plugin.to_string())
    }

    /// The plugin configuration as text, which need not be JSON.
    pub fn with_text(plugin: impl Into<String>) -> Self {
        Self {
            plugin: Some(plugin.into()),
            ..Self::shipped()
        }
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// A variable that the filter is shown, too.
    pub fn secret_env(self, name: &'static str, value: &str) -> Self {
        self.env(name, value).edit(move |config| {
            let environment = &mut plugin_config(listener(config))["vm_config"];
            let keys = environment["environment_variables"]["host_env_keys"].as_array_mut();
            keys.expect("a list of variables").push(json!(name));
        })
    }

    /// Behind so many proxies that are trusted to say where a request comes from.
    pub fn trusted_hops(self, hops: u32) -> Self {
        self.edit(move |config| {
            connection_manager(listener(config))["xff_num_trusted_hops"] = json!(hops);
        })
    }

    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// Takes over from the process with the same `base_id` and the epoch before, if there is one.
    pub fn hot_restart(mut self, base_id: u16, epoch: u16) -> Self {
        self.hot_restart = Some((base_id, epoch));
        self
    }

    /// A configuration that was replaced ends after this time, with all its connections.
    pub fn drain_seconds(mut self, seconds: u32) -> Self {
        self.drain_seconds = Some(seconds);
        self
    }

    pub fn edit(mut self, edit: impl FnOnce(&mut Value) + 'static) -> Self {
        self.edits.push(Box::new(edit));
        self
    }

    /// Changes what Envoy is given, as it is for this host.
    pub fn edit_for_host(mut self, edit: impl FnOnce(&mut Value) + 'static) -> Self {
        self.last_edits.push(Box::new(edit));
        self
    }

    pub fn start(mut self) -> Envoy {
        if filter_store() == FilterStore::Redis
            && let Some((plugin, address)) = self.plugin.as_deref().and_then(in_redis)
        {
            self.plugin = Some(plugin);
            self = redis::asking(self, address);
        }
        Envoy::start(self).unwrap_or_else(|log| panic!("Envoy does not start:\n{log}"))
    }

    /// Starts an Envoy for one test, and runs it.
    pub fn run<T>(self, test: impl AsyncFnOnce(&Test<'_>) -> T) {
        self.start().run(test);
    }

    /// The log of an Envoy that must not start.
    pub fn rejected(self) -> Result<String, &'static str> {
        match Envoy::start(self) {
            Ok(_) => Err("Envoy has started"),
            Err(log) => Ok(log),
        }
    }
}

/// The element of `list` whose `name` is `name`.
fn named<'a>(list: &'a mut Value, name: &str) -> &'a mut Value {
    let list = list
        .as_array_mut()
        .unwrap_or_else(|| panic!("envoy.yaml: a list with {name}"));
    list.iter_mut()
        .find(|item| item["name"] == name)
        .unwrap_or_else(|| panic!("envoy.yaml: no {name}"))
}

pub fn listener(config: &mut Value) -> &mut Value {
    named(&mut config["static_resources"]["listeners"], "webhooks")
}

/// The cluster of that name in the configuration of an Envoy.
pub fn cluster<'a>(config: &'a mut Value, name: &str) -> &'a mut Value {
    named(&mut config["static_resources"]["clusters"], name)
}

/// Has a cluster's requests go to another address.
pub fn set_endpoint(cluster: &mut Value, to: SocketAddr) {
    let endpoint = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    let address = json!({"address": to.ip().to_string(), "port_value": to.port()});
    endpoint["address"]["socket_address"] = address;
}

/// The HTTP connection manager of a listener.
pub fn connection_manager(listener: &mut Value) -> &mut Value {
    &mut listener["filter_chains"][0]["filters"][0]["typed_config"]
}

/// The plugin's `config` in a listener: `configuration`, `vm_config` and so on.
pub fn plugin_config(listener: &mut Value) -> &mut Value {
    &mut named(
        &mut connection_manager(listener)["http_filters"],
        "twilio_webhook_filter",
    )["typed_config"]["config"]
}

/// The format of the access log that is added to each listener.
const ACCESS_LOG: &str = "access %RESPONSE_CODE% verdict=%FILTER_STATE(wasm.twilio_webhook_verdict:PLAIN)% \
                          metadata=%DYNAMIC_METADATA(twilio_webhook:verdict)% \
                          request_id=%REQ(X-REQUEST-ID)% path=%PATH(NQ)%\n";

fn configuration(setup: &mut Setup, upstream: SocketAddr, directory: &Path) -> Value {
    let file = repository().join("envoy/envoy.yaml");
    let text = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut config: Value =
        yaml_serde::from_str(&text).unwrap_or_else(|error| panic!("envoy.yaml: {error}"));
    // Port 0: Envoy takes a free one and tells which.
    config["admin"]["address"]["socket_address"]["port_value"] = json!(0);
    let listener = listener(&mut config);
    listener["address"]["socket_address"]["port_value"] = json!(0);
    if let Some(plugin) = &setup.plugin {
        plugin_config(listener)["configuration"]["value"] = json!(plugin);
    }
    let access_log = json!({
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": directory.join("access.log"),
            "log_format": {"text_format_source": {"inline_string": ACCESS_LOG}},
        },
    });
    let logs = &mut connection_manager(listener)["access_log"];
    if logs.is_null() {
        *logs = json!([]);
    }
    logs.as_array_mut()
        .expect("a list of access logs")
        .push(access_log);
    set_endpoint(cluster(&mut config, "ordering_upstream"), upstream);
    for edit in setup.edits.drain(..) {
        edit(&mut config);
    }
    filter_host().translate(&mut config);
    for edit in setup.last_edits.drain(..) {
        edit(&mut config);
    }
    config
}

/// A running Envoy and the upstream behind it.
pub struct Envoy {
    // Before the directory, so that it is dropped first.
    process: Mutex<Process>,
    pub admin: SocketAddr,
    pub listeners: BTreeMap<String, SocketAddr>,
    pub tap: Tap,
    directory: TempDir,
    /// One test at a time: what reaches the upstream then is that test's.
    lease: Mutex<()>,
    secrets: Vec<String>,
}

impl Envoy {
    /// An Envoy that is ready, or the log of one that is not.
    fn start(mut setup: Setup) -> Result<Self, String> {
        let binary =
            tool("ENVOY_BIN", "target/tools/envoy").unwrap_or_else(|error| panic!("{error}"));
        let module = filter_host().module();
        assert!(
            module.is_file(),
            "{} does not exist: run scripts/setup, or build it",
            module.display()
        );
        let directory = tempfile::tempdir().expect("a directory");
        let tap = Tap::start(upstream::address());
        let config = configuration(&mut setup, tap.address, directory.path());
        let file = directory.path().join("envoy.json");
        std::fs::write(&file, config.to_string()).expect("a file");
        let log = directory.path().join("envoy.log");
        let admin = directory.path().join("admin");
        let mut command = Command::new(binary);
        match setup.hot_restart {
            Some((base_id, epoch)) => {
                let (base_id, epoch) = (base_id.to_string(), epoch.to_string());
                command.args(["--base-id", &base_id, "--restart-epoch", &epoch]);
                command.args(["--drain-time-s", "2", "--parent-shutdown-time-s", "4"]);
            }
            None => {
                command.arg("--disable-hot-restart");
            }
        }
        if let Some(seconds) = setup.drain_seconds {
            command.args(["--drain-time-s", &seconds.to_string()]);
        }
        command
            .current_dir(repository())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(&setup.environment)
            .arg("--config-path")
            .arg(&file)
            .args([
                "--concurrency",
                &setup.workers.to_string(),
                "--log-level",
                "info",
            ])
            .args(["--file-flush-interval-msec", "100"])
            .args(["--admin-address-path".as_ref(), admin.as_os_str()]);
        let stdout = directory.path().join("envoy.out");
        let mut process = Process::start(&mut command, &stdout, &log, directory.path());
        let start = Instant::now();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let admin = loop {
            if process.ended().is_some() {
                return Err(read(&log));
            }
            if let Ok(address) = read(&admin).trim().parse()
                && simple_get(address, "/ready").is_ok_and(|answer| answer.status == 200)
            {
                break address;
            }
            if start.elapsed() > PATIENCE * 2 {
                return Err(format!("not ready in time\n{}", read(&log)));
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let secrets = setup
            .environment
            .iter()
            .filter(|(name, _)| name.contains("TOKEN"))
            .map(|(_, value)| value.clone());
        let mut secrets: Vec<String> = secrets.chain(OTHER_TOKENS.map(str::to_owned)).collect();
        secrets.push(TOKEN.to_owned());
        Ok(Self {
            process: Mutex::new(process),
            admin,
            listeners: listeners(admin),
            tap,
            directory,
            lease: Mutex::new(()),
            secrets,
        })
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process().id()
    }

    /// Whether its process has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.process().ended().is_some()
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.listeners["webhooks"]
    }

    /// A connection from an address that no other has.
    pub async fn connect(&self) -> Http1 {
        Http1::connect(self.address(), new_address()).await
    }

    /// Sends a request from an address that no other has.
    pub async fn send(&self, request: &Request) -> Response {
        self.connect().await.send(request).await
    }

    /// Waits until no request is under way, which is a moment after the last has its answer or has left.
    pub async fn idle(&self) {
        until("no request is under way", async || {
            (stat(self.admin, "http.webhooks.downstream_rq_active") == 0).then_some(())
        })
        .await;
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Envoy's log (with the filter's lines in it) from byte `start` on.
    fn log_since(&self, start: usize) -> String {
        let bytes = std::fs::read(self.file("envoy.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes[start.min(bytes.len())..]).into_owned()
    }

    /// All of Envoy's log, its start included.
    pub fn full_log(&self) -> String {
        self.log_since(0)
    }

    fn log_length(&self) -> usize {
        std::fs::metadata(self.file("envoy.log")).map_or(0, |file| file.len() as usize)
    }

    /// The answer of the admin interface.
    pub fn admin(&self, path: &str) -> String {
        let answer = simple_get(self.admin, path).expect("the admin interface answers");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text()
    }

    /// Runs a test with this Envoy to itself, and looks afterwards whether the filter is still alive and has
    /// told no secret. On failure the log is shown.
    pub fn run<T>(&self, test: impl AsyncFnOnce(&Test<'_>) -> T) {
        let mut test = Some(test);
        self.run_alone(true, &mut |t| {
            let test = test.take().expect("run once");
            in_time(LIMIT, Box::pin(async { drop(test(t).await) }));
        });
    }

    /// The same with an Envoy that cannot load the filter: what it logs about that looks like a fault.
    pub fn run_without_filter(&self, test: impl AsyncFnOnce(&Test<'_>)) {
        let mut test = Some(test);
        self.run_alone(false, &mut |t| {
            in_time(LIMIT, Box::pin(test.take().expect("run once")(t)));
        });
    }

    /// Compiled once and not for each test, as is [`in_time`].
    fn run_alone(&self, is_alive: bool, test: &mut dyn FnMut(&Test<'_>)) {
        let _lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        let since = self.log_length();
        let first = self.tap.count();
        self.tap.accept_connections();
        self.tap.behave(Behaviour::Forward);
        let this = Test {
            envoy: self,
            address: new_address(),
            first,
            log: since,
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            test(&this);
            if is_alive {
                self.assert_alive(since);
            }
            self.assert_discreet(since);
        }));
        if let Err(panic) = outcome {
            let log = self.log_since(since);
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("--- Envoy's log of this test (the end of it)\n{tail}");
            eprintln!(
                "--- received by the upstream\n{}\n---",
                self.tap.describe_since(first)
            );
            resume_unwind(panic);
        }
    }

    /// A VM that dies is replaced (FAIL_RELOAD), and the next request passes: nobody would notice.
    pub fn assert_alive(&self, since: usize) {
        let log = self.log_since(since);
        for sign in [
            "panicked at",
            "Uncaught RuntimeError",
            "Function: proxy_on",
            "VM failed",
            "Plugin configured to fail",
            "[critical]",
            "a fault at",
        ] {
            let line = log.lines().find(|line| line.contains(sign));
            assert!(
                line.is_none(),
                "the filter has crashed: {}",
                line.unwrap_or_default()
            );
        }
        for line in self.admin("/stats?filter=vm_reload").lines() {
            assert!(
                line.ends_with(": 0"),
                "the filter has been reloaded: {line}"
            );
        }
    }

    pub fn assert_discreet(&self, since: usize) {
        let log = self.log_since(since);
        for line in log.lines() {
            for secret in self
                .secrets
                .iter()
                .map(String::as_str)
                .chain([PHONE, TEXT, "Margherita"])
            {
                assert!(!line.contains(secret), "the log tells {secret:?}: {line}");
            }
            assert_eq!(
                signing::leaked(line),
                None,
                "the log tells a signature: {line}"
            );
        }
    }
}

fn listeners(admin: SocketAddr) -> BTreeMap<String, SocketAddr> {
    let answer = simple_get(admin, "/listeners?format=json")
        .expect("an answer")
        .json();
    let statuses = answer["listener_statuses"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let one = |status: &Value| {
        let socket = &status["local_address"]["socket_address"];
        let port = socket["port_value"].as_u64().expect("a port") as u16;
        let name = status["name"].as_str().expect("a name").to_owned();
        (name, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    };
    statuses.iter().map(one).collect()
}

/// A client address that no other test has: limits for each address cannot disturb another test.
pub fn new_address() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    IpAddr::from(Ipv4Addr::from(0x7f10_0000 + next))
}

/// What a test works with.
pub struct Test<'a> {
    pub envoy: &'a Envoy,
    /// Where its requests come from, unless it says otherwise.
    pub address: IpAddr,
    first: usize,
    log: usize,
}

impl Test<'_> {
    pub async fn http1(&self) -> Http1 {
        Http1::connect(self.envoy.address(), self.address).await
    }

    pub async fn http2(&self) -> Http2 {
        Http2::connect(self.envoy.address(), self.address).await
    }

    /// Sends a request on a connection of its own, over HTTP/1.1 with `content-length`.
    pub async fn send(&self, request: &Request) -> Response {
        self.http1().await.send(request).await
    }

    /// The same in chunks of this length.
    pub async fn send_chunked(&self, request: &Request, length: usize) -> Response {
        self.http1().await.send_chunked(request, length).await
    }

    /// The same over HTTP/2.
    pub async fn send_http2(&self, request: &Request, framing: Framing) -> Response {
        self.http2().await.send(request, framing).await
    }

    /// The same from another client address.
    pub async fn send_from(&self, address: IpAddr, request: &Request) -> Response {
        Http1::connect(self.envoy.address(), address)
            .await
            .send(request)
            .await
    }

    /// Sends a request that must pass.
    #[track_caller]
    pub fn passes(&self, request: &Request) -> impl Future<Output = Response> {
        self.passes_from(self.address, request)
    }

    /// Sends a request that must pass, from an address.
    #[track_caller]
    pub fn passes_from(&self, from: IpAddr, request: &Request) -> impl Future<Output = Response> {
        passed(self.send_from(from, request), request, Location::caller())
    }

    /// Sends a request that is not rejected: its answer, the upstream's or Envoy's own, has this status.
    #[track_caller]
    pub fn answered(&self, request: &Request, status: u16) -> impl Future<Output = Response> {
        answered(
            self.send(request),
            (status, ""),
            request,
            Location::caller(),
        )
    }

    /// Sends a request that must be rejected for this reason, with its status.
    #[track_caller]
    pub fn rejects(&self, request: &Request, reason: &str) -> impl Future<Output = Response> {
        self.rejects_from(self.address, request, reason)
    }

    /// Sends a request that must be rejected for this reason, from an address.
    #[track_caller]
    pub fn rejects_from(
        &self,
        from: IpAddr,
        request: &Request,
        reason: &str,
    ) -> impl Future<Output = Response> {
        rejected(
            self.send_from(from, request),
            reason,
            request,
            Location::caller(),
        )
    }

    /// To another listener than `webhooks`.
    pub async fn send_to(&self, listener: &str, request: &Request) -> Response {
        Http1::connect(self.envoy.listeners[listener], self.address)
            .await
            .send(request)
            .await
    }

    pub fn upstream(&self, behaviour: Behaviour) {
        self.envoy.tap.behave(behaviour);
    }

    /// Every request that has reached the upstream in this test.
    pub fn received(&self) -> Vec<Received> {
        self.envoy.tap.requests_since(self.first)
    }

    pub fn received_count(&self) -> usize {
        self.envoy.tap.count() - self.first
    }

    /// The only request that has reached the upstream in this test.
    pub fn received_one(&self) -> Received {
        let mut received = self.received();
        assert_eq!(
            received.len(),
            1,
            "exactly one request reaches the upstream: {received:?}"
        );
        received.remove(0)
    }

    /// All that has reached the upstream in this test, as text.
    pub fn received_text(&self) -> String {
        self.envoy.tap.describe_since(self.first)
    }

    pub async fn wait_for_received(&self, count: usize) {
        self.envoy.tap.wait_for(self.first, count).await;
    }

    pub async fn wait_for_abandoned(&self) {
        self.envoy.tap.wait_for_abandoned(self.first).await;
    }

    /// Not a request line, not a byte. Waits a little: what came late would be found in the next test only.
    pub async fn assert_nothing_received(&self) {
        tokio::time::sleep(Duration::from_millis(40)).await;
        let bytes = self.envoy.tap.bytes_since(self.first);
        assert_eq!(
            bytes,
            0,
            "the upstream has received:\n{}",
            self.envoy.tap.describe_since(self.first)
        );
    }

    /// Envoy's log since the test began.
    pub fn log(&self) -> String {
        self.envoy.log_since(self.log)
    }

    /// The filter's JSON lines of this test for which `wanted` holds, once there are `count` of them.
    pub async fn log_lines(&self, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let start = Instant::now();
        loop {
            let log = self.log();
            let json = |line: &str| {
                let (_, rest) = line.split_once(": {")?;
                serde_json::from_str(&format!("{{{rest}")).ok()
            };
            let lines: Vec<Value> = log.lines().filter_map(json).filter(&wanted).collect();
            if lines.len() >= count {
                return lines;
            }
            assert!(
                start.elapsed() < PATIENCE / 4,
                "{} of {count} lines in the log:\n{log}",
                lines.len()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The access log's line for a request, once it is written (Envoy flushes that file now and then).
    pub async fn access_line(&self, request_id: &str) -> String {
        self.line("access.log", request_id).await
    }

    /// The line for a request in what Envoy writes to its standard output.
    pub async fn stdout_line(&self, request_id: &str) -> String {
        self.line("envoy.out", request_id).await
    }

    async fn line(&self, file: &str, request_id: &str) -> String {
        until(&format!("a line for {request_id} in {file}"), async || {
            let log = std::fs::read_to_string(self.envoy.file(file)).unwrap_or_default();
            let line = log.lines().find(|line| line.contains(request_id));
            line.map(str::to_owned)
        })
        .await
    }

    /// The metrics in Prometheus text.
    pub fn metrics(&self) -> String {
        self.envoy.admin("/stats?format=prometheus")
    }
}

/// The Envoy that all tests share which need nothing else.
pub fn shared() -> &'static Envoy {
    static SHARED: LazyLock<Envoy> = LazyLock::new(|| Setup::with(&plugin()).start());
    &SHARED
}
