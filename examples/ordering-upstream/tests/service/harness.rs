//! Starts the program, talks to it, and looks into its database from outside.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tempfile::TempDir;

pub(crate) const WEBHOOK: &str = "/api/v1/whatsapp/webhook";
pub(crate) const TWIML: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response></Response>"#;
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory with a database in it, which outlives the services that use it.
pub(crate) struct Shop {
    directory: TempDir,
}

impl Shop {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.directory.path().join("orders.db")
    }

    pub(crate) fn start(&self) -> Service {
        Service::start(&self.database())
    }

    /// A second connection, as a shell on the file would be.
    pub(crate) fn look_inside(&self) -> Connection {
        let connection = Connection::open(self.database()).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        connection
    }

    pub(crate) fn count(&self, what: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {what}");
        self.look_inside()
            .query_row(&sql, [], |row| row.get(0))
            .unwrap()
    }

    pub(crate) fn wait_until_all_is_processed(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.count("messages WHERE processed_at IS NULL") > 0 {
            assert!(Instant::now() < deadline, "messages were never processed");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The program with an environment of its own.
pub(crate) fn program(listen: impl AsRef<OsStr>, database: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ordering-upstream"));
    command
        .env_clear()
        .env("LISTEN_ADDR", listen)
        .env("DATABASE_PATH", database)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// A running service. Dropping it kills it.
pub(crate) struct Service {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Service {
    fn start(database: &Path) -> Self {
        let mut child = program("127.0.0.1:0", database).spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line
            .strip_prefix("listening on http://")
            .unwrap_or_else(|| panic!("no ready line but {line:?}"));
        let address = address.trim_end().parse().unwrap();
        Self { child, address }
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn wait_for_exit(mut self) -> ExitStatus {
        wait_for_exit(&mut self.child)
    }

    pub(crate) fn post(&self, nonce: &str, body: &str) -> Answer {
        post(self.address, nonce, body).unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
        send(self.address, request.as_bytes()).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn wait_for_exit(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the program did not exit");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// 64 hex digits for a number.
pub(crate) fn nonce(number: u64) -> String {
    format!("{number:064x}")
}

/// A message as Twilio writes it, with the parameters that matter here.
pub(crate) fn form(sid: &str, text: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("MessageSid", sid)
        .append_pair("AccountSid", "AC00000000000000000000000000000001")
        .append_pair("From", "whatsapp:+15550001111")
        .append_pair("Body", text)
        .finish()
}

/// A webhook as the filter passes it on.
pub(crate) fn request(nonce: &str, body: &str) -> String {
    let headers = format!(
        "x-twilio-webhook-verified: true\r\nx-twilio-webhook-nonce: {nonce}\r\n\
         content-type: application/x-www-form-urlencoded; charset=utf-8\r\n"
    );
    request_with(&headers, body)
}

/// A POST with these header lines.
pub(crate) fn request_with(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {WEBHOOK} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\
         content-length: {length}\r\n{headers}\r\n{body}"
    )
}

pub(crate) fn post(address: SocketAddr, nonce: &str, body: &str) -> io::Result<Answer> {
    send(address, request(nonce, body).as_bytes())
}

/// Sends bytes and reads an answer that ends with the connection.
pub(crate) fn send(address: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    read_answer(stream)
}

pub(crate) fn read_answer(mut stream: TcpStream) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let cut_short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(cut_short)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let answer = Answer {
        status: status.ok_or_else(cut_short)?,
        head: head.to_owned(),
        body: body.to_owned(),
    };
    // A connection that broke in the middle of a body is no answer.
    match answer.header("content-length").map(str::parse::<usize>) {
        Some(Ok(length)) if answer.body.len() == length => Ok(answer),
        _ => Err(cut_short()),
    }
}
