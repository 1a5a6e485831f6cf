//! Redis and Webdis as `envoy/redis` configures them, and an Envoy that has them for its store.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::envoy::{Setup, cluster, set_endpoint};
use super::http1::PATIENCE;
use super::process::{Process, free_port, repository, tool};
use super::resp::{Client, ScriptReply};

/// What Redis asks of Webdis.
pub const REDIS_PASSWORD: &str = "5d0c7a3f9be24186a07f55c1b3e8d942";
/// What Webdis asks of Envoy.
pub const WEBDIS_USER: &str = "envoy";
pub const WEBDIS_PASSWORD: &str = "e41a9b06c7d85f230b9c64d2a81f7e35";

/// A file of `envoy/redis`.
pub fn read(name: &str) -> String {
    let file = repository().join("envoy/redis").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The `store` of `envoy/redis/envoy.yaml`, with more time: this machine is busy, and only some tests are about time.
pub fn store() -> Value {
    json!({
        "type": "redis",
        "cluster": "redis_over_http",
        "api": "webdis",
        "username": WEBDIS_USER,
        "password": {"env": "WEBDIS_PASSWORD"},
        "timeout": "5s",
    })
}

/// `envoy/redis/envoy.yaml`.
pub fn shipped() -> Value {
    yaml_serde::from_str(&read("envoy.yaml")).expect("YAML")
}

/// The same Envoy with a store at `address`. What `envoy/redis/envoy.yaml` has more than `envoy/envoy.yaml` is put into
/// the latter, from which the harness starts; a test says that there is no other difference.
pub fn asking(setup: Setup, address: SocketAddr) -> Setup {
    let setup = setup.secret_env("WEBDIS_PASSWORD", WEBDIS_PASSWORD);
    setup.edit(move |config| {
        let mut store = cluster(&mut shipped(), "redis_over_http").take();
        set_endpoint(&mut store, address);
        let clusters = config["static_resources"]["clusters"].as_array_mut();
        clusters.expect("clusters").push(store);
    })
}

/// Replaces what must be there.
#[track_caller]
pub fn replaced(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "{old:?} is not in\n{text}");
    text.replace(old, new)
}

/// A server that can be killed and started again at the same port, with the same files.
struct Server {
    name: &'static str,
    address: SocketAddr,
    directory: TempDir,
    process: Mutex<Option<Process>>,
}

impl Server {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())),
            directory: tempfile::tempdir().expect("a directory"),
            process: Mutex::new(None),
        }
    }

    fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("configuration")
    }

    fn start(&self, ready: impl Fn(SocketAddr) -> bool) {
        let program = tool("", &format!("target/tools/{}", self.name));
        let mut command = Command::new(program.unwrap_or_else(|_| {
            panic!(
                "target/tools/{} is missing: run scripts/setup --redis",
                self.name
            )
        }));
        command.current_dir(self.directory.path()).arg(self.file());
        let log = |name: &str| self.directory.path().join(name);
        // The watchdog ends a wrapper's child, too: the wrapper becomes its program.
        let scratch = self.directory.path();
        let mut process = Process::start(&mut command, &log("out"), &log("err"), scratch);
        let begin = Instant::now();
        while !ready(self.address) {
            let said =
                ["out", "err"].map(|name| std::fs::read_to_string(log(name)).unwrap_or_default());
            assert!(
                process.ended().is_none() && begin.elapsed() < PATIENCE,
                "{} does not start: {said:?}",
                self.name
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        *self.process() = Some(process);
    }

    /// At once, as a fault would.
    fn kill(&self) {
        *self.process() = None;
    }

    fn pid(&self) -> u32 {
        let process = self.process();
        process.as_ref().expect("it has been started").id()
    }

    fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("sh")
            .args(["-c", r#"kill -s "$1" "$2""#, "sh", name, &pid])
            .status();
        assert!(status.expect("sh starts").success(), "kill -s {name} {pid}");
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Redis with `redis.conf`, and one user more: the tests' own, who may look at everything.
pub struct Redis(Server);

impl Redis {
    pub fn start() -> Self {
        Self::with_prefix("twf")
    }

    /// For another `key_prefix`.
    pub fn with_prefix(prefix: &str) -> Self {
        let server = Server::new("redis-server");
        let mut text = read("redis.conf");
        for (old, new) in [
            ("on >$REDIS_PASSWORD", format!("on >{REDIS_PASSWORD}")),
            (
                "\nport 6379\n",
                format!("\nport {}\n", server.address.port()),
            ),
            ("~{twf:1}:*", format!("~{{{prefix}:1}}:*")),
            (
                "\ndir .\n",
                format!("\ndir {}\n", server.directory.path().display()),
            ),
        ] {
            text = replaced(&text, old, &new);
        }
        text.push_str("\nuser tests on nopass ~* &* +@all\n");
        std::fs::write(server.file(), text).expect("a file");
        let redis = Self(server);
        redis.start_again();
        redis
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    pub fn kill(&self) {
        self.0.kill();
    }

    /// Stops it where it is: its connections stay open, and nothing is answered.
    pub fn freeze(&self) {
        self.0.signal("STOP");
    }

    /// Lets it go on, with everything that was sent to it meanwhile.
    pub fn thaw(&self) {
        self.0.signal("CONT");
    }

    /// How much memory it may have: "1" is less than it has already.
    pub fn limit_memory(&self, bytes: &str) {
        self.command(&["CONFIG", "SET", "maxmemory", bytes]);
    }

    /// Once it has read what it had written.
    pub fn start_again(&self) {
        self.0.start(|address| {
            client(address).is_ok_and(|mut client| {
                client.command(&["PING"]).ok() == Some(ScriptReply::Text(b"PONG".to_vec()))
            })
        });
    }

    pub fn client(&self) -> Client {
        client(self.0.address).expect("Redis answers")
    }

    pub fn command(&self, words: &[&str]) -> ScriptReply {
        self.client().command(words).expect("Redis answers")
    }

    pub fn keys(&self) -> Vec<String> {
        let keys = self.command(&["KEYS", "*"]).list();
        keys.iter().map(ScriptReply::text).collect()
    }

    /// Every byte that it has written since it was first started: each write with its arguments.
    pub fn written(&self) -> Vec<u8> {
        let directory = self.0.directory.path();
        let mut bytes = Vec::new();
        // A directory since Redis 7, a file before.
        let entries = |directory: &Path| {
            std::fs::read_dir(directory).map(|entries| {
                let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
                files.sort();
                files
            })
        };
        let mut files = entries(&directory.join("appendonlydir")).unwrap_or_default();
        files.push(directory.join("appendonly.aof"));
        for file in files {
            bytes.extend(std::fs::read(file).unwrap_or_default());
        }
        bytes
    }
}

fn client(address: SocketAddr) -> std::io::Result<Client> {
    let mut client = Client::connect(address)?;
    client.command(&["AUTH", "tests", "any"])?;
    Ok(client)
}

/// Webdis with `webdis.json`.
pub struct Webdis(Server);

impl Webdis {
    pub fn start(redis: SocketAddr) -> Self {
        let server = Server::new("webdis");
        let text = replaced(&read("webdis.json"), "$REDIS_PASSWORD", REDIS_PASSWORD);
        let credentials = format!("{WEBDIS_USER}:{WEBDIS_PASSWORD}");
        let text = replaced(&text, "$WEBDIS_CREDENTIALS", &credentials);
        let mut configuration: Value = serde_json::from_str(&text).expect("webdis.json is JSON");
        configuration["http_port"] = json!(server.address.port());
        configuration["redis_port"] = json!(redis.port());
        std::fs::write(server.file(), configuration.to_string()).expect("a file");
        let webdis = Self(server);
        webdis.start_again();
        webdis
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    pub fn kill(&self) {
        self.0.kill();
    }

    /// Stops it where it is: its connections stay open, and nothing is answered.
    pub fn freeze(&self) {
        self.0.signal("STOP");
    }

    /// Lets it go on, with everything that was sent to it meanwhile.
    pub fn thaw(&self) {
        self.0.signal("CONT");
    }

    pub fn start_again(&self) {
        self.0.start(|address| TcpStream::connect(address).is_ok());
    }
}
