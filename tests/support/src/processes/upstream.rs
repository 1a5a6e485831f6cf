//! The real ordering upstream, one for all tests of a run.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::http1::PATIENCE;
use super::process::{Process, free_port, tool};
use super::simple_get;

struct Upstream {
    address: SocketAddr,
    _process: Mutex<Process>,
    _directory: TempDir,
}

static UPSTREAM: LazyLock<Result<Upstream, String>> = LazyLock::new(start);

fn start() -> Result<Upstream, String> {
    let binary = tool(
        "ORDERING_UPSTREAM_BIN",
        "examples/ordering-upstream/target/release/ordering-upstream",
    )?;
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("upstream.log");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let mut command = Command::new(binary);
    command
        .env("LISTEN_ADDR", address.to_string())
        .env("DATABASE_PATH", directory.path().join("orders.sqlite"));
    let mut process = Process::start(
        &mut command,
        &directory.path().join("upstream.out"),
        &log,
        directory.path(),
    );
    let start = Instant::now();
    loop {
        if simple_get(address, "/healthz").is_ok_and(|answer| answer.status == 200) {
            return Ok(Upstream {
                address,
                _process: Mutex::new(process),
                _directory: directory,
            });
        }
        let text = || std::fs::read_to_string(&log).unwrap_or_default();
        if let Some(status) = process.ended() {
            return Err(format!(
                "the ordering upstream ended with {status}: {}",
                text()
            ));
        }
        if start.elapsed() > PATIENCE {
            return Err(format!(
                "the ordering upstream does not get ready: {}",
                text()
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Where the ordering upstream listens; started with the first call.
pub fn address() -> SocketAddr {
    match &*UPSTREAM {
        Ok(upstream) => upstream.address,
        Err(error) => panic!("{error}"),
    }
}

/// What it has stored, as it tells it at `GET /messages`.
pub fn messages() -> Value {
    simple_get(address(), "/messages")
        .expect("an answer")
        .json()
}
