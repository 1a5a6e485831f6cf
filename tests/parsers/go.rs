//! Go's `net/url`, by way of Prometheus, which is written in Go and on this machine already: a page of its console is a
//! template that shows the parameters of its request, as `url.ParseQuery` reads them. A Go toolchain for one function
//! would be 80 MB to fetch and 450 MB unpacked.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::readers::{Read, Reading};
use support::process::{Process, free_port, tool};

const PAGE: &str = r#"{{range $name, $values := .RawParams}}{{range $values}}{{printf "%x=%x\n" $name .}}{{end}}{{end}}"#;

fn binary() -> std::path::PathBuf {
    tool("PROMETHEUS_BIN", "target/tools/prometheus").unwrap_or_else(|error| panic!("{error}"))
}

/// The Go that it was built with.
pub(crate) fn version() -> String {
    let output = Command::new(binary())
        .arg("--version")
        .output()
        .expect("Prometheus starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("go version:"));
    let version = line.and_then(|line| line.rsplit(' ').next());
    version.unwrap_or("?").trim_start_matches("go").to_owned()
}

/// What Go reads, for each body.
pub(crate) fn read(bodies: &[Vec<u8>]) -> Vec<Reading> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir(path("consoles")).expect("a directory");
    std::fs::write(path("consoles/form.html"), PAGE).expect("a file");
    std::fs::write(path("prometheus.yml"), "global: {}\n").expect("a file");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let mut command = Command::new(binary());
    command
        .current_dir(directory.path())
        .env_clear()
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .args([
            "--web.console.templates=consoles",
            "--web.console.libraries=consoles",
        ])
        .args([
            &format!("--web.listen-address={address}"),
            "--log.level=warn",
        ]);
    let mut process = Process::start(&mut command, &path("out"), &path("log"), directory.path());
    let patience = Instant::now() + Duration::from_secs(30);
    while get(address, "/-/ready").is_none_or(|(status, _)| status != 200) {
        let log = || std::fs::read_to_string(path("log")).unwrap_or_default();
        assert!(process.ended().is_none(), "Prometheus has ended: {}", log());
        assert!(Instant::now() < patience, "Prometheus: {}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
    bodies.iter().map(|body| form(address, body)).collect()
}

fn form(address: SocketAddr, body: &[u8]) -> Reading {
    // As a query, since the page shows that; it ends where the request line does.
    if body.iter().any(|byte| *byte <= b' ' || *byte == 0x7F) {
        return Reading::NotAsked;
    }
    let target = [b"/consoles/form.html?", body].concat();
    let (status, text) = get_bytes(address, &target).expect("Prometheus answers");
    if status != 200 {
        return Reading::Fails(text);
    }
    let unhex = |text: &str| -> Vec<u8> {
        let at = (0..text.len()).step_by(2);
        at.map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits"))
            .collect()
    };
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let pairs: Vec<Read> = pairs
        .map(|(name, value)| (unhex(name), Some(unhex(value))))
        .collect();
    Reading::Form(pairs)
}

fn get(address: SocketAddr, target: &str) -> Option<(u16, String)> {
    get_bytes(address, target.as_bytes())
}

/// Status and body. In HTTP/1.0 the answer ends with the connection.
fn get_bytes(address: SocketAddr, target: &[u8]) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .ok()?;
    let request = [b"GET ", target, b" HTTP/1.0\r\nHost: localhost\r\n\r\n"].concat();
    stream.write_all(&request).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.trim().to_owned()))
}
