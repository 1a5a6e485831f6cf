//! The repository's own Envoy configuration with other ports, and webhooks signed as Twilio does.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use tempfile::TempDir;

use crate::harness::{Answer, PATIENCE, WEBHOOK, free_port, read_answer, send};
use crate::twilio::{ACCOUNT, TOKEN};

const MODULE: &str = "target/wasm32-wasip1/release/twilio_webhook_filter.wasm";

pub(crate) struct Envoy {
    child: Child,
    pub(crate) address: SocketAddr,
    directory: TempDir,
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// What must have been built before, or what is missing.
fn binary() -> Result<PathBuf, String> {
    let envoy = std::env::var_os("ENVOY_BIN").map(PathBuf::from);
    let envoy = envoy.unwrap_or_else(|| repository().join("target/tools/envoy"));
    if !envoy.is_file() {
        return Err("there is no Envoy (scripts/setup gets it)".to_owned());
    }
    if !repository().join(MODULE).is_file() {
        return Err("the filter is not built (scripts/test build does it)".to_owned());
    }
    Ok(envoy)
}

impl Envoy {
    /// Starts one in front of the service at this port.
    pub(crate) fn start(upstream: u16) -> Result<Self, String> {
        let envoy = binary()?;
        let directory = tempfile::tempdir().unwrap();
        let (admin, port) = (free_port(), free_port());
        let mut config = std::fs::read_to_string(repository().join("envoy/envoy.yaml")).unwrap();
        for (from, to) in [(9901, admin), (10000, port), (5000, upstream)] {
            let from = format!("port_value: {from}}}");
            assert_eq!(config.matches(&from).count(), 1, "{from} in envoy.yaml");
            config = config.replace(&from, &format!("port_value: {to}}}"));
        }
        let file = directory.path().join("envoy.yaml");
        std::fs::write(&file, config).unwrap();
        let log = File::create(directory.path().join("envoy.log")).unwrap();
        let child = Command::new(envoy)
            .arg("-c")
            .arg(&file)
            .args(["--concurrency", "2", "--disable-hot-restart"])
            // The configuration names the module by its path from the repository's root.
            .current_dir(repository())
            .env_clear()
            .env("TWILIO_AUTH_TOKEN", TOKEN)
            .env("TWILIO_ACCOUNT_SID", ACCOUNT)
            .env("WEBHOOK_URL", url())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut started = Self {
            child,
            address,
            directory,
        };
        let ready = b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let admin = SocketAddr::from(([127, 0, 0, 1], admin));
        let deadline = Instant::now() + PATIENCE;
        while !send(admin, ready).is_ok_and(|answer| answer.status == 200) {
            let ended = started.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{}",
                started.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(started)
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("envoy.log"));
        // It begins with pages about what is compiled in.
        let log = log.unwrap_or_default();
        let telling = log.lines().filter(|line| !line.contains("[info]"));
        telling.collect::<Vec<_>>().join("\n")
    }

    /// A signed webhook, as Twilio sends it.
    pub(crate) fn post(&self, form: &str) -> Answer {
        self.try_post(form, &signature(form)).unwrap()
    }

    pub(crate) fn try_post(&self, form: &str, signature: &str) -> std::io::Result<Answer> {
        send(self.address, request(form, signature).as_bytes())
    }

    /// A webhook that somebody else signed, from an address of this machine.
    pub(crate) fn forge_from(&self, source: Ipv4Addr, form: &str) -> Answer {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let stream = runtime.unwrap().block_on(async {
            // The standard library cannot choose the address that it connects from.
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind((source, 0).into()).unwrap();
            socket
                .connect(self.address)
                .await
                .unwrap()
                .into_std()
                .unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let forged = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        (&stream)
            .write_all(request(form, forged).as_bytes())
            .unwrap();
        read_answer(stream).unwrap()
    }

    pub(crate) fn get(&self, path: &str, headers: &str) -> Answer {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
        send(self.address, request.as_bytes()).unwrap()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn request(form: &str, signature: &str) -> String {
    let length = form.len();
    format!(
        "POST {WEBHOOK} HTTP/1.1\r\nhost: orders.example.com\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded; charset=utf-8\r\n\
         x-twilio-signature: {signature}\r\ncontent-length: {length}\r\n\r\n{form}"
    )
}

fn url() -> String {
    format!("https://orders.example.com{WEBHOOK}")
}

/// HMAC-SHA1 over the URL and each parameter's name and value, sorted by name.
pub(crate) fn signature(form: &str) -> String {
    let mut pairs: Vec<_> = form_urlencoded::parse(form.as_bytes()).collect();
    pairs.sort();
    let mut signed = url();
    for (name, value) in pairs {
        signed.push_str(&name);
        signed.push_str(&value);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, TOKEN.as_bytes());
    STANDARD.encode(hmac::sign(&key, signed.as_bytes()))
}
